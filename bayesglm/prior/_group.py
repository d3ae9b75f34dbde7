"""Group lasso: a source's whole filter is in or out of the mode."""

import dataclasses
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from numpyro.distributions import Distribution, constraints

from bayesglm.prior._base import Hyper, Place
from bayesglm.prior._scale import Scale, checked_scale
from bayesglm.prior._simple import AbstractScaled


class GroupNorm(dist.Distribution):
    """log p(w_g) = -|w_g| / scale + log c_d - d log(scale) of groups (the last ``axes`` axes), c_d = Gamma(d/2) / (2 pi^(d/2) Gamma(d)).

    Batch shape is that of the weights: ``log_prob`` gives each weight of a group an equal share of the group's log
    density, so that the sum is the group's. Weights outside the mask are standard normal and count to no group.
    """

    support = constraints.real
    pytree_data_fields = ("scale", "mask")
    pytree_aux_fields = ("axes",)
    arg_constraints: ClassVar[dict] = {}

    def __init__(self, scale: Any, mask: Any, axes: int = 1, *, validate_args: bool | None = None) -> None:
        self.axes = axes
        self.scale, self.mask = jnp.broadcast_arrays(jnp.asarray(scale), jnp.asarray(mask) > 0)
        super().__init__(batch_shape=self.mask.shape, event_shape=(), validate_args=validate_args)

    def log_prob(self, value: Any) -> jax.Array:
        d = jnp.maximum(within(self.mask, self.axes), 1)
        log_c = gammaln(0.5 * d) - jnp.log(2.0) - 0.5 * d * jnp.log(jnp.pi) - gammaln(1.0 * d)
        whole = log_c - group_norm(value, self.mask, self.axes) / self.scale - d * jnp.log(self.scale)
        return jnp.where(self.mask, whole / d, dist.Normal(0.0, 1.0).log_prob(value))

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        one, two = jax.random.split(key)
        normal = jax.random.normal(one, (*sample_shape, *self.batch_shape))
        d = jnp.maximum(within(self.mask, self.axes), 1)
        radius = jax.random.gamma(two, 1.0 * d, (*sample_shape, *d.shape))
        inside = self.scale * radius * normal / jnp.maximum(group_norm(normal, self.mask, self.axes), jnp.finfo(normal.dtype).tiny)
        return jnp.where(self.mask, inside, normal)


def within(values: Any, axes: int) -> Any:
    """Sum over the last axes, which are kept with size one."""
    return jnp.sum(values, axis=tuple(range(-axes, 0)), keepdims=True)


def group_norm(w: Any, mask: Any, axes: int) -> Any:
    """|w_g| over the last axes, kept; with the gradient zero (not NaN) at zero."""
    square = within(jnp.where(mask, w, 0.0) ** 2, axes)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


class GroupLasso(AbstractScaled):
    """Group lasso: -log p = sum_g |w_g| / scale + const, |.| the Euclidean norm, a group g all weights of one filter.

    A group is the last axis of a term's weights: a source's whole filter in ``Coupling``, a feature's in ``Stimulus``, the
    whole term in ``History`` and ``Tuning``; with a family of several classes the filters of all of them. Under
    ``method.MAP`` whole filters are exactly zero; as with ``prior.Laplace`` no draw of the posterior is, and a zero of the
    mode must not be read as "not coupled": ``prior.Horseshoe`` shrinks in the posterior.

    Parameters
    ----------
    scale : float, numpyro Distribution, "evidence" or "folds"
        One over the strength of the penalty. A group of d weights has norm ~ Gamma(d, 1/scale), direction uniform: a
        weight's standard deviation is scale * sqrt(d + 1).

    Raises
    ------
    ValueError
        By ``fit``: a term of one weight (it has no groups), ``method="laplace"`` (the mode lies on a kink).

    References
    ----------
    Yuan & Lin 2006, Model selection and estimation in regression with grouped variables; Kyung, Gill, Ghosh & Casella
    2010, Penalized regression, standard errors, and Bayesian lassos.

    Examples
    --------
    >>> from bayesglm import prior
    >>> prior.GroupLasso(0.2).describe()
    'GroupLasso(0.2)'
    """

    scale: Scale = eqx.field(default=1.0, converter=checked_scale)
    relative: Any = 1.0
    several: bool = eqx.field(default=False, static=True, kw_only=True)  # whether the family has several predictors: one filter of each

    @property
    def groups(self) -> int:  # type: ignore[override]
        """Trailing axes that are one group: a filter's, and those of the family's predictors."""
        return 2 if self.several else 1

    def resolve(self, place: Place) -> Self:
        if not place.shape:
            raise ValueError(
                f"prior.GroupLasso on {place.name!r}: the term has one weight; it is for terms with a filter or a column of features. Use prior.Laplace."
            )
        return self if self.several == (place.several > 1) else dataclasses.replace(AbstractScaled.resolve(self, place), several=True)

    def weights(self, hyper: Hyper, mask: Any) -> Distribution:
        return GroupNorm(self.width(hyper, mask), mask, self.groups)

    def whitening(self, hyper: Hyper, mask: Any) -> Any:
        d = within(jnp.asarray(mask) > 0, self.groups)
        return jnp.where(mask, self.width(hyper, mask) ** -2 / (d + 1.0), 1.0)

    def absolute(self, hyper: Hyper, mask: Any) -> Any:
        return jnp.where(mask, 1.0 / self.width(hyper, mask), 0.0)

    def prox(self, w: Any, hyper: Hyper, mask: Any, step: Any) -> Any:
        size = group_norm(w, mask, self.groups)
        kept = jnp.maximum(1.0 - step / (self.width(hyper, mask) * jnp.where(size > 0, size, 1.0)), 0.0)
        return jnp.where(mask, kept * w, w / (1.0 + step))
