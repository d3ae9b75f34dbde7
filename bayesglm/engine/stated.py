"""What a linear structure read off a story needs beyond ``Linear``: locations, stretches, and sites under their own names."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, Normal

from bayesglm.engine.linear import Linear
from bayesglm.family import AbstractFamily
from bayesglm.prior import AbstractPrior


class StatedLinear(Linear):
    """A ``Linear`` whose standardised weights v stand for a story's weights w = location + stretch v + lean w.

    ``each`` holds, besides what ``Linear`` asks for, ``location, stretch, first (P)`` and ``lean (L, P)``: a site whose
    prior location is an affine function of other sites (a baseline centred at the stimulus' mean) leans on them. The
    ``leaning`` entries never lean on one another, so that one product inverts the map.
    """

    leaning: tuple[int, ...] = eqx.field(static=True, default=())

    def first_weights(self, each: Any) -> Any:
        return jnp.asarray(each["first"])

    def pack(self, each: Any, sites: dict[str, Any]) -> Any:
        w = jnp.concatenate([jnp.ravel(sites[name]) for name in self.names])
        return (self._leaned(each, w, -1.0) - each["location"]) / each["stretch"]

    def unpack(self, each: Any, w: Any) -> dict[str, Any]:
        w = self._leaned(each, each["location"] + each["stretch"] * w, 1.0)
        return {name: w[part].reshape(shape) for name, part, shape in zip(self.names, self.parts(), self.shapes, strict=True)}

    def _leaned(self, each: Any, w: Any, sign: float) -> Any:
        return w.at[jnp.asarray(self.leaning)].add(sign * (each["lean"] @ w)) if self.leaning else w


class NamedScale(AbstractPrior):
    """A library prior whose learned scale is the story's own site, whatever that is called."""

    inner: AbstractPrior
    site: str = eqx.field(static=True)

    def hyper(self, name: str) -> dict[str, tuple[Distribution, bool]]:
        (pair,) = self.inner.hyper(name).values()
        return {self.site: pair}

    def weights(self, hyper: Any, mask: Any) -> Distribution:
        return self.inner.weights(_as_scale(hyper), mask)

    def precision(self, hyper: Any, mask: Any) -> Any | None:
        return self.inner.precision(_as_scale(hyper), mask)

    def whitening(self, hyper: Any, mask: Any) -> Any:
        return self.inner.whitening(_as_scale(hyper), mask)

    def absolute(self, hyper: Any, mask: Any) -> Any | None:
        return self.inner.absolute(_as_scale(hyper), mask)

    def prox(self, w: Any, hyper: Any, mask: Any, step: Any) -> Any:
        return self.inner.prox(w, _as_scale(hyper), mask, step)

    def describe(self) -> str:
        return self.inner.describe()


def _as_scale(hyper: dict[str, Any]) -> dict[str, Any]:
    (value,) = hyper.values()
    return {"scale": value}


class NamedNoise(AbstractFamily):
    """Gaussian responses whose standard deviation is the story's own site.

    ``law`` is its prior; the parameter ``moving`` of that law, where there is one, differs by neuron and comes as ``spread``.
    """

    law: Distribution
    site: str = eqx.field(static=True)
    moving: str | None = eqx.field(static=True)

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        if self.moving is None:
            return {self.site: (self.law, True)}
        given = {arg: getattr(self.law, arg) for arg in self.law.arg_constraints}
        return {self.site: (type(self.law)(**(given | {self.moving: spread})), True)}

    def __call__(self, eta: Any, hyper: dict[str, Any], dt: Any) -> Distribution:
        return Normal(eta, hyper[self.site])

    def log_density(self, eta: Any, y: Any, hyper: dict[str, Any], dt: Any) -> Any:
        return -0.5 * ((y - eta) / hyper[self.site]) ** 2 - jnp.log(hyper[self.site])

    def level(self, mean: np.ndarray) -> np.ndarray:
        return np.asarray(mean, float)

    def describe(self) -> str:
        return "Gaussian()"
