"""What of a GLM feeds back: terms that read the past of the simulated response, told from those that do not."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import bin_width, epoch_ids
from bayesglm._double import double
from bayesglm._glm import GLM
from bayesglm._glm_parts import finite
from bayesglm._model import Design
from bayesglm.engine.pointwise import weights_of
from bayesglm.engine.recurrence import Loop
from bayesglm.terms import AbstractTerm, Baseline, Columns, Coupling, History, Sum
from bayesglm.terms._base import settled
from bayesglm.terms._interaction import Product
from bayesglm.terms._lagged import AbstractLagged
from bayesglm.terms._pooled import Pooled


class Plan(NamedTuple):
    """A resolved GLM on a recording, taken apart: what is known of every row beforehand, and the loops."""

    model: GLM
    fixed: GLM  # the part that does not feed back
    design: Design  # of that part, as are the weights (draw, neuron, P, J)
    weights: dict[str, Any]
    sites: dict[str, np.ndarray]  # the family's own parameters, (draw, 1, neuron, ...)
    loops: tuple[Loop, ...]
    kernels: np.ndarray  # (lag, basis) of all loops
    modulators: tuple[np.ndarray | None, ...]  # (row, neuron or 1, M)
    behind: np.ndarray  # (row,) rows of its epoch that lie behind each
    seen: np.ndarray | None  # (row, neuron) bool
    dt: float
    draws: int
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and neurons."""
        return self.design.rows, self.model.target.size


def planned(model: GLM, data: xr.Dataset, values: dict[str, np.ndarray]) -> Plan:
    """Take a resolved GLM apart.

    Parameters
    ----------
    model : GLM
    data : xarray.Dataset
        A recording; the response may be absent.
    values : mapping
        Weights of each term (draw, neuron, *shape[, K]); the family's own parameters (draw, neuron, ...).

    Raises
    ------
    ValueError
        Where a covariate is the response itself, or spikes of neurons outside the model are read and not recorded.
    """
    fed = [term for term in model.terms if feeds_back(term, model)]
    _refuse_leaks(model)
    seen = _seen(model, data)
    fixed, known = _fixed(model, data, values, fed)
    design = fixed.design(data)
    gaps = dict(design.report)
    loops, kernels, modulators = [], [], []
    for term in fed:
        first = sum(part.shape[1] for part in kernels)
        loops.append(_loop(term, model, values[term.name], first, seen is not None))
        kernels.append(np.asarray(term.lagged.kernels, float))
        columns = _modulator(term, data, model)
        gaps |= {} if columns is None else {why: int(np.sum(flags)) for why, flags in columns.invalid.items()}
        modulators.append(_rows_first(columns))
    draws = next((len(value) for value in values.values()), 1)
    sites = {name: np.asarray(values[name])[:, None] for name in model.family.hyper(model.response)}
    with double():
        weights = {kind: over_predictors(np.asarray(w), model) for kind, w in weights_of(fixed.blocks(design.at(slice(0, 1))), known).items()}
    notes = tuple(f"{why} in {rows} rows, and counts as zero there" for why, rows in gaps.items() if why.endswith("is NaN"))
    known = {"model": model, "fixed": fixed, "design": design.bare(), "weights": weights, "sites": sites, "draws": draws, "notes": notes}
    past = {"loops": tuple(loops), "kernels": _side_by_side(kernels), "modulators": tuple(modulators), "behind": _behind(epoch_ids(data)), "seen": seen}
    return Plan(**known, **past, dt=bin_width(data))


def feeds_back(term: AbstractTerm, model: GLM) -> bool:
    """Whether a term reads the past of what the model itself explains."""
    part = term.lagged
    if isinstance(part, Coupling):
        return model.response == "spikes" and model.target.receivers is not None and bool(set(part.sources or ()) & set(model.target.receivers))
    return isinstance(part, History)


def swapped(term: AbstractTerm, new: AbstractTerm) -> AbstractTerm:
    """A term with its part that has lags replaced."""
    if isinstance(term, AbstractLagged):
        return new
    if isinstance(term, Product):
        one, two = term.ordered
        return settled(term, left=one, right=swapped(two, new), centre=np.zeros(()))
    if isinstance(term, Pooled) and isinstance(term.of, AbstractTerm):
        return settled(term, of=swapped(term.of, new), centre=np.zeros(()))
    raise ValueError(
        f"simulate does not know how the term {term.name!r} ({type(term).__name__}) reads the past: use History, Coupling, their products or Pooled."
    )


def _refuse_leaks(model: GLM) -> None:
    leaks = [term.name for term in model.terms if model.response in term.needs()]
    if leaks:
        raise ValueError(
            f"simulate: the terms {leaks} read the response {model.response!r} as a covariate, which is what is simulated: use History or Coupling."
        )


def _fixed(model: GLM, data: xr.Dataset, values: dict[str, np.ndarray], fed: list[AbstractTerm]) -> tuple[GLM, dict[str, np.ndarray]]:
    """What does not feed back, and its values: other terms, and recorded cells that the model does not explain."""
    known = dict(values)
    names = {term.name for term in fed}
    terms = [term for term in model.terms if term.name not in names]
    for term in fed:
        kept = _observed_sources(term, model)
        if not kept.any():
            continue
        if "spikes" not in data:
            names = [source for source, keep in zip(term.lagged.sources, kept, strict=True) if keep]
            raise ValueError(f"simulate: {term.name!r} reads the spikes of {names[:8]}, which the model does not explain: they must be in the recording.")
        terms.append(swapped(term, _restricted(term.lagged, kept)))
        known[term.name] = np.compress(kept, values[term.name], axis=len(term.shape))
    return dataclasses.replace(model, terms=Sum(*terms)), known


def over_predictors(weights: np.ndarray, model: GLM) -> np.ndarray:
    """Weights with the family's J predictors last: (...[, K]) -> (..., J)."""
    predictors = model.family.predictors
    return weights[..., None] if predictors is None else weights @ predictors.contrast


def _observed_sources(term: AbstractTerm, model: GLM) -> np.ndarray:
    """(source,) bool: recorded cells that the model does not explain; they keep their recorded past."""
    if not isinstance(term.lagged, Coupling):
        return np.zeros(1, bool)
    return np.array([source not in model.target.receivers for source in (term.lagged.sources or ())])


def _restricted(term: Coupling, kept: np.ndarray) -> Coupling:
    """A coupling to some of its sources."""
    pick = lambda labels: None if labels is None else tuple(label for label, keep in zip(labels, kept, strict=True) if keep)  # noqa: E731
    shape = (int(kept.sum()), term.shape[1])
    return settled(term, sources=pick(term.sources), areas=pick(term.areas), mask=term.mask[:, kept], shape=shape, centre=np.zeros(()))


def _loop(term: AbstractTerm, model: GLM, values: np.ndarray, first: int, skipping: bool) -> Loop:
    """A term's weights, in the order in which the scan reads them."""
    part, mask = term.lagged, term.exists(model.target)
    classes = values.ndim - 1 - mask.ndim
    w = over_predictors(values * mask.reshape(*mask.shape, *(1,) * classes), model)
    draws, neurons, (size, predictors) = w.shape[0], w.shape[1], w.shape[-2:]
    last = first + size
    if isinstance(part, History):
        w = np.ascontiguousarray(w.reshape(draws, neurons, -1, size, predictors).transpose(0, 2, 3, 1, 4))
        return Loop(w, None, first, last, True, part.coded, skipping and part.missing == "skip")
    receivers = {label: i for i, label in enumerate(model.target.receivers)}
    kept = ~_observed_sources(term, model)
    sources = np.array([receivers[label] for label in part.sources if label in receivers])
    w = np.compress(kept, w.reshape(draws, neurons, -1, len(kept), size, predictors), axis=3)
    w = w.transpose(0, 2, 4, 3, 1, 5).reshape(draws, w.shape[2], -1, neurons, predictors)
    every = np.array_equal(sources, np.arange(neurons))
    return Loop(np.ascontiguousarray(w), None if every else sources, first, last, False, False, False)


def _modulator(term: AbstractTerm, data: xr.Dataset, model: GLM) -> Columns | None:
    """The columns by which the part with lags is multiplied; None where there are none."""
    return None if isinstance(term, AbstractLagged) else swapped(term, Baseline(shape=(), centre=np.zeros(()))).columns(data, model.target)


def _rows_first(columns: Columns | None) -> np.ndarray | None:
    """(row, neuron or 1, M)."""
    if columns is None:
        return None
    if columns.own is None:
        return np.asarray(columns.shared, float).reshape(len(columns.shared), 1, -1)
    return np.moveaxis(np.asarray(columns.own, float).reshape(*columns.own.shape[:2], -1), 0, 1)


def _seen(model: GLM, data: xr.Dataset) -> np.ndarray | None:
    """(row, neuron) bool where some response is missing, for terms whose lags step over such rows."""
    if not any(isinstance(term.lagged, History) and term.lagged.missing == "skip" for term in model.terms):
        return None
    observed = model.target.observed(data)
    if model.response in data:
        observed = finite(model.target.values(data), observed)
    return None if observed is None or observed.all() else observed


def _side_by_side(kernels: list[np.ndarray]) -> np.ndarray:
    """Kernels of one length, zero beyond their own."""
    lags = max((len(part) for part in kernels), default=0)
    return np.concatenate([np.pad(part, ((0, lags - len(part)), (0, 0))) for part in kernels], 1) if kernels else np.zeros((0, 0))


def _behind(epochs: np.ndarray) -> np.ndarray:
    """How many rows of its own epoch lie behind each row."""
    rows = np.arange(epochs.size)
    begins = np.flatnonzero(np.r_[True, np.diff(epochs) != 0]) if epochs.size else rows
    return rows - np.repeat(begins, np.diff(np.r_[begins, epochs.size]))
