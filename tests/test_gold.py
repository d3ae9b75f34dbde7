"""Posteriors against gold standards: importance sampling (GLMs) and posteriordb (Gaussian linear models)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from studies import gold

import bayesglm as bg
from bayesglm import method
from bayesglm.engine.diagnostics import ess, mcse

ESS = 4_000
STANDARD_ERRORS = 4.0
SD = 0.05
LONG = method.NUTS(num_samples=2_000)
slow = pytest.mark.slow


class FlatSigma(bg.AbstractModel):
    """y ~ Normal(b_1 + x b, sigma), every parameter flat: a NumPyro story that knows no term."""

    def design(self, data: Any) -> bg.Design:
        x = data["x"].values
        return bg.Design({"x": np.column_stack([np.ones(len(x)), x]), "y": data["y"].values}, {}, np.ones(len(x)))

    def __call__(self, design: bg.Design) -> None:
        x = design.shared["x"]
        weights = numpyro.sample("weights", dist.ImproperUniform(dist.constraints.real_vector, (), (x.shape[1],)))
        sigma = numpyro.sample("sigma", dist.ImproperUniform(dist.constraints.positive, (), ()))
        with numpyro.plate("row", x.shape[0]):
            numpyro.sample("y", dist.Normal(x @ weights, sigma), obs=design.shared["y"])


def _agrees(draws: np.ndarray, names: tuple[str, ...], reference: dict[str, Any]) -> None:
    """The rule: enough effective draws, means within four standard errors of both, sds within five per cent."""
    assert set(names) == set(reference["params"])
    wanted = [reference["params"][name] for name in names]
    mean, sd = (np.array([row[key] for row in wanted]) for key in ("mean", "sd"))
    error = np.array([row.get("mcse_mean", row["sd"] / np.sqrt(reference.get("n_draws", np.nan))) for row in wanted])
    assert min(ess(draws, "bulk").min(), ess(draws, "mean").min()) >= ESS
    assert (np.abs(draws.mean((0, 1)) - mean) < STANDARD_ERRORS * np.hypot(mcse(draws), error)).all()
    assert (np.abs(draws.std((0, 1)) / sd - 1) < SD).all()


def _draws(fit: Any, *sites: str) -> np.ndarray:
    """(chain, draw, parameter)."""
    parts = [fit.posterior[site].values for site in sites]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], 2)


# one program is compiled a case, ten seconds each: the quick run takes one of every kind
GLMS = [gold.psychometric, gold.counts_by_year, *(pytest.param(make, marks=slow) for make in (gold.wells_dist, gold.wells_interaction, gold.place_cell))]


@pytest.mark.parametrize("make", GLMS)
def test_glm_posteriors(make):
    case = make()
    fit = bg.fit(gold.as_glm(case), gold.as_recording(case), LONG, progress=False)
    _agrees(_draws(fit, "baseline", "x"), case.names, case.reference)


@pytest.mark.parametrize("make", [gold.kidscore_momhsiq, pytest.param(gold.kidscore_momhs, marks=slow)])
def test_gaussian_with_a_half_cauchy_sigma(make):
    case = make()
    fit = bg.fit(gold.as_glm(case), gold.as_recording(case), LONG, progress=False)
    _agrees(_draws(fit, "baseline", "x", "sigma"), case.names, case.reference)


@pytest.mark.parametrize("make", [gold.mesquite, pytest.param(gold.kidscore_interaction, marks=slow), pytest.param(gold.party, marks=slow)])
def test_gaussian_with_a_flat_sigma(make):
    case = make()
    fit = bg.fit(FlatSigma(), gold.as_recording(case), LONG, progress=False)
    _agrees(_draws(fit, "weights", "sigma"), case.names, case.reference)
