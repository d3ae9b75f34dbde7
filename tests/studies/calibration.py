"""Simulation-based calibration: 500 recordings drawn from the prior, fitted as 500 neurons of one population."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, prior

ROWS, DT = 400, 0.01
HISTORY = basis.RaisedCosine(2, span=0.05)
SD = {"baseline": 0.5, "stimulus": 0.5, "history": 0.07}
LEVEL = 0.2  # softplus keeps every set under 200 spikes/s: none is discarded


def model(learned: bool) -> bg.GLM:
    """Baseline, two covariates and history; a fixed prior, or a learned scale of the covariates."""
    import numpyro.distributions as dist

    law = prior.Gaussian(dist.HalfNormal(SD["stimulus"])) if learned else prior.Gaussian(SD["stimulus"])
    terms = bg.Baseline(prior.Gaussian(SD["baseline"])) + bg.Linear("stimulus", law)
    terms = terms + bg.History(HISTORY, prior.Gaussian(SD["history"]), edge="zero") + bg.Offset("level")
    return bg.GLM(terms, family.Poisson("softplus"))


def simulate(replications: int, learned: bool, seed: int) -> tuple[xr.Dataset, dict[str, np.ndarray]]:
    """Parameters from the prior and, for each, one train of spikes: a neuron a replication."""
    rng = np.random.default_rng(seed)
    stimulus = rng.normal(size=(ROWS, 2))
    scale = np.abs(rng.normal(size=replications)) * SD["stimulus"] if learned else np.full(replications, SD["stimulus"])
    truth = {
        "baseline": rng.normal(size=replications) * SD["baseline"],
        "stimulus": rng.normal(size=(replications, 2)) * scale[:, None],
        "history": rng.normal(size=(replications, 2)) * SD["history"],
    }
    if learned:
        truth["stimulus_scale"] = scale
    kernels = _kernels()
    filters = truth["history"] @ kernels.T  # (replication, lag)
    counts = np.zeros((ROWS, replications), np.int64)
    drive = LEVEL + truth["baseline"] + stimulus @ truth["stimulus"].T
    for t in range(ROWS):
        n = min(t, filters.shape[1])
        past = (filters[:, :n] * counts[t - n : t][::-1].T).sum(1)
        counts[t] = rng.poisson(np.logaddexp(drive[t] + past, 0.0))
    data = bg.recording(dt=DT, spikes=counts, stimulus=stimulus, level=np.full(ROWS, LEVEL))
    return data, truth


def _kernels() -> np.ndarray:
    from bayesglm.basis import lag_kernels

    return lag_kernels(HISTORY.resolve_lags(DT, 1), DT, 1, "spikes")[1]


def ranks(fit: Any, truth: dict[str, np.ndarray], kept: int) -> dict[str, np.ndarray]:
    """Rank of each true value among ``kept`` thinned draws, (replication, ...); net effect of history included."""
    found, real = {name: fit.posterior[name].values for name in truth}, dict(truth)
    total = _kernels().sum(0)
    found["net history"], real["net history"] = found["history"] @ total, truth["history"] @ total
    out = {}
    for name, values in found.items():
        flat = values.reshape(-1, *values.shape[2:])
        thinned = flat[np.linspace(0, len(flat) - 1, kept).astype(int)]
        out[name] = (thinned < real[name]).sum(0)
    return out


def uniformity(rank: np.ndarray, kept: int) -> tuple[float, float]:
    """Largest difference of the ranks' ECDF from uniform, and the 99 % bound for that many independent ranks."""
    u = np.sort((rank.ravel() + 0.5) / (kept + 1))
    n = len(u)
    steps = np.arange(1, n + 1) / n
    return float(np.max(np.maximum(steps - u, u - (steps - 1 / n)))), float(1.63 / np.sqrt(n))
