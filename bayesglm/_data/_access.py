"""What the other layers ask a recording, so that they need not know its layout."""

from typing import Any, Literal

import numpy as np
import xarray as xr


def row_dim(data: xr.Dataset) -> Literal["time", "trial"]:
    """The row dim: "time" or "trial"."""
    rows = data.attrs.get("rows")
    if rows not in ("time", "trial"):
        raise ValueError("This Dataset is no recording (it has no attribute 'rows'): make one with recording or bin_spikes.")
    return rows


def is_time(data: xr.Dataset) -> bool:
    """Whether rows are time bins."""
    return row_dim(data) == "time"


def bin_width(data: xr.Dataset) -> float:
    """Bin width in s; 1.0 on trial rows, where lags count trials."""
    row_dim(data)
    return float(data.attrs["dt"])


def epoch_ids(data: xr.Dataset) -> np.ndarray:
    """Epoch of each row, (row,), consecutive integers from 0."""
    return data["epoch"].values


def neurons(data: xr.Dataset) -> np.ndarray:
    """Labels of the neurons, (neuron,); empty where the recording has none."""
    return data["neuron"].values if "neuron" in data.coords else np.arange(0)


def given_labels(labels: Any) -> tuple | None:
    """Labels as a user gives them, taken from an array perhaps, as plain values; None where none are given."""
    return None if labels is None else tuple(label.item() if isinstance(label, np.generic) else label for label in labels)


def areas(data: xr.Dataset) -> np.ndarray | None:
    """The area of each neuron, (neuron,), where the recording has a column or coordinate ``area (neuron)``."""
    return data["area"].values if "area" in data.variables and data["area"].dims == ("neuron",) else None


def period(data: xr.Dataset, column: str) -> float | None:
    """Length of the circle of a circular column, None where it is not circular."""
    value = data[column].attrs.get("period")
    return None if value is None else float(value)


def event_names(data: xr.Dataset) -> list[str]:
    """Names of the recording's events."""
    return [str(name) for name, v in data.data_vars.items() if v.attrs.get("kind") == "event"]


def column_names(data: xr.Dataset) -> list[str]:
    """Names of everything with a value a row, besides the bookkeeping."""
    row = row_dim(data)
    return [str(name) for name, v in data.variables.items() if row in v.dims and name not in ("observed", "epoch")]


def require_column(data: xr.Dataset, column: str, what: str = "Tuning") -> xr.DataArray:
    """The column that the term `what` asks for.

    Raises
    ------
    ValueError
        Where there is none of this name; the sentence lists those that exist.
    """
    known = column_names(data)
    if column in known:
        return data[column]
    if column in event_names(data):
        raise ValueError(f"{what} wants a column, but {column!r} is an event: use Event({column!r}, ...).")
    raise ValueError(f"{what} wants the column {column!r}, which the recording lacks; it has {', '.join(known)}.")
