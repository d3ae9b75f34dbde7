"""Tuning: a smooth function of one or two covariates."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from bayesglm._data import period, require_column, row_dim
from bayesglm.basis import AbstractBasis
from bayesglm.prior import AbstractPrior, Gaussian
from bayesglm.terms._base import AbstractTerm, Columns, Response, resolved, settled
from bayesglm.terms._plain import column_mean, nan_rows


def _columns(columns: str | Sequence[str]) -> tuple[str, ...]:
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    if not 1 <= len(names) <= 2:
        raise ValueError(f"Tuning takes one column or two; got {len(names)}. Add up several Tuning terms for more.")
    return names


class Tuning(AbstractTerm):
    """Tuning curve: eta += f(x), f = kernels(x) @ weights, of one column or (with ``basis * basis``) of two.

    Circular where the column is (``bg.angle``) and the basis can be. Bounds, knots and levels are frozen on the
    training data; a test set never moves them. A column (row, neuron) is each neuron's own, on bounds that all share.

    Parameters
    ----------
    columns : str or two of them
    basis : AbstractBasis
        Over values; ``basis * basis`` for two columns.
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(1).

    Raises
    ------
    ValueError
        Where a column is unknown or is no (row,) column, or a level of ``basis.OneHot`` was not in the training data.
    """

    column: tuple[str, ...] = eqx.field(static=True, converter=_columns)
    basis: AbstractBasis
    prior: AbstractPrior | None = None
    name: str = eqx.field(default="", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)
    observed_range: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (column, 2): where a curve is drawn

    def __post_init__(self) -> None:
        self.name = self.name or "_".join(_columns(self.column))  # converters run later

    def points(self, data: xr.Dataset, response: Response) -> np.ndarray:
        """The values at which the basis is evaluated: (row,), or (row, 2); behind (neuron,) where a column is each neuron's own."""
        values = [self._one(data, column, response) for column in self.column]
        return values[0] if len(values) == 1 else np.stack(np.broadcast_arrays(*values), -1)

    def _one(self, data: xr.Dataset, column: str, response: Response) -> np.ndarray:
        array = require_column(data, column, "Tuning")
        if response.receivers is not None and set(array.dims) == {row_dim(data), "neuron"}:
            array = array.transpose("neuron", row_dim(data))[response.places(data)]
        elif array.dims != (row_dim(data),):
            raise ValueError(f"Tuning({column!r}) wants a column ({row_dim(data)},); got dims {array.dims}. Use Linear({column!r}) for a column of features.")
        return array.values.astype(float) if array.dtype.kind in "fiub" else array.values

    def resolve(self, data: xr.Dataset, response: Response) -> Tuning:
        if resolved(self):
            return self
        periods = [period(data, column) for column in self.column]
        points = self.points(data, response)
        try:
            basis = self.basis.resolve_values(_flat(points, len(periods)), periods[0] if len(periods) == 1 else tuple(periods))
        except ValueError as error:
            raise ValueError(f"Tuning of {' and '.join(map(repr, self.column))}: {error}") from error
        values = _evaluated(basis, points, len(periods))
        ranges = np.array([_span(self._one(data, column, response), p) for column, p in zip(self.column, periods, strict=True)])
        return settled(
            self,
            basis=basis,
            prior=self.prior or Gaussian(dist.HalfNormal(1.0)),
            shape=values.shape[-1:],
            centre=column_mean(values, values.ndim - 2),
            observed_range=ranges,
        )

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        values = _evaluated(self.basis, self.points(data, response), len(self.column))
        gaps, own = np.isnan(values).any(-1), values.ndim == 3
        values = np.nan_to_num(values, nan=0.0) if gaps.any() else values
        return Columns(None if own else values, values if own else None, nan_rows(" or ".join(self.column), gaps))

    @property
    def bases(self) -> tuple[AbstractBasis, ...]:
        return (self.basis,)

    @property
    def dims(self) -> tuple[str, ...]:
        return (f"{self.name}_basis",)

    def coords(self) -> dict[str, np.ndarray]:
        return {f"{self.name}_basis": self.basis.labels}

    def needs(self) -> tuple[str, ...]:
        return self.column


def _flat(points: np.ndarray, columns: int) -> np.ndarray:
    """Points of all neurons one below the other: (point,) or (point, 2)."""
    return points.reshape(-1) if columns == 1 else points.reshape(-1, columns)


def _evaluated(basis: AbstractBasis, points: np.ndarray, columns: int) -> np.ndarray:
    """(..row, basis)."""
    return basis.kernels(_flat(points, columns)).reshape(*points.shape[: points.ndim - (columns > 1)], -1)


def _span(values: np.ndarray, period: float | None) -> tuple[float, float]:
    """The range over which a curve is drawn: a whole turn of a circle, else what was observed."""
    if period is not None:
        return 0.0, float(period)
    if values.dtype.kind not in "fiub":
        return 0.0, 0.0
    return float(np.nanmin(values)), float(np.nanmax(values))
