"""Spike counts."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from bayesglm.family._base import AbstractFamily, Hyper, chosen_link, log_softplus
from bayesglm.family._distributions import PoissonLogRate


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
