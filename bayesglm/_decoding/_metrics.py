"""What decoded rows are worth: classes, posteriors on a grid, and point estimates with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

NATS_A_BIT = float(np.log(2.0))
LOWER_IS_BETTER = ("log_loss", "brier", "expected_calibration_error", "calibration_error", "median_error", "mean_error", "rmse")
HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "auc", "bits", "r2")
_SLICE = 1 << 24  # numbers sorted at once


class Truth(NamedTuple):
    """What was to be decoded, and how probable it was without any neuron; rows move together when blocks are permuted."""

    y: np.ndarray  # (row,) codes of classes, or (row, target) values
    null: np.ndarray  # (row,) log probability (or density) under the null model; NaN where there is none

    def at(self, rows: np.ndarray) -> Truth:
        return Truth(self.y[rows], self.null[rows])


class Bins(NamedTuple):
    """Predicted probabilities, whether the event happened, and equally many rows a bin, in order of the probability."""

    predicted: np.ndarray  # (row,)
    happened: np.ndarray  # (row,) bool
    bin: np.ndarray  # (row,)

    def sums(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, mean prediction and share of events of every bin, (bin,)."""
        size = int(self.bin.max()) + 1
        n = np.bincount(self.bin, weight, size)
        some = np.maximum(n, 1e-300)
        return n, np.bincount(self.bin, weight * self.predicted, size) / some, np.bincount(self.bin, weight * self.happened, size) / some


def equal_bins(predicted: np.ndarray, bins: int) -> np.ndarray:
    """(row,) bin of each row, in order of the prediction, equally many rows in each; equal predictions keep the rows' order."""
    rank = np.empty(predicted.size, int)
    rank[np.argsort(predicted, kind="stable")] = np.arange(predicted.size)
    return rank * min(bins, predicted.size) // predicted.size


@dataclass(frozen=True, eq=False)
class Classes:
    """Probabilities of one of K classes."""

    p: np.ndarray  # (row, K), rows sum to one
    names: np.ndarray  # (K,)
    prob: float
    bins: int

    def averages(self, truth: Truth) -> dict[str, np.ndarray]:
        """Scores that are means of one number a row."""
        at = np.arange(len(self.p)), truth.y
        with np.errstate(divide="ignore"):
            log_p = np.log(self.p[at])
        squares = (self.p**2).sum(1) - 2 * self.p[at] + 1
        inside, claimed = self._sets
        return {
            "accuracy": (self._likeliest == truth.y).astype(float),
            "log_loss": -log_p,
            "bits": (log_p - truth.null) / NATS_A_BIT,
            "brier": squares / (2.0 if self.names.size == 2 else 1.0),
            "coverage": inside[at].astype(float),
            "coverage_claimed": claimed,
        }

    def others(self, truth: Truth, weight: np.ndarray) -> dict[str, float]:
        """Scores of all rows together."""
        n, predicted, observed = self.binned(truth).sums(weight)
        some = n > 0
        off = (predicted - observed)[some]
        unlucky = (observed * (1 - observed) / np.maximum(n - 1, 1))[some]  # the expected square of what chance adds to a bin
        square = np.average(off**2 - unlucky, weights=n[some])
        return {
            "balanced_accuracy": self._balanced(truth.y, weight),
            "auc": self._auc(truth.y, weight),
            "expected_calibration_error": float(np.average(np.abs(off), weights=n[some])),
            "calibration_error": float(np.sqrt(max(square, 0.0))),
        }

    def binned(self, truth: Truth) -> Bins:
        """Of two classes P(the second), of more the probability of the likeliest."""
        if self.names.size == 2:
            return Bins(self.p[:, 1], truth.y == 1, self._bin)
        return Bins(self.p.max(1), self._likeliest == truth.y, self._bin)

    def _balanced(self, y: np.ndarray, weight: np.ndarray) -> float:
        n = np.bincount(y, weight, self.names.size)
        right = np.bincount(y, weight * (self._likeliest == y), self.names.size)
        return float(np.mean(right[n > 0] / n[n > 0]))

    def _auc(self, y: np.ndarray, weight: np.ndarray) -> float:
        """Of two classes; of more the mean over classes of one against the rest; NaN where a class did not occur."""
        found = [_area(ranks, weight * (y == k), weight * (y != k)) for k, ranks in self._ranks]
        return float(np.mean(found))

    @cached_property
    def _ranks(self) -> list[tuple[int, np.ndarray]]:
        codes = [1] if self.names.size == 2 else range(self.names.size)
        return [(k, np.unique(self.p[:, k], return_inverse=True)[1]) for k in codes]

    @cached_property
    def _likeliest(self) -> np.ndarray:
        return self.p.argmax(1)

    @cached_property
    def _bin(self) -> np.ndarray:
        return equal_bins(self.p[:, 1] if self.names.size == 2 else self.p.max(1), self.bins)

    @cached_property
    def _sets(self) -> tuple[np.ndarray, np.ndarray]:
        return credible_sets(self.p, self.prob)


def _area(ranks: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve of weighted rows: the chance that an event is ranked above a non-event, ties a half."""
    yes, no = np.bincount(ranks, positive), np.bincount(ranks, negative)
    both = yes.sum() * no.sum()
    return float((yes * (np.cumsum(no) - 0.5 * no)).sum() / both) if both > 0 else np.nan


def credible_sets(p: np.ndarray, prob: float) -> tuple[np.ndarray, np.ndarray]:
    """(row, cell) bool, the fewest cells of each row that hold ``prob``, and (row,) what they hold."""
    inside, step = np.empty(p.shape, bool), max(1, _SLICE // p.shape[1])
    for start in range(0, len(p), step):
        part = p[start : start + step]
        order = np.argsort(-part, axis=1, kind="stable")
        ranked = np.take_along_axis(part, order, 1)
        np.put_along_axis(inside[start : start + step], order, np.cumsum(ranked, 1) - ranked < prob - 1e-12, 1)
    return inside, np.where(inside, p, 0.0).sum(1)


def mass_above(p: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row,) mass of the cells that are more probable than the row's own, and that with those as probable as it."""
    own = np.take_along_axis(p, cell[:, None], 1)
    return np.where(p > own, p, 0.0).sum(1), np.where(p >= own, p, 0.0).sum(1)


def wrapped(difference: np.ndarray, period: float | None) -> np.ndarray:
    """A difference along a circle, in [-period/2, period/2); as it is on a line."""
    return difference if period is None else (difference + 0.5 * period) % period - 0.5 * period


def _errors(estimate: np.ndarray, y: np.ndarray, periods: tuple[float | None, ...]) -> np.ndarray:
    """(row,) distance between estimate and truth, (row, target) each."""
    return np.sqrt(sum(wrapped(estimate[:, i] - y[:, i], period) ** 2 for i, period in enumerate(periods)))


def _about_errors(estimate: np.ndarray, y: np.ndarray, periods: tuple[float | None, ...], weight: np.ndarray) -> dict[str, float]:
    """Median error; of what lies on lines also the share of variance explained and the root mean square."""
    error = _errors(estimate, y, periods)
    found = {"median_error": _median(error, weight)}
    if any(period is not None for period in periods):
        return found
    mean = np.average(y, axis=0, weights=weight)
    left, all_of_it = weight @ error**2, weight @ ((y - mean) ** 2).sum(1)
    return found | {"rmse": float(np.sqrt(left / weight.sum())), "r2": float(1 - left / all_of_it) if all_of_it > 0 else np.nan}


def _median(values: np.ndarray, weight: np.ndarray) -> float:
    """Median of rows that count ``weight`` times each (whole numbers)."""
    return float(np.median(np.repeat(values, weight.astype(int))))


@dataclass(frozen=True, eq=False)
class OnGrid:
    """Posterior probabilities of the cells of a grid of one or more targets."""

    p: np.ndarray  # (row, cell), the last axis of the grid running fastest
    axes: tuple[np.ndarray, ...]
    periods: tuple[float | None, ...]
    estimate: np.ndarray  # (row, target)
    prob: float

    def cells(self, y: np.ndarray) -> np.ndarray:
        """(row,) number of the cell that holds each truth."""
        return np.ravel_multi_index(tuple(nearest(axis, y[:, i], self.periods[i]) for i, axis in enumerate(self.axes)), self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    def averages(self, truth: Truth) -> dict[str, np.ndarray]:
        """Scores that are means of one number a row; the log loss is of the density, in units of the targets."""
        cell = self.cells(truth.y)
        at = np.arange(len(self.p)), cell
        with np.errstate(divide="ignore"):
            log_p = np.log(self.p[at])
        inside, claimed = self._sets
        return {
            "mean_error": _errors(self.estimate, truth.y, self.periods),
            "log_loss": np.log(self._volume[cell]) - log_p,
            "bits": (log_p - truth.null) / NATS_A_BIT,
            "coverage": inside[at].astype(float),
            "coverage_claimed": claimed,
        }

    def others(self, truth: Truth, weight: np.ndarray) -> dict[str, float]:
        """Scores of all rows together."""
        return _about_errors(self.estimate, truth.y, self.periods, weight)

    @cached_property
    def _volume(self) -> np.ndarray:
        found = np.ones(1)
        for axis, period in zip(self.axes, self.periods, strict=True):
            found = (found[:, None] * widths(axis, period)).ravel()
        return found

    @cached_property
    def _sets(self) -> tuple[np.ndarray, np.ndarray]:
        return credible_sets(self.p, self.prob)


def widths(axis: np.ndarray, period: float | None) -> np.ndarray:
    """Width of the cell around each point of an increasing grid; on a circle the last one neighbours the first."""
    if axis.size == 1:
        return np.ones(1)
    if period is not None:
        gaps = np.diff(axis, append=axis[0] + period)
        return 0.5 * (gaps + np.roll(gaps, 1))
    gaps = np.diff(axis)
    return 0.5 * (np.r_[gaps[0], gaps] + np.r_[gaps, gaps[-1]])


def nearest(axis: np.ndarray, y: np.ndarray, period: float | None) -> np.ndarray:
    """(row,) position of the nearest point of an increasing grid."""
    if period is not None:
        y = axis[0] + (y - axis[0]) % period
        axis = np.r_[axis, axis[0] + period]
    middle = 0.5 * (axis[1:] + axis[:-1])
    found = np.searchsorted(middle, y)
    return found % (axis.size - 1) if period is not None else found


@dataclass(frozen=True, eq=False)
class Points:
    """An estimate a row, with the interval around it and the log density of what happened, where they are known."""

    estimate: np.ndarray  # (row, 1)
    period: float | None
    low: np.ndarray | None = None  # (row,) where the interval begins, as a difference from the estimate
    high: np.ndarray | None = None
    log_density: np.ndarray | None = None  # (row,) of the row's own truth: it says nothing of any other
    prob: float = 0.9

    def averages(self, truth: Truth) -> dict[str, np.ndarray]:
        """Scores that are means of one number a row."""
        off = wrapped(truth.y[:, 0] - self.estimate[:, 0], self.period)
        found = {"mean_error": np.abs(off)}
        if self.log_density is not None:
            found |= {"log_loss": -self.log_density, "bits": (self.log_density - truth.null) / NATS_A_BIT}
        if self.low is not None and self.high is not None:
            found |= {"coverage": ((off >= self.low) & (off <= self.high)).astype(float), "coverage_claimed": np.full(off.size, self.prob)}
        return found

    def others(self, truth: Truth, weight: np.ndarray) -> dict[str, float]:
        """Scores of all rows together."""
        return _about_errors(self.estimate, truth.y, (self.period,), weight)


Forecast = Classes | OnGrid | Points
