"""Elastic net: L1 and L2 together."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.stats import norm
from numpyro.distributions import Distribution, constraints

from bayesglm.prior._base import AbstractPrior, Hyper
from bayesglm.prior._distributions import Within


class ElasticNetDensity(dist.Distribution):
    """log p = -a |w| - b w^2 / 2 - log Z, with Z = 2 sqrt(2 pi / b) exp(a^2 / 2b) Phi(-a / sqrt(b))."""

    support = constraints.real
    arg_constraints: ClassVar[dict] = {"a": constraints.positive, "b": constraints.positive}

    def __init__(self, a: Any, b: Any, *, validate_args: bool | None = None) -> None:
        self.a, self.b = jnp.broadcast_arrays(jnp.asarray(a), jnp.asarray(b))
        super().__init__(batch_shape=self.a.shape, event_shape=(), validate_args=validate_args)

    def log_prob(self, value: Any) -> jax.Array:
        log_z = jnp.log(2.0) + 0.5 * jnp.log(2 * jnp.pi / self.b) + self.a**2 / (2 * self.b) + norm.logcdf(-self.a / jnp.sqrt(self.b))
        return -self.a * jnp.abs(value) - 0.5 * self.b * value**2 - log_z

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        one, two = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        size = jax.random.truncated_normal(one, self.a / jnp.sqrt(self.b), jnp.inf, shape)
        return jax.random.rademacher(two, shape) * (size - self.a / jnp.sqrt(self.b)) / jnp.sqrt(self.b)

    @property
    def variance(self) -> jax.Array:
        ratio = self.a / jnp.sqrt(self.b)  # of a normal around -ratio, truncated to positive values, scaled back
        mills = jnp.exp(norm.logpdf(ratio) - norm.logcdf(-ratio))
        return (1.0 + ratio**2 - ratio * mills) / self.b


class ElasticNet(AbstractPrior):
    """Elastic net: -log p = l1 * |w| + l2/2 * w^2 + const (Zou & Hastie 2005), on the summed negative log likelihood.

    Parameters
    ----------
    l1, l2 : float
        Strengths of the two parts, both positive.
    """

    l1: float = eqx.field(default=1.0)
    l2: float = eqx.field(default=1.0)

    def __check_init__(self) -> None:
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            if isinstance(value, (int, float)) and not value > 0:
                raise ValueError(f"prior.ElasticNet({name}={value}): must be positive; for one part alone use ridge or lasso.")

    def _inside(self, mask: Any) -> ElasticNetDensity:
        return ElasticNetDensity(jnp.full(jnp.shape(mask), self.l1), jnp.full(jnp.shape(mask), self.l2))

    def weights(self, hyper: Hyper, mask: Any) -> Distribution:
        return Within(self._inside(mask), mask)

    def whitening(self, hyper: Hyper, mask: Any) -> Any:
        return jnp.where(mask, 1.0 / self._inside(mask).variance, 1.0)

    def absolute(self, hyper: Hyper, mask: Any) -> Any:
        return jnp.where(mask, self.l1, 0.0)

    def prox(self, w: Any, hyper: Hyper, mask: Any, step: Any) -> Any:
        shrunk = jnp.sign(w) * jnp.maximum(jnp.abs(w) - step * self.l1, 0.0) / (1.0 + step * self.l2)
        return jnp.where(mask, shrunk, w / (1.0 + step))

    def describe(self) -> str:
        return f"ElasticNet({self.l1:.3g}, {self.l2:.3g})"
