"""Scores against scipy, their null models, and what they say of a test part that is not independent."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter
from scipy.special import expit, logsumexp
from synthetic import made_up

import bayesglm as bg
from bayesglm import family, prior
from bayesglm._autocorrelation import correlation_time, gap_between, slowest
from bayesglm._score import METRICS, ScoreNote, score


def columns(rows=200, seed=0):
    return np.random.default_rng(seed).normal(size=rows)


def eta_of(fit, data, name="x"):
    """(chain x draw, row, neuron)."""
    post = fit.posterior
    w, b = (post[v].values.reshape(-1, 1, post[v].shape[2] if post[v].ndim > 2 else 1) for v in (name, "baseline"))
    return b + data[name].values[None, :, None] * w


MODEL = bg.GLM(bg.Baseline() + bg.Linear("x", prior.Gaussian(1.0)))


@pytest.fixture(scope="module")
def poisson():
    x = columns()
    y = np.random.default_rng(1).poisson(np.exp(-1 + 0.8 * x)[:, None] * [1.0, 2.0])
    data = bg.recording(dt=0.01, spikes=y, x=x)
    return made_up(MODEL, data, {"baseline": [-1.0, -1.0 + np.log(2)], "x": 0.8}), data


def averaged(log_prob):
    return (logsumexp(log_prob, axis=0) - np.log(len(log_prob))).sum(0)


def test_poisson_log_likelihood(poisson):
    fit, data = poisson
    expected = averaged(stats.poisson.logpmf(data["spikes"].values, np.exp(eta_of(fit, data))))
    found = score(fit)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    np.testing.assert_allclose(found.attrs["mean"], expected / 200, rtol=1e-12)
    assert found.attrs["rows"] == [200, 200]
    assert found.attrs["in_sample"] is True
    assert "training mean" in found.attrs["null"]


def test_softplus_log_likelihood():
    x = columns()
    data = bg.recording(dt=0.01, spikes=np.random.default_rng(2).poisson(0.4, (200, 1)), x=x)
    fit = made_up(bg.GLM(MODEL.terms, family.Poisson("softplus")), data, {"baseline": -1.0})
    expected = averaged(stats.poisson.logpmf(data["spikes"].values, np.log1p(np.exp(eta_of(fit, data)))))
    np.testing.assert_allclose(score(fit).values, expected, rtol=1e-11)


def test_bernoulli_log_likelihood():
    data = bg.recording(rows="trial", x=columns(), choice=np.random.default_rng(2).integers(0, 2, 200))
    fit = made_up(bg.GLM(MODEL.terms, family.Bernoulli(), response="choice"), data, {"x": 0.5})
    expected = averaged(stats.bernoulli.logpmf(data["choice"].values[:, None], expit(eta_of(fit, data))))
    found = score(fit)
    assert found.ndim == 0
    np.testing.assert_allclose(found.values, expected[0], rtol=1e-12)
    likely = expit(eta_of(fit, data)).mean(0)[:, 0] > 0.5
    assert float(score(fit, metric="accuracy")) == (likely == data["choice"].values).mean()


def test_gaussian_log_likelihood_and_explained_variance():
    x = columns()
    y = np.stack([1 + 2 * x, -x], 1) + np.random.default_rng(2).normal(size=(200, 2))
    data = bg.recording(dt=0.01, calcium=(("time", "neuron"), y), x=x)
    fit = made_up(bg.GLM(MODEL.terms, family.Gaussian(), response="calcium"), data, {"baseline": [1.0, 0.0], "x": [2.0, -1.0]}, sigma=1.0)
    sigma = fit.posterior["sigma"].values.reshape(-1, 1, 2)
    expected = averaged(stats.norm.logpdf(y, eta_of(fit, data), sigma))
    np.testing.assert_allclose(score(fit).values, expected, rtol=1e-12)
    residual = ((y - eta_of(fit, data).mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(score(fit, metric="pseudo_r2_cohen").values, 1 - residual / ((y - y.mean(0)) ** 2).sum(0), rtol=1e-9)
    null = stats.norm.logpdf(y, y.mean(0), y.std(0)).sum(0)
    np.testing.assert_allclose(score(fit, metric="pseudo_r2_mcfadden").values, 1 - expected / null, rtol=1e-9)
    with pytest.raises(ValueError, match="spikes"):
        score(fit, metric="bits_per_spike")


def test_metrics_against_the_training_mean(poisson):
    fit, train = poisson
    test = bg.recording(dt=0.01, spikes=np.random.default_rng(9).poisson(0.5, (50, 2)), x=columns(50, 4), time=np.arange(50) * 0.01 + 100)
    y, eta = test["spikes"].values, eta_of(fit, test)
    log_lik, null = averaged(stats.poisson.logpmf(y, np.exp(eta))), stats.poisson.logpmf(y, train["spikes"].values.mean(0)).sum(0)
    expected = {
        "log_likelihood": log_lik,
        "bits_per_spike": (log_lik - null) / y.sum(0) / np.log(2),
        "pseudo_r2_mcfadden": 1 - log_lik / null,
    }
    full = stats.poisson.logpmf(y, y).sum(0)
    expected["pseudo_r2_cohen"] = 1 - (full - stats.poisson.logpmf(y, np.exp(eta).mean(0)).sum(0)) / (full - null)
    expected["deviance_explained"] = expected["pseudo_r2_cohen"]
    assert set(expected) == set(METRICS) - {"accuracy", "circular_error"}
    for metric, values in expected.items():
        found = score(fit, test, metric)
        np.testing.assert_allclose(found.values, values, rtol=1e-7, err_msg=metric)
        assert found.attrs["in_sample"] is False


def test_a_silent_test_part_has_no_bits_a_spike(poisson):
    fit, _ = poisson
    y = np.zeros((30, 2), int)
    y[3, 1] = 1
    bits = score(fit, bg.recording(dt=0.01, spikes=y, x=columns(30), time=np.arange(30) * 0.01 + 50), "bits_per_spike")
    assert np.isnan(bits.values[0])
    assert np.isfinite(bits.values[1])


def test_rows_that_cannot_be_scored_are_not(poisson):
    fit, data = poisson
    x = data["x"].values.copy()
    x[:20] = np.nan
    holes = bg.recording(dt=0.01, spikes=data["spikes"].values, x=x, time=np.arange(200) * 0.01 + 70)
    found = score(fit, holes)
    assert found.attrs["rows"] == [180, 180]
    expected = averaged(stats.poisson.logpmf(data["spikes"].values, np.exp(eta_of(fit, data)))[:, 20:])
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)


def test_bad_asking(poisson):
    fit, data = poisson
    with pytest.raises(ValueError, match="pseudo_r2_cohen"):
        score(fit, metric="r2")
    with pytest.raises(ValueError, match="lacks the response"):
        score(fit, bg.recording(dt=0.01, x=data["x"].values))


def slow_recording(rows=4000, tau=50):
    rng = np.random.default_rng(0)
    x = lfilter([1], [1, -np.exp(-1 / tau)], rng.normal(size=rows)) / 7
    return bg.recording(dt=0.01, spikes=rng.poisson(0.2 * np.exp(0.2 * x))[:, None], x=x)


def test_a_near_test_part_is_said_to_be_near():
    data = slow_recording()
    train, test = bg.split(data, 0.8)
    fit = made_up(MODEL, train, {"baseline": -1.6, "x": 0.2}, draws=5)
    with pytest.warns(ScoreNote, match=r"autocorrelation time of 'x'.*gap="):
        score(fit, test)
    _, far = bg.split(data, 0.8)
    train, far = bg.split(data, 0.8, gap=1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(made_up(MODEL, train, {}, draws=5), far)
    with pytest.warns(ScoreNote, match="shares rows"):
        score(fit, data.isel(time=slice(100, 300)))
    assert gap_between(train, slow_recording(tau=10), "spikes") is None  # another recording with a clock of its own


@pytest.mark.parametrize("tau", [5, 50, 200])
def test_correlation_time_of_an_exponential(tau):
    rng = np.random.default_rng(tau)
    slow = lfilter([1], [1, -np.exp(-1 / tau)], rng.normal(size=(400 * tau, 3)), axis=0)
    found = correlation_time(slow)
    assert (found > 0.6 * tau).all()
    assert (found < 1.5 * tau).all()


def test_correlation_time_sees_what_is_slow_under_noise():
    rng = np.random.default_rng(0)
    slow = lfilter([1], [1, -np.exp(-1 / 300)], rng.normal(size=200_000))
    noisy = slow / slow.std() + 4 * rng.normal(size=slow.size)
    assert 150 < correlation_time(noisy)[0] < 450
    assert correlation_time(rng.normal(size=(20_000, 10))).max() == 0
    assert correlation_time(np.ones(100)) == 0


def test_correlation_time_keeps_within_epochs():
    rng = np.random.default_rng(0)
    levels = np.repeat(rng.normal(size=500), 4)  # constant within an epoch, so no span of it is ever forgotten
    epochs = np.repeat(np.arange(500), 4)
    assert correlation_time(levels, epochs)[0] >= 2
    assert correlation_time(rng.normal(size=2000), epochs)[0] == 0


def test_an_angle_is_continuous_at_its_cut():
    rng = np.random.default_rng(1)
    turning = np.cumsum(rng.normal(size=5000) * 0.1) % (2 * np.pi)
    data = bg.recording(dt=0.1, spikes=np.zeros((5000, 1), int), heading=bg.angle(turning))
    seconds, name = slowest(data, ("heading",))
    assert name == "heading"
    assert seconds > 5  # the cosine of Brownian motion on the circle forgets over 2 / 0.01 rows
