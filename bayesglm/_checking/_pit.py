"""Randomised probability integral transforms of responses, streamed over rows: what checks of every family share."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm._likelihood import Source, is_mass, response_chunks, response_of


def pit_chunks(made: Source, key: Any = 0) -> Iterator[tuple[slice, np.ndarray]]:
    """Randomised transform of every response, one step ahead given the real past: (rows, (row, neuron)), NaN where not scored.

    u = F(y-) + v (F(y) - F(y-)), v uniform, with F the distribution averaged over draws. If the model is true u is
    uniform, and independent of what came before: for a discrete response by v, for a continuous one v is not used.

    Parameters
    ----------
    made : Source
    key : int or JAX key
        Of v. A neuron's v depend on its label, not on its place.

    Raises
    ------
    ValueError
        Where the recording lacks the response, or the response's distribution has no distribution function.

    References
    ----------
    Smith 1985; Czado, Gneiting & Held 2009, Predictive model assessment for count data.
    """
    for rows, below, at, places in bound_chunks(made, key):
        low, high = below.mean(0), at.mean(0)
        yield rows, np.where(made.scored[rows], low + places * (high - low), np.nan)


def pit_draw_chunks(made: Source, key: Any = 0) -> Iterator[tuple[slice, np.ndarray]]:
    """The same under each draw: (rows, (draw, row, neuron)). All draws, and ``pit_chunks``, use the same v."""
    for rows, below, at, places in bound_chunks(made, key):
        yield rows, np.where(made.scored[rows], below + places * (at - below), np.nan)


def cdf_chunks(made: Source) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """P(Y < y) and P(Y <= y) of every response under each draw: (rows, (draw, row, neuron) twice)."""
    response_of(made)
    chunks = response_chunks(made, "cdf")
    if not is_mass(made):
        yield from ((rows, at, at) for rows, at in chunks)
        return
    for (rows, at), (_, log_prob) in zip(chunks, response_chunks(made, "log_prob"), strict=True):
        yield rows, np.maximum(at - np.exp(log_prob), 0.0), at


def generators(made: Source, key: Any) -> list[np.random.Generator]:
    """A generator for each neuron, from the key and its label: what one neuron draws does not depend on the others."""
    labels = made.model.coords().get("neuron", ())
    size = made.scored.shape[1]
    names = [str(label) for label in labels] if len(labels) == size else [str(n) for n in range(size)]
    seeds = _seeds(key)
    return [np.random.default_rng([*seeds, zlib.crc32(name.encode())]) for name in names]


def _seeds(key: Any) -> list[int]:
    """Whole numbers of an int or a JAX key, new style or old."""
    if isinstance(key, (int, np.integer)):
        return [int(key) % (1 << 64)]
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return [int(part) for part in np.ravel(np.asarray(jax.random.key_data(key) if typed else key))]


def bound_chunks(made: Source, key: Any) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """``cdf_chunks`` with uniform numbers (row, neuron), which do not depend on how rows are cut."""
    each = generators(made, key)
    for rows, below, at in cdf_chunks(made):
        yield rows, below, at, np.stack([generator.random(below.shape[1]) for generator in each], 1)
