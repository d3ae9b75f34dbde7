"""Leaving units out of a mode and its Hessian: closed forms, exact refits, and importance sampling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from synthetic import made_up

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._comparing import _leave_out
from bayesglm._comparing._repair import held_out
from bayesglm._double import double
from bayesglm._likelihood import source

G = prior.Gaussian(1.0)


@pytest.fixture(scope="module")
def recording():
    """300 bins of two neurons: a covariate, and a past of their own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    return bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-0.7 + 0.6 * x)[:, None] * np.ones(2)), x=x)


TERMS = bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x", G) + bg.History(basis.RaisedCosine(2, span=0.03), G)


def exact(fit, units):
    """Refits without each unit: (unit, neuron) log densities."""
    made = source(fit)
    return np.array([[held_out(fit, made, rows, n).elpd for n in range(made.scored.shape[1])] for rows in units])


def test_a_straight_line_is_exact():
    """Under a Gaussian likelihood one Newton step is the refit: y_i - eta_-i = (y_i - eta_i) / (1 - h_i)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=50)
    y = 1.0 + 2.0 * x + 0.5 * rng.normal(size=50)
    data = bg.recording(rows="trial", x=x, y=y)
    fit = bg.fit(bg.GLM(bg.Baseline(prior.Flat()) + bg.Linear("x", prior.Gaussian(0.7)), family.Gaussian(), response="y"), data, "map", progress=False)
    sigma = float(fit.posterior["sigma"].squeeze())
    columns = np.stack([np.ones(50), x], 1)
    inverse = np.linalg.inv(columns.T @ columns / sigma**2 + np.diag([0, 1 / 0.7**2]))
    leverage = np.einsum("ij,jk,ik->i", columns, inverse, columns) / sigma**2
    away = y - columns @ inverse @ columns.T @ y / sigma**2
    found = bg.loo(fit, approx=True)
    np.testing.assert_allclose(found.elpd_i.values[:, 0], norm.logpdf(away / (1 - leverage), scale=sigma), rtol=1e-5)
    np.testing.assert_allclose((found.elpd_i + found.p_i).values[:, 0], norm.logpdf(away, scale=sigma), rtol=1e-5)
    wide = bg.fit(fit.model, data, method.Laplace(num_samples=500), progress=False)
    averaged = bg.loo(wide, approx=True)
    level = float(np.median(wide.posterior["sigma"]))
    spread = level * np.sqrt(1 + leverage / (1 - leverage))
    np.testing.assert_allclose(averaged.elpd_i.values[:, 0], norm.logpdf(away / (1 - leverage), scale=spread), atol=0.1)


@pytest.mark.parametrize(("seconds", "nats"), [(0.1, 0.02), (0.5, 0.1)])  # a thirtieth and a sixth of the recording
def test_blocks_of_a_mode_as_refitted(recording, seconds, nats):
    fit = bg.fit(bg.GLM(TERMS), recording, "map", progress=False)
    found = bg.loo(fit, block=seconds, approx=True)
    count = found.elpd_i.sizes["block"]
    units = [np.flatnonzero(np.arange(300) * count // 300 == unit) for unit in range(0, count, max(1, count // 6))]
    truth = exact(fit, units)
    np.testing.assert_allclose(found.elpd_i.values[:: max(1, count // 6)], truth, atol=nats)
    assert found.ic == "loo_plugin"
    assert "plug-in" in repr(found)
    assert found.n_samples == 1
    assert 3 < found.p < 12  # eight weights, two of them hardly shrunk


def test_bins_of_a_mode_as_refitted(recording):
    fit = bg.fit(bg.GLM(TERMS), recording, "map", progress=False)
    found = bg.loo(fit, unit="bin", block=0.5, approx=True)
    rows = [20, 77, int(recording["spikes"].values[:, 0].argmax())]
    np.testing.assert_allclose(found.elpd_i.values[np.array(rows) - 300], exact(fit, [np.array([row]) for row in rows]), atol=0.01)


def test_averaged_over_the_gaussian_as_importance_sampling(recording):
    fit = bg.fit(bg.GLM(TERMS), recording, method.Laplace(num_samples=4000), progress=False)
    for how in ({"unit": "bin"}, {}):
        sampled, found = bg.loo(fit, block=0.1, **how), bg.loo(fit, block=0.1, approx=True, **how)
        assert found.ic == "loo"
        assert found.elpd == pytest.approx(sampled.elpd, abs=0.5)
        assert found.p == pytest.approx(sampled.p, rel=0.15)
        assert np.corrcoef(found.elpd_i.values.ravel(), sampled.elpd_i.values.ravel())[0, 1] > 0.999
        assert found.pareto_k.isnull().all()
        assert "downdated" in repr(found)


def test_as_nuts(recording, fit_small_nuts, recording_small, model_small):
    fit = bg.fit(model_small, recording_small, method.Laplace(num_samples=2000), progress=False)
    sampled, found = bg.loo(fit_small_nuts, block=0.5), bg.loo(fit, block=0.5, approx=True)
    error = np.sqrt(found.p_i.values.size) * (found.elpd_i - sampled.elpd_i).values.std()
    assert abs(found.elpd - sampled.elpd) < 3 * error + 1.0
    assert found.elpd == pytest.approx(sampled.elpd, rel=0.005)


def test_quadrature_is_the_draws(recording):
    """A bin as a unit of one row: the same by quadrature and by draws."""
    fit = bg.fit(bg.GLM(TERMS), recording, method.Laplace(num_samples=20_000), progress=False)
    found = bg.loo(fit, unit="bin", block=0.5, approx=True)
    rows = np.arange(300)[-found.elpd_i.sizes["bin"] :]
    with double():
        neuron = list(_leave_out.neurons_of(fit, source(fit)))[1]
        elpd, _ = neuron.by_unit([np.array([row]) for row in rows[:40]], False, 20_000, 0)
    np.testing.assert_allclose(found.elpd_i.values[:40, 1], elpd, atol=0.01)


def test_a_sparse_mode_keeps_its_zeros():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 6))
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-0.5 + 0.8 * x[:, 0]))[:, None], x=x)
    fit = bg.fit(bg.GLM(bg.Baseline(prior.Flat()) + bg.Linear("x", prior.lasso(30.0))), data, "map", progress=False)
    zero = (fit.posterior["x"].values == 0).sum()
    assert zero >= 3
    found = bg.loo(fit, block=0.2, approx=True)
    assert found.p < 7 - zero + 1
    units = [np.arange(20 * i, 20 * i + 20) for i in (3, 11)]
    np.testing.assert_allclose(found.elpd_i.values[[3, 11]], exact(fit, units), atol=0.05)


def test_a_scale_of_the_evidence_is_said(recording):
    model = bg.GLM(bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x", prior.Gaussian("evidence")))
    fit = made_up(model, recording, {"baseline": -0.7, "x": 0.6}, point=True)
    assert "given scale: x_scale" in repr(bg.loo(fit, block=0.5, approx=True))
    learned = made_up(bg.GLM(bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x")), recording, {"baseline": -0.7, "x": 0.6}, point=True)
    assert "given scale" not in repr(bg.loo(learned, block=0.5, approx=True))


def test_refusals(recording, monkeypatch):
    fit = bg.fit(bg.GLM(bg.Baseline(prior.Flat())), recording, "map", progress=False)
    with pytest.raises(ValueError, match="approx=True"):
        bg.loo(fit)
    alone = bg.GLM(bg.Baseline(prior.Flat()) + bg.Linear("x", prior.Flat()))
    only = recording.assign(x=recording["x"].where(recording["time"] < 0.1, 0.0))
    with pytest.raises(ValueError, match="proper prior"):
        bg.loo(bg.fit(alone, only, "map", progress=False), block=0.1, approx=True)
    once = recording.assign(x=recording["x"].where(recording["time"] < 0.01, 0.0))
    with pytest.raises(ValueError, match="nothing but unit 0"):
        bg.loo(bg.fit(alone, once, "map", progress=False), unit="bin", block=0.1, approx=True)
    monkeypatch.setattr(_leave_out, "DENSEST", 0)
    with pytest.raises(ValueError, match="linear"):
        bg.loo(fit, block=0.5, approx=True)
