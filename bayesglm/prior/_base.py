"""What a prior must tell the story and the engine."""

from __future__ import annotations

from typing import Any, Self

import equinox as eqx
import numpy as np
from numpyro.distributions import Distribution

Hyper = dict[str, Any]


class AbstractPrior(eqx.Module):
    """A prior over one block of weights, elementwise given its learned parameters.

    Shapes: ``mask`` is ``(*shape)`` for one neuron or ``(neuron, *shape)`` for all; each learned parameter
    is ``()`` or ``(neuron,)`` and broadcasts from the left. Weights outside the mask are standard normal.
    """

    def hyper(self, name: str) -> dict[str, tuple[Distribution, bool]]:
        """Learned parameters: site name -> (prior, one a neuron?). None by default."""
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


def site_values(prior: AbstractPrior, name: str, sites: dict[str, Any]) -> Hyper:
    """The prior's learned parameters under their short names, picked from all ``sites``."""
    return {site.removeprefix(f"{name}_"): sites[site] for site in prior.hyper(name)}
