"""recording: layout, laws and every sentence of its errors."""

import re
import warnings

import numpy as np
import pytest
import xarray as xr

from bayesglm._data import (
    RecordingNote,
    angle,
    bin_width,
    column_names,
    epoch_ids,
    event_names,
    event_rows,
    is_time,
    neurons,
    period,
    recording,
    require_column,
    row_dim,
    signal,
)

COUNTS = np.array([[0, 2], [1, 0], [0, 3], [4, 0]])


def test_layout_of_time_rows() -> None:
    frames = np.zeros((4, 3, 5))
    data = recording(
        dt=0.1,
        spikes=COUNTS,
        stimulus=frames,
        speed=[1.0, np.nan, 3.0, 4.0],
        pose=np.zeros((4, 2)),
        heading=angle([0.0, 90, 180, 359], period=360),
        state=["run", "rest", "run", "rest"],
        labels={"neuron": ["a", "b"], "pose": ["x", "y"]},
        events={"cue": [0.05, 0.35], "reward": ([0.2], [3.0])},
    )
    assert data["spikes"].dims == ("time", "neuron")
    assert data["spikes"].dtype == np.uint8
    assert data["stimulus"].dims == ("time", "stimulus_y", "stimulus_x")
    assert data["pose"].dims == ("time", "pose_feature")
    assert data["pose_feature"].values.tolist() == ["x", "y"]
    assert data["cue"].dims == ("cue_event",)
    assert data["reward_value"].values.tolist() == [3.0]
    np.testing.assert_allclose(data["time"], [0.05, 0.15, 0.25, 0.35])
    assert (row_dim(data), is_time(data), bin_width(data)) == ("time", True, 0.1)
    assert period(data, "heading") == 360
    assert period(data, "speed") is None
    assert event_names(data) == ["cue", "reward"]
    assert event_rows(data, "cue").tolist() == [0, 3]
    assert event_rows(data, "reward").tolist() == [2]
    assert neurons(data).tolist() == ["a", "b"]
    assert epoch_ids(data).tolist() == [0, 0, 0, 0]
    assert set(column_names(data)) == {"spikes", "stimulus", "speed", "pose", "heading", "state", "time"}


def test_trial_rows() -> None:
    data = recording(rows="trial", counts=np.ones((3, 4)), choice=[0, 1, 1], epoch=["s1", "s1", "s2"])
    assert data["counts"].dims == ("trial", "counts_feature")
    assert data["choice"].dims == ("trial",)
    assert bin_width(data) == 1.0
    assert not is_time(data)
    assert epoch_ids(data).tolist() == [0, 0, 1]
    assert neurons(data).size == 0


def test_one_neuron_and_smallest_type() -> None:
    assert recording(dt=1, spikes=[0, 1, 300])["spikes"].dtype == np.uint16
    assert recording(dt=1, spikes=[0.0, 1.0])["spikes"].shape == (2, 1)
    assert recording(dt=1, spikes=np.array([True, False]))["spikes"].dtype == np.uint8


def test_gaps_start_epochs_and_are_said() -> None:
    time = np.array([0.1, 0.2, 0.3, 0.9, 1.0, 2.0])
    with pytest.warns(RecordingNote, match="2 gap") as caught:
        data = recording(time=time, spikes=np.zeros(6, int))
    assert caught[0].filename == __file__
    assert epoch_ids(data).tolist() == [0, 0, 0, 1, 1, 2]
    assert data.attrs["gaps"] == 2
    assert "3 epochs" in data.attrs["notes"][0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        declared = recording(time=time, dt=0.1, spikes=np.zeros(6, int), epoch=[4, 4, 4, 1, 1, 4])
    assert epoch_ids(declared).tolist() == [0, 0, 0, 1, 1, 2]
    assert declared.attrs["notes"] == []


def test_observed_lets_nan_counts_pass() -> None:
    counts = np.array([[0.0, np.nan], [1.0, 2.0]])
    seen = np.array([[True, False], [True, True]])
    data = recording(dt=0.1, spikes=counts, observed=seen)
    assert data["spikes"].values.tolist() == [[0, 0], [1, 2]]
    assert data["observed"].values.tolist() == seen.tolist()
    assert recording(dt=0.1, spikes=COUNTS, observed=[1, 1, 0, 1])["observed"].shape == (4, 2)
    assert recording(rows="trial", choice=[0, 1], observed=[True, False])["observed"].dims == ("trial",)


def test_pairs_and_dataarrays_are_taken_as_they_are() -> None:
    drive = xr.DataArray(np.ones((2, 4)), dims=("neuron", "time"), coords={"neuron": ["a", "b"]}, attrs={"unit": "V"})
    data = recording(
        dt=0.1,
        spikes=(("neuron", "time"), COUNTS.T),
        drive=drive,
        depth=(("time", "z"), np.zeros((4, 6))),
        area=("neuron", ["m", "v"]),
    )
    assert data["drive"].dims == ("time", "neuron")
    assert data["drive"].attrs["unit"] == "V"
    np.testing.assert_array_equal(data["spikes"], COUNTS)
    assert data["depth"].dims == ("time", "z")
    assert data["area"].dims == ("neuron",)
    assert neurons(data).tolist() == ["a", "b"]
    timed = xr.DataArray(np.zeros(4), dims="time", coords={"time": [1.0, 1.1, 1.2, 1.3]})
    np.testing.assert_allclose(recording(speed=timed)["time"], timed["time"])


def test_round_trip_through_its_own_variables() -> None:
    data = recording(dt=0.1, spikes=COUNTS, heading=angle([0.0, 1, 2, 3]), pose=np.eye(4))
    again = recording(dt=0.1, **{str(name): variable for name, variable in data.data_vars.items()})
    assert data.identical(again)


def test_angles_in_degrees_are_noticed() -> None:
    with pytest.warns(RecordingNote, match="period=360"):
        recording(dt=0.1, heading=angle(np.arange(0.0, 360.0, 10)))


ERRORS = {
    "negative counts": {"spikes": [0, -1]},
    "fractional counts, the first at row 1, neuron 0": {"spikes": [0, 0.5]},
    "NaN counts.* cut those rows out .* or pass observed": {"spikes": [0, np.nan]},
    "1 NaN counts": {"spikes": [np.nan, np.nan], "observed": [True, False]},
    "infinite counts": {"spikes": [0, np.inf]},
    "spikes must be counts": {"spikes": ["a", "b"]},
    "unequal numbers of rows .'spikes' has 2, 'speed' has 3": {"spikes": [0, 1], "speed": [1.0, 2, 3]},
    "'time' has 3": {"spikes": [0, 1], "time": [0.0, 0.1, 0.2]},
    "time are out of order": {"spikes": [0, 1], "time": [0.2, 0.1]},
    "time have 1 NaN": {"spikes": [0, 1], "time": [0.2, np.nan]},
    "time must be numbers": {"spikes": [0, 1], "time": ["a", "b"]},
    "time must be one-dimensional": {"spikes": [0, 1], "time": [[0.1, 0.2]]},
    "time looks like milliseconds": {"spikes": [0, 1, 2], "time": [0.0, 100.0, 200.0]},
    "nearer than half a bin": {"spikes": [0, 1, 2, 3], "time": [0.0, 0.1, 0.2, 0.21]},
    "nearer than half a bin: 0.1 s and 0.1 s at row 0.*pass one time a bin": {"spikes": [0, 1, 2], "time": [0.1] * 3},
    "spacing of 0.2 s but dt=0.1": {"spikes": [0, 1, 2], "time": [0.0, 0.2, 0.4]},
    "infinite values": {"speed": [1.0, np.inf]},
    "'chain' is reserved": {"chain": [1.0, 2.0]},
    "'x_basis' is reserved": {"x_basis": [1.0, 2.0]},
    "dim 'lag', which is reserved": {"x": (("time", "lag"), np.zeros((2, 2)))},
    "labels names 'cells'.*: neuron": {"spikes": [0, 1], "labels": {"cells": ["a"]}},
    "labels for 'neuron' have the shape": {"spikes": [0, 1], "labels": {"neuron": ["a", "b"]}},
    "labels for 'neuron' repeat 'a'": {"spikes": COUNTS, "labels": {"neuron": ["a", "a"]}},
    "labels for 'neuron' are float64": {"spikes": [0, 1], "labels": {"neuron": [0.5]}},
    "epoch has the shape": {"spikes": [0, 1], "epoch": [0]},
    "epoch is NaN at row 1": {"spikes": [0, 1], "epoch": [0, np.nan]},
    "observed has the shape": {"spikes": [0, 1], "observed": [True]},
    "observed must be True or False": {"spikes": [0, 1], "observed": [0.5, 1]},
    "times of event 'cue' are out of order": {"spikes": [0, 1], "events": {"cue": [0.2, 0.1]}},
    "event 'cue' look like milliseconds": {"spikes": [0, 1], "events": {"cue": [100.0, 150.0]}},
    "Event 'cue' has 1 times but values": {"spikes": [0, 1], "events": {"cue": ([0.1], [1, 2])}},
    "names both a column and an event": {"cue": [0, 1], "events": {"cue": [0.1]}},
    "speed' mixes objects": {"speed": [1.0, None]},
    "has the type datetime64": {"day": np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")},
    "rows of unequal shapes": {"speed": [[1.0], [1.0, 2.0]]},
    "shape .2, 2, 2, 2.: pass one value a row": {"speed": np.zeros((2, 2, 2, 2))},
    "shape .2, 2, 2.: pass .time, neuron.": {"spikes": np.zeros((2, 2, 2))},
    "spikes has the dims": {"spikes": (("time", "cell"), np.zeros((2, 2), int))},
    "name each axis once": {"speed": (("time", "x"), np.zeros(2))},
    "pass it to bin_spikes, or": {"speed": (np.arange(3.0), np.arange(3.0))},
    "pass it to bin_spikes, which has the bins": {"speed": signal([0.0], [1.0])},
    "along 'x' but 'a' has 2": {"a": (("time", "x"), np.zeros((2, 2))), "b": (("time", "x"), np.zeros((2, 3)))},
    "'spikes' is empty": {"spikes": np.zeros((0, 2), int)},
    "one value a row": {"area": ("neuron", ["a"])},
    "carries times that are not": {"time": [0.1, 0.2], "x": xr.DataArray([1.0, 2.0], coords={"time": [5.0, 5.1]})},
    "at least one column": {},
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_errors_say_what_where_and_the_mend(sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        recording(dt=0.1, **ERRORS[sentence])


@pytest.mark.parametrize(
    ("sentence", "given"),
    [
        ("dt is the bin width", {"dt": 0, "spikes": [0]}),
        ("dt is the bin width", {"dt": "fast", "spikes": [0]}),
        ("need dt", {"spikes": [0]}),
        ("cannot be read", {"time": [0.1], "spikes": [0]}),
        ("dt=100 looks like milliseconds", {"dt": 100, "time": [0.1, 0.2, 0.3], "spikes": [0, 0, 0]}),
        ("rows='bin' is unknown", {"rows": "bin", "spikes": [0]}),
        ("Trial rows have no dt", {"rows": "trial", "dt": 0.1, "spikes": [0]}),
    ],
)
def test_errors_about_the_clock(sentence: str, given: dict) -> None:
    with pytest.raises(ValueError, match=sentence):
        recording(**given)


def test_conflicting_labels() -> None:
    one = xr.DataArray(np.zeros((2, 2)), dims=("time", "x"), coords={"x": [0, 1]})
    with pytest.raises(ValueError, match="labels 'x' otherwise"):
        recording(dt=0.1, a=one, b=one.assign_coords(x=[5, 6]))


def test_accessors_refuse() -> None:
    data = recording(dt=0.1, spikes=COUNTS, speed=np.zeros(4), events={"cue": [0.1]})
    assert require_column(data, "speed").name == "speed"
    assert require_column(data, "time").name == "time"
    with pytest.raises(ValueError, match=re.escape("Tuning wants the column 'sped', which the recording lacks")):
        require_column(data, "sped")
    with pytest.raises(ValueError, match="'cue' is an event"):
        require_column(data, "cue", what="Linear")
    with pytest.raises(ValueError, match="no recording"):
        row_dim(xr.Dataset())


@pytest.mark.parametrize("call", [lambda: angle([1.0], period=0), lambda: signal([0.0], [1.0], period=-1)])
def test_period_must_be_positive(call: object) -> None:
    with pytest.raises(ValueError, match="period must be a positive number"):
        call()


def test_signal_refuses() -> None:
    with pytest.raises(ValueError, match="how='cubic' is unknown"):
        signal([0.0], [1.0], how="cubic")
    with pytest.raises(ValueError, match="max_gap must be a positive"):
        signal([0.0], [1.0], max_gap=0)
