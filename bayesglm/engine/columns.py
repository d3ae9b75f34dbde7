"""Modes of many neurons at once by preconditioned L-BFGS: a few passes over the data, all neurons as columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.by_rows import in_chunks
from bayesglm.engine.elements import fold
from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import negative_log_likelihood

_MEMORY = 8
_ARMIJO = 1e-4
_SHORTEST = 1e-8  # step length at which a column is given up
_CLOSE = 1e-9  # nats: what is left where rounding stops a column short of its tolerance; 4.5e-5 posterior sds


class Solution(NamedTuple):
    """Result for each neuron (leading axis)."""

    w: Any  # (neuron, P)
    gradient: Any  # (neuron,) largest entry of the gradient
    decrement: Any  # (neuron,) half of g A^-1 g in nats, A the preconditioner
    steps: Any  # (neuron,)
    done: Any  # (neuron,) bool


DENSEST = 6000  # weights beyond which a P x P matrix of one neuron is not held


def first_reference(linear: Linear, theta: Any) -> Any:
    """(neuron, P, P) curvature of the likelihood at the start, from one unweighted Gram matrix where columns are shared.

    (neuron, P), its diagonal, where there are more than ``DENSEST`` weights.

    Curvature is nearly shared: H_n is close to the mean curvature of neuron n times X'X.
    """

    def mean_curvature(each: Any, theta: Any) -> Any:
        hyper, _ = linear.constrain(each, theta)
        weight = linear.weight(each)
        _, _, rows = negative_log_likelihood(linear, each, linear.first_weights(each), hyper)
        return rows if linear.dim > DENSEST else jnp.sum(rows, axis=0) / jnp.maximum(jnp.sum(weight), 1.0)

    if linear.dim > DENSEST:
        return linear.diagonal(jax.vmap(mean_curvature)(linear.each, theta))
    level = jax.vmap(mean_curvature)(linear.each, theta)  # (neuron,) or (neuron, J, J)
    single = linear.in_single()
    if "own" in linear.each:
        weight = jax.vmap(single.weight)(single.each).astype(jnp.float32)
        grams = single.predictor.gram(weight, single.each["own"]).astype(float)
    else:
        one = single.predictor.gram(single.scored[None], None).astype(float)
        grams = jnp.broadcast_to(one, (linear.size, *one.shape[1:]))
    wide = (..., *(None,) * (level.ndim - 1))
    return jax.vmap(lambda each, gram, level: fold(linear, each, gram[wide] * level))(linear.each, grams, level)


class _State(NamedTuple):
    """Every column's own walk: where it stands, and the step it tries next."""

    w: Any
    value: Any
    gradient: Any
    direction: Any
    length: Any
    moves: Any  # (memory, P)
    yields: Any  # (memory, P)
    steps: Any
    decrement: Any
    done: Any
    stuck: Any


def _direction(gradient: Any, moves: Any, yields: Any, factor: Any) -> Any:
    """Two-loop recursion with the preconditioner's inverse in its middle; empty memory slots are zero and drop out."""
    products = jnp.sum(moves * yields, 1)
    rho = jnp.where(products > 0, 1.0 / jnp.where(products > 0, products, 1.0), 0.0)

    def back(q: Any, i: Any) -> tuple[Any, Any]:
        alpha = rho[i] * (moves[i] @ q)
        return q - alpha * yields[i], alpha

    order = jnp.arange(_MEMORY)
    q, alphas = jax.lax.scan(back, gradient, order)
    r = q / factor**2 if factor.ndim == 1 else jax.scipy.linalg.cho_solve((factor, True), q)

    def forth(r: Any, pair: Any) -> tuple[Any, None]:
        i, alpha = pair
        return r + moves[i] * (alpha - rho[i] * (yields[i] @ r)), None

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
    reference : (neuron, P, P) or (neuron, P)
        Approximate curvature of the log likelihood, or its diagonal; the prior's is added here.
    tolerance : ()
        Nats: half of g A^-1 g at which a neuron stops. Every neuron stops by its own rule; one that rounding stops
        before, at less than 1e-9, is done too.
    most : ()
        Largest number of steps.
    """

    by_rows = in_chunks(linear, linear.size)

    def cost(each: Any, theta: Any, w: Any) -> tuple[Any, Any]:
        hyper, _ = linear.constrain(each, theta)
        objective = lambda w: -by_rows.log_likelihood(each, w, hyper) - linear.log_prior(each, w, hyper)  # noqa: E731
        return jax.value_and_grad(objective)(w)

    def factor_of(each: Any, theta: Any, reference: Any) -> Any:
        hyper, _ = linear.constrain(each, theta)
        precision = linear.by_weight(each, hyper, "whitening")
        if reference.ndim == 1:
            return jnp.sqrt(reference + precision + 1e-300)
        whole = reference + jnp.diag(precision)
        return jnp.linalg.cholesky(whole + 1e-9 * jnp.diag(jnp.diagonal(whole)) + 1e-300)

    factors = jax.vmap(factor_of)(linear.each, theta, reference)

    def advance(each: Any, theta: Any, factor: Any, state: _State) -> _State:
        """Try one step of one column: taken, it makes the next direction; refused, it is shortened."""
        trial = state.w + state.length * state.direction
        value, gradient = cost(each, theta, trial)
        slack = 1e-13 * (1.0 + jnp.abs(value))
        taken = value <= state.value + _ARMIJO * state.length * (state.direction @ state.gradient) + slack
        move, change = trial - state.w, gradient - state.gradient
        curved = move @ change > 1e-14 * jnp.linalg.norm(move) * jnp.linalg.norm(change)
        push = lambda memory, new: jnp.where(curved & taken, jnp.concatenate([new[None], memory[:-1]]), memory)  # noqa: E731
        moves, yields = push(state.moves, move), push(state.yields, change)
        direction = _direction(gradient, moves, yields, factor)
        half = gradient / factor if factor.ndim == 1 else jax.scipy.linalg.solve_triangular(factor, gradient, lower=True)
        plain = -half / factor if factor.ndim == 1 else -jax.scipy.linalg.solve_triangular(factor, half, lower=True, trans=1)
        direction = jnp.where(direction @ gradient < 0, direction, plain)
        decrement = 0.5 * half @ half
        shorter = state.length * jnp.where(state.length > 0.2, 0.5, 0.1)
        pick = lambda new, old: jnp.where(taken, new, old)  # noqa: E731
        new = _State(
            pick(trial, state.w),
            pick(value, state.value),
            pick(gradient, state.gradient),
            pick(direction, state.direction),
            pick(1.0, shorter),
            moves,
            yields,
            state.steps + taken,
            pick(decrement, state.decrement),
            taken & (decrement < tolerance),
            ~taken & (shorter < _SHORTEST),
        )
        frozen = state.done | state.stuck
        return jax.tree.map(lambda old, new: jnp.where(frozen, old, new), state, new)

    def going(state: _State) -> Any:
        return jnp.any(~state.done & ~state.stuck & (state.steps < most))

    n, p = w.shape
    nowhere, memory, none = jnp.zeros((n, p)), jnp.zeros((n, _MEMORY, p)), jnp.zeros(n, bool)
    far = jnp.full(n, jnp.inf)
    # the first trial goes nowhere and is taken, because any value is below infinity
    start = _State(w, far, nowhere, nowhere, jnp.ones(n), memory, memory, jnp.zeros(n, int), far, none, none)
    end = jax.lax.while_loop(going, lambda state: jax.vmap(advance)(linear.each, theta, factors, state), start)
    done = end.done | (end.decrement < _CLOSE)
    return Solution(end.w, jnp.max(jnp.abs(end.gradient), axis=1, initial=0.0), end.decrement, end.steps, done)
