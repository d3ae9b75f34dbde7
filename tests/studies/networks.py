"""Simulated four-neuron networks: truth drawn from the model's own prior, or strong couplings planted; fits and bands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, method, prior

CELLS, SOURCES, FUNCTIONS = 4, 3, 3
DT, SPAN = 0.01, 0.05  # s
DRIVE = -1.8  # known part of eta: about 15 spikes/s
BASELINE, HISTORY, COUPLING = 0.4, 0.4, 0.35  # prior scales
BURN = 50  # bins before the recording begins
SAMPLER = method.NUTS(num_samples=500, num_chains=2)


class Truth(NamedTuple):
    """Weights of one network: baseline (neuron,), history (neuron, basis), coupling (neuron, source, basis)."""

    baseline: np.ndarray
    history: np.ndarray
    coupling: np.ndarray


class Bands(NamedTuple):
    """90 % intervals of the net effects, and their truth, (network, neuron, source); the diagonal is NaN."""

    lower: np.ndarray
    upper: np.ndarray
    truth: np.ndarray
    peak_rate: np.ndarray  # (network,) spikes/s of the fastest neuron


def model() -> bg.GLM:
    """Softplus keeps recurrent rates finite; scales are fixed, as calibration wants."""
    lags = basis.RaisedCosine(FUNCTIONS, span=SPAN)
    terms = bg.Baseline(prior.Gaussian(BASELINE)) + bg.Offset("drive")
    return bg.GLM(terms + bg.History(lags, prior.Gaussian(HISTORY)) + bg.Coupling(lags, prior.Gaussian(COUPLING)), family.Poisson("softplus"))


def kernels() -> np.ndarray:
    """The model's kernels (lag, basis): one spike's peak is one."""
    return bg.basis.lag_kernels(basis.RaisedCosine(FUNCTIONS, span=SPAN), DT, 1, "spikes")[1]


def from_prior(rng: np.random.Generator) -> Truth:
    """A network drawn from the prior of ``model``."""
    coupling = rng.normal(0, COUPLING, (CELLS, CELLS, FUNCTIONS))
    coupling[np.arange(CELLS), np.arange(CELLS)] = 0
    return Truth(rng.normal(0, BASELINE, CELLS), rng.normal(0, HISTORY, (CELLS, FUNCTIONS)), coupling)


def planted(rng: np.random.Generator, weight: float) -> Truth:
    """Refractory neurons in a ring: each excites the next one and is inhibited by it; all other couplings are zero."""
    coupling = np.zeros((CELLS, CELLS, FUNCTIONS))
    cells = rng.permutation(CELLS)
    for one, following in zip(cells, np.roll(cells, -1), strict=True):
        coupling[following, one] = weight
        coupling[one, following] = -weight
    return Truth(np.full(CELLS, 0.3), np.tile([-1.0, -0.3, 0.0], (CELLS, 1)), coupling)


def simulate(truth: Truth, rows: int, rng: np.random.Generator) -> xr.Dataset:
    """Spikes bin by bin, from an empty past; the first bins are not recorded."""
    table = kernels()
    filters = truth.coupling @ table.T
    filters[np.arange(CELLS), np.arange(CELLS)] = truth.history @ table.T
    counts = np.zeros((BURN + rows, CELLS), int)
    for t in range(1, len(counts)):
        past = counts[max(0, t - len(table)) : t][::-1]
        eta = DRIVE + truth.baseline + np.einsum("nml,lm->n", filters[:, :, : len(past)], past)
        counts[t] = rng.poisson(np.logaddexp(0, eta))
    return bg.recording(dt=DT, spikes=counts[BURN:], drive=np.full(rows, DRIVE))


def net_effects(truth: Truth) -> np.ndarray:
    """Sum over lags of every coupling filter (neuron, source), NaN on the diagonal."""
    effects = truth.coupling @ kernels().sum(0)
    effects[np.arange(CELLS), np.arange(CELLS)] = np.nan
    return effects


def band_of(data: xr.Dataset, key: int) -> tuple[np.ndarray, np.ndarray]:
    """90 % interval of every net effect, lower and upper (neuron, source)."""
    fit = bg.fit(model(), data, SAMPLER, key=key, progress=False)
    band = bg.interval(bg.filters(fit, "coupling").sum("lag", skipna=False), 0.9)
    return band.sel(bound="lower").values, band.sel(bound="upper").values


def study(truths: list[Truth], rows: int, seed: int) -> Bands:
    """Simulate and fit every network; none is discarded."""
    lower, upper, rates = [], [], []
    for i, truth in enumerate(truths):
        data = simulate(truth, rows, np.random.default_rng([seed, i]))
        rates.append(float(data["spikes"].mean("time").max()) / DT)
        low, high = band_of(data, key=i)
        lower.append(low)
        upper.append(high)
    return Bands(np.array(lower), np.array(upper), np.array([net_effects(truth) for truth in truths]), np.array(rates))


def covered(bands: Bands) -> np.ndarray:
    """(network, 12) bool: the interval holds the true net effect."""
    exists = ~np.eye(CELLS, dtype=bool)
    inside = (bands.lower <= bands.truth) & (bands.truth <= bands.upper)
    return inside[:, exists]
