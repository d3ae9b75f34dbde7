"""Simulation-based calibration: 500 recordings drawn from the prior, fitted as 500 neurons of one population."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, prior

ROWS, DT, KEPT = 400, 0.01, 199
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


def fitted(replications: int, learned: bool, seed: int, method: Any, at_once: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Truth and ranks of all replications, fitted ``at_once`` neurons at a time (chains of a block wait for the longest tree)."""
    data, truth = simulate(replications, learned, seed)
    pieces = []
    for first in range(0, replications, at_once):
        some = slice(first, first + at_once)
        part = data.isel(neuron=some)
        fit = bg.fit(model(learned), part, method, progress=False)
        pieces.append(ranks(fit, part, {name: value[some] for name, value in truth.items()}, KEPT))
    return truth, {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def ranks(fit: Any, data: xr.Dataset, truth: dict[str, np.ndarray], kept: int) -> dict[str, np.ndarray]:
    """Rank of each true value among ``kept`` thinned draws, (replication, ...); net effect of history and log likelihood included."""
    draws = fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]
    chosen = np.linspace(0, draws - 1, kept).astype(int)
    found = {name: fit.posterior[name].values.reshape(draws, *fit.posterior[name].shape[2:])[chosen] for name in truth}
    real = dict(truth)
    total = _kernels().sum(0)
    found["net history"], real["net history"] = found["history"] @ total, truth["history"] @ total
    found["log likelihood"] = np.stack([log_likelihood(data, {name: value[d] for name, value in found.items()}) for d in range(kept)])
    real["log likelihood"] = log_likelihood(data, truth)
    return {name: (found[name] < real[name]).sum(0) for name in found}


def log_likelihood(data: xr.Dataset, at: dict[str, np.ndarray]) -> np.ndarray:
    """(replication,) log p(spikes) up to y!, by NumPy alone."""
    counts = data["spikes"].values.astype(float)
    filters = at["history"] @ _kernels().T
    past = np.zeros_like(counts)
    for lag in range(1, filters.shape[1] + 1):
        past[lag:] += filters[:, lag - 1] * counts[:-lag]
    eta = LEVEL + at["baseline"] + data["stimulus"].values @ at["stimulus"].T + past
    mean = np.logaddexp(eta, 0.0)
    return (counts * np.log(mean) - mean).sum(0)


def uniformity(rank: np.ndarray, kept: int, quantities: int = 1) -> tuple[float, float]:
    """Largest difference of the ranks' ECDF from uniform, and its 99 % bound, over ``quantities`` of them jointly (Bonferroni)."""
    u = np.sort((rank.ravel() + 0.5) / (kept + 1))
    n = len(u)
    steps = np.arange(1, n + 1) / n
    return float(np.max(np.maximum(steps - u, u - (steps - 1 / n)))), float(np.sqrt(0.5 * np.log(2 * quantities / 0.01) / n))
