"""Folds of one recording as columns of one problem: the same rows, masked, each fold centred and scaled by its own part."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.columns import Solution, solve
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.linear import Linear, fold
from bayesglm.engine.newton import negative_log_likelihood
from bayesglm.engine.predictor import AbstractPredictor, DensePredictor

_TOLERANCE = 1e-13  # nats: a mode within 4.5e-7 posterior sds


class Moved(eqx.Module):
    """What one fold does to the columns that all share: z -> stretch (z + shift), (column,) each."""

    shift: Any
    stretch: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the columns that are the fold's own: there are none."""
        return (0, 0)


class FoldedPredictor(AbstractPredictor):
    """Shared columns (column, row), shifted and stretched by each fold; ``own`` is the fold's ``Moved``."""

    columns: Any

    def eta(self, w: Any, own: Any) -> Any:
        v = w * own.stretch
        return v @ self.columns + own.shift @ v

    def pull(self, r: Any, own: Any) -> Any:
        return (self.columns @ r + own.shift * jnp.sum(r)) * own.stretch

    def gram(self, m: Any, own: Any) -> Any:
        return jax.vmap(_moved)(DensePredictor(self.columns).gram(m, None), m @ self.columns.T, jnp.sum(m, 1), own)


def _moved(gram: Any, sums: Any, total: Any, own: Moved) -> Any:
    """The Gram matrix of a fold's columns from that of the shared ones, their weighted sums and the sum of weights."""
    across = own.shift[:, None] * sums
    whole = gram + across + across.T + total * own.shift[:, None] * own.shift
    return whole * own.stretch[:, None] * own.stretch


def folded(some: Linear, fields: dict[str, Any], shift: Any, stretch: Any) -> Linear:
    """The problems of some neurons, once a fold: (neuron, fold) in one axis, neuron by neuron.

    Parameters
    ----------
    some : Linear
        Columns centred at any means; of a single neuron where neurons have columns of their own.
    fields : dict of arrays, leading axis neuron x fold
        Entries of ``each`` that the folds have otherwise: ``scored``, ``centre, level, spread, about``.
    shift, stretch : (neuron x fold, column)
        What brings the columns to a fold's own centres and scales.
    """
    own = some.each.get("own")
    columns = some.predictor.columns if own is None else jnp.concatenate([some.predictor.columns, own[0]])
    count = len(fields["scored"]) // some.size
    each = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), {key: value for key, value in some.each.items() if key != "own"})
    scored = fields["scored"] * each.get("scored", 1.0)
    each = each | fields | {"scored": scored, "own": Moved(shift, stretch)}
    return eqx.tree_at(lambda linear: (linear.predictor, linear.each), some, (FoldedPredictor(columns), each))


def warm_modes(folds: Linear, some: Linear, w: Any, removed: Any) -> Solution:
    """Modes of all folds from the modes ``w`` (neuron, P) of all rows.

    Each fold's Hessian there is that of all rows less its removed rows', and so near the one at its own mode that a few
    steps will do. For smooth priors without learned parameters: these would have to be found again from their own start.

    Parameters
    ----------
    removed : (fold, n) int
        Rows that each fold does not score; -1 where folds have fewer.
    """
    begin, reference = _begin(folds, some, w, removed)
    return solve(folds, jnp.zeros((folds.size, 0)), begin, reference, jnp.asarray(_TOLERANCE))


@compiled_quickly
def _begin(folds: Linear, some: Linear, w: Any, removed: Any) -> tuple[Any, Any]:
    """Starts (neuron x fold, P), and Hessians of the negative log likelihood there, found in single precision."""
    count = folds.size // some.size
    sites = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), jax.vmap(some.unpack)(some.each, w))
    begin = jax.vmap(lambda each, sites: folds.pack(each, _in_fold_units(folds, each, sites)))(folds.each, sites)
    rows = jax.vmap(lambda each, w: negative_log_likelihood(some, each, w, {})[2])(some.each, w).astype(jnp.float32)
    columns = jnp.asarray(folds.predictor.columns, jnp.float32)

    def of_neuron(pair: Any) -> Any:
        rows, moves = pair
        plain, sums = DensePredictor(columns).gram(rows[None], None)[0], columns @ rows

        def less(pair: Any) -> Any:
            at, own = pair
            z, m = columns[:, at], jnp.where(at >= 0, rows[at], 0.0)
            parts = (plain - (z * m) @ z.T, sums - z @ m, jnp.sum(rows) - jnp.sum(m))
            return _moved(*(part.astype(float) for part in parts), own)

        return jax.lax.map(less, (removed, moves))

    moves = jax.tree.map(lambda leaf: leaf.reshape(some.size, count, *leaf.shape[1:]), folds.each["own"])
    grams = jax.lax.map(of_neuron, (rows, moves))
    return begin, jax.vmap(lambda each, gram: fold(folds, each, gram))(folds.each, grams.reshape(folds.size, *grams.shape[2:]))


def _in_fold_units(folds: Linear, each: Any, sites: dict[str, Any]) -> dict[str, Any]:
    """A model's weights in a fold's units."""
    unit = units(folds, each)
    return {name: sites[name] / unit[part].reshape(shape) for name, part, shape in zip(folds.names, folds.parts(), folds.shapes, strict=True)}


def units(folds: Linear, each: Any) -> Any:
    """(P,) by what each weight of a fold is to be multiplied to be the model's."""
    stretch = each["own"].stretch
    return stretch[each["places"]] if "places" in each else stretch
