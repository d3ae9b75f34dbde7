"""Reading a fit: filters, interval, tuning, summary."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, filters, interval, prior, summary, tuning
from bayesglm._double import in_double
from bayesglm._filters import NO_POSTERIOR
from bayesglm._fit import Fit
from bayesglm._labels import tree
from bayesglm.method._base import Draws


@in_double
def made(terms, data, response="spikes", draws=20, point=False, **options) -> Fit:
    """A fit as if a sampler had given it: weights of a fixed prior scattered around zero, nothing compiled."""
    model = bg.GLM(terms, response=response, **options).resolve(data)
    design, rng = model.design(data), np.random.default_rng(0)
    size = (1, 1) if point else (2, draws)
    sites = {term.name: 0.4 * rng.normal(size=(*size, design.size, *term.shape)) for term in model.terms if not isinstance(term, bg.Offset)}
    sites |= {site: 1.0 + rng.random((*size, design.size)) for site in model.family.hyper(response)}
    found = tree(model, design, Draws(sites, {}, {}, by_neuron=True), data, point)
    how = bg.method.MAP() if point else bg.method.NUTS()
    return Fit(model, data, found, how, {"converged": True, "reasons": (), "notes": ()})


def test_filters_are_kernels_times_weights(fit_small_nuts):
    fit = fit_small_nuts
    found = filters(fit, "coupling")
    assert found.dims == ("chain", "draw", "neuron", "source", "lag")
    kernels = fit.idata["constant_data"]["coupling_kernels"].values
    w = fit.posterior["coupling"].values
    for n in range(3):
        for m in range(3):
            got = found.values[1, 7, n, m]
            if n == m:
                assert np.isnan(got).all()
            else:
                np.testing.assert_allclose(got, [sum(k * v for k, v in zip(row, w[1, 7, n, m], strict=True)) for row in kernels], rtol=1e-12)
    np.testing.assert_allclose(found["lag"], [0.01, 0.02, 0.03, 0.04, 0.05])
    assert found["lag"].attrs["units"] == "s"
    assert found.attrs["units"] == "log-gain per source spike"
    assert found.attrs["posterior"] == "draws"


def test_filters_of_one_cell_and_of_a_stimulus(fit_small_map):
    history, stimulus = filters(fit_small_map, "history"), filters(fit_small_map, "stimulus")
    assert history.dims == stimulus.dims == ("chain", "draw", "neuron", "lag")
    assert history.shape[:2] == (1, 1)
    assert history.attrs["posterior"] == "point"
    assert history.attrs["units"] == "log-gain per own spike"
    assert float(stimulus["lag"][0]) == 0.0
    assert stimulus.attrs["units"] == "log-gain per unit of stimulus"


def test_filters_wants_a_term_with_lags(fit_small_map):
    with pytest.raises(ValueError, match=r"'baseline' has no lags.*\['stimulus', 'history', 'coupling'\]"):
        filters(fit_small_map, "baseline")
    with pytest.raises(ValueError, match="no term 'wish'"):
        filters(fit_small_map, "wish")


def test_interval_gives_the_quantiles():
    draws = xr.DataArray(np.random.default_rng(0).normal(2.0, 3.0, (4, 20_000, 2)), dims=("chain", "draw", "neuron"), attrs={"units": "u"})
    band = interval(draws, prob=0.8)
    assert band.dims == ("bound", "neuron")
    assert band["bound"].values.tolist() == ["lower", "median", "upper"]
    np.testing.assert_allclose(band.sel(bound="lower"), 2.0 - 3.0 * 1.2816, atol=0.06)
    np.testing.assert_allclose(band.sel(bound="median"), 2.0, atol=0.05)
    np.testing.assert_allclose(band.sel(bound="upper"), 2.0 + 3.0 * 1.2816, atol=0.06)
    assert band.attrs["units"] == "u"
    assert band.attrs["prob"] == 0.8


def smooth_draws(draws: int, seed: int) -> np.ndarray:
    """(draw, 2, 25) curves of a Gaussian process of unit variance times a lag's own sd."""
    lags = np.arange(25)
    covariance = np.exp(-0.5 * ((lags[:, None] - lags) / 4.0) ** 2) + 1e-8 * np.eye(25)
    return np.random.default_rng(seed).normal(size=(draws, 2, 25)) @ np.linalg.cholesky(covariance).T * (1.0 + lags / 5.0)


def test_simultaneous_band_holds_the_whole_curve():
    draws = xr.DataArray(smooth_draws(4000, 0)[None], dims=("chain", "draw", "neuron", "lag"))
    fresh = smooth_draws(4000, 1)
    wide, narrow = interval(draws, simultaneous=True), interval(draws)
    assert wide.dims == narrow.dims == ("bound", "neuron", "lag")

    def jointly(band):
        return ((fresh >= band.values[0]) & (fresh <= band.values[2])).all(-1).mean(0)

    np.testing.assert_allclose(jointly(wide), 0.9, atol=0.02)
    assert (jointly(narrow) < 0.8).all()
    assert wide.attrs["band"] == "simultaneous over lag"


def test_simultaneous_leaves_out_what_does_not_exist_or_vary(fit_small_nuts):
    drawn = filters(fit_small_nuts, "coupling").copy()
    drawn[..., 4] = xr.where(drawn[..., 4].isnull(), np.nan, 0.0)
    band = interval(drawn, simultaneous=True)
    assert band.dims == ("bound", "neuron", "source", "lag")
    assert np.isnan(band.values[:, 0, 0]).all()
    assert (band.values[:, 0, 1, 4] == 0.0).all()
    assert np.isfinite(band.values[:, 0, 1]).all()
    assert (band.sel(bound="lower") <= band.sel(bound="upper")).values[~np.eye(3, dtype=bool)].all()


def test_a_point_has_no_interval(fit_small_map):
    band = interval(filters(fit_small_map, "coupling"), simultaneous=True)
    assert band.dims == ("bound", "neuron", "source", "lag")
    assert np.isnan(band).all()
    assert band.attrs["why"] == NO_POSTERIOR == "a MAP fit has no posterior; method='laplace' takes seconds"
    assert np.isnan(interval(fit_small_map.posterior["baseline"])).all()
    whole = interval(fit_small_map.posterior)
    assert whole.attrs["why"] == NO_POSTERIOR
    assert whole["coupling"].dims[0] == "bound"


@pytest.mark.parametrize("prob", [0, 1, 1.5, -0.1, "0.9", np.nan])
def test_interval_wants_a_probability(prob):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        interval(xr.DataArray(np.zeros((1, 9)), dims=("chain", "draw")), prob=prob)


def test_interval_wants_draws():
    with pytest.raises(ValueError, match="'chain' and 'draw'"):
        interval(xr.DataArray(np.zeros(3), dims="lag"))
    with pytest.raises(ValueError, match="ndarray"):
        interval(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="a dim to run along"):
        interval(xr.DataArray(np.zeros((1, 9)), dims=("chain", "draw")), simultaneous=True)


@pytest.fixture(scope="module")
def recording_tuned():
    rng = np.random.default_rng(3)
    rows = 2000
    heading = rng.uniform(0, 2 * np.pi, rows)
    speed = rng.gamma(2.0, 1.0, rows)
    place = rng.uniform(-1, 1, (rows, 2))
    eta = -1.5 + 0.8 * np.cos(heading) + 0.2 * speed
    spikes = rng.poisson(np.exp(eta)[:, None] * [1.0, 0.7])
    side = np.where(rng.random(rows) < 0.5, "left", "right")
    return bg.recording(dt=0.02, spikes=spikes, heading=bg.angle(heading), speed=speed, x=place[:, 0], y=place[:, 1], side=side, licked=(spikes[:, 0] > 0))


@pytest.fixture(scope="module")
def fit_tuned(recording_tuned):
    terms = bg.Baseline() + bg.Tuning("heading", basis.Fourier(2), prior.Gaussian(1.0), name="heading") + bg.Linear("speed", prior.Gaussian(1.0))
    return made(terms, recording_tuned)


@in_double
def row_by_row(fit, data, term, x_columns, term_columns, others, draw, n):
    """rate(x) and gain(x) by the definition, with loops over the grid."""
    posterior = fit.posterior.isel(chain=1, draw=draw, neuron=n)
    f = np.atleast_2d(x_columns) @ np.atleast_1d(posterior[term].values)
    here = np.atleast_2d(term_columns) @ np.atleast_1d(posterior[term].values)
    eta = float(posterior["baseline"]) + sum(np.atleast_2d(columns) @ np.atleast_1d(posterior[name].values) for name, columns in others.items()) + here
    return np.array([fit.model.family.rate(eta - here + value, {}, 0.02).mean() for value in f]), np.exp(f - here.mean())


def test_tuning_of_an_angle(fit_tuned, recording_tuned):
    fit, data = fit_tuned, recording_tuned
    found = tuning(fit, "heading")
    assert found["rate"].dims == found["gain"].dims == ("chain", "draw", "neuron", "heading")
    assert found["rate"].shape == (2, 20, 2, 100)
    assert found["heading"].values[[0, -1]] == pytest.approx([0, 2 * np.pi])
    assert found["rate"].attrs["units"] == "spikes/s"
    kernels = fit.model.terms["heading"].basis.kernels
    speed = data["speed"].values[:, None]
    rate, gain = row_by_row(fit, data, "heading", kernels(found["heading"].values), kernels(data["heading"].values), {"speed": speed}, 5, 1)
    np.testing.assert_allclose(found["rate"].values[1, 5, 1], rate, rtol=1e-10)
    np.testing.assert_allclose(found["gain"].values[1, 5, 1], gain, rtol=1e-10)
    assert interval(found)["rate"].dims == ("bound", "neuron", "heading")
    assert interval(found, simultaneous=True)["rate"].attrs["band"] == "simultaneous over heading"


def test_tuning_of_a_number(fit_tuned, recording_tuned):
    found = tuning(fit_tuned, "speed", at=[0.0, 1.0])
    w = fit_tuned.posterior["speed"]
    np.testing.assert_allclose(found["gain"].sel(speed=1.0) / found["gain"].sel(speed=0.0), np.exp(w), rtol=1e-12)
    whole = tuning(fit_tuned, "speed")["speed"].values
    assert whole[[0, -1]] == pytest.approx([recording_tuned["speed"].values.min(), recording_tuned["speed"].values.max()])


def test_tuning_alone_has_a_closed_form(recording_tuned):
    """With nothing but a baseline beside it the rate is exp(b + f(x))/dt."""
    fit = made(bg.Baseline() + bg.Tuning("side", basis.OneHot(), prior.Gaussian(1.0), name="side"), recording_tuned)
    found = tuning(fit, "side")
    assert found["side"].values.tolist() == ["left", "right"]
    expected = np.exp(fit.posterior["baseline"].values[..., None] + fit.posterior["side"].values) / 0.02
    np.testing.assert_allclose(found["rate"].values, expected, rtol=1e-12)


def test_tuning_of_two_columns(recording_tuned):
    terms = bg.Baseline() + bg.Tuning(["x", "y"], basis.BSpline(4) * basis.BSpline(5), prior.Gaussian(1.0), name="place")
    fit = made(terms, recording_tuned, point=True)
    found = tuning(fit, "place")
    assert found["rate"].dims == ("chain", "draw", "neuron", "x", "y")
    assert found["rate"].shape == (1, 1, 2, 30, 30)
    small = tuning(fit, "place", at={"y": [0.1, 0.2, 0.3], "x": [-0.5, 0.5]})
    assert small["rate"].shape == (1, 1, 2, 2, 3)
    kernels = fit.model.terms["place"].basis.kernels(np.array([[0.5, 0.2]]))
    expected = np.exp(fit.posterior["baseline"].values + fit.posterior["place"].values @ kernels[0]) / 0.02
    np.testing.assert_allclose(small["rate"].sel(x=0.5, y=0.2).values, expected, rtol=1e-12)
    assert small["rate"].attrs["posterior"] == "point"
    assert np.isnan(interval(small)["gain"]).all()
    with pytest.raises(ValueError, match="names the columns"):
        tuning(fit, "place", at={"x": [0.0], "z": [0.0]})
    with pytest.raises(ValueError, match="pair of arrays"):
        tuning(fit, "place", at=[0.1, 0.2, 0.3])


@pytest.mark.parametrize("kind", [family.Poisson("softplus"), family.Bernoulli("logit")])
def test_tuning_where_effects_do_not_multiply(recording_tuned, kind):
    """Rows of like predictor are taken together; the average row by row is met within .1 %."""
    data = recording_tuned if kind.counts else recording_tuned.assign(spikes=recording_tuned["spikes"].clip(max=1))
    terms = bg.Baseline() + bg.Tuning("heading", basis.Fourier(2), prior.Gaussian(1.0), name="heading") + bg.Linear("speed", prior.Gaussian(1.0))
    fit = made(terms, data, family=kind)
    found = tuning(fit, "heading", at=[0.0, 1.0, 3.0])
    kernels = fit.model.terms["heading"].basis.kernels
    speed = data["speed"].values[:, None]
    rate, gain = row_by_row(fit, data, "heading", kernels(np.array([0.0, 1.0, 3.0])), kernels(data["heading"].values), {"speed": speed}, 2, 0)
    np.testing.assert_allclose(found["rate"].values[1, 2, 0], rate, rtol=1e-3)
    np.testing.assert_allclose(found["gain"].values[1, 2, 0], np.log(gain), rtol=1e-10)
    assert "difference" in found["gain"].attrs["units"]


def test_tuning_of_a_choice_is_a_probability(recording_tuned):
    fit = made(bg.Baseline() + bg.Linear("speed", prior.Gaussian(1.0)), recording_tuned, response="licked", family=family.Bernoulli())
    found = tuning(fit, "speed", at=[1.0])
    assert found["rate"].dims == ("chain", "draw", "speed")
    eta = fit.posterior["baseline"] + fit.posterior["speed"]
    np.testing.assert_allclose(found["rate"].values[..., 0], 1 / (1 + np.exp(-eta.values)), rtol=1e-12)
    assert found["rate"].attrs["units"] == "probability"


def test_tuning_of_a_continuous_response(recording_tuned):
    data = recording_tuned.assign(pupil=recording_tuned["speed"] * 2.0)
    terms = bg.Baseline() + bg.Linear("speed", prior.Gaussian(10.0)) + bg.Linear("x", prior.Gaussian(1.0))
    fit = made(terms, data, response="pupil", family=family.Gaussian())
    found = tuning(fit, "speed", at=[0.0, 1.0])
    w = fit.posterior
    at_zero = w["baseline"] + w["x"] * float(data["x"].mean())
    np.testing.assert_allclose(found["rate"].values, np.stack([at_zero, at_zero + w["speed"]], -1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["gain"].values[..., 1], w["speed"].values * (1.0 - float(data["speed"].mean())), rtol=1e-9)
    assert found["rate"].attrs["units"] == "units of pupil"


def test_tuning_averages_over_each_neurons_own_rows(recording_tuned):
    """Rows in which a neuron was not observed, and rows that fit_all left out, do not count; an offset does."""
    seen = np.ones((2000, 2), bool)
    seen[:900, 1] = False
    columns = {name: recording_tuned[name].values for name in ("spikes", "speed", "x")}
    data = bg.recording(dt=0.02, observed=seen, **columns)
    terms = bg.Baseline() + bg.Linear("speed", prior.Gaussian(1.0)) + bg.Offset("x")
    common = np.r_[np.ones(1800), np.zeros(200)]
    fit = replace(made(terms, data), scored=common)
    found = tuning(fit, "speed", at=[2.0])["rate"].values[1, 3, :, 0]
    w = fit.posterior.isel(chain=1, draw=3)
    for n, rows in enumerate([slice(0, 1800), slice(900, 1800)]):
        expected = np.exp(w["baseline"].values[n] + 2.0 * w["speed"].values[n] + columns["x"][rows]).mean() / 0.02
        assert found[n] == pytest.approx(expected, rel=1e-12)


def test_tuning_says_what_it_cannot_read(fit_small_map, fit_tuned):
    with pytest.raises(ValueError, match="'history' has lags or features"):
        tuning(fit_small_map, "history")
    with pytest.raises(ValueError, match=r"'wish' is not in the model.*\['heading', 'speed'\]"):
        tuning(fit_tuned, "wish")
    with pytest.raises(ValueError, match="finite"):
        tuning(fit_tuned, "heading", at=[0.0, np.nan])


def rows_of(table, **where):
    return [row for row in table.table if all(row[key] == value for key, value in where.items())]


def test_summary_of_a_sampled_fit(fit_small_nuts):
    found = summary(fit_small_nuts)
    effects = rows_of(found, term="coupling", quantity="net effect")
    assert {(row["neuron"], row["source"]) for row in effects} == {(n, m) for n in range(3) for m in range(3) if n != m}
    row = rows_of(found, term="coupling", quantity="net effect", neuron=1, source=0)[0]
    drawn = filters(fit_small_nuts, "coupling").sum("lag", skipna=False).sel(neuron=1, source=0).values
    assert row["mean"] == pytest.approx(drawn.mean())
    assert row["sd"] == pytest.approx(drawn.std(ddof=1))
    assert [row["lower"], row["upper"]] == pytest.approx(np.quantile(drawn, [0.05, 0.95]).tolist())
    assert row["p_positive"] == pytest.approx((drawn > 0).mean())
    assert row["ess_bulk"] >= 1
    assert 0.9 < row["rhat"] < 1.2
    quantities = {(r["term"], r["quantity"]) for r in found.table}
    assert {("baseline", "baseline"), ("stimulus", "peak"), ("history", "peak"), ("coupling_scale", "coupling_scale")} <= quantities
    assert all(np.isnan(r["p_positive"]) for r in found.table if r["term"].endswith("_scale"))
    assert not any(r["quantity"] == "weight" for r in found.table)


def test_summary_peaks_are_where_the_mean_filter_is_largest(fit_small_nuts):
    row = rows_of(summary(fit_small_nuts), term="stimulus", quantity="peak", neuron=2)[0]
    mean = filters(fit_small_nuts, "stimulus").mean(("chain", "draw")).sel(neuron=2)
    assert row["lag"] == float(mean["lag"][int(abs(mean).argmax("lag"))])
    assert row["mean"] == pytest.approx(float(mean.sel(lag=row["lag"])))


def test_summary_prints(fit_small_nuts):
    text = repr(summary(fit_small_nuts, prob=0.8))
    assert "80% intervals" in text
    assert "averaged over the learned scales" in text
    assert "coupling: net effect (log-gain per source spike, summed over lags)" in text
    assert "neuron <- source" in text
    assert "1 <- 0 at 0.01" in text
    assert "stimulus: peak (log-gain per unit of stimulus, at a lag in s)" in text
    assert "for the stated prior" in text or "none of 6 net effects" in text
    assert max(len(line) for line in text.splitlines()[6:]) < 120
    page = summary(fit_small_nuts)._repr_html_()
    assert page.count("<table>") == len({(r["term"], r["quantity"]) for r in summary(fit_small_nuts).table})
    frame = summary(fit_small_nuts, weights=True).to_pandas()
    assert frame.loc["coupling[1 <- 0] net effect", "mean"] > 0
    assert (frame["quantity"] == "weight").sum() == 3 * 3 + 3 * 2 + 6 * 2


def test_summary_of_a_point(fit_small_map):
    found = summary(fit_small_map)
    assert NO_POSTERIOR in repr(found)
    assert all(np.isnan([row[name] for name in ("sd", "lower", "upper", "p_positive", "ess_bulk", "rhat")]).all() for row in found.table)
    assert np.isfinite([row["mean"] for row in found.table]).all()
    assert "R-hat" not in repr(found)


def test_summary_shortens_long_lists():
    """Of many effects the printed table shows those furthest from zero; the table itself has them all."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 30))
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-1 + x[:, 17])), x=x)
    fit = made(bg.Baseline() + bg.Linear("x", prior.Gaussian(1.0)), data)
    fit.idata["posterior"]["x"].values[..., 17] += 3.0
    found = summary(fit)
    assert len(rows_of(found, term="x")) == 30
    assert "... and 18 more" in repr(found)
    assert "x_feature=17" in repr(found)


def test_summary_wants_a_probability(fit_small_map):
    with pytest.raises(ValueError, match="prob=2"):
        summary(fit_small_map, prob=2)
