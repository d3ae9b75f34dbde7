"""Parts of a recording for training and testing: contiguous, and epochs of their own."""

from typing import Literal, get_args

import numpy as np
import xarray as xr

from bayesglm._data._access import bin_width, epoch_ids, event_names, is_time, row_dim
from bayesglm._data._events import event_spans
from bayesglm._data._notes import say

By = Literal["block", "epoch", "trial", "session"]
Parts = tuple[xr.Dataset, xr.Dataset]


def split(data: xr.Dataset, at: float = 0.8, gap: float = 0) -> Parts:
    """The first part of a recording to learn from, the last part to test on.

    Parameters
    ----------
    data : xarray.Dataset
        A recording.
    at : float
        Share of the rows in the first part, between 0 and 1; binned trials are kept whole.
    gap : float
        What is left out of the first part before the test part, in s (trials on trial rows).

    Returns
    -------
    train, test : xarray.Dataset
        Recordings whose epochs are numbered anew; events outside a part are not in it.

    Raises
    ------
    ValueError
        Where `at` or `gap` is out of range, or a part would be empty.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> train, test = bg.split(bg.recording(dt=0.1, spikes=np.zeros(100, int)), 0.8, gap=1)
    >>> train.sizes["time"], test.sizes["time"]
    (70, 20)
    """
    if not 0 < at < 1:
        raise ValueError(f"at is the share of rows to train on and must lie between 0 and 1, got {at!r}: pass at=0.8.")
    n = data.sizes[row_dim(data)]
    cut = round(at * n)
    if is_time(data) and "trial" in data.coords:
        edges = np.flatnonzero(np.diff(data["trial"].values)) + 1
        cut = int(edges[np.argmin(np.abs(edges - cut))]) if edges.size else 0
    return _parts(data, np.arange(n) >= cut, gap)


def folds(data: xr.Dataset, k: int = 5, by: By = "block", gap: float = 0) -> list[Parts]:
    """`k` pairs of training and test parts; every row is tested once.

    Parameters
    ----------
    data : xarray.Dataset
        A recording.
    k : int
        Number of folds.
    by : "block", "epoch", "trial" or "session"
        What is never cut: rows, epochs, trials or sessions; a test part is a run of neighbouring ones.
    gap : float
        What is left out of the training part on either side of the test part, in s (trials on trial rows).

    Returns
    -------
    list of (train, test)
        Recordings. Training rows before and after a test part are separate epochs, so that no lag joins them.

    Raises
    ------
    ValueError
        Where there are fewer blocks, epochs, trials or sessions than folds, or `gap` leaves nothing to train on.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> parts = bg.folds(bg.recording(dt=0.1, spikes=np.zeros(100, int)), k=5, gap=0.5)
    >>> [train.sizes["time"] for train, test in parts]
    [75, 70, 70, 70, 75]
    """
    if by not in get_args(By):
        raise ValueError(f"by={by!r} is unknown; it is one of {', '.join(get_args(By))}.")
    unit = _units(data, by)
    many = int(unit.max()) + 1
    if int(k) != k or not 2 <= k <= many:
        raise ValueError(f"k={k!r} folds by {by} want a whole number between 2 and {many}, the number of {by}s here.")
    fold = np.empty(many, dtype=np.int64)
    for i, members in enumerate(np.array_split(np.arange(many), int(k))):
        fold[members] = i
    return [_parts(data, fold[unit] == i, gap) for i in range(int(k))]


def _units(data: xr.Dataset, by: By) -> np.ndarray:
    """The number of the unit that each row belongs to, in order of appearance, (row,)."""
    if by == "block" or (by == "trial" and not is_time(data)):
        return np.arange(data.sizes[row_dim(data)])
    if by not in data.variables:
        mend = {"trial": "make the recording with from_trials", "session": "make it with concat"}[by]
        raise ValueError(f"folds by={by!r} want the coordinate {by!r} on the rows, which the recording lacks: {mend}.")
    _, first, inverse = np.unique(data[by].values, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _parts(data: xr.Dataset, held: np.ndarray, gap: float) -> Parts:
    if not (np.isfinite(gap) and gap >= 0):
        raise ValueError(f"gap must be a time in seconds (trials on trial rows), 0 or more, got {gap!r}.")
    test = np.flatnonzero(held)
    train = np.flatnonzero(~held)
    if test.size and train.size:
        train = train[_distance(data, train, test) >= gap - 1e-6 * bin_width(data)]
    if not (test.size and train.size):
        raise ValueError(
            f"The recording of {held.size} rows is too short for this split: {train.size} rows to train on and "
            f"{test.size} to test on with gap={gap:g}; lower gap, or record longer."
        )
    parts = _take(data, train), _take(data, test)
    _note_untrained(*parts)
    return parts


def _distance(data: xr.Dataset, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Time between the edges of each training row and the nearest test row; rows between them on trial rows."""
    place = data["time"].values if is_time(data) else np.arange(data.sizes["trial"], dtype=float)
    after = np.searchsorted(test, train)
    ahead = np.where(after < test.size, place[test[np.minimum(after, test.size - 1)]] - place[train], np.inf)
    behind = np.where(after > 0, place[train] - place[test[np.maximum(after - 1, 0)]], np.inf)
    return np.minimum(ahead, behind) - bin_width(data)


def _take(data: xr.Dataset, rows: np.ndarray) -> xr.Dataset:
    """The rows given (in order) as a recording; rows that were not neighbours are in separate epochs."""
    row = row_dim(data)
    breaks = (np.diff(rows) != 1) | (np.diff(epoch_ids(data)[rows]) != 0)
    whole = rows[-1] - rows[0] + 1 == rows.size
    chosen: dict[str, slice | np.ndarray] = {row: slice(rows[0], rows[-1] + 1) if whole else rows}
    for name in event_names(data):
        first, after = event_spans(data, name)
        kept = np.searchsorted(rows, first) < np.searchsorted(rows, after)  # any of its bins is in the part
        chosen[f"{name}_event"] = np.flatnonzero(kept)
    ids = np.concatenate([[0], np.cumsum(breaks)]).astype(np.int64)
    part = data.isel(chosen).assign_coords(epoch=(row, ids))
    return part.assign_attrs(notes=list(data.attrs["notes"]))


def _note_untrained(train: xr.Dataset, test: xr.Dataset) -> None:
    if "observed" not in train or train["observed"].ndim < 2:
        return
    never = ~train["observed"].values.any(axis=0) & test["observed"].values.any(axis=0)
    if never.any():
        named = ", ".join(map(str, test["neuron"].values[never][:5]))
        say(test.attrs["notes"], f"{int(never.sum())} neuron(s) are tested but never seen in training: {named}.")
