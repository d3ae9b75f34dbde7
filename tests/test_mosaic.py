"""The simulated mosaic: its planted truth, and that a fit of its own form finds it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bayesglm as bg
from bayesglm import basis, datasets, method, prior


def test_the_mosaic_is_its_story():
    """eta of the planted filters, with the real past, leaves residuals that are white and of the size of Poisson noise."""
    data = datasets.mosaic_twin(6000, 6, seed=2)
    spikes, stimulus = data["spikes"].values.astype(float), data["stimulus"].values
    seen, past = data["planted_stimulus"].values, data["planted_coupling"].values + np.eye(6)[:, :, None] * data["planted_history"].values
    eta = np.full(spikes.shape, -2.2)
    for lag in range(seen.shape[2]):
        eta[lag:] += stimulus[: len(stimulus) - lag] @ seen[:, :, lag].T
    for lag in range(1, past.shape[2] + 1):
        eta[lag:] += spikes[:-lag] @ past[:, :, lag - 1].T
    rate = np.exp(eta)
    z = (spikes - rate).sum(0) / np.sqrt(rate.sum(0))
    assert np.abs(z).max() < 4
    dispersion = ((spikes - rate) ** 2 / rate).mean(0)
    assert np.abs(dispersion - 1).max() < 0.25
    later = ((spikes[1:] - rate[1:]) * (spikes[:-1] - rate[:-1])).sum(0) / rate[1:].sum(0)
    assert np.abs(later).max() < 5 / np.sqrt(rate.sum(0).min())


def test_couplings_join_neighbours_of_a_kind_and_never_a_cell_to_itself():
    data = datasets.mosaic_twin(10, 8, coupling=0.5)
    first = data["planted_coupling"].isel(past_lag=0)
    assert np.allclose(first.sel(neuron="ON 1"), [0.5, 0, 0.5, 0, 0, -0.25, 0, 0])
    assert not np.diagonal(first.values).any()
    assert not datasets.mosaic_twin(10, 4, coupling=0.0)["planted_coupling"].values.any()


def test_the_mosaic_is_seeded_and_says_how_it_was_made():
    first = datasets.mosaic_twin(200, 4, seed=1)
    how = json.loads(first.attrs["generator"])
    assert how.pop("function") == "bayesglm.datasets.mosaic_twin"
    assert datasets.mosaic_twin(**how).identical(first)
    assert not np.array_equal(datasets.mosaic_twin(**how | {"seed": 2})["spikes"], first["spikes"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"frames": 0}, "frames=0"), ({"cells": 5}, "even number"), ({"cells": 2}, "even number"), ({"coupling": 1.5}, "feeds on itself")],
)
def test_the_mosaic_refuses_what_it_cannot_make(arguments, said):
    with pytest.raises(ValueError, match=said):
        datasets.mosaic_twin(**{"frames": 10, "cells": 4} | arguments)


def test_a_fit_of_its_form_finds_the_couplings():
    """90 % bands of the net effects of 8 cells hold the planted ones about nine times in ten, and every planted neighbour is found."""
    data = datasets.mosaic_twin(9000, 8, coupling=0.8, seed=5)
    lag, wide = basis.Lags(span=0.03), prior.Gaussian(1.0)
    terms = bg.Baseline() + bg.Stimulus("stimulus", basis.Lags(span=0.06), prior.Gaussian(3.0)) + bg.History(lag, prior.Gaussian(3.0)) + bg.Coupling(lag, wide)
    fit = bg.fit(bg.GLM(terms), data, method.Laplace(num_samples=500), progress=False)
    net = bg.filters(fit, "coupling").sum("lag", skipna=False)
    planted = data["planted_coupling"].sum("past_lag")
    band = bg.interval(net, 0.9)
    pairs = net.isel(chain=0, draw=0, drop=True).notnull()
    held = ((band.sel(bound="lower") < planted) & (planted < band.sel(bound="upper"))).values[pairs.values]
    assert held.mean() > 0.78  # of 56; less has a probability under 1 % at 90 %
    found = band.sel(bound="lower").values[(planted > 0.5).values]
    assert (found > 0).mean() > 0.9
