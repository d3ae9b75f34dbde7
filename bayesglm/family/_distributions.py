"""Response distributions written in eta, so that neither tail gives -inf or NaN gradients."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln, i0e, i1e
from numpyro.distributions import constraints
from numpyro.distributions.util import von_mises_centered

from bayesglm.family._densities import gamma, log_bessel, negative_binomial, zero_inflated
from bayesglm.family._sampling import poisson

_LARGEST_MEAN = 1e9  # beyond it NaN, so that no integer overflows in silence
_TURN = 6.283185307179586


def drawn_counts(key: jax.Array, mean: Any) -> jax.Array:
    """Poisson counts of these means, in their precision; NaN where the mean is too large to draw from."""
    counts = poisson(key, jnp.minimum(jnp.nan_to_num(mean), _LARGEST_MEAN))
    return jnp.where(mean <= _LARGEST_MEAN, counts, jnp.nan)


class PoissonLogRate(dist.Distribution):
    """Poisson counts given the logarithm of their mean: log p = y log(mean) - mean - log y!."""

    support = constraints.nonnegative_integer
    arg_constraints: ClassVar[dict] = {"log_mean": constraints.real}

    def __init__(self, log_mean: Any, *, validate_args: bool | None = None) -> None:
        self.log_mean = jnp.asarray(log_mean)
        super().__init__(batch_shape=self.log_mean.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        return drawn_counts(key, jnp.broadcast_to(self.mean, (*sample_shape, *self.batch_shape)))

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


class NegativeBinomialLogMean(dist.Distribution):
    """Counts of mean m = exp(log_mean) and variance m + dispersion m^2: Poisson counts of a gamma rate."""

    support = constraints.nonnegative_integer
    arg_constraints: ClassVar[dict] = {"log_mean": constraints.real, "dispersion": constraints.nonnegative}

    def __init__(self, log_mean: Any, dispersion: Any, *, validate_args: bool | None = None) -> None:
        self.log_mean, self.dispersion = jnp.broadcast_arrays(jnp.asarray(log_mean), jnp.asarray(dispersion))
        super().__init__(batch_shape=self.log_mean.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        one, two = jax.random.split(key)
        size = 1.0 / jnp.maximum(self.dispersion, 1e-12)
        rate = self.mean * jax.random.gamma(one, size, (*sample_shape, *self.batch_shape)) / size
        return drawn_counts(two, rate)

    def log_prob(self, value: Any) -> jax.Array:
        value = jnp.asarray(value, self.log_mean.dtype)
        return negative_binomial(self.log_mean, value, self.dispersion) - gammaln(value + 1.0)

    @property
    def mean(self) -> jax.Array:
        return jnp.exp(self.log_mean)

    @property
    def variance(self) -> jax.Array:
        return self.mean * (1.0 + self.dispersion * self.mean)


class ZeroInflatedPoissonLogRate(dist.Distribution):
    """Zero with probability ``share``, else a Poisson count of mean exp(log_rate)."""

    support = constraints.nonnegative_integer
    arg_constraints: ClassVar[dict] = {"log_rate": constraints.real, "share": constraints.unit_interval}

    def __init__(self, log_rate: Any, share: Any, *, validate_args: bool | None = None) -> None:
        self.log_rate, self.share = jnp.broadcast_arrays(jnp.asarray(log_rate), jnp.asarray(share))
        super().__init__(batch_shape=self.log_rate.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        one, two = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        silent = jax.random.uniform(one, shape, self.share.dtype) < self.share
        return jnp.where(silent, 0.0, drawn_counts(two, jnp.broadcast_to(jnp.exp(self.log_rate), shape)))

    def log_prob(self, value: Any) -> jax.Array:
        value = jnp.asarray(value, self.log_rate.dtype)
        return zero_inflated(self.log_rate, value, self.share) - gammaln(value + 1.0)

    @property
    def mean(self) -> jax.Array:
        return (1.0 - self.share) * jnp.exp(self.log_rate)

    @property
    def variance(self) -> jax.Array:
        return self.mean * (1.0 + self.share * jnp.exp(self.log_rate))


class GammaLogMean(dist.Distribution):
    """A positive number of mean exp(log_mean) and variance mean^2 / shape."""

    support = constraints.positive
    arg_constraints: ClassVar[dict] = {"log_mean": constraints.real, "concentration": constraints.positive}

    def __init__(self, log_mean: Any, concentration: Any, *, validate_args: bool | None = None) -> None:
        self.log_mean, self.concentration = jnp.broadcast_arrays(jnp.asarray(log_mean), jnp.asarray(concentration))
        super().__init__(batch_shape=self.log_mean.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        unit = jax.random.gamma(key, self.concentration, (*sample_shape, *self.batch_shape)) / self.concentration
        return jnp.maximum(self.mean * unit, jnp.finfo(unit.dtype).tiny)

    def log_prob(self, value: Any) -> jax.Array:
        return gamma(self.log_mean, jnp.asarray(value, self.log_mean.dtype), self.concentration)

    @property
    def mean(self) -> jax.Array:
        return jnp.exp(self.log_mean)

    @property
    def variance(self) -> jax.Array:
        return self.mean**2 / self.concentration


class BinomialLog(dist.Distribution):
    """Successes among ``trials``, given the logarithms of the chances of one and of none."""

    support = constraints.nonnegative_integer
    arg_constraints: ClassVar[dict] = {"log_one": constraints.real, "log_zero": constraints.real, "trials": constraints.nonnegative}

    def __init__(self, log_one: Any, log_zero: Any, trials: Any, *, validate_args: bool | None = None) -> None:
        self.log_one, self.log_zero, self.trials = jnp.broadcast_arrays(jnp.asarray(log_one), jnp.asarray(log_zero), jnp.asarray(trials, float))
        super().__init__(batch_shape=self.log_one.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        return jax.random.binomial(key, self.trials, jnp.exp(self.log_one), (*sample_shape, *self.batch_shape))

    def log_prob(self, value: Any) -> jax.Array:
        value = jnp.asarray(value, self.log_one.dtype)
        ways = gammaln(self.trials + 1.0) - gammaln(value + 1.0) - gammaln(self.trials - value + 1.0)
        return ways + value * self.log_one + (self.trials - value) * self.log_zero

    @property
    def mean(self) -> jax.Array:
        return self.trials * jnp.exp(self.log_one)

    @property
    def variance(self) -> jax.Array:
        return self.trials * jnp.exp(self.log_one + self.log_zero)


class ClassesLog(dist.Distribution):
    """One of K classes, coded 0 to K - 1, given the logarithms of their probabilities (last axis). Codes have no mean."""

    support = constraints.nonnegative_integer
    arg_constraints: ClassVar[dict] = {"log_probs": constraints.real_vector}

    def __init__(self, log_probs: Any, *, validate_args: bool | None = None) -> None:
        self.log_probs = jnp.asarray(log_probs)
        super().__init__(batch_shape=self.log_probs.shape[:-1], event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        return jax.random.categorical(key, self.log_probs, shape=(*sample_shape, *self.batch_shape)).astype(self.log_probs.dtype)

    def log_prob(self, value: Any) -> jax.Array:
        chosen = jnp.asarray(value)[..., None] == self._codes()
        found = jnp.sum(jnp.where(chosen, self.log_probs, 0.0), -1)
        return jnp.where(chosen.any(-1), found, -jnp.inf)

    def _codes(self) -> jax.Array:
        return jnp.arange(self.log_probs.shape[-1], dtype=self.log_probs.dtype)

    @property
    def probs(self) -> jax.Array:
        """Probabilities of the classes, batch shape and K."""
        return jnp.exp(self.log_probs)

    @property
    def mean(self) -> jax.Array:
        return jnp.full(self.batch_shape, jnp.nan)

    @property
    def variance(self) -> jax.Array:
        return jnp.full(self.batch_shape, jnp.nan)


class LevelsLog(ClassesLog):
    """Ordered classes: the mean is that of the codes."""

    @property
    def mean(self) -> jax.Array:
        return jnp.sum(self.probs * self._codes(), -1)

    @property
    def variance(self) -> jax.Array:
        return jnp.sum(self.probs * (self._codes() - self.mean[..., None]) ** 2, -1)


class VonMisesNatural(dist.Distribution):
    """An angle theta in [0, period): log p = a cos + b sin - log I0(sqrt(a^2 + b^2)) - log(period), of theta 2 pi / period."""

    support = constraints.real
    arg_constraints: ClassVar[dict] = {"a": constraints.real, "b": constraints.real, "period": constraints.positive}

    def __init__(self, a: Any, b: Any, period: Any = _TURN, *, validate_args: bool | None = None) -> None:
        self.a, self.b, self.period = jnp.broadcast_arrays(jnp.asarray(a), jnp.asarray(b), jnp.asarray(period, float))
        super().__init__(batch_shape=self.a.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        concentration = jnp.maximum(self.concentration, 1e-12)
        turned = von_mises_centered(key, concentration, (*sample_shape, *self.batch_shape), concentration.dtype)
        return self._inside(turned + jnp.arctan2(self.b, self.a))

    def log_prob(self, value: Any) -> jax.Array:
        angle = jnp.asarray(value, self.a.dtype) * (_TURN / self.period)
        return self.a * jnp.cos(angle) + self.b * jnp.sin(angle) - log_bessel(self.a**2 + self.b**2) - jnp.log(self.period)

    def _inside(self, radians: Any) -> jax.Array:
        return jnp.mod(radians / _TURN, 1.0) * self.period

    @property
    def concentration(self) -> jax.Array:
        """kappa = sqrt(a^2 + b^2)."""
        return jnp.hypot(self.a, self.b)

    @property
    def mean(self) -> jax.Array:
        """Mean direction, in [0, period)."""
        return self._inside(jnp.arctan2(self.b, self.a))

    @property
    def variance(self) -> jax.Array:
        """Circular variance, 1 - I1(kappa)/I0(kappa)."""
        return 1.0 - i1e(self.concentration) / i0e(self.concentration)


class PlanarNormal(dist.Distribution):
    """An angle theta seen as a Gaussian point of the plane: log p = -|(cos, sin) - (a, b)|^2 / (2 sigma^2) - 2 log sigma - log 2 pi.

    The density is one over the plane. Angles are drawn given that the point lies on the circle: von Mises.
    """

    support = constraints.real
    arg_constraints: ClassVar[dict] = {"a": constraints.real, "b": constraints.real, "sigma": constraints.positive, "period": constraints.positive}

    def __init__(self, a: Any, b: Any, sigma: Any, period: Any = _TURN, *, validate_args: bool | None = None) -> None:
        self.a, self.b, self.sigma, self.period = jnp.broadcast_arrays(*(jnp.asarray(one) for one in (a, b, sigma)), jnp.asarray(period, float))
        super().__init__(batch_shape=self.a.shape, event_shape=(), validate_args=validate_args)

    def on_the_circle(self) -> VonMisesNatural:
        """The law of the angle given that the point lies on the circle: concentration |(a, b)| / sigma^2."""
        return VonMisesNatural(self.a / self.sigma**2, self.b / self.sigma**2, self.period)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        return self.on_the_circle().sample(key, sample_shape)

    def log_prob(self, value: Any) -> jax.Array:
        angle = jnp.asarray(value, self.a.dtype) * (_TURN / self.period)
        square = (jnp.cos(angle) - self.a) ** 2 + (jnp.sin(angle) - self.b) ** 2
        return -0.5 * square / self.sigma**2 - 2.0 * jnp.log(self.sigma) - jnp.log(_TURN)

    @property
    def mean(self) -> jax.Array:
        """Direction of (a, b), in [0, period)."""
        return self.on_the_circle().mean

    @property
    def variance(self) -> jax.Array:
        """Circular variance of the angle."""
        return self.on_the_circle().variance
