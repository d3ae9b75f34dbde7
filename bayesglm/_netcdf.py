"""Groups of arrays to one NetCDF file and back: exact types, and a file that is whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

# Attributes that change how NetCDF readers decode a variable; ours are read back from the JSON instead.
_MEANINGFUL = {"add_offset", "calendar", "coordinates", "dtype", "missing_value", "scale_factor"}


def target_path(path: str | os.PathLike) -> Path:
    """Where to write, or an error that says why nothing can be written there."""
    target = Path(os.path.realpath(Path(path).expanduser()))  # a link stays a link: the file behind it is replaced
    if target.is_dir():
        raise ValueError(f"{target} is a folder: add a file name, such as {target.name}/fit.nc.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} does not exist: make it first.")
    return target


def source_path(path: str | os.PathLike) -> Path:
    """What to read, or an error that says why there is nothing to read."""
    source = Path(path).expanduser()
    if source.is_dir():
        raise ValueError(f"{source} is a folder: name the file in it.")
    if not source.exists():
        raise FileNotFoundError(f"There is no file {source}.")
    return source


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to; it takes the target's place at the end, and is removed where anything fails."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with open(temporary, "r+b") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(groups: dict[str, xr.Dataset], temporary: Path, target: Path) -> None:
    """Write groups (path -> Dataset) to ``temporary``; errors name ``target``."""
    encoding = {where: {name: _encoding(variable) for name, variable in group.variables.items()} for where, group in groups.items()}
    try:
        xr.DataTree.from_dict(groups).to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The fit cannot be written to {target}: {error}") from error


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    """No fill value, which would be read back as missing; counts and flags compressed, draws not (they hardly shrink)."""
    packed = {"zlib": True, "complevel": 4} if variable.dtype.kind in "bui" and variable.ndim and variable.size else {}
    return packed | ({"_FillValue": None} if variable.dtype.kind in "bfui" else {})


def read(source: Path) -> dict[str, xr.Dataset]:
    """All groups in memory, and the file closed."""
    try:
        with xr.open_datatree(source, engine="h5netcdf", decode_times=False, mask_and_scale=False) as tree:
            return {node.path: node.to_dataset(inherit=False).load() for node in tree.subtree}
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{source} cannot be read as NetCDF: it is of another kind, or damaged ({error}).") from error


def plain(group: xr.Dataset) -> xr.Dataset:
    """A copy with only those attributes that every NetCDF reader takes as they are."""
    bare = group.copy().drop_encoding()
    for holder in (bare, *bare.variables.values()):
        holder.attrs = {k: v for k, v in holder.attrs.items() if type(v) in (str, int, float) and k not in _MEANINGFUL and not k.startswith("_")}
    return bare


def with_attrs(group: xr.Dataset, attrs: dict[str, dict[str, Any]]) -> xr.Dataset:
    """The group as it was saved: attributes in their own types."""
    bare = group.drop_encoding()
    bare.attrs = attrs.get("", {})
    for name, variable in bare.variables.items():
        variable.attrs = attrs.get(str(name), {})
    return bare
