"""Maxima of functions of few numbers, many at once, by Newton's method on differences: nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STEP = 1e-3  # of central differences
_STEPS = 60
_STILL = 1e-7  # nats that a step would gain
_FLAT, _STEEPEST = 0.25, 1.0  # least curvature that is believed (a sd of two), longest move of a coordinate


def maximum(score: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maxima (problem, K) of ``score`` ((problem, point, K) -> (problem, point)) from ``x``, by damped Newton steps.

    Returns
    -------
    x : (problem, K)
    spread : (problem, K, K)
        Cholesky factor of minus the inverse Hessian there; no sd above two is believed.
    left : (problem,)
        Largest entry of the gradient there, in spreads.
    """
    n, k = x.shape
    shifts = _stencil(k)
    best, move, value = x, np.zeros_like(x), np.full(n, -np.inf)
    slope, bend = np.zeros((n, k)), np.broadcast_to(np.eye(k), (n, k, k)).copy()
    for _ in range(_STEPS):
        seen = score((best + move)[:, None] + shifts)
        better = seen[:, 0] >= value - 1e-10 * (1.0 + np.abs(value))
        best, value = np.where(better[:, None], best + move, best), np.where(better, seen[:, 0], value)
        new_slope, new_bend = _derivatives(seen, k)
        slope, bend = np.where(better[:, None], new_slope, slope), np.where(better[:, None, None], new_bend, bend)
        values, vectors = np.linalg.eigh(bend)
        along = np.einsum("nab,na->nb", vectors, slope)
        full = np.einsum("nab,nb->na", vectors, along / np.maximum(np.abs(values), 0.1))
        full *= np.minimum(1.0, _STEEPEST / np.maximum(np.abs(full).max(1, keepdims=True), 1e-12))
        gain = (along**2 / np.maximum(np.abs(values), 0.1)).sum(1)
        if (gain < _STILL).all() and better.all():
            break
        move = np.where(better[:, None], full, 0.25 * move)
    values, vectors = np.linalg.eigh(bend)
    covariance = np.einsum("nab,nb,ncb->nac", vectors, 1.0 / np.maximum(values, _FLAT), vectors)
    spread = np.linalg.cholesky(covariance)
    return best, spread, np.abs(np.einsum("nab,na->nb", spread, slope)).max(1)


def _stencil(k: int) -> np.ndarray:
    """Points of the central differences (1 + 2 k + k (k - 1) / 2, k): the middle, both sides of each axis, one corner of each pair."""
    axes = _STEP * np.eye(k)
    corners = [axes[a] + axes[b] for a in range(k) for b in range(a)]
    return np.concatenate([np.zeros((1, k)), axes, -axes, np.array(corners).reshape(-1, k)])


def _derivatives(seen: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradients (problem, k) and minus Hessians (problem, k, k) from values on the stencil."""
    middle, up, down = seen[:, 0], seen[:, 1 : 1 + k], seen[:, 1 + k : 1 + 2 * k]
    bend = np.zeros((len(seen), k, k))
    for a in range(k):
        bend[:, a, a] = -(up[:, a] + down[:, a] - 2 * middle) / _STEP**2
    at = 1 + 2 * k
    for a in range(k):
        for b in range(a):
            corner = (seen[:, at] - up[:, a] - up[:, b] + middle) / _STEP**2
            bend[:, a, b] = bend[:, b, a] = -corner
            at += 1
    return (up - down) / (2 * _STEP), bend
