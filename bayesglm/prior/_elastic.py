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
        ratio = self.a / jnp.sqrt(self.b)
        size = _beyond(ratio, jnp.log(jax.random.uniform(one, shape, self.a.dtype, minval=jnp.finfo(self.a.dtype).tiny)))
        return jax.random.rademacher(two, shape) * size / jnp.sqrt(self.b)

    @property
    def variance(self) -> jax.Array:
        return _second_moment(self.a / jnp.sqrt(self.b)) / self.b


def _beyond(ratio: Any, log_tail: Any) -> Any:
    """How far beyond ``ratio`` a standard normal lies when log P(X > x | X > ratio) is ``log_tail``; by Newton."""
    # the exponential law is exact far out and too far near zero, from where Newton on a concave log tail never overshoots
    size = -2.0 * log_tail / (ratio + jnp.sqrt(ratio**2 - 2.0 * log_tail))
    for _ in range(8):
        x = ratio + size
        missing = norm.logcdf(-x) - norm.logcdf(-ratio) - log_tail
        size = jnp.maximum(size + missing * jnp.exp(norm.logcdf(-x) - norm.logpdf(x)), 0.0)
    return size


def _second_moment(ratio: Any) -> Any:
    """E[u^2] under exp(-ratio u - u^2/2), u > 0; beyond 4 by Laplace's continued fraction, where the closed form cancels."""
    near = jnp.minimum(ratio, 4.0)
    closed = 1.0 + near**2 - near * jnp.exp(norm.logpdf(near) - norm.logcdf(-near))
    far = jnp.maximum(ratio, 4.0)
    rest = jnp.zeros_like(far)
    for k in range(40, 1, -1):
        rest = k / (far + rest)
    return jnp.where(ratio < 4.0, closed, rest / (far + rest))


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
