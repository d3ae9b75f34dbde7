"""The grid on which a target is decoded: points, their cells, the prior over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import period, row_dim
from bayesglm._training import training_data
from bayesglm.basis import AbstractBasis, OneHot
from bayesglm.terms import Tuning

if TYPE_CHECKING:
    from bayesglm._fit import Fit
    from bayesglm.terms import AbstractTerm

_LINE, _CIRCLE, _PLANE = 100, 60, 30  # points: on a line, around a circle, along each of two targets
_UNSEEN = 0.5  # rows with which a cell counts that was never visited


class Grid(NamedTuple):
    """Points of one target, or of two in C order."""

    targets: tuple[str, ...]
    axes: tuple[np.ndarray, ...]
    periods: tuple[float | None, ...]
    categories: tuple[bool, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of each target."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape))

    def points(self, target: str) -> np.ndarray:
        """(point,) values of one target."""
        return np.meshgrid(*self.axes, indexing="ij")[self.targets.index(target)].ravel()

    def widths(self, i: int) -> np.ndarray:
        """Lengths of the cells of one target; of categories one each."""
        axis = self.axes[i]
        return np.ones(len(axis)) if self.categories[i] else np.diff(_edges(axis, self.periods[i]))

    def cells(self, values: tuple[np.ndarray, ...]) -> np.ndarray:
        """The point in whose cell each row of values lies, (row,) int; -1 where it is not known. End cells reach on without end."""
        each = [
            _level(axis, v) if level else _nearest(axis, turn, v) for axis, turn, level, v in zip(self.axes, self.periods, self.categories, values, strict=True)
        ]
        flat = np.ravel_multi_index(tuple(np.maximum(at, 0) for at in each), self.shape)
        return np.where(np.min(each, axis=0) < 0, -1, flat)

    def estimate(self, probability: np.ndarray) -> list[np.ndarray]:
        """(row, *shape) -> the estimate of each target, (row,): mean, mean direction, or the likeliest category."""
        found = []
        for i, axis in enumerate(self.axes):
            others = tuple(1 + j for j in range(len(self.axes)) if j != i)
            law = probability.sum(others) if others else probability
            found.append(axis[law.argmax(1)] if self.categories[i] else _mean(axis, self.periods[i], law))
        return found

    def values(self, data: xr.Dataset) -> tuple[np.ndarray, ...]:
        """The targets' columns of a recording, (row,) each."""
        columns = [data[target].transpose(row_dim(data), ...).values for target in self.targets]
        return tuple(column if level else column.astype(float) for column, level in zip(columns, self.categories, strict=True))


def _mean(axis: np.ndarray, turn: float | None, law: np.ndarray) -> np.ndarray:
    if turn is None:
        return law @ axis
    return np.mod(np.angle(law @ np.exp(2j * np.pi * axis / turn)) * turn / (2 * np.pi), turn)


def _edges(axis: np.ndarray, turn: float | None) -> np.ndarray:
    """Edges of the cells (point + 1,): halfway between the points."""
    if turn is not None:
        around = np.r_[axis[-1] - turn, axis, axis[0] + turn]
        return (around[1:] + around[:-1]) / 2
    middle = (axis[1:] + axis[:-1]) / 2
    return np.r_[2 * axis[0] - middle[0], middle, 2 * axis[-1] - middle[-1]]


def _level(levels: np.ndarray, values: np.ndarray) -> np.ndarray:
    order = np.argsort(levels)
    at = np.minimum(np.searchsorted(levels[order], values), len(levels) - 1)
    return np.where(levels[order][at] == values, order[at], -1)


def _nearest(axis: np.ndarray, turn: float | None, values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    safe = np.where(known, values, axis[0])
    if turn is not None:
        edges = _edges(axis, turn)
        at = (np.searchsorted(edges, edges[0] + np.mod(safe - edges[0], turn), side="right") - 1) % len(axis)
    else:
        at = np.searchsorted(_edges(axis, None)[1:-1], safe, side="right")
    return np.where(known, at, -1)


def grid_of(fit: Fit, targets: tuple[str, ...], given: Any) -> Grid:
    """The grid asked for, or the default one: 60 points around a circle, 100 along what was observed, the levels of a category."""
    data = training_data(fit)
    asked = _by_target(targets, given)
    axes, periods, categories = [], [], []
    for target in targets:
        turn, levels = period(data, target), _levels(fit, target)
        if levels is None and data[target].dtype.kind not in "fiub":
            raise ValueError(f"decode: {target!r} holds {data[target].dtype} values, which only a Tuning term with basis.OneHot() can read.")
        axes.append(_categories(target, levels, asked[target]) if levels is not None else _axis(data, target, turn, asked[target], len(targets)))
        periods.append(turn if levels is None else None)
        categories.append(levels is not None)
    return Grid(targets, tuple(axes), tuple(periods), tuple(categories))


def _by_target(targets: tuple[str, ...], given: Any) -> dict[str, Any]:
    if given is None:
        return dict.fromkeys(targets)
    if isinstance(given, Mapping):
        if set(given) != set(targets):
            raise ValueError(f"decode(grid=) names {list(given)}, and the targets are {list(targets)}: give points for each of them.")
        return dict(given)
    if len(targets) == 1:
        return {targets[0]: given}
    if isinstance(given, int):
        return dict.fromkeys(targets, given)
    if len(given) != len(targets):
        raise ValueError(f"decode(grid=) has {len(given)} axes, and there are {len(targets)} targets: give a pair, or {{target: points}}.")
    return dict(zip(targets, given, strict=True))


def _axis(data: xr.Dataset, target: str, turn: float | None, given: Any, count: int) -> np.ndarray:
    if given is None or isinstance(given, (int, np.integer)):
        n = int(given) if given is not None else _PLANE if count > 1 else _LINE if turn is None else _CIRCLE
        if n < 2:
            raise ValueError(f"decode(grid={n}) wants two points or more for {target!r}.")
        if turn is not None:
            return turn / n * np.arange(n)
        low, high = float(np.nanmin(data[target].values)), float(np.nanmax(data[target].values))
        return low + (high - low) / n * (np.arange(n) + 0.5)
    axis = np.asarray(given, float)
    fine = axis.ndim == 1 and axis.size >= 2 and np.isfinite(axis).all() and (np.diff(axis) > 0).all()
    if not fine or (turn is not None and axis[-1] - axis[0] >= turn * (1 - 1e-9)):
        whole = "" if turn is None else f", less than a period of {turn:g} long (the last point is no repeat of the first)"
        raise ValueError(f"decode(grid=) for {target!r} wants two or more finite points in rising order{whole}; got shape {axis.shape}.")
    return axis


def _levels(fit: Fit, target: str) -> np.ndarray | None:
    """The levels of a category: of the ``OneHot`` that reads the target."""
    found = [levels for term in fit.model.terms for levels in _levels_in(term, target)]
    return found[0] if found else None


def _levels_in(term: AbstractTerm | str | None, target: str) -> list[np.ndarray]:
    if isinstance(term, Tuning) and target in term.column:
        basis = basis_of(term, term.column.index(target))
        return [basis.labels] if isinstance(basis, OneHot) else []
    return [levels for side in ("left", "right", "of") for levels in _levels_in(getattr(term, side, None), target)] if term is not None else []


def basis_of(term: Tuning, column: int) -> AbstractBasis | None:
    """The basis of one of the columns of a term; None where the two columns share a basis that is no product."""
    if len(term.column) == 1:
        return term.basis
    return getattr(term.basis, ("left", "right")[column], None)


def _categories(target: str, levels: np.ndarray, given: Any) -> np.ndarray:
    if given is None:
        return levels
    chosen = np.asarray(given)
    unknown = [level for level in chosen.tolist() if level not in levels.tolist()]
    if chosen.ndim != 1 or chosen.size < 2 or unknown:
        raise ValueError(f"decode(grid=) for {target!r} wants two or more of its levels {levels.tolist()}; got {given!r}.")
    return chosen


def prior_of(fit: Fit, grid: Grid, asked: Any) -> np.ndarray:
    """(point,) probabilities before any spike."""
    if isinstance(asked, str) and asked == "uniform":
        return _normalised(_outer([grid.widths(i) for i in range(len(grid.axes))]))
    if isinstance(asked, str) and asked == "occupancy":
        data = training_data(fit)
        at = grid.cells(grid.values(data))
        return _normalised(np.bincount(at[at >= 0], minlength=grid.size) + _UNSEEN)
    law = np.asarray(asked) if not isinstance(asked, str) else np.zeros(0)
    if law.shape != grid.shape or law.dtype.kind not in "fiub" or not np.isfinite(law).all() or (law < 0).any() or not law.sum() > 0:
        got = repr(asked) if isinstance(asked, str) else f"an array of shape {law.shape}"
        raise ValueError(f"decode(prior=) is 'occupancy', 'uniform' or probabilities of the grid's points, shape {grid.shape}, none negative; got {got}.")
    return _normalised(law.astype(float).ravel())


def _outer(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.outer(*parts).ravel()


def _normalised(law: np.ndarray) -> np.ndarray:
    return law / law.sum()
