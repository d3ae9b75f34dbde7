"""Predictions of rows by fits that never saw them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from bayesglm._classes import class_count, class_names, mean_probabilities
from bayesglm._comparing._kfold import _fit_of_fold, _quiet
from bayesglm._comparing._kfold_record import Folding, Task
from bayesglm._comparing._kfold_rows import Fold, planned
from bayesglm._data import is_time, period, row_dim
from bayesglm._data._split import _distance
from bayesglm._decoding._input import circular_mean
from bayesglm._decoding._metrics import wrapped
from bayesglm._double import double
from bayesglm._fit import Fit
from bayesglm._glm import GLM
from bayesglm._likelihood import Source, gathered, log_mean_chunks, response_chunks, response_of, source
from bayesglm._null import null_of
from bayesglm.engine.separation import separable
from bayesglm.method import AbstractMethod

INTERVAL = 0.9
_DRAWS = 400  # predictive draws behind an interval; a point gives as many from its one law
_MOST_ROWS, _LARGEST = 2000, 200_000  # of what is looked at for a rule that separates it


class FoldNote(NamedTuple):
    """How the fit of one fold went."""

    converged: bool
    separated: bool
    seconds: float
    rows: int
    pareto_k: float  # of a Laplace approximation; NaN for other methods
    notes: tuple[str, ...]


class Predicted(NamedTuple):
    """Rows as their folds predicted them; NaN where no fold did. ``columns`` are (row,), or (row, class) for "probability"."""

    columns: dict[str, np.ndarray]
    notes: list[FoldNote]


class Work(NamedTuple):
    """What the fits of all folds share."""

    data: xr.Dataset
    plan: list[Fold]
    common: np.ndarray  # (row,) bool: rows that every model can read
    method: AbstractMethod
    key: Any


def plan_of(data: xr.Dataset, k: Any, by: str, gap: float) -> tuple[list[Fold], np.ndarray | None]:
    """The folds: ``k`` runs of neighbours, or those that an array (row,) numbers; and that array."""
    if np.ndim(k) == 0:
        return planned(data, k, by, gap), None
    rows = data.sizes[row_dim(data)]
    ids = np.asarray(k)
    if ids.shape != (rows,) or ids.dtype.kind not in "biuU" or np.unique(ids).size < 2:
        raise ValueError(f"k= wants a number of folds, or the fold of each row as whole numbers or names, ({rows},), two folds or more; got {ids.shape}.")
    plan = []
    for fold in np.unique(ids):
        test, rest = np.flatnonzero(ids == fold), np.flatnonzero(ids != fold)
        part = np.zeros(rows, bool)
        part[rest[_distance(data, rest, test) >= gap - 1e-9]] = True
        if not part.any():
            raise ValueError(f"cross_validate: gap={gap:g} leaves fold {fold!r} nothing to learn from; lower gap.")
        plan.append(Fold(test, part, part))
    return plan, ids


def interleaved(ids: np.ndarray) -> bool:
    """Whether the folds are no runs of neighbouring rows."""
    return int((ids[1:] != ids[:-1]).sum()) + 1 > np.unique(ids).size


def out_of_fold(model: GLM, work: Work, tell: Callable[[int], None]) -> Predicted:
    """Every row by the fit of the fold that did not see it."""
    task = Task(model, model, work.data, None, work.common, work.plan, work.method, Folding(k=len(work.plan), progress=False))
    columns: dict[str, np.ndarray] = {}
    notes = []
    for i, fold in enumerate(work.plan):
        key = jax.random.fold_in(work.key, i)
        with _quiet():
            fit = _fit_of_fold(task, fold, key, "")
        read = _read(fit, work, fold, jax.random.fold_in(key, 1))
        for name, values in read.items():
            column = columns.setdefault(name, np.full((len(work.common), *values.shape[1:]), np.nan))
            column[fold.test] = values
        columns.setdefault("fold", np.full(len(work.common), -1))[fold.test] = i
        notes.append(_note(fit, work, fold))
        tell(i)
    return Predicted(columns, notes)


def _read(fit: Fit, work: Work, fold: Fold, key: Any) -> dict[str, np.ndarray]:
    """What a fit says of its fold's test rows, NaN where they cannot be read."""
    made = source(fit, work.data, common=False).at(fold.test)
    made = made._replace(scored=made.scored & work.common[fold.test, None])
    y = np.asarray(response_of(made), float)[:, 0]
    size = class_count(fit.model.family)
    found = _of_classes(fit, made, y, size, work, fold) if size is not None else _of_values(fit, made, y, key)
    seen = made.scored[:, 0]
    return {name: np.where(seen.reshape(-1, *(1,) * (values.ndim - 1)), values, np.nan) for name, values in (found | {"truth": y}).items()}


def _of_classes(fit: Fit, made: Source, y: np.ndarray, size: int, work: Work, fold: Fold) -> dict[str, np.ndarray]:
    p = mean_probabilities(made, size)[:, 0]
    p = p / p.sum(1, keepdims=True)
    learned = np.asarray(work.data[fit.model.response].values, float)[fold.kept & work.common]
    counts = np.bincount(learned[np.isfinite(learned)].astype(int), minlength=size) + 0.5
    code = y.astype(int)
    with np.errstate(divide="ignore"):
        return {"probability": p, "log_density": np.log(p[np.arange(y.size), code]), "null": np.log(counts / counts.sum())[code]}


def _of_values(fit: Fit, made: Source, y: np.ndarray, key: Any) -> dict[str, np.ndarray]:
    circle = period(fit.data, fit.model.response)
    estimate = _estimate(made, circle)
    off = wrapped(_predictive(made, key) - estimate, circle)
    if circle is None:
        low, high = np.quantile(off, [0.5 - INTERVAL / 2, 0.5 + INTERVAL / 2], axis=0)
    else:
        high = np.quantile(np.abs(off), INTERVAL, axis=0)
        low = -high
    found = {"estimate": estimate, "low": estimate + low, "high": estimate + high, "log_density": gathered(made, log_mean_chunks(made))[:, 0]}
    return found | {"null": _null(fit, made, y)}


def _estimate(made: Source, circle: float | None) -> np.ndarray:
    """(row,) mean over draws of each one's mean, circular on circles."""
    found = np.empty(len(made.scored))
    for rows, values in response_chunks(made, "mean"):
        found[rows] = values[:, :, 0].mean(0) if circle is None else circular_mean(values[:, :, 0], circle)
    return found


def _predictive(made: Source, key: Any) -> np.ndarray:
    """(draw, row) draws of the response."""
    rounds = []
    for i in range(max(1, -(-_DRAWS // made.draws))):
        drawn = np.empty((made.draws, len(made.scored)))
        for rows, values in response_chunks(made, "response", jax.random.fold_in(key, i)):
            drawn[:, rows] = values[:, :, 0]
        rounds.append(drawn)
    return np.concatenate(rounds)


def _null(fit: Fit, made: Source, y: np.ndarray) -> np.ndarray:
    """(row,) log density by the constant of the fold's training rows."""
    null = null_of(fit)
    with double():
        level = np.broadcast_to(null.level, (y.size, *null.level.shape))
        law = null.family(level, null.hyper, made.dt)
        return np.asarray(law.log_prob(np.where(made.scored, y[:, None], 0.0)))[:, 0]


def _note(fit: Fit, work: Work, fold: Fold) -> FoldNote:
    rows = fold.kept & work.common
    separated = class_count(fit.model.family) is not None and (_told_apart(fit, work, rows) or _any_rule(fit, work, rows))
    k = float(np.max(fit.stats.get("neuron_pareto_k", np.nan)))
    return FoldNote(bool(fit.stats["converged"]), separated, float(fit.stats["seconds"]), int(rows.sum()), k, tuple(fit.stats["notes"]))


def _told_apart(fit: Fit, work: Work, rows: np.ndarray) -> bool:
    """Whether the mean weights put every training row on its own side."""
    made = source(fit, work.data, common=False).at(np.flatnonzero(rows))
    made = made._replace(values={name: values.mean(0, keepdims=True) for name, values in made.values.items()})
    p = mean_probabilities(made, class_count(fit.model.family))[:, 0]
    seen = made.scored[:, 0]
    return bool((p.argmax(1) == np.asarray(response_of(made), float)[:, 0])[seen].all())


def _any_rule(fit: Fit, work: Work, rows: np.ndarray) -> bool:
    """Whether some linear rule tells the training rows of two classes apart; False also where there are too many to look at."""
    if class_names(fit.model.family) is not None or rows.sum() > _MOST_ROWS:
        return False
    design = fit.model.design(work.data).at(np.flatnonzero(rows))
    parts = [np.asarray(block.shared, float).reshape(design.rows, -1) for block in fit.model.blocks(design) if block.shared is not None]
    columns = np.concatenate([part / np.maximum(np.abs(part).max(0), 1e-300) for part in parts], 1)
    if columns.shape[1] >= design.rows:  # they span every pattern over the rows, unless rows repeat
        values = np.linalg.eigvalsh(columns @ columns.T)
        return bool(values[0] > 1e-10 * values[-1])
    return columns.size <= _LARGEST and bool(separable(columns, np.asarray(design.each["response"])[0] > 0, False))


def scheme_of(data: xr.Dataset, by: str, plan: list[Fold], ids: np.ndarray | None, gap: float) -> str:
    """What was left out, in words."""
    if ids is not None:
        return f"one of {len(plan)} folds as passed at a time"
    what = {"block": "block of neighbouring rows", "epoch": "run of epochs", "trial": "run of trials", "session": "run of sessions"}[by]
    return f"one {what} of {len(plan)} at a time" + (f", gap {gap:g} {'s' if is_time(data) else 'trials'}" if gap else "")
