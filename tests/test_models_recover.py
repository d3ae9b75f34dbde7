"""The reading room: what was planted in each simulation is what its model finds; and what the models refuse."""

from __future__ import annotations

import numpy as np
import pytest
from reading_room import CASES

import bayesglm as bg
from bayesglm import models


def fitted(name, rows, **options):
    data = CASES[name].module.simulate(rows, **options)
    return bg.fit(CASES[name].make(), data, "laplace", progress=False)


def middle(draws):
    return draws.median(("chain", "draw"))


@pytest.mark.slow
def test_the_blocks_of_two_areas_have_their_own_scales():
    """Planted: strong within M1, weaker from PMv to M1, none into PMv."""
    fit = fitted("TwoAreaPopulation", 6_000)
    scales = middle(fit.posterior["coupling_scale"])
    within, between = (float(scales.sel(area_to="M1", area_from=area)) for area in ("M1", "PMv"))
    into = scales.sel(area_to="PMv")
    assert within > between > float(into.max())
    assert within > 0.4 and float(into.max()) < 0.15


def test_the_gains_variance_is_found():
    fit = fitted("OverdispersedEncoding", 800)
    drawn = fit.posterior["dispersion"]
    low, _, high = bg.interval(drawn, 0.98).values
    assert low[1] < 0.36 < high[1]
    assert high[0] < 0.1  # the first cell is Poisson


def test_types_differ_and_few_spikes_are_pooled():
    fit = fitted("HierarchicalSessions", 3_000)
    scales = fit.posterior["heading_scale"]
    assert float((scales.sel(area_to="pyramidal") > scales.sel(area_to="interneuron")).mean()) > 0.99
    assert fit.posterior["heading"].sizes["neuron"] == 12


@pytest.mark.slow
def test_kernels_of_events_are_found():
    fit = fitted("DecisionKernels", 12_000)
    planted = {"saccade_in": lambda lag: 1.5 * np.exp(-(((lag + 0.08) / 0.15) ** 2)), "saccade_out": np.zeros_like}
    for name, law in planted.items():
        found = bg.filters(fit, name).squeeze("neuron")
        z = (found.mean(("chain", "draw")) - law(found["lag"].values)) / found.std(("chain", "draw"))
        assert np.abs(z).max() < 3.5
    net = bg.filters(fit, "motion").sum("lag")
    assert float((net > 0).mean()) > 0.99


@pytest.mark.slow
def test_biases_of_sessions_and_the_pull_of_the_last_choice_are_found():
    fit = fitted("PsychometricHistory", 3_200)
    drawn = fit.posterior
    constant = (drawn["bias"] + drawn["baseline"]).transpose("session", ...).values.reshape(4, -1)
    z = (constant.mean(1) - [0.8, -0.6, 0.1, -0.2]) / constant.std(1)
    assert np.abs(z).max() < 3.0
    last = drawn["history"].isel(history_basis=0)
    assert abs(float(last.mean()) - 0.5) < 3.0 * float(last.std())
    assert bg.interval(drawn["history"]).sel(bound="lower").values[0] > 0
    slope = (drawn["contrast"] + drawn["sensitivity"]).mean(("chain", "draw"))
    assert (slope.sel(contrast_feature="left") < -2).all() and (slope.sel(contrast_feature="right") > 2).all()


def test_the_decoder_is_bayes_rule():
    """Independent Poisson cells with circular tuning of unit concentration: the best weights are (cos, sin) of twice the preference."""
    fit = fitted("OrientationDecoding", 4_000)
    weights, angle = fit.posterior["weights"], 2.0 * np.deg2rad(np.array(fit.model.labels, float))
    for component, wanted in (("cos", np.cos(angle)), ("sin", np.sin(angle))):
        found = weights.sel(component=component)
        z = (found.mean(("chain", "draw")) - wanted) / found.std(("chain", "draw"))
        assert np.abs(z).max() < 4.0
    test = CASES["OrientationDecoding"].module.simulate(300, seed=1)
    direction = fit.model.decoded(fit, test)
    assert direction.dims == ("chain", "draw", "trial")
    np.testing.assert_allclose(direction.isel(draw=0), bg.predict(fit, test).isel(draw=0), atol=1e-6)
    error = (direction.isel(draw=0).values - test["orientation"].values + 90.0) % 180.0 - 90.0
    assert np.median(np.abs(error)) < 10.0


def test_a_readout_of_more_features_than_images():
    """The posterior is made in the images' own space, and its predictions are the ones of ridge regression."""
    rng = np.random.default_rng(0)
    x, planted = rng.normal(size=(60, 300)), rng.normal(size=(300, 2)) * 0.2
    y = x @ planted + rng.normal(size=(60, 2))
    data = bg.recording(rows="trial", features=x, response=(("trial", "neuron"), y))
    fit = bg.fit(models.FeatureEncoding(), data, "laplace", progress=False)
    assert fit.posterior["weights"].sizes["features_feature"] == 300
    fresh = rng.normal(size=(400, 300))
    test = bg.recording(rows="trial", features=fresh, response=(("trial", "neuron"), fresh @ planted))
    predicted = bg.predict(fit, test, draws=100).mean(("chain", "draw"))
    r = [np.corrcoef(predicted[:, n], test["response"][:, n])[0, 1] for n in range(2)]
    assert min(r) > 0.25  # sqrt(60 / 300) = .45 at best, without noise


def test_more_cells_than_trials():
    data = CASES["ChoiceDecoding"].module.simulate(40, cells=120)
    fit = bg.fit(models.ChoiceDecoding(), data, "laplace", progress=False)
    assert fit.posterior["weights"].sizes["counts_feature"] == 120


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("TwoAreaPopulation", lambda data: data.drop_vars("area"), "area of each neuron"),
        ("HierarchicalSessions", lambda data: data.drop_vars("area"), "type of each neuron"),
        ("DecisionKernels", lambda data: data.drop_vars("saccade_out"), "the event 'saccade_out', which the recording lacks"),
        ("PsychometricHistory", lambda data: data.assign(choice=data["choice"] + 1), "'choice' holds the values"),
        ("OrientationDecoding", lambda data: data.assign(orientation=data["orientation"].drop_attrs()), "not marked as an angle"),
        ("FeatureEncoding", lambda data: data.assign(response=data["response"].where(data["trial"] > 3)), "without NaN"),
        ("OverdispersedEncoding", lambda data: data.drop_vars("direction"), "wants the column 'direction'"),
    ],
)
def test_what_they_refuse(name, change, said):
    with pytest.raises(ValueError, match=said):
        CASES[name].make().resolve(change(CASES[name].module.simulate(240)))


@pytest.mark.parametrize("name", ["PsychometricHistory", "OrientationDecoding", "FeatureEncoding", "OverdispersedEncoding", "HierarchicalSessions"])
def test_unresolved_models_say_so(name):
    with pytest.raises(ValueError, match="not resolved"):
        CASES[name].make().design(CASES[name].module.simulate(240))


def test_a_session_never_seen_has_no_bias():
    data = CASES["PsychometricHistory"].module.simulate(400)
    model = models.PsychometricHistory().resolve(data.isel(trial=slice(0, 200)))
    with pytest.raises(ValueError, match=r"\['wed', 'thu'\] were not seen"):
        model.design(data)
