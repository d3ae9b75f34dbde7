"""NumPyro distributions that the priors need and NumPyro lacks."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints


class Within(dist.Distribution):
    """``inside`` where ``mask``, standard normal elsewhere, element by element."""

    support = constraints.real
    pytree_data_fields = ("inside", "mask")
    arg_constraints: ClassVar[dict] = {}
    has_rsample = False

    def __init__(self, inside: dist.Distribution, mask: Any, *, validate_args: bool | None = None) -> None:
        self.inside, self.mask = inside, mask
        shape = jnp.broadcast_shapes(inside.batch_shape, jnp.shape(mask))
        super().__init__(batch_shape=shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        one, two = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        return jnp.where(self.mask, self.inside.expand(self.batch_shape).sample(one, sample_shape), jax.random.normal(two, shape))

    def log_prob(self, value: Any) -> jax.Array:
        return jnp.where(self.mask, self.inside.log_prob(value), dist.Normal(0.0, 1.0).log_prob(value))


class Improper(dist.Distribution):
    """A flat density on the real line: log p = 0. It cannot be sampled, and says so."""

    support = constraints.real
    arg_constraints: ClassVar[dict] = {}

    def __init__(self, batch_shape: tuple[int, ...] = (), *, validate_args: bool | None = None) -> None:
        super().__init__(batch_shape=batch_shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        raise ValueError("prior.Flat() has no draws: it is improper. Give a proper prior (prior.Gaussian(scale)) to simulate from the prior.")

    def log_prob(self, value: Any) -> jax.Array:
        return jnp.zeros(jnp.shape(value))


class HalfStudentT(dist.Distribution):
    """Student-t folded at zero: p(x) = 2 StudentT(x; df, 0, scale) for x > 0."""

    support = constraints.positive
    arg_constraints: ClassVar[dict] = {"df": constraints.positive, "scale": constraints.positive}

    def __init__(self, df: Any, scale: Any = 1.0, *, validate_args: bool | None = None) -> None:
        self.df, self.scale = jnp.broadcast_arrays(jnp.asarray(df, float), jnp.asarray(scale, float))
        super().__init__(batch_shape=self.df.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.abs(dist.StudentT(self.df, 0.0, self.scale).sample(key, sample_shape))

    def log_prob(self, value: Any) -> jax.Array:
        return jnp.log(2.0) + dist.StudentT(self.df, 0.0, self.scale).log_prob(value)


class EvidenceScale(dist.Distribution):
    """p(x) proportional to x on [low, high]: it avoids zero and says little else about a scale that the evidence chooses.

    Near zero it is the Gamma(2, rate -> 0) of Chung et al. 2013, with which no mode lies at zero; the range is bounded,
    so that a runaway scale is seen for what it is.
    """

    arg_constraints: ClassVar[dict] = {"low": constraints.positive, "high": constraints.positive}

    def __init__(self, low: float = 1e-3, high: float = 10.0, *, validate_args: bool | None = None) -> None:
        self.low, self.high = low, high
        super().__init__(batch_shape=(), event_shape=(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.interval(self.low, self.high)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        return self.icdf(jax.random.uniform(key, sample_shape))

    def icdf(self, q: Any) -> jax.Array:
        return jnp.sqrt(self.low**2 + jnp.asarray(q) * (self.high**2 - self.low**2))

    def log_prob(self, value: Any) -> jax.Array:
        inside = (value >= self.low) & (value <= self.high)
        return jnp.where(inside, jnp.log(2.0 * jnp.where(inside, value, 1.0)) - jnp.log(self.high**2 - self.low**2), -jnp.inf)
