"""LOO and WAIC figures of every unit and neuron, streamed over rows: never are draws x rows held for a recording."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from bayesglm._likelihood import Source, log_likelihood_chunks
from bayesglm.engine.psis import loo_units, relative_efficiency, waic_units

_MOST_THREADS = 8  # each holds a chunk
_PIECE = 1 << 20  # numbers a thread works on at once
_EFFICIENCY = 10  # relative efficiencies are rounded to tenths: they set tail lengths, and equal tails are smoothed at once


class Figures(NamedTuple):
    """Of every unit and neuron, (unit, neuron); NaN where nothing is scored."""

    elpd: np.ndarray
    p: np.ndarray
    k: np.ndarray  # NaN for WAIC
    lppd: np.ndarray  # log of the draw-averaged density, the unit itself among the data


class Manner(NamedTuple):
    """How figures were found, where not by smoothing every unit."""

    notes: tuple[str, ...] = ()
    subsampling_se: float = 0.0
    ic: str = ""  # what to call the criterion; empty: what was asked for


def figures(made: Source, units: np.ndarray, ic: str, joint: bool, ratio: np.ndarray | None) -> Figures:
    """Figures of units, a chunk of rows at a time, smoothed in threads while the next chunk is computed.

    Parameters
    ----------
    made : Source
    units : (row,) int
        Unit of each row, from 0 in the order of rows.
    ic : "loo" or "waic"
    joint : bool
        Neurons share parameters: a unit is left out of all of them together, and figures have one column.
    ratio : (neuron, draw) or None
        log p - log q of draws from an approximation; WAIC does not use it.
    """
    first = np.flatnonzero(np.r_[True, np.diff(units) != 0])
    present = np.logical_or.reduceat(made.scored.any(1, keepdims=True) if joint else made.scored, first, axis=0)
    ratio = ratio.sum(0, keepdims=True) if joint and ratio is not None else ratio
    out = np.full((len(Figures._fields), *present.shape), np.nan)

    def work(piece: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        which, sums = piece
        values = np.moveaxis(sums, 0, 2)
        values = values.sum(1, keepdims=True) if joint else values
        return which, _of_chunk(values, present[which], made.chains, ic, ratio)

    for which, found in in_threads(work, _pieces(unit_sums(made, units))):
        out[:, which] = found
    return Figures(*out)


def _of_chunk(values: np.ndarray, present: np.ndarray, chains: int, ic: str, ratio: np.ndarray | None) -> np.ndarray:
    """(figure, unit, neuron) of log likelihoods (unit, neuron, draw)."""
    out = np.full((len(Figures._fields), *present.shape), np.nan)
    if ratio is not None and ic == "loo":
        for n in range(present.shape[1]):
            here = present[:, n]
            out[:, here, n] = _left_out(values[:, n] if here.all() else values[here, n], ratio[n], 1.0)
        return out
    flat = values.reshape(-1, values.shape[2]) if present.all() else values[present]
    if len(flat):
        out[:, present] = _widely(flat) if ic == "waic" else _left_out(flat, None, _efficiency(flat, chains))
    return out


def _widely(log_lik: np.ndarray) -> np.ndarray:
    found = waic_units(log_lik)
    return np.stack([found.elpd, found.p_waic, np.full(len(log_lik), np.nan), found.lppd])


def _left_out(log_lik: np.ndarray, ratio: np.ndarray | None, efficiency: np.ndarray | float) -> np.ndarray:
    found = loo_units(log_lik, efficiency, ratio)
    unknown = np.where(np.isnan(found.k), np.inf, found.k)  # what cannot be judged cannot be trusted
    return np.stack([found.elpd, found.p_loo, unknown, found.lppd])


def _efficiency(log_lik: np.ndarray, chains: int) -> np.ndarray:
    """Relative efficiency of each unit's likelihood, in tenths."""
    found = relative_efficiency(np.moveaxis(log_lik.reshape(len(log_lik), chains, -1), 0, 2))
    tenths = np.maximum(np.round(found * _EFFICIENCY), 1.0) / _EFFICIENCY
    return np.where(np.isfinite(found) & (found > 0), tenths, 1.0)


def unit_sums(made: Source, units: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Log likelihoods summed over each unit's rows: (units, (draw, unit, neuron)); a unit may run over many chunks."""
    carried: np.ndarray | None = None
    for rows, values in log_likelihood_chunks(made):
        local = units[rows]
        starts = np.flatnonzero(np.r_[True, np.diff(local) != 0])
        found, sums = local[starts], _summed(values, starts)
        if carried is not None:
            sums = np.array(sums)
            sums[:, 0] += carried
        ends = rows.stop >= len(units) or units[rows.stop] != found[-1]
        carried = None if ends else sums[:, -1].copy()
        if ends or len(found) > 1:
            yield (found, sums) if ends else (found[:-1], sums[:, :-1])


def _pieces(sums: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same in pieces that threads can share out."""
    for which, values in sums:
        step = max(1, _PIECE // (values.shape[0] * values.shape[2]))
        for start in range(0, len(which), step):
            yield which[start : start + step], values[:, start : start + step]


def _summed(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums over runs of rows (axis 1); the draws stay side by side in memory."""
    if len(starts) == values.shape[1]:
        return values
    by_row = np.moveaxis(values, 0, 2)
    sums = [by_row[a:b].sum(0) for a, b in zip(starts, [*starts[1:], len(by_row)], strict=True)]
    return np.moveaxis(np.stack(sums), 2, 0)


def in_threads[T, R](work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``work`` of each item in order, in as many threads as there are processors; few items are held at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = min(_MOST_THREADS, cores)
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
