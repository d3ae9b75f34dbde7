"""Classes that the columns separate: without a prior there is no optimum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.coordinates import AbstractCoordinates, Scaled
from bayesglm.engine.laplace import Approximation
from bayesglm.engine.linear import Linear
from bayesglm.engine.stretched import stretched
from bayesglm.family import Bernoulli, Categorical, Ordinal
from bayesglm.method._base import Problem, named


def separation_notes(problem: Problem, linear: Linear, w: Any) -> tuple[str, ...]:
    """Said where the mode puts every scored row on its class's side: the likelihood alone would let the weights grow forever."""
    if not isinstance(linear.family, (Bernoulli, Categorical, Ordinal)):
        return ()
    apart = np.asarray(separated(linear, w))
    if not apart.any():
        return ()
    who = f" of neuron(s) {named(problem.labels, apart)}" if linear.size > 1 else ""
    scale = "; a learned scale is then hardly known, and the Gaussian approximation of 'map' and 'laplace' puts it too low: compare with 'nuts'"
    return (
        f"the classes of {linear.response!r}{who} are separable: every training row is on its class's side at the mode, so that the likelihood has no "
        f"optimum and the prior sets the size of the weights; see how the result depends on it{scale if linear.learned_scales() else ''}",
    )


def spread_out_scale(linear: Linear, found: Approximation) -> AbstractCoordinates:
    """Coordinates that let a learned scale move freely where classes are separable: at the mode, or because weights are as many as rows."""
    if not (isinstance(linear.family, (Bernoulli, Categorical, Ordinal)) and isinstance(found.coordinates, Scaled)):
        return found.coordinates
    crowded = linear.dim >= int(np.asarray(linear.scored > 0).sum())  # all predictors' weights: they share the scale
    if not (crowded or bool(separated(linear, found.mode.w).all())):
        return found.coordinates
    return stretched(linear, found.coordinates.site)


@compiled_quickly
def separated(linear: Linear, w: Any) -> Any:
    """(neuron,) bool: eta tells every scored row's class (in order, where it is one number: any threshold will do)."""

    def one(each: Any, w: Any) -> Any:
        eta, y, scored = linear.eta(each, w), each["response"], linear.weight(each) > 0
        if linear.contrast is not None:
            return jnp.all(jnp.where(scored, jnp.argmax(eta @ linear.contrast.T, -1) == y, True))
        classes = 2 if isinstance(linear.family, Bernoulli) else linear.family.size
        low = jnp.stack([jnp.min(jnp.where(scored & (y == k), eta, jnp.inf)) for k in range(classes)])
        high = jnp.stack([jnp.max(jnp.where(scored & (y == k), eta, -jnp.inf)) for k in range(classes)])
        seen = jnp.sum(jnp.isfinite(low)) > 1
        return seen & jnp.all(jax.lax.cummax(high)[:-1] < low[1:])

    return jax.vmap(one)(linear.each, w)
