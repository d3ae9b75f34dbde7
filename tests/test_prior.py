"""Laws of the priors: a prior is its penalty."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from registry import PRIORS, PriorCase, cases
from scipy import integrate, optimize, stats

from bayesglm import prior
from bayesglm._double import in_double
from bayesglm.prior._elastic import ElasticNetDensity

EXACT = 1e-12
POINTS = np.array([-7.0, -1.3, -0.2, 0.0, 1e-3, 0.4, 2.5, 11.0])
every_prior = pytest.mark.parametrize("case", cases(PRIORS))
proper_priors = pytest.mark.parametrize("case", [p for p in cases(PRIORS) if p.values[0].log_density])


def ones(n: int) -> np.ndarray:
    return np.ones(n, bool)


def log_prob(case: PriorCase, w: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Log density of weights (n,) of one neuron."""
    law = case.make().weights(case.hyper, ones(len(w)) if mask is None else mask)
    return np.asarray(law.log_prob(w))


@proper_priors
@in_double
def test_log_density_is_the_closed_form(case: PriorCase) -> None:
    np.testing.assert_allclose(log_prob(case, POINTS), case.log_density(POINTS), rtol=EXACT, atol=EXACT)


@proper_priors
def test_density_integrates_to_one(case: PriorCase) -> None:
    halves = [integrate.quad(lambda w: np.exp(case.log_density(w)), *side)[0] for side in ((-np.inf, 0), (0, np.inf))]
    assert sum(halves) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("strength", [0.3, 4.0, 250.0])
@in_double
def test_ridge_and_lasso_are_their_penalties(strength: float) -> None:
    for made, penalty in ((prior.ridge(strength), 0.5 * strength * POINTS**2), (prior.lasso(strength), strength * np.abs(POINTS))):
        log_p = np.asarray(made.weights({}, ones(len(POINTS))).log_prob(POINTS))
        np.testing.assert_allclose(log_p[3] - log_p, penalty, rtol=EXACT, atol=1e-10)


@in_double
def test_flat_adds_nothing() -> None:
    np.testing.assert_array_equal(log_prob(PRIORS["Flat"][0], POINTS), 0.0)
    assert not prior.Flat().proper
    with pytest.raises(ValueError, match=r"improper.*prior\.Gaussian"):
        prior.Flat().weights({}, ones(2)).sample(jax.random.key(0))


@proper_priors
@in_double
def test_whitening_is_one_over_the_variance(case: PriorCase) -> None:
    variance = 2 * integrate.quad(lambda w: w**2 * np.exp(case.log_density(w)), 0, np.inf)[0]
    np.testing.assert_allclose(case.make().whitening(case.hyper, ones(2)), 1 / variance, rtol=1e-6)


@every_prior
@in_double
def test_precision_is_the_curvature(case: PriorCase) -> None:
    made = case.make()
    precision = made.precision(case.hyper, ones(1))
    bend = -jax.grad(jax.grad(lambda w: made.weights(case.hyper, ones(1)).log_prob(w[None])[0]))(0.7)
    if precision is not None:
        np.testing.assert_allclose(precision, bend, rtol=1e-10)


@every_prior
@in_double
def test_absolute_is_the_kink(case: PriorCase) -> None:
    slope = case.make().absolute(case.hyper, ones(1))
    step = 1e-9
    left, middle, right = log_prob(case, np.array([-step, 0.0, step]))
    jump = (2 * middle - left - right) / (2 * step)
    np.testing.assert_allclose(0.0 if slope is None else slope[0], jump, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", [p for p in cases(PRIORS) if p.values[0].concave])
@pytest.mark.parametrize("step", [0.05, 1.7])
@in_double
def test_prox_is_the_minimum(case: PriorCase, step: float) -> None:
    """Against a scan of the line and a bounded search, kinks included."""
    starts = np.array([-3.0, -0.04, 0.0, 0.3, 5.0])
    found = np.asarray(case.make().prox(starts, case.hyper, ones(len(starts)), step))
    log_p = case.log_density or (lambda v: 0.0 * v)
    for start, at in zip(starts, found, strict=True):
        cost = lambda v, start=start: (v - start) ** 2 / (2 * step) - log_p(v)  # noqa: E731
        brute = optimize.minimize_scalar(cost, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10}).x
        best = min((brute, 0.0), key=cost)
        assert cost(at) <= cost(best) + 1e-12
        assert at == pytest.approx(best, abs=1e-5)


@every_prior
@in_double
def test_masked_weights_are_standard_normal(case: PriorCase) -> None:
    made, mask = case.make(), np.arange(len(POINTS)) % 2 == 0
    np.testing.assert_allclose(log_prob(case, POINTS, mask)[~mask], stats.norm.logpdf(POINTS[~mask]), rtol=EXACT)
    np.testing.assert_allclose(log_prob(case, POINTS, mask)[mask], log_prob(case, POINTS)[mask], rtol=EXACT)
    np.testing.assert_allclose(made.whitening(case.hyper, mask)[~mask], 1.0)
    if made.absolute(case.hyper, mask) is not None:
        np.testing.assert_array_equal(made.absolute(case.hyper, mask)[~mask], 0.0)
    if case.concave:
        np.testing.assert_allclose(made.prox(POINTS, case.hyper, mask, 0.5)[~mask], POINTS[~mask] / 1.5)


@proper_priors
@in_double
def test_draws_follow_the_density(case: PriorCase) -> None:
    law = case.make().weights(case.hyper, np.array([True, False]))
    draws = np.asarray(law.sample(jax.random.key(1), (2000,)))
    grid = np.linspace(-60, 60, 240_001)
    distribution = integrate.cumulative_trapezoid(np.exp(case.log_density(grid)), grid, initial=0)
    assert stats.kstest(draws[:, 0], lambda w: np.interp(w, grid, distribution)).pvalue > 1e-3
    assert stats.kstest(draws[:, 1], "norm").pvalue > 1e-3


@every_prior
@in_double
def test_learned_scales_are_one_a_neuron(case: PriorCase) -> None:
    """Two neurons with scales of their own equal two priors of one neuron."""
    made, mask = case.make(), np.ones((2, 3, 4), bool)
    assert all(alone and law.shape() == () for law, alone in made.hyper("history").values())
    assert set(made.hyper("history")) == {f"history_{short}" for short in case.hyper}
    w = np.random.default_rng(0).normal(size=mask.shape)
    both = {short: jnp.asarray([value, 3 * value]) for short, value in case.hyper.items()}
    one = [{short: value[n] for short, value in both.items()} for n in range(2)]
    whole = np.asarray(made.weights(both, mask).log_prob(w))
    for n in range(2):
        np.testing.assert_allclose(whole[n], made.weights(one[n], mask[n]).log_prob(w[n]), rtol=EXACT)
        np.testing.assert_allclose(made.whitening(both, mask)[n], made.whitening(one[n], mask[n]), rtol=EXACT)


@every_prior
def test_relative_scales_stretch_the_weights(case: PriorCase) -> None:
    made = case.make()
    if not hasattr(made, "relative"):
        assert made.relative_to(2.0) is made
        return
    stretched = made.relative_to(np.array([1.0, 0.25]))
    np.testing.assert_allclose(stretched.whitening(case.hyper, ones(2)) / made.whitening(case.hyper, ones(2)), [1.0, 16.0], rtol=1e-5)


@pytest.mark.parametrize(("l1", "l2"), [(100.0, 1e-3), (990.0, 10.0), (30.0, 1.0), (29.0, 1.0), (1e-6, 1.0), (9.9e5, 1.0)])
@in_double
def test_elastic_net_far_in_the_tail(l1: float, l2: float) -> None:
    """Its truncated normal is far out where L1 rules: variance and draws keep their digits."""
    law = ElasticNetDensity(l1, l2)
    unit = min(1 / l1, 1 / np.sqrt(l2))
    weight = lambda u: np.exp(-l1 * u * unit - 0.5 * l2 * (u * unit) ** 2)  # noqa: E731
    moment = [integrate.quad(lambda u, k=k: u**k * weight(u), 0, 60, epsabs=0, epsrel=1e-11, limit=200)[0] for k in (0, 2)]
    variance = unit**2 * moment[1] / moment[0]
    assert float(law.variance) == pytest.approx(variance, rel=1e-6)
    draws = np.asarray(law.sample(jax.random.key(2), (4000,)))
    assert np.isfinite(draws).all()
    assert draws.var() == pytest.approx(variance, rel=0.15)


@in_double
def test_half_student_t_is_folded() -> None:
    law, x = prior.HalfStudentT(4.0, 2.5), np.array([1e-3, 0.7, 9.0])
    np.testing.assert_allclose(law.log_prob(x), np.log(2) + stats.t.logpdf(x, 4, 0, 2.5), rtol=EXACT)
    assert np.all(np.asarray(law.sample(jax.random.key(0), (100,))) > 0)


def test_converters() -> None:
    """sklearn: C sum(loss) + |w|^2/2; NeMoS: mean(loss) + strength/2 |w|^2; glmnet: mean(loss) + lam (...)."""
    assert prior.from_sklearn(0.5).scale == pytest.approx(np.sqrt(0.5))
    assert prior.from_sklearn(0.5, "l1").scale == pytest.approx(0.5)
    assert prior.from_nemos(0.01, 400).scale == pytest.approx(0.5)
    assert prior.from_nemos(0.01, 400, "Lasso").scale == pytest.approx(0.25)
    assert prior.from_glmnet(0.01, 0.0, 400).scale == pytest.approx(0.5)
    assert prior.from_glmnet(0.01, 1.0, 400).scale == pytest.approx(0.25)
    net = prior.from_glmnet(0.01, 0.25, 400)
    assert (net.l1, net.l2) == pytest.approx((1.0, 3.0))
    assert isinstance(prior.ridge(0), prior.Flat)
    assert isinstance(prior.lasso(0), prior.Flat)


@pytest.mark.parametrize("make", [prior.Gaussian, prior.Laplace, lambda scale: prior.StudentT(3.0, scale)])
@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (0.0, "positive"),
        (-1.0, "positive"),
        (np.nan, "positive"),
        (np.inf, "finite"),
        (dist.Normal(0.0, 1.0), "positive numbers.*HalfNormal"),
        (dist.HalfNormal(np.ones(3)), "scalar"),
        ("marginal", "evidence"),
    ],
)
def test_bad_scales(make: object, scale: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(scale)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: prior.ridge(-1.0), "positive"),
        (lambda: prior.lasso(np.nan), "positive"),
        (lambda: prior.StudentT(2.0), "above 2"),
        (lambda: prior.ElasticNet(0.0, 1.0), "ridge or lasso"),
        (lambda: prior.from_sklearn(0.0), "positive"),
        (lambda: prior.from_sklearn(1.0, "elastic"), "l2, l1"),
        (lambda: prior.from_nemos(1.0, 0), "n_rows"),
        (lambda: prior.from_nemos(1.0, 10, "GroupLasso"), "Ridge, Lasso"),
        (lambda: prior.from_glmnet(1.0, 1.5, 10), "between 0 and 1"),
    ],
)
def test_bad_arguments(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@every_prior
def test_description_is_short(case: PriorCase) -> None:
    assert type(case.make()).__name__ in case.make().describe()
    assert len(case.make().describe()) < 40
