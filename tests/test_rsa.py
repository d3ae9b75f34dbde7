"""Representational similarity: distances against SciPy, unbiased cross-validation, posterior draws, intervals that cover, the ceiling."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, pearsonr, spearmanr

import bayesglm as bg
from bayesglm import rsa

CONDITIONS, NEURONS = 7, 15


def patterns(seed=0, *lead):
    return np.random.default_rng(seed).normal(size=(*lead, CONDITIONS, NEURONS)) + 3.0


def covariance(seed=1):
    root = np.random.default_rng(seed).normal(size=(NEURONS, 2 * NEURONS))
    return root @ root.T / (2 * NEURONS)


@pytest.mark.parametrize(
    ("metric", "noise", "peer"),
    [
        ("correlation", None, lambda x: pdist(x, "correlation")),
        ("euclidean", None, lambda x: pdist(x, "sqeuclidean") / NEURONS),
        ("mahalanobis", covariance(), lambda x: pdist(x, "mahalanobis", VI=np.linalg.inv(covariance())) ** 2 / NEURONS),
        ("mahalanobis", np.diag(covariance()), lambda x: pdist(x, "seuclidean", V=np.diag(covariance())) ** 2 / NEURONS),
    ],
)
def test_distances_are_scipys(metric, noise, peer):
    found = rsa.dissimilarity(patterns(), metric, noise=noise)
    assert found.dims == ("condition", "condition_other")
    np.testing.assert_allclose(found, squareform(peer(patterns())), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(np.diag(found), 0.0)
    drawn = rsa.dissimilarity(patterns(0, 2, 3), metric, noise=noise)
    assert drawn.dims == ("chain", "draw", "condition", "condition_other")
    np.testing.assert_allclose(drawn[1, 2], squareform(peer(patterns(0, 2, 3)[1, 2])), rtol=1e-10, atol=1e-12)


def test_crossnobis_is_the_mean_over_pairs_of_runs():
    x, noise, runs = patterns(2, 3), covariance(), 3
    precision, wanted = np.linalg.inv(noise), np.zeros((CONDITIONS, CONDITIONS))
    for i in range(CONDITIONS):
        for j in range(CONDITIONS):
            d = x[:, i] - x[:, j]
            wanted[i, j] = np.mean([d[a] @ precision @ d[b] for a in range(runs) for b in range(runs) if a != b]) / NEURONS
    np.testing.assert_allclose(rsa.dissimilarity(x, "crossnobis", noise=noise), wanted, rtol=1e-9, atol=1e-11)


def test_cross_validated_distances_are_unbiased():
    """Runs of noise around two conditions alike and one apart: the mean is the true distance; the plain one is biased."""
    rng, apart, sd = np.random.default_rng(3), 0.3, 1.0
    truth = np.zeros((3, NEURONS))
    truth[2] = np.sqrt(apart)  # mean squared difference .3
    crossed, plain = [], []
    for _ in range(600):
        runs = truth + sd * rng.normal(size=(4, 3, NEURONS))
        crossed.append(rsa.dissimilarity(runs, "crossnobis").values[[0, 0], [1, 2]])
        plain.append(rsa.dissimilarity(runs.mean(0), "euclidean").values[0, 1])
    se = np.std(crossed, 0) / np.sqrt(600)
    assert (np.abs(np.mean(crossed, 0) - [0.0, apart]) < 4.0 * se).all()
    assert np.min(crossed) < 0
    assert abs(np.mean(plain) - 2.0 * sd**2 / 4) < 0.05  # 2 sd^2 / runs of nothing


def test_a_models_posterior_goes_through():
    """From a fit's predictions to an interval over draws."""
    rng = np.random.default_rng(4)
    shown = np.repeat(np.arange(6), 20)
    tuned = rng.normal(size=(6, 8))
    x = np.eye(6)[shown]
    data = bg.recording(rows="trial", x=x, y=(("trial", "neuron"), tuned[shown] + rng.normal(size=(120, 8))), labels={"neuron": list("abcdefgh")})
    model = bg.GLM(bg.Linear("x", bg.prior.Gaussian(1.0)), bg.family.Gaussian(1.0), response="y")
    fit = bg.fit(model, data, "laplace", progress=False)
    each = data.isel(trial=np.arange(0, 120, 20))
    model_rdm = rsa.dissimilarity(bg.predict(fit, each, draws=200), condition="trial")
    assert model_rdm.dims == ("chain", "draw", "trial", "trial_other")
    truth = rsa.dissimilarity(xr.DataArray(tuned, {"trial": each["trial"].values}, ("trial", "neuron")), condition="trial")
    found = rsa.compare(model_rdm, truth, "pearson", bootstrap=False)
    assert found["lower"] < found["similarity"] < found["upper"] <= 1.0
    assert found.attrs["interval"] == "posterior draws"
    both = rsa.compare(model_rdm, truth, "pearson", samples=300)
    assert both["sd"] > found["sd"]
    assert both.attrs["interval"] == "6 conditions, resampled and posterior draws"


@pytest.mark.parametrize(
    ("how", "peer"),
    [
        ("spearman", lambda a, b: spearmanr(a, b).statistic),
        ("pearson", lambda a, b: pearsonr(a, b).statistic),
        ("kendall", lambda a, b: np.mean([np.sign((a[i] - a[j]) * (b[i] - b[j])) for i in range(a.size) for j in range(i)])),
        ("cosine", lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
    ],
)
def test_similarities_are_those_of_their_names(how, peer):
    one, two = rsa.dissimilarity(patterns(5)), rsa.dissimilarity(patterns(6)).round(1)  # with ties
    upper = np.triu_indices(CONDITIONS, 1)
    found = rsa.compare(one, two, how, bootstrap=False)
    np.testing.assert_allclose(found["similarity"], peer(one.values[upper], two.values[upper]), rtol=1e-10)
    assert np.isnan(found["lower"])
    if how == "kendall":
        assert abs(float(found["similarity"])) < abs(kendalltau(one.values[upper], two.values[upper]).statistic)  # tau-b leaves ties out


def test_conditions_are_matched_by_name():
    one = rsa.dissimilarity(xr.DataArray(patterns(7), {"condition": list("abcdefg")}, ("condition", "neuron")))
    order = [3, 1, 0, 6, 5, 2, 4]
    turned = one.isel(condition=order, condition_other=order)
    np.testing.assert_allclose(rsa.compare(one, turned)["similarity"], 1.0)
    assert one["condition_other"].values.tolist() == list("abcdefg")
    with pytest.raises(ValueError, match="the model has 7 conditions and the data 6"):
        rsa.compare(one, one.isel(condition=slice(6), condition_other=slice(6)))


def test_the_interval_over_conditions_covers():
    """Conditions drawn from a population: the 90 % interval holds the population's similarity about that often."""
    rng, mixing = np.random.default_rng(8), np.random.default_rng(9).normal(size=(4, 12))

    def matrices(n):
        hidden = rng.normal(size=(n, 4))
        return (rsa.dissimilarity(hidden @ mixing + 1.5 * rng.normal(size=(n, 12)), "euclidean") for _ in range(2))

    truth = float(rsa.compare(*matrices(400), "pearson", bootstrap=False)["similarity"])
    inside = []
    for i in range(120):
        found = rsa.compare(*matrices(20), "pearson", samples=150, key=i)
        inside.append(float(found["lower"]) < truth < float(found["upper"]))
    assert 0.82 < np.mean(inside) < 0.99


def test_resampling_conditions_makes_no_similarity_of_nothing():
    """A condition drawn twice has distance zero to itself on both sides, which is no agreement."""
    found = [rsa.compare(rsa.dissimilarity(patterns(seed)), rsa.dissimilarity(patterns(100 + seed)), "pearson", samples=100) for seed in range(40)]
    gaps = [float(one["samples"].mean() - one["similarity"]) for one in found]
    assert abs(np.mean(gaps)) < 0.05


@pytest.mark.parametrize(("noise", "low", "high"), [(1.0, -0.03, 0.03), (2.0, -0.12, 0.02)])
def test_the_ceiling_is_what_the_truth_reaches(noise, low, high):
    """To .03 where the signal is strong; lower, never higher, where squares of noise count."""
    rng, truth, ceilings, reached = np.random.default_rng(10), np.random.default_rng(11).normal(size=(12, 40)), [], []
    shown, upper = np.repeat(np.arange(12), 8), np.triu_indices(12, 1)
    best = rsa.dissimilarity(truth, "euclidean")
    for i in range(30):
        responses = truth[shown] + noise * rng.normal(size=(96, 40))
        ceilings.append(float(rsa.noise_ceiling(responses, shown, "euclidean", "pearson", splits=10, key=i)["ceiling"]))
        data = rsa.dissimilarity(responses.reshape(12, 8, 40).mean(1), "euclidean")
        reached.append(pearsonr(best.values[upper], data.values[upper]).statistic)
    assert 0.6 < np.mean(reached) < 0.97
    assert low < np.mean(ceilings) - np.mean(reached) < high


def test_noise_covariance_shrinks_as_much_as_it_must():
    rng, true = np.random.default_rng(12), covariance()
    root = np.linalg.cholesky(true)
    few, many = (rng.normal(size=(n, NEURONS)) @ root.T for n in (8, 4000))
    error = lambda found: ((found - true) ** 2).sum()  # noqa: E731
    assert np.linalg.eigvalsh(rsa.noise_covariance(few)).min() > 0
    assert error(rsa.noise_covariance(few)) < error(np.cov(few.T))
    np.testing.assert_allclose(rsa.noise_covariance(many), np.cov(many.T), atol=0.02)
    np.testing.assert_allclose(np.diag(rsa.noise_covariance(few)), np.var(few, 0, ddof=1))
    independent = rsa.noise_covariance(rng.normal(size=(30, 60)))
    assert np.abs(independent[~np.eye(60, dtype=bool)]).mean() < 0.3 * np.abs(np.cov(rng.normal(size=(30, 60)).T)[~np.eye(60, dtype=bool)]).mean()


def test_same_key_same_interval():
    one, two = rsa.dissimilarity(patterns(5)), rsa.dissimilarity(patterns(6))
    first, again, other = (rsa.compare(one, two, samples=50, key=key)["samples"].values for key in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: rsa.dissimilarity(patterns(), "cityblock"), "one of 'correlation'"),
        (lambda: rsa.dissimilarity(patterns(), "mahalanobis"), "needs noise="),
        (lambda: rsa.dissimilarity(patterns(), noise=covariance()), "takes no noise="),
        (lambda: rsa.dissimilarity(np.ones((3, 4))), r"condition\(s\) \[0, 1, 2\] is the same in every neuron"),
        (lambda: rsa.dissimilarity(patterns(0, 1), "crossnobis"), "has 1: give two runs"),
        (lambda: rsa.dissimilarity(patterns(), "mahalanobis", noise=-np.eye(NEURONS)), "not positive definite"),
        (lambda: rsa.dissimilarity(patterns(), "mahalanobis", noise=np.ones(3)), r"wants a covariance \(15, 15\)"),
        (lambda: rsa.dissimilarity(xr.DataArray(patterns(), dims=("trial", "neuron"))), r"lack the dims \['condition'\]"),
        (lambda: rsa.dissimilarity(np.full((3, 4), np.nan)), "12 NaN"),
        (lambda: rsa.compare(rsa.dissimilarity(patterns()), patterns()), "as rsa.dissimilarity makes it"),
        (lambda: rsa.compare(*(rsa.dissimilarity(patterns()[:3]),) * 2), "at least 4"),
        (lambda: rsa.compare(*(rsa.dissimilarity(patterns()),) * 2, how="tau"), "'spearman'"),
        (lambda: rsa.noise_ceiling(patterns(), np.arange(7)), "two trials or more"),
        (lambda: rsa.noise_covariance(np.zeros((5, 3))), "3 neuron"),
    ],
)
def test_bad_input(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_examples():
    assert doctest.testmod(rsa).failed == 0
