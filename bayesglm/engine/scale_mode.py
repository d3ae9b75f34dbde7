"""The marginal mode of learned parameters: weights integrated out of a quadratic form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.linear import Linear
from bayesglm.engine.scales import positive, to_value, unconstrained_shape
from bayesglm.prior._distributions import EvidenceScale

_STEPS = 25
_STILL = 1e-6  # a move of a coordinate at which Newton stops
_DIFFERENCE = 1e-4
Score = Callable[[Any], Any]


class Form(NamedTuple):
    """The likelihood's quadratic form exp(b.w - w.H0.w/2) at its expansion point, where the learned parameters are theta."""

    curvature: Any  # H0 (P, P), or its diagonal
    b: Any
    eta: Any  # at w
    w: Any
    theta: Any


def log_marginal(linear: Linear, each: Any, form: Form, theta: Any) -> Any:
    """Log of the integral of exp(b.w - w.H0.w/2) p(w | theta), plus log p(theta): the Laplace evidence of theta.

    A family's own parameters enter by the likelihood at the mode's eta, and by the form's steepness where that is known:
    exactly for Gaussian families, with H0 held for others.
    """
    hyper, log_hyper = linear.constrain(each, theta)
    curvature, b, steep = form.curvature, form.b, 1.0
    if linear.family.hyper(linear.response):
        steep = linear.family.steepness(hyper) / linear.family.steepness(linear.constrain(each, form.theta)[0])
        at_mode = b @ form.w - 0.5 * form.w @ times(curvature, form.w)
        log_hyper = log_hyper + linear.log_likelihood_of(each, form.eta, hyper) - (steep - 1.0) * at_mode
    precision = linear.by_weight(each, hyper, "whitening")
    if curvature.ndim == 1:
        square = steep * curvature + precision
        integral = 0.5 * jnp.sum((steep * b) ** 2 / square) - 0.5 * jnp.sum(jnp.log(square))
    else:
        integral = gaussian_integral(curvature, jnp.sqrt(steep) * b, precision / steep) - 0.5 * b.size * jnp.log(steep)
    log_precision = jnp.sum(jnp.log(jnp.where(precision > 0, precision, 1.0)))
    return integral + 0.5 * log_precision + log_hyper


@jax.custom_vjp
def gaussian_integral(h: Any, b: Any, d: Any) -> Any:
    """log of the integral of exp(b.w - w.A.w/2), A = h + diag(d), up to a constant: b.A^-1.b/2 - log|A|/2.

    Its derivatives are written out: m = A^-1 b in b, -(m^2 + (A^-1)_pp)/2 in d; h is a constant.
    """
    return _integral(h, b, d)[0]


def _integral(h: Any, b: Any, d: Any) -> tuple[Any, tuple[Any, Any]]:
    factor = jnp.linalg.cholesky(h + jnp.diag(d))
    half = jax.scipy.linalg.solve_triangular(factor, b, lower=True)
    return 0.5 * half @ half - jnp.sum(jnp.log(jnp.diagonal(factor))), (factor, half)


def _integral_back(kept: tuple[Any, Any], pull: Any) -> tuple[Any, Any, Any]:
    factor, half = kept
    root = jax.scipy.linalg.solve_triangular(factor, jnp.eye(half.size), lower=True)
    m = half @ root
    return jnp.zeros_like(factor), pull * m, -0.5 * pull * (m**2 + jnp.sum(root**2, axis=0))


gaussian_integral.defvjp(_integral, _integral_back)


@compiled_quickly
def scale_mode(linear: Linear, w: Any, curvature: Any, slope: Any, theta: Any, in_log: bool) -> tuple[Any, Any]:
    """Maximise ``log_marginal`` over theta (neuron, K) for every neuron by damped Newton; the mode and its covariance's factor.

    A mode depends on the coordinates: ``in_log`` finds that of the density of the parameters' logarithms. Parameters that
    all neurons share are moved together, by the sum over neurons, and count their own prior once.
    """
    shared = sum(linear.sizes()[site] for site in linear.shared_sites())
    own = theta.shape[1] - shared
    forms = jax.vmap(lambda each, w, h, g, at: Form(h, times(h, w) - g, linear.eta(each, w), w, at))(linear.each, w, curvature, slope, theta)

    def score(each: Any, form: Form, theta: Any) -> Any:
        value = log_marginal(linear, each, form, theta)
        return value - log_slopes(linear, each, theta) if in_log else value

    def alone(each: Any, form: Form, theta: Any) -> tuple[Any, Any]:
        found, factor = maximised(lambda part: score(each, form, jnp.concatenate([part, theta[own:]])), theta[:own])
        return jnp.concatenate([found, theta[own:]]), jax.scipy.linalg.block_diag(factor, jnp.eye(shared))

    if own:
        theta, factor = jax.vmap(alone)(linear.each, forms, theta)
    else:
        factor = jnp.broadcast_to(jnp.eye(shared), (len(theta), shared, shared))
    if not shared:
        return theta, factor
    first = jax.tree.map(lambda leaf: leaf[0], linear.each)

    def together(part: Any) -> Any:
        values = jax.vmap(lambda each, form, one: score(each, form, jnp.concatenate([one[:own], part])))(linear.each, forms, theta)
        whole = jnp.concatenate([theta[0, :own], part])
        again = shared_density(linear, first, whole)
        if in_log:
            again = again - log_slopes(linear, first, whole, linear.shared_sites())
        return values.sum() - (len(theta) - 1) * again

    found, wide = maximised(together, theta[0, own:])
    theta = jnp.concatenate([theta[:, :own], jnp.broadcast_to(found, (len(theta), shared))], 1)
    return theta, factor.at[:, own:, own:].set(wide)


def times(h: Any, w: Any) -> Any:
    """A matrix, or the diagonal of one, times w."""
    return h * w if h.ndim == 1 else h @ w


def shared_density(linear: Linear, each: Any, theta: Any) -> Any:
    """Log density of the shared parameters' coordinates (prior and Jacobian), of one neuron's theta (K,)."""
    total, begin = jnp.zeros(()), 0
    sizes, shared = linear.sizes(), linear.shared_sites()
    for site, law in linear.hyper(each).items():
        end = begin + sizes[site]
        if site in shared:
            total = total + to_value(law, theta[begin:end].reshape(unconstrained_shape(law)))[1]
        begin = end
    return total


def maximised(score: Score, theta: Any) -> tuple[Any, Any]:
    """A maximum by damped Newton, and the Cholesky factor of minus the inverse Hessian there."""

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        theta, before, covariance, _, turn = carry
        value, slope, bend = _local(score, theta)
        values, vectors = jnp.linalg.eigh(-bend)
        better = value >= before[0] - 1e-12
        theta = jnp.where(better, theta, before[1])  # a step that made things worse is taken back, and halved
        move = vectors @ ((vectors.T @ slope) / jnp.maximum(jnp.abs(values), 0.1))
        move = move * jnp.minimum(1.0, 1.0 / jnp.maximum(jnp.max(jnp.abs(move)), 1e-12))
        move = jnp.where(better, move, 0.25 * before[2])
        # a sd above 2 is not believed
        covariance = jnp.where(better, (vectors / jnp.maximum(values, 0.25)) @ vectors.T, covariance)
        return theta + move, (jnp.where(better, value, before[0]), theta, move), covariance, jnp.max(jnp.abs(move)), turn + 1

    def going(carry: tuple[Any, ...]) -> Any:
        return (carry[3] > _STILL) & (carry[4] < _STEPS)

    first = (jnp.asarray(-jnp.inf), theta, jnp.zeros_like(theta))
    start = (theta, first, jnp.eye(theta.size), jnp.asarray(jnp.inf), 0)
    _, (_, theta, _), covariance, _, _ = jax.lax.while_loop(going, step, start)
    return theta, jnp.linalg.cholesky(covariance)


def _local(score: Any, theta: Any) -> tuple[Any, Any, Any]:
    """Value, gradient and Hessian; the Hessian by differences of the gradient, which is one small program instead of three."""
    shifts = _DIFFERENCE * jnp.eye(theta.size)
    values, slopes = jax.lax.map(jax.value_and_grad(score), theta + jnp.concatenate([jnp.zeros((1, theta.size)), shifts, -shifts]))
    bend = (slopes[1 : 1 + theta.size] - slopes[1 + theta.size :]) / (2 * _DIFFERENCE)
    return values[0], slopes[0], 0.5 * (bend + bend.T)


def log_slopes(linear: Linear, each: Any, theta: Any, sites: tuple[str, ...] | None = None) -> Any:
    """Sum of log |d log(parameter) / d theta| of positive parameters (|d parameter / d theta| of a scale by the evidence)."""

    def logs(theta: Any) -> Any:
        values = linear.constrain(each, theta)[0]
        here = {site: law for site, law in linear.hyper(each).items() if positive(law) and (sites is None or site in sites)}
        # a scale by the evidence is at the maximum of evidence times p(scale), not of the density of its logarithm
        found = [jnp.ravel(values[site] if isinstance(law, EvidenceScale) else jnp.log(values[site])) for site, law in here.items()]
        return jnp.concatenate([*found, jnp.ones(0)])

    slopes = jax.jvp(logs, (theta,), (jnp.ones_like(theta),))[1]
    return jnp.sum(jnp.log(slopes))
