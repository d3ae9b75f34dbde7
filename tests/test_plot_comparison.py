"""Pictures of comparisons: what a reader takes from them is what the records say."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from synthetic import made_up

import bayesglm as bg
from bayesglm import prior
from bayesglm._comparing._compare import compare
from bayesglm._comparing._loo import loo, waic

G = prior.Gaussian(1.0)
ROWS = 2000


@pytest.fixture(scope="module")
def fits():
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS)
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-1.2 + 0.5 * x)[:, None] * np.ones(2)), x=x)
    null = bg.Baseline(G)
    centres = {"null": {"baseline": np.log(data["spikes"].values.mean())}, "x": {"baseline": -1.2, "x": 0.5}, "wide": {"baseline": -1.2, "x": 0.5}}
    models = {"null": null, "x": null + bg.Linear("x", G), "wide": null + bg.Linear("x", G)}
    return {name: made_up(bg.GLM(terms), data, centres[name], sd=0.04, draws=150, seed=i) for i, (name, terms) in enumerate(models.items())}


@pytest.fixture(scope="module")
def compared(fits):
    point = made_up(fits["x"].model, fits["x"].data, {"x": 0.5}, point=True)
    return compare(fits | {"point": point}, block=0.5)


def drawn(figure):
    figure.draw_without_rendering()
    return figure.axes[0]


def test_a_comparison_draws_the_intervals_that_it_prints(compared):
    ax = drawn(bg.plot.comparison(compared))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [row.name for row in compared.rows]
    bars = [line.get_xdata() for line in ax.get_lines() if line.get_linewidth() > 2]
    np.testing.assert_allclose(bars, [row.interval() for row in compared.rows[1:3]])
    words = [text.get_text() for text in ax.texts]
    assert words[0].startswith(compared.rows[0].verdict)
    assert words[2].startswith("worse")
    assert words[3] == "not comparable"
    assert "nats" in ax.get_xlabel()


def test_khat_draws_every_unit_and_the_limit(fits):
    found = loo(fits["x"], block=0.5)
    ax = drawn(bg.plot.khat(found))
    points = sum(len(line.get_xdata()) for line in ax.get_lines() if line.get_marker() in ("o", "D"))
    assert points == found.n_data_points
    assert any(np.allclose(line.get_ydata(), found.good_k) for line in ax.get_lines())
    assert ax.get_xlabel() == "time (s)"
    assert ax.get_title(loc="left") == f"{found.n_bad} of {found.n_data_points} blocks have a Pareto k above {found.good_k:.2f}"


def test_bad_units_are_marked_and_named(fits):
    wild = made_up(fits["null"].model, fits["null"].data, {"baseline": -1.1}, sd=1.0)
    found = loo(wild, block=1.0)
    ax = drawn(bg.plot.khat(found))
    marked = sum(len(line.get_xdata()) for line in ax.get_lines() if line.get_marker() == "D")
    assert marked == found.n_bad > 0
    assert all(text.get_text().startswith("neuron") for text in ax.texts)


def test_the_running_sum_ends_at_the_difference_with_its_interval(compared):
    ax = drawn(bg.plot.elpd(compared))
    best, following = compared.rows[:2]
    line = ax.get_lines()[0]
    assert line.get_ydata()[-1] == pytest.approx(best.difference)
    np.testing.assert_allclose(line.get_xdata(), best.elpd.elpd_i["block"])
    edges = ax.collections[0].get_paths()[0].vertices
    at_end = edges[np.isclose(edges[:, 0], edges[:, 0].max()), 1]
    assert all(np.isclose(at_end, bound).any() for bound in best.interval())
    assert ax.get_xlabel() == "time (s)"
    assert f"{best.name} minus {following.name}" in ax.get_title(loc="left")


def test_one_neuron_or_two_estimates(fits, compared):
    a, b = compared["x"].elpd, compared["null"].elpd
    ax = drawn(bg.plot.elpd(a, b, neuron=1))
    expected = (a.elpd_i - b.elpd_i.values).sel(neuron=1).cumsum("block")
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), expected)
    assert "neuron 1" in ax.get_title(loc="left")
    named = drawn(bg.plot.elpd(compared, models=("null", "x")))
    assert named.get_title(loc="left").startswith("null minus x")


def test_figures_do_not_pile_up_and_axes_can_be_given(compared):
    plt.close("all")
    bg.plot.comparison(compared)
    bg.plot.elpd(compared)
    assert plt.get_fignums() == []
    ax = plt.figure().add_subplot()
    assert bg.plot.elpd(compared, ax=ax) is ax.figure
    plt.close("all")


def test_errors_name_what_is_wanted(fits, compared):
    with pytest.raises(ValueError, match=r"bg\.compare"):
        bg.plot.comparison(compared["x"].elpd)
    with pytest.raises(ValueError, match="'waic' has none"):
        bg.plot.khat(waic(fits["x"]))
    with pytest.raises(ValueError, match="'point'"):
        bg.plot.elpd(compared, models=("x", "point"))
    with pytest.raises(ValueError, match="two of"):
        bg.plot.elpd(compared["x"].elpd)
    with pytest.raises(ValueError, match="other rows or units"):
        bg.plot.elpd(compared["x"].elpd, loo(fits["null"], block=1.0))
    with pytest.raises(ValueError, match="none of this name"):
        bg.plot.elpd(compared, neuron="z")
