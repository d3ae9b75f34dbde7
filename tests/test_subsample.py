"""The difference estimator: unbiased, with the standard error it says, and exact where every unit is evaluated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from synthetic import made_up

import bayesglm as bg
from bayesglm import prior
from bayesglm._comparing._subsample import difference_estimate, has_moments, of_moments
from bayesglm._double import double
from bayesglm._likelihood import source
from bayesglm.engine.psis import psis

G = prior.Gaussian(1.0)
ROWS = 4000


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS)
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-1.2 + 0.5 * x)[:, None] * np.ones(2)), x=x)
    return made_up(bg.GLM(bg.Baseline(G) + bg.Linear("x", G)), data, {"baseline": -1.2, "x": 0.5}, sd=0.06, draws=200)


def test_unbiased_with_its_standard_error():
    """Over samples: the mean is the truth, the spread is the standard error that each sample reports."""
    rng = np.random.default_rng(0)
    exact = rng.normal(-1, 1, size=(2000, 2))
    cheap = exact + rng.gamma(1.0, 0.1, size=(2000, 1)) + 0.02 * rng.normal(size=(2000, 2))  # errors of the columns go together
    suspects = np.arange(0, 2000, 100)
    others = np.setdiff1d(np.arange(2000), suspects)
    found = []
    for _ in range(400):
        sample = rng.choice(others, 200, replace=False)
        known = np.full(exact.shape, np.nan)
        known[sample], known[suspects] = exact[sample], exact[suspects]
        estimate = difference_estimate(cheap, known, sample, len(others))
        found.append((estimate.values.sum(), estimate.se))
    totals, errors = np.array(found).T
    assert abs(totals.mean() - exact.sum()) < 4 * totals.std() / np.sqrt(len(totals))
    assert errors.mean() == pytest.approx(totals.std(), rel=0.12)


def test_the_sum_is_the_estimator():
    """Sum of the cheap values, plus N times the mean difference in the sample."""
    rng = np.random.default_rng(1)
    cheap, sample = rng.normal(size=(50, 1)), np.arange(0, 50, 5)
    exact = np.full((50, 1), np.nan)
    exact[sample] = cheap[sample] + rng.normal(size=(10, 1))
    error = (exact - cheap)[sample, 0]
    found = difference_estimate(cheap, exact, sample, 50)
    assert found.values.sum() == pytest.approx(cheap.sum() + 50 * error.mean())
    assert found.se == pytest.approx(50 * np.sqrt((1 - 10 / 50) / 10) * error.std(ddof=1))


def test_near_the_exact_figure(fit):
    exact, found = bg.loo(fit, unit="bin", block=0.5), bg.loo(fit, rows=400, block=0.5)
    assert (found.unit, found.elpd_i.shape) == ("bin", (ROWS, 2))
    assert 0 < found.subsampling_se < 0.5
    assert abs(found.elpd - exact.elpd) < 4 * found.subsampling_se
    assert found.p == pytest.approx(exact.p, abs=4 * found.subsampling_se)
    assert found.se == pytest.approx(exact.se, rel=0.01)
    smoothed = found.pareto_k.notnull().all("neuron").values
    assert 400 <= smoothed.sum() < 440
    np.testing.assert_allclose(found.elpd_i[smoothed], exact.elpd_i[smoothed], rtol=1e-9)
    assert "400 drawn at random" in repr(found)
    assert "to the standard error" in repr(found)
    low, high = found.interval()
    assert high - low > np.subtract(*exact.interval()[::-1]) * 0.99


def test_draws_of_an_approximation(fit):
    """The sample is weighted by log p - log q too; WAIC of the draws as they are is only where it starts from."""
    off = [(fit.posterior[name] - middle) / 0.06 for name, middle in (("baseline", -1.2), ("x", 0.5))]
    ratio = sum(-0.05 * values**2 for values in off)
    groups = {"posterior": fit.posterior, "sample_stats": xr.Dataset({"log_ratio": ratio})}
    rough = replace(fit, idata=xr.DataTree.from_dict(groups))
    exact, found = bg.loo(rough, unit="bin", block=0.5), bg.loo(rough, rows=400, block=0.5)
    assert exact.elpd != bg.loo(fit, unit="bin", block=0.5).elpd
    assert abs(found.elpd - exact.elpd) < 4 * found.subsampling_se


def test_every_suspect_is_smoothed(fit):
    wide = made_up(fit.model, fit.data, {"baseline": -1.2, "x": 0.5}, sd=0.5, draws=200)
    suspect = (bg.waic(wide, block=0.5).p_i > 0.4).any("neuron").values
    assert suspect.sum() > 20
    found = bg.loo(wide, rows=50, block=0.5)
    assert found.pareto_k.notnull().all("neuron").values[suspect].all()
    assert "with p_waic above" in repr(found)


def test_moments_are_the_draws(fit):
    """WAIC from the mean and covariance of the weights: what the draws give, but for their third moments."""
    with double():
        quick, drawn = of_moments(source(fit), None), bg.waic(fit, block=0.5)
    assert has_moments(source(fit), False)
    np.testing.assert_allclose(quick.p, drawn.p_i, rtol=0.25, atol=1e-4)
    np.testing.assert_allclose(quick.p.sum(), drawn.p, rtol=0.01)
    np.testing.assert_allclose(quick.elpd.sum(), drawn.elpd, atol=0.1)
    ratio = np.random.default_rng(0).normal(0, 0.3, size=(2, 400))
    with double():
        weighted = of_moments(source(fit), ratio)
    share = np.exp(psis(ratio)[0])
    eta = fit.posterior["baseline"].stack(s=("chain", "draw")).transpose("neuron", "s").values
    mean = (share * eta).sum(1)
    at_zero = np.abs(fit.data["x"].values).argmin()  # where the predictor is the baseline
    spread = (share * (eta - mean[:, None]) ** 2).sum(1)
    slope = fit.data["spikes"].values[at_zero] - np.exp(mean)
    np.testing.assert_allclose(weighted.p[at_zero], slope**2 * spread, rtol=0.05, atol=1e-4)


def test_the_same_sample_each_time(fit):
    a, b = (bg.loo(fit, rows=100, block=0.5) for _ in range(2))
    np.testing.assert_array_equal(a.elpd_i, b.elpd_i)
    np.testing.assert_array_equal(a.pareto_k, b.pareto_k)


def test_all_rows_are_the_exact_figure(fit):
    exact, found = bg.loo(fit, unit="bin", block=0.5), bg.loo(fit, rows=ROWS, block=0.5)
    np.testing.assert_allclose(found.elpd_i, exact.elpd_i, rtol=1e-9)
    assert found.subsampling_se == 0


def test_bins_that_are_not_scored():
    rng = np.random.default_rng(2)
    observed = np.ones((1000, 2), bool)
    observed[:600, 1] = False
    observed[900:] = False
    data = bg.recording(dt=0.01, spikes=rng.poisson(0.3, (1000, 2)), observed=observed)
    fit = made_up(bg.GLM(bg.Baseline(G)), data, {"baseline": -1.2}, sd=0.08, draws=200)
    exact, found = bg.loo(fit, unit="bin", block=0.5), bg.loo(fit, rows=200, block=0.5)
    assert found.n_data_points == exact.n_data_points == 900 + 300
    assert abs(found.elpd - exact.elpd) < 5 * found.subsampling_se + 1e-6


def test_trials_may_be_sampled():
    rng = np.random.default_rng(0)
    data = bg.recording(rows="trial", choice=rng.integers(0, 2, 300))
    fit = made_up(bg.GLM(bg.Baseline(G), bg.family.Bernoulli(), response="choice"), data, sd=0.1, draws=200)
    found = bg.loo(fit, rows=100)
    assert found.unit == "trial"
    assert abs(found.elpd - bg.loo(fit).elpd) < 5 * found.subsampling_se + 1e-6
