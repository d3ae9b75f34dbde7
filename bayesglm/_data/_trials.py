"""Binned trials, of equal or unequal length, as epochs of one recording."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data._checks import check_dt
from bayesglm._data._columns import is_pair
from bayesglm._data._events import named_values
from bayesglm._data._grid import Grid
from bayesglm._data._notes import say
from bayesglm._data._recording import recording
from bayesglm._data._signal import Angle

PAUSE = 1.0


def from_trials(
    arrays: Mapping[str, Any],
    *,
    dt: float,
    align: Any = 0,
    events: Mapping[str, Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    **per_trial: Any,
) -> xr.Dataset:
    """A recording whose epochs are trials.

    Time runs on from trial to trial with a pause of about a second between them (the pause is not real time); the time
    in a trial is the coordinate ``trial_time = (i + 1/2) dt - align``.

    Parameters
    ----------
    arrays : dict name -> array (trial, time) or (trial, time, ...), or list of arrays (time, ...)
        Binned columns such as ``spikes`` (trial, time, neuron); trials may be of unequal length as a list.
    dt : float
        Bin width in s.
    align : float or array (trial,)
        Time in s from a trial's first edge to the moment that ``trial_time`` counts from.
    events : dict, optional
        Name -> times in s from `align`, (trial,) with NaN where there is none, or a list of arrays, one a trial; or
        (times, values) of one shape, or (times, {name: values}); the value ``stop`` is an event's end in s from
        `align`, cut at its trial's end. Events outside their trial are left out and counted.
    labels : dict, optional
        As for `recording`.
    **per_trial : array (trial,) or (trial, feature)
        What is constant in a trial; every row of the trial gets it.

    Returns
    -------
    xarray.Dataset
        As `recording`, with rows "time" and coordinates ``trial`` and ``trial_time`` (s) on the rows.

    Raises
    ------
    ValueError
        Where trials differ in number or length between columns, or a trial has no bin.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> spikes = [np.zeros((3, 2), int), np.ones((5, 2), int)]
    >>> data = bg.from_trials({"spikes": spikes}, dt=0.1, align=0.1, contrast=[0.2, 0.8])
    >>> data["trial_time"].values.round(2).tolist()
    [-0.05, 0.05, 0.15, -0.05, 0.05, 0.15, 0.25, 0.35]
    """
    dt = check_dt(dt)
    if not arrays:
        raise ValueError("arrays is empty: pass at least one column, such as {'spikes': counts}.")
    if clash := set(arrays) & set(per_trial):
        raise ValueError(f"{min(clash)!r} is given both by bin and by trial: rename one of them.")
    listed = {name: _by_trial(name, given) for name, given in arrays.items()}
    grid = _running(_lengths(listed), dt)
    zero = _check_align(align, grid.sizes.size)
    notes: list[str] = []
    moments = {name: _moments(name, given, grid, zero, notes) for name, given in (events or {}).items()}
    columns = {name: _joined(name, arrays[name], parts) for name, parts in listed.items()}
    columns |= {name: _spread(name, given, grid) for name, given in per_trial.items()}
    data = recording(dt=dt, time=grid.time, epoch=grid.epoch, events=moments, labels=labels, **columns)
    within = grid.time - np.repeat(grid.starts + zero, grid.sizes)
    data.attrs["notes"] = notes + data.attrs["notes"]
    return data.assign_coords(trial=("time", grid.epoch), trial_time=("time", within, {"units": "s"}))


def _by_trial(name: str, given: Any) -> list[np.ndarray]:
    trials = [np.asarray(trial) for trial in (given.values if isinstance(given, Angle) else given)]
    for k, trial in enumerate(trials):
        if trial.ndim == 0:
            raise ValueError(f"{name!r} has one number in trial {k}: pass (trial, time) here and (trial,) as a keyword.")
        if len(trial) == 0:
            raise ValueError(f"{name!r} has no bin in trial {k}: an epoch cannot be empty; drop the trial everywhere.")
        if trial.shape[1:] != trials[0].shape[1:]:
            raise ValueError(f"{name!r} has the shape {trial.shape} in trial {k} but {trials[0].shape} in trial 0: only the number of bins may differ.")
    return trials


def _lengths(listed: Mapping[str, list[np.ndarray]]) -> np.ndarray:
    """Bins of each trial, (trial,), agreed on by all columns."""
    first, *others = listed
    lengths = np.array([len(trial) for trial in listed[first]], dtype=np.int64)
    if lengths.size == 0:
        raise ValueError(f"{first!r} has no trial: pass at least one.")
    for name in others:
        own = np.array([len(trial) for trial in listed[name]])
        if own.size != lengths.size:
            raise ValueError(f"{name!r} has {own.size} trials but {first!r} has {lengths.size}: pass the same trials.")
        if (own != lengths).any():
            k = int(np.argmax(own != lengths))
            raise ValueError(f"{name!r} has {own[k]} bins in trial {k} but {first!r} has {lengths[k]}: bin them alike.")
    return lengths


def pause(dt: float) -> float:
    """Whole bins, about a second and at least two bins, between trials or sessions: more than a gap."""
    return max(2, round(PAUSE / dt)) * dt


def _running(lengths: np.ndarray, dt: float) -> Grid:
    starts = np.concatenate([[0.0], np.cumsum(lengths[:-1] * dt + pause(dt))])
    return Grid(starts, starts + lengths * dt, lengths, dt)


def _check_align(align: Any, trials: int) -> np.ndarray:
    zero = np.asarray(align, dtype=np.float64)
    if zero.shape not in ((), (trials,)) or not np.isfinite(zero).all():
        raise ValueError(f"align must be one finite time in s or one a trial ({trials},), got shape {zero.shape}.")
    return np.broadcast_to(zero, (trials,))


def _joined(name: str, given: Any, trials: list[np.ndarray]) -> Any:
    values = np.concatenate(trials)
    return Angle(values, given.period) if isinstance(given, Angle) else values


def _spread(name: str, given: Any, grid: Grid) -> Any:
    """A value a trial, on every row of the trial."""
    if isinstance(given, Angle):
        return Angle(_spread(name, given.values, grid), given.period)
    if is_pair(given):
        return given
    values = np.asarray(given)
    if values.ndim == 0 or len(values) != grid.sizes.size:
        raise ValueError(f"{name!r} has the shape {values.shape}; it wants one value for each of {grid.sizes.size} trials.")
    return np.repeat(values, grid.sizes, axis=0)


def _moments(name: str, given: Any, grid: Grid, zero: np.ndarray, notes: list[str]) -> Any:
    """Event times of all trials in running time, in order, with their values."""
    times, values = given if isinstance(given, tuple) else (given, None)
    named = named_values(values)
    if len(times) != grid.sizes.size or any(len(column) != len(times) for column in named.values()):
        raise ValueError(f"Event {name!r} wants one entry for each of {grid.sizes.size} trials (NaN for none), got {len(times)}.")
    each = [np.atleast_1d(np.asarray(trial, dtype=np.float64)) for trial in times]
    trial = np.repeat(np.arange(len(each)), [t.size for t in each])
    moment = np.concatenate(each) + (grid.starts + zero)[trial]
    happened = np.flatnonzero(~np.isnan(moment))
    row = grid.rows(moment[happened])
    kept = happened[(row >= 0) & (grid.epoch[row] == trial[happened])]
    if lost := happened.size - kept.size:
        say(notes, f"{lost} event(s) {name!r} lie outside their trial and are left out.")
    order = kept[np.argsort(moment[kept], kind="stable")]
    if values is None:
        return moment[order]
    flat = {key: np.concatenate([np.atleast_1d(np.asarray(v)) for v in column]) for key, column in named.items()}
    for column in flat.values():
        if column.size != trial.size:
            raise ValueError(f"Event {name!r} has {trial.size} times but {column.size} values: pass one value an event.")
    if "stop" in flat:
        flat["stop"] = np.minimum(flat["stop"] + (grid.starts + zero)[trial], grid.stops[trial])
    return moment[order], {key: column[order] for key, column in flat.items()}
