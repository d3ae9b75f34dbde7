"""Pictures of coupling: chosen cells, in the order asked for, and net effects over a number of each pair."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import xarray as xr

import bayesglm as bg
from bayesglm import basis, prior
from bayesglm._plot import _coupling, _style

matplotlib.use("agg")


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(0)
    spikes = rng.poisson(0.3, (1500, 4))
    spikes[1:, 1] += rng.poisson(0.5 * spikes[:-1, 0])
    data = bg.recording(dt=0.01, spikes=spikes, labels={"neuron": ["a", "b", "c", "d"]})
    few = prior.Gaussian(0.5)
    return bg.fit(bg.GLM(bg.Baseline() + bg.Coupling(basis.RaisedCosine(2, span=0.05), few)), data, bg.method.Laplace(num_samples=400), progress=False)


def distance(cells):
    place = np.array([ord(cell) for cell in cells], float)
    return xr.DataArray(np.abs(place[:, None] - place), {"neuron": cells, "source": cells}, ["neuron", "source"], "distance", {"units": "µm"})


def rendered(figure):
    figure.draw_without_rendering()
    return figure


def test_filters_of_chosen_cells_stand_in_the_order_asked_for(fit):
    figure = rendered(bg.plot.coupling(fit, neurons=["b", "a"], sources=["c", "a"]))
    assert [ax.get_title() for ax in figure.axes[:2]] == ["from c", "from a"]
    assert [ax.get_ylabel() for ax in figure.axes[::2]] == ["to b", "to a"]
    drawn = figure.axes[1].get_lines()[0].get_ydata()
    np.testing.assert_allclose(drawn, bg.filters(fit, "coupling").sel(neuron="b", source="a").median(("chain", "draw")))
    assert [text.get_text() for text in figure.axes[3].texts] == ["own past"]


def test_the_map_follows_the_order(fit, monkeypatch):
    monkeypatch.setattr(_coupling, "_SMALL", 1)
    order = ["d", "b", "a", "c"]
    figure = rendered(bg.plot.coupling(fit, neurons=order, sources=order))
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == [text.get_text() for text in ax.get_yticklabels()] == order
    median = bg.filters(fit, "coupling").sum("lag", skipna=False).median(("chain", "draw"), skipna=False).sel(neuron=order, source=order)
    np.testing.assert_allclose(np.ma.filled(ax.get_images()[0].get_array(), np.nan), median)


def test_net_effects_over_a_distance(fit):
    cells = ["d", "c", "b", "a"]  # not the fit's order: labels decide
    figure = rendered(bg.plot.coupling(fit, against=distance(cells)))
    ax = figure.axes[0]
    net = bg.filters(fit, "coupling").sum("lag", skipna=False)
    marked = _coupling.excludes_zero(_style.bands(net))
    points = {line.get_color(): (line.get_xdata(), line.get_ydata()) for line in ax.get_lines() if line.get_marker() == "o"}
    x, y = points[_style.COLOURS[1]]
    assert len(x) == int(marked.sum()) >= 1 and 1.0 in x  # a drives b
    assert len(x) + len(points[_style.COLOURS[0]][0]) == 12
    np.testing.assert_allclose(sorted(y), sorted(net.median(("chain", "draw"), skipna=False).values[marked.values]))
    assert ax.get_xlabel() == "distance (µm)" and "12 pairs" in figure.get_suptitle()
    steps = [line for line in ax.get_lines() if line.get_marker() == "None" and len(line.get_xdata()) == 2 and line.get_color() == _style.INK]
    near = net.where(distance(["a", "b", "c", "d"]) == 1).mean(("neuron", "source")).median()
    assert any(np.allclose(line.get_ydata(), near) for line in steps)


def test_a_point_has_no_intervals_over_a_distance(fit):
    point = bg.fit(fit.model, fit.data, "map", progress=False)
    figure = rendered(bg.plot.coupling(point, against=distance(["a", "b", "c", "d"])))
    assert "no bands" in figure.get_suptitle() and not figure.axes[0].collections


def test_what_cannot_be_drawn_is_refused(fit):
    with pytest.raises(ValueError, match=r"sources=\['z'\]"):
        bg.plot.coupling(fit, sources=["z"])
    with pytest.raises(ValueError, match=r"lacks the cells \['d'"):
        bg.plot.coupling(fit, against=distance(["a", "b", "c"]))
    with pytest.raises(ValueError, match="wants a DataArray"):
        bg.plot.coupling(fit, against=np.zeros((4, 4)))
