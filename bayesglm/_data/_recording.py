"""The recording: one xarray.Dataset with rows that are bins or trials."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from bayesglm._data._checks import as_counts, check_dt, check_spacing, check_times
from bayesglm._data._columns import Column, as_column, labelled, sizes, split_areas
from bayesglm._data._events import as_events
from bayesglm._data._notes import say

_GAP = 1.5


def recording(
    *,
    dt: float | None = None,
    time: Any = None,
    rows: Literal["time", "trial"] = "time",
    epoch: Any = None,
    events: Mapping[str, Any] | None = None,
    observed: Any = None,
    labels: Mapping[str, Any] | None = None,
    **columns: Any,
) -> xr.Dataset:
    """A recording from arrays that are binned already, one value a row.

    Parameters
    ----------
    dt : float, optional
        Bin width in s; needed on time rows unless `time` is given, from which it is then read.
    time : array (row,), optional
        Times of the rows in s; by default the bin centres (i + 1/2) dt. A gap beyond 1.5 dt starts a new epoch.
    rows : "time" or "trial"
        What a row is. Trial rows have no `dt`: there spans, lags and gaps count trials.
    epoch : array (row,), optional
        A change of value starts a new epoch; lags never cross one.
    events : dict, optional
        Name -> times in s (event,), or (times, values). Several values have names: (times, {"contrast": ...}). The
        value ``stop`` (s) is an event's end: it is on in all the bins that it overlaps.
    observed : array (row, neuron) or (row,) of bool, optional
        False where a neuron was not recorded; NaN counts are allowed there.
    labels : dict, optional
        Names of the entries of a dim: ``{"neuron": [...]}``, or of a column's features, ``{"counts": [...]}``. With
        ``{"area": [...]}`` each neuron has an area, the coordinate ``area (neuron)``.
    **columns : arrays
        ``spikes`` (row,) or (row, neuron), counts a bin; covariates (row,), (row, feature) or (row, y, x); ``(dims,
        array)`` pairs, DataArrays and `angle` are taken as they are.

    Returns
    -------
    xarray.Dataset
        ``spikes (row, neuron)`` in the smallest unsigned type, covariates ``(row, *dims)``, events on dims of their
        own, ``observed`` where given; coordinates ``time`` (s) or ``trial``, ``epoch``, ``neuron``; attributes
        ``rows``, ``dt`` (s; 1.0 on trial rows), ``gaps`` (epochs begun by a gap), ``notes``.

    Raises
    ------
    ValueError
        For counts that are negative, fractional or NaN, columns of unequal length, infinite values, times out of order
        or in milliseconds, reserved names and unknown labels; the sentence names the column and the mend.

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=[[0, 2], [1, 0], [0, 0]], speed=[1.0, 2.0, 3.0], labels={"neuron": ["a", "b"]})
    >>> data["spikes"].dims, data["spikes"].dtype.name
    (('time', 'neuron'), 'uint8')
    """
    if rows not in ("time", "trial"):
        raise ValueError(f"rows={rows!r} is unknown; pass rows='time' or rows='trial'.")
    if not columns:
        raise ValueError("A recording needs at least one column: pass spikes=counts or a covariate.")
    parsed = {name: as_column(name, given, rows) for name, given in columns.items()}
    size = sizes(parsed, rows)
    notes: list[str] = []
    if rows == "time":
        time = _one_clock(time, parsed)
    elif dt is not None or time is not None or events:
        raise ValueError("Trial rows have no dt, time or events: leave them out, or use from_trials for binned trials.")
    n = _row_count(time, parsed, rows)
    if rows == "time":
        index, width, ids, gaps = _clock(dt, time, epoch, n, notes)
    else:
        index, width, ids, gaps = np.arange(n), 1.0, _runs(_check_epoch(epoch, n)), 0
    seen = _check_observed(observed, n, size.get("neuron"), rows)
    if "spikes" in parsed:
        counts = as_counts(parsed["spikes"].values, None if seen is None else seen[1])
        parsed["spikes"] = parsed["spikes"]._replace(values=counts)
    happenings, values = as_events(events or {}, index)
    _note_angles(parsed, notes)
    given, area = split_areas(labels or {}, size)
    variables: dict[str, tuple] = {name: (c.dims, c.values, c.attrs) for name, c in parsed.items()}
    if seen is not None:
        variables["observed"] = seen
    if clash := (set(happenings) | set(values) | set(area)) & set(variables):
        raise ValueError(f"{min(clash)!r} names both a column and an event (or its values), or labels: rename one of them.")
    coords = {
        rows: (rows, index, {"units": "s"} if rows == "time" else {}),
        "epoch": (rows, ids),
        **labelled(parsed, size, given, rows),
        **area,
        **values,
    }
    attrs = {"rows": rows, "dt": width, "gaps": gaps, "notes": notes}
    return xr.Dataset({**variables, **happenings}, coords=coords, attrs=attrs)


def _one_clock(time: Any, columns: Mapping[str, Column]) -> np.ndarray | None:
    """The rows' times: those passed, else those that DataArrays carry."""
    found = None if time is None else check_times(time, "time")
    for name, column in columns.items():
        if "time" not in column.labels:
            continue
        own = check_times(column.labels["time"], f"The times of {name!r}")
        if found is not None and (found.shape != own.shape or not np.allclose(found, own, rtol=0, atol=1e-6)):
            raise ValueError(f"{name!r} carries times that are not the recording's: select or resample it first.")
        found = own if found is None else found
    return found


def _row_count(time: np.ndarray | None, columns: Mapping[str, Column], row: str) -> int:
    lengths = {"time": time.size} if time is not None else {}
    lengths |= {name: len(c.values) for name, c in columns.items() if row in c.dims}
    if not lengths:
        raise ValueError(f"No column has the row dim {row!r}: pass at least one value a row.")
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
        raise ValueError(f"The columns have unequal numbers of rows ({said}): every column needs one value a {row} row.")
    return next(iter(lengths.values()))


def _clock(dt: float | None, time: np.ndarray | None, epoch: Any, n: int, notes: list[str]) -> tuple[np.ndarray, float, np.ndarray, int]:
    """Times, bin width, epoch ids and the number of epochs that only a gap began."""
    ids = _runs(_check_epoch(epoch, n))
    if time is None:
        if dt is None:
            raise ValueError("Time rows need dt (bin width in seconds) or time: pass dt=0.01, or rows='trial'.")
        width = check_dt(dt)
        return (np.arange(n) + 0.5) * width, width, ids, 0
    width = _width(time, ids) if dt is None else check_dt(dt)
    steps = np.diff(time)
    declared = np.diff(ids) != 0
    gap = (steps > _GAP * width) & ~declared
    check_spacing(time, steps[~declared], width)
    if gaps := int(gap.sum()):
        ids = np.concatenate([[0], np.cumsum(gap | declared)])
        say(
            notes,
            f"{gaps} gap(s) in time beyond {_GAP} dt ({_GAP * width:g} s; the longest {steps[gap].max():g} s) start new "
            f"epochs: {ids[-1] + 1} epochs, whose edges no lag crosses.",
        )
    return time, width, ids, gaps


def _width(time: np.ndarray, ids: np.ndarray) -> float:
    steps = np.diff(time)[np.diff(ids) == 0]
    if steps.size == 0 or np.median(steps) <= 0:
        raise ValueError(f"The bin width cannot be read from {time.size} time(s): pass dt in seconds.")
    # Nine digits: differences of clock times carry rounding that would show in every rate.
    return float(f"{np.median(steps):.9g}")


def _check_epoch(epoch: Any, n: int) -> np.ndarray:
    if epoch is None:
        return np.zeros(n, dtype=np.int64)
    values = np.asarray(epoch)
    if values.shape != (n,):
        raise ValueError(f"epoch has the shape {values.shape}; it wants ({n},): one epoch number or name a row.")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(f"epoch is NaN at row {int(np.argmax(np.isnan(values)))}: leave out rows outside every epoch.")
    return values


def _runs(values: np.ndarray) -> np.ndarray:
    """Consecutive ids, one more at each change of value."""
    return np.concatenate([[0], np.cumsum(values[1:] != values[:-1])]).astype(np.int64)


def _check_observed(observed: Any, n: int, neurons: int | None, row: str) -> tuple[tuple[str, ...], np.ndarray] | None:
    if observed is None:
        return None
    values = np.asarray(observed)
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise ValueError(f"observed must be True or False, got {values.dtype}: pass a boolean array.")
    values = values.astype(bool)
    wanted = (n,) if neurons is None else (n, neurons)
    if values.shape == (n,) and neurons is not None:
        values = np.repeat(values[:, None], neurons, axis=1)
    if values.shape != wanted:
        raise ValueError(f"observed has the shape {values.shape}; it wants {wanted} or ({n},): one flag a count.")
    return ((row, "neuron")[: values.ndim], values)


def _note_angles(columns: Mapping[str, Column], notes: list[str]) -> None:
    for name, column in columns.items():
        if "period" not in column.attrs or column.values.dtype.kind not in "iuf":
            continue
        known = column.values[np.isfinite(column.values)]
        turns = np.ptp(known) / column.attrs["period"] if known.size else 0.0
        if turns > 1.5:
            say(
                notes,
                f"{name!r} spans {turns:.0f} turns of period {column.attrs['period']:g}: degrees want period=360.",
            )
