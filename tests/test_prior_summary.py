"""prior_summary: the priors used, and the sd of eta that each implies."""

from __future__ import annotations

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from shapes import everything, like_small

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._double import double
from bayesglm._prior_check import prior_draws

MONTE_CARLO = 0.12


@pytest.fixture(scope="module")
def data():
    return like_small(3)


def rows_of(found):
    return {row["term"]: row for row in found.table}


def test_defaults_are_spelled_out(data):
    model = bg.GLM(
        bg.Baseline() + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05)) + bg.Coupling(basis.RaisedCosine(2, span=0.05), prior.Laplace(0.3))
    )
    found = rows_of(bg.prior_summary(model, data))
    assert {name: row["specified"] for name, row in found.items()} == {
        "baseline": "default",
        "stimulus": "default",
        "coupling": "Laplace(0.3)",
        "family": "Poisson(exp)",
    }
    assert found["stimulus"]["resolved"] == "Gaussian(HalfNormal(1))" and found["stimulus"]["learned"] == "stimulus_scale ~ HalfNormal(1)"
    assert found["coupling"]["weights"].tolist() == [4, 4, 4]  # a cell never couples to itself
    assert rows_of(bg.prior_summary(bg.GLM(bg.Baseline(), family.Gaussian()), data))["family"]["learned"] == "sigma ~ HalfStudentT(4, 1)"


def test_its_sd_is_that_of_prior_draws(data):
    """Smooth, Laplace and group priors with fixed scales: sqrt(mean over rows of Var(x'w)) by a thousand draws."""
    model = bg.GLM(
        bg.Baseline()
        + bg.Stimulus("stimulus", basis.BSpline(5, span=0.08), prior.Smooth(0.8))
        + bg.History(basis.RaisedCosine(3, span=0.05), prior.GroupLasso(0.4))
        + bg.Coupling(basis.RaisedCosine(2, span=0.05), prior.Laplace(0.3))
    ).resolve(data)
    design = model.design(data)
    with double():
        sites = prior_draws(model, design.bare(), 1000, jax.random.key(1))
    found = rows_of(bg.prior_summary(model, data))
    kept = np.asarray(design.scored) > 0
    for block in model.blocks(design):
        if block.name == "baseline":
            assert found["baseline"]["sd_eta"] == pytest.approx(2.5 * np.sqrt(3))
            continue
        w = (np.asarray(sites[block.name]) * np.asarray(block.mask)).reshape(1000, 3, -1)
        centre = np.asarray(design.each["cells"]["centre"][block.name]).reshape(3, -1)
        for n in range(3):
            columns = np.asarray(block.shared if block.own is None else block.own[n]).reshape(design.rows, -1)[kept] - centre[n]
            assert found[block.name]["sd_eta"][n] == pytest.approx(np.sqrt(np.mean((columns @ w[:, n].T) ** 2)), rel=MONTE_CARLO)


def test_it_grows_with_the_square_root_of_the_columns():
    rng = np.random.default_rng(0)
    data = bg.recording(dt=0.01, y=rng.normal(size=4000), few=rng.normal(size=(4000, 4)), many=rng.normal(size=(4000, 36)))
    model = bg.GLM(bg.Baseline() + bg.Linear("few", prior.Gaussian(0.5)) + bg.Linear("many", prior.Gaussian(0.5)), family.Gaussian(), "y")
    found = rows_of(bg.prior_summary(model, data))
    assert found["few"]["sd_eta"][0] == pytest.approx(1.0, rel=0.05)
    assert found["many"]["sd_eta"][0] / found["few"]["sd_eta"][0] == pytest.approx(3.0, rel=0.05)


def test_learned_scales_count_by_their_median():
    data = bg.recording(dt=0.01, y=np.zeros(4), x=np.array([1.0, -1.0, 1.0, -1.0]))
    laws = {"half_normal": dist.HalfNormal(2.0), "half_cauchy": dist.HalfCauchy(2.0)}
    for name, median in (("half_normal", 2.0 * 0.6745), ("half_cauchy", 2.0)):
        row = bg.prior_summary(bg.GLM(bg.Baseline(prior.Gaussian(1.0)) + bg.Linear("x", prior.Gaussian(laws[name])), family.Gaussian(), "y"), data).table[1]
        assert row["sd_eta"][0] == pytest.approx(median, rel=0.25)


@pytest.mark.parametrize(
    "term",
    [
        lambda: bg.Stimulus("stimulus", basis.BSpline(5, span=0.08), prior.GaussianProcess()),
        lambda: bg.Coupling(basis.RaisedCosine(2, span=0.04), prior.Horseshoe(2)),
        lambda: bg.Coupling(basis.RaisedCosine(2, span=0.04), prior.Hierarchical(partial=True)),
        lambda: bg.Coupling(basis.RaisedCosine(2, span=0.04), prior.Gaussian("evidence")),
        lambda: bg.Tuning(("x", "y"), basis.BSpline(4) * basis.BSpline(4), prior.Smooth()),
        lambda: bg.Linear("private", prior.StudentT(4.0)),
    ],
)
def test_every_prior_has_a_row(term):
    found = bg.prior_summary(bg.GLM(bg.Baseline() + term()), everything())
    row = found.table[1]
    assert row["resolved"] in repr(found) and np.isfinite(row["sd_eta"]).all() and (row["sd_eta"] > 0).all()
    assert all(site in repr(found) and site in found._repr_html_() for site in (said.split()[0] for said in row["learned"].split("; ") if said))
    assert found.to_dataset()["sd_eta"].dims == ("term", "neuron")
    assert found.to_dataset()["sd_eta"].sel(term=row["term"]).values.tolist() == row["sd_eta"].tolist()


def test_several_predictors_count_as_many_weights():
    """Three classes have two free contrasts: each moves by the prior's sd."""
    rng = np.random.default_rng(0)
    data = bg.recording(rows="trial", x=np.where(rng.random(60) < 0.5, -1.0, 1.0), choice=rng.integers(0, 3, 60))
    model = bg.GLM(bg.Baseline(prior.Gaussian(1.0)) + bg.Linear("x", prior.Gaussian(0.5)), family.Categorical(), "choice")
    row = rows_of(bg.prior_summary(model, data))["x"]
    assert row["weights"].tolist() == [2]
    assert row["sd_eta"][0] == pytest.approx(0.5)


def test_flat_priors_and_single_responses():
    model = bg.GLM(bg.Baseline(prior.Flat()) + bg.Linear("pose", prior.Gaussian(1.0)), family.Bernoulli(), response="choice")
    found = bg.prior_summary(model, everything())
    assert found.table[0]["sd_eta"][0] == np.inf
    assert "['baseline'] have a flat prior" in repr(found)
    assert found.to_dataset()["sd_eta"].dims == ("term",)
    with pytest.raises(ValueError, match="terms of a GLM"):
        bg.prior_summary(bg.from_function(lambda design: None), everything())
