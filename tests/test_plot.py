"""Pictures: what a reader relies on is in them (bands, units, warnings), and nothing piles up."""

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection
from matplotlib.figure import Figure

import bayesglm as bg
from bayesglm import basis, method
from bayesglm._plot import _coupling, _spikes, _style
from bayesglm._predict import predict


def drawn_from(fit, sd=0.05, draws=60, seed=0):
    """A MAP fit made a sampled one: normal draws around its point."""
    rng = np.random.default_rng(seed)

    def spread(array):
        middle = np.broadcast_to(array.values, (2, draws, *array.shape[2:]))
        return xr.DataArray(
            middle + sd * rng.normal(size=middle.shape), dims=array.dims, coords={k: v for k, v in array.coords.items() if k not in ("chain", "draw")}
        )

    posterior = fit.posterior.map(spread, keep_attrs=True).assign_attrs(posterior="draws").assign_coords(chain=range(2), draw=range(draws))
    idata = fit.idata.copy()
    idata["posterior"] = xr.DataTree(posterior)
    return replace(fit, idata=idata, method=method.NUTS(), stats=dict(fit.stats) | {"converged": True})


@pytest.fixture(scope="module")
def point(fit_small_map):
    return fit_small_map


@pytest.fixture(scope="module")
def sampled(fit_small_map):
    return drawn_from(fit_small_map)


@pytest.fixture(scope="module")
def tuned():
    """Tuning to a circle, to levels and to a plane."""
    rng = np.random.default_rng(3)
    rows = 600
    heading = rng.uniform(0, 360, rows)
    spikes = rng.poisson(np.exp(-1 + 0.8 * np.cos(np.deg2rad(heading)))[:, None] * np.ones(2))
    data = bg.recording(
        dt=0.02,
        spikes=spikes,
        heading=bg.angle(heading, period=360),
        context=np.array(["lit", "dark"])[rng.integers(0, 2, rows)],
        x=rng.uniform(0, 1, rows),
        y=rng.uniform(0, 1, rows),
    )
    plane = bg.Tuning(["x", "y"], basis.RaisedCosineLinear(3) * basis.RaisedCosineLinear(3), name="place")
    model = bg.GLM(bg.Baseline() + bg.Tuning("heading", basis.Fourier(2)) + bg.Tuning("context", basis.OneHot()) + plane)
    return drawn_from(bg.fit(model, data, "map", progress=False))


def fills(ax):
    return [artist for artist in ax.collections if isinstance(artist, FillBetweenPolyCollection)]


def said(figure):
    return (figure.get_suptitle() + " " + " ".join(ax.get_title() for ax in figure.axes)).replace("\n", " ")


def rendered(figure):
    figure.draw_without_rendering()
    return figure


def test_filters_draw_both_bands_around_the_median(sampled):
    figure = rendered(bg.plot.filters(sampled, "history"))
    assert isinstance(figure, Figure)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == [f"history, neuron {label}" for label in range(3)]
    drawn = bg.filters(sampled, "history")
    for label, ax in enumerate(panels):
        wide, narrow = fills(ax)
        here = drawn.sel(neuron=label).stack(sample=("chain", "draw"))
        edge = wide.get_paths()[0].vertices[:, 1]
        assert np.isclose(edge.max(), here.quantile(0.95, "sample").max())
        assert np.isclose(edge.min(), here.quantile(0.05, "sample").min())
        assert np.isclose(narrow.get_paths()[0].vertices[:, 1].max(), here.quantile(0.75, "sample").max())
        line = ax.get_lines()[0]
        np.testing.assert_allclose(line.get_ydata(), here.median("sample"))
        np.testing.assert_allclose(line.get_xdata(), 1000 * drawn["lag"])  # 50 ms are drawn in ms
        assert ax.get_xlabel() == "lag (ms)"
        assert ax.get_ylabel() == "log-gain per own spike"


def test_filters_draw_every_lagged_term_and_every_source(sampled):
    figure = rendered(bg.plot.filters(sampled, neurons=[1]))
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["stimulus, neuron 1", "history, neuron 1", "coupling, neuron 1"]
    named = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert named == ["source 0", "source 2"]


def test_the_gain_axis_is_the_exponential(sampled):
    figure = rendered(bg.plot.filters(sampled, "history", neurons=0))
    ax = figure.axes[0]
    right = next(child for child in ax.child_axes if child.get_ylabel() == "gain")
    np.testing.assert_allclose(right.get_ylim(), np.exp(ax.get_ylim()), rtol=1e-6)


def test_a_point_has_no_band_and_says_so(point):
    for figure in (bg.plot.filters(point), bg.plot.coupling(point), bg.plot.rate(point, stop=2.0)):
        rendered(figure)
        assert not any(fills(ax) for ax in figure.axes)
        assert "point estimate (MAP): no bands" in said(figure)


def test_what_did_not_converge_is_said(sampled):
    bad = replace(sampled, stats=dict(sampled.stats) | {"converged": False})
    for figure in (bg.plot.filters(bad), bg.plot.coupling(bad), bg.plot.rate(bad, stop=2.0)):
        assert "NOT CONVERGE" in said(figure)
    assert "NOT CONVERGE" not in said(bg.plot.filters(sampled))


def test_coupling_marks_exactly_what_excludes_zero(sampled):
    figure = rendered(bg.plot.coupling(sampled))
    assert "functional coupling" in said(figure)
    net = bg.filters(sampled, "coupling").sum("lag", skipna=False).stack(sample=("chain", "draw"))
    for n in range(3):
        for m in range(3):
            ax = figure.axes[3 * n + m]
            if n == m:
                assert not ax.get_lines()
                assert [text.get_text() for text in ax.texts] == ["own past"]
                continue
            low, high = net.sel(neuron=n, source=m).quantile([0.05, 0.95], "sample").values
            assert ax.get_lines()[0].get_color() == _style.COLOURS[1 if low > 0 or high < 0 else 0]


def test_many_cells_make_a_map_with_dots(sampled, monkeypatch):
    monkeypatch.setattr(_coupling, "_SMALL", 2)
    figure = rendered(bg.plot.coupling(sampled))
    net = _style.bands(bg.filters(sampled, "coupling").sum("lag", skipna=False, keep_attrs=True))
    marked = np.argwhere(_coupling.excludes_zero(net).values)
    [dots] = [artist for artist in figure.axes[0].collections if isinstance(artist, PathCollection)]
    np.testing.assert_array_equal(np.asarray(dots.get_offsets())[:, ::-1], marked)
    assert len(marked)  # the planted coupling is among them
    image = figure.axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(np.ma.filled(image, np.nan), net.line.values)


def test_tuning_by_level_has_a_curve_a_level():
    rng = np.random.default_rng(5)
    data = bg.recording(dt=0.02, spikes=rng.poisson(0.3, 500), x=rng.uniform(0, 1, 500), side=rng.integers(0, 2, 500))
    both = bg.Tuning(("x", "side"), basis.BSpline(4) * basis.OneHot(), bg.prior.Gaussian(1.0), name="both")
    fit = bg.fit(bg.GLM(bg.Baseline() + both), data, "laplace", progress=False)
    [ax] = rendered(bg.plot.tuning(fit, "both")).axes
    assert [line.get_label() for line in ax.get_lines()] == ["side 0, 90% band", "side 1, 90% band"]
    assert len(fills(ax)) == 2
    assert ax.get_xlabel() == "x"
    median = bg.interval(bg.tuning(fit, "both")["rate"]).sel(bound="median", side=1)
    np.testing.assert_allclose(ax.get_lines()[1].get_ydata(), median.squeeze())


def test_tuning_curves_levels_and_maps(tuned):
    circle = rendered(bg.plot.tuning(tuned, "heading"))
    assert circle.axes[0].get_xlabel() == "heading (degrees)"
    assert circle.axes[0].get_ylabel() == "rate (spikes/s)"
    assert len(fills(circle.axes[0])) == 2
    levels = rendered(bg.plot.tuning(tuned, "context", neurons=1))
    assert [tick.get_text() for tick in levels.axes[0].get_xticklabels()] == ["dark", "lit"]
    assert len([artist for artist in levels.axes[0].collections if isinstance(artist, LineCollection)]) == 2
    place = rendered(bg.plot.tuning(tuned, "place", "gain", neurons=[0]))
    assert [ax.get_title() for ax in place.axes if ax.get_title()] == ["neuron 0: median", "neuron 0: width of the 90% band"]


def test_raster_ticks_are_the_spikes(recording_small):
    figure = rendered(bg.plot.raster(recording_small, [2, 0], start=1.0, stop=3.0))
    ax = figure.axes[0]
    part = recording_small["spikes"].sel(time=slice(1.0, 3.0))
    for ticks, label in zip([a for a in ax.collections if isinstance(a, LineCollection)], [2, 0], strict=True):
        times = [segment[0][0] for segment in ticks.get_segments()]
        np.testing.assert_allclose(times, part["time"].values[part.sel(neuron=label).values > 0])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["2", "0"]
    assert ax.get_xlim() == pytest.approx((1.0, 3.0))


def test_gaps_are_shaded():
    time = np.r_[np.arange(50), np.arange(80, 130)] * 0.01
    with pytest.warns(UserWarning, match="gap"):
        data = bg.recording(dt=0.01, time=time, spikes=np.ones((100, 1), int))
    assert len(bg.plot.raster(data).axes[0].patches) == 1


def test_rate_is_the_prediction_of_the_whole_recording(sampled, recording_small):
    figure = rendered(bg.plot.rate(sampled, neuron=1, start=4.0, stop=6.0))
    whole = predict(sampled, recording_small, "rate").sel(neuron=1, time=slice(4.0, 6.0))
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(line.get_xdata(), whole["time"])
    np.testing.assert_allclose(line.get_ydata(), whole.median(("chain", "draw")))
    assert np.isfinite(line.get_ydata()).all()  # the filters' reach is read from before the window
    assert figure.axes[0].get_ylabel() == "spikes/s"


def test_figures_do_not_pile_up_and_one_can_be_passed(sampled, recording_small):
    plt.close("all")
    bg.plot.filters(sampled)
    bg.plot.raster(recording_small)
    assert plt.get_fignums() == []
    own = plt.figure()
    assert bg.plot.filters(sampled, "history", figure=own) is own
    ax = plt.figure().add_subplot()
    assert bg.plot.rate(sampled, stop=2.0, ax=ax) is ax.figure
    plt.close("all")


def test_the_users_style_is_left_alone(sampled):
    before = dict(matplotlib.rcParams)
    bg.plot.filters(sampled)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (0.001, 2.0), (0.3, 3.0), (1e-20, 1.0)])
def test_gain_ticks_are_few_and_inside(low, high):
    ticks = _style.gain_ticks(low, high)
    assert 2 <= len(ticks) <= 25
    assert (ticks >= low).all()
    assert (ticks <= high).all()


def test_errors_name_what_is_wrong(sampled, recording_small):
    with pytest.raises(ValueError, match=r"no \[9\]"):
        bg.plot.filters(sampled, "history", neurons=[9])
    with pytest.raises(ValueError, match="no lags"):
        bg.plot.filters(sampled, "baseline")
    with pytest.raises(ValueError, match=r"plot\.coupling wants a Coupling"):
        bg.plot.coupling(sampled, "history")
    with pytest.raises(ValueError, match="'rate' or 'gain'"):
        bg.plot.tuning(sampled, "stimulus", "speed")
    with pytest.raises(ValueError, match="runs from 0 to 15 s"):
        bg.plot.raster(recording_small, start=20.0, stop=30.0)
    with pytest.raises(ValueError, match="time rows"):
        bg.plot.raster(bg.recording(rows="trial", choice=[0, 1, 1]))
    with pytest.raises(ValueError, match="no term with lags"):
        bg.plot.filters(drawn_from(bg.fit(bg.GLM(bg.Baseline()), recording_small, "map", progress=False)))


def test_window_holds_whole_bins(recording_small):
    part = _spikes.window(recording_small, 0.1, 0.2, 0.0)
    np.testing.assert_allclose(part["time"], 0.105 + 0.01 * np.arange(10))
