"""Events: moments in seconds, with or without values, on dims of their own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data._checks import MILLI, check_name, check_times, check_values

Variables = dict[str, tuple]


def as_events(events: Mapping[str, Any], time: np.ndarray) -> tuple[Variables, Variables]:
    """Variables ``cue (cue_event)`` and coordinates ``cue_value (cue_event)`` of each event."""
    variables: Variables = {}
    coords: Variables = {}
    for name, given in events.items():
        check_name(name)
        times, values = given if isinstance(given, tuple) else (given, None)
        times = check_times(times, f"The times of event {name!r}")
        _refuse_milliseconds(name, times, time)
        variables[name] = (f"{name}_event", times, {"kind": "event", "units": "s"})
        if values is not None:
            coords[f"{name}_value"] = (f"{name}_event", _check_event_values(name, np.asarray(values), times.size))
    return variables, coords


def _refuse_milliseconds(name: str, times: np.ndarray, time: np.ndarray) -> None:
    inside = (times >= time[0]) & (times <= time[-1])
    scaled = (times / MILLI >= time[0]) & (times / MILLI <= time[-1])
    if times.size and not inside.any() and scaled.mean() > 0.5:
        raise ValueError(
            f"The times of event {name!r} look like milliseconds: they lie in {times[0]:g} to {times[-1]:g} but the "
            f"recording ends at {time[-1]:g} s; pass times / 1000."
        )


def _check_event_values(name: str, values: np.ndarray, size: int) -> np.ndarray:
    if values.shape != (size,):
        raise ValueError(f"Event {name!r} has {size} times but values of shape {values.shape}: pass one value an event.")
    return check_values(f"{name}_value", values)


def event_rows(data: xr.Dataset, name: str) -> np.ndarray:
    """Row whose bin holds each event, (event,); -1 where the event lies outside every bin."""
    time, half = data["time"].values, 0.5 * data.attrs["dt"]
    times = data[name].values
    # A millionth of a bin keeps an event that lies on a bin's edge in the later bin.
    row = np.searchsorted(time - half * (1 + 2e-6), times, side="right") - 1
    inside = (row >= 0) & (times < time[row] + half * (1 - 2e-6))
    return np.where(inside, row, -1)
