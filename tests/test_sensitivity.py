"""Power-scaling sensitivity: against the closed form of a conjugate posterior, and what it should say of strong and weak priors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

import bayesglm as bg
from bayesglm import basis, family, method, prior

ROWS, NOISE = 50, 1.0
SAME = 0.15  # relative: 4,000 draws
STEP = 0.01  # ArviZ's default power


def constant(mean: float, rows: int = ROWS) -> object:
    """A Gaussian response of known noise around ``mean``."""
    y = np.random.default_rng(0).normal(0.0, NOISE, rows)
    return bg.recording(rows="trial", y=y - y.mean() + mean, x=np.ones(rows))


def fitted(scale: float, mean: float, rows: int = ROWS) -> bg.Fit:
    model = bg.GLM(bg.Linear("x", prior.Gaussian(scale)), family.Gaussian(scale=NOISE), response="y")
    return bg.fit(model, constant(mean, rows), method.Laplace(num_samples=4000), progress=False)


def distance(m1: float, s1: float, m2: float, s2: float) -> float:
    """Cumulative Jensen-Shannon distance of two normals, over the range of 4,000 draws of the first."""
    x = np.linspace(m1 - 3.5 * s1, m1 + 3.5 * s1, 20001)

    def one(sign: float) -> float:
        p, q = norm.cdf(sign * x, sign * m1, s1), norm.cdf(sign * x, sign * m2, s2)
        middle = 0.5 * (p + q)
        first = np.trapezoid(p * np.log2(p / middle), x) + 0.5 / np.log(2) * np.trapezoid(q - p, x)
        second = np.trapezoid(q * np.log2(q / middle), x) + 0.5 / np.log(2) * np.trapezoid(p - q, x)
        return np.sqrt(max(first, 0.0) + max(second, 0.0)) / np.sqrt(np.trapezoid(p + q, x))

    return max(one(1.0), one(-1.0))


def exact(scale: float, mean: float, prior_power: float, likelihood_power: float) -> tuple[float, float]:
    precision = prior_power / scale**2 + likelihood_power * ROWS / NOISE**2
    return likelihood_power * ROWS * mean / NOISE**2 / precision, precision**-0.5


@pytest.mark.parametrize(("scale", "mean"), [(0.1, 1.0), (0.3, 0.5), (5.0, 1.0)])
def test_conjugate_posterior(scale: float, mean: float) -> None:
    found = bg.sensitivity(fitted(scale, mean)).table
    here = exact(scale, mean, 1.0, 1.0)
    for name, powers in (("prior", lambda a: (a, 1.0)), ("likelihood", lambda a: (1.0, a))):
        slopes = [distance(*here, *exact(scale, mean, *powers(a))) / abs(np.log2(a)) for a in (1.0 - STEP, 1.0 + STEP)]
        np.testing.assert_allclose(found[name].values[0], np.mean(slopes), rtol=SAME, atol=2e-3)


def test_what_it_says() -> None:
    assert bg.sensitivity(fitted(0.1, 1.0)).table["diagnosis"].item() == "prior-data conflict"
    assert bg.sensitivity(fitted(10.0, 1.0)).table["diagnosis"].item() == "-"
    assert bg.sensitivity(fitted(0.1, 0.05, rows=2)).table["diagnosis"].item() == "strong prior or weak likelihood"


def population(seed: int = 1) -> object:
    return bg.recording(dt=0.01, spikes=np.random.default_rng(seed).poisson([0.2, 0.4, 0.1], (600, 3)))


def with_history(shrunk: prior.AbstractPrior, level: prior.AbstractPrior | None = None, neurons: tuple | None = None) -> bg.GLM:
    baseline = bg.Baseline() if level is None else bg.Baseline(level)
    return bg.GLM(baseline + bg.History(basis.RaisedCosine(3, span=0.05), shrunk), neurons=neurons)


def sensitivities(model: bg.GLM) -> object:
    return bg.sensitivity(bg.fit(model, population(), method.Laplace(num_samples=600), progress=False))


def test_a_neuron_does_not_see_who_is_beside_it() -> None:
    whole, alone = (sensitivities(with_history(prior.Gaussian(0.2), neurons=who)).table for who in (None, (1,)))
    mine = whole.isel(effect=np.flatnonzero(whole["neuron"].values == "1"))
    assert mine["term"].values.tolist() == alone["term"].values.tolist()
    np.testing.assert_allclose(mine["prior"], alone["prior"], rtol=1e-3)
    np.testing.assert_allclose(mine["likelihood"], alone["likelihood"], rtol=1e-3)


def test_a_prior_that_the_data_speak_against_is_named() -> None:
    found = sensitivities(with_history(prior.Gaussian(0.2), prior.Gaussian(0.01)))
    assert "conflict" in found.verdict
    assert (found.table["diagnosis"].values[found.table["term"].values == "baseline"] == "prior-data conflict").all()


def test_shared_scales_are_one_posterior() -> None:
    found = sensitivities(with_history(prior.Hierarchical())).table
    assert (found["quantity"] == "history_scale").sum() == 1
    assert np.isfinite(found["prior"]).all()


def test_a_point_is_refused() -> None:
    data = bg.recording(dt=0.01, spikes=np.arange(20)[:, None] % 2)
    fit = bg.fit(bg.GLM(bg.Baseline()), data, "map", progress=False)
    with pytest.raises(ValueError, match="takes seconds"):
        bg.sensitivity(fit)
