"""Laws of the families: a response distribution written in eta is the textbook's, tails included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import FAMILIES, FamilyCase, cases
from scipy import integrate, special, stats

from bayesglm import family
from bayesglm._double import in_double

DT = 0.004
ETA = np.array([-30.0, -12.0, -3.0, -0.4, 0.0, 0.7, 3.0, 12.0, 30.0])
FAR = np.array([-80.0, 80.0])
every_family = pytest.mark.parametrize("case", cases(FAMILIES))
discrete = pytest.mark.parametrize("case", [p for p in cases(FAMILIES) if p.values[0].make().discrete])
binary = pytest.mark.parametrize("case", cases({"Bernoulli": FAMILIES["Bernoulli"]}))


def responses(case: FamilyCase) -> np.ndarray:
    made = case.make()
    return np.array([0.0, 1.0, 2.0, 40.0]) if made.counts else np.array([0.0, 1.0]) if made.discrete else np.array([-3.0, 0.0, 2.5])


def log_prob(case: FamilyCase, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(case.make()(eta, case.hyper, DT).log_prob(y))


def textbook(case: FamilyCase, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Written out where SciPy's forms lose the tail: y log(mean) - mean, and log P(0) and log P(1) by their own functions."""
    made, mean = case.make(), case.mean(eta)
    if made.counts:
        log_mean = eta if made.link == "exp" else np.where(eta < -25, eta, np.log(np.maximum(mean, 1e-300)))
        return y * log_mean - mean - special.gammaln(y + 1)
    if not made.discrete:
        return case.law(mean).logpdf(y)
    ones = {"logit": special.log_expit, "probit": special.log_ndtr, "cloglog": lambda e: np.log(-np.expm1(-np.exp(e)))}[made.link]
    zeros = {"logit": lambda e: special.log_expit(-e), "probit": lambda e: special.log_ndtr(-e), "cloglog": lambda e: -np.exp(e)}[made.link]
    return np.where(y == 1, ones(eta), zeros(eta))


@every_family
@in_double
def test_log_prob_is_the_textbooks(case: FamilyCase) -> None:
    eta, y = np.meshgrid(ETA, responses(case), indexing="ij")
    np.testing.assert_allclose(log_prob(case, eta, y), textbook(case, eta, y), rtol=1e-10, atol=1e-12)


@every_family
@in_double
def test_log_prob_is_scipys_in_the_middle(case: FamilyCase) -> None:
    eta, y = np.meshgrid(ETA[2:7], responses(case), indexing="ij")
    law = case.law(case.mean(eta))
    wanted = law.logpmf(y) if case.make().discrete else law.logpdf(y)
    np.testing.assert_allclose(log_prob(case, eta, y), wanted, rtol=1e-8, atol=1e-10)


@every_family
@in_double
def test_tails_and_their_gradients_are_finite(case: FamilyCase) -> None:
    made, y = case.make(), responses(case)
    eta, y = (side.ravel() for side in np.meshgrid([*FAR, *ETA], y, indexing="ij"))
    for density in (lambda e, y: made(e, case.hyper, DT).log_prob(y), lambda e, y: made.log_density(e, y, case.hyper, DT)):
        for found in (density, jax.grad(density), jax.grad(jax.grad(density))):
            values = np.asarray(jax.jit(jax.vmap(found))(eta, y))  # one program is compiled faster than its many operations
            assert np.isfinite(values).all(), (eta[~np.isfinite(values)], y[~np.isfinite(values)])


@every_family
@in_double
def test_gradient_is_the_densitys(case: FamilyCase) -> None:
    """Against central differences: where() must not cut a gradient off."""
    made, step = case.make(), 1e-5
    eta, y = (side.ravel() for side in np.meshgrid([-25.0, -20.5, -4.0, 0.3, 3.0], responses(case), indexing="ij"))
    density = lambda e: made.log_density(e, y, case.hyper, DT)  # noqa: E731
    slope = jax.grad(lambda e: density(e).sum())(eta)
    np.testing.assert_allclose(slope, (density(eta + step) - density(eta - step)) / (2 * step), rtol=1e-5, atol=1e-7)


@every_family
@in_double
def test_probabilities_sum_to_one(case: FamilyCase) -> None:
    made = case.make()
    for eta in (-5.0, 0.2, 3.0):
        if made.discrete:
            y = np.arange(400.0) if made.counts else np.arange(2.0)
            total = np.exp(log_prob(case, np.full(y.shape, eta), y)).sum()
        else:
            grid = np.linspace(eta - 40, eta + 40, 20_001)
            total = integrate.simpson(np.exp(log_prob(case, np.full(grid.shape, eta), grid)), x=grid)
        assert total == pytest.approx(1.0, abs=1e-10)


@every_family
@in_double
def test_mean_is_the_inverse_link(case: FamilyCase) -> None:
    law = case.make()(ETA, case.hyper, DT)
    np.testing.assert_allclose(law.mean, case.mean(ETA), rtol=1e-9)
    np.testing.assert_allclose(np.broadcast_to(law.variance, ETA.shape), case.law(case.mean(ETA)).var(), rtol=1e-6, atol=1e-12)


@every_family
@in_double
def test_level_inverts_the_mean(case: FamilyCase) -> None:
    eta = np.array([-5.0, -1.0, 0.0, 1.2, 2.5])
    np.testing.assert_allclose(case.make().level(case.mean(eta)), eta, rtol=1e-9, atol=1e-9)
    edges = case.make().level(np.array([0.0, 1.0]))
    assert np.isfinite(edges).all()


@every_family
@in_double
def test_log_density_leaves_out_terms_in_the_response_alone(case: FamilyCase) -> None:
    made = case.make()
    eta, y = np.meshgrid(ETA[1:-1], responses(case), indexing="ij")
    left = []
    for factor in (1.0, 2.0):
        hyper = {name: factor * value for name, value in case.hyper.items()}
        left.append(np.asarray(made(eta, hyper, DT).log_prob(y) - made.log_density(eta, y, hyper, DT)))
    np.testing.assert_allclose(left, np.broadcast_to(left[0][0], (2, *eta.shape)), rtol=1e-9, atol=1e-7)


@every_family
@in_double
def test_learned_parameters_are_declared(case: FamilyCase) -> None:
    declared = case.make().hyper("spikes", jnp.asarray([0.5, 2.0]))
    assert set(declared) == set(case.hyper)
    for law, alone in declared.values():
        assert alone
        assert np.isfinite(law.log_prob(0.7)).all()


@in_double
def test_default_noise_follows_the_training_spread() -> None:
    law, _ = family.Gaussian().hyper("trace", jnp.asarray([0.5, 2.0]))["sigma"]
    np.testing.assert_allclose(law.log_prob(0.7), np.log(2) + stats.t.logpdf(0.7, 4, 0, [0.5, 2.0]), rtol=1e-12)


@every_family
@in_double
def test_rate(case: FamilyCase) -> None:
    """Spikes/s: mean/dt for counts, -log(1 - p)/dt for bins that hold at most one; the mean of the others."""
    made, eta = case.make(), ETA[:-2]
    mean = case.mean(eta)
    wanted = mean / DT if made.counts else -textbook(case, eta, np.zeros(eta.shape)) / DT if made.discrete else mean
    np.testing.assert_allclose(made.rate(eta, case.hyper, DT), wanted, rtol=1e-10)


@binary
@in_double
def test_rate_does_not_depend_on_the_bin(case: FamilyCase) -> None:
    """Two half bins of a process are empty together as often as the whole bin."""
    made = case.make()
    half = made.level(np.array([0.1]))
    whole = made.level(np.array([1 - 0.9**2]))
    np.testing.assert_allclose(made.rate(half, {}, DT / 2), made.rate(whole, {}, DT), rtol=1e-9)


@every_family
@in_double
def test_draws_have_the_mean(case: FamilyCase) -> None:
    eta = np.array([-1.0, 0.5, 2.0])
    law = case.make()(eta, case.hyper, DT)
    draws = np.asarray(law.sample(jax.random.key(3), (4000,)))
    exact = case.law(case.mean(eta))
    assert np.all(np.abs(draws.mean(0) - exact.mean()) < 5 * exact.std() / np.sqrt(4000))
    assert np.all(np.isfinite(np.asarray(law.log_prob(draws))))


@in_double
def test_a_rate_too_high_to_draw_is_nan_not_a_wrong_count() -> None:
    assert np.isnan(np.asarray(family.Poisson()(np.array([60.0]), {}, DT).sample(jax.random.key(0)))).all()


@pytest.mark.parametrize(
    ("made", "values", "said"),
    [
        (family.Bernoulli(), [-1, 1], r"'choice' holds the values -1, 1; .*wants 0 and 1: .*choice == 1"),
        (family.Bernoulli(), [1, 2], r"choice == 2"),
        (family.Bernoulli(), [0.0, 0.5, 1.0], r"wants 0 and 1"),
        (family.Bernoulli(), [0, 1, 3], r"family\.Poisson\(\).*narrower bins"),
        (family.Bernoulli(), [-1, 0, 1], r"code it 0 and 1"),
        (family.Bernoulli(), [0.0, np.inf], r"infinite"),
        (family.Poisson(), [0, -2], r"'choice'.*-2.*whole numbers from 0 up.*family\.Gaussian"),
        (family.Poisson(), [0.5, 1.0], r"0\.5"),
        (family.Poisson(), [1.0, np.inf], r"inf"),
        (family.Gaussian(), [1.0, np.inf], r"infinite"),
    ],
)
def test_responses_outside_the_support(made: family.AbstractFamily, values: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made.resolve("choice", np.array(values))


@pytest.mark.parametrize(
    ("made", "values"),
    [
        (family.Bernoulli(), np.array([True, False])),
        (family.Bernoulli(), np.array([0.0, 1.0, np.nan])),
        (family.Bernoulli(), np.array([1, 1])),
        (family.Poisson(), np.array([0, 3], np.uint8)),
        (family.Poisson(), np.array([0.0, 3.0, np.nan])),
        (family.Gaussian(), np.array([-1.0, 2.5])),
    ],
)
def test_responses_inside_the_support(made: family.AbstractFamily, values: np.ndarray) -> None:
    assert made.resolve("choice", values) == made


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: family.Poisson("log"), "exp.*softplus"),
        (lambda: family.Bernoulli("exp"), "logit.*probit.*cloglog"),
        (lambda: family.Gaussian(-1.0), "positive"),
        (lambda: family.Gaussian("evidence_"), "evidence"),
    ],
)
def test_bad_arguments(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@every_family
def test_description_names_the_family(case: FamilyCase) -> None:
    made = case.make()
    assert made.describe().startswith(type(made).__name__)
    assert case.make() == made
