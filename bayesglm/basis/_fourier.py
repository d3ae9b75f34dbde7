"""Sines and cosines around a circle."""

from dataclasses import replace
from typing import Self

import equinox as eqx
import numpy as np

from bayesglm.basis._base import AbstractBasis, unresolved, values_only
from bayesglm.basis._checks import Kernels, evaluate, positive, whole


class Fourier(AbstractBasis):
    """Harmonics of a circle: sin(2πhx / period) and cos(2πhx / period), h = 1..n, without the constant.

    The columns are sin 1, cos 1, sin 2, cos 2, ...; the constant is the baseline's.

    Parameters
    ----------
    n : int
        Number of harmonics; the basis has 2n functions.
    period : float, optional
        Length of the circle in the column's unit; by default the column's.

    Raises
    ------
    ValueError
        Where neither the user nor the column gives a period.

    Examples
    --------
    >>> Fourier(1, period=360).kernels(np.array([0.0, 90.0])).round(6).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    n: int = eqx.field(static=True, converter=whole("n"))
    period: float | None = eqx.field(default=None, converter=positive("period"))
    span: float | None = eqx.field(default=None, init=False, repr=False, static=True)

    @property
    def n_basis(self) -> int:
        return 2 * self.n

    @property
    def periodic(self) -> bool:
        return True

    def kernels(self, points: np.ndarray) -> Kernels:
        if self.period is None:
            raise unresolved(self, "period")
        turn = 2 * np.pi / self.period

        def harmonics(values: np.ndarray) -> np.ndarray:
            phase = turn * values[:, None] * np.arange(1, self.n + 1)
            return np.stack([np.sin(phase), np.cos(phase)], axis=-1).reshape(len(values), -1)

        return evaluate(harmonics, points, self.n_basis)

    def _freeze_lags(self, dt: float, first: int) -> Self:
        raise values_only(self)

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        if self.period is None and period is None:
            raise ValueError("Fourier needs a circle: mark the column with bg.angle, or give period=.")
        return self if self.period is not None else replace(self, period=period)
