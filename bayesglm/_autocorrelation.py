"""How long does a series remember? Correlation times of signals, spikes and pointwise differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data import bin_width, column_names, epoch_ids, is_time, period, row_dim
from bayesglm._model import AbstractModel

_REMEMBERED = 1 / 3  # correlation of neighbouring sums beyond which their span is still within the memory
_SURE = 3.0  # standard errors by which a correlation must exceed zero
_MOST_COLUMNS = 64  # of one covariate; a movie's pixels share their memory


def correlation_time(series: np.ndarray, epochs: np.ndarray | None = None) -> np.ndarray:
    """Correlation time of each column of a series, in rows: tau of the slowest visible part of its memory, exp(-lag / tau).

    Rows are summed in spans of 1, 2, 4, ... rows, which average fast noise away, and r is the correlation of
    neighbouring sums. The longest span B with r > 1/3 (and three standard errors above zero) gives tau by
    r = (1 - exp(-B/tau))^2 / (2 (B/tau - 1 + exp(-B/tau))), exact where what is left after averaging is exponential. So
    spikes whose rate drifts over seconds have a correlation time of seconds, although neighbouring bins hardly
    correlate.

    Parameters
    ----------
    series : (row,) or (row, column)
        NaN is taken as the mean.
    epochs : (row,) int, optional
        Sums never cross an epoch's edge.

    Returns
    -------
    (column,) float
        0 where there is no memory beyond a row, or too few rows to see one.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(2, 20000))
    >>> from scipy.signal import lfilter
    >>> slow = lfilter([1], [1, -np.exp(-1 / 50)], noise[0])
    >>> bool(35 < correlation_time(slow)[0] < 70), float(correlation_time(noise[1])[0])
    (True, 0.0)
    """
    sums = np.asarray(series, float).reshape(len(series), -1)
    known = np.isfinite(sums)
    mean = np.where(known, sums, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    sums = np.where(known, sums - mean, 0.0)
    inside = np.zeros(len(sums), int) if epochs is None else np.asarray(epochs)
    found, span = np.zeros(sums.shape[1]), 1
    while True:
        first = np.flatnonzero(inside[1:] == inside[:-1])
        if first.size < _SURE**2:
            return found
        r = _neighbours(sums, first)
        remembered = r > max(_REMEMBERED, _SURE / np.sqrt(first.size))
        found = np.where(remembered, span / _spans_per_tau(r), found)
        sums, inside = _paired(sums, inside)
        span *= 2


def _neighbours(sums: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Correlation of neighbouring rows, (column,); 0 for a constant."""
    power = (sums**2).mean(0)
    return (sums[first] * sums[first + 1]).mean(0) / np.where(power > 0, power, 1.0)


def _spans_per_tau(r: np.ndarray) -> np.ndarray:
    """B / tau at which neighbouring sums of an exponentially correlated series correlate by r."""
    ratio = np.geomspace(1e-3, 10, 400)
    curve = np.expm1(-ratio) ** 2 / (2 * (ratio + np.expm1(-ratio)))
    return np.interp(r, curve[::-1], ratio[::-1])


def _paired(sums: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of neighbouring pairs within each epoch; an odd last one is left out."""
    start = np.flatnonzero(np.r_[True, inside[1:] != inside[:-1]])
    place = np.arange(len(inside)) - np.repeat(start, np.diff(np.r_[start, len(inside)]))
    first = np.flatnonzero((place[:-1] % 2 == 0) & (inside[1:] == inside[:-1]))
    return sums[first] + sums[first + 1], inside[first]


def slowest(data: xr.Dataset, columns: tuple[str, ...]) -> tuple[float, str]:
    """The longest correlation time among columns, in seconds (trials on trial rows), and whose it is."""
    # a column at a time: the sums are several copies of what they are given
    times = {name: max((correlation_time(column, epoch_ids(data)).max() for column in _numbers(data, name).T), default=0.0) for name in columns}
    name = max(times, key=times.__getitem__, default="")
    return float(times.get(name, 0.0)) * bin_width(data), name


def covariates(model: AbstractModel, data: xr.Dataset) -> tuple[str, ...]:
    """Columns that a model reads besides the response; for a model without terms, every numeric column but the response."""
    known = [name for name in column_names(data) if data[name].dtype.kind in "fiub" and name in data.data_vars]
    terms: Any = getattr(model, "terms", None)
    read = known if terms is None else {name for term in terms for name in term.needs()}
    return tuple(name for name in known if name in read and name not in (model.observed_site(), "spikes"))


def _numbers(data: xr.Dataset, name: str) -> np.ndarray:
    """(row, column) values; an angle as its cosine and sine."""
    values = data[name].transpose(row_dim(data), ...).values.astype(float, copy=False).reshape(data.sizes[row_dim(data)], -1)
    values = values[:, :: max(1, values.shape[1] // _MOST_COLUMNS)]
    circle = period(data, name)
    if circle is None:
        return values
    turn = 2 * np.pi * values / circle
    return np.concatenate([np.cos(turn), np.sin(turn)], 1)


def gap_between(train: xr.Dataset, test: xr.Dataset, column: str) -> float | None:
    """Seconds between the nearest training and test rows; negative where they share rows, None where they cannot be compared.

    Two recordings that each start their own clock overlap in time with other responses: nothing is known of their
    distance.
    """
    if not (is_time(train) and is_time(test)):
        return None
    ours, theirs, dt = train["time"].values, test["time"].values, bin_width(test)
    after = np.clip(np.searchsorted(ours, theirs), 1, len(ours) - 1) if len(ours) > 1 else np.zeros(len(theirs), int)
    near = np.where(np.abs(ours[after - 1] - theirs) < np.abs(ours[after] - theirs), after - 1, after)
    distance = np.abs(ours[near] - theirs)
    shared = distance < 0.5 * dt
    if shared.any():
        known = column in train and column in test and train[column].shape[1:] == test[column].shape[1:]
        same = known and np.array_equal(_numbers(train, column)[near[shared]], _numbers(test, column)[shared], equal_nan=True)
        return -dt if same else None
    return float(distance.min() - dt)
