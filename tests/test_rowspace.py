"""More columns than rows: the rows' space gives the posterior of the dense route, exactly."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

import bayesglm as bg
from bayesglm import family, method, prior
from bayesglm._double import in_double
from bayesglm.engine.collapsed import collapsed_space, collapsible
from bayesglm.engine.diagnostics import mcse
from bayesglm.engine.rowspace import in_row_space
from bayesglm.method._base import arrays

ROWS, COLUMNS = 40, 60
MODE = 1e-6  # agreement of two modes
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # collinear, and separable, by construction


@pytest.fixture(scope="module")
def trials():
    """Sixty counts, and responses of every kind that some directions of them decide."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(2.0, size=(ROWS, COLUMNS)).astype(float)
    drive = (counts - 2.0) @ rng.normal(size=(COLUMNS, 2)) * 0.3
    return bg.recording(
        rows="trial",
        counts=counts,
        contrast=rng.normal(size=ROWS),
        choice=(rng.random(ROWS) < 1 / (1 + np.exp(-drive[:, 0]))).astype(int),
        side=np.clip(np.round(drive[:, 0]).astype(int) + 1, 0, 2),
        grating=bg.angle(np.rad2deg(np.arctan2(drive[:, 1], drive[:, 0])) % 360, period=360),
        y=drive[:, 0] + rng.normal(size=ROWS),
        traces=(("trial", "neuron"), drive + rng.normal(size=(ROWS, 2))),
        own=(("trial", "neuron", "feature"), rng.normal(size=(ROWS, 2, COLUMNS))),
    )


class Case(NamedTuple):
    family: Any
    response: str
    prior: Any
    baseline: bool = True


CASES = {
    "Bernoulli": Case(family.Bernoulli(), "choice", prior.ridge(3.0)),
    "Categorical": Case(family.Categorical(), "side", prior.Gaussian(0.5)),
    "Categorical, a process over classes": Case(family.Categorical(), "side", prior.GaussianProcess(0.5, 100.0, over="class", period=360.0)),
    "Ordinal": Case(family.Ordinal(cutpoints=(-1.0, 1.0)), "side", prior.Gaussian(0.5), False),
    "VonMises": Case(family.VonMises(), "grating", prior.Gaussian(0.3)),
    "LinearCircular": Case(family.LinearCircular(scale=0.4), "grating", prior.Gaussian(0.1)),
    "Gaussian": Case(family.Gaussian(0.8), "y", prior.Gaussian(0.3)),
}


def model_of(case: Case) -> bg.GLM:
    wide = bg.Linear("counts", case.prior) + bg.Linear("contrast", prior.Gaussian(1.0))
    return bg.GLM(bg.Baseline() + wide if case.baseline else wide, case.family, response=case.response)


def dense(monkeypatch):
    """Switch the reduction off."""
    monkeypatch.setattr("bayesglm._fit._fewer", lambda linear, method: (None, None))


def fit(model, data, how, key=0):
    return bg.fit(model, data, how, key=key, progress=False)


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical, a process over classes", "VonMises", "LinearCircular"])
def test_the_mode_is_the_same(name, trials, monkeypatch):
    model = model_of(CASES[name])
    reduced = fit(model, trials, "map")
    dense(monkeypatch)
    whole = fit(model, trials, "map")
    assert reduced.stats["converged"] and reduced.posterior["counts"].sizes["counts_feature"] == COLUMNS
    for name in whole.posterior.data_vars:
        np.testing.assert_allclose(reduced.posterior[name], whole.posterior[name], atol=MODE)


@pytest.mark.parametrize("name", CASES)
@in_double
def test_the_density_is_the_same(name, trials):
    """log p at two points that differ in the rows' space; the first is zero."""
    case = CASES[name]
    resolved = model_of(case).resolve(trials)
    linear = resolved.linear(resolved.design(trials))
    space = in_row_space(linear)
    assert space is not None and space.linear.dim < linear.dim
    linear, small = arrays(linear), arrays(space.linear)
    rng = np.random.default_rng(0)
    points = {"reduced": [], "whole": []}
    for size in (0.0, 0.3):
        filled = np.repeat(np.abs(space.linear.predictor.columns).max(1) > 0, linear.several)  # the others fill the array up
        w = jnp.asarray(size * rng.normal(size=small.dim) * filled)
        each = jax.tree.map(lambda leaf: leaf[0], small.each)
        sites = {site: np.asarray(value)[None, None, None] for site, value in small.unpack(each, w).items()}
        lifted = {site: value[0, 0, 0] for site, value in space.lift(sites, None).items()}
        whole = jax.tree.map(lambda leaf: leaf[0], linear.each)
        for key, model, at, v in (("reduced", small, each, w), ("whole", linear, whole, linear.pack(whole, lifted))):
            points[key].append(float(model.log_likelihood(at, v, {}) + model.log_prior(at, v, {})))
    assert np.diff(points["reduced"])[0] == pytest.approx(np.diff(points["whole"])[0], rel=1e-9, abs=1e-8)


def test_laplace_draws_have_the_exact_gaussian_posterior(trials):
    """Known noise and scale: mean and covariance of all sixty weights in closed form."""
    sd, noise, draws = 0.4, 1.0, 20_000
    model = bg.GLM(bg.Linear("counts", prior.Gaussian(sd)), family.Gaussian(noise), response="y")
    found = fit(model, trials, method.Laplace(num_samples=draws)).posterior["counts"].values[0]
    x, y = trials["counts"].values, trials["y"].values
    covariance = np.linalg.inv(x.T @ x / noise**2 + np.eye(COLUMNS) / sd**2)
    mean = covariance @ x.T @ y / noise**2
    np.testing.assert_allclose(found.mean(0), mean, atol=5 * sd / np.sqrt(draws))
    np.testing.assert_allclose(np.cov(found.T), covariance, atol=6 * sd**2 / np.sqrt(draws))


def test_the_mean_of_few_draws_is_the_posteriors(trials):
    """The normals behind the wide block are balanced over draws; each draw still has the posterior's law."""
    sd, noise, draws = 0.4, 1.0, 40
    model = bg.GLM(bg.Linear("counts", prior.Gaussian(sd)), family.Gaussian(noise), response="y")
    several = np.stack([fit(model, trials, method.Laplace(num_samples=draws), key).posterior["counts"].values[0] for key in range(60)])
    x, y = trials["counts"].values, trials["y"].values
    covariance = np.linalg.inv(x.T @ x / noise**2 + np.eye(COLUMNS) / sd**2)
    np.testing.assert_allclose(several.mean(1), np.broadcast_to(covariance @ x.T @ y, (60, COLUMNS)), atol=1e-7)
    spread = several[:, 0].var(0, ddof=0) / np.diag(covariance)  # of the first draw, over keys
    assert spread.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / 60 / COLUMNS))


def test_laplace_of_classes_has_the_inverse_hessian(trials):
    """Covariance of the weights of three classes: that of the softmax at the mode, and of the prior outside the rows' space."""
    sd, draws = 0.5, 10_000
    model = bg.GLM(bg.Linear("counts", prior.Gaussian(sd)), family.Categorical(), response="side")
    mode = fit(model, trials, "map").posterior["counts"].values[0, 0]
    found = fit(model, trials, method.Laplace(num_samples=draws)).posterior["counts"].values[0]
    x, contrast = trials["counts"].values, family.Categorical(3).predictors.contrast
    p = np.exp(x @ mode) / np.exp(x @ mode).sum(1, keepdims=True)
    bend = np.einsum("ka,tk,kb->tab", contrast, p, contrast) - np.einsum("ka,tk,tl,lb->tab", contrast, p, p, contrast)
    hessian = np.einsum("tp,tab,tq->paqb", x, bend, x).reshape(2 * COLUMNS, -1) + np.eye(2 * COLUMNS) / sd**2
    free = (found @ contrast).reshape(draws, -1)
    np.testing.assert_allclose(free.mean(0), (mode @ contrast).ravel(), atol=5 * sd / np.sqrt(draws))
    np.testing.assert_allclose(np.cov(free.T), np.linalg.inv(hessian), atol=6 * sd**2 / np.sqrt(draws))


def marginal(x: np.ndarray, y: np.ndarray, tau: float, sigma: float) -> float:
    """log p(y, tau, sigma) of y ~ Normal(0, sigma^2 + tau^2 x x'), with the default priors, in log tau and log sigma."""
    density = stats.multivariate_normal(np.zeros(len(y)), sigma**2 * np.eye(len(y)) + tau**2 * x @ x.T).logpdf(y)
    hyper = stats.halfnorm.logpdf(tau) + stats.t.logpdf(sigma / y.std(), 4) + np.log(tau * sigma)
    return density + hyper


def test_learned_scale_and_noise_have_their_exact_posterior(trials):
    """By quadrature on a grid of (log tau, log sigma): the mode, and means of scale, noise and weights by Laplace and NUTS."""
    model = bg.GLM(bg.Linear("counts", prior.Gaussian(dist.HalfNormal(1.0))), family.Gaussian(), response="y")
    x, y = trials["counts"].values, trials["y"].values
    taus, sigmas = np.exp(np.linspace(-5, 0.5, 81)), np.exp(np.linspace(-2.5, 1.2, 81))
    table = np.array([[marginal(x, y, tau, sigma) for sigma in sigmas] for tau in taus])
    share = np.exp(table - table.max())
    share /= share.sum()
    mode = fit(model, trials, "map").posterior
    at = np.unravel_index(table.argmax(), table.shape)
    assert float(mode["counts_scale"].squeeze()) == pytest.approx(taus[at[0]], rel=0.05)
    assert float(mode["sigma"].squeeze()) == pytest.approx(sigmas[at[1]], rel=0.05)
    gram = x @ x.T
    means = [(tau**2 * x.T @ np.linalg.solve(sigma**2 * np.eye(ROWS) + tau**2 * gram, y)) for tau in taus[::4] for sigma in sigmas[::4]]
    coarse = share[::4, ::4].ravel() / share[::4, ::4].sum()
    weights = coarse @ np.array(means)
    for how in (method.Laplace(num_samples=4000), method.NUTS(num_samples=1000, num_chains=2)):
        found = fit(model, trials, how)
        for site, values in (("counts_scale", taus @ share.sum(1)), ("sigma", share.sum(0) @ sigmas)):
            assert float(found.posterior[site].mean()) == pytest.approx(values, rel=0.06), (how, site)
        drawn = found.posterior["counts"].values
        error = mcse(drawn)
        assert (np.abs(drawn.mean((0, 1)) - weights) < 5 * error + 0.02 * drawn.std((0, 1))).all()


def test_least_squares_on_cosine_and_sine_is_ridge(trials):
    """The mode given sigma and scale, against scikit-learn; directions in degrees."""
    sigma, sd = 0.4, 0.05
    terms = bg.Baseline(prior.Flat()) + bg.Linear("counts", prior.Gaussian(sd))
    found = fit(bg.GLM(terms, family.LinearCircular(scale=sigma), response="grating"), trials, "map")
    angle = np.deg2rad(trials["grating"].values)
    theirs = Ridge(alpha=(sigma / sd) ** 2).fit(trials["counts"].values, np.stack([np.cos(angle), np.sin(angle)], 1))
    np.testing.assert_allclose(found.posterior["counts"].values[0, 0], theirs.coef_.T, atol=MODE)
    np.testing.assert_allclose(found.posterior["baseline"].values[0, 0], theirs.intercept_, atol=MODE)
    towards = theirs.predict(trials["counts"].values)
    np.testing.assert_allclose(bg.predict(found).values[0, 0], np.rad2deg(np.arctan2(towards[:, 1], towards[:, 0])) % 360, atol=1e-3)


@pytest.mark.slow
def test_nuts_agrees_with_the_dense_route_under_a_learned_scale(trials, monkeypatch):
    """Means within 4 MCSE and spreads, the scale's too."""
    model = bg.GLM(bg.Baseline() + bg.Linear("counts", prior.Gaussian(dist.LogNormal(-1.5, 0.3))), family.Bernoulli(), response="choice")
    sampler = method.NUTS(num_samples=400, num_chains=2)
    reduced = fit(model, trials, sampler)
    dense(monkeypatch)
    whole = fit(model, trials, sampler, key=1)
    for name in ("counts", "baseline", "counts_scale"):
        a, b = reduced.posterior[name].values, whole.posterior[name].values
        error = np.sqrt(mcse(a) ** 2 + mcse(b) ** 2)
        assert (np.abs(a.mean((0, 1)) - b.mean((0, 1))) < 4.5 * error).all()
        np.testing.assert_allclose(a.std((0, 1)), b.std((0, 1)), rtol=0.25)


@pytest.mark.slow
def test_scales_of_classes_and_lengths_agree_with_the_dense_route(trials, monkeypatch):
    """The marginal mode of a learned scale and lengthscale of a process over classes."""
    model = bg.GLM(bg.Baseline() + bg.Linear("counts", prior.GaussianProcess(over="class", period=360.0)), family.Categorical(), response="side")
    reduced = fit(model, trials, "map")
    dense(monkeypatch)
    whole = fit(model, trials, "map")
    for site in ("counts_scale", "counts_lengthscale"):
        assert float(reduced.posterior[site].squeeze()) == pytest.approx(float(whole.posterior[site].squeeze()), rel=0.03)


@pytest.mark.parametrize("name", ["Gaussian", "Bernoulli"])
def test_columns_of_each_neuron_alone(name, trials, monkeypatch):
    """Two receivers, each with sixty columns of its own: as the dense route has it."""
    data = trials.assign(traces=trials["traces"] if name == "Gaussian" else (trials["traces"] > 0).astype(int))
    noise = family.Gaussian(0.7) if name == "Gaussian" else family.Bernoulli()
    model = bg.GLM(bg.Baseline() + bg.Linear("own", prior.Gaussian(0.3)) + bg.Linear("contrast", prior.Gaussian(1.0)), noise, response="traces")
    reduced = fit(model, data, "map")
    dense(monkeypatch)
    whole = fit(model, data, "map")
    for site in whole.posterior.data_vars:
        np.testing.assert_allclose(reduced.posterior[site], whole.posterior[site], atol=MODE)


@in_double
def test_what_is_reduced(trials):
    """Not few columns, nor a prior that is not Gaussian; a Gaussian response is integrated out, a choice is not."""
    for case, reduced, integrated in (
        (CASES["Gaussian"], True, True),
        (CASES["LinearCircular"], True, True),
        (CASES["Bernoulli"], True, False),
        (Case(family.Bernoulli(), "choice", prior.Laplace(0.3)), False, False),
    ):
        resolved = model_of(case).resolve(trials)
        linear = resolved.linear(resolved.design(trials))
        assert (in_row_space(linear) is not None) == reduced and collapsible(linear) == integrated
    few = bg.GLM(bg.Baseline() + bg.Linear("contrast"), family.Bernoulli(), response="choice").resolve(trials)
    assert in_row_space(few.linear(few.design(trials))) is None


@in_double
def test_rows_that_are_not_scored_have_no_say(trials):
    """A missing response is no part of the space, and the fit is that of the other rows."""
    model = model_of(CASES["Gaussian"])
    some = trials.isel(trial=slice(0, ROWS - 5))
    gone = trials.assign(y=trials["y"].where(np.arange(ROWS) < ROWS - 5))
    resolved = model.resolve(some)
    design = resolved.design(gone)
    _, collapsed = collapsed_space(resolved.linear(design))
    assert collapsed.each["z"].shape[1] == ROWS - 5
    kept = fit(resolved, some, "map").posterior["counts"]
    np.testing.assert_allclose(fit(resolved, gone, "map").posterior["counts"], kept, atol=MODE)


def test_separable_classes_are_said(trials):
    """Before the fit where there are as many columns as rows, after it where the mode separates the training rows."""
    with pytest.warns(bg._examine.DesignNote, match="can separate any labels of 'choice'.*held-out"):
        found = fit(model_of(CASES["Bernoulli"]), trials, "map")
    assert any("separable" in note for note in found.stats["notes"])
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    for choice, said in ((x > 0.1, True), (rng.random(60) < 1 / (1 + np.exp(-0.5 * x)), False)):
        data = bg.recording(rows="trial", x=x, choice=choice.astype(int))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            notes = fit(bg.GLM(bg.Baseline() + bg.Linear("x"), family.Bernoulli(), response="choice"), data, "map").stats["notes"]
        assert any("separable" in note for note in notes) == said
    with pytest.raises(ValueError, match=r"counts.*prior\.Flat\(\).*no posterior"):
        fit(bg.GLM(bg.Baseline() + bg.Linear("counts", prior.Flat()), family.Bernoulli(), response="choice"), trials, "map")
