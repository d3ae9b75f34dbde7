"""Prior-to-posterior contraction: closed forms of the prior's variance, draws of the prior themselves, what has none; the table as a Dataset."""

from __future__ import annotations

import warnings
from types import MappingProxyType

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from shapes import everything, like_small

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._contraction import LITTLE, contractions
from bayesglm._double import double
from bayesglm._fit import Fit
from bayesglm._labels import tree
from bayesglm._prior_check import prior_draws
from bayesglm._quantities import quantities
from bayesglm.method._base import Draws

MONTE_CARLO = 0.15  # relative, of the variance of 2,000 draws of a scale mixture: four standard errors
SAME = 0.35  # of two such variances of a skewed scale, the worst of some twenty entries
KERNEL = basis.RaisedCosine(3, span=0.05)


def quietly(model, data, how="laplace"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bg.fit(model, data, how, progress=False)


def from_the_prior(model, data, draws=4000):
    """A fit whose posterior is its prior: draws of the whole story."""
    model = model.resolve(data)
    design = model.design(data).bare()
    with double():
        sites = {name: np.asarray(value)[None] for name, value in prior_draws(model, design, draws, jax.random.key(5)).items()}
    idata = tree(model, design, Draws(sites, {}, {}, (), False, True), data, False)
    return Fit(model, data, idata, method.NUTS(), MappingProxyType({"converged": True}))


def of(found, **where):
    return [row for row in found.table if all(row[key] == value for key, value in where.items())]


@pytest.fixture(scope="module")
def fitted():
    """Priors with fixed scales, whose variances are known: 0.25 a weight, times the kernels for filters."""
    fixed = prior.Gaussian(0.5)
    terms = bg.Baseline(prior.Gaussian(2.0)) + bg.Stimulus("stimulus", KERNEL, fixed) + bg.History(KERNEL, fixed) + bg.Coupling(KERNEL, fixed)
    return quietly(bg.GLM(terms), like_small(2))


def test_contraction_of_fixed_scales(fitted):
    found = bg.summary(fitted, weights=True)
    kernels = fitted.idata["constant_data"]["coupling_kernels"].values
    for row in of(found, term="coupling", quantity="net effect"):
        assert 1 - row["contraction"] == pytest.approx(row["sd"] ** 2 / (0.25 * (kernels.sum(0) ** 2).sum()), rel=MONTE_CARLO)
    lags = fitted.idata["constant_data"]["coupling_lag"].values
    for row in of(found, term="coupling", quantity="peak"):
        at = kernels[int(np.flatnonzero(lags == row["lag"])[0])]
        assert 1 - row["contraction"] == pytest.approx(row["sd"] ** 2 / (0.25 * (at**2).sum()), rel=MONTE_CARLO)
    for row in of(found, quantity="weight"):
        assert 1 - row["contraction"] == pytest.approx(row["sd"] ** 2 / 0.25, rel=MONTE_CARLO)
    for row in of(found, term="baseline"):
        assert 1 - row["contraction"] == pytest.approx(row["sd"] ** 2 / 4.0, rel=MONTE_CARLO)


def test_contraction_averages_over_learned_scales(fit_small_nuts):
    """w = tau z, tau ~ HalfNormal(s): Var(w) = s^2; Var(tau) = s^2 (1 - 2/pi)."""
    found = bg.summary(fit_small_nuts, weights=True)
    for row in of(found, term="coupling", quantity="weight"):
        assert 1 - row["contraction"] == pytest.approx((row["sd"] / 0.5) ** 2, rel=2 * MONTE_CARLO)
    for row in of(found, term="coupling_scale"):
        assert 1 - row["contraction"] == pytest.approx((row["sd"] / 0.5) ** 2 / (1 - 2 / np.pi), rel=MONTE_CARLO)
    assert all(row["contraction"] > 0.99 for row in of(found, term="baseline"))


MANY = {
    "gaussian": lambda: prior.Gaussian(0.5),
    "learned": lambda: prior.Gaussian(dist.HalfNormal(0.5)),
    "laplace": lambda: prior.Laplace(0.3),
    "wide": lambda: prior.Laplace(prior.HalfCauchy(1.0)),
    "smooth": lambda: prior.Smooth(0.7, order=1),
    "group": lambda: prior.GroupLasso(0.4),
}
FEW = {"horseshoe": lambda: prior.Horseshoe(2), "partial": lambda: prior.Hierarchical(partial=True), "areas": lambda: prior.Hierarchical("area")}


@pytest.mark.parametrize("priors", [MANY, FEW], ids=["many", "few"])
def test_the_prior_itself_has_no_contraction(priors):
    """Draws of the whole story, by another route, are as wide as the prior, whatever the prior."""
    parts = [bg.Coupling(basis.BSpline(4, span=0.05), make(), name=name) for name, make in priors.items()]
    fit = from_the_prior(bg.GLM(sum(parts[1:], bg.Baseline() + parts[0])), everything())
    found = contractions(fit, tuple(quantities(fit, True)))
    for (term, kind), values in found.of.items():
        flat = values.values[np.isfinite(values.values)]
        assert flat.size
        if term != "horseshoe":  # the variance of its weights is that of rare, large ones: thousands of draws do not settle it
            assert np.abs(np.median(flat)) < SAME, (term, kind)
    wild = {"many": {"baseline", "wide", "wide_scale"}, "few": {"horseshoe_scale", "horseshoe_local", "horseshoe_slab"}}
    assert set(found.robust) == wild["many" if priors is MANY else "few"]


def test_classes_and_several_predictors():
    rng = np.random.default_rng(0)
    data = bg.recording(rows="trial", x=rng.normal(size=60), choice=rng.integers(0, 3, 60))
    fit = from_the_prior(bg.GLM(bg.Baseline(prior.Gaussian(1.0)) + bg.Linear("x", prior.Gaussian(0.5)), family.Categorical(), "choice"), data)
    found = contractions(fit, tuple(quantities(fit, False))).of
    assert found["x", "x"].dims == ("class",)
    assert np.abs(found["x", "x"]).max() < MONTE_CARLO
    kept = quietly(bg.GLM(bg.Baseline() + bg.Linear("x", prior.Gaussian(0.5)), family.Categorical(), "choice"), data)
    assert all(0.2 < row["contraction"] < 1 for row in of(bg.summary(kept), term="x"))


def test_interquartile_ranges_where_there_is_no_variance():
    """tau ~ HalfCauchy(1) has quartiles tan(pi/8) and tan(3 pi/8), two apart."""
    data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.3, (400, 1)), x=np.random.default_rng(1).normal(size=400))
    fit = quietly(bg.GLM(bg.Baseline() + bg.Linear("x", prior.Gaussian(prior.HalfCauchy(1.0)))), data)
    found = bg.summary(fit)
    low, high = np.quantile(fit.posterior["x_scale"], [0.25, 0.75])
    assert 1 - of(found, term="x_scale")[0]["contraction"] == pytest.approx(((high - low) / 2.0) ** 2, rel=2 * MONTE_CARLO)
    assert "by interquartile ranges for baseline, x, x_scale, whose prior has no finite variance" in repr(found)


def test_a_band_that_is_its_prior_is_said_to_be():
    """A source that never fires and a stimulus that hardly moves say nothing; their bands are the prior's."""
    rng = np.random.default_rng(3)
    spikes = rng.poisson(0.3, (600, 3))
    spikes[:, 2] = 0
    data = bg.recording(dt=0.01, spikes=spikes, faint=1e-3 * rng.normal(size=600))
    fixed = prior.Gaussian(0.5)
    found = bg.summary(quietly(bg.GLM(bg.Baseline() + bg.Stimulus("faint", KERNEL, fixed) + bg.Coupling(KERNEL, fixed), neurons=(0, 1)), data))
    for row in of(found, quantity="net effect"):
        silent = row["term"] == "faint" or row["source"] == 2
        assert (abs(row["contraction"]) < 2 * MONTE_CARLO) if silent else (row["contraction"] > 0.5)
    notes = dict(found.notes)
    low = [f"{row['neuron']} <- {row['source']}" for row in of(found, term="coupling", quantity="net effect") if row["contraction"] < LITTLE]
    assert low and notes["coupling"].startswith(f"the band of the net effect of {len(low)} of 4 filters is nearly its prior: contraction below 0.1")
    assert ", ".join(low) in notes["coupling"]
    assert "faint" in notes and "faint: the band of the net effect" in repr(found)


def test_no_prior_no_contraction(fit_small_map):
    found = bg.summary(fit_small_map)
    assert np.isnan([row["contraction"] for row in found.table]).all() and "contraction" not in repr(found)
    flat = bg.summary(quietly(bg.GLM(bg.Baseline() + bg.Linear("stimulus", prior.Flat()) + bg.History(KERNEL, prior.Gaussian(1.0))), like_small(1)))
    assert np.isnan([row["contraction"] for row in flat.table if row["term"] in ("baseline", "stimulus")]).all()
    assert all(0 < row["contraction"] < 1 for row in of(flat, term="history"))
    assert "none for baseline, stimulus: a flat prior, or a scale by evidence" in repr(flat)
    chosen = bg.summary(quietly(bg.GLM(bg.Baseline(prior.Gaussian(2.0)) + bg.History(KERNEL, prior.Gaussian("evidence"))), like_small(1)))
    assert np.isnan([row["contraction"] for row in chosen.table if row["term"].startswith("history")]).all()
    assert all(row["contraction"] > 0.9 for row in of(chosen, term="baseline"))


def test_blocks_of_neurons_agree(fitted, monkeypatch):
    whole = contractions(fitted, tuple(quantities(fitted, False))).of
    monkeypatch.setattr("bayesglm._contraction._LARGEST", 1)
    parts = contractions(fitted, tuple(quantities(fitted, False))).of
    assert whole.keys() == parts.keys()
    for key, values in whole.items():
        xr.testing.assert_equal(values.isnull(), parts[key].transpose(*values.dims).isnull())
        ratio = ((1 - parts[key]) / (1 - values)).values
        np.testing.assert_allclose(ratio[np.isfinite(ratio)], 1.0, atol=2 * MONTE_CARLO)


def test_the_table_as_a_dataset(fitted, tmp_path):
    found = bg.summary(fitted, prob=0.8)
    made = found.to_dataset()
    assert made.sizes == {"row": len(found.table)} and made.attrs["prob"] == 0.8
    assert {"term", "quantity", "neuron", "source", "entry", "units", "lag"} == set(made.coords)
    np.testing.assert_array_equal(made["contraction"], [row["contraction"] for row in found.table])
    one = made["sd"].where((made["term"] == "coupling") & (made["quantity"] == "net effect") & (made["source"] == "0"), drop=True)
    assert one["neuron"].values.tolist() == ["1", "2"]
    made.to_netcdf(tmp_path / "summary.nc")
    assert xr.open_dataset(tmp_path / "summary.nc").equals(made)
