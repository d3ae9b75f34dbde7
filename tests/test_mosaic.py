"""The simulated mosaic: its planted truth, and that a fit of its own form finds it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bayesglm as bg
from bayesglm import basis, datasets, family, method, prior


def test_the_mosaic_is_its_story():
    """eta of the planted filters, with the real past, leaves residuals that are white and of a Bernoulli response's size."""
    data = datasets.mosaic_twin(6000, 6, seed=2)
    spikes, stimulus = data["spikes"].values.astype(float), data["stimulus"].values
    seen, past = data["planted_stimulus"].values, data["planted_coupling"].values + np.eye(6)[:, :, None] * data["planted_history"].values
    eta = np.full(spikes.shape, -2.2)
    for lag in range(seen.shape[2]):
        eta[lag:] += stimulus[: len(stimulus) - lag] @ seen[:, :, lag].T
    for lag in range(1, past.shape[2] + 1):
        eta[lag:] += spikes[:-lag] @ past[:, :, lag - 1].T
    p = -np.expm1(-np.exp(eta))
    left, size = spikes - p, p * (1 - p)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    assert np.abs(left.sum(0) / np.sqrt(size.sum(0))).max() < 4
    assert np.abs((left**2).sum(0) / size.sum(0) - 1).max() < 0.1
    together = np.einsum("tn,tm->nm", left[1:], left[:-1]) / np.sqrt(np.einsum("tn,tm->nm", size[1:], size[:-1]))
    assert np.abs(together).max() < 4.5  # 36 of them


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
    [({"frames": 0}, "frames=0"), ({"cells": 5}, "even number"), ({"cells": 2}, "even number"), ({"coupling": 3.5}, "from -3 to 3")],
)
def test_the_mosaic_refuses_what_it_cannot_make(arguments, said):
    with pytest.raises(ValueError, match=said):
        datasets.mosaic_twin(**{"frames": 10, "cells": 4} | arguments)


def test_a_fit_of_its_form_finds_the_couplings():
    """90 % bands of the net effects of 6 cells hold the planted ones about nine times in ten, and every planted neighbour is found."""
    data = datasets.mosaic_twin(8000, 6, coupling=1.2, seed=5)
    lag, wide = basis.Lags(span=0.03), prior.Gaussian(1.0)
    terms = bg.Baseline() + bg.Stimulus("stimulus", basis.Lags(span=0.06), prior.Gaussian(3.0)) + bg.History(lag, prior.Gaussian(3.0)) + bg.Coupling(lag, wide)
    fit = bg.fit(bg.GLM(terms, family.Bernoulli("cloglog")), data, method.Laplace(num_samples=500), progress=False)
    net = bg.filters(fit, "coupling").sum("lag", skipna=False)
    planted = data["planted_coupling"].sum("past_lag")
    band = bg.interval(net, 0.9)
    pairs = net.isel(chain=0, draw=0, drop=True).notnull()
    held = ((band.sel(bound="lower") < planted) & (planted < band.sel(bound="upper"))).values[pairs.values]
    assert held.mean() > 0.75  # of 30; less has a probability of about 1 % at 90 %
    found = band.sel(bound="lower").values[(planted > 1.0).values]
    assert (found > 0).mean() > 0.9
