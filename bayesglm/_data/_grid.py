"""The bins: whole bins inside epochs, and the arithmetic of times on them."""

from typing import Any, NamedTuple

import numpy as np

# A time within a millionth of a bin of an edge is on it: floating point must not move spikes of a sampled clock.
_TOLERANCE = 1e-6


class Grid(NamedTuple):
    """Whole bins of `dt` seconds in epochs [start, stop); arrays are (epoch,)."""

    starts: np.ndarray
    stops: np.ndarray
    sizes: np.ndarray
    dt: float

    @property
    def offsets(self) -> np.ndarray:
        """First row of each epoch, and the number of rows, (epoch + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @property
    def epoch(self) -> np.ndarray:
        """Epoch of each row."""
        return np.repeat(np.arange(self.sizes.size), self.sizes)

    @property
    def time(self) -> np.ndarray:
        """Bin centres in s."""
        within = np.arange(self.offsets[-1]) - np.repeat(self.offsets[:-1], self.sizes)
        return np.repeat(self.starts, self.sizes) + (within + 0.5) * self.dt

    @property
    def tolerance(self) -> float:
        """The width in s of what counts as an edge."""
        return _TOLERANCE * self.dt

    def rows(self, times: np.ndarray) -> np.ndarray:
        """Row of the bin [edge, edge + dt) that holds each time; -1 outside every bin."""
        epoch = np.searchsorted(self.starts - self.tolerance, times, side="right") - 1
        within = np.floor((times - self.starts[epoch]) / self.dt + _TOLERANCE).astype(np.int64)
        inside = (epoch >= 0) & (within >= 0) & (within < self.sizes[epoch])
        return np.where(inside, self.offsets[epoch] + within, -1)


def make_grid(epochs: Any, dt: float) -> Grid:
    """The whole bins in `epochs`, (start, stop) or (epoch, 2) in s."""
    bounds = np.atleast_2d(np.asarray(epochs, dtype=np.float64))
    if bounds.ndim != 2 or bounds.shape[1] != 2 or bounds.size == 0:
        raise ValueError(f"epochs has the shape {np.shape(epochs)}; it wants (start, stop) or (epoch, 2) in seconds.")
    if not np.isfinite(bounds).all():
        raise ValueError(f"epochs holds NaN or infinite bounds in epoch {np.argwhere(~np.isfinite(bounds))[0][0]}: drop it.")
    starts, stops = bounds.T
    sizes = np.floor((stops - starts) / dt + _TOLERANCE).astype(np.int64)
    if (sizes < 1).any():
        k = int(np.argmax(sizes < 1))
        raise ValueError(
            f"Epoch {k} is empty: {starts[k]:g} to {stops[k]:g} s holds no whole bin of dt={dt:g} s; drop it from epochs, or check that both are in seconds."
        )
    overlap = np.flatnonzero(starts[1:] < stops[:-1] - _TOLERANCE * dt)
    if overlap.size:
        k = int(overlap[0])
        raise ValueError(
            f"Epochs {k} and {k + 1} overlap or are out of order ({starts[k]:g} to {stops[k]:g} s, then {starts[k + 1]:g} "
            f"s): sort and merge them; trials that overlap go to from_trials."
        )
    return Grid(starts, stops, sizes, dt)


def snapped(first: float, last: float, dt: float) -> tuple[float, float]:
    """Bounds on multiples of `dt` that hold both times."""
    start = np.floor(first / dt + _TOLERANCE)
    return float(start * dt), float((np.floor(last / dt + _TOLERANCE) + 1) * dt)
