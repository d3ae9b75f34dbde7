"""Sums over rows in chunks: the predictors of many columns stay in the processor's cache, and are never held whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.predictor import DensePredictor

if TYPE_CHECKING:
    from bayesglm.engine.linear import Linear

_ROWS, _LEAST = 2048, 16  # of a chunk, and chunks: with 80 columns in double a chunk's predictors take 1.3 MB
_ROWS_ELSEWHERE, _LEAST_ELSEWHERE = 2**17, 4  # an accelerator wants large products; there the chunk only bounds the memory
_COLUMNS = 16  # from which chunks pay: below, a pass costs what reading the matrix costs
_NUMBERS = 3 * 2**19  # rows x columns from which they pay: fewer predictors stay in the cache as they are


def in_chunks(linear: Linear, columns: int) -> Linear:
    """``linear`` with its likelihood summed over chunks of rows, where ``columns`` weight vectors at once make that faster.

    Such a likelihood has a gradient and no further derivatives.
    """
    length, least = (_ROWS, _LEAST) if jax.default_backend() == "cpu" else (_ROWS_ELSEWHERE, _LEAST_ELSEWHERE)
    rows = linear.scored.shape[0]
    possible = isinstance(linear.predictor, DensePredictor) and rows % length == 0 and rows >= least * length
    pays = columns >= _COLUMNS and rows * columns >= _NUMBERS
    return dataclasses.replace(linear, chunk=length) if possible and pays else linear


@eqx.filter_custom_vjp
def summed(params: Any, apply: Callable[..., Any], linear: Linear, each: Any) -> Any:
    """sum over chunks of ``apply(params, linear, each)`` on the chunk's rows; differentiable in ``params`` once, without keeping anything a row."""
    return _over_chunks(lambda part, some: apply(params, part, some), linear, each)


@summed.def_fwd
def _forward(perturbed: Any, params: Any, apply: Callable[..., Any], linear: Linear, each: Any) -> Any:
    """Value and gradient in the same pass, so that a chunk's predictors are made once."""
    value_and_slope = eqx.filter_value_and_grad(apply)
    return _over_chunks(lambda part, some: value_and_slope(params, part, some), linear, each)


@summed.def_bwd
def _backward(slope: Any, outer: Any, perturbed: Any, params: Any, apply: Any, linear: Any, each: Any) -> Any:
    return jax.tree.map(lambda part: part * outer.astype(part.dtype), slope)


def _over_chunks(apply: Callable[..., Any], linear: Linear, each: Any) -> Any:
    found = lambda i: apply(*_rows(linear, each, i))  # noqa: E731
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(found, 0))
    return jax.lax.fori_loop(0, _count(linear), lambda i, sums: jax.tree.map(jnp.add, sums, found(i)), nothing)


def _count(linear: Linear) -> Any:
    """Chunks up to the last row that is scored: rows that only fill up the shape are not read."""
    end = jnp.max(jnp.where(linear.scored > 0, jnp.arange(1, len(linear.scored) + 1), 0))
    return (end + linear.chunk - 1) // linear.chunk


def _rows(linear: Linear, each: dict[str, Any], i: Any) -> tuple[Linear, dict[str, Any]]:
    """The ``i``-th chunk of rows of a model and of one neuron's numbers."""
    cut = lambda leaf, axis=0: jax.lax.dynamic_slice_in_dim(leaf, i * linear.chunk, linear.chunk, axis)  # noqa: E731
    predictor = DensePredictor(cut(linear.predictor.columns, 1))
    some = each | {name: cut(each[name]) for name in ("response", "scored", "offset", "eta") if name in each}
    some |= {"own": cut(each["own"], 1)} if "own" in each else {}
    some |= {"known": jax.tree.map(cut, each["known"])} if "known" in each else {}
    return dataclasses.replace(linear, predictor=predictor, scored=cut(linear.scored), chunk=0), some
