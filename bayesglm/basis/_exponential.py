"""Exponential decays."""

from collections.abc import Sequence
from typing import Self

import equinox as eqx
import numpy as np

from bayesglm.basis._base import AbstractBasis
from bayesglm.basis._checks import Kernels, evaluate, positive


def _timescales(value: float | Sequence[float]) -> tuple[float, ...]:
    scales = tuple(float(scale) for scale in np.atleast_1d(value))
    if not scales or min(scales) <= 0 or not np.isfinite(scales).all() or len(set(scales)) < len(scales):
        raise ValueError(f"timescales={value!r}: give one or more finite numbers above 0, each of them once.")
    return scales


class Exponential(AbstractBasis):
    """Exponential decays b_j(x) = exp(−x / τ_j); points below 0 are moved to 0.

    Parameters
    ----------
    timescales : float or sequence of float
        τ_j in s (on values: in the column's unit).
    span : float, optional
        On lags: where the decays are cut off, in s.

    Examples
    --------
    >>> Exponential([0.01, 0.1], span=0.5).kernels(np.array([0.0, 0.01])).round(3).tolist()
    [[1.0, 1.0], [0.368, 0.905]]
    """

    timescales: tuple[float, ...] = eqx.field(converter=_timescales)
    span: float | None = eqx.field(default=None, converter=positive("span"))

    @property
    def n_basis(self) -> int:
        return len(self.timescales)

    def kernels(self, points: np.ndarray) -> Kernels:
        rates = 1 / np.array(self.timescales)
        return evaluate(lambda x: np.exp(-np.maximum(x, 0)[:, None] * rates), points, self.n_basis)

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        if period is not None:
            raise ValueError("Exponential does not close on a circle: use Fourier or CyclicBSpline.")
        return self
