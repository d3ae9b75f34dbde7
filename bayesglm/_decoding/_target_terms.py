"""Which terms of a model read a target, and what they add to the predictor at every point of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import row_dim
from bayesglm._decoding._grid import Grid, basis_of
from bayesglm._glm import GLM
from bayesglm.terms import AbstractTerm, Linear, Offset, Pooled, Tuning
from bayesglm.terms._base import settled
from bayesglm.terms._interaction import Product, _pairs

if TYPE_CHECKING:
    from bayesglm._fit import Fit


class Leaf(NamedTuple):
    """One factor of a term: columns at the grid's points (point, A), or of the rows (row, B) or (neuron, row, B)."""

    on_grid: bool
    columns: np.ndarray


class Part(NamedTuple):
    """What a term adds: sum_ab grid(s, a) W_ab rows(t, b)."""

    name: str
    sizes: tuple[int, ...]  # of the weights' axes, a leaf each
    on_grid: tuple[bool, ...]
    grid: np.ndarray  # (point, A)
    rows: np.ndarray | None  # (row, B) or (neuron, row, B); None: 1 in every row

    def weights(self, drawn: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(draw, neuron, *shape[, K]) -> (draw, neuron, A, B[, K]), zero where there is no weight."""
        classes = drawn.shape[1 + mask.ndim :]
        masked = drawn * mask.reshape(*mask.shape, *(1,) * len(classes))
        split = masked.reshape(*masked.shape[:2], *self.sizes, *classes)
        order = [i for i, on in enumerate(self.on_grid) if on] + [i for i, on in enumerate(self.on_grid) if not on]
        turned = split.transpose(0, 1, *(2 + i for i in order), *range(2 + len(order), split.ndim))
        return turned.reshape(*masked.shape[:2], self.grid.shape[1], -1, *classes)


def reading(model: GLM, targets: tuple[str, ...]) -> list[AbstractTerm]:
    """Terms that read a target."""
    return [term for term in model.terms if set(term.needs()) & set(targets)]


def lagged_in_target(term: AbstractTerm, targets: tuple[str, ...]) -> bool:
    """Whether a term reads a target over lags."""
    return term.lagged is not None and bool(set(term.lagged.needs()) & set(targets))


def checked_model(fit: Fit, targets: tuple[str, ...], given: tuple[str, ...]) -> GLM:
    """The fit's GLM.

    Raises
    ------
    ValueError
        Where no term reads a target, or others read columns of which nobody said that they are known.
    """
    if not isinstance(fit.model, GLM):
        raise ValueError(f"decode reads the terms of a GLM; this fit's model is {type(fit.model).__name__}: write it in terms.")
    model, response = fit.model, fit.model.response
    read = {name for term in model.terms for name in term.needs()}
    missing = [target for target in targets if target not in read]
    if missing:
        raise ValueError(f"decode: no term of the model reads {missing[0]!r}; it reads {sorted(read) or 'no column'}. Spikes say nothing of it here.")
    booked = set() if fit.data is None else {str(name) for name in fit.data.coords}
    others = sorted(read - set(targets) - booked - {response})
    unsaid, unknown = [name for name in others if name not in given], [name for name in given if name not in read - set(targets)]
    if unknown:
        raise ValueError(f"decode(given={given!r}): the model reads no {unknown} besides the target; it reads {others}.")
    if unsaid:
        raise ValueError(
            f"The model reads {unsaid} besides the target {', '.join(map(repr, targets))}. Where a column was computed from the target (a speed from a "
            f"position) it would give the answer away: fit the model without it, or, if it is known without the target, say given={tuple(others)!r}."
        )
    return model


def blind(data: xr.Dataset, grid: Grid) -> xr.Dataset:
    """The recording with the target's column replaced by one value: nothing of it is read."""
    row = row_dim(data)
    hidden = {}
    for target, axis, turn in zip(grid.targets, grid.axes, grid.periods, strict=True):
        if target in data and data[target].dims != (row,):
            raise ValueError(f"decode wants a target with one value a row, ({row},); {target!r} has dims {data[target].dims}.")
        hidden[target] = (row, np.full(data.sizes[row], axis[0]), {} if turn is None else {"period": turn})
    return data.assign(hidden)


def part_of(term: AbstractTerm, model: GLM, data: xr.Dataset, grid: Grid) -> Part:
    """A term that reads the target, split into what the grid and what the rows say."""
    if isinstance(term, Offset):
        raise ValueError(f"decode: {term.column!r} enters as an Offset, a known addition without a weight; decode something that the model explains.")
    leaves = _leaves(term, model, data, grid)
    grids = [leaf.columns for leaf in leaves if leaf.on_grid]
    rows = [leaf.columns for leaf in leaves if not leaf.on_grid]
    sizes, on_grid = tuple(leaf.columns.shape[-1] for leaf in leaves), tuple(leaf.on_grid for leaf in leaves)
    return Part(term.name, sizes, on_grid, _multiplied(grids), _multiplied(rows) if rows else None)


def _multiplied(columns: list[np.ndarray]) -> np.ndarray:
    """Row-wise products of all pairs, one axis of columns last."""
    own = any(part.ndim == 3 for part in columns)
    parts = [part[None] if own and part.ndim == 2 else part for part in columns]
    lead = 2 if own else 1
    found = parts[0]
    for part in parts[1:]:
        both = np.broadcast_shapes(found.shape[:lead], part.shape[:lead])
        found = _pairs(found, part, lead).reshape(*both, -1)
    return found


def _leaves(term: AbstractTerm, model: GLM, data: xr.Dataset, grid: Grid) -> list[Leaf]:
    """The factors of a term, in the order of its weights' axes."""
    if not set(term.needs()) & set(grid.targets):
        return [_of_rows(term, model, data)]
    if isinstance(term, Product):
        return [leaf for part in term.ordered for leaf in _leaves(part, model, data, grid)]
    if isinstance(term, Pooled) and isinstance(term.of, AbstractTerm):
        return [_of_rows(settled(term, of=None), model, data), *_leaves(term.of, model, data, grid)]
    if isinstance(term, Tuning):
        return _of_tuning(term, model, data, grid)
    if isinstance(term, Linear) and term.shape == ():
        return [Leaf(True, grid.points(term.column)[:, None])]
    raise ValueError(
        f"decode: the term {term.name!r} ({type(term).__name__}) cannot be read at single values of the target; Tuning and Linear of one column can."
    )


def _of_rows(term: AbstractTerm, model: GLM, data: xr.Dataset) -> Leaf:
    found = term.columns(data, model.target)
    values: Any = found.shared if found.own is None else found.own
    lead = 1 if found.own is None else 2
    return Leaf(False, np.asarray(values, float).reshape(*values.shape[:lead], -1))


def _of_tuning(term: Tuning, model: GLM, data: xr.Dataset, grid: Grid) -> list[Leaf]:
    if set(term.column) <= set(grid.targets):
        points = [grid.points(column) for column in term.column]
        return [Leaf(True, _known(term, term.basis.kernels(points[0] if len(points) == 1 else np.stack(points, -1))))]
    bases = [basis_of(term, i) for i in range(2)]
    if any(basis is None for basis in bases):
        raise ValueError(f"decode: {term.name!r} reads the target and another column with a basis that is no product of two: give basis * basis.")
    leaves = []
    for column, basis in zip(term.column, bases, strict=True):
        if column in grid.targets:
            leaves.append(Leaf(True, _known(term, basis.kernels(grid.points(column)))))
        else:
            values = term._one(data, column, model.target)
            kernels = basis.kernels(values.reshape(-1)).reshape(*values.shape, -1)
            leaves.append(Leaf(False, np.nan_to_num(kernels, nan=0.0)))
    return leaves


def _known(term: AbstractTerm, kernels: np.ndarray) -> np.ndarray:
    if np.isnan(kernels).any():
        raise ValueError(f"decode(grid=) has points at which the basis of {term.name!r} is not defined: keep to the range of the training data.")
    return kernels
