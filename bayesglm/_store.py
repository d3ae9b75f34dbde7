"""save() and load(): a fit in one NetCDF file, written whole or not at all."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from bayesglm._fit import Fit
from bayesglm._json import FORMAT, Unwritable, check_format, from_json, to_json
from bayesglm._model import AbstractModel
from bayesglm._netcdf import plain, read, replacing, source_path, target_path, with_attrs, write
from bayesglm._training import training_data
from bayesglm.method import AbstractMethod

_OURS = "/bayesglm"
_RECORDING = f"{_OURS}/recording"


class NotSaved(UserWarning):
    """Something of a fit that the file does not hold."""


def save(fit: Fit, path: str | os.PathLike, *, data: bool = False) -> None:
    """Write a fit to one NetCDF file: draws, diagnostics, kernels, and the resolved model as versioned JSON.

    The file is written beside ``path`` and then takes its place: after a crash or an error it is the old one or the new
    one, never a part. ArviZ reads it too (``arviz.from_netcdf``).

    Parameters
    ----------
    fit : Fit
    path : str or path
        Where to write; ``.nc`` is the usual ending. An existing file is replaced.
    data : bool
        Whether to store the training recording as well. The response is stored in any case (group ``observed_data``).

    Raises
    ------
    FileNotFoundError
        Where the folder does not exist.
    ValueError
        Where ``path`` is a folder, the method is no class of the package, or an array has no form in NetCDF.

    Warns
    -----
    NotSaved
        Where the model is code (made from a function, or a class of your own), which a file cannot hold: ``load``
        then wants it back as ``model=``.

    Examples
    --------
    >>> import os, tempfile
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=[[1], [0], [2], [0]])
    >>> fit = bg.fit(bg.GLM(bg.Baseline()), data, "map", progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bg.save(fit, os.path.join(folder, "fit.nc"))
    ...     again = bg.load(os.path.join(folder, "fit.nc"))
    >>> again.idata.identical(fit.idata)
    True
    """
    target = target_path(path)
    lost: list[str] = []
    groups = {node.path: node.to_dataset(inherit=False) for node in fit.idata.subtree}
    if data:
        groups[_RECORDING] = training_data(fit)
    attrs = to_json({where: _writable_attrs(where, group, lost) for where, group in groups.items()})
    groups = {where: plain(group) for where, group in groups.items()}
    groups[_OURS] = _header(fit, lost).assign_attrs(attrs=attrs)
    with replacing(target) as temporary:
        write(groups, temporary, target)
    if lost:
        warnings.warn(f"{target.name} does not hold {'; '.join(lost)}.", NotSaved, stacklevel=2)


def load(path: str | os.PathLike, *, model: AbstractModel | None = None) -> Fit:
    """Read a fit that ``save`` wrote.

    Parameters
    ----------
    path : str or path
    model : AbstractModel, optional
        The model as it was in the fit (``fit.model``, resolved); needed only where the file could not hold it. Where
        the file holds the recording, a model that is not resolved is resolved on it.

    Returns
    -------
    Fit
        With ``data`` None where the recording was not saved: the verbs then want ``data=``.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file holds no fit of bayesglm, was damaged or changed, has a newer format, names a kind that this
        version does not know, or ``model`` is missing or is not the one that was fitted.
    """
    source = source_path(path)
    groups = read(source)
    header = groups.pop(_OURS, xr.Dataset())
    if "format" not in header.attrs:
        raise ValueError(f"{source} is a NetCDF file without a fit of bayesglm: read it with xarray.open_datatree, or save the fit again.")
    check_format(header.attrs["format"])
    parts = {name: _part(header, name, source) for name in ("attrs", "method", "stats")}
    groups = {where: with_attrs(group, parts["attrs"].get(where, {})) for where, group in groups.items()}
    recording = groups.pop(_RECORDING, None)
    idata = xr.DataTree.from_dict(groups)
    known = _model(header, model, recording, source)
    _check_labels(known, idata)
    scored = header["scored"].values if "scored" in header else None
    return Fit(known, recording, idata, parts["method"], MappingProxyType(parts["stats"]), scored, _written(header))


def _header(fit: Fit, lost: list[str]) -> xr.Dataset:
    """The group of what is not ArviZ's: model, method, stats, scored rows."""
    from importlib.metadata import version

    try:
        model = to_json(fit.model)
    except Unwritable as error:
        model = ""
        lost.append(f"the model ({error}): load it with load(path, model=)")
    try:
        method = to_json(fit.method)
    except Unwritable as error:
        raise ValueError(f"A fit by a method of your own cannot be saved ({error}). Keep its draws with fit.idata.to_netcdf(path).") from error
    stats = to_json(_writable(fit.stats, "stats", lost))
    scored = {} if fit.scored is None else {"scored": ("scored_row", np.asarray(fit.scored))}
    attrs = {"format": FORMAT, "version": version("bayesglm"), "model_class": type(fit.model).__name__, "model": model, "method": method, "stats": stats}
    if model and fit.given is not None:
        attrs["given"] = to_json(fit.given)
    return xr.Dataset(scored, attrs=attrs)


def _writable(entries: Mapping[str, Any], what: str, lost: list[str]) -> dict[str, Any]:
    """The entries that JSON can hold; the names of the others go to ``lost``."""
    kept = {}
    for name, value in entries.items():
        try:
            to_json({name: value})
        except Unwritable as error:
            lost.append(f"{what}[{name!r}] ({error})")
        else:
            kept[name] = value
    return kept


def _writable_attrs(where: str, group: xr.Dataset, lost: list[str]) -> dict[str, dict[str, Any]]:
    """Attributes of a group ("") and of each of its variables."""
    found = {"": group.attrs} | {str(name): variable.attrs for name, variable in group.variables.items()}
    return {name: _writable(attrs, f"{where}/{name}".rstrip("/"), lost) for name, attrs in found.items()}


def _part(header: xr.Dataset, name: str, source: Path) -> Any:
    wants = AbstractMethod if name == "method" else dict
    if not isinstance(header.attrs.get(name), str):
        raise ValueError(f"{source} lacks the {name} of its fit: the file was changed, or not written by bayesglm.")
    found = from_json(header.attrs[name])
    if not isinstance(found, wants):
        raise ValueError(f"{source} holds a {type(found).__name__} as the {name} of its fit: the file was changed.")
    return found


def _model(header: xr.Dataset, given: AbstractModel | None, recording: xr.Dataset | None, source: Path) -> AbstractModel:
    """The model in the file, or the one that the user gives in its place."""
    name, text = header.attrs.get("model_class"), header.attrs.get("model")
    if given is None:
        if not text:
            raise ValueError(f"{source} holds no model, for {name} is code: load(path, model=...) wants the model as it was in the fit (fit.model).")
        found = from_json(text)
        if not isinstance(found, AbstractModel):
            raise ValueError(f"{source} holds a {type(found).__name__} as the model of its fit: the file was changed.")
        return found
    if type(given).__name__ != name:
        raise ValueError(f"load(model=) got a {type(given).__name__}; {source} holds a fit of a {name}.")
    if recording is None and getattr(given, "target", given) is None:
        raise ValueError("load(model=) got a model that is not resolved: pass model.resolve(data), with the data it was fitted to.")
    return given if recording is None else given.resolve(recording)


def _written(header: xr.Dataset) -> AbstractModel | None:
    """The model as it was written, before any data fixed its numbers; files of earlier versions have none."""
    found = from_json(header.attrs["given"]) if "given" in header.attrs else None
    return found if isinstance(found, AbstractModel) else None


def _check_labels(model: AbstractModel, idata: xr.DataTree) -> None:
    posterior = idata["posterior"].to_dataset() if "posterior" in idata.children else xr.Dataset()
    for dim, labels in model.coords().items():
        if dim in posterior.coords and not np.array_equal(posterior[dim].values, np.asarray(labels)):
            raise ValueError(
                f"The model's {dim} are {np.asarray(labels).tolist()[:6]}, the draws have {posterior[dim].values.tolist()[:6]}: it is another model."
            )
