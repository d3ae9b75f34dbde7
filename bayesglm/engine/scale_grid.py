"""Learned scales of an approximation by their marginal density on a grid, instead of by a Gaussian."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.laplace import Approximation
from bayesglm.engine.linear import Linear
from bayesglm.engine.scale_mode import Form, log_marginal

_POINTS = 7
_REACH = 3.5  # spreads on either side of the mode
_FINE = 701


class Marginals(NamedTuple):
    """Densities of the coordinates s of theta = mode + spread s, one at a time, at the others' mode."""

    points: np.ndarray  # (fine,)
    log_density: np.ndarray  # (neuron, K, fine), normalised
    cumulative: np.ndarray  # (neuron, K, fine)

    def draw(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(draw, neuron, K) uniforms -> s, and the log density of each draw (draw, neuron)."""
        s, log_q = np.empty_like(uniform), np.zeros(uniform.shape[:2])
        for n in range(uniform.shape[1]):
            for k in range(uniform.shape[2]):
                s[:, n, k] = np.interp(uniform[:, n, k], self.cumulative[n, k], self.points)
                log_q[:, n] += np.interp(s[:, n, k], self.points, self.log_density[n, k])
        return s, log_q


@compiled_quickly
def _on_grid(linear: Linear, found: Approximation, points: Any) -> Any:
    """(neuron, K, point) log marginal densities along each coordinate, the likelihood's quadratic form held at the mode."""

    def one(each: Any, mode: Any, theta: Any, spread: Any) -> Any:
        form = Form(mode.curvature, mode.curvature @ mode.w - mode.slope, linear.eta(each, mode.w), mode.w, theta)
        places = theta + points[None, :, None] * spread.T[:, None, :]
        return jax.lax.map(lambda at: log_marginal(linear, each, form, at), places.reshape(-1, theta.size)).reshape(places.shape[:2])

    return jax.vmap(one)(linear.each, found.mode, found.theta, found.spread)


def standard_grid() -> np.ndarray:
    """Seven points, in spreads around the mode."""
    return np.linspace(-_REACH, _REACH, _POINTS)


def scale_marginals(linear: Linear, found: Approximation) -> Marginals:
    """Seven points of every coordinate's marginal density, weighted by the evidence, joined by a spline of the logarithm."""
    return joined(np.asarray(_on_grid(linear, found, jnp.asarray(standard_grid()))))


def joined(values: np.ndarray, grid: np.ndarray | None = None) -> Marginals:
    """Log densities (neuron, K, point) on a grid (default: the standard one), up to constants, as densities."""
    from scipy.interpolate import CubicSpline

    grid = standard_grid() if grid is None else grid
    fine = np.linspace(grid[0], grid[-1], _FINE)
    log_density = CubicSpline(grid, np.maximum(values - values.max(-1, keepdims=True), -60.0), axis=-1)(fine)
    step = fine[1] - fine[0]
    mass = np.exp(log_density)
    cumulative = np.concatenate([np.zeros((*mass.shape[:-1], 1)), np.cumsum(0.5 * (mass[..., 1:] + mass[..., :-1]) * step, -1)], -1)
    total = cumulative[..., -1:]
    return Marginals(fine, log_density - np.log(total), cumulative / total)
