"""Twins of cells with a past: counts that are Poisson given the planted filters, which sizes and seeds do not change."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bayesglm import datasets

TWINS = {"retina_twin": ("stimulus", 4000), "current_injection_twin": ("current", 28_020)}


def planted_rate(data, signal):
    """(row, neuron) expected counts given the past, by plain convolutions."""
    rows, cells = data["spikes"].shape
    y, x = data["spikes"].values.astype(float), data[signal].values
    after = np.r_[np.zeros((1, cells)), y[:-1]]  # the first lag is one bin
    eta = np.empty((rows, cells))
    for n in range(cells):
        eta[:, n] = data["planted_baseline"].values[n] + np.convolve(x, data[f"planted_{signal}"].values[n])[:rows]
        eta[:, n] += np.convolve(after[:, n], data["planted_history"].values[n])[:rows]
        for m in range(cells):
            if m != n:
                eta[:, n] += np.convolve(after[:, m], data["planted_coupling"].values[n, m])[:rows]
    return np.exp(eta)


@pytest.mark.parametrize("name", TWINS)
def test_counts_are_poisson_given_what_was_planted(name):
    """Sums of y - rate, of rows alone and weighted by the signal and by the last count, are martingales with the variance of the rates."""
    signal, rows = TWINS[name]
    data = getattr(datasets, name)(rows, seed=2)
    rate, y = planted_rate(data, signal), data["spikes"].values.astype(float)
    for weight in (np.ones_like(y), np.roll(data[signal].values, 4)[:, None] - data[signal].values.mean(), np.r_[np.zeros_like(y[:1]), y[:-1]]):
        z = (weight * (y - rate)).sum(0) / np.sqrt((weight**2 * rate).sum(0) + 1e-12)
        assert np.abs(z).max() < 4.0


@pytest.mark.parametrize("name", TWINS)
def test_twins_are_seeded_and_say_how_they_were_made(name):
    first = getattr(datasets, name)(600, seed=1)
    how = json.loads(first.attrs["generator"])
    assert how.pop("function").endswith(name)
    assert getattr(datasets, name)(**how).identical(first)
    assert not np.array_equal(getattr(datasets, name)(**how | {"seed": 2})[TWINS[name][0]], first[TWINS[name][0]])
    with pytest.raises(ValueError, match="rows=0"):
        getattr(datasets, name)(0)


def test_the_retina_has_the_recording_s_size_and_its_kind_of_cells():
    data = datasets.retina_twin(4000)
    assert data["neuron"].values.tolist() == ["off_1", "off_2", "on_1", "on_2"] and data.attrs["dt"] == 0.00834
    assert set(np.unique(data["stimulus"])) == {-0.48, 0.48}
    peaks = data["planted_stimulus"].values
    assert (np.sign(peaks[np.arange(4), np.abs(peaks).argmax(1)]) == [-1, -1, 1, 1]).all()
    assert np.isnan(data["planted_coupling"].values[np.arange(4), np.arange(4)]).all()
    assert 0.2 < float(data["spikes"].mean()) < 0.6 and int(data["spikes"].max()) < 30


def test_the_injected_cell_fires_some_forty_spikes():
    spikes = [int(datasets.current_injection_twin(seed=seed)["spikes"].sum()) for seed in range(3)]
    assert all(20 <= count <= 65 for count in spikes)
    assert int(datasets.current_injection_twin()["spikes"].max()) == 1  # refractory at 1 ms
