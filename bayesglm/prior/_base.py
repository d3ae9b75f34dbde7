"""What a prior must tell the story and the engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import numpy as np
from numpyro.distributions import Distribution

from bayesglm.basis import AbstractBasis

Hyper = dict[str, Any]


class Place(NamedTuple):
    """Where a prior is used: the weights of one term, as far as they are known on the training data."""

    name: str
    shape: tuple[int, ...]  # of one neuron's weights, without the axis of a family's classes
    dims: tuple[str, ...] = ()
    coords: Mapping[str, np.ndarray] = MappingProxyType({})  # labels of dims; "area" (source,) where the recording knows the cells' areas
    bases: tuple[AbstractBasis, ...] = ()  # resolved bases of the trailing axes, in order
    rows: int = 0
    receivers: tuple | None = None
    areas: np.ndarray | None = None  # (neuron,) areas of the receivers
    several: int = 1  # predictors J of the family: where above one, masks and elements have a last axis J behind shape


class AbstractPrior(eqx.Module):
    """A prior over one block of weights, elementwise given its learned parameters, up to a fixed rotation.

    Shapes: ``mask`` is ``(*shape)`` for one neuron or ``(neuron, *shape)`` for all; each learned parameter
    is ``()`` or ``(neuron,)`` and broadcasts from the left, or has the block's own shape. Weights outside the mask are
    standard normal. Where ``rotation`` is R, all of this is about the elements u of w = R u.
    """

    groups: ClassVar[int] = 0  # trailing axes over which a kink is that of one norm; 0: of each weight
    samples_only: ClassVar[bool] = False  # whether neither a mode nor a Gaussian approximation means anything

    def resolve(self, place: Place) -> Self:
        """The same prior with every number that depends on where it is used fixed; idempotent."""
        return self

    def rotation(self) -> np.ndarray | None:
        """Invertible R (B, B) over the flattened trailing axes of the block: w = R u with u elementwise; None: u is w."""
        return None

    def class_rotation(self, contrast: np.ndarray) -> np.ndarray | None:
        """Invertible R (J, J) over the free contrasts of a family's classes (K, J): v = u R.T; None: v is u."""
        return None

    def hyper(self, name: str) -> dict[str, tuple[Distribution, bool]]:
        """Learned parameters: site name -> (prior, one a neuron?). None by default. An event shape is one of the block's."""
        return {}

    def hyper_coords(self, name: str) -> dict[str, dict[str, np.ndarray]]:
        """Dims of learned parameters that have axes of their own, with labels: site -> {dim: labels}."""
        return {}

    def known(self) -> dict[str, np.ndarray]:
        """Known numbers of each neuron, (neuron, ...), after ``resolve``; they arrive among ``hyper`` under their names."""
        return {}

    def relative_to(self, relative: np.ndarray | float) -> Self:
        """The same prior with every weight's scale multiplied by ``relative``; only default priors are so scaled."""
        return self

    def weights(self, hyper: Hyper, mask: Any) -> Distribution:
        """Distribution of the weights, batch shape ``mask.shape``."""
        raise NotImplementedError

    def precision(self, hyper: Hyper, mask: Any) -> Any | None:
        """Prior precision of each weight, ``mask.shape``; None where the prior is not Gaussian given ``hyper``."""
        return None

    def whitening(self, hyper: Hyper, mask: Any) -> Any:
        """Precision of the Gaussian that stands in for this prior when coordinates are whitened: one over its variance."""
        raise NotImplementedError

    def absolute(self, hyper: Hyper, mask: Any) -> Any | None:
        """Slope of the kink at zero, ``mask.shape`` (the lasso strength of each weight); None where there is no kink."""
        return None

    def prox(self, w: Any, hyper: Hyper, mask: Any, step: Any) -> Any:
        """Proximal map of the negative log density: argmin over v of |v - w|^2 / (2 step) - log p(v)."""
        raise NotImplementedError

    @property
    def proper(self) -> bool:
        """Whether the prior integrates to one."""
        return True

    def describe(self) -> str:
        """The prior in one short phrase, for reports."""
        raise NotImplementedError


def site_values(prior: AbstractPrior, name: str, sites: dict[str, Any], known: dict[str, Any] | None = None) -> Hyper:
    """The prior's learned parameters under their short names, picked from all ``sites``, and what is known of each neuron."""
    return {site.removeprefix(f"{name}_"): sites[site] for site in prior.hyper(name)} | (known or {})


def from_left(value: Any, ndim: int) -> Any:
    """``value`` with axes of size one put behind its own, so that it broadcasts from the left against ``ndim`` axes."""
    return value.reshape(value.shape + (1,) * max(0, ndim - value.ndim))
