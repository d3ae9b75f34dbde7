"""More columns than rows: the rows' space gives the posterior of the dense route, exactly."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest

import bayesglm as bg
from bayesglm import family, method, prior
from bayesglm.engine.diagnostics import mcse

ROWS, COLUMNS = 40, 60
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # collinear by construction


@pytest.fixture(scope="module")
def trials():
    """Choices that one direction of sixty counts decides, and a continuous response."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(2.0, size=(ROWS, COLUMNS)).astype(float)
    drive = (counts - 2.0) @ rng.normal(size=COLUMNS) * 0.3
    choice = (rng.random(ROWS) < 1 / (1 + np.exp(-drive))).astype(int)
    return bg.recording(rows="trial", counts=counts, choice=choice, y=drive + rng.normal(size=ROWS))


def dense(monkeypatch):
    """Switch the reduction off."""
    monkeypatch.setattr("bayesglm._fit.in_row_space", lambda linear: None)


def decoder(shrunk):
    return bg.GLM(bg.Baseline() + bg.Linear("counts", shrunk), family.Bernoulli(), response="choice")


def test_the_mode_is_the_same(trials, monkeypatch):
    model = decoder(prior.ridge(3.0))
    reduced = bg.fit(model, trials, "map", progress=False)
    dense(monkeypatch)
    whole = bg.fit(model, trials, "map", progress=False)
    assert reduced.posterior["counts"].sizes["counts_feature"] == COLUMNS
    for name in ("counts", "baseline"):
        np.testing.assert_allclose(reduced.posterior[name], whole.posterior[name], atol=1e-7)


def test_laplace_draws_have_the_exact_gaussian_posterior(trials):
    """Known noise and scale: mean and covariance of all sixty weights in closed form."""
    sd, noise = 0.4, 1.0
    model = bg.GLM(bg.Linear("counts", prior.Gaussian(sd)), family.Gaussian(noise), response="y")
    fit = bg.fit(model, trials, method.Laplace(num_samples=20_000), progress=False)
    x, y = trials["counts"].values, trials["y"].values
    covariance = np.linalg.inv(x.T @ x / noise**2 + np.eye(COLUMNS) / sd**2)
    mean = covariance @ x.T @ y / noise**2
    draws = fit.posterior["counts"].values[0]
    np.testing.assert_allclose(draws.mean(0), mean, atol=5 * sd / np.sqrt(20_000))
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=6 * sd**2 / np.sqrt(20_000))


def test_nuts_agrees_with_the_dense_route_under_a_learned_scale(trials, monkeypatch):
    """Means within 4 MCSE and spreads, the scale's too."""
    model = bg.GLM(bg.Baseline() + bg.Linear("counts", prior.Gaussian(dist.HalfNormal(1.0))), family.Gaussian(1.0), response="y")
    sampler = method.NUTS(num_samples=500, num_chains=2)
    reduced = bg.fit(model, trials, sampler, progress=False)
    dense(monkeypatch)
    whole = bg.fit(model, trials, sampler, key=1, progress=False)
    for name in ("counts", "baseline", "counts_scale"):
        a, b = reduced.posterior[name].values, whole.posterior[name].values
        error = np.sqrt(mcse(a) ** 2 + mcse(b) ** 2)
        assert (np.abs(a.mean((0, 1)) - b.mean((0, 1))) < 4.5 * error).all()
        np.testing.assert_allclose(a.std((0, 1)), b.std((0, 1)), rtol=0.2)
