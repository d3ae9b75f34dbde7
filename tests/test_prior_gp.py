"""GaussianProcess: its covariance against the kernel's, on a line, around a circle, over two axes and over classes."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest
from registry import place

import bayesglm as bg
from bayesglm import basis, prior
from bayesglm._double import in_double

EXACT, NEARLY = 1e-5, 0.08  # around a circle; on a line, of the covariance's norm, for lengthscales that its default prior favours
KERNELS = {
    "squared_exponential": lambda r: np.exp(-0.5 * r**2),
    "matern32": lambda r: (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r),
    "matern52": lambda r: (1 + np.sqrt(5) * r + 5 / 3 * r**2) * np.exp(-np.sqrt(5) * r),
}
LAGS = basis.Lags(span=0.12).resolve_lags(0.01, 1)
CIRCLE = basis.CyclicBSpline(9, period=360.0)
BUMPS = basis.RaisedCosine(8, span=0.2).resolve_lags(0.01, 1)


def covariance(made: prior.GaussianProcess, hyper: dict) -> np.ndarray:
    """Covariance of one filter's weights."""
    root = made.rotation()
    sd = np.asarray(made.width(hyper, np.ones(len(root), bool) if len(made.shape) == 1 else np.ones(made.shape, bool))).ravel()
    return root * sd**2 @ root.T


def wrapped(kernel: str, distance: np.ndarray, period: float, lengthscale: float) -> np.ndarray:
    images = period * np.arange(-200, 201)
    found = KERNELS[kernel](np.abs(distance[..., None] + images) / lengthscale).sum(-1)
    return found / KERNELS[kernel](np.abs(images) / lengthscale).sum()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lengthscale", [45.0, 90.0, 400.0])
@in_double
def test_around_a_circle_it_is_the_process(kernel, lengthscale):
    made = prior.GaussianProcess(kernel=kernel).resolve(place((9,), CIRCLE))
    apart = 40.0 * (np.arange(9)[:, None] - np.arange(9))
    found = covariance(made, {"scale": 0.6, "lengthscale": lengthscale})
    np.testing.assert_allclose(found, 0.36 * wrapped(kernel, apart, 360.0, lengthscale), atol=EXACT)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("functions", [LAGS, basis.Lags(span=0.8).resolve_lags(0.01, 1), BUMPS])
@in_double
def test_on_a_line_it_is_nearly_the_process(kernel, functions):
    """From a tenth to three quarters of the range within 8 %, and within 16 % at twice the range."""
    x = functions.kernels(np.linspace(0, functions.span, 3001)) if functions is BUMPS else None
    x = functions.lags(0.01, 1) if x is None else np.linspace(0, functions.span, 3001) @ x / x.sum(0)
    made = prior.GaussianProcess(kernel=kernel).resolve(place((len(x),), functions))
    assert np.linalg.cond(made.rotation()) < 100
    for share, close in ((0.1, NEARLY), (0.2, NEARLY), (0.4, NEARLY), (0.75, NEARLY), (2.0, 2 * NEARLY)):
        stated = KERNELS[kernel](np.abs(x[:, None] - x) / (share * np.ptp(x)))
        found = covariance(made, {"scale": 1.0, "lengthscale": share * np.ptp(x)})
        assert np.linalg.norm(found - stated) < close * np.linalg.norm(stated)


@pytest.mark.parametrize("functions", [LAGS, BUMPS, basis.BSpline(6, bounds=(-1, 3)), CIRCLE, basis.OneHot([0.0, 0.1, 1.0])])
@in_double
def test_scale_is_the_sd_of_a_weight(functions):
    n = functions.n_basis
    made = prior.GaussianProcess().resolve(place((3, n), functions))
    for lengthscale in (1e-3, 0.05, 1.0, 500.0):
        variance = np.diag(covariance(made, {"scale": 2.0, "lengthscale": lengthscale}))
        assert np.sqrt(variance.mean()) == pytest.approx(2.0, rel=1e-6)


@in_double
def test_harmonics_have_the_spectrum_as_variances():
    """A process around a circle in its own Fourier series: Var of a harmonic falls as the kernel's spectral density."""
    made = prior.GaussianProcess(1.0, 60.0).resolve(place((6,), basis.Fourier(3, period=360.0)))
    variance = np.diag(covariance(made, {}))
    wanted = np.repeat(np.exp(-0.5 * (2 * np.pi * np.arange(1, 4) / 6) ** 2), 2)
    np.testing.assert_allclose(variance / variance[0], wanted / wanted[0], rtol=EXACT)


@in_double
def test_two_axes_have_a_product_and_two_lengthscales():
    shape = (2, 9, 12)
    made = prior.GaussianProcess().resolve(place(shape, CIRCLE, LAGS))
    law = made.hyper("x")["x_lengthscale"][0]
    assert law.shape() == (2,)
    np.testing.assert_allclose(np.exp(law.base_dist.loc), [45.0, 0.11 / 4])
    hyper = {"scale": np.array([1.0, 3.0]), "lengthscale": np.array([[60.0, 0.02], [90.0, 0.05]])}
    sd = np.asarray(made.width(hyper, np.ones((2, *shape), bool)))
    for n in range(2):
        parts = [prior.GaussianProcess(1.0, float(hyper["lengthscale"][n, a])).resolve(place((b.n_basis,), b)) for a, b in enumerate((CIRCLE, LAGS))]
        one = [np.asarray(part.width({}, np.ones(part.shape, bool))) for part in parts]
        np.testing.assert_allclose(sd[n], np.broadcast_to(hyper["scale"][n] * np.outer(*one), shape))
    flat = prior.GaussianProcess().resolve(place((108,), CIRCLE * basis.BSpline(12, bounds=(0, 1))))
    assert flat.rotation().shape == (108, 108) and flat.hyper("x")["x_lengthscale"][0].shape() == (2,)


@in_double
def test_several_predictors_have_the_same_process():
    made = prior.GaussianProcess(1.0, 0.03).resolve(place((2, 12), LAGS, several=3))
    sd = made.width({}, np.ones((2, 12, 3), bool))
    one = prior.GaussianProcess(1.0, 0.03).resolve(place((12,), LAGS)).width({}, np.ones(12, bool))
    np.testing.assert_allclose(sd, np.broadcast_to(one[:, None], (2, 12, 3)))


def helmert(classes: int) -> np.ndarray:
    full = np.linalg.qr(np.column_stack([np.ones(classes), np.eye(classes)[:, 1:]]))[0]
    return full[:, 1:]


@pytest.mark.parametrize("classes", [3, 8])
@in_double
def test_over_classes_neighbouring_targets_are_alike(classes):
    """Weights w = contrast v, v = R u sum to zero over classes; beyond that their covariance is the circle's, its mean taken out."""
    order = np.random.default_rng(0).permutation(classes)
    targets = 360.0 * order / classes + 22.5
    made = prior.GaussianProcess(1.0, 50.0, over="class", positions=targets, period=360.0).resolve(place((4,), several=classes - 1))
    contrast = helmert(classes)
    root = contrast @ made.class_rotation(contrast)
    sd = np.asarray(made.width({}, np.ones((4, classes - 1), bool)))
    found = root * sd[0] ** 2 @ root.T
    stated = wrapped("squared_exponential", targets[:, None] - targets, 360.0, 50.0)
    stated = stated - stated[0].mean()
    np.testing.assert_allclose(found / found[0, 0], stated / stated[0, 0], atol=EXACT)
    np.testing.assert_allclose(root.sum(0), 0.0, atol=1e-12)
    assert made.rotation() is None


def test_the_default_lengthscale_is_a_part_of_the_range():
    law = prior.GaussianProcess().resolve(place((12,), LAGS)).hyper("w")["w_lengthscale"][0]
    low, middle, high = (float(np.exp(law.loc + z * law.scale)) for z in (-1.645, 0, 1.645))
    assert middle == pytest.approx(0.11 / 4)
    assert low > 0.01 and high < 0.11
    given = prior.GaussianProcess(lengthscale=dist.InverseGamma(3.0, 0.1)).resolve(place((12,), LAGS)).hyper("w")
    assert isinstance(given["w_lengthscale"][0], dist.InverseGamma) and set(given) == {"w_scale", "w_lengthscale"}
    assert prior.GaussianProcess(1.0, 0.05).resolve(place((12,), LAGS)).hyper("w") == {}


def test_a_fit_learns_the_lengthscale():
    """Two stimuli, one with a smooth filter and one with a rough one."""
    rng = np.random.default_rng(5)
    lags = np.arange(16)
    smooth, rough = np.sin(lags / 4.0), rng.normal(size=16)
    x = rng.normal(size=(3000, 2))
    drive = sum(np.convolve(x[:, i], k)[:3000] for i, k in enumerate((smooth, rough)))
    data = bg.recording(dt=0.01, x=x[:, 0], z=x[:, 1], y=drive + rng.normal(size=3000))
    terms = [bg.Stimulus(name, basis.Lags(span=0.16), prior.GaussianProcess(kernel="matern52")) for name in ("x", "z")]
    fit = bg.fit(bg.GLM(bg.Baseline() + terms[0] + terms[1], bg.family.Gaussian(1.0), "y"), data, "laplace", progress=False)
    found = [float(fit.posterior[f"{name}_lengthscale"].median()) for name in ("x", "z")]
    assert found[0] > 2 * found[1]
    np.testing.assert_allclose(fit.posterior["x"].mean(("chain", "draw")).squeeze(), smooth, atol=0.1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: prior.GaussianProcess(kernel="matern"), "squared_exponential.*matern32"),
        (lambda: prior.GaussianProcess(lengthscale=-1.0), "positive"),
        (lambda: prior.GaussianProcess(lengthscale=dist.Normal(0.0, 1.0)), "positive numbers"),
        (lambda: prior.GaussianProcess(over="neuron"), "'basis' or 'class'"),
        (lambda: prior.GaussianProcess(period=360.0), "over='class'"),
        (lambda: prior.GaussianProcess(over="class"), "period="),
        (lambda: prior.GaussianProcess(over="class", period=1.0).resolve(place((3,))), "no classes"),
        (lambda: prior.GaussianProcess(over="class", period=8.0, positions=[0, 1, 2]).class_rotation(helmert(3)), "equally spaced"),
        (lambda: prior.GaussianProcess(1.0, (1.0, 2.0)).resolve(place((12,), LAGS)), "1 axis"),
        (lambda: prior.GaussianProcess().resolve(place((3,), basis.OneHot(["a", "b", "c"]))), "no order"),
        (lambda: prior.GaussianProcess().resolve(place((2,), basis.Table([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]], [0, 1, 2]))), "do not lie apart"),
        (lambda: prior.GaussianProcess().resolve(place((2,), basis.Exponential([1.0, 2.0]))), "span="),
        (lambda: prior.GaussianProcess().hyper("w"), "not resolved"),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(ValueError, match=said):
        make()
