"""Coordinates for classes that the columns separate, where the likelihood bounds no scale."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from bayesglm.engine.columns import solve
from bayesglm.engine.coordinates import AbstractCoordinates
from bayesglm.engine.laplace import coordinates_at, start
from bayesglm.engine.linear import Linear

_WIDE = 0.8  # spread of the scale's coordinate, of which its prior has about one
_FINE = 1e-10  # nats


class Stretched(AbstractCoordinates):
    """Weights that grow with their learned scale: w = (s / s0) (w0 + L^-T u) in the block of the scale s, w0 + L^-T u elsewhere.

    ``Scaled`` holds the likelihood's curvature at the mode; where the classes are separable it falls as fast as weights
    grow, the posterior of w / s hardly depends on s, and the data leave s to its prior over orders of magnitude. The
    spread of the scale's own coordinate, which comes from that curvature, is then too small as well.
    """

    each: dict[str, Any]  # mean (P,), root (P, P) = L^-1, theta (K,), spread (K, K), known: the scale at theta0, inside (P,): 1 in its block
    site: str = eqx.field(static=True)

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        size = linear.dim
        theta = own["theta"] + own["spread"] @ z[size:]
        hyper, _ = linear.constrain(each, theta)
        log_stretch = own["inside"] * jnp.log(hyper[self.site] / own["known"])
        w = jnp.exp(log_stretch) * (own["mean"] + z[:size] @ own["root"])
        return w, theta, -jnp.sum(log_stretch)


def stretched(linear: Linear, site: str) -> Stretched:
    """The Gaussian approximation at the scale's prior median, in coordinates that grow with the scale.

    The marginal mode of the scale, which the Gaussian approximation finds far too low here, is no place to start from.
    """
    theta, w, reference = start(linear)
    mode = solve(linear, theta, w, reference, jnp.asarray(_FINE))
    spread = jnp.broadcast_to(_WIDE * jnp.eye(theta.shape[1]), (linear.size, theta.shape[1], theta.shape[1]))
    _, found = coordinates_at(linear, theta, spread, mode.w, False)
    at = next(i for i, (prior, name) in enumerate(zip(linear.priors, linear.names, strict=True)) if prior.hyper(name))
    part = linear.parts()[at]
    inside = jnp.zeros(linear.dim).at[part].set(1.0) * linear.each["mask"]
    kept = {name: found[name] for name in ("mean", "root", "theta", "known", "spread")}
    return Stretched(kept | {"inside": inside}, site)
