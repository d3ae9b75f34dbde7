"""Are numbers uniform, and independent of their neighbours? Arrays in, arrays out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtri

LAGS = 10  # neighbours whose correlation is tested
LEAST = 20  # values below which nothing is said
_LEAST_PAIRS = 15
_EDGE = 1e-15  # keeps the normal scores of a probability of one finite


class Goodness(NamedTuple):
    """What a sample of numbers between 0 and 1 says against being independent and uniform; NaN where it is too small."""

    n: int
    ks: float  # largest distance of its distribution function from the diagonal
    ks_at: float  # where that is
    p_value: float
    autocorrelation: np.ndarray  # (lag,) of the normal scores
    pairs: np.ndarray  # (lag,) pairs that each is the mean of
    autocorrelation_p: float


def goodness(uniform: np.ndarray, group: np.ndarray | None = None, lags: int = LAGS) -> Goodness:
    """Kolmogorov and Smirnov's test of uniform numbers, and Ljung and Box's of the correlation of their normal scores.

    Parameters
    ----------
    uniform : (value,)
        Probability integral transforms, in order; NaN where there is none.
    group : (value,), optional
        Values of different groups (epochs) are no neighbours.
    lags : int
        How many are tested together.

    Returns
    -------
    Goodness

    References
    ----------
    Ljung & Box 1978, On a measure of lack of fit in time series models.

    Examples
    --------
    >>> import numpy as np
    >>> found = goodness(np.random.default_rng(0).random(500))
    >>> found.p_value > 0.001, found.autocorrelation_p > 0.001
    (True, True)
    """
    known = np.sort(uniform[~np.isnan(uniform)])
    correlation, pairs = correlogram(ndtri(np.clip(uniform, _EDGE, 1.0 - _EDGE)), lags, group)
    if known.size < LEAST:
        return Goodness(known.size, np.nan, np.nan, np.nan, np.full(lags, np.nan), pairs, np.nan)
    distance, at = ks_distance(known)
    return Goodness(known.size, distance, at, ks_p(distance, known.size), correlation, pairs, portmanteau(correlation, pairs, known.size))


def ks_distance(ordered: np.ndarray) -> tuple[float, float]:
    """Largest distance of the distribution function of sorted numbers from the uniform one, and where it is."""
    n = ordered.size
    above, below = np.arange(1, n + 1) / n - ordered, ordered - np.arange(n) / n
    largest = np.maximum(above, below)
    return float(largest.max()), float(ordered[largest.argmax()])


def ks_p(distance: float, n: int) -> float:
    """Probability of a distance at least as large among ``n`` uniform numbers."""
    return float(stats.kstwo.sf(distance, n))


def ks_bound(n: int, prob: float = 0.95) -> float:
    """The distance that ``n`` uniform numbers stay within with this probability."""
    return float(stats.kstwo.ppf(prob, n))


def correlogram(values: np.ndarray, lags: int, group: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of values 1, 2, ..., ``lags`` apart, and the numbers of pairs; NaN where there is no pair.

    Each is a mean over pairs, so that values that are not there (NaN) and gaps between groups do not shrink it.
    """
    centred = values - (np.nanmean(values) if np.isfinite(values).any() else 0.0)
    power = np.nanmean(centred**2) if np.isfinite(values).any() else np.nan
    found, pairs = np.full(lags, np.nan), np.zeros(lags, int)
    for lag in range(1, min(lags, values.size - 1) + 1):
        product = centred[lag:] * centred[:-lag]
        inside = ~np.isnan(product) if group is None else ~np.isnan(product) & (group[lag:] == group[:-lag])
        pairs[lag - 1] = inside.sum()
        if pairs[lag - 1] and power > 0:
            found[lag - 1] = product[inside].mean() / power
    return found, pairs


def portmanteau(correlation: np.ndarray, pairs: np.ndarray, n: int) -> float:
    """Ljung and Box's p-value of all correlations together; of lags up to a quarter of the numbers, and with enough pairs."""
    used = (np.arange(1, pairs.size + 1) <= n // 4) & (pairs >= _LEAST_PAIRS) & ~np.isnan(correlation)
    if not used.any():
        return np.nan
    statistic = (1.0 + 2.0 / n) * np.sum(pairs[used] * correlation[used] ** 2)
    return float(stats.chi2.sf(statistic, used.sum()))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, in the shape given: rejecting those below 5 % errs in at most 5 % of families. NaN stays NaN."""
    flat = np.ravel(np.asarray(p_values, float))
    order = np.argsort(flat)
    many = int((~np.isnan(flat)).sum())
    adjusted = np.full(flat.size, np.nan)
    steps = flat[order[:many]] * (many - np.arange(many))
    adjusted[order[:many]] = np.minimum(np.maximum.accumulate(steps), 1.0) if many else []
    return adjusted.reshape(np.shape(p_values))


class Histogram:
    """Distribution functions of many samples at once, on a grid of quantiles: (sample, train), counted chunk by chunk."""

    def __init__(self, samples: int, trains: int, bins: int = 1024) -> None:
        self.counts = np.zeros((samples, trains, bins), np.uint32)

    def add(self, train: np.ndarray, uniform: np.ndarray) -> None:
        """Count numbers (sample, value) between 0 and 1 of these trains (value,)."""
        samples, trains, bins = self.counts.shape
        place = np.minimum((uniform * bins).astype(np.int64), bins - 1)
        one = np.uint32(1)  # of the counts' own type: a plain 1 is seventeen times slower
        np.add.at(self.counts.reshape(-1), (np.arange(samples)[:, None] * trains + train) * bins + place, one)

    def shares(self, train: int) -> np.ndarray:
        """Share of a train's numbers below each edge, (sample, bins + 1); NaN where there is none."""
        below = np.cumsum(self.counts[:, train], axis=-1, dtype=float)
        with np.errstate(invalid="ignore"):
            return np.concatenate([np.zeros((len(below), 1)), below], -1) / below[:, -1:]
