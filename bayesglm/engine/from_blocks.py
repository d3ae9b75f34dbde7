"""The linear structure of a GLM's blocks: columns side by side, rotated into elementwise priors, centred, features-major."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from bayesglm._double import double
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.linear import Linear, centres
from bayesglm.engine.predictor import DensePredictor
from bayesglm.family import AbstractFamily

if TYPE_CHECKING:
    from bayesglm._model import Block, Design


def linear_of_blocks(blocks: Sequence[Block], design: Design, family: AbstractFamily, response: str, dt: float, centred: bool) -> Linear | None:
    """The linear structure of blocks on a design; None where it has no response."""
    if "response" not in design.each:
        return None
    ordered = [_elementwise(b) for b in blocks if b.own is None] + [_elementwise(b) for b in blocks if b.own is not None]
    names, priors = tuple(b.name for b in ordered), tuple(b.prior for b in ordered)
    cells, size, several = design.each["cells"], design.size, family.n_predictors
    rotations = {name: r for name, prior in zip(names, priors, strict=True) if (r := prior.rotation()) is not None}
    centre_of = {b.name: _rotated(np.asarray(cells["centre"][b.name], float), 1, rotations.get(b.name)) for b in ordered}
    shift = centres(names, priors, centred)
    centre = np.concatenate([centre_of[name].reshape(size, -1) for name in names], 1) * shift
    parts = [b.shared.reshape(design.rows, -1) for b in ordered if b.own is None]
    with double():  # transposing is a quarter of a fit's time in NumPy; columns of convolutions lie in memory as they are wanted
        turned = tuple(isinstance(part, np.ndarray) and part.T.flags.c_contiguous for part in parts)
        given = [part.T if done else part for part, done in zip(parts, turned, strict=True)]
        shared = _stacked(given, turned, centre[0, : sum(part.shape[1] for part in parts)]) if parts else np.zeros((0, design.rows))
    mask = np.concatenate([np.asarray(cells["mask"][name]).reshape(size, -1) for name in names], 1).astype(float)
    each = {
        "response": design.each["response"],
        "mask": np.repeat(mask, several, 1),
        "centre": centre,
        "level": np.asarray(cells["level"], float),
        "spread": np.asarray(cells["spread"], float),
    }
    each |= {key: design.each[key] for key in ("offset", "scored", "known") if key in design.each}
    each |= {"about": cells["about"]} if cells.get("about") else {}
    own, places = _own_columns(ordered, size, centre_of)
    if own is not None:
        where = np.arange(centre.shape[1]) if places is None else places[0]
        each["own"] = own - centre[:, where >= len(shared), None]
    if places is not None:
        each["places"] = places
    shapes = tuple(tuple(b.mask.shape[1:]) + ((several,) if several > 1 else ()) for b in ordered)
    contrast = None if family.predictors is None else np.asarray(family.predictors.contrast)
    mixings = {name: r for name, prior in zip(names, priors, strict=True) if contrast is not None and (r := prior.class_rotation(contrast)) is not None}
    scored = np.asarray(design.scored, float)
    return Linear(DensePredictor(shared), each, scored, family, priors, names, shapes, response, dt, centred, contrast, rotations, mixings)


def _elementwise(block: Block) -> Block:
    """A block whose columns have the prior's rotation in them: X w = (X R) u."""
    rotation = block.prior.rotation()
    if rotation is None:
        return block
    turn = lambda columns, lead: None if columns is None else _rotated(np.asarray(columns, float), lead, rotation)  # noqa: E731
    return dataclasses.replace(block, shared=turn(block.shared, 1), own=turn(block.own, 2))


def _rotated(columns: np.ndarray, lead: int, rotation: np.ndarray | None) -> np.ndarray:
    """(lead axes, *shape) times R on the trailing axes."""
    if rotation is None:
        return columns
    flat = columns.reshape(*columns.shape[:lead], -1, len(rotation))
    return (flat @ rotation).reshape(columns.shape)


def _own_columns(ordered: Sequence[Block], size: int, centres: dict[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Columns of each neuron alone (neuron, column, row), and where every weight's column is, where some are shared."""
    starts = np.cumsum([0, *(int(np.prod(b.shared.shape[1:])) for b in ordered if b.own is None)])
    shared = [(b, start) for b, start in zip([b for b in ordered if b.own is None], starts[:-1], strict=True)]
    places, kept, end = [np.tile(np.arange(starts[-1]), (size, 1))], [], int(starts[-1])
    for block in (b for b in ordered if b.own is not None):
        found = next((at for at in (_among(block, b, start, centres) for b, start in shared) if at is not None), None)
        if found is None:
            kept.append(np.moveaxis(block.own.reshape(*block.own.shape[:2], -1), 1, 2))
            width = kept[-1].shape[1]
            found, end = np.tile(np.arange(end, end + width), (size, 1)), end + width
        places.append(found)
    alias = np.concatenate(places, 1)
    plain = np.array_equal(alias, np.tile(np.arange(alias.shape[1]), (size, 1)))
    return (np.concatenate(kept, 1) if kept else None), (None if plain else alias.astype(np.int32))


def _among(block: Block, other: Block, start: int, centres: dict[str, Any]) -> np.ndarray | None:
    """(neuron, column) places of own columns (neuron, row, B) among shared ones (row, S, B); None where one is missing."""
    own, shared = block.own, other.shared
    if own.ndim != 3 or shared.ndim != 3 or own.shape[2] != shared.shape[2]:
        return None
    head = min(4096, own.shape[1])
    places = []
    for n, columns in enumerate(own):
        near = np.flatnonzero(_same(shared[:head], columns[:head, None]).all((0, 2)))
        match = next((s for s in near if _same(shared[:, s], columns).all()), None)
        if match is None or not np.allclose(centres[block.name][n], centres[other.name][n, match], rtol=1e-13, atol=0.0):
            return None
        places.append(start + match * own.shape[2] + np.arange(own.shape[2]))
    return np.stack(places)


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a - b) <= 1e-12 * (1.0 + np.abs(a))


@compiled_quickly
def _stacked(parts: list[Any], turned: tuple[bool, ...], centre: Any) -> Any:
    """(row, column) arrays, or (column, row) where ``turned``, side by side, centred, features-major: (column, row) in double precision."""
    return jnp.concatenate([(part if done else part.T).astype(float) for part, done in zip(parts, turned, strict=True)]) - centre[:, None]
