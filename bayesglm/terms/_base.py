"""What every term of a model does: freeze its numbers on data, and give its columns."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import equinox as eqx
import numpy as np
import xarray as xr

from bayesglm._data import neurons, row_dim
from bayesglm.basis import AbstractBasis
from bayesglm.prior import AbstractPrior

if TYPE_CHECKING:
    from bayesglm.terms._lagged import AbstractLagged
    from bayesglm.terms._sum import Sum


class Response(eqx.Module):
    """Whom a model explains: the response's column, its receivers, and all cells that may be sources. Static."""

    column: str = eqx.field(static=True)
    receivers: tuple | None = eqx.field(static=True)  # labels; None: the response has no neuron dim
    sources: tuple = eqx.field(static=True)  # labels of all recorded neurons
    dt: float = eqx.field(static=True)
    spiking: bool = eqx.field(static=True)  # counts or binary: history kernels have peak 1
    binary: bool = eqx.field(default=False, static=True)  # 0 or 1: on trial rows its past enters as -1 or +1
    own_unit: bool = eqx.field(default=False, static=True)  # eta is in the response's unit, and no logarithm or quantile

    @property
    def size(self) -> int:
        """Number of receivers; one where the response has no neuron dim."""
        return 1 if self.receivers is None else len(self.receivers)

    def values(self, data: xr.Dataset) -> np.ndarray:
        """The response (row, neuron) in its own type."""
        column = data[self.column]
        if self.receivers is None:
            return column.transpose(row_dim(data), ...).values.reshape(-1, 1)
        return column.transpose(row_dim(data), "neuron").values[:, self.places(data)]

    def places(self, data: xr.Dataset) -> np.ndarray:
        """Positions of the receivers among the recording's neurons."""
        return positions(data, self.receivers)

    def observed(self, data: xr.Dataset) -> np.ndarray | None:
        """(row, neuron) bool where a mask was given, for the receivers."""
        if "observed" not in data:
            return None
        seen = data["observed"]
        if "neuron" not in seen.dims:
            return seen.values.reshape(-1, 1)
        if self.receivers is None:
            return None  # a mask of cells says nothing of a choice
        return seen.transpose(row_dim(data), "neuron").values[:, self.places(data)]


def positions(data: xr.Dataset, labels: tuple) -> np.ndarray:
    """Positions of ``labels`` among the recording's neurons; a ValueError names the ones that are missing."""
    place = {label: i for i, label in enumerate(neurons(data).tolist())}
    missing = [label for label in labels if label not in place]
    if missing:
        raise ValueError(f"The recording has no neurons {missing}; it has {list(place)[:10]}. The model was resolved on a recording that had them.")
    return np.array([place[label] for label in labels], int)


class Columns(NamedTuple):
    """One term's part of a design; ``invalid`` says, by reason, which rows cannot be scored: (row,) or (neuron, row)."""

    shared: np.ndarray | None  # (row, *shape)
    own: np.ndarray | None  # (neuron, row, *shape)
    invalid: dict[str, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one neuron's weights."""
        return np.shape(self.shared)[1:] if self.own is None else self.own.shape[2:]

    def mean(self) -> np.ndarray:
        """Mean over rows: shape, or (neuron, *shape)."""
        return np.asarray(np.mean(self.shared, 0) if self.own is None else self.own.mean(1))


class AbstractTerm(eqx.Module):
    """One additive part of the linear predictor. Terms are values: ``a + b`` is a new sum."""

    name: eqx.AbstractVar[str]
    prior: eqx.AbstractVar[AbstractPrior | None]
    shape: eqx.AbstractVar[tuple[int, ...] | None]  # of one neuron's weights; None until resolved
    centre: eqx.AbstractVar[np.ndarray | None]  # training mean of the columns: shape, or (neuron, *shape)

    def __add__(self, other: "AbstractTerm | Sum") -> "Sum":
        from bayesglm.terms._sum import Sum

        return Sum(self) + other

    def __mul__(self, other: "AbstractTerm") -> "AbstractTerm":
        from bayesglm.terms._interaction import multiplied

        return multiplied(self, other)

    def resolve(self, data: xr.Dataset, response: Response) -> Self:
        """The same term with bounds, knots, labels, centres and default scales fixed on ``data``; idempotent."""
        raise NotImplementedError

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        """The known columns; looks at no statistic of ``data``."""
        raise NotImplementedError

    def exists(self, response: Response) -> np.ndarray:
        """(neuron, *shape) bool: which weights exist."""
        return np.ones((response.size, *(self.shape or ())), bool)

    @property
    def dims(self) -> tuple[str, ...]:
        """Dims of one neuron's weights."""
        raise NotImplementedError

    def coords(self) -> dict[str, np.ndarray]:
        """Labels of those dims."""
        return {}

    def needs(self) -> tuple[str, ...]:
        """Columns of the recording that the term reads, besides the response."""
        return ()

    @property
    def bases(self) -> tuple[AbstractBasis, ...]:
        """Resolved bases of the trailing axes of one neuron's weights, in their order; () where the last axis has none."""
        return ()

    def signal_sd(self) -> np.ndarray | float:
        """Training sd of the raw signal, broadcast against ``shape``: the unit of default priors; 1 where there is no signal."""
        return 1.0

    def repeats(self) -> bool:
        """Whether its columns repeat those of other terms on purpose, told apart by their prior (levels of what all share)."""
        return False

    def parts(self) -> "tuple[AbstractTerm, ...]":
        """The terms that this one is short for in a sum; most are themselves."""
        return (self,)

    def refers(self) -> bool:
        """Whether the term names another term of its sum, which must be resolved before it."""
        return False

    def refer(self, known: "dict[str, AbstractTerm]") -> Self:
        """The same term with the names of other terms replaced by those terms, resolved."""
        return self

    @property
    def lagged(self) -> "AbstractLagged | None":
        """The part with lags, whose kernels make filters of this term's weights along their last axis; None without lags."""
        return None

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Known arrays that a reader of the weights needs, kernels above all: name -> (dims, array)."""
        part = self.lagged
        if part is None:
            return {}
        return {f"{self.name}_kernels": ((f"{self.name}_lag", part.basis_dim), np.asarray(part.kernels))} | part.space_constants(self.name)

    def constant_coords(self) -> dict[str, np.ndarray]:
        """Labels of the dims of ``constants``."""
        part = self.lagged
        if part is None:
            return {}
        return {f"{self.name}_lag": part.lags, part.basis_dim: np.asarray(part.basis.labels)} | part.space_coords()


def resolved(term: AbstractTerm) -> bool:
    """Whether ``resolve`` has run."""
    return term.shape is not None


def settled[T: AbstractTerm](term: T, **fields: Any) -> T:
    """A copy of a term with some fields set."""
    return dataclasses.replace(term, **fields)
