"""from_trials, concat, split and folds."""

import numpy as np
import pytest
import xarray as xr

from bayesglm._data import (
    RecordingNote,
    angle,
    bin_spikes,
    concat,
    epoch_ids,
    event_rows,
    folds,
    from_trials,
    period,
    recording,
    split,
)

TRIALS = [np.arange(6).reshape(3, 2), np.arange(10).reshape(5, 2), np.arange(8).reshape(4, 2)]


def counting(n: int = 100, **more: object) -> xr.Dataset:
    """A recording whose column `row` says which row it was."""
    return recording(dt=0.1, spikes=np.zeros((n, 2), int), row_number=np.arange(n), **more)


def test_trials_of_unequal_length_are_epochs() -> None:
    lick = [np.zeros(3), np.ones(5), np.zeros(4)]
    data = from_trials({"spikes": TRIALS, "lick": lick}, dt=0.1, align=[0.0, 0.1, 0.2], contrast=[1, 2, 3], goal=angle([0.1, 0.2, 0.3]))
    assert epoch_ids(data).tolist() == [0] * 3 + [1] * 5 + [2] * 4
    np.testing.assert_array_equal(data["trial"], epoch_ids(data))
    np.testing.assert_array_equal(data["spikes"], np.concatenate(TRIALS))
    np.testing.assert_array_equal(data["contrast"], np.repeat([1, 2, 3], [3, 5, 4]))
    assert period(data, "goal") == pytest.approx(2 * np.pi)
    np.testing.assert_allclose(data["trial_time"][3:8], [-0.05, 0.05, 0.15, 0.25, 0.35])
    steps = np.diff(data["time"])
    assert (steps[np.diff(epoch_ids(data)) > 0] > 0.15).all()
    assert data.attrs["notes"] == []


def test_equal_trials_and_per_trial_pairs() -> None:
    data = from_trials({"spikes": np.ones((4, 5), int)}, dt=0.02, pose=np.eye(4), area=("neuron", ["m"]))
    assert data["spikes"].shape == (20, 1)
    assert data["pose"].dims == ("time", "pose_feature")
    assert data["area"].dims == ("neuron",)


def test_trial_events_are_placed_and_strays_counted() -> None:
    with pytest.warns(RecordingNote, match="1 event.s. 'cue' lie outside"):
        data = from_trials(
            {"spikes": TRIALS},
            dt=0.1,
            align=0.1,
            events={"cue": [0.0, np.nan, 9.0], "go": ([[0.1], [], [0.2, 0.0]], [[1], [], [2, 3]])},
        )
    assert event_rows(data, "cue").tolist() == [1]
    assert event_rows(data, "go").tolist() == [2, 9, 11]
    assert data["go_value"].values.tolist() == [1, 3, 2]


@pytest.mark.parametrize(
    ("sentence", "arrays", "more"),
    [
        ("arrays is empty", {}, {}),
        ("both by bin and by trial", {"spikes": TRIALS}, {"spikes": [1, 2, 3]}),
        ("has no bin in trial 1", {"spikes": [np.zeros(3), np.zeros(0)]}, {}),
        ("one number in trial 0", {"spikes": [1, 2]}, {}),
        ("shape .3, 3. in trial 1", {"spikes": [np.zeros((3, 2)), np.zeros((3, 3))]}, {}),
        ("'x' has 2 trials but 'spikes' has 3", {"spikes": TRIALS, "x": TRIALS[:2]}, {}),
        ("'x' has 5 bins in trial 0", {"spikes": TRIALS, "x": TRIALS[1:] + TRIALS[:1]}, {}),
        ("has no trial", {"spikes": []}, {}),
        ("align must be", {"spikes": TRIALS}, {"align": [1, 2]}),
        ("one value for each of 3 trials", {"spikes": TRIALS}, {"contrast": [1, 2]}),
        ("'cue' wants one entry for each of 3", {"spikes": TRIALS}, {"events": {"cue": [0.1]}}),
        ("'cue' has 3 times but 4 values", {"spikes": TRIALS}, {"events": {"cue": ([0.1] * 3, [[1, 2], 1, 1])}}),
    ],
)
def test_trial_errors(sentence: str, arrays: dict, more: dict) -> None:
    with pytest.raises(ValueError, match=sentence):
        from_trials(arrays, dt=0.1, **more)


def test_split_is_contiguous_and_leaves_a_gap() -> None:
    data = counting(events={"cue": [0.5, 9.5]}, heading=angle(np.zeros(100)))
    train, test = split(data, 0.8, gap=0.25)
    assert train["row_number"].values.tolist() == list(range(77))
    assert test["row_number"].values.tolist() == list(range(80, 100))
    assert (train["cue"].values.tolist(), test["cue"].values.tolist()) == ([0.5], [9.5])
    assert test["spikes"].dtype == np.uint8
    assert period(test, "heading") == period(data, "heading")


def test_split_keeps_trials_whole() -> None:
    train, test = split(from_trials({"spikes": TRIALS}, dt=0.1), 0.3)
    assert train["trial"].values.tolist() == [0] * 3
    assert set(test["trial"].values.tolist()) == {1, 2}
    assert epoch_ids(test).tolist() == [0] * 5 + [1] * 4


@pytest.mark.parametrize("gap", [0, 0.5])
def test_folds_test_every_row_once_and_nothing_leaks(gap: float) -> None:
    data = bin_spikes([np.arange(0.05, 20, 0.1)], dt=0.1, epochs=[(0, 8), (8, 12), (14, 20)], n=np.arange(180))
    parts = folds(data, k=4, gap=gap)
    assert np.concatenate([test["n"] for _, test in parts]).tolist() == list(range(180))
    for train, test in parts:
        assert not set(train["n"].values) & set(test["n"].values)
        apart = np.abs(train["time"].values[:, None] - test["time"].values).min() - 0.1
        assert apart >= gap - 1e-9
        for part in (train, test):
            joined = np.diff(epoch_ids(part)) == 0
            assert (np.diff(part["n"])[joined] == 1).all()
            assert (np.diff(epoch_ids(data)[part["n"].values])[joined] == 0).all()
            assert set(np.diff(epoch_ids(part)).tolist()) <= {0, 1}


def test_folds_by_epoch_trial_and_session() -> None:
    trials = from_trials({"spikes": TRIALS}, dt=0.1)
    assert [set(t["trial"].values) for _, t in folds(trials, 3, by="trial")] == [{0}, {1}, {2}]
    assert [t.sizes["time"] for _, t in folds(trials, 3, by="epoch")] == [3, 5, 4]
    rows = recording(rows="trial", choice=np.arange(10), session=["b"] * 4 + ["a"] * 6)
    parts = folds(rows, 2, by="session")
    assert [t["choice"].values.tolist() for _, t in parts] == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]
    gapped = folds(rows, 5, by="trial", gap=1)
    assert gapped[1][0]["choice"].values.tolist() == [0, 5, 6, 7, 8, 9]
    assert epoch_ids(gapped[1][0]).tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("sentence", "call"),
    [
        ("must lie between 0 and 1", lambda d: split(d, 1.0)),
        ("too short for this split", lambda d: split(d.isel(time=slice(1)), 0.8)),
        ("lower gap", lambda d: split(d, 0.8, gap=50)),
        ("gap must be a time", lambda d: split(d, 0.8, gap=-1)),
        ("k=1 folds by block want", lambda d: folds(d, 1)),
        ("between 2 and 100", lambda d: folds(d, 101)),
        ("between 2 and 1, the number of epochs", lambda d: folds(d, 2, by="epoch")),
        ("make the recording with from_trials", lambda d: folds(d, 2, by="trial")),
        ("make it with concat", lambda d: folds(d, 2, by="session")),
        ("by='rows' is unknown", lambda d: folds(d, 2, by="rows")),
    ],
)
def test_split_errors(sentence: str, call: object) -> None:
    with pytest.raises(ValueError, match=sentence):
        call(counting())


def test_concat_stacks_sessions() -> None:
    one = recording(
        dt=0.1,
        spikes=np.full((5, 2), 3),
        x=np.arange(5.0),
        area=("neuron", ["m", "m"]),
        labels={"neuron": ["u1", "u2"]},
        events={"cue": ([0.1], [7.0])},
    )
    two = recording(
        time=100 + 0.1 * np.arange(4),
        spikes=np.full((4, 1), 300),
        x=np.arange(4.0),
        area=("neuron", ["v"]),
        labels={"neuron": ["u1"]},
        events={"cue": ([100.0], [8.0])},
        epoch=[0, 0, 1, 1],
        dt=0.1,
    )
    both = concat({"s1": one, "s2": two})
    assert both["neuron"].values.tolist() == ["s1/u1", "s1/u2", "s2/u1"]
    assert both["spikes"].dtype == np.uint16
    assert epoch_ids(both).tolist() == [0] * 5 + [1, 1, 2, 2]
    assert (np.diff(both["time"]) > 0).all()
    np.testing.assert_array_equal(both["session_time"], np.concatenate([one["time"], two["time"]]))
    expected = np.zeros((9, 3), bool)
    expected[:5, :2] = expected[5:, 2:] = True
    np.testing.assert_array_equal(both["observed"], expected)
    for name, part, cells in (("s1", one, [0, 1]), ("s2", two, [2])):
        rows = both["session"].values == name
        np.testing.assert_array_equal(both["spikes"].values[rows][:, cells], part["spikes"])
        np.testing.assert_array_equal(both["x"].values[rows], part["x"])
    assert both["area"].values.tolist() == ["m", "m", "v"]
    assert event_rows(both, "cue").tolist() == [1, 5]
    assert both["cue_value"].values.tolist() == [7.0, 8.0]
    with pytest.warns(RecordingNote, match="never seen in training: s"):
        folds(both, 2, by="session")[1]


def test_concat_of_trials_and_of_trial_rows() -> None:
    part = from_trials({"spikes": TRIALS, "drive": [np.ones(len(t)) for t in TRIALS]}, dt=0.1)
    both = concat({"a": part, "b": part})
    assert np.unique(both["trial"]).tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(both["trial_time"], np.tile(part["trial_time"], 2))
    rows = recording(rows="trial", choice=[0, 1], counts=(("trial", "neuron"), np.ones((2, 3))), heading=angle([0.0, 1]))
    stacked = concat({"a": rows, "b": rows})
    assert stacked["choice"].values.tolist() == [0, 1, 0, 1]
    assert np.isnan(stacked["counts"].values).sum() == 12
    assert period(stacked, "heading") == period(rows, "heading")
    plain = recording(rows="trial", choice=[0, 1], observed=[True, False])
    assert concat({"a": plain, "b": plain.drop_vars("observed")})["observed"].values.tolist() == [
        True,
        False,
        True,
        True,
    ]


def test_concat_errors() -> None:
    one = counting(5)
    cases = {
        "got no recording": {},
        "has trial rows but": {"a": one, "b": recording(rows="trial", x=[1])},
        "bin them alike": {"a": one, "b": recording(dt=0.2, spikes=[0], row_number=[0])},
        "has a column 'session' already": {"a": concat({"s": one})},
        "'row_number' is in session 'a' but not in 'b'": {"a": one, "b": one.drop_vars("row_number")},
        "'x' is in session 'b' but not in 'a'": {"a": one, "b": counting(5, x=np.zeros(5))},
        "match its dims": {"a": counting(5, x=np.zeros((5, 2))), "b": counting(5, x=np.zeros((5, 3)))},
        "labels 'x_feature' otherwise": {
            "a": counting(5, x=np.zeros((5, 1)), labels={"x": ["p"]}),
            "b": counting(5, x=np.zeros((5, 1)), labels={"x": ["q"]}),
        },
        "circular with other periods": {"a": counting(5, x=angle(np.zeros(5))), "b": counting(5, x=np.zeros(5))},
        "no row dim and differs": {"a": counting(5, x=("k", [1.0])), "b": counting(5, x=("k", [2.0]))},
        "values in some sessions only": {
            "a": counting(5, events={"cue": [0.1]}),
            "b": counting(5, events={"cue": ([0.1], [1.0])}),
        },
    }
    for sentence, given in cases.items():
        with pytest.raises(ValueError, match=sentence):
            concat(given)
