"""A hippocampal place cell on a linear track: the published numbers of Kramer & Eden (2016), and blocked prediction."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pytest
import scipy.io
from studies.arrays import folder, read_json

import bayesglm as bg
from bayesglm import basis, prior

FLAT = prior.Flat()
BIN = 10  # samples of 1 ms
WITHIN = 0.15  # bits a spike: recipes of binning and splines differ by less
BITS = {"speed": 1.47, "position + speed": 2.40, "position": 2.50, "position + direction": 3.29, "position x direction": 3.40}


class Track(NamedTuple):
    """Time (s), position (cm) and spikes of every sample of 1 ms."""

    t: np.ndarray
    x: np.ndarray
    spikes: np.ndarray


@pytest.fixture(scope="module")
def track():
    """Spikes counted in 1 ms bins centred on the samples."""
    raw = scipy.io.loadmat(folder("place_cell") / "spikes-1.mat")
    t, x, times = (raw[name].ravel() for name in ("t", "X", "spiketimes"))
    edges = np.append(t - 5e-4, t[-1] + 5e-4)
    return Track(t, x, np.histogram(times, edges)[0])


@pytest.fixture(scope="module")
def published():
    """Coefficients and AIC that the book prints."""
    return read_json(folder("place_cell") / "published.json")["ch9_place_cell_spikes-1"]


def _maximum(track, *columns, **extra):
    """Flat-prior fit of baseline and columns; the coefficients in that order, and AIC (log y! is zero: y is 0 or 1)."""
    data = bg.recording(time=track.t, spikes=track.spikes, x=track.x, x_squared=track.x**2, **extra)
    terms = bg.Baseline(FLAT)
    for column in columns:
        terms = terms + bg.Linear(column, FLAT)
    fit = bg.fit(bg.GLM(terms), data, "map", progress=False)
    assert fit.stats["converged"]
    weights = np.array([float(fit.posterior[name].squeeze()) for name in ("baseline", *columns)])
    assert track.spikes.max() == 1
    return weights, 2 * len(weights) - 2 * float(fit.idata["sample_stats"]["lp"].squeeze())


@pytest.fixture(scope="module")
def linear(track):
    """Position alone."""
    return _maximum(track, "x")


@pytest.fixture(scope="module")
def quadratic(track):
    """A Gaussian place field."""
    return _maximum(track, "x", "x_squared")


def _direction(track, step):
    """1 where the animal moves towards larger positions: in the step that led to the sample, or in the next one."""
    forward = np.diff(track.x) > 0
    return (np.append(False, forward) if step == "previous" else np.append(forward, False)).astype(float)


@pytest.fixture(scope="module")
def directed(track):
    """Place field and direction of the previous step."""
    return _maximum(track, "x", "x_squared", "direction", direction=_direction(track, "previous"))


def _digits(values, wanted, digits):
    np.testing.assert_allclose(values, wanted, rtol=0.5 * 10.0 ** (1 - digits))


def test_position_alone(linear, published):
    _digits(linear[0], published["model2_log_link [1,X]"]["b"], 5)
    assert abs(linear[1] - published["model2_log_link [1,X]"]["AIC"]) < 1e-4


def test_gaussian_place_field(quadratic, published):
    wanted = published["model3 [1,X,X^2]"]
    _digits(quadratic[0][:2], wanted["b"][:2], 6)
    _digits(quadratic[0][2], wanted["b"][2], 4)  # four digits are printed
    assert abs(quadratic[1] - wanted["AIC"]) < 1e-4


def test_quadratic_against_linear(linear, quadratic):
    assert abs(linear[1] - quadratic[1] - 636.01) < 0.05


def test_field_centre_and_width(quadratic, published):
    baseline, slope, bend = quadratic[0]
    centre, width = -slope / (2 * bend), np.sqrt(-1 / (2 * bend))
    assert round(centre, 1) == 63.2
    assert round(width, 1) == 9.6
    wanted = published["model3 [1,X,X^2]"]
    _digits([centre, width], [wanted["mu_cm"], wanted["sigma_cm"]], 6)
    _digits(np.exp(baseline - slope**2 / (4 * bend)), wanted["alpha_per_ms"], 6)


def test_direction_of_the_previous_step(directed, quadratic, published):
    _digits(directed[0], published["model4 + direction"]["b"], 3)
    assert abs(quadratic[1] - directed[1] - 233.9) < 0.05


def test_direction_of_the_next_step_is_what_the_book_printed(track, published):
    weights, _ = _maximum(track, "x", "x_squared", "direction", direction=_direction(track, "next"))
    _digits(weights, published["model4 + direction"]["b"], 4)
    assert abs(weights[3] - published["model4 + direction"]["b"][3]) < 1e-6


@pytest.fixture(scope="module")
def running(track):
    """10 ms bins: spikes, mean position (cm), mean speed (cm/s), direction of travel (0 or 1)."""
    rows = track.t.size // BIN
    binned = lambda values: values[: rows * BIN].reshape(rows, BIN)  # noqa: E731
    velocity = binned(np.append(0.0, np.diff(track.x)) / 1e-3).mean(1)
    columns = {"position": binned(track.x).mean(1), "speed": np.abs(velocity), "direction": (velocity > 0).astype(int)}
    return bg.recording(dt=BIN * 1e-3, spikes=binned(track.spikes).sum(1), **columns)


def _tunings():
    law = prior.Gaussian(3.0)
    position = bg.Tuning("position", basis.BSpline(10, bounds=(0, 100)), law)
    speed = bg.Tuning("speed", basis.BSpline(10), law)
    side = basis.OneHot([0, 1])
    return {
        "position": bg.Baseline() + position,
        "speed": bg.Baseline() + speed,
        "position + speed": bg.Baseline() + position + speed,
        "position + direction": bg.Baseline() + position + bg.Tuning("direction", side, law),
        "position x direction": bg.Baseline() + bg.Tuning(("position", "direction"), basis.BSpline(10, bounds=(0, 100)) * side, law),
    }


@pytest.fixture(scope="module")
def bits(running):
    """Held-out bits a spike of each model, over ten blocks."""
    parts = bg.folds(running, 10, by="block")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # splines sum to one, and blocks have no gap: both are spoken of
        return {name: _held_out(bg.GLM(terms), parts) for name, terms in _tunings().items()}


def _held_out(model, parts):
    """Bits a spike over all test blocks: each block's, weighted by its spikes."""
    fits = [bg.fit(model, train, "map", progress=False) for train, _ in parts]
    assert all(fit.stats["converged"] for fit in fits)
    scores = [float(bg.score(fit, test, "bits_per_spike").squeeze()) for fit, (_, test) in zip(fits, parts, strict=True)]
    return np.average(scores, weights=[int(test["spikes"].sum()) for _, test in parts])


@pytest.mark.parametrize("name", BITS)
def test_blocked_bits_a_spike(bits, name):
    assert abs(bits[name] - BITS[name]) < WITHIN


def test_order_of_the_models(bits):
    assert [name for name, _ in sorted(bits.items(), key=lambda pair: pair[1])] == list(BITS)
