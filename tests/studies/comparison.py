"""Simulated recordings with slow covariates: do a comparison's intervals hold the true difference, and is noise called better?

Spikes follow a slow covariate, and a slow drive that no model knows: it is what makes neighbouring bins give the answer
away, and useless slow covariates look useful.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.signal import lfilter
from scipy.special import logsumexp

import bayesglm as bg
from bayesglm import method, prior
from bayesglm._comparing._cut import Block, cut
from bayesglm._comparing._elpd import Elpd, clustered_se, t_quantile
from bayesglm._comparing._pointwise import unit_sums
from bayesglm._fit import NotConverged
from bayesglm._likelihood import source

DT, TAU = 0.05, 0.25  # s: bins, and the correlation time of every covariate and of the hidden drive
SECONDS = 450.0  # 1,800 correlation times
NEW = 8  # recordings' worth of new data for the true difference
RATE = 20.0  # spikes/s
DRIVEN, HIDDEN = 0.15, 0.5  # log-gain a sd of the covariate, and of what no model knows
USELESS = 3  # covariates that say nothing
PROB = 0.9
SAMPLER = method.Laplace(num_samples=400)
PAIRS = {"driven": ("driven", "constant"), "useless": ("useless", "driven")}


class Judged(NamedTuple):
    """One pair of models on one recording: the difference (first minus second), its interval, the truth."""

    difference: float
    lower: float
    upper: float
    truth: float
    verdict: str
    clusters: int


def slow(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Ornstein-Uhlenbeck series (row, column) of unit variance, in their stationary state."""
    keep = np.exp(-DT / TAU)
    noise = rng.normal(size=(rows, columns)) * np.sqrt(1 - keep**2)
    noise[0] = rng.normal(size=columns)
    return lfilter([1.0], [1.0, -keep], noise, axis=0)


def simulate(rng: np.random.Generator, seconds: float) -> xr.Dataset:
    """One neuron driven by ``x`` and by something hidden; ``useless`` covariates beside it."""
    rows = round(seconds / DT)
    signals = slow(rng, rows, 2 + USELESS)
    eta = np.log(RATE * DT) + DRIVEN * signals[:, 0] + HIDDEN * signals[:, 1] - HIDDEN**2 / 2
    return bg.recording(dt=DT, spikes=rng.poisson(np.exp(eta)), x=signals[:, 0], noise=signals[:, 2:])


def models() -> dict[str, bg.GLM]:
    """With and without the covariate that matters, and with useless ones."""
    law = prior.Gaussian(1.0)
    constant = bg.Baseline(prior.Gaussian(3.0))
    driven = constant + bg.Linear("x", law)
    return {"constant": bg.GLM(constant), "driven": bg.GLM(driven), "useless": bg.GLM(driven + bg.Linear("noise", law))}


def one_recording(seed: int, number: int) -> dict[str, Judged]:
    """Both pairs of models on one recording, left out by blocks and by bins."""
    rng = np.random.default_rng([seed, number])
    data, new = simulate(rng, SECONDS), simulate(rng, NEW * SECONDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)  # of 400 independent draws an effective sample size may be estimated below 400
        fits = bg.fit_all(models(), data, SAMPLER, key=number, progress=False)
    found, by_bin = {}, {name: bg.loo(fit, unit="bin", se="bin") for name, fit in fits.items()}
    for pair, (one, other) in PAIRS.items():
        compared = bg.compare({name: fits[name] for name in (one, other)})
        first, second = compared[one], compared[other]
        truth = [new_data(fits[name], new, first.elpd.block) / NEW for name in (one, other)]
        found[pair] = _judged(first.elpd, second.elpd, truth[0] - truth[1], first.verdict)
        alone = [float(bg.score(fits[name], new).sum()) / NEW for name in (one, other)]
        verdict = bg.compare({name: by_bin[name] for name in (one, other)})[one].verdict
        found[f"{pair} by bin"] = _judged(by_bin[one], by_bin[other], alone[0] - alone[1], verdict)
    return found


def new_data(fit: bg.Fit, new: xr.Dataset, block: float) -> float:
    """Log predictive density of new blocks of the same length, summed."""
    made = source(fit, new)
    plan = cut(new, "block", "block", Block(block, ""))
    return float(sum((logsumexp(sums, axis=0) - np.log(made.draws)).sum() for _, sums in unit_sums(made, plan.units)))


def _judged(one: Elpd, other: Elpd, truth: float, verdict: str) -> Judged:
    pointwise = (one.elpd_i - other.elpd_i.values).sum("neuron").values[:, None]
    difference, half = float(pointwise.sum()), t_quantile(PROB, one.n_clusters) * float(clustered_se(pointwise, one.cluster)[0])
    return Judged(difference, difference - half, difference + half, truth, verdict, one.n_clusters)


def study(recordings: int, seed: int) -> list[dict[str, Judged]]:
    """Every recording counts."""
    return [one_recording(seed, number) for number in range(recordings)]


def summary(found: list[dict[str, Judged]]) -> dict[str, Any]:
    """Coverage of the intervals and shares of verdicts, with their standard errors."""
    figures = {"recordings": len(found), "correlation_times": SECONDS / TAU, "new_data": NEW, "nominal": PROB}
    for pair in found[0]:
        rows = [one[pair] for one in found]
        covered = np.array([row.lower <= row.truth <= row.upper for row in rows])
        better = np.array([row.verdict == "better" for row in rows])
        figures[pair] = {
            "coverage": float(covered.mean()),
            "coverage_se": _se(covered),
            "called_better": float(better.mean()),
            "called_better_se": _se(better),
            "mean_difference": float(np.mean([row.difference for row in rows])),
            "mean_truth": float(np.mean([row.truth for row in rows])),
            "sd_of_error": float(np.std([row.difference - row.truth for row in rows])),
            "mean_half_width": float(np.mean([(row.upper - row.lower) / 2 for row in rows])),
            "fewest_clusters": min(row.clusters for row in rows),
        }
    return figures


def _se(hits: np.ndarray) -> float:
    return float(np.sqrt(hits.mean() * (1 - hits.mean()) / len(hits)))
