"""Heavy tails, positive responses, angles: published forms, limits, recovery."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import special, stats

import bayesglm as bg
from bayesglm import family
from bayesglm._double import in_double
from bayesglm.family._densities import bessel_ratio, log_bessel

DT = 0.01
ANGLES = np.linspace(0, 2 * np.pi, 7)


@in_double
def test_student_t_goes_to_the_gaussian() -> None:
    y = np.array([-2.0, 0.1, 3.0])
    found = family.StudentT(1e9, 0.7).log_density(0.4, y, {}, DT) - 0.5 * np.log(np.pi)
    np.testing.assert_allclose(found, stats.norm.logpdf(y, 0.4, 0.7), atol=1e-8)


@in_double
def test_gamma_of_shape_one_is_exponential() -> None:
    y = np.array([0.01, 1.0, 30.0])
    np.testing.assert_allclose(family.Gamma(shape=1.0)(0.5, {}, DT).log_prob(y), stats.expon.logpdf(y, scale=np.exp(0.5)), rtol=1e-12)


@in_double
def test_default_priors() -> None:
    (law, _) = family.Gamma().hyper("power")["shape"]
    assert float(law.log_prob(3.0)) == pytest.approx(stats.lognorm.logpdf(3.0, 1.5))
    (law, _) = family.StudentT().hyper("trace", 2.0)["sigma"]
    assert float(law.log_prob(3.0)) == pytest.approx(np.log(2) + stats.t.logpdf(3.0, 4, 0, 2.0))


@in_double
def test_bessel_functions_and_their_derivatives() -> None:
    """log I0 of kappa^2, and I1/I0 over kappa, from zero to a million, against SciPy and by differences."""
    kappa = np.array([0.0, 1e-8, 1e-3, 0.3, 0.499, 0.501, 2.0, 40.0, 700.0, 1e6])
    np.testing.assert_allclose(log_bessel(kappa**2), np.log(special.i0e(kappa)) + kappa, rtol=1e-12, atol=1e-15)
    ratio = np.where(kappa > 0, special.i1e(kappa) / special.i0e(kappa) / np.where(kappa > 0, kappa, 1), 0.5)
    np.testing.assert_allclose(bessel_ratio(kappa**2), ratio, rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(jax.grad(log_bessel))(kappa**2), ratio / 2, rtol=1e-13)
    for square in (0.0, 1e-6, 0.2, 0.249999, 0.250001, 3.0, 1e4):
        step = 1e-4 * max(square, 0.01)
        at = lambda s: float(bessel_ratio(np.asarray(s)))  # noqa: E731
        middle = max(square, step)
        assert float(jax.grad(bessel_ratio)(middle)) == pytest.approx((at(middle + step) - at(middle - step)) / (2 * step), rel=1e-5)
        third = jax.grad(jax.grad(bessel_ratio))
        assert np.isfinite(float(third(square)))
    near, far = (float(jax.grad(jax.grad(bessel_ratio))(s)) for s in (0.25 - 1e-9, 0.25 + 1e-9))
    assert near == pytest.approx(far, rel=1e-6)  # the series meets the recurrence


@pytest.mark.parametrize("eta", [(0.0, 0.0), (1e-9, 0.0), (0.3, -0.2), (-4.0, 3.0), (300.0, -630.0)])
@in_double
def test_von_mises_is_scipys(eta: tuple[float, float]) -> None:
    kappa, direction = np.hypot(*eta), np.arctan2(eta[1], eta[0])
    law = family.VonMises()(np.array(eta), {}, DT)
    wanted = stats.vonmises.logpdf(ANGLES, max(kappa, 1e-12), direction)
    np.testing.assert_allclose(law.log_prob(ANGLES), wanted, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(law.concentration, kappa, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(law.variance, 1 - special.i1e(kappa) / special.i0e(kappa), rtol=1e-9, atol=1e-12)
    density = lambda e: family.VonMises().log_density(e, ANGLES, {}, DT)  # noqa: E731
    for found in (density(np.array(eta)), jax.jacfwd(density)(np.array(eta)), jax.jacfwd(jax.jacrev(density))(np.array(eta))):
        assert np.isfinite(found).all()


@in_double
def test_von_mises_is_concave_in_its_natural_parameters() -> None:
    hessian = jax.vmap(jax.hessian(lambda e: family.VonMises().log_density(e, 1.0, {}, DT)))
    found = np.asarray(hessian(np.random.default_rng(0).normal(size=(200, 2)) * np.logspace(-3, 2.5, 200)[:, None]))
    assert (np.linalg.eigvalsh(found) < 0).all()


@in_double
def test_von_mises_speaks_the_responses_own_unit() -> None:
    """Densities are per degree, draws and directions lie in [0, 360)."""
    eta = np.array([[1.0, 2.0], [-3.0, -0.5]])
    radians, degrees = family.VonMises(), family.VonMises(360.0)
    y = np.array([10.0, 350.0])
    shift = np.log(2 * np.pi / 360)
    np.testing.assert_allclose(degrees(eta, {}, DT).log_prob(y), radians(eta, {}, DT).log_prob(np.radians(y)) + shift, rtol=1e-12)
    np.testing.assert_allclose(degrees(eta, {}, DT).mean, np.degrees(np.arctan2(eta[:, 1], eta[:, 0])) % 360, rtol=1e-12)
    draws = np.asarray(degrees(eta, {}, DT).sample(jax.random.key(0), (1000,)))
    assert (draws >= 0).all() and (draws < 360).all()
    np.testing.assert_allclose(degrees(eta, {}, DT).log_prob(y + 360), degrees(eta, {}, DT).log_prob(y), rtol=1e-9)


@pytest.mark.parametrize("kappa", [0.0, 0.02, 1.5, 60.0, 2000.0])
@in_double
def test_von_mises_draws(kappa: float) -> None:
    """Kolmogorov-Smirnov against SciPy's distribution, cut opposite to the mean direction."""
    law = family.VonMises()(kappa * np.array([np.cos(2.0), np.sin(2.0)]), {}, DT)
    draws = (np.asarray(law.sample(jax.random.key(5), (3000,))) - 2.0 + np.pi) % (2 * np.pi) - np.pi
    exact = stats.uniform(-np.pi, 2 * np.pi) if kappa == 0 else stats.vonmises(kappa)
    assert stats.kstest(draws, exact.cdf).pvalue > 1e-3


@in_double
def test_levels_are_of_maximum_likelihood() -> None:
    """The mean resultant length is I1(kappa)/I0(kappa), in the mean direction; NaN is left out."""
    y = np.append(np.random.default_rng(2).vonmises(1.0, 3.0, 400), np.nan)
    a, b = family.VonMises().levels(y)
    mean = np.exp(1j * y[:-1]).mean()
    kappa = np.hypot(a, b)
    assert special.i1e(kappa) / special.i0e(kappa) == pytest.approx(abs(mean))
    assert np.arctan2(b, a) == pytest.approx(np.angle(mean))
    np.testing.assert_allclose(family.VonMises(360.0).levels(np.degrees(y)), (a, b), rtol=1e-9)
    assert np.isfinite(family.VonMises().levels(np.zeros(5))).all()
    np.testing.assert_allclose(family.VonMises().levels(np.array([0.0, np.pi])), 0.0, atol=1e-9)


def test_period_is_the_columns() -> None:
    assert family.VonMises().resolve("heading", np.zeros(3), 360.0).circle == 360.0
    assert family.VonMises(360).resolve("heading", np.zeros(3)).circle == 360.0
    with pytest.raises(ValueError, match=r"period=180\).*has period 360"):
        family.VonMises(180.0).resolve("heading", np.zeros(3), 360.0)


def test_student_t_is_not_pulled_by_outliers() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = 1 + 0.5 * x + 0.3 * rng.standard_t(4, size=400)
    y[::40] += 60 * x[::40]
    data = bg.recording(rows="trial", y=y, x=x)
    terms = bg.Baseline() + bg.Linear("x")
    slopes = {
        made: float(bg.fit(bg.GLM(terms, made, response="y"), data, "map", progress=False).posterior["x"].squeeze())
        for made in (family.Gaussian(), family.StudentT())
    }
    assert abs(slopes[family.StudentT()] - 0.5) < 0.1 < abs(slopes[family.Gaussian()] - 0.5)


def test_a_planted_shape_is_recovered() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=1500)
    data = bg.recording(rows="trial", latency=rng.gamma(3.0, np.exp(-1 + 0.4 * x) / 3.0), x=x)
    fit = bg.fit(bg.GLM(bg.Baseline() + bg.Linear("x"), family.Gamma(), response="latency"), data, bg.method.Laplace(num_samples=1000), progress=False)
    for name, truth in {"shape": 3.0, "x": 0.4, "baseline": -1.0}.items():
        low, high = fit.posterior[name].quantile([0.005, 0.995]).values
        assert low < truth < high, name


def test_planted_natural_parameters_are_recovered() -> None:
    """A direction that turns with x and sharpens with z."""
    rng = np.random.default_rng(4)
    x, z = rng.normal(size=(2, 1200))
    eta = np.stack([1.0 + 0.8 * z, 0.3 + 0.9 * x], 1)
    heading = np.degrees(rng.vonmises(np.arctan2(eta[:, 1], eta[:, 0]), np.hypot(*eta.T))) % 360
    data = bg.recording(rows="trial", x=x, z=z, heading=bg.angle(heading, period=360))
    model = bg.GLM(bg.Baseline() + bg.Linear("x") + bg.Linear("z"), family.VonMises(), response="heading")
    fit = bg.fit(model, data, bg.method.Laplace(num_samples=1000), progress=False)
    for name, truth in {"baseline": (1.0, 0.3), "x": (0.0, 0.9), "z": (0.8, 0.0)}.items():
        assert fit.posterior[name].dims == ("chain", "draw", "component")
        low, high = fit.posterior[name].quantile([0.001, 0.999], ("chain", "draw")).values
        assert ((low < truth) & (truth < high)).all(), name
        assert (high - low < 0.8).all(), name
