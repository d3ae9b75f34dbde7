"""The windows of a decoding: neighbouring rows over which the target is held constant."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import bin_width, epoch_ids, is_time, row_dim


class Windows(NamedTuple):
    """Rows of each window; windows never cross an epoch's edge, where the last of an epoch may be shorter."""

    rows: np.ndarray  # (window, bin) int; beyond a short window's end its first row again
    inside: np.ndarray  # (window, bin) bool
    starts: np.ndarray  # (window,) bool: the first of its epoch
    seconds: float  # length of a whole window

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.rows)

    @property
    def middle(self) -> np.ndarray:
        """(window,) the row in the middle of each."""
        return self.rows[np.arange(self.count), self.inside.sum(1) // 2]

    def summed(self, values: np.ndarray) -> np.ndarray:
        """(row, ...) -> (window, ...)."""
        return np.add.reduceat(values, self.rows[:, 0], axis=0)

    def at(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of some windows one after the other, and whether each is one: (window x bin,) each."""
        return self.rows[where].ravel(), self.inside[where].ravel()


def windows_of(data: xr.Dataset, window: float | None) -> Windows:
    """Windows of ``window`` seconds; None: a row each.

    Raises
    ------
    ValueError
        Where ``window`` is no length of at least one bin, or rows are trials.
    """
    dt, rows = bin_width(data), data.sizes[row_dim(data)]
    bins = 1 if window is None else _bins(data, window, dt)
    epochs = epoch_ids(data)
    edge = np.flatnonzero(np.r_[True, np.diff(epochs) != 0])
    behind = np.arange(rows) - np.repeat(edge, np.diff(np.r_[edge, rows]))
    first = np.flatnonzero(behind % bins == 0)
    length = np.diff(np.r_[first, rows])
    inside = np.arange(bins) < length[:, None]
    return Windows(np.where(inside, first[:, None] + np.arange(bins), first[:, None]), inside, behind[first] == 0, bins * dt)


def _bins(data: xr.Dataset, window: Any, dt: float) -> int:
    wrong = isinstance(window, bool) or not isinstance(window, (int, float, np.number)) or not np.isfinite(window)
    if wrong or window < dt * (1 - 1e-9):
        raise ValueError(f"decode(window={window!r}) wants a number of seconds of at least one bin ({dt:g} s), or None for a row each.")
    if not is_time(data):
        raise ValueError(f"decode(window={window!r}): the rows of this recording are trials, and each is decoded alone: leave window out.")
    return round(window / dt)


def averaged(values: np.ndarray, windows: Windows, period: float | None) -> np.ndarray:
    """(row,) -> (window,): the mean, of a circle that of the vectors; of categories the value in the middle. NaN are left out."""
    if values.dtype.kind not in "fiub":
        return values[windows.middle]
    seen = np.isfinite(values)
    known = windows.summed(seen.astype(float))
    turn = None if period is None else 2 * np.pi / period
    numbers = np.where(seen, values, 0.0) if turn is None else np.where(seen, np.exp(1j * turn * np.where(seen, values, 0.0)), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = windows.summed(numbers) / np.where(known > 0, known, np.nan)
    return mean if turn is None else np.mod(np.angle(mean) / turn, period)


def window_coords(data: xr.Dataset, windows: Windows) -> dict[str, Any]:
    """Coordinates of the windows: the centre in time, of all others the first row's."""
    row = row_dim(data)
    found: dict[str, Any] = {name: (row, data[name].values[windows.rows[:, 0]]) for name in data.coords if data[name].dims == (row,)}
    if is_time(data):
        time = windows.summed(data["time"].values) / windows.inside.sum(1)
        found["time"] = (row, time, dict(data["time"].attrs))
    return found
