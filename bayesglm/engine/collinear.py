"""How much of some columns do others explain? Shares of variance, condition numbers, and who moves with whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_RANK = 1e-10  # relative eigenvalue below which a direction of the columns is empty
_ROWS = 4096  # rows of a chunk


class Moments(NamedTuple):
    """Second moments of columns around their mean (around zero without a constant), and over how many rows."""

    covariance: np.ndarray  # (P, P)
    rows: int
    owners: np.ndarray  # (P,) name of the term that each column is of
    mean: np.ndarray  # (P,)


class Conditioning(NamedTuple):
    """Of all columns together."""

    number: float  # sqrt(largest / smallest eigenvalue) of the correlation matrix, empty directions left out
    empty: int  # directions without variance
    rank: int


def moments(chunks: Iterator[np.ndarray], owners: np.ndarray, centred: bool) -> Moments:
    """Second moments of chunks (row, P) of columns."""
    total, products, rows = np.zeros(len(owners)), np.zeros((len(owners), len(owners))), 0
    shift = np.zeros(len(owners))
    for x in chunks:
        shift = x.mean(0) if centred and not rows else shift  # far from zero, squares would lose their digits
        x = x - shift if centred else x
        total += x.sum(0)
        products += x.T @ x
        rows += len(x)
    mean = total / max(rows, 1)
    covariance = products / max(rows, 1)
    return Moments(covariance - np.outer(mean, mean) if centred else covariance, rows, owners, mean + shift)


def correlations(found: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Correlation matrix of the columns that vary, and which these are."""
    power = np.diag(found.covariance)
    kept = power > 1e-24 * max(float(power.max(initial=0.0)), 1e-300)
    scale = 1.0 / np.sqrt(power[kept])
    return found.covariance[np.ix_(kept, kept)] * scale[:, None] * scale, kept


def explained(found: Moments) -> dict[str, float]:
    """Mean share of the variance of each term's columns that the other terms' columns explain, adjusted for their number.

    1 - (1 - R^2)(n - 1)/(n - 1 - r), r the rank of the others over n rows; NaN where r >= n - 1: whatever they were, they
    would explain everything.
    """
    r, kept = correlations(found)
    owners, shares = found.owners[kept], {}
    for name in dict.fromkeys(owners.tolist()):
        own = owners == name
        if own.all():
            continue
        values, vectors = np.linalg.eigh(r[np.ix_(~own, ~own)])
        used = values > _RANK * values.max()
        loads = (vectors[:, used] / np.sqrt(values[used])).T @ r[np.ix_(~own, own)]
        left, rank = float(np.clip(1.0 - (loads**2).sum(0), 0.0, None).mean()), int(used.sum())
        shares[name] = 1.0 - left * (found.rows - 1) / (found.rows - 1 - rank) if rank < found.rows - 1 else np.nan
    return shares


def conditioning(found: Moments) -> Conditioning:
    """Condition number of all columns together, each scaled to one."""
    r, _ = correlations(found)
    if not len(r):
        return Conditioning(1.0, 0, 0)
    values = np.linalg.eigvalsh(r)
    used = values > _RANK * values.max()
    return Conditioning(float(np.sqrt(values.max() / values[used].min())), int((~used).sum()), int(used.sum()))


def strengths(found: Moments, draws: dict[str, np.ndarray]) -> np.ndarray:
    """(term, draw): how strong each term's part of eta is along its own posterior mean, cov(f_d, f) over rows.

    ``draws`` (draw, columns of the term) in the order of ``found.owners``.
    """
    rows = []
    for name, w in draws.items():
        own = found.owners == name
        rows.append(w @ (found.covariance[np.ix_(own, own)] @ w.mean(0)))
    return np.array(rows)


def chunked(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of rows, some thousands at a time."""
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]
