"""Coordinates of learned positive parameters with Gaussian tails on both sides.

In log tau a half-normal prior has an exponential left tail that no Gaussian matches, and chains stick in it. Here
tau = s h(x), log h(x) = log softplus(x) - softplus(-x)^2 / 2: for large x the parameter grows like x (a half-normal is
normal there), for very negative x it falls like exp(-x^2 / 2), so that a density that is finite at tau = 0 is normal
there too. A half-Cauchy (a horseshoe's local scale) has tails that no linear or logarithmic coordinate tames: there
tau = s tan(pi/2 Phi(x)), with which x is standard normal under the prior, and nearly so where the data say little. The
Jacobian is exact; only the ease of sampling depends on the choice.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import ndtr
from jax.scipy.stats import norm
from numpyro.distributions import Distribution, biject_to, constraints

_TAILED = (dist.HalfNormal,)
_HALVINGS = 80


def unconstrained_shape(law: Distribution) -> tuple[int, ...]:
    """Shape of the unconstrained coordinates of a learned parameter."""
    return tuple(biject_to(law.support).inverse_shape(law.shape()))


def positive(law: Distribution) -> bool:
    """Whether a parameter is a positive number, or several, each with a coordinate of its own."""
    one = plain(law)
    lower = getattr(one.support, "lower_bound", None)
    bounded = lower is not None and not isinstance(lower, jax.core.Tracer) and bool(np.all(np.asarray(lower) >= 0))
    return one.support in (constraints.positive, constraints.nonnegative) or bounded or isinstance(one, (*_TAILED, dist.HalfCauchy))


def plain(law: Distribution) -> Distribution:
    """The law of one entry of a parameter whose entries are alike and independent."""
    while isinstance(law, (dist.Independent, dist.ExpandedDistribution)):
        law = law.base_dist
    return law


def to_value(law: Distribution, x: Any) -> tuple[Any, Any]:
    """Unconstrained x -> the parameter, and the log density of x (prior and Jacobian together)."""
    one = plain(law)
    if isinstance(one, _TAILED):
        log_h, log_slope = _log_h(x)
        value = one.scale * jnp.exp(log_h)
        return value, law.log_prob(value) + jnp.sum(log_slope + jnp.log(one.scale))
    if isinstance(one, dist.HalfCauchy):
        return one.scale * jnp.exp(_log_tan(x)), jnp.sum(norm.logpdf(x))
    transform = biject_to(law.support)
    value = transform(x)
    return value, law.log_prob(value) + transform.log_abs_det_jacobian(x, value)


def middle(law: Distribution) -> Any:
    """Median of a parameter's prior, entry by entry; of a thousand draws where NumPyro knows no quantile."""
    try:
        return jnp.broadcast_to(plain(law).icdf(0.5), law.shape())
    except (NotImplementedError, ImportError):  # NumPyro wants another package for some quantiles
        return jnp.median(law.sample(jax.random.key(0), (1001,)), axis=0)


def _log_h(x: Any) -> tuple[Any, Any]:
    """log h(x) and log h'(x)."""
    above, below = jax.nn.softplus(x), jax.nn.softplus(-x)
    log_above = jnp.where(x < -30.0, x, jnp.log(jnp.where(x < -30.0, 1.0, above)))
    log_h = log_above - 0.5 * below**2
    # d log h = sigmoid(x) / softplus(x) + softplus(-x) sigmoid(-x), with log sigmoid(x) = -softplus(-x)
    return log_h, log_h + jnp.logaddexp(-below - log_above, jnp.log(below) - above)


def _log_tan(x: Any) -> Any:
    """log tan(pi/2 Phi(x)), odd in x: by the smaller tail on either side."""
    size = -jnp.abs(x)
    tail = jnp.log(jnp.tan(0.5 * jnp.pi * ndtr(size)))
    return jnp.where(x > 0, -tail, tail)


def from_value(law: Distribution, value: Any) -> Any:
    """The inverse of ``to_value``, by bisection: it is only needed to start."""
    one = plain(law)
    if not isinstance(one, (*_TAILED, dist.HalfCauchy)):
        return biject_to(law.support).inv(value)
    wanted, curve = jnp.log(value) - jnp.log(one.scale), _log_tan if isinstance(one, dist.HalfCauchy) else lambda x: _log_h(x)[0]

    def halve(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        middle = 0.5 * (low + high)
        below = curve(middle) < wanted
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low = jnp.full(jnp.shape(wanted), -40.0)
    high = jnp.maximum(jnp.exp(wanted) * jnp.ones_like(low), 1.0) + 1.0
    return jax.lax.fori_loop(0, _HALVINGS, halve, (low, high))[0]
