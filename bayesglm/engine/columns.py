"""Modes of many neurons at once by preconditioned L-BFGS: a few passes over the data, all neurons as columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import negative_log_likelihood

_MEMORY = 8
_ARMIJO = 1e-4


class Solution(NamedTuple):
    """Result for each neuron (leading axis)."""

    w: Any  # (neuron, P)
    gradient: Any  # (neuron,) largest entry of the gradient
    decrement: Any  # (neuron,) half of g A^-1 g in nats, A the preconditioner
    steps: Any  # (neuron,)
    done: Any  # (neuron,) bool


def first_reference(linear: Linear, theta: Any) -> Any:
    """(neuron, P, P) curvature of the likelihood at the start, from one unweighted Gram matrix where columns are shared.

    Curvature is nearly shared: H_n is close to the mean curvature of neuron n times X'X.
    """

    def mean_curvature(each: Any, theta: Any) -> Any:
        hyper, _ = linear.constrain(each, theta)
        weight = linear.weight(each)
        _, _, rows = negative_log_likelihood(linear, each, linear.first_weights(each), hyper)
        return jnp.sum(rows) / jnp.maximum(jnp.sum(weight), 1.0)

    level = jax.vmap(mean_curvature)(linear.each, theta)
    single = linear.in_single()
    if "own" in linear.each:
        return single.gram(jax.vmap(single.weight)(single.each)).astype(float) * level[:, None, None]
    one = single.predictor.gram(single.scored[None], None)[0].astype(float)

    def place(each: Any, level: Any) -> Any:
        found = one[each["places"]][:, each["places"]] if "places" in each else one
        return level * found * each["mask"][:, None] * each["mask"]

    return jax.vmap(place)(linear.each, level)


class _State(NamedTuple):
    w: Any
    value: Any
    gradient: Any
    moves: Any  # (memory, P)
    yields: Any  # (memory, P)
    steps: Any
    decrement: Any
    done: Any
    stuck: Any


def _direction(state: _State, factor: Any) -> Any:
    """Two-loop recursion with the preconditioner's inverse in its middle; empty memory slots are zero and drop out."""
    products = jnp.sum(state.moves * state.yields, 1)
    rho = jnp.where(products > 0, 1.0 / jnp.where(products > 0, products, 1.0), 0.0)

    def back(q: Any, i: Any) -> tuple[Any, Any]:
        alpha = rho[i] * (state.moves[i] @ q)
        return q - alpha * state.yields[i], alpha

    order = jnp.arange(_MEMORY)
    q, alphas = jax.lax.scan(back, state.gradient, order)
    r = jax.scipy.linalg.cho_solve((factor, True), q)

    def forth(r: Any, pair: Any) -> tuple[Any, None]:
        i, alpha = pair
        return r + state.moves[i] * (alpha - rho[i] * (state.yields[i] @ r)), None

    return -jax.lax.scan(forth, r, (order[::-1], alphas[::-1]))[0]


@eqx.filter_jit
def solve(linear: Linear, theta: Any, w: Any, reference: Any, tolerance: Any, most: Any = 200) -> Solution:
    """Mode of every neuron's smooth posterior at learned parameters ``theta``.

    Parameters
    ----------
    linear : Linear
        Priors without a kink.
    theta : (neuron, K)
    w : (neuron, P)
        Start.
    reference : (neuron, P, P)
        Approximate curvature of the log likelihood; the prior's is added here.
    tolerance : ()
        Nats: half of g A^-1 g at which a neuron stops. Every neuron stops by its own rule.
    most : ()
        Largest number of steps.
    """

    def cost(each: Any, theta: Any, w: Any) -> tuple[Any, Any]:
        hyper, _ = linear.constrain(each, theta)
        objective = lambda w: -linear.log_likelihood(each, w, hyper) - linear.log_prior(each, w, hyper)  # noqa: E731
        return jax.value_and_grad(objective)(w)

    def factor_of(each: Any, theta: Any, reference: Any) -> Any:
        hyper, _ = linear.constrain(each, theta)
        whole = reference + jnp.diag(linear.by_weight(each, hyper, "whitening"))
        return jnp.linalg.cholesky(whole + 1e-9 * jnp.diag(jnp.diagonal(whole)) + 1e-300)

    factors = jax.vmap(factor_of)(linear.each, theta, reference)
    costs = jax.vmap(cost)
    value, gradient = costs(linear.each, theta, w)
    n, p = w.shape
    zeros, none = jnp.zeros((n, _MEMORY, p)), jnp.zeros(n, bool)
    start = _State(w, value, gradient, zeros, zeros, jnp.zeros(n, int), jnp.full(n, jnp.inf), none, none)

    def going(state: _State) -> Any:
        return jnp.any(~state.done & ~state.stuck & (state.steps < most))

    def step(state: _State) -> _State:
        d = jax.vmap(_direction)(state, factors)
        slope = jnp.sum(d * state.gradient, 1)
        plain = -jax.vmap(lambda f, g: jax.scipy.linalg.cho_solve((f, True), g))(factors, state.gradient)
        uphill = ~(slope < 0)
        d, slope = jnp.where(uphill[:, None], plain, d), jnp.where(uphill, jnp.sum(plain * state.gradient, 1), slope)
        slack = 1e-13 * (1.0 + jnp.abs(state.value))

        def bad(carry: Any) -> Any:
            t, value, _ = carry
            return ~(value <= state.value + _ARMIJO * t * slope + slack) & (t > 1e-8) & ~state.done & ~state.stuck

        def halve(carry: Any) -> Any:
            t = jnp.where(bad(carry), carry[0] * jnp.where(carry[0] > 0.2, 0.5, 0.1), carry[0])
            return (t, *costs(linear.each, theta, state.w + t[:, None] * d))

        t = jnp.ones(n)
        t, value, gradient = jax.lax.while_loop(lambda c: jnp.any(bad(c)), halve, (t, *costs(linear.each, theta, state.w + d)))
        frozen = state.done | state.stuck
        keep = lambda old, new: jnp.where(frozen.reshape((-1,) + (1,) * (old.ndim - 1)), old, new)  # noqa: E731
        failed = ~(value <= state.value + slack)
        move, change = t[:, None] * d, gradient - state.gradient
        curved = jnp.sum(move * change, 1) > 1e-14 * jnp.linalg.norm(move, axis=1) * jnp.linalg.norm(change, axis=1)
        push = lambda memory, new: jnp.concatenate([jnp.where(curved[:, None], new, 0.0)[:, None], memory[:, :-1]], 1)  # noqa: E731
        solved = jax.vmap(lambda f, g: jax.scipy.linalg.solve_triangular(f, g, lower=True))(factors, gradient)
        decrement = 0.5 * jnp.sum(solved**2, 1)
        return _State(
            keep(state.w, state.w + move),
            keep(state.value, value),
            keep(state.gradient, gradient),
            keep(state.moves, push(state.moves, move)),
            keep(state.yields, push(state.yields, change)),
            state.steps + ~frozen,
            keep(state.decrement, decrement),
            state.done | (~frozen & ~failed & (decrement < tolerance)),
            state.stuck | (~frozen & failed),
        )

    end = jax.lax.while_loop(going, step, start)
    return Solution(end.w, jnp.max(jnp.abs(end.gradient), axis=1, initial=0.0), end.decrement, end.steps, end.done)
