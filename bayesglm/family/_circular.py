"""Angles as responses."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution
from scipy.optimize import brentq
from scipy.special import i0e, i1e

from bayesglm.family._base import AbstractFamily, Hyper, Predictors, finite_response
from bayesglm.family._densities import log_bessel
from bayesglm.family._distributions import VonMisesNatural

_TURN = 2.0 * np.pi


class VonMises(AbstractFamily):
    """An angle: log p(theta | a, b) = a cos theta + b sin theta - log 2 pi I0(kappa), kappa = sqrt(a^2 + b^2).

    Two predictors, the natural parameters: (a, b) = kappa (cos mu, sin mu). The density is log-concave in them, unlike
    in mean direction mu and concentration kappa. Weights have a last dim ``component``, "cos" and "sin". A covariate
    that is an angle itself enters best by its cosine and sine.

    Parameters
    ----------
    period : float, optional
        Length of the circle; default: that of the response, a column made by ``bg.angle``. The mean direction comes in
        the response's own unit, in [0, period).

    Raises
    ------
    ValueError
        By ``fit`` where the response is not marked as an angle.

    References
    ----------
    Mardia & Jupp 2000, Directional Statistics. Fisher & Lee 1992, Regression models for an angular response.
    """

    period: float | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        if self.period is not None and not (np.isfinite(self.period) and self.period > 0):
            raise ValueError(f"family.VonMises(period={self.period!r}): a positive number, such as 360 for degrees.")

    @property
    def predictors(self) -> Predictors:
        return Predictors("component", np.array(["cos", "sin"]), np.eye(2))

    @property
    def circle(self) -> float:
        """Length of the circle; that of radians before ``fit``."""
        return self.period or _TURN

    def check(self, column: str, response: np.ndarray) -> None:
        finite_response(column, response, "family.VonMises")

    def resolve(self, column: str, response: np.ndarray, period: float | None = None, known: Hyper | None = None) -> Self:
        self.check(column, response)
        found = self.period if period is None else period
        if found is None:
            raise ValueError(f"{column!r} is not marked as an angle; family.VonMises wants one: {column}=bg.angle(values, period=360) in bg.recording.")
        if self.period is not None and not np.isclose(found, self.period):
            raise ValueError(f"family.VonMises(period={self.period:g}): {column!r} has period {found:g}; leave period out.")
        return dataclasses.replace(self, period=float(found))

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return VonMisesNatural(eta[..., 0], eta[..., 1], self.circle)

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        radians = y * (_TURN / self.circle)
        a, b = eta[..., 0], eta[..., 1]
        return a * jnp.cos(radians) + b * jnp.sin(radians) - log_bessel(a**2 + b**2)

    def levels(self, response: np.ndarray) -> np.ndarray:
        """(a, b) of maximum likelihood; a concentration beyond 1000 is taken for 1000."""
        known = np.asarray(response, float)
        mean = np.exp(1j * known[np.isfinite(known)] * (_TURN / self.circle)).mean()
        kappa = 1000.0 if abs(mean) > 0.9995 else brentq(lambda k: i1e(k) / i0e(k) - abs(mean), 0.0, 1001.0) if abs(mean) > 1e-12 else 0.0
        return kappa * np.array([np.cos(np.angle(mean)), np.sin(np.angle(mean))])
