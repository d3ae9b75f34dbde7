"""What a response distribution must tell the story and the engine."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.distributions import Distribution

Hyper = dict[str, Any]


class Predictors(NamedTuple):
    """Several predictors a response: weights get a last axis ``dim`` (K), w = v @ contrast.T with v (J) free.

    Columns of ``contrast`` (K, J) are orthonormal; for classes they sum to zero, and so do the weights over classes.
    """

    dim: str
    labels: np.ndarray  # (K,)
    contrast: np.ndarray  # (K, J)


class AbstractFamily(eqx.Module):
    """A response distribution written in the linear predictor eta (a bin's, not a second's).

    ``eta`` has any shape; learned parameters broadcast against it. Where there are several predictors they are its last
    axis, and learned parameters broadcast against the rest.
    """

    counts: ClassVar[bool] = False  # whether the response is a number of spikes, stored as an unsigned integer
    discrete: ClassVar[bool] = False
    own_unit: ClassVar[bool] = False  # whether eta is in the response's unit, whatever that is, and no logarithm or quantile
    measure: ClassVar[str] = ""  # of what the density is one, where it is not the response as it was given

    @property
    def predictors(self) -> Predictors | None:
        """The predictors' names and contrasts where there are several; None: one."""
        return None

    @property
    def n_predictors(self) -> int:
        """Number of linear predictors of a response, J."""
        return 1 if self.predictors is None else self.predictors.contrast.shape[1]

    def known(self, data: xr.Dataset) -> dict[str, np.ndarray]:
        """Known numbers of each row, (row,) or (row, neuron), that arrive among the learned parameters (a binomial's trials)."""
        return {}

    def resolve(self, column: str, response: np.ndarray, period: float | None = None, known: Hyper | None = None) -> Self:
        """The same family with every data-dependent number fixed (an angle's period, the mean of what is known of rows); raises outside its support."""
        self.check(column, response)
        return self

    def check(self, column: str, response: np.ndarray) -> None:
        """Raise a ValueError that names the column and the mend where ``response`` cannot come from this family."""
        raise NotImplementedError

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        """Learned parameters: site name -> (prior, one a neuron?); ``spread`` is the response's training sd."""
        return {}

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        """The response's distribution, a NumPyro distribution written in eta."""
        raise NotImplementedError

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        """log p(y | eta) up to terms in y alone: the cheap form that the engine differentiates."""
        return self(eta, hyper, dt).log_prob(y)

    def remainder(self, eta: Any, change: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        """log p(y | eta + change) - log p(y | eta) - change * d log p/d eta: small where ``change`` is, so that float32 is enough."""
        value, slope = jax.jvp(lambda e: self.log_density(e, y, hyper, dt), (eta,), (jnp.ones_like(eta),))
        return self.log_density(eta + change, y, hyper, dt) - value - slope * change

    def inside(self, mean: np.ndarray, n: np.ndarray) -> np.ndarray:
        """The mean of ``n`` responses kept off the edges of its range by half a response: a silent neuron counts half a spike."""
        return np.clip(mean, 0.5 / n, None if self.counts else 1.0 - 0.5 / n) if self.discrete else mean

    def level(self, mean: np.ndarray) -> np.ndarray:
        """The eta at which the mean response is ``mean`` (the link function), kept finite where the mean is at an edge."""
        raise NotImplementedError

    def levels(self, response: np.ndarray) -> np.ndarray:
        """The eta (J,) of a constant model of ``response`` (row,), NaN left out; where there are several predictors."""
        raise NotImplementedError

    def rate(self, eta: Any, hyper: Hyper, dt: Any) -> Any:
        """Spikes/s for spiking families; the mean for the others."""
        return self(eta, hyper, dt).mean / (dt if self.counts else 1.0)

    def gaussian(self, response: Any) -> Any | None:
        """Numbers (..., J) that are independently Normal(eta_j, sigma^2); None where the family is not Gaussian in eta."""
        return None

    def steepness(self, hyper: Hyper) -> Any:
        """Factor by which learned parameters multiply a log density that is quadratic in eta; one where it is not, or is not known to be."""
        return 1.0

    def describe(self) -> str:
        """The family and its link in one short phrase."""
        link = getattr(self, "link", None)
        return type(self).__name__ + (f"({link})" if link else "()")


def chosen_link(family: str, link: str, known: tuple[str, ...]) -> str:
    """``link`` itself, or a ValueError that lists the known ones."""
    if link not in known:
        raise ValueError(f"family.{family}(link={link!r}): the links are {', '.join(map(repr, known))}.")
    return link


def finite_response(column: str, response: np.ndarray, family: str) -> None:
    """Raise where a response holds infinite values; NaN is the recording's business."""
    if response.dtype.kind == "f" and np.isinf(response).any():
        raise ValueError(f"{column!r} holds {int(np.isinf(response).sum())} infinite values; {family} wants finite ones: cut those rows.")


def log_softplus(eta: Any) -> Any:
    """log(log(1 + exp(eta))), exact in both tails."""
    low = eta < -30.0  # softplus(eta) = exp(eta) to double precision there, and its logarithm would lose digits
    return jnp.where(low, eta, jnp.log(jnp.logaddexp(jnp.where(low, 0.0, eta), 0.0)))
