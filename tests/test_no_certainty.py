"""Shrinkage never claims certainty: where couplings are zero or weak, bands stay well away from nothing, and cover.

Twenty receivers are twenty small recordings of their own. For P estimates of standard error s that all happen to be
zero (the worst case), a scale t s with a flat prior has density (1 + t^2)^(-P/2), and the variance E[s^2 t^2 / (1 + t^2)]
of a weight is s^2 / P; under the boundary-avoiding prior of "evidence", with density proportional to t in addition, 2 s^2 / P.
A band is asked for at least 0.7 of these standard deviations, compared with the flat prior's: its middle 90 % is narrower
than a Gaussian's of equal variance, since a mixture of scales is peaked.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpyro.distributions as dist
import pytest

import bayesglm as bg
from bayesglm import basis, method, prior
from bayesglm._convergence import net_effects

CELLS, SOURCES, ROWS = 20, 4, 1500
KERNEL = basis.Exponential([0.02], span=0.06)
LEAST = {"learned": 0.7 * (1 / SOURCES) ** 0.5, "evidence": 0.7 * (2 / SOURCES) ** 0.5}
COVERED = 0.85
PRIORS = {"learned": lambda: prior.Gaussian(dist.HalfNormal(0.5)), "evidence": lambda: prior.Gaussian("evidence")}


def model(own):
    return bg.GLM(bg.Baseline() + bg.Coupling(KERNEL, own, sources=tuple(range(SOURCES))), neurons=tuple(range(SOURCES, SOURCES + CELLS)))


def population(weights: np.ndarray, seed: int):
    """Sources that fire by chance, receivers driven by ``weights`` (cell, source) times the sources' filtered past."""
    rng = np.random.default_rng(seed)
    sources = rng.poisson(0.4, (ROWS, SOURCES))
    kernel = np.asarray(KERNEL.resolve_lags(0.01, 1).kernels(np.arange(1, 7) * 0.01))[:, 0]
    past = sum(k * np.roll(sources, lag, 0) for lag, k in enumerate(kernel, start=1))
    spikes = rng.poisson(np.exp(-1.2 + (past - past.mean(0)) @ weights.T))
    return bg.recording(dt=0.01, spikes=np.concatenate([sources, spikes], 1))


def quietly(own, data, how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bg.fit(model(own), data, how, progress=False)


def effects(fit):
    """Draws of the net effects (chain, draw, neuron, source)."""
    return net_effects(fit.model, fit.posterior)["coupling"]


def band(fit):
    return bg.interval(effects(fit), prob=0.9)


@pytest.fixture(scope="module")
def flat_sd():
    """Posterior sd of a weight under a flat prior, about equal over cells and sources."""
    return float(quietly(prior.Flat(), population(np.zeros((CELLS, SOURCES)), 0), method.Laplace(500)).posterior["coupling"].std(("chain", "draw")).median())


def truth(kind, flat_sd):
    weak = 0.2 * flat_sd * np.random.default_rng(1).choice([-1.0, 1.0], (CELLS, SOURCES))
    return np.zeros((CELLS, SOURCES)) if kind == "zero" else weak


def judged(found, flat, weights, fit, least):
    """Bands away from nothing, and the truth within them."""
    width = lambda one: (one.sel(bound="upper") - one.sel(bound="lower")).values  # noqa: E731
    assert (width(found) > least * width(flat)).all(), (width(found) / width(flat)).min()
    total = weights * fit.idata["constant_data"]["coupling_kernels"].values.sum()
    for one in (flat, found):
        inside = (one.sel(bound="lower").values <= total) & (total <= one.sel(bound="upper").values)
        assert inside.mean() >= COVERED


@pytest.mark.parametrize("kind", ["zero", "weak"])
def test_learned_scales_leave_bands(kind, flat_sd):
    weights = truth(kind, flat_sd)
    data = population(weights, 2)
    flat = band(quietly(prior.Flat(), data, method.Laplace(1000)))
    for name, own in PRIORS.items():
        fit = quietly(own(), data, method.Laplace(1000))
        judged(band(fit), flat, weights, fit, LEAST[name])
        shares = (effects(fit) > 0).mean(("chain", "draw"))
        assert 0.05 < float(shares.median()) < 0.95 and ((shares > 0) & (shares < 1)).mean() > 0.97  # no sign is certain


def test_so_do_those_of_hmc(flat_sd):
    weights = truth("weak", flat_sd)
    data = population(weights, 3)
    flat = band(quietly(prior.Flat(), data, method.Laplace(1000)))
    fit = quietly(PRIORS["learned"](), data, method.HMC(num_samples=250, num_chains=2))
    judged(band(fit), flat, weights, fit, LEAST["learned"])


def test_a_point_by_evidence_has_no_band():
    fit = quietly(PRIORS["evidence"](), population(np.zeros((CELLS, SOURCES)), 4), "map")
    assert np.isnan(band(fit)).all() and "no posterior" in band(fit).attrs["why"]
    assert any("maximum of the evidence" in note and "too narrow" in note for note in fit.stats["notes"])
    assert np.isnan([row[name] for row in bg.summary(fit).table for name in ("sd", "lower", "upper", "p_positive", "contraction")]).all()
