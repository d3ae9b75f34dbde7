"""Gabor filters: orientation, phase, wavelength and place as named; blind to luminance; labels that a recording takes."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import xarray as xr

import bayesglm as bg
from bayesglm import features

SIZE = 32


def grating(orientation, wavelength=8.0, phase=0.0, size=SIZE):
    """Bars of an orientation, counterclockwise from horizontal as seen with row 0 on top."""
    y, x = np.indices((size, size)) - (size - 1) / 2.0
    angle = np.deg2rad(orientation)
    return np.cos(2 * np.pi / wavelength * (x * np.sin(angle) + y * np.cos(angle)) + np.deg2rad(phase))


def test_bars_are_where_their_names_say():
    assert np.ptp(grating(90), axis=0).max() < 1e-12  # vertical bars: every row alike
    assert np.ptp(grating(0), axis=1).max() < 1e-12
    rising = grating(45)  # on a rising diagonal a step right and a step up (a row less) is along the bar
    np.testing.assert_allclose(rising[1:, :-1], rising[:-1, 1:], atol=1e-12)


@pytest.mark.parametrize("shown", [0, 30, 60, 90, 120, 150])
def test_tuning_peaks_at_the_filters_orientation(shown):
    images = np.stack([grating(shown, phase=phase) for phase in (0, 77)])
    bank = features.gabor_bank(images, orientations=12, wavelengths=[8], positions="centre")
    np.testing.assert_array_equal(bank["orientation"][bank.argmax("feature")], shown)
    simple = features.gabor_bank(images[:1], orientations=12, wavelengths=[8], cells="simple", phases=[0], positions="centre")
    assert simple["orientation"][int(simple[0].argmax("feature"))] == shown


def test_complex_cells_do_not_see_the_phase_and_simple_cells_do():
    images = np.stack([grating(30, phase=phase) for phase in np.arange(0, 360, 20)])
    bank = features.gabor_bank(images, orientations=[30], wavelengths=[8], cells="both", positions="centre")
    energy, simple = bank[:, bank["cell"] == "complex"].squeeze(), bank[:, bank["cell"] == "simple"]
    assert float(energy.std() / energy.mean()) < 1e-3
    assert float(simple.std("image").min() / energy.mean()) > 0.5
    np.testing.assert_allclose(energy, np.hypot(*simple.transpose("feature", "image").values), rtol=1e-12)


def test_the_best_wavelength_and_place_win():
    bank = features.gabor_bank(grating(90, 6.0)[None], orientations=[90], wavelengths=[4, 6, 9], positions="centre")
    assert bank["wavelength"][int(bank[0].argmax("feature"))] == 6
    spot = grating(90, 6.0)[None] * np.exp(-((np.indices((SIZE, SIZE)) - np.array([8, 20])[:, None, None]) ** 2).sum(0) / 18.0)
    where = [(y, x) for y in (8, 20) for x in (8, 20)]
    found = features.gabor_bank(spot, orientations=[90], wavelengths=[6], positions=where)
    best = int(found[0].argmax("feature"))
    assert (found["centre_y"][best], found["centre_x"][best]) == (8, 20)


def test_filters_are_normalised_and_blind_to_luminance():
    bank = features.gabor_filters((SIZE, SIZE), 4, [4, 8], [0, 90, 45])
    np.testing.assert_allclose((bank**2).sum(("y", "x")), 1.0)
    np.testing.assert_allclose((bank.sum(("y", "x")) / np.abs(bank).sum(("y", "x"))), 0.0, atol=0.08)
    inside = features.gabor_filters((SIZE, SIZE), 4, [4], [0, 90], positions="centre")
    np.testing.assert_allclose(inside.sum(("y", "x")), 0.0, atol=1e-6)
    images = np.random.default_rng(0).normal(size=(3, SIZE, SIZE))
    plain, brighter = (features.gabor_bank(one, 4, [4], positions="centre") for one in (images, images + 10.0))
    np.testing.assert_allclose(plain, brighter, atol=1e-5)


def test_responses_are_the_filters_times_the_images(monkeypatch):
    images = np.random.default_rng(1).normal(size=(5, 12, 16))
    filters = features.gabor_filters((12, 16), 3, [4, 6], [0, 90, 30])
    bank = features.gabor_bank(images, 3, [4, 6], [0, 90, 30], cells="simple")
    np.testing.assert_allclose(bank, np.einsum("iyx,fyx->if", images, filters.values), atol=1e-12)
    assert bank["feature"].values.tolist() == filters["feature"].values.tolist()
    monkeypatch.setattr(features, "_CHUNK", 12 * 16 * 3 * 2)  # two places at a time
    again = features.gabor_bank(images, 3, [4, 6], [0, 90, 30], cells="simple")
    xr.testing.assert_allclose(again.sortby("feature"), bank.sortby("feature"))
    assert len(set(again["feature"].values.tolist())) == bank.sizes["feature"] == 3 * 3 * (4 * 3 + 2 * 2)


def test_it_is_a_column_of_a_recording():
    images = xr.DataArray(np.random.default_rng(2).normal(size=(6, 8, 8)), dims=("trial", "y", "x"))
    bank = features.gabor_bank(images, 4, [8])
    data = bg.recording(rows="trial", spikes=np.ones((6, 2), int), gabor=bank)
    assert data["gabor"].dims == ("trial", "feature")
    assert bg.GLM(bg.Baseline() + bg.Linear("gabor")).resolve(data).terms["gabor"].coords()["feature"][0].startswith("complex 0 deg 8 px at")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"wavelengths": [1.0]}, "two pixels"),
        ({"orientations": 0}, "one at least"),
        ({"sigma": -1.0}, "sigma"),
        ({"positions": "left"}, "'grid', 'centre'"),
        ({"positions": [1.0, 2.0]}, r"\(position, 2\)"),
        ({"cells": "hyper"}, "'complex', 'simple' or 'both'"),
        ({"images": np.zeros((8, 8))}, r"image\[None\]"),
        ({"images": np.full((1, 8, 8), np.nan)}, "64 pixels"),
    ],
)
def test_bad_input(arguments, said):
    with pytest.raises(ValueError, match=said):
        features.gabor_bank(**({"images": np.zeros((2, 8, 8))} | arguments))


def test_examples():
    assert doctest.testmod(features).failed == 0
