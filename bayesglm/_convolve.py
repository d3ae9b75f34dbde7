"""Convolution with causal (or acausal) kernels that never crosses an epoch's edge."""

from __future__ import annotations

import numpy as np

_CHUNK = 4_000_000  # numbers held at once in a chunk of windows: 32 MB


def reach(epochs: np.ndarray, first: int, n_lags: int) -> np.ndarray:
    """Rows whose whole window of lags ``first .. first + n_lags - 1`` lies within their epoch.

    Parameters
    ----------
    epochs : (row,) int
        Epoch of each row; rows of one epoch are consecutive.
    first : int
        First lag in bins; negative lags look ahead.
    n_lags : int

    Returns
    -------
    (row,) bool
    """
    behind, ahead = _places(epochs)
    return (behind >= first + n_lags - 1) & (ahead >= -first)


def convolve(signal: np.ndarray, kernels: np.ndarray, epochs: np.ndarray, first: int) -> np.ndarray:
    """Filter each column of ``signal`` by each kernel: out[t, ..., b] = sum_l kernels[l, b] * signal[t - first - l, ...].

    Rows outside the epoch of row t count as zero; so do NaN (``touched`` tells which rows read one).

    Parameters
    ----------
    signal : (row, ...) array
        Counts or a covariate.
    kernels : (lag, basis) array
    epochs : (row,) int
    first : int
        Lag of the first kernel row, in bins: 1 for spikes' own past, 0 for a stimulus, negative to look ahead.

    Returns
    -------
    (row, ..., basis) float64
        Rows lie next to one another in memory, as the engine reads them.

    Examples
    --------
    >>> import numpy as np
    >>> convolve(np.array([1, 0, 0, 1]), np.array([[1.0], [0.5]]), np.array([0, 0, 0, 1]), first=1)[:, 0]
    array([0. , 1. , 0.5, 0. ])
    """
    rows, columns = signal.shape[0], signal.reshape(signal.shape[0], -1)
    n_lags, n_basis = kernels.shape
    backwards = np.ascontiguousarray(kernels[::-1], dtype=float)  # a window runs from the oldest row to the newest
    last = first + n_lags - 1
    inside = reach(epochs, first, n_lags)
    out = np.empty((columns.shape[1], n_basis, rows))
    step = max(1, _CHUNK // max(1, n_lags * columns.shape[1]))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        windows = _windows(columns, start - last, stop - first, n_lags)
        edge = np.flatnonzero(~inside[start:stop])
        if edge.size:
            windows = windows.copy()
            windows[edge] *= _within(epochs, start + edge, first, n_lags)[:, None, :]
        for column, one in enumerate(np.moveaxis(windows, 1, 0)):
            out[column, :, start:stop] = backwards.T @ np.ascontiguousarray(one).T
    return np.moveaxis(out, 2, 0).reshape(*signal.shape, n_basis)


def touched(flags: np.ndarray, epochs: np.ndarray, first: int, n_lags: int) -> np.ndarray:
    """Rows whose window holds a flagged row of the same epoch (a NaN, a bin in which a cell was not observed).

    ``flags`` is (row, ...) bool; so is the result.
    """
    if not flags.any():
        return np.zeros(flags.shape, bool)
    return convolve(flags.astype(np.uint8), np.ones((n_lags, 1)), epochs, first)[..., 0] > 0.5


def convolve_seen(signal: np.ndarray, seen: np.ndarray, kernels: np.ndarray, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Filter each column over its own *seen* past: lag l is the l-th row back of those with ``seen``, within the epoch.

    Parameters
    ----------
    signal, seen : (row, column) arrays
    kernels : (lag, basis) array
        From lag 1 on.
    epochs : (row,) int

    Returns
    -------
    (row, column, basis) float64, and (row, column) bool: whether all lags lie within the epoch

    Examples
    --------
    >>> import numpy as np
    >>> convolve_seen(np.array([[2], [0], [5]]), np.array([[True], [False], [True]]), np.array([[1.0]]), np.zeros(3, int))[0][:, 0, 0]
    array([0., 2., 2.])
    """
    out, whole = np.zeros((*signal.shape, kernels.shape[1])), np.ones(signal.shape, bool)
    for column in range(signal.shape[1]):
        kept = np.flatnonzero(seen[:, column])
        before = np.cumsum(seen[:, column]) - seen[:, column]  # seen rows ahead of this one
        for lag, kernel in enumerate(kernels):
            at = before - 1 - lag
            inside = at >= 0
            rows = kept[np.where(inside, at, 0)] if kept.size else np.zeros(len(at), int)
            inside &= epochs[rows] == epochs
            out[:, column] += np.where(inside, signal[rows, column], 0.0)[:, None] * kernel
            whole[:, column] &= inside
    return out, whole


def _places(epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many rows of its own epoch lie behind and ahead of each row."""
    rows = np.arange(epochs.size)
    starts = np.flatnonzero(np.r_[True, np.diff(epochs) != 0]) if epochs.size else rows
    lengths = np.diff(np.r_[starts, epochs.size])
    begin = np.repeat(starts, lengths)
    return rows - begin, begin + np.repeat(lengths, lengths) - 1 - rows


def _windows(columns: np.ndarray, begin: int, end: int, n_lags: int) -> np.ndarray:
    """Windows (row, column, n_lags) over rows ``begin .. end - 1``, zeros where the recording has no such row."""
    low, high = (min(max(row, 0), columns.shape[0]) for row in (begin, end))
    piece = np.nan_to_num(np.asarray(columns[low:high], float), nan=0.0)
    before = min(max(-begin, 0), end - begin)
    after = end - begin - before - (high - low)
    if before or after:
        piece = np.pad(piece, ((before, after), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(piece, n_lags, axis=0)


def _within(epochs: np.ndarray, rows: np.ndarray, first: int, n_lags: int) -> np.ndarray:
    """Which lags of the windows of ``rows`` stay in their epoch: (row, n_lags), oldest first."""
    reached = rows[:, None] - (first + np.arange(n_lags)[::-1])
    exists = (reached >= 0) & (reached < epochs.size)
    return exists & (epochs[np.clip(reached, 0, epochs.size - 1)] == epochs[rows][:, None])
