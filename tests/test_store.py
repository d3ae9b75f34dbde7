"""Fits to files and back: nothing lost, nothing half written."""

import dataclasses
import json
import os
import stat

import numpy as np
import pytest
import xarray as xr
from test_json import fields, same

import bayesglm as bg
from bayesglm import basis, method, prior
from bayesglm._json import FORMAT
from bayesglm._store import NotSaved, load, save
from bayesglm._training import training_data


def assert_identical(one: xr.Dataset, two: xr.Dataset) -> None:
    """Values, dims, coordinates, order, types, and attributes with their types."""
    assert one.identical(two)
    assert list(one.variables) == list(two.variables)
    assert one.sizes == two.sizes
    for name, variable in one.variables.items():
        assert variable.dtype == two[name].dtype
        assert variable.dims == two[name].dims
        assert repr(variable.attrs) == repr(two[name].attrs)
    assert repr(one.attrs) == repr(two.attrs)


def assert_same_fit(one, two) -> None:
    assert [node.path for node in one.idata.subtree] == [node.path for node in two.idata.subtree]
    for node in one.idata.subtree:
        assert_identical(node.to_dataset(), two.idata[node.path].to_dataset())
    assert same(one.model, two.model)
    assert type(one.method) is type(two.method)
    assert fields(one.method) == fields(two.method)
    assert repr(dict(one.stats)) == repr(dict(two.stats))
    assert repr(one) == repr(two)
    assert one.point == two.point


@pytest.mark.parametrize("fixture", ["fit_small_map", "fit_small_nuts"])
def test_a_fit_comes_back_exactly(fixture, request, tmp_path) -> None:
    fit = request.getfixturevalue(fixture)
    save(fit, tmp_path / "fit.nc")
    again = load(tmp_path / "fit.nc")
    assert_same_fit(again, fit)
    assert again.data is None
    assert again.scored is None
    assert again.posterior.identical(fit.posterior)
    assert os.listdir(tmp_path) == ["fit.nc"]


def test_saving_leaves_the_fit_as_it_was_and_a_loaded_fit_saves_again(fit_small_map, tmp_path) -> None:
    before = fit_small_map.idata.copy(deep=True)
    save(fit_small_map, str(tmp_path / "one"))
    assert fit_small_map.idata.identical(before)
    again = load(str(tmp_path / "one"))
    save(again, tmp_path / "one")  # load holds no file open
    assert_same_fit(load(tmp_path / "one"), fit_small_map)


def test_the_recording_is_kept_only_when_asked_for(fit_small_map, tmp_path) -> None:
    save(fit_small_map, tmp_path / "bare.nc")
    with pytest.raises(ValueError, match="without its recording: pass data="):
        training_data(load(tmp_path / "bare.nc"))
    with pytest.raises(ValueError, match="without its recording"):
        save(load(tmp_path / "bare.nc"), tmp_path / "again.nc", data=True)
    save(fit_small_map, tmp_path / "whole.nc", data=True)
    kept = training_data(load(tmp_path / "whole.nc"))
    assert_identical(kept, fit_small_map.data)
    assert kept["spikes"].dtype == np.uint8


@pytest.fixture(scope="module")
def rich():
    """Epochs, events with values, an angle, labels, words, a mask, a movie; and a fit of it put together by hand."""
    rng = np.random.default_rng(0)
    rows = 40
    seen = rng.uniform(size=(rows, 2)) < 0.9
    data = bg.recording(
        dt=0.1,
        spikes=rng.poisson(300.0, (rows, 2)),
        heading=bg.angle(rng.uniform(0, 360, rows), period=360),
        speed=xr.DataArray(rng.normal(size=rows), dims="time", attrs={"units": "days since 2000-01-01", "_FillValue": 0.0, "scale_factor": 2.0, "ok": True}),
        movie=rng.normal(size=(rows, 3, 2)).astype(np.float32),
        context=np.array(["left", "é"])[rng.integers(0, 2, rows)],
        observed=seen,
        epoch=np.repeat([0, 1], rows // 2),
        events={"cue": ([0.5, 1.5], [1.0, 2.0]), "lick": [0.7]},
        labels={"neuron": ["s1/u1", "s1/u22"]},
    )
    data["speed"].values[3] = np.nan
    model = bg.GLM(bg.Baseline(prior.Gaussian(1.0)) + bg.Tuning("context", basis.OneHot()))
    return data, model


def test_a_rich_recording_comes_back_exactly(rich, tmp_path) -> None:
    data, model = rich
    fit = by_hand(model.resolve(data), data)
    save(fit, tmp_path / "fit.nc", data=True)
    again = load(tmp_path / "fit.nc")
    assert_identical(again.data, data)
    assert_same_fit(again, fit)
    np.testing.assert_array_equal(again.scored, fit.scored)
    assert again.scored.dtype == fit.scored.dtype


def by_hand(model, data, **changes):
    """A fit without fitting: enough for a file."""
    neurons = data["neuron"].values
    posterior = xr.Dataset(
        {"baseline": (("chain", "draw", "neuron"), np.full((1, 1, len(neurons)), 1 / 3), {"units": "log(spikes)"})},
        coords={"chain": [0], "draw": [0], "neuron": neurons},
        attrs={"posterior": "point", "names": ["a", "b"], "empty": [], "none": None, "pair": (1, 2.5), "array": np.arange(3), "flag": True},
    )
    idata = xr.DataTree.from_dict(
        {"posterior": posterior, "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), [[False]])}), "observed_data": xr.Dataset()}
    )
    stats = {"rows": 40, "rows_kept": np.array([3, 4]), "rows_left_out": {"why": 1}, "seconds": 0.1, "notes": ("a note",), "converged": True}
    scored = np.arange(data.sizes["time"]) % 2 == 0
    made = bg.Fit(model, data, idata, method.MAP(), stats, scored)
    return dataclasses.replace(made, **changes)


def test_arviz_and_xarray_read_the_file(fit_small_nuts, tmp_path) -> None:
    save(fit_small_nuts, tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as tree:
        assert set(fit_small_nuts.idata.children) < set(tree.children)
        header = tree["bayesglm"].attrs
        xr.testing.assert_equal(tree["posterior"].to_dataset(), fit_small_nuts.posterior)
    document = json.loads(header["model"])
    assert document["format"] == FORMAT == header["format"]
    assert document["kind"] == "GLM"
    assert b"pickle" not in (tmp_path / "fit.nc").read_bytes()


def test_a_loaded_model_is_the_model(fit_small_map, recording_small, tmp_path) -> None:
    save(fit_small_map, tmp_path / "fit.nc")
    model = load(tmp_path / "fit.nc").model
    assert same(model.design(recording_small), fit_small_map.model.design(recording_small))
    assert model.resolve(recording_small) is model


def test_a_model_larger_than_a_header_comes_back(rich, tmp_path) -> None:
    data, _ = rich
    table = basis.Table(np.random.default_rng(0).normal(size=(20_000, 3)), np.linspace(0.0, 400.0, 20_000))
    model = bg.GLM(bg.Baseline() + bg.Tuning("heading", table)).resolve(data)
    save(by_hand(model, data), tmp_path / "fit.nc")
    assert same(load(tmp_path / "fit.nc").model, model)


class Ours(bg.GLM):
    """A model of the user's own."""


@pytest.fixture
def of_ours(rich):
    data, model = rich
    return by_hand(Ours(model.terms).resolve(data), data)


def test_a_model_that_is_code_is_wanted_back(of_ours, tmp_path) -> None:
    with pytest.warns(NotSaved, match="does not hold the model .*Ours.*load it with load"):
        save(of_ours, tmp_path / "fit.nc")
    with pytest.raises(ValueError, match=r"holds no model, for Ours is code: load\(path, model=...\)"):
        load(tmp_path / "fit.nc")
    again = load(tmp_path / "fit.nc", model=of_ours.model)
    assert again.model is of_ours.model
    assert again.idata.identical(of_ours.idata)
    with pytest.raises(ValueError, match=r"got a GLM; .* holds a fit of a Ours"):
        load(tmp_path / "fit.nc", model=bg.GLM(bg.Baseline()))
    with pytest.raises(ValueError, match="not resolved"):
        load(tmp_path / "fit.nc", model=Ours(of_ours.model.terms))


def test_a_model_that_is_code_is_resolved_on_the_recording_of_the_file(of_ours, rich, tmp_path) -> None:
    with pytest.warns(NotSaved):
        save(of_ours, tmp_path / "fit.nc", data=True)
    assert same(load(tmp_path / "fit.nc", model=Ours(rich[1].terms)).model, of_ours.model)


def test_another_model_of_the_same_class_is_refused(rich, tmp_path) -> None:
    data, model = rich
    save(by_hand(model.resolve(data), data), tmp_path / "fit.nc")
    other = dataclasses.replace(model, neurons=("s1/u1",)).resolve(data)
    with pytest.raises(ValueError, match=r"neuron are .*s1/u1.*it is another model"):
        load(tmp_path / "fit.nc", model=other)


class Guess(method.MAP):
    """A method of the user's own."""


def test_a_method_of_the_users_own_is_refused(rich, tmp_path) -> None:
    data, model = rich
    with pytest.raises(ValueError, match=r"method of your own.*Guess.*idata.to_netcdf"):
        save(by_hand(model.resolve(data), data, method=Guess()), tmp_path / "fit.nc")
    assert not os.listdir(tmp_path)


def test_stats_and_attributes_without_a_form_are_named(rich, tmp_path) -> None:
    data, model = rich
    fit = by_hand(model.resolve(data), data, stats={"rows": 3, "trace": lambda: None})
    fit.idata["posterior"].attrs["odd"] = {1, 2}
    with pytest.warns(NotSaved, match=r"/posterior\['odd'\] .*set.*stats\['trace'\] .*<lambda>"):
        save(fit, tmp_path / "fit.nc")
    again = load(tmp_path / "fit.nc")
    assert dict(again.stats) == {"rows": 3}
    assert "odd" not in again.posterior.attrs


def boom(*args, **kwargs):
    raise OSError("no space left")


@pytest.mark.parametrize("stage", ["to_netcdf", "fsync", "replace"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failed_save_leaves_what_was_there(stage, existing, fit_small_map, rich, tmp_path, monkeypatch) -> None:
    data, model = rich
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


def test_an_interrupt_in_the_middle_of_writing_leaves_no_part(rich, tmp_path, monkeypatch) -> None:
    data, model = rich
    write = xr.DataTree.to_netcdf

    def halfway(*args, **kwargs):
        write(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.DataTree, "to_netcdf", halfway)
    with pytest.raises(KeyboardInterrupt):
        save(by_hand(model.resolve(data), data), tmp_path / "fit.nc")
    assert not os.listdir(tmp_path)


def test_what_netcdf_cannot_hold_is_refused_and_leaves_no_part(rich, tmp_path) -> None:
    data, model = rich
    odd = data.assign(odd=("time", np.array([object()] * data.sizes["time"])))
    with pytest.raises(ValueError, match=r"cannot be written to .*fit.nc"):
        save(by_hand(model.resolve(data), odd), tmp_path / "fit.nc", data=True)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links and modes of files")
def test_links_and_modes_are_those_of_any_new_file(rich, tmp_path) -> None:
    data, model = rich
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


def test_a_truncated_file_is_refused(rich, tmp_path) -> None:
    data, model = rich
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
def test_changed_files_are_refused(entry, text, says, rich, tmp_path) -> None:
    import h5py

    data, model = rich
    save(by_hand(model.resolve(data), data), tmp_path / "fit.nc")
    with h5py.File(tmp_path / "fit.nc", "r+") as file:
        del file["bayesglm"].attrs[entry]
        if text is not None:
            file["bayesglm"].attrs[entry] = text
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "fit.nc")
