"""Log densities in eta that stay finite, and differentiable, in both tails and at the edges of their own parameters.

Terms in the response alone are left out, unless they meet a learned parameter.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, i0e, i1e

_SMALL = 1e-2  # below it log(1 + x)/x comes from its series: the quotient's derivatives lose digits there
_LEAST = 1e-30  # dispersion that stands for none
_SEEN_AT_ONCE = 16  # counts
_STEPS = 10  # of Gamma's recurrence, after which Stirling's series is exact to double precision
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_NEAR = 0.25  # square of the concentration below which Bessel ratios come from their series


def _horner(coefficients: tuple[float, ...], x: Any) -> Any:
    """c0 + c1 x + c2 x^2 + ..."""
    total = jnp.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def log1p_ratio(x: Any) -> Any:
    """log(1 + x)/x for x >= 0, and one at zero."""
    small = x < _SMALL
    far = jnp.where(small, 1.0, x)
    near = _horner(tuple((-1) ** n / (n + 1) for n in range(10)), jnp.where(small, x, 0.0))
    return jnp.where(small, near, jnp.log1p(far) / far)


def log_rising(dispersion: Any, y: Any) -> Any:
    """log Gamma(y + 1/a) - log Gamma(1/a) + y log a = sum over k < y of log(1 + a k), smooth in a down to zero.

    Gamma is moved up by its recurrence and then differenced in Stirling's form, term by term, so that no large numbers
    are subtracted: a difference of lgamma is wrong by 2e-7 at 1/a = 1e8.
    """
    a = jnp.asarray(dispersion)
    y = jnp.asarray(y, a.dtype)
    above, below = jnp.ones_like(a), jnp.ones_like(a * y)
    for k in range(_STEPS):
        above, below = above * (1.0 + a * k), below * (1.0 + a * (y + k))
    moved = a / (1.0 + _STEPS * a)
    x = moved * y
    tail = lambda b: b * _horner(_STIRLING, b * b)  # noqa: E731
    stirling = y * (log1p_ratio(x) - 1.0) + (y - 0.5) * jnp.log1p(x) + tail(moved / (1.0 + x)) - tail(moved)
    return jnp.log(above) - jnp.log(below) + y * jnp.log1p(_STEPS * a) + stirling


def negative_binomial(eta: Any, y: Any, dispersion: Any) -> Any:
    """Counts of mean m = exp(eta) and variance m + a m^2: log Gamma(y + 1/a)/Gamma(1/a) + y log(a m) - (y + 1/a) log(1 + a m)."""
    a = jnp.asarray(dispersion)
    small = eta < jnp.log(_SMALL) - jnp.log(a)  # a * m below _SMALL; always where a has underflowed
    mean = jnp.exp(jnp.where(small, eta, -jnp.inf))
    x = a * mean
    safe = jnp.where(small, 1.0, a)
    grown = jax.nn.softplus(jnp.where(small, 0.0, eta) + jnp.log(safe))
    logs = jnp.where(small, jnp.log1p(x), grown)
    share = jnp.where(small, mean * log1p_ratio(x), grown / safe)
    return log_rising(a, y) + y * (eta - logs) - share


def quick_negative_binomial(eta: Any, y: Any, dispersion: Any) -> Any:
    """The same without log_rising, in one exponential and one logarithm a row.

    Its derivative in a loses digits as a goes to zero, but only as many as a coordinate like log a does not notice.
    """
    a = jnp.maximum(jnp.asarray(dispersion), _LEAST)
    grown = _log1p_exp(eta + jnp.log(a))
    return y * (eta - grown) - grown / a


@jax.custom_jvp
def _log1p_exp(u: Any) -> Any:
    return jnp.maximum(u, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(u)))


@_log1p_exp.defjvp
def _log1p_exp_jvp(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    return _log1p_exp(*primals), _logistic(*primals) * tangents[0]


@jax.custom_jvp
def _logistic(u: Any) -> Any:
    """With the exponential of _log1p_exp, which the compiler then takes once."""
    r = jnp.exp(-jnp.abs(u))
    return jnp.where(u > 0, 1.0, r) / (1.0 + r)


@_logistic.defjvp
def _logistic_jvp(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    s = _logistic(*primals)
    return s, s * (1.0 - s) * tangents[0]


def _rising_term(a: Any, k: Any, order: int) -> Any:
    """log(1 + a k), or its derivative of this order in a."""
    return jnp.log1p(a * k) if order == 0 else -math.factorial(order - 1) * (-k / (1.0 + a * k)) ** order


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def tabulated_rising(dispersion: Any, y: Any, size: int, order: int = 0) -> Any:
    """log_rising of whole y below ``size`` and a scalar a, or its derivative of this order in a; NaN for a larger y.

    A table of ``size`` numbers is looked up: an evaluation of log_rising in every row costs more than the rest of a gradient.
    """
    if size <= _SEEN_AT_ONCE:  # comparisons that the compiler fuses with the rest of a row; a look-up costs more than the exponential
        terms = [jnp.where(y > k, _rising_term(dispersion, float(k), order), 0.0) for k in range(1, size - 1)]
        return jnp.where(y < size, sum(terms, jnp.zeros(jnp.shape(y), jnp.result_type(dispersion))), jnp.nan)
    k = jnp.arange(size - 1.0)
    each = _rising_term(dispersion, k, order)
    return jnp.take(jnp.concatenate([jnp.zeros(1), jnp.cumsum(each)]), y, mode="fill", fill_value=jnp.nan)


@tabulated_rising.defjvp
def _tabulated_rising_jvp(y: Any, size: int, order: int, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    (a,), (da,) = primals, tangents
    return tabulated_rising(a, y, size, order), tabulated_rising(a, y, size, order + 1) * da


def zero_inflated(eta: Any, y: Any, share: Any) -> Any:
    """P(0) = s + (1 - s) exp(-m), P(y) = (1 - s) Poisson(y; m), m = exp(eta)."""
    some = jnp.log1p(-share) - jnp.exp(eta)
    return jnp.where(y > 0, some + y * eta, jnp.logaddexp(jnp.log(share), some))


def gamma(eta: Any, y: Any, shape: Any) -> Any:
    """Positive y of mean exp(eta) and variance mean^2 / shape; a response of zero stands for one that is not there."""
    log_y = jnp.log(jnp.where(y > 0, y, 1.0))
    return shape * (jnp.log(shape) + log_y - eta - jnp.exp(log_y - eta)) - gammaln(shape) - log_y


def student_t(eta: Any, y: Any, df: Any, sigma: Any) -> Any:
    """(y - eta)/sigma has Student's t law."""
    constant = log_rising(2.0 / df, 0.5) - 0.5 * jnp.log(2.0)  # of Gamma((df + 1)/2) / (Gamma(df/2) sqrt(df)), at any df
    return constant - jnp.log(sigma) - 0.5 * (df + 1.0) * jnp.log1p(((y - eta) / sigma) ** 2 / df)


def log_between(low: Any, high: Any, link: str) -> Any:
    """log(F(high) - F(low)), F logistic or normal, low < high finite."""
    if link == "logit":
        return jax.nn.log_sigmoid(high) + jax.nn.log_sigmoid(-low) + _log1mexp(high - low)
    # The normal's tail is resolved on its left side.
    right = low + high > 0.0
    upper, lower = jnp.where(right, -low, high), jnp.where(right, -high, low)
    top = jax.scipy.special.log_ndtr(upper)
    return top + _log1mexp(top - jax.scipy.special.log_ndtr(lower))


def _log1mexp(x: Any) -> Any:
    """log(1 - exp(-x)) for x > 0."""
    near = x < 0.6931471805599453
    return jnp.where(near, jnp.log(-jnp.expm1(-jnp.where(near, x, 1.0))), jnp.log1p(-jnp.exp(-jnp.where(near, 1.0, x))))


def _ratio_series(terms: int) -> tuple[float, ...]:
    """Taylor coefficients in s of I1(k)/(k I0(k)), s = k^2, from 2 s R' = 1 - 2 R - s R^2."""
    found = [0.5]
    for n in range(1, terms):
        found.append(-sum(found[i] * found[n - 1 - i] for i in range(n)) / (2.0 * (n + 1)))
    return tuple(found)


_RATIO = _ratio_series(14)


@jax.custom_jvp
def bessel_ratio(square: Any) -> Any:
    """I1(k)/(k I0(k)) of s = k^2: one half at zero, about 1/k far out."""
    near = square < _NEAR
    k = jnp.sqrt(jnp.where(near, 1.0, square))
    return jnp.where(near, _horner(_RATIO, jnp.where(near, square, 0.0)), i1e(k) / i0e(k) / k)


@bessel_ratio.defjvp
def _bessel_ratio_jvp(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    (s,), (ds,) = primals, tangents
    near, ratio = s < _NEAR, bessel_ratio(s)
    far = jnp.where(near, 1.0, s)
    slopes = tuple(n * c for n, c in enumerate(_RATIO) if n)
    slope = jnp.where(near, _horner(slopes, jnp.where(near, s, 0.0)), (1.0 - 2.0 * ratio - s * ratio**2) / (2.0 * far))
    return ratio, slope * ds


@jax.custom_jvp
def log_bessel(square: Any) -> Any:
    """log I0(k) of s = k^2, with derivatives of every order at zero too."""
    k = jnp.sqrt(square)
    return jnp.log(i0e(k)) + k


@log_bessel.defjvp
def _log_bessel_jvp(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    (s,), (ds,) = primals, tangents
    return log_bessel(s), 0.5 * bessel_ratio(s) * ds
