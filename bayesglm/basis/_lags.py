"""One weight a bin, and the kernels of any basis on a filter's lags."""

from dataclasses import replace
from typing import Literal, Self

import equinox as eqx
import numpy as np

from bayesglm.basis._base import AbstractBasis, unresolved
from bayesglm.basis._checks import Kernels, Points, evaluate, positive

# Below this share of its own size a function's sum has no meaning as "the response to a constant signal".
BIPHASIC = 0.5


class Lags(AbstractBasis):
    """One weight a bin: b_j is 1 in lag bin j and 0 elsewhere.

    The raw filter. Its weights mean another thing at every `dt`, so it is exempt from the scaling of `lag_kernels`.

    Parameters
    ----------
    span : float
        Length of the filter in s.
    dt, first : float and int, optional
        The grid, filled in by `resolve_lags`.

    Examples
    --------
    >>> Lags(span=0.05).resolve_lags(dt=0.01, first=1).n_basis
    5
    """

    span: float | None = eqx.field(default=None, converter=positive("span"))
    dt: float | None = eqx.field(default=None, converter=positive("dt"), kw_only=True)
    first: int = eqx.field(default=0, static=True, kw_only=True)

    @property
    def n_basis(self) -> int:
        return self.n_lags(self._width)

    @property
    def _width(self) -> float:
        if self.dt is None:
            raise unresolved(self, "bin width dt")
        return self.dt

    def kernels(self, points: np.ndarray) -> Kernels:
        def one_hot(lags: np.ndarray) -> np.ndarray:
            bins = np.rint(lags / self._width) - self.first
            return (bins[:, None] == np.arange(self.n_basis)).astype(float)

        return evaluate(one_hot, points, self.n_basis)

    def _freeze_lags(self, dt: float, first: int) -> Self:
        if self.dt is None:
            return replace(self, dt=dt, first=first)
        if not np.isclose(self.dt, dt, rtol=1e-6, atol=0) or self.first != first:
            raise ValueError(
                f"Lags was resolved at dt={self.dt:g} s, first lag {self.first}, and meets dt={dt:g} s, first lag "
                f"{first}: a weight a bin holds for one bin width only, so bin both alike or use another basis."
            )
        return self

    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        raise ValueError("Lags is a basis of lags, not of values: for one weight a level use OneHot.")

    def peaks(self) -> np.ndarray:
        return np.ones(self.n_basis)


def lag_kernels(basis: AbstractBasis, dt: float, first: int, use: Literal["spikes", "signal"]) -> tuple[Points, Kernels]:
    """Kernels of a basis on a filter's lags, scaled so that a weight means the same at every bin width.

    k_j(lag) = b_j(lag) / max b_j for spikes, so that a weight is log-gain per spike; b_j(lag) / Σ_lag b_j(lag) for
    signals, so that a weight is the log-gain of a constant unit signal. A function whose lobes cancel (a biphasic
    `Table`) has no such gain and is divided by Σ_lag |b_j(lag)|.

    Parameters
    ----------
    basis : AbstractBasis
        Resolved here if it is not yet.
    dt : float
        Bin width in s.
    first : int
        First lag in bins: 1 for spikes, 0 for signals.
    use : {"spikes", "signal"}
        What the kernels are convolved with.

    Returns
    -------
    lags : np.ndarray, shape (lag,)
        In s.
    kernels : np.ndarray, shape (lag, basis)
        float64.

    Raises
    ------
    ValueError
        Where the basis does not resolve on these lags, or `use` is another word.

    Examples
    --------
    >>> from bayesglm.basis import RaisedCosine
    >>> lags, kernels = lag_kernels(RaisedCosine(4, span=0.1), dt=0.01, first=0, use="signal")
    >>> kernels.sum(axis=0).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    resolved = basis.resolve_lags(dt, first)
    lags = resolved.lags(dt, first)
    kernels = resolved.kernels(lags)
    match use:
        case "spikes":
            return lags, kernels / resolved.peaks()
        case "signal":
            return lags, kernels / _gains(kernels)
    raise ValueError(f"use={use!r} is unknown: 'spikes' gives kernels of peak 1, 'signal' kernels that sum to 1.")


def _gains(kernels: np.ndarray) -> np.ndarray:
    sums, sizes = kernels.sum(axis=0), np.abs(kernels).sum(axis=0)
    return np.where(np.abs(sums) < BIPHASIC * sizes, sizes, sums)
