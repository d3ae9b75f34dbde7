"""bg.drift: planted changes are found where they are, blocks without change agree at the nominal rate, and rows are kept apart."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import kstest
from synthetic import made_up

import bayesglm as bg
from bayesglm import basis, method, prior
from bayesglm._checking._drift import planned

ROWS = 2400
KERNEL = basis.Lags(span=0.01)


def quietly(model, data, how="laplace"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bg.fit(model, data, how, progress=False)


def chain(strength: np.ndarray, seed: int = 0):
    """Three cells; the first drives the second, one bin back, by ``strength`` (row,)."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros((len(strength), 3), int)
    for t in range(1, len(strength)):
        spikes[t] = rng.poisson(np.exp(-1.2 + np.array([0.0, strength[t] * spikes[t - 1, 0], 0.0])))
    return bg.recording(dt=0.01, spikes=spikes, labels={"neuron": ["a", "b", "c"]})


COUPLED = bg.GLM(bg.Baseline() + bg.Coupling(KERNEL))


@pytest.fixture(scope="module")
def changed():
    return quietly(COUPLED, chain(np.where(np.arange(ROWS) < ROWS // 2, 0.0, 1.0)))


@pytest.fixture(scope="module")
def found(changed):
    return bg.drift(changed, blocks=2, progress=False)


def test_a_coupling_that_changes_at_mid_session(found):
    first = found.beyond.isel(effect=0)
    assert [str(first[key].item()) for key in ("term", "neuron", "source")] == ["coupling", "b", "a"]
    assert found.status != "good" and "within-session only" in found.verdict and "coupling[b <- a]" in repr(found)
    others = found.table["ratio"].values[(found.table["neuron"] != "b").values]
    assert (others < 3).all()
    row = found.table.isel(effect=int(np.flatnonzero((found.table["source"] == "a") & (found.table["neuron"] == "b"))[0]))
    np.testing.assert_array_less(np.abs(row["mean"] - [0.0, 1.0]), 3 * row["sd"])
    z = abs(float(row["mean"].diff("block").item())) / float(np.sqrt((row["sd"] ** 2).sum()))
    assert float(row["ratio"]) == pytest.approx(z)


def test_filters_have_the_dim_block(found, changed):
    draws = found.filters("coupling")
    assert draws.dims == ("block", "chain", "draw", "neuron", "source", "lag") and found.blocks == [0, 1]
    middle = draws.median(("chain", "draw")).sel(neuron="b", source="a").squeeze("lag")
    assert float(middle[0]) < 0.4 < 0.7 < float(middle[1])
    assert np.isnan(draws.sel(neuron="a", source="a")).all()


def test_a_rate_that_drifts_shows_in_the_baseline():
    rng = np.random.default_rng(1)
    x = 3.0 + rng.normal(size=ROWS)  # far from zero, so that the constant alone is known only with the slope
    spikes = rng.poisson(np.exp(-1.5 + 0.2 * (x - 3.0) + np.where(np.arange(ROWS) < ROWS // 2, 0.0, 0.5)))[:, None]
    found = bg.drift(made_up(bg.GLM(bg.Baseline() + bg.Linear("x")), bg.recording(dt=0.01, spikes=spikes, x=x)), progress=False)
    assert found.beyond["term"].values.tolist() == ["baseline"] and len(found.fits) == 4
    rising = found.beyond["mean"].isel(effect=0)
    assert float(rising[3] - rising[0]) == pytest.approx(0.5, abs=0.25)


def test_blocks_without_change_agree_at_the_nominal_rate():
    """A hundred cells of their own, flat priors: 100 x 2 chances are uniform."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=1500)
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-0.5 + 0.3 * x)[:, None] * np.ones(100)), x=x)
    flat = prior.Flat()
    found = bg.drift(made_up(bg.GLM(bg.Baseline(flat) + bg.Linear("x", flat)), data), blocks=3, progress=False)
    assert found.table.sizes["effect"] == 200
    assert kstest(found.table["p_value"], "uniform").pvalue > 0.01
    assert found.too_narrow == pytest.approx(1.0, abs=0.15) and found.status == "good"


@pytest.mark.slow
def test_halves_without_change_are_flagged_at_most_nominally():
    """Default priors, whose shrinkage draws halves together: at most 1 recording in 20 is flagged."""
    flagged = [bg.drift(made_up(COUPLED, chain(np.full(ROWS, 0.5), seed)), blocks=2, progress=False).status != "good" for seed in range(100, 160)]
    assert sum(flagged) <= 7  # 98 % of binomial(60, 0.05)


def test_levels_of_a_tuning_curve():
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, ROWS)
    centre = np.where(np.arange(ROWS) < ROWS // 2, -0.5, 0.5)
    spikes = rng.poisson(np.exp(-2 + 2 * np.exp(-0.5 * ((x - centre) / 0.25) ** 2)))[:, None]
    fit = made_up(bg.GLM(bg.Baseline() + bg.Tuning("x", basis.BSpline(6))), bg.recording(dt=0.01, spikes=spikes, x=x))
    found = bg.drift(fit, blocks=2, terms="x", progress=False)
    assert set(found.table["term"].values) == {"x"} and found.status == "bad"


def test_no_row_reads_another_block(changed):
    long = made_up(bg.GLM(bg.Baseline() + bg.History(basis.RaisedCosine(3, span=0.2))), changed.data)
    parts = planned(long, changed.data, "block", 3)
    assert [len(part.rows) for part in parts] == [800, 800, 800]
    assert [int((~part.kept).sum()) for part in parts] == [0, 20, 20]
    assert not parts[1].kept[:20].any() and parts[1].kept[20:].all()


def test_sessions_with_cells_of_their_own():
    def session(seed, slope):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=800)
        return bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-0.5 + slope * x))[:, None], x=x, labels={"neuron": ["u"]})

    data = bg.concat({"monday": session(0, 0.2), "friday": session(1, 0.9)})
    found = bg.drift(made_up(bg.GLM(bg.Baseline() + bg.Linear("x")), data), by="session", progress=False)
    assert found.blocks == ["monday", "friday"]
    assert found.table["ratio"].isnull().all() and found.status == "not assessed" and "no effect" in found.verdict
    slopes = found.table.isel(effect=np.flatnonzero(found.table["term"] == "x"))
    assert np.isfinite(slopes["mean"].values).sum() == 2 and np.isnan(slopes["mean"].values).sum() == 2


def test_epochs_and_trials_are_never_cut():
    rng = np.random.default_rng(4)
    data = bg.recording(dt=0.01, spikes=rng.poisson(0.3, (900, 1)), epoch=np.repeat(np.arange(5), [100, 300, 100, 200, 200]))
    parts = planned(made_up(bg.GLM(bg.Baseline()), data), data, "epoch", 2)
    assert [len(part.rows) for part in parts] == [500, 400]
    trials = bg.recording(rows="trial", choice=rng.integers(0, 2, 60), x=rng.normal(size=60))
    fit = made_up(bg.GLM(bg.Baseline() + bg.Linear("x"), bg.family.Bernoulli(), "choice"), trials)
    found = bg.drift(fit, by="trial", blocks=3, progress=False)
    assert found.table["start"].values.tolist() == [0, 20, 40] and found.table["start"].attrs["units"] == "trials"


def test_the_same_key_gives_the_same_blocks(changed, found):
    again = bg.drift(changed, blocks=2, progress=False)
    np.testing.assert_array_equal(again.table["mean"], found.table["mean"])


def test_errors_name_what_is_wanted(changed):
    with pytest.raises(ValueError, match="no effects of .*magic"):
        bg.drift(changed, terms="magic")
    with pytest.raises(ValueError, match=r"by='week'"):
        bg.drift(changed, by="week")
    with pytest.raises(ValueError, match="has 1 epochs"):
        bg.drift(changed, by="epoch")
    with pytest.raises(ValueError, match="no posterior sd"):
        bg.drift(changed, method="map")
    sparse = made_up(bg.GLM(bg.Baseline() + bg.Coupling(KERNEL, prior.lasso(1.0))), changed.data)
    with pytest.raises(ValueError, match="kink"):
        bg.drift(sparse)


def test_another_method_may_be_asked_for(changed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = bg.drift(changed, blocks=2, method=method.Laplace(num_samples=50), progress=False)
    assert found.fits[0].posterior.sizes["draw"] == 50


def test_the_picture_shows_every_block_and_the_whole(found):
    import matplotlib

    matplotlib.use("Agg")
    made = bg.plot.drift(found)
    titles = [ax.get_title() for ax in made.axes]
    assert len(titles) == 6 and any(title.startswith("coupling, b <- a: ") for title in titles)
    assert made.axes[0].get_legend_handles_labels()[1] == ["whole recording", "0-12 s", "12-24 s"]
    assert len(bg.plot.drift(found, neurons=["b"], sources="a").axes) == 1
    with pytest.raises(ValueError, match=r"bg\.drift\(fit\)"):
        bg.plot.drift(found.fit)
    with pytest.raises(ValueError, match="no lags"):
        bg.plot.drift(found, "baseline")
