"""tuning(): the rate and the gain as functions of one term's column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import require_column
from bayesglm._double import in_double
from bayesglm._filters import LOG_LINKS, eta_unit
from bayesglm._glm import GLM
from bayesglm._training import on_time_rows, training_data
from bayesglm.basis import OneHot
from bayesglm.terms import Linear, Tuning

if TYPE_CHECKING:
    from bayesglm._fit import Fit
    from bayesglm._model import Block, Design

_GRID = (100, 30)  # points a column, for one column and for two
_ROWS = 2000  # rows averaged over
_GROUPS = 100  # rows of like predictor taken together where effects do not multiply
_CHUNK = 4_000_000  # numbers held at once


@in_double
def tuning(fit: Fit, term: str, at: Any = None) -> xr.Dataset:
    """Tuning to a term's column: the rate, averaged over the other covariates as they were observed, and the gain.

    rate(x) = mean_t r(eta_t - f(x_t) + f(x)) and, where the link is logarithmic, gain(x) = exp(f(x) - mean_t f(x_t)),
    with f the term's part of the predictor and t the scored rows of the training data.

    Parameters
    ----------
    fit : Fit
        Of a ``GLM``.
    term : str
        Name of a ``Tuning`` term, or of a ``Linear`` term of a column with one number a row.
    at : array, optional
        Values of the column, (point,). Two columns: a pair of arrays, or ``{column: values}``. Default: 100 points over
        the observed range (30 by 30 for two continuous columns), the whole circle of an angle, the levels of ``basis.OneHot``.

    Returns
    -------
    xarray.Dataset
        ``rate`` ``(chain, draw, neuron, *columns)``: spikes/s for spikes in time bins, else the mean response (a
        probability for a choice). ``gain``, of the same shape: one is the average; where the link is not logarithmic it
        is the difference f(x) - mean f on the scale of eta, and ``attrs["units"]`` says so.

    Raises
    ------
    ValueError
        Where the model has no such term, the term has lags or features, or ``at`` does not fit the columns.

    Notes
    -----
    Rates average over at most 2,000 evenly spaced scored rows of each neuron; every draw is used. Where effects do not
    multiply the rate, rows of like predictor are taken together (100 groups; within .1 % of the row by row average).
    """
    curve = _curve(fit, term, at)
    rates, gains = _rates_and_gains(fit, term, curve)
    posterior = fit.posterior
    outer = [dim for dim in ("chain", "draw", "neuron") if dim in posterior[term].dims]
    dims = [*outer, *curve.columns]
    shape = [posterior.sizes[dim] for dim in outer] + [axis.size for axis in curve.axes]
    stamp = {"posterior": posterior.attrs.get("posterior", "draws"), "along": list(curve.columns)}
    coords = {dim: posterior[dim] for dim in outer} | {
        name: (name, axis, _column_attrs(fit, name)) for name, axis in zip(curve.columns, curve.axes, strict=True)
    }
    log_link = _log_link(_glm(fit))
    gain_unit = "gain (1: average)" if log_link else f"difference from the average ({eta_unit(fit.model)})"
    variables = {
        "rate": (dims, rates.reshape(shape), {"units": _rate_unit(fit), "long_name": "rate" if _spiking(fit) else "mean", **stamp}),
        "gain": (dims, gains.reshape(shape), {"units": gain_unit, "long_name": "gain" if log_link else "effect", **stamp}),
    }
    return xr.Dataset(variables, coords=coords, attrs={"posterior": stamp["posterior"], "term": term})


class _Curve(NamedTuple):
    columns: tuple[str, ...]
    axes: tuple[np.ndarray, ...]  # values of each column
    kernels: np.ndarray  # (point, weight), the grid in C order


def _curve(fit: Fit, term: str, at: Any) -> _Curve:
    """Where the term is read, and its columns there; a ValueError where it cannot be."""
    part = _readable(fit, term)
    columns = tuple(part.column) if isinstance(part, Tuning) else (part.column,)
    axes = _default_axes(fit, part) if at is None else _given_axes(at, columns)
    if isinstance(part, Linear):
        return _Curve(columns, axes, axes[0].astype(float)[:, None])
    grid = np.meshgrid(*axes, indexing="ij")
    points = grid[0] if len(grid) == 1 else np.stack([g.ravel() for g in grid], -1)
    return _Curve(columns, axes, part.basis.kernels(points))


def _glm(fit: Fit) -> GLM:
    if not isinstance(fit.model, GLM):
        raise ValueError(f"tuning reads the terms of a GLM; this fit's model is {type(fit.model).__name__}: use bg.predict on rows of your making.")
    family = fit.model.family
    if family.predictors is not None or getattr(family, "own_constant", False) or family.known(training_data(fit)):
        raise ValueError(f"tuning gives one curve a response, and {family.describe()} has several predictors, classes or trials: use bg.predict on such rows.")
    return fit.model


def _readable(fit: Fit, term: str) -> Tuning | Linear:
    terms = _glm(fit).terms
    known = [part.name for part in terms if isinstance(part, Tuning) or (isinstance(part, Linear) and part.shape == ())]
    part = next((part for part in terms if part.name == term), None)
    if not isinstance(part, (Tuning, Linear)) or term not in known:
        why = "has lags or features" if term in fit.posterior else "is not in the model"
        raise ValueError(f"tuning wants a Tuning term, or a Linear term of one number a row; {term!r} {why}. Those that can be read: {known}.")
    return part


def _default_axes(fit: Fit, part: Tuning | Linear) -> tuple[np.ndarray, ...]:
    if isinstance(part, Linear):
        values = require_column(training_data(fit), part.column).values
        return (np.linspace(float(np.nanmin(values)), float(np.nanmax(values)), _GRID[0]),)
    bases = [part.basis] if len(part.column) == 1 else [getattr(part.basis, side, None) for side in ("left", "right")]
    spans, count = np.asarray(part.observed_range), _GRID[sum(not isinstance(basis, OneHot) for basis in bases) > 1]
    return tuple(basis.labels if isinstance(basis, OneHot) else np.linspace(span[0], span[1], count) for basis, span in zip(bases, spans, strict=True))


def _given_axes(at: Any, columns: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    wanted = "an array of values" if len(columns) == 1 else f"a pair of arrays, or {{{columns[0]!r}: values, {columns[1]!r}: values}}"
    if isinstance(at, Mapping):
        if set(at) != set(columns):
            raise ValueError(f"tuning(at=) names the columns {list(at)}; the term has {list(columns)}: give {wanted}.")
        at = [at[column] for column in columns]
    elif len(columns) == 1:
        at = [at]
    if len(at) != len(columns):
        raise ValueError(f"tuning(at=) got {len(at)} axes for the columns {list(columns)}: give {wanted}.")
    axes = tuple(np.atleast_1d(np.asarray(axis)) for axis in at)
    for column, axis in zip(columns, axes, strict=True):
        if axis.ndim != 1 or not axis.size or (axis.dtype.kind == "f" and not np.isfinite(axis).all()):
            raise ValueError(f"tuning(at=) for {column!r} has shape {axis.shape} or values that are not finite: give {wanted}, finite, (point,).")
    return axes


class _Parts(NamedTuple):
    design: Design
    scored: np.ndarray  # (row, neuron) bool
    blocks: dict[str, Block]
    weights: dict[str, np.ndarray]  # (draw, neuron, entry)
    hyper: dict[str, np.ndarray]  # (draw, neuron)


def _parts(fit: Fit) -> _Parts:
    model, design = _glm(fit), fit.model.design(training_data(fit))
    common = np.ones((1, 1)) if fit.scored is None else fit.scored[:, None]
    scored = np.broadcast_to(np.asarray(design.weight()) * common > 0, (design.rows, design.size))
    blocks = {block.name: block for block in model.blocks(design)}
    weights = {name: _by_neuron(fit, name, design.size) for name in blocks}
    hyper = {site: _by_neuron(fit, site, design.size)[:, :, 0] for site in model.family.hyper(model.response)}
    return _Parts(design, scored, blocks, weights, hyper)


def _rates_and_gains(fit: Fit, term: str, curve: _Curve) -> tuple[np.ndarray, np.ndarray]:
    """(draw, neuron, point) each; one neuron at a time, for neurons may be scored in different rows."""
    parts = _parts(fit)
    each = [_neuron(fit, parts, term, curve, n) for n in range(parts.design.size)]
    return np.stack([rate for rate, _ in each], 1), np.stack([gain for _, gain in each], 1)


def _neuron(fit: Fit, parts: _Parts, term: str, curve: _Curve, n: int) -> tuple[np.ndarray, np.ndarray]:
    """One neuron's rate and gain, (draw, point)."""
    kept = np.flatnonzero(parts.scored[:, n])
    w = parts.weights[term][:, n]
    middle = w @ _columns(parts.blocks[term], n, kept).mean(0)
    effect = w @ curve.kernels.T - middle[:, None]
    rows = kept[np.unique(np.linspace(0, kept.size - 1, min(_ROWS, kept.size)).round().astype(int))]
    others = [name for name in parts.blocks if name != term]
    offset = parts.design.each["offset"][n, rows] if "offset" in parts.design.each else np.zeros(rows.size)
    # The term's own mean and the offset ride along as two more columns: what remains is one product.
    columns = np.concatenate([*(_columns(parts.blocks[name], n, rows) for name in others), np.ones((rows.size, 1)), offset[:, None]], 1)
    weights = np.concatenate([*(parts.weights[name][:, n] for name in others), middle[:, None], np.ones((len(w), 1))], 1)
    rate = _rate(fit, weights, columns, effect, {site: value[:, n] for site, value in parts.hyper.items()})
    return rate, _gain(_glm(fit), effect)


def _by_neuron(fit: Fit, site: str, size: int) -> np.ndarray:
    """A site's draws as (draw, neuron, entry); what neurons share is repeated."""
    array = fit.posterior[site]
    draws = array.sizes["chain"] * array.sizes["draw"]
    own = array.dims[2:3] == ("neuron",) or not fit.model.has_neurons
    values = array.values.reshape(draws, size if own else 1, -1)
    return np.broadcast_to(values, (draws, size, values.shape[2]))


def _columns(block: Block, n: int, rows: np.ndarray) -> np.ndarray:
    """One neuron's columns of a block at some rows, (row, entry); weights that do not exist get zeros."""
    values = block.shared[rows] if block.shared is not None else block.own[n][rows]
    return values.reshape(rows.size, -1) * np.asarray(block.mask[n]).reshape(-1)


def _log_link(model: GLM) -> bool:
    return getattr(model.family, "link", "") in LOG_LINKS


def _gain(model: GLM, effect: np.ndarray) -> np.ndarray:
    if not _log_link(model):
        return effect
    with np.errstate(over="ignore"):  # an unconstrained weight may say infinity, and that is the answer
        return np.exp(effect)


def _rate(fit: Fit, weights: np.ndarray, columns: np.ndarray, effect: np.ndarray, hyper: dict[str, np.ndarray]) -> np.ndarray:
    """(draw, point): the average over rows of the rate at ``weights @ columns.T`` (draw, row) plus ``effect`` (draw, point)."""
    rows = len(columns)
    multiplies = _spiking(fit) and _log_link(_glm(fit))
    held = rows if multiplies else max(rows, min(rows, _GROUPS) * effect.shape[1])
    step = max(1, _CHUNK // held)
    out = np.empty(effect.shape)
    for start in range(0, len(effect), step):
        s = slice(start, start + step)
        rest = weights[s] @ columns.T
        if multiplies:
            average = _response(fit, rest, {site: value[s, None] for site, value in hyper.items()}).mean(1)
            out[s] = average[:, None] * _gain(_glm(fit), effect[s])
        else:
            eta, share = _grouped(rest)
            out[s] = _response(fit, eta[:, None, :] + effect[s][:, :, None], {site: value[s, None, None] for site, value in hyper.items()}) @ share
    return out


def _grouped(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of like predictor taken together: means (draw, group) and the share of rows in each group."""
    rows = eta.shape[1]
    starts = np.unique(np.linspace(0, rows, min(rows, _GROUPS) + 1).astype(int)[:-1])
    counts = np.diff(np.r_[starts, rows])
    return np.add.reduceat(np.sort(eta, 1), starts, axis=1) / counts, counts / rows


def _spiking(fit: Fit) -> bool:
    """Whether the response is spikes, so that it has a rate; a choice, or any event on trial rows, has a probability."""
    family = _glm(fit).family
    return family.counts or (family.discrete and fit.model.has_neurons and on_time_rows(fit))


def _response(fit: Fit, eta: np.ndarray, hyper: dict[str, np.ndarray]) -> np.ndarray:
    family, dt = _glm(fit).family, _glm(fit).target.dt
    return np.asarray(family.rate(eta, hyper, dt) if _spiking(fit) else family(eta, hyper, dt).mean)


def _rate_unit(fit: Fit) -> str:
    model = _glm(fit)
    if _spiking(fit):
        what = "spikes" if model.has_neurons else model.response
        return f"{what}/s" if on_time_rows(fit) else f"{what} per trial"
    return "probability" if model.family.discrete else f"units of {model.response}"


def _column_attrs(fit: Fit, column: str) -> dict[str, Any]:
    return {key: value for key, value in training_data(fit)[column].attrs.items() if key in ("units", "long_name", "period")}
