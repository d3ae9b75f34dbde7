"""The learned scale of a decoder by a mode at every node: its evidence, its draws, and what it mends."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from scipy.special import expit

import bayesglm as bg
from bayesglm import family, method, prior
from bayesglm._double import in_double
from bayesglm.engine import scale_nodes as nodes
from bayesglm.engine.laplace import approximate
from bayesglm.method._base import arrays

EXACT = 1e-6
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # more columns than rows: separable, and said


def trials(rows: int = 60, columns: int = 12, size: float = 2.0, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns))
    w = rng.normal(size=columns) * size / np.sqrt(columns)
    level = np.digitize(x @ w + rng.logistic(size=rows), [-1.0, 1.0])
    return bg.recording(rows="trial", x=x, choice=(rng.uniform(size=rows) < expit(x @ w)).astype(int), level=level)


def decoder(law: family.AbstractFamily, response: str, scale: object) -> bg.GLM:
    return bg.GLM(bg.Linear("x", prior.Gaussian(scale)), law, response=response)


def of(model: bg.GLM, data: xr.Dataset) -> tuple:
    resolved = model.resolve(data)
    linear = arrays(resolved.linear(resolved.design(data)))
    found = approximate(linear, exact=True)
    return linear, found


@in_double
def test_each_node_has_its_own_mode_and_the_evidence_of_mackay():
    """log p(y|w) + log p(w|s) + P/2 log 2 pi - log|H|/2 + log p(s) + log|ds/dx|, at Newton's mode for that scale, in NumPy."""
    data = trials()
    linear, found = of(decoder(family.Bernoulli(), "choice", dist.LogNormal(-1.0, 1.0)), data)
    assert nodes.by_nodes(linear, found)
    made = nodes.scale_nodes(linear, found)
    x, y, expected = data["x"].values, data["choice"].values, []
    for i in range(made.steps.size):
        s = float(np.exp(made.theta(i)[0, 0]))
        w = np.zeros(x.shape[1])
        for _ in range(50):
            p = expit(x @ w)
            hessian = (x.T * (p * (1 - p))) @ x + np.eye(w.size) / s**2
            w = w + np.linalg.solve(hessian, x.T @ (y - p) - w / s**2)
        np.testing.assert_allclose(made.w[i, 0], w, atol=1e-4)
        eta = x @ w
        value = (y * eta - np.logaddexp(0, eta)).sum() - 0.5 * (w @ w) / s**2 - w.size * np.log(s) - 0.5 * np.linalg.slogdet(hessian)[1]
        expected.append(value - 0.5 * (np.log(s) + 1.0) ** 2)
    np.testing.assert_allclose(np.diff(made.log_density[:, 0]), np.diff(expected), atol=EXACT)


@in_double
@pytest.mark.parametrize(("law", "response"), [(family.Bernoulli(), "choice"), (family.Categorical(), "level")])
def test_where_rows_say_little_the_approximation_is_the_posterior(law, response):
    """Small weights make every mode's Gaussian exact: log p and log q then differ by a constant, Jacobian included."""
    linear, found = of(decoder(law, response, dist.LogNormal(np.log(0.02), 0.4)), trials(columns=8))
    z = np.random.default_rng(1).normal(size=(400, 1, linear.dim + 1))
    drawn = nodes.draw(linear, nodes.scale_nodes(linear, found), z)
    ratio = np.asarray(nodes.log_density(linear, jnp.asarray(drawn.w), jnp.asarray(drawn.theta))) - drawn.log_q
    assert ratio.std() < 0.02


@pytest.mark.slow
def test_the_scale_is_that_of_nuts_where_it_was_too_low():
    """As many columns as rows: the curvature at one mode put the scale far below what the posterior holds."""
    data = trials(rows=80, columns=40, size=4.0)
    model = bg.GLM(bg.Baseline() + bg.Linear("x"), family.Bernoulli(), response="choice")
    median = lambda how: float(bg.fit(model, data, how, progress=False).posterior["x_scale"].median())  # noqa: E731
    assert median("laplace") == pytest.approx(median(method.NUTS(num_chains=2, num_samples=400)), rel=0.5)


def test_many_rows_a_weight_need_no_nodes():
    linear, found = of(decoder(family.Bernoulli(), "choice", dist.HalfNormal(1.0)), trials(rows=300))
    assert not nodes.by_nodes(linear, found)
