"""Which rows of a decoding belong together: the clusters of its standard errors, and the blocks that its chance level permutes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bayesglm._autocorrelation import correlation_time
from bayesglm._comparing._cut import MEMORIES
from bayesglm._decoding._input import Given
from bayesglm._decoding._metrics import Classes, OnGrid


def cluster_ids(given: Given, blocks: Any, loss: np.ndarray) -> tuple[np.ndarray, str]:
    """(row,) block of each row, numbered from 0, and what a block is, in words."""
    rows = len(given.truth.y)
    if blocks is not None and np.ndim(blocks):
        ids = np.asarray(blocks)
        if len(ids) != given.kept.size:
            raise ValueError(f"blocks has the shape {ids.shape}; it wants ({given.kept.size},): the trial or block of each row, or a number of seconds.")
        return np.unique(ids[given.kept], return_inverse=True)[1], "blocks as passed"
    if given.dim != "time":
        if blocks is not None:
            raise ValueError(f"blocks={blocks!r}: a length in seconds wants rows of time; pass the block of each row.")
        return np.arange(rows), "trials" if given.dim == "trial" else "rows, taken as independent (pass blocks= where they are not)"
    if blocks is None and "trial" in given.coords:
        return np.unique(given.coords["trial"], return_inverse=True)[1], "trials"
    dt = given.dt or 1.0
    seconds, why = (float(blocks), "") if blocks is not None else _memory(given, loss, dt)
    count = max(1, int(rows * dt / max(seconds, dt) * (1 + 1e-9)))
    return np.arange(rows) * count // rows, f"blocks of {rows * dt / count:.3g} s{why}"


def _memory(given: Given, loss: np.ndarray, dt: float) -> tuple[float, str]:
    """How long a block must be, and why."""
    y = given.truth.y.reshape(len(loss), -1).astype(float)
    if isinstance(given.forecast, Classes):
        y = (y == np.arange(given.forecast.names.size)).astype(float)
    periods = given.forecast.periods if isinstance(given.forecast, OnGrid) else (getattr(given.forecast, "period", None),) * y.shape[1]
    if any(period is not None for period in periods):
        turn = [2 * np.pi * y[:, i] / period for i, period in enumerate(periods) if period is not None]
        y = np.concatenate([np.stack([np.cos(t), np.sin(t)], 1) for t in turn] + [y[:, [i for i, p in enumerate(periods) if p is None]]], 1)
    finite = np.where(np.isfinite(loss), loss, np.nan)
    seconds = float(correlation_time(np.c_[y, finite]).max(initial=0.0)) * dt
    return MEMORIES * seconds, f" ({MEMORIES} x the correlation time of the truth or of the loss, {seconds:.3g} s)"


def shuffled(ids: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """``count`` times the positions of all rows with whole blocks in another order; blocks of several rows are also rotated together.

    A block's rows stay neighbours and in order, so that the memory of the truth is kept.
    """
    order = np.argsort(ids, kind="stable")
    if ids.max() + 1 == ids.size:
        yield from (rng.permutation(ids.size) for _ in range(count))
        return
    members = np.split(order, np.cumsum(np.bincount(ids))[:-1])
    for _ in range(count):
        found = np.concatenate([members[i] for i in rng.permutation(len(members))])
        yield np.roll(found, rng.integers(found.size))


def resampled(ids: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """``count`` times how often each row counts where whole blocks are drawn with replacement."""
    blocks = int(ids.max()) + 1
    for _ in range(count):
        yield rng.multinomial(blocks, np.full(blocks, 1.0 / blocks)).astype(float)[ids]
