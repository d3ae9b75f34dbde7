"""Coordinates of learned positive parameters with Gaussian tails on both sides.

In log tau a half-normal prior has an exponential left tail that no Gaussian matches, and chains stick in it. Here
tau = s h(x), log h(x) = log softplus(x) - softplus(-x)^2 / 2: for large x the parameter grows like x (a half-normal is
normal there), for very negative x it falls like exp(-x^2 / 2), so that a density that is finite at tau = 0 is normal
there too. The Jacobian is exact; only the ease of sampling depends on the choice.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import Distribution, biject_to

_TAILED = (dist.HalfNormal, dist.HalfCauchy)
_HALVINGS = 80


def to_value(law: Distribution, x: Any) -> tuple[Any, Any]:
    """Unconstrained x -> the parameter, and the log density of x (prior and Jacobian together)."""
    if isinstance(law, _TAILED):
        log_h, log_slope = _log_h(x)
        value = law.scale * jnp.exp(log_h)
        return value, law.log_prob(value) + log_slope + jnp.log(law.scale)
    transform = biject_to(law.support)
    value = transform(x)
    return value, law.log_prob(value) + transform.log_abs_det_jacobian(x, value)


def _log_h(x: Any) -> tuple[Any, Any]:
    """log h(x) and log h'(x)."""
    above, below = jax.nn.softplus(x), jax.nn.softplus(-x)
    log_above = jnp.where(x < -30.0, x, jnp.log(jnp.where(x < -30.0, 1.0, above)))
    log_h = log_above - 0.5 * below**2
    # d log h = sigmoid(x) / softplus(x) + softplus(-x) sigmoid(-x), with log sigmoid(x) = -softplus(-x)
    return log_h, log_h + jnp.logaddexp(-below - log_above, jnp.log(below) - above)


def from_value(law: Distribution, value: Any) -> Any:
    """The inverse of ``to_value``, by bisection: it is only needed to start."""
    if not isinstance(law, _TAILED):
        return biject_to(law.support).inv(value)
    wanted = jnp.log(value) - jnp.log(law.scale)

    def halve(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        middle = 0.5 * (low + high)
        below = _log_h(middle)[0] < wanted
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low = jnp.full(jnp.shape(wanted), -40.0)
    high = jnp.maximum(jnp.exp(wanted) * jnp.ones_like(low), 1.0) + 1.0
    return jax.lax.fori_loop(0, _HALVINGS, halve, (low, high))[0]
