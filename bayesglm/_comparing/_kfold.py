"""kfold(): how well are parts of a recording predicted that had no say in anything that was learned?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayesglm import _fit as fits
from bayesglm._comparing._elpd import Elpd
from bayesglm._comparing._kfold_record import Folding, Outcome, Task, record
from bayesglm._comparing._kfold_rows import Fold, check_learnable, default_by, held_out_part, masked, planned, purged, training_part
from bayesglm._comparing._kfold_stacked import Stack, all_rows, groups, of_group, stack
from bayesglm._data import bin_width
from bayesglm._double import in_double
from bayesglm._examine import DesignNote, examine
from bayesglm._function import FunctionModel
from bayesglm._glm import GLM
from bayesglm._likelihood import Source, gathered, log_mean_chunks, source
from bayesglm._model import AbstractModel
from bayesglm._progress import progress_bar
from bayesglm.method import AbstractMethod
from bayesglm.method._base import silent


@in_double
def kfold(
    model: AbstractModel,
    data: xr.Dataset,
    k: int = 10,
    by: str | None = None,
    method: str | AbstractMethod = "nuts",
    gap: float = 0.0,
    *,
    key: Any = 0,
    progress: bool = True,
) -> Elpd:
    """K-fold predictive density: sum over rows of log mean_d p(y | its past, draw d), d from a fit without the row's fold.

    All that is learned (scales, knots, sds, centres) is learned in each fold from its training rows. Rows are masked,
    never removed: test rows read their real past. Training rows whose filters read a test row, before or after, are not
    scored, nor are those within ``gap`` seconds of one.

    Parameters
    ----------
    model : AbstractModel
        As it was written, not the resolved model of a fit.
    data : xarray.Dataset
        A recording.
    k : int
        Number of folds.
    by : "block", "epoch", "trial" or "session", optional
        What is never cut (see ``bg.folds``). Default: "block" for time rows, "trial" for trial rows.
    method : str or AbstractMethod
        As in ``fit``. The folds of a GLM's MAP and Laplace fits are columns of one problem; others are fitted one by one.
        A point (MAP) gives the plug-in density, and the result says so.
    gap : float
        What is left out of training on both sides of test rows beyond the filters' reach, in s (trials on trial rows).
    key : int or JAX key
    progress : bool

    Returns
    -------
    Elpd
        In nats, a row a unit (``unit`` is "bin" or "trial"); the standard error is over blocks of time as ``loo``'s (over
        trials with ``by="trial"``). ``p`` is the log density by a fit to all rows minus elpd.

    Raises
    ------
    ValueError
        Unknown ``by``, more folds than blocks, a resolved model, a fold that leaves a neuron nothing to be learned from.

    Warns
    -----
    NotConverged
        Where the fit of any fold did not converge.

    References
    ----------
    Roberts et al. 2017, Cross-validation strategies for data with temporal structure; Vehtari, Gelman and Gabry 2017.

    Examples
    --------
    >>> import bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=600)
    >>> data = bg.recording(dt=0.1, spikes=rng.poisson(np.exp(x - 1))[:, None], x=x)
    >>> model = bg.GLM(bg.Baseline() + bg.Linear("x"))
    >>> found = bg.kfold(model, data, k=5, method="laplace", progress=False)
    >>> found.ic, found.n_data_points, bool(0 < found.p < 6)
    ('kfold', 600, True)
    """
    return run(model, data, fits.chosen_method(method), Folding(k, by, gap, key, progress))


def run(
    model: AbstractModel, data: xr.Dataset, method: AbstractMethod, how: Folding, common: np.ndarray | None = None, others: Sequence[AbstractModel] = ()
) -> Elpd:
    """``kfold``; ``common`` (row,) are the rows that all models of a comparison score, ``others`` the resolved models beside it."""
    fits._checked_arguments(model, data)
    if isinstance(model, GLM) and model.target is not None:
        raise ValueError("kfold: this model was resolved on a recording, and a fold would learn nothing of its own: pass the model as you wrote it.")
    how = how._replace(by=default_by(data, how.by), gap=float(how.gap))
    resolved = model.resolve(data)
    plan = purged(planned(data, how.k, how.by, how.gap), (resolved, *others), data)
    design = masked(resolved.design(data), common)
    task = Task(model, resolved, data, design, common, plan, method, how)
    if isinstance(design.each, dict):
        check_learnable(plan, np.broadcast_to(np.asarray(design.weight()) > 0, (design.rows, design.size)), resolved.coords().get("neuron"))
    stacked = stack(model, resolved, design, data, plan, method) if isinstance(model, GLM) else None
    found = _one_by_one(task) if stacked is None else _together(task, stacked)
    if found.lost:
        named = ", ".join(str(i + 1) for i in found.lost[:8])
        warnings.warn(f"kfold: the fits of fold(s) {named} of {len(plan)} did not converge.", fits.NotConverged, stacklevel=4)
        found = found._replace(notes=(*found.notes, f"the fits of fold(s) {named} did not converge"))
    return record(task, found)


def _together(task: Task, stacked: Stack) -> Outcome:
    """All folds of a neuron at once."""
    how, neurons = task.how, stacked.problem.linear.size
    notes = examine(task.resolved, task.design)
    key = jax.random.key(how.key) if isinstance(how.key, (int, np.integer)) else how.key
    with progress_bar(how.progress, "kfold") as monitor:
        whole, modes = all_rows(stacked, task.method, key, silent)
        made = _read(task, np.arange(neurons), whole.values)
        inside = _log_means(made)
        left_out, reached = np.full_like(inside, np.nan), np.ones(len(task.plan), bool)
        draws = next(iter(whole.values.values())).shape[0]
        for places in groups(stacked, draws):
            found = of_group(stacked, task.method, places, modes, key)
            reached &= found.converged.all(0)
            for i, fold in enumerate(task.plan):
                values = {name: value[:, :, i] for name, value in found.values.items()}
                left_out[np.ix_(fold.test, places)] = _log_means(_read(task, places, values), fold.test)
            if monitor is not None:
                monitor(int(places[-1]) + 1, neurons, None, f"{places[-1] + 1} of {neurons} neurons" if neurons > 1 else f"{len(task.plan)} folds")
    said = () if whole.converged.all() else ("the fit to all rows did not converge: p is not to be trusted",)
    return Outcome(left_out, inside, made, tuple(np.flatnonzero(~reached)), (*notes, *whole.notes, *said))


def _read(task: Task, places: np.ndarray, values: dict[str, np.ndarray]) -> Source:
    """Draws (draw, neuron, ...) of some neurons, to be read on any rows."""
    design = task.design.neurons(places).bare()
    scored = np.broadcast_to(np.asarray(design.weight()) > 0, (design.rows, len(places)))
    return Source(task.resolved, design, values, scored.copy(), bin_width(task.data), 1)


def _one_by_one(task: Task) -> Outcome:
    """A fit a fold, on arrays of one shape where the model can mask rows."""
    how, k = task.how, len(task.plan)
    key = jax.random.key(how.key) if isinstance(how.key, (int, np.integer)) else how.key
    whole = fits._fit(task.resolved, task.data, task.design, task.method, key, how.progress, task.common, "all rows")
    made = source(whole)
    inside, lost = _log_means(made), []
    left_out = np.full_like(inside, np.nan)
    for i, fold in enumerate(task.plan):
        with _quiet():
            one = _fit_of_fold(task, fold, jax.random.fold_in(key, i), f"fold {i + 1} of {k}")
        if not one.stats["converged"]:
            lost.append(i)
        left_out[fold.test] = _test_rows(task, fold, one)
    return Outcome(left_out, inside, made, tuple(lost), tuple(whole.stats["notes"]))


def _fit_of_fold(task: Task, fold: Fold, key: Any, title: str) -> fits.Fit:
    """A GLM is fitted on masked rows of the whole recording, any other model on the training part by itself."""
    part = training_part(task.data, fold)
    learned = task.model.resolve(part)
    if isinstance(learned, GLM):
        rows = fold.kept if task.common is None else fold.kept * task.common
        return fits._fit(learned, task.data, masked(learned.design(task.data), rows), task.method, key, task.how.progress, rows.astype(float), title)
    common = None if task.common is None else np.asarray(task.common)[fold.part]
    return fits._fit(learned, part, masked(learned.design(part), common), task.method, key, task.how.progress, common, title)


def _test_rows(task: Task, fold: Fold, one: fits.Fit) -> np.ndarray:
    """(test row, neuron) log densities; rows that the comparison does not share are NaN."""
    if isinstance(one.model, FunctionModel):  # it knows no masks and no epochs: its rows are all that it is given
        return _log_means(source(one, held_out_part(task.data, fold)))
    made = source(one, task.data, common=False)
    if task.common is not None:
        made = made._replace(scored=made.scored & (np.asarray(task.common) > 0)[:, None])
    return _log_means(made, fold.test)


def _log_means(made: Source, rows: np.ndarray | None = None) -> np.ndarray:
    """(row, neuron) log of the draw-averaged probability, of some rows; NaN where not scored."""
    if rows is None or not (isinstance(made.design.each, dict) and "cells" in made.design.each):
        found = np.where(made.scored, gathered(made, log_mean_chunks(made)), np.nan)
        return found if rows is None else found[rows]
    part = made._replace(design=made.design.at(rows), scored=made.scored[rows])
    return np.where(part.scored, gathered(part, log_mean_chunks(part)), np.nan)


@contextmanager
def _quiet() -> Iterator[None]:
    """What is said of the fit to all rows is not said again of every fold."""
    with warnings.catch_warnings():
        for category in (fits.NotConverged, DesignNote):
            warnings.simplefilter("ignore", category)
        yield
