"""Sparse networks: one coupling in ten is planted; bands under a learned scale, and two ways to rank couplings."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpyro.distributions as dist
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._fit import NotConverged

CELLS, FUNCTIONS, SHARE = 10, 3, 0.1
DT, SPAN = 0.01, 0.05  # s
DRIVE, STRENGTH = -1.5, 0.6  # known part of eta; sd of a planted filter's weight
BURN = 50
STRENGTHS = np.geomspace(0.02, 1.0, 8)  # scales of the L1 path


class Network(NamedTuple):
    """A recording, and which couplings are there: net effects (neuron, source), NaN on the diagonal."""

    data: xr.Dataset
    effects: np.ndarray


def kernels() -> np.ndarray:
    """Kernels (lag, basis): one spike's peak is one."""
    return bg.basis.lag_kernels(basis.RaisedCosine(FUNCTIONS, span=SPAN), DT, 1, "spikes")[1]


def network(rows: int, seed: int) -> Network:
    """Ten cells; a tenth of the couplings excite or inhibit, the others are zero."""
    rng = np.random.default_rng([seed, 7])
    couplings = np.zeros((CELLS, CELLS, FUNCTIONS))
    pairs = rng.permutation([(n, m) for n in range(CELLS) for m in range(CELLS) if n != m])[: round(SHARE * CELLS * (CELLS - 1))]
    for n, m in pairs:
        couplings[n, m] = rng.choice([-1, 1]) * np.abs(rng.normal(0, STRENGTH, FUNCTIONS))
    table = kernels()
    filters = couplings @ table.T
    filters[np.arange(CELLS), np.arange(CELLS)] = [-2.0, -1.0, -0.5, -0.2, -0.1][: len(table)]
    counts = np.zeros((BURN + rows, CELLS), int)
    for t in range(len(counts)):
        past = counts[max(0, t - len(table)) : t][::-1]
        counts[t] = rng.poisson(np.logaddexp(0, DRIVE + np.einsum("nml,lm->n", filters[:, :, : len(past)], past)))
    effects = couplings @ table.sum(0)
    effects[np.arange(CELLS), np.arange(CELLS)] = np.nan
    return Network(bg.recording(dt=DT, spikes=counts[BURN:]), effects)


def model(shrunk: prior.AbstractPrior, receivers: int = CELLS) -> bg.GLM:
    """History and couplings on the same lags, of the first cells."""
    lags = basis.RaisedCosine(FUNCTIONS, span=SPAN)
    return bg.GLM(bg.Baseline() + bg.History(lags) + bg.Coupling(lags, shrunk), family.Poisson("softplus"), neurons=tuple(range(receivers)))


def covered(one: Network, sampler: method.AbstractMethod) -> tuple[float, float]:
    """Shares of zero and of planted net effects that 90 % intervals hold, under the default learned scale."""
    fit = _fitted(one, prior.Gaussian(dist.HalfNormal(0.5)), sampler)
    band = bg.interval(bg.filters(fit, "coupling").sum("lag", skipna=False), 0.9)
    inside = (band.sel(bound="lower").values <= one.effects) & (one.effects <= band.sel(bound="upper").values)
    return float(inside[one.effects == 0].mean()), float(inside[np.isfinite(one.effects) & (one.effects != 0)].mean())


def ranking(one: Network, sampler: method.AbstractMethod, receivers: int) -> dict[str, float]:
    """Average precision of planted couplings: by the horseshoe's |mean|/sd of the net effect, by the L1 path's order of entry, by |L1 MAP|."""
    effects = one.effects[:receivers]
    there = np.isfinite(effects)
    truth = (effects != 0)[there]
    expected = SHARE * (CELLS - 1) * FUNCTIONS
    drawn = bg.filters(_fitted(one, prior.Horseshoe(expected_nonzero=expected), sampler, receivers), "coupling").sum("lag", skipna=False)
    score = np.abs(drawn.mean(("chain", "draw")) / drawn.std(("chain", "draw"))).values
    found = {"horseshoe": average_precision(truth, score[there])}
    sizes = [np.abs(_fitted(one, prior.Laplace(float(scale)), method.MAP(), receivers).posterior["coupling"].values[0, 0]).sum(-1) for scale in STRENGTHS]
    found["lasso_best_strength"] = max(average_precision(truth, size[there]) for size in sizes)
    entry = np.array([size > 0 for size in sizes]).sum(0) + 1e-3 * sizes[-1] / sizes[-1].max()
    found["lasso_path"] = average_precision(truth, entry[there])
    return found


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Mean over planted couplings of the precision at their rank; ties by their order."""
    order = np.argsort(-score, kind="stable")
    hits = truth[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def _fitted(one: Network, shrunk: prior.AbstractPrior, how: method.AbstractMethod, receivers: int = CELLS) -> bg.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        return bg.fit(model(shrunk, receivers), one.data, how, progress=False)
