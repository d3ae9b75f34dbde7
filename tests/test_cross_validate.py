"""Cross-validation of decoders: every prediction is of a fit without the row, and differences are paired."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import bayesglm as bg
from bayesglm import family, prior
from bayesglm._decoding._cross_validate import NESTED, DecodingNote
from bayesglm._decoding._cross_validated import verdict

G = prior.Gaussian(0.5)
EXACT = 1e-6


def trials(rows=160, seed=0, **extra):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3.0, (rows, 6))
    drive = 0.9 * (counts[:, 0] - 3) - 0.6 * (counts[:, 1] - 3)
    angle = np.rad2deg(np.arctan2(counts[:, 1] - 3, counts[:, 0] - 3) + rng.vonmises(0, 4, rows)) % 360
    return bg.recording(
        rows="trial",
        counts=counts,
        choice=(rng.uniform(size=rows) < 1 / (1 + np.exp(-drive))).astype(int),
        level=np.digitize(drive + rng.logistic(size=rows), [-1.0, 1.0]),
        speed=drive + rng.normal(size=rows),
        angle=bg.angle(angle, period=360),
        **extra,
    )


def decoder(response="choice", law=None, scale=G, column="counts"):
    terms = bg.Linear(column, scale) if isinstance(law, family.Ordinal) else bg.Baseline() + bg.Linear(column, scale)
    return bg.GLM(terms, law or family.Bernoulli(), response=response)


def quietly(*args, **how):
    return bg.cross_validate(*args, progress=False, **how)


def test_predictions_are_those_of_fits_from_scratch():
    data = trials()
    found = quietly(decoder(), data, k=4, method="map", chance=10)
    expected = np.empty(160)
    for train, test in bg.folds(data, 4, "trial"):
        fit = bg.fit(decoder(), train, "map", progress=False)
        expected[test["trial"].values] = bg.predict(fit, test).values.ravel()
    np.testing.assert_allclose(found.predictions["model"]["probability"].sel({"class": 1}), expected, atol=EXACT)
    own = bg.decoding_score(expected, data["choice"], chance=0)
    for metric in ("accuracy", "auc", "brier", "log_loss"):
        assert float(found["model"]["value"].sel(metric=metric)) == pytest.approx(float(own["value"].sel(metric=metric)), abs=EXACT)
    assert any("plug-in" in note for note in found.notes)


def test_nothing_of_a_test_fold_is_learned():
    """Units and scales too: the default prior is in training sds with a learned scale."""
    data = trials()
    model = decoder(scale=None)
    test = quietly(model, data, k=4, method="map", chance=0).predictions["model"]["fold"].values == 2
    choice, counts = data["choice"].values.copy(), data["counts"].values.copy()
    changed = np.flatnonzero(test)[::2]
    choice[changed], counts[changed] = 1 - choice[changed], 40
    other = data.assign(choice=("trial", choice), counts=(data["counts"].dims, counts))
    a, b = (quietly(model, one, k=4, method="map", chance=0).predictions["model"] for one in (data, other))
    same = np.setdiff1d(np.flatnonzero(test), changed)
    np.testing.assert_allclose(a["probability"][same], b["probability"][same], atol=1e-9)
    np.testing.assert_allclose(a["null"][same], b["null"][same], atol=1e-12)


FAMILIES = {
    "choice": (family.Bernoulli(), "accuracy", 0.6),
    "level": (family.Categorical(), "accuracy", 0.45),
    "speed": (family.Gaussian(), "r2", 0.3),
    "angle": (family.VonMises(), "median_error", 60.0),
}


@pytest.mark.parametrize("response", FAMILIES)
def test_every_kind_of_response(response):
    law, metric, bound = FAMILIES[response]
    found = quietly(decoder(response, law), trials(), k=4, chance=50)
    scores = found["model"]
    one = scores.sel(metric=metric)
    assert (one["value"] < bound) if metric == "median_error" else (one["value"] > bound)
    assert float(one["p_value"]) < 0.05
    assert float(scores["value"].sel(metric="bits")) > 2 * float(scores["se"].sel(metric="bits"))
    assert float(scores["value"].sel(metric="coverage")) == pytest.approx(
        float(scores["value"].sel(metric="coverage_claimed")), abs=4 * float(scores["se"].sel(metric="coverage"))
    )
    assert found.folds["converged"].all()
    assert metric.replace("_", " ") in repr(found) and "<table>" in found._repr_html_()


def test_ordered_levels():
    found = quietly(decoder("level", family.Ordinal()), trials(), k=4, method="map", chance=20)
    assert found.predictions["model"]["probability"].sizes["class"] == 3
    assert float(found["model"]["value"].sel(metric="bits")) > 0


def test_a_class_that_a_fold_lacks_is_still_known():
    data = trials()
    level = np.zeros(160, int)
    level[:40], level[40:90] = 2, 1
    found = quietly(decoder("level", family.Categorical()), data.assign(level=("trial", level)), k=4, method="map", chance=0)
    assert np.isfinite(found.predictions["model"]["log_density"]).all()


def test_paired_differences():
    data = trials(noise=np.random.default_rng(9).normal(size=(160, 6)))
    models = {"tuned": decoder(), "again": decoder(), "noise": decoder(column="noise")}
    found = quietly(models, data, k=4, method="map", chance=10)
    assert list(found.scores)[2] == "noise"
    table = found.differences
    for metric in ("log_loss", "accuracy", "auc"):
        cell = table.sel(model="again" if found.best == "tuned" else "tuned", metric=metric)
        assert float(cell["difference"]) == 0 and str(cell["verdict"].values) == "not distinguishable"
        assert str(table["verdict"].sel(model="noise", metric=metric).values) == "worse"
    p = {name: one["log_density"].values for name, one in found.predictions.items()}
    off = -(p["noise"] - p[found.best])
    cell = table.sel(model="noise", metric="log_loss")
    assert float(cell["difference"]) == pytest.approx(off.mean(), abs=1e-12)
    assert float(cell["se"]) == pytest.approx(off.std(ddof=1) / np.sqrt(off.size), rel=1e-9)
    assert "of 160 rows" in found.verdict


def test_two_of_276_trials_are_not_distinguishable():
    assert verdict("accuracy", 2 / 276, np.sqrt(2) / 276, 276, 276) == "not distinguishable"
    assert verdict("accuracy", 20 / 276, np.sqrt(20) / 276, 276, 276) == "better"
    assert verdict("log_loss", 20 / 276, np.sqrt(20) / 276, 276, 276) == "worse"
    assert verdict("log_loss", -3.9 / 276, 0.1 / 276, 276, 276) == "not distinguishable"  # under four nats in all
    assert verdict("accuracy", 0.4, 0.01, 12, 276) == "too few blocks"


def test_the_nested_choice_is_made_inside_the_fold():
    rng = np.random.default_rng(3)
    data = trials(noise=rng.normal(size=(160, 6)))
    models = {"wild": decoder(column="noise", scale=prior.Gaussian(3.0)), "narrow": decoder()}
    found = quietly(models, data, k=4, nested=3, method="map", chance=0)
    assert found.chosen == ("narrow",) * 4
    np.testing.assert_array_equal(found.predictions[NESTED]["probability"], found.predictions["narrow"]["probability"])
    # What is in the test fold has no say in its choice: there the counts say the opposite, loudly.
    test = found.predictions["narrow"]["fold"].values == 0
    counts = data["counts"].values.astype(float)
    counts[test, 0] = 3 - 40 * (2 * data["choice"].values[test] - 1)
    misled = quietly(models, data.assign(counts=(data["counts"].dims, counts)), k=4, nested=3, method="map", chance=0)
    assert misled.chosen == ("narrow", "wild", "wild", "wild")


def test_separation_is_reported():
    rng = np.random.default_rng(0)
    wide = bg.recording(rows="trial", counts=rng.poisson(3, (40, 60)), choice=rng.integers(0, 2, 40))
    found = quietly(decoder(scale=prior.Gaussian(1.0)), wide, k=4, method="map", chance=0)
    assert found.folds["separated"].all()
    assert any("separable" in note for note in found.notes)
    assert not quietly(decoder(), trials(), k=4, method="map", chance=0).folds["separated"].any()


def test_interleaved_folds_of_slow_rows_warn():
    rng = np.random.default_rng(0)
    rows = 160
    slow = np.cumsum(rng.normal(size=rows)) / 3
    data = bg.recording(dt=0.1, speed=slow, counts=rng.normal(slow[:, None], 1.0, (rows, 6)))
    model = decoder("speed", family.Gaussian())
    with pytest.warns(DecodingNote, match="interleaved"):
        found = quietly(model, data, k=np.arange(rows) % 4, chance=0)
    assert any("interleaved" in note for note in found.notes)
    runs = quietly(model, data, k=4, chance=20)
    assert runs["model"].attrs["blocks"] < 20  # blocks of many correlation times, not rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quietly(decoder(), trials(), k=np.arange(160) % 4, method="map", chance=0)


def test_stimulus_lags_read_their_real_past():
    """A lagged decoder on time rows: held-out rows at a block's start see what came before them."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=160)
    speed = 1.5 * np.r_[0, 0, x[:-2]] + 0.1 * rng.normal(size=160)
    data = bg.recording(dt=0.1, x=x, speed=speed)
    model = bg.GLM(bg.Baseline() + bg.Stimulus("x", bg.basis.Lags(0.6), G), family.Gaussian(), response="speed")
    found = quietly(model, data, k=4, chance=0)
    assert int(found.predictions["model"]["estimate"].notnull().sum()) == 155
    assert float(found["model"]["value"].sel(metric="r2")) > 0.95


@pytest.mark.parametrize(
    ("models", "how", "said"),
    [
        ({}, {}, "it is empty"),
        ({"a": decoder(), "b": decoder("speed", family.Gaussian())}, {}, "one response"),
        ({"a": decoder()}, {"nested": True}, "nothing to choose"),
        ({NESTED: decoder(), "b": decoder()}, {"nested": 3}, "another name"),
        ({"a": decoder(), "b": decoder()}, {"nested": 1}, "two or more"),
        ({"a": decoder()}, {"k": np.zeros(160)}, "two folds or more"),
        ({"a": decoder()}, {"k": 161}, "k=161"),
        ({"a": decoder()}, {"by": "week"}, "by='week'"),
        ({"a": decoder().resolve(trials())}, {}, "as you wrote it"),
    ],
)
def test_bad_input_is_named(models, how, said):
    with pytest.raises(ValueError, match=said):
        quietly(models, trials(), **how)


def test_spikes_are_for_kfold(recording_small, model_small):
    with pytest.raises(ValueError, match=r"bg\.kfold"):
        quietly(model_small, recording_small)
