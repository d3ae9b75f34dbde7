"""Response distributions written in eta, so that neither tail gives -inf or NaN gradients."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from numpyro.distributions import constraints

_LARGEST_MEAN = 1e9  # jax.random.poisson saturates in silence at 2**31 - 1; NaN says so instead


class PoissonLogRate(dist.Distribution):
    """Poisson counts given the logarithm of their mean: log p = y log(mean) - mean - log y!."""

    support = constraints.nonnegative_integer
    arg_constraints: ClassVar[dict] = {"log_mean": constraints.real}

    def __init__(self, log_mean: Any, *, validate_args: bool | None = None) -> None:
        self.log_mean = jnp.asarray(log_mean)
        super().__init__(batch_shape=self.log_mean.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        mean = self.mean
        draw = jax.random.poisson(key, jnp.minimum(jnp.nan_to_num(mean), _LARGEST_MEAN), (*sample_shape, *self.batch_shape))
        return jnp.where(mean <= _LARGEST_MEAN, draw.astype(self.log_mean.dtype), jnp.nan)

    def log_prob(self, value: Any) -> jax.Array:
        value = jnp.asarray(value, self.log_mean.dtype)
        return value * self.log_mean - jnp.exp(self.log_mean) - gammaln(value + 1.0)

    @property
    def mean(self) -> jax.Array:
        return jnp.exp(self.log_mean)

    @property
    def variance(self) -> jax.Array:
        return self.mean


class BernoulliLog(dist.Distribution):
    """A binary response given log p(1) and log p(0)."""

    support = constraints.boolean
    arg_constraints: ClassVar[dict] = {"log_one": constraints.real, "log_zero": constraints.real}
    has_enumerate_support = False

    def __init__(self, log_one: Any, log_zero: Any, *, validate_args: bool | None = None) -> None:
        self.log_one, self.log_zero = jnp.broadcast_arrays(jnp.asarray(log_one), jnp.asarray(log_zero))
        super().__init__(batch_shape=self.log_one.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        uniform = jax.random.uniform(key, (*sample_shape, *self.batch_shape), self.log_one.dtype)
        return (uniform < self.mean).astype(self.log_one.dtype)

    def log_prob(self, value: Any) -> jax.Array:
        return jnp.where(jnp.asarray(value) > 0.5, self.log_one, self.log_zero)

    @property
    def mean(self) -> jax.Array:
        return jnp.exp(self.log_one)

    @property
    def variance(self) -> jax.Array:
        return jnp.exp(self.log_one + self.log_zero)
