"""Continuous responses: calcium signals, local field potentials, kinematics."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from bayesglm.family._base import AbstractFamily, Hyper, chosen_link, finite_response
from bayesglm.family._densities import gamma, student_t
from bayesglm.family._distributions import GammaLogMean
from bayesglm.family._parameters import own, site, value_of
from bayesglm.prior._distributions import HalfStudentT


class Gaussian(AbstractFamily):
    """Gaussian response: y ~ Normal(eta, sigma^2), sigma learned a neuron.

    Parameters
    ----------
    scale : float, numpyro Distribution or None
        Standard deviation of the noise: a number (known), a prior on positive numbers such as
        ``prior.HalfCauchy(2.5)``, or None for HalfStudentT(4, sd(y)) with the training sd of each neuron.
        The posterior's name for it is ``sigma``.

    Raises
    ------
    ValueError
        By ``fit`` where the response is an angle.
    """

    scale: Any = eqx.field(default=None, converter=own("Gaussian", "scale"))
    own_unit: ClassVar[bool] = True

    def check(self, column: str, response: np.ndarray) -> None:
        finite_response(column, response, "family.Gaussian")

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        return site("sigma", self.scale, HalfStudentT(4.0, spread))

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return dist.Normal(eta, value_of("sigma", self.scale, hyper))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        sigma = value_of("sigma", self.scale, hyper)
        return -0.5 * ((y - eta) / sigma) ** 2 - jnp.log(sigma)

    def steepness(self, hyper: Hyper) -> Any:
        return jnp.asarray(value_of("sigma", self.scale, hyper)) ** -2

    def gaussian(self, response: Any) -> Any:
        return jnp.asarray(response)[..., None]

    def level(self, mean: np.ndarray) -> np.ndarray:
        return np.asarray(mean, float)


class StudentT(AbstractFamily):
    """Gaussian-like response with heavy tails: (y - eta)/sigma has Student's t law, so that an outlier pulls little.

    Parameters
    ----------
    df : float or numpyro Distribution
        Degrees of freedom: 4 by default; a prior on positive numbers makes them learned, one a neuron, under the name
        ``df`` (``dist.Gamma(2.0, 0.1)`` is a usual one). The variance exists above 2, the mean above 1.
    scale : float, numpyro Distribution or None
        sigma, which is *not* the standard deviation (that is sigma sqrt(df/(df - 2))): a number (known), a prior on
        positive numbers, or None for HalfStudentT(4, sd(y)). The posterior's name for it is ``sigma``.

    References
    ----------
    Lange, Little & Taylor 1989, Robust statistical modeling using the t distribution.
    """

    df: Any = eqx.field(default=4.0, converter=own("StudentT", "df"))
    scale: Any = eqx.field(default=None, converter=own("StudentT", "scale"))
    own_unit: ClassVar[bool] = True

    def check(self, column: str, response: np.ndarray) -> None:
        finite_response(column, response, "family.StudentT")

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        return site("sigma", self.scale, HalfStudentT(4.0, spread)) | site("df", self.df, dist.Gamma(2.0, 0.1))

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return dist.StudentT(value_of("df", self.df, hyper), eta, value_of("sigma", self.scale, hyper))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        return student_t(eta, y, value_of("df", self.df, hyper), value_of("sigma", self.scale, hyper))

    def level(self, mean: np.ndarray) -> np.ndarray:
        return np.asarray(mean, float)


class Gamma(AbstractFamily):
    """Positive response, such as a reaction time or an amplitude: mean exp(eta), variance mean^2 / k, k the shape.

    log p(y | eta) = k (log k + log y - eta - y exp(-eta)) - log Gamma(k) - log y.

    Parameters
    ----------
    link : "log"
        Effects multiply the mean.
    shape : float, numpyro Distribution or None
        1/(coefficient of variation)^2: a number (known; 1 is the exponential law), a prior on positive numbers, or None
        for LogNormal(0, 1.5), one a neuron. The posterior's name for it is ``shape``.

    Raises
    ------
    ValueError
        By ``fit`` where the response holds zeros or negative numbers.
    """

    link: str = eqx.field(default="log", static=True)
    shape: Any = eqx.field(default=None, converter=own("Gamma", "shape"))

    def __check_init__(self) -> None:
        chosen_link("Gamma", self.link, ("log",))

    def check(self, column: str, response: np.ndarray) -> None:
        finite_response(column, response, "family.Gamma")
        low = response[response <= 0]
        if low.size:
            raise ValueError(
                f"{column!r} holds {low.size} values that are not positive (such as {low[0]:g}); family.Gamma wants positive ones: "
                f"mark those rows unobserved (NaN), or use family.Gaussian() or family.StudentT()."
            )

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        return site("shape", self.shape, dist.LogNormal(0.0, 1.5))

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return GammaLogMean(eta, value_of("shape", self.shape, hyper))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        return gamma(eta, y, value_of("shape", self.shape, hyper))

    def level(self, mean: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(mean, 1e-300))
