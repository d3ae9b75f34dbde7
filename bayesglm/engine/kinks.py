"""Densities with a kink at zero, of each weight (L1, elastic net) or of a group's norm (group lasso): steps and optimality."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.linear import Linear

_CLOSE = 1e-16
_SWEEPS = 1000


def grouped(linear: Linear) -> np.ndarray | None:
    """(group, most) places in (P,), filled up with P, of weights that share one kink; None where every weight has its own."""
    if not any(prior.groups for prior in linear.priors):
        return None
    found: list[np.ndarray] = []
    for prior, shape, part in zip(linear.priors, linear.shapes, linear.parts(), strict=True):
        places = np.arange(part.start, part.stop)
        width = int(np.prod(shape[len(shape) - prior.groups :])) if prior.groups else 1
        found += list(places.reshape(-1, width))
    most = max(len(group) for group in found)
    return np.stack([np.pad(group, (0, most - len(group)), constant_values=linear.dim) for group in found])


def penalty(groups: np.ndarray | None, slope: Any, w: Any) -> Any:
    """sum slope |w|, or the sum over groups of slope |w_g|."""
    if groups is None:
        return jnp.sum(slope * jnp.abs(w))
    square = jnp.sum(_padded(w)[groups] ** 2, axis=1)
    norms = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return jnp.sum(_padded(slope)[groups[:, 0]] * norms)


def violation(groups: np.ndarray | None, gradient: Any, slope: Any, w: Any) -> Any:
    """Largest entry (or group norm) of the smallest subgradient."""
    if groups is None:
        at_kink = jnp.maximum(jnp.abs(gradient) - slope, 0.0)
        return jnp.max(jnp.where((w == 0.0) & (slope > 0), at_kink, jnp.abs(gradient + slope * jnp.sign(w))), initial=0.0)
    values, pull, strength = _padded(w)[groups], _padded(gradient)[groups], _padded(slope)[groups[:, 0]]
    norm = jnp.linalg.norm(values, axis=1)
    inside = jnp.linalg.norm(pull + strength[:, None] * values / jnp.where(norm > 0, norm, 1.0)[:, None], axis=1)
    return jnp.max(jnp.where((norm == 0.0) & (strength > 0), jnp.maximum(jnp.linalg.norm(pull, axis=1) - strength, 0.0), inside), initial=0.0)


def proximal_step(groups: np.ndarray | None, gradient: Any, hessian: Any, slope: Any, w: Any) -> Any:
    """Minimise g.d + d.H.d/2 + penalty(w + d) by coordinate descent, or by descent in blocks: the proximal Newton step."""
    one, count = (_weight_step(hessian, slope, w), w.shape[0]) if groups is None else (_group_step(groups, hessian, slope, w), len(groups))

    def sweep(carry: Any) -> Any:
        d, residual, _, turns = carry
        d, residual, moved = jax.lax.fori_loop(0, count, one, (d, residual, jnp.zeros(())))
        return d, residual, moved, turns + 1

    def going(carry: Any) -> Any:
        return (carry[2] > _CLOSE) & (carry[3] < _SWEEPS)

    return jax.lax.while_loop(going, sweep, (jnp.zeros_like(w), gradient, jnp.asarray(jnp.inf), 0))[0]


def _weight_step(hessian: Any, slope: Any, w: Any) -> Any:
    def one(j: Any, inner: Any) -> Any:
        d, residual, moved = inner
        h = hessian[j, j]
        at = w[j] + d[j]
        want = at - residual[j] / h
        new = jnp.sign(want) * jnp.maximum(jnp.abs(want) - slope[j] / h, 0.0)
        change = new - at
        return d.at[j].add(change), residual + change * hessian[j], jnp.maximum(moved, h * change**2)

    return one


def _group_step(groups: np.ndarray, hessian: Any, slope: Any, w: Any) -> Any:
    """A block moves under a bound of its curvature (the largest row sum), for which the norm's proximal map is closed."""
    table = jnp.asarray(groups)
    wide = jnp.pad(hessian, ((0, 1), (0, 1)))
    inside = jnp.abs(wide[table[:, :, None], table[:, None, :]])
    bound = jnp.maximum(jnp.max(jnp.sum(inside, axis=2), axis=1), 1e-300)
    strength = _padded(slope)[table[:, 0]]

    def one(g: Any, inner: Any) -> Any:
        d, residual, moved = inner
        places, h = table[g], bound[g]
        at = _padded(w)[places] + _padded(d)[places]
        want = at - _padded(residual)[places] / h
        norm = jnp.linalg.norm(want)
        change = want * jnp.maximum(1.0 - strength[g] / (h * jnp.where(norm > 0, norm, 1.0)), 0.0) - at
        step = _padded(jnp.zeros_like(d)).at[places].add(change)[:-1]
        return d + step, residual + hessian @ step, jnp.maximum(moved, h * change @ change)

    return one


def _padded(values: Any) -> Any:
    """A zero behind the last entry: where the filling points."""
    return jnp.concatenate([values, jnp.zeros(1, values.dtype)])
