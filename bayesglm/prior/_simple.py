"""Flat, Gaussian (L2), Laplace (L1) and Student-t priors, with a fixed or a learned scale."""

from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from bayesglm.prior._base import AbstractPrior, Hyper, Place, from_left
from bayesglm.prior._distributions import Improper, Within
from bayesglm.prior._scale import Scale, checked_scale, describe_scale, learned, scale_law


class AbstractNormal(AbstractPrior):
    """A prior that is Gaussian around zero given its learned parameters, with the standard deviations ``width``."""

    def width(self, hyper: Hyper, mask: Any) -> Any:
        """Standard deviation of each element, ``mask.shape``; one outside the mask."""
        raise NotImplementedError

    def weights(self, hyper: Hyper, mask: Any) -> Distribution:
        return dist.Normal(0.0, self.width(hyper, mask))

    def precision(self, hyper: Hyper, mask: Any) -> Any:
        return self.width(hyper, mask) ** -2

    def whitening(self, hyper: Hyper, mask: Any) -> Any:
        return self.precision(hyper, mask)

    def prox(self, w: Any, hyper: Hyper, mask: Any, step: Any) -> Any:
        return w / (1.0 + step * self.precision(hyper, mask))


class AbstractScaled(AbstractPrior):
    """A symmetric prior around zero with one scale; ``relative`` sets the weights' scales against one another."""

    scale: eqx.AbstractVar[Scale]
    relative: eqx.AbstractVar[Any]

    def hyper(self, name: str) -> dict[str, tuple[Distribution, bool]]:
        law = scale_law(self.scale)
        return {} if law is None else {f"{name}_scale": (law, True)}

    def resolve(self, place: Place) -> Self:
        # relative scales are a weight's: with several predictors its axis is not the last one
        relative = np.ndim(self.relative) and place.several > 1 and np.ndim(self.relative) == len(place.shape)
        return self.relative_to(np.asarray(self.relative)[..., None]) if relative else self

    def relative_to(self, relative: np.ndarray | float) -> Self:
        return eqx.tree_at(lambda p: p.relative, self, np.asarray(relative, float), is_leaf=lambda x: x is None)

    def width(self, hyper: Hyper, mask: Any) -> Any:
        """Scale of each weight, ``mask.shape``; one outside the mask."""
        scale = from_left(jnp.asarray(hyper["scale"] if learned(self.scale) else self.scale), jnp.ndim(mask))
        return jnp.where(mask, scale * self.relative, 1.0)

    def describe(self) -> str:
        return f"{type(self).__name__}({describe_scale(self.scale)})"


class Gaussian(AbstractScaled, AbstractNormal):
    """Gaussian prior, the Bayesian form of L2 (ridge): w ~ Normal(0, scale^2), -log p = w^2 / (2 scale^2) + const.

    Parameters
    ----------
    scale : float, numpyro Distribution, "evidence" or "folds"
        Standard deviation of a weight. A distribution makes it learned, one a neuron and term. "evidence" is the fast way
        to learn it: under a hyperprior that avoids zero, p(scale) ~ scale on [0.001, 10], ``method="map"`` takes the
        maximum of the Laplace evidence times it (reported as ``neuron_log_evidence``; weights are "given the scale"),
        ``"laplace"`` averages over a seven-point grid around it, ``"nuts"`` and ``"hmc"`` sample it. An optimum at either
        end of the range is said in the notes. "folds" is the number under which five left-out blocks of the training
        rows are predicted best, one for all neurons: for predictions from rows whose noise remembers, as when kinematics
        are decoded. The evidence counts such rows as independent and shrinks too little. Intervals are given it.

    Raises
    ------
    ValueError
        If ``scale`` is not positive and finite.

    References
    ----------
    MacKay 1992, Bayesian interpolation (the evidence); Chung et al. 2013, A nondegenerate penalized likelihood estimator
    for variance parameters (the hyperprior).

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> from bayesglm import prior
    >>> prior.Gaussian(0.5).scale
    0.5
    >>> prior.Gaussian(dist.HalfNormal(1.0)).describe()
    'Gaussian(HalfNormal(1))'
    """

    scale: Scale = eqx.field(default=1.0, converter=checked_scale)
    relative: Any = 1.0


class Laplace(AbstractScaled):
    """Laplace prior, the Bayesian form of L1 (lasso): -log p = |w| / scale + const.

    Its *mode* is sparse (some weights exactly zero under ``method.MAP``); its *posterior* is not: no draw is zero, and a
    zero of the mode must not be read as "does not code" (Park & Casella 2008). For a posterior in which most weights are
    nearly zero and a few are hardly shrunk use ``prior.Horseshoe``, and say what is included by the posterior: its
    probability of sign, or of an effect larger than one that matters.

    Parameters
    ----------
    scale : float, numpyro Distribution, "evidence" or "folds"
        Scale b; a weight's standard deviation is b * sqrt(2).
    """

    scale: Scale = eqx.field(default=1.0, converter=checked_scale)
    relative: Any = 1.0

    def weights(self, hyper: Hyper, mask: Any) -> Distribution:
        return Within(dist.Laplace(0.0, self.width(hyper, mask)), mask)

    def whitening(self, hyper: Hyper, mask: Any) -> Any:
        return jnp.where(mask, 0.5 * self.width(hyper, mask) ** -2, 1.0)

    def absolute(self, hyper: Hyper, mask: Any) -> Any:
        return jnp.where(mask, 1.0 / self.width(hyper, mask), 0.0)

    def prox(self, w: Any, hyper: Hyper, mask: Any, step: Any) -> Any:
        shrunk = jnp.sign(w) * jnp.maximum(jnp.abs(w) - step / self.width(hyper, mask), 0.0)
        return jnp.where(mask, shrunk, w / (1.0 + step))


class StudentT(AbstractScaled):
    """Student-t prior: heavy tails, so that a large weight is shrunk little. w ~ StudentT(df, 0, scale).

    Parameters
    ----------
    df : float
        Degrees of freedom, above 2 (so that the variance exists).
    scale : float, numpyro Distribution, "evidence" or "folds"
    """

    df: float = 3.0
    scale: Scale = eqx.field(default=1.0, converter=checked_scale)
    relative: Any = 1.0

    def __check_init__(self) -> None:
        if isinstance(self.df, (int, float)) and not self.df > 2:
            raise ValueError(f"prior.StudentT(df={self.df}): df must be above 2 (a finite variance); 3 or 4 are usual.")

    def weights(self, hyper: Hyper, mask: Any) -> Distribution:
        return Within(dist.StudentT(self.df, 0.0, self.width(hyper, mask)), mask)

    def whitening(self, hyper: Hyper, mask: Any) -> Any:
        variance = self.df / (self.df - 2.0)
        return jnp.where(mask, self.width(hyper, mask) ** -2 / variance, 1.0)

    def describe(self) -> str:
        return f"StudentT({self.df:g}, {describe_scale(self.scale)})"


class Flat(AbstractPrior):
    """No prior: log p = 0, so that the MAP is the maximum likelihood.

    Refused by ``fit`` where the problem is separable, silent or rank-deficient: there is no posterior then.
    """

    def weights(self, hyper: Hyper, mask: Any) -> Distribution:
        return Within(Improper(jnp.shape(mask)), mask)

    def precision(self, hyper: Hyper, mask: Any) -> Any:
        return jnp.where(mask, 0.0, 1.0)

    def whitening(self, hyper: Hyper, mask: Any) -> Any:
        return self.precision(hyper, mask)

    def prox(self, w: Any, hyper: Hyper, mask: Any, step: Any) -> Any:
        return jnp.where(mask, w, w / (1.0 + step))

    @property
    def proper(self) -> bool:
        return False

    def describe(self) -> str:
        return "Flat()"
