"""Raised cosines: equally spaced in log lag, or equally spaced."""

from dataclasses import replace
from typing import Self

import equinox as eqx
import numpy as np

from bayesglm.basis._base import AbstractBasis, unresolved
from bayesglm.basis._checks import Bounds, Kernels, bounds_or_none, data_bounds, evaluate, positive, whole

# The default offset is the geometric mean of this and the span. In proportion to the span alone it could not serve
# both 100 ms of 10 ms bins (where small offsets leave two bumps on one bin) and seconds (where large ones blur onsets).
TIME_SCALE = 0.05
# The last bump vanishes a twentieth beyond the span, so that the last lag is not left without a function.
REACH = 1.05


def _bump(distance: np.ndarray, half_width: float) -> np.ndarray:
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / half_width, -1, 1))


class RaisedCosine(AbstractBasis):
    """Bumps equally spaced in log(lag + offset): fine at short lags, broad at long ones.

    b_j(x) = ½ + ½ cos(clip(π (u(x) − c_j) / 2Δ, −π, π)), u(x) = log(x + offset), c_j = log(offset) + jΔ. The first
    bump peaks at lag 0; Δ is such that the last one vanishes at 1.05 times the span. Every peak is 1. Points outside
    [0, span] are moved to its ends.

    Parameters
    ----------
    n : int
        Number of bumps.
    span : float, optional
        Length in s; on values (which then start at 0) the largest training value by default.
    offset : float, optional
        Where the spacing turns from linear to logarithmic, in the unit of the span. By default √(span · 0.05 s),
        whatever `dt` is.

    References
    ----------
    Pillow et al. (2008), Spatio-temporal correlations and visual signalling in a complete neuronal population,
    Nature 454.

    Examples
    --------
    >>> RaisedCosine(3, span=0.1).kernels(np.array([0.0, 0.05, 0.1])).round(2).tolist()
    [[1.0, 0.5, 0.0], [0.0, 0.24, 0.93], [0.0, 0.0, 0.01]]
    """

    n: int = eqx.field(static=True, converter=whole("n"))
    span: float | None = eqx.field(default=None, converter=positive("span"))
    offset: float | None = eqx.field(default=None, converter=positive("offset"), kw_only=True)

    @property
    def n_basis(self) -> int:
        return self.n

    def kernels(self, points: np.ndarray) -> Kernels:
        if self.span is None:
            raise unresolved(self, "span")
        span = self.span
        offset = np.sqrt(span * TIME_SCALE) if self.offset is None else self.offset
        start, stop = np.log(offset), np.log(REACH * span + offset)
        spacing = (stop - start) / (self.n + 1)
        centres = start + spacing * np.arange(self.n)

        def bumps(lags: np.ndarray) -> np.ndarray:
            stretched = np.log(np.clip(lags, 0, span) + offset)
            return _bump(stretched[:, None] - centres, 2 * spacing)

        return evaluate(bumps, points, self.n)

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        if period is not None:
            raise ValueError("RaisedCosine has a beginning, and a circle has none: use RaisedCosineLinear.")
        if self.span is not None:
            return self
        low, high = data_bounds(values)
        if low < 0:
            raise ValueError(f"RaisedCosine starts at 0 and the column reaches {low:g}: use RaisedCosineLinear.")
        return replace(self, span=high)

    def peaks(self) -> np.ndarray:
        return np.ones(self.n)


class RaisedCosineLinear(AbstractBasis):
    """Equally spaced bumps on a range or around a circle.

    b_j(x) = ½ + ½ cos(clip(π (x − c_j) / h, −π, π)). On a range the centres c_j run from one bound to the other at
    spacing Δ and h = 2Δ; points outside are moved to the bound. On a circle c_j = jΔ, Δ = period / n, h = 3Δ/2, and
    distances wrap.

    Parameters
    ----------
    n : int
        Number of bumps.
    span : float, optional
        On lags: the length in s; the range is then (0, span).
    bounds : tuple of float, optional
        On values: the range, in the column's unit; by default that of the training data. Bounds as long as the
        column's period close the circle; shorter ones cut an arc out of it.
    period : float, optional
        Length of the circle; by default the column's.

    Examples
    --------
    >>> RaisedCosineLinear(3, bounds=(0, 1)).kernels(np.array([0.0, 0.25, 1.0])).round(2).tolist()
    [[1.0, 0.5, 0.0], [0.85, 0.85, 0.15], [0.0, 0.5, 1.0]]
    """

    n: int = eqx.field(static=True, converter=whole("n"))
    span: float | None = eqx.field(default=None, converter=positive("span"))
    bounds: Bounds | None = eqx.field(default=None, converter=bounds_or_none, kw_only=True)
    period: float | None = eqx.field(default=None, converter=positive("period"), kw_only=True)

    @property
    def n_basis(self) -> int:
        return self.n

    @property
    def periodic(self) -> bool:
        return self.period is not None

    def kernels(self, points: np.ndarray) -> Kernels:
        return evaluate(self._on_range if self.period is None else self._on_circle, points, self.n)

    def _on_range(self, points: np.ndarray) -> np.ndarray:
        if self.bounds is None:
            raise unresolved(self, "bounds")
        low, high = self.bounds
        if self.n == 1:
            return _bump(np.clip(points, low, high)[:, None] - (low + high) / 2, high - low)
        spacing = (high - low) / (self.n - 1)
        centres = low + spacing * np.arange(self.n)
        return _bump(np.clip(points, low, high)[:, None] - centres, 2 * spacing)

    def _on_circle(self, points: np.ndarray) -> np.ndarray:
        assert self.period is not None
        low = 0.0 if self.bounds is None else self.bounds[0]
        spacing = self.period / self.n
        distance = points[:, None] - low - spacing * np.arange(self.n)
        wrapped = (distance + self.period / 2) % self.period - self.period / 2
        # Bumps of h = 2Δ would make the even and the odd ones sum to the same constant: a rank lost for every even n.
        return _bump(wrapped, min(1.5 * spacing, self.period / 2))

    def _freeze_lags(self, dt: float, first: int) -> Self:
        return replace(self, bounds=(0.0, self.span)) if self.span and self.bounds is None else self

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        if self.period is not None:
            return self
        if self.bounds is None:
            refuse_span(self)
            return replace(self, period=period) if period else replace(self, bounds=data_bounds(values))
        closed = period is not None and np.isclose(self.bounds[1] - self.bounds[0], period, rtol=1e-6)
        return replace(self, period=period) if closed else self


def refuse_span(basis: AbstractBasis) -> None:
    """A span is seconds of lag; on a column of values it is a slip."""
    if basis.span is not None:
        raise ValueError(
            f"{type(basis).__name__} got span={basis.span:g} s, a length of lags, and is used on values: leave span= out, or give bounds= in the column's unit."
        )
