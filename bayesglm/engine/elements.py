"""Between the elements of a model's priors, the columns of its predictor and the weights of its story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from bayesglm.engine.linear import Linear


def over_predictors(apply: Any, w: Any) -> Any:
    """``apply`` to (n,), or to every column of (n, J)."""
    return apply(w) if w.ndim == 1 else jax.vmap(apply, in_axes=1, out_axes=1)(w)


def mixed(linear: Linear, w: Any) -> Any:
    """Elements (P,) -> (column weights,) or, with several predictors, (column weights, J)."""
    if linear.contrast is None:
        return w
    parts = [(w[part].reshape(-1, linear.several), linear.mixings.get(name)) for name, part in zip(linear.names, linear.parts(), strict=True)]
    return jnp.concatenate([u if mixing is None else u @ mixing.T for u, mixing in parts])


def spread_out(linear: Linear, each: Any, w: Any) -> Any:
    """Elements (P,) -> one number a column of the predictor, or one a column and predictor."""
    w = mixed(linear, w * each["mask"])
    if "places" not in each:
        return w
    own = 0 if "own" not in each else each["own"].shape[0]
    return jnp.zeros((linear.predictor.columns.shape[0] + own, *w.shape[1:]), w.dtype).at[each["places"]].add(w)


def gather(linear: Linear, each: Any, values: Any) -> Any:
    """One number a column (and predictor) -> (P,): the transpose of ``spread_out``."""
    values = values[each["places"]] if "places" in each else values
    return (values if linear.contrast is None else unmixed(linear, values)) * each["mask"]


def gather_squares(linear: Linear, each: Any, values: Any) -> Any:
    """Sums of squares, one a column (and predictor) -> (P,); a prior over classes is taken as if its rotation were none."""
    values = values[each["places"]] if "places" in each else values
    return values.reshape(-1) * each["mask"]


def unmixed(linear: Linear, values: Any) -> Any:
    """(column weights, J, ...) -> (P, ...): the transpose of ``mixed``."""
    ends = np.cumsum([(part.stop - part.start) // linear.several for part in linear.parts()])
    pieces = jnp.split(values, ends[:-1])
    turned = [
        v if linear.mixings.get(name) is None else jnp.einsum("pj...,ji->pi...", v, linear.mixings[name]) for name, v in zip(linear.names, pieces, strict=True)
    ]
    return jnp.concatenate([v.reshape(-1, *v.shape[2:]) for v in turned])


def fold(linear: Linear, each: Any, found: Any) -> Any:
    """A Gram matrix of columns (n, n), or of columns and predictors (n, n, J, J) -> (P, P) of one neuron's elements."""
    if "places" in each:
        found = found[each["places"]][:, each["places"]]
    if linear.contrast is not None:
        found = jnp.moveaxis(found, 2, 1)  # (n, J, n, J)
        found = unmixed(linear, found)
        found = unmixed(linear, jnp.moveaxis(found, 0, 2)).T
    return found * each["mask"][:, None] * each["mask"]


def to_elements(linear: Linear, each: Any, name: str, w: Any) -> Any:
    """A block's weights in the story's shape -> elements (*shape[, J])."""
    at = linear.names.index(name)
    shape, rotation = linear.shapes[at], linear.rotations.get(name)
    w = jnp.asarray(w) if linear.contrast is None else w @ linear.contrast
    w = w if linear.mixings.get(name) is None else w @ jnp.linalg.inv(linear.mixings[name]).T
    return w if rotation is None else _turned(each["mask"][linear.parts()[at]].reshape(shape), w, jnp.linalg.inv(rotation), linear.several)


def from_elements(linear: Linear, each: Any, name: str, w: Any) -> Any:
    """One block of the elements (P,) -> the block's weights in the story's shape (*shape[, K])."""
    at = linear.names.index(name)
    part, shape, rotation = linear.parts()[at], linear.shapes[at], linear.rotations.get(name)
    u = w[part].reshape(shape)
    u = u if rotation is None else _turned(each["mask"][part].reshape(shape), u, rotation, linear.several)
    u = u if linear.mixings.get(name) is None else u @ linear.mixings[name].T
    return u if linear.contrast is None else u @ linear.contrast.T


def _turned(mask: Any, u: Any, rotation: Any, several: int) -> Any:
    """R times the trailing axes; where there is no weight, u itself."""
    size = rotation.shape[0]
    rows = u.reshape(-1, size, several)
    return jnp.where(mask > 0, jnp.einsum("ab,nbj->naj", rotation, rows).reshape(u.shape), u)
