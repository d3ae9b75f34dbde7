"""One weight a level of a category."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Self

import equinox as eqx
import numpy as np

from bayesglm.basis._base import AbstractBasis, unresolved, values_only
from bayesglm.basis._checks import Kernels


def _levels(value: Sequence[Hashable] | None) -> tuple[Hashable, ...] | None:
    if value is None:
        return None
    levels = tuple(np.asarray(value).tolist())
    if not levels or len(set(levels)) < len(levels):
        raise ValueError(f"levels={value!r}: give one or more levels, each of them once.")
    return levels


def _missing(values: np.ndarray) -> np.ndarray:
    # NaN is the only value that differs from itself, in object arrays too; text and integers have none.
    return np.asarray(values != values, dtype=bool)


class OneHot(AbstractBasis):
    """One weight a level: b_j(x) = 1 where x is level j, else 0; a NaN row is zero.

    Parameters
    ----------
    levels : sequence, optional
        Numbers or words, in the order of the functions; by default the sorted levels of the training data.

    Raises
    ------
    ValueError
        From `kernels`, where a level was not in the training data.

    Examples
    --------
    >>> OneHot().resolve_values(np.array(["left", "right", "left"])).kernels(np.array(["right"])).tolist()
    [[0.0, 1.0]]
    """

    levels: tuple[Hashable, ...] | None = eqx.field(default=None, static=True, converter=_levels)
    span: float | None = eqx.field(default=None, init=False, repr=False, static=True)

    @property
    def labels(self) -> np.ndarray:
        if self.levels is None:
            raise unresolved(self, "levels")
        return np.array(self.levels)

    @property
    def n_basis(self) -> int:
        return len(self.labels)

    def kernels(self, points: np.ndarray) -> Kernels:
        points = np.asarray(points)
        if points.ndim != 1:
            raise ValueError(f"OneHot wants points (row,), got shape {points.shape}: pass one column.")
        match = np.stack([np.asarray(points == level, dtype=bool) for level in self.labels], axis=1)
        unseen = ~match.any(axis=1) & ~_missing(points)
        if unseen.any():
            raise ValueError(
                f"OneHot met the level {points[unseen][0].item()!r}, which the training data do not have (they have "
                f"{', '.join(map(repr, self.labels.tolist()))}): drop these rows, or name every level in levels=."
            )
        return match.astype(float)

    def _freeze_lags(self, dt: float, first: int) -> Self:
        raise values_only(self)

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        if self.levels is not None:
            return self
        values = np.asarray(values).ravel()
        return replace(self, levels=np.unique(values[~_missing(values)]))
