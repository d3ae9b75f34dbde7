"""Whether free-running activity stays finite: the cap at which it is held, and what to say of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data import bin_width, is_time
from bayesglm._glm import GLM
from bayesglm.family import AbstractFamily, Bernoulli, Binomial, Poisson
from bayesglm.family._choices import AbstractClasses

FASTEST = 1000.0  # spikes/s: no cell fires faster, even for a bin
_TIMES = 10  # the largest training count
_FAR = 1e4  # times the largest training response, where it is continuous
_MOST = 1e9  # the largest mean that counts are drawn from
_HELD = 65535.0  # where nothing feeds back: two bytes a count


class RanAway(UserWarning):
    """A free-running simulation whose activity grew until it was held at the cap."""


def bounded(family: AbstractFamily) -> bool:
    """Whether a response cannot grow without limit: it needs no cap."""
    return isinstance(family, Bernoulli | Binomial | AbstractClasses) or hasattr(family, "circle")


def checked_cap(cap: float | None, model: GLM, dt: float, largest: float, feeds: bool) -> float | None:
    """The cap asked for, or the default one; None where the response is bounded.

    Parameters
    ----------
    cap : float or None
    model : GLM
        Resolved.
    dt : float
    largest : float
        The largest absolute training response; NaN where it is not known.
    feeds : bool
        Whether anything feeds back.

    Raises
    ------
    ValueError
        For a cap of a bounded response, or one that is no number from 1 (above 0, for continuous responses) to 1e9.
    """
    family = model.family
    if bounded(family):
        if cap is not None:
            raise ValueError(f"simulate(cap={cap!r}): a response of family.{family.describe()} is bounded; leave cap out.")
        return None
    known = float(np.nan_to_num(largest))
    if cap is None:
        least = 10.0 if feeds else _HELD
        return float(np.ceil(max(FASTEST * dt, _TIMES * known, least))) if family.counts else _FAR * max(known, float(np.max(model.spread)))
    low, high = (1.0, _MOST) if family.counts else (0.0, np.inf)
    if isinstance(cap, bool) or not isinstance(cap, int | float | np.number) or not low <= cap <= high or cap in (0.0, np.inf):
        wants = f"a count a bin from 1 to {_MOST:.0e}" if family.counts else "a positive number, in the response's unit"
        raise ValueError(f"simulate(cap={cap!r}): the value at which a response is kept is {wants}.")
    return float(np.floor(cap)) if family.counts else float(cap)


def elapsed(data: xr.Dataset, reached: np.ndarray) -> tuple[np.ndarray, str]:
    """When rows came, counted from the recording's start, NaN for row -1; and the unit."""
    if not is_time(data):
        return np.where(reached < 0, np.nan, reached), "trials"
    since = data["time"].values - data["time"].values[0] + bin_width(data) / 2
    return np.where(reached < 0, np.nan, since[reached]), "s"


def stability(reached: np.ndarray, since: np.ndarray, cap: float | None, data: xr.Dataset, family: Any, feeds: bool) -> str:
    """One sentence on how many simulations ran away, when, where they were held, and what may help."""
    if cap is None:
        return "nothing can run away: the response is bounded, or nothing feeds back."
    held = f"{cap:g} a bin ({cap / bin_width(data):g} a second)" if is_time(data) and family.counts else f"{cap:g}"
    away = reached >= 0
    if not away.any():
        return f"none of {reached.size} simulations ran away (none reached the cap of {held})."
    if not feeds:
        return f"{away.sum()} of {reached.size} simulations ({away.mean():.1%}) reached the cap of {held}, where they were held; nothing feeds back in them."
    unit = "s" if is_time(data) else "trials"
    first, middle = np.nanmin(since), np.nanmedian(since)
    when = f"the first after {first:.3g} {unit}, half of them within {middle:.3g} {unit}"
    grows = isinstance(family, Poisson) and family.link == "exp"
    mend = " family.Poisson(link='softplus') grows linearly: it runs away less often, and still can where each spike begets more than one." if grows else ""
    return f"{away.sum()} of {reached.size} simulations ({away.mean():.1%}) ran away, {when}: they were held at the cap of {held}.{mend}"
