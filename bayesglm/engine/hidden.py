"""A hidden Markov chain on a grid: forward and backward sums, of many draws at once."""

from __future__ import annotations

import string
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

_LEAST = 1e-100  # of a predicted probability: evidence that the chain thinks impossible still counts, and nothing is divided by zero


@eqx.filter_jit
def smoothed(log_likelihood: Any, first: Any, kernels: tuple[Any, ...], starts: Any) -> tuple[Any, Any]:
    """p(s_t | all y) of every step, and log p(y_t | earlier y), by sums forward and backward along the chain.

    Parameters
    ----------
    log_likelihood : (step, draw, state)
        log p(y_t | s_t); states are a product of axes, in C order.
    first : (state,)
        Law of s at the first step of every chain.
    kernels : tuple of (size, size)
        Transitions of each axis, rows sum to one; axes move independently.
    starts : (step,) bool
        Where a chain begins: nothing is carried over from the step before.

    Returns
    -------
    (step, draw, state), (step, draw)

    References
    ----------
    Rabiner 1989, A tutorial on hidden Markov models.
    """
    filtered, evidence = _forward(log_likelihood, first, kernels, starts)
    likelihood = jnp.exp(log_likelihood - log_likelihood.max(-1, keepdims=True))
    turned = tuple(kernel.T for kernel in kernels)

    def back(message: Any, step: Any) -> tuple[Any, Any]:
        here, own, begins = step
        found = here * message
        ahead = jnp.maximum(_moved(own * message, turned), _LEAST)
        ahead = jnp.where(begins, jnp.ones_like(ahead), ahead)
        return ahead / ahead.max(-1, keepdims=True), found / found.sum(-1, keepdims=True)

    last = jnp.ones(log_likelihood.shape[1:])
    return jax.lax.scan(back, last, (filtered, likelihood, starts), reverse=True)[1], evidence


@eqx.filter_jit
def log_evidence(log_likelihood: Any, first: Any, kernels: tuple[Any, ...], starts: Any) -> Any:
    """log p(y) of every draw, (draw,): the forward sums alone."""
    return _forward(log_likelihood, first, kernels, starts)[1].sum(0)


def _forward(log_likelihood: Any, first: Any, kernels: tuple[Any, ...], starts: Any) -> tuple[Any, Any]:
    """p(s_t | y up to t) (step, draw, state), and log p(y_t | earlier y) (step, draw)."""

    def step(carried: Any, at: Any) -> tuple[Any, Any]:
        own, begins = at
        predicted = jnp.maximum(jnp.where(begins, first, _moved(carried, kernels)), _LEAST)
        largest = own.max(-1, keepdims=True)
        joint = predicted * jnp.exp(own - largest)
        total = joint.sum(-1, keepdims=True)
        return joint / total, (joint / total, (jnp.log(total) + largest)[:, 0])

    start = jnp.broadcast_to(first, log_likelihood.shape[1:])
    return jax.lax.scan(step, start, (log_likelihood, starts))[1]


def _moved(law: Any, kernels: tuple[Any, ...]) -> Any:
    """(draw, state) one step on."""
    letters = string.ascii_lowercase[: len(kernels)]
    sizes = tuple(kernel.shape[0] for kernel in kernels)
    out = letters.upper()
    each = ",".join(a + b for a, b in zip(letters, out, strict=True))
    return jnp.einsum(f"z{letters},{each}->z{out}", law.reshape(-1, *sizes), *kernels).reshape(law.shape)
