"""Overdispersed and zero-inflated counts: limits, published forms, recovery."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import special, stats

import bayesglm as bg
from bayesglm import family
from bayesglm._double import in_double
from bayesglm.family._densities import log_rising

DT = 0.01
ETA = np.array([-700.0, -30.0, -2.0, 0.3, 4.0, 40.0])
COUNTS = np.array([0.0, 1.0, 2.0, 17.0, 1000.0])


@pytest.mark.parametrize("dispersion", [0.0, 1e-300, 1e-12, 1e-8, 1e-3, 0.1, 1.0, 37.0, 1e4])
@in_double
def test_the_ratio_of_gammas_is_its_product(dispersion: float) -> None:
    """Gamma(y + 1/a) a^y / Gamma(1/a) = prod over k < y of (1 + a k), and its derivatives in a."""
    k = [np.arange(int(y)) for y in COUNTS]
    wanted = np.array([np.log1p(dispersion * each).sum() for each in k])
    np.testing.assert_allclose(log_rising(dispersion, COUNTS), wanted, rtol=1e-12, atol=1e-13)
    found = lambda a: log_rising(a, COUNTS)  # noqa: E731
    slope = np.array([(each / (1 + dispersion * each)).sum() for each in k])
    np.testing.assert_allclose(jax.jacfwd(found)(dispersion), slope, rtol=1e-9, atol=1e-9)
    bend = -np.array([((each / (1 + dispersion * each)) ** 2).sum() for each in k])
    np.testing.assert_allclose(jax.jacfwd(jax.jacfwd(found))(dispersion), bend, rtol=1e-7, atol=1e-6)


@in_double
def test_negative_binomial_goes_to_poisson_smoothly() -> None:
    """The density, and its slope in the dispersion: d log p/da at zero = ((y - m)^2 - y)/2 (the score test of overdispersion)."""
    eta, y = (side.ravel() for side in np.meshgrid(np.array([-30.0, -2.0, 0.3, 3.0]), np.array([0.0, 1.0, 5.0, 17.0]), indexing="ij"))
    poisson = np.asarray(family.Poisson()(eta, {}, DT).log_prob(y))
    density = lambda a: family.NegativeBinomial()(eta, {"dispersion": a}, DT).log_prob(y)  # noqa: E731
    for a in (0.0, 1e-300, 1e-12):
        np.testing.assert_allclose(density(jnp.asarray(a)), poisson, rtol=1e-9)
        np.testing.assert_allclose(jax.jacfwd(density)(a), ((y - np.exp(eta)) ** 2 - y) / 2, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("phi", [1e8, 1e5, 30.0, 1.0, 0.01])
@in_double
def test_negative_binomial_at_any_size(phi: float) -> None:
    """By the product form; SciPy's own loses seven digits at phi = 1e8."""
    eta, y = np.meshgrid(ETA[1:], COUNTS, indexing="ij")
    rising = np.array([np.log1p(np.arange(int(k)) / phi).sum() for k in COUNTS])
    share = np.where(eta - np.log(phi) > -40, np.logaddexp(0, eta - np.log(phi)), np.exp(eta - np.log(phi)))
    share = np.where(eta - np.log(phi) < -10, np.log1p(np.exp(np.minimum(eta - np.log(phi), 0))), share)
    wanted = rising + y * (eta - share) - phi * share - special.gammaln(y + 1)
    found = np.asarray(family.NegativeBinomial(1 / phi)(eta, {}, DT).log_prob(y))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@in_double
def test_dispersion_has_finite_derivatives_everywhere() -> None:
    eta, dispersion, y = (side.ravel() for side in np.meshgrid(ETA, [1e-300, 1e-12, 1e-3, 1.0, 1e6], [0.0, 3.0, 200.0]))
    density = lambda x, y: family.NegativeBinomial().log_density(x[1], y, {"dispersion": x[0]}, DT)  # noqa: E731
    for found in (jax.grad(density), jax.hessian(density)):
        values = np.asarray(jax.jit(jax.vmap(found))(np.stack([dispersion, eta], 1), y))
        assert np.isfinite(values).all()


@pytest.mark.parametrize("dispersion", [1e-9, 1e-3, 0.7, 200.0])
@in_double
def test_the_engines_form_is_the_density(dispersion: float) -> None:
    """With the table of the training counts: differences of the log density, and its derivatives to the second order."""
    y = np.array([0, 1, 2, 17, 60], np.uint8)
    made = family.NegativeBinomial().resolve("spikes", y)
    quick = lambda x: made.log_density(x[1:], y.astype(float), {"dispersion": jnp.exp(x[0])}, DT)  # noqa: E731
    plain = lambda x: made(x[1:], {"dispersion": jnp.exp(x[0])}, DT).log_prob(y)  # noqa: E731
    tell = lambda f: jax.jit(lambda x: (f(x), jax.jacobian(f)(x), jax.hessian(lambda z: f(z).sum())(x)))  # noqa: E731
    for at in (np.array([-3.0, -0.5, 0.0, 2.0, 5.0]), np.full(5, -np.log(dispersion)), np.full(5, 1.0)):
        x = np.append(np.log(dispersion), at)
        (value, *found), (whole, *wanted) = tell(quick)(x), tell(plain)(x)
        np.testing.assert_allclose(value, whole + special.gammaln(y + 1.0), rtol=1e-9, atol=1e-9)
        for one, two in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-7, atol=1e-6)
    assert np.isnan(made.log_density(0.0, 500.0, {"dispersion": 0.5}, DT))  # a count beyond the table is never silently another


@in_double
def test_negative_binomial_draws_are_overdispersed() -> None:
    """At phi = 2 and, where they are Poisson's, at phi = 1e9."""
    law = family.NegativeBinomial()(np.array([0.5, 2.0, 2.0]), {"dispersion": np.array([0.5, 0.5, 1e-9])}, DT)
    draws = np.asarray(law.sample(jax.random.key(0), (20_000,)))
    np.testing.assert_allclose(draws.var(0), law.variance, rtol=0.06)
    assert float(law.variance[2]) == pytest.approx(np.exp(2.0))


@in_double
def test_zero_inflation_at_its_edges() -> None:
    """Without extra zeros it is Poisson; with nothing else, log P(0) = 0."""
    y, eta = np.array([0.0, 1.0, 4.0]), np.array(0.7)
    few = family.ZeroInflatedPoisson().log_density(eta, y, {"zero_share": 1e-300}, DT)
    np.testing.assert_allclose(few, family.Poisson().log_density(eta, y, {}, DT), rtol=1e-12)
    assert float(family.ZeroInflatedPoisson().log_density(eta, 0.0, {"zero_share": 1 - 1e-16}, DT)) == pytest.approx(0.0, abs=1e-12)


@in_double
def test_default_priors() -> None:
    """HalfNormal(1) on 1/phi, and Beta(1, 9) on the share of extra zeros."""
    (law, _) = family.NegativeBinomial().hyper("spikes")["dispersion"]
    assert float(law.log_prob(0.7)) == pytest.approx(stats.halfnorm.logpdf(0.7))
    (law, _) = family.ZeroInflatedPoisson().hyper("spikes")["zero_share"]
    assert float(law.log_prob(0.2)) == pytest.approx(stats.beta.logpdf(0.2, 1, 9))
    own = dist.Gamma(2.0, 4.0)
    assert family.NegativeBinomial(own).hyper("spikes") == {"dispersion": (own, True)}


def overdispersed(rows: int = 4000, dispersion: float = 0.8, seed: int = 0) -> bg.recording:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    mean = np.exp(-0.5 + 0.6 * x)[:, None] * np.array([1.0, 2.0])
    return bg.recording(dt=DT, spikes=rng.negative_binomial(1 / dispersion, 1 / (1 + dispersion * mean)), x=x)


def test_a_planted_dispersion_is_recovered() -> None:
    """Within its band, beside the truth of the weights; the Poisson band is too narrow."""
    data = overdispersed()
    terms = bg.Baseline() + bg.Linear("x")
    fit = bg.fit(bg.GLM(terms, family.NegativeBinomial()), data, bg.method.Laplace(num_samples=1000), progress=False)
    low, high = fit.posterior["dispersion"].quantile([0.005, 0.995], ("chain", "draw")).values
    assert fit.posterior["dispersion"].dims == ("chain", "draw", "neuron")
    assert ((low < 0.8) & (high > 0.8)).all()
    assert (high - low < 0.5).all()
    assert np.abs(fit.posterior["x"].mean(("chain", "draw")) - 0.6).max() < 0.1
    plain = bg.fit(bg.GLM(terms), data, bg.method.Laplace(num_samples=1000), progress=False)
    assert (fit.posterior["x"].std(("chain", "draw")) > 1.15 * plain.posterior["x"].std(("chain", "draw"))).all()
