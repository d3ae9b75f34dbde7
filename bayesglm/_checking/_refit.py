"""A fit's model fitted again in seconds: to some of its rows, or with other terms."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import xarray as xr

from bayesglm._fit import Fit, chosen_method, drawn
from bayesglm._labels import tree
from bayesglm._model import AbstractModel, Design
from bayesglm._progress import progress_bar
from bayesglm.engine.columns import DENSEST
from bayesglm.engine.laplace import kinks
from bayesglm.method import AbstractMethod, Laplace
from bayesglm.method._base import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bayesglm.method._base import Monitor


def quick_method(fit: Fit, method: str | AbstractMethod | None, draws: int, who: str) -> AbstractMethod:
    """The method of refits: the one asked for, else a Laplace approximation.

    Raises
    ------
    ValueError
        A point estimate, whose refits would have no sd to compare by; a model that has no Laplace approximation.
    """
    if method is not None:
        chosen = chosen_method(method)
        if chosen.point:
            raise ValueError(f"{who}(method={method!r}): a point has no posterior sd to compare by; use method='laplace', or method='nuts'.")
        return chosen
    why = _no_gaussian(fit)
    if why:
        raise ValueError(f"{who} refits by method.Laplace, which this model refuses ({why}): pass method='nuts' and wait longer.")
    return replace(fit.method, num_samples=draws, check="joint") if isinstance(fit.method, Laplace) else Laplace(num_samples=draws)


def _no_gaussian(fit: Fit) -> str:
    """Why a model has no Laplace approximation; empty where it has one."""
    few = fit.model.design(_head(fit.data)) if fit.data is not None else None
    linear = None if few is None else fit.model.linear(few)
    if linear is None:
        return "it is not linear in its weights, or the fit has lost its recording"
    if kinks(linear):
        return "a prior with a kink at zero: L1, elastic net, groups"
    if any(prior.samples_only for prior in linear.priors):
        return "prior.Horseshoe"
    return f"{linear.dim} weights a neuron" if linear.dim > DENSEST else ""


def _head(data: xr.Dataset) -> xr.Dataset:
    return data.isel({data.attrs["rows"]: slice(0, 8)})


def refitted(fit: Fit, designs: Sequence[tuple[AbstractModel, Design]], method: AbstractMethod, key: Any, progress: bool, title: str) -> list[Fit]:
    """A fit a design, by one method; what each says of its neurons is in ``stats``, and nothing warns."""
    key = jax.random.key(key) if isinstance(key, (int, np.integer)) else key
    found = []
    with progress_bar(progress, title) as monitor:
        for i, (model, design) in enumerate(designs):
            found.append(_one(fit, model, design, method, jax.random.fold_in(key, i), _within(monitor, i, len(designs))))
    return found


def _one(fit: Fit, model: AbstractModel, design: Design, method: AbstractMethod, key: Any, monitor: Monitor) -> Fit:
    draws, padded, _ = drawn(model, design, method, key, monitor)
    if draws.interrupted:
        raise KeyboardInterrupt
    idata = tree(model, padded.bare(), draws, fit.data, method.point)
    per_neuron = draws.per_neuron.get("converged", draws.per_neuron.get("mode_converged", True))
    stats = {"converged": bool(np.all(per_neuron)), "reached": np.atleast_1d(per_neuron), "notes": draws.notes, "reasons": ()}
    return Fit(model, fit.data, idata, method, MappingProxyType(stats), fit.scored, fit.given)


def _within(monitor: Monitor | None, place: int, count: int) -> Monitor:
    """One bar for all refits."""
    if monitor is None:
        return silent
    return lambda done, total, state, fresh: monitor(place * 1000 + 1000 * done // max(total, 1), 1000 * count, state, f"{place + 1} of {count}")
