"""Scales by the evidence: its exact gradient, where it is highest, and what is said when that is an end of the range."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._double import in_double
from bayesglm.engine.columns import solve
from bayesglm.engine.evidence import log_evidence, value_and_gradient
from bayesglm.engine.laplace import approximate
from bayesglm.method._base import arrays

ROWS = 600
LAGS = basis.RaisedCosine(4, span=0.08)
GRADIENT = 1e-5  # relative
SHIFT = 0.3  # posterior sds: of a quantile of a skewed scale, Monte Carlo error included
STEP = 1e-3  # of the difference quotient, extrapolated


@pytest.fixture(scope="module")
def spikes():
    rng = np.random.default_rng(5)
    return bg.recording(dt=0.01, spikes=rng.poisson(0.3, (ROWS, 3)), stimulus=rng.normal(size=ROWS))


def quotient(at):
    """Derivative at zero by Richardson's extrapolation of two central differences."""
    wide, narrow = ((at(h) - at(-h)) / (2 * h) for h in (STEP, STEP / 2))
    return (4 * narrow - wide) / 3


@pytest.mark.parametrize("made", [family.Poisson(), family.Poisson("softplus"), family.NegativeBinomial()], ids=["exp", "softplus", "dispersion"])
@in_double
def test_gradient_with_the_implicit_term_matches_differences(spikes, made):
    """dw/dtheta and dH/dw are in it: the difference quotient refits the mode at every scale."""
    terms = bg.Baseline() + bg.History(LAGS, prior.Gaussian("evidence")) + bg.Coupling(LAGS, prior.Smooth("evidence"))
    model = bg.GLM(terms, made).resolve(spikes)
    linear = arrays(model.linear(model.design(spikes)))
    found = approximate(linear)
    theta = found.theta + 0.3
    refit = lambda theta: solve(linear, theta, found.mode.w, found.mode.curvature, jnp.asarray(1e-20)).w  # noqa: E731
    each = jax.tree.map(lambda leaf: leaf[0], linear.each)
    _, gradient = value_and_gradient(linear, each, theta[0], refit(theta)[0])

    def moved(k):
        def at(h):
            new = theta.at[:, k].add(h)
            return float(log_evidence(linear, each, new[0], refit(new)[0]))

        return at

    expected = np.array([quotient(moved(k)) for k in range(theta.shape[1])])
    np.testing.assert_allclose(gradient, expected, rtol=GRADIENT, atol=GRADIENT * np.abs(expected).max())


def test_the_optimum_is_that_of_the_closed_form():
    """A Gaussian line: p(y | scale) = Normal(0, sigma^2 I + scale^2 X X'), times the hyperprior, is highest there."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 6))
    y = x @ rng.normal(0, 0.6, 6) + rng.normal(size=80)
    data = bg.recording(rows="trial", x=x, y=y)
    model = bg.GLM(bg.Linear("x", prior.Gaussian("evidence")), family.Gaussian(1.0), response="y")
    fit = bg.fit(model, data, "map", progress=False)

    def cost(log_scale):
        scale = np.exp(log_scale)
        covariance = np.eye(80) + scale**2 * x @ x.T
        return -stats.multivariate_normal(np.zeros(80), covariance).logpdf(y) - log_scale  # times p(scale), proportional to scale

    best = np.exp(optimize.minimize_scalar(cost, bounds=(-4, 2), method="bounded", options={"xatol": 1e-8}).x)
    assert fit.posterior["x_scale"].item() == pytest.approx(best, rel=1e-3)
    assert "given the scale" in str(fit)
    covariance = np.eye(80) + best**2 * x @ x.T
    assert float(fit.stats["neuron_log_evidence"][0]) == pytest.approx(stats.multivariate_normal(np.zeros(80), covariance).logpdf(y), abs=1e-3)


def test_an_optimum_at_an_end_is_flagged():
    """Weights of hundreds: the data alone rule, and the note says so."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 4))
    data = bg.recording(rows="trial", x=x, y=x @ np.array([300.0, -200.0, 250.0, 400.0]) + rng.normal(size=300))
    fit = bg.fit(bg.GLM(bg.Linear("x", prior.Gaussian("evidence")), family.Gaussian(1.0), response="y"), data, "map", progress=False)
    assert any("upper end" in note for note in fit.stats["notes"])


def test_useless_columns_leave_a_learned_scale_where_it_was():
    """100 columns of zeros say nothing: under MAP with a learned scale the maximum of its marginal posterior does not move."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 5))
    y = rng.poisson(np.exp(x @ rng.normal(0, 0.3, 5) - 0.5))
    scales = []
    for columns in (x, np.concatenate([x, np.zeros((500, 100))], 1)):
        data = bg.recording(rows="trial", x=columns, y=y)
        model = bg.GLM(bg.Baseline() + bg.Linear("x", prior.Gaussian("evidence")), response="y")
        with pytest.warns(UserWarning, match="constant") if columns.shape[1] > 5 else _nothing():
            fit = bg.fit(model, data, "map", progress=False)
        scales.append(fit.posterior["x_scale"].item())
    assert scales[1] == pytest.approx(scales[0], rel=1e-3)


def test_laplace_draws_the_scale_from_its_marginal_density(spikes):
    """Against NUTS: the seven-point grid keeps the skewness that a Gaussian of the coordinate loses."""
    model = bg.GLM(bg.Baseline() + bg.History(LAGS) + bg.Linear("stimulus"))
    quick = bg.fit(model, spikes, method.Laplace(num_samples=4000), progress=False).posterior["history_scale"]
    exact = bg.fit(model, spikes, method.NUTS(num_samples=1000), progress=False).posterior["history_scale"]
    for level in (0.1, 0.5, 0.9):
        one, two = (draws.quantile(level, ("chain", "draw")).values for draws in (quick, exact))
        np.testing.assert_allclose(one, two, atol=SHIFT * exact.std().values)


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False
