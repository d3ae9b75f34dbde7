"""The regularised horseshoe: the published prior of Piironen & Vehtari (2017), and where it is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from registry import place
from scipy import stats

import bayesglm as bg
from bayesglm import basis, prior
from bayesglm._double import in_double

MONTE_CARLO = 0.03  # relative


def resolved(expected=3.0, shape=(20, 5), **fields):
    return prior.Horseshoe(expected, **fields).resolve(place(shape))


def sd(local, scale, slab, shape=(20, 5)):
    hyper = {"local": np.full(shape, local), "scale": scale, "slab": slab}
    return float(resolved(shape=shape).width(hyper, np.ones(shape, bool))[0, 0])


@in_double
def test_small_weights_see_the_horseshoe_and_large_ones_the_slab():
    assert sd(0.5, 0.01, 1.0) == pytest.approx(0.005, rel=1e-4)
    assert sd(1e6, 0.01, 1.44) == pytest.approx(1.2, rel=1e-4)
    assert sd(200.0, 0.01, 4.0) == pytest.approx(np.sqrt(2.0))
    assert np.isfinite([sd(1e250, 1e10, 1.0), sd(1e-250, 1e-20, 1.0)]).all()


def test_its_global_scale_is_as_published():
    """tau0 = p0 / (P - p0) sigma / sqrt(n), section 3.3."""
    law, alone = resolved(3.0, sigma=2.0).hyper("w")["w_scale"]
    assert alone
    assert float(law.scale) == pytest.approx(3 / 97 * 2 / np.sqrt(400))


@in_double
def test_the_expected_number_of_large_weights_is_the_one_asked_for():
    """E[sum of 1 - kappa_j] = p0 at tau = tau0, kappa_j = 1 / (1 + n tau^2 lambda_j^2 / sigma^2) for columns of unit sd."""
    made = resolved(3.0)
    local = np.asarray(made.hyper("w")["w_local"][0].sample(jax.random.key(0), (4000,)))
    tau = made.centre
    effective = (1 - 1 / (1 + 400 * tau**2 * local**2)).sum((1, 2)).mean()
    assert effective == pytest.approx(3.0, rel=MONTE_CARLO)


@in_double
def test_the_slab_makes_large_weights_student_t():
    """c^2 ~ InverseGamma(df/2, df s^2/2): c z is Student-t with df degrees of freedom and scale s."""
    law = resolved(slab_scale=2.0, slab_df=4.0).hyper("w")["w_slab"][0]
    slab = np.asarray(law.sample(jax.random.key(1), (40_000,)))
    assert np.median(slab) == pytest.approx(4.0 * 2.0**2 / stats.chi2(4).median(), rel=MONTE_CARLO)
    assert (1 / slab).mean() == pytest.approx(1 / 4.0, rel=MONTE_CARLO)


@pytest.mark.parametrize("method", ["map", "laplace"])
def test_modes_and_gaussians_are_refused_by_name(method):
    data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.3, (200, 3)))
    model = bg.GLM(bg.Baseline() + bg.Coupling(basis.Lags(span=0.03), prior.Horseshoe(1)))
    with pytest.raises(ValueError, match=r"coupling.*(NUTS|nuts)"):
        bg.fit(model, data, method, progress=False)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: prior.Horseshoe(0), "expected_nonzero=0.*positive"),
        (lambda: prior.Horseshoe(3, slab_scale=-1.0), "slab_scale"),
        (lambda: prior.Horseshoe(3, sigma=np.inf), "sigma"),
        (lambda: resolved(100), "100 weight.*fewer"),
        (lambda: prior.Horseshoe(3).hyper("w"), "not resolved"),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.slow
def test_it_finds_the_weights_that_matter():
    """Four effects among forty columns: every one outside zero's neighbourhood, and the others nearly zero."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(600, 40))
    truth = np.zeros(40)
    truth[[3, 11, 20, 38]] = [0.8, -0.6, 0.5, -0.9]
    data = bg.recording(dt=0.01, x=x, y=x @ truth + rng.normal(size=600))
    model = bg.GLM(bg.Baseline() + bg.Linear("x", prior.Horseshoe(4)), bg.family.Gaussian(), "y")
    fit = bg.fit(model, data, bg.method.NUTS(num_samples=500), progress=False)
    w = fit.posterior["x"].values.reshape(-1, 40)
    low, high = np.quantile(w, [0.05, 0.95], axis=0)
    np.testing.assert_array_equal((low > 0) | (high < 0), truth != 0)
    assert np.abs(w.mean(0)[truth == 0]).max() < 0.05
