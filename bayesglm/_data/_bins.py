"""Spike times to counts a bin."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data import _pynapple
from bayesglm._data._checks import MILLI, check_dt, check_name, check_times
from bayesglm._data._columns import is_pair
from bayesglm._data._grid import Grid, make_grid, snapped
from bayesglm._data._recording import recording
from bayesglm._data._resample import resample
from bayesglm._data._signal import Angle, Signal, signal

# Fewer times than this may all be whole numbers by chance.
_MANY = 20
# Population recordings whose fastest cell is slower than this (spikes/s) are read in the wrong unit.
_SLOW = 0.5


def bin_spikes(
    spike_times: Any,
    *,
    dt: float,
    epochs: Any = None,
    events: Mapping[str, Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    **signals: Any,
) -> xr.Dataset:
    """A recording from spike times: counts in whole bins [edge, edge + dt) that never straddle an epoch's edge.

    Parameters
    ----------
    spike_times : dict label -> times, list of arrays, or one array
        Times in s, in order.
    dt : float
        Bin width in s.
    epochs : (start, stop), array (epoch, 2) or pynapple IntervalSet, optional
        In s; what is left of an epoch beyond its last whole bin is not used. By default from the first spike to the
        last, on multiples of `dt`.
    events, labels : dict, optional
        As for `recording`.
    **signals : ``(t, values)``, `signal`, `angle` of either, pynapple Tsd or TsdFrame, or arrays on the bins
        Put on the bins epoch by epoch (see `signal`).

    Returns
    -------
    xarray.Dataset
        As `recording`, with rows "time"; each epoch given is an epoch of the recording.

    Raises
    ------
    ValueError
        For times out of order, NaN or in milliseconds, epochs that are empty or overlap, and signals without samples.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> t = np.linspace(0, 1, 101)
    >>> data = bg.bin_spikes({"a": [0.05, 0.31], "b": [0.32]}, dt=0.1, epochs=(0, 1), speed=(t, np.sin(t)))
    >>> data["spikes"].sum("time").values.tolist()
    [2, 1]
    """
    dt = check_dt(dt)
    for name in signals:
        check_name(name)
        if name in ("spikes", "rows"):
            raise ValueError(f"{name!r} cannot be a signal, since bin_spikes makes it: give this column another name.")
    units = _as_units(spike_times)
    grid = make_grid(_bounds(epochs, list(units.values()), dt), dt)
    _refuse_milliseconds(list(units.values()), grid)
    counts = _count(list(units.values()), grid)
    notes: list[str] = []
    columns = {name: _on_bins(name, given, grid, notes) for name, given in signals.items()}
    frames = {name: list(g.columns) for name, g in signals.items() if _pynapple.is_a(g, "TsdFrame")}
    data = recording(
        dt=dt,
        time=grid.time,
        epoch=grid.epoch,
        events=events,
        labels={"neuron": list(units), **frames, **(labels or {})},
        spikes=counts,
        **columns,
    )
    data.attrs["notes"] = notes + data.attrs["notes"]
    return data


def from_pynapple(
    units: Any,
    *,
    dt: float,
    epochs: Any = None,
    events: Mapping[str, Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    **signals: Any,
) -> xr.Dataset:
    """A recording from pynapple's objects; equals `bin_spikes` of the same times.

    Parameters
    ----------
    units : TsGroup, Ts, or dict of Ts
        A group's metadata (area, cell type) become ``(neuron,)`` columns.
    dt : float
        Bin width in s.
    epochs : IntervalSet, (start, stop) or array (epoch, 2), optional
        By default the time support of `units`, in s.
    events, labels : dict, optional
        As for `recording`; events may be Ts, Tsd or, where they last, an IntervalSet.
    **signals : Tsd, TsdFrame, TsdTensor, or what `bin_spikes` takes
        A TsdFrame's column names label its features; `angle(tsd)` marks a circular one.

    Returns
    -------
    xarray.Dataset
        As `bin_spikes`.

    Raises
    ------
    ValueError
        As `bin_spikes`, and where `units` is none of pynapple's.

    Examples
    --------
    >>> import bayesglm as bg
    >>> import pynapple as nap  # doctest: +SKIP
    >>> units = nap.TsGroup({1: nap.Ts([0.2, 0.7]), 2: nap.Ts([0.4])})  # doctest: +SKIP
    >>> data = bg.from_pynapple(units, dt=0.1, epochs=nap.IntervalSet(0, 1))  # doctest: +SKIP
    """
    times = _pynapple.unit_times(units)
    epochs = _pynapple.support(units) if epochs is None else epochs
    moments = {name: _as_event(given) for name, given in (events or {}).items()}
    columns = {**_pynapple.unit_metadata(units, signals), **signals}
    return bin_spikes(times, dt=dt, epochs=epochs, events=moments, labels=labels, **columns)


def _as_event(given: Any) -> Any:
    if _pynapple.is_a(given, "IntervalSet"):
        start, stop = _pynapple.intervals(given).T
        return start, {"stop": stop}
    return given.t if _pynapple.is_a(given, "Ts") else _pynapple.samples(given)


def _as_units(spike_times: Any) -> dict[Any, np.ndarray]:
    """Times by label; numbers from 0 where there are none."""
    if isinstance(spike_times, Mapping):
        named = dict(spike_times)
    elif isinstance(spike_times, np.ndarray) and spike_times.dtype != object:
        if spike_times.ndim != 1:
            raise ValueError(
                f"spike_times has the shape {spike_times.shape}; it wants times, one array a neuron: counts a bin go to recording(dt=..., spikes=counts)."
            )
        named = {0: spike_times}
    else:
        listed = list(spike_times)
        named = {0: listed} if listed and np.ndim(listed[0]) == 0 else dict(enumerate(listed))
    if not named:
        raise ValueError("spike_times is empty: pass at least one neuron's times.")
    return {label: check_times(_floats(times), f"The spike times of neuron {label!r}") for label, times in named.items()}


def _floats(times: Any) -> np.ndarray:
    array = np.asarray(times.t if _pynapple.is_a(times, "Ts") else times)
    return array.astype(np.float64) if array.size == 0 else array


def _bounds(epochs: Any, trains: list[np.ndarray], dt: float) -> Any:
    if epochs is not None:
        return _pynapple.intervals(epochs)
    times = np.concatenate(trains)
    if times.size == 0:
        raise ValueError("spike_times holds no spike, so that the bins are unknown: pass epochs=(start, stop).")
    return snapped(times.min(), times.max(), dt)


def _refuse_milliseconds(trains: list[np.ndarray], grid: Grid) -> None:
    times = np.concatenate(trains)
    if times.size == 0:
        return
    inside = (grid.rows(times) >= 0).mean()
    scaled = (grid.rows(times / MILLI) >= 0).mean()
    fastest = max(t.size for t in trains) / max(float(np.ptp(times)), grid.dt)
    whole = times.size >= _MANY and times.max() > MILLI and grid.dt < 1 and bool((times == np.round(times)).all())
    if whole or (inside < 0.01 and scaled > 0.5 and fastest < _SLOW):
        raise ValueError(
            f"The spike times look like milliseconds or samples: they lie in {times.min():g} to {times.max():g}, the "
            f"epochs in {grid.starts[0]:g} to {grid.stops[-1]:g} s, dt={grid.dt:g} s; pass times / 1000 (or / the "
            f"sampling rate)."
        )
    if inside == 0:
        raise ValueError(
            f"No spike falls into the epochs ({grid.starts[0]:g} to {grid.stops[-1]:g} s; spikes lie in {times.min():g} to "
            f"{times.max():g} s): check that both use one clock, in seconds."
        )


def _count(trains: list[np.ndarray], grid: Grid) -> np.ndarray:
    n = int(grid.offsets[-1])
    counts = []
    for times in trains:
        rows = grid.rows(times)
        column = np.bincount(rows[rows >= 0], minlength=n)
        counts.append(column.astype(np.min_scalar_type(int(column.max()))))
    return np.stack(counts, axis=1)


def _on_bins(name: str, given: Any, grid: Grid, notes: list[str]) -> Any:
    """A signal put on the bins, or a column as it is."""
    if isinstance(given, Angle):
        inner = _as_signal(given.values, given.period)
        return Angle(resample(name, inner, grid, notes) if isinstance(inner, Signal) else inner, given.period)
    given = _as_signal(given, None)
    if not isinstance(given, Signal):
        return given
    if isinstance(given.values, Angle):
        given = signal(given.t, given.values.values, given.how, given.values.period, given.max_gap)
    values = resample(name, given, grid, notes)
    return values if given.period is None else Angle(values, given.period)


def _as_signal(given: Any, period: float | None) -> Any:
    given = _pynapple.samples(given)
    if isinstance(given, tuple) and len(given) == 2 and not is_pair(given):
        return signal(given[0], given[1], period=period)
    if isinstance(given, Signal) and period is not None:
        return signal(given.t, given.values, given.how, period, given.max_gap)
    return given
