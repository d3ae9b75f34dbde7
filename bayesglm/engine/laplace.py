"""The Gaussian approximation: modes of the weights, marginal modes of learned scales, whitening."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.columns import DENSEST, first_reference, solve
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.coordinates import AbstractCoordinates, Diagonal, Scaled, Whitened, inverse_root, one_scale, turn_of
from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import negative_log_likelihood
from bayesglm.engine.scale_mode import scale_mode
from bayesglm.prior import AbstractPrior

_ROUNDS = 12  # of scale and weights in turn
_CLOSE = 1e-2  # change of a log scale at which the rounds stop: a small part of its posterior sd
_NEAR = 0.1  # the same where the exact gradient of the evidence finishes
_ROUGH, _FINE = 1e-4, 1e-14  # nats, while the scale still moves and at the end


class Mode(NamedTuple):
    """Weights at their mode and the likelihood's quadratic form there; leading axis neuron."""

    w: Any  # (neuron, P)
    curvature: Any  # (neuron, P, P) Hessian of the negative log likelihood, or (neuron, P) its diagonal
    slope: Any  # (neuron, P) its gradient
    converged: Any  # (neuron,) bool


class Approximation(NamedTuple):
    """The surrogate Gaussian posterior of every neuron, leading axis neuron."""

    mode: Mode
    theta: Any  # (neuron, K) marginal mode of the unconstrained learned parameters
    spread: Any  # (neuron, K, K) Cholesky factor of their covariance
    coordinates: AbstractCoordinates


def _quadratic_form(linear: Linear, theta: Any, w: Any, exact: bool) -> tuple[Any, Any]:
    """Hessian (neuron, P, P) and gradient (neuron, P) of the negative log likelihood; the Hessian in single unless exact."""

    def pieces(each: Any, theta: Any, w: Any) -> tuple[Any, Any]:
        _, gradient, rows = negative_log_likelihood(linear, each, w, linear.constrain(each, theta)[0])
        return gradient, rows

    slope, rows = jax.vmap(pieces)(linear.each, theta, w)
    if linear.dim > DENSEST:
        return linear.diagonal(rows), slope
    gram = linear.gram(rows) if exact else linear.in_single().gram(rows.astype(jnp.float32)).astype(float)
    return gram, slope


quadratic_form = compiled_quickly(_quadratic_form)


@compiled_quickly
def coordinates_at(linear: Linear, theta: Any, spread: Any, w: Any, exact: bool) -> tuple[Mode, dict[str, Any]]:
    """The quadratic form at w and the coordinates that follow; ``ratio`` corrects the precision of priors that are not Gaussian."""
    curvature, slope = _quadratic_form(linear, theta, w, exact)
    site = one_scale(linear)

    def one(each: Any, w: Any, curvature: Any, theta: Any) -> dict[str, Any]:
        hyper, _ = linear.constrain(each, theta)
        surrogate = linear.by_weight(each, hyper, "whitening")
        log_prior = lambda w: linear.log_prior(each, w, hyper)  # noqa: E731
        bend = -jax.jvp(jax.grad(log_prior), (w,), (jnp.ones_like(w),))[1]  # zero where the prior has a kink
        bent = jnp.where(bend > 0, bend, surrogate)
        ratio = jnp.where(surrogate > 0, jnp.maximum(bent / jnp.where(surrogate > 0, surrogate, 1.0), 0.1), 1.0)
        if curvature.ndim == 1:
            whole = curvature + ratio * surrogate
            return {"H0": curvature, "b": whole * w, "ratio": ratio, "mean": w, "root": 1.0 / jnp.sqrt(whole)}
        whole = curvature + jnp.diag(ratio * surrogate)
        root = inverse_root(whole)
        made = {"H0": curvature, "b": whole @ w, "ratio": ratio, "mean": w, "root": root}
        if site is None:
            return made
        turn, size = turn_of(linear, each, root, ratio * surrogate)
        return made | {"known": hyper[site], "whole": root @ made["b"], "turn": turn, "size": size}

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
    learn = theta.shape[1] > 0 and not any(prior.samples_only for prior in linear.priors)
    if theta.shape[1] and not learn:  # a horseshoe's local scales have no mode that means anything
        spread = jnp.broadcast_to(jnp.eye(theta.shape[1]), (linear.size, theta.shape[1], theta.shape[1]))
    found = solve(surrogate, theta, w, reference, jnp.asarray(_ROUGH if learn else _FINE))
    slope = jnp.zeros_like(w)
    if learn:
        reference, slope = quadratic_form(surrogate, theta, found.w, exact)
    moving = np.ones(linear.size, bool)
    for _ in range(_ROUNDS if learn else 0):
        new, wide = scale_mode(surrogate, found.w, reference, slope, theta, in_log)
        # each neuron stops by its own rule: its result must not depend on who is fitted beside it
        spread = wide if spread.shape[1] == 0 else jnp.where(moving[:, None, None], wide, spread)
        new = jnp.where(moving[:, None], new, theta)
        still = np.asarray(jnp.max(jnp.abs(new - theta), axis=1)) >= (_NEAR if linear.by_evidence() and in_log else _CLOSE)
        moving &= np.full(linear.size, still.any()) if linear.shared_sites() else still
        theta = new
        if not moving.any():
            break
        found = solve(surrogate, theta, found.w, reference, jnp.asarray(_ROUGH))
        reference, slope = quadratic_form(surrogate, theta, found.w, exact)
    if learn:
        found = solve(surrogate, theta, found.w, reference, jnp.asarray(_FINE))
    mode, each = coordinates_at(surrogate, theta, spread, found.w, exact)
    return Approximation(mode._replace(converged=found.done), theta, spread, _kind(linear, each))


def _kind(linear: Linear, each: dict[str, Any]) -> AbstractCoordinates:
    """The cheapest coordinates that follow the learned scales."""
    if linear.dim > DENSEST:
        return Diagonal(each, linear.learned_scales())
    site = one_scale(linear)
    if site is not None:
        return Scaled(each, site)
    return Whitened(each, linear.learned_scales())


def kinks(linear: Linear) -> bool:
    """Whether any prior has a kink at zero (L1, elastic net)."""
    return any(kinked(prior) for prior in linear.priors)


def kinked(prior: Any) -> bool:
    """Whether this prior's log density has a kink at zero."""
    inner = getattr(prior, "inner", prior)
    return isinstance(inner, AbstractPrior) and type(inner).absolute is not AbstractPrior.absolute


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

    @property
    def samples_only(self) -> bool:
        return self.prior.samples_only

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
