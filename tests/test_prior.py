"""Laws of the priors: a prior is its penalty."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from registry import PRIORS, PriorCase, cases, place
from scipy import integrate, optimize, stats

from bayesglm import prior
from bayesglm._double import in_double
from bayesglm._json import from_json, to_json
from bayesglm.prior._elastic import ElasticNetDensity

EXACT = 1e-12
POINTS = np.array([-7.0, -1.3, -0.2, 0.0, 1e-3, 0.4, 2.5, 11.0])
every_prior = pytest.mark.parametrize("case", cases(PRIORS))
proper_priors = pytest.mark.parametrize("case", [p for p in cases(PRIORS) if p.values[0].log_density])
elementwise = pytest.mark.parametrize("case", [p for p in cases(PRIORS) if p.values[0].log_density and not p.values[0].resolved().groups])


def ones(n: int) -> np.ndarray:
    return np.ones(n, bool)


def block(case: PriorCase, n: int = 1) -> tuple[int, ...]:
    """Shape of a case's weights: its own, or any number of them."""
    return case.shape or (n,)


def points(case: PriorCase) -> np.ndarray:
    """Weights, zeros among them."""
    return POINTS if case.shape is None else np.random.default_rng(0).choice(POINTS, case.shape)


def log_prob(case: PriorCase, w: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Log density of the weights of one neuron."""
    law = case.resolved().weights(case.hyper, ones(np.shape(w)) if mask is None else mask)
    return np.asarray(law.log_prob(w))


def integral(case: PriorCase, function: object) -> np.ndarray:
    """Integral over the line of function(w) p(w), for every weight of a block."""
    inside = lambda w: function(w) * np.exp(case.log_density(np.full(block(case), w)))  # noqa: E731
    return sum(integrate.quad_vec(inside, *side, epsrel=1e-10)[0] for side in ((-np.inf, 0), (0, np.inf)))


@proper_priors
@in_double
def test_log_density_is_the_closed_form(case: PriorCase) -> None:
    np.testing.assert_allclose(log_prob(case, points(case)), case.log_density(points(case)), rtol=EXACT, atol=EXACT)


@elementwise
def test_density_integrates_to_one(case: PriorCase) -> None:
    np.testing.assert_allclose(integral(case, lambda w: 1.0), 1.0, atol=1e-7)


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


@elementwise
@in_double
def test_whitening_is_one_over_the_variance(case: PriorCase) -> None:
    whitening = case.resolved().whitening(case.hyper, ones(block(case, 2)))
    np.testing.assert_allclose(whitening, np.broadcast_to(1 / integral(case, np.square), whitening.shape), rtol=1e-6)


@every_prior
@in_double
def test_precision_is_the_curvature(case: PriorCase) -> None:
    made, shape = case.resolved(), block(case)
    precision = made.precision(case.hyper, ones(shape))
    if precision is not None:
        slope = jax.grad(lambda w: made.weights(case.hyper, ones(shape)).log_prob(w).sum())
        bend = -jax.jvp(slope, (jnp.full(shape, 0.7),), (jnp.ones(shape),))[1]
        np.testing.assert_allclose(precision, bend, rtol=1e-10)


@every_prior
@in_double
def test_absolute_is_the_kink(case: PriorCase) -> None:
    """Of one weight, or of the norm of a group: along any direction u of a group the slope is that of |u|."""
    made, shape, step = case.resolved(), block(case), 1e-9
    slope = made.absolute(case.hyper, ones(shape))
    along = np.ones(shape)
    left, middle, right = (log_prob(case, at * along).sum() for at in (-step, 0.0, step))
    size = np.linalg.norm(along, axis=-1).sum() if made.groups else along.sum()
    jump = (2 * middle - left - right) / (2 * step)
    np.testing.assert_allclose(0.0 if slope is None else np.ravel(slope)[0] * size, jump, rtol=1e-5, atol=1e-5 * size)


@pytest.mark.parametrize("case", [p for p in cases(PRIORS) if p.values[0].concave and not p.values[0].resolved().groups])
@pytest.mark.parametrize("step", [0.05, 1.7])
@in_double
def test_prox_is_the_minimum(case: PriorCase, step: float) -> None:
    """Against a scan of the line and a bounded search, kinks included."""
    log_p = case.log_density or (lambda v: 0.0 * v)
    for start in (-3.0, -0.04, 0.0, 0.3, 5.0):
        shape = block(case)
        found = np.asarray(case.resolved().prox(np.full(shape, start), case.hyper, ones(shape), step))
        for at in (0, found.size - 1):
            cost = lambda v, start=start, at=at: (v - start) ** 2 / (2 * step) - log_p(np.full(shape, v)).flat[at]  # noqa: E731, B023
            brute = optimize.minimize_scalar(cost, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10}).x
            best, value = min((brute, 0.0), key=cost), found.flat[at]
            assert cost(value) <= cost(best) + 1e-12
            assert value == pytest.approx(best, abs=1e-5)


@every_prior
@in_double
def test_masked_weights_are_standard_normal(case: PriorCase) -> None:
    w = points(case)
    made, mask = case.resolved(), np.indices(w.shape)[0] % 2 == 0
    mask = np.zeros_like(mask) if made.groups and w.ndim == 1 else mask  # a group is there as a whole
    np.testing.assert_allclose(log_prob(case, w, mask)[~mask], stats.norm.logpdf(w[~mask]), rtol=EXACT)
    np.testing.assert_allclose(log_prob(case, w, mask)[mask], log_prob(case, w)[mask], rtol=EXACT)
    np.testing.assert_allclose(made.whitening(case.hyper, mask)[~mask], 1.0)
    if made.absolute(case.hyper, mask) is not None:
        np.testing.assert_array_equal(made.absolute(case.hyper, mask)[~mask], 0.0)
    if case.concave:
        np.testing.assert_allclose(made.prox(w, case.hyper, mask, 0.5)[~mask], w[~mask] / 1.5)


@elementwise
@in_double
def test_draws_follow_the_density(case: PriorCase) -> None:
    mask = np.ones(block(case, 2), bool)
    mask.flat[-1] = False
    law = case.resolved().weights(case.hyper, mask)
    draws = np.asarray(law.sample(jax.random.key(1), (2000,))).reshape(2000, -1)
    grid = np.linspace(-60, 60, 240_001)
    whole = np.broadcast_to(grid.reshape(-1, *(1,) * len(block(case))), (grid.size, *block(case)))
    density = np.exp(case.log_density(whole)).reshape(grid.size, -1)[:, 0]
    distribution = integrate.cumulative_trapezoid(density, grid, initial=0)
    assert stats.kstest(draws[:, 0], lambda w: np.interp(w, grid, distribution)).pvalue > 1e-3
    assert stats.kstest(draws[:, -1], "norm").pvalue > 1e-3


@every_prior
@in_double
def test_learned_parameters_are_of_their_neuron(case: PriorCase) -> None:
    """Two neurons with parameters of their own (and what they share) equal two priors of one neuron."""
    made, mask = case.resolved(), np.ones((2, *(case.shape or (3, 4))), bool)
    sites = {site.removeprefix("history_"): pair for site, pair in made.hyper("history").items()}
    assert set(sites) | set(made.known()) == set(case.hyper)
    assert all(law.shape() == np.shape(case.hyper[short]) for short, (law, _) in sites.items())
    w = np.random.default_rng(0).normal(size=mask.shape)
    alone = {short for short, (_, flag) in sites.items() if flag} | set(made.known())
    twice = {short: np.stack([value, np.asarray(value) * (1 if short in made.known() else 3)]) for short, value in case.hyper.items() if short in alone}
    both = {short: jnp.asarray(twice.get(short, value)) for short, value in case.hyper.items()}
    one = [{short: both[short][n] if short in alone else both[short] for short in both} for n in range(2)]
    whole = np.asarray(made.weights(both, mask).log_prob(w))
    for n in range(2):
        np.testing.assert_allclose(whole[n], made.weights(one[n], mask[n]).log_prob(w[n]), rtol=EXACT)
        np.testing.assert_allclose(made.whitening(both, mask)[n], made.whitening(one[n], mask[n]), rtol=EXACT)


@every_prior
def test_relative_scales_stretch_the_weights(case: PriorCase) -> None:
    made, shape = case.resolved(), block(case, 2)
    if not hasattr(made, "relative"):
        assert made.relative_to(2.0) is made
        return
    relative = np.array([1.0, 0.25]) if case.shape is None else np.array(0.25)
    stretched = made.relative_to(relative)
    ratio = stretched.whitening(case.hyper, ones(shape)) / made.whitening(case.hyper, ones(shape))
    np.testing.assert_allclose(ratio, np.broadcast_to(relative**-2, shape), rtol=1e-5)


@every_prior
def test_resolving_twice_changes_nothing(case: PriorCase) -> None:
    made = case.resolved()
    assert made.resolve(place(block(case, 6))) is made


@every_prior
@in_double
def test_prior_is_written_and_read(case: PriorCase) -> None:
    """A model with this prior can be saved."""
    made = case.resolved()
    assert to_json(from_json(to_json(made))) == to_json(made)
    np.testing.assert_array_equal(from_json(to_json(made)).whitening(case.hyper, ones(block(case))), made.whitening(case.hyper, ones(block(case))))


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


@in_double
def test_converted_priors_are_the_packages_penalties() -> None:
    """Their objective times what makes its loss a sum: -log p(w) + log p(0) = n lam ((1 - a)/2 w^2 + a |w|), or (w^2/2 or |w|)/C."""
    n, lam = 400, 0.02
    stated = {
        prior.from_glmnet(lam, 0.3, n): n * lam * (0.35 * POINTS**2 + 0.3 * np.abs(POINTS)),
        prior.from_glmnet(lam, 0.0, n): n * lam * 0.5 * POINTS**2,
        prior.from_nemos(lam, n, "Lasso"): n * lam * np.abs(POINTS),
        prior.from_nemos(lam, n, "ElasticNet", ratio=0.3): n * lam * (0.35 * POINTS**2 + 0.3 * np.abs(POINTS)),
        prior.from_sklearn(0.2): POINTS**2 / 0.4,
        prior.from_sklearn(0.2, "l1"): np.abs(POINTS) / 0.2,
    }
    for made, penalty in stated.items():
        log_p = np.asarray(made.weights({}, ones(len(POINTS))).log_prob(POINTS))
        np.testing.assert_allclose(log_p[3] - log_p, penalty, rtol=EXACT, atol=1e-10)
    group = prior.from_nemos(lam, n, "GroupLasso", group_size=8)
    log_p = [float(group.weights({}, ones(8)).log_prob(w).sum()) for w in (POINTS, 0 * POINTS)]
    assert log_p[1] - log_p[0] == pytest.approx(n * lam * np.sqrt(8) * np.linalg.norm(POINTS))


def test_converters() -> None:
    """sklearn: C sum(loss) + |w|^2/2; NeMoS: mean(loss) + strength/2 |w|^2; glmnet: mean(loss) + lam (...)."""
    assert prior.from_sklearn(0.5).scale == pytest.approx(np.sqrt(0.5))
    assert prior.from_sklearn(0.5, "l1").scale == pytest.approx(0.5)
    assert prior.from_nemos(0.01, 400).scale == pytest.approx(0.5)
    assert prior.from_nemos(0.01, 400, "Lasso").scale == pytest.approx(0.25)
    assert prior.from_glmnet(0.01, 0.0, 400).scale == pytest.approx(0.5)
    assert prior.from_glmnet(0.01, 1.0, 400).scale == pytest.approx(0.25)
    for net in (prior.from_glmnet(0.01, 0.25, 400), prior.from_nemos(0.01, 400, "ElasticNet", ratio=0.25)):
        assert (net.l1, net.l2) == pytest.approx((1.0, 3.0))
    assert prior.from_nemos(0.01, 400, "ElasticNet").l1 == pytest.approx(2.0)
    assert prior.from_nemos(0.01, 400, "GroupLasso", group_size=9).scale == pytest.approx(1 / 12)
    assert isinstance(prior.ridge(0), prior.Flat)
    assert isinstance(prior.lasso(0), prior.Flat)


SCALED = [prior.Gaussian, prior.Laplace, prior.Smooth, prior.GaussianProcess, prior.GroupLasso, lambda scale: prior.StudentT(3.0, scale)]


@pytest.mark.parametrize("make", SCALED)
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
        (lambda: prior.from_nemos(1.0, 10, "UnRegularized"), "Ridge, Lasso"),
        (lambda: prior.from_nemos(1.0, 10, "GroupLasso"), "group_size=None"),
        (lambda: prior.from_nemos(1.0, 10, "Lasso", ratio=0.5), "ratio=0.5.*ElasticNet.*leave it out"),
        (lambda: prior.from_nemos(1.0, 10, "Ridge", group_size=3), "group_size=3.*GroupLasso"),
        (lambda: prior.from_glmnet(1.0, 1.5, 10), "between 0 and 1"),
    ],
)
def test_bad_arguments(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@every_prior
def test_description_is_short(case: PriorCase) -> None:
    assert type(case.resolved()).__name__ in case.resolved().describe()
    assert len(case.resolved().describe()) < 50


@in_double
def test_evidence_scale_avoids_zero_on_a_bounded_range() -> None:
    """p(scale) is proportional to the scale on [0.001, 10] (Chung et al. 2013: Gamma(2, rate -> 0)), and printed as evidence."""
    (law, alone), *_ = prior.Gaussian("evidence").hyper("coupling").values()
    low, high = 1e-3, 10.0
    assert alone and prior.Gaussian("evidence").describe() == 'Gaussian("evidence")'
    total, first = (integrate.quad(lambda x, k=k: x**k * np.exp(float(law.log_prob(x))), low, high)[0] for k in (0, 1))
    assert total == pytest.approx(1.0, abs=1e-9)
    assert first == pytest.approx(2 / 3 * (high**3 - low**3) / (high**2 - low**2))
    assert float(law.log_prob(4.0) - law.log_prob(0.5)) == pytest.approx(np.log(8.0))
    assert float(law.log_prob(11.0)) == -np.inf
    draws = np.asarray(law.sample(jax.random.key(0), (4000,)))
    assert stats.kstest(draws, lambda x: (x**2 - low**2) / (high**2 - low**2)).pvalue > 1e-3
    np.testing.assert_allclose(law.icdf(jnp.array([0.0, 1.0])), [low, high])
    assert (law.support.lower_bound, law.support.upper_bound) == (low, high)


@pytest.mark.parametrize("make", [prior.Smooth, prior.GaussianProcess, prior.Horseshoe, prior.GroupLasso, prior.Hierarchical])
def test_unknown_arguments_are_errors(make: object) -> None:
    with pytest.raises(TypeError, match="strengt"):
        make(strengt=1.0)
