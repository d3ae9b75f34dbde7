"""The Gaussian approximation: modes of the weights, marginal modes of learned scales, whitening."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.columns import first_reference, solve
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.coordinates import Whitened
from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import negative_log_likelihood
from bayesglm.prior._base import site_values

_ROUNDS = 12  # of scale and weights in turn
_SCALE_STEPS = 25
_DIFFERENCE = 1e-4
_CLOSE = 1e-2  # change of a log scale at which the rounds stop: a small part of its posterior sd
_ROUGH, _FINE = 1e-4, 1e-14  # nats, while the scale still moves and at the end


class Mode(NamedTuple):
    """Weights at their mode and the likelihood's quadratic form there; leading axis neuron."""

    w: Any  # (neuron, P)
    curvature: Any  # (neuron, P, P) Hessian of the negative log likelihood
    slope: Any  # (neuron, P) its gradient
    converged: Any  # (neuron,) bool


class Approximation(NamedTuple):
    """The surrogate Gaussian posterior of every neuron, leading axis neuron."""

    mode: Mode
    theta: Any  # (neuron, K) marginal mode of the unconstrained learned parameters
    spread: Any  # (neuron, K, K) Cholesky factor of their covariance
    coordinates: Whitened


def _quadratic_form(linear: Linear, theta: Any, w: Any, exact: bool) -> tuple[Any, Any]:
    """Hessian (neuron, P, P) and gradient (neuron, P) of the negative log likelihood; the Hessian in single unless exact."""

    def pieces(each: Any, theta: Any, w: Any) -> tuple[Any, Any]:
        _, gradient, rows = negative_log_likelihood(linear, each, w, linear.constrain(each, theta)[0])
        return gradient, rows

    slope, rows = jax.vmap(pieces)(linear.each, theta, w)
    gram = linear.gram(rows) if exact else linear.in_single().gram(rows.astype(jnp.float32)).astype(float)
    return gram, slope


quadratic_form = compiled_quickly(_quadratic_form)


def log_marginal(linear: Linear, each: Any, quadratic: tuple[Any, Any, Any], theta: Any) -> Any:
    """Log of the integral of exp(b.w - w.H0.w/2) p(w | theta), plus log p(theta): the Laplace evidence of theta.

    A family's own parameters enter by the likelihood at the mode's eta, with H0 held.
    """
    curvature, b, eta = quadratic
    hyper, log_hyper = linear.constrain(each, theta)
    if linear.family.hyper(linear.response):
        log_hyper = log_hyper + linear.log_likelihood_of(each, eta, hyper)
    precision = linear.by_weight(each, hyper, "whitening")
    factor = jnp.linalg.cholesky(curvature + jnp.diag(precision))
    half = jax.scipy.linalg.solve_triangular(factor, b, lower=True)
    log_precision = jnp.sum(jnp.log(jnp.where(precision > 0, precision, 1.0)))
    return 0.5 * half @ half - jnp.sum(jnp.log(jnp.diagonal(factor))) + 0.5 * log_precision + log_hyper


@compiled_quickly
def _scale_mode(linear: Linear, mode: Mode, theta: Any, in_log: bool) -> tuple[Any, Any]:
    """Maximise ``log_marginal`` over theta for every neuron by damped Newton; the mode and its covariance's factor.

    A mode depends on the coordinates: ``in_log`` finds that of the density of the parameters' logarithms.
    """

    def one(each: Any, w: Any, curvature: Any, slope: Any, theta: Any) -> tuple[Any, Any]:
        quadratic = (curvature, curvature @ w - slope, linear.eta(each, w))

        def score(theta: Any) -> Any:
            value = log_marginal(linear, each, quadratic, theta)
            return value - _log_slopes(linear, each, theta) if in_log else value

        def step(_: Any, carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            theta, before, _ = carry
            value, slope, bend = _local(score, theta)
            values, vectors = jnp.linalg.eigh(-bend)
            better = value >= before[0] - 1e-12
            theta = jnp.where(better, theta, before[1])  # a step that made things worse is taken back, and halved
            move = vectors @ ((vectors.T @ slope) / jnp.maximum(jnp.abs(values), 0.1))
            move = move * jnp.minimum(1.0, 1.0 / jnp.maximum(jnp.max(jnp.abs(move)), 1e-12))
            move = jnp.where(better, move, 0.25 * before[2])
            # a sd above 2 is not believed
            covariance = (vectors / jnp.maximum(values, 0.25)) @ vectors.T
            kept = (jnp.where(better, value, before[0]), theta, move)
            return theta + move, kept, jnp.where(better, covariance, carry[2])

        first = (jnp.asarray(-jnp.inf), theta, jnp.zeros_like(theta))
        _, (_, theta, _), covariance = jax.lax.fori_loop(0, _SCALE_STEPS, step, (theta, first, jnp.eye(theta.size)))
        return theta, jnp.linalg.cholesky(covariance)

    return jax.vmap(one)(linear.each, mode.w, mode.curvature, mode.slope, theta)


def _local(score: Any, theta: Any) -> tuple[Any, Any, Any]:
    """Value, gradient and Hessian; the Hessian by differences of the gradient, which is one small program instead of three."""
    shifts = _DIFFERENCE * jnp.eye(theta.size)
    values, slopes = jax.lax.map(jax.value_and_grad(score), theta + jnp.concatenate([jnp.zeros((1, theta.size)), shifts, -shifts]))
    bend = (slopes[1 : 1 + theta.size] - slopes[1 + theta.size :]) / (2 * _DIFFERENCE)
    return values[0], slopes[0], 0.5 * (bend + bend.T)


def _log_slopes(linear: Linear, each: Any, theta: Any) -> Any:
    """Sum of log |d log(parameter) / d theta|: each parameter depends on its own coordinate alone."""

    def logs(theta: Any) -> Any:
        return jnp.stack([jnp.log(value) for value in linear.constrain(each, theta)[0].values()])

    return jnp.sum(jnp.log(jax.jvp(logs, (theta,), (jnp.ones_like(theta),))[1]))


@compiled_quickly
def _coordinates(linear: Linear, theta: Any, spread: Any, w: Any, exact: bool) -> tuple[Mode, dict[str, Any]]:
    """The quadratic form at w and the coordinates that follow; ``ratio`` corrects the precision of priors that are not Gaussian."""
    curvature, slope = _quadratic_form(linear, theta, w, exact)

    def one(each: Any, w: Any, curvature: Any, theta: Any) -> dict[str, Any]:
        hyper, _ = linear.constrain(each, theta)
        surrogate = linear.by_weight(each, hyper, "whitening")
        log_prior = lambda w: linear.log_prior(each, w, hyper)  # noqa: E731
        bend = -jax.jvp(jax.grad(log_prior), (w,), (jnp.ones_like(w),))[1]  # zero where the prior has a kink
        bent = jnp.where(bend > 0, bend, surrogate)
        ratio = jnp.where(surrogate > 0, jnp.maximum(bent / jnp.where(surrogate > 0, surrogate, 1.0), 0.1), 1.0)
        whole = curvature + jnp.diag(ratio * surrogate)
        return {"H0": curvature, "b": whole @ w, "ratio": ratio, "mean": w, "factor": jnp.linalg.cholesky(whole)}

    each = jax.vmap(one)(linear.each, w, curvature, theta)
    return Mode(w, curvature, slope, jnp.ones(len(w), bool)), each | {"theta": theta, "spread": spread}


def approximate(linear: Linear, exact: bool = False, in_log: bool = False) -> Approximation:
    """Gaussian approximation of every neuron's posterior, at the marginal mode of its learned parameters.

    The joint mode of weights and scale does not exist (scale to zero), so weights and scale are found in turn: weights
    at a fixed scale, then the scale that maximises the Laplace evidence times its prior. Priors that are not Gaussian
    enter by their variance (the surrogate), never by their own mode.

    Parameters
    ----------
    linear : Linear
    exact : bool
        Hessian in double precision; else in single, which is enough for coordinates.
    in_log : bool
        Take the marginal mode of the learned parameters' logarithms (what MAP reports), not that of the coordinates
        in which they are sampled.
    """
    surrogate = gaussian_surrogate(linear) if kinks(linear) else linear
    theta, w, reference = start(surrogate)
    spread = jnp.zeros((linear.size, 0, 0))
    found = solve(surrogate, theta, w, reference, jnp.asarray(_ROUGH if theta.shape[1] else _FINE))
    slope = jnp.zeros_like(w)
    if theta.shape[1]:
        reference, slope = quadratic_form(surrogate, theta, found.w, exact)
    moving = np.ones(linear.size, bool)
    for _ in range(_ROUNDS if theta.shape[1] else 0):
        new, wide = _scale_mode(surrogate, Mode(found.w, reference, slope, found.done), theta, in_log)
        # each neuron stops by its own rule: its result must not depend on who is fitted beside it
        spread = wide if spread.shape[1] == 0 else jnp.where(moving[:, None, None], wide, spread)
        new = jnp.where(moving[:, None], new, theta)
        moving &= np.asarray(jnp.max(jnp.abs(new - theta), axis=1)) >= _CLOSE
        theta = new
        if not moving.any():
            break
        found = solve(surrogate, theta, found.w, reference, jnp.asarray(_ROUGH))
        reference, slope = quadratic_form(surrogate, theta, found.w, exact)
    if theta.shape[1]:
        found = solve(surrogate, theta, found.w, reference, jnp.asarray(_FINE))
    mode, each = _coordinates(surrogate, theta, spread, found.w, exact)
    return Approximation(mode._replace(converged=found.done), theta, spread, Whitened(each, linear.learned_scales()))


def kinks(linear: Linear) -> bool:
    """Whether any prior has a kink at zero (L1, elastic net)."""
    return any(kinked(prior) for prior in linear.priors)


def kinked(prior: Any) -> bool:
    """Whether this prior's log density has a kink at zero."""
    given = site_values(prior, "", dict.fromkeys(prior.hyper(""), 1.0))
    return prior.absolute(given, jnp.ones(1)) is not None


@compiled_quickly
def start(linear: Linear) -> tuple[Any, Any, Any]:
    """Learned parameters at their prior medians, first weights, and a reference curvature."""
    theta = jax.vmap(linear.start)(linear.each)
    return theta, jax.vmap(linear.first_weights)(linear.each), first_reference(linear, theta)


def gaussian_surrogate(linear: Linear) -> Linear:
    """The same model with every prior replaced by the Gaussian of its variance."""
    return eqx.tree_at(lambda one: one.priors, linear, tuple(_Surrogate(prior) for prior in linear.priors))


class _Surrogate(eqx.Module):
    """A prior seen through its ``whitening`` precision."""

    prior: Any

    def hyper(self, name: str) -> dict[str, Any]:
        return self.prior.hyper(name)

    def weights(self, hyper: Any, mask: Any) -> Any:
        return _Quadratic(self.whitening(hyper, mask))

    def whitening(self, hyper: Any, mask: Any) -> Any:
        return self.prior.whitening(hyper, mask)

    def absolute(self, hyper: Any, mask: Any) -> None:
        return None


class _Quadratic(NamedTuple):
    precision: Any

    def log_prob(self, w: Any) -> Any:
        log_precision = jnp.log(jnp.where(self.precision > 0, self.precision, 1.0))
        return 0.5 * log_precision - 0.5 * self.precision * w**2
