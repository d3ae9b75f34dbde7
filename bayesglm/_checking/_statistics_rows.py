"""Rows of a response and of its replicates, as the statistics of a posterior predictive check read them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._classes import class_names
from bayesglm._data import epoch_ids, is_time
from bayesglm._likelihood import Source, is_mass, response_of
from bayesglm.family import Bernoulli, Binomial
from bayesglm.family._choices import Categorical

if TYPE_CHECKING:
    from bayesglm._fit import Fit

Nature = Literal["counts", "binary", "successes", "continuous", "classes", "levels", "angles"]
LONGEST, LONGEST_ROWS = 1.0, 8  # s of lags and intervals that are told apart; at least so many rows (twice so many trials)
WINDOW, WINDOW_ROWS = 0.1, 10  # s of a window of the Fano factor, at least so many rows
SHORT = 0.01  # s of the other cell's past in the lagged cross-correlation
_TRIAL_BINS = 20
_COUNTS = 12  # values of a count that are told apart
_PARTNERS = 100  # cells among which correlations are looked at


class Layout(NamedTuple):
    """What is known of a recording's rows before any response is looked at."""

    nature: Nature
    spiking: bool  # spikes in time bins
    on_time: bool
    dt: float
    start: np.ndarray  # (row,) first row of the row's epoch
    weight: np.ndarray  # (neuron, row) bool: scored
    lags: tuple[tuple[int, int], ...]  # first and last lag of each class of lags, in rows
    window: int
    short: int
    counts: np.ndarray  # (class,) lowest count of each class of counts; the last is open
    classes: np.ndarray | None  # labels of the classes of a response that is one
    turn: float  # radians a unit of an angle
    trial_bin: np.ndarray | None  # (row,) class of the time within a trial
    trial_at: np.ndarray | None  # (class,) its middle, s
    partners: np.ndarray  # neurons among which correlations are looked at

    @property
    def scored(self) -> np.ndarray:
        """(neuron,) scored rows, at least one."""
        return np.maximum(self.weight.sum(1), 1)


def layout_of(fit: Fit, made: Source, data: xr.Dataset) -> Layout:
    """The layout of ``data``; what it takes from responses it takes from those of the training part."""
    nature, on_time, dt = _nature(fit, made), is_time(data), made.dt
    epochs = epoch_ids(data)
    first = np.flatnonzero(np.r_[True, epochs[1:] != epochs[:-1]])
    sizes = np.diff(np.r_[first, epochs.size])
    spiking = on_time and (nature == "counts" or (nature == "binary" and fit.model.has_neurons))
    most = max(LONGEST_ROWS, round(LONGEST / dt)) if on_time else 2 * LONGEST_ROWS
    family: Any = getattr(fit.model, "family", None)
    trial_bin, trial_at = _trial_bins(data)
    return Layout(
        nature=nature,
        spiking=spiking,
        on_time=on_time,
        dt=dt,
        start=np.repeat(first, sizes),
        weight=np.ascontiguousarray(made.scored.T),
        lags=doubling(min(most, int(sizes.max()) - 1)),
        window=max(WINDOW_ROWS, round(WINDOW / dt)) if on_time else 1,
        short=max(1, round(SHORT / dt)),
        counts=_count_classes(fit, made) if nature in ("counts", "successes") else np.arange(2),
        classes=class_names(family),
        turn=2.0 * np.pi / family.circle if nature == "angles" else 0.0,
        trial_bin=trial_bin,
        trial_at=trial_at,
        partners=np.unique(np.linspace(0, len(made.scored[0]) - 1, _PARTNERS).round().astype(int)),
    )


def doubling(most: int) -> tuple[tuple[int, int], ...]:
    """Classes 1, 2, 3-4, 5-8, ... up to ``most``, first and last of each."""
    found, low = [], 1
    while low <= most:
        high = min(most, 1 if low == 1 else 2 * (low - 1))
        found.append((low, high))
        low = high + 1
    return tuple(found)


def _nature(fit: Fit, made: Source) -> Nature:
    family = getattr(fit.model, "family", None)
    if family is None:
        if not is_mass(made):
            return "continuous"
        return "binary" if np.isin(response_of(made), (0, 1)).all() else "counts"
    if class_names(family) is not None:
        return "classes" if isinstance(family, Categorical) else "levels"
    if hasattr(family, "circle"):
        return "angles"
    return "counts" if family.counts else "binary" if isinstance(family, Bernoulli) else "successes" if isinstance(family, Binomial) else "continuous"


def _count_classes(fit: Fit, made: Source) -> np.ndarray:
    """Lowest counts of the classes, by the largest count in training: one that the rows under test do not move."""
    name = fit.model.observed_site()
    known = fit.data is not None and name in fit.data
    largest = float(np.nanmax(fit.data[name].values, initial=0.0)) if known else float(response_of(made).max(initial=0))
    step = max(1, int(np.ceil((largest + 2) / _COUNTS)))
    return np.arange(0, max(largest, 1) + 2, step)


def _trial_bins(data: xr.Dataset) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Class of each row's time within its trial, and the classes' middles; None where there are no binned trials."""
    if not is_time(data) or "trial_time" not in data.coords:
        return None, None
    at, dt = data["trial_time"].values, float(data.attrs["dt"])
    low, high = at.min() - dt / 2, at.max() + dt / 2
    size = min(_TRIAL_BINS, max(1, round((high - low) / dt)))
    place = np.clip(((at - low) / (high - low) * size).astype(int), 0, size - 1)
    return place, low + (np.arange(size) + 0.5) * (high - low) / size


class Past:
    """What came before each row, within its epoch: of the observed response, or of each replicate.

    Parameters
    ----------
    residual, value : (draw or 1, neuron, row)
        Zero where not scored; one entry where all replicates share the observed past.
    """

    def __init__(self, layout: Layout, residual: np.ndarray, value: np.ndarray) -> None:
        self.layout, self.value = layout, value
        self._total = np.zeros((*residual.shape[:2], residual.shape[2] + 1))
        np.cumsum(residual, axis=-1, out=self._total[..., 1:])

    def lagged(self, rows: slice, first: int, last: int) -> np.ndarray:
        """Mean residual over lags ``first`` to ``last``, (draw or 1, neuron, row); what lies before the epoch counts as zero."""
        at, start = np.arange(rows.start, rows.stop), self.layout.start[rows]
        return (self._total[..., np.maximum(at - first + 1, start)] - self._total[..., np.maximum(at - last, start)]) / (last - first + 1)

    def in_window(self, rows: slice) -> np.ndarray:
        """Sum of the residuals earlier in the row's window."""
        at, start = np.arange(rows.start, rows.stop), self.layout.start[rows]
        begins = start + (at - start) // self.layout.window * self.layout.window
        return self._total[..., at] - self._total[..., begins]

    def before(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """The previous row's response, and whether there is one, (neuron, row)."""
        at = np.maximum(np.arange(rows.start, rows.stop) - 1, 0)
        known = (np.arange(rows.start, rows.stop) > self.layout.start[rows]) & self.layout.weight[:, at]
        return self.value[..., at], known

    @functools.cached_property
    def since(self) -> np.ndarray:
        """Class of the number of rows since the last event, from 1 up; 0 where the epoch had none."""
        at = np.arange(self.value.shape[-1], dtype=np.int32)
        last = np.maximum.accumulate(np.where(self.value > 0, at, np.int32(-1)), axis=-1)
        last = np.concatenate([np.full_like(last[..., :1], -1), last[..., :-1]], -1)
        gap = np.where(last >= self.layout.start, at - last, 0)
        lows = np.array([low for low, _ in self.layout.lags] or [1])
        return np.searchsorted(lows, gap, side="right").astype(np.int8)


class Chunk(NamedTuple):
    """Some rows of the observed response and of replicates, (draw, neuron, row), zero where not scored."""

    value: np.ndarray
    residual: np.ndarray  # minus what the model (one step ahead) or the replicate's own mean (free) expects; of an angle its sine
    cosine: np.ndarray | None  # of the residual of an angle
    uniform: np.ndarray | None  # probability integral transform, in [0, 1)
    rows: slice
    past: Past

    @property
    def weight(self) -> np.ndarray:
        """(neuron, row) bool."""
        return self.past.layout.weight[:, self.rows]


def residuals(layout: Layout, value: np.ndarray, mean: Any, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Residuals about ``mean``, and their cosine where they are angles; zero where not scored."""
    if layout.nature == "angles":
        turned = layout.turn * (value - mean)
        return np.sin(turned) * weight, np.cos(turned) * weight
    return (value - mean) * weight, None
