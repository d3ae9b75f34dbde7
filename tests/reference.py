"""The GLM's log density by slow loops, NumPy and SciPy: an oracle that shares nothing with the story but its kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special, stats
from shapes import DT, EPOCHS, NEURONS
from test_convolve import slow

from bayesglm import basis

IDS = np.repeat(np.arange(len(EPOCHS)), EPOCHS)
STIMULUS, HISTORY, COUPLING = (basis.RaisedCosine(n, span=span) for n, span in ((3, 0.06), (2, 0.05), (2, 0.04)))


def values(seed: int, sigma: bool = False) -> dict[str, np.ndarray]:
    """One point of the model Baseline + Stimulus + History + Coupling with default priors."""
    rng = np.random.default_rng(seed)
    sites = {"baseline": rng.normal(size=NEURONS)}
    for name, shape in (("stimulus", (3,)), ("history", (2,)), ("coupling", (NEURONS, 2))):
        sites[name] = 0.3 * rng.normal(size=(NEURONS, *shape))
        sites[f"{name}_scale"] = rng.uniform(0.2, 1.5, NEURONS)
    return sites | ({"sigma": rng.uniform(0.5, 2.0, NEURONS)} if sigma else {})


def log_p(raw: dict[str, np.ndarray], sites: dict[str, np.ndarray], kind: str, response: str) -> float:
    """log p(responses, weights, scales), neuron by neuron."""
    return sum(_of_neuron(raw, sites, kind, response, n) for n in range(NEURONS))


def _of_neuron(raw: dict[str, np.ndarray], sites: dict[str, np.ndarray], kind: str, response: str, n: int) -> float:
    use = "signal" if kind == "Gaussian" else "spikes"
    drive, kept = _filtered(raw["stimulus"], STIMULUS, 0, "signal")
    own, kept_own = _filtered(raw[response][:, n], HISTORY, 1, use)
    past, kept_past = _filtered(raw["spikes"], COUPLING, 1, "spikes")
    others = np.delete(np.arange(NEURONS), n)
    w, h, c = sites["stimulus"][n], sites["history"][n], sites["coupling"][n]
    eta = sites["baseline"][n] + drive @ w + own @ h + np.einsum("tsb,sb->t", past[:, others], c[others])
    rows = kept & kept_own & kept_past
    total = _likelihood(kind, eta[rows], raw[response][rows, n], sites["sigma"][n] if kind == "Gaussian" else 1.0)
    total += _priors(raw, sites, n, others)
    level = _level(kind, raw[response][:, n])
    middle = raw["stimulus"].mean() * w.sum() + raw[response][:, n].mean() * _sums(HISTORY, 1, use) @ h
    middle += sum(raw["spikes"][:, s].mean() * _sums(COUPLING, 1, "spikes") @ c[s] for s in others)
    total += stats.t.logpdf(sites["baseline"][n] + middle, 3, level, 2.5)
    if kind == "Gaussian":
        total += np.log(2) + stats.t.logpdf(sites["sigma"][n], 4, 0, raw[response][:, n].std())
    return total


def _filtered(signal: np.ndarray, shape: basis.AbstractBasis, first: int, use: Any) -> tuple[np.ndarray, np.ndarray]:
    return slow(signal.astype(float), basis.lag_kernels(shape, DT, first, use)[1], IDS, first)


def _sums(shape: basis.AbstractBasis, first: int, use: Any) -> np.ndarray:
    return basis.lag_kernels(shape, DT, first, use)[1].sum(0)


def _priors(raw: dict[str, np.ndarray], sites: dict[str, np.ndarray], n: int, others: np.ndarray) -> float:
    """Half-normal scales, Gaussian weights, the stimulus' per training sd; the own cell's coupling is standard normal."""
    total = stats.norm.logpdf(sites["coupling"][n, n]).sum()
    free = {"stimulus": sites["stimulus"][n] * raw["stimulus"].std(), "history": sites["history"][n], "coupling": sites["coupling"][n, others]}
    for name, w in free.items():
        scale = sites[f"{name}_scale"][n]
        total += stats.halfnorm.logpdf(scale, 0, 0.5 if name == "coupling" else 1.0) + stats.norm.logpdf(w, 0, scale).sum()
    return total + 3 * np.log(raw["stimulus"].std())


def _level(kind: str, y: np.ndarray) -> float:
    return {"Poisson": np.log, "Bernoulli": special.logit, "Gaussian": float}[kind](y.mean())


def _likelihood(kind: str, eta: np.ndarray, y: np.ndarray, sigma: float) -> float:
    if kind == "Poisson":
        return stats.poisson.logpmf(y, np.exp(eta)).sum()
    return stats.bernoulli.logpmf(y, special.expit(eta)).sum() if kind == "Bernoulli" else stats.norm.logpdf(y, eta, sigma).sum()
