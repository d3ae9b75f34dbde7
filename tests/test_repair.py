"""Units that importance sampling cannot leave out: fits without them, of the neuron concerned alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, t
from synthetic import made_up

import bayesglm as bg
from bayesglm import family, method, prior
from bayesglm._comparing._repair import held_out
from bayesglm._likelihood import log_likelihood_chunks, source

DRAWS = method.Laplace(num_samples=2000)


@pytest.fixture(scope="module")
def outlier():
    """A straight line, and one trial far out on both axes that decides the slope."""
    rng = np.random.default_rng(0)
    x = np.append(rng.normal(size=40), 12.0)
    y = np.append(0.5 * x[:-1] + 0.3 * rng.normal(size=40), 4.5)
    return bg.recording(rows="trial", x=x, y=y)


def line(data, how=DRAWS):
    terms = bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x", prior.Gaussian(3.0))
    return bg.fit(bg.GLM(terms, family.Gaussian(), response="y"), data, how, progress=False)


def evidence(data, n):
    """log p(y_1 .. y_n), weights integrated out in closed form and sigma on a grid."""
    x, y = data["x"].values[:n], data["y"].values[:n]
    columns = 3.0 * np.stack([np.ones(n), x], 1)
    sigma = np.geomspace(0.05, 5.0, 400)
    given = [multivariate_normal.logpdf(y, cov=s**2 * np.eye(n) + columns @ columns.T) for s in sigma]
    law = t.logpdf(sigma, 4, scale=data["y"].values.std()) + np.log(2 * sigma)
    return logsumexp(np.array(given) + law + np.log(np.log(sigma[1] / sigma[0])))


def test_the_outlier_is_left_out_in_earnest(outlier):
    fit = line(outlier)
    before, after = bg.loo(fit), bg.loo(fit, repair=True)
    assert before.n_bad >= 1
    assert "repair=True" in repr(before)
    bad = before.bad_i.values[:, 0]
    assert bad[-1]
    assert after.n_bad == 0
    assert (after.pareto_k.values[bad] == 0).all()
    assert f"{bad.sum()} unit(s)" in repr(after)
    np.testing.assert_array_equal(after.elpd_i.values[~bad], before.elpd_i.values[~bad])
    np.testing.assert_allclose(after.elpd_i + after.p_i, before.elpd_i + before.p_i)  # the density in sample stays
    truth = evidence(outlier, 41) - evidence(outlier, 40)
    assert after.elpd_i.values[-1, 0] == pytest.approx(truth, abs=0.05)


def test_too_many_are_not_repaired(outlier):
    fit = line(outlier)
    before, after = bg.loo(fit), bg.loo(fit, repair=0)
    assert after.elpd == before.elpd
    assert "bg.kfold" in repr(after)
    easy = made_up(fit.model, outlier, {"x": 0.5}, sd=1e-4, draws=200, sigma=5.0)
    assert "nothing to refit" in repr(bg.loo(easy, repair=True))


def test_one_neuron_alone_is_fitted_again():
    """Held out from one neuron: the same density whether the others are there or not."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=400)
    spikes = rng.poisson(np.exp(-1 + 0.5 * x)[:, None] * np.ones(2))
    terms = bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x", prior.Gaussian(1.0))
    rows = np.arange(100, 140)
    found = []
    for columns in ([0, 1], [1]):
        data = bg.recording(dt=0.01, spikes=spikes[:, columns], x=x, labels={"neuron": [f"n{c}" for c in columns]})
        fit = bg.fit(bg.GLM(terms), data, DRAWS, progress=False)
        found.append(held_out(fit, source(fit), rows, len(columns) - 1))
    assert found[0].converged
    assert found[0].elpd == pytest.approx(found[1].elpd, abs=0.02)
    kept = np.ones((400, 1), bool)
    kept[rows] = False
    data = bg.recording(dt=0.01, spikes=spikes[:, 1:], x=x, observed=kept)
    alone = bg.fit(bg.GLM(terms), data, DRAWS, progress=False)
    test = bg.recording(dt=0.01, spikes=spikes[:, 1:], x=x).isel(time=slice(100, 140))
    values = np.concatenate([v for _, v in log_likelihood_chunks(alone, test)], axis=1).sum((1, 2))
    assert found[0].elpd == pytest.approx(logsumexp(values) - np.log(values.size), abs=0.05)


def test_only_that_neuron_changes():
    rng = np.random.default_rng(2)
    odd = np.zeros(600)
    odd[300] = 1.0
    spikes = rng.poisson(0.3, (600, 2))
    spikes[300, 1] = 9
    data = bg.recording(dt=0.01, spikes=spikes, odd=odd)
    fit = bg.fit(bg.GLM(bg.Baseline() + bg.Linear("odd", prior.Gaussian(2.0))), data, DRAWS, progress=False)
    before, after = bg.loo(fit, unit="bin", block=0.5), bg.loo(fit, unit="bin", block=0.5, repair=True)
    bad = before.bad_i.values
    assert bad[300, 1]
    assert after.elpd_i.values[300, 1] < before.elpd_i.values[300, 1] + 0.5
    np.testing.assert_array_equal(after.elpd_i.values[~bad], before.elpd_i.values[~bad])


def test_functions_cannot_leave_rows_out():
    def level(y):
        mean = numpyro.sample("mean", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(mean, 1), obs=y)

    y = np.append(np.random.default_rng(0).normal(size=30), 40.0)
    data = bg.recording(rows="trial", y=y)
    glm = made_up(bg.GLM(bg.Baseline(prior.Gaussian(1.0)), family.Gaussian(), response="y"), data, sigma=1.0, sd=0.2)
    posterior = glm.posterior[["baseline"]].rename(baseline="mean")
    fit = replace(glm, model=bg.from_function(level).resolve(data), idata=xr.DataTree.from_dict({"posterior": posterior}))
    with pytest.raises(ValueError, match="K-fold"):
        bg.loo(fit, repair=True)
