"""What may be passed as decoded rows and as the truth, brought into one form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from bayesglm._decoding._metrics import Classes, Forecast, OnGrid, Points, Truth, wrapped

KINDS = ("classes", "angle", "value")
_SUM = 1e-3  # by which the probabilities of a row may miss one
_PREDICTIVE = "response"  # the kind of bg.predict whose draws hold the response's own noise


class Options(NamedTuple):
    """What a user may say of the rows beyond their values."""

    kind: str | None = None
    period: float | None = None
    log_density: Any = None
    null: Any = None
    prob: float = 0.9
    bins: int = 10


class Given(NamedTuple):
    """Rows that can be scored, and where they lie."""

    forecast: Forecast
    truth: Truth
    kept: np.ndarray  # (row,) bool, of the rows as they were passed
    dim: str | None  # "time", "trial", or None for bare arrays
    coords: dict[str, np.ndarray]  # of the kept rows
    dt: float | None


def read(probabilities: Any, truth: Any, options: Options) -> Given:
    """Rows with a truth and a prediction, in one form.

    Raises
    ------
    ValueError
        Where shapes, classes or probabilities do not fit together.
    """
    if options.kind is not None and options.kind not in KINDS:
        raise ValueError(f"kind={options.kind!r} is unknown; it is one of {', '.join(map(repr, KINDS))}.")
    if not 0 < options.prob < 1:
        raise ValueError(f"prob={options.prob!r}: the mass of a credible set lies between 0 and 1.")
    if not (isinstance(options.bins, (int, np.integer)) and options.bins >= 2):
        raise ValueError(f"bins={options.bins!r}: two bins or more are wanted, as in bins=10.")
    if isinstance(probabilities, xr.Dataset):
        return _of_dataset(probabilities, truth, options)
    if truth is None:
        raise ValueError("truth is missing: pass one value a row, such as test['choice'].")
    array = probabilities if isinstance(probabilities, xr.DataArray) else _bare(np.asarray(probabilities))
    if "neuron" in array.dims:
        raise ValueError("These predictions have the dim 'neuron': a decoder has one response. Pass one of them, as in predictions.sel(neuron=...).")
    row = _row_of(array)
    y = _aligned(truth, array, row)
    period = options.period if options.period is not None else _period(truth)
    kind = options.kind or _kind(array, y, period)
    if kind == "classes":
        p, names = _class_probabilities(array, row)
        return _given(Classes(p, names, options.prob, int(options.bins)), _codes(y, names), array, row, options)
    forecast = _points(array, row, period if kind == "angle" else None, kind, options)
    return _given(forecast, _numbers(y)[:, None], array, row, options)


def _of_dataset(decoded: xr.Dataset, truth: Any, options: Options) -> Given:
    """What ``bg.decode`` returns: probabilities on a grid of one or more targets, or a series with its intervals."""
    truth = decoded["truth"] if truth is None and "truth" in decoded else truth
    if truth is None:
        raise ValueError("truth is missing: these decoded rows do not know it; pass it, such as test['position'].")
    if "probability" not in decoded:
        return _of_series(decoded, truth, options)
    array = decoded["probability"]
    row = str(decoded.attrs.get("rows", "time" if "time" in array.dims else "trial"))
    targets = tuple(str(dim) for dim in array.dims if dim != row)
    array = array.transpose(row, *targets)
    y = _aligned(truth, array, row)
    axes = tuple(array[name].values for name in targets)
    p = array.values.reshape(array.sizes[row], -1).astype(float)
    if len(targets) == 1 and (options.kind == "classes" or axes[0].dtype.kind not in "iuf" or array[targets[0]].attrs.get("category")):
        return _given(Classes(p, axes[0], options.prob, int(options.bins)), _codes(y, axes[0]), array, row, options)
    periods = tuple(_period_of_target(decoded, name, len(targets), options) for name in targets)
    values = _numbers(y)
    values = values[:, None] if values.ndim == 1 else values
    if values.shape[1] != len(targets):
        raise ValueError(f"truth has the shape {values.shape}; the {len(targets)} targets {targets} want ({len(p)}, {len(targets)}).")
    estimate = _estimates(decoded, p, axes, periods, row)
    return _given(OnGrid(p, axes, periods, estimate, options.prob), values, array, row, options)


def _of_series(decoded: xr.Dataset, truth: Any, options: Options) -> Given:
    """A decoded stimulus: a Gaussian a row."""
    missing = [name for name in ("estimate", "sd") if name not in decoded]
    if missing:
        raise ValueError(
            f"A Dataset of decoded rows wants 'probability', or 'estimate' and 'sd', as bg.decode returns them; this one has {list(decoded.data_vars)}."
        )
    array = decoded["estimate"]
    row = str(decoded.attrs.get("rows", array.dims[0]))
    y = _numbers(_aligned(truth, array, row))
    mean, sd = array.values.astype(float), decoded["sd"].values.astype(float)
    half = float(stats.norm.ppf(0.5 + options.prob / 2)) * sd
    return _given(Points(mean[:, None], None, -half, half, stats.norm.logpdf(y, mean, sd), options.prob), y[:, None], array, row, options)


def _period_of_target(decoded: xr.Dataset, name: str, targets: int, options: Options) -> float | None:
    known = decoded[name].attrs.get("period", decoded.attrs.get("period") if targets == 1 else None)
    found = options.period if options.period is not None and targets == 1 else known
    return None if found is None else float(found)


def _estimates(decoded: xr.Dataset, p: np.ndarray, axes: tuple[np.ndarray, ...], periods: tuple[float | None, ...], row: str) -> np.ndarray:
    """(row, target): the Dataset's own estimate, else posterior means, circular on circles."""
    if "estimate" in decoded and decoded["estimate"].dims == (row,):
        return decoded["estimate"].values.astype(float)[:, None]
    if "estimate" in decoded and decoded["estimate"].dims == (row, "axis"):
        return decoded["estimate"].values.astype(float)
    shaped = p.reshape(-1, *(axis.size for axis in axes))
    found = []
    for i, (axis, period) in enumerate(zip(axes, periods, strict=True)):
        marginal = shaped.sum(tuple(j + 1 for j in range(len(axes)) if j != i))
        found.append(marginal @ axis if period is None else circular_mean(axis, period, marginal))
    return np.stack(found, 1)


def circular_mean(values: np.ndarray, period: float, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean direction of ``values`` (point,) with weights (row, point), or over the first axis, in [0, period)."""
    turn = 2.0 * np.pi / period
    towards = np.exp(1j * turn * values)
    return np.angle(towards.mean(0) if weight is None else weight @ towards) / turn % period


def _bare(values: np.ndarray) -> xr.DataArray:
    """An array without names: (row,), or (row, class)."""
    if values.ndim not in (1, 2):
        raise ValueError(f"probabilities has the shape {values.shape}; pass (row,), (row, class), a DataArray of bg.predict or a Dataset of bg.decode.")
    return xr.DataArray(values, dims=("row", "class")[: values.ndim])


def _row_of(array: xr.DataArray) -> str:
    rows = [str(dim) for dim in array.dims if dim not in ("chain", "draw", "class")]
    if len(rows) != 1:
        raise ValueError(f"These predictions have the dims {array.dims}; one dim of rows ('time' or 'trial') is wanted, besides chain, draw and class.")
    return rows[0]


def _aligned(truth: Any, array: xr.DataArray, row: str) -> np.ndarray:
    """The truth of each row; a longer recording's column is read at the rows nearest to those decoded."""
    rows = array.sizes[row]
    if isinstance(truth, xr.DataArray) and row in truth.dims:
        truth = truth.transpose(row, ...)
        if truth.sizes[row] != rows and row in truth.coords and row in array.coords:
            truth = truth.isel({row: _nearest_rows(truth[row].values, array[row].values, row)})
    values = np.asarray(truth)
    if values.ndim == 0 or len(values) != rows:
        raise ValueError(f"truth has the shape {values.shape}, but {rows} rows were decoded: pass one value a row, such as test['choice'].")
    return values


def _nearest_rows(have: np.ndarray, wanted: np.ndarray, row: str) -> np.ndarray:
    after = np.clip(np.searchsorted(have, wanted), 1, have.size - 1)
    found = np.where(np.abs(have[after - 1] - wanted) <= np.abs(have[after] - wanted), after - 1, after)
    step = np.median(np.diff(have))
    if (np.abs(have[found] - wanted) > 0.51 * step + 1e-9).any():
        raise ValueError(
            f"truth does not cover the decoded rows: some lie farther than half a bin from its nearest {row!r}. Pass the recording that was decoded."
        )
    return found


def _period(truth: Any) -> float | None:
    found = truth.attrs.get("period") if isinstance(truth, xr.DataArray) else None
    return None if found is None else float(found)


def _kind(array: xr.DataArray, y: np.ndarray, period: float | None) -> str:
    if "class" in array.dims:
        return "classes"
    if period is not None:
        return "angle"
    if str(array.attrs.get("units", "")).startswith("probability"):
        return "classes"
    known = array.values[np.isfinite(array.values)]
    seen = np.unique(y[~_absent(y)]) if y.dtype.kind in "biuf" else y[:0]
    within = known.size and known.min() >= 0 and known.max() <= 1
    binary = np.isin(seen, (0, 1)).all() and seen.size > 0
    return "classes" if within and binary else "value"


def _over_draws(array: xr.DataArray) -> xr.DataArray:
    return array.mean([dim for dim in ("chain", "draw") if dim in array.dims])


def _class_probabilities(array: xr.DataArray, row: str) -> tuple[np.ndarray, np.ndarray]:
    """(row, K) probabilities, averaged over draws, and the classes' names."""
    if array.attrs.get("kind") == _PREDICTIVE and "class" not in array.dims:
        raise ValueError("These are draws of the class itself: pass probabilities, as in bg.predict(fit, test).")
    mean = _over_draws(array)
    if "class" not in mean.dims:
        p = mean.values.astype(float)
        p, names = np.stack([1.0 - p, p], 1), np.arange(2)
    else:
        mean = mean.transpose(row, "class")
        p, names = mean.values.astype(float), mean["class"].values if "class" in mean.coords else np.arange(mean.sizes["class"])
    known = p[np.isfinite(p).all(1)]
    if known.size and ((known < -_SUM).any() or (np.abs(known.sum(1) - 1) > _SUM).any()):
        raise ValueError("The probabilities of a row must lie between 0 and 1 and sum to 1: pass probabilities, not scores; kind='value' is for estimates.")
    return np.clip(p, 0.0, 1.0), names


def _codes(y: np.ndarray, names: np.ndarray) -> np.ndarray:
    """(row,) float codes of the classes, by name where the truth holds names; NaN where absent."""
    absent = _absent(y)
    y, names = (values.astype(str) if values.dtype.kind in "OTS" else values for values in (y, names))
    seen = np.unique(y[~absent])
    if seen.size and (y.dtype.kind in "biuf") == (names.dtype.kind in "biuf") and np.isin(seen, names).all():
        order = np.argsort(names)
        found = order[np.clip(np.searchsorted(names[order], np.where(absent, seen[:1], y)), 0, names.size - 1)]
        return np.where(absent, np.nan, found.astype(float))
    if y.dtype.kind in "biuf" and seen.size and np.isin(seen, np.arange(names.size)).all():
        return y.astype(float)
    odd = [value for value in seen.tolist() if value not in set(names.tolist())]
    raise ValueError(f"truth holds {odd[:5]}, which is no class: the classes decoded are {names.tolist()[:12]}, or their codes 0 to {names.size - 1}.")


def _absent(y: np.ndarray) -> np.ndarray:
    return np.isnan(y) if y.dtype.kind == "f" else np.zeros(y.shape, bool)


def _numbers(y: np.ndarray) -> np.ndarray:
    if y.dtype.kind not in "biuf":
        raise ValueError(f"truth holds {y.dtype} values; positions, angles and velocities are numbers (classes come with probabilities of each class).")
    return y.astype(float)


def _points(array: xr.DataArray, row: str, period: float | None, kind: str, options: Options) -> Points:
    """Estimates, and intervals from draws that hold the response's own noise."""
    if kind == "angle" and period is None:
        raise ValueError("kind='angle' wants period=, such as 360 for degrees, or a truth that bg.angle has marked.")
    draws = [dim for dim in ("chain", "draw") if dim in array.dims]
    values = array.transpose(*draws, row).values.astype(float)
    values = values.reshape(-1, values.shape[-1])
    log_density = None if options.log_density is None else np.asarray(options.log_density, float)
    if log_density is not None and log_density.shape != values.shape[1:]:
        raise ValueError(f"log_density has the shape {log_density.shape}; it wants ({values.shape[1]},): log p(truth) of each row.")
    return from_draws(values, period, options.prob, log_density, array.attrs.get("kind", _PREDICTIVE) == _PREDICTIVE and len(values) > 1)


def from_draws(values: np.ndarray, period: float | None, prob: float, log_density: np.ndarray | None, predictive: bool) -> Points:
    """Estimates (mean, circular on circles) of draws (draw, row), and their central intervals where the draws are predictive."""
    estimate = values.mean(0) if period is None else circular_mean(values, period)
    if not predictive:
        return Points(estimate[:, None], period, None, None, log_density, prob)
    off = wrapped(values - estimate, period)
    if period is None:
        low, high = np.quantile(off, [0.5 - prob / 2, 0.5 + prob / 2], axis=0)
    else:
        high = np.quantile(np.abs(off), prob, axis=0)  # an arc around the mean direction
        low = -high
    return Points(estimate[:, None], period, low, high, log_density, prob)


def _given(forecast: Forecast, y: np.ndarray, array: xr.DataArray, row: str, options: Options) -> Given:
    """The rows that have both a truth and a prediction."""
    kept = np.isfinite(y.reshape(len(y), -1)).all(1)
    arrays = (forecast.p,) if not isinstance(forecast, Points) else (forecast.estimate,)
    for values in arrays:
        kept &= np.isfinite(values).all(1)
    if not kept.any():
        raise ValueError("No row has both a truth and a prediction: nothing can be scored.")
    some = _some(forecast, kept)
    known = y[kept].astype(int) if isinstance(forecast, Classes) else y[kept]
    coords = {str(name): array[name].values[kept] for name in array.coords if array[name].dims == (row,)}
    dim = row if row in ("time", "trial") else None
    dt = float(np.median(np.diff(array[row].values))) if dim == "time" and row in array.coords and array.sizes[row] > 1 else None
    return Given(some, Truth(known, _null(some, known, options.null, kept)), kept, dim, coords, dt)


def _some(forecast: Forecast, kept: np.ndarray) -> Forecast:
    if isinstance(forecast, Classes):
        return Classes(forecast.p[kept], forecast.names, forecast.prob, forecast.bins)
    if isinstance(forecast, OnGrid):
        return OnGrid(forecast.p[kept], forecast.axes, forecast.periods, forecast.estimate[kept], forecast.prob)
    cut = lambda values: None if values is None else values[kept]  # noqa: E731
    return Points(forecast.estimate[kept], forecast.period, cut(forecast.low), cut(forecast.high), cut(forecast.log_density), forecast.prob)


def _null(forecast: Forecast, y: np.ndarray, null: Any, kept: np.ndarray) -> np.ndarray:
    """(row,) log probability of the truth without any neuron: as passed, else by the frequencies in the truth itself."""
    if null is not None:
        given = np.asarray(null, float)
        if given.shape != kept.shape:
            raise ValueError(f"null has the shape {given.shape}; it wants ({kept.size},): log p(truth) of each row under a model without neurons.")
        return given[kept]
    if isinstance(forecast, Points):
        return np.full(len(y), np.nan)
    cell, size = (y, forecast.names.size) if isinstance(forecast, Classes) else (forecast.cells(y), int(np.prod(forecast.sizes)))
    counts = np.bincount(cell, minlength=size) + 0.5
    return np.log(counts / counts.sum())[cell]
