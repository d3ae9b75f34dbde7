"""Sessions stacked into one recording, with the masked union of their neurons."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import xarray as xr

from bayesglm._data._access import bin_width, epoch_ids, event_names, is_time, neurons, row_dim
from bayesglm._data._events import event_values
from bayesglm._data._recording import recording
from bayesglm._data._trials import pause

Sessions = Mapping[str, xr.Dataset]


def concat(recordings: Sessions) -> xr.Dataset:
    """Stack sessions; a neuron of one session is unobserved in the others.

    Parameters
    ----------
    recordings : dict session -> recording
        All with the same kind of rows, bin width and columns.

    Returns
    -------
    xarray.Dataset
        A recording with neurons ``session/label``, ``observed (row, neuron)``, and the coordinate ``session`` on the
        rows. Epochs (and binned trials) are numbered on; time runs on with a pause of about a second between sessions,
        and the original is kept as ``session_time`` (s).

    Raises
    ------
    ValueError
        Where the sessions differ in rows, bin width, columns, dims or labels.

    Examples
    --------
    >>> import bayesglm as bg
    >>> one = bg.recording(dt=0.1, spikes=[0, 1, 0], labels={"neuron": ["u1"]})
    >>> both = bg.concat({"s1": one, "s2": one})
    >>> both["neuron"].values.tolist(), both["observed"].sum("time").values.tolist()
    (['s1/u1', 's2/u1'], [3, 3])
    """
    row = _check_alike(recordings)
    parts = list(recordings.values())
    lengths = [part.sizes[row] for part in parts]
    shifts = _shifts(parts)
    names = _shared_names(recordings, row)
    columns: dict[str, Any] = {name: _stack(name, recordings, row) for name in names}
    seen = _observed(parts, row)
    time: dict[str, Any] = {}
    if row == "time":
        time = {"time": _joined(parts, lambda p: p["time"].values, shifts), "dt": bin_width(parts[0])}
        time["events"] = _events(parts, shifts)
    ids = _joined(parts, epoch_ids, _counted(parts, epoch_ids))
    joined = recording(rows=row, epoch=ids, observed=seen, labels=_labels(recordings), **time, **columns)
    joined.attrs["notes"] += [f"{s}: {note}" for s, p in recordings.items() for note in p.attrs["notes"]]
    joined.attrs["gaps"] = sum(int(part.attrs["gaps"]) for part in parts)
    own = {"session": (row, np.repeat(list(recordings), lengths)), **_row_coords(parts, row), **_cell_coords(recordings)}
    return joined.assign_coords(own)


def _check_alike(recordings: Sessions) -> Literal["time", "trial"]:
    if not recordings:
        raise ValueError("concat got no recording: pass a dict such as {'s1': data}.")
    first, reference = next(iter(recordings.items()))
    for session, part in recordings.items():
        if row_dim(part) != row_dim(reference):
            raise ValueError(f"Session {session!r} has {row_dim(part)} rows but {first!r} {row_dim(reference)} rows.")
        if not np.isclose(bin_width(part), bin_width(reference), rtol=1e-6, atol=0):
            raise ValueError(f"Session {session!r} has dt={bin_width(part):g} s but {first!r} {bin_width(reference):g} s: bin them alike.")
        if "session" in part.variables:
            raise ValueError(f"Session {session!r} has a column 'session' already: drop it, or concat all parts at once.")
    return row_dim(reference)


def _shared_names(recordings: Sessions, row: str) -> list[str]:
    """Names of the columns, which every session must have."""
    own = {s: [str(n) for n in p.data_vars if n not in {"observed", *event_names(p)}] for s, p in recordings.items()}
    first, *others = own
    for session in others:
        if odd := sorted(set(own[first]) ^ set(own[session])):
            has = first if odd[0] in own[first] else session
            lacks = session if has == first else first
            raise ValueError(f"Column {odd[0]!r} is in session {has!r} but not in {lacks!r}: add it or drop it.")
    return own[first]


def _stack(name: str, recordings: Sessions, row: str) -> xr.DataArray:
    """One column of all sessions."""
    (first, reference), *others = ((s, p[name]) for s, p in recordings.items())
    for session, array in others:
        _check_same(name, first, reference, session, array, row)
    values = [p[name].values for p in recordings.values()]
    dims = tuple(map(str, reference.dims))
    if row in dims and "neuron" in dims:
        stacked = _union(values, dims.index("neuron"), fill=0 if name == "spikes" else np.nan)
    elif row in dims:
        stacked = np.concatenate(values)
    elif "neuron" in dims:
        stacked = np.concatenate(values, axis=dims.index("neuron"))
    else:
        stacked = values[0]
    coords = {d: reference[d].values for d in dims if d in reference.coords and d not in (row, "neuron")}
    return xr.DataArray(stacked, dims=dims, coords=coords, attrs=dict(reference.attrs))


def _check_same(name: str, first: str, a: xr.DataArray, session: str, b: xr.DataArray, row: str) -> None:
    free = {row, "neuron"}
    if a.dims != b.dims or any(a.sizes[d] != b.sizes[d] for d in a.dims if d not in free):
        raise ValueError(f"{name!r} is {dict(a.sizes)} in session {first!r} but {dict(b.sizes)} in {session!r}: match its dims.")
    for dim in set(a.dims) - free:
        if not a[dim].equals(b[dim]):
            raise ValueError(f"{name!r} labels {dim!r} otherwise in session {session!r} than in {first!r}: align them.")
    if a.attrs.get("period") != b.attrs.get("period"):
        raise ValueError(f"{name!r} is circular with other periods in sessions {first!r} and {session!r}: use one period.")
    if not free & set(a.dims) and not np.array_equal(a.values, b.values):
        raise ValueError(f"{name!r} has no row dim and differs between sessions {first!r} and {session!r}: drop it.")


def _union(values: list[np.ndarray], axis: int, fill: float) -> np.ndarray:
    """Blocks along rows and neurons, with `fill` where a session lacks the neuron."""
    dtype = np.result_type(*values, np.float32) if np.isnan(fill) else np.result_type(*values)
    moved = [np.moveaxis(v, axis, 1) for v in values]
    shape = (sum(len(v) for v in moved), sum(v.shape[1] for v in moved), *moved[0].shape[2:])
    out = np.full(shape, fill, dtype=dtype)
    i = j = 0
    for v in moved:
        out[i : i + len(v), j : j + v.shape[1]] = v
        i, j = i + len(v), j + v.shape[1]
    return np.moveaxis(out, 1, axis)


def _observed(parts: list[xr.Dataset], row: str) -> np.ndarray | None:
    if not any("neuron" in part.sizes for part in parts):
        flags = [p["observed"].values if "observed" in p else np.ones(p.sizes[row], bool) for p in parts]
        return np.concatenate(flags) if any("observed" in part for part in parts) else None
    full = [np.ones((p.sizes[row], neurons(p).size), dtype=bool) for p in parts]
    flags = [p["observed"].values if "observed" in p else f for p, f in zip(parts, full, strict=True)]
    return _union(flags, 1, fill=False)


def _labels(recordings: Sessions) -> dict[str, list[str]]:
    labels = [f"{session}/{label}" for session, part in recordings.items() for label in neurons(part)]
    return {"neuron": labels} if labels else {}


def _shifts(parts: list[xr.Dataset]) -> list[float]:
    """What is added to each session's time, so that it runs on."""
    if not is_time(parts[0]):
        return [0.0] * len(parts)
    dt = bin_width(parts[0])
    shifts = [0.0]
    for before, part in pairwise(parts):
        end = float(before["time"][-1]) + shifts[-1] + dt
        shifts.append(end + pause(dt) - float(part["time"][0]))
    return shifts


def _counted(parts: list[xr.Dataset], read: Callable[[xr.Dataset], np.ndarray]) -> list[int]:
    """What is added to each session's ids, so that they run on."""
    most = [int(read(part).max()) + 1 for part in parts]
    return [0, *np.cumsum(most[:-1]).tolist()]


def _joined(parts: list[xr.Dataset], read: Callable[[xr.Dataset], np.ndarray], shifts: list) -> np.ndarray:
    return np.concatenate([read(part) + shift for part, shift in zip(parts, shifts, strict=True)])


def _events(parts: list[xr.Dataset], shifts: list[float]) -> dict[str, Any]:
    """Events of all sessions in running time; a session without an event of that name adds none."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(n for part in parts for n in event_names(part)):
        having = [(p, s) for p, s in zip(parts, shifts, strict=True) if name in event_names(p)]
        times = np.concatenate([p[name].values + s for p, s in having])
        found = [_ends_within(p, s, event_values(p, name)) for p, s in having]
        if any(set(values) != set(found[0]) for values in found):
            raise ValueError(f"Event {name!r} has values in some sessions only: give values in all or in none.")
        values = {value: np.concatenate([own[value] for own in found]) for value in found[0]}
        out[name] = (times, values) if values else times
    return out


def _ends_within(part: xr.Dataset, shift: float, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """An event's values in running time: its stop no later than the session's end, or it would last into the next one."""
    end = float(part["time"][-1]) + 0.5 * bin_width(part)
    return {name: np.minimum(column, end) + shift if name == "stop" else column for name, column in values.items()}


def _cell_coords(recordings: Sessions) -> dict[str, tuple]:
    """What sessions know of each neuron besides its label (its area)."""
    known = {s: {str(n) for n, c in p.coords.items() if c.dims == ("neuron",) and n != "neuron"} for s, p in recordings.items()}
    names = set().union(*known.values())
    for session, own in known.items():
        if lacking := names - own:
            raise ValueError(f"Session {session!r} has no coordinate {min(lacking)!r} on its neurons, and another session has: give it in all or in none.")
    return {name: ("neuron", np.concatenate([p[name].values for p in recordings.values()])) for name in sorted(names)}


def _row_coords(parts: list[xr.Dataset], row: str) -> dict[str, tuple]:
    """The coordinates that sessions keep: their own time, and trials numbered on."""
    if row == "trial":
        return {}
    coords: dict[str, tuple] = {"session_time": (row, np.concatenate([p["time"].values for p in parts]), {"units": "s"})}
    if all("trial" in part.coords for part in parts):
        coords["trial"] = (
            row,
            _joined(parts, lambda p: p["trial"].values, _counted(parts, lambda p: p["trial"].values)),
        )
        coords["trial_time"] = (row, np.concatenate([p["trial_time"].values for p in parts]), {"units": "s"})
    return coords
