"""Simulated four-neuron networks: truth drawn from the model's own prior, or strong couplings planted; fits and bands."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._fit import NotConverged

CELLS, SOURCES, FUNCTIONS = 4, 3, 3
DT, SPAN = 0.01, 0.05  # s
DRIVE = -1.5  # known part of eta: about 15 spikes/s
REFRACTORY = np.array([-3.0, -1.0, -0.5, -0.2, -0.1])  # mean of the history filter's prior, eta at lags of one bin and more
BASELINE, HISTORY, COUPLING = 0.4, 0.3, 0.25  # prior scales
BURN = 50  # bins before the recording begins


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
    rhat: np.ndarray  # (network,) the largest one of a net effect or baseline


def model() -> bg.GLM:
    """Softplus and a refractory mean keep recurrent rates sane; scales are fixed, as calibration wants.

    History's prior has its mean in a known part of eta: the drive and the refractory effect of the cell's own past.
    """
    lags = basis.RaisedCosine(FUNCTIONS, span=SPAN)
    terms = bg.Baseline(prior.Gaussian(BASELINE)) + bg.Offset("known")
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
    """A ring in random order: each neuron excites the next one and is inhibited by it; the other couplings are zero."""
    coupling = np.zeros((CELLS, CELLS, FUNCTIONS))
    cells = rng.permutation(CELLS)
    for one, following in zip(cells, np.roll(cells, -1), strict=True):
        coupling[following, one] = weight
        coupling[one, following] = -weight
    return Truth(np.full(CELLS, 0.3), np.zeros((CELLS, FUNCTIONS)), coupling)


def simulate(truth: Truth, rows: int, rng: np.random.Generator) -> xr.Dataset:
    """Spikes bin by bin, from an empty past; the first bins are not recorded."""
    table, own = kernels(), np.arange(CELLS)
    filters = truth.coupling @ table.T
    filters[own, own] = truth.history @ table.T
    counts, known = np.zeros((BURN + rows, CELLS), int), np.zeros((BURN + rows, CELLS))
    for t in range(len(counts)):
        past = counts[max(0, t - len(table)) : t][::-1]
        known[t] = DRIVE + REFRACTORY[: len(past)] @ past
        eta = known[t] + truth.baseline + np.einsum("nml,lm->n", filters[:, :, : len(past)], past)
        counts[t] = rng.poisson(np.logaddexp(0, eta))
    return bg.recording(dt=DT, spikes=counts[BURN:], known=(("time", "neuron"), known[BURN:]))


def net_effects(truth: Truth) -> np.ndarray:
    """Sum over lags of every coupling filter (neuron, source), NaN on the diagonal."""
    effects = truth.coupling @ kernels().sum(0)
    effects[np.arange(CELLS), np.arange(CELLS)] = np.nan
    return effects


def study(truths: list[Truth], rows: int, sampler: method.AbstractMethod, seed: int) -> Bands:
    """Simulate and fit every network; none is discarded."""
    found = [_one(truth, rows, sampler, seed, i) for i, truth in enumerate(truths)]
    return Bands(*(np.array(part) for part in zip(*found, strict=True)))


def _one(truth: Truth, rows: int, sampler: method.AbstractMethod, seed: int, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    data = simulate(truth, rows, np.random.default_rng([seed, i]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)  # of 1,600 effects a few exceed R-hat 1.01 by chance; the largest is kept
        fit = bg.fit(model(), data, sampler, key=i, progress=False)
    band = bg.interval(bg.filters(fit, "coupling").sum("lag", skipna=False), 0.9)
    fastest = float(data["spikes"].mean("time").max()) / DT
    return band.sel(bound="lower").values, band.sel(bound="upper").values, net_effects(truth), fastest, fit.stats["convergence"].rhat_effect


def covered(bands: Bands) -> np.ndarray:
    """(network, 12) bool: the interval holds the true net effect."""
    inside = (bands.lower <= bands.truth) & (bands.truth <= bands.upper)
    return inside[:, ~np.eye(CELLS, dtype=bool)]


def sign_found(bands: Bands) -> np.ndarray:
    """For every coupling that is not zero: the interval leaves out zero, on the side of the truth."""
    strong = np.isfinite(bands.truth) & (bands.truth != 0)
    edge = np.where(bands.truth > 0, bands.lower, -bands.upper)
    return edge[strong] > 0
