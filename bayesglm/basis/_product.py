"""Tensor products: functions of two columns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import equinox as eqx
import numpy as np

from bayesglm.basis._base import AbstractBasis, values_only
from bayesglm.basis._checks import Kernels


class Product(AbstractBasis):
    """Tensor product of two bases of values: b_{jk}(x, y) = l_j(x) r_k(y), written `left * right`.

    Function (j, k) has index j · right.n_basis + k. A product of products reads three columns or more, left to right.

    Parameters
    ----------
    left, right : AbstractBasis
        The bases of the first and of the second column.

    Raises
    ------
    ValueError
        Where the points or the periods are not one a column, or lags are asked for.

    Examples
    --------
    >>> from bayesglm.basis import BSpline
    >>> place = BSpline(5, bounds=(0, 1)) * BSpline(6, bounds=(0, 2))
    >>> place.kernels(np.array([[0.1, 0.5], [0.9, 1.5]])).shape
    (2, 30)
    """

    left: AbstractBasis
    right: AbstractBasis
    span: float | None = eqx.field(default=None, init=False, repr=False, static=True)

    @property
    def n_basis(self) -> int:
        return self.left.n_basis * self.right.n_basis

    @property
    def n_columns(self) -> int:
        return self.left.n_columns + self.right.n_columns

    @property
    def periodic(self) -> bool:
        return self.left.periodic and self.right.periodic

    def kernels(self, points: np.ndarray) -> Kernels:
        columns, cut = self._columns(points), self.left.n_columns
        left, right = _kernels(self.left, columns[:, :cut]), _kernels(self.right, columns[:, cut:])
        return (left[:, :, None] * right[:, None, :]).reshape(len(left), self.n_basis)

    def _freeze_lags(self, dt: float, first: int) -> Self:
        raise values_only(self)

    def resolve_values(self, values: np.ndarray, period: float | Sequence[float | None] | None = None) -> Self:
        """Freeze both bases on their own columns of the training data.

        Parameters
        ----------
        values : np.ndarray, shape (row, column)
            The training columns.
        period : sequence of float or None, optional
            One a column; None where no column is circular.
        """
        columns = self._columns(values)
        periods = _by_column(period, self.n_columns)
        cut = self.left.n_columns
        return replace(
            self,
            left=_resolve(self.left, columns[:, :cut], periods[:cut]),
            right=_resolve(self.right, columns[:, cut:], periods[cut:]),
        )

    def _columns(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points)
        if points.ndim != 2 or points.shape[1] != self.n_columns:
            raise ValueError(
                f"a product of {self.n_columns} columns wants points (row, {self.n_columns}), got shape {points.shape}: stack the columns side by side."
            )
        return points


def _kernels(basis: AbstractBasis, columns: np.ndarray) -> Kernels:
    return basis.kernels(columns if isinstance(basis, Product) else columns[:, 0])


def _resolve(basis: AbstractBasis, columns: np.ndarray, periods: tuple[float | None, ...]) -> AbstractBasis:
    if isinstance(basis, Product):
        return basis.resolve_values(columns, periods)
    return basis.resolve_values(columns[:, 0], periods[0])


def _by_column(period: float | Sequence[float | None] | None, n_columns: int) -> tuple[float | None, ...]:
    """One period a column."""
    periods = (None,) * n_columns if period is None else tuple(np.atleast_1d(np.asarray(period, dtype=object)))
    if len(periods) != n_columns:
        raise ValueError(f"a product of {n_columns} columns got {len(periods)} period(s): give one a column, or None.")
    return periods
