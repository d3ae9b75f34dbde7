"""prior_check: the rates that a prior expects."""

from __future__ import annotations

import warnings

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from shapes import DT, LABELS, everything, like_small

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._prior_check import PriorNote

MONTE_CARLO = 0.1


@pytest.fixture(scope="module")
def data():
    return like_small(3)


def test_a_baseline_alone_has_a_log_normal_rate(data):
    """log rate ~ Normal(-log dt, 0.9): its quantiles, and the share beyond 500 spikes/s."""
    found = bg.prior_check(bg.GLM(bg.Baseline(prior.Gaussian(0.9))), data, draws=2000)
    law = stats.lognorm(0.9, scale=1 / DT)
    np.testing.assert_allclose(found.quantiles.sel(quantile=[0.25, 0.5, 0.75]).median("neuron"), law.ppf([0.25, 0.5, 0.75]), rtol=MONTE_CARLO)
    assert found.limit == 500.0
    assert found.share == pytest.approx(law.sf(500.0), rel=0.2)
    np.testing.assert_allclose(found.histogram.sum("log10_rate"), 1.0)
    np.testing.assert_allclose(found.observed, data["spikes"].values.mean(0) / DT)


def test_a_centred_baseline_is_about_the_recorded_mean(data):
    """At the average of the other columns: log rate ~ Normal(log recorded mean, 0.5)."""
    found = bg.prior_check(bg.GLM(bg.Baseline(prior.Gaussian(0.5), centred=True)), data, draws=2000)
    recorded = data["spikes"].values.mean(0) / DT
    np.testing.assert_allclose(found.quantiles.sel(quantile=0.5), recorded, rtol=MONTE_CARLO)
    np.testing.assert_allclose(found.quantiles.sel(quantile=0.75) / recorded, np.exp(0.5 * stats.norm.ppf(0.75)), rtol=MONTE_CARLO)


def test_a_wide_baseline_is_no_news(data):
    """Its rates lie far out, but all of a draw's together: one number, which the mean rate settles. A wide coupling is another thing."""
    found = bg.prior_check(bg.GLM(bg.Baseline() + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05), prior.Smooth(0.1))), data)
    assert found.share > 0.05 and float(found.beyond_at_level.max()) < 0.01
    assert "baseline" in found.notes[0] and "typical level" in repr(found)


def test_at_the_typical_level_the_baseline_drops_out(data):
    """eta = b + X w: what is beyond does not depend on how far b was drawn from its middle."""
    fluctuating = bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05), prior.Gaussian(2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorNote)
        sharp, wide = (bg.prior_check(bg.GLM(bg.Baseline(prior.Gaussian(sd), centred=True) + fluctuating), data, draws=2000) for sd in (1e-3, 3.0))
    assert wide.share > 1.5 * sharp.share
    np.testing.assert_allclose(wide.beyond_at_level, sharp.beyond, rtol=0.25)


def test_wild_priors_warn_and_say_where_to_look(data):
    model = bg.GLM(bg.Baseline() + bg.Coupling(basis.RaisedCosine(4, span=0.1), prior.Gaussian(8.0)))
    with pytest.warns(PriorNote, match=r"beyond 500 spikes/s.*prior_summary"):
        found = bg.prior_check(model, data)
    assert found.share > 0.05 and "note" in repr(found) and "prior_summary" in found._repr_html_()


def test_sober_priors_are_silent(data):
    model = bg.GLM(bg.Baseline(prior.Gaussian(0.3)) + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05), prior.Smooth(0.1)))
    found = bg.prior_check(model, data)
    assert found.share < 0.01 and not found.notes
    assert found.quantiles.dims == ("quantile", "neuron") and found.to_dataset()["beyond"].dims == ("neuron",)


def test_the_same_key_gives_the_same_rates(data):
    model = bg.GLM(bg.Baseline(prior.Gaussian(0.3)) + bg.History(basis.RaisedCosine(2, span=0.05), prior.Gaussian(dist.HalfNormal(0.3))))
    one, two, other = (bg.prior_check(model, data, draws=20, key=key).quantiles.values for key in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_a_binary_bin_holds_one_spike():
    """The rate of a Bernoulli response is -log(1 - p)/dt: beyond 1/dt where p is above 1 - 1/e."""
    rng = np.random.default_rng(0)
    data = bg.recording(dt=DT, any=(("time", "neuron"), rng.integers(0, 2, (300, 3))), labels={"neuron": list(LABELS)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorNote)
        found = bg.prior_check(bg.GLM(bg.Baseline(prior.Gaussian(1.0)), family.Bernoulli(), "any"), data, draws=2000)
    assert found.limit == pytest.approx(1 / DT)
    assert found.share == pytest.approx(stats.norm.sf(np.log(np.e - 1)), rel=0.15)


@pytest.mark.parametrize(
    ("model", "units"),
    [
        (lambda: bg.GLM(bg.Baseline() + bg.Linear("pose"), family.Gaussian(), "trace"), "units of the response"),
        (lambda: bg.GLM(bg.Baseline() + bg.Coupling(basis.RaisedCosine(2, span=0.04), prior.Horseshoe(2))), "spikes/s"),
        (lambda: bg.GLM(bg.Baseline() + bg.Linear("pose", prior.Hierarchical())), "spikes/s"),
        (lambda: bg.GLM(bg.Baseline() + bg.Tuning("heading", basis.CyclicBSpline(5), prior.GaussianProcess())), "spikes/s"),
    ],
)
def test_any_family_and_prior(model, units):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorNote)
        found = bg.prior_check(model(), everything(), draws=30)
    assert found.quantiles.attrs["units"] == units
    assert (found.limit is None) == (units != "spikes/s")
    assert np.isfinite(found.quantiles.sel(quantile=0.5)).all()


def test_a_response_without_neurons():
    found = bg.prior_check(bg.GLM(bg.Baseline(), family.Bernoulli(), "choice"), everything(), draws=30)
    assert found.quantiles.dims == ("quantile",) and found.beyond.dims == ()
    assert found.limit is None and np.isnan(found.share)  # a choice is no spike
    assert 0.9 < float(found.quantiles.sel(quantile=0.99)) <= 1.0  # and what is expected of it is a probability


@pytest.mark.parametrize(
    ("law", "said"), [(prior.Flat(), "coupling.*Flat.*no prior predictive"), (prior.Gaussian("evidence"), "coupling.*evidence.*distribution")]
)
def test_what_has_no_prior_predictive(data, law, said):
    with pytest.raises(ValueError, match=said):
        bg.prior_check(bg.GLM(bg.Baseline() + bg.Coupling(basis.RaisedCosine(2, span=0.04), law)), data)


def test_classes_have_no_rate():
    rng = np.random.default_rng(0)
    data = bg.recording(rows="trial", x=rng.normal(size=60), choice=rng.integers(0, 3, 60))
    with pytest.raises(ValueError, match="Categorical.*none.*prior_summary"):
        bg.prior_check(bg.GLM(bg.Baseline() + bg.Linear("x"), family.Categorical(), "choice"), data)


def test_binomial_trials():
    rng = np.random.default_rng(0)
    data = bg.recording(rows="trial", x=rng.normal(size=60), hits=rng.integers(0, 4, 60), n=np.full(60, 5))
    found = bg.prior_check(bg.GLM(bg.Baseline() + bg.Linear("x"), family.Binomial(trials="n"), "hits"), data)
    assert found.limit is None and np.isfinite(found.quantiles).all()
