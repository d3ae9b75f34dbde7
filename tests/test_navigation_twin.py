"""The navigation twin: its classes, its behaviour, what no model knows, and its seeds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bayesglm import datasets
from bayesglm._autocorrelation import correlation_time


@pytest.fixture(scope="module")
def twin():
    """Ten minutes of sixteen cells, one a class."""
    return datasets.navigation_twin(600.0, 16, useless=3, seed=1)


def test_cells_are_of_every_class_once(twin):
    assert twin["tuned"].dims == ("variable", "neuron")
    codes = 2 ** np.arange(4) @ twin["tuned"].values
    assert codes.tolist() == list(range(16))


def test_the_animal_stays_in_its_box_and_is_slow_near_the_walls(twin):
    x, y, speed = (twin[name].values for name in ("x", "y", "speed"))
    assert min(x.min(), y.min()) >= 0 and max(x.max(), y.max()) <= 100
    moved = np.hypot(np.diff(x), np.diff(y)) / 0.025
    assert np.mean(np.abs(moved - speed[1:]) < 1e-6) > 0.95  # but where a wall turned it back
    room = np.min([x, y, 100 - x, 100 - y], axis=0)
    assert speed[room < 5].mean() < 0.7 * speed[room > 20].mean()
    assert twin["heading"].attrs["period"] == twin["theta"].attrs["period"] == 2 * np.pi


def test_theta_turns_eight_times_a_second(twin):
    turns = np.diff(np.unwrap(twin["theta"].values)).sum() / (2 * np.pi)
    assert turns / 600 == pytest.approx(8.0, abs=0.2)


@pytest.mark.parametrize(("variable", "column"), [(1, "heading"), (3, "theta")])
def test_cells_of_one_variable_follow_it_and_no_other_circle(twin, variable, column):
    """Phase locking, in standard errors of a cell that does not follow."""
    cells = [2**digit for digit in range(4)]
    spikes, phase = twin["spikes"].values[:, cells].astype(float), twin[column].values
    expected = np.exp(1j * phase).mean()
    locked = np.abs(spikes.T @ (np.exp(1j * phase) - expected)) / np.sqrt(spikes.sum(0))
    assert locked[variable] > 8
    assert np.delete(locked, [0, variable]).max() < 4  # a place field goes with some headings


def test_what_is_hidden_makes_slow_counts():
    """Counts of a cell of no class: Poisson without, over-dispersed by e^(h^2) - 1 with a hidden log-gain of sd h."""
    calm, driven = (datasets.navigation_twin(900.0, 1, hidden=hidden, memory=2.0)["spikes"].values[:, 0].astype(float) for hidden in (0.0, 0.7))
    for counts, wanted in ((calm, 0.0), (driven, np.expm1(0.49))):
        assert (counts.var() - counts.mean()) / counts.mean() ** 2 == pytest.approx(wanted, abs=0.2)
    assert correlation_time(calm)[0] < 4
    assert 20 < correlation_time(driven)[0] < 200  # 80 bins


def test_useless_columns_are_slow_and_standard(twin):
    noise = twin["useless"].values
    assert noise.shape == (24_000, 3)
    np.testing.assert_allclose(noise.std(0), 1.0, atol=0.15)
    assert np.all((correlation_time(noise) > 60) & (correlation_time(noise) < 240))  # 120 bins


def test_a_cell_does_not_depend_on_how_many_there_are():
    few, many = (datasets.navigation_twin(20.0, cells, seed=3) for cells in (2, 5))
    np.testing.assert_array_equal(few["spikes"], many["spikes"][:, :2])
    other = datasets.navigation_twin(20.0, 2, seed=4)
    assert not np.array_equal(few["spikes"], other["spikes"])
    assert json.loads(few.attrs["generator"])["function"] == "bayesglm.datasets.navigation_twin"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"seconds": 0.0}, "seconds=0.0"), ({"cells": 0}, "cells=0"), ({"hidden": -1.0}, "hidden=-1.0.*0 or more"), ({"useless": -2}, "useless=-2")],
)
def test_refusals(arguments, said):
    with pytest.raises(ValueError, match=said):
        datasets.navigation_twin(**arguments)
