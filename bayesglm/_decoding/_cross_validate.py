"""cross_validate(): held-out scores of decoders, on the same folds, with everything learned in the fold."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayesglm import _fit as fits
from bayesglm._autocorrelation import covariates, slowest
from bayesglm._classes import class_names
from bayesglm._comparing._kfold_record import PLUG_IN
from bayesglm._comparing._kfold_rows import default_by, nearness, planned, purged, training_part
from bayesglm._data import bin_width, epoch_ids, is_time, period, require_column, row_dim
from bayesglm._decoding._blocks import cluster_ids
from bayesglm._decoding._cross_validate_rows import INTERVAL, FoldNote, Predicted, Work, interleaved, out_of_fold, plan_of, scheme_of
from bayesglm._decoding._cross_validated import CrossValidated, differences
from bayesglm._decoding._decoding_score import scored, tabled
from bayesglm._decoding._input import Given
from bayesglm._decoding._metrics import Classes, Points, Truth
from bayesglm._double import in_double
from bayesglm._glm import GLM
from bayesglm._progress import progress_bar
from bayesglm.family import Bernoulli
from bayesglm.family._choices import AbstractClasses
from bayesglm.method import AbstractMethod

NESTED = "chosen in the fold"
_BINS, BAD_K = 10, 0.7


class DecodingNote(UserWarning):
    """Something about held-out scores that their reader wants to know."""


@in_double
def cross_validate(
    models: GLM | Mapping[str, GLM],
    data: xr.Dataset,
    k: Any = 10,
    by: str | None = None,
    method: str | AbstractMethod = "laplace",
    gap: float = 0.0,
    *,
    nested: bool | int = False,
    chance: int = 200,
    key: Any = 0,
    progress: bool = True,
) -> CrossValidated:
    """Cross-validate decoders: every row is predicted by a fit that saw nothing of its fold, and scored.

    p(y_t) = mean_d p(y_t | x_t, draw d), d from the training rows of the fold. Scales, centres, units and, where
    ``nested``, the choice among models are all learned there.

    Parameters
    ----------
    models : GLM or mapping of names to GLMs
        Decoders of one response (row,), as they were written: Bernoulli, Categorical, Ordinal, VonMises, Gaussian and
        other families. Several are scored on the same rows and folds.
    data : xarray.Dataset
        A recording.
    k : int or array (row,)
        Number of folds, runs of neighbours; or the fold of each row.
    by : "block", "epoch", "trial" or "session", optional
        What is never cut (see ``bg.folds``). Default: "block" for time rows, "trial" for trial rows. Standard errors are
        over trials on trial rows, else over blocks of 20 correlation times, or over what ``by`` names.
    method : str or AbstractMethod
        As in ``fit``. "laplace" is fast; where classes have few rows and many columns the posterior lies farther out than
        its mode, so that a Gaussian around the mode gives probabilities that are too cautious, and a Pareto k above 0.7 says
        so: then "nuts". A point (MAP) gives plug-in probabilities, and the result says so.
    gap : float
        What is left out of training on either side of test rows, in s (trials on trial rows).
    nested : bool or int
        Also choose one of ``models`` inside each training part, by the log loss of that many inner folds (True: 5), and
        score what was chosen: the honest score of a choice.
    chance : int
        Permutations of the truth's blocks for the chance level.
    key : int or JAX key
    progress : bool

    Returns
    -------
    CrossValidated
        Scores with standard errors and chance level, paired differences with verdicts, the held-out predictions, how
        each fold's fit went. ``bg.reliability(record.predictions[name]["probability"], ...["truth"])`` is the curve.

    Raises
    ------
    ValueError
        A response with neurons (``bg.kfold`` is for those), models of different responses, ``nested`` with one model,
        folds that do not fit the recording.

    Warns
    -----
    DecodingNote
        Interleaved folds of rows that remember their neighbours; folds whose fit did not converge.

    References
    ----------
    Roberts et al. 2017, Cross-validation strategies for data with temporal structure. Varma & Simon 2006, Bias in error
    estimation when using cross-validation for model selection.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm import family
    >>> rng = np.random.default_rng(0)
    >>> counts = rng.poisson(3, (120, 4))
    >>> trials = bg.recording(rows="trial", counts=counts, choice=rng.binomial(1, 1 / (1 + np.exp(3.0 - counts[:, 0]))))
    >>> decoder = bg.GLM(bg.Baseline() + bg.Linear("counts"), family.Bernoulli(), response="choice")
    >>> found = bg.cross_validate(decoder, trials, k=5, progress=False)
    >>> bool(found["model"]["value"].sel(metric="accuracy") > 0.6)
    True
    """
    named = dict(models) if isinstance(models, Mapping) else {"model": models}
    _check(named, data, nested)
    how, by = fits.chosen_method(method), default_by(data, by)
    resolved = {name: model.resolve(data) for name, model in named.items()}
    named = {name: _with_classes(model, resolved[name]) for name, model in named.items()}
    plan, ids = plan_of(data, k, by, float(gap))
    plan = purged(plan, tuple(resolved.values()), data)
    common = np.min([np.asarray(model.design(data).weight())[:, 0] > 0 for model in resolved.values()], axis=0)
    work = Work(data, plan, common, how, jax.random.key(key) if isinstance(key, (int, np.integer)) else key)
    inner = 5 if nested is True else int(nested)
    found, chosen = _run(named, work, by, float(gap), inner, progress)
    notes = [*_warned(next(iter(resolved.values())), data, ids, by, float(gap)), *_fold_notes(found, how)]
    seed = int(key) if isinstance(key, (int, np.integer)) else 0
    return _record(found, work, resolved, by, chosen, scheme_of(data, by, plan, ids, float(gap)), tuple(notes), chance, seed)


def _check(named: dict[str, GLM], data: Any, nested: bool | int) -> None:
    if not named:
        raise ValueError("cross_validate wants a model, or a mapping of names to models; it is empty.")
    for name, model in named.items():
        fits._checked_arguments(model, data)
        if not isinstance(model, GLM):
            raise ValueError(f"cross_validate: model {name!r} is a {type(model).__name__}; decoders are GLMs with a family and a response.")
        if model.target is not None:
            raise ValueError(f"cross_validate: model {name!r} was resolved on a recording, and a fold would learn nothing of its own: pass it as you wrote it.")
        if "neuron" in require_column(data, model.response, "cross_validate").dims:
            raise ValueError(f"cross_validate scores decoders, and the response {model.response!r} of {name!r} has neurons: bg.kfold is for those.")
    about = {(model.response, isinstance(model.family, AbstractClasses | Bernoulli)) for model in named.values()}
    if len(about) > 1:
        raise ValueError(f"cross_validate: the models explain {sorted({response for response, _ in about})}: pass models of one response and of one kind.")
    if nested and len(named) < 2:
        raise ValueError("cross_validate(nested=): there is one model and nothing to choose; pass several, as in {'narrow': ..., 'wide': ...}.")
    if nested and len({getattr(model.family, "measure", "") for model in named.values()}) > 1:
        raise ValueError("cross_validate(nested=): the models' densities are not over the same space, so that log losses cannot choose among them.")
    if NESTED in named:
        raise ValueError(f"cross_validate: {NESTED!r} names the nested choice; give this model another name.")
    if nested is not True and (int(nested) < 0 or int(nested) == 1):
        raise ValueError(f"cross_validate(nested={nested!r}): the number of inner folds, two or more, or True for five.")


def _with_classes(model: GLM, resolved: GLM) -> GLM:
    """How many classes there are is no result: a fold whose training part lacks one still knows of it."""
    if not isinstance(model.family, AbstractClasses):
        return model
    return dataclasses.replace(model, family=dataclasses.replace(model.family, classes=resolved.family.size))


def _run(named: dict[str, GLM], work: Work, by: str, gap: float, inner: int, progress: bool) -> tuple[dict[str, Predicted], tuple[str, ...]]:
    """Predictions of every model, and of the nested choice."""
    folds = len(work.plan)
    total, done, chosen = len(named) * folds * (1 + inner), 0, []
    with progress_bar(progress, "cross_validate") as monitor:

        def tell(what: str) -> None:
            nonlocal done
            done += 1
            if monitor is not None:
                monitor(done, total, None, what)

        found = {name: out_of_fold(model, work, lambda i, name=name: tell(f"{name}, fold {i + 1} of {folds}")) for name, model in named.items()}
        for i in range(folds) if inner else ():
            chosen.append(_choice(named, work, i, by, gap, inner, lambda _, i=i: tell(f"inner folds of fold {i + 1} of {folds}")))
    if chosen:
        found[NESTED] = _assembled(found, work, chosen)
    return found, tuple(chosen)


def _choice(named: dict[str, GLM], work: Work, i: int, by: str, gap: float, inner: int, tell: Any) -> str:
    """The model of largest log density over inner folds of one fold's training part."""
    fold = work.plan[i]
    part = training_part(work.data, fold)
    plan = purged(planned(part, inner, by, gap), [model.resolve(part) for model in named.values()], part)
    inside = Work(part, plan, work.common[fold.part], work.method, jax.random.fold_in(work.key, 1000 + i))
    return max(named, key=lambda name: np.nansum(out_of_fold(named[name], inside, tell).columns["log_density"]))


def _assembled(found: dict[str, Predicted], work: Work, chosen: list[str]) -> Predicted:
    """Each fold's rows by the model that was chosen in it."""
    columns = {name: values.copy() for name, values in found[chosen[0]].columns.items()}
    for fold, name in zip(work.plan, chosen, strict=True):
        for column, values in found[name].columns.items():
            columns[column][fold.test] = values[fold.test]
    return Predicted(columns, [found[name].notes[i] for i, name in enumerate(chosen)])


def _warned(model: GLM, data: xr.Dataset, ids: np.ndarray | None, by: str, gap: float) -> list[str]:
    """What is doubtful about the folds; interleaved ones of rows that remember are also warned of."""
    if ids is None or not interleaved(ids):
        return [note for note in (nearness(model, data, gap) if by in ("block", "epoch") else "",) if note]
    memory, who = slowest(data, (model.response, *covariates(model, data)))
    if memory <= 0:
        return []
    unit = "s" if is_time(data) else "trials"
    note = f"the folds are interleaved, and {who!r} remembers {memory:.3g} {unit}: training rows beside test rows give them away; k=10 takes runs of rows"
    warnings.warn(f"cross_validate: {note}.", DecodingNote, stacklevel=5)
    return [note]


def _fold_notes(found: dict[str, Predicted], how: AbstractMethod) -> list[str]:
    notes = [PLUG_IN] if how.point else []
    for name, one in found.items():
        if name == NESTED:
            continue
        lost = [i + 1 for i, note in enumerate(one.notes) if not note.converged]
        if lost:
            text = f"{name!r}: the fits of fold(s) {', '.join(map(str, lost[:8]))} did not converge"
            warnings.warn(f"cross_validate: {text}.", DecodingNote, stacklevel=5)
            notes.append(text)
        poor = [note.pareto_k for note in one.notes if note.pareto_k > BAD_K]
        if poor:
            notes.append(f"{name!r}: Pareto k up to {max(poor):.2f} in {len(poor)} folds: the Laplace draws are not the posterior; method='nuts' is")
        separated = sum(note.separated for note in one.notes)
        if separated:
            notes.append(f"{name!r}: the training rows of {separated} of {len(one.notes)} folds are separable: the size of the weights comes from the prior")
    return notes


def _record(
    found: dict[str, Predicted],
    work: Work,
    resolved: dict[str, GLM],
    by: str,
    chosen: tuple[str, ...],
    scheme: str,
    notes: tuple[str, ...],
    chance: int,
    key: int,
) -> CrossValidated:
    model = next(iter(resolved.values()))
    seen = np.all([np.isfinite(one.columns["log_density"]) | np.isinf(one.columns["log_density"]) for one in found.values()], axis=0)
    spaces = {getattr(one.family, "measure", "") for one in resolved.values()}
    given = {name: _given(one, work, model, seen, len(spaces) == 1) for name, one in found.items()}
    notes = notes if len(spaces) == 1 else (*notes, "log losses are left out: these models' densities are not over the same space")
    loss = np.stack([-one.columns["log_density"][seen] for one in found.values()], 1)
    ids, what = _clusters(next(iter(given.values())), work.data, by, seen, loss)
    values = {name: scored(one.forecast, one.truth, ids, key) for name, one in given.items()}
    order = sorted(values, key=lambda name: values[name].value["log_loss" if len(spaces) == 1 else "mean_error"])
    return CrossValidated(
        scores={name: tabled(given[name], ids, what, values[name], chance, key) for name in order},
        differences=differences({name: values[name] for name in order}, ids) if len(order) > 1 else None,
        predictions={name: _predictions(found[name], work.data, model) for name in order},
        folds=_folds({name: found[name].notes for name in order}),
        chosen=chosen,
        scheme=scheme,
        notes=notes,
    )


def _given(one: Predicted, work: Work, model: GLM, seen: np.ndarray, comparable: bool) -> Given:
    columns = {name: values[seen] for name, values in one.columns.items()}
    data, row = work.data, row_dim(work.data)
    coords = {str(name): data[name].values[seen] for name in data.coords if data[name].dims == (row,)}
    if "probability" in columns:
        names = class_names(model.family)
        size = columns["probability"].shape[1]
        forecast = Classes(columns["probability"], np.arange(size) if names is None else names, INTERVAL, _BINS)
        truth = Truth(columns["truth"].astype(int), columns["null"])
    else:
        estimate = columns["estimate"]
        off = (columns["low"] - estimate, columns["high"] - estimate)
        forecast = Points(estimate[:, None], period(data, model.response), *off, columns["log_density"] if comparable else None, INTERVAL)
        truth = Truth(columns["truth"][:, None], columns["null"])
    return Given(forecast, truth, seen, row, coords, bin_width(data) if is_time(data) else None)


def _clusters(given: Given, data: xr.Dataset, by: str, seen: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, str]:
    """Blocks of the standard errors and of the chance level: never shorter than what is left out whole."""
    if by == "session" or (by == "epoch" and is_time(data)):
        ids = data["session"].values if by == "session" else epoch_ids(data)
        return np.unique(ids[seen], return_inverse=True)[1], f"{by}s"
    return cluster_ids(given, None, loss)


def _predictions(one: Predicted, data: xr.Dataset, model: GLM) -> xr.Dataset:
    row, names = row_dim(data), class_names(model.family)
    coords = {name: data[name].variable for name in data.coords if data[name].dims == (row,)}
    variables: dict[str, Any] = {name: (row, values) for name, values in one.columns.items() if values.ndim == 1}
    if "probability" in one.columns:
        size = one.columns["probability"].shape[1]
        variables["probability"] = ((row, "class"), one.columns["probability"])
        coords["class"] = np.arange(size) if names is None else names
    circle = period(data, model.response)
    for name in ("truth", "estimate"):
        if circle is not None and name in variables:
            variables[name] = (row, variables[name][1], {"period": circle})
    return xr.Dataset(variables, coords, {"response": model.response})


def _folds(notes: dict[str, list[FoldNote]]) -> xr.Dataset:
    fields = {
        name: np.array([[getattr(note, name) for note in one] for one in notes.values()]) for name in ("converged", "separated", "pareto_k", "seconds", "rows")
    }
    return xr.Dataset({name: (("model", "fold"), values) for name, values in fields.items()}, {"model": list(notes)})
