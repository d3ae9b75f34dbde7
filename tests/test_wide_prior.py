"""The default scale of a linear effect: what eta may move does not grow with the number of columns."""

from __future__ import annotations

import numpy as np
import pytest

import bayesglm as bg
from bayesglm import family, prior
from bayesglm.prior._scale import MANY, shared_out

ROWS = 400


def trials(columns: int) -> object:
    rng = np.random.default_rng(columns)
    x = rng.normal(3.0, 2.0, (ROWS, columns))
    angle = bg.angle(rng.uniform(0, 360, ROWS), period=360)
    return bg.recording(rows="trial", x=x, choice=rng.integers(0, 2, ROWS), level=rng.integers(0, 3, ROWS), y=rng.normal(size=ROWS), angle=angle)


def row(columns: int, law: family.AbstractFamily, response: str, weights: prior.AbstractPrior | None = None) -> dict:
    found = bg.prior_summary(bg.GLM(bg.Baseline() + bg.Linear("x", weights), law, response=response), trials(columns))
    return next(one for one in found.table if one["term"] == "x") | {"notes": found.notes}


def test_a_handful_of_columns_keeps_its_scale_and_many_share_one():
    assert all(float(shared_out(p).scale) == 1.0 for p in (1, 7, MANY))
    assert float(shared_out(MANY + 1).scale) == pytest.approx(1.0, abs=0.03)  # no jump
    np.testing.assert_allclose([shared_out(p).scale * np.sqrt(p) for p in (21, 80, 691, 23_589)], np.sqrt(MANY))


@pytest.mark.parametrize(
    ("law", "response"), [(family.Bernoulli(), "choice"), (family.Categorical(), "level"), (family.Poisson(), "level"), (family.VonMises(), "angle")]
)
def test_the_prior_sd_of_eta_stays_where_it_is_for_twenty(law, response):
    found = {p: row(p, law, response)["sd_eta"][0] for p in (MANY, 80, 320)}
    assert found[MANY] == pytest.approx(np.sqrt(MANY) * 0.6745, rel=0.15)  # by the median of the scale's prior, of 200 draws
    np.testing.assert_allclose([found[80], found[320]], found[MANY], rtol=0.05)


@pytest.mark.parametrize("law", [family.Gaussian(), family.StudentT()])
def test_a_response_with_a_unit_of_its_own_keeps_the_scale(law):
    found = row(80, law, "y")
    assert found["resolved"] == "Gaussian(HalfNormal(1))" and not found["notes"]


def test_it_is_said_and_a_prior_that_is_written_is_taken_as_it_is():
    assert "'x' has 80 entries: the default scale is HalfNormal(sqrt(20 / 80))" in row(80, family.Bernoulli(), "choice")["notes"][0]
    written = row(80, family.Bernoulli(), "choice", prior.Gaussian(prior.HalfNormal(1.0)))
    assert written["resolved"] == "Gaussian(HalfNormal(1))" and not written["notes"]
    assert not row(MANY, family.Bernoulli(), "choice")["notes"]
