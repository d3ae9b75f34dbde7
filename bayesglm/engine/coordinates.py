"""Coordinates in which a posterior is nearly a standard normal, with their Jacobian."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.linear import Linear


class AbstractCoordinates(eqx.Module):
    """An invertible map z -> (weights, unconstrained learned parameters), one a neuron; ``each`` leaves lead by neuron."""

    each: eqx.AbstractVar[Any]

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        """(dim,) -> weights (P,), theta (K,), and minus the log of the Jacobian's determinant (up to a constant)."""
        raise NotImplementedError


class Whitened(AbstractCoordinates):
    """Laplace coordinates: theta = theta0 + S s, w = m(theta) + L(theta)^-T u, with z = (u, s).

    ``H0`` and ``b`` are the quadratic form of the log likelihood at the mode; L L' = H0 + P(theta) with P the prior's
    (surrogate) precision at theta, and m = (H0 + P)^-1 b. Whatever the learned scale, the weights are nearly standard
    normal: the funnel of a hierarchical prior is straightened. The density that is sampled stays exact, because the
    determinant of L(theta) is part of it.
    """

    each: dict[str, Any]  # H0 (P, P), b (P,), ratio (P,), theta (K,), spread (K, K) lower triangular; mean (P,), factor (P, P) at theta
    moving: bool = eqx.field(static=True)  # whether the prior's precision depends on theta

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        size = linear.dim
        theta = own["theta"] + own["spread"] @ z[size:]
        if not self.moving:
            return own["mean"] + solve_transposed(own["factor"], z[:size]), theta, jnp.zeros(())
        hyper, _ = linear.constrain(each, theta)
        factor = jnp.linalg.cholesky(own["H0"] + jnp.diag(own["ratio"] * linear.by_weight(each, hyper, "whitening")))
        middle = jax.scipy.linalg.solve_triangular(factor, own["b"], lower=True)
        return solve_transposed(factor, z[:size] + middle), theta, jnp.sum(jnp.log(jnp.diagonal(factor)))


def solve_transposed(factor: Any, z: Any) -> Any:
    """L^-T z for lower triangular L."""
    return jax.scipy.linalg.solve_triangular(factor, z, lower=True, trans=1)
