"""Predictive checks: nominal for true models, able to fail, and never offered where they mean nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter
from studies import predictive
from studies.record import keep
from synthetic import made_up

import bayesglm as bg
from bayesglm import family, prior
from bayesglm._checking._joint_null import judged
from bayesglm._checking._posterior_check import distances
from bayesglm._checking._statistics_rows import doubling
from bayesglm._model import AbstractModel

G = prior.Gaussian(1.0)
SETS, ROWS, DRAWS = 100, 400, 99  # of the fast study: 5 % of 100 are 5 +- 2.2
FEW = 12  # rejections that a nominal check exceeds once in a thousand times
QUIET = {"draws": DRAWS, "progress": False}


BINS = 1500  # of most recordings here, so that programs are shared


def bursting(rng, rows=2 * BINS):
    """Spikes in bursts that no covariate announces."""
    on = np.repeat(rng.random(rows // 10) < 0.15, 10)
    return rng.poisson(np.where(on, 1.2, 0.02))


def constant(data, mean, **more):
    """A fit of a constant rate of ``mean`` spikes a bin."""
    return made_up(bg.GLM(bg.Baseline(G)), data, {"baseline": np.log(mean)}, **more)


@pytest.fixture(scope="module")
def poisson():
    return predictive.fitted("poisson", SETS, ROWS, 3)


@pytest.fixture(scope="module")
def held_out(poisson):
    return predictive.alone(*poisson, "one_step", DRAWS)


# ---- the joint null


def test_the_joint_p_is_exact_whatever_the_dependence():
    """Exchangeable members, correlated statistics, one of them nearly constant: ranks are uniform."""
    rng = np.random.default_rng(0)
    p = np.empty(400)
    for i in range(400):
        pool = rng.normal(size=(100, 4, 2)) + rng.normal(size=(100, 1, 1))
        pool[:, 3] = rng.random((100, 2)) < 0.02
        p[i] = judged(pool, np.array([False, True, False, False]), np.zeros(4)).joint
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.035)


def test_one_extreme_statistic_is_found_among_many():
    pool = np.random.default_rng(1).normal(size=(201, 10, 50))
    pool[0, 4, 7] = 9.0
    found = judged(pool, np.zeros(10, bool), np.zeros(10))
    assert found.joint == pytest.approx(1 / 201)
    assert np.argwhere(found.adjusted <= 0.05).tolist() == [[4, 7]]
    assert found.by_neuron[7] == pytest.approx(1 / 201)


def test_a_largest_count_that_no_replicate_comes_near_is_found_and_a_tie_is_not():
    pool = np.full((201, 1, 2), 2.0)
    pool[0, 0, 1] = 7.0
    found = judged(pool, np.zeros(1, bool), np.ones(1))
    np.testing.assert_allclose(found.alone[0], [1.0, 2 / 201])
    np.testing.assert_allclose(found.adjusted[0], [1.0, 1 / 201])


def test_what_is_not_defined_is_not_judged():
    pool = np.random.default_rng(2).normal(size=(50, 2, 3))
    pool[:, 1, 2] = np.nan
    pool[:, :, 0] = np.nan
    found = judged(pool, np.zeros(2, bool), np.zeros(2))
    assert np.isnan(found.alone).tolist() == [[True, False, False], [True, False, True]]
    assert np.isnan(found.by_neuron).tolist() == [True, False, False]
    assert 0 < found.joint <= 1


def test_distances_are_in_standard_deviations():
    rng = np.random.default_rng(3)
    curves = rng.normal(size=(4000, 1, 5)) * np.arange(1, 6)
    assert np.sqrt((distances(curves) ** 2).mean()) == pytest.approx(1.0, abs=1e-9)
    curves[:, :, 0] = 3.0  # a place where all agree says nothing
    assert np.isfinite(distances(curves)).all()


# ---- true models pass at the nominal rate


@pytest.mark.parametrize("kind", ["one_step", "free"])
def test_true_models_are_rejected_at_the_nominal_rate(poisson, held_out, kind):
    found = held_out if kind == "one_step" else predictive.alone(*poisson, kind, DRAWS)
    assert not found.in_sample
    assert (found.p_neuron <= 0.05).sum() <= FEW
    assert stats.kstest(found.p_neuron.values, "uniform").pvalue > 0.001
    for name in found.table["statistic"].values:
        assert (found.table["p_value"].sel(statistic=name) <= 0.05).sum() <= FEW, name


def test_in_sample_the_check_is_conservative_and_says_so(poisson):
    fit, _ = poisson
    found = predictive.alone(fit, None, "one_step", DRAWS)
    assert found.in_sample
    assert (found.table["p_value"].sel(statistic="mean") <= 0.05).sum() <= 1
    assert (found.p_neuron <= 0.05).sum() <= FEW
    assert any("too large" in note for note in found.notes)
    assert found.passed is False or "in sample" in found.verdict


def test_correlations_of_a_true_network_pass():
    p = predictive.networks(20, 600, 5, draws=99)
    assert (p <= 0.05).sum() <= 4  # 1 is expected; 5 come once in 400 times


# ---- wrong models fail


def test_a_poisson_fit_to_bursts_fails():
    rng = np.random.default_rng(0)
    train, test = bg.split(bg.recording(dt=0.01, spikes=bursting(rng)), 0.5)
    fit = bg.fit(bg.GLM(bg.Baseline()), train, "laplace", progress=False)
    for kind in ("one_step", "free"):
        found = bg.posterior_check(fit, test, kind=kind, progress=False)
        assert found.p_joint == pytest.approx(1 / 201)
        assert not found.passed
        failed = {name for name, _ in found.standing_out()}
        assert {"variance", "fano", "autocorrelation", "rootogram"} <= failed
        assert found.verdict.startswith("the fit does not describe these data")
        assert "History()" in repr(found)


def test_a_missing_refractory_period_shows_in_the_intervals():
    spikes = np.random.default_rng(3).poisson(0.4, (BINS, 3))
    for t in range(1, BINS):
        spikes[t] *= spikes[t - 1] == 0
    data = bg.recording(dt=0.01, spikes=spikes)
    fit = constant(data, spikes.mean(0))
    for kind in ("one_step", "free"):
        found = bg.posterior_check(fit, None, ["isi", "autocorrelation", "mean"], kind=kind, **QUIET)
        assert {name for name, _ in found.standing_out()} == {"isi", "autocorrelation"}
        first = found.curves["isi"].isel(interval=1)  # one bin
        assert (first["observed"] == 0).all() and (first["low"] > 0.1).all()


def test_common_input_shows_in_the_correlations():
    rng = np.random.default_rng(4)
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-1.5 + 0.8 * rng.normal(size=BINS))[:, None] * np.ones(3)))
    found = bg.posterior_check(constant(data, data["spikes"].values.mean(0)), None, ["cross_correlation", "cross_correlation_lagged"], **QUIET)
    assert {name for name, _ in found.standing_out()} == {"cross_correlation"}
    curve = found.curves["cross_correlation"]
    assert np.isnan(curve["observed"].sel(partner=0, neuron=0))
    shown = np.corrcoef(data["spikes"].values[:, 0], data["spikes"].values[:, 1])[0, 1]
    assert curve["observed"].sel(partner=0, neuron=1) == pytest.approx(shown, abs=0.01)


def test_a_response_locked_to_the_trial_shows_in_the_psth():
    rng = np.random.default_rng(5)
    rate = np.where(np.arange(50) < 10, 0.5, 0.1)
    data = bg.from_trials({"spikes": rng.poisson(rate, (BINS // 50, 50))}, dt=0.01)
    found = bg.posterior_check(constant(data, rate.mean()), None, **QUIET)
    assert "psth" in {name for name, _ in found.standing_out()}
    curve = found.curves["psth"]
    assert curve["observed"].values[0].item() == pytest.approx(50, rel=0.25)  # spikes/s
    assert float(curve["mean"].mean()) == pytest.approx(100 * rate.mean(), rel=0.1)


def test_continuous_responses_ask_for_history_and_heavy_tails():
    rng = np.random.default_rng(6)
    y = lfilter([1.0], [1.0, -0.7], rng.standard_t(3, size=BINS))
    data = bg.recording(dt=0.01, trace=y)
    fit = made_up(bg.GLM(bg.Baseline(G), family.Gaussian(), response="trace"), data, {"baseline": y.mean()}, sigma=y.std())
    found = bg.posterior_check(fit, **QUIET)
    assert {"autocorrelation", "kurtosis", "extreme"} <= {name for name, _ in found.standing_out()}
    assert "History() of the response" in repr(found)
    assert "neuron" not in found.table.dims


# ---- what they are


def test_statistics_are_what_they_say():
    rng = np.random.default_rng(7)
    spikes = rng.poisson(0.4, (BINS, 3))
    data = bg.recording(dt=0.01, spikes=spikes, epoch=np.repeat([0, 1], BINS // 2))
    fit = constant(data, 0.4, sd=1e-9)
    table = bg.posterior_check(fit, kind="free", **QUIET).table["observed"]
    assert table["title"].sel(statistic="variance") == "variance"  # about the responses' own mean; one step ahead about the prediction
    np.testing.assert_allclose(table.sel(statistic="mean"), 100 * spikes.mean(0))
    np.testing.assert_allclose(table.sel(statistic="variance"), spikes.var(0))
    np.testing.assert_allclose(table.sel(statistic="zeros"), (spikes == 0).mean(0))
    np.testing.assert_allclose(table.sel(statistic="maximum"), spikes.max(0))
    windows = spikes.reshape(-1, 10, 3).sum(1)
    np.testing.assert_allclose(table.sel(statistic="fano"), windows.var(0) / windows.mean(0))
    one = bg.posterior_check(fit, None, ["variance", "fano"], **QUIET).table["observed"]
    np.testing.assert_allclose(one.sel(statistic="variance"), ((spikes - 0.4) ** 2).mean(0), rtol=1e-6)
    np.testing.assert_allclose(one.sel(statistic="fano"), ((windows - 4.0) ** 2).sum(0) / spikes.sum(0), rtol=1e-6)


@pytest.mark.parametrize("kind", ["one_step", "free"])
def test_intervals_and_lags_stay_within_their_epoch(kind):
    spikes = np.zeros(BINS, int)
    spikes[[3, 4, 8, 29, 30, 33]] = 1  # the first bin of the second epoch is row 30
    spikes[40] = 3
    epoch = np.r_[np.zeros(30, int), np.ones(30, int), np.full(BINS - 60, 2)]
    data = bg.recording(dt=0.01, spikes=spikes, epoch=epoch)
    curves = bg.posterior_check(constant(data, 1e-6, sd=1e-9), None, ["isi", "autocorrelation", "rootogram"], kind=kind, **QUIET).curves
    edges = [(round(100 * low, 1), round(100 * high, 1)) for low, high in zip(curves["isi"]["from"].values, curves["isi"]["to"].values, strict=True)]
    held = {edge: round(7 * share) for edge, share in zip(edges, curves["isi"]["observed"].values.ravel(), strict=True) if share}
    # 1 bin; 4 and 3 bins; 7 bins; 21 bins; two more spikes in one bin
    assert held == {(0.0, 0.5): 2, (0.5, 1.5): 1, (2.5, 4.5): 2, (4.5, 8.5): 1, (16.5, 32.5): 1}
    assert curves["rootogram"]["observed"].sel(count=[0, 1, 2, 3]).values.ravel().tolist() == [BINS - 7, 6, 0, 1]
    y = spikes - (spikes.mean() if kind == "free" else 1e-6)
    neighbours = np.flatnonzero(epoch[1:] == epoch[:-1])
    expected = y[neighbours] @ y[neighbours + 1] / (y @ y)
    assert curves["autocorrelation"]["observed"].values.ravel()[0] == pytest.approx(expected, rel=1e-6)


def test_classes_of_lags_double():
    assert doubling(10) == ((1, 1), (2, 2), (3, 4), (5, 8), (9, 10))
    assert doubling(0) == ()


@pytest.mark.parametrize(
    ("law", "column", "wanted"),
    [
        (family.Bernoulli(), "choice", {"mean", "repeats", "autocorrelation", "pit", "variance"}),
        (family.Categorical(3), "code", {"frequencies", "repeats"}),
        (family.Ordinal(3), "code", {"frequencies", "repeats", "autocorrelation", "pit"}),
        (family.VonMises(), "direction", {"resultant", "concentration", "autocorrelation", "pit"}),
        (family.Binomial(4), "hits", {"mean", "variance", "zeros", "maximum", "autocorrelation", "rootogram", "pit"}),
    ],
)
def test_every_kind_of_response_has_its_statistics_and_its_true_model_passes(law, column, wanted):
    rng = np.random.default_rng(14)
    x = rng.normal(size=400)
    angle = rng.vonmises(0.5, 2.0, 400) % (2 * np.pi)
    columns = {"choice": rng.integers(0, 2, 400), "code": rng.integers(0, 3, 400), "direction": bg.angle(angle), "hits": rng.binomial(4, 0.3, 400)}
    data = bg.recording(rows="trial", x=x, **{column: columns[column]})
    train, test = bg.split(data, 0.5)
    terms = bg.Linear("x", G) if isinstance(law, family.Ordinal) else bg.Baseline() + bg.Linear("x", G)
    fit = bg.fit(bg.GLM(terms, law, response=column), train, "laplace", progress=False)
    found = bg.posterior_check(fit, test, **QUIET)
    assert set(found.table["statistic"].values) == wanted
    assert found.p_joint > 0.01, repr(found)
    if column == "choice":
        stuck = test.copy()
        stuck["choice"] = ("trial", np.repeat(rng.integers(0, 2, 20), 10))
        assert "repeats" in {name for name, _ in bg.posterior_check(fit, stuck, **QUIET).standing_out()}


def test_functions_of_the_user_see_whole_responses(poisson):
    fit, test = poisson
    few = constant(test, 0.25)
    found = bg.posterior_check(few, test, {"early": lambda y: y[:50].sum(0), "total": lambda y: y.sum()}, **QUIET)
    np.testing.assert_allclose(found.table["observed"].sel(statistic="early"), test["spikes"].values[:50].sum(0))
    assert float(found.table["observed"].sel(statistic="total")[3]) == test["spikes"].values.sum()
    with pytest.raises(ValueError, match="returned the shape"):
        bg.posterior_check(few, test, {"bad": lambda y: y[:, 0]}, **QUIET)
    with pytest.raises(ValueError, match="kind='free'"):
        bg.posterior_check(fit, test, {"total": lambda y: y.sum()}, **QUIET)


def test_what_has_no_meaning_is_refused(poisson):
    fit, test = poisson
    with pytest.raises(ValueError, match=r"no \['pit'\] with kind='free'"):
        bg.posterior_check(fit, test, "pit", kind="free", **QUIET)
    with pytest.raises(ValueError, match=r"\['skew'\] is unknown; there are 'mean'"):
        bg.posterior_check(fit, test, ["skew"], **QUIET)
    with pytest.raises(ValueError, match="'one_step', 'free'"):
        bg.posterior_check(fit, test, kind="both")
    with pytest.raises(ValueError, match="39"):
        bg.posterior_check(fit, test, draws=20, progress=False)
    with pytest.raises(ValueError, match="lacks the response"):
        bg.posterior_check(fit, test.drop_vars("spikes"), ["mean"], **QUIET)


def test_the_same_key_gives_the_same_check_and_chunks_do_not_matter(monkeypatch):
    from bayesglm import _likelihood

    data = predictive.simulate("poisson", 3, BINS, 5)
    fit = constant(data, data["spikes"].values.mean(0))
    one, two = (bg.posterior_check(fit, None, ["fano", "isi"], key=4, **QUIET) for _ in range(2))
    np.testing.assert_array_equal(one.replicated.values, two.replicated.values)
    monkeypatch.setattr(_likelihood, "_NUMBERS", 1 << 15)
    other = bg.posterior_check(fit, None, ["fano", "isi"], key=4, **QUIET)
    np.testing.assert_allclose(other.table["observed"].sel(statistic="fano"), one.table["observed"].sel(statistic="fano"), rtol=1e-9)
    np.testing.assert_allclose(other.curves["isi"]["observed"], one.curves["isi"]["observed"], rtol=1e-9)
    assert (abs(other.table["mean"] - one.table["mean"]) < 6 * one.replicated.std("replicate") / np.sqrt(DRAWS)).all()


def test_a_point_says_that_its_parameters_are_taken_as_known(poisson):
    _, test = poisson
    found = bg.posterior_check(constant(test, 0.25, point=True), test, ["mean"], **QUIET)
    assert found.point and found.in_sample and found.replicates == DRAWS
    assert "as known" in repr(found)


def test_rows_of_the_training_part_are_in_sample_however_they_are_passed():
    data = predictive.simulate("poisson", 3, BINS, 5)
    fit = constant(data, 0.3)
    assert bg.posterior_check(fit, data.copy(), ["mean"], **QUIET).in_sample
    late = data.assign_coords(time=data["time"] + 100.0)
    assert not bg.posterior_check(fit, late, ["mean"], **QUIET).in_sample


def test_neurons_that_are_not_scored_have_no_statistics():
    rng = np.random.default_rng(9)
    seen = np.ones((2 * BINS, 3), bool)
    seen[BINS + 500 :, 1] = False
    seen[BINS:, 2] = False
    data = bg.recording(dt=0.01, spikes=rng.poisson(0.3, seen.shape), observed=seen)
    found = bg.posterior_check(constant(data, 0.3), data.isel(time=slice(BINS, None)), ["mean", "isi", "maximum"], **QUIET)
    assert found.table["observed"].isel(neuron=2).isnull().all()
    assert np.isnan(found.p_neuron[2])
    assert found.table["p_value"].isel(neuron=[0, 1]).notnull().all()
    mean = 100 * data["spikes"].values[BINS : BINS + 500, 1].mean()
    assert float(found.table["observed"].sel(statistic="mean", neuron=1)) == pytest.approx(mean)


class Told(AbstractModel):
    """A GLM's story without its blocks."""

    inner: Any

    def design(self, data):
        return self.inner.design(data)

    def __call__(self, design):
        self.inner(design)

    def coords(self):
        return self.inner.coords()

    def observed_site(self):
        return "spikes"


def test_any_story_is_checked_one_step_ahead():
    data = predictive.simulate("poisson", 3, BINS, 5)
    fit = constant(data, 0.3)
    told = replace(fit, model=Told(fit.model))
    one, other = (bg.posterior_check(some, None, ["mean", "zeros", "isi"], **QUIET) for some in (fit, told))
    np.testing.assert_allclose(other.table["observed"].values[:2], one.table["observed"].values[:2])
    np.testing.assert_allclose(other.table["mean"].values, one.table["mean"].values, rtol=0.1)


# ---- how it reads


def test_the_record_reads_well(held_out):
    text = repr(held_out)
    assert text.startswith("Posterior check, held out, one step ahead, given the real past: 99 replicates of")
    assert "verdict: nothing stands out (p = " in text or "does not describe" in text
    assert "Fano factor of the counts in windows of 0.1 s" in text
    assert "<table>" in held_out._repr_html_()
    assert set(held_out.curves) == {"autocorrelation", "isi", "rootogram", "pit"}


def test_the_picture_has_a_panel_a_statistic(held_out):
    import matplotlib

    matplotlib.use("Agg")
    figure = bg.plot.posterior_check(held_out, neuron=3)
    figure.draw_without_rendering()
    assert len(figure.axes) == held_out.table.sizes["statistic"]
    by_title = {ax.get_title(loc="left").split(",")[0]: ax for ax in figure.axes}
    line = by_title["Mean"].get_lines()[0].get_xdata()
    assert line[0] == pytest.approx(float(held_out.table["observed"].sel(statistic="mean", neuron=3)))
    assert by_title["Mean"].get_xlabel() == "spikes/s"
    assert by_title["Autocorrelation"].get_xlabel() == "lag (ms)"
    assert len(bg.plot.posterior_check(held_out, statistics=["zeros"]).axes) == 1
    with pytest.raises(ValueError, match="wants the result of bg.posterior_check"):
        bg.plot.posterior_check(3)


# ---- slow: the rates of 500 data sets


@pytest.mark.slow
@pytest.mark.parametrize("name", ["poisson", "bernoulli", "gaussian", "networks"])
def test_the_rates_of_true_models_are_nominal(name):
    found = predictive.networks_study() if name == "networks" else predictive.study(name)
    keep(f"predictive_checks_{name}", found)
    for kind, rates in found.items():
        if kind != "in sample":
            assert 0.03 <= rates["rejected"] <= 0.07, (name, kind)
