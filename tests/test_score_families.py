"""Scores and predictions of every family: closed forms, null models by SciPy's own fits, metrics that are refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import optimize, special, stats

import bayesglm as bg
from bayesglm import family, method, prior
from bayesglm._predict import predict
from bayesglm._score import score

ROWS = 240
RNG = np.random.default_rng(5)
X = RNG.normal(size=ROWS)
MEAN = np.exp(0.4 + 0.7 * X)
COLUMNS = {
    "x": X,
    "counts": RNG.negative_binomial(1.2, 1.2 / (1.2 + MEAN)),
    "zeros": RNG.poisson(MEAN) * (RNG.uniform(size=ROWS) > 0.3),
    "n": RNG.integers(1, 9, ROWS),
    "power": RNG.gamma(2.0, MEAN / 2.0),
    "trace": MEAN + 0.5 * RNG.standard_t(4, size=ROWS),
    "choice": (np.stack([X, -X, 0.5 + 0 * X], 1) + RNG.gumbel(size=(ROWS, 3))).argmax(1),
    "rating": (X + RNG.logistic(size=ROWS) > np.array([-1.0, 0.8])[:, None]).sum(0),
}
COLUMNS["hits"] = RNG.binomial(COLUMNS["n"], special.expit(0.8 * X - 0.3))
DATA = bg.recording(rows="trial", heading=bg.angle(np.degrees(RNG.vonmises(1.0, 2.0, ROWS) + 0.5 * X) % 360, period=360), **COLUMNS)
TERMS = bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x", prior.Gaussian(1.0))
FAMILIES = {
    "counts": family.NegativeBinomial(),
    "zeros": family.ZeroInflatedPoisson(),
    "hits": family.Binomial("n"),
    "power": family.Gamma(),
    "trace": family.StudentT(),
    "choice": family.Categorical(labels=("left", "right", "none")),
    "rating": family.Ordinal(),
    "heading": family.VonMises(),
}
every = pytest.mark.parametrize("column", FAMILIES)


@cache
def fitted(column: str) -> bg.Fit:
    terms = bg.Linear("x", prior.Gaussian(1.0)) if column == "rating" else TERMS
    return bg.fit(bg.GLM(terms, FAMILIES[column], response=column), DATA, "map", progress=False)


def values(fit: bg.Fit, name: str) -> np.ndarray:
    return fit.posterior[name].values[0, 0]


def eta(fit: bg.Fit) -> np.ndarray:
    return values(fit, "baseline") + np.multiply.outer(X, values(fit, "x"))


def most_likely(log_prob, *start: float) -> float:
    """Largest log likelihood over a few unconstrained numbers."""
    return -optimize.minimize(lambda p: -log_prob(*p).sum(), start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-10, "maxiter": 9000}).fun


def laws(column: str) -> tuple[np.ndarray, float]:
    """Log probabilities of the rows at the fit, and the null model's log likelihood, both by SciPy."""
    fit, y = fitted(column), DATA[column].values
    if column == "counts":
        pmf = lambda mean, phi: stats.nbinom.logpmf(y, phi, phi / (phi + mean))  # noqa: E731
        return pmf(np.exp(eta(fit)), 1 / values(fit, "dispersion")), most_likely(lambda a, b: pmf(np.exp(a), np.exp(b)), 0.0, 0.0)
    if column == "zeros":
        pmf = lambda mean, s: np.log(s * (y == 0) + (1 - s) * stats.poisson.pmf(y, mean))  # noqa: E731
        return pmf(np.exp(eta(fit)), values(fit, "zero_share")), most_likely(lambda a, b: pmf(np.exp(a), special.expit(b)), 0.0, -1.0)
    if column == "hits":
        n = COLUMNS["n"]
        return stats.binom.logpmf(y, n, special.expit(eta(fit))), stats.binom.logpmf(y, n, y.sum() / n.sum()).sum()
    if column == "power":
        k = values(fit, "shape")
        shape, _, scale = stats.gamma.fit(y, floc=0)
        return stats.gamma.logpdf(y, k, scale=np.exp(eta(fit)) / k), stats.gamma.logpdf(y, shape, scale=scale).sum()
    if column == "trace":
        return stats.t.logpdf(y, 4, eta(fit), values(fit, "sigma")), most_likely(lambda m, s: stats.t.logpdf(y, 4, m, np.exp(s)), 1.0, 0.0)
    if column == "heading":
        a, b = eta(fit).T
        unit = np.log(2 * np.pi / 360)
        kappa, direction, _ = stats.vonmises.fit(np.radians(y), fscale=1)
        found = stats.vonmises.logpdf(np.radians(y), np.hypot(a, b), np.arctan2(b, a))
        return found + unit, (stats.vonmises.logpdf(np.radians(y), kappa, direction) + unit).sum()
    shares = np.bincount(y) / ROWS
    if column == "choice":
        shares = (np.bincount(y) + 0.5) / (ROWS + 1.5)
    return np.log(probabilities(column)[np.arange(ROWS), y]), np.log(shares)[y].sum()


def probabilities(column: str) -> np.ndarray:
    """P(class) by hand, (row, class)."""
    fit = fitted(column)
    if column == "choice":
        return special.softmax(eta(fit), axis=1)
    return np.diff(special.expit(values(fit, "cutpoints") - np.outer(X, values(fit, "x"))), axis=1, prepend=0, append=1)


@every
def test_log_likelihood_and_null_model(column: str) -> None:
    log_prob, null = laws(column)
    found = score(fitted(column))
    assert found.ndim == 0
    assert float(found) == pytest.approx(log_prob.sum(), rel=1e-9)
    assert float(score(fitted(column), metric="pseudo_r2_mcfadden")) == pytest.approx(1 - log_prob.sum() / null, rel=1e-6, abs=1e-7)
    assert ("mean" in found.attrs["null"]) == (column in ("hits", "heading"))


@pytest.mark.parametrize(
    ("column", "deviance"),
    [
        ("hits", lambda y, m, n: 2 * (special.xlogy(y, y / m) + special.xlogy(n - y, (n - y) / (n - m)))),
        ("power", lambda y, m, n: 2 * (-np.log(y / m) + (y - m) / m)),
    ],
)
def test_deviance_is_the_textbooks(column: str, deviance) -> None:
    """McCullagh & Nelder 1989, table 2.1: the shape of a gamma law cancels out of the share."""
    y, n, fit = DATA[column].values, COLUMNS["n"], fitted(column)
    mean = n * special.expit(eta(fit)) if column == "hits" else np.exp(eta(fit))
    null = n * y.sum() / n.sum() if column == "hits" else np.full(ROWS, y.mean())
    assert float(score(fit, metric="pseudo_r2_cohen")) == pytest.approx(1 - deviance(y, mean, n).sum() / deviance(y, null, n).sum(), rel=1e-6)


@pytest.mark.parametrize("column", ["choice", "rating"])
def test_classes_are_predicted_by_their_probabilities(column: str) -> None:
    found, y = predict(fitted(column)), DATA[column].values
    assert found.dims == ("chain", "draw", "trial", "class")
    assert found.attrs["units"] == "probability"
    assert found["class"].values.tolist() == (["left", "right", "none"] if column == "choice" else [0, 1, 2])
    np.testing.assert_allclose(found.values[0, 0], probabilities(column), rtol=1e-9)
    assert float(score(fitted(column), metric="accuracy")) == pytest.approx((probabilities(column).argmax(1) == y).mean())
    draws = predict(fitted(column), kind="response", key=3)
    assert draws.dims == ("chain", "draw", "trial") and draws.attrs["units"] == "class"
    shares = np.bincount(draws.values.ravel().astype(int), minlength=3) / ROWS
    assert np.abs(shares - probabilities(column).mean(0)).max() < 4 * 0.5 / np.sqrt(ROWS)


def test_angles_are_predicted_by_their_direction() -> None:
    fit = fitted("heading")
    a, b = eta(fit).T
    found = predict(fit)
    np.testing.assert_allclose(found.values[0, 0], np.degrees(np.arctan2(b, a)) % 360, rtol=1e-9)
    off = np.abs((DATA["heading"].values - found.values[0, 0] + 180) % 360 - 180)
    error = score(fit, metric="circular_error")
    assert float(error) == pytest.approx(off.mean(), rel=1e-9)
    assert 10 < float(error) < 60
    drawn = predict(fit, kind="response").values
    assert (drawn >= 0).all() and (drawn < 360).all()


@pytest.mark.parametrize(
    ("column", "mean"), [("hits", lambda eta: COLUMNS["n"] * special.expit(eta)), ("power", np.exp), ("trace", np.array), ("counts", np.exp)]
)
def test_other_means(column: str, mean) -> None:
    found = predict(fitted(column))
    np.testing.assert_allclose(found.values[0, 0], mean(eta(fitted(column))), rtol=1e-9)
    units = {"hits": "successes a trial", "counts": "counts a trial"}.get(column, "units of the response")
    assert found.attrs["units"] == units
    assert np.isfinite(predict(fitted(column), kind="response").values).all()


def test_a_test_part_has_its_own_trials() -> None:
    test = bg.recording(rows="trial", x=X[:50], n=COLUMNS["n"][:50] + 3, hits=COLUMNS["hits"][:50])
    p = special.expit(eta(fitted("hits")))[:50]
    assert float(score(fitted("hits"), test)) == pytest.approx(stats.binom.logpmf(test["hits"], test["n"], p).sum(), rel=1e-9)
    with pytest.raises(ValueError, match="wants the column 'n'"):
        predict(fitted("hits"), test.drop_vars("n"))


@pytest.mark.parametrize(
    ("column", "metric", "said"),
    [
        ("hits", "bits_per_spike", "response of spikes, not family.Binomial.*pseudo_r2_cohen"),
        ("zeros", "pseudo_r2_cohen", "mean can be any response.*'bits_per_spike'"),
        ("choice", "deviance_explained", "use 'log_likelihood', 'pseudo_r2_mcfadden', 'accuracy'"),
        ("rating", "bits_per_spike", "'accuracy'"),
        ("heading", "accuracy", "classes.*'circular_error'"),
        ("trace", "circular_error", "angle.*'deviance_explained'"),
    ],
)
def test_a_metric_that_a_family_has_not(column: str, metric: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        score(fitted(column), metric=metric)


def test_probabilities_are_averaged_over_draws() -> None:
    fit = bg.fit(bg.GLM(TERMS, family.Categorical(), response="choice"), DATA, method.Laplace(num_samples=600), progress=False)
    found = predict(fit)
    assert found.dims == ("chain", "draw", "trial", "class") and found.shape == (1, 600, ROWS, 3)
    np.testing.assert_allclose(found.sum("class"), 1.0, rtol=1e-12)
    log_mean = np.log(found.mean(("chain", "draw")).values[np.arange(ROWS), DATA["choice"].values])
    assert float(score(fit)) == pytest.approx(log_mean.sum(), rel=1e-9)
