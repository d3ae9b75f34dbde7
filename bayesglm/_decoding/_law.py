"""What a stimulus is like before any spike: the Gaussian law that decode() starts from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import row_dim
from bayesglm._decoding._windows import Windows, averaged, windows_of

_SURE = 3.0  # standard errors from zero from which a correlation is part of the prior


class Law(NamedTuple):
    """The stimulus before any spike: Gaussian entries (feature,), each correlated by ``phi`` from one window to the next within an epoch."""

    mean: np.ndarray
    sd: np.ndarray
    phi: np.ndarray

    def precision(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Diagonal (window, feature) of the precision, and the entries between a window and the next; the last of an epoch has none."""
        last = np.r_[starts[1:], True][:, None]
        scale = 1.0 / (self.sd**2 * (1.0 - self.phi**2))
        diagonal = scale * (1.0 + self.phi**2 * (1.0 - starts[:, None] - last))
        return diagonal, np.where(last, 0.0, -self.phi * scale)


def law_of(train: xr.Dataset, target: str, prior: Any, window: float | None) -> Law:
    windows = windows_of(train, window)
    series = series_of(train[target], train, windows)
    if isinstance(prior, str) and prior == "occupancy":
        mean, sd = np.nanmean(series, 0), np.nanstd(series, 0)
        pairs = ((series[1:] - mean) * (series[:-1] - mean))[~windows.starts[1:]]
        count = np.isfinite(pairs).sum(0)
        phi = np.nan_to_num(np.nansum(pairs, 0) / np.maximum(count, 1) / np.where(sd > 0, sd, 1.0) ** 2)
        return _positive(Law(mean, sd, np.where(np.abs(phi) > _SURE / np.sqrt(np.maximum(count, 1)), phi, 0.0)), prior)
    pair = np.asarray(prior, float) if not isinstance(prior, str) else np.zeros(0)
    if pair.shape != (2,):
        raise ValueError(f"decode(prior={prior!r}) of a stimulus is 'occupancy' or a pair (mean, sd): a series without any prior is not determined by spikes.")
    every = np.ones(series.shape[1])
    return _positive(Law(pair[0] * every, pair[1] * every, 0.0 * every), prior)


def _positive(law: Law, prior: Any) -> Law:
    bad = ~(np.isfinite(law.mean) & np.isfinite(law.sd) & (law.sd > 0))
    if bad.any():
        mean, sd = law.mean[bad][0], law.sd[bad][0]
        raise ValueError(f"decode(prior={prior!r}): the stimulus has mean {mean:g} and sd {sd:g}; it wants a finite mean and a sd above zero.")
    return law._replace(phi=np.clip(law.phi, -0.999, 0.999))


def series_of(column: xr.DataArray, data: xr.Dataset, windows: Windows) -> np.ndarray:
    """(window, feature) means of a column."""
    values = column.transpose(row_dim(data), ...).values.astype(float)
    return np.stack([averaged(one, windows, None) for one in values.reshape(len(values), -1).T], 1)
