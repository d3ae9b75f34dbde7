"""Movies: frames projected on functions of space, then filtered in time; never pixels times lags."""

from __future__ import annotations

import tracemalloc

import equinox as eqx
import numpy as np
import pytest
import xarray as xr
from test_terms import dense

import bayesglm as bg
from bayesglm import basis
from bayesglm._json import from_json, to_json

MIDPOINT = 0.02  # error of the midpoint rule on 12 pixels a side
TIME = basis.RaisedCosine(3, span=0.05)
GRID = basis.BSpline(3, order=3) * basis.BSpline(4, order=3)


def movie(rows=60, height=6, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, height, width))


def recording(frames, **more):
    return bg.recording(dt=0.01, spikes=np.random.default_rng(1).poisson(0.3, (len(frames), 2)), movie=frames, **more)


def resolve(term, data):
    model = bg.GLM(term).resolve(data)
    return model, model.terms["movie"]


def test_columns_are_the_whole_filters_response():
    """For any weights: sum over pixels and lags of k(y, x, l) frame(y, x, t - l)."""
    data = recording(movie())
    model, term = resolve(bg.Stimulus("movie", TIME, space=GRID), data)
    weights = np.random.default_rng(2).normal(size=term.shape)
    whole = np.einsum("yxs,lb,sb->yxl", term.space_kernels(), term.kernels, weights)
    wanted = np.zeros(60)
    for t in range(60):
        for lag in range(min(5, t + 1)):
            wanted[t] += (whole[:, :, lag] * data["movie"].values[t - lag]).sum()
    np.testing.assert_allclose(dense(model, term, data)[0] @ weights.ravel(), wanted, atol=1e-12)
    assert term.dims == ("movie_space", "movie_basis")
    assert term.bases == (term.space, term.basis)


def test_filters_are_shown_at_the_pixels():
    data = recording(movie(300))
    term = bg.Stimulus("movie", TIME, bg.prior.Gaussian(0.3), space=GRID)
    fit = bg.fit(bg.GLM(bg.Baseline() + term), data, "map", progress=False)
    found = bg.filters(fit, "movie")
    assert found.dims == ("chain", "draw", "neuron", "movie_y", "movie_x", "lag")
    part = fit.model.terms["movie"]
    wanted = np.einsum("yxs,lb,nsb->nyxl", part.space_kernels(), part.kernels, fit.posterior["movie"].values[0, 0])
    np.testing.assert_allclose(found.values[0, 0], wanted, atol=1e-12)
    assert bg.summary(fit) is not None


def test_a_uniform_frame_has_the_gain_of_the_weight_at_every_resolution():
    """Functions of space sum to 1 over the pixels, and read coordinates: finer pixels say the same."""
    found = {}
    for factor in (1, 2, 4):
        side = (np.arange(6 * factor) + 0.5) / (3 * factor) - 1
        frames = np.exp(-((side[:, None] - 0.2) ** 2 + (side[None, :] + 0.3) ** 2) / 0.3)[None] * np.ones((20, 1, 1))
        array = xr.DataArray(frames, dims=("time", "movie_y", "movie_x"), coords={"movie_y": side, "movie_x": side})
        data = recording(array)
        space = basis.BSpline(4, bounds=(-1.2, 1.2)) * basis.BSpline(4, bounds=(-1.2, 1.2))
        model, term = resolve(bg.Stimulus("movie", TIME, space=space), data)
        np.testing.assert_allclose(term.space_kernels().sum((0, 1)), 1.0, rtol=1e-12)
        found[factor] = dense(model, term, data)[0, -1]
        flat = recording(xr.ones_like(array) * 0.7)
        np.testing.assert_allclose(dense(model, term, flat)[0, -1], 0.7, rtol=1e-12)
    np.testing.assert_allclose(found[4], found[2], rtol=MIDPOINT)


def test_default_prior_is_per_training_sd_of_the_projections():
    data = recording(movie(200) * np.linspace(0.5, 3, 8))
    _, term = resolve(bg.Stimulus("movie", TIME, space=GRID), data)
    projected = np.einsum("tyx,yxs->ts", data["movie"].values, term.space_kernels())
    np.testing.assert_allclose(term.prior.relative, 1 / projected.std(0)[:, None])
    np.testing.assert_allclose(term.centre, projected.mean(0)[:, None] * term.kernels.sum(0))


def test_one_dim_of_space_and_own_frames():
    raw = np.random.default_rng(3).normal(size=(50, 7))
    data = recording(movie(50), strip=raw, mine=(("time", "neuron", "x"), np.stack([raw, 2 * raw], 1)))
    model = bg.GLM(bg.Stimulus("strip", TIME, space=basis.BSpline(4)) + bg.Stimulus("mine", TIME, space=basis.BSpline(4))).resolve(data)
    strip, mine = model.terms["strip"], model.terms["mine"]
    np.testing.assert_allclose(dense(model, mine, data)[1], 2 * dense(model, strip, data)[0], atol=1e-12)
    direct = bg.GLM(bg.Stimulus("drive", TIME)).resolve(recording(movie(50), drive=raw @ strip.space_kernels()))
    signal = recording(movie(50), drive=raw @ strip.space_kernels())
    np.testing.assert_allclose(dense(model, strip, data), dense(direct, direct.terms["drive"], signal), atol=1e-12)


def test_rows_that_read_a_broken_frame_are_not_scored():
    frames = movie()
    frames[20, 3, 3] = np.nan
    design = bg.GLM(bg.Stimulus("movie", TIME, space=GRID, edge="zero")).resolve(recording(movie())).design(recording(frames))
    np.testing.assert_array_equal(np.flatnonzero(design.scored == 0), np.arange(20, 25))
    assert np.isfinite(design.shared["movie"]).all()


def test_never_pixels_times_lags():
    """Beyond the movie itself: a copy or two of it, not one a lag."""
    frames = np.random.default_rng(4).normal(size=(2000, 30, 40))
    data = recording(frames)
    space = basis.BSpline(5) * basis.BSpline(5)
    model = bg.GLM(bg.Stimulus("movie", basis.RaisedCosine(4, span=0.3), space=space)).resolve(data)
    tracemalloc.start()
    model.design(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * frames.nbytes  # pixels times lags would be 30


@pytest.mark.parametrize(
    ("term", "sentence"),
    [
        (lambda: bg.Stimulus("movie", TIME, space=basis.BSpline(4)), r"1 coordinate\(s\).*\('movie_y', 'movie_x'\).*basis\.BSpline\(8\) \* "),
        (lambda: bg.Stimulus("movie", TIME, space=basis.BSpline(4) * basis.CyclicBSpline(5)), "needs a circle"),
        (lambda: bg.Stimulus("movie", TIME, space=basis.BSpline(30, order=1) * basis.BSpline(4)), r"\d+ function\(s\) of space lie between the pixels"),
    ],
)
def test_errors(term, sentence):
    with pytest.raises(ValueError, match=sentence):
        resolve(term(), recording(movie()))


def test_another_number_of_pixels_is_refused():
    model, _ = resolve(bg.Stimulus("movie", TIME, space=GRID), recording(movie()))
    with pytest.raises(ValueError, match=r"frames of \(6, 5\) pixels; the model was made for \(6, 8\)"):
        model.design(recording(movie(width=5)))


def test_keeps_in_a_file():
    model, _ = resolve(bg.Stimulus("movie", TIME, space=GRID), recording(movie()))
    again = from_json(to_json(model))
    assert eqx.tree_equal(model, again)
    np.testing.assert_array_equal(again.design(recording(movie(seed=5))).shared["movie"], model.design(recording(movie(seed=5))).shared["movie"])
