"""The seam between a model and everything that uses it: AbstractModel, Design, Block."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

import equinox as eqx
import jax
import numpy as np
import xarray as xr

from bayesglm.prior import AbstractPrior

if TYPE_CHECKING:
    from bayesglm.engine.linear import Linear


class Block(eqx.Module):
    """What one linear term adds to eta. ``shape`` is the shape of one neuron's weights."""

    name: str = eqx.field(static=True)
    dims: tuple[str, ...] = eqx.field(static=True)
    shared: Any  # (row, *shape): columns that all neurons use, or None
    own: Any  # (neuron, row, *shape): columns of one neuron, or None
    mask: Any  # (neuron, *shape) bool
    prior: AbstractPrior


class Design(eqx.Module):
    """The known arrays of a model on a recording.

    ``shared`` leaves are (row, ...); ``each`` leaves are (neuron, row, ...), except those under ``each["cells"]``, which
    are (neuron, ...). ``scored`` (row,) is 0 or 1; where neurons differ, ``each["scored"]`` (neuron, row) multiplies it.
    ``report`` counts the rows left out, by reason. Rows are never removed: that would join rows that are no neighbours.
    """

    shared: Any
    each: Any
    scored: Any
    report: tuple[tuple[str, int], ...] = eqx.field(default=(), static=True)

    @property
    def rows(self) -> int:
        """Number of rows, padding included."""
        return self.scored.shape[0]

    @property
    def size(self) -> int:
        """Number of receivers."""
        leaves = jax.tree.leaves(self.each)
        return leaves[0].shape[0] if leaves else 1

    def one(self, each_n: Any) -> Design:
        """The design of one neuron, given its slice of ``each``; usable under vmap."""
        return dataclasses.replace(self, each=jax.tree.map(lambda leaf: leaf[None], each_n))

    def weight(self) -> Any:
        """(row, 1) or (row, neuron): 1 where a response is scored."""
        own = self.each.get("scored") if isinstance(self.each, dict) else None
        return self.scored[:, None] if own is None else self.scored[:, None] * own.T

    def bare(self) -> Design:
        """Without the report, so that compiled programs do not depend on it."""
        return dataclasses.replace(self, report=())

    def at(self, rows: Any) -> Design:
        """The design on some rows (a slice or indices)."""
        return self._map_rows(lambda leaf, axis: leaf[(slice(None),) * axis + (rows,)])

    def neurons(self, places: Any) -> Design:
        """The design of some neurons (a slice or indices)."""
        return dataclasses.replace(self, each=jax.tree.map(lambda leaf: leaf[places], self.each))

    def padded(self) -> Design:
        """Rows padded to {1, 1.25, 1.5, 1.75} * 2^k with ``scored`` = 0, so that like sizes share compiled programs."""
        extra = padded_size(self.rows) - self.rows
        return self._map_rows(lambda leaf, axis: _extended(leaf, axis, extra)) if extra else self

    def _map_rows(self, change: Any) -> Design:
        shared = jax.tree.map(lambda leaf: change(leaf, 0), self.shared)
        each = {key: value if key == "cells" else jax.tree.map(lambda leaf: change(leaf, 1), value) for key, value in self.each.items()}
        return Design(shared, each, change(self.scored, 0), self.report)


def _extended(leaf: Any, axis: int, extra: int) -> np.ndarray:
    """Zeros behind the end of an axis; the order in memory stays, so that columns are not turned over and back."""
    leaf = np.asarray(leaf)
    size = leaf.shape[axis]
    made = np.empty_like(leaf, shape=(*leaf.shape[:axis], size + extra, *leaf.shape[axis + 1 :]))
    before = (slice(None),) * axis
    made[(*before, slice(size))], made[(*before, slice(size, None))] = leaf, 0
    return made


def padded_size(rows: int) -> int:
    """The next size of the form {1, 1.25, 1.5, 1.75} * 2^k."""
    if rows <= 8:
        return rows
    unit = 2 ** (int(rows - 1).bit_length() - 3)
    return -(-rows // unit) * unit


class AbstractModel(eqx.Module):
    """A generative model of a recording. Any NumPyro inference accepts ``model(model.design(data))`` as it is.

    A subclass states the story in ``__call__`` with every ``numpyro.sample`` in the open, under
    ``numpyro.plate("neuron", n, dim=-1)`` where there are neurons, with event dims named by
    ``infer={"event_dims": [...]}``.
    """

    def resolve(self, data: xr.Dataset) -> Self:
        """The same model with every data-dependent number fixed (bounds, knots, labels, centres, default scales); idempotent."""
        return self

    def design(self, data: xr.Dataset) -> Design:
        """The known arrays; looks at no statistic of ``data``; the response may be absent."""
        raise NotImplementedError

    def __call__(self, design: Design) -> None:
        """The generative story."""
        raise NotImplementedError

    def linear(self, design: Design) -> Linear | None:
        """The model's linear structure, where it has one; the engine is fast then."""
        return None

    def coords(self) -> dict[str, np.ndarray]:
        """Labels of the model's dims."""
        return {}

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Known arrays that a reader of the fit needs, such as kernels: name -> (dims, array)."""
        return {}

    def masks(self) -> dict[str, np.ndarray]:
        """Which weights of a site exist, (neuron, *shape) bool; the others have no data and are left out of summaries."""
        return {}

    def constant_coords(self) -> dict[str, np.ndarray]:
        """Labels of the dims of ``constants``."""
        return {}

    def observed_site(self) -> str | None:
        """Name of the observed site; None: the only one."""
        return None

    @property
    def has_neurons(self) -> bool:
        """Whether the response has the dim ``neuron``; where not, a plate of size one leaves no dim."""
        return True


def compilable(tree: Any) -> Any:
    """A model with its arrays of text (labels) as tuples: compiled functions take text for known, but no arrays of it."""
    return jax.tree.map(lambda leaf: tuple(leaf.tolist()) if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSU" else leaf, tree)
