"""Continuous responses: calcium signals, local field potentials, kinematics."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from bayesglm.family._base import AbstractFamily, Hyper, finite_response
from bayesglm.prior._distributions import HalfStudentT
from bayesglm.prior._scale import checked_scale


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

    scale: Any = eqx.field(default=None, converter=lambda s: s if s is None else checked_scale(s))

    def check(self, column: str, response: np.ndarray) -> None:
        finite_response(column, response, "family.Gaussian")

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        if isinstance(self.scale, Distribution):
            return {"sigma": (self.scale, True)}
        return {"sigma": (HalfStudentT(4.0, spread), True)} if self.scale is None else {}

    def _sigma(self, hyper: Hyper) -> Any:
        return hyper.get("sigma", self.scale)

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return dist.Normal(eta, self._sigma(hyper))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        sigma = self._sigma(hyper)
        return -0.5 * ((y - eta) / sigma) ** 2 - jnp.log(sigma)

    def level(self, mean: np.ndarray) -> np.ndarray:
        return np.asarray(mean, float)
