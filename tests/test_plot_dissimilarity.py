"""Pictures of dissimilarity matrices: labels, units, draws said to be averaged."""

from __future__ import annotations

import doctest

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import xarray as xr

import bayesglm as bg
from bayesglm._plot import _dissimilarity


def matrix(draws: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(0)
    shape, dims = ((1, draws), ("chain", "draw")) if draws else ((), ())
    patterns = xr.DataArray(rng.normal(size=(*shape, 8, 20)), {"direction": np.arange(0.0, 360.0, 45.0)}, (*dims, "direction", "neuron"))
    return bg.rsa.dissimilarity(patterns, condition="direction")


def test_panels_are_named_and_labelled():
    figure = bg.plot.dissimilarity({"data": matrix(), "model": matrix(5)}, label="direction (deg)")
    figure.canvas.draw()
    left, right, bar, _ = figure.axes
    assert (left.get_title(), right.get_title()) == ("data", "model\nposterior mean")
    assert left.get_xlabel() == "direction (deg)" and bar.get_ylabel() == "correlation distance"
    assert [text.get_text() for text in left.get_yticklabels()] == ["0", "45", "90", "135", "180", "225", "270", "315"]
    np.testing.assert_allclose(left.images[0].get_array(), matrix().values)
    np.testing.assert_allclose(right.images[0].get_array(), matrix(5).mean(("chain", "draw")).values)


def test_one_matrix_and_a_place_of_ones_own():
    own = bg.plot.dissimilarity(matrix()).canvas.figure
    assert bg.plot.dissimilarity({str(i): matrix() for i in range(5)}, figure=type(own)()).axes[4].get_title() == "4"
    assert own.axes[0].get_xlabel() == "direction"


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), {}, {"a": xr.DataArray(np.zeros((3, 3)), dims=("a", "b"))}])
def test_anything_else_is_refused(bad):
    with pytest.raises(ValueError, match=r"bg\.rsa\.dissimilarity"):
        bg.plot.dissimilarity(bad)


def test_its_docstring_runs():
    assert doctest.testmod(_dissimilarity).failed == 0
