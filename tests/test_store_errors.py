"""Saves that fail, and files and paths that are wrong."""

import os
import stat

import numpy as np
import pytest
import xarray as xr
from by_hand import by_hand, rich

from bayesglm._json import FORMAT
from bayesglm._store import load, save


def boom(*args, **kwargs):
    raise OSError("no space left")


@pytest.mark.parametrize("stage", ["to_netcdf", "fsync", "replace"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failed_save_leaves_what_was_there(stage, existing, fit_small_map, tmp_path, monkeypatch) -> None:
    data, model = rich()
    path = tmp_path / "fit.nc"
    if existing:
        save(fit_small_map, path)
    before = path.read_bytes() if existing else None
    monkeypatch.setattr(xr.DataTree, "to_netcdf", boom) if stage == "to_netcdf" else monkeypatch.setattr(os, stage, boom)
    with pytest.raises(OSError, match="no space left"):
        save(by_hand(model.resolve(data), data), path)
    assert os.listdir(tmp_path) == (["fit.nc"] if existing else [])
    if existing:
        assert path.read_bytes() == before


def test_an_interrupt_in_the_middle_of_writing_leaves_no_part(tmp_path, monkeypatch) -> None:
    data, model = rich()
    write = xr.DataTree.to_netcdf

    def halfway(*args, **kwargs):
        write(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.DataTree, "to_netcdf", halfway)
    with pytest.raises(KeyboardInterrupt):
        save(by_hand(model.resolve(data), data), tmp_path / "fit.nc")
    assert not os.listdir(tmp_path)


def test_what_netcdf_cannot_hold_is_refused_and_leaves_no_part(tmp_path) -> None:
    data, model = rich()
    odd = data.assign(odd=("time", np.array([object()] * data.sizes["time"])))
    with pytest.raises(ValueError, match=r"cannot be written to .*fit.nc"):
        save(by_hand(model.resolve(data), odd), tmp_path / "fit.nc", data=True)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links and modes of files")
def test_links_and_modes_are_those_of_any_new_file(tmp_path) -> None:
    data, model = rich()
    (tmp_path / "link.nc").symlink_to(tmp_path / "fit.nc")
    save(by_hand(model.resolve(data), data), tmp_path / "link.nc")
    assert (tmp_path / "link.nc").is_symlink()
    assert (tmp_path / "fit.nc").is_file()
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "fit.nc").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_wrong_paths(fit_small_map, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"is a folder: add a file name"):
        save(fit_small_map, tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist: make it first"):
        save(fit_small_map, tmp_path / "no" / "fit.nc")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load(tmp_path / "none.nc")
    with pytest.raises(ValueError, match="is a folder"):
        load(tmp_path)


def test_files_that_hold_no_fit(tmp_path) -> None:
    (tmp_path / "text.nc").write_text("not a fit")
    (tmp_path / "empty.nc").touch()
    for name in ("text.nc", "empty.nc"):
        with pytest.raises(ValueError, match="cannot be read as NetCDF"):
            load(tmp_path / name)
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="without a fit of bayesglm"):
        load(tmp_path / "other.nc")


def test_a_truncated_file_is_refused(tmp_path) -> None:
    data, model = rich()
    path = tmp_path / "fit.nc"
    save(by_hand(model.resolve(data), data), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="damaged"):
        load(path)


@pytest.mark.parametrize(
    ("entry", "text", "says"),
    [
        ("format", FORMAT + 1, "upgrade bayesglm"),
        ("format", "1", "format number is '1'"),
        ("model", '{"format": 99, "kind": "GLM", "fields": {}}', "upgrade bayesglm"),
        ("model", '{"format": 1, "kind": "terms.Spell", "fields": {}}', "'terms.Spell' is not known"),
        ("model", '{"format": 1, "kind": "prior.Flat", "fields": {}}', "holds a Flat as the model"),
        ("model", "{", "damaged"),
        ("method", '{"format": 1, "dict": {}}', "holds a dict as the method"),
        ("method", '{"format": 1, "kind": "method.MAP", "fields": {"max_steps": 0}}', "at least 1"),
        ("stats", None, "lacks the stats"),
        ("stats", '{"format": 1, "tuple": []}', "holds a tuple as the stats"),
    ],
)
def test_changed_files_are_refused(entry, text, says, tmp_path) -> None:
    import h5py

    data, model = rich()
    save(by_hand(model.resolve(data), data), tmp_path / "fit.nc")
    with h5py.File(tmp_path / "fit.nc", "r+") as file:
        del file["bayesglm"].attrs[entry]
        if text is not None:
            file["bayesglm"].attrs[entry] = text
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "fit.nc")
