"""Columns: whatever the user passes, as dims, values, labels and attributes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data._checks import RESERVED, check_name, check_values
from bayesglm._data._signal import Angle, Signal


class Column(NamedTuple):
    """One variable of the recording, rows first."""

    dims: tuple[str, ...]
    values: np.ndarray
    labels: dict[str, np.ndarray]
    attrs: dict[str, Any]


def is_pair(given: Any) -> bool:
    """Whether `given` is ``(dims, array)``."""
    if not (isinstance(given, tuple) and len(given) == 2) or isinstance(given[1], str):
        return False
    dims = given[0]
    return isinstance(dims, str) or (isinstance(dims, list | tuple) and all(isinstance(d, str) for d in dims))


def as_column(name: str, given: Any, row: str) -> Column:
    """Read one column; `row` is the row dim."""
    check_name(name)
    if isinstance(given, Angle):
        column = as_column(name, given.values, row)
        return column._replace(attrs={**column.attrs, "period": given.period})
    if isinstance(given, Signal):
        raise ValueError(f"{name!r} is a signal with times of its own: pass it to bin_spikes, which has the bins.")
    if isinstance(given, xr.DataArray):
        labels = {str(d): given.coords[d].values for d in given.dims if d in given.coords}
        column = Column(tuple(map(str, given.dims)), given.values, labels, dict(given.attrs))
    elif is_pair(given):
        dims = (given[0],) if isinstance(given[0], str) else tuple(given[0])
        column = Column(dims, np.asarray(given[1]), {}, {})
    else:
        column = _bare(name, given, row)
    return _rows_first(name, _with_neuron(column, row) if name == "spikes" else column, row)


def _bare(name: str, given: Any, row: str) -> Column:
    if isinstance(given, tuple) and len(given) == 2 and all(np.ndim(part) for part in given):
        raise ValueError(f"{name!r} is a (t, values) pair: pass it to bin_spikes, or pass (dims, array) with named dims.")
    try:
        values = np.asarray(given)
    except ValueError:
        raise ValueError(f"{name!r} has rows of unequal shapes: trials of unequal length go to from_trials.") from None
    own = {1: (), 2: (f"{name}_feature",), 3: (f"{name}_y", f"{name}_x")}
    if name == "spikes" and values.ndim == 3:
        raise ValueError(f"spikes has shape {values.shape}: pass ({row}, neuron); (trial, time, neuron) goes to from_trials.")
    if values.ndim not in own:
        raise ValueError(
            f"{name!r} has shape {values.shape}: pass one value a row, ({row}, feature), ({row}, y, x), or a pair such "
            f"as (('{row}', 'depth', 'y', 'x'), array) that names the dims."
        )
    return Column((row, *(("neuron",) if name == "spikes" and values.ndim == 2 else own[values.ndim])), values, {}, {})


def _with_neuron(column: Column, row: str) -> Column:
    if column.dims == (row,):
        return column._replace(dims=(row, "neuron"), values=column.values[..., None])
    if set(column.dims) != {row, "neuron"}:
        raise ValueError(f"spikes has the dims {column.dims}; it wants ({row!r}, 'neuron'): rename or sum over the others.")
    return column


def _rows_first(name: str, column: Column, row: str) -> Column:
    dims, values = column.dims, column.values
    if values.ndim != len(dims) or len(set(dims)) != len(dims):
        raise ValueError(f"{name!r} has shape {values.shape} but the dims {dims}: name each axis once.")
    for dim in dims:
        if dim not in (row, "neuron") and (dim in RESERVED or dim.endswith("_basis")):
            raise ValueError(f"{name!r} has the dim {dim!r}, which is reserved: rename it.")
    if row in dims:
        axis = dims.index(row)
        values = np.moveaxis(values, axis, 0)
        dims = (row, *dims[:axis], *dims[axis + 1 :])
    values = values if name == "spikes" else check_values(name, values)
    return column._replace(dims=dims, values=values)


def sizes(columns: Mapping[str, Column], row: str) -> dict[str, int]:
    """Sizes of the dims besides the rows, agreed on by all columns."""
    known: dict[str, tuple[int, str]] = {}
    for name, column in columns.items():
        for dim, size in zip(column.dims, column.values.shape, strict=True):
            first, owner = known.setdefault(dim, (size, name))
            if first != size and dim != row:
                raise ValueError(f"{name!r} has {size} entries along {dim!r} but {owner!r} has {first}: give one of them another dim.")
            if size == 0:
                raise ValueError(f"{name!r} is empty: shape {column.values.shape} along {column.dims}; leave it out.")
    return {dim: size for dim, (size, _) in known.items() if dim != row}


def labelled(columns: Mapping[str, Column], size: Mapping[str, int], labels: Mapping[str, Any], row: str) -> dict:
    """Labels of every dim that has some: those of DataArrays, then those passed, then numbers for neurons."""
    found: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        for dim, values in column.labels.items():
            if dim != row and not np.array_equal(found.setdefault(dim, values), values):
                raise ValueError(f"{name!r} labels {dim!r} otherwise than another column does: align them first.")
    for key, values in labels.items():
        dim = key if key in size else f"{key}_feature"
        if dim not in size:
            known = ", ".join(d.removesuffix("_feature") for d in size) or "none"
            raise ValueError(f"labels names {key!r}, which is no dim of this recording; what can be labelled: {known}.")
        found[dim] = np.asarray(values)
    if "neuron" in size:
        found.setdefault("neuron", np.arange(size["neuron"]))
    return {dim: _check_labels(dim, values, size[dim]) for dim, values in found.items()}


def split_areas(labels: Mapping[str, Any], size: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, tuple]]:
    """The labels of dims, and the coordinate ``area (neuron)`` where labels name the neurons' areas."""
    if "area" not in labels or {"area", "area_feature"} & set(size):
        return dict(labels), {}
    values = np.asarray(labels["area"])
    values = values.astype(str) if values.dtype.kind in "OTS" else values
    if values.shape != (size.get("neuron", 0),) or values.dtype.kind not in "iuU":
        raise ValueError(f"labels for 'area' have the shape {values.shape} and type {values.dtype}: pass one name for each of {size.get('neuron', 0)} neurons.")
    return {dim: given for dim, given in labels.items() if dim != "area"}, {"area": ("neuron", values)}


def _check_labels(dim: str, values: np.ndarray, size: int) -> np.ndarray:
    values = values.astype(str) if values.dtype.kind in "OTS" else values
    if values.shape != (size,):
        raise ValueError(f"labels for {dim!r} have the shape {values.shape}; the recording wants ({size},): one an entry.")
    if dim == "neuron" and values.dtype.kind not in "iuU":
        raise ValueError(f"labels for 'neuron' are {values.dtype}: pass strings or integers.")
    unique, counts = np.unique(values, return_counts=True)
    if unique.size < size:
        raise ValueError(f"labels for {dim!r} repeat {unique[counts > 1].tolist()[0]!r}: make every label unique.")
    return values
