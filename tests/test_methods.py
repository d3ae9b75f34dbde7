"""Laws of the methods: a conjugate posterior, zero gradients at a mode, true optima under a kink, scales that ignore zeros."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import log_density
from scipy.optimize import minimize

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._fit import NotConverged
from bayesglm.engine.diagnostics import mcse

ROWS, COLUMNS, NOISE, WIDTH = 200, 5, 0.7, 0.5
STANDARD_ERRORS = 4.0
GRADIENT = 1e-6


class Conjugate(NamedTuple):
    """A Gaussian linear model with known noise, its posterior in closed form; the constant comes first."""

    data: Any
    columns: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


@pytest.fixture(scope="module")
def conjugate():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, COLUMNS)) @ rng.normal(size=(COLUMNS, COLUMNS)) * 0.5 + 0.3
    y = 0.4 + x @ rng.normal(size=COLUMNS) * 0.3 + NOISE * rng.normal(size=ROWS)
    columns = np.column_stack([np.ones(ROWS), x])
    precision = columns.T @ columns / NOISE**2 + np.eye(COLUMNS + 1) / WIDTH**2
    covariance = np.linalg.inv(precision)
    return Conjugate(bg.recording(rows="trial", x=x, y=y), columns, covariance @ columns.T @ y / NOISE**2, covariance)


def _in_terms():
    law = prior.Gaussian(WIDTH)
    return bg.GLM(bg.Baseline(law) + bg.Linear("x", law), family.Gaussian(scale=NOISE), "y")


class Story(bg.AbstractModel):
    """The same model as a NumPyro story that states no linear structure."""

    def design(self, data: Any) -> bg.Design:
        return bg.Design({"x": np.column_stack([np.ones(ROWS), data["x"].values]), "y": data["y"].values}, {}, np.ones(ROWS))

    def __call__(self, design: bg.Design) -> None:
        weights = numpyro.sample("weights", dist.Normal(0, WIDTH).expand([COLUMNS + 1]).to_event(1))
        with numpyro.plate("row", ROWS):
            numpyro.sample("y", dist.Normal(design.shared["x"] @ weights, NOISE), obs=design.shared["y"])


def _draws(fit):
    """(chain, draw, weight), the constant first."""
    if "weights" in fit.posterior:
        return fit.posterior["weights"].values
    return np.concatenate([fit.posterior["baseline"].values[..., None], fit.posterior["x"].values], -1)


@pytest.mark.parametrize("model", [_in_terms(), Story()], ids=["terms", "story"])
def test_map_is_the_conjugate_mode(conjugate, model):
    fit = bg.fit(model, conjugate.data, "map", progress=False)
    assert fit.stats["converged"]
    np.testing.assert_allclose(_draws(fit)[0, 0], conjugate.mean, atol=1e-8, rtol=0)


SAMPLERS = {
    "nuts": (_in_terms(), method.NUTS(num_samples=500)),
    "nuts on a story": (Story(), method.NUTS(num_samples=500)),
    "laplace": (_in_terms(), method.Laplace(num_samples=2000)),
    "hmc": (_in_terms(), method.HMC()),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_have_the_conjugate_mean_and_covariance(conjugate, name):
    model, sampler = SAMPLERS[name]
    draws = _draws(bg.fit(model, conjugate.data, sampler, progress=False)) - conjugate.mean
    products = draws[..., :, None] * draws[..., None, :]
    for found, wanted in ((draws, np.zeros(COLUMNS + 1)), (products, conjugate.covariance)):
        assert (np.abs(found.mean((0, 1)) - wanted) < STANDARD_ERRORS * mcse(found)).all()


@pytest.fixture(scope="module")
def spiking():
    """Three driven, refractory neurons, 800 bins; a choice and a signal beside them."""
    rng = np.random.default_rng(7)
    drive, spikes = rng.normal(size=(800, 2)), np.zeros((800, 3), int)
    for t in range(1, 800):
        spikes[t] = rng.poisson(np.exp(-1.0 + 0.5 * drive[t, 0] - spikes[t - 1] + 0.3 * np.roll(spikes[t - 1], 1)))
    return bg.recording(dt=0.01, spikes=spikes, drive=drive, choice=(drive[:, 1] + rng.normal(size=800) > 0).astype(int))


def _coupled(law, link="exp"):
    lags = basis.RaisedCosine(2, span=0.04)
    terms = bg.Baseline() + bg.Linear("drive", law) + bg.History(lags, law) + bg.Coupling(lags, law)
    return bg.GLM(terms, family.Poisson(link))


def _choice(law, link):
    return bg.GLM(bg.Baseline() + bg.Linear("drive", law), family.Bernoulli(link), "choice")


SMOOTH = {
    "exp, Gaussian": _coupled(prior.Gaussian(0.5)),
    "softplus, Student-t": _coupled(prior.StudentT(4.0, 0.5), "softplus"),
    "logit, flat": _choice(prior.Flat(), "logit"),
    "cloglog, Gaussian": _choice(prior.Gaussian(1.0), "cloglog"),
}


def _gradient(fit):
    """Gradient of the story's log density at the fit's point, in posterior sds of one weight alone."""
    with jax.enable_x64(True):
        model, design = fit.model, fit.model.design(fit.data)
        at = {name: np.asarray(value.values[0, 0]) for name, value in fit.posterior.data_vars.items()}
        at = at if model.has_neurons else {name: value[None] for name, value in at.items()}
        flat, back = ravel_pytree(at)
        slope = jax.grad(lambda z: -log_density(model, (design,), {}, back(z))[0])
        curvature = jax.jit(lambda z: jax.lax.map(lambda one: one @ jax.jvp(slope, (z,), (one,))[1], np.eye(z.size)))
        return np.asarray(slope(flat)) / np.sqrt(np.asarray(curvature(flat)))


@pytest.mark.parametrize("name", SMOOTH)
def test_the_gradient_at_a_mode_is_zero(spiking, name):
    fit = bg.fit(SMOOTH[name], spiking, "map", progress=False)
    assert fit.stats["converged"]
    assert np.abs(_gradient(fit)).max() < GRADIENT


@pytest.mark.parametrize("law", [prior.Gaussian(0.5), prior.Laplace(0.2)], ids=["smooth", "kinked"])
def test_a_mode_that_was_not_reached_says_so(spiking, law):
    with pytest.warns(NotConverged, match="optimum was not reached"):
        fit = bg.fit(_coupled(law), spiking, method.MAP(max_steps=1), progress=False)
    assert not fit.stats["converged"]
    assert "not" in repr(fit)


class Sparse(NamedTuple):
    """Collinear columns, most of them without effect, and the penalised cost of weights (constant first, free)."""

    data: Any
    columns: np.ndarray
    counts: np.ndarray
    strength: float

    def slope(self, w):
        return self.columns.T @ (np.exp(self.columns @ w) - self.counts)

    def cost(self, w):
        eta = self.columns @ w
        return np.sum(np.exp(eta) - self.counts * eta) + self.strength * np.abs(w[1:]).sum()


@pytest.fixture(scope="module")
def sparse():
    rng = np.random.default_rng(5)
    common = rng.normal(size=(400, 4))
    x = np.repeat(common, 5, axis=1) + 0.2 * rng.normal(size=(400, 20))  # correlations of .96: L-BFGS alone stalls
    counts = rng.poisson(np.exp(0.2 + 0.5 * x[:, 0] - 0.4 * x[:, 7]))
    return Sparse(bg.recording(rows="trial", x=x, y=counts), np.column_stack([np.ones(400), x]), counts, 8.0)


class SparseStory(bg.AbstractModel):
    """A lasso as a NumPyro story, its constant flat."""

    strength: float

    def design(self, data: Any) -> bg.Design:
        return bg.Design({"x": data["x"].values, "y": data["y"].values}, {}, np.ones(400))

    def __call__(self, design: bg.Design) -> None:
        baseline = numpyro.sample("baseline", dist.ImproperUniform(dist.constraints.real, (), ()))
        x = numpyro.sample("x", dist.Laplace(0, 1 / self.strength).expand([20]).to_event(1))
        with numpyro.plate("row", 400):
            numpyro.sample("y", dist.Poisson(jax.numpy.exp(baseline + design.shared["x"] @ x)), obs=design.shared["y"])


@pytest.mark.parametrize("route", ["terms", "story"])
def test_lasso_reaches_the_true_optimum(sparse, route):
    terms = bg.Baseline(prior.Flat()) + bg.Linear("x", prior.lasso(sparse.strength))
    model = bg.GLM(terms, family.Poisson(), "y") if route == "terms" else SparseStory(sparse.strength)
    fit = bg.fit(model, sparse.data, "map", progress=False)
    assert fit.stats["converged"]
    w = _draws(fit)[0, 0]
    slope, zero = sparse.slope(w), w[1:] == 0
    assert 10 < zero.sum() < 20
    assert abs(slope[0]) < 1e-4
    assert (np.abs(slope[1:][zero]) <= sparse.strength).all()
    np.testing.assert_allclose(slope[1:][~zero], -sparse.strength * np.sign(w[1:][~zero]), atol=1e-4)
    assert sparse.cost(w) <= _by_splitting(sparse) + 1e-8


def _by_splitting(sparse):
    """The lowest cost by bounded quasi-Newton on w = u - v with u, v >= 0: a smooth problem."""
    n = sparse.columns.shape[1] - 1

    def cost(z):
        w = np.append(z[0], z[1 : n + 1] - z[n + 1 :])
        eta, slope = sparse.columns @ w, sparse.slope(w)
        value = np.sum(np.exp(eta) - sparse.counts * eta) + sparse.strength * z[1:].sum()
        return value, np.concatenate([slope[:1], slope[1:] + sparse.strength, sparse.strength - slope[1:]])

    bounds = [(None, None)] + [(0, None)] * (2 * n)
    found = minimize(cost, np.zeros(2 * n + 1), jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10})
    return found.fun


def test_columns_of_zeros_leave_the_learned_scale_unchanged():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(300, 8))
    counts = rng.poisson(np.exp(x @ rng.normal(size=8) * 0.3))
    scales = [_learned_scale(np.column_stack([x, np.zeros((300, extra))]), counts) for extra in (0, 100)]
    assert abs(scales[1] / scales[0] - 1) < 1e-6


def _learned_scale(x, counts):
    data = bg.recording(rows="trial", x=x, y=counts)
    model = bg.GLM(bg.Baseline() + bg.Linear("x", prior.Gaussian(dist.HalfNormal(1.0))), family.Poisson(), "y")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant columns are spoken of
        fit = bg.fit(model, data, "map", progress=False)
    return float(fit.posterior["x_scale"].squeeze())


def test_a_signal_in_large_units_is_not_called_separable():
    rng = np.random.default_rng(2)
    x = rng.normal(size=60)
    data = bg.recording(rows="trial", x=x, y=900 + 30 * x + rng.normal(size=60))
    for law in (prior.Flat(), prior.Laplace(50.0)):
        model = bg.GLM(bg.Baseline(prior.Flat()) + bg.Linear("x", law), family.Gaussian(scale=1.0), "y")
        assert bg.fit(model, data, "map", progress=False).stats["converged"]
