"""The learned scale of a decoder by nodes: where rows are few, every scale has a mode and a curvature of its own.

The curvature of a class's log likelihood falls as weights grow. An evidence that holds it at one mode therefore charges
large scales for a precision that they do not have, and puts the scale too low. Here the weights are solved for at every
node of a grid of the scale, and the evidence is that of the node.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from bayesglm.engine.columns import solve
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.coordinates import Scaled
from bayesglm.engine.evidence import evidence_at
from bayesglm.engine.laplace import Approximation, coordinates_at
from bayesglm.engine.linear import Linear
from bayesglm.engine.scale_grid import joined
from bayesglm.engine.scale_mode import log_slopes
from bayesglm.family import Bernoulli, Categorical

_ROWS = 20  # scored rows a weight from which one mode and its curvature are enough
_STEP = 0.5  # between nodes, in the scale's unconstrained coordinate
_DROP = 8.0  # nats below the largest at which the walk from node to node ends
_MOST = 24  # nodes on either side
_FINE = 1e-12  # nats
_NEAR = 0.1  # between the points of the last parabola


class Nodes(NamedTuple):
    """Laplace approximations along the scale, outwards from the middle one and then put in order."""

    steps: np.ndarray  # (node,) whole numbers: the node's coordinate is middle + step * _STEP
    middle: np.ndarray  # (neuron, 1)
    w: np.ndarray  # (node, neuron, P)
    log_density: np.ndarray  # (node, neuron) log of evidence times prior, of the coordinate

    def theta(self, i: int) -> np.ndarray:
        """(neuron, 1) coordinates of one node."""
        return self.middle + _STEP * self.steps[i]


class NodeDraws(NamedTuple):
    """Draws of weights and scale, and the log densities that drew them."""

    w: np.ndarray  # (draw, neuron, P)
    theta: np.ndarray  # (draw, neuron, 1)
    log_q: np.ndarray  # (draw, neuron)


def by_nodes(linear: Linear, found: Approximation) -> bool:
    """Whether the one learned scale of a decoder is too loosely known for one mode and its curvature."""
    if not (isinstance(linear.family, (Bernoulli, Categorical)) and isinstance(found.coordinates, Scaled)) or linear.shared_sites():
        return False
    return int((np.asarray(linear.scored) > 0).sum()) < _ROWS * linear.dim


def scale_nodes(linear: Linear, found: Approximation) -> Nodes:
    """Walk from the approximation's scale to both sides until every neuron's density has fallen by eight nats."""
    kept, best = {}, np.full(linear.size, -np.inf)
    middle = np.asarray(found.theta)
    for side in (-1, 1):
        w, reference = found.mode.w, found.mode.curvature
        for far in range(min(side, 0) + 1, _MOST):  # the middle is the first of the walk down
            theta = jnp.asarray(middle + side * far * _STEP)
            w = solve(linear, theta, w, reference, jnp.asarray(_FINE)).w
            value, reference = _at(linear, theta, w)
            kept[side * far] = np.asarray(w), np.asarray(value)
            best = np.fmax(best, np.asarray(value))
            if far and not (np.asarray(value) > best - _DROP).any():
                break
    steps = np.array(sorted(kept))
    return Nodes(steps, middle, np.stack([kept[step][0] for step in steps]), np.stack([kept[step][1] for step in steps]))


def node_mode(linear: Linear, found: Approximation) -> tuple[Any, Any, Any]:
    """The maximum of the density of the scale's logarithm (neuron, 1), with weights and curvature close to those there."""
    nodes = scale_nodes(linear, found)
    everyone = np.arange(linear.size)
    values = np.stack([value - np.asarray(_log_slope(linear, nodes.theta(i))) for i, value in enumerate(nodes.log_density)])
    best = np.clip(values.argmax(0), 1, len(values) - 2)
    theta = nodes.middle + _STEP * (nodes.steps[best] + _vertex(*(values[best + k, everyone] for k in (-1, 0, 1))))[:, None]
    w, reference = jnp.asarray(nodes.w[best, everyone]), found.mode.curvature
    near = []
    for shift in (-_NEAR, 0.0, _NEAR):
        w = solve(linear, jnp.asarray(theta + shift), w, reference, jnp.asarray(_FINE)).w
        value, reference = _at(linear, jnp.asarray(theta + shift), w)
        near.append(np.asarray(value) - np.asarray(_log_slope(linear, theta + shift)))
    return jnp.asarray(theta + _NEAR * _vertex(*near)[:, None]), w, reference


def _vertex(low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where the parabola through three values has its top, in their spacing from the middle one; at most one away."""
    bend = 2.0 * middle - low - high
    return np.clip(np.where(bend > 0, 0.5 * (high - low) / np.where(bend > 0, bend, 1.0), np.sign(high - low)), -1.0, 1.0)


@compiled_quickly
def _log_slope(linear: Linear, theta: Any) -> Any:
    """(neuron,) log of d log(scale) / d theta."""
    return jax.vmap(lambda each, one: log_slopes(linear, each, one))(linear.each, jnp.asarray(theta))


@compiled_quickly
def _at(linear: Linear, theta: Any, w: Any) -> tuple[Any, Any]:
    """The evidence times the scale's density (neuron,), and the likelihood's curvature (neuron, P, P)."""
    return jax.lax.map(lambda one: evidence_at(linear, *one), (linear.each, theta, w))


def draw(linear: Linear, nodes: Nodes, z: np.ndarray) -> NodeDraws:
    """Standard normals (draw, neuron, P + 1) -> the scale from its density, the weights from the nearest node's Gaussian given it."""
    u = z[..., : linear.dim]
    marginal = joined(nodes.log_density.T[:, None], _STEP * nodes.steps)
    s, log_q = marginal.draw(ndtr(z[..., linear.dim :]))
    nearest = np.clip(np.rint(s[..., 0] / _STEP).astype(int), nodes.steps[0], nodes.steps[-1]) - nodes.steps[0]
    w, det, site = np.empty_like(u), np.empty(u.shape[:2]), next(iter(linear.laws()))
    for i in np.unique(nearest):
        theta = jnp.asarray(nodes.theta(i))
        _, each = coordinates_at(linear, theta, jnp.ones((linear.size, 1, 1)), jnp.asarray(nodes.w[i]), True)
        moved, log_det = _moved(linear, Scaled(each, site), jnp.asarray(u), jnp.asarray(s - _STEP * nodes.steps[i]))
        here = nearest == i
        w[here], det[here] = np.asarray(moved)[here], np.asarray(log_det)[here]
    return NodeDraws(w, nodes.middle + s, log_q - 0.5 * (u**2).sum(-1) + det)


@compiled_quickly
def _moved(linear: Linear, coordinates: Scaled, u: Any, s: Any) -> tuple[Any, Any]:
    """Weights (draw, neuron, P) of one node, and minus the log of the Jacobian's determinant (draw, neuron)."""

    def one(each: Any, own: Any, u: Any, s: Any) -> tuple[Any, Any]:
        w, _, log_det = coordinates.to_weights(linear, each, own, jnp.concatenate([u, s]))
        return w, log_det - jnp.sum(jnp.log(jnp.diagonal(own["root"])))

    neurons = jax.vmap(one)
    return jax.lax.map(lambda draw: neurons(linear.each, coordinates.each, *draw), (u, s))


@compiled_quickly
def log_density(linear: Linear, w: Any, theta: Any) -> Any:
    """Log posterior density (draw, neuron) of weights and scale, up to a constant of each neuron."""

    def one(each: Any, w: Any, theta: Any) -> Any:
        hyper, log_hyper = linear.constrain(each, theta)
        return linear.log_likelihood(each, w, hyper) + linear.log_prior(each, w, hyper) + log_hyper

    return jax.lax.map(lambda draw: jax.vmap(one)(linear.each, *draw), (w, theta))


@compiled_quickly
def sites(linear: Linear, w: Any, theta: Any) -> dict[str, Any]:
    """Every draw's sites, (draw, neuron, ...)."""

    def one(each: Any, w: Any, theta: Any) -> dict[str, Any]:
        hyper, _ = linear.constrain(each, theta)
        return linear.unpack(each, w) | {site: jnp.asarray(value) for site, value in hyper.items()}

    return jax.lax.map(lambda draw: jax.vmap(one)(linear.each, *draw), (w, theta))
