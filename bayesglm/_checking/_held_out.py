"""What bg.check looks at on a test recording: the score, time rescaling, predictive checks."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._checking._items import HELD_OUT, Item, judged, unassessed
from bayesglm._likelihood import recording_of
from bayesglm._score import score
from bayesglm.family import Bernoulli

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_SURE, _CLEAR = 0.05, 0.01  # the chance of what was seen, or worse, in any neuron
_NAMES = ("held-out score", "time rescaling", "predictive checks")
_WANTED = f"chance under the model at least {_SURE:g}"


def held_out(fit: Fit, data: xr.Dataset | None, key: Any, progress: bool) -> tuple[list[Item], dict[str, Any]]:
    """Items on a test recording; without one, that it is missing."""
    if data is None:
        return [unassessed(HELD_OUT, name, "pass a test recording: train, test = bg.split(data); bg.check(fit, test)") for name in _NAMES], {}
    recording_of(fit, data)
    items, details = [_score(fit, data)], {}
    for name, verb in zip(_NAMES[1:], (_rescaled, _replicated), strict=True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                item, record = verb(fit, data, key, progress)
        except ValueError as error:
            items.append(unassessed(HELD_OUT, name, str(error), _WANTED))
            continue
        items.append(item)
        details["rescale" if verb is _rescaled else "posterior_check"] = record
    return items, details


def _score(fit: Fit, data: xr.Dataset) -> Item:
    """Held-out score of the worst neuron beside its score in the training recording."""
    family = getattr(fit.model, "family", None)
    spikes = family is not None and (family.counts or isinstance(family, Bernoulli))
    metric, unit = ("bits_per_spike", "bits/spike") if spikes else ("pseudo_r2_mcfadden", "of the null's deviance")
    wanted = "above 0, and half of the in-sample score"
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            outside = score(fit, data, metric)
            inside = score(fit, None, metric) if fit.data is not None else outside * np.nan
    except ValueError as error:
        return unassessed(HELD_OUT, _NAMES[0], str(error), wanted)
    gap = np.atleast_1d(outside.values)
    if np.isnan(gap).all():
        return unassessed(HELD_OUT, _NAMES[0], "no neuron fires in the test recording", wanted)
    within = np.atleast_1d(inside.values)
    at = int(np.nanargmin(gap))
    who = f"neuron {outside['neuron'].values[at]}, " if gap.size > 1 else ""
    total, own = float(np.nanmean(gap)), float(np.nanmean(within)) if np.isfinite(within).any() else np.nan
    about = f"{unit}; {who}in-sample {within[at]:.3g}" + (f"; mean {total:.3g} of {own:.3g}" if gap.size > 1 else "")
    status = "bad" if total <= 0 else "warning" if gap[at] <= 0 or total < 0.5 * own else "good"
    advice = (
        "new rows are predicted no better than by a constant, or much worse than the model's own: it learned what does not last; simplify it, "
        "shrink more, or look at bg.drift(fit)"
    )
    near = next((str(one.message) for one in said if "score:" in str(one.message)), "")
    item = judged(HELD_OUT, _NAMES[0], float(gap[at]), wanted, status, advice, about)
    return item if not near else Item(item.stage, item.name, item.value, item.threshold, item.status, "; ".join(filter(None, (item.advice, near))), item.about)


def _rescaled(fit: Fit, data: xr.Dataset, key: Any, progress: bool) -> tuple[Item, Any]:
    from bayesglm._checking._rescale import rescale

    record = rescale(fit, data, key=key, progress=progress)
    advice = f"{record.verdict}; bg.plot.rescale(bg.rescale(fit, test)) shows where: add History, or widen its span"
    return _by_chance(_NAMES[1], record.p_joint, advice), record


def _replicated(fit: Fit, data: xr.Dataset, key: Any, progress: bool) -> tuple[Item, Any]:
    from bayesglm._checking._posterior_check import posterior_check

    record = posterior_check(fit, data, key=key, progress=progress)
    advice = f"{record.verdict}; bg.plot.posterior_check(bg.posterior_check(fit, test)) shows which statistics the model misses"
    return _by_chance(_NAMES[2], record.p_joint, advice), record


def _by_chance(name: str, chance: float, advice: str) -> Item:
    """By the chance, under the fit, of what was seen; over all neurons and statistics together."""
    if np.isnan(chance):
        return unassessed(HELD_OUT, name, advice, _WANTED)
    return judged(HELD_OUT, name, chance, _WANTED, "bad" if chance < _CLEAR else "warning" if chance < _SURE else "good", advice)
