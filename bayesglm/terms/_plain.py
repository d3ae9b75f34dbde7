"""Terms without lags: Baseline, Linear, Offset."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from bayesglm._data import neurons, require_column, row_dim
from bayesglm.prior import AbstractPrior, Gaussian, StudentT
from bayesglm.prior._scale import shared_out
from bayesglm.terms._base import AbstractTerm, Columns, Response, positions, resolved, settled


class Baseline(AbstractTerm):
    """Constant of the linear predictor: eta_n += b_n.

    The default prior, StudentT(3, link(training mean), 2.5), is on the predictor at the *average* of all other columns
    (they are centred at their training means for that purpose); ``baseline`` itself is the predictor where all are zero.

    Parameters
    ----------
    prior : AbstractPrior, optional
        Any other prior is on ``baseline`` itself, around zero, unless it is ``centred``.
    centred : bool
        Put ``prior`` where the default one is: on the predictor at the average of all other columns, around link(training
        mean). ``Baseline(prior.Gaussian(1.0), centred=True)`` says that the typical rate is known within a factor of e.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.array([[1], [0], [2], [1]]))
    >>> fit = bg.fit(bg.GLM(bg.Baseline(bg.prior.Gaussian(1e-3), centred=True)), data, "map", progress=False)
    >>> round(float(np.exp(fit.posterior["baseline"]).squeeze()), 6)
    1.0
    """

    prior: AbstractPrior | None = None
    name: str = eqx.field(default="baseline", static=True)
    centred: bool = eqx.field(default=False, static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True)
    centre: np.ndarray | None = None

    def resolve(self, data: xr.Dataset, response: Response) -> Baseline:
        if resolved(self):
            return self
        centred = self.centred or self.prior is None
        return settled(self, prior=self.prior or StudentT(3.0, 2.5), centred=centred, shape=(), centre=np.zeros(()))

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        return Columns(np.ones(data.sizes[row_dim(data)]), None, {})

    @property
    def dims(self) -> tuple[str, ...]:
        return ()


class Linear(AbstractTerm):
    """Linear effect of a column, instantaneous: eta += sum_f w_f x_f(row).

    A column with more dims has a weight an entry; where column and response share the dim ``neuron``, each neuron has
    its own covariate.

    Parameters
    ----------
    column : str
        A column of the recording, (row, ...).
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(1), per training sd of each entry. Beyond 20 entries, where eta is a
        logarithm, log odds or the like (every family but Gaussian, StudentT and LinearCircular), tau ~
        HalfNormal(sqrt(20 / entries)): the prior sd of eta then stays near three, where HalfNormal(1) would let it grow
        with the square root of the entries.
    name : str, optional
        Default: the column's name.
    """

    column: str = eqx.field(static=True)
    prior: AbstractPrior | None = None
    name: str = eqx.field(default="", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    labels: dict[str, Any] | None = eqx.field(default=None, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)  # of each entry in training

    def __post_init__(self) -> None:
        self.name = self.name or self.column

    def resolve(self, data: xr.Dataset, response: Response) -> Linear:
        if resolved(self):
            return self
        values, dims, own = covariate(data, self.column, response, "Linear")
        require_numbers(values, 1 if own else 0, self.column)
        sd = positive_sd(values, (0, 1) if own else 0, self.column)
        shape = values.shape[2 if own else 1 :]
        law = dist.HalfNormal(1.0) if response.own_unit else shared_out(int(np.prod(shape)))
        prior = self.prior or Gaussian(law).relative_to(1.0 / sd)
        labels = {dim: feature_labels(data, dim) for dim in dims}
        return settled(self, prior=prior, shape=shape, labels=labels, centre=column_mean(values, 1 if own else 0), sd=sd)

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        values, _, own = covariate(data, self.column, response, "Linear")
        if values.shape[2 if own else 1 :] != self.shape:
            raise ValueError(f"Column {self.column!r} has {values.shape[1:]} entries a row, the model was made for {self.shape}.")
        gaps = np.isnan(values).reshape(*values.shape[: 2 if own else 1], -1).any(-1)
        values = np.nan_to_num(values, nan=0.0) if gaps.any() else values
        return Columns(None if own else values, values if own else None, nan_rows(self.column, gaps))

    def signal_sd(self) -> np.ndarray | float:
        return 1.0 if self.sd is None else self.sd

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(self.labels or {})

    def coords(self) -> dict[str, np.ndarray]:
        return {dim: np.asarray(labels) for dim, labels in (self.labels or {}).items()}

    def needs(self) -> tuple[str, ...]:
        return (self.column,)


class Offset(AbstractTerm):
    """A known addition to the linear predictor, without a weight: eta += x(row).

    Parameters
    ----------
    column : str
        A column (row,) or (row, neuron); for a Poisson model the log of an exposure.
    """

    column: str = eqx.field(static=True)
    name: str = eqx.field(default="", static=True, kw_only=True)
    prior: None = eqx.field(default=None, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.name = self.name or f"{self.column}_offset"

    def resolve(self, data: xr.Dataset, response: Response) -> Offset:
        if resolved(self):
            return self
        values, _, own = covariate(data, self.column, response, "Offset")
        if values.ndim != (2 if own else 1):
            raise ValueError(f"Offset({self.column!r}) wants one number a row (or a row and neuron); got shape {values.shape}.")
        require_numbers(values, 1 if own else 0, self.column)
        return settled(self, shape=(), centre=column_mean(values, 1 if own else 0))

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        values, _, own = covariate(data, self.column, response, "Offset")
        gaps = np.isnan(values)
        values = np.nan_to_num(values, nan=0.0)
        return Columns(None if own else values, values if own else None, nan_rows(self.column, gaps))

    @property
    def dims(self) -> tuple[str, ...]:
        return ()

    def needs(self) -> tuple[str, ...]:
        return (self.column,)


def covariate(data: xr.Dataset, column: str, response: Response, who: str) -> tuple[np.ndarray, tuple[str, ...], bool]:
    """A column's values, its feature dims, and whether each neuron has its own: (row, ...) or (neuron, row, ...)."""
    array = require_column(data, column, who)
    rows = row_dim(data)
    own = response.receivers is not None and "neuron" in array.dims
    dims = tuple(dim for dim in array.dims if dim != rows and not (own and dim == "neuron"))
    if array.dtype.kind not in "fiub":
        raise ValueError(f"Column {column!r} holds {array.dtype} values; {who} wants numbers (Tuning with basis.OneHot() takes categories).")
    array = array.transpose(*(("neuron",) if own else ()), rows, *dims)
    values = np.asarray(array.values, float)
    if own and response.receivers is not None:
        values = values[positions(data, response.receivers)]
    return values, dims, own


def feature_labels(data: xr.Dataset, dim: str) -> np.ndarray:
    """The coordinate of a feature dim, or 0 .. n - 1."""
    if dim == "neuron":
        return neurons(data)
    return data[dim].values if dim in data.coords else np.arange(data.sizes[dim])


def require_numbers(values: np.ndarray, rows: int, column: str) -> None:
    """Raise where a column (or an entry of it) is NaN in every row: no row could be scored; ``rows`` is the row axis."""
    empty = np.isnan(values).all(axis=rows)
    if empty.any():
        which = "" if empty.ndim == 0 else f" at entries {np.argwhere(empty)[:5].tolist()}"
        raise ValueError(f"Column {column!r} is NaN in every row{which}, so that no row could be scored: leave it out, or check how it was made.")


def column_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean over rows, NaN left out."""
    return np.asarray(np.nanmean(values, axis=axis) if np.isnan(values).any() else values.mean(axis=axis))


def positive_sd(values: np.ndarray, axis: int | tuple[int, ...], column: str) -> np.ndarray:
    """Training sd of each entry; a constant entry keeps the unit 1, for its sd says nothing."""
    sd = np.asarray(np.nanstd(values, axis=axis))
    return np.where(sd > 1e-12 * (1.0 + np.abs(np.nanmean(values, axis=axis))), sd, 1.0)


def nan_rows(column: str, gaps: np.ndarray) -> dict[str, np.ndarray]:
    """The reason entry for rows in which ``column`` is NaN."""
    return {f"{column!r} is NaN": gaps} if gaps.any() else {}
