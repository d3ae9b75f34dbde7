"""P(Y <= y) of the response distributions: what probability integral transforms are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammainc, i0e

from bayesglm.family._distributions import (
    BernoulliLog,
    BinomialLog,
    ClassesLog,
    GammaLogMean,
    NegativeBinomialLogMean,
    PlanarNormal,
    PoissonLogRate,
    VonMisesNatural,
    ZeroInflatedPoissonLogRate,
)

_SMALLEST = 1e-17  # share of a sum below which its falling terms end
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_REACH = 13.5  # beyond this many 1/sqrt(kappa) from its mean a von Mises density has less than 1e-16


@functools.singledispatch
def cdf(law: dist.Distribution, y: Any) -> Any:
    """P(Y <= y) of a response distribution, in its batch shape; of classes by their codes, of angles from the circle's zero.

    Parameters
    ----------
    law : numpyro Distribution
        Of any family, or of a story: one with a ``cdf`` of its own, or with whole numbers from 0 up.
    y : array
        Broadcasts against the batch shape.

    Raises
    ------
    ValueError
        For a continuous distribution that has no ``cdf``.

    Examples
    --------
    >>> from bayesglm import family
    >>> from bayesglm.family._cdf import cdf
    >>> round(float(cdf(family.Poisson()(0.0, {}, 0.01), 1.0)), 4)
    0.7358
    """
    if isinstance(law, dist.MaskedDistribution | dist.ExpandedDistribution):
        return jnp.broadcast_to(cdf(law.base_dist, y), jnp.broadcast_shapes(jnp.shape(y), law.batch_shape))
    try:
        found = law.cdf(jnp.asarray(y))
    except NotImplementedError:
        if not law.support.is_discrete:
            raise ValueError(f"A probability integral transform wants a distribution with a cdf; {type(law).__name__} has none.") from None
        return _added_up(law, y)
    return jnp.where(jnp.asarray(y) < 0, 0.0, found) if law.support.is_discrete else found


def _added_up(law: dist.Distribution, y: Any) -> Any:
    """Sum of the probabilities of 0, 1, ..., y."""
    y = jnp.asarray(y, float)
    shape = jnp.broadcast_shapes(y.shape, law.batch_shape)

    def step(state: Any) -> Any:
        k, total = state
        return k + 1, total + jnp.where(k <= y, jnp.exp(law.log_prob(jnp.full(shape, k))), 0.0)

    return jax.lax.while_loop(lambda state: state[0] <= jnp.max(y), step, (jnp.asarray(0), jnp.zeros(shape)))[1]


def _summed_down(law: dist.Distribution, y: Any, ratio: Callable[[Any], Any]) -> Any:
    """Sum of P(k) for k = y, y - 1, ..., 0, with ratio(k) = P(k - 1)/P(k), which must fall with k once it is below one.

    From y downwards it takes about sqrt(y) terms (all of them for heavy tails), and no special function but that of P(y).
    """
    y = jnp.asarray(y, float)
    log_top = law.log_prob(jnp.maximum(y, 0.0))
    y = jnp.broadcast_to(y, log_top.shape)

    def step(state: Any) -> Any:
        k, term, total, _ = state
        term = jnp.where(k >= 1.0, term * ratio(jnp.maximum(k, 1.0)), 0.0)
        total = total + term
        # A small term has fallen, so that what is left is less than a geometric series.
        return k - 1.0, term, total, jnp.any((term > _SMALLEST * total) & jnp.isfinite(total))

    one = jnp.ones_like(log_top)
    total = jax.lax.while_loop(lambda state: state[3], step, (y, one, one, jnp.asarray(True)))[2]
    # A sum that overflows has P(y) below 1e-300 far above the mean: nothing is left beyond it.
    found = jnp.where(jnp.isfinite(total), jnp.exp(log_top + jnp.log(jnp.where(jnp.isfinite(total), total, 1.0))), 1.0)
    return jnp.where(y < 0, 0.0, jnp.minimum(found, 1.0))


@cdf.register
def _(law: PoissonLogRate, y: Any) -> Any:
    mean = law.mean
    return _summed_down(law, y, lambda k: k / mean)


@cdf.register
def _(law: NegativeBinomialLogMean, y: Any) -> Any:
    mean, a = law.mean, law.dispersion
    return _summed_down(law, y, lambda k: k * (1.0 / mean + a) / (1.0 + a * (k - 1.0)))


@cdf.register
def _(law: BinomialLog, y: Any) -> Any:
    odds = jnp.exp(law.log_zero - law.log_one)
    below = _summed_down(law, jnp.minimum(jnp.asarray(y, float), law.trials), lambda k: k / jnp.maximum(law.trials - k + 1.0, 1.0) * odds)
    return jnp.where(jnp.asarray(y) >= law.trials, 1.0, below)


@cdf.register
def _(law: ZeroInflatedPoissonLogRate, y: Any) -> Any:
    inner = cdf(PoissonLogRate(law.log_rate), y)
    return jnp.where(jnp.asarray(y) < 0, 0.0, law.share + (1.0 - law.share) * inner)


@cdf.register
def _(law: BernoulliLog, y: Any) -> Any:
    y = jnp.asarray(y, float)
    return jnp.where(y < 0, 0.0, jnp.where(y < 1, jnp.exp(law.log_zero), 1.0))


@cdf.register
def _(law: GammaLogMean, y: Any) -> Any:
    return gammainc(law.concentration, law.concentration * jnp.maximum(jnp.asarray(y, float), 0.0) / law.mean)


@cdf.register
def _(law: ClassesLog, y: Any) -> Any:
    below = jnp.arange(law.log_probs.shape[-1]) <= jnp.asarray(y, float)[..., None]
    return jnp.minimum(jnp.sum(jnp.where(below, law.probs, 0.0), -1), 1.0)


@cdf.register
def _(law: VonMisesNatural, y: Any) -> Any:
    turn, mean = 2.0 * jnp.pi, jnp.arctan2(law.b, law.a)
    angle = jnp.mod(jnp.asarray(y, float) / law.period, 1.0) * turn
    from_mean = _mass_beside_mean(_wrapped(angle - mean), law.concentration)
    start = _mass_beside_mean(_wrapped(-mean), law.concentration)
    found = from_mean - start
    # Angles between the mean's antipode and zero lie a whole turn on.
    return jnp.clip(jnp.where((_wrapped(angle - mean) < _wrapped(-mean)) & (angle > 0), found + 1.0, found), 0.0, 1.0)


@cdf.register
def _(law: PlanarNormal, y: Any) -> Any:
    return cdf(law.on_the_circle(), y)


def _wrapped(angle: Any) -> Any:
    """In [-pi, pi)."""
    return jnp.mod(angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi


def _mass_beside_mean(x: Any, concentration: Any) -> Any:
    """Probability of a von Mises angle between its mean and x beyond it, x in [-pi, pi]; negative for a negative x."""
    half = 0.5 * jnp.minimum(jnp.abs(x), _REACH / jnp.sqrt(jnp.maximum(concentration, 1e-12)))
    nodes, weights = jnp.asarray(_NODES), jnp.asarray(_WEIGHTS)

    def add(i: Any, total: Any) -> Any:
        # 1 - cos as a square: far concentrations would lose digits.
        return total + weights[i] * jnp.exp(-2.0 * concentration * jnp.sin(0.5 * half * (nodes[i] + 1.0)) ** 2)

    total = jax.lax.fori_loop(0, _NODES.size, add, jnp.zeros_like(half + concentration))
    return jnp.sign(x) * half * total / (2.0 * jnp.pi * i0e(concentration))
