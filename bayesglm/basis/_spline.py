"""B-splines, on a range and around a circle."""

from dataclasses import replace
from typing import Self

import equinox as eqx
import numpy as np
from scipy import interpolate

from bayesglm.basis._base import AbstractBasis, unresolved, values_only
from bayesglm.basis._checks import Bounds, Kernels, bounds_or_none, data_bounds, evaluate, positive, whole
from bayesglm.basis._cosine import refuse_span


class BSpline(AbstractBasis):
    """B-splines on clamped uniform knots: b_j(x) = B_{j,order}(x), with Σ_j b_j(x) = 1.

    Points outside the bounds are moved to the bound, so that the function stays what it is there.

    Parameters
    ----------
    n : int
        Number of functions, at least `order`.
    span : float, optional
        On lags: the length in s; the range is then (0, span).
    order : int
        Order of the pieces: 4 is cubic, 1 piecewise constant.
    bounds : tuple of float, optional
        On values: the range, in the column's unit; by default that of the training data.

    Raises
    ------
    ValueError
        Where `n` is under `order`, or a circular column comes without explicit bounds (use `CyclicBSpline`).

    References
    ----------
    de Boor (1978), A Practical Guide to Splines, Springer.

    Examples
    --------
    >>> BSpline(4, bounds=(0, 1)).kernels(np.array([0.0, 0.5])).tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.125, 0.375, 0.375, 0.125]]
    """

    n: int = eqx.field(static=True, converter=whole("n"))
    span: float | None = eqx.field(default=None, converter=positive("span"))
    order: int = eqx.field(default=4, static=True, converter=whole("order"), kw_only=True)
    bounds: Bounds | None = eqx.field(default=None, converter=bounds_or_none, kw_only=True)

    def __check_init__(self) -> None:
        if self.n < self.order:
            raise ValueError(f"{self.n} B-splines of order {self.order}: give n >= {self.order} or a lower order=.")

    @property
    def n_basis(self) -> int:
        return self.n

    @property
    def knots(self) -> np.ndarray:
        """Knots with the ends repeated, shape (n + order,)."""
        if self.bounds is None:
            raise unresolved(self, "bounds")
        low, high = self.bounds
        return np.pad(np.linspace(low, high, self.n - self.order + 2), self.order - 1, mode="edge")

    def kernels(self, points: np.ndarray) -> Kernels:
        knots = self.knots
        return evaluate(lambda x: _splines(x, knots, self.order), points, self.n)

    def _freeze_lags(self, dt: float, first: int) -> Self:
        return replace(self, bounds=(0.0, self.span)) if self.span and self.bounds is None else self

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        if self.bounds is not None:
            return self
        refuse_span(self)
        if period is not None:
            raise ValueError(f"BSpline would tear the circle of period {period:g} at its seam: use CyclicBSpline, or give bounds=.")
        return replace(self, bounds=data_bounds(values))


class CyclicBSpline(AbstractBasis):
    """B-splines around a circle: b_j(x) = Σ_m B_order((x − c_j + m · period) / Δ), Δ = period / n, Σ_j b_j(x) = 1.

    For even orders function j is centred at c_j = jΔ.

    Parameters
    ----------
    n : int
        Number of functions.
    period : float, optional
        Length of the circle in the column's unit; by default the column's.
    order : int
        Order of the pieces: 4 is cubic.

    Raises
    ------
    ValueError
        Where neither the user nor the column gives a period.

    Examples
    --------
    >>> CyclicBSpline(6, period=360).kernels(np.array([0.0, 360.0])).round(3)[:, :2].tolist()
    [[0.667, 0.167], [0.667, 0.167]]
    """

    n: int = eqx.field(static=True, converter=whole("n"))
    period: float | None = eqx.field(default=None, converter=positive("period"))
    order: int = eqx.field(default=4, static=True, converter=whole("order"), kw_only=True)
    span: float | None = eqx.field(default=None, init=False, repr=False, static=True)

    @property
    def n_basis(self) -> int:
        return self.n

    @property
    def periodic(self) -> bool:
        return True

    def kernels(self, points: np.ndarray) -> Kernels:
        if self.period is None:
            raise unresolved(self, "period")
        period, degree = self.period, self.order - 1
        knots = period / self.n * np.arange(-degree, self.n + self.order)
        # A spline that runs over the seam appears as two columns of the unrolled line; they are one function.
        owner = (np.arange(self.n + degree) + 1 - self.order // 2) % self.n
        fold = (owner[:, None] == np.arange(self.n)).astype(float)
        return evaluate(lambda x: _splines(x % period, knots, self.order) @ fold, points, self.n)

    def _freeze_lags(self, dt: float, first: int) -> Self:
        raise values_only(self)

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        if self.period is None and period is None:
            raise ValueError("CyclicBSpline needs a circle: mark the column with bg.angle, or give period=.")
        return self if self.period is not None else replace(self, period=period)


def _splines(points: np.ndarray, knots: np.ndarray, order: int) -> np.ndarray:
    inside = np.clip(points, knots[order - 1], knots[-order])
    return interpolate.BSpline.design_matrix(inside, knots, order - 1).toarray()
