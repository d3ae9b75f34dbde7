"""bin_spikes, from_pynapple and resampling."""

import numpy as np
import pytest

from bayesglm._data import RecordingNote, angle, bin_spikes, epoch_ids, from_pynapple, period, signal

RNG = np.random.default_rng(1)
SPIKES = {"a": np.sort(RNG.uniform(0, 20, 300)), "b": np.sort(RNG.uniform(0, 20, 40))}
EPOCHS = np.array([[0.0, 5.05], [5.1, 8.05], [12.0, 20.0]])


def test_counts_are_conserved() -> None:
    data = bin_spikes(SPIKES, dt=0.1)
    assert data["spikes"].sum("time").values.tolist() == [300, 40]
    data = bin_spikes(SPIKES, dt=0.1, epochs=EPOCHS)
    used = [(0.0, 5.0), (5.1, 8.0), (12.0, 20.0)]
    inside = [sum(((t >= a) & (t < b)).sum() for a, b in used) for t in SPIKES.values()]
    assert data["spikes"].sum("time").values.tolist() == inside
    assert np.bincount(epoch_ids(data)).tolist() == [50, 29, 80]
    assert data["neuron"].values.tolist() == ["a", "b"]


@pytest.mark.parametrize("start", [0.0, 0.3, 1234.5])
def test_a_sampled_clock_keeps_its_bins(start: float) -> None:
    times = start + 0.001 * np.arange(5000)
    data = bin_spikes(times, dt=0.001, epochs=(start, start + 5))
    assert (data["spikes"].values == 1).all()


def test_forms_of_spike_times() -> None:
    for given in (np.array([0.1, 0.2]), [0.1, 0.2], [np.array([0.1, 0.2])], {0: [0.1, 0.2]}):
        assert bin_spikes(given, dt=0.1, epochs=(0, 1))["spikes"].values.sum() == 2
    silent = bin_spikes([[0.1], []], dt=0.1, epochs=(0, 1))
    assert silent["spikes"].sum("time").values.tolist() == [1, 0]


def test_mean_linear_previous() -> None:
    t = 0.0005 + 0.001 * np.arange(1000)
    fine = bin_spikes([[0.5]], dt=0.1, epochs=(0, 1), x=(t, t), n=(t, np.arange(1000)))
    np.testing.assert_allclose(fine["x"], fine["time"], atol=1e-12)
    assert fine["n"].values[:2].tolist() == [49, 149]
    coarse_t = np.array([0.0, 0.5, 0.999])
    coarse = bin_spikes([[0.5]], dt=0.1, epochs=(0, 1), x=(coarse_t, coarse_t), s=(coarse_t, ["a", "b", "c"]))
    np.testing.assert_allclose(coarse["x"], coarse["time"])
    assert coarse["s"].values.tolist() == ["a"] * 5 + ["b"] * 5


def test_frames_hold_until_the_next() -> None:
    frames = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    data = bin_spikes([[0.5]], dt=0.1, epochs=(0, 1), movie=(np.array([0.0, 0.25, 0.5, 0.75]), frames))
    assert data["movie"].dtype == np.uint8
    assert data["movie"][:, 0, 0].values.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]


def test_circles_are_averaged_as_vectors() -> None:
    t = np.arange(0, 1, 0.02)
    values = np.where(np.arange(50) % 2, 359.0, 3.0)
    data = bin_spikes([[0.5]], dt=0.08, epochs=(0, 0.96), heading=(t, angle(values, 360)))
    np.testing.assert_allclose(data["heading"], 1.0, atol=1e-9)
    assert period(data, "heading") == 360
    same = bin_spikes([[0.5]], dt=0.08, epochs=(0, 0.96), heading=angle((t, values), 360))
    third = bin_spikes([[0.5]], dt=0.08, epochs=(0, 0.96), heading=signal(t, values, period=360))
    assert data.identical(same)
    assert data.identical(third)
    ends = bin_spikes([[0.5]], dt=0.5, epochs=(0, 1), heading=signal([0.0, 0.99], [350.0, 10.0], "linear", 360, 1.0))
    assert ((ends["heading"] > 350) | (ends["heading"] < 10)).all()


def test_no_sample_crosses_an_epoch() -> None:
    t = np.arange(0, 20, 0.01)
    x = np.where(t < 8, 1.0, 100.0)
    for how in ("mean", "linear", "previous"):
        given = signal(t, x, how)
        changed = signal(t, np.where((t >= 8) & (t < 12), -1e6, x), how)
        data = bin_spikes(SPIKES, dt=0.1, epochs=[(0, 8), (12, 20)], x=given)
        assert np.unique(data["x"]).tolist() == [1.0, 100.0]
        assert data.identical(bin_spikes(SPIKES, dt=0.1, epochs=[(0, 8), (12, 20)], x=changed))


def test_lost_samples_are_nan_and_said() -> None:
    t = np.arange(0, 20, 0.01)
    kept = t[(t < 5) | (t > 10)]
    with pytest.warns(RecordingNote, match="'x' is NaN in"):
        data = bin_spikes(SPIKES, dt=0.1, epochs=(0, 20), x=signal(kept, kept, max_gap=0.5))
    lost = np.isnan(data["x"].values)
    assert lost.sum() == 40
    assert (data["time"].values[lost] > 5.4).all()
    with pytest.warns(RecordingNote, match="before them in their epoch"):
        late = bin_spikes([[0.5]], dt=0.1, epochs=(0, 1), n=([0.2], [7]))
    assert np.isnan(late["n"]).sum() == 2
    holes = np.where(np.arange(t.size) % 10 == 0, np.nan, t)
    assert not np.isnan(bin_spikes(SPIKES, dt=0.1, epochs=(0, 20), x=(t, holes))["x"]).any()


def test_columns_on_the_bins_and_events() -> None:
    data = bin_spikes([[0.5]], dt=0.1, epochs=(0, 1), x=np.arange(10.0), events={"cue": [0.3]}, labels={"neuron": ["u"]})
    assert data["x"].values.tolist() == list(range(10))
    assert data["cue"].values.tolist() == [0.3]
    assert data["neuron"].values.tolist() == ["u"]
    heading = bin_spikes([[0.5]], dt=0.5, epochs=(0, 1), heading=angle([1.0, 2.0]))
    assert period(heading, "heading") == pytest.approx(2 * np.pi)


T = np.arange(0, 20, 0.01)
ERRORS = {
    "dt is the bin width": {"dt": -1},
    "Epoch 1 is empty": {"epochs": [(0, 1), (2, 2.05)]},
    "Epoch 0 is empty: 0 to 20 s holds no whole bin of dt=50": {"dt": 50, "epochs": (0, 20)},
    "Epochs 0 and 1 overlap": {"epochs": [(0, 5), (4, 6)]},
    "epochs has the shape": {"epochs": [1, 2, 3]},
    "infinite bounds in epoch 0": {"epochs": (0, np.inf)},
    "No spike falls into the epochs": {"epochs": (100, 200)},
    "out of order: 0.1 s at position 1": {"spike_times": {"a": [0.2, 0.1]}},
    "spike times of neuron 'a' have 1 NaN": {"spike_times": {"a": [0.2, np.nan]}},
    "counts a bin go to recording": {"spike_times": np.zeros((10, 2))},
    "spike_times is empty": {"spike_times": []},
    "holds no spike": {"spike_times": [[]]},
    "spike times look like milliseconds": {"spike_times": 1000 * SPIKES["a"], "epochs": (0, 20)},
    "look like milliseconds or samples": {"spike_times": np.arange(0, 30000, 30)},
    "Signal 'x' has no sample inside.*in seconds.$": {"epochs": (0, 20), "x": (T + 100_000, T)},
    "Signal 'x' has no sample inside.*pass t / 1000": {"epochs": (10, 20), "x": (1000 * T + 1000, T)},
    "Signal 'x' has 2000 times but": {"epochs": (0, 20), "x": (T, T[1:])},
    "times of signal 'x' are out of order": {"epochs": (0, 20), "x": (T[::-1], T)},
    "'x' has 1 infinite": {"epochs": (0, 20), "x": (T, np.where(T == 0, np.inf, T))},
    "'x' is text, which has no mean": {"epochs": (0, 20), "x": signal(T, T.astype(str), "mean")},
    "text has no NaN": {"epochs": (0, 20), "x": ([5.0], ["rest"])},
    "'x' has 7": {"epochs": (0, 20), "x": np.zeros(7)},
    "'spikes' cannot be a signal": {"spikes": np.zeros(7)},
    "'trial' is reserved": {"trial": np.zeros(7)},
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_errors_say_what_where_and_the_mend(sentence: str) -> None:
    given = {"spike_times": SPIKES, "dt": 0.1, **ERRORS[sentence]}
    with pytest.raises(ValueError, match=sentence):
        bin_spikes(given.pop("spike_times"), **given)


def test_pynapple_equals_bin_spikes() -> None:
    nap = pytest.importorskip("pynapple")
    support = nap.IntervalSet(EPOCHS[:, 0], EPOCHS[:, 1])
    wide = nap.IntervalSet(0, 20)
    units = nap.TsGroup({3: nap.Ts(SPIKES["a"]), 7: nap.Ts(SPIKES["b"])}, time_support=wide, metadata={"area": ["m", "v"]})
    speed, pose = nap.Tsd(T, np.sin(T)), nap.TsdFrame(T, np.stack([T, -T], 1), columns=["x", "y"])
    ours = bin_spikes({3: SPIKES["a"], 7: SPIKES["b"]}, dt=0.1, epochs=EPOCHS, speed=(T, np.sin(T)))
    theirs = from_pynapple(units, dt=0.1, epochs=support, speed=speed, pose=signal(T, pose.d, "linear"))
    np.testing.assert_array_equal(theirs["spikes"], ours["spikes"])
    np.testing.assert_array_equal(theirs["speed"], ours["speed"])
    assert theirs["area"].values.tolist() == ["m", "v"]
    assert bin_spikes(units, dt=0.1, epochs=support, speed=speed).identical(ours)
    framed = from_pynapple(units, dt=0.1, pose=pose, heading=angle(speed), events={"cue": nap.Ts([1.0, 2.0])})
    assert framed.sizes["time"] == 200
    assert framed["pose_feature"].values.tolist() == ["x", "y"]
    assert framed["cue"].values.tolist() == [1.0, 2.0]
    assert period(framed, "heading") == pytest.approx(2 * np.pi)


def test_pynapple_counts_agree() -> None:
    nap = pytest.importorskip("pynapple")
    units = nap.TsGroup({0: nap.Ts(SPIKES["a"]), 1: nap.Ts(SPIKES["b"])}, time_support=nap.IntervalSet(0, 20))
    theirs = units.count(0.1, nap.IntervalSet([0, 12], [8, 20]))
    ours = from_pynapple(units, dt=0.1, epochs=nap.IntervalSet([0, 12], [8, 20]))
    np.testing.assert_array_equal(ours["spikes"], theirs.d)
    np.testing.assert_allclose(ours["time"], theirs.t)


def test_from_pynapple_takes_single_units_and_refuses_others() -> None:
    nap = pytest.importorskip("pynapple")
    unit = nap.Ts(SPIKES["a"], time_support=nap.IntervalSet(0, 20))
    assert int(from_pynapple(unit, dt=0.1)["spikes"].sum()) == 300
    assert from_pynapple({"a": unit}, dt=0.1)["neuron"].values.tolist() == ["a"]
    with pytest.raises(ValueError, match="wants a TsGroup"):
        from_pynapple([0.1, 0.2], dt=0.1)
