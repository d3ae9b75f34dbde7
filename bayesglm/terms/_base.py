"""What every term of a model does: freeze its numbers on data, and give its columns."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import equinox as eqx
import numpy as np
import xarray as xr

from bayesglm._data import neurons, row_dim
from bayesglm.prior import AbstractPrior

if TYPE_CHECKING:
    from bayesglm.terms._sum import Sum


class Response(eqx.Module):
    """Whom a model explains: the response's column, its receivers, and all cells that may be sources. Static."""

    column: str = eqx.field(static=True)
    receivers: tuple | None = eqx.field(static=True)  # labels; None: the response has no neuron dim
    sources: tuple = eqx.field(static=True)  # labels of all recorded neurons
    dt: float = eqx.field(static=True)
    spiking: bool = eqx.field(static=True)  # counts or binary: history kernels have peak 1

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
        if self.receivers is None or "neuron" not in seen.dims:
            return seen.values.reshape(-1, 1)
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


class AbstractTerm(eqx.Module):
    """One additive part of the linear predictor. Terms are values: ``a + b`` is a new sum."""

    name: eqx.AbstractVar[str]
    prior: eqx.AbstractVar[AbstractPrior | None]
    shape: eqx.AbstractVar[tuple[int, ...] | None]  # of one neuron's weights; None until resolved
    centre: eqx.AbstractVar[np.ndarray | None]  # training mean of the columns: shape, or (neuron, *shape)

    def __add__(self, other: "AbstractTerm | Sum") -> "Sum":
        from bayesglm.terms._sum import Sum

        return Sum(self) + other

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


def resolved(term: AbstractTerm) -> bool:
    """Whether ``resolve`` has run."""
    return term.shape is not None


def settled[T: AbstractTerm](term: T, **fields: Any) -> T:
    """A copy of a term with some fields set."""
    return dataclasses.replace(term, **fields)
