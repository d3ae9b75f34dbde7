"""LOO and WAIC of fits: closed forms, independent formulas, ArviZ and its records, streaming."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from dataclasses import replace

import arviz
import arviz_base
import arviz_stats
import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp
from synthetic import made_up

import bayesglm as bg
from bayesglm import _likelihood, family, prior
from bayesglm._comparing import _pointwise
from bayesglm._comparing._elpd import Elpd
from bayesglm._comparing._pointwise import in_threads
from bayesglm._likelihood import log_likelihood_chunks, source

G = prior.Gaussian(1.0)
EXACT = 1e-8
AGREE = 1e-6


def counts(rows, neurons=1, seed=0, **columns):
    """Spikes of neurons driven by one white covariate."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    spikes = rng.poisson(np.exp(-1.2 + 0.5 * x)[:, None] * np.ones(neurons))
    return bg.recording(dt=0.01, spikes=spikes, x=x, **columns)


def driven(data, draws=200, seed=0, sd=0.04, **how):
    """Draws about as wide as a posterior, around the truth."""
    return made_up(bg.GLM(bg.Baseline(G) + bg.Linear("x", G)), data, {"baseline": -1.2, "x": 0.5}, sd=sd, draws=draws, seed=seed, **how)


def by_hand(fit):
    """(draw, row, neuron) log likelihoods from the formula."""
    post = fit.posterior.stack(s=("chain", "draw")).transpose("s", ...)
    x = fit.data["x"].values
    eta = post["baseline"].values[:, None] + x[:, None] * post["x"].values.reshape(post.sizes["s"], 1, -1)
    return stats.poisson.logpmf(fit.data["spikes"].values, np.exp(eta))


@pytest.fixture(scope="module")
def small():
    return driven(counts(600, 2))


def test_waic_by_an_independent_formula(small):
    log_lik = by_hand(small)
    lppd = logsumexp(log_lik, axis=0) - np.log(len(log_lik))
    found = bg.waic(small, block=0.2)
    np.testing.assert_allclose(found.p_i, log_lik.var(0, ddof=1), rtol=EXACT)
    np.testing.assert_allclose(found.elpd_i, lppd - log_lik.var(0, ddof=1), rtol=EXACT)


@pytest.mark.parametrize(("rows", "draws"), [(300, 200), pytest.param(20_000, 500, marks=pytest.mark.slow)])
def test_pointwise_as_arviz(rows, draws, monkeypatch):
    fit = driven(counts(rows), draws)
    log_lik = np.moveaxis(by_hand(fit)[:, :, 0].reshape(2, draws, rows), 2, 2)
    theirs = arviz_stats.loo(arviz_base.from_dict({"posterior": {"b": np.zeros((2, draws))}, "log_likelihood": {"y": log_lik}}), pointwise=True, reff=0.8)
    monkeypatch.setattr(_pointwise, "relative_efficiency", lambda values: np.full(values.shape[2], 0.8))
    ours = bg.loo(fit, unit="bin", block=0.1)
    np.testing.assert_allclose(ours.elpd_i.values[:, 0], theirs.elpd_i.values, atol=AGREE)
    np.testing.assert_allclose(ours.pareto_k.values[:, 0], theirs.pareto_k.values, atol=AGREE)
    assert ours.p == pytest.approx(theirs.p, abs=AGREE * rows)


def test_leave_one_out_of_a_gaussian_mean():
    """y ~ Normal(mean, 1) under a flat prior: without y_i the predictive is Normal(mean of the others, 1 + 1 / (n - 1))."""
    rng = np.random.default_rng(3)
    n, draws = 40, 4000
    y = rng.normal(size=n)
    data = bg.recording(rows="trial", y=y)
    fit = made_up(bg.GLM(bg.Baseline(prior.Flat()), family.Gaussian(), response="y"), data, draws=draws, sigma=1.0)
    exact = rng.normal(y.mean(), 1 / np.sqrt(n), size=(2, draws))
    posterior = xr.Dataset({"baseline": (("chain", "draw"), exact), "sigma": (("chain", "draw"), np.ones((2, draws)))})
    fit = replace(fit, idata=xr.DataTree.from_dict({"posterior": posterior}))
    truth = stats.norm.logpdf(y, (y.sum() - y) / (n - 1), np.sqrt(1 + 1 / (n - 1)))
    found = bg.loo(fit)
    assert found.unit == "trial"
    np.testing.assert_allclose(found.elpd_i.values[:, 0], truth, atol=0.02)
    inside = stats.norm.logpdf(y, y.mean(), np.sqrt(1 + 1 / n))
    assert found.p == pytest.approx((inside - truth).sum(), abs=0.1)
    assert abs(bg.waic(fit).elpd - truth.sum()) < 0.1


@pytest.mark.parametrize("numbers", [400 * 2 * 16, 400 * 2 * 128, 1 << 22])
@pytest.mark.parametrize("unit", ["bin", "block"])
def test_streaming_is_all_at_once(small, monkeypatch, unit, numbers):
    whole = bg.loo(small, unit=unit, block=0.33)
    monkeypatch.setattr(_likelihood, "_NUMBERS", numbers)
    found = bg.loo(small, unit=unit, block=0.33)
    np.testing.assert_allclose(found.elpd_i, whole.elpd_i, rtol=1e-10)
    np.testing.assert_allclose(found.pareto_k, whole.pareto_k, rtol=1e-6)
    np.testing.assert_allclose(bg.waic(small).elpd_i, bg.waic(small).elpd_i, rtol=1e-10)


def test_never_draws_by_rows(monkeypatch):
    fit = driven(counts(40_000), 250)
    whole = 40_000 * 500 * 8  # bytes of the matrix that is never held
    monkeypatch.setattr(_likelihood, "_NUMBERS", 1 << 19)
    assert max(values.size for _, values in log_likelihood_chunks(source(fit))) <= 1 << 19
    tracemalloc.start()
    bg.loo(fit, unit="bin", block=1.0)
    bg.waic(fit, block=1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < whole / 3


def test_threads_keep_the_order():
    held = []
    items = (held.append(i) or i for i in range(100))
    found = in_threads(lambda i: i * i, items)
    assert next(found) == 0
    assert len(held) < 20  # few are held at once
    assert list(found) == [i * i for i in range(1, 100)]


def test_bins_find_their_blocks_in_one_pass(small):
    """The default blocks of bins come from the same pointwise values as ``log_mean_rows``."""
    from bayesglm._comparing._cut import default_block
    from bayesglm._comparing._loo import log_mean_rows

    expected = default_block({"": small}, log_mean_rows(source(small)), "pointwise log likelihoods")
    found = bg.loo(small, unit="bin")
    assert found.block_why == expected.why
    assert found.block == pytest.approx(expected.seconds, rel=0.2)  # blocks are of equal length, never shorter
    assert found.block >= expected.seconds * (1 - 1e-9)


def test_arviz_takes_the_records(small):
    null = made_up(bg.GLM(bg.Baseline(G)), small.data, {"baseline": np.log(small.data["spikes"].values.mean(0))}, sd=0.03, draws=200, seed=1)
    ours = {"driven": bg.loo(small, unit="bin", block=0.1), "constant": bg.loo(null, unit="bin", block=0.1)}
    table = arviz.compare(ours, round_to="none")
    assert table.index[0] == "driven"
    assert table.loc["driven", "elpd"] == pytest.approx(ours["driven"].elpd)
    assert table.loc["constant", "elpd_diff"] == pytest.approx(ours["constant"].elpd - ours["driven"].elpd)
    plain = arviz.compare({name: record.to_arviz() for name, record in ours.items()}, round_to="none")
    assert plain["elpd"].to_numpy() == pytest.approx(table["elpd"].to_numpy())
    for record in (ours["driven"], ours["driven"].to_arviz(), bg.loo(small, block=0.5)):
        assert isinstance(record, arviz_stats.utils.ELPDData)
        drawn = arviz.plot_khat(record, backend="none")
        assert "khat" in drawn.viz
    criterion = {"a": bg.waic(small, block=0.1), "b": bg.waic(null, block=0.1)}
    assert arviz.compare(criterion).index[0] == "a"


def test_units_without_a_value_are_left_out_for_arviz():
    observed = np.ones((600, 2), bool)
    observed[:100, 1] = False
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    data = bg.recording(dt=0.01, spikes=rng.poisson(0.3, (600, 2)), x=x, observed=observed)
    found = bg.loo(driven(data), unit="bin", block=0.5)
    record = found.to_arviz()
    assert found.n_data_points == 1100
    assert record.elpd_i.shape == record.pareto_k.shape == (1100,)
    assert float(record.elpd_i.sum()) == pytest.approx(found.elpd)
    assert arviz.compare({"a": record, "b": record}, round_to="none")["elpd_diff"].abs().max() == 0


def test_a_record_is_a_value(small):
    found = bg.loo(small, block=0.5)
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found)), replace(found)):
        assert isinstance(other, Elpd)
        assert repr(other) == repr(found) == str(found)
        assert other != found
        assert other.elpd == found.elpd
    assert found["elpd"] == found.elpd
    assert {found: 1}[found] == 1
    with pytest.raises(AttributeError):
        found.unit = "bin"


def test_more_draws_are_suggested_where_they_help(small):
    from bayesglm._comparing._loo import _noted

    found = bg.loo(small, block=0.5)
    worse = found.pareto_k.copy()
    worse[0, 0] = 0.68
    assert "1334 in all" in repr(_noted(replace(found, pareto_k=worse, good_k=0.6)))
    worse[0, 0] = 0.9
    assert "will not mend it" in repr(_noted(replace(found, pareto_k=worse)))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"rows": 1}, "two or more"),
        ({"rows": True}, "two or more"),
        ({"rows": 100, "unit": "block"}, "unit='bin'"),
        ({"repair": -1}, "refits"),
        ({"repair": "yes"}, "refits"),
        ({"approx": True}, "MAP and Laplace"),
        ({"approx": True, "rows": 100}, "leave rows="),
        ({"approx": True, "repair": True}, "leave rows="),
    ],
)
def test_refusals(small, how, words):
    with pytest.raises(ValueError, match=words):
        bg.loo(small, block=0.5, **how)
