"""Spike-triggered averages: the definition by hand, the linear filter of white input, honest standard errors, epochs and gaps."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import bayesglm as bg
from bayesglm import _sta, basis, family, prior

DT, LAGS = 0.01, 12


def white(rows=6000, seed=0, **more):
    """Two cells under white noise of variance 4, linear filters planted."""
    rng = np.random.default_rng(seed)
    x = 2.0 * rng.normal(size=rows)
    lag = np.arange(LAGS)
    filters = np.stack([0.12 * np.exp(-((lag - 3) ** 2) / 4.0), -0.1 * np.exp(-((lag - 6) ** 2) / 6.0)], 1)
    drive = np.stack([np.convolve(x, k)[:rows] for k in filters.T], 1)
    spikes = rng.poisson(np.maximum(1.2 + drive, 0.0))
    return bg.recording(dt=DT, spikes=spikes, stimulus=x, **more), filters


def by_hand(data, n, lag, rows):
    """The definition, row by row."""
    y, x = data["spikes"].values[:, n].astype(float), data["stimulus"].values
    return sum(y[t] * x[t - lag] for t in rows) / sum(y[t] for t in rows) - np.mean([x[t - lag] for t in rows])


def test_it_is_the_definition():
    data, _ = white(200)
    found = bg.sta(data, span=LAGS * DT)
    assert found["sta"].dims == ("neuron", "lag")
    np.testing.assert_allclose(found["lag"], DT * np.arange(LAGS))
    for n in range(2):
        for lag in (0, 5, LAGS - 1):
            np.testing.assert_allclose(found["sta"].values[n, lag], by_hand(data, n, lag, range(LAGS - 1, 200)), rtol=1e-12)
    np.testing.assert_array_equal(found["spikes"], data["spikes"].values[LAGS - 1 :].sum(0))


def test_a_lead_looks_ahead():
    data, _ = white(200)
    found = bg.sta(data, span=0.05, lead=0.02)
    np.testing.assert_allclose(found["lag"], [-0.02, -0.01, 0.0, 0.01, 0.02])
    np.testing.assert_allclose(found["sta"].values[0, 0], by_hand(data, 0, -2, range(2, 198)), rtol=1e-12)


def test_epochs_and_gaps_are_respected():
    """Two epochs and a NaN: only rows whose whole window is known count."""
    data, _ = white(120, epoch=np.repeat([0, 1], [50, 70]))
    data["stimulus"][80] = np.nan
    rows = [t for t in range(120) if (LAGS - 1 <= t < 50 or t >= 50 + LAGS - 1) and not 80 <= t <= 80 + LAGS - 1]
    found = bg.sta(data, span=LAGS * DT, blocks=4)
    np.testing.assert_allclose(found["sta"].values[1, 3], by_hand(data, 1, 3, rows), rtol=1e-12)


def test_a_neuron_counts_where_it_was_observed():
    data, _ = white(400)
    observed = np.ones((400, 2), bool)
    observed[:150, 1] = False
    masked = bg.recording(dt=DT, spikes=data["spikes"].values, stimulus=data["stimulus"].values, observed=observed)
    for whiten in (False, True):
        found, plain = (bg.sta(one, span=LAGS * DT, whiten=whiten) for one in (masked, data))
        np.testing.assert_allclose(found["sta"][0], plain["sta"][0], rtol=1e-10)
    np.testing.assert_allclose(bg.sta(masked, span=LAGS * DT)["sta"].values[1, 2], by_hand(data, 1, 2, range(150, 400)), rtol=1e-12)


def test_whitened_it_is_the_least_squares_filter():
    """For a strongly correlated stimulus, against the closed form and against a Gaussian GLM with flat priors."""
    rng = np.random.default_rng(1)
    x = np.convolve(rng.normal(size=3005), np.ones(6) / 6.0, "valid")
    spikes = rng.poisson(np.exp(0.5 * np.roll(x, 2)))
    data = bg.recording(dt=DT, spikes=spikes, stimulus=x)
    found = bg.sta(data, span=0.08, whiten=True)["sta"].values[0]
    design = np.stack([x[7 - lag : 3000 - lag] for lag in range(8)] + [np.ones(2993)], 1)
    np.testing.assert_allclose(found, np.linalg.lstsq(design, spikes[7:].astype(float), rcond=None)[0][:8], rtol=1e-8, atol=1e-10)
    flat = bg.Baseline(prior.Flat()) + bg.Stimulus("stimulus", basis.Lags(span=0.08), prior.Flat())
    fit = bg.fit(bg.GLM(flat, family.Gaussian(1.0)), data, "map", progress=False)
    scaled = bg.filters(fit, "stimulus").squeeze()
    np.testing.assert_allclose(found, scaled, rtol=1e-6, atol=1e-8)


def test_for_white_input_the_average_is_that_filter():
    data, filters = white(40_000)
    plain, solved = (bg.sta(data, span=LAGS * DT, whiten=whiten) for whiten in (False, True))
    scaled = plain["sta"] * data["spikes"].mean("time") / float(data["stimulus"].var())
    assert np.abs(scaled - solved["sta"]).max() < 0.01  # of a peak of 0.12
    for one in (plain, solved):
        gain = float(data["stimulus"].var()) / data["spikes"].values.mean(0)[:, None] if one is plain else 1.0
        z = (one["sta"] - gain * filters.T) / one["se"]
        assert np.abs(z).max() < 4.0  # 24 values, some rectified


def test_standard_errors_are_honest_for_a_slow_stimulus():
    """Spikes that do not depend on a stimulus of 0.2 s: |z| exceeds 2 about as often as it should; errors of independent rows are too small."""
    rng, beyond, naive = np.random.default_rng(2), [], []
    kernel = np.exp(-0.5 * (np.arange(-40, 41) / 20.0) ** 2)
    for _ in range(100):
        x = np.convolve(rng.normal(size=4080), kernel, "valid")
        rate = np.exp(np.convolve(rng.normal(size=4080), kernel / np.sqrt((kernel**2).sum()), "valid") - 1.0)  # as slow, of its own
        data = bg.recording(dt=DT, spikes=rng.poisson(rate), stimulus=x)
        found = bg.sta(data, span=0.02)
        beyond.append(abs(float(found["sta"][0, 0] / found["se"][0, 0])) > 2.0)
        naive.append(abs(float(found["sta"][0, 0])) > 2.0 * x.std() / np.sqrt(float(found["spikes"][0])))
    assert np.mean(beyond) < 0.15
    assert np.mean(naive) > 0.3


def test_movies():
    rng = np.random.default_rng(3)
    movie = rng.normal(size=(8000, 3, 4))
    spikes = rng.poisson(np.exp(0.5 * np.roll(movie[:, 1, 2], 2) - 1.0))
    data = bg.recording(dt=DT, spikes=spikes, movie=movie)
    found = bg.sta(data, "movie", span=0.05)
    assert found["sta"].dims == ("neuron", "lag", "movie_y", "movie_x")
    assert np.unravel_index(np.argmax(found["sta"].values[0]), (5, 3, 4)) == (2, 1, 2)
    np.testing.assert_allclose(found["sta"].values[0, :, 1, 2], bg.sta(data.assign(pixel=("time", movie[:, 1, 2])), "pixel", span=0.05)["sta"].values[0])
    assert np.unravel_index(np.argmax(bg.sta(data, "movie", span=0.05, whiten=True)["sta"].values[0]), (5, 3, 4)) == (2, 1, 2)


def test_a_silent_neuron_has_none():
    data, _ = white(300)
    data["spikes"][:, 1] = 0
    found = bg.sta(data, span=LAGS * DT)
    assert np.isnan(found["sta"][1]).all() and np.isfinite(found["sta"][0]).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"column": "angle"}, "'angle' is an angle"),
        ({"column": "nothing"}, "wants the column 'nothing'"),
        ({"span": 0.001}, "at least one bin"),
        ({"span": 2.9}, "rows have their whole window"),
        ({"column": "still", "whiten": True, "span": 0.05}, "collinear"),
        ({"blocks": 1}, "blocks"),
    ],
)
def test_bad_input(arguments, said):
    data, _ = white(300, angle=bg.angle(np.arange(300.0), 360), still=np.ones(300))
    with pytest.raises(ValueError, match=said):
        bg.sta(data, **arguments)


def test_example():
    assert doctest.testmod(_sta).failed == 0
