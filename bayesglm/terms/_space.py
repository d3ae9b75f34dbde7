"""Functions of space: the frames of a movie as a few numbers each."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayesglm.basis import AbstractBasis

# Below this share of its own size a function's sum has no meaning as "the response to a uniform frame".
_BIPHASIC = 0.5


def resolved_space(space: AbstractBasis, data: xr.Dataset, dims: tuple[str, ...], column: str) -> tuple[AbstractBasis, dict[str, Any]]:
    """The basis frozen on the pixels' coordinates, and those coordinates (indices where there are none), by dim."""
    if space.n_columns != len(dims):
        wants = {1: "basis.BSpline(8), say", 2: "basis.BSpline(8) * basis.BSpline(8), say"}.get(len(dims), "one basis a dim, multiplied")
        raise ValueError(f"Stimulus({column!r}, space=) got a basis of {space.n_columns} coordinate(s) and frames with the dims {dims}: give {wants}.")
    pixels = {dim: _coordinates(data, dim) for dim in dims}
    try:
        return space.resolve_values(_points(pixels)), pixels
    except ValueError as error:
        raise ValueError(f"Stimulus({column!r}, space=): {error}") from error


def _coordinates(data: xr.Dataset, dim: str) -> np.ndarray:
    numeric = dim in data.coords and data[dim].dtype.kind in "iuf"
    return np.asarray(data[dim].values, float) if numeric else np.arange(data.sizes[dim], dtype=float)


def _points(pixels: dict[str, Any]) -> np.ndarray:
    """Coordinates of every pixel: (pixel,) for one dim, else (pixel, dim)."""
    grid = np.meshgrid(*pixels.values(), indexing="ij")
    return np.asarray(grid[0]) if len(grid) == 1 else np.stack([axis.ravel() for axis in grid], -1)


def space_kernels(space: AbstractBasis, pixels: dict[str, Any], column: str) -> np.ndarray:
    """The functions at the pixels, (*dims, space), each divided by its sum (by its absolute sum where lobes cancel)."""
    found = space.kernels(_points(pixels))
    sums, sizes = found.sum(0), np.abs(found).sum(0)
    if not sizes.all():
        raise ValueError(f"Stimulus({column!r}, space=): {int((sizes == 0).sum())} function(s) of space lie between the pixels: give fewer functions.")
    scaled = found / np.where(np.abs(sums) < _BIPHASIC * sizes, sizes, sums)
    return scaled.reshape(*(len(at) for at in pixels.values()), -1)


def projected(values: np.ndarray, kernels: np.ndarray, own: bool, column: str) -> np.ndarray:
    """Frames (..row, *dims) times functions (*dims, space) -> (..row, space); NaN counts as zero."""
    lead = values.shape[: 2 if own else 1]
    if values.shape[len(lead) :] != kernels.shape[:-1]:
        raise ValueError(f"Column {column!r} has frames of {values.shape[len(lead) :]} pixels; the model was made for {kernels.shape[:-1]}.")
    return np.nan_to_num(values, nan=0.0).reshape(*lead, -1) @ kernels.reshape(-1, kernels.shape[-1])
