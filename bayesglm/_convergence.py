"""Did a fit converge? R-hat, effective sample sizes and divergences by the rules of the house."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._model import AbstractModel
from bayesglm.engine.diagnostics import ebfmi, ess, rhat

ESS_WANTED = 400
RHAT_EFFECT = 1.01  # net effects, baselines, learned parameters
RHAT_WEIGHT = 1.05  # of thousands of independent weights at ESS 400 a tenth exceed 1.01 by chance
MANY = 50  # entries of a site beyond which they are single weights, as a filter's are
EBFMI_WANTED = 0.3


class Convergence(NamedTuple):
    """What the draws say of themselves; the worst over everything sampled."""

    converged: bool
    rhat_effect: float
    rhat_weight: float
    weights_above: int  # single weights with R-hat above 1.01
    weights: int
    ess_bulk: float
    ess_tail: float
    divergences: int
    depth_hits: int
    ebfmi: float
    bad_neurons: tuple
    reasons: tuple[str, ...]


def net_effects(model: AbstractModel, posterior: xr.Dataset) -> dict[str, xr.DataArray]:
    """Sum over lags of every filter: kernels summed over lags, times the weights."""
    found = {}
    for name, (dims, kernels) in model.constants().items():
        term = name.removesuffix("_kernels")
        if name.endswith("_kernels") and term in posterior:
            found[term] = xr.dot(posterior[term], xr.DataArray(kernels.sum(0), dims=dims[1:]), dim=dims[1])
    return found


def existing(model: AbstractModel, name: str, array: xr.DataArray) -> xr.DataArray:
    """``array`` with weights that do not exist (own cell, ``mask=``) set to NaN."""
    mask = model.masks().get(name)
    if mask is None or mask.all():
        return array
    dims = [dim for dim in array.dims if dim not in ("chain", "draw")]
    basis = -1 if getattr(getattr(model, "family", None), "predictors", None) is None else -2  # classes come last
    flags = xr.DataArray(mask.any(basis) if mask.ndim > len(dims) else mask, dims=dims)  # a net effect has lost the basis dim
    return array.where(flags)


def assess(model: AbstractModel, idata: Any, independent: bool = False) -> Convergence:
    """Convergence of a sampled fit (not of a point); draws that are independent by construction are worth their number."""
    posterior = idata["posterior"].to_dataset()
    effects = net_effects(model, posterior)
    weights = set(effects) | {name for name, array in posterior.data_vars.items() if _entries(array) > MANY}
    single = {name: existing(model, name, array) for name, array in posterior.data_vars.items() if name in weights}
    scalar = {name: existing(model, name, array) for name, array in posterior.data_vars.items() if name not in weights}
    scalar |= {f"net effect of {name}": existing(model, name, effects[name]) for name in effects}
    rows = [_figures(name, array, True, independent) for name, array in scalar.items()]
    rows += [_figures(name, array, False, independent) for name, array in single.items()]
    stats = idata["sample_stats"].to_dataset()
    divergences = int(stats["diverging"].sum()) if "diverging" in stats else 0
    hits = int(stats["reached_max_treedepth"].sum()) if "reached_max_treedepth" in stats else 0
    fraction = _ebfmi(stats)
    return _judged(rows, divergences, hits, fraction)


def _entries(array: xr.DataArray) -> int:
    """Numbers of one neuron's draw of a site."""
    return int(np.prod([size for dim, size in array.sizes.items() if dim not in ("chain", "draw", "neuron")]))


class _Figures(NamedTuple):
    name: str
    effect: bool
    rhat: np.ndarray
    bulk: np.ndarray
    tail: np.ndarray
    neuron: np.ndarray  # label of each entry, "" where there is none


def _figures(name: str, array: xr.DataArray, effect: bool, independent: bool) -> _Figures:
    stacked = array.transpose("chain", "draw", ...)
    values = stacked.values.reshape(*stacked.shape[:2], -1)
    labels = np.broadcast_to(_labels_of(stacked), stacked.shape[2:]).reshape(-1)
    kept = np.isfinite(values).all((0, 1))
    values, labels = values[:, :, kept], labels[kept]
    if independent:
        worth = np.full(values.shape[2], float(values.shape[0] * values.shape[1]))
        return _Figures(name, effect, np.full_like(worth, np.nan), worth, worth, labels)
    return _Figures(name, effect, rhat(values), ess(values, "bulk"), ess(values, "tail"), labels)


def _labels_of(array: xr.DataArray) -> np.ndarray:
    inner = array.dims[2:]
    if "neuron" not in inner:
        return np.asarray("")
    labels = np.array([str(label) for label in array["neuron"].values])
    return labels.reshape([-1 if dim == "neuron" else 1 for dim in inner])


def _ebfmi(stats: xr.Dataset) -> float:
    if "energy" not in stats:
        return np.nan
    energy = stats["energy"].transpose("chain", "draw", ...).values
    return float(np.min(ebfmi(energy)))


def _judged(rows: list[_Figures], divergences: int, hits: int, fraction: float) -> Convergence:
    effects, weights = [row for row in rows if row.effect], [row for row in rows if not row.effect]
    worst_effect, worst_weight = _worst(effects, "rhat", np.nanmax, 1.0), _worst(weights, "rhat", np.nanmax, 1.0)
    bulk, tail = _worst(rows, "bulk", np.nanmin, np.inf), _worst(rows, "tail", np.nanmin, np.inf)
    reasons = []
    if worst_effect > RHAT_EFFECT:
        reasons.append(f"R-hat {worst_effect:.3f} of {_at_worst(effects, 'rhat', np.nanargmax)} (above {RHAT_EFFECT})")
    if worst_weight > RHAT_WEIGHT:
        reasons.append(f"R-hat {worst_weight:.3f} of a weight of {_at_worst(weights, 'rhat', np.nanargmax)} (above {RHAT_WEIGHT})")
    if min(bulk, tail) < ESS_WANTED:
        kind = "bulk" if bulk <= tail else "tail"
        reasons.append(f"effective sample size {min(bulk, tail):.0f} of {_at_worst(rows, kind, np.nanargmin)} (below {ESS_WANTED})")
    if divergences:
        reasons.append(f"{divergences} divergent transitions: raise target_accept")
    if fraction < EBFMI_WANTED:
        reasons.append(f"E-BFMI {fraction:.2f} (below {EBFMI_WANTED}): the energy is explored slowly")
    above = sum(int((row.rhat > RHAT_EFFECT).sum()) for row in weights)
    total = sum(row.rhat.size for row in weights)
    return Convergence(not reasons, worst_effect, worst_weight, above, total, bulk, tail, divergences, hits, fraction, _bad(rows), tuple(reasons))


def _worst(rows: list[_Figures], field: str, worst: Any, empty: float) -> float:
    values = np.concatenate([getattr(row, field) for row in rows]) if rows else np.zeros(0)
    return float(worst(values)) if values.size and not np.isnan(values).all() else empty


def _at_worst(rows: list[_Figures], field: str, where: Any) -> str:
    values = np.concatenate([getattr(row, field) for row in rows])
    names = np.concatenate([np.full(row.rhat.size, row.name, object) for row in rows])
    neurons = np.concatenate([row.neuron for row in rows])
    at = int(where(values))
    return f"{names[at]!r}" + (f" (neuron {neurons[at]})" if neurons[at] else "")


def _bad(rows: list[_Figures]) -> tuple:
    """Neurons with any figure beyond its bound."""
    bad: set[str] = set()
    for row in rows:
        limit = RHAT_EFFECT if row.effect else RHAT_WEIGHT
        bad |= set(row.neuron[(row.rhat > limit) | (row.bulk < ESS_WANTED) | (row.tail < ESS_WANTED)])
    return tuple(sorted(bad - {""}))
