"""Time rescaling of true models: how often is one rejected at 5 %, by family and bin width, in one piece and in short trials?

Trains with a known history are simulated and tested at their true rates, as arrays and through ``bg.rescale``. Beside
them stands what is known to go wrong: Haslinger's correction for counts, and leaving out both cut-off intervals of every
trial.
"""

from __future__ import annotations

import warnings
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import expit

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._fit import Fit, NotConverged
from bayesglm.engine.goodness import goodness, holm
from bayesglm.engine.rescaling import How, rescaled_intervals

WIDTHS = (0.001, 0.005, 0.02)  # s
RATE = 25.0  # spikes/s, before the past is counted in
SHAPE = basis.RaisedCosine(2, span=0.06)
WEIGHTS = np.array([-1.5, 0.6])  # refractory, then a rebound
SECONDS = 30.0
TRIAL = 0.2  # s: about four spikes
LEVEL = 0.05
FAMILIES: dict[str, tuple[Any, How]] = {"Poisson": (family.Poisson(), "counts"), "Bernoulli": (family.Bernoulli(), "any_spike")}


class Runs(NamedTuple):
    """Simulated trains: counts (row, run), and the true mean count or chance of a spike (row, run)."""

    counts: np.ndarray
    expected: np.ndarray


def kernel(dt: float) -> np.ndarray:
    """Log-gain of a spike at each lag, (lag,)."""
    return basis.lag_kernels(SHAPE, dt, 1, "spikes")[1] @ WEIGHTS


def level(kind: str, dt: float) -> float:
    """The constant of eta."""
    return float(np.log(RATE * dt) if kind == "Poisson" else np.log(np.expm1(RATE * dt)))


def simulate(kind: str, dt: float, runs: int, rows: int, rng: np.random.Generator) -> Runs:
    """Independent trains, each with its own past."""
    past = kernel(dt)[:, None]
    ahead = np.zeros((len(past), runs))  # what the spikes so far add to the next rows, around a ring
    counts, expected = np.zeros((rows, runs), np.uint8), np.zeros((rows, runs))
    order = (np.arange(len(past)) + np.arange(len(past))[:, None]) % len(past)
    for t in range(rows):
        here = t % len(past)
        eta = level(kind, dt) + ahead[here]
        ahead[here] = 0.0
        if kind == "Poisson":
            expected[t] = np.exp(eta)
            counts[t] = rng.poisson(expected[t])
        else:
            expected[t] = expit(eta)
            counts[t] = rng.random(runs) < expected[t]
        fired = np.flatnonzero(counts[t])
        ahead[np.ix_(order[(here + 1) % len(past)], fired)] += past * counts[t, fired]
    return Runs(counts, expected)


def p_values(intervals: list[np.ndarray]) -> np.ndarray:
    """(run, 2) p-values of the intervals' law and of their correlations."""
    found = [goodness(-np.expm1(-one)) for one in intervals]
    return np.array([[one.p_value, one.autocorrelation_p] for one in found])


def by_arrays(kind: str, dt: float, runs: int, seed: int) -> np.ndarray:
    """(run, 2) p-values at the true rates."""
    one = simulate(kind, dt, runs, round(SECONDS / dt), np.random.default_rng([seed, round(1e6 * dt)]))
    return p_values(rescaled_intervals(one.expected, one.counts, how=FAMILIES[kind][1], seed=seed))


def occupied(dt: float, runs: int, seed: int, binary: bool) -> np.ndarray:
    """(run, 2) p-values of Poisson counts by the bins with any spike; ``binary``: as if the mean count were the chance of a spike."""
    one = simulate("Poisson", dt, runs, round(SECONDS / dt), np.random.default_rng([seed, 4]))
    chance = np.minimum(one.expected, 0.99) if binary else -np.expm1(-one.expected)
    return p_values(rescaled_intervals(chance, one.counts, how="any_spike", seed=seed))


def without_history(kind: str, dt: float, runs: int, seed: int) -> np.ndarray:
    """(run, 2) p-values of a constant rate, that of each train."""
    one = simulate(kind, dt, runs, round(SECONDS / dt), np.random.default_rng([seed, 1]))
    return p_values(rescaled_intervals(np.broadcast_to(one.counts.mean(0), one.counts.shape), one.counts, how=FAMILIES[kind][1], seed=seed))


def in_trials(kind: str, dt: float, runs: int, seed: int, cut: bool, at_once: int = 250) -> np.ndarray:
    """(run, 2) p-values of short trials, put end to end, or with both cut-off intervals of every trial left out."""
    rows, trials, found = round(TRIAL / dt), round(SECONDS / TRIAL), []
    for number in range(0, runs, at_once):
        size = min(at_once, runs - number)
        one = simulate(kind, dt, size * trials, rows, np.random.default_rng([seed, 2, number]))
        if cut:
            each = rescaled_intervals(one.expected, one.counts, how=FAMILIES[kind][1], seed=seed)
            intervals = [np.concatenate(each[r * trials : (r + 1) * trials]) for r in range(size)]
        else:
            joined = [np.moveaxis(part.reshape(rows, size, trials), 2, 0).reshape(rows * trials, size) for part in one]
            intervals = rescaled_intervals(joined[1], joined[0], how=FAMILIES[kind][1], seed=[seed, number])
        found.append(p_values(intervals))
    return np.concatenate(found)


def at_the_truth(kind: str, data: xr.Dataset) -> Fit:
    """A point fit that holds the true weights for every neuron."""
    g = prior.Gaussian(1.0)
    model = bg.GLM(bg.Baseline(g) + bg.History(SHAPE, g, edge="zero"), FAMILIES[kind][0]).resolve(data)
    size = data.sizes["neuron"]
    sites = {"baseline": np.full((1, 1, size), level(kind, data.attrs["dt"])), "history": np.broadcast_to(WEIGHTS, (1, 1, size, 2))}
    posterior = xr.Dataset(
        {"baseline": (("chain", "draw", "neuron"), sites["baseline"]), "history": (("chain", "draw", "neuron", "history_basis"), sites["history"])}
    )
    idata = xr.DataTree.from_dict({"posterior": posterior.assign_coords({"chain": [0], "draw": [0]} | model.coords())})
    return Fit(model, None, idata, method.MAP(), MappingProxyType({}))


def through_rescale(kind: str, dt: float, runs: int, seed: int, at_once: int = 100) -> np.ndarray:
    """(run, 2) p-values by ``bg.rescale``, a run a neuron."""
    found = []
    for number in range(0, runs, at_once):
        size = min(at_once, runs - number)
        one = simulate(kind, dt, size, round(SECONDS / dt), np.random.default_rng([seed, 3, number]))
        data = bg.recording(dt=dt, spikes=one.counts)
        table = bg.rescale(at_the_truth(kind, data), data, key=seed + number, progress=False).table
        found.append(np.stack([table["p_value"], table["autocorrelation_p"]], 1))
    return np.concatenate(found)


def shares(p: np.ndarray) -> dict[str, float]:
    """Shares of runs that are rejected: by either test alone, by both together after Holm's correction."""
    joint = np.array([np.nanmin(holm(row)) for row in p])
    names = {"ks": p[:, 0], "autocorrelation": p[:, 1], "joint": joint}
    return {"runs": len(p)} | {name: float(np.mean(values < LEVEL)) for name, values in names.items()}


def after_fitting(kind: str, runs: int, seed: int, dt: float = 0.005, seconds: float = 300.0, at_once: int = 50) -> np.ndarray:
    """(run, 2) p-values on new data of posteriors fitted to ten times as much, a run a neuron."""
    found = []
    for number in range(0, runs, at_once):
        one = simulate(kind, dt, at_once, round((seconds + SECONDS) / dt), np.random.default_rng([seed, 5, number]))
        train, test = bg.split(bg.recording(dt=dt, spikes=one.counts), seconds / (seconds + SECONDS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)  # of 200 draws an effective sample size is never 400
            fit = bg.fit(bg.GLM(bg.Baseline() + bg.History(SHAPE), FAMILIES[kind][0]), train, method.Laplace(num_samples=200), progress=False)
        table = bg.rescale(fit, test, key=seed + number, progress=False).table
        found.append(np.stack([table["p_value"], table["autocorrelation_p"]], 1))
    return np.concatenate(found)


def study(runs: int, seed: int) -> dict[str, Any]:
    """Every family and bin width: true models, and what must fail."""
    few = max(20, runs // 20)
    found: dict[str, Any] = {"seconds": SECONDS, "rate": RATE, "trial": TRIAL, "level": LEVEL}
    for kind in FAMILIES:
        for dt in WIDTHS:
            p = by_arrays(kind, dt, runs, seed)
            found[f"{kind} {1000 * dt:g} ms"] = {
                "true_rates": shares(p),
                "the_first_quarter": shares(p[: runs // 4]),
                "bg.rescale": shares(through_rescale(kind, dt, runs // 4, seed)),
                "trials": shares(in_trials(kind, dt, runs, seed, False)),
                "trials_both_ends_left_out": shares(in_trials(kind, dt, few, seed, True)),
                "without_history": shares(without_history(kind, dt, few, seed)),
            }
    for dt in WIDTHS:
        row = found[f"Poisson {1000 * dt:g} ms"]
        row["any_spike"] = shares(occupied(dt, runs, seed, False))
        row["as_if_binary"] = shares(occupied(dt, few, seed, True))
    return found
