"""The noise of a Gaussian response beside many columns: its marginal mode in closed form, not the residuals' sd."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import optimize, stats

import bayesglm as bg
from bayesglm import family, prior

ROWS, COLUMNS = 150, 60


def made():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS))
    return bg.recording(rows="trial", x=x, y=x @ (0.3 * rng.normal(size=COLUMNS)) + rng.normal(size=ROWS))


def marginal(data, logs: np.ndarray) -> float:
    """log p(y, log sigma, log tau), the weights integrated out."""
    sigma, tau = np.exp(logs)
    x, y = data["x"].values, data["y"].values
    covariance = sigma**2 * np.eye(ROWS) + tau**2 * x @ x.T
    law = stats.multivariate_normal(np.zeros(ROWS), covariance)
    return law.logpdf(y) + stats.t.logpdf(sigma / y.std(), 4) + stats.halfnorm.logpdf(tau) + np.sum(logs)


def test_map_and_laplace_know_the_degrees_of_freedom_that_the_weights_took():
    data = made()
    model = bg.GLM(bg.Linear("x", prior.Gaussian(dist.HalfNormal(1.0))), family.Gaussian(), response="y")
    best = optimize.minimize(lambda logs: -marginal(data, logs), [0.0, -1.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
    found = bg.fit(model, data, "map", progress=False).posterior
    assert found["sigma"].item() == pytest.approx(np.exp(best[0]), rel=1e-4)
    assert found["x_scale"].item() == pytest.approx(np.exp(best[1]), rel=1e-4)
    drawn = np.log(bg.fit(model, data, "laplace", progress=False).posterior["sigma"].values)
    bend = -sum(sign * marginal(data, best + shift) for sign, shift in ((1, [1e-3, 0]), (-2, [0, 0]), (1, [-1e-3, 0]))) / 1e-6
    assert drawn.mean() == pytest.approx(best[0], abs=0.02)
    assert drawn.std() == pytest.approx(bend**-0.5, rel=0.15)
