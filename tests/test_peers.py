"""Penalties are priors: the MAP equals scikit-learn's and NeMoS's optima, through the converters."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import jax
import numpy as np
import pytest

import bayesglm as bg
from bayesglm import family, prior

ROWS, COLUMNS = 600, 8
CLOSE = 1e-5  # of the largest weight
PEER_TOLERANCE = 1e-10
linear_model = pytest.importorskip("sklearn.linear_model")


class Problem(NamedTuple):
    """Correlated columns, half of them without effect; counts of three cells, a choice, a continuous response."""

    columns: np.ndarray
    counts: np.ndarray
    choice: np.ndarray
    signal: np.ndarray


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(ROWS, COLUMNS)) + 0.3 * rng.normal(size=(ROWS, 1)) + 0.2
    weights = rng.normal(size=(COLUMNS, 3)) * 0.3 * (np.arange(COLUMNS) % 2)[:, None]
    eta = columns @ weights
    counts = rng.poisson(np.exp(eta + [-0.5, -1.0, 0.2]))
    return Problem(columns, counts, (rng.random(ROWS) < 1 / (1 + np.exp(-0.3 - 2 * eta[:, 0]))).astype(int), eta[:, 1] + rng.normal(size=ROWS))


@pytest.fixture(scope="module")
def ours(problem):
    """The MAP under a flat baseline: a function of prior, family and response -> (column + 1[, neuron])."""
    data = bg.recording(rows="trial", x=problem.columns, spikes=problem.counts, one=problem.counts[:, 0], choice=problem.choice, signal=problem.signal)

    def fitted(law, response="one", of=None):
        model = bg.GLM(bg.Baseline(prior.Flat()) + bg.Linear("x", law), of or family.Poisson(), response)
        fit = bg.fit(model, data, "map", progress=False)
        assert fit.stats["converged"]
        weights, baseline = (fit.posterior[name].values[0, 0] for name in ("x", "baseline"))
        return np.concatenate([np.moveaxis(weights, -1, 0), baseline[None]])

    return fitted


def _theirs(peer):
    coefficients = np.atleast_2d(peer.coef_)
    return np.append(coefficients[0], peer.intercept_)


def _same(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < CLOSE * np.abs(theirs).max()


@pytest.mark.parametrize("alpha", [0.01, 0.1, 1.0])
def test_ridge_is_scikit_learns_poisson_regressor(ours, problem, alpha):
    # its loss is a mean over rows, penalised by alpha/2 |w|^2: glmnet's formula without an L1 part
    peer = linear_model.PoissonRegressor(alpha=alpha, tol=PEER_TOLERANCE, max_iter=10_000, solver="newton-cholesky")
    wanted = _theirs(peer.fit(problem.columns, problem.counts[:, 0]))
    _same(ours(prior.ridge(alpha * ROWS)), wanted)
    _same(ours(prior.from_glmnet(alpha, 0.0, ROWS)), wanted)


@pytest.mark.parametrize("C", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_logistic_regression(ours, problem, C, penalty):
    # liblinear would penalise the intercept: saga does not
    solver = {"l2": "newton-cholesky", "l1": "saga"}[penalty]
    peer = linear_model.LogisticRegression(C=C, l1_ratio=float(penalty == "l1"), tol=PEER_TOLERANCE, max_iter=100_000, solver=solver, random_state=0)
    wanted = _theirs(peer.fit(problem.columns, problem.choice))
    plain = {"l2": prior.ridge, "l1": prior.lasso}[penalty](1 / C)
    _same(ours(prior.from_sklearn(C, penalty), "choice", family.Bernoulli()), wanted)
    _same(ours(plain, "choice", family.Bernoulli()), wanted)


@pytest.mark.parametrize("share", [0.2, 0.7, 1.0])
def test_elastic_net_of_a_choice(ours, problem, share):
    C = 0.1
    peer = linear_model.LogisticRegression(C=C, l1_ratio=share, tol=PEER_TOLERANCE, max_iter=100_000, solver="saga", random_state=0)
    wanted = _theirs(peer.fit(problem.columns, problem.choice))
    _same(ours(prior.from_glmnet(1 / (C * ROWS), share, ROWS), "choice", family.Bernoulli()), wanted)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_elastic_net_of_a_signal(ours, problem, share):
    peer = linear_model.ElasticNet(alpha=0.05, l1_ratio=share, tol=1e-14, max_iter=100_000)
    wanted = _theirs(peer.fit(problem.columns, problem.signal))
    found = ours(prior.from_glmnet(0.05, share, ROWS), "signal", family.Gaussian(scale=1.0))
    _same(found, wanted)
    np.testing.assert_array_equal(found == 0, wanted == 0)


@pytest.fixture(scope="module")
def nemos():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("nemos")


def _nemos(nemos, kind, problem, counts, regularizer, strength):
    """NeMoS's optimum in double precision, (column + 1[, neuron])."""
    solver = "LBFGS" if regularizer == "Ridge" else "ProximalGradient"
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = getattr(nemos.glm, kind)(
            regularizer=regularizer, regularizer_strength=strength, solver_name=solver, solver_kwargs={"tol": 1e-12, "maxiter": 20_000}
        )
        peer.fit(problem.columns, counts.astype(float))
        intercept = np.asarray(peer.intercept_)
        return np.concatenate([np.asarray(peer.coef_), intercept[None] if counts.ndim == 2 else intercept])


@pytest.mark.parametrize(("regularizer", "strength"), [("Ridge", 0.01), ("Ridge", 1.0), ("Lasso", 0.05)])
def test_nemos_glm(nemos, ours, problem, regularizer, strength):
    wanted = _nemos(nemos, "GLM", problem, problem.counts[:, 0], regularizer, strength)
    _same(ours(prior.from_nemos(strength, ROWS, regularizer)), wanted)


@pytest.mark.parametrize("ratio", [0.3, 0.8])
def test_nemos_elastic_net(nemos, ours, problem, ratio):
    wanted = _nemos(nemos, "GLM", problem, problem.counts[:, 0], "ElasticNet", (0.05, ratio))
    _same(ours(prior.from_nemos(0.05, ROWS, "ElasticNet", ratio=ratio)), wanted)


@pytest.mark.parametrize("strength", [0.02, 0.2])
def test_nemos_group_lasso(nemos, ours, problem, strength):
    """One group of all columns; NeMoS multiplies its norm by the square root of its size."""
    wanted = _nemos(nemos, "GLM", problem, problem.counts[:, 0], "GroupLasso", strength)
    _same(ours(prior.from_nemos(strength, ROWS, "GroupLasso", group_size=COLUMNS)), wanted)


def test_nemos_population_is_one_glm_a_neuron(nemos, ours, problem):
    # its loss is a mean over bins but a sum over neurons, so the converter needs no number of neurons
    wanted = _nemos(nemos, "PopulationGLM", problem, problem.counts, "Ridge", 0.1)
    found = ours(prior.from_nemos(0.1, ROWS), "spikes")
    for cell in range(3):
        _same(found[:, cell], wanted[:, cell])


def test_no_penalty_is_maximum_likelihood(ours, problem):
    peer = linear_model.PoissonRegressor(alpha=0.0, tol=PEER_TOLERANCE, max_iter=10_000, solver="newton-cholesky")
    _same(ours(prior.ridge(0.0)), _theirs(peer.fit(problem.columns, problem.counts[:, 0])))
