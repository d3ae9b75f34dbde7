"""Free-running responses of a planned GLM, by chunks of draws and rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm._double import double
from bayesglm._likelihood import chunk_at
from bayesglm._model import padded_size
from bayesglm._simulating._feedback import Plan
from bayesglm.engine.pointwise import columns_of
from bayesglm.engine.recurrence import Rows, empty_past, fixed_eta, independent, recurrent
from bayesglm.family import AbstractFamily, Binomial
from bayesglm.family._choices import AbstractClasses

_NUMBERS = 1 << 21  # numbers a row x draw x replicate x neuron chunk holds at once: 16 MB
_CACHE = 1 << 17  # numbers read at every row (rings and weights) of one chunk of draws: 1 MB
_HELD = 1 << 27  # bytes of the responses of one chunk
_LEAST_ROWS = 16


class Chunk(NamedTuple):
    """Responses of some draws and replicates."""

    draws: slice
    replicates: slice
    values: np.ndarray  # (draw, replicate, row, neuron), in the smallest type that holds them
    reached: np.ndarray  # (draw, replicate): the first row at the cap, -1 where none is


class Layout(NamedTuple):
    """How many draws, replicates and rows are simulated at once."""

    draws: int
    replicates: int
    rows: int


def free_run(
    plan: Plan, key: Any, replicates: int, cap: float | None, tick: Callable[[int, int], Any] | None = None, etas: list | None = None
) -> Iterator[Chunk]:
    """Simulate every draw ``replicates`` times.

    Parameters
    ----------
    plan : Plan
    key : JAX key
    replicates : int
    cap : float or None
    tick : callable, optional
        Told after each chunk of rows how many of how many are done.
    etas : list, optional
        Receives eta of every chunk, (draw, replicate, row, neuron, J): for tests.

    Yields
    ------
    Chunk
    """
    kind = smallest_type(plan, cap)
    size = layout(plan, replicates, kind.itemsize)
    starts = [(d, r) for d in range(0, plan.draws, size.draws) for r in range(0, replicates, size.replicates)]
    steps = -(-plan.shape[0] // size.rows)
    for i, (d, r) in enumerate(starts):
        with double():
            own = jax.random.fold_in(jax.random.fold_in(key, d), r)
        told = None if tick is None else lambda step, i=i: tick(i * steps + step, len(starts) * steps)
        picks = np.minimum(np.arange(d, d + size.draws), plan.draws - 1)  # the last draw again, so that all chunks have one shape
        draws, copies = min(size.draws, plan.draws - d), min(size.replicates, replicates - r)
        values, reached, eta = _one(plan, picks, size, own, cap, kind, told, etas is not None)
        if etas is not None:
            etas.append(eta[:draws, :copies])
        yield Chunk(slice(d, d + draws), slice(r, r + copies), values[:draws, :copies], reached[:draws, :copies])


def layout(plan: Plan, replicates: int, itemsize: int) -> Layout:
    """Sizes such that what every row reads stays in the cache, and what is held in memory."""
    rows, neurons = plan.shape
    ring = max(1, len(plan.kernels) * neurons)
    weights = sum(loop.weights[0].size for loop in plan.loops)
    most = max(1, _HELD // (rows * neurons * itemsize))  # draws x replicates held
    copies = min(replicates, most, max(1, (_CACHE - weights) // ring) if plan.loops else replicates)
    draws = min(plan.draws, max(1, most // copies), max(1, _CACHE // (weights + copies * ring)) if plan.loops else plan.draws)
    draws = -(-plan.draws // -(-plan.draws // draws))  # chunks of about one size
    columns = draws * copies * neurons * plan.model.family.n_predictors
    length = 1 << max(_LEAST_ROWS, _NUMBERS // columns).bit_length() - 1
    return Layout(draws, copies, min(length, padded_size(rows)))


def smallest_type(plan: Plan, cap: float | None) -> np.dtype:
    """The smallest type that holds every response: unsigned for counts and codes, else float64."""
    family = plan.model.family
    if not family.discrete:
        return np.dtype(float)
    if cap is not None:
        return np.min_scalar_type(int(cap))
    return np.min_scalar_type(_largest_code(family, plan))


def _largest_code(family: AbstractFamily, plan: Plan) -> int:
    if isinstance(family, AbstractClasses):
        return family.size - 1
    if isinstance(family, Binomial):
        known = plan.design.each.get("known", {})
        return int(known["trials"].max(initial=0)) if "trials" in known else int(family.trials)
    return 1


def _one(
    plan: Plan, picks: np.ndarray, size: Layout, key: Any, cap: float | None, kind: np.dtype, told: Callable[[int], Any] | None, keep: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Responses (draw, replicate, row, neuron) of one chunk, the first rows at the cap, and eta where it is kept."""
    rows, neurons = plan.shape
    loops = tuple(dataclasses.replace(loop, weights=loop.weights[picks]) for loop in plan.loops)
    weights, sites = ({name: value[picks] for name, value in part.items()} for part in (plan.weights, plan.sites))
    with double():
        loops, weights, sites = jax.tree.map(jnp.asarray, (loops, weights, sites))
        kernels, dt, limit = jnp.asarray(plan.kernels), jnp.asarray(plan.dt), None if cap is None else jnp.asarray(float(cap))
        past = empty_past(loops, kernels, (size.draws, size.replicates, neurons))
    out, eta = np.empty((size.draws, size.replicates, rows, neurons), kind), []
    for step, start in enumerate(range(0, rows, size.rows), 1):
        with double():
            part = _rows(plan, weights, start, size)
            if loops:
                past, found = recurrent(plan.model.family, loops, kernels, sites, dt, limit, key, past, part, etas=keep)
            else:
                first, found = independent(plan.model.family, sites, dt, limit, key, past.reached, part, etas=keep)
                past = past._replace(reached=first)
        y, kept = (None if leaf is None else np.moveaxis(np.asarray(leaf)[: rows - start], 0, 2) for leaf in found)
        out[:, :, start : start + y.shape[2]] = y
        eta += [] if kept is None else [kept]
        if told is not None:
            told(step)
    reached = np.asarray(past.reached)
    return out, np.where(reached < rows, reached, -1), np.concatenate(eta, 2) if keep else None


def _rows(plan: Plan, weights: dict[str, Any], start: int, size: Layout) -> Rows:
    """What is known of a chunk of rows."""
    rows, neurons = plan.shape
    at = chunk_at(start, size.rows, rows)
    part = plan.design.at(at)
    shape = (size.draws, neurons, plan.model.family.n_predictors)
    base = fixed_eta(columns_of(plan.fixed.blocks(part)), weights, part.each.get("offset"), size.rows, shape)
    modulators = tuple(None if columns is None else columns[at] for columns in plan.modulators)
    known = {name: np.asarray(value, float).T for name, value in part.each.get("known", {}).items()}
    return Rows(np.arange(start, start + size.rows), plan.behind[at], base, modulators, known, None if plan.seen is None else plan.seen[at])
