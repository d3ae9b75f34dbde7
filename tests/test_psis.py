"""Pareto smoothed importance sampling, LOO and WAIC against ArviZ, against closed forms, and at the edges."""

import tracemalloc
import warnings

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.special import logsumexp
from scipy.stats import norm

from bayesglm.engine import psis as module
from bayesglm.engine.diagnostics import ess
from bayesglm.engine.pareto import draws_wanted
from bayesglm.engine.psis import (
    loo_units,
    pareto_k_threshold,
    psis,
    relative_efficiency,
    tail_length,
    waic_units,
)

AGREE = 1e-8
ROUNDING = 1e-12


def heavy(n_units: int, n_draws: int, seed: int = 0, top: float = 1.5) -> np.ndarray:
    """Log likelihoods (unit, draw), from hardly to wildly influenced by the unit: k from about 0.2 to 2."""
    rng = np.random.default_rng(seed)
    return -2 - rng.standard_t(4, size=(n_units, n_draws)) * np.linspace(0.01, top, n_units)[:, None]


@pytest.mark.parametrize("r_eff", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("n_draws", [30, 100, 225, 226, 1000, 1601, 4000])
def test_agrees_with_arviz(n_draws, r_eff):
    log_lik = heavy(20, n_draws)
    elpd, k, p_loo = (np.array(x) for x in zip(*(array_stats.loo(row[None], r_eff=r_eff) for row in log_lik), strict=True))
    weights, _ = array_stats.psislw(log_lik, r_eff=r_eff)
    ours = loo_units(log_lik, r_eff)
    np.testing.assert_allclose(ours.elpd, elpd, rtol=AGREE, atol=AGREE)
    np.testing.assert_allclose(ours.k, k, rtol=AGREE, atol=AGREE)
    np.testing.assert_allclose(ours.p_loo, p_loo, atol=AGREE)
    np.testing.assert_allclose(ours.lppd, logsumexp(log_lik, axis=1) - np.log(n_draws), atol=AGREE)
    np.testing.assert_allclose(psis(-log_lik, r_eff)[0], weights, rtol=AGREE, atol=AGREE)


@pytest.mark.parametrize("n_draws", [5, 20, 24, 29])
def test_few_draws_are_not_smoothed(n_draws):
    log_lik = heavy(3, n_draws)
    log_weights, k = psis(-log_lik)
    assert np.isposinf(k).all()
    np.testing.assert_allclose(log_weights, -log_lik - logsumexp(-log_lik, axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(loo_units(log_lik).elpd, np.log(n_draws) - logsumexp(-log_lik, axis=1), atol=1e-12)


def test_one_draw():
    assert loo_units(np.full((2, 1), -3.0)).elpd.tolist() == [-3.0, -3.0]
    with pytest.raises(ValueError, match="two or more"):
        waic_units(np.full((2, 1), -3.0))


def test_shape_of_a_known_tail():
    uniform = np.random.default_rng(0).uniform(size=(20, 20_000))
    for truth in (0.2, 0.5, 0.9):
        assert abs(psis(-truth * np.log(uniform))[1].mean() - truth) < 0.05


def test_exact_leave_one_out():
    rng = np.random.default_rng(0)
    y = rng.normal(size=30)
    draws = rng.normal(y.mean(), 1 / np.sqrt(30), size=20_000)  # flat prior on the mean, sd 1
    others = (y.sum() - y) / 29
    exact = norm.logpdf(y, others, np.sqrt(1 + 1 / 29))
    loo = loo_units(norm.logpdf(y[:, None], draws, 1))
    np.testing.assert_allclose(loo.elpd, exact, atol=0.01)
    np.testing.assert_allclose(loo.lppd, norm.logpdf(y, y.mean(), np.sqrt(1 + 1 / 30)), atol=0.01)
    assert (loo.k < pareto_k_threshold(20_000)).all()
    assert abs(waic_units(norm.logpdf(y[:, None], draws, 1)).elpd.sum() - exact.sum()) < 0.1


def test_draws_of_an_approximation_leave_a_unit_out_of_the_posterior():
    """y ~ Normal(mean, 1), draws from a Gaussian half as wide again as the posterior, weighted back."""
    rng = np.random.default_rng(1)
    y, sd = rng.normal(size=30), 1 / np.sqrt(30)
    draws = rng.normal(y.mean(), 1.5 * sd, size=40_000)
    log_ratio = norm.logpdf(draws, y.mean(), sd) - norm.logpdf(draws, y.mean(), 1.5 * sd) + 7
    loo = loo_units(norm.logpdf(y[:, None], draws, 1), log_ratio=log_ratio)
    others = (y.sum() - y) / 29
    np.testing.assert_allclose(loo.elpd, norm.logpdf(y, others, np.sqrt(1 + 1 / 29)), atol=0.01)
    np.testing.assert_allclose(loo.lppd, norm.logpdf(y, y.mean(), np.sqrt(1 + 1 / 30)), atol=0.01)
    even = loo_units(heavy(4, 400), log_ratio=np.zeros(400))
    np.testing.assert_allclose(even.elpd, loo_units(heavy(4, 400)).elpd, rtol=AGREE)
    np.testing.assert_allclose(even.k, loo_units(heavy(4, 400)).k, rtol=AGREE)


def test_draws_that_a_k_wants():
    for k in (0.4, 0.6, 0.69):
        wanted = draws_wanted(k)
        assert pareto_k_threshold(wanted) >= k > pareto_k_threshold(wanted - 2)
    assert draws_wanted(0.71) is None
    assert draws_wanted(np.inf) is None


def test_weights_are_normalised_and_truncated():
    ratios = -heavy(20, 400, top=6.0) + 500
    log_weights, k = psis(ratios)
    np.testing.assert_allclose(logsumexp(log_weights, axis=1), 0, atol=1e-12)
    assert k.max() > 1
    # Below the tail only the normalisation moves, and nothing in the tail may pass the largest raw ratio.
    shift = np.median(log_weights - ratios, axis=1, keepdims=True)
    assert (log_weights <= ratios.max(axis=1, keepdims=True) + shift + 1e-9).all()
    assert np.array_equal(np.argsort(log_weights, axis=1)[:, :300], np.argsort(ratios, axis=1)[:, :300])


def test_constant_ratios_are_good():
    loo = loo_units(np.full((2, 100), -7.0))
    assert np.isneginf(loo.k).all()
    np.testing.assert_allclose(loo.elpd, -7)
    np.testing.assert_allclose(loo.p_loo, 0, atol=1e-12)
    rounding = np.random.default_rng(0).normal(-1e4, 1e-12, size=(2, 100))
    assert np.isneginf(loo_units(rounding).k).all()
    many_tied = np.repeat([[0.0, -1.0]], [40, 60], axis=1)
    assert np.isneginf(psis(many_tied)[1]).all()


def test_ties_at_the_foot_of_the_tail_give_nan():
    ratios = np.repeat([[-2.0, -1.0, 0.0]], [50, 40, 10], axis=1)
    log_weights, k = psis(ratios)
    assert np.isnan(k).all()
    np.testing.assert_allclose(log_weights, ratios - logsumexp(ratios))


def test_impossible_units():
    log_lik = heavy(3, 200)
    log_lik[0, 5] = -np.inf
    log_lik[1] = -np.inf
    loo, waic = loo_units(log_lik), waic_units(log_lik)
    assert np.isneginf(loo.elpd[:2]).all()
    assert np.isposinf(loo.k[:2]).all()
    assert np.isposinf(loo.p_loo[0])
    assert np.isneginf(waic.elpd[:2]).all()
    assert np.isposinf(waic.p_waic[:2]).all()
    assert np.isfinite([loo.elpd[2], waic.elpd[2]]).all()
    log_weights, _ = psis(-log_lik)
    assert log_weights[0, 5] == 0
    np.testing.assert_allclose(log_weights[1], -np.log(200))
    np.testing.assert_allclose(loo.lppd[0], logsumexp(log_lik[0]) - np.log(200))


def test_draws_without_weight():
    ratios = -heavy(1, 400)
    ratios[0, :200] = -np.inf
    log_weights, k = psis(ratios)
    assert np.isfinite(k).all()
    assert np.isneginf(log_weights[0, :200]).all()
    ratios[0, 20:] = -np.inf
    ratios[0, :20] = np.arange(20)
    assert np.isposinf(psis(ratios)[1]).all()
    assert np.isposinf(psis(np.full((1, 100), -np.inf))[1]).all()


def test_weights_beyond_the_range_of_floats_are_bad():
    for scale in (5.0, 50.0, 1e3, 1e6):
        log_lik = -scale * np.random.default_rng(0).standard_t(3, size=(5, 4000))
        loo = loo_units(log_lik)
        assert (loo.k > 2).all()
        assert np.isfinite(loo.elpd).all()


def test_single_precision_and_one_unit():
    log_lik = heavy(4, 200).astype(np.float32)
    np.testing.assert_array_equal(loo_units(log_lik).elpd, loo_units(log_lik.astype(float)).elpd)
    log_weights, k = psis(-log_lik[0])
    assert (log_weights.shape, k.shape) == ((200,), ())
    np.testing.assert_array_equal(log_weights, psis(-log_lik)[0][0])
    assert loo_units(log_lik[:0]).elpd.shape == (0,)


def test_inputs_are_left_alone():
    ratios = heavy(4, 200)
    before = ratios.copy()
    psis(ratios)
    loo_units(ratios)
    np.testing.assert_array_equal(ratios, before)


def test_chunks_and_one_efficiency_a_unit(monkeypatch):
    log_lik = heavy(12, 400)
    r_eff = np.tile([0.5, 1.0, 1.6], 4)
    each = np.array([loo_units(row[None], r)[2][0] for row, r in zip(log_lik, r_eff, strict=True)])
    monkeypatch.setattr(module, "CHUNK", 900)
    np.testing.assert_allclose(loo_units(log_lik, r_eff).k, each, rtol=ROUNDING)
    np.testing.assert_allclose(psis(-log_lik, r_eff)[1], each, rtol=ROUNDING)


def test_memory_is_bounded():
    log_lik = np.broadcast_to(heavy(20, 1000)[:, None], (20, 200, 1000)).reshape(4000, 1000)
    tracemalloc.start()
    loo_units(log_lik)
    waic_units(log_lik)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * 2**20  # the array itself is 31 MiB


def test_waic():
    log_lik = heavy(6, 300)
    waic = waic_units(log_lik)
    np.testing.assert_allclose(waic.p_waic, log_lik.var(axis=1, ddof=1))
    np.testing.assert_allclose(waic.lppd, np.log(np.exp(log_lik).mean(axis=1)))
    np.testing.assert_allclose(waic.elpd, waic.lppd - waic.p_waic)


def test_threshold_and_tail_length():
    assert pareto_k_threshold(100) == pytest.approx(0.5)
    assert pareto_k_threshold(10_000) == 0.7
    assert tail_length(400) == 60
    np.testing.assert_array_equal(tail_length(1000, np.array([0.1, 1.0, 4.0])), [200, 94, 47])
    with pytest.raises(ValueError, match="two draws"):
        pareto_k_threshold(1)


def test_relative_efficiency():
    rng = np.random.default_rng(0)
    log_lik = rng.normal(size=(4, 250, 3, 2))
    log_lik[:, 1:] = 0.9 * log_lik[:, :-1] + 0.3 * log_lik[:, 1:]
    expected = array_stats.ess(np.moveaxis(np.exp(log_lik), (0, 1), (2, 3)), method="mean") / 1000
    np.testing.assert_allclose(relative_efficiency(log_lik), expected, rtol=AGREE)
    np.testing.assert_allclose(relative_efficiency(log_lik - 5000), expected, rtol=1e-6)  # exp alone would underflow
    log_lik[..., 0, 0] = -np.inf
    log_lik[0, 0, 0, 1] = np.nan
    figures = relative_efficiency(log_lik)
    assert figures[0, 0] == 1
    assert np.isnan(figures[0, 1])
    np.testing.assert_array_equal(relative_efficiency(log_lik[:, :3]), np.ones((3, 2)))
    assert relative_efficiency(log_lik[..., :0]).shape == (3, 0)


@pytest.mark.parametrize("n_draws", [9, 40, 125, 250])
def test_relative_efficiency_is_the_effective_sample_size(n_draws):
    """However long the memory: sums over a few lags, over many, and by transform."""
    rng = np.random.default_rng(1)
    keep = np.repeat([0.0, 0.3, -0.4, 0.7, 0.95, 0.999], 20)
    log_lik = rng.normal(size=(4, n_draws, keep.size))
    for t in range(1, n_draws):
        log_lik[:, t] = keep * log_lik[:, t - 1] + np.sqrt(1 - keep**2) * log_lik[:, t]
    log_lik[:, :, 0] = -3.0
    expected = ess(np.exp(log_lik), "mean") / (4 * n_draws)
    np.testing.assert_allclose(relative_efficiency(log_lik), expected, rtol=AGREE)


@pytest.mark.parametrize("function", [psis, loo_units, waic_units])
def test_refusals(function):
    log_lik = heavy(3, 50)
    log_lik[2, 7] = np.nan
    with pytest.raises(ValueError, match="unit 2 is nan at draw 7"):
        function(log_lik)
    with pytest.raises(ValueError, match=r"\(unit, draw\)"):
        function(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"\(unit, draw\)"):
        function(np.zeros((2, 0)))


def test_more_refusals():
    log_lik = heavy(3, 50)
    for r_eff, message in ((0.0, "positive"), (np.nan, "positive"), (np.ones(2), r"one a unit: \(3,\)")):
        with pytest.raises(ValueError, match=message):
            loo_units(log_lik, r_eff)
    log_lik[1, 3] = np.inf
    with pytest.raises(ValueError, match="unit 1 is inf at draw 3"):
        loo_units(log_lik)
    with pytest.raises(ValueError, match="chain, draw"):
        relative_efficiency(log_lik[0])


def test_no_warnings_at_the_edges():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ratios in (np.zeros((1, 100)), np.full((1, 100), np.inf), np.eye(1, 100) * 1e308):
            psis(ratios)
