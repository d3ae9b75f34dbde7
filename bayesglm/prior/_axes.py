"""What a prior that speaks of neighbours must know of a basis: its axes, and where its functions lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bayesglm.basis import AbstractBasis, Fourier, Lags, OneHot, Product, Table
from bayesglm.prior._base import Place

_GRID = 4097  # points on which a function's centre is found


def axes(place: Place, who: str) -> tuple[AbstractBasis, ...]:
    """The one-dimensional bases of the trailing axes, products taken apart; their sizes multiply to the axes' size.

    Raises
    ------
    ValueError
        Where the weights of ``place`` are not those of a basis.
    """
    if not place.bases:
        raise ValueError(
            f"prior.{who} on {place.name!r}: its weights (dims {list(place.dims)}) are not those of a basis, so that none is another's neighbour. "
            f"Use prior.Gaussian, or a term with a basis."
        )
    found = tuple(part for basis in place.bases for part in _parts(basis))
    trailing = math.prod(place.shape[len(place.shape) - len(place.bases) :])
    if math.prod(part.n_basis for part in found) != trailing:
        raise ValueError(f"prior.{who} on {place.name!r}: bases of {[part.n_basis for part in found]} functions do not make up weights of shape {place.shape}.")
    return found


def trailing(place: Place) -> tuple[int, ...]:
    """Sizes of the axes of the weights that belong to bases."""
    return place.shape[len(place.shape) - len(place.bases) :]


def _parts(basis: AbstractBasis) -> tuple[AbstractBasis, ...]:
    return (*_parts(basis.left), *_parts(basis.right)) if isinstance(basis, Product) else (basis,)


def kron(factors: list[np.ndarray]) -> np.ndarray:
    """Kronecker product, the last factor's index fastest."""
    out = np.ones((1,) * factors[0].ndim)
    for factor in factors:
        out = np.kron(out, factor)
    return out


def ordered(basis: AbstractBasis, who: str, name: str) -> None:
    """Raise where the functions of a basis have no order: the levels of a category in words."""
    if isinstance(basis, OneHot) and np.asarray(basis.labels).dtype.kind not in "iuf":
        raise ValueError(
            f"prior.{who} on {name!r}: the levels {basis.labels[:4].tolist()} have no order, so that none is another's neighbour. Use prior.Gaussian."
        )


def period_of(basis: AbstractBasis) -> float | None:
    """Length of the circle on which equally spaced functions lie; None on a line."""
    return float(getattr(basis, "period")) if basis.periodic else None  # noqa: B009


def centres(basis: AbstractBasis, who: str, name: str) -> np.ndarray:
    """Where the functions lie, (basis,), in seconds of lag or the column's unit: their centres of mass, on a circle their spacing.

    Raises
    ------
    ValueError
        Where they cannot be told: a category in words, functions that lie on one another.
    """
    ordered(basis, who, name)
    if isinstance(basis, OneHot):
        return np.asarray(basis.labels, float)
    if isinstance(basis, Lags):
        return basis.lags(float(basis.dt or 0.0), basis.first)
    if basis.periodic and not isinstance(basis, Table):
        return np.arange(basis.n_basis) * float(period_of(basis) or 0.0) / basis.n_basis
    low, high = _range(basis, who, name)
    points = np.linspace(low, high, _GRID)
    size = np.abs(basis.kernels(points))
    return (points @ size) / size.sum(0)


def _range(basis: Any, who: str, name: str) -> tuple[float, float]:
    if getattr(basis, "bounds", None) is not None:
        return basis.bounds
    if isinstance(basis, Table) and basis.points is not None:
        return float(basis.points[0]), float(basis.points[-1])
    if basis.span is None:
        raise ValueError(f"prior.{who} on {name!r}: {type(basis).__name__} has no range in which its functions lie; give span=, or use prior.Smooth.")
    return 0.0, float(basis.span)


def harmonics(basis: AbstractBasis) -> np.ndarray | None:
    """Harmonic of each function of a Fourier basis, (basis,); None for other bases."""
    return np.repeat(np.arange(1, basis.n + 1), 2) if isinstance(basis, Fourier) else None
