"""Time rescaling: exact for counts and for binary bins, nominal for true models, and able to fail."""

from __future__ import annotations

import dataclasses
import itertools

import matplotlib

matplotlib.use("Agg")

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats
from studies import rescaling
from synthetic import made_up

import bayesglm as bg
from bayesglm import _likelihood, basis, datasets, family, method, prior
from bayesglm.engine.goodness import Histogram, goodness, holm, ks_bound, ks_p
from bayesglm.engine.rescaling import rescaled_intervals

EXACT = 1e-10
RUNS = 500
NEAR = 3.3 * np.sqrt(0.05 * 0.95 / RUNS)  # of a share of 5 %: once in a thousand
CERTAIN = 1e-6
G = prior.Gaussian(1.0)


def test_single_spikes_end_intervals_of_expected_counts():
    """One spike a bin: the interval is what was expected from within one bin to within the other."""
    expected = np.linspace(0.01, 0.05, 60)[:, None]
    counts = np.zeros((60, 1), int)
    at = np.array([3, 4, 20, 59])
    counts[at] = 1
    found = rescaled_intervals(expected, counts)[0]
    total = np.r_[0.0, np.cumsum(expected)]
    assert (found <= np.diff(total[at]) + expected[at[1:], 0] + EXACT).all()
    assert (found >= np.diff(total[at]) - expected[at[:-1], 0] - EXACT).all()
    assert total[at[0]] < total[at[-1]] - found.sum() + expected[at[-1], 0]


def test_several_spikes_of_a_bin_are_order_statistics_of_it():
    """Places of k spikes in their bin: the j-th has the Beta(j, k - j + 1) law."""
    k, runs = 4, 4000
    counts = np.zeros((3, runs), int)
    counts[0], counts[1] = 1, k
    expected = np.array([[1e-12], [1.0], [1.0]]) * np.ones((1, runs))
    places = np.cumsum(np.array(rescaled_intervals(expected, counts)), axis=1)
    assert (np.diff(places) > 0).all() and places.max() < 1.0
    for j in range(k):
        assert stats.kstest(places[:, j], stats.beta(j + 1, k - j).cdf).pvalue > 1e-3


def test_binary_bins_follow_the_discrete_theorem():
    """Haslinger, Pipa & Brown: all bins between, and -log(1 - r p) of the spike's own bin."""
    rng = np.random.default_rng(1)
    p = rng.uniform(0.3, 0.95, (20_000, 1))
    counts = (rng.random(p.shape) < p).astype(int)
    q, at = -np.log1p(-p[:, 0]), np.flatnonzero(counts)
    between = np.array([q[one + 1 : two].sum() for one, two in itertools.pairwise(at)])
    found = rescaled_intervals(p, counts, how="any_spike")[0]
    rest = found - between
    assert (rest > -EXACT).all() and (rest < q[at[1:]] + EXACT).all()
    r = -np.expm1(-rest) / p[at[1:], 0]
    assert stats.kstest(r, "uniform").pvalue > 1e-3


def test_bins_that_are_not_scored_are_cut_out():
    rng = np.random.default_rng(2)
    expected, counts = rng.uniform(0.1, 0.4, (400, 1)), rng.poisson(0.3, (400, 1))
    scored = rng.random((400, 1)) < 0.7
    for how in ("counts", "any_spike"):
        found = rescaled_intervals(expected, counts, how=how, scored=scored)[0]
        cut = rescaled_intervals(expected[scored[:, 0]], counts[scored[:, 0]], how=how)[0]
        np.testing.assert_allclose(found, cut, atol=EXACT)


def test_the_two_tests_are_the_known_ones():
    u = np.random.default_rng(0).random(200) ** 1.1
    found, known = goodness(u), stats.kstest(u, "uniform")
    assert (found.ks, found.p_value) == (pytest.approx(known.statistic, abs=EXACT), pytest.approx(known.pvalue, rel=1e-9))
    assert ks_p(ks_bound(200), 200) == pytest.approx(0.05, abs=1e-9)
    z = stats.norm.ppf(u) - stats.norm.ppf(u).mean()
    r = np.array([z[k:] @ z[:-k] for k in range(1, 11)]) / (z @ z)
    box = 200 * 202 * np.sum(r**2 / (200 - np.arange(1, 11)))
    assert found.autocorrelation_p == pytest.approx(stats.chi2.sf(box, 10), rel=1e-9)


def test_correlations_do_not_cross_groups_or_gaps():
    rng = np.random.default_rng(3)
    level = np.repeat(rng.random(500), 2)  # pairs of equal numbers, a group each
    assert goodness(level).autocorrelation[0] == pytest.approx(0.5, abs=0.1)
    assert goodness(level, np.repeat(np.arange(500), 2)).autocorrelation[0] == pytest.approx(1.0, abs=0.05)
    holes = np.insert(level, np.arange(2, 1000, 2), np.nan)
    assert goodness(holes).autocorrelation[0] == pytest.approx(1.0, abs=0.05)
    assert goodness(holes).n == 1000


def test_holms_correction_is_the_published_one():
    """The example of Holm's procedure: sorted p times 4, 3, 2, 1, made monotone."""
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005])), [0.03, 0.06, np.nan, 0.06, 0.02])
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_histograms_read_distances_on_their_grid():
    rng = np.random.default_rng(4)
    train, u = rng.integers(0, 2, 5000), rng.random((3, 5000)) ** 1.2
    grid = Histogram(3, 2)
    for part in np.array_split(np.arange(5000), 7):
        grid.add(train[part], u[:, part])
    for n in range(2):
        exact = [stats.kstest(one[train == n], "uniform").statistic for one in u]
        near = np.abs(grid.shares(n) - np.linspace(0, 1, 1025)).max(1)
        np.testing.assert_allclose(near, exact, atol=1 / 1024)


@pytest.mark.parametrize("kind", list(rescaling.FAMILIES))
def test_true_models_are_rejected_at_the_nominal_rate(kind):
    """500 runs of 5 s in bins of 5 ms; the study has all bin widths and longer runs."""
    one = rescaling.simulate(kind, 0.005, RUNS, 1000, np.random.default_rng(8))
    found = rescaling.shares(rescaling.p_values(rescaled_intervals(one.expected, one.counts, how=rescaling.FAMILIES[kind][1])))
    assert max(abs(found[test] - 0.05) for test in ("ks", "autocorrelation", "joint")) < NEAR


def test_wide_bins_with_several_spikes_are_exact_and_the_binary_theorem_is_not():
    one = rescaling.simulate("Poisson", 0.02, RUNS, 1500, np.random.default_rng(9))
    assert (one.counts > 1).mean() > 0.04
    right = rescaling.shares(rescaling.p_values(rescaled_intervals(one.expected, one.counts)))
    assert max(abs(right["ks"] - 0.05), abs(right["joint"] - 0.05)) < NEAR
    occupied = rescaling.shares(rescaling.p_values(rescaled_intervals(-np.expm1(-one.expected), one.counts, how="any_spike")))
    assert abs(occupied["ks"] - 0.05) < NEAR  # whether a bin is empty is binary, and exact
    binary = rescaled_intervals(np.minimum(one.expected, 0.99), one.counts, how="any_spike")
    assert rescaling.shares(rescaling.p_values(binary))["ks"] > 0.9


def test_trials_end_to_end_are_exact_and_cutting_their_ends_is_not():
    right = rescaling.shares(rescaling.in_trials("Poisson", 0.02, 200, 1, False))
    assert abs(right["ks"] - 0.05) < 3.3 * np.sqrt(0.05 * 0.95 / 200)
    assert rescaling.shares(rescaling.in_trials("Poisson", 0.02, 20, 1, True))["ks"] == 1.0


@pytest.mark.parametrize("kind", list(rescaling.FAMILIES))
def test_fits_at_the_truth_are_rejected_at_the_nominal_rate(kind):
    """A hundred neurons, each a run of its own, by bg.rescale: p-values are uniform, and the whole is not rejected."""
    one = rescaling.simulate(kind, 0.01, 100, 1500, np.random.default_rng(10))
    data = bg.recording(dt=0.01, spikes=one.counts)
    found = bg.rescale(rescaling.at_the_truth(kind, data), data, progress=False)
    assert found.how == rescaling.FAMILIES[kind][1]
    for p in (found.table["p_value"].values, found.table["autocorrelation_p"].values):
        assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert found.rejected == () and found.p_joint > 0.05
    by_hand = rescaling.p_values(rescaled_intervals(one.expected, one.counts, how=found.how))
    np.testing.assert_allclose(found.table["n"], one.counts.sum(0) - 1)
    assert np.corrcoef(by_hand[:, 0], found.table["p_value"])[0, 1] > 0.5  # other places within the bins, the same rates


@pytest.fixture(scope="module")
def refractory():
    """Three cells with a past; the last is twice as fast as the fits below believe."""
    one = rescaling.simulate("Poisson", 0.005, 3, 8000, np.random.default_rng(11))
    counts = one.counts.astype(int)
    counts[:, 2] += np.random.default_rng(12).poisson(0.1, 8000)
    return bg.recording(dt=0.005, spikes=counts, labels={"neuron": ["a", "b", "fast"]})


def whole(data, **kwargs):
    model = bg.GLM(bg.Baseline(G) + bg.History(rescaling.SHAPE, G, edge="zero"))
    centre = {"baseline": rescaling.level("Poisson", 0.005), "history": rescaling.WEIGHTS}
    return made_up(model, data, centre, **{"sd": 0.02, "draws": 30} | kwargs)


@pytest.fixture(scope="module")
def found(refractory):
    train, test = bg.split(refractory, 0.5)
    return bg.rescale(whole(train), test, progress=False)


def test_a_wrong_neuron_is_named_and_the_others_are_not(found):
    assert found.rejected == ("fast",)
    assert found.assessed == 3
    assert found.held_out
    assert found.p_joint < CERTAIN
    assert "rejected in 1 of 3 neurons (fast): too many intervals are shorter" in found.verdict
    assert found.table["status"].values.tolist() == ["not rejected", "not rejected", "rejected"]
    assert set(found.table) >= {"n", "ks", "p_value", "p_low", "p_high", "autocorrelation", "autocorrelation_p", "p_adjusted"}


def test_the_record_reads_well(found):
    text = repr(found)
    assert text.startswith("Time rescaling of 'spikes': rejected in 1 of 3")
    assert text.count("not rejected") == 2 and "held out" in text and "Holm" in text
    assert "<table>" in found._repr_html_() and "held out" in found._repr_html_()


def test_draws_spread_p_values_around_the_averaged_one(found, refractory):
    low, p, high = (found.table[name].values[:2] for name in ("p_low", "p_value", "p_high"))
    assert (low < p).all() and (p < high).all()
    point = bg.rescale(whole(refractory, point=True), progress=False)
    assert np.isnan(point.table["p_low"]).all() and point.draws == 1
    tight = bg.rescale(whole(refractory, sd=1e-9), progress=False).table
    np.testing.assert_allclose(tight["p_value"], point.table["p_value"], rtol=1e-4)
    np.testing.assert_allclose(tight["p_low"][:2], tight["p_value"][:2], rtol=0.15)


def test_the_prediction_is_averaged_over_draws():
    """Draws at half and at one and a half times the rate are both rejected; their average is the truth."""
    counts = np.random.default_rng(13).poisson(0.1, (20_000, 1))
    data = bg.recording(dt=0.01, spikes=counts)
    fit = made_up(bg.GLM(bg.Baseline(G)), data, chains=1, draws=2)
    fit.idata["posterior"]["baseline"].values[...] = np.log([0.05, 0.15]).reshape(1, 2, 1)
    found = bg.rescale(fit, progress=False)
    assert found.rejected == () and found.table["p_value"] > 0.05
    assert found.table["p_high"] < CERTAIN


def test_unobserved_rows_take_no_time():
    rng = np.random.default_rng(14)
    counts, observed = rng.poisson(0.1, (20_000, 2)), rng.random((20_000, 2)) < [0.6, 1.0]
    data = bg.recording(dt=0.01, spikes=counts, observed=observed)
    found = bg.rescale(made_up(bg.GLM(bg.Baseline(G)), data, {"baseline": np.log(0.1)}, point=True), progress=False)
    assert found.rejected == ()
    np.testing.assert_array_equal(found.table["n"], np.where(observed, counts, 0).sum(0) - 1)


def test_curves_are_shares_of_intervals(found):
    curves = found.curves.isel(neuron=0)
    assert curves["share"][0] == 0.0 and curves["share"][-1] == 1.0
    inside = (curves["low"] <= curves["share"] + 0.01) & (curves["share"] - 0.01 <= curves["high"])
    assert inside.all()
    assert np.abs(curves["share"] - curves["quantile"]).max() == pytest.approx(float(found.table["ks"][0]), abs=2 / 256)


def test_rows_that_the_fit_has_seen_are_labelled(refractory):
    fit = whole(refractory.isel(neuron=slice(0, 2)), draws=5)
    for seen in (bg.rescale(fit, progress=False), bg.rescale(fit, bg.split(fit.data, 0.5)[0], progress=False)):
        assert not seen.held_out
        assert "in sample, where the test is conservative" in seen.verdict and "says little" in seen.verdict


def test_too_few_spikes_are_not_called_good():
    counts = np.zeros((2000, 2), int)
    counts[np.arange(1, 20) * 90, 0] = 1
    counts[np.arange(1, 22) * 90, 1] = 1
    data = bg.recording(dt=0.01, spikes=counts)
    fit = made_up(bg.GLM(bg.Baseline(G)), data, {"baseline": np.log(0.01)}, draws=3)
    found = bg.rescale(fit, progress=False)
    assert found.table["status"].values.tolist()[0] == "not assessed"
    assert found.assessed == 1
    few = bg.rescale(made_up(bg.GLM(bg.Baseline(G), neurons=[0]), data, point=True), progress=False)
    assert few.verdict.startswith("not assessed") and np.isnan(few.p_joint)
    assert "not assessed" in repr(few)
    rows = bg.rescale(made_up(bg.GLM(bg.Baseline(G), family.NegativeBinomial(0.5)), data, point=True), progress=False)
    assert rows.how == "pit" and rows.table["status"].values[0] == "not assessed"  # 2,000 rows, 19 spikes


def test_places_depend_on_key_and_label_only(refractory, monkeypatch):
    fit = whole(refractory, draws=4)
    one = bg.rescale(fit, progress=False)
    assert one.table.identical(bg.rescale(fit, progress=False).table)
    assert not np.array_equal(one.table["ks"], bg.rescale(fit, key=1, progress=False).table["ks"])
    monkeypatch.setattr(_likelihood, "_NUMBERS", 5000)
    many = bg.rescale(fit, progress=False)
    np.testing.assert_allclose(many.table["p_value"], one.table["p_value"], rtol=1e-6)
    np.testing.assert_allclose(many.curves["high"], one.curves["high"], atol=1e-3)
    alone = bg.rescale(whole(refractory.sel(neuron=["b"]), point=True), progress=False)
    everyone = bg.rescale(whole(refractory, point=True), progress=False)
    assert float(alone.table["ks"][0]) == pytest.approx(float(everyone.table["ks"].sel(neuron="b")), rel=1e-9)


def test_other_families_are_read_row_by_row():
    """An AR(1) trace: without its past the rows are correlated, with it they are not."""
    rng = np.random.default_rng(5)
    y = np.zeros(1500)
    for t in range(1, y.size):
        y[t] = 0.6 * y[t - 1] + rng.normal()
    data = bg.recording(dt=0.05, y=y)
    past = bg.GLM(bg.Baseline(G) + bg.History(basis.Lags(span=0.05), G), family.Gaussian(1.0), response="y")
    without = bg.GLM(bg.Baseline(G), family.Gaussian(1.25), response="y")
    good = bg.rescale(made_up(past, data, {"history": 0.6}, point=True), progress=False)
    bad = bg.rescale(made_up(without, data, point=True), progress=False)
    assert good.how == bad.how == "pit" and good.unit == "rows"
    assert good.rejected == () and good.table["n"] == 1499  # the first row has no past
    assert float(bad.table["autocorrelation_p"][0]) < CERTAIN
    assert float(bad.table["autocorrelation"][0, 0]) == pytest.approx(0.6, abs=0.1)
    assert "rows are correlated" in bad.verdict


def test_empty_bins_test_the_intervals_of_other_counts():
    """Negative binomial bins, mostly empty: a missing past is seen between occupied bins, hardly row by row."""
    rng = np.random.default_rng(6)
    shape = basis.lag_kernels(basis.Lags(span=0.02), 0.01, 1, "spikes")[1] @ [-3.0, -3.0]
    counts, eta = np.zeros(20000, int), np.log(0.08)
    for t in range(2, counts.size):
        mean = np.exp(eta + shape[0] * counts[t - 1] + shape[1] * counts[t - 2])
        counts[t] = rng.negative_binomial(2.0, 2.0 / (2.0 + mean))
    data = bg.recording(dt=0.01, spikes=counts)
    true = bg.GLM(bg.Baseline(G) + bg.History(basis.Lags(span=0.02), G, edge="zero"), family.NegativeBinomial(0.5))
    without = bg.GLM(bg.Baseline(G), family.NegativeBinomial(0.5))
    good = made_up(true, data, {"baseline": eta, "history": -3.0}, point=True)
    bad = made_up(without, data, {"baseline": np.log(counts.mean())}, point=True)
    assert bg.rescale(good, how="any_spike", progress=False).rejected == ()
    assert bg.rescale(bad, how="any_spike", progress=False).p_joint < CERTAIN
    assert any("how='any_spike'" in note for note in bg.rescale(bad, progress=False).notes)


def test_stories_are_tested_by_their_law():
    """NumPyro functions, without a family: counts by order statistics, choices by the discrete theorem, as their twins in terms."""

    def counting(spikes=None):
        with numpyro.plate("neuron", 2, dim=-1):
            level = numpyro.sample("baseline", dist.Normal(0.0, 1.0))
            with numpyro.plate("row", len(spikes), dim=-2):
                numpyro.sample("spikes", dist.Poisson(jnp.exp(level)), obs=spikes)

    def choosing(choice=None):
        level = numpyro.sample("baseline", dist.Normal(0.0, 1.0))
        numpyro.sample("choice", dist.Bernoulli(logits=level).expand((len(choice),)), obs=choice)

    rng = np.random.default_rng(15)
    data = bg.recording(dt=0.1, spikes=rng.poisson(0.3, (600, 2)), choice=rng.integers(0, 2, 600))
    for story, twin, how in (
        (counting, bg.GLM(bg.Baseline(G)), "counts"),
        (choosing, bg.GLM(bg.Baseline(G), family.Bernoulli(), response="choice"), "any_spike"),
    ):
        other = made_up(twin, data, {"baseline": -1.0}, sd=0.05, draws=10)
        found = bg.rescale(dataclasses.replace(other, model=bg.from_function(story).resolve(data)), progress=False)
        assert found.how == how
        np.testing.assert_allclose(found.table["p_value"], bg.rescale(other, progress=False).table["p_value"], rtol=1e-9)


def test_what_cannot_be_tested_says_so(refractory):
    fit = whole(refractory, point=True)
    with pytest.raises(ValueError, match="how='fast'.*'counts', 'any_spike', 'pit'"):
        bg.rescale(fit, how="fast")
    with pytest.raises(ValueError, match="draws"):
        bg.rescale(fit, draws=0)
    with pytest.raises(ValueError, match="lacks the response 'spikes'"):
        bg.rescale(made_up(bg.GLM(bg.Baseline(G)), refractory, point=True), refractory.drop_vars("spikes"))
    trace = bg.recording(dt=0.05, y=np.random.default_rng(0).normal(size=50))
    gaussian = made_up(bg.GLM(bg.Baseline(G), family.Gaussian(1.0), response="y"), trace, point=True)
    with pytest.raises(ValueError, match="how='counts'.*how='pit'"):
        bg.rescale(gaussian, how="counts")
    with pytest.raises(ValueError, match="response of counts"):
        bg.rescale(gaussian, how="any_spike")


@pytest.fixture(scope="module")
def heard():
    """The grasshopper's receptor: its first eight seconds fitted with and without its past, and its last two."""
    pytest.importorskip("nitime", reason="the receptor's files come with nitime: pip install 'bayesglm[demo]'")
    train, test = bg.split(datasets.load("grasshopper"), 0.8, gap=0.4)
    lags = basis.RaisedCosine(8, span=0.025)
    without = bg.Baseline(G) + bg.Stimulus("stimulus", lags, prior.Gaussian(0.3))
    return bg.fit_all({"without": bg.GLM(without), "having": bg.GLM(without + bg.History(lags, G))}, train, method.MAP(), progress=False), test


def test_a_model_without_history_is_rejected_on_the_real_receptor(heard):
    """It is refractory for 3 ms. With its past the fit is nearer, held out and in sample; what is left is that it adapts."""
    fits, test = heard
    for part in (test, None):
        without, having = (bg.rescale(fits[name], part, progress=False) for name in ("without", "having"))
        assert without.held_out == having.held_out == (part is not None)
        assert without.rejected == ("receptor",) and without.p_joint < CERTAIN
        assert "too few intervals are shorter" in without.verdict
        assert float(having.table["ks"][0]) < 0.95 * float(without.table["ks"][0])


def test_the_picture_shows_what_the_record_says(found):
    figure = bg.plot.rescale(found)
    figure.draw_without_rendering()
    left, right = figure.axes[:2]
    assert "neuron fast" in left.get_title(loc="left")  # the least likely first
    bound = ks_bound(int(found.table["n"].sel(neuron="fast")))
    grey = left.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(np.unique(grey[grey[:, 0] == 0.5, 1]), [0.5 - bound, 0.5 + bound])
    np.testing.assert_allclose(right.lines[-1].get_ydata(), found.table["autocorrelation"].sel(neuron="fast"))
    assert "rejected" in figure.get_suptitle()
    with pytest.raises(ValueError, match="result of bg.rescale"):
        bg.plot.rescale(1)
    with pytest.raises(ValueError, match="there is no"):
        bg.plot.rescale(found, neurons=["zz"])
