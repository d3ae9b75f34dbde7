"""The benchmark problems: simulated coupled Poisson populations of the sizes that the field records."""

from __future__ import annotations

import numpy as np
import xarray as xr

import bayesglm as bg
from bayesglm import basis, prior


def coupled_population(rows: int, neurons: int, seed: int = 0, rate: float = 2.5, dt: float = 0.01) -> xr.Dataset:
    """Refractory Poisson neurons, a tenth of the couplings non-zero, a shared stimulus; ``rate`` in spikes/s."""
    rng = np.random.default_rng(seed)
    lags = np.arange(1, 21)
    fast, slow = np.exp(-lags / 3.0), np.exp(-lags / 10.0)
    weights = rng.normal(size=(neurons, neurons)) * 0.5 * (rng.random((neurons, neurons)) < 0.1)
    np.fill_diagonal(weights, 0.0)
    stimulus = np.convolve(rng.normal(size=rows + 50), np.hanning(11) / np.sqrt((np.hanning(11) ** 2).sum()), "same")[:rows]
    drive = rng.normal(size=neurons) * 0.3
    counts = np.zeros((rows, neurons), np.uint8)
    base = np.log(rate * dt) - 0.1
    for t in range(rows):
        past = counts[max(0, t - 20) : t][::-1]
        n = len(past)
        eta = base + drive * stimulus[t]
        if n and past.any():
            eta = eta + weights @ (slow[:n] @ past) - 2.0 * (fast[:n] @ past)
        counts[t] = rng.poisson(np.exp(np.minimum(eta, 0.0)))
    return bg.recording(dt=dt, spikes=counts, stimulus=stimulus)


def coupled_model(receivers: list[int] | None, couple: object, functions: int = 8, span: float = 0.2) -> bg.GLM:
    """Baseline, stimulus filter, history and all-to-all coupling on one basis; fixed prior scales, as peers have them."""
    shared = basis.RaisedCosine(functions, span=span)
    terms = bg.Baseline(prior.Gaussian(10.0)) + bg.Stimulus("stimulus", basis.RaisedCosine(9, span=0.2), prior.Gaussian(1.0))
    terms = terms + bg.History(shared, prior.Gaussian(1.0)) + bg.Coupling(shared, couple)
    return bg.GLM(terms, neurons=receivers)
