"""The Gaussian approximation: modes of the weights, marginal modes of learned scales, whitening."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.coordinates import Whitened
from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import Mode, modes

_ROUNDS = 12  # of scale and weights in turn
_CLOSE = 1e-3  # change of a log scale at which the rounds stop: a small part of its posterior sd


class Approximation(NamedTuple):
    """The surrogate Gaussian posterior of every neuron, leading axis neuron."""

    mode: Mode
    theta: Any  # (neuron, K) marginal mode of the unconstrained learned parameters
    spread: Any  # (neuron, K, K) Cholesky factor of their covariance
    coordinates: Whitened


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


@eqx.filter_jit
def _scale_mode(linear: Linear, mode: Mode, b: Any, theta: Any) -> tuple[Any, Any]:
    """Maximise ``log_marginal`` over theta for every neuron by damped Newton; the mode and its covariance's factor."""

    def one(each: Any, w: Any, curvature: Any, b: Any, theta: Any) -> tuple[Any, Any]:
        quadratic = (curvature, b, linear.eta(each, w))
        score = lambda t: log_marginal(linear, each, quadratic, t)  # noqa: E731

        def step(_: Any, theta: Any) -> Any:
            slope, bend = jax.grad(score)(theta), -jax.hessian(score)(theta)
            values, vectors = jnp.linalg.eigh(bend)
            move = vectors @ ((vectors.T @ slope) / jnp.maximum(jnp.abs(values), 0.1))
            move = move * jnp.minimum(1.0, 1.0 / jnp.maximum(jnp.max(jnp.abs(move)), 1e-12))
            better = score(theta + move) >= score(theta) - 1e-12
            return theta + jnp.where(better, move, 0.25 * move)

        theta = jax.lax.fori_loop(0, 25, step, theta)
        values, vectors = jnp.linalg.eigh(-jax.hessian(score)(theta))
        covariance = (vectors / jnp.maximum(values, 0.25)) @ vectors.T  # a sd above 2 in a log scale is not believed
        return theta, jnp.linalg.cholesky(covariance)

    return jax.vmap(one)(linear.each, mode.w, mode.curvature, b, theta)


@eqx.filter_jit
def _conditional(linear: Linear, mode: Mode, theta: Any) -> tuple[Any, Any, Any]:
    """b, mean and Cholesky factor of the surrogate posterior at theta."""

    def one(each: Any, w: Any, curvature: Any, slope: Any, theta: Any) -> tuple[Any, Any, Any]:
        hyper, _ = linear.constrain(each, theta)
        b = curvature @ w - slope
        factor = jnp.linalg.cholesky(curvature + jnp.diag(linear.by_weight(each, hyper, "whitening")))
        return b, jax.scipy.linalg.cho_solve((factor, True), b), factor

    return jax.vmap(one)(linear.each, mode.w, mode.curvature, mode.slope, theta)


def approximate(linear: Linear) -> Approximation:
    """Gaussian approximation of every neuron's posterior, at the marginal mode of its learned parameters.

    The joint mode of weights and scale does not exist (scale to zero), so weights and scale are found in turn: weights
    at a fixed scale by Newton, then the scale that maximises the Laplace evidence times its prior. Priors that are not
    Gaussian enter by their variance (the surrogate), never by their own mode.
    """
    surrogate = gaussian_surrogate(linear)
    theta = jax.vmap(surrogate.start)(surrogate.each)
    mode = modes(surrogate, theta, jnp.zeros((linear.size, linear.dim)), False)
    spread = jnp.zeros((linear.size, 0, 0))
    if theta.shape[1]:
        for _ in range(_ROUNDS):
            b = _conditional(surrogate, mode, theta)[0]
            new, spread = _scale_mode(surrogate, mode, b, theta)
            moved, theta = float(jnp.max(jnp.abs(new - theta))), new
            mode = modes(surrogate, theta, mode.w, False)
            if moved < _CLOSE:
                break
    b, mean, factor = _conditional(surrogate, mode, theta)
    each = {"H0": mode.curvature, "b": b, "theta": theta, "spread": spread, "mean": mean, "factor": factor}
    return Approximation(mode, theta, spread, Whitened(each, linear.learned_scales()))


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
