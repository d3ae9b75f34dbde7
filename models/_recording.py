"""What every model of the reading room asks a recording: complete columns, and errors that say what to do."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesglm._data import bin_width, is_time, neurons, require_column, row_dim


def signal(data: xr.Dataset, column: str) -> np.ndarray:
    """A covariate (row,) without gaps."""
    array = require_column(data, column, "The model")
    if array.dims != (row_dim(data),):
        raise ValueError(f"The model wants the column {column!r} with one number a row; it has dims {array.dims}. bg.GLM takes columns of any shape.")
    values = array.values.astype(float)
    _complete(column, values)
    return values


def features(data: xr.Dataset, column: str, known: tuple | None = None) -> tuple[np.ndarray, str, tuple]:
    """A column of features (row, feature) without gaps, its dim and its labels; ``known`` are those of the training data."""
    array, rows = require_column(data, column, "The model"), row_dim(data)
    dims = [str(dim) for dim in array.dims if dim != rows]
    if len(dims) != 1:
        raise ValueError(f"The model wants {column!r} ({rows}, feature); it has dims {array.dims}.")
    values = array.transpose(rows, dims[0]).values.astype(float)
    _complete(column, values)
    if known is not None and values.shape[1] != len(known):
        raise ValueError(f"Column {column!r} has {values.shape[1]} features; the model was resolved on {len(known)}: give it the same ones.")
    return values, dims[0], tuple(data[dims[0]].values.tolist()) if dims[0] in data.coords else tuple(range(values.shape[1]))


def choices(data: xr.Dataset, column: str) -> np.ndarray:
    """A binary choice (row,), coded 0 and 1."""
    values = signal(data, column)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"{column!r} holds the values {np.unique(values)[:6].tolist()}; the model wants 0 and 1.")
    return values


def log_odds(choice: np.ndarray) -> np.ndarray:
    """logit of the mean choice, (1,); a choice that never varies counts half a trial of the other side."""
    p = np.clip(choice.mean(), 0.5 / len(choice), 1.0 - 0.5 / len(choice))
    return np.log(p / (1.0 - p))[None]


def shrinkage(cells: int) -> float:
    """Width of the half-normal law of a learned scale: 1, beyond 20 cells sqrt(20 / cells), so that eta's prior sd stays near three."""
    return min(1.0, float(np.sqrt(20.0 / cells)))


def spike_counts(data: xr.Dataset, labels: tuple | None = None) -> np.ndarray:
    """Counts (row, neuron) of exactly the neurons ``labels`` (None: whoever is there)."""
    if "observed" in data:
        raise ValueError("The model wants every cell observed in every bin, and the recording has a mask 'observed'. bg.GLM takes masks.")
    return seen_counts(data, labels)[0]


def seen_counts(data: xr.Dataset, labels: tuple | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The same where cells come and go: counts, zero where a cell was not observed, and (row, neuron) bool of where it was."""
    array = require_column(data, "spikes", "The model")
    if "neuron" not in array.dims:
        raise ValueError(f"The model wants 'spikes' ({row_dim(data)}, neuron); it has dims {array.dims}.")
    here = tuple(neurons(data).tolist())
    if labels is not None and here != labels:
        raise ValueError(f"The model was resolved on the neurons {list(labels)[:8]}, the recording has {list(here)[:8]}: select the same ones.")
    values = array.transpose(..., "neuron").values
    if "observed" not in data:
        _complete("spikes", values)
        return values, np.ones(values.shape, bool)
    seen = data["observed"].transpose(..., "neuron").values
    return np.where(seen, values, 0), seen


def responses(data: xr.Dataset, labels: tuple | None) -> dict[str, np.ndarray]:
    """The spikes as a design holds them, (neuron, row); empty where the recording has none (for prior draws)."""
    return {"response": spike_counts(data, labels).T} if "spikes" in data else {}


def require_resolved(known: object) -> None:
    """Without the numbers that ``resolve`` fixes there is no design."""
    if known is None:
        raise ValueError("The model is not resolved: fit does it, or model.resolve(data) before model.design(data).")


def same_bins(data: xr.Dataset, dt: float) -> None:
    """Kernels hold for one bin width; and there are none before ``resolve``."""
    require_resolved(dt or None)
    if abs(bin_width(data) - dt) > 1e-9 * dt:
        unit = "s" if is_time(data) else "trials"
        raise ValueError(f"The model was resolved at dt={dt:g} {unit}, the recording has {bin_width(data):g}: bin both alike.")


def log_mean(counts: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """log of each cell's mean count where it was seen, (neuron,); a silent one counts half a spike."""
    n = np.maximum(len(counts) if seen is None else seen.sum(0), 1)
    return np.log(np.maximum(counts.sum(0) / n, 0.5 / n))


def unit_sd(values: np.ndarray) -> np.ndarray:
    """Standard deviation of each column; a constant one keeps the unit 1, for its sd says nothing."""
    sd = values.std(0)
    return np.where(sd > 1e-12 * (1.0 + np.abs(values.mean(0))), sd, 1.0)


def left_out(scored: np.ndarray, reason: str) -> tuple[tuple[str, int], ...]:
    """The report of a design: how many rows are not scored, and why."""
    lost = int((scored == 0).sum())
    return ((reason, lost),) if lost else ()


def _complete(column: str, values: np.ndarray) -> None:
    lost = int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0
    if lost:
        raise ValueError(f"Column {column!r} holds {lost} NaN; the models of the reading room want complete columns. bg.GLM leaves such rows out.")
