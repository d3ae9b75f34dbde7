"""Draws to a labelled DataTree: the only builder of ArviZ containers."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data import row_dim
from bayesglm._model import AbstractModel, Design
from bayesglm.engine.target import neuron_axis, outline
from bayesglm.method._base import Draws


def tree(model: AbstractModel, design: Design, draws: Draws, data: xr.Dataset, point: bool) -> xr.DataTree:
    """Posterior, sample_stats, observed_data and constant_data with named dims and coordinates.

    A plate of one neuron leaves no dim where the response has none. Dims come from plate names, from
    ``infer={"event_dims": [...]}`` and from the model's labels; none is called ``*_dim_0``.
    """
    from arviz_base import dict_to_dataset

    trace = outline(model, design)
    sites = {name: _squeezed(value, trace.get(name), draws, model) for name, value in draws.sites.items()}
    dims = {name: _dims(name, trace.get(name), sites[name].ndim - 2, draws, model) for name in sites}
    stats = {name: value if model.has_neurons or not draws.by_neuron else value[:, :, 0] for name, value in draws.stats.items()}
    stat_dims = ["neuron"] if draws.by_neuron and model.has_neurons else []
    coords = _coords(model, sites, dims)
    groups = {
        "posterior": dict_to_dataset(sites, coords=coords, dims=dims),
        "sample_stats": dict_to_dataset(stats, coords=coords, dims={name: stat_dims for name in stats}),
        "observed_data": _observed(model, data),
        "constant_data": xr.Dataset({name: (list(where), array) for name, (where, array) in model.constants().items()}, coords=model.constant_coords()),
    }
    groups = {name: group.assign_attrs(_stamp(point)) for name, group in groups.items()}
    return xr.DataTree.from_dict(groups)


def _stamp(point: bool) -> dict[str, str]:
    from importlib.metadata import version

    return {"inference_library": "bayesglm", "inference_library_version": version("bayesglm"), "posterior": "point" if point else "draws"}


def _squeezed(value: np.ndarray, site: dict[str, Any] | None, draws: Draws, model: AbstractModel) -> np.ndarray:
    """Drop the neuron axis of size one where the response has no neurons."""
    if draws.by_neuron and not model.has_neurons:
        return value[:, :, 0]
    if model.has_neurons or site is None or neuron_axis(site) is None:
        return value
    return np.squeeze(value, neuron_axis(site))


def _dims(name: str, site: dict[str, Any] | None, count: int, draws: Draws, model: AbstractModel) -> list[str]:
    """Names of a site's dims after chain and draw."""
    if site is None:
        return _numbered(name, count)
    plates = [frame.name for frame in sorted(site["cond_indep_stack"], key=lambda frame: frame.dim)]
    if "neuron" in plates:
        plates.remove("neuron")
        if model.has_neurons:
            plates = ["neuron", *plates] if draws.by_neuron else [*plates, "neuron"]
    events = list(site.get("infer", {}).get("event_dims", []))
    missing = count - len(plates) - len(events)
    return [*plates, *_numbered(name, missing), *events]


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}_entry"] if count == 1 else [f"{name}_entry{i}" for i in range(1, count + 1)]


def _coords(model: AbstractModel, sites: dict[str, np.ndarray], dims: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """The model's labels where they fit, else 0 .. n - 1."""
    known, coords = model.coords(), {}
    for name, value in sites.items():
        for dim, size in zip(dims[name], value.shape[2:], strict=True):
            labels = known.get(dim)
            coords[dim] = labels if labels is not None and len(labels) == size else np.arange(size)
    return coords


def _observed(model: AbstractModel, data: xr.Dataset) -> xr.Dataset:
    name = model.observed_site()
    if name is None or name not in data:
        return xr.Dataset()
    column = data[name]
    receivers = model.coords().get("neuron")
    if receivers is not None and "neuron" in column.dims and len(receivers) != column.sizes["neuron"]:
        column = column.sel(neuron=receivers)
    keep = [row_dim(data), "neuron"]
    return column.drop_vars([c for c in column.coords if c not in keep]).to_dataset()
