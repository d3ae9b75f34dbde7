"""Coordinates of learned positive parameters in which their prior is a standard normal, where there is a closed form.

In log tau a half-normal prior has an exponential left tail that no Gaussian matches, and chains stick in it. In
x = Phi^-1(F(tau)) the prior is exactly normal; a posterior that the data inform is smooth there too.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import erfinv, ndtr, ndtri
from numpyro.distributions import Distribution, biject_to

_LOG_2PI = 1.8378770664093453


def to_value(law: Distribution, x: Any) -> tuple[Any, Any]:
    """Unconstrained x -> the parameter, and the log density of x (prior and Jacobian together)."""
    if isinstance(law, dist.HalfNormal):
        return law.scale * _half_normal(x), -0.5 * (x**2 + _LOG_2PI)
    if isinstance(law, dist.HalfCauchy):
        return law.scale * _half_cauchy(x), -0.5 * (x**2 + _LOG_2PI)
    transform = biject_to(law.support)
    value = transform(x)
    return value, law.log_prob(value) + transform.log_abs_det_jacobian(x, value)


def from_value(law: Distribution, value: Any) -> Any:
    """The inverse of ``to_value``."""
    if isinstance(law, dist.HalfNormal):
        ratio = jnp.asarray(value / law.scale)
        return -ndtri(2.0 * ndtr(-ratio))
    if isinstance(law, dist.HalfCauchy):
        return ndtri(2.0 / jnp.pi * jnp.arctan(value / law.scale))
    return biject_to(law.support).inv(value)


def _half_normal(x: Any) -> Any:
    """F^-1(Phi(x)) of the half-normal; each branch where it keeps its digits, the other held at a harmless point."""
    low, high = jnp.where(x < 0.0, x, 0.0), jnp.where(x < 0.0, 0.0, x)
    return jnp.where(x < 0.0, jnp.sqrt(2.0) * erfinv(ndtr(low)), -ndtri(0.5 * ndtr(-high)))


def _half_cauchy(x: Any) -> Any:
    """F^-1(Phi(x)) of the half-Cauchy."""
    low, high = jnp.where(x < 0.0, x, 0.0), jnp.where(x < 0.0, 0.0, x)
    return jnp.where(x < 0.0, jnp.tan(0.5 * jnp.pi * ndtr(low)), 1.0 / jnp.tan(0.5 * jnp.pi * ndtr(-high)))
