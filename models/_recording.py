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


def spike_counts(data: xr.Dataset, labels: tuple | None = None) -> np.ndarray:
    """Counts (row, neuron) of exactly the neurons ``labels`` (None: whoever is there)."""
    array = require_column(data, "spikes", "The model")
    if "observed" in data:
        raise ValueError("The model wants every cell observed in every bin, and the recording has a mask 'observed'. bg.GLM takes masks.")
    if "neuron" not in array.dims:
        raise ValueError(f"The model wants 'spikes' (time, neuron); it has dims {array.dims}.")
    here = tuple(neurons(data).tolist())
    if labels is not None and here != labels:
        raise ValueError(f"The model was resolved on the neurons {list(labels)[:8]}, the recording has {list(here)[:8]}: select the same ones.")
    values = array.transpose(..., "neuron").values
    if values.dtype.kind == "f":
        _complete("spikes", values)
    return values


def responses(data: xr.Dataset, labels: tuple | None) -> dict[str, np.ndarray]:
    """The spikes as a design holds them, (neuron, row); empty where the recording has none (for prior draws)."""
    return {"response": spike_counts(data, labels).T} if "spikes" in data else {}


def same_bins(data: xr.Dataset, dt: float) -> None:
    """Kernels hold for one bin width; and there are none before ``resolve``."""
    if not dt:
        raise ValueError("The model is not resolved: fit does it, or model.resolve(data) before model.design(data).")
    if abs(bin_width(data) - dt) > 1e-9 * dt:
        unit = "s" if is_time(data) else "trials"
        raise ValueError(f"The model was resolved at dt={dt:g} {unit}, the recording has {bin_width(data):g}: bin both alike.")


def log_mean(counts: np.ndarray) -> np.ndarray:
    """log of each cell's mean count, (neuron,); a silent one counts half a spike."""
    return np.log(np.maximum(counts.mean(0), 0.5 / len(counts)))


def unit_sd(values: np.ndarray) -> np.ndarray:
    """Standard deviation of each column; a constant one keeps the unit 1, for its sd says nothing."""
    sd = values.std(0)
    return np.where(sd > 1e-12 * (1.0 + np.abs(values.mean(0))), sd, 1.0)


def left_out(scored: np.ndarray, reason: str) -> tuple[tuple[str, int], ...]:
    """The report of a design: how many rows are not scored, and why."""
    lost = int((scored == 0).sum())
    return ((reason, lost),) if lost else ()


def _complete(column: str, values: np.ndarray) -> None:
    lost = int(np.isnan(values).sum())
    if lost:
        raise ValueError(f"Column {column!r} holds {lost} NaN; the models of the reading room want complete columns. bg.GLM leaves such rows out.")
