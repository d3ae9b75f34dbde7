"""Smooth: a penalty on differences of neighbouring weights, whose scale is a weight's prior standard deviation."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest
from registry import place

import bayesglm as bg
from bayesglm import basis, prior

EXACT = 1e-8  # relative, of quadratic forms whose condition number is 1e4
LINE = basis.BSpline(9, span=0.1).resolve_lags(0.01, 0)
CIRCLE = basis.CyclicBSpline(8, period=360.0)


def covariance(*bases: basis.AbstractBasis, order: int = 2, ridge: float = 0.1, lead: tuple[int, ...] = ()) -> np.ndarray:
    """Prior covariance of the weights at scale one."""
    shape = (*lead, *(part.n_basis for part in bases))
    root = prior.Smooth(1.0, order, ridge).resolve(place(shape, *bases)).rotation()
    return root @ root.T


def differences(n: int, order: int, cyclic: bool) -> np.ndarray:
    """Difference matrix written out, one row a difference."""
    weights = {1: [-1, 1], 2: [1, -2, 1]}[order]
    out = np.zeros((n if cyclic else n - order, n))
    for i in range(len(out)):
        for k, weight in enumerate(weights):
            out[i, (i + k) % n] += weight
    return out


def smallest(penalty: np.ndarray) -> float:
    values = np.linalg.eigvalsh(penalty)
    return values[values > 1e-9][0]


def trends(n: int, order: int, cyclic: bool) -> np.ndarray:
    """Orthonormal basis of what differences do not see: constants, and straight lines where there are ends."""
    columns = [np.ones(n)] + ([np.arange(n)] if order == 2 and not cyclic else [])
    return np.linalg.qr(np.stack(columns, 1))[0]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("functions", "cyclic"), [(LINE, False), (CIRCLE, True), (basis.OneHot([0.0, 0.1, 0.4, 2.0]), False)])
def test_the_penalty_is_on_differences_and_its_null_space(functions, cyclic, order):
    """w' Q w = (|D w|^2 / mu + ridge |trend of w|^2) times one number, for any w."""
    n, ridge = functions.n_basis, 0.3
    step, free = differences(n, order, cyclic), trends(n, order, cyclic)
    stated = step.T @ step / smallest(step.T @ step) + ridge * free @ free.T
    found = np.linalg.inv(covariance(functions, order=order, ridge=ridge))
    np.testing.assert_allclose(found / found[0, 0], stated / stated[0, 0], rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("bases", [(LINE,), (CIRCLE,), (LINE, CIRCLE), (LINE * CIRCLE,), (basis.Fourier(4, period=1.0),)])
def test_scale_is_the_sd_of_a_typical_weight(bases, order):
    variance = np.diag(covariance(*bases, order=order))
    assert np.exp(0.5 * np.log(variance).mean()) == pytest.approx(1.0)


def test_ridge_says_how_free_the_level_is():
    """At ridge 0.1 a constant is as likely as the smoothest bend of 1/sqrt(10) its size; at 1 both are alike."""
    for ridge in (0.1, 1.0):
        found = covariance(CIRCLE, ridge=ridge)
        level = np.ones(8) / np.sqrt(8)
        bent = np.eye(8) - np.outer(level, level)
        assert level @ found @ level / np.linalg.eigvalsh(bent @ found @ bent).max() == pytest.approx(1 / ridge)


@pytest.mark.parametrize("order", [1, 2])
def test_it_means_the_same_on_any_number_of_functions(order):
    """Correlation of two weights at a given part of the range, on 11 and on 51 functions."""

    def correlation(n):
        found = covariance(basis.BSpline(n, bounds=(0, 1)), order=order)
        sd = np.sqrt(np.diag(found))
        at = [round(share * (n - 1)) for share in (0.0, 0.3, 0.6, 1.0)]
        return (found / sd / sd[:, None])[np.ix_(at, at)]

    np.testing.assert_allclose(correlation(11), correlation(51), atol=0.06)


def test_two_axes_have_a_sum_of_penalties():
    """Space and lag: the roughness of every row and of every column, each in its own unit."""
    n, m, ridge = LINE.n_basis, CIRCLE.n_basis, 0.1
    down, across = differences(n, 2, False), differences(m, 2, True)
    rng = np.random.default_rng(0)
    found = np.linalg.inv(covariance(LINE, CIRCLE, ridge=ridge))
    ratio = []
    for w in rng.normal(size=(4, n, m)):
        rough = (down @ w) ** 2
        rough = rough.sum() / smallest(down.T @ down) + ((w @ across.T) ** 2).sum() / smallest(across.T @ across)
        trend = trends(n, 2, False).T @ w @ trends(m, 2, True)
        ratio.append(w.ravel() @ found @ w.ravel() / (rough + ridge * (trend**2).sum()))
    np.testing.assert_allclose(ratio, ratio[0], rtol=EXACT)


def test_a_product_is_two_axes():
    np.testing.assert_allclose(covariance(LINE * CIRCLE), covariance(LINE, CIRCLE))
    np.testing.assert_allclose(covariance(LINE, lead=(3,)), covariance(LINE))


def test_harmonics_are_penalised_by_their_frequency():
    """The integral of the squared second derivative of a sine grows with its frequency to the fourth."""
    variance = np.diag(covariance(basis.Fourier(3, period=360.0)))
    np.testing.assert_allclose(variance[::2] / variance[0], [1, 2.0**-4, 3.0**-4])
    np.testing.assert_allclose(variance[::2], variance[1::2])


def test_the_optimum_is_penalised_least_squares():
    """A Gaussian response with known noise: (Z'Z/sigma^2 + Q/scale^2) w = Z'y/sigma^2, for every column's filter."""
    rng = np.random.default_rng(1)
    rows, sigma, scale, features = 400, 0.7, 0.4, 2
    x = rng.normal(size=(rows, features))
    data = bg.recording(dt=0.01, x=x, y=rng.normal(size=rows) + x[:, 0])
    term = bg.Stimulus("x", basis.BSpline(6, span=0.08), prior.Smooth(scale), edge="zero")
    model = bg.GLM(bg.Baseline(prior.Gaussian(3.0)) + term, bg.family.Gaussian(sigma), "y").resolve(data)
    design = model.design(data)
    columns = np.asarray(design.shared["x"]).reshape(rows, -1)
    z = np.concatenate([columns, np.ones((rows, 1))], 1)
    precision = np.zeros((13, 13))
    step = differences(6, 2, False)
    free = trends(6, 2, False)
    stated = step.T @ step / smallest(step.T @ step) + 0.1 * free @ free.T
    stated *= np.exp(np.log(np.diag(np.linalg.inv(stated))).mean())
    precision[:12, :12] = np.kron(np.eye(features), stated) / scale**2
    precision[12, 12] = 1 / 9
    wanted = np.linalg.solve(z.T @ z / sigma**2 + precision, z.T @ np.asarray(data["y"]) / sigma**2)
    fit = bg.fit(model, data, "map", progress=False)
    found = np.append(fit.posterior["x"].values.ravel(), fit.posterior["baseline"].values.ravel())
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)


def test_a_smooth_curve_is_found_better_than_by_independent_weights():
    rng = np.random.default_rng(2)
    angle = rng.uniform(0, 360, 4000)
    truth = lambda at: 1.2 * np.cos(np.deg2rad(at - 100))  # noqa: E731
    data = bg.recording(dt=0.02, spikes=rng.poisson(0.1 * np.exp(truth(angle)))[:, None], heading=bg.angle(angle, 360))
    grid = np.arange(0, 360, 5.0)
    wrong = {}
    for name, law in (("smooth", prior.Smooth()), ("gaussian", prior.Gaussian(dist.HalfNormal(1.0)))):
        model = bg.GLM(bg.Baseline() + bg.Tuning("heading", basis.CyclicBSpline(24), law))
        fit = bg.fit(model, data, "map", progress=False)
        curve = fit.model.terms["heading"].basis.kernels(grid) @ fit.posterior["heading"].values.ravel()
        wrong[name] = np.sqrt(np.mean((curve - curve.mean() - truth(grid)) ** 2))
    assert wrong["smooth"] < 0.7 * wrong["gaussian"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: prior.Smooth(order=3), "1 .*2"),
        (lambda: prior.Smooth(ridge=0.0), "improper"),
        (lambda: prior.Smooth().resolve(place((4,), name="pose")), "'pose'.*not those of a basis.*prior.Gaussian"),
        (lambda: prior.Smooth().resolve(place((2,), basis.BSpline(2, order=2, bounds=(0, 1)))), "2 function.*order 2"),
        (lambda: prior.Smooth().resolve(place((3,), basis.OneHot(["rest", "run", "sleep"]))), "no order"),
        (lambda: prior.Smooth().resolve(place((5,), LINE)), "do not make up"),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(ValueError, match=said):
        make()
