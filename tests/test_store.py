"""Fits to files and back: nothing lost, nothing half written."""

import dataclasses
import json
import os

import numpy as np
import pytest
import xarray as xr
from by_hand import by_hand, rich
from test_json import fields, same

import bayesglm as bg
from bayesglm import basis, method
from bayesglm._json import FORMAT
from bayesglm._store import NotSaved, load, save
from bayesglm._training import on_time_rows, training_data


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


def test_the_model_as_it_was_written_comes_back(fit_small_map, tmp_path) -> None:
    """What K-fold learns anew in every fold: nothing that the data fixed may be in it."""
    save(fit_small_map, tmp_path / "fit.nc", data=True)
    again = load(tmp_path / "fit.nc")
    assert same(again.given, fit_small_map.given)
    assert again.given.target is None and again.model.target is not None
    held_out = bg.compare({"before": fit_small_map, "after": again}, ic="kfold", k=2, progress=False)
    assert abs(held_out["after"].elpd.elpd - held_out["before"].elpd.elpd) < 1e-9


def test_a_rich_recording_comes_back_exactly(tmp_path) -> None:
    data, model = rich()
    fit = by_hand(model.resolve(data), data)
    save(fit, tmp_path / "fit.nc", data=True)
    again = load(tmp_path / "fit.nc")
    assert_identical(again.data, data)
    assert_same_fit(again, fit)
    np.testing.assert_array_equal(again.scored, fit.scored)
    assert again.scored.dtype == fit.scored.dtype


def test_the_kind_of_rows_is_known_without_the_recording(fit_small_map) -> None:
    bare = dataclasses.replace(fit_small_map, data=None)
    assert on_time_rows(fit_small_map)
    assert on_time_rows(bare)
    by_trial = xr.DataTree.from_dict({"observed_data": xr.Dataset({"choice": ("trial", [0, 1])})})
    assert not on_time_rows(dataclasses.replace(bare, idata=by_trial))


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


def test_a_model_larger_than_a_header_comes_back(tmp_path) -> None:
    data, _ = rich()
    table = basis.Table(np.random.default_rng(0).normal(size=(20_000, 3)), np.linspace(0.0, 400.0, 20_000))
    model = bg.GLM(bg.Baseline() + bg.Tuning("heading", table)).resolve(data)
    save(by_hand(model, data), tmp_path / "fit.nc")
    assert same(load(tmp_path / "fit.nc").model, model)


class Ours(bg.GLM):
    """A model of the user's own."""


@pytest.fixture
def of_ours():
    data, model = rich()
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


def test_a_model_that_is_code_is_resolved_on_the_recording_of_the_file(of_ours, tmp_path) -> None:
    with pytest.warns(NotSaved):
        save(of_ours, tmp_path / "fit.nc", data=True)
    assert same(load(tmp_path / "fit.nc", model=Ours(rich()[1].terms)).model, of_ours.model)


def test_another_model_of_the_same_class_is_refused(tmp_path) -> None:
    data, model = rich()
    save(by_hand(model.resolve(data), data), tmp_path / "fit.nc")
    other = dataclasses.replace(model, neurons=("s1/u1",)).resolve(data)
    with pytest.raises(ValueError, match=r"neuron are .*s1/u1.*it is another model"):
        load(tmp_path / "fit.nc", model=other)


class Guess(method.MAP):
    """A method of the user's own."""


def test_a_method_of_the_users_own_is_refused(tmp_path) -> None:
    data, model = rich()
    with pytest.raises(ValueError, match=r"method of your own.*Guess.*idata.to_netcdf"):
        save(by_hand(model.resolve(data), data, method=Guess()), tmp_path / "fit.nc")
    assert not os.listdir(tmp_path)


def test_stats_and_attributes_without_a_form_are_named(tmp_path) -> None:
    data, model = rich()
    fit = by_hand(model.resolve(data), data, stats={"rows": 3, "trace": lambda: None})
    fit.idata["posterior"].attrs["odd"] = {1, 2}
    with pytest.warns(NotSaved, match=r"/posterior\['odd'\] .*set.*stats\['trace'\] .*<lambda>"):
        save(fit, tmp_path / "fit.nc")
    again = load(tmp_path / "fit.nc")
    assert dict(again.stats) == {"rows": 3}
    assert "odd" not in again.posterior.attrs
