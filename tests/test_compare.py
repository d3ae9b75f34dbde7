"""Leaving out bins, blocks and trials: against ArviZ, by formulas, and the verdicts."""

from __future__ import annotations

from dataclasses import replace

import arviz_base
import arviz_stats
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp
from synthetic import made_up

import bayesglm as bg
from bayesglm import _likelihood, family, prior
from bayesglm._comparing import _pointwise
from bayesglm._comparing._compare import compare
from bayesglm._comparing._cut import Block, cut
from bayesglm._comparing._elpd import clustered_se
from bayesglm._comparing._loo import loo, waic
from bayesglm._comparing._pointwise import unit_sums
from bayesglm._likelihood import log_likelihood_chunks, source
from bayesglm._score import score
from bayesglm.engine.psis import loo_units

G = prior.Gaussian(1.0)
ROWS = 3000


def matrix(fit):
    """(draw, row, neuron) log likelihoods, all at once."""
    return np.concatenate([values for _, values in log_likelihood_chunks(fit)], axis=1)


def posterior_like(model, data, centre, draws=200, seed=0, **how):
    """Draws as wide as a posterior of about this many rows would be."""
    return made_up(model, data, centre, sd=0.04, draws=draws, seed=seed, **how)


@pytest.fixture(scope="module")
def recording():
    rng = np.random.default_rng(0)
    x, useless = rng.normal(size=(2, ROWS))
    spikes = rng.poisson(np.exp(-1.2 + 0.5 * x)[:, None] * np.ones(2))
    return bg.recording(dt=0.01, spikes=spikes, x=x, useless=useless)


@pytest.fixture(scope="module")
def fits(recording):
    null = bg.Baseline(G)
    one = null + bg.Linear("x", G)
    two = one + bg.Linear("useless", G)
    centre = {"baseline": -1.2, "x": 0.5}
    constant = {"baseline": np.log(recording["spikes"].values.mean())}
    return {
        "null": posterior_like(bg.GLM(null), recording, constant),
        "x": posterior_like(bg.GLM(one), recording, centre, seed=1),
        "both": posterior_like(bg.GLM(two), recording, centre, seed=2),
    }


def test_loo_by_bin_is_arviz(fits, recording, monkeypatch):
    short = recording.isel(time=slice(0, 300))
    fit = posterior_like(fits["x"].model, short, {"baseline": -1.2, "x": 0.5})
    monkeypatch.setattr(_pointwise, "relative_efficiency", lambda values: np.full(values.shape[2], 0.9))
    ours = loo(fit, unit="bin", block=0.1)
    for n in range(2):
        log_lik = matrix(fit)[:, :, n].reshape(2, 200, 300)
        theirs = arviz_stats.loo(arviz_base.from_dict({"posterior": {"b": np.zeros((2, 200))}, "log_likelihood": {"y": log_lik}}), pointwise=True, reff=0.9)
        np.testing.assert_allclose(ours.elpd_i.isel(neuron=n), theirs.elpd_i.values, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(ours.pareto_k.isel(neuron=n), theirs.pareto_k.values, rtol=1e-6, atol=1e-8)
        figures = ours.by_neuron.isel(neuron=n)
        np.testing.assert_allclose([figures["elpd"], figures["p"]], [theirs.elpd, theirs.p], rtol=1e-6)
    assert ours.good_k == pytest.approx(theirs.good_k)


def test_waic_by_its_formula(fits):
    log_lik = matrix(fits["x"])
    lppd = logsumexp(log_lik, axis=0) - np.log(len(log_lik))
    found = waic(fits["x"])
    assert found.elpd == pytest.approx((lppd - log_lik.var(0, ddof=1)).sum(), rel=1e-10)
    assert found.p == pytest.approx(log_lik.var(0, ddof=1).sum(), rel=1e-10)
    assert (found.unit, found.se_unit) == ("bin", "block")


def test_blocks_are_summed_before_smoothing(fits):
    found = loo(fits["x"], block=0.5)
    assert found.block == pytest.approx(0.5)
    assert found.elpd_i.dims == ("block", "neuron")
    assert found.elpd_i.shape == (60, 2)
    sums = matrix(fits["x"]).reshape(400, 60, 50, 2).sum(2)
    by_hand = loo_units(sums[:, 7, 1][None])
    assert found.elpd_i.values[7, 1] == pytest.approx(by_hand.elpd[0], rel=1e-4)  # but for the draws' efficiency
    assert found.se == pytest.approx(np.sqrt(60) * found.elpd_i.sum("neuron").values.std(ddof=1))
    half = stats.t.ppf(0.975, 59) * found.se
    np.testing.assert_allclose(found.interval(), [found.elpd - half, found.elpd + half])


def test_sums_over_units_that_span_chunks(fits, monkeypatch):
    made = source(fits["x"])
    units = np.repeat(np.arange(7), [100, 1, 699, 1000, 200, 999, 1])
    expected = np.add.reduceat(matrix(fits["x"]), np.flatnonzero(np.r_[True, np.diff(units) != 0]), axis=1)
    monkeypatch.setattr(_likelihood, "_NUMBERS", 400 * 2 * 128)
    found = list(unit_sums(made, units))
    np.testing.assert_array_equal(np.concatenate([which for which, _ in found]), np.arange(7))
    np.testing.assert_allclose(np.concatenate([sums for _, sums in found], axis=1), expected, rtol=1e-9)


def test_standard_errors_cluster():
    values = np.random.default_rng(0).normal(size=(30, 2))
    values[3, 1] = np.nan
    cluster = np.repeat(np.arange(10), 3)
    sums = np.nansum(values.reshape(10, 3, 2), 1)
    np.testing.assert_allclose(clustered_se(values, cluster), np.sqrt(10) * sums.std(0, ddof=1))
    assert np.isnan(clustered_se(values, np.zeros(30, int))).all()


def test_a_better_model_is_better(fits):
    found = compare({"null": fits["null"], "x": fits["x"]}, block=0.5)
    assert [row.name for row in found.rows] == ["x", "null"]
    assert (found["x"].verdict, found["null"].verdict) == ("better", "worse")
    assert found.verdict.startswith("'x' predicts better than 'null'")
    pointwise = (loo(fits["x"], block=0.5).elpd_i - loo(fits["null"], block=0.5).elpd_i).sum("neuron").values
    assert found["x"].difference == pytest.approx(pointwise.sum())
    assert found["x"].se == pytest.approx(np.sqrt(60) * pointwise.std(ddof=1))
    assert found["null"].difference == pytest.approx(-found["x"].difference)
    assert found["x"].by_neuron["difference"].sum().item() == pytest.approx(found["x"].difference)
    truth = 2 * ROWS * np.mean(gain(np.random.default_rng(5).normal(size=100_000)))
    assert abs(found["x"].difference - truth) < 3 * found["x"].se
    assert "95 % interval" in repr(found)
    assert "blocks of 0.5 s" in repr(found)
    assert "<table>" in found._repr_html_()


def gain(x):
    """Expected log-likelihood gain a bin of the true rate over the mean rate, in nats."""
    rate = np.exp(-1.2 + 0.5 * x)
    mean = np.exp(-1.2 + 0.125)
    return rate * np.log(rate / mean) - rate + mean


@pytest.mark.parametrize("ic", ["loo", "waic"])
def test_a_useless_covariate_is_not_distinguishable(fits, ic):
    found = compare(fits, ic=ic, block=0.5)
    assert {row.verdict for row in found.rows[:2]} == {"not distinguishable"}
    assert found["null"].verdict == "worse"
    assert "not distinguishable" in found.verdict
    assert found.ic == ic


def test_few_blocks_are_too_few(fits):
    found = compare({"null": fits["null"], "x": fits["x"]}, block=3.0)
    assert {row.verdict for row in found.rows} == {"too few blocks"}
    assert "10 blocks" in found.verdict


def test_default_blocks_remember_the_slowest(recording):
    slow = np.repeat(np.random.default_rng(1).normal(size=ROWS // 20), 20)
    data = recording.assign(slow=("time", slow, {"kind": "column"}))
    fit = posterior_like(bg.GLM(bg.Baseline(G) + bg.Linear("slow", G)), data, {"baseline": -1.1})
    found = loo(fit)
    assert "correlation time of 'slow'" in found.block_why
    assert 20 * 0.05 < found.block < 20 * 0.4
    history = bg.GLM(bg.Baseline(G) + bg.History(bg.basis.RaisedCosine(2, span=0.05), G))
    assert "10 x the longest filter, 'history'" in loo(posterior_like(history, recording, {"baseline": -1.1})).block_why


def test_what_is_not_comparable_says_why(fits, recording):
    x = fits["x"]
    other_rows = recording.assign(x=recording["x"].where(recording["time"] > 1))
    short = posterior_like(x.model, other_rows, {"baseline": -1.2, "x": 0.5})
    softer = posterior_like(bg.GLM(bg.Baseline(G), family.Gaussian()), recording, {"baseline": 0.3}, sigma=0.6)
    fewer = posterior_like(bg.GLM(bg.Baseline(G), neurons=[0]), recording, {"baseline": -1.1})
    point = made_up(x.model, recording, {"x": 0.5}, point=True)
    found = compare({"x": x, "null": fits["null"], "short": short, "gauss": softer, "fewer": fewer, "map": point}, block=0.5)
    assert {row.name: row.verdict for row in found.rows[2:]} == dict.fromkeys(("short", "gauss", "fewer", "map"), "not comparable")
    assert found["x"].verdict == "better"
    for name, words in {"short": "fit_all", "gauss": "density", "fewer": "neurons", "map": "nuts"}.items():
        assert words in found[name].reason
        assert words in repr(found)
    assert np.isnan(found["short"].difference)
    assert "not comparable" in compare({"x": x, "map": point}, block=0.5).verdict


def test_common_rows_of_fit_all_are_comparable(fits, recording):
    scored = np.ones(ROWS)
    scored[:100] = 0
    a, b = (posterior_like(fits[name].model, recording, {"baseline": -1.2}, scored=scored, seed=i) for i, name in enumerate(("x", "null")))
    found = compare({"a": a, "b": b}, block=0.5)
    assert found["a"].verdict != "not comparable"
    assert found["a"].elpd.n_data_points == 2 * 58
    assert loo(a, unit="bin", block=0.5).n_data_points == 2 * (ROWS - 100)


def test_estimates_themselves_may_be_compared(fits):
    a, b = loo(fits["x"], block=0.5), loo(fits["null"], block=0.5)
    assert compare({"a": a, "b": b})["a"].verdict == "better"
    other = loo(fits["null"], block=1.0)
    assert "blocks" in compare({"a": a, "b": b, "other": other})["other"].reason
    assert "criterion" in compare({"a": a, "b": waic(fits["null"])})["b"].reason


def test_stacking_weights_are_beside_them(fits):
    found = compare(fits, block=0.5)
    assert sum(row.weight for row in found.rows) == pytest.approx(1)
    assert found["null"].weight < 0.1
    assert "weight" in repr(found)
    point = made_up(fits["x"].model, fits["x"].data, {"x": 0.5}, point=True)
    assert np.isnan(compare(fits | {"point": point}, block=0.5)["point"].weight)


def test_a_plug_in_density_is_compared_on_request(fits, recording):
    point = bg.fit(fits["x"].model, recording, "map", progress=False)
    assert "approx=True" in compare({"x": fits["x"], "point": point}, block=0.5)["point"].reason
    found = compare({"x": fits["x"], "point": point}, block=0.5, approx=True)
    assert "not comparable" not in {row.verdict for row in found.rows}
    record = found["point"].elpd
    assert "plugged in" in compare({"x": fits["x"], "null": fits["null"], "point": record}, block=0.5)["point"].reason


def test_what_sampling_adds_is_in_the_differences_error(fits):
    a, b = (loo(fits[name], unit="bin", block=0.5, rows=500) for name in ("x", "null"))
    found = compare({"a": a, "b": b})["a"]
    pointwise = (a.elpd_i - b.elpd_i.values).sum("neuron").values[:, None]
    assert found.se == pytest.approx(np.sqrt(clustered_se(pointwise, a.cluster)[0] ** 2 + a.subsampling_se**2 + b.subsampling_se**2))


def test_trials():
    rng = np.random.default_rng(0)
    x = rng.normal(size=120)
    trials = bg.recording(rows="trial", x=x, choice=rng.binomial(1, 1 / (1 + np.exp(-3 * x))))
    of = lambda terms, centre: posterior_like(bg.GLM(terms, family.Bernoulli(), response="choice"), trials, centre)  # noqa: E731
    fits = {"x": of(bg.Baseline(G) + bg.Linear("x", G), {"x": 3.0}), "null": of(bg.Baseline(G), {})}
    found = compare(fits)
    assert found["x"].verdict == "better"
    assert found["x"].elpd.unit == "trial"
    assert waic(fits["x"]).n_clusters == 120
    with pytest.raises(ValueError, match="trials"):
        loo(fits["x"], unit="bin")


def test_trials_of_bins():
    rng = np.random.default_rng(0)
    data = bg.from_trials({"spikes": rng.poisson(0.3, (25, 40, 1))}, dt=0.01)
    fit = posterior_like(bg.GLM(bg.Baseline(G)), data, {"baseline": -1.2})
    found = loo(fit, unit="trial")
    assert found.elpd_i.shape == (25, 1)
    sums = matrix(fit).reshape(400, 25, 40).sum(2)
    assert found.elpd == pytest.approx(loo_units(sums.T).elpd.sum(), rel=1e-4)
    assert loo(fit, unit="bin", se="trial").n_clusters == 25


def test_blocks_are_never_shorter_than_asked_for(recording):
    plan = cut(recording, "block", "block", Block(0.7, ""))
    lengths = np.bincount(plan.units)
    assert lengths.min() >= 70
    assert np.ptp(lengths) <= 1
    assert plan.block.seconds >= 0.7


def test_draws_of_an_approximation_are_weighted(recording):
    model = bg.GLM(bg.Baseline(G))
    at = np.log(recording["spikes"].values.mean(0))
    exact = made_up(model, recording, {"baseline": at}, sd=0.03, draws=2000)
    wide = made_up(model, recording, {"baseline": at}, sd=0.045, draws=2000, seed=1)
    off = (wide.posterior["baseline"] - at) / 0.03
    wide.idata["sample_stats"] = xr.DataTree(xr.Dataset({"log_ratio": -0.5 * off**2 * (1 - (0.03 / 0.045) ** 2)}))
    truth, found = loo(exact, block=0.5), loo(wide, block=0.5)
    assert found.elpd == pytest.approx(truth.elpd, abs=0.2)
    assert found.p == pytest.approx(truth.p, abs=0.2)
    assert found.n_bad == 0
    del wide.idata["sample_stats"]
    assert abs(loo(wide, block=0.5).p - truth.p) > 1


def test_functions_are_compared(recording):
    def flat(spikes):
        level = numpyro.sample("level", dist.Normal(0, 1))
        numpyro.sample("spikes", dist.Poisson(jnp.exp(level) * jnp.ones(spikes.shape)), obs=spikes)

    def own(spikes):
        with numpyro.plate("neuron", spikes.shape[1], dim=-1):
            level = numpyro.sample("level", dist.Normal(0, 1))
            with numpyro.plate("row", spikes.shape[0], dim=-2):
                numpyro.sample("spikes", dist.Poisson(jnp.exp(level)), obs=spikes)

    at = np.log(recording["spikes"].values.mean())
    glm = posterior_like(bg.GLM(bg.Baseline(G)), recording, {"baseline": at})
    levels = glm.posterior.rename(baseline="level")
    plated = replace(glm, model=bg.from_function(own).resolve(recording), idata=xr.DataTree.from_dict({"posterior": levels}))
    found = compare({"glm": glm, "function": plated}, block=0.5)
    assert found["glm"].difference == pytest.approx(0, abs=1e-6)
    joint = xr.DataTree.from_dict({"posterior": levels.isel(neuron=0, drop=True)})
    whole = replace(glm, model=bg.from_function(flat).resolve(recording), idata=joint)
    together = loo(whole, block=0.5)
    assert together.elpd_i.shape == (60, 1)
    assert together.elpd == pytest.approx(loo(glm, block=0.5).elpd, abs=10)
    assert "share parameters" in repr(together)
    assert score(whole).shape == (2,)


def test_bad_weights_are_told(recording):
    wild = made_up(bg.GLM(bg.Baseline(G)), recording, {"baseline": -1.1}, sd=1.0)
    found = loo(wild, block=1.0)
    assert found.n_bad > 0
    assert "K-fold" in repr(found)
    assert "unreliable" in repr(waic(made_up(bg.GLM(bg.Baseline(G)), recording, {"baseline": -1.1}, sd=1.5)))


def test_one_step_ahead_is_said(fits):
    assert "one step ahead, given the neighbouring bins" in repr(loo(fits["x"], unit="bin", block=0.5))


@pytest.mark.parametrize(
    ("verb", "how", "words"),
    [
        (loo, {"unit": "epoch"}, "'bin', 'block', 'trial'"),
        (loo, {"unit": "block", "se": "bin"}, "never less"),
        (loo, {"unit": "trial"}, "no trials"),
        (loo, {"block": 0.001}, "at least one bin"),
        (loo, {"block": "long"}, "seconds"),
        (waic, {"unit": "block"}, "'bin', 'trial'"),
    ],
)
def test_bad_asking(fits, verb, how, words):
    with pytest.raises(ValueError, match=words):
        verb(fits["x"], **how)


def test_bad_comparisons(fits, recording):
    point = made_up(fits["x"].model, recording, {}, point=True)
    with pytest.raises(ValueError, match="nuts"):
        loo(point)
    with pytest.raises(ValueError, match="nuts"):
        compare({"a": point, "b": point})
    with pytest.raises(ValueError, match="two models"):
        compare({"a": fits["x"]})
    with pytest.raises(ValueError, match="'loo', 'waic'"):
        compare(fits, ic="aic")
    with pytest.raises(ValueError, match="block="):
        compare(fits, ic="waic", se="bin")
    with pytest.raises(ValueError, match="are ready"):
        compare({"a": loo(fits["x"], block=0.5), "b": loo(fits["null"], block=0.5)}, block=1.0)
    with pytest.raises(KeyError, match="null"):
        compare(fits, block=0.5)["nothing"]
