"""A prior's scale: a positive number, a distribution (learned by sampling), "evidence" or "folds"."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpyro.distributions import Distribution, HalfNormal, constraints

from bayesglm.prior._distributions import EvidenceScale

Scale = Any  # float | Distribution | "evidence" | "folds"
FOLDS = "folds"  # a number that a model chooses when it is resolved
MANY = 20  # columns beyond which the default scale of a linear effect shrinks


def shared_out(columns: int) -> HalfNormal:
    """Default law of the scale of ``columns`` weights of standardised columns: HalfNormal(1), HalfNormal(sqrt(20 / columns)) beyond 20.

    The prior sd of eta is then at most sqrt(20) = 4.5 (root mean square; the median is 3) however many columns there are,
    where HalfNormal(1) makes it sqrt(columns): 26 log odds for 691 neurons, with which every trial is foretold to be certain.
    """
    return HalfNormal(1.0 if columns <= MANY else float(np.sqrt(MANY / columns)))


def learned(scale: Scale) -> bool:
    """Whether the scale is learned from the data."""
    return isinstance(scale, (Distribution, str))


def by_folds(prior: Any) -> bool:
    """Whether a prior (or None) has a scale that a model chooses by folds when it is resolved."""
    scale = getattr(prior, "scale", None)
    return isinstance(scale, str) and scale == FOLDS


def scale_law(scale: Scale) -> Distribution | None:
    """The law of a learned scale, that of ``"evidence"`` included; None where it is a number."""
    if isinstance(scale, str):
        if scale == FOLDS:
            raise ValueError(
                'scale="folds" is chosen on a recording, by GLM(...): a prior alone, or in a model without terms, wants a number or a distribution.'
            )
        return EvidenceScale()
    return scale if isinstance(scale, Distribution) else None


def checked_scale(scale: Scale) -> Scale:
    """``scale`` itself, or a ValueError that says what a scale may be."""
    if isinstance(scale, numbers.Real):
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"A prior's scale must be a positive, finite number; got {scale}. For no prior use prior.Flat().")
        return float(scale)
    if isinstance(scale, Distribution):
        positive = (constraints.positive, constraints.nonnegative)
        if scale.shape() != () or not (scale.support in positive or _bounded_above_zero(scale)):
            raise ValueError(
                f"A learned scale needs a scalar distribution on positive numbers; got {type(scale).__name__} with shape "
                f"{scale.shape()}. Use numpyro.distributions.HalfNormal(1.0), for instance."
            )
        return scale
    if isinstance(scale, str):
        if scale in ("evidence", FOLDS):
            return scale
        raise ValueError(f'scale="{scale}" is not known: a scale is a number, a NumPyro distribution, "evidence" or "folds".')
    return scale  # an array, inside a transformed (traced) prior


def _bounded_above_zero(scale: Distribution) -> bool:
    lower = getattr(scale.support, "lower_bound", None)
    return lower is not None and bool(np.all(np.asarray(lower) >= 0))


def describe_scale(scale: Scale) -> str:
    """The scale as a user would write it."""
    if isinstance(scale, Distribution):
        values = ", ".join(f"{float(np.asarray(getattr(scale, name))):.3g}" for name in scale.arg_constraints if _given(scale, name))
        return f"{type(scale).__name__}({values})"
    return f'"{scale}"' if isinstance(scale, str) else f"{float(np.asarray(scale)):.3g}"


def _given(scale: Distribution, name: str) -> bool:
    """Leave out the location of a half distribution, which users do not write."""
    return not (name == "loc" and type(scale).__name__.startswith("Half"))
