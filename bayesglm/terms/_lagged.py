"""Terms with a filter over lags: Stimulus, History, Coupling."""

from typing import Any, Literal

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from bayesglm._convolve import convolve, reach, touched
from bayesglm._data import epoch_ids, neurons
from bayesglm.basis import AbstractBasis, lag_kernels
from bayesglm.prior import AbstractPrior, Gaussian
from bayesglm.terms._base import AbstractTerm, Columns, Response, positions, resolved, settled
from bayesglm.terms._plain import column_mean, covariate, feature_labels, nan_rows, positive_sd, require_numbers

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


def checked_edge(edge: str) -> str:
    """``edge`` itself, or a ValueError."""
    if edge not in ("drop", "zero"):
        raise ValueError(f"edge={edge!r}: 'drop' leaves out rows whose filter reaches out of the epoch, 'zero' takes zeros there.")
    return edge


class Stimulus(AbstractLagged):
    """Stimulus filter: eta(t) += sum_l k(l) x(t + lead - l), k = kernels @ weights, lags l >= 0.

    Parameters
    ----------
    column : str
        Covariate (time,) or (time, feature): a filter a feature.
    basis : AbstractBasis
        Over lags, with a ``span`` in seconds. Kernels sum to 1 over their lags: a weight is the log-gain of a constant
        unit signal, whatever ``dt``.
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(1), per training sd of the signal.
    lead : float
        Seconds by which the filter looks ahead: motor cortex leads the hand.
    edge : "drop" or "zero"

    References
    ----------
    Chichilnisky 2001, A simple white noise analysis of neuronal light responses.
    """

    column: str = eqx.field(static=True)
    basis: AbstractBasis
    prior: AbstractPrior | None = None
    lead: float = eqx.field(default=0.0, static=True, kw_only=True)
    edge: Edge = eqx.field(default="drop", static=True, kw_only=True, converter=checked_edge)
    name: str = eqx.field(default="", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    labels: dict[str, Any] | None = eqx.field(default=None, kw_only=True)
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)
    first: int = eqx.field(default=0, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.name = self.name or self.column

    def resolve(self, data: xr.Dataset, response: Response) -> "Stimulus":
        if resolved(self):
            return self
        values, dims, own = covariate(data, self.column, response, "Stimulus")
        require_numbers(values, 1 if own else 0, self.column)
        features = values.shape[2 if own else 1 :]
        lagged = self.lag_fields(response, 0, "signal", lead=round(self.lead / response.dt))
        sd = positive_sd(values, (0, 1) if own else 0, self.column)
        prior = self.prior or Gaussian(dist.HalfNormal(1.0)).relative_to(1.0 / sd[..., None])
        labels = {dim: feature_labels(data, dim) for dim in dims} | {self.basis_dim: lagged["basis"].labels}
        mean = column_mean(values, 1 if own else 0)
        centre = mean[..., None] * lagged["kernels"].sum(0)
        return settled(self, prior=prior, shape=(*features, lagged["kernels"].shape[1]), labels=labels, centre=centre, **lagged)

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        values, _, own = covariate(data, self.column, response, "Stimulus")
        epochs = epoch_ids(data)
        rows_first = np.moveaxis(values, 0, 1) if own else values
        gaps = np.isnan(rows_first).reshape(len(epochs), values.shape[0] if own else 1, -1).any(-1)
        read = self.reading(gaps, epochs).T if own else self.reading(gaps, epochs)[:, 0]
        out = self.filtered(rows_first, epochs)
        invalid = self.early(epochs) | nan_rows(self.column, read)
        return Columns(None if own else out, np.moveaxis(out, 1, 0) if own else None, invalid)

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(self.labels or {})

    def coords(self) -> dict[str, np.ndarray]:
        return {dim: np.asarray(labels) for dim, labels in (self.labels or {}).items()}

    def needs(self) -> tuple[str, ...]:
        return (self.column,)


class History(AbstractLagged):
    """Effect of a response's own past: eta_n(t) += sum_{l >= dt} h_n(l) y_n(t - l). Lag 0 is excluded by construction.

    Parameters
    ----------
    basis : AbstractBasis
        Over lags, with a ``span`` in seconds. For spikes kernels have peak 1: a weight is the log-gain per own spike.
        For a continuous response kernels sum to 1.
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(1).
    edge : "drop" or "zero"

    References
    ----------
    Truccolo et al. 2005, A point process framework for relating neural spiking activity to spiking history.
    """

    basis: AbstractBasis
    prior: AbstractPrior | None = None
    edge: Edge = eqx.field(default="drop", static=True, kw_only=True, converter=checked_edge)
    name: str = eqx.field(default="history", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)
    first: int = eqx.field(default=1, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)

    def resolve(self, data: xr.Dataset, response: Response) -> "History":
        if resolved(self):
            return self
        lagged = self.lag_fields(response, 1, "spikes" if response.spiking else "signal")
        mean = observed_mean(response.values(data), response.observed(data))
        centre = mean[:, None] * lagged["kernels"].sum(0)
        prior = self.prior or Gaussian(dist.HalfNormal(1.0))
        return settled(self, prior=prior, shape=(lagged["kernels"].shape[1],), centre=centre, **lagged)

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        epochs, values = epoch_ids(data), response.values(data)
        invalid = self.early(epochs)
        lost = unseen(response.observed(data), values)
        if lost is not None:
            invalid["history reads unobserved rows"] = self.reading(lost, epochs).T
        return Columns(None, np.moveaxis(self.filtered(values, epochs), 1, 0), invalid)

    @property
    def dims(self) -> tuple[str, ...]:
        return (self.basis_dim,)

    def coords(self) -> dict[str, np.ndarray]:
        return {self.basis_dim: self.basis.labels}


class Coupling(AbstractLagged):
    """Functional coupling to other cells' past: eta_n(t) += sum_{m != n} sum_{l >= dt} c_nm(l) y_m(t - l).

    Parameters
    ----------
    basis : AbstractBasis
        Over lags; kernels have peak 1, a weight is the log-gain per source spike.
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(0.5), one tau a receiver, shared by its sources.
    sources : sequence of labels, optional
        Default: every recorded neuron.
    mask : (neuron, source) bool, optional
        Which couplings exist. A cell never couples to itself.
    edge : "drop" or "zero"

    References
    ----------
    Pillow et al. 2008, Spatio-temporal correlations and visual signalling in a complete neuronal population.
    """

    basis: AbstractBasis
    prior: AbstractPrior | None = None
    sources: tuple | None = eqx.field(default=None, static=True, kw_only=True, converter=lambda s: None if s is None else tuple(s))
    mask: np.ndarray | None = eqx.field(default=None, kw_only=True)
    edge: Edge = eqx.field(default="drop", static=True, kw_only=True, converter=checked_edge)
    name: str = eqx.field(default="coupling", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)
    first: int = eqx.field(default=1, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)

    def resolve(self, data: xr.Dataset, response: Response) -> "Coupling":
        if resolved(self):
            return self
        if "spikes" not in data:
            raise ValueError("Coupling reads other cells' past from the column 'spikes', which the recording lacks: pass spikes= (time, neuron).")
        sources = tuple(neurons(data).tolist()) if self.sources is None else self.sources
        positions(data, sources)
        lagged = self.lag_fields(response, 1, "spikes")
        mean = observed_mean(_source_counts(data, sources), _sources_observed(data, sources))
        centre = mean[:, None] * lagged["kernels"].sum(0)
        mask = _checked_mask(self.mask, response, sources)
        shape = (len(sources), lagged["kernels"].shape[1])
        prior = self.prior or Gaussian(dist.HalfNormal(0.5))
        return settled(self, prior=prior, sources=sources, mask=mask, shape=shape, centre=centre, **lagged)

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        epochs = epoch_ids(data)
        counts = _source_counts(data, self.sources)
        invalid = self.early(epochs)
        seen = _sources_observed(data, self.sources)
        if seen is not None:
            lost = self.reading(~seen, epochs).astype(float) @ self.mask.T.astype(float)
            invalid["a source is unobserved"] = (lost > 0.5).T
        return Columns(self.filtered(counts, epochs), None, invalid)

    def exists(self, response: Response) -> np.ndarray:
        return np.broadcast_to(self.mask[..., None], (*self.mask.shape, self.shape[1])).copy()

    @property
    def dims(self) -> tuple[str, ...]:
        return ("source", self.basis_dim)

    def coords(self) -> dict[str, np.ndarray]:
        return {"source": np.asarray(self.sources), self.basis_dim: self.basis.labels}


def _source_counts(data: xr.Dataset, sources: tuple) -> np.ndarray:
    return data["spikes"].transpose(..., "neuron").values[:, positions(data, sources)]


def _sources_observed(data: xr.Dataset, sources: tuple) -> np.ndarray | None:
    """(row, source) bool where a mask was given."""
    return data["observed"].transpose(..., "neuron").values[:, positions(data, sources)] if "observed" in data else None


def observed_mean(values: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
    """Mean of each column over the rows in which it was observed (zero where it never was)."""
    lost = unseen(observed, values)
    if lost is None:
        return values.mean(0)
    return np.where(lost, 0.0, values).sum(0) / np.maximum((~lost).sum(0), 1)


def _checked_mask(mask: np.ndarray | None, response: Response, sources: tuple) -> np.ndarray:
    """(neuron, source) bool with a cell's coupling to itself taken out."""
    receivers = response.receivers if response.receivers is not None else (None,)
    other = np.array([[r != s for s in sources] for r in receivers])
    if mask is None:
        return other
    mask = np.asarray(mask)
    if mask.shape != other.shape or mask.dtype != bool:
        raise ValueError(f"Coupling(mask=) has shape {mask.shape} and type {mask.dtype}; it wants bool (neuron, source) = {other.shape}.")
    return other & mask


def unseen(observed: np.ndarray | None, values: np.ndarray) -> np.ndarray | None:
    """(row, neuron) bool of responses that were not observed, None where all were."""
    lost = None if observed is None else ~observed
    if values.dtype.kind == "f" and np.isnan(values).any():
        lost = np.isnan(values) if lost is None else lost | np.isnan(values)
    return lost
