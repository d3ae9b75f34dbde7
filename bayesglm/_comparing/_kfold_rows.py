"""Which rows a fold learns from, and on which it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._autocorrelation import covariates, slowest
from bayesglm._data import epoch_ids, folds, is_time, row_dim
from bayesglm._data._split import _take
from bayesglm._model import AbstractModel, Design

BY = ("block", "epoch", "trial", "session")
_PLACE = "place_of_row"


class Fold(NamedTuple):
    """One fold: positions of its test rows, and which rows it learns from."""

    test: np.ndarray  # (row,) int
    part: np.ndarray  # (row,) bool: rows of the training part; all that is learned is learned there
    kept: np.ndarray  # (row,) bool: those of them whose filters read no row outside the part: the likelihood's rows


def default_by(data: xr.Dataset, by: str | None) -> str:
    """What is never cut, checked; blocks of time rows and single trials by default."""
    by = ("block" if is_time(data) else "trial") if by is None else by
    if by not in BY:
        raise ValueError(f"kfold(by={by!r}): what is left out together is one of {', '.join(map(repr, BY))}.")
    return by


def planned(data: xr.Dataset, k: int, by: str, gap: float) -> list[Fold]:
    """The folds of ``bg.folds``, as positions of rows; nothing is purged yet.

    Raises
    ------
    ValueError
        As ``bg.folds``.
    """
    row = row_dim(data)
    rows = data.sizes[row]
    bare = data.drop_vars([str(name) for name in data.data_vars]).assign_coords({_PLACE: (row, np.arange(rows))})
    found = []
    for train, test in folds(bare, k, by, gap):
        part = np.zeros(rows, bool)
        part[train[_PLACE].values] = True
        found.append(Fold(test[_PLACE].values, part, part))
    return found


def purged(plan: Sequence[Fold], models: Sequence[AbstractModel], data: xr.Dataset) -> list[Fold]:
    """Folds without the training rows whose filters read a row outside the training part, before it or after.

    ``models`` are resolved; the filters of all of them count, so that models that are compared learn from the same rows.
    """
    epochs = epoch_ids(data)
    lagged = [term.lagged for model in models for term in getattr(model, "terms", ()) if term.lagged is not None]
    found = []
    for fold in plan:
        reading = np.zeros(len(epochs), bool)
        for term in lagged:
            reading |= term.reading(~fold.part, epochs)
        found.append(fold._replace(kept=fold.part & ~reading))
    return found


def training_part(data: xr.Dataset, fold: Fold) -> xr.Dataset:
    """The rows that a fold learns from, as a recording: before and after the test rows are separate epochs."""
    return _take(data, np.flatnonzero(fold.part))


def held_out_part(data: xr.Dataset, fold: Fold) -> xr.Dataset:
    """The test rows as a recording."""
    return _take(data, fold.test)


def masked(design: Design, rows: np.ndarray | None) -> Design:
    """The design with only ``rows`` (row,) scored; None: as it is."""
    return design if rows is None else replace(design, scored=np.asarray(design.scored) * rows)


def check_learnable(plan: Sequence[Fold], scored: np.ndarray, labels: Any) -> None:
    """Raise where a neuron (row, neuron) ``scored`` is judged in a fold that has nothing to learn it from."""
    for i, fold in enumerate(plan):
        lost = ~scored[fold.kept].any(0) & scored[fold.test].any(0)
        if lost.any():
            who = ", ".join(map(str, np.asarray(labels)[lost][:8])) if labels is not None else "the response"
            raise ValueError(f"kfold: fold {i + 1} of {len(plan)} leaves no row to learn {who} from: fold by something else, lower gap, or drop neurons.")


def nearness(model: AbstractModel, data: xr.Dataset, gap: float) -> str:
    """A note where the test rows begin within the memory of what the model explains and reads; empty where not."""
    if not is_time(data):
        return ""
    response = tuple(name for name in (model.observed_site(),) if name is not None and name in data)
    seconds, who = slowest(data, (*response, *covariates(model, data)))
    if gap >= seconds * (1 - 1e-9) - 1e-9:
        return ""
    return f"training rows begin {gap:.3g} s from test rows, and {who!r} remembers {seconds:.3g} s: the rows at a test block's edges are not independent"
