"""What terms with a filter over lags do alike; and Stimulus."""

from typing import Any, Literal, Self

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from bayesglm._convolve import convolve, reach, touched
from bayesglm._data import epoch_ids
from bayesglm.basis import AbstractBasis, lag_kernels
from bayesglm.prior import AbstractPrior, Gaussian
from bayesglm.terms._base import AbstractTerm, Columns, Response, resolved, settled
from bayesglm.terms._plain import column_mean, covariate, feature_labels, nan_rows, positive_sd, require_numbers
from bayesglm.terms._space import projected, resolved_space, space_kernels

Edge = Literal["drop", "zero"]


class AbstractLagged(AbstractTerm):
    """A term whose columns are kernels convolved with a signal; ``kernels`` (lag, basis) are frozen by ``resolve``."""

    basis: eqx.AbstractVar[AbstractBasis]
    edge: eqx.AbstractVar[Edge]
    kernels: eqx.AbstractVar[np.ndarray | None]
    first: eqx.AbstractVar[int]  # first lag in bins
    dt: eqx.AbstractVar[float]

    @property
    def lags(self) -> np.ndarray:
        """Lags of the kernels in seconds (trials on trial rows)."""
        return np.round((self.first + np.arange(len(self.kernels))) * self.dt, 12)

    @property
    def basis_dim(self) -> str:
        """Name of the basis dim of this term's weights."""
        return f"{self.name}_basis"

    @property
    def bases(self) -> tuple[AbstractBasis, ...]:
        return (self.basis,)

    @property
    def lagged(self) -> Self:
        return self

    def space_constants(self, name: str) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Functions of space of a movie's filter, ``<name>_space_functions``; none where the filter has no space."""
        return {}

    def space_coords(self) -> dict[str, np.ndarray]:
        """Labels of their dims."""
        return {}

    def lag_fields(self, response: Response, first: int, use: Literal["spikes", "signal"], lead: int = 0) -> dict[str, Any]:
        """The frozen fields that every lagged term has; a lead (in bins) moves the filter, not its kernels."""
        basis = self.basis.resolve_lags(response.dt, first)
        kernels = lag_kernels(basis, response.dt, first, use)[1]
        return {"basis": basis, "kernels": kernels, "first": first - lead, "dt": response.dt}

    def early(self, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Rows dropped because the filter reaches out of their epoch."""
        if self.edge == "zero":
            return {}
        out = ~reach(epochs, self.first, len(self.kernels))
        return {f"{self.name} reaches out of the epoch": out} if out.any() else {}

    def filtered(self, signal: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        """(row, ...) -> (row, ..., basis)."""
        return convolve(signal, self.kernels, epochs, self.first)

    def reading(self, flags: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        """Rows whose window reads a flagged row."""
        return touched(flags, epochs, self.first, len(self.kernels))

    def of_signal(self, values: np.ndarray, gaps: np.ndarray, own: bool, epochs: np.ndarray, reason: str) -> Columns:
        """Columns of a signal (row, ...), or (neuron, row, ...) where each neuron has its own; ``gaps`` (..row) flags its NaN."""
        rows_first = np.moveaxis(values, 0, 1) if own else values
        read = self.reading(gaps.T if own else gaps, epochs).T
        out = self.filtered(rows_first, epochs)
        invalid = self.early(epochs) | nan_rows(reason, read)
        return Columns(None if own else out, np.moveaxis(out, 1, 0) if own else None, invalid)


def checked_edge(edge: str) -> str:
    """``edge`` itself, or a ValueError."""
    if edge not in ("drop", "zero"):
        raise ValueError(f"edge={edge!r}: 'drop' leaves out rows whose filter reaches out of the epoch, 'zero' takes zeros there.")
    return edge


class Stimulus(AbstractLagged):
    """Stimulus filter: eta(t) += sum_l k(l) x(t + lead - l), k = kernels @ weights, lags l >= 0.

    With ``space`` the filter of a movie is k(y, x, l) = sum_sb g_s(y, x) k_b(l) w_sb: frames are projected on the
    functions of space, and only then filtered in time; pixels times lags are never held.

    Parameters
    ----------
    column : str
        Covariate (time,) or (time, feature): a filter a feature; or a movie (time, y, x).
    basis : AbstractBasis
        Over lags, with a ``span`` in seconds. Kernels sum to 1 over their lags: a weight is the log-gain of a constant
        unit signal, whatever ``dt``.
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(1), per training sd of the signal (of each function's projection).
    space : AbstractBasis, optional
        Functions of the pixels' coordinates, ``basis * basis`` for (time, y, x); they sum to 1 over the pixels, so that
        a weight is the log-gain of a constant, uniform unit frame. Without it every pixel has a filter of its own.
    lead : float
        Seconds by which the filter looks ahead: motor cortex leads the hand.
    edge : "drop" or "zero"

    Raises
    ------
    ValueError
        Where the column is unknown or no number, or ``space`` does not fit its dims.

    References
    ----------
    Chichilnisky 2001, A simple white noise analysis of neuronal light responses.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.01, spikes=np.zeros(50, int), movie=np.random.default_rng(0).normal(size=(50, 8, 6)))
    >>> grid = bg.basis.BSpline(4) * bg.basis.BSpline(4)
    >>> term = bg.Stimulus("movie", bg.basis.RaisedCosine(3, span=0.05), space=grid)
    >>> term = bg.GLM(term).resolve(data).terms["movie"]
    >>> term.shape, term.space_kernels().shape
    ((16, 3), (8, 6, 16))
    """

    column: str = eqx.field(static=True)
    basis: AbstractBasis
    prior: AbstractPrior | None = None
    space: AbstractBasis | None = eqx.field(default=None, kw_only=True)
    lead: float = eqx.field(default=0.0, static=True, kw_only=True)
    edge: Edge = eqx.field(default="drop", static=True, kw_only=True, converter=checked_edge)
    name: str = eqx.field(default="", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    labels: dict[str, Any] | None = eqx.field(default=None, kw_only=True)
    pixels: dict[str, Any] | None = eqx.field(default=None, kw_only=True)  # coordinates of a movie's dims
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)
    first: int = eqx.field(default=0, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)  # of the raw signal in training

    def __post_init__(self) -> None:
        self.name = self.name or self.column

    def resolve(self, data: xr.Dataset, response: Response) -> "Stimulus":
        if resolved(self):
            return self
        values, dims, own = covariate(data, self.column, response, "Stimulus")
        require_numbers(values, 1 if own else 0, self.column)
        fields = self.lag_fields(response, 0, "signal", lead=round(self.lead / response.dt))
        labels = {dim: feature_labels(data, dim) for dim in dims}
        if self.space is not None:
            fields["space"], fields["pixels"] = resolved_space(self.space, data, dims, self.column)
            values = projected(values, space_kernels(fields["space"], fields["pixels"], self.column), own, self.column)
            labels = {f"{self.name}_space": fields["space"].labels}
        fields["labels"] = labels | {self.basis_dim: fields["basis"].labels}
        fields["shape"] = (*values.shape[2 if own else 1 :], fields["kernels"].shape[1])
        fields["sd"] = positive_sd(values, (0, 1) if own else 0, self.column)[..., None]
        fields["prior"] = self.prior or Gaussian(dist.HalfNormal(1.0)).relative_to(1.0 / fields["sd"])
        fields["centre"] = column_mean(values, 1 if own else 0)[..., None] * fields["kernels"].sum(0)
        return settled(self, **fields)

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        values, _, own = covariate(data, self.column, response, "Stimulus")
        gaps = np.isnan(values).reshape(*values.shape[: 2 if own else 1], -1).any(-1)
        if self.space is not None:
            values = projected(values, self.space_kernels(), own, self.column)
        return self.of_signal(values, gaps, own, epoch_ids(data), self.column)

    def space_kernels(self) -> np.ndarray | None:
        """The functions of space, (*pixel dims, space), each summing to 1 over the pixels; None without ``space``."""
        return None if self.space is None else space_kernels(self.space, self.pixels, self.column)

    def space_constants(self, name: str) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        found = self.space_kernels()
        return {} if found is None else {f"{name}_space_functions": ((*(self.pixels or {}), f"{self.name}_space"), found)}

    def space_coords(self) -> dict[str, np.ndarray]:
        return {} if self.space is None else {dim: np.asarray(at) for dim, at in self.pixels.items()} | {f"{self.name}_space": self.space.labels}

    def signal_sd(self) -> np.ndarray | float:
        return 1.0 if self.sd is None else self.sd

    @property
    def bases(self) -> tuple[AbstractBasis, ...]:
        return (self.basis,) if self.space is None else (self.space, self.basis)

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(self.labels or {})

    def coords(self) -> dict[str, np.ndarray]:
        return {dim: np.asarray(labels) for dim, labels in (self.labels or {}).items()}

    def needs(self) -> tuple[str, ...]:
        return (self.column,)
