"""Coordinates: their Jacobians, closed forms, and one joint posterior where neurons share a scale."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import log_density
from shapes import everything

import bayesglm as bg
from bayesglm import basis, method, prior
from bayesglm._double import in_double
from bayesglm.engine.accuracy import FLAGGED
from bayesglm.engine.coordinates import Diagonal, Scaled, Whitened, _straightened, straightened
from bayesglm.engine.joint import JointTarget, engine_target
from bayesglm.engine.laplace import approximate
from bayesglm.engine.scales import from_value, to_value
from bayesglm.method._base import arrays

LAGS = basis.RaisedCosine(3, span=0.05)
CLOSE = 1e-9
SINGLE = 1e-6  # the curvature of coordinates is summed in single precision


def target_of(model):
    data = everything()
    resolved = model.resolve(data)
    linear = arrays(resolved.linear(resolved.design(data)))
    return resolved, linear, engine_target(linear, approximate(linear).coordinates)


def check_jacobian(linear, target):
    """What the coordinates add to the energy is minus log |d(w, theta)/dz|, up to a constant."""
    each = jax.tree.map(lambda leaf: leaf[0], target.each)
    to_weights = lambda z: target.coordinates.to_weights(linear, each["linear"], each["coordinates"], z)  # noqa: E731
    whole = lambda z: jnp.concatenate(to_weights(z)[:2])  # noqa: E731
    rng, gaps = np.random.default_rng(0), []
    for _ in range(3):
        z = jnp.asarray(rng.normal(size=target.dim))
        gaps.append(float(to_weights(z)[2] + jnp.linalg.slogdet(jax.jacrev(whole)(z))[1]))
    np.testing.assert_allclose(gaps, gaps[0], atol=CLOSE)


@pytest.mark.parametrize(
    ("law", "kind"),
    [(prior.Gaussian(0.4), Whitened), (prior.Gaussian(dist.HalfNormal(0.5)), Scaled), (prior.GaussianProcess(), Whitened), (prior.Horseshoe(2), Whitened)],
    ids=["fixed", "scale", "lengthscale", "local"],
)
@in_double
def test_jacobians(law, kind):
    _, linear, target = target_of(bg.GLM(bg.Baseline() + bg.History(LAGS, prior.Gaussian(0.3)) + bg.Coupling(LAGS, law)))
    assert isinstance(target.coordinates, kind)
    check_jacobian(linear, target)


@in_double
def test_diagonal_coordinates_sample_the_same_density(monkeypatch):
    """Where no P x P matrix can be held: the story's energies, a Jacobian of its own, and a mode where the gradient is zero."""
    for module in ("columns", "laplace"):
        monkeypatch.setattr(f"bayesglm.engine.{module}.DENSEST", 5)
    seven = basis.BSpline(7, span=0.08)  # a shape of its own: compiled programs remember the limit
    model, linear, target = target_of(bg.GLM(bg.Baseline() + bg.Coupling(seven)))
    assert isinstance(target.coordinates, Diagonal)
    check_jacobian(linear, target)
    found = approximate(linear, in_log=True)
    assert bool(found.mode.converged.all())
    each = jax.tree.map(lambda leaf: leaf[1], linear.each)
    hyper, _ = linear.constrain(each, found.theta[1])
    cost = lambda w: -linear.log_likelihood(each, w, hyper) - linear.log_prior(each, w, hyper)  # noqa: E731
    np.testing.assert_allclose(jax.grad(cost)(found.mode.w[1]), 0.0, atol=1e-5)
    design = model.design(everything())
    alone = design.one(jax.tree.map(lambda leaf: leaf[1], design.each))
    gaps = []
    for size in (0.1, 0.3):
        w = size * jnp.cos(jnp.arange(linear.dim))
        sites = {name: jnp.asarray(value)[None] for name, value in (linear.unpack(each, w) | hyper).items()}
        gaps.append(float(cost(w)) + float(log_density(model, (alone,), {}, sites)[0]))
    assert gaps[0] == pytest.approx(gaps[1], abs=CLOSE)


@in_double
def test_one_scale_is_straightened_exactly():
    """Given any scale, the whitened weights are what the Gaussian approximation at that scale says: mean and covariance."""
    _, linear, target = target_of(bg.GLM(bg.Baseline(prior.Gaussian(1.0)) + bg.History(LAGS)))
    each = jax.tree.map(lambda leaf: leaf[0], target.each)
    own = each["coordinates"]
    to_weights = lambda u, s: target.coordinates.to_weights(linear, each["linear"], own, jnp.append(u, s))  # noqa: E731
    for s in (-2.0, 1.5):
        mean, theta, _ = to_weights(jnp.zeros(linear.dim), s)
        map_ = jax.jacfwd(lambda u, s=s: to_weights(u, s)[0])(jnp.zeros(linear.dim))
        hyper, _ = linear.constrain(each["linear"], theta)
        whole = own["H0"] + jnp.diag(own["ratio"] * linear.by_weight(each["linear"], hyper, "whitening"))
        np.testing.assert_allclose(map_ @ map_.T, jnp.linalg.inv(whole), atol=SINGLE)
        np.testing.assert_allclose(mean, jnp.linalg.solve(whole, own["b"]), atol=SINGLE)


@in_double
def test_derivatives_of_the_straightened_map():
    """The written-out derivative against automatic differentiation through the Cholesky factor."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 6))
    h, b, v = jnp.asarray(x.T @ x), jnp.asarray(rng.normal(size=6)), jnp.asarray(rng.normal(size=6))
    d, u = jnp.asarray(rng.uniform(0.5, 2, 6)), jnp.asarray(rng.normal(size=6))
    total = lambda apply: lambda d, u: (lambda out: out[0] @ v + 1.7 * out[1])(apply(d, u))  # noqa: E731
    ours = jax.grad(total(lambda d, u: straightened(h, b, d, u)), (0, 1))(d, u)
    plain = jax.grad(total(lambda d, u: _straightened(h, b, d, u)[0]), (0, 1))(d, u)
    for one, two in zip(ours, plain, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-13)


@in_double
def test_half_cauchy_coordinates_are_standard_normal_under_the_prior():
    law = dist.HalfCauchy(1.7).expand((5,)).to_event(1)
    x = jnp.asarray([-12.0, -1.0, 0.0, 2.0, 6.0])
    value, log_prob = to_value(law, x)
    np.testing.assert_allclose(log_prob, dist.Normal(0, 1).log_prob(x).sum(), rtol=1e-12)
    np.testing.assert_allclose(from_value(law, value), x, atol=1e-6)
    assert np.isfinite(jax.jacfwd(lambda x: jnp.log(to_value(law, x)[0]))(x)).all()


@pytest.mark.parametrize("shared", [prior.Hierarchical(), prior.Hierarchical("area"), prior.Hierarchical(partial=True)], ids=["one", "areas", "partial"])
@in_double
def test_joint_energy_is_the_storys(shared):
    """Neurons that share a scale have one posterior: its energy is minus log p of the whole story, Jacobian included."""
    model, _, target = target_of(bg.GLM(bg.Baseline() + bg.History(LAGS) + bg.Coupling(LAGS, shared)))
    assert isinstance(target, JointTarget) and target.each is None
    design = model.design(everything())
    flat = lambda z: ravel_pytree(dict(sorted(target.sites(None, z).items())))[0]  # noqa: E731
    rng, gaps, size = np.random.default_rng(1), [], 0.0
    for _ in range(3):
        z = jnp.asarray(0.5 * rng.normal(size=target.dim))
        energy = float(target.energy(None, z))
        told = float(log_density(model, (design,), {}, target.sites(None, z))[0] + jnp.linalg.slogdet(jax.jacrev(flat)(z))[1])
        gaps.append(energy + told)
        size = max(size, abs(energy))
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-10 * (1 + size))


def test_methods_agree_on_a_shared_scale():
    """NUTS and Laplace of one hierarchical population: the shared scale within the shift that is flagged elsewhere; MAP takes its mode.

    Long runs of NUTS at target acceptances 0.7, 0.8 and 0.95 agree (0.0438, 0.0437, 0.0430); Laplace's grid is a fifth of a sd above them.
    """
    rng = np.random.default_rng(4)
    data = bg.recording(dt=0.01, spikes=rng.poisson(0.3, (1500, 4)))
    model = bg.GLM(bg.Baseline() + bg.History(LAGS, prior.Hierarchical()))
    fits = [bg.fit(model, data, how, progress=False) for how in (method.NUTS(num_samples=1000, num_chains=2), method.Laplace())]
    scales = [fit.posterior["history_scale"] for fit in fits]
    assert all(scale.dims == ("chain", "draw") for scale in scales)
    means, sd = [float(scale.mean()) for scale in scales], float(scales[0].std())
    np.testing.assert_allclose(means, means[0], atol=FLAGGED * sd)
    point = bg.fit(model, data, "map", progress=False).posterior["history_scale"]
    assert point.shape == (1, 1) and 0 < point.item() < float(scales[0].quantile(0.9))
