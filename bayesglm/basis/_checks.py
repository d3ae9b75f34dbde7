"""What the fields and inputs of every basis must obey, and the sentences that say so."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "point"]
Kernels = Float[np.ndarray, "point basis"]
Bounds = tuple[float, float]

# Columns of unit norm whose smallest singular value is this far below the largest carry no weight of their own.
RANK_TOLERANCE = 1e-7


def whole(field: str) -> Callable[[int], int]:
    """Converter of a field that counts something: an integer of at least one."""

    def convert(value: int) -> int:
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ValueError(f"{field}={value!r} is not a number of functions: give a whole number of at least 1.")
        return int(value)

    return convert


def positive(field: str) -> Callable[[float | None], float | None]:
    """Converter of an optional length: finite and above zero."""

    def convert(value: float | None) -> float | None:
        if value is not None and not 0 < float(value) < np.inf:
            raise ValueError(f"{field}={value!r} is not a length: give a finite number above 0, such as {field}=0.1.")
        return None if value is None else float(value)

    return convert


def bounds_or_none(value: Bounds | None) -> Bounds | None:
    """Converter of optional bounds: two finite numbers, the smaller first."""
    if value is None:
        return None
    low, high = (float(bound) for bound in value)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"bounds=({low:g}, {high:g}) are not a range: give two finite numbers, the smaller first.")
    return low, high


def finite(values: np.ndarray) -> np.ndarray:
    """The finite values, flat; an error where there is none."""
    flat = np.asarray(values, dtype=float).ravel()
    flat = flat[np.isfinite(flat)]
    if flat.size == 0:
        raise ValueError("the column has no finite value, so a basis has nothing to take its bounds from.")
    return flat


def data_bounds(values: np.ndarray) -> Bounds:
    """Smallest and largest finite value."""
    flat = finite(values)
    low, high = float(flat.min()), float(flat.max())
    if low == high:
        raise ValueError(f"the column is {low:g} in every row, so it has no range: drop the term or give bounds=.")
    return low, high


def evaluate(function: Callable[[np.ndarray], np.ndarray], points: np.ndarray, n_basis: int) -> Kernels:
    """Apply a function (point,) -> (point, basis) to the finite points; the other rows are NaN."""
    points = np.asarray(points, dtype=float)
    if points.ndim != 1:
        raise ValueError(f"a basis of one column wants points (row,), got shape {points.shape}: pass one column.")
    kernels = np.full((len(points), n_basis), np.nan)
    usable = np.isfinite(points)
    if usable.any():
        kernels[usable] = function(points[usable])
    return kernels


def full_rank(kernels: np.ndarray) -> bool:
    """Whether the columns are linearly independent to working accuracy."""
    if len(kernels) < kernels.shape[1]:
        return False
    # `Lags` has thousands of columns at times, and an identity needs no decomposition.
    if np.array_equal(kernels, np.eye(*kernels.shape)):
        return True
    norms = np.linalg.norm(kernels, axis=0)
    if not norms.all():
        return False
    singular = np.linalg.svd(kernels / norms, compute_uv=False)
    return bool(singular[-1] > RANK_TOLERANCE * singular[0])
