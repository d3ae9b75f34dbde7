"""The twin of a recording under images: planted cells, shares of variance, seeds."""

from __future__ import annotations

import doctest
import json

import numpy as np
import pytest

import bayesglm as bg
from bayesglm import _image_twin, datasets


def test_its_cells_are_blind_to_phase_and_tuned_as_planted():
    """A complex cell's drive is that of its filters; the image explains its share of the variance, the common fluctuation its own."""
    data = datasets.image_twin(images=500, cells=6, repeats=4, signal=0.3, shared=0.4, seed=2)
    assert data["image"].dims == ("trial", "y", "x") and data["shown"].values[:5].tolist() == [0, 0, 0, 0, 1]
    planted = data["planted_response"].values
    np.testing.assert_allclose(planted[::4].var(0), 0.3, rtol=1e-6)
    left = data["response"].values - planted
    assert left.var() == pytest.approx(0.7, rel=0.05)
    common = np.corrcoef(left.T)[np.triu_indices(6, 1)]
    assert common.mean() == pytest.approx(0.4, abs=0.06)
    n = 3
    where = [[float(data["planted_y"][n]), float(data["planted_x"][n])]]
    one = bg.features.gabor_bank(
        data["image"].isel(trial=slice(None, None, 4)), [float(data["planted_orientation"][n])], [float(data["planted_wavelength"][n])], positions=where
    )
    assert np.corrcoef(one.values[:, 0], planted[::4, n])[0, 1] == pytest.approx(1.0)


def test_images_are_alike_in_contrast_and_smooth():
    pictures = datasets.image_twin(images=40, cells=2, repeats=1)["image"].values
    np.testing.assert_allclose(pictures.std((1, 2)), 1.0)
    assert np.corrcoef(pictures[:, :, 1:].ravel(), pictures[:, :, :-1].ravel())[0, 1] > 0.5


def test_it_is_seeded_and_says_how_it_was_made():
    first = datasets.image_twin(12, 3, repeats=2, simple=0.5, seed=1)
    how = json.loads(first.attrs["generator"])
    assert how.pop("function").endswith("image_twin")
    assert datasets.image_twin(**how).identical(first)
    assert not np.array_equal(datasets.image_twin(**how | {"seed": 2})["response"], first["response"])
    more = datasets.image_twin(**how | {"repeats": 3})
    np.testing.assert_array_equal(more["image"][::3], first["image"][::2])
    np.testing.assert_array_equal(more["planted_response"][::3], first["planted_response"][::2])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: datasets.image_twin(0), "images=0"),
        (lambda: datasets.image_twin(size=6), "8 pixels at least"),
        (lambda: datasets.image_twin(signal=1.5), "signal=1.5"),
    ],
)
def test_it_refuses_what_it_cannot_make(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_its_docstring_runs():
    assert doctest.testmod(_image_twin).failed == 0
