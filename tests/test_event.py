"""Event: kernels around moments and boxcars, against loops; within epochs, at every bin width; and the recordings that hold events."""

from __future__ import annotations

import warnings

import equinox as eqx
import numpy as np
import pytest
from shapes import DT, EPOCHS, everything, happenings
from test_terms import dense

import bayesglm as bg
from bayesglm import basis, family
from bayesglm._data import RecordingNote, event_spans, event_values
from bayesglm._json import from_json, to_json

IDS = np.repeat(np.arange(len(EPOCHS)), EPOCHS)
ROWS = IDS.size
KERNEL = basis.BSpline(4)
PEAK = 1e-6  # of a peak that is sought on a grid


def resolve(term, data):
    model = bg.GLM(term).resolve(data)
    return model, next(iter(model.terms))


def spikes(rows, neurons=1):
    return np.zeros((rows, neurons), int)


@pytest.mark.parametrize("window", [(0, 0.06), (-0.03, 0.05), (0.02, 0.07), (-0.06, -0.01)])
@pytest.mark.parametrize("value", [None, "value"])
def test_moments_equal_a_loop_over_events(window, value):
    data = everything()
    model, term = resolve(bg.Event("cue", KERNEL, window=window, value=value), data)
    times, values = happenings()["cue"]
    wanted = np.zeros((ROWS, 4))
    for moment, size in zip(times, values["value"], strict=True):
        at = int(moment / DT)
        for lag, kernel in zip(range(round(window[0] / DT), round(window[1] / DT)), term.kernels, strict=True):
            if 0 <= at + lag < ROWS and IDS[at + lag] == IDS[at]:
                wanted[at + lag] += (1.0 if value is None else size) * kernel
    np.testing.assert_allclose(dense(model, term, data)[0], wanted, atol=1e-12)
    np.testing.assert_allclose(term.lags, np.arange(round(window[0] / DT), round(window[1] / DT)) * DT)
    assert (model.design(data).scored == 1).all()


@pytest.mark.parametrize(("window", "left_out"), [((0, 0.03), (2, 0)), ((-0.02, 0.02), (1, 2))])
def test_edge_drop_leaves_out_rows_whose_window_is_cut(window, left_out):
    data = everything()
    scored = bg.GLM(bg.Event("cue", basis.Lags(), window=window, edge="drop")).resolve(data).design(data).scored
    first, last = left_out
    wanted = np.concatenate([np.r_[np.zeros(min(first, n)), np.ones(max(0, n - first - last)), np.zeros(min(last, n - first))] for n in EPOCHS])
    np.testing.assert_array_equal(scored, wanted)


def test_boxcars_equal_a_loop_over_bins():
    """A bin is on where the event overlaps it; songs that overlap add up."""
    data = everything()
    model, term = resolve(bg.Event("song", KERNEL, window=(0, 0.05)), data)
    starts, values = happenings()["song"]
    on = np.zeros(ROWS)
    for i in range(ROWS):
        on[i] = sum(start < (i + 1) * DT and stop > i * DT for start, stop in zip(starts, values["stop"], strict=True))
    same = everything(on=(on > 0).astype(int))
    filtered = bg.GLM(bg.Stimulus("drive", basis.BSpline(4, span=0.05), edge="zero")).resolve(everything(drive=on))
    wanted = dense(filtered, filtered.terms["drive"], everything(drive=on))
    np.testing.assert_allclose(dense(model, term, data), wanted, atol=1e-12)
    if on.max() == 1:
        model, term = resolve(bg.Event("on", KERNEL, window=(0, 0.05)), same)
        np.testing.assert_allclose(dense(model, term, same), wanted, atol=1e-12)


def test_what_a_weight_means_at_every_bin_width():
    """A weight is the log-gain at the peak of a moment's kernel, and of a boxcar that stays on."""
    after, level = {}, {}
    for dt in (0.01, 0.005, 0.0025):
        rows = round(0.6 / dt)
        data = bg.recording(dt=dt, spikes=spikes(rows), events={"cue": [0.1], "state": ([0.1], {"stop": [0.55]})})
        term = bg.Event("cue", basis.RaisedCosineLinear(4), window=(-0.1, 0.2)) + bg.Event("state", basis.RaisedCosineLinear(4), window=(-0.1, 0.2))
        model = bg.GLM(term).resolve(data)
        moment, state = (dense(model, model.terms[name], data)[0] for name in ("cue", "state"))
        after[dt] = moment[np.arange(0, 30) * round(0.01 / dt)]
        level[dt] = state[round(0.4 / dt)]
        assert moment.max() <= 1 + PEAK
    np.testing.assert_allclose(after[0.005], after[0.01], atol=1e-9)
    np.testing.assert_allclose(after[0.0025], after[0.01], atol=1e-9)
    np.testing.assert_allclose(list(level.values()), 1.0, rtol=1e-12)
    assert after[0.0025].max() > 0.99


def test_trials_of_unequal_length_do_not_leak():
    counts = [spikes(n) for n in (5, 8, 3)]
    with pytest.warns(RecordingNote, match="outside their trial"):
        data = bg.from_trials({"spikes": counts}, dt=0.1, align=0.1, events={"go": ([0.25, 0.55, 9.0], {"stop": [5.0, 0.65, 9.0], "side": [1.0, -1.0, 1.0]})})
    assert set(event_values(data, "go")) == {"stop", "side"}
    np.testing.assert_array_equal(np.stack(event_spans(data, "go")), [[3, 11], [5, 13]])  # the first is cut at its trial's end
    model, term = resolve(bg.Event("go", basis.Lags(), window=(0, 0.4), value="side"), data)
    found = dense(model, term, data)[0].sum(-1)
    np.testing.assert_allclose(found, [0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, -1, -2, 0, 0, 0])


def test_events_between_epochs_and_lasting_ones():
    """A moment in a gap acts nowhere; something that lasts is on in all its bins, on both sides of a gap."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = bg.bin_spikes({"a": [0.05, 2.05]}, dt=0.1, epochs=[(0, 1), (2, 3)], events={"cue": [0.95, 1.5, 2.05], "light": ([0.85], {"stop": [2.15]})})
    model, term = resolve(bg.Event("cue", basis.Lags(), window=(0, 0.3)), data)
    np.testing.assert_array_equal(np.flatnonzero(dense(model, term, data)[0].sum(-1)), [9, 10, 11, 12])
    model, term = resolve(bg.Event("light", basis.Lags(), window=(0, 0.1)), data)
    np.testing.assert_array_equal(np.flatnonzero(dense(model, term, data)[0].sum(-1)), [8, 9, 10, 11])


def test_parts_and_sessions_keep_their_events():
    data = bg.recording(dt=0.1, spikes=spikes(20), events={"cue": ([0.31, 1.2], [1.0, 2.0]), "light": ([0.5, 1.75], {"stop": [1.5, 9.0]})})
    train, test = bg.split(data, 0.5)
    assert [part["cue"].size for part in (train, test)] == [1, 1]
    assert [part["light"].size for part in (train, test)] == [1, 2]
    for part, rows in ((train, slice(0, 10)), (test, slice(10, 20))):
        for name in ("cue", "light"):
            term = bg.Event(name, basis.Lags(), window=(0, 0.1))
            whole, alone = (dense(*resolve(term, d), d)[0] for d in (data, part))
            np.testing.assert_allclose(alone, whole[rows])
    both = bg.concat({"one": data, "two": data})
    twice = dense(*resolve(bg.Event("light", basis.Lags(), window=(0, 0.1)), both), both)[0]
    np.testing.assert_allclose(twice, np.tile(dense(*resolve(bg.Event("light", basis.Lags(), window=(0, 0.1)), data), data)[0], (2, 1)))
    assert both["light_stop"].values[1] < both["time"].values[20]


def test_rows_that_read_an_event_of_unknown_value_are_not_scored():
    data = bg.recording(dt=0.1, spikes=spikes(10), events={"cue": ([0.25, 0.65], [np.nan, 1.0])})
    design = bg.GLM(bg.Event("cue", basis.Lags(), window=(0, 0.2), value="value")).resolve(data).design(data)
    np.testing.assert_array_equal(np.flatnonzero(design.scored == 0), [2, 3])
    assert design.report == (("'cue value' is NaN", 2),)
    assert (bg.GLM(bg.Event("cue", basis.Lags(), window=(0, 0.2))).resolve(data).design(data).scored == 1).all()


def test_trial_rows_take_a_column():
    data = bg.recording(rows="trial", choice=[0, 1, 0, 1, 1], cued=[0, 1, 0, 0, 0])
    model = bg.GLM(bg.Event("cued", basis.Lags(), window=(0, 2)), family.Bernoulli(), response="choice").resolve(data)
    np.testing.assert_array_equal(model.design(data).shared["cued"], [[0, 0], [1, 0], [0, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("term", "sentence"),
    [
        (lambda: bg.Event("cue", KERNEL, window=(0.5, 0.5)), r"window=\(0\.5, 0\.5\).*the earlier first"),
        (lambda: bg.Event("cues", KERNEL), r"named 'cues'.*events \['cue', 'song'\]"),
        (lambda: bg.Event("cue", KERNEL, value="size"), r"value='size'.*known are \['value'\]"),
        (lambda: bg.Event("on", KERNEL, value="value"), r"'on' is a column.*leave value out"),
        (lambda: bg.Event("x", KERNEL), r"'x'.*0 and 1.*Stimulus"),
        (lambda: bg.Event("pose", KERNEL), r"'pose'.*pose_feature"),
        (lambda: bg.Event("cue", basis.BSpline(4, span=0.3)), r"0\.5 s long.*span=0\.3.*window=\(0, 0\.3\)"),
        (lambda: bg.Event("cue", basis.CyclicBSpline(5)), "basis of values"),
        (lambda: bg.Event("cue", KERNEL, edge="keep"), "edge='keep'"),
    ],
)
def test_errors(term, sentence):
    with pytest.raises(ValueError, match=sentence):
        resolve(term(), everything())


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ({"cue": ([0.1, 0.2], {"stop": [0.2, 0.1]})}, "'cue' has a stop that is no time"),
        ({"cue": ([0.1], {"size": [1.0, 2.0]})}, r"1 times but values of shape \(2,\): pass one size an event"),
        ({"cue": ([0.1], {"event": [1.0]})}, "reserved"),
        ({"cue": ([0.1], {"on": [1.0]}), "cue_on": [0.1]}, "'cue_on' names both an event and a value"),
        ({"a": ([0.1], {"b_c": [1.0]}), "a_b": ([0.1], {"c": [1.0]})}, "Two events have values called 'a_b_c'"),
    ],
)
def test_recordings_refuse(events, sentence):
    with pytest.raises(ValueError, match=sentence):
        bg.recording(dt=0.1, spikes=spikes(5), events=events)


def test_words_do_not_scale():
    data = bg.recording(dt=0.1, spikes=spikes(5), events={"cue": ([0.1], {"side": ["left"]})})
    with pytest.raises(ValueError, match="value='side'.*no numbers"):
        resolve(bg.Event("cue", basis.Lags(), value="side"), data)


def test_moments_and_lasting_events_are_not_mixed_up():
    one = bg.recording(dt=0.1, spikes=spikes(5), events={"cue": ([0.1], {"stop": [0.3]})})
    model, _ = resolve(bg.Event("cue", basis.Lags(), window=(0, 0.2)), one)
    with pytest.raises(ValueError, match="'cue' have no stop here"):
        model.design(bg.recording(dt=0.1, spikes=spikes(5), events={"cue": [0.1]}))
    empty = bg.recording(dt=0.1, spikes=spikes(5), events={"cue": ([], {"stop": []})})
    assert not model.design(empty).shared["cue"].any()


def test_keeps_in_a_file():
    model = bg.GLM(bg.Baseline() + bg.Event("song", KERNEL, window=(-0.02, 0.05)) + bg.Event("cue", KERNEL)).resolve(everything())
    again = from_json(to_json(model))
    assert eqx.tree_equal(model, again)
    np.testing.assert_array_equal(again.design(everything(1)).shared["song"], model.design(everything(1)).shared["song"])


def test_recovers_a_planted_response():
    """An acausal ramp before and a bump after each of 150 reaches."""
    rng = np.random.default_rng(3)
    rows, dt = 6000, 0.02
    reaches = np.sort(rng.uniform(1, 119, 150))
    lags = np.arange(-20, 30) * dt
    truth = 1.2 * np.exp(-((lags + 0.1) ** 2) / 0.02) - 0.8 * np.exp(-((lags - 0.25) ** 2) / 0.02)
    eta = np.full(rows, np.log(8 * dt))
    for at in (reaches / dt).astype(int):
        inside = (at + np.arange(-20, 30) >= 0) & (at + np.arange(-20, 30) < rows)
        eta[(at + np.arange(-20, 30))[inside]] += truth[inside]
    data = bg.recording(dt=dt, spikes=rng.poisson(np.exp(eta))[:, None], events={"reach": reaches})
    fit = bg.fit(bg.GLM(bg.Baseline() + bg.Event("reach", basis.BSpline(10), window=(-0.4, 0.6))), data, "map", progress=False)
    found = bg.filters(fit, "reach").squeeze()
    np.testing.assert_allclose(found["lag"], lags)
    assert found.attrs["units"] == "log-gain per reach"
    assert np.corrcoef(found, truth)[0, 1] > 0.95
    assert np.abs(found.values - truth).max() < 0.4
