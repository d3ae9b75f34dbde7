"""The picture of a filter over space and lags: it shows the numbers of the filter, and where they differ from zero."""

import matplotlib
import numpy as np
import pytest

import bayesglm as bg
from bayesglm import basis, prior

matplotlib.use("Agg")
HEIGHT, WIDTH = 5, 6


@pytest.fixture(scope="module")
def fit():
    """One pixel drives the cell two bins later."""
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(1500, HEIGHT, WIDTH))
    drive = np.r_[0.0, 0.0, frames[:-2, 1, 4]]
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(0.7 * drive - 1.5)), movie=frames, bar=frames[:, 1])
    movie = bg.Stimulus("movie", basis.Lags(span=0.04), prior.Gaussian(0.3))
    return bg.fit(bg.GLM(bg.Baseline() + movie), data, "laplace", progress=False)


def test_the_map_is_the_median_at_the_lag_of_the_peak(fit):
    made = bg.plot.receptive_field(fit)
    left, right, _ = made.axes
    median = bg.filters(fit, "movie").median(("chain", "draw")).isel(neuron=0)
    drawn = left.collections[0].get_array().reshape(HEIGHT, WIDTH)
    np.testing.assert_allclose(drawn, median.transpose("movie_y", "movie_x", "lag").values[..., 2], atol=1e-12)
    cross = left.lines[-1]
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (4, 1)
    np.testing.assert_allclose(right.lines[0].get_ydata(), median.isel(movie_y=1, movie_x=4).values, atol=1e-12)
    assert len(right.collections) == 2  # two bands
    assert "20 ms" in left.get_title() and "log-gain" in right.get_ylabel()


def test_filters_draws_a_movie_by_it(fit):
    assert len(bg.plot.filters(fit).axes) == len(bg.plot.receptive_field(fit, "movie").axes) == 3


def test_one_dim_of_space_is_drawn_against_lags(fit):
    bar = bg.GLM(bg.Baseline() + bg.Stimulus("bar", basis.Lags(span=0.04), prior.Gaussian(0.3)))
    left = bg.plot.receptive_field(bg.fit(bar, fit.data, "map", progress=False)).axes[0]
    assert left.collections[0].get_array().reshape(WIDTH, 4).shape == (WIDTH, 4)
    assert left.get_xlabel() == "lag (ms)" and left.get_ylabel() == "bar_feature"


def test_a_filter_without_space_is_refused(fit_small_map):
    with pytest.raises(ValueError, match="dims of space"):
        bg.plot.receptive_field(fit_small_map, "stimulus")
    with pytest.raises(ValueError, match="no filter of the model has dims of space"):
        bg.plot.receptive_field(fit_small_map)
