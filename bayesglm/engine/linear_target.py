"""The engine's target: the story's density in whitened coordinates."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.by_rows import in_chunks
from bayesglm.engine.centred import centre_at, centred_log_likelihood
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
    single: Linear | None = None  # the same arrays in single precision, where the likelihood is centred

    def energy(self, each: Any, z: Any) -> Any:
        w, theta, log_det = self.coordinates.to_weights(self.linear, each["linear"], each["coordinates"], z)
        if self.single is None:
            return self.energy_of(each["linear"], w, theta) + log_det
        hyper, log_hyper = self.linear.constrain(each["linear"], theta)
        likelihood = centred_log_likelihood(self.single, each["single"], each["centre"], w)
        return log_det - (likelihood + self.linear.log_prior(each["linear"], w, hyper) + log_hyper)

    def energy_of(self, each: Any, w: Any, theta: Any) -> Any:
        """Energy of weights and unconstrained learned parameters, before the coordinates' Jacobian."""
        hyper, log_hyper = self.linear.constrain(each, theta)
        return -(self.linear.log_likelihood(each, w, hyper) + self.linear.log_prior(each, w, hyper) + log_hyper)

    def sites(self, each: Any, z: Any) -> dict[str, Any]:
        w, theta, _ = self.coordinates.to_weights(self.linear, each["linear"], each["coordinates"], z)
        hyper, _ = self.linear.constrain(each["linear"], theta)
        return self.linear.unpack(each["linear"], w) | {site: jnp.asarray(value) for site, value in hyper.items()}


def linear_target(linear: Linear, coordinates: AbstractCoordinates, precision: str = "double", chains: int = 1) -> LinearTarget:
    """The target of ``linear`` in ``coordinates``; "single" evaluates a centred likelihood in float32, summed in float64.

    ``chains`` of every neuron will walk at once.
    """
    linear = in_chunks(linear, linear.size * chains)
    each = {"linear": linear.each, "coordinates": coordinates.each}
    if precision == "double":
        return LinearTarget(linear, coordinates, linear.size, linear.dim + linear.free(), each)
    single = linear.in_single()
    centre = jax.vmap(lambda one, w, theta: centre_at(linear, one, w, linear.constrain(one, theta)[0]))
    each |= {"single": single.each, "centre": centre(linear.each, coordinates.each["mean"], coordinates.each["theta"])}
    light = eqx.tree_at(lambda one: one.predictor, linear, single.predictor)  # the double columns are not needed any more
    return LinearTarget(light, coordinates, linear.size, linear.dim + linear.free(), each, single)


def usable_precision(linear: Linear, precision: str) -> tuple[str, tuple[str, ...]]:
    """``precision`` itself, or "double" with a note where something of the family's rules the centred form out."""
    known = "numbers known of each row" if "known" in linear.each else ""
    why = "learned parameters of its own" if linear.family.hyper(linear.response) else "several predictors" if linear.contrast is not None else known
    if precision == "single" and why:
        return "double", (f"{linear.family.describe()} has {why}: the fit ran in double precision",)
    return precision, ()
