"""Modes of many neurons at once: damped Newton, and proximal Newton where priors have a kink."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.kinks import grouped, penalty, proximal_step, violation
from bayesglm.engine.linear import Linear

_DECREMENT = 1e-11  # nats: half the squared Newton decrement at which a column has converged
_HALVINGS = 30


class Mode(NamedTuple):
    """Result for each neuron (leading axis): weights, gradient norm, Newton decrement in nats, steps, converged."""

    w: Any  # (neuron, P)
    gradient: Any  # (neuron,) largest entry of the (sub)gradient
    decrement: Any  # (neuron,)
    steps: Any  # (neuron,)
    converged: Any  # (neuron,) bool
    curvature: Any  # (neuron, P, P) Hessian of the negative log likelihood at w
    slope: Any  # (neuron, P) gradient of the negative log likelihood at w


def negative_log_likelihood(linear: Linear, each: Any, w: Any, hyper: Any) -> tuple[Any, Any, Any]:
    """Value (), gradient (P,) and row curvatures, (row,) or (row, J, J), of one neuron's negative log likelihood."""
    eta = linear.eta(each, w)

    def cost(eta: Any) -> Any:
        return -linear.log_likelihood_of(each, eta, hyper)

    value, pull = jax.value_and_grad(cost)(eta)
    along = lambda direction: jax.jvp(jax.grad(cost), (eta,), (direction * jnp.ones_like(eta),))[1]  # noqa: E731  rows do not meet in the likelihood
    curvature = jnp.maximum(along(1.0), 0.0) if linear.contrast is None else jnp.moveaxis(jax.vmap(along)(jnp.eye(linear.several)), 0, -1)
    return value, linear.pull(each, pull), curvature


class _Walk(NamedTuple):
    w: Any
    value: Any
    gradient: Any
    decrement: Any
    steps: Any
    done: Any
    stuck: Any


@eqx.filter_jit
def modes(linear: Linear, theta: Any, w: Any, kinks: bool, most: Any = 100) -> Mode:
    """Mode of every neuron's weights at learned parameters ``theta`` (neuron, K), from ``w`` (neuron, P).

    Minimises -log p(y | w) - log p(w | theta). Every neuron has its own step length and stops by its own rule, so that
    a neuron's result does not depend on who is fitted beside it.
    """

    def pieces(each: Any, theta: Any, w: Any) -> tuple[Any, Any, Any, Any, Any]:
        hyper, _ = linear.constrain(each, theta)
        slope = linear.by_weight(each, hyper, "absolute") if kinks else jnp.zeros_like(w)
        value, gradient, rows = negative_log_likelihood(linear, each, w, hyper)
        smooth = lambda v: -linear.log_prior(each, v, hyper) - penalty(groups, slope, v)  # noqa: E731  the kink is taken out
        prior_gradient = jax.grad(smooth)(w)
        bend = jax.jvp(jax.grad(smooth), (w,), (jnp.ones_like(w),))[1]
        floor = 1e-3 * jnp.where(slope > 0, 0.0, linear.by_weight(each, hyper, "whitening"))  # a Student-t bends the other way in its tails
        return value + smooth(w) + penalty(groups, slope, w), gradient + prior_gradient, rows, jnp.maximum(bend, floor), slope

    def objective(each: Any, theta: Any, w: Any) -> Any:
        hyper, _ = linear.constrain(each, theta)
        return -linear.log_likelihood(each, w, hyper) - linear.log_prior(each, w, hyper)

    everyone, groups = jax.vmap(pieces), grouped(linear) if kinks else None

    def direction(gradient: Any, hessian: Any, slope: Any, w: Any) -> tuple[Any, Any]:
        scale = 1.0 / jnp.sqrt(jnp.maximum(jnp.diagonal(hessian), 1e-300))
        factor = jax.scipy.linalg.cho_factor(hessian * scale[:, None] * scale + 1e-13 * jnp.eye(w.shape[0]))
        d = -scale * jax.scipy.linalg.cho_solve(factor, scale * gradient)
        d = proximal_step(groups, gradient, hessian + 1e-13 * jnp.diag(1.0 / scale**2), slope, w) if kinks else d
        fall = -(gradient @ d + penalty(groups, slope, w + d) - penalty(groups, slope, w))
        return d, fall

    def search(each: Any, theta: Any, w: Any, d: Any, value: Any, fall: Any) -> tuple[Any, Any]:
        """Halve the step until the objective falls by a ten-thousandth of what was promised."""
        slack = 1e-13 * (1.0 + jnp.abs(value))

        def bad(carry: Any) -> Any:
            t, new = carry
            return (t > 2.0**-_HALVINGS) & ~(new <= value - 1e-4 * t * fall + slack)

        def halve(carry: Any) -> Any:
            t = carry[0] / 2
            return t, objective(each, theta, w + t * d)

        t, _ = jax.lax.while_loop(bad, halve, (jnp.ones(()), objective(each, theta, w + d)))
        return w + t * d, t

    def step(walk: _Walk) -> _Walk:
        value, gradient, rows, bend, slope = everyone(linear.each, theta, walk.w)
        hessian = linear.gram(rows)
        hessian = hessian + jax.vmap(jnp.diag)(bend)
        d, fall = jax.vmap(direction)(gradient, hessian, slope, walk.w)
        new, t = jax.vmap(search)(linear.each, theta, walk.w, d, value, fall)
        close = (fall / 2 < _DECREMENT) | ~jnp.isfinite(fall)
        stuck = walk.stuck | (t <= 2.0**-_HALVINGS) | ~jnp.isfinite(fall)
        frozen = walk.done | stuck
        w = jnp.where(frozen[:, None], walk.w, new)
        largest = jax.vmap(lambda *now: violation(groups, *now))(gradient, slope, walk.w)
        keep = lambda old, new: jnp.where(walk.done, old, new)  # noqa: E731
        return _Walk(w, value, keep(walk.gradient, largest), keep(walk.decrement, fall / 2), walk.steps + ~frozen, walk.done | close, stuck)

    def going(walk: _Walk) -> Any:
        return jnp.any(~walk.done & ~walk.stuck & (walk.steps < most))

    n = w.shape[0]
    blank = jnp.full(n, jnp.inf)
    walk = _Walk(w, blank, blank, blank, jnp.zeros(n, int), jnp.zeros(n, bool), jnp.zeros(n, bool))
    walk = jax.lax.while_loop(going, step, walk)
    _, slope_nll, rows = jax.vmap(lambda e, t, w: negative_log_likelihood(linear, e, w, linear.constrain(e, t)[0]))(linear.each, theta, walk.w)
    curvature = linear.gram(rows)
    converged = walk.done & jnp.isfinite(walk.decrement)
    return Mode(walk.w, walk.gradient, walk.decrement, walk.steps, converged, curvature, slope_nll)
