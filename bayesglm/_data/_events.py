"""Events: moments in seconds, with or without values and ends, on dims of their own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data._checks import MILLI, check_name, check_times, check_values

Variables = dict[str, tuple]


def as_events(events: Mapping[str, Any], time: np.ndarray) -> tuple[Variables, Variables]:
    """Variables ``cue (cue_event)`` and coordinates ``cue_value (cue_event)``, ``cue_stop`` ... of each event."""
    variables: Variables = {}
    coords: Variables = {}
    for name, given in events.items():
        check_name(name)
        times, values = given if isinstance(given, tuple) else (given, None)
        times = check_times(times, f"The times of event {name!r}")
        _refuse_milliseconds(name, times, time)
        variables[name] = (f"{name}_event", times, {"kind": "event", "units": "s"})
        for value, column in named_values(values).items():
            check_name(f"{name}_{value}")
            if f"{name}_{value}" in coords:
                raise ValueError(f"Two events have values called '{name}_{value}': rename one of them.")
            coords[f"{name}_{value}"] = (f"{name}_event", *_checked(name, value, np.asarray(column), times))
    if clash := set(variables) & set(coords):
        raise ValueError(f"{min(clash)!r} names both an event and a value of another: rename one of them.")
    return variables, coords


def named_values(values: Any) -> dict[str, Any]:
    """What an event carries, by name: a dict as it is; one array is its ``value``."""
    return {} if values is None else dict(values) if isinstance(values, Mapping) else {"value": values}


def _refuse_milliseconds(name: str, times: np.ndarray, time: np.ndarray) -> None:
    inside = (times >= time[0]) & (times <= time[-1])
    scaled = (times / MILLI >= time[0]) & (times / MILLI <= time[-1])
    if times.size and not inside.any() and scaled.mean() > 0.5:
        raise ValueError(
            f"The times of event {name!r} look like milliseconds: they lie in {times[0]:g} to {times[-1]:g} but the "
            f"recording ends at {time[-1]:g} s; pass times / 1000."
        )


def _checked(name: str, value: str, column: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """The values of an event and their attributes."""
    if column.shape != times.shape:
        raise ValueError(f"Event {name!r} has {times.size} times but values of shape {column.shape}: pass one {value} an event.")
    if value != "stop":
        return check_values(f"{name}_{value}", column), {}
    if column.dtype.kind not in "iuf" or not np.isfinite(column).all() or (column < times).any():
        raise ValueError(f"Event {name!r} has a stop that is no time in seconds at or after its start: pass the end of each event, not its duration.")
    return column.astype(float), {"units": "s"}


def event_values(data: xr.Dataset, name: str) -> dict[str, np.ndarray]:
    """What the events of this name carry, (event,) each, by name: ``value``, ``stop``, ..."""
    dim = f"{name}_event"
    return {str(key).removeprefix(f"{name}_"): c.values for key, c in data.coords.items() if c.dims == (dim,) and key != dim}


def event_rows(data: xr.Dataset, name: str) -> np.ndarray:
    """Row whose bin holds each event, (event,); -1 where the event lies outside every bin."""
    time, half = data["time"].values, 0.5 * data.attrs["dt"]
    times = data[name].values
    # A millionth of a bin keeps an event that lies on a bin's edge in the later bin.
    row = np.searchsorted(time - half * (1 + 2e-6), times, side="right") - 1
    inside = (row >= 0) & (times < time[row] + half * (1 - 2e-6))
    return np.where(inside, row, -1)


def event_spans(data: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """First row and the row after the last one of the bins that each event overlaps, (event,) each; equal where there is none.

    An event without a stop overlaps the one bin that holds it.
    """
    row, stops = event_rows(data, name), event_values(data, name).get("stop")
    alone = np.where(row >= 0, row, 0), np.where(row >= 0, row + 1, 0)
    if stops is None:
        return alone
    time, half = data["time"].values, 0.5 * data.attrs["dt"]
    first = np.searchsorted(time + half * (1 - 2e-6), data[name].values, side="right")
    after = np.searchsorted(time - half * (1 - 2e-6), stops, side="left")
    lasts = after > first
    return np.where(lasts, first, alone[0]), np.where(lasts, after, alone[1])
