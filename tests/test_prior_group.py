"""GroupLasso: a normalised density of groups, its radius and direction, and modes in which whole filters vanish."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from registry import place
from scipy import integrate, optimize, stats

import bayesglm as bg
from bayesglm import basis, prior
from bayesglm._double import in_double

CLOSE = 1e-6


def density(w, strength=1.7):
    w = np.asarray(w, float)
    return np.exp(np.asarray(prior.GroupLasso(1 / strength).weights({}, np.ones(w.shape, bool)).log_prob(w)).sum())


@in_double
def test_it_integrates_to_one():
    assert 2 * integrate.quad(lambda x: density([x]), 0, 30)[0] == pytest.approx(1.0, abs=CLOSE)
    plane = integrate.dblquad(lambda r, turn: r * density([r * np.cos(turn), r * np.sin(turn)]), 0, 2 * np.pi, 0, 30, epsabs=1e-7)
    assert plane[0] == pytest.approx(1.0, abs=CLOSE)


@in_double
def test_a_group_of_one_is_the_lasso():
    w = np.array([[-1.0], [0.0], [0.4]])
    mask = np.ones(w.shape, bool)
    group, lasso = prior.GroupLasso(0.3), prior.Laplace(0.3)
    np.testing.assert_allclose(group.weights({}, mask).log_prob(w), lasso.weights({}, mask).log_prob(w))
    np.testing.assert_allclose(group.whitening({}, mask), lasso.whitening({}, mask))
    np.testing.assert_allclose(group.prox(w, {}, mask, 0.2), lasso.prox(w, {}, mask, 0.2))


@in_double
def test_draws_have_a_gamma_radius_and_any_direction():
    mask = np.ones((2, 4), bool)
    mask[1] = False
    made = prior.GroupLasso(0.5)
    draws = np.asarray(made.weights({}, mask).sample(jax.random.key(3), (3000,)))
    radius = np.linalg.norm(draws[:, 0], axis=-1)
    assert stats.kstest(radius, stats.gamma(4, scale=0.5).cdf).pvalue > 1e-3
    assert stats.spearmanr(radius, draws[:, 0, 0] / radius).pvalue > 1e-3
    np.testing.assert_allclose(np.cov((draws[:, 0] / radius[:, None]).T), np.eye(4) / 4, atol=0.02)
    np.testing.assert_allclose(draws[:, 0].var(0), 1 / np.asarray(made.whitening({}, mask))[0], rtol=0.1)
    assert stats.kstest(draws[:, 1].ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("step", [0.1, 3.0])
@in_double
def test_prox_is_the_minimum(step):
    made, mask = prior.GroupLasso(0.5), np.ones((3, 2), bool)
    start = np.array([[0.1, -0.2], [1.5, 3.0], [0.0, 0.0]])
    found = np.asarray(made.prox(start, {}, mask, step))
    for w, at in zip(start, found, strict=True):
        cost = lambda v, w=w: ((v - w) ** 2).sum() / (2 * step) + np.sqrt((v**2).sum()) / 0.5  # noqa: E731
        assert cost(at) <= min(cost(optimize.minimize(cost, w + 0.1, method="Nelder-Mead", options={"xatol": 1e-9}).x), cost(0 * w)) + 1e-9


@in_double
def test_the_filters_of_all_classes_are_one_group():
    one, several = prior.GroupLasso(0.5), prior.GroupLasso(0.5).resolve(place((2, 3), several=2))
    w = np.random.default_rng(0).normal(size=(2, 3, 2))
    mask = np.ones(w.shape, bool)
    joined = one.weights({}, mask.reshape(2, 6)).log_prob(w.reshape(2, 6))
    np.testing.assert_allclose(several.weights({}, mask).log_prob(w), np.reshape(joined, w.shape))
    np.testing.assert_allclose(several.whitening({}, mask), np.reshape(one.whitening({}, mask.reshape(2, 6)), w.shape))
    np.testing.assert_allclose(several.prox(w, {}, mask, 0.3), np.reshape(one.prox(w.reshape(2, 6), {}, mask.reshape(2, 6), 0.3), w.shape))


@in_double
def test_its_gradient_at_zero_is_a_number():
    mask = np.ones((2, 3), bool)
    slope = jax.grad(lambda w: prior.GroupLasso(1.0).weights({}, mask).log_prob(w).sum())(np.zeros((2, 3)))
    np.testing.assert_array_equal(slope, 0.0)


def test_the_mode_has_whole_filters_at_zero():
    """At a group that is zero the gradient of the likelihood is shorter than the strength; elsewhere it balances the prior."""
    rng = np.random.default_rng(0)
    rows, strength = 1500, 120.0
    x = rng.normal(size=(rows, 5))
    y = 0.5 + x[:, 1] - np.roll(x[:, 3], 1) + rng.normal(size=rows)
    data = bg.recording(dt=0.01, x=x, y=y)
    term = bg.Stimulus("x", basis.Lags(span=0.03), prior.GroupLasso(1 / strength), edge="zero")
    fit = bg.fit(bg.GLM(bg.Baseline(prior.Flat()) + term, bg.family.Gaussian(1.0), "y"), data, "map", progress=False)
    assert fit.stats["converged"]
    w = fit.posterior["x"].values.reshape(5, 3)
    z = np.asarray(fit.model.design(data).shared["x"])
    pull = np.einsum("tfb,t->fb", z, y - float(fit.posterior["baseline"].squeeze()) - np.einsum("tfb,fb->t", z, w))
    size = np.linalg.norm(w, axis=1)
    assert (size == 0).sum() >= 2 and (size[[1, 3]] > 0.3).all()
    assert (np.linalg.norm(pull, axis=1)[size == 0] < strength * (1 + CLOSE)).all()
    np.testing.assert_allclose(pull[size > 0], strength * w[size > 0] / size[size > 0, None], atol=1e-4 * strength)


def test_laplace_is_refused_and_a_single_weight_has_no_group():
    data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.3, (200, 1)))
    model = bg.GLM(bg.Baseline() + bg.History(basis.Lags(span=0.03), prior.GroupLasso(1.0)))
    with pytest.raises(ValueError, match="laplace.*history.*kink"):
        bg.fit(model, data, "laplace", progress=False)
    with pytest.raises(ValueError, match=r"one weight.*prior\.Laplace"):
        prior.GroupLasso(1.0).resolve(place(()))
