"""One step ahead, given the real past: against loops, by chunks, by the story."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from synthetic import made_up

import bayesglm as bg
from bayesglm import _likelihood, _predict, basis, family, prior
from bayesglm._likelihood import log_likelihood_chunks, response_chunks, source
from bayesglm._model import AbstractModel
from bayesglm._predict import PredictNote, predict


@pytest.fixture(scope="module")
def recording():
    rng = np.random.default_rng(3)
    rows = 240
    epoch = np.repeat([0, 1], [150, 90])
    return bg.recording(dt=0.01, spikes=rng.poisson(0.3, (rows, 3)), stimulus=rng.normal(size=rows), epoch=epoch)


@pytest.fixture(scope="module")
def model():
    terms = bg.Baseline() + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05)) + bg.History(basis.RaisedCosine(2, span=0.04))
    return bg.GLM(terms + bg.Coupling(basis.RaisedCosine(2, span=0.03)))


@pytest.fixture(scope="module")
def drawn(model, recording):
    return made_up(model, recording, {"baseline": -1.0, "stimulus": 0.2, "history": -0.3}, sd=0.2, draws=6)


def eta_by_loops(fit, data, chain, draw, neuron):
    """The linear predictor bin by bin; NaN where a filter reaches out of the epoch."""
    weights = fit.posterior.isel(chain=chain, draw=draw, neuron=neuron)
    kernels = {name: fit.idata["constant_data"][f"{name}_kernels"].values for name in ("stimulus", "history", "coupling")}
    stimulus, spikes, epoch = data["stimulus"].values, data["spikes"].values.astype(float), data["epoch"].values
    eta = np.full(len(stimulus), np.nan)
    for t in range(len(stimulus)):
        longest = max(len(kernels["stimulus"]) - 1, len(kernels["history"]), len(kernels["coupling"]))
        if t < longest or epoch[t - longest] != epoch[t]:
            continue
        total = float(weights["baseline"])
        for lag, row in enumerate(kernels["stimulus"]):
            total += stimulus[t - lag] * row @ weights["stimulus"].values
        for lag, row in enumerate(kernels["history"], start=1):
            total += spikes[t - lag, neuron] * row @ weights["history"].values
        for lag, row in enumerate(kernels["coupling"], start=1):
            for source_cell in range(3):
                if source_cell != neuron:
                    total += spikes[t - lag, source_cell] * row @ weights["coupling"].values[source_cell]
        eta[t] = total
    return eta


def test_the_mean_is_exp_eta_by_loops(drawn, recording):
    mean = predict(drawn)
    assert mean.dims == ("chain", "draw", "time", "neuron")
    assert mean.shape == (2, 6, 240, 3)
    for chain, draw, neuron in [(0, 0, 0), (1, 3, 2), (0, 5, 1)]:
        expected = np.exp(eta_by_loops(drawn, recording, chain, draw, neuron))
        np.testing.assert_allclose(mean.values[chain, draw, :, neuron], expected, rtol=1e-10)
    assert np.isnan(mean.values).any()


def test_the_rate_is_in_spikes_a_second(drawn):
    rate = predict(drawn, kind="rate")
    assert rate.attrs["units"] == "spikes/s"
    np.testing.assert_allclose(rate.values, predict(drawn).values / 0.01, rtol=1e-12)


def test_predictions_read_the_real_past_and_only_the_past(drawn, recording):
    other = recording.copy(deep=True)
    other["spikes"].values[60, 0] += 5
    before, after = predict(drawn, recording), predict(drawn, other)
    moved = np.flatnonzero((before.values != after.values) & np.isfinite(before.values).any((0, 1, 3))[:, None])
    rows = np.unique(np.unravel_index(moved, before.shape)[2])
    assert rows.min() == 61
    assert rows.max() <= 60 + 4


def test_responses_are_draws_of_the_family(drawn):
    sampled = predict(drawn, kind="response", key=1)
    known = sampled.values[np.isfinite(sampled.values)]
    assert (known == np.round(known)).all()
    assert (known >= 0).all()
    mean = predict(drawn)
    error = np.sqrt(np.nanmean(mean) / known.size)
    assert abs(known.mean() - np.nanmean(mean)) < 5 * error
    xr.testing.assert_identical(sampled, predict(drawn, kind="response", key=1))
    assert not sampled.equals(predict(drawn, kind="response", key=2))


def test_rows_by_chunks_are_rows_at_once(drawn, monkeypatch):
    whole = predict(drawn)
    likelihood = np.concatenate([values for _, values in log_likelihood_chunks(drawn)], axis=1)
    monkeypatch.setattr(_likelihood, "_NUMBERS", 12 * 3 * 64)
    pieces = list(log_likelihood_chunks(drawn))
    assert [part for part, _ in pieces] == [slice(0, 64), slice(64, 128), slice(128, 192), slice(192, 240)]
    np.testing.assert_allclose(np.concatenate([values for _, values in pieces], axis=1), likelihood, rtol=1e-12)
    np.testing.assert_allclose(predict(drawn).values, whole.values, rtol=1e-12)


class Told(AbstractModel):
    """A GLM known by its story alone."""

    inner: bg.GLM

    def design(self, data):
        return self.inner.design(data)

    def __call__(self, design):
        self.inner(design)

    def coords(self):
        return self.inner.coords()

    def observed_site(self):
        return self.inner.observed_site()

    @property
    def has_neurons(self):
        return self.inner.has_neurons


@pytest.mark.parametrize("budget", [1 << 22, 12 * 3 * 64])
def test_the_story_and_the_product_agree(drawn, monkeypatch, budget):
    told = replace(drawn, model=Told(drawn.model))
    whole = {what: np.concatenate([v for _, v in response_chunks(source(drawn), what)], axis=1) for what in ("log_prob", "mean", "rate")}
    monkeypatch.setattr(_likelihood, "_NUMBERS", budget)
    made = source(told)
    for what, expected in whole.items():
        found = np.concatenate([values for _, values in response_chunks(made, what)], axis=1)
        found, expected = found[:, made.scored], expected[:, made.scored]  # the story's masked rows are nobody's
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert np.isfinite(predict(told, kind="response").values[:, :, 20:150]).all()


def test_thinning(drawn, monkeypatch):
    few = predict(drawn, draws=4)
    assert few.shape[:2] == (2, 2)
    np.testing.assert_array_equal(few["draw"], [1, 4])
    np.testing.assert_array_equal(few.values, predict(drawn).sel(draw=[1, 4]).values)
    assert predict(drawn, draws=1).shape[:2] == (2, 1)
    assert predict(drawn, draws=1000).shape[:2] == (2, 6)
    monkeypatch.setattr(_predict, "LARGEST", 2 * 240 * 3 * 3)
    with pytest.warns(PredictNote, match="3 of 6 draws a chain"):
        kept = predict(drawn)
    assert "3 of 6" in kept.attrs["note"]


def test_a_point_is_said_to_be_one(model, recording):
    point = made_up(model, recording, {"baseline": -1.0}, point=True)
    mean = predict(point)
    assert mean.shape[:2] == (1, 1)
    assert mean.attrs["posterior"] == "point"


def test_a_stimulus_alone_needs_no_response(recording):
    model = bg.GLM(bg.Baseline() + bg.Linear("stimulus"))
    fit = made_up(model, recording, {"baseline": -1.0, "stimulus": 0.5}, draws=3)
    bare = bg.recording(dt=0.01, stimulus=np.array([0.0, 1.0, np.nan]))
    mean = predict(fit, bare).mean(("chain", "draw")).values
    np.testing.assert_allclose(mean[:2, 0], np.exp([-1.0, -0.5]), rtol=0.1)
    assert np.isnan(mean[2]).all()
    with pytest.raises(ValueError, match="response"):
        next(log_likelihood_chunks(fit, bare))


def test_choices_on_trial_rows():
    rng = np.random.default_rng(0)
    trials = bg.recording(rows="trial", x=rng.normal(size=40), choice=rng.integers(0, 2, 40))
    model = bg.GLM(bg.Baseline() + bg.Linear("x"), family.Bernoulli(), response="choice")
    fit = made_up(model, trials, {"x": 1.0}, draws=5)
    p = predict(fit)
    assert p.dims == ("chain", "draw", "trial")
    eta = fit.posterior["baseline"] + fit.posterior["x"] * xr.DataArray(trials["x"].values, dims="trial")
    np.testing.assert_allclose(p.values, 1 / (1 + np.exp(-eta.values)), rtol=1e-10)


def test_offsets_count(recording):
    model = bg.GLM(bg.Baseline(prior.Flat()) + bg.Offset("stimulus"))
    fit = made_up(model, recording, {"baseline": -1.0}, point=True)
    np.testing.assert_allclose(predict(fit).values[0, 0, :, 1], np.exp(-1 + recording["stimulus"].values), rtol=1e-12)


def test_bad_asking(drawn, recording):
    with pytest.raises(ValueError, match="'mean', 'rate', 'response'"):
        predict(drawn, kind="eta")
    with pytest.raises(ValueError, match="stimulus"):
        predict(drawn, recording.drop_vars("stimulus"))
    with pytest.raises(ValueError, match="recording"):
        predict(drawn, np.zeros(3))
    with pytest.raises(ValueError, match="draws"):
        predict(drawn, draws=0)
    coarse = bg.recording(dt=0.02, spikes=np.zeros((50, 3), int), stimulus=np.zeros(50))
    with pytest.raises(ValueError, match="dt"):
        predict(drawn, coarse)


def test_a_sampled_fit(fit_small_nuts, recording_small):
    mean = predict(fit_small_nuts, draws=40)
    assert abs(float(mean.mean()) - recording_small["spikes"].values.mean()) < 0.02
