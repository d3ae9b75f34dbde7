"""decode_over_time(): when do these neurons tell the choice? A decoder a time bin, all in one call."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from scipy.stats import norm

from bayesglm import _fit as fits
from bayesglm._classes import class_count, mean_probabilities
from bayesglm._comparing._kfold_rows import Fold, default_by, masked, planned, training_part
from bayesglm._data import bin_width, period, row_dim
from bayesglm._double import in_double
from bayesglm._examine import DesignNote
from bayesglm._glm import GLM
from bayesglm._likelihood import Source, gathered, log_mean_chunks, response_chunks
from bayesglm._null import left_of_circle
from bayesglm._progress import progress_bar
from bayesglm.engine.diagnostics import rhat
from bayesglm.family import AbstractFamily, Gaussian
from bayesglm.family._circular import AbstractAngle
from bayesglm.method import AbstractMethod, Laplace
from bayesglm.method._base import Draws, silent, whole
from bayesglm.terms import Coupling

_DRAWS = 300  # of the posterior of each fold, where the method is named by a word
_CELL = "cell"
_RHAT = 1.05  # of the log density, where draws are sampled


class _Held(NamedTuple):
    """What folds predicted of trials that they did not learn from, (trial, bin, ...)."""

    log_prob: np.ndarray  # log of the draw-averaged probability (density) of what was observed
    null: np.ndarray  # the same of a constant learned in the fold
    prediction: np.ndarray  # probabilities (trial, bin, class), or the draw-averaged mean (trial, bin)
    lost: tuple[int, ...]  # folds that did not converge in every bin


@in_double
def decode_over_time(
    model: GLM,
    data: xr.Dataset,
    over: str | None = None,
    *,
    k: int = 10,
    by: str | None = None,
    method: str | AbstractMethod = "laplace",
    permutations: int = 200,
    key: Any = 0,
    progress: bool = True,
) -> xr.Dataset:
    """Fit a decoder to every time bin of trials and score it on held-out trials: p(response | counts in bin b), b = 1, 2, ...

    The decoders are columns of one fit: each bin has its own weights and its own learned scales, and more neurons than
    trials are handled exactly. What is learned (scales, means, units) is learned anew in every fold.

    Parameters
    ----------
    model : GLM
        As it was written: ``GLM(Baseline() + Linear("counts"), family.Bernoulli(), response="choice")``. Columns without
        the dim ``over`` (a contrast) enter every bin's decoder.
    data : xarray.Dataset
        A recording of trials, with a column (trial, neuron, bin) such as ``counts=(("trial", "neuron", "bin"), counts)``.
    over : str, optional
        The dim of the time bins. Default: the only dim but the first of the model's columns with two dims beside the trials.
    k : int
        Number of folds.
    by : "trial", "block", "epoch" or "session", optional
        What is never cut (see ``bg.folds``). Default: "trial".
    method : str or AbstractMethod
        "laplace" (300 draws), "map", "nuts", or a method object.
    permutations : int
        Permutations of the trials' responses that give the chance level of ``accuracy`` or ``error``.
    key : int or JAX key
    progress : bool

    Returns
    -------
    xarray.Dataset, dims (``over``, trial)
        ``log_loss`` (``over``): mean of -log p of the held-out response, in nats; ``log_loss_chance`` that of a constant
        learned in the same folds. Of classes ``accuracy``, and ``probability`` (``over``, trial, class); of any other
        response ``error``, its mean absolute distance to the prediction (along the circle for an angle) in the response's
        unit, and ``prediction`` (``over``, trial). Each score has ``<score>_se`` over trials; ``accuracy`` and ``error``
        have ``<score>_chance`` and ``<score>_chance_se``, mean and sd under permutations. ``attrs``: response, family,
        folds, method, notes.

    Raises
    ------
    ValueError
        Rows that are no trials, no column with time bins, a model that was resolved or that has couplings.

    Warns
    -----
    NotConverged
        Where a fold's fit did not converge.

    Notes
    -----
    Bins are scored one by one: the largest of many accuracies is above chance by chance. ``probability`` is held out,
    so that ``bg.decoding_score`` may be given it.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> choice = rng.integers(0, 2, 60)
    >>> counts = rng.poisson(2.0, (60, 20, 3))
    >>> counts[:, :, 2] += 3 * choice[:, None]
    >>> trials = bg.recording(rows="trial", counts=(("trial", "neuron", "bin"), counts), choice=choice)
    >>> model = bg.GLM(bg.Baseline() + bg.Linear("counts"), bg.family.Bernoulli(), response="choice")
    >>> found = bg.decode_over_time(model, trials, k=3, method="map", progress=False)
    >>> bool(found["accuracy"][2] > 0.95)
    True
    """
    dim = _checked(model, data, over)
    permutations = whole("decode_over_time(permutations)", permutations, 2)
    chosen = Laplace(num_samples=_DRAWS) if method == "laplace" else fits.chosen_method(method)
    many, plan = _in_columns(model, data, dim), planned(data, k, default_by(data, by), 0.0)
    key = jax.random.key(key) if isinstance(key, (int, np.integer)) else key
    parts = []
    with progress_bar(progress, "decode over time") as monitor:
        for i, fold in enumerate(plan):
            parts.append(_fold(model, many, fold, chosen, jax.random.fold_in(key, i)))
            (monitor or silent)(i + 1, len(plan), None, f"fold {i + 1} of {len(plan)}")
    held = _joined(plan, parts, data.sizes[row_dim(data)])
    note = f"fold(s) {', '.join(map(str, held.lost))} of {len(plan)} did not converge in every bin" if held.lost else ""
    if note:
        warnings.warn(f"decode_over_time: {note}.", fits.NotConverged, stacklevel=3)
    scores = _scores(model, data, dim, held, permutations, int(jax.random.bits(key, dtype=np.uint32)))
    about = {"response": model.response, "family": model.family.describe(), "folds": len(plan), "by": default_by(data, by)}
    return scores.assign_attrs(about | {"method": type(chosen).__name__, "notes": note})


def _checked(model: Any, data: Any, over: str | None) -> str:
    """The dim of the time bins."""
    fits._checked_arguments(model, data)
    if not isinstance(model, GLM) or model.target is not None:
        raise ValueError("decode_over_time wants a GLM as you wrote it, not one that was resolved on a recording or a story: each fold learns its own.")
    if data.attrs["rows"] != "trial":
        raise ValueError(f"decode_over_time wants a recording of trials, bg.recording(rows='trial', ...); this one's rows are {data.attrs['rows']!r}.")
    if any(isinstance(term, Coupling) for term in model.terms):
        raise ValueError("decode_over_time: a Coupling would join the bins' decoders; use bg.Linear on a column (trial, neuron, bin).")
    read = [data[name] for term in model.terms for name in term.needs() if name in data]
    inner = {column.name: [str(dim) for dim in column.dims if dim != row_dim(data)] for column in read}
    if over is not None:
        if not any(over in dims for dims in inner.values()):
            raise ValueError(f"decode_over_time(over={over!r}): no column of the model has this dim; they have {inner}.")
        return over
    found = {dims[-1] for dims in inner.values() if len(dims) == 2}
    if len(found) != 1:
        raise ValueError(f"decode_over_time: which dim are the time bins? Name it, over=; the model's columns have the dims {inner}.")
    return found.pop()


def _in_columns(model: GLM, data: xr.Dataset, dim: str) -> xr.Dataset:
    """The recording with bins in the place of receivers: each explains the same response with columns of its own."""
    many = data
    if dim != "neuron" and "neuron" in data.dims:
        about_cells = [str(name) for name, value in data.variables.items() if "neuron" in value.dims and name in ("area", "observed")]
        many = many.drop_vars(about_cells).rename({"neuron": _CELL})
    many = many.rename({dim: "neuron"} if dim != "neuron" else {})
    if "neuron" not in many.coords:
        many = many.assign_coords(neuron=np.arange(many.sizes["neuron"]))
    response = many[model.response]
    return many.assign({model.response: response.expand_dims(neuron=many["neuron"].values, axis=response.ndim).copy()})


def _fold(model: GLM, many: xr.Dataset, fold: Fold, method: AbstractMethod, key: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """What one fold predicts of its test trials: see ``_Held``; and whether it converged."""
    with warnings.catch_warnings():
        for category in (fits.NotConverged, DesignNote):  # of each fold the same is said; those that did not converge are named at the end
            warnings.simplefilter("ignore", category)
        learned = model.resolve(training_part(many, fold))
        design = learned.design(many).bare()
        draws, *_ = fits.drawn(learned, masked(design, fold.kept), method, key, silent)
    values = {name: value.reshape(-1, *value.shape[2:]) for name, value in draws.sites.items()}
    test = design.at(fold.test)
    scored = np.broadcast_to(np.asarray(test.weight()) > 0, (test.rows, test.size)).copy()
    made = Source(learned, test, values, scored, bin_width(many), next(iter(draws.sites.values())).shape[0])
    y = many[model.response].transpose(row_dim(many), "neuron").values
    log_prob = np.where(scored, gathered(made, log_mean_chunks(made)), np.nan)
    null = np.where(scored, _constant(learned.family, y[fold.kept, 0], y[fold.test]), np.nan)
    prediction = _prediction(made, learned.family)
    prediction[~scored] = np.nan
    return log_prob, null, prediction, _converged(draws)


def _converged(draws: Draws) -> bool:
    if "converged" in draws.per_neuron:
        return bool(np.all(draws.per_neuron["converged"]))
    return bool((rhat(draws.stats["lp"]) < _RHAT).all())


def _prediction(made: Source, family: AbstractFamily) -> np.ndarray:
    """Probabilities of the classes (trial, bin, class), or the mean (direction) over draws (trial, bin)."""
    classes = class_count(family)
    if classes is not None:
        return mean_probabilities(made, classes)
    turn = 2.0 * np.pi / family.circle if isinstance(family, AbstractAngle) else None
    out = np.empty(made.scored.shape)
    for rows, values in response_chunks(made, "mean"):
        out[rows] = values.mean(0) if turn is None else np.angle(np.exp(1j * turn * values).mean(0)) / turn % family.circle
    return out


def _constant(family: AbstractFamily, learned: np.ndarray, y: np.ndarray) -> np.ndarray:
    """log p of responses (trial, bin) by a constant of the training trials; NaN where the family has none in closed form."""
    learned = learned[np.isfinite(learned)]
    classes = class_count(family)
    if classes is not None:
        share = (np.bincount(learned.astype(int), minlength=classes) + 0.5) / (learned.size + 0.5 * classes)
        return np.log(share)[np.where(np.isfinite(y), y, 0).astype(int)]
    if isinstance(family, AbstractAngle):
        level = family.levels(learned)
        return np.asarray(family(level, left_of_circle(family, level), 1.0).log_prob(np.nan_to_num(y)))
    return norm.logpdf(y, learned.mean(), learned.std()) if isinstance(family, Gaussian) else np.full(y.shape, np.nan)


def _joined(plan: list[Fold], parts: list[Any], rows: int) -> _Held:
    """Folds put together; trials that no fold tested are NaN."""
    arrays = []
    for found in zip(*(part[:-1] for part in parts), strict=True):
        whole_array = np.full((rows, *found[0].shape[1:]), np.nan)
        for fold, piece in zip(plan, found, strict=True):
            whole_array[fold.test] = piece
        arrays.append(whole_array)
    return _Held(*arrays, tuple(i + 1 for i, part in enumerate(parts) if not part[-1]))


def _scores(model: GLM, data: xr.Dataset, dim: str, held: _Held, permutations: int, key: Any) -> xr.Dataset:
    row = row_dim(data)
    y = data[model.response].values.astype(float)
    seen = np.isfinite(held.log_prob)
    found = {"log_loss": (dim, _mean(-held.log_prob)), "log_loss_se": (dim, _error(-held.log_prob)), "log_loss_chance": (dim, _mean(-held.null))}
    classes = held.prediction.ndim == 3
    best = held.prediction.argmax(-1) if classes else held.prediction
    circle = period(data, model.response)

    def each(truth: np.ndarray) -> np.ndarray:
        if classes:
            return np.where(seen, best == truth[:, None], np.nan)
        apart = best - truth[:, None]
        return np.abs(apart if circle is None else (apart + circle / 2) % circle - circle / 2)

    name, rng, known = "accuracy" if classes else "error", np.random.default_rng(key), np.flatnonzero(seen.any(1))
    by_chance = []
    for _ in range(permutations):
        shuffled = y.copy()
        shuffled[known] = y[rng.permutation(known)]
        by_chance.append(_mean(each(shuffled)))
    found |= {name: (dim, _mean(each(y))), f"{name}_se": (dim, _error(each(y)))}
    found |= {f"{name}_chance": (dim, np.mean(by_chance, 0)), f"{name}_chance_se": (dim, np.std(by_chance, 0))}
    moved = np.moveaxis(held.prediction, 1, 0)
    found |= {"probability": ((dim, row, "class"), moved)} if classes else {"prediction": ((dim, row), moved)}
    names = getattr(model.family, "labels", None)
    coords: dict[str, Any] = {"class": np.asarray(names) if names else np.arange(held.prediction.shape[-1])} if classes else {}
    coords |= {name: data[name].variable for name in data.coords if data[name].dims and set(data[name].dims) <= {dim, row}}
    return xr.Dataset(found, coords)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over trials, those left out left out; NaN where there are none."""
    n = np.isfinite(values).sum(0)
    return np.where(n > 0, np.nansum(values, 0) / np.maximum(n, 1), np.nan)


def _error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean over trials."""
    n = np.isfinite(values).sum(0)
    spread = np.nansum((values - _mean(values)) ** 2, 0) / np.maximum(n - 1, 1)
    return np.where(n > 1, np.sqrt(spread / np.maximum(n, 1)), np.nan)
