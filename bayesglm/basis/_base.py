"""The interface of a basis, and what all bases do alike on lags."""

import abc
from typing import TYPE_CHECKING, Self

import equinox as eqx
import numpy as np

from bayesglm.basis._checks import Kernels, Points, full_rank

if TYPE_CHECKING:
    from bayesglm.basis._product import Product

# Fine enough that the peak of a smooth function of the span is found to a part in 10^5.
PEAK_GRID = 4097


class AbstractBasis(eqx.Module):
    """A few known functions b_j of a lag or of a value: f(x) = Σ_j w_j b_j(x).

    A basis is resolved once, on lags or on the values of the training data; from then on nothing that it returns
    depends on data. Resolving returns a new basis and leaves the old one as it was.

    A subclass gives `span` (a field, in s; None where it has no lags), `n_basis`, `kernels` and `resolve_values`.
    """

    span: eqx.AbstractVar[float | None]

    @property
    @abc.abstractmethod
    def n_basis(self) -> int:
        """Number of functions; some bases know it only when resolved."""

    @abc.abstractmethod
    def kernels(self, points: np.ndarray) -> Kernels:
        """Evaluate the functions.

        Parameters
        ----------
        points : np.ndarray, shape (point,)
            Lags in s, or values in the column's unit; shape (point, column) for a product.

        Returns
        -------
        np.ndarray, shape (point, basis)
            float64; the row of a point that is not finite is NaN (zero in `OneHot`).

        Raises
        ------
        ValueError
            Where the basis is not resolved, or the points have another shape.
        """

    @abc.abstractmethod
    def resolve_values(self, values: np.ndarray, period: float | None = None) -> Self:
        """Freeze bounds, knots or levels on the training data; a resolved basis returns itself.

        Parameters
        ----------
        values : np.ndarray, shape (row,)
            The training column; only its finite values count.
        period : float, optional
            The column's period, in its unit, where it is circular.

        Raises
        ------
        ValueError
            Where the column has no range, or the basis cannot serve it.
        """

    def resolve_lags(self, dt: float, first: int) -> Self:
        """Freeze the basis on the lags `(first, first + 1, ...) * dt` of its span; resolving twice changes nothing.

        Parameters
        ----------
        dt : float
            Bin width in s.
        first : int
            First lag in bins: 1 for spikes (lag 0 excluded), 0 for signals.

        Raises
        ------
        ValueError
            Where the span is missing or shorter than a bin, or its lags cannot tell the functions apart.
        """
        frozen = self._freeze_lags(dt, first)
        lags = frozen.lags(dt, first)
        if not full_rank(frozen.kernels(lags)):
            raise ValueError(
                f"{type(self).__name__} has {frozen.n_basis} functions that its {len(lags)} lags of dt={dt:g} s cannot "
                "tell apart: give fewer functions or a longer span (or, for log-stretched bumps, a larger offset=)."
            )
        return frozen

    def _freeze_lags(self, dt: float, first: int) -> Self:
        return self

    def n_lags(self, dt: float) -> int:
        """Number of bins in the span, round(span / dt)."""
        name = type(self).__name__
        if not 0 < dt < np.inf:
            raise ValueError(f"{name} got dt={dt!r}: the bin width is a finite number of seconds above 0.")
        if self.span is None:
            raise ValueError(f"{name} has no length in seconds to make lags of: give span=, such as span=0.1.")
        # The slack is for spans that are differences of decimals: 0.3 - 0.2 is one bin of 0.1.
        if self.span < dt * (1 - 5e-10):
            raise ValueError(f"{name} has span={self.span:g} s, under one bin of dt={dt:g} s: give a longer span.")
        return round(self.span / dt)

    def lags(self, dt: float, first: int) -> Points:
        """Lags in s, shape (lag,)."""
        return (first + np.arange(self.n_lags(dt))) * float(dt)

    def peaks(self) -> np.ndarray:
        """Value of each function where it is largest in size over the continuous span, shape (basis,)."""
        if self.span is None:
            raise ValueError(f"{type(self).__name__} has no span to look for a peak in: give span=, such as span=0.1.")
        kernels = self.kernels(np.linspace(0, self.span, PEAK_GRID))
        return kernels[np.abs(kernels).argmax(axis=0), np.arange(self.n_basis)]

    @property
    def labels(self) -> np.ndarray:
        """Coordinate of the dim `<term>_basis`, shape (basis,)."""
        return np.arange(self.n_basis)

    @property
    def periodic(self) -> bool:
        """Whether the last function is the neighbour of the first."""
        return False

    @property
    def n_columns(self) -> int:
        """Number of data columns that the basis reads."""
        return 1

    def __mul__(self, other: "AbstractBasis") -> "Product":
        from bayesglm.basis._product import Product

        return Product(self, other)


def values_only(basis: AbstractBasis) -> ValueError:
    """The error of a basis of values that is asked for lags."""
    return ValueError(f"{type(basis).__name__} is a basis of values and has no lags: use RaisedCosine, BSpline or Lags with span=.")


def unresolved(basis: AbstractBasis, missing: str) -> ValueError:
    """The error of a basis that is evaluated too early."""
    return ValueError(f"{type(basis).__name__} has no {missing} yet: give it, or call resolve_lags or resolve_values on the training data.")
