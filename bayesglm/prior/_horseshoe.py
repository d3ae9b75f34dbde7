"""The regularised horseshoe: most weights nearly zero, a few hardly shrunk, in the posterior itself."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from bayesglm.prior._base import Hyper, Place, from_left
from bayesglm.prior._simple import AbstractNormal


class Horseshoe(AbstractNormal):
    """Regularised horseshoe: w_j ~ Normal(0, s_j^2), 1/s_j^2 = 1/(tau lambda_j)^2 + 1/c^2.

    lambda_j ~ HalfCauchy(1) (site ``<name>_local``), tau ~ HalfCauchy(tau0) (``<name>_scale``), c^2 ~ InverseGamma(df/2,
    df/2 * slab_scale^2) (``<name>_slab``). Most weights are shrunk to nearly zero, the others hardly, up to the slab of
    width c. tau0 = p0 / (P - p0) * sigma / sqrt(n), with p0 weights expected to matter among P and n rows.

    No weight of a draw is exactly zero: say what is included by the posterior itself, P(sign) or P(|effect| > what
    matters). This, not the zeros of ``prior.Laplace``'s mode, is a statement about sparsity.

    Parameters
    ----------
    expected_nonzero : float
        Number of weights of the term expected to differ from zero, above 0 and below their number.
    slab_scale : float
        How large a weight that matters may be (log-gain a spike, for couplings).
    slab_df : float
        Degrees of freedom of the slab's Student-t; 4 has moderate tails.
    sigma : float
        Standard deviation that a row's noise would have were the row Gaussian, for a column of unit sd: 1 by default;
        1/sqrt(mean count a bin) for Poisson counts, 1/sqrt(p (1 - p)) for a choice.

    Raises
    ------
    ValueError
        By ``fit``: ``expected_nonzero`` is not below the number of weights; ``method`` "map" or "laplace", for neither
        the mode (all zero) nor a Gaussian says anything about this posterior.

    References
    ----------
    Piironen & Vehtari 2017, Sparsity information and regularization in the horseshoe and other shrinkage priors.

    Examples
    --------
    >>> from bayesglm import prior
    >>> prior.Horseshoe(expected_nonzero=5).describe()
    'Horseshoe(5 expected, slab 1)'
    """

    expected_nonzero: float
    slab_scale: float = 1.0
    slab_df: float = 4.0
    sigma: float = 1.0
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)  # of one neuron's elements, after resolve
    centre: float | None = eqx.field(default=None, kw_only=True)  # tau0
    samples_only: ClassVar[bool] = True

    def __check_init__(self) -> None:
        for name in ("expected_nonzero", "slab_scale", "slab_df", "sigma"):
            value = getattr(self, name)
            if isinstance(value, (int, float)) and not 0 < value < math.inf:
                raise ValueError(f"prior.Horseshoe({name}={value}): it must be a positive, finite number.")

    def resolve(self, place: Place) -> Self:
        if self.shape is not None:
            return self
        shape = place.shape + ((place.several,) if place.several > 1 else ())
        number, expected = math.prod(shape), self.expected_nonzero
        if not expected < number:
            raise ValueError(
                f"prior.Horseshoe(expected_nonzero={expected:g}) on {place.name!r}: the term has {number} weight(s), of which fewer should matter; "
                f"give less, or use prior.Gaussian where all do."
            )
        centre = expected / (number - expected) * self.sigma / math.sqrt(max(place.rows, 1))
        return dataclasses.replace(self, shape=shape, centre=centre)

    def hyper(self, name: str) -> dict[str, tuple[Distribution, bool]]:
        if self.shape is None:
            raise ValueError("prior.Horseshoe is not resolved: how many weights it has is known on a model's data (model.resolve(data)).")
        slab = dist.InverseGamma(0.5 * self.slab_df, 0.5 * self.slab_df * self.slab_scale**2)
        local = dist.HalfCauchy(1.0).expand(self.shape).to_event(len(self.shape))
        return {f"{name}_scale": (dist.HalfCauchy(self.centre), True), f"{name}_local": (local, True), f"{name}_slab": (slab, True)}

    def width(self, hyper: Hyper, mask: Any) -> Any:
        scale, slab = (from_left(jnp.asarray(hyper[name]), jnp.ndim(mask)) for name in ("scale", "slab"))
        own, most = scale * jnp.where(mask, hyper["local"], 1.0), jnp.sqrt(slab)
        return jnp.where(mask, own * (most / jnp.hypot(own, most)), 1.0)  # neither end overflows

    def describe(self) -> str:
        return f"Horseshoe({self.expected_nonzero:g} expected, slab {self.slab_scale:g})"
