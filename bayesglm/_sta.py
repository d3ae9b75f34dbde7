"""sta(): the spike-triggered average, the first look at a receptive field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._convolve import reach, touched
from bayesglm._data import bin_width, epoch_ids, is_time, neurons, period, require_column, row_dim
from bayesglm.method._base import whole

_CHUNK = 4_000_000  # numbers of stimulus windows held at once: 32 MB
_WIDEST = 4000  # pixels times lags beyond which their covariance is not inverted
_RANK = 1e-10  # relative eigenvalue below which lags and pixels are collinear


class _Windows(NamedTuple):
    """The stimulus around every usable row."""

    values: np.ndarray  # (row, pixel) in its own type: a movie of bytes stays one
    first: int  # first lag in bins
    n_lags: int

    def at(self, rows: np.ndarray, lag: int) -> np.ndarray:
        """(row, pixel) of one lag."""
        return self.values[rows - self.first - lag].astype(float)

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """(row, lag x pixel)."""
        return self.values[rows[:, None] - self.first - np.arange(self.n_lags)].reshape(rows.size, -1).astype(float)


def sta(data: xr.Dataset, column: str = "stimulus", span: float = 0.3, lead: float = 0.0, whiten: bool = False, *, blocks: int = 20) -> xr.Dataset:
    """Spike-triggered average: the mean stimulus before a spike, less its overall mean.

    sta_n(l) = sum_t y_n(t) x(t + lead - l) / sum_t y_n(t) - mean_t x(t + lead - l)

    With ``whiten`` the correlations of the stimulus are taken out: the least-squares filter k = C^-1 c, with C the covariance
    of the lagged stimulus and c its covariance with the counts. For a white stimulus of variance v it is sta times mean
    count over v.

    Parameters
    ----------
    data : xarray.Dataset
        A recording with ``spikes``.
    column : str
        The stimulus, (time,), (time, feature) or a movie (time, y, x).
    span : float
        Length in s (in trials on trial rows).
    lead : float
        Seconds by which it looks ahead, after the spike.
    whiten : bool
    blocks : int
        Stretches of the recording from which the standard error is computed; each should be far longer than ``span`` and
        than the stimulus stays alike.

    Returns
    -------
    xarray.Dataset
        ``sta`` and its standard error ``se``, (neuron, lag, *dims of the column), in the stimulus' unit (whitened: spikes a
        bin per unit of the stimulus); ``spikes`` (neuron,), how many were averaged. ``lag`` in s, positive back in time.

    Raises
    ------
    ValueError
        Where the column is missing or an angle, no row has its whole window, or (whitened) lags and pixels are collinear
        or too many.

    Notes
    -----
    Windows never cross an epoch's edge; rows whose window holds a NaN are left out, and a neuron counts where it was
    observed. The standard error is that of clusters (blocks), so that a correlated stimulus does not make it too small. A
    neuron without spikes has NaN. The average is the receptive field only if the stimulus is white and has no direction of
    its own; ``bg.GLM`` with ``bg.Stimulus`` needs neither and has bands.

    References
    ----------
    de Boer & Kuyper 1968, Triggered correlation; Chichilnisky 2001, A simple white noise analysis of neuronal light responses.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=2000)
    >>> data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(np.roll(x, 3) - 1)), stimulus=x)
    >>> found = bg.sta(data, span=0.1)
    >>> float(found["lag"][found["sta"][0].argmax("lag")])
    0.03
    """
    blocks = whole("sta(blocks)", blocks, 2)
    values, dims, coords = _stimulus(data, column)
    width = bin_width(data)
    n_lags, first = _lags(span, lead, width)
    windows = _Windows(values.reshape(len(values), -1), first, n_lags)
    counts, observed = _spikes(data)
    estimate, se = (np.full((counts.shape[1], n_lags, windows.values.shape[1]), np.nan) for _ in range(2))
    spikes = np.zeros(counts.shape[1])
    for cells, rows in _groups(observed, _usable(data, values, windows), blocks):
        y = counts[:, cells]
        estimate[cells], se[cells] = (_whitened if whiten else _averaged)(windows, y, np.array_split(rows, blocks))
        spikes[cells] = y[rows].sum(0, dtype=float)
    estimate[spikes == 0], se[spikes == 0] = np.nan, np.nan
    shape = (counts.shape[1], n_lags, *values.shape[1:])
    units = f"spikes a bin per unit of {column}" if whiten else f"unit of {column}"
    lag = ("lag", np.round((first + np.arange(n_lags)) * width, 12), {"units": "s" if is_time(data) else "trials", "long_name": "lag, back in time"})
    named = ("neuron", "lag", *dims)
    made = {"sta": (named, estimate.reshape(shape), {"units": units}), "se": (named, se.reshape(shape), {"units": units}), "spikes": ("neuron", spikes)}
    return xr.Dataset(made, {"neuron": neurons(data), "lag": lag, **coords}, {"column": column, "whitened": int(whiten), "blocks": blocks})


def _stimulus(data: xr.Dataset, column: str) -> tuple[np.ndarray, tuple[str, ...], dict[str, Any]]:
    """(row, *dims) numbers, the dims and their labels."""
    array, rows = require_column(data, column, "sta"), row_dim(data)
    if array.dtype.kind not in "fiub" or "neuron" in array.dims:
        raise ValueError(f"sta wants {column!r} as numbers that all neurons see; got dims {array.dims} and type {array.dtype}.")
    if period(data, column) is not None:
        raise ValueError(f"{column!r} is an angle, whose average means nothing: average its cosine and sine, or use bg.Tuning({column!r}, ...).")
    dims = tuple(str(dim) for dim in array.dims if dim != rows)
    return array.transpose(rows, *dims).values, dims, {dim: data[dim].values for dim in dims if dim in data.coords}


def _lags(span: float, lead: float, dt: float) -> tuple[int, int]:
    """How many, and the first one, in bins."""
    if not (np.isfinite(span) and round(span / dt) >= 1 and np.isfinite(lead)):
        raise ValueError(f"sta(span={span!r}, lead={lead!r}): seconds, and a span of at least one bin of {dt:g} s.")
    return round(span / dt), -round(lead / dt)


def _spikes(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Counts (row, neuron), zero where not observed, and where they were."""
    if "spikes" not in data:
        raise ValueError("sta reads the column 'spikes', which the recording lacks: pass spikes= (time, neuron) to bg.recording.")
    counts = data["spikes"].transpose(row_dim(data), "neuron").values
    if "observed" not in data:
        return counts, np.ones(counts.shape, bool)
    seen = data["observed"].transpose(row_dim(data), ...).values
    seen = np.broadcast_to(seen[:, None] if seen.ndim == 1 else seen, counts.shape)
    return np.where(seen, counts, 0), seen


def _usable(data: xr.Dataset, values: np.ndarray, windows: _Windows) -> np.ndarray:
    """Positions of the rows whose window lies in their epoch and holds no NaN."""
    epochs = epoch_ids(data)
    lost = np.isnan(values).reshape(len(values), -1).any(1)
    return np.flatnonzero(reach(epochs, windows.first, windows.n_lags) & ~touched(lost, epochs, windows.first, windows.n_lags))


def _groups(observed: np.ndarray, rows: np.ndarray, blocks: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Neurons that were observed in the same rows, and those rows."""
    patterns, which = np.unique(observed[rows], axis=1, return_inverse=True)
    for i, seen in enumerate(patterns.T):
        if seen.sum() < blocks:
            why = "within an epoch, without NaN and with the neuron observed"
            raise ValueError(f"sta: only {int(seen.sum())} rows have their whole window {why}, for {blocks} blocks: a shorter span, or fewer blocks.")
        yield np.flatnonzero(np.ravel(which) == i), rows[seen]


def _averaged(windows: _Windows, counts: np.ndarray, parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(neuron, lag, pixel) averages and their standard errors."""
    spikes, rows = np.sum([counts[part].sum(0, dtype=float) for part in parts], 0)[:, None], sum(part.size for part in parts)
    each = np.maximum(spikes, 1.0)
    mean, se = (np.zeros((counts.shape[1], windows.n_lags, windows.values.shape[1])) for _ in range(2))
    for lag in range(windows.n_lags):

        def sums(part: np.ndarray, lag: int = lag) -> tuple[np.ndarray, np.ndarray]:
            seen = windows.at(part, lag)
            return counts[part].astype(float).T @ seen, seen.sum(0)

        triggered, overall = (np.sum(found, 0) for found in zip(*map(sums, parts), strict=True))
        triggered, overall = triggered / each, overall / rows
        squares = 0.0
        for part in parts:  # how far each block alone moves the two means
            own, all_of_it = sums(part)
            n = counts[part].sum(0, dtype=float)[:, None]
            squares = squares + ((own - n * triggered) / each - (all_of_it - part.size * overall) / rows) ** 2
        mean[:, lag], se[:, lag] = triggered - overall, np.sqrt(squares * len(parts) / (len(parts) - 1.0))
    return mean, se


def _whitened(windows: _Windows, counts: np.ndarray, parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(neuron, lag, pixel) least-squares filters and their standard errors, clustered by block."""
    size = windows.n_lags * windows.values.shape[1]
    if size > _WIDEST:
        raise ValueError(f"sta(whiten=True) inverts a covariance of {size} lags times pixels, more than {_WIDEST}: use bg.Stimulus(..., space=) in bg.GLM.")
    rows = np.concatenate(parts)
    mean = _summed(windows, rows, lambda x, _: x.sum(0)) / rows.size
    level = counts[rows].mean(0)
    gram = _summed(windows, rows, lambda x, _: (x - mean).T @ (x - mean))
    spectrum = np.linalg.eigvalsh(gram)
    if spectrum[0] <= _RANK * spectrum[-1]:
        raise ValueError(
            "sta(whiten=True): some lags or pixels of the stimulus are constant or collinear, so that no filter is the best one. Take a shorter span, or "
            "bg.GLM(bg.Baseline() + bg.Stimulus(...)), whose prior decides."
        )
    k = np.linalg.solve(gram, _summed(windows, rows, lambda x, part: (x - mean).T @ (counts[part] - level)))
    squares = np.zeros(k.shape)
    for block in parts:
        score = _summed(windows, block, lambda x, part: (x - mean).T @ (counts[part] - level - (x - mean) @ k))
        squares += np.linalg.solve(gram, score) ** 2
    se = np.sqrt(squares * len(parts) / (len(parts) - 1.0))
    return tuple(found.T.reshape(-1, windows.n_lags, windows.values.shape[1]) for found in (k, se))


def _summed(windows: _Windows, rows: np.ndarray, what: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """A sum over rows of what their windows give, chunk by chunk."""
    step = max(1, _CHUNK // (windows.n_lags * windows.values.shape[1]))
    return sum(what(windows.whole(part), part) for part in (rows[start : start + step] for start in range(0, rows.size, step)))
