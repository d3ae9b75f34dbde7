"""Terms that read the past of spikes and choices: History, Coupling."""

from typing import Literal

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from bayesglm._convolve import convolve_seen
from bayesglm._data import areas, epoch_ids, given_labels, is_time, neurons
from bayesglm.basis import AbstractBasis
from bayesglm.prior import AbstractPrior, Gaussian
from bayesglm.terms._base import Columns, Response, positions, resolved, settled
from bayesglm.terms._lagged import AbstractLagged, Edge, checked_edge

Missing = Literal["break", "skip"]


def _checked_missing(missing: str) -> str:
    if missing not in ("break", "skip"):
        raise ValueError(f"missing={missing!r}: 'break' leaves out rows whose filter reads a trial without a response, 'skip' steps over such trials.")
    return missing


class History(AbstractLagged):
    """Effect of a response's own past: eta_n(t) += sum_{l >= dt} h_n(l) y_n(t - l). Lag 0 is excluded by construction.

    On trial rows lags count trials, and a binary response enters as -1 or +1, so that a weight is half the difference in
    log-odds between the two earlier choices.

    Parameters
    ----------
    basis : AbstractBasis
        Over lags, with a ``span`` in seconds (in trials on trial rows). For spikes and choices kernels have peak 1: a
        weight is the log-gain per own spike. For a continuous response kernels sum to 1.
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(1).
    edge : "drop" or "zero"
    missing : "break" or "skip"
        Trial rows without a response: "break" does not score the rows whose filter reads one; with "skip" lags count
        only trials with a response. Time rows know "break" only.

    Raises
    ------
    ValueError
        For ``missing="skip"`` on time rows.

    References
    ----------
    Truccolo et al. 2005, A point process framework for relating neural spiking activity to spiking history; Busse et al.
    2011, The detection of visual contrast in the behaving mouse (choice history).

    Examples
    --------
    >>> import bayesglm as bg
    >>> trials = bg.recording(rows="trial", choice=[0, 1, 1, 0])
    >>> model = bg.GLM(bg.History(bg.basis.Lags(span=1), edge="zero"), bg.family.Bernoulli(), response="choice").resolve(trials)
    >>> model.design(trials).each["own"]["history"][0, :, 0].tolist()
    [0.0, -1.0, 1.0, 1.0]
    """

    basis: AbstractBasis
    prior: AbstractPrior | None = None
    edge: Edge = eqx.field(default="drop", static=True, kw_only=True, converter=checked_edge)
    missing: Missing = eqx.field(default="break", static=True, kw_only=True, converter=_checked_missing)
    name: str = eqx.field(default="history", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)
    first: int = eqx.field(default=1, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)
    coded: bool = eqx.field(default=False, static=True, kw_only=True)  # whether 0 and 1 enter as -1 and +1

    def resolve(self, data: xr.Dataset, response: Response) -> "History":
        if resolved(self):
            return self
        if self.missing == "skip" and is_time(data):
            raise ValueError("History(missing='skip') steps over trials without a response, and the rows of this recording are time bins: leave missing out.")
        lagged = self.lag_fields(response, 1, "spikes" if response.spiking else "signal")
        coded = response.binary and not is_time(data)
        mean = observed_mean(response.values(data), response.observed(data))
        centre = (2.0 * mean - 1.0 if coded else mean)[:, None] * lagged["kernels"].sum(0)
        prior = self.prior or Gaussian(dist.HalfNormal(1.0))
        return settled(self, prior=prior, shape=(lagged["kernels"].shape[1],), centre=centre, coded=coded, **lagged)

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        epochs, values = epoch_ids(data), response.values(data)
        lost = unseen(response.observed(data), values)
        if self.coded:
            values = 2.0 * values - 1.0
        if lost is None:
            return Columns(None, np.moveaxis(self.filtered(values, epochs), 1, 0), self.early(epochs))
        values = np.where(lost, 0, values)
        if self.missing == "skip":
            return self._skipping(values, ~lost, epochs)
        invalid = self.early(epochs) | {f"{self.name} reads unobserved rows": self.reading(lost, epochs).T}
        return Columns(None, np.moveaxis(self.filtered(values, epochs), 1, 0), invalid)

    def _skipping(self, values: np.ndarray, seen: np.ndarray, epochs: np.ndarray) -> Columns:
        """Lags that count the rows with a response."""
        out, whole = convolve_seen(values, seen, self.kernels, epochs)
        cut = {} if self.edge == "zero" or whole.all() else {f"{self.name} reaches out of the epoch": ~whole.T}
        return Columns(None, np.moveaxis(out, 1, 0), cut)

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
        Which couplings exist. A cell never couples to itself, nor to a cell that was never observed together with it.
    edge : "drop" or "zero"

    Notes
    -----
    Where the recording knows the neurons' areas (``labels={"area": [...]}``, a column ``area (neuron)``), ``coords``
    has the ``area`` of every source, so that a prior may have a scale a pair of areas.

    References
    ----------
    Pillow et al. 2008, Spatio-temporal correlations and visual signalling in a complete neuronal population.
    """

    basis: AbstractBasis
    prior: AbstractPrior | None = None
    sources: tuple | None = eqx.field(default=None, static=True, kw_only=True, converter=given_labels)
    mask: np.ndarray | None = eqx.field(default=None, kw_only=True)
    edge: Edge = eqx.field(default="drop", static=True, kw_only=True, converter=checked_edge)
    name: str = eqx.field(default="coupling", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)
    first: int = eqx.field(default=1, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)
    areas: tuple | None = eqx.field(default=None, static=True, kw_only=True)  # of the sources

    def resolve(self, data: xr.Dataset, response: Response) -> "Coupling":
        if resolved(self):
            return self
        if "spikes" not in data:
            raise ValueError("Coupling reads other cells' past from the column 'spikes', which the recording lacks: pass spikes= (time, neuron).")
        sources = tuple(neurons(data).tolist()) if self.sources is None else self.sources
        places, known = positions(data, sources), areas(data)
        lagged = self.lag_fields(response, 1, "spikes")
        mean = observed_mean(_source_counts(data, sources), _sources_observed(data, sources))
        centre = mean[:, None] * lagged["kernels"].sum(0)
        mask = _checked_mask(self.mask, response, sources) & _together(data, response, sources)
        fields = {"mask": mask, "areas": None if known is None else tuple(known[places].tolist())}
        shape = (len(sources), lagged["kernels"].shape[1])
        prior = self.prior or Gaussian(dist.HalfNormal(0.5))
        return settled(self, prior=prior, sources=sources, shape=shape, centre=centre, **fields, **lagged)

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
        labels = {"source": np.asarray(self.sources), self.basis_dim: self.basis.labels}
        return labels if self.areas is None else labels | {"area": np.asarray(self.areas)}


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


def _together(data: xr.Dataset, response: Response, sources: tuple) -> np.ndarray:
    """(neuron, source) bool: some row has both observed; cells of different sessions have none."""
    seen, theirs = response.observed(data), _sources_observed(data, sources)
    if seen is None or theirs is None:
        return np.ones((response.size, len(sources)), bool)
    return seen.T.astype(np.float32) @ theirs.astype(np.float32) > 0.5


def unseen(observed: np.ndarray | None, values: np.ndarray) -> np.ndarray | None:
    """(row, neuron) bool of responses that were not observed, None where all were."""
    lost = None if observed is None else ~observed
    if values.dtype.kind == "f" and np.isnan(values).any():
        lost = np.isnan(values) if lost is None else lost | np.isnan(values)
    return lost
