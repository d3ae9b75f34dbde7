"""Spike counts."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from bayesglm.family._base import AbstractFamily, Hyper, chosen_link, log_softplus
from bayesglm.family._densities import negative_binomial, quick_negative_binomial, tabulated_rising, zero_inflated
from bayesglm.family._distributions import NegativeBinomialLogMean, PoissonLogRate, ZeroInflatedPoissonLogRate
from bayesglm.family._parameters import own, site, value_of

_TABLE = 4096  # counts beyond which each is evaluated for itself


class Poisson(AbstractFamily):
    """Poisson counts: y ~ Poisson(exp(eta)) or Poisson(log(1 + exp(eta))), a bin.

    log p(y | eta) = y * eta - exp(eta) - log y!, written in eta so that refractory bins keep their gradient.

    Parameters
    ----------
    link : "exp" or "softplus"
        Inverse link. ``exp``: effects multiply the rate. ``softplus``: linear above about one spike a bin, so that
        recurrent simulations do not run away.

    References
    ----------
    Paninski 2004, Maximum likelihood estimation of cascade point-process neural encoding models.

    Examples
    --------
    >>> from bayesglm import family
    >>> float(family.Poisson()(0.0, {}, 0.01).mean)
    1.0
    """

    link: str = eqx.field(default="exp", static=True)
    counts: ClassVar[bool] = True
    discrete: ClassVar[bool] = True

    def __check_init__(self) -> None:
        chosen_link("Poisson", self.link, ("exp", "softplus"))

    def check(self, column: str, response: np.ndarray) -> None:
        check_counts(column, response, "family.Poisson")

    def _log_mean(self, eta: Any) -> Any:
        return jnp.asarray(eta) if self.link == "exp" else log_softplus(eta)

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return PoissonLogRate(self._log_mean(eta))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        if self.link == "exp":
            return y * eta - jnp.exp(eta)
        return y * log_softplus(eta) - jnp.logaddexp(eta, 0.0)

    def remainder(self, eta: Any, change: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        if self.link == "exp":
            return -jnp.exp(eta) * exp_beyond_line(change)
        return super().remainder(eta, change, y, hyper, dt)

    def level(self, mean: np.ndarray) -> np.ndarray:
        mean = np.maximum(mean, 1e-9)
        return np.log(mean) if self.link == "exp" else mean + np.log(-np.expm1(-mean))


class NegativeBinomial(AbstractFamily):
    """Overdispersed counts: mean m = exp(eta), variance m + a m^2, with a dispersion a = 1/phi of each neuron.

    log p(y | eta) = log Gamma(y + 1/a)/Gamma(1/a) + y log(a m) - (y + 1/a) log(1 + a m) - log y!; at a = 0 it is the
    Poisson law, and it is reached smoothly.

    Parameters
    ----------
    dispersion : float, numpyro Distribution or None
        A number (known), a prior on positive numbers, or None for HalfNormal(1). The posterior's name for it is
        ``dispersion``.

    References
    ----------
    Pillow & Scott 2012, Fully Bayesian inference for neural models with negative-binomial spiking.

    Examples
    --------
    >>> from bayesglm import family
    >>> float(family.NegativeBinomial(0.5)(0.0, {}, 0.01).variance)
    1.5
    """

    dispersion: Any = eqx.field(default=None, converter=own("NegativeBinomial", "dispersion"))
    size: int = eqx.field(default=0, static=True, kw_only=True)  # of the table that holds every training count; 0: none
    link: ClassVar[str] = "exp"
    counts: ClassVar[bool] = True
    discrete: ClassVar[bool] = True

    def check(self, column: str, response: np.ndarray) -> None:
        check_counts(column, response, "family.NegativeBinomial")

    def resolve(self, column: str, response: np.ndarray, period: float | None = None, known: Hyper | None = None) -> Self:
        self.check(column, response)
        size = 1 << (int(response.max(initial=0)) + 1).bit_length()  # a power of two, so that like recordings share programs
        return dataclasses.replace(self, size=size if size <= _TABLE else 0)

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        return site("dispersion", self.dispersion, dist.HalfNormal(1.0))

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return NegativeBinomialLogMean(eta, value_of("dispersion", self.dispersion, hyper))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        dispersion = jnp.asarray(value_of("dispersion", self.dispersion, hyper))
        if "dispersion" not in hyper:
            return quick_negative_binomial(eta, y, dispersion)
        if self.size and dispersion.ndim == 0:
            return quick_negative_binomial(eta, y, dispersion) + tabulated_rising(dispersion, jnp.asarray(y).astype(int), self.size)
        return negative_binomial(eta, y, dispersion)

    def level(self, mean: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(mean, 1e-9))


class ZeroInflatedPoisson(AbstractFamily):
    """Counts with more zeros than Poisson's: zero with probability s, else y ~ Poisson(exp(eta)).

    P(0) = s + (1 - s) exp(-exp(eta)); the mean is (1 - s) exp(eta).

    Parameters
    ----------
    zero_share : float, numpyro Distribution or None
        The probability s of an extra zero, of each neuron: a number between 0 and 1 (known), a prior there, or None for
        Beta(1, 9), which has mean 0.1. The posterior's name for it is ``zero_share``.

    Notes
    -----
    Where spikes are rare the zeros say little about s: exp(-m) and s + (1 - s) exp(-m') are close for a small m.

    References
    ----------
    Lambert 1992, Zero-inflated Poisson regression.
    """

    zero_share: Any = eqx.field(default=None, converter=own("ZeroInflatedPoisson", "zero_share", "unit"))
    link: ClassVar[str] = "exp"
    counts: ClassVar[bool] = True
    discrete: ClassVar[bool] = True

    def check(self, column: str, response: np.ndarray) -> None:
        check_counts(column, response, "family.ZeroInflatedPoisson")

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        return site("zero_share", self.zero_share, dist.Beta(1.0, 9.0))

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return ZeroInflatedPoissonLogRate(eta, value_of("zero_share", self.zero_share, hyper))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        return zero_inflated(eta, y, value_of("zero_share", self.zero_share, hyper))

    def level(self, mean: np.ndarray) -> np.ndarray:
        """The eta of this mean at a known share; where the share is learned, at its smallest, zero."""
        share = self.zero_share if isinstance(self.zero_share, float) else 0.0
        return np.log(np.maximum(mean, 1e-9)) - np.log1p(-share)


@jax.custom_jvp
def exp_beyond_line(x: Any) -> Any:
    """exp(x) - 1 - x without cancellation in the derivative, which is exp(x) - 1."""
    return jnp.expm1(x) - x


@exp_beyond_line.defjvp
def _exp_beyond_line_jvp(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    (x,), (dx,) = primals, tangents
    grown = jnp.expm1(x)
    return grown - x, grown * dx


def check_counts(column: str, response: np.ndarray, family: str) -> None:
    """Raise unless ``response`` holds whole numbers from zero up."""
    if response.dtype.kind in "ub":
        return
    finite = response[np.isfinite(response)] if response.dtype.kind == "f" else response
    bad = (finite < 0) | (finite != np.round(finite))
    if bad.any() or (response.dtype.kind == "f" and np.isinf(response).any()):
        example = finite[bad][0] if bad.any() else np.inf
        raise ValueError(
            f"{column!r} holds values that are no counts (such as {example:g}); {family} wants whole numbers from 0 up. "
            f"For a continuous response use family.Gaussian()."
        )
