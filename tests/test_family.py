"""Laws of the families: a response distribution written in eta is the textbook's, tails included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import FAMILIES, FamilyCase, cases
from scipy import special, stats

from bayesglm import family
from bayesglm._double import in_double

DT = 0.004
ETA = np.array([-30.0, -12.0, -3.0, -0.4, 0.0, 0.7, 3.0, 12.0, 30.0])
FAR = np.array([-700.0, -80.0, 80.0, 700.0])
every_family = pytest.mark.parametrize("case", cases(FAMILIES))
plain = pytest.mark.parametrize("case", [p for p in cases(FAMILIES) if p.values[0].plain])
binary = pytest.mark.parametrize("case", cases({"Bernoulli": FAMILIES["Bernoulli"]}))


def predictor(case: FamilyCase, eta: np.ndarray) -> np.ndarray:
    """The predictors of a family: ``eta`` itself, or turned into each of several directions."""
    several = case.make().n_predictors
    return eta if several == 1 else eta[..., None] * np.cos(1.0 + np.arange(several))


def log_prob(case: FamilyCase, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(lambda e, y: case.make()(e, case.hyper, DT).log_prob(y))(eta, y))


def textbook(case: FamilyCase, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Written out where SciPy's forms lose the tail; softplus counts: y log(mean) - mean."""
    if case.tail is not None:
        return case.tail(eta, y)
    if not case.make().counts:
        return case.law(case.mean(eta)).logpdf(y)
    mean = case.mean(eta)
    return y * np.where(eta < -25, eta, np.log(np.maximum(mean, 1e-300))) - mean - special.gammaln(y + 1)


@plain
@in_double
def test_log_prob_is_the_textbooks(case: FamilyCase) -> None:
    eta, y = np.meshgrid(ETA, case.responses, indexing="ij")
    np.testing.assert_allclose(log_prob(case, eta, y), textbook(case, eta, y), rtol=1e-10, atol=1e-12)


@plain
@in_double
def test_log_prob_is_scipys_in_the_middle(case: FamilyCase) -> None:
    eta, y = np.meshgrid(ETA[2:7], case.responses, indexing="ij")
    law = case.law(case.mean(eta))
    wanted = law.logpmf(y) if case.make().discrete else law.logpdf(y)
    np.testing.assert_allclose(log_prob(case, eta, y), wanted, rtol=1e-8, atol=1e-10)


@every_family
@in_double
def test_tails_and_their_gradients_are_finite(case: FamilyCase) -> None:
    made, y = case.make(), case.responses
    eta, y = (side.ravel() for side in np.meshgrid([*FAR, *ETA], y, indexing="ij"))
    eta = predictor(case, eta)
    for density in (lambda e, y: made(e, case.hyper, DT).log_prob(y), lambda e, y: made.log_density(e, y, case.hyper, DT)):
        for found in (density, jax.grad(density), jax.hessian(density)):
            values = np.asarray(jax.jit(jax.vmap(found))(eta, y))  # one program is compiled faster than its many operations
            assert np.isfinite(values).all(), (found, eta, y)


@pytest.mark.parametrize("case", [p for p in cases(FAMILIES) if p.values[0].hyper])
@in_double
def test_gradients_in_learned_parameters_are_finite(case: FamilyCase) -> None:
    """In both tails of eta, and where a row that is not scored stands as zero."""
    made = case.make()
    eta, y = (side.ravel() for side in np.meshgrid(FAR, [0.0, *case.responses], indexing="ij"))
    eta, hyper = predictor(case, eta), {name: jnp.asarray(value) for name, value in case.hyper.items()}
    for density in (lambda h: made(eta, h, DT).log_prob(y), lambda h: made.log_density(eta, y, h, DT)):
        slope = jax.jit(jax.jacfwd(density))(hyper)
        assert all(np.isfinite(value).all() for value in slope.values()), slope


@every_family
@in_double
def test_gradient_is_the_densitys(case: FamilyCase) -> None:
    """Against central differences, of the first and of the second order: where() must not cut a gradient off."""
    made, step = case.make(), 1e-5
    eta, y = (side.ravel() for side in np.meshgrid([-25.0, -20.5, -4.0, 0.3, 3.0], case.responses, indexing="ij"))
    density = jax.jit(lambda e: made.log_density(predictor(case, e), y, case.hyper, DT))
    slope = jax.jit(jax.grad(lambda e: density(e).sum()))
    np.testing.assert_allclose(slope(eta), (density(eta + step) - density(eta - step)) / (2 * step), rtol=1e-5, atol=1e-7)
    bend = jax.jvp(slope, (eta,), (np.ones_like(eta),))[1]
    np.testing.assert_allclose(bend, (slope(eta + step) - slope(eta - step)) / (2 * step), rtol=1e-5, atol=1e-7)


@every_family
@in_double
def test_probabilities_sum_to_one(case: FamilyCase) -> None:
    if case.make().measure:
        pytest.skip("a density over the plane, which is SciPy's bivariate normal's (test_decoders.py)")
    for eta in (-5.0, 0.2, 3.0):
        y, weight = nodes(case, eta)
        density = np.exp(log_prob(case, predictor(case, np.full(y.shape, eta)), y))
        assert density @ weight == pytest.approx(1.0, abs=1e-9)


def nodes(case: FamilyCase, eta: float) -> tuple[np.ndarray, np.ndarray]:
    """Every response, or a grid on which the trapezoidal rule converges fast, and weights."""
    made, circle = case.make(), getattr(case.make(), "circle", None)
    if made.discrete:
        y = np.arange(2000.0 if made.counts else max(case.responses) + 1)
        return y, np.ones(y.shape)
    if circle:
        return np.arange(2000) * circle / 2000, np.full(2000, circle / 2000)
    u, step = np.linspace(-100, 25, 12_001, retstep=True)
    if min(case.responses) > 0:
        return np.exp(u), np.exp(u) * step
    u = np.linspace(-25, 25, 12_001)
    return eta + np.sinh(u), np.cosh(u) * (u[1] - u[0])


@plain
@in_double
def test_mean_is_the_inverse_link(case: FamilyCase) -> None:
    law = case.make()(ETA, case.hyper, DT)
    np.testing.assert_allclose(law.mean, case.mean(ETA), rtol=1e-9)
    np.testing.assert_allclose(np.broadcast_to(law.variance, ETA.shape), case.law(case.mean(ETA)).var(), rtol=1e-6, atol=1e-12)


@plain
@in_double
def test_level_inverts_the_mean(case: FamilyCase) -> None:
    eta = np.array([-5.0, -1.0, 0.0, 1.2, 2.5])
    shift = np.log1p(-case.hyper["zero_share"]) if "zero_share" in case.hyper else 0.0  # a learned share is not known to level
    np.testing.assert_allclose(case.make().level(case.mean(eta)), eta + shift, rtol=1e-9, atol=1e-9)
    edges = case.make().level(np.array([0.0, 1.0]))
    assert np.isfinite(edges).all()


@every_family
@in_double
def test_log_density_leaves_out_terms_in_the_response_alone(case: FamilyCase) -> None:
    made = case.make()
    eta, y = np.meshgrid(ETA[1:-1], case.responses, indexing="ij")
    left, at = [], predictor(case, eta)
    for factor in (1.0, 2.0):
        hyper = {name: factor * value for name, value in case.hyper.items()}
        left.append(np.asarray(made(at, hyper, DT).log_prob(y) - made.log_density(at, y, hyper, DT)))
    np.testing.assert_allclose(left, np.broadcast_to(left[0][0], (2, *eta.shape)), rtol=1e-9, atol=1e-7)


@every_family
@in_double
def test_learned_parameters_are_declared(case: FamilyCase) -> None:
    declared = case.make().hyper("spikes", jnp.asarray([0.5, 2.0]))
    assert set(declared) == set(case.hyper)
    for name, (law, alone) in declared.items():
        assert alone
        assert law.event_shape == np.shape(case.hyper[name])
        assert np.isfinite(law.log_prob(case.hyper[name])).all()


@every_family
@in_double
def test_neurons_have_learned_parameters_of_their_own(case: FamilyCase) -> None:
    """Row by neuron, and draw by neuron by row: the shapes of the story and of the streams over draws."""
    made, rng = case.make(), np.random.default_rng(0)
    density = jax.jit(lambda e, y, h: made(e, h, DT).log_prob(y))
    y, eta = rng.choice(case.responses, (5, 2)), predictor(case, rng.normal(size=(5, 2)))
    twice = {name: np.stack([value, 1.5 * np.asarray(value)]) for name, value in case.hyper.items()}
    both = np.asarray(density(eta, y, twice))
    for n in range(2):
        np.testing.assert_allclose(both[:, n], density(eta[:, n], y[:, n], {name: value[n] for name, value in twice.items()}), rtol=1e-12)
    eta, drawn = np.stack([np.swapaxes(eta, 0, 1)] * 2), {name: np.stack([value, value])[:, :, None] for name, value in twice.items()}
    np.testing.assert_allclose(density(eta, y.T, drawn), np.stack([both.T] * 2), rtol=1e-12)
    mean, rate = jax.jit(lambda e, h: (made(e, h, DT).mean, made.rate(e, h, DT)))(eta, drawn)
    assert mean.shape == rate.shape == (2, 2, 5)


@in_double
def test_default_noise_follows_the_training_spread() -> None:
    law, _ = family.Gaussian().hyper("trace", jnp.asarray([0.5, 2.0]))["sigma"]
    np.testing.assert_allclose(law.log_prob(0.7), np.log(2) + stats.t.logpdf(0.7, 4, 0, [0.5, 2.0]), rtol=1e-12)


@plain
@in_double
def test_rate(case: FamilyCase) -> None:
    """Spikes/s: mean/dt for counts, -log(1 - p)/dt for bins that hold at most one; the mean of the others."""
    made, eta = case.make(), ETA[:-2]
    mean = case.mean(eta)
    binary = isinstance(made, family.Bernoulli)
    wanted = mean / DT if made.counts else -textbook(case, eta, np.zeros(eta.shape)) / DT if binary else mean
    np.testing.assert_allclose(made.rate(eta, case.hyper, DT), wanted, rtol=1e-9)


@binary
@in_double
def test_rate_does_not_depend_on_the_bin(case: FamilyCase) -> None:
    """Two half bins of a process are empty together as often as the whole bin."""
    made = case.make()
    half = made.level(np.array([0.1]))
    whole = made.level(np.array([1 - 0.9**2]))
    np.testing.assert_allclose(made.rate(half, {}, DT / 2), made.rate(whole, {}, DT), rtol=1e-9)


@plain
@in_double
def test_draws_follow_the_law(case: FamilyCase) -> None:
    """Their mean; the share of each of the first values, or the law's own uniform transform."""
    made, eta = case.make(), np.array([-1.0, 0.5, 2.0])
    draw = jax.jit(lambda e: made(e, case.hyper, DT).sample(jax.random.key(3), (4000,)))
    draws, exact = np.asarray(draw(eta)), case.law(case.mean(eta))
    assert np.all(np.abs(draws.mean(0) - exact.mean()) < 5 * exact.std() / np.sqrt(4000))
    assert np.isfinite(log_prob(case, eta, draws)).all()
    for n, law in enumerate(case.law(mean) for mean in case.mean(eta)):
        if not made.discrete:
            assert stats.kstest(draws[:, n], law.cdf).pvalue > 1e-3
        for value in range(4) if made.discrete else ():
            p = float(np.exp(law.logpmf(np.array(value))))
            assert abs((draws[:, n] == value).mean() - p) < 4.5 * np.sqrt(max(p * (1 - p), 1e-9) / 4000) + 1e-9


@pytest.mark.parametrize("made", [family.Poisson(), family.NegativeBinomial(0.1), family.ZeroInflatedPoisson(1e-9)])
@in_double
def test_a_rate_too_high_to_draw_is_nan_not_a_wrong_count(made: family.AbstractFamily) -> None:
    assert np.isnan(np.asarray(made(np.array([60.0]), {}, DT).sample(jax.random.key(0)))).all()


@every_family
def test_description_names_the_family(case: FamilyCase) -> None:
    made = case.make()
    assert made.describe().startswith(type(made).__name__)
    assert case.make() == made
