"""The engine's target: the story's density in whitened coordinates."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from bayesglm.engine.coordinates import AbstractCoordinates
from bayesglm.engine.linear import Linear
from bayesglm.engine.target import AbstractTarget


class LinearTarget(AbstractTarget):
    """Posterior of a linear model's weights and learned parameters, one a neuron, in the given coordinates.

    energy(z) = -log p(y | w) - log p(w | theta) - log p(theta) - log |d(w, theta)/dz| + const; energy differences equal
    the story's.
    """

    linear: Linear
    coordinates: AbstractCoordinates
    size: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    each: Any

    def energy(self, each: Any, z: Any) -> Any:
        w, theta, log_det = self.coordinates.to_weights(self.linear, each["linear"], each["coordinates"], z)
        return self.energy_of(each["linear"], w, theta) + log_det

    def energy_of(self, each: Any, w: Any, theta: Any) -> Any:
        """Energy of weights and unconstrained learned parameters, before the coordinates' Jacobian."""
        hyper, log_hyper = self.linear.constrain(each, theta)
        return -(self.linear.log_likelihood(each, w, hyper) + self.linear.log_prior(each, w, hyper) + log_hyper)

    def sites(self, each: Any, z: Any) -> dict[str, Any]:
        w, theta, _ = self.coordinates.to_weights(self.linear, each["linear"], each["coordinates"], z)
        hyper, _ = self.linear.constrain(each["linear"], theta)
        return self.linear.unpack(each["linear"], w) | {site: jnp.asarray(value) for site, value in hyper.items()}


def linear_target(linear: Linear, coordinates: AbstractCoordinates) -> LinearTarget:
    """The target of ``linear`` in ``coordinates``."""
    each = {"linear": linear.each, "coordinates": coordinates.each}
    return LinearTarget(linear, coordinates, linear.size, linear.dim + linear.free(), each)
