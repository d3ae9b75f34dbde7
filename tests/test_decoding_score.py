"""Scores of decoders: against scikit-learn and by hand, honest standard errors and chance levels, right calibration."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.signal import lfilter
from sklearn import metrics
from sklearn.calibration import calibration_curve

import bayesglm as bg
from bayesglm._decoding._blocks import shuffled
from bayesglm._decoding._metrics import credible_sets

EXACT = 1e-12
PROB = 0.9


def value(scores, metric, what="value"):
    return float(scores[what].sel(metric=metric))


def classes(rows=300, size=3, seed=0):
    """Probabilities, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(size, 0.7), rows)
    return p, (rng.uniform(size=rows)[:, None] > np.cumsum(p, 1)).sum(1)


def on_circle(rows=400, points=72, seed=0, sure=1.0, period=360.0):
    """Posteriors of von Mises shape on a grid, and truths drawn from them (``sure`` times less concentrated)."""
    rng = np.random.default_rng(seed)
    axis = np.arange(points) * period / points
    centre, kappa = rng.uniform(0, 2 * np.pi, rows), rng.uniform(2, 20, rows)
    p = np.exp(kappa[:, None] * (np.cos(2 * np.pi * axis / period - centre[:, None]) - 1))
    y = (centre + rng.vonmises(0, kappa / sure, rows)) % (2 * np.pi) * period / (2 * np.pi)
    coords = {"trial": np.arange(rows), "heading": ("heading", axis, {"period": period})}
    return xr.Dataset({"probability": (("trial", "heading"), p / p.sum(1, keepdims=True))}, coords, {"rows": "trial", "target": "heading"}), y


def test_three_classes_are_scored_as_by_scikit_learn():
    p, y = classes()
    found = bg.decoding_score(p, y, chance=0)
    assert value(found, "accuracy") == pytest.approx(metrics.accuracy_score(y, p.argmax(1)), abs=EXACT)
    assert value(found, "balanced_accuracy") == pytest.approx(metrics.balanced_accuracy_score(y, p.argmax(1)), abs=EXACT)
    assert value(found, "log_loss") == pytest.approx(metrics.log_loss(y, p), abs=EXACT)
    assert value(found, "auc") == pytest.approx(metrics.roc_auc_score(y, p, multi_class="ovr"), abs=EXACT)
    assert value(found, "brier") == pytest.approx(((p - np.eye(3)[y]) ** 2).sum(1).mean(), abs=EXACT)
    frequencies = (np.bincount(y) + 0.5) / (y.size + 1.5)
    assert value(found, "bits") == pytest.approx(np.mean(np.log2(p[np.arange(y.size), y] / frequencies[y])), abs=EXACT)


def test_two_classes_are_scored_as_by_scikit_learn_ties_included():
    rng = np.random.default_rng(1)
    p = np.round(rng.uniform(0.02, 0.98, 250), 1)
    y = (rng.uniform(size=250) < p).astype(int)
    found = bg.decoding_score(p, y, chance=0)
    assert value(found, "accuracy") == pytest.approx(metrics.accuracy_score(y, p > 0.5), abs=EXACT)
    assert value(found, "log_loss") == pytest.approx(metrics.log_loss(y, np.clip(p, 1e-15, 1)), abs=1e-9)
    assert value(found, "brier") == pytest.approx(metrics.brier_score_loss(y, p), abs=EXACT)
    assert value(found, "auc") == pytest.approx(metrics.roc_auc_score(y, p), abs=EXACT)


def test_the_calibration_error_is_that_of_equally_many_rows_a_bin():
    rng = np.random.default_rng(2)
    p, y = rng.uniform(size=400), rng.integers(0, 2, 400)
    found = bg.decoding_score(p, y, chance=0, bins=8)
    shares, means = calibration_curve(y, p, n_bins=8, strategy="quantile")
    assert value(found, "expected_calibration_error") == pytest.approx(np.abs(shares - means).mean(), abs=EXACT)
    square = np.mean((shares - means) ** 2 - shares * (1 - shares) / 49)
    assert value(found, "calibration_error") == pytest.approx(np.sqrt(square), abs=EXACT)
    assert "8" in found.attrs["bins"]


def test_the_debiased_calibration_error_is_zero_on_average_where_probabilities_are_right_and_finds_planted_ones():
    rng = np.random.default_rng(3)
    squares = {"right": [], "off": []}
    for _ in range(40):
        p = rng.uniform(0.2, 0.8, 300)
        for name, shift in (("right", 0.0), ("off", 0.12)):
            found = bg.decoding_score(p, (rng.uniform(size=300) < p + shift).astype(int), chance=0)
            squares[name].append(value(found, "calibration_error") ** 2)
            biased = value(found, "expected_calibration_error")
    assert np.mean(squares["off"]) == pytest.approx(0.12**2, abs=0.003)
    # The floor at zero leaves half of a distribution around zero; the biased one is near 0.06 here.
    assert np.mean(squares["right"]) < 0.0015 < biased**2


def test_credible_sets_are_the_fewest_cells():
    p = np.array([[0.5, 0.3, 0.15, 0.05], [0.05, 0.05, 0.05, 0.85], [0.95, 0.05, 0.0, 0.0]])
    inside, claimed = credible_sets(p, PROB)
    np.testing.assert_array_equal(inside, [[1, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 0]])
    np.testing.assert_allclose(claimed, [0.95, 0.9, 0.95])


@pytest.mark.parametrize("sure", [1.0, 4.0])
def test_coverage_is_what_is_claimed_only_where_posteriors_are_right(sure):
    decoded, y = on_circle(2000, sure=sure)
    found = bg.decoding_score(decoded, y, chance=0)
    off = value(found, "coverage") - value(found, "coverage_claimed")
    if sure == 1:
        assert abs(off) < 4 * value(found, "coverage", "se")
    else:
        assert off < -0.2


def test_posteriors_on_a_circle_by_hand():
    decoded, y = on_circle(500, points=720)
    found = bg.decoding_score(decoded, y, chance=0)
    p, axis = decoded["probability"].values, decoded["heading"].values
    towards = np.angle(p @ np.exp(1j * np.deg2rad(axis)))
    error = np.rad2deg(np.abs(np.angle(np.exp(1j * (towards - np.deg2rad(y))))))
    assert value(found, "median_error") == pytest.approx(np.median(error), abs=1e-9)
    assert value(found, "mean_error") == pytest.approx(error.mean(), abs=1e-9)
    rng = np.random.default_rng(0)
    centre, kappa = rng.uniform(0, 2 * np.pi, 500), rng.uniform(2, 20, 500)
    density = stats.vonmises.logpdf(np.deg2rad(y), kappa, centre) + np.log(np.pi / 180)
    assert value(found, "log_loss") == pytest.approx(-density.mean(), abs=2e-2)  # the grid's step
    assert found.attrs["kind"] == "angle"


def test_numbers_are_scored_as_by_scikit_learn():
    rng = np.random.default_rng(4)
    y = rng.normal(2, 3, 200)
    draws = xr.DataArray(y + rng.normal(0, 1, 200) + rng.normal(0, 1, (2, 300, 200)), dims=("chain", "draw", "trial"), attrs={"kind": "response"})
    density = stats.norm.logpdf(y, draws.mean(("chain", "draw")), 1)
    found = bg.decoding_score(draws, y, chance=20, log_density=density, null=stats.norm.logpdf(y, 2, 3))
    estimate = draws.values.mean((0, 1))
    assert value(found, "r2") == pytest.approx(metrics.r2_score(y, estimate), abs=EXACT)
    assert value(found, "rmse") == pytest.approx(metrics.root_mean_squared_error(y, estimate), abs=EXACT)
    assert value(found, "median_error") == pytest.approx(metrics.median_absolute_error(y, estimate), abs=EXACT)
    assert value(found, "log_loss") == pytest.approx(-density.mean(), abs=EXACT)
    assert 0.6 < value(found, "coverage") < PROB  # the truth is one draw further from their mean than the draws are
    assert np.isnan(value(found, "log_loss", "chance")) and value(found, "r2", "chance") < 0


def test_draws_of_angles_have_arcs_that_cover():
    rng = np.random.default_rng(5)
    centre = rng.uniform(0, 360, 800)
    spread = lambda *shape: np.rad2deg(rng.vonmises(0, 6, shape))  # noqa: E731
    draws = xr.DataArray((centre + spread(1, 500, 800)) % 360, dims=("chain", "draw", "trial"), attrs={"kind": "response"})
    truth = xr.DataArray((centre + spread(800)) % 360, dims="trial", attrs={"period": 360.0})
    found = bg.decoding_score(draws, truth, chance=20)
    assert value(found, "coverage") == pytest.approx(PROB, abs=4 * value(found, "coverage", "se"))
    assert value(found, "median_error") == pytest.approx(np.rad2deg(stats.vonmises.ppf(0.75, 6)), rel=0.15)
    assert value(found, "median_error", "chance") == pytest.approx(90, abs=8)
    assert value(found, "median_error", "p_value") == pytest.approx(1 / 21)


def test_standard_errors_are_over_blocks():
    p, y = classes(120)
    alone = bg.decoding_score(p, y, chance=0)
    hit = p.argmax(1) == y
    assert value(alone, "accuracy", "se") == pytest.approx(hit.std(ddof=1) / np.sqrt(120), rel=1e-9)
    # Every row three times, in blocks: nothing is known better than from the rows themselves.
    again = bg.decoding_score(np.repeat(p, 3, 0), np.repeat(y, 3), blocks=np.repeat(np.arange(120), 3), chance=0)
    for metric in ("accuracy", "log_loss", "auc", "balanced_accuracy"):
        assert value(again, metric) == pytest.approx(value(alone, metric), abs=1e-9)
        assert value(again, metric, "se") == pytest.approx(value(alone, metric, "se"), rel=1e-9)


def test_resampled_standard_errors_are_those_of_repeated_experiments():
    found = [bg.decoding_score(*classes(150, seed=seed), chance=0) for seed in range(40)]
    for metric in ("auc", "balanced_accuracy"):
        spread = np.std([value(one, metric) for one in found], ddof=1)
        assert np.mean([value(one, metric, "se") for one in found]) == pytest.approx(spread, rel=0.35)


def remembering(rows, rng, tau=15.0):
    """A slow series of unit variance."""
    keep = np.exp(-1 / tau)
    noise = rng.normal(size=rows)
    noise[0] /= np.sqrt(1 - keep**2)
    return lfilter([np.sqrt(1 - keep**2)], [1, -keep], noise)


def test_the_chance_level_of_slow_series_is_that_of_blocks():
    """Decoder and truth are slow and independent: single rows permuted reject far too often, blocks at the nominal rate."""
    rejected = {"blocks": 0, "rows": 0}
    runs, rows = 40, 1200
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        decoded = xr.DataArray(remembering(rows, rng), {"time": np.arange(rows) * 0.1}, ["time"])
        truth = remembering(rows, rng)
        rejected["blocks"] += value(bg.decoding_score(decoded, truth, blocks=15.0, chance=39, key=seed), "rmse", "p_value") <= 0.05
        rejected["rows"] += value(bg.decoding_score(decoded.values, truth, chance=39, key=seed), "rmse", "p_value") <= 0.05
    assert rejected["rows"] > 0.25 * runs
    assert rejected["blocks"] <= 0.05 * runs + 4 * np.sqrt(0.05 * 0.95 * runs)


def test_blocks_of_slow_rows_are_found():
    rng = np.random.default_rng(0)
    rows = 8000
    slow = remembering(rows, rng, 20.0)
    decoded = xr.DataArray(1 / (1 + np.exp(-slow)), {"time": (np.arange(rows) + 0.5) * 0.1}, ["time"])
    found = bg.decoding_score(decoded, (slow > 0).astype(int), chance=10)
    assert 8000 / 1000 < found.attrs["blocks"] < 8000 / 150  # of about 20 x 20 rows
    assert "correlation time" in found.attrs["block"]


def test_permuted_blocks_keep_their_rows_together():
    ids = np.repeat(np.arange(6), [3, 5, 2, 4, 3, 3])
    for order in shuffled(ids, 5, np.random.default_rng(0)):
        assert sorted(order) == list(range(20))
        broken = (np.diff(order) != 1).sum()
        assert broken <= 7  # five joints, and the block that the rotation cuts


def test_an_order_that_every_block_repeats_is_told():
    y = np.tile(np.arange(4), 10)
    found = bg.decoding_score(np.eye(4)[y] * 0.6 + 0.1, y, blocks=np.arange(40) // 4, chance=50)
    assert any("says nothing" in note for note in found.attrs["notes"])


def test_what_predict_returns_is_scored():
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (80, 3))
    y = rng.binomial(2, 1 / (1 + np.exp(2 - counts[:, 0])))
    names = ["left", "none", "right"]
    trials = bg.recording(rows="trial", counts=counts, choice=y)
    model = bg.GLM(bg.Baseline() + bg.Linear("counts", bg.prior.Gaussian(0.5)), bg.family.Categorical(labels=names), response="choice")
    p = bg.predict(bg.fit(model, trials, "map", progress=False))
    p = xr.concat([p, p**2 / (p**2).sum("class")], "draw").assign_attrs(p.attrs)
    found = bg.decoding_score(p, trials["choice"], chance=0)
    assert value(found, "log_loss") == pytest.approx(metrics.log_loss(y, p.mean(("chain", "draw")).values), abs=1e-9)
    by_name = bg.decoding_score(p, np.array(names)[y], chance=0)
    assert value(by_name, "log_loss") == pytest.approx(value(found, "log_loss"), abs=EXACT)
    with pytest.raises(ValueError, match="draws of the class itself"):
        bg.decoding_score(p.sel({"class": "left"}, drop=True).assign_attrs(kind="response"), y, kind="classes")


def test_two_targets_and_categories():
    rng = np.random.default_rng(6)
    x, y = np.linspace(0, 1, 8), np.linspace(0, 2, 9)
    p = rng.dirichlet(np.ones(72), 30).reshape(30, 8, 9)
    decoded = xr.Dataset({"probability": (("time", "x", "y"), p)}, {"time": np.arange(30) * 0.1, "x": x, "y": y}, {"rows": "time"})
    truth = np.c_[rng.uniform(0, 1, 30), rng.uniform(0, 2, 30)]
    found = bg.decoding_score(decoded, truth, chance=0)
    mean = np.c_[p.sum(2) @ x, p.sum(1) @ y]
    assert value(found, "mean_error") == pytest.approx(np.hypot(*(mean - truth).T).mean(), abs=1e-9)
    category = xr.Dataset({"probability": (("trial", "side"), p[:, :2, 0] / p[:, :2, 0].sum(1, keepdims=True))}, {"side": ["left", "right"]}, {"rows": "trial"})
    assert bg.decoding_score(category, np.repeat(["left", "right"], 15), chance=0).attrs["kind"] == "classes"


def test_a_longer_truth_is_read_at_the_rows_decoded():
    decoded, y = on_circle(60)
    windows = decoded.rename(trial="time").assign_coords(time=np.arange(60) * 0.2 + 0.1).assign_attrs(rows="time")
    truth = xr.DataArray(np.repeat(y, 2), {"time": np.arange(120) * 0.1 + 0.05}, ["time"], attrs={"period": 360.0})
    assert value(bg.decoding_score(windows, truth, chance=0), "mean_error") == pytest.approx(value(bg.decoding_score(decoded, y, chance=0), "mean_error"))
    with pytest.raises(ValueError, match="does not cover"):
        bg.decoding_score(windows, truth.isel(time=slice(0, 50)), chance=0)


def test_rows_without_truth_are_left_out_and_counted():
    p, y = classes(50)
    found = bg.decoding_score(p, np.where(np.arange(50) < 5, np.nan, y), chance=0)
    assert found.attrs["n"] == 45
    assert any("5 rows" in note for note in found.attrs["notes"])
    assert value(found, "log_loss") == pytest.approx(metrics.log_loss(y[5:], p[5:]), abs=EXACT)


@pytest.mark.parametrize(
    ("probabilities", "truth", "how", "said"),
    [
        (np.full((4, 2), 0.7), [0, 1, 0, 1], {}, "sum to 1"),
        (np.full((4, 2), 0.5), [0, 1, 2, 1], {}, r"holds \[2\.?0?\]"),
        (np.full((4, 2), 0.5), [0, 1], {}, "one value a row"),
        (np.full(4, 0.5), [0, 1, 0, 1], {"kind": "choices"}, "kind='choices'"),
        (np.full(4, 0.5), [0, 1, 0, 1], {"kind": "angle"}, "period="),
        (np.full(4, 0.5), [0, 1, 0, 1], {"chance": -1}, "chance=-1"),
        (np.full(4, 0.5), [0, 1, 0, 1], {"bins": 1}, "bins=1"),
        (np.full(4, 0.5), [0, 1, 0, 1], {"prob": 1.0}, "prob=1.0"),
        (np.full(4, 0.5), [0, 1, 0, 1], {"blocks": 2.0}, "block of each row"),
        (np.full(4, 0.5), [0, 1, 0, 1], {"null": [0.1]}, "null has the shape"),
        (np.full((4, 2, 2), 0.5), [0, 1, 0, 1], {}, "has the shape"),
        (xr.DataArray(np.full((4, 2), 0.5), dims=("time", "neuron")), [0, 1, 0, 1], {}, "dim 'neuron'"),
        (xr.Dataset({"p": ("trial", np.ones(4))}), [0, 1, 0, 1], {}, "'probability'"),
        (np.full(4, np.nan), [0, 1, 0, 1], {}, "nothing can be scored"),
    ],
)
def test_bad_input_is_named(probabilities, truth, how, said):
    with pytest.raises(ValueError, match=said):
        bg.decoding_score(probabilities, truth, **how)


def test_reliability_by_hand():
    p = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
    found = bg.reliability(p, [0, 0, 1, 1, 0, 1], bins=2)
    np.testing.assert_allclose(found["predicted"], [0.2, 2.2 / 3])
    np.testing.assert_allclose(found["observed"], [1 / 3, 2 / 3])
    np.testing.assert_allclose(found["low"][0], stats.beta.ppf(0.05, 1.5, 2.5))
    assert found["count"].values.tolist() == [3, 3] and found.attrs["of"] == "P(1)"


def test_intervals_of_the_curve_cover_and_widen_with_blocks():
    inside, trials = 0, 40
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        p = rng.uniform(size=300)
        curve = bg.reliability(p, (rng.uniform(size=300) < p).astype(int), bins=5)
        inside += int(((curve["low"] <= curve["predicted"]) & (curve["predicted"] <= curve["high"])).sum())
    assert inside / (5 * trials) == pytest.approx(0.9, abs=0.07)
    y = (np.random.default_rng(0).uniform(size=60) < 0.5).astype(int)
    p = np.linspace(0.3, 0.7, 60)
    once = bg.reliability(p, y, bins=2)
    thrice = bg.reliability(np.repeat(p, 4), np.repeat(y, 4), bins=2, blocks=np.repeat(np.arange(60), 4))
    np.testing.assert_allclose(thrice["high"] - thrice["low"], once["high"] - once["low"], rtol=0.05)


@pytest.mark.parametrize("sure", [1.0, 4.0])
def test_the_curve_of_credible_sets(sure):
    decoded, y = on_circle(1500, sure=sure)
    curve = bg.reliability(decoded, y)
    off = np.abs(curve["observed"] - curve["predicted"]).max()
    assert (off < 0.05) if sure == 1 else (off > 0.2)
    assert curve.attrs["of"] == "mass of the credible set"
    with pytest.raises(ValueError, match="estimates"):
        bg.reliability(np.array([0.1, 2.0]), np.array([0.3, 1.0]))


def test_reliability_curves_are_drawn():
    p, y = classes(400, size=2)
    figure = bg.plot.calibration({"right": bg.reliability(p, y), "too sure": bg.reliability(p**3 / (p**3).sum(1, keepdims=True), y)})
    [ax] = figure.axes
    assert {text.get_text() for text in ax.get_legend().get_texts()} >= {"right, 400 rows", "too sure, 400 rows"}
    assert "P(1)" in ax.get_xlabel()
    with pytest.raises(ValueError, match="bg.reliability"):
        bg.plot.calibration(p)
