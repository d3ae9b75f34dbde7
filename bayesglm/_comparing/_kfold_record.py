"""What K-fold found, as a record."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._comparing._cut import cut, default_block, present_clusters
from bayesglm._comparing._elpd import Elpd
from bayesglm._comparing._kfold_rows import Fold, nearness
from bayesglm._comparing._loo import _identity
from bayesglm._data import is_time, row_dim
from bayesglm._likelihood import Source, labels_of
from bayesglm._model import AbstractModel, Design
from bayesglm.method import AbstractMethod

PLUG_IN = "plug-in density at a point (MAP): what is not known of the parameters is not averaged over"


class Folding(NamedTuple):
    """How a recording is folded, and how the run goes."""

    k: int = 10
    by: str | None = None
    gap: float = 0.0
    key: Any = 0
    progress: bool = True


class Task(NamedTuple):
    """A model as it was written, resolved on all rows, and the folds that it is learned in."""

    model: AbstractModel
    resolved: AbstractModel
    data: xr.Dataset
    design: Design  # scored where all models of a comparison can score
    common: np.ndarray | None  # (row,) those rows
    plan: list[Fold]
    method: AbstractMethod
    how: Folding


class Outcome(NamedTuple):
    """(row, neuron) log densities of every row, by the fold that did not see it and by all rows; NaN where not scored."""

    left_out: np.ndarray
    inside: np.ndarray
    made: Source
    lost: tuple[int, ...]  # folds that did not converge
    notes: tuple[str, ...]


class _Read(NamedTuple):
    """As much of a fit as blocks and labels are found from."""

    model: AbstractModel
    data: xr.Dataset


def record(task: Task, found: Outcome) -> Elpd:
    data, how = task.data, task.how
    row, unit = row_dim(data), "bin" if is_time(data) else "trial"
    known = np.isfinite(found.left_out)
    made = found.made._replace(scored=known)
    fit = _Read(task.resolved, data)
    joint = np.where(known.any(1), np.where(known, found.left_out, 0.0).sum(1), np.nan)
    se = "trial" if unit == "trial" or how.by == "trial" else "block"
    block = default_block({"": fit}, joint, "pointwise log densities") if se == "block" else None
    plan = cut(data, unit, se, block)
    labels = labels_of(fit, known.shape[1])
    begins = data[row].values if row in data.coords else np.arange(data.sizes[row])
    coords = {unit: begins, "neuron": np.arange(1) if labels is None else labels}
    elpd, p = (xr.DataArray(values, coords, [unit, "neuron"], name) for values, name in ((found.left_out, "elpd"), (found.inside - found.left_out, "p")))
    length, why = plan.block or (None, "")
    notes = (*([PLUG_IN] if task.method.point else []), *found.notes, *filter(None, [nearness(task.resolved, data, how.gap)]))
    return Elpd(
        ic="kfold",
        elpd_i=elpd,
        p_i=p,
        pareto_k=xr.full_like(elpd, np.nan).rename("pareto_k"),
        good_k=np.nan,
        unit=unit,
        se_unit=se,
        block=length,
        block_why=why,
        cluster=present_clusters(plan.clusters, known.any(1)),
        n_samples=found.made.draws,
        identity=_identity(fit, made),
        notes=notes,
        scheme=_scheme(task),
    )


def _scheme(task: Task) -> str:
    """What was left out, in words."""
    how, lost = task.how, np.mean([(fold.part & ~fold.kept).sum() for fold in task.plan])
    unit = "s" if is_time(task.data) else "trials"
    what = {"block": "block of neighbouring rows", "epoch": "run of epochs", "trial": "run of trials", "session": "run of sessions"}[how.by]
    purge = f", and {lost:.0f} training rows a fold that read it" if lost else ""
    return f"one {what} of {len(task.plan)} at a time, gap {how.gap:g} {unit}{purge}"
