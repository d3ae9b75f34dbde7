"""Binomial, Categorical, Ordinal: against SciPy and scikit-learn's softmax, identifiability, recovery."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to
from scipy import integrate, special, stats
from scipy.linalg import null_space
from sklearn.linear_model import LogisticRegression

import bayesglm as bg
from bayesglm import family, method, prior
from bayesglm._double import in_double
from bayesglm.family._densities import log_between
from bayesglm.family._parameters import Ordered

DT = 0.01
CUTS = np.array([-1.3, 0.2, 0.9])


def trials(rows: int = 1500, seed: int = 0, **columns: np.ndarray) -> bg.recording:
    rng = np.random.default_rng(seed)
    return bg.recording(rows="trial", x=rng.normal(size=rows), **columns)


@in_double
def test_classes_are_a_softmax() -> None:
    """Of any contrast; the same probabilities whatever is added to all classes."""
    made, rng = family.Categorical(4), np.random.default_rng(0)
    contrast = made.predictors.contrast
    np.testing.assert_allclose(contrast.T @ contrast, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(contrast.sum(0), 0.0, atol=1e-14)
    v = rng.normal(size=(5, 3)) * 3
    wanted = special.softmax(v @ contrast.T, axis=-1)
    np.testing.assert_allclose(made(v, {}, DT).probs, wanted, rtol=1e-12)
    codes = np.array([0, 3, 2, 1, 1])
    np.testing.assert_allclose(made(v, {}, DT).log_prob(codes), np.log(wanted[np.arange(5), codes]), rtol=1e-12)
    assert np.isnan(made(v, {}, DT).mean).all()  # codes have no mean
    assert float(made(v[0], {}, DT).log_prob(4)) == -np.inf


@in_double
def test_two_classes_are_a_bernoulli() -> None:
    v = np.array([[-1.4], [0.3]])
    eta = (v @ family.Categorical(2).predictors.contrast.T) @ np.array([-1.0, 1.0])
    np.testing.assert_allclose(family.Categorical(2)(v, {}, DT).log_prob(1.0), family.Bernoulli()(eta, {}, DT).log_prob(1.0), rtol=1e-12)


@pytest.mark.parametrize(("link", "law"), [("logit", stats.logistic), ("probit", stats.norm)])
@in_double
def test_levels_are_a_cumulative_model(link: str, law: stats.rv_continuous) -> None:
    """P(y <= k) = F(c_k - eta), and the mean is that of the codes."""
    eta = np.array([-6.0, -1.0, 0.0, 0.4, 5.0])
    found = family.Ordinal(4, link=link)(eta, {"cutpoints": CUTS}, DT)
    cumulative = np.concatenate([law.cdf(CUTS - eta[:, None]), np.ones((5, 1))], 1)
    wanted = np.diff(cumulative, axis=1, prepend=0.0)
    np.testing.assert_allclose(found.probs, wanted, rtol=1e-8, atol=1e-13)
    np.testing.assert_allclose(found.mean, wanted @ np.arange(4), rtol=1e-9)
    np.testing.assert_allclose(found.variance, wanted @ np.arange(4) ** 2 - (wanted @ np.arange(4)) ** 2, rtol=1e-6, atol=1e-12)
    known = family.Ordinal(cutpoints=CUTS, link=link)
    np.testing.assert_allclose(known(eta, {}, DT).log_probs, found.log_probs, rtol=1e-12)


@pytest.mark.parametrize("link", ["logit", "probit"])
@in_double
def test_a_level_far_out_keeps_its_probability(link: str) -> None:
    """log(F(b) - F(a)) on both sides of zero, by integrating the density; symmetric; finite with its gradients at 700."""
    law = stats.logistic if link == "logit" else stats.norm
    for low, high in [(-30.0, -29.0), (2.0, 2.1), (-0.5, 3.0), (8.0, 12.0), (-1e-9, 1e-9)]:
        top = max(law.logpdf(low), law.logpdf(high))
        area = integrate.quad(lambda x, top=top: np.exp(law.logpdf(x) - top), low, high, epsabs=0, epsrel=1e-12)[0]
        assert float(log_between(low, high, link)) == pytest.approx(np.log(area) + top, rel=1e-7)
        assert float(log_between(-high, -low, link)) == pytest.approx(float(log_between(low, high, link)), rel=1e-10)
    shift = np.array([-700.0, 700.0])
    density = lambda s: log_between(0.1 + s, 0.7 + s, link)  # noqa: E731
    for found in (density, jax.grad(density), jax.grad(jax.grad(density))):
        assert np.isfinite(jax.vmap(found)(shift)).all()


@in_double
def test_cutpoints_prior_is_uniform_over_the_simplex() -> None:
    """Order statistics of the link's law: log p(c) = log (K - 1)! + sum log f(c_k), so that p(probabilities) = (K - 1)!."""
    (law, _) = family.Ordinal(4).hyper("choice")["cutpoints"]
    assert float(law.log_prob(CUTS)) == pytest.approx(np.log(6) + stats.logistic.logpdf(CUTS).sum())
    draws = np.asarray(law.sample(jax.random.key(0), (4000,)))
    assert (np.diff(draws) > 0).all()
    shares = np.diff(special.expit(draws), axis=1, prepend=0.0, append=1.0) if draws.ndim == 2 else None
    for k in range(4):
        assert stats.kstest(shares[:, k], stats.beta(1, 3).cdf).pvalue > 1e-3
    own = family.Ordinal(3, cutpoints=dist.Normal(0.0, 2.0)).hyper("choice")["cutpoints"][0]
    assert float(own.log_prob(np.array([-1.0, 1.0]))) == pytest.approx(np.log(2) + 2 * stats.norm.logpdf(1.0, 0, 2))


@in_double
def test_ordered_vectors_have_coordinates() -> None:
    """The density in unconstrained coordinates integrates to one."""
    law, to = Ordered(dist.Normal(0.0, 1.0), 2), biject_to(Ordered.support)
    first, gap = jnp.linspace(-9, 9, 401), jnp.linspace(-25, 4, 401)
    grid = jnp.stack(jnp.meshgrid(first, gap, indexing="ij"), -1)
    density = jnp.exp(law.log_prob(to(grid)) + to.log_abs_det_jacobian(grid, to(grid)))
    assert float(density.sum() * (first[1] - first[0]) * (gap[1] - gap[0])) == pytest.approx(1.0, abs=1e-6)


@in_double
def test_levels_of_classes_give_back_their_frequencies() -> None:
    y = np.repeat([0.0, 1.0, 2.0, np.nan], [100, 700, 200, 9])
    made = family.Categorical(3)
    np.testing.assert_allclose(made(made.levels(y), {}, DT).probs, (np.array([100, 700, 200]) + 0.5) / 1001.5, rtol=1e-10)


def test_classes_come_from_the_training_data() -> None:
    assert family.Categorical().resolve("choice", np.array([0, 2, 1, 1])).size == 3
    assert family.Categorical(5).resolve("choice", np.array([0, 2])).size == 5
    named = family.Ordinal(labels=("low", "middle", "high")).resolve("choice", np.array([0, 1]))
    assert named.names.tolist() == ["low", "middle", "high"]
    assert named.resolve("choice", np.array([0, 2])) == named
    with pytest.raises(ValueError, match="none before fit.*classes=K"):
        family.Categorical().predictors  # noqa: B018


def test_trials_of_each_row_are_a_column() -> None:
    made = family.Binomial("n").resolve("hits", np.array([1, 2]), None, {"trials": np.array([4.0, 8.0])})
    assert made.average == 6.0
    data = trials(3, hits=np.array([1, 2, 0]), n=np.array([4, 8, 0]))
    np.testing.assert_array_equal(made.known(data)["trials"], [4.0, 8.0, 0.0])
    for column, said in {"n": [0, 8, 3], "m": [1, 2, 3]}.items():
        with pytest.raises(ValueError, match=r"'hits' exceeds its trials in 'n'.*row 0|wants the column 'n'"):
            made.known(trials(3, hits=np.array([1, 2, 0]), **{column: np.array(said)}))
    with pytest.raises(ValueError, match="whole numbers from 0 up in every row"):
        made.known(trials(3, hits=np.array([1, 2, 0]), n=np.array([4.5, 8.0, 3.0])))


def test_trials_of_each_neuron() -> None:
    """A column (row, neuron) of which some neurons are receivers."""
    rng = np.random.default_rng(3)
    n = rng.integers(1, 20, (60, 3))
    hits = rng.binomial(n, [0.2, 0.5, 0.8])
    data = bg.recording(dt=0.1, hits=(("time", "neuron"), hits), n=(("time", "neuron"), n))
    model = bg.GLM(bg.Baseline(prior.Gaussian(100.0)), family.Binomial("n"), response="hits", neurons=(2, 0))
    fit = bg.fit(model, data, "map", progress=False)
    np.testing.assert_allclose(special.expit(fit.posterior["baseline"].values.ravel()), (hits.sum(0) / n.sum(0))[[2, 0]], rtol=1e-3)
    with pytest.raises(ValueError, match="dims .*'neuron'.*the response 'hit' has"):
        bg.fit(bg.GLM(bg.Baseline(), family.Binomial("n"), response="hit"), data.assign(hit=("time", hits[:, 0])), "map", progress=False)


@in_double
def test_trials_of_zero_say_nothing() -> None:
    density = family.Binomial("n")(np.array([0.3, -700.0, 700.0]), {"trials": np.zeros(3)}, DT).log_prob(0.0)
    np.testing.assert_allclose(density, 0.0, atol=1e-12)


def test_a_binomial_is_its_bernoullis() -> None:
    """The same weights from successes among trials as from the single trials."""
    rng = np.random.default_rng(0)
    x, n = rng.normal(size=120), rng.integers(0, 9, 120)
    hits = rng.binomial(n, special.expit(-0.4 + 0.9 * x))
    grouped = bg.recording(rows="trial", x=x, hits=hits, n=n)
    terms = bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x", prior.Gaussian(1.0))
    one = bg.fit(bg.GLM(terms, family.Binomial("n"), response="hits"), grouped, "map", progress=False)
    single = np.concatenate([np.repeat([1, 0], [h, m - h]) for h, m in zip(hits, n, strict=True)])
    alone = bg.recording(rows="trial", x=np.repeat(x, n), hit=single)
    two = bg.fit(bg.GLM(terms, family.Bernoulli(), response="hit"), alone, "map", progress=False)
    for name in ("baseline", "x"):
        np.testing.assert_allclose(one.posterior[name].values, two.posterior[name].values, rtol=1e-6)


def test_categorical_is_scikit_learns_multinomial() -> None:
    """The mode under a ridge on weights that sum to zero."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 2))
    score = np.stack([x[:, 0], -x[:, 0] + x[:, 1], 0.5 + 0 * x[:, 0]], 1)
    choice = (score + rng.gumbel(size=score.shape)).argmax(1)
    data = bg.recording(rows="trial", x=x, choice=choice)
    fit = bg.fit(
        bg.GLM(bg.Baseline(prior.Gaussian(1e3)) + bg.Linear("x", prior.ridge(2.0)), family.Categorical(), response="choice"), data, "map", progress=False
    )
    weights = fit.posterior["x"].squeeze(("chain", "draw"))
    assert weights.dims == ("x_feature", "class")
    np.testing.assert_allclose(weights.sum("class"), 0.0, atol=1e-10)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(x, choice)
    np.testing.assert_allclose(weights.values, theirs.coef_.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fit.posterior["baseline"].values.ravel(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-4)


def ordinal(seed: int = 2) -> bg.recording:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=1500)
    return bg.recording(rows="trial", x=x, rating=(0.8 * x + rng.logistic(size=1500) > CUTS[:, None]).sum(0))


def test_planted_cutpoints_are_recovered() -> None:
    fit = bg.fit(bg.GLM(bg.Linear("x"), family.Ordinal(), response="rating"), ordinal(), method.Laplace(num_samples=1000), progress=False)
    found = fit.posterior["cutpoints"]
    low, high = found.quantile([0.001, 0.999], ("chain", "draw")).values
    assert ((low < CUTS) & (high > CUTS)).all() and (high - low < 0.6).all()
    assert (found.diff(found.dims[-1]) > 0).all()
    low, high = fit.posterior["x"].quantile([0.001, 0.999]).values
    assert low < 0.8 < high


def test_a_baseline_beside_cutpoints_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Ordinal\(logit\).*Leave Baseline\(\) out"):
        bg.fit(bg.GLM(bg.Baseline() + bg.Linear("x"), family.Ordinal(), response="rating"), ordinal(), "map", progress=False)


def test_contrasts_are_orthogonal_to_what_classes_share() -> None:
    for classes in (2, 3, 7):
        contrast = family.Categorical(classes).predictors.contrast
        np.testing.assert_allclose(np.abs(null_space(contrast.T)), 1 / np.sqrt(classes), atol=1e-12)
