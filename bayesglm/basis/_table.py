"""Any tabulated functions."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from bayesglm.basis._base import AbstractBasis, unresolved
from bayesglm.basis._checks import Kernels, evaluate, positive


class Table(AbstractBasis):
    """Tabulated functions, interpolated linearly: b_j(x_i) = kernels[i, j].

    Points outside the table are moved to its ends.

    Parameters
    ----------
    kernels : array, shape (point, basis)
        The functions' values, finite.
    points : array, shape (point,), optional
        Where they hold, ascending: lags in s or values in the column's unit. Without points row i is the i-th lag
        bin, whatever `dt` is.
    span : float, optional
        On lags: the length in s; by default the last point.
    period : float, optional
        Length of the circle that the points lie on; by default the column's.

    Raises
    ------
    ValueError
        Where the shapes do not agree, a value is not finite, or the points do not ascend.

    Examples
    --------
    >>> Table([[0.0], [1.0], [0.0]], points=[0.0, 0.1, 0.2]).kernels(np.array([0.05, 0.1])).tolist()
    [[0.5], [1.0]]
    """

    table: np.ndarray
    points: np.ndarray | None
    span: float | None
    period: float | None

    def __init__(
        self,
        kernels: ArrayLike,
        points: ArrayLike | None = None,
        *,
        span: float | None = None,
        period: float | None = None,
    ) -> None:
        self.table = _table(kernels)
        self.points = None if points is None else _points(points, len(self.table))
        if span is None and self.points is not None and self.points[-1] > 0:
            span = float(self.points[-1])
        self.span = positive("span")(span)
        self.period = positive("period")(period)

    @property
    def n_basis(self) -> int:
        return self.table.shape[1]

    def n_lags(self, dt: float) -> int:
        return len(self.table) if self.points is None else super().n_lags(dt)

    def kernels(self, points: np.ndarray) -> Kernels:
        if self.points is None:
            raise unresolved(self, "points")
        at = self.points

        def interpolate(x: np.ndarray) -> np.ndarray:
            return np.stack([np.interp(x, at, column, period=self.period) for column in self.table.T], axis=1)

        return evaluate(interpolate, points, self.n_basis)

    def _freeze_lags(self, dt: float, first: int) -> Self:
        if self.points is not None:
            return self
        return type(self)(self.table, self.lags(dt, first), span=len(self.table) * dt)

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        if self.points is None:
            raise ValueError("Table has no points, so it holds for lag bins only: give points= in the column's unit.")
        if self.period is not None or period is None:
            return self
        return type(self)(self.table, self.points, span=self.span, period=period)

    def peaks(self) -> np.ndarray:
        # A broken line has its extremes at its corners.
        return self.table[np.abs(self.table).argmax(axis=0), np.arange(self.n_basis)]


def _table(kernels: ArrayLike) -> np.ndarray:
    table = np.array(kernels, dtype=float)
    if table.ndim != 2 or 0 in table.shape or not np.isfinite(table).all():
        raise ValueError(f"kernels of shape {table.shape}: a Table wants finite numbers (point, basis).")
    return table


def _points(points: ArrayLike, n_points: int) -> np.ndarray:
    at = np.array(points, dtype=float)
    if at.shape != (n_points,) or not np.isfinite(at).all() or not (np.diff(at) > 0).all():
        raise ValueError(f"points of shape {at.shape}: a Table of {n_points} rows wants {n_points} ascending numbers.")
    return at
