"""What every method is given and gives back."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.linear import Linear
from bayesglm.engine.target import StoryTarget


class Problem(eqx.Module):
    """A resolved model on its data. ``linear`` is None where the model is not linear in its weights."""

    model: Any
    design: Any
    linear: Linear | None
    labels: tuple = eqx.field(static=True)  # one a neuron: keys derive from them
    make_story: Callable[[], StoryTarget] = eqx.field(static=True)
    collapsed: Any = None  # a Gaussian response with more columns than rows: the wide block's weights integrated out

    def keys(self, key: Any, size: int) -> Any:
        """One key a posterior, from the neuron's name, never from its position."""
        labels = self.labels if len(self.labels) == size else tuple(range(size))
        return _folded(key, np.array([zlib.crc32(str(label).encode()) for label in labels], np.uint32))

    def chain_keys(self, key: Any, size: int, chains: int) -> Any:
        """(posterior, chain) keys."""
        return _chained(self.keys(key, size), np.arange(chains, dtype=np.uint32))


@compiled_quickly
def _folded(key: Any, numbers: Any) -> Any:
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


@compiled_quickly
def _chained(keys: Any, numbers: Any) -> Any:
    return jax.vmap(lambda key: jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers))(keys)


@compiled_quickly
def standard_normal(keys: Any, dim: int) -> Any:
    """(posterior, chain, dim) starts, one key each."""
    return jax.vmap(jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 1), (dim,))))(keys)


class Draws(NamedTuple):
    """Draws as NumPy arrays: sites (chain, draw[, neuron], ...), stats (chain, draw[, neuron]), per_neuron (neuron,)."""

    sites: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    per_neuron: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    by_neuron: bool = False  # whether sites and stats have a neuron axis after the draws


class Monitor(Protocol):
    """Called between blocks of work; True stops. ``fresh`` is a short line on how it goes."""

    def __call__(self, done: int, total: int, state: Any, fresh: str) -> bool: ...


def silent(done: int, total: int, state: Any, fresh: str) -> bool:
    """A monitor that shows nothing."""
    return False


class AbstractMethod(eqx.Module):
    """A way to fit: a value with its options. ``run`` returns draws; a point estimate is one chain of one draw."""

    point: eqx.AbstractClassVar[bool]

    def run(self, problem: Problem, key: Any, monitor: Monitor) -> Draws:
        """Fit a problem; deterministic by key. Called in double precision."""
        raise NotImplementedError


def whole(name: str, value: Any, least: int) -> int:
    """``value`` as an int of at least ``least``, or a ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r}: it must be a whole number of at least {least}.")
    return int(value)


def checked_precision(precision: str) -> str:
    """``precision`` itself, or a ValueError."""
    if precision not in ("double", "single"):
        raise ValueError(f'precision={precision!r}: it is "double" or "single".')
    return precision


def refuse_samples_only(linear: Linear, method: str) -> None:
    """A horseshoe's mode is at zero, and no Gaussian is like it."""
    bad = [name for prior, name in zip(linear.priors, linear.names, strict=True) if prior.samples_only]
    if bad:
        raise ValueError(
            f"method={method!r} says nothing under the prior of terms {bad} (prior.Horseshoe): its mode has every weight at zero, and no Gaussian "
            f"is like it. Use method='nuts'."
        )


def as_numpy(tree: Any) -> Any:
    """JAX arrays to NumPy: nothing of JAX leaves a method."""
    return jax.tree.map(np.asarray, tree)


def arrays(tree: Any) -> Any:
    """NumPy arrays and Python floats to JAX arrays: moved once, and a swept number does not recompile."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, (float, np.ndarray)) else leaf, tree)


def named(labels: Sequence, flags: np.ndarray) -> str:
    """The labels that are flagged, at most eight of them."""
    chosen = [str(label) for label, flag in zip(labels, np.atleast_1d(flags), strict=True) if flag]
    return ", ".join(chosen[:8]) + (f" and {len(chosen) - 8} more" if len(chosen) > 8 else "")
