"""Signals on the bins, epoch by epoch: a sample outside an epoch is never used for its bins."""

import numpy as np

from bayesglm._data._checks import MILLI, check_times, check_values
from bayesglm._data._grid import Grid
from bayesglm._data._notes import say
from bayesglm._data._signal import Signal

_INTERVALS = 10


def resample(name: str, given: Signal, grid: Grid, notes: list[str]) -> np.ndarray:
    """The values of `given` in each bin, (row, ...)."""
    t, values = _check_samples(name, given)
    inside = np.zeros(t.size, dtype=bool)
    pieces = _pieces(t, grid)
    for piece in pieces:
        inside[piece] = True
    _refuse_outside(name, t, inside, grid)
    how = given.how or _default(values, inside.sum() / grid.offsets[-1])
    limit = given.max_gap or _limit(how, t, grid.dt)
    if how == "previous":
        out = _previous(name, t, values, pieces, grid, limit)
    else:
        out = _continuous(name, how, t, values, pieces, grid, limit, given.period)
    if out.dtype.kind == "f" and (bad := int(np.isnan(out).reshape(len(out), -1).any(axis=1).sum())):
        where = f"within {limit:g} s" if np.isfinite(limit) else "before them in their epoch"
        say(notes, f"{name!r} is NaN in {bad} of {len(out)} bins, which have no valid sample {where}.")
    return out


def _check_samples(name: str, given: Signal) -> tuple[np.ndarray, np.ndarray]:
    t = check_times(given.t, f"The times of signal {name!r}")
    values = check_values(name, np.asarray(given.values))
    if values.ndim == 0 or len(values) != t.size:
        raise ValueError(f"Signal {name!r} has {t.size} times but values of shape {values.shape}: pass one value a time.")
    return t, values


def _pieces(t: np.ndarray, grid: Grid) -> list[slice]:
    """The samples of each epoch."""
    first = np.searchsorted(t, grid.starts - grid.tolerance, side="left")
    last = np.searchsorted(t, grid.stops - grid.tolerance, side="left")
    return [slice(a, b) for a, b in zip(first, last, strict=True)]


def _refuse_outside(name: str, t: np.ndarray, inside: np.ndarray, grid: Grid) -> None:
    if inside.any():
        return
    unit = "; its times look like milliseconds: pass t / 1000" if (grid.rows(t / MILLI) >= 0).any() else ""
    span = f"{t[0]:g} to {t[-1]:g} s" if t.size else "nowhere"
    raise ValueError(
        f"Signal {name!r} has no sample inside the epochs ({grid.starts[0]:g} to {grid.stops[-1]:g} s; its samples lie in "
        f"{span}): check that both use one clock, in seconds{unit}."
    )


def _default(values: np.ndarray, per_bin: float) -> str:
    if values.ndim > 1 or values.dtype.kind != "f":
        return "previous"
    return "mean" if per_bin >= 2 else "linear"


def _limit(how: str, t: np.ndarray, dt: float) -> float:
    # A state or a frame lasts until the next one; a tracker that falls silent has lost the animal.
    if how == "previous" or t.size < 2:
        return np.inf
    return max(dt, _INTERVALS * float(np.median(np.diff(t))))


def _previous(name: str, t: np.ndarray, values: np.ndarray, pieces: list[slice], grid: Grid, limit: float) -> np.ndarray:
    first = np.repeat([p.start for p in pieces], grid.sizes)
    stop = np.repeat([p.stop for p in pieces], grid.sizes)
    centre = grid.time
    sample = np.minimum(np.searchsorted(t, centre + grid.tolerance, side="right"), stop) - 1
    missing = (sample < first) | (centre - t[sample] > limit + grid.tolerance)
    out = values[np.where(missing, 0, sample)]
    if not missing.any():
        return out
    if out.dtype.kind == "U":
        raise ValueError(
            f"Signal {name!r} says nothing about {int(missing.sum())} bins, the first at {centre[missing][0]:g} s: give a "
            f"sample at the start of every epoch (text has no NaN)."
        )
    if out.dtype.kind != "f":
        out = out.astype(np.float32 if out.dtype.itemsize <= 2 else np.float64)
    out[missing] = np.nan
    return out


def _continuous(
    name: str,
    how: str,
    t: np.ndarray,
    values: np.ndarray,
    pieces: list[slice],
    grid: Grid,
    limit: float,
    period: float | None,
) -> np.ndarray:
    if values.dtype.kind == "U":
        raise ValueError(f"Signal {name!r} is text, which has no {how}: pass how='previous'.")
    flat = values.reshape(len(values), -1)
    out = np.empty((int(grid.offsets[-1]), flat.shape[1]), dtype=complex if period else float)
    centre = grid.time
    for k, piece in enumerate(pieces):
        rows = slice(grid.offsets[k], grid.offsets[k + 1])
        for j in range(flat.shape[1]):
            v = flat[piece, j].astype(np.float64)
            good = ~np.isnan(v)
            v = np.exp(2j * np.pi * v / period) if period else v
            edge = grid.starts[k] if how == "mean" else None
            out[rows, j] = _one(t[piece][good], v[good], centre[rows], grid, edge, limit)
    real = _turn(out, period) if period else out
    dtype = values.dtype if values.dtype.kind == "f" else np.float64
    return real.reshape(-1, *values.shape[1:]).astype(dtype)


def _one(t: np.ndarray, v: np.ndarray, centre: np.ndarray, grid: Grid, edge: float | None, limit: float) -> np.ndarray:
    """One channel in one epoch: interpolated at the centres and, where `edge` is given, averaged in the bins from it."""
    if t.size == 0:
        return np.full(centre.size, np.nan)
    out = np.interp(centre, t, v)
    after = np.searchsorted(t, centre)
    distance = np.minimum(np.abs(centre - t[np.maximum(after - 1, 0)]), np.abs(t[np.minimum(after, t.size - 1)] - centre))
    out[distance > limit + grid.tolerance] = np.nan
    if edge is None:
        return out
    return _averaged(out, np.floor((t - edge + grid.tolerance) / grid.dt).astype(np.int64), v)


def _averaged(out: np.ndarray, bins: np.ndarray, v: np.ndarray) -> np.ndarray:
    n = out.size
    v, bins = v[bins < n], bins[bins < n]
    many = np.bincount(bins, minlength=n)
    total = np.bincount(bins, np.real(v), minlength=n)
    if np.iscomplexobj(v):
        total = total + 1j * np.bincount(bins, np.imag(v), minlength=n)
    return np.where(many > 0, total / np.maximum(many, 1), out)


def _turn(vectors: np.ndarray, period: float) -> np.ndarray:
    """Angles of mean vectors in [0, period); NaN where the vectors cancel."""
    value = np.angle(vectors) / (2 * np.pi) * period % period
    value = np.where(value >= period, 0.0, value)
    return np.where(np.abs(vectors) < 1e-9, np.nan, value)
