"""Every family, entered once: its law in SciPy, its inverse link, learned values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist
from scipy import special, stats

from bayesglm import family, prior


class FamilyCase(NamedTuple):
    """A family, its law in SciPy given the mean, its inverse link, learned values, and a column that it may explain.

    ``responses`` are values in its support, ``tail`` its log density where SciPy's loses the tails. A case that is not
    ``plain`` has several predictors or no mean: its laws are in the tests of its kind.
    """

    make: Callable[[], family.AbstractFamily]
    law: Callable[[np.ndarray], Any] | None
    mean: Callable[[np.ndarray], np.ndarray] | None
    hyper: dict[str, Any]
    column: str
    responses: tuple[float, ...] = (0.0, 1.0, 2.0, 40.0)
    tail: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    plain: bool = True


def _poisson(mean: np.ndarray) -> Any:
    return stats.poisson(mean)


def _bernoulli(mean: np.ndarray) -> Any:
    return stats.bernoulli(mean)


def _normal(sigma: float) -> Callable[[np.ndarray], Any]:
    return lambda mean: stats.norm(mean, sigma)


def _negative_binomial(a: float) -> Callable[[np.ndarray], Any]:
    return lambda mean: stats.nbinom(1 / a, 1 / (1 + a * mean))


def _negative_binomial_tail(a: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """By the product form of Gamma's ratio: no lgamma."""

    def log_pmf(eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        rising = np.array([np.log1p(a * np.arange(int(k))).sum() for k in np.ravel(y)]).reshape(np.shape(y))
        return rising + y * eta - (y + 1 / a) * np.logaddexp(0, eta + np.log(a)) - special.gammaln(y + 1)

    return log_pmf


class ZeroInflated:
    """Zero with probability ``share``, else Poisson: so that its mean is as given."""

    def __init__(self, mean: np.ndarray, share: float) -> None:
        self.inner, self.share = stats.poisson(mean / (1 - share)), share

    def logpmf(self, y: np.ndarray) -> np.ndarray:
        return np.log(self.share * (y == 0) + (1 - self.share) * self.inner.pmf(y))

    def mean(self) -> np.ndarray:
        return (1 - self.share) * self.inner.mean()

    def var(self) -> np.ndarray:
        second = (1 - self.share) * (self.inner.var() + self.inner.mean() ** 2)
        return second - self.mean() ** 2

    def std(self) -> np.ndarray:
        return np.sqrt(self.var())


def _zero_inflated_tail(share: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def log_pmf(eta: np.ndarray, y: np.ndarray) -> np.ndarray:
        some = np.log1p(-share) + y * eta - np.exp(eta) - special.gammaln(y + 1)
        return np.where(y == 0, np.logaddexp(np.log(share), some), some)

    return log_pmf


def _gamma(shape: float) -> Callable[[np.ndarray], Any]:
    return lambda mean: stats.gamma(shape, scale=mean / shape)


def _gamma_tail(k: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda eta, y: (k - 1) * np.log(y) - k * (eta - np.log(k)) - k * y * np.exp(-eta) - special.gammaln(k)


def _student(df: float, sigma: float) -> Callable[[np.ndarray], Any]:
    return lambda mean: stats.t(df, mean, sigma)


def _binomial_tail(ones: Callable, zeros: Callable, n: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda eta, y: np.log(special.comb(n, y)) + y * ones(eta) + (n - y) * zeros(eta)


def _binomial(link: str, mean: Callable, ones: Callable, zeros: Callable) -> FamilyCase:
    law, tail = (lambda m: stats.binom(7, m / 7)), _binomial_tail(ones, zeros, 7)
    return FamilyCase(lambda: family.Binomial(7, link), law, lambda eta: 7 * mean(eta), {}, "any_spike", (0.0, 1.0, 6.0, 7.0), tail)


_BOTH, _REAL, _POSITIVE = (0.0, 1.0), (-3.0, 0.0, 2.5), (1e-3, 0.7, 40.0)
_CUTS = {"cutpoints": np.array([-0.8, 0.6])}

FAMILIES: dict[str, list[FamilyCase]] = {
    "Poisson": [
        FamilyCase(lambda: family.Poisson(), _poisson, np.exp, {}, "spikes", tail=lambda eta, y: y * eta - np.exp(eta) - special.gammaln(y + 1)),
        FamilyCase(lambda: family.Poisson("softplus"), _poisson, lambda eta: np.logaddexp(eta, 0), {}, "spikes"),
    ],
    "NegativeBinomial": [
        FamilyCase(lambda: family.NegativeBinomial(), _negative_binomial(0.4), np.exp, {"dispersion": 0.4}, "spikes", tail=_negative_binomial_tail(0.4)),
        FamilyCase(lambda: family.NegativeBinomial(3.0), _negative_binomial(3.0), np.exp, {}, "spikes", tail=_negative_binomial_tail(3.0)),
        FamilyCase(
            lambda: family.NegativeBinomial(prior.HalfNormal(0.5)),
            _negative_binomial(0.02),
            np.exp,
            {"dispersion": 0.02},
            "spikes",
            tail=_negative_binomial_tail(0.02),
        ),
    ],
    "ZeroInflatedPoisson": [
        FamilyCase(
            lambda: family.ZeroInflatedPoisson(0.3), lambda m: ZeroInflated(m, 0.3), lambda eta: 0.7 * np.exp(eta), {}, "spikes", tail=_zero_inflated_tail(0.3)
        ),
        FamilyCase(
            lambda: family.ZeroInflatedPoisson(),
            lambda m: ZeroInflated(m, 0.1),
            lambda eta: 0.9 * np.exp(eta),
            {"zero_share": 0.1},
            "spikes",
            tail=_zero_inflated_tail(0.1),
        ),
    ],
    "Bernoulli": [
        FamilyCase(
            lambda: family.Bernoulli(), _bernoulli, special.expit, {}, "any_spike", _BOTH, _binomial_tail(special.log_expit, lambda e: special.log_expit(-e), 1)
        ),
        FamilyCase(
            lambda: family.Bernoulli("probit"),
            _bernoulli,
            special.ndtr,
            {},
            "any_spike",
            _BOTH,
            _binomial_tail(special.log_ndtr, lambda e: special.log_ndtr(-e), 1),
        ),
        FamilyCase(
            lambda: family.Bernoulli("cloglog"),
            _bernoulli,
            lambda eta: -np.expm1(-np.exp(eta)),
            {},
            "any_spike",
            _BOTH,
            _binomial_tail(lambda e: np.log(-np.expm1(-np.exp(e))), lambda e: -np.exp(e), 1),
        ),
    ],
    "Binomial": [
        _binomial("logit", special.expit, special.log_expit, lambda e: special.log_expit(-e)),
        _binomial("probit", special.ndtr, special.log_ndtr, lambda e: special.log_ndtr(-e)),
    ],
    "Gaussian": [
        FamilyCase(lambda: family.Gaussian(), _normal(0.8), lambda eta: eta, {"sigma": 0.8}, "trace", _REAL),
        FamilyCase(lambda: family.Gaussian(2.0), _normal(2.0), lambda eta: eta, {}, "trace", _REAL),
        FamilyCase(lambda: family.Gaussian(prior.HalfCauchy(2.5)), _normal(1.5), lambda eta: eta, {"sigma": 1.5}, "trace", _REAL),
    ],
    "StudentT": [
        FamilyCase(lambda: family.StudentT(), _student(4.0, 0.8), lambda eta: eta, {"sigma": 0.8}, "trace", _REAL),
        FamilyCase(lambda: family.StudentT(dist.Gamma(2.0, 0.1), 1.5), _student(7.0, 1.5), lambda eta: eta, {"df": 7.0}, "trace", _REAL),
    ],
    "Gamma": [
        FamilyCase(lambda: family.Gamma(), _gamma(2.5), np.exp, {"shape": 2.5}, "power", _POSITIVE, _gamma_tail(2.5)),
        FamilyCase(lambda: family.Gamma(shape=0.7), _gamma(0.7), np.exp, {}, "power", _POSITIVE, _gamma_tail(0.7)),
    ],
    "Categorical": [FamilyCase(lambda: family.Categorical(3), None, None, {}, "code", (0.0, 1.0, 2.0), plain=False)],
    "Ordinal": [
        FamilyCase(lambda: family.Ordinal(3), None, None, _CUTS, "code", (0.0, 1.0, 2.0), plain=False),
        FamilyCase(lambda: family.Ordinal(3, link="probit", cutpoints=dist.Normal(0.0, 2.0)), None, None, _CUTS, "code", (0.0, 1.0, 2.0), plain=False),
    ],
    "LinearCircular": [
        FamilyCase(lambda: family.LinearCircular(), None, None, {"sigma": 0.5}, "direction", (0.0, 1.5, 4.0), plain=False),
        FamilyCase(lambda: family.LinearCircular(scale=0.3), None, None, {}, "direction", (0.0, 1.5, 4.0), plain=False),
    ],
    "VonMises": [FamilyCase(lambda: family.VonMises(), None, None, {}, "direction", (0.0, 1.5, 4.0), plain=False)],
}
