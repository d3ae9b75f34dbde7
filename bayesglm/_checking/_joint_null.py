"""p-values of an observed statistic among replicates, one by one and of several jointly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

_TAIL = 0.05  # share of the pool beyond which a tail is taken for exponential
_LEAST = 5


class Judged(NamedTuple):
    """p-values of the observed statistics."""

    alone: np.ndarray  # (statistic, neuron) by rank
    adjusted: np.ndarray  # (statistic, neuron) over all statistics and neurons together
    by_neuron: np.ndarray  # (neuron,) of a neuron's statistics jointly
    joint: float


def judged(pool: np.ndarray, upper: np.ndarray, unit: np.ndarray) -> Judged:
    """Judge the first member of a pool against the others.

    The joint p is the rank of the smallest p of the observed response among the smallest p of each replicate, which is
    exact where observed and replicated responses are exchangeable, whatever the dependence of the statistics. Ranks
    alone could not order several smallest p (all are 1/(R + 1)), so a p within the outer 5 % goes down exponentially
    with the distance, at the pace of the other members of that tail.

    Parameters
    ----------
    pool : (1 + replicate, statistic, neuron)
        NaN where a neuron has no such statistic.
    upper : (statistic,) bool
        Whether only large values speak against the model; else p-values are two-sided.
    unit : (statistic,)
        The smallest difference that means anything, where all replicates may be equal; 0: none is known.

    Returns
    -------
    Judged
        p-values are (r + 1)/(R + 1), ties counted half.

    References
    ----------
    Besag & Clifford 1989, Generalized Monte Carlo significance tests; Westfall & Young 1993, Resampling-based multiple
    testing.

    Examples
    --------
    >>> pool = np.random.default_rng(0).normal(size=(201, 2, 1))
    >>> pool[0, 1] = 9.0
    >>> found = judged(pool, np.zeros(2, bool), np.zeros(2))
    >>> bool(found.alone[0, 0] > 0.05), round(float(found.adjusted[1, 0]), 3), round(found.joint, 3)
    (True, 0.005, 0.005)
    """
    smooth = np.where(np.isnan(pool), 1.0, _smoothed(pool, upper[:, None], unit[:, None]))
    smallest, own = smooth.min((1, 2)), smooth.min(1)
    adjusted = _share(smallest[1:, None, None] <= smooth[0])
    known = ~np.isnan(pool[0])
    by_neuron = np.where(known.any(0), _share(own[1:] <= own[0]), np.nan)
    alone = np.where(known, _by_rank(pool, upper[:, None]), np.nan)
    return Judged(alone, np.where(known, adjusted, np.nan), by_neuron, float(_share(smallest[1:] <= smallest[0])) if known.any() else np.nan)


def _share(beyond: np.ndarray) -> np.ndarray:
    """(r + 1)/(R + 1) along the first axis."""
    return (beyond.sum(0) + 1.0) / (len(beyond) + 1.0)


def _by_rank(pool: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """p-values of the first member, ties counted half."""
    ties = 0.5 * (pool[1:] == pool[0]).sum(0)
    above, below = ((side.sum(0) + ties + 1.0) / len(pool) for side in (pool[1:] > pool[0], pool[1:] < pool[0]))
    return np.where(upper, above, np.minimum(1.0, 2.0 * np.minimum(above, below)))


def _smoothed(pool: np.ndarray, upper: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """A p-value of every member among the pool."""
    filled = np.nan_to_num(pool)
    above = _upper_tail(filled, unit)
    return np.where(upper, above, np.minimum(1.0, 2.0 * np.minimum(above, _upper_tail(-filled, unit))))


def _upper_tail(pool: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """P(at least as large): mid-ranks, and an exponential tail whose mean each member of it takes from the others there."""
    size = len(pool)
    tail = max(_LEAST, int(np.ceil(_TAIL * size)))
    rank = (size - rankdata(pool, axis=0) + 0.5) / size
    edge = np.sort(pool, axis=0)[size - tail - 1]
    excess = np.maximum(pool - edge, 0.0)
    inside = excess > 0
    count = inside.sum(0)
    others = (excess.sum(0) - excess) / np.maximum(count - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        known = count / size * np.exp(-excess / others)
        alone = 0.5 / size * np.where(unit > 0, np.exp(-np.maximum(excess / unit - 1.0, 0.0)), 1.0)
    return np.where(inside, np.where(count > 1, known, alone), rank)
