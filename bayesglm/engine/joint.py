"""One joint posterior of all neurons, where they share learned parameters (hierarchical scales)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.coordinates import AbstractCoordinates
from bayesglm.engine.linear import Linear
from bayesglm.engine.linear_target import LinearTarget, linear_target
from bayesglm.engine.scale_mode import shared_density
from bayesglm.engine.target import AbstractTarget


class JointTarget(AbstractTarget):
    """The sum of all neurons' energies at common values of what they share, whose own prior counts once.

    z = (every neuron's own coordinates, neuron by neuron; the shared ones). Given the shared parameters each neuron is
    whitened as it is alone.
    """

    inner: LinearTarget
    size: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    shared: int = eqx.field(static=True)
    each: None = None

    def energy(self, each: Any, z: Any) -> Any:
        linear = self.inner.linear
        total = jax.vmap(self.inner.energy)(self.inner.each, self._by_neuron(z)).sum()
        first = jax.tree.map(lambda leaf: leaf[0], self.inner.each)
        theta = first["coordinates"]["theta"] + first["coordinates"]["spread"] @ self._by_neuron(z)[0, linear.dim :]
        return total + (self.inner.size - 1) * shared_density(linear, first["linear"], theta)

    def sites(self, each: Any, z: Any) -> dict[str, Any]:
        values = jax.vmap(self.inner.sites)(self.inner.each, self._by_neuron(z))
        together = self.inner.linear.shared_sites()
        return {site: value[0] if site in together else value for site, value in values.items()}

    def _by_neuron(self, z: Any) -> Any:
        """(neuron, P + K): each neuron's own coordinates with the shared ones behind them."""
        own = z[: z.size - self.shared].reshape(self.inner.size, -1)
        return jnp.concatenate([own, jnp.broadcast_to(z[z.size - self.shared :], (self.inner.size, self.shared))], 1)


def engine_target(linear: Linear, coordinates: AbstractCoordinates, precision: str = "double", chains: int = 1) -> AbstractTarget:
    """Independent posteriors, one a neuron, or one joint posterior where neurons share learned parameters."""
    target = linear_target(linear, coordinates, precision, chains)
    shared = sum(linear.sizes()[site] for site in linear.shared_sites())
    if not shared:
        return target
    return JointTarget(target, 1, linear.size * (target.dim - shared) + shared, shared)
