"""The bases' functions against independent formulas."""

import numpy as np
import pytest
from scipy import interpolate

from bayesglm import basis
from bayesglm.basis import lag_kernels

EXACT = 1e-12
DECAYS = np.stack([np.exp(-np.arange(20) / 4), np.arange(20) / 19, np.cos(np.arange(20))], axis=1)
ANGLES = np.random.default_rng(0).uniform(-np.pi, np.pi, 400)


def test_raised_cosine_is_pillows_formula() -> None:
    n, span, offset = 6, 0.15, 0.01
    lags = np.linspace(0, span, 200)
    # Phases in units of a quarter turn, as in the paper: b_j = ½ cos(a log(x + c) − φ_j) + ½ within half a turn.
    a = np.pi / 2 * (n + 1) / np.log((1.05 * span + offset) / offset)
    expected = np.zeros((200, n))
    for j in range(n):
        phase = a * np.log(lags + offset) - a * np.log(offset) - j * np.pi / 2
        expected[:, j] = np.where(np.abs(phase) <= np.pi, np.cos(phase) / 2 + 0.5, 0)
    np.testing.assert_allclose(basis.RaisedCosine(n, span, offset=offset).kernels(lags), expected, atol=EXACT)


def test_raised_cosine_linear_is_a_row_of_squared_cosines() -> None:
    x = np.linspace(2, 5, 301)
    spacing = 3 / 4
    expected = np.zeros((301, 5))
    for j in range(5):
        steps = (x - 2 - j * spacing) / spacing
        expected[:, j] = np.cos(np.pi * steps / 4) ** 2 * (np.abs(steps) < 2)
    np.testing.assert_allclose(basis.RaisedCosineLinear(5, bounds=(2, 5)).kernels(x), expected, atol=EXACT)
    assert basis.RaisedCosineLinear(1, bounds=(2, 5)).kernels(np.array([3.5]))[0, 0] == 1


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 12])
def test_raised_cosine_linear_goes_round(n) -> None:
    made = basis.RaisedCosineLinear(n, period=360.0)
    x = np.linspace(0, 359, 360)
    kernels = made.kernels(x)
    assert made.periodic and np.linalg.matrix_rank(kernels) == n
    np.testing.assert_allclose(made.kernels(x - 720), kernels, atol=1e-10)
    np.testing.assert_allclose(made.kernels(np.arange(n) * 360 / n).diagonal(), 1)
    if n > 1:
        np.testing.assert_allclose(kernels.sum(axis=1), kernels[0].sum(), atol=1e-10)


def test_bounds_of_a_whole_turn_close_the_circle() -> None:
    whole = basis.RaisedCosineLinear(6, bounds=(-np.pi, np.pi)).resolve_values(ANGLES, 2 * np.pi)
    arc = basis.RaisedCosineLinear(6, bounds=(0, 1)).resolve_values(ANGLES, 2 * np.pi)
    assert whole.periodic and not arc.periodic
    np.testing.assert_allclose(whole.kernels(np.array([-np.pi]))[0, 0], 1)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bspline_is_scipys(order) -> None:
    made = basis.BSpline(7, order=order, bounds=(-1.0, 2.0))
    x = np.linspace(-1, 2, 101)
    inner = np.linspace(-1, 2, 7 - order + 2)
    knots = np.r_[[-1.0] * (order - 1), inner, [2.0] * (order - 1)]
    design = interpolate.BSpline.design_matrix(x, knots, order - 1).toarray()
    np.testing.assert_allclose(made.kernels(x), design, atol=EXACT)
    np.testing.assert_allclose(made.kernels(x), de_boor(x[:-1], knots, order, last=design[-1]), atol=EXACT)
    np.testing.assert_array_equal(made.kernels(np.array([-9.0, 9.0])), made.kernels(np.array([-1.0, 2.0])))


def de_boor(x: np.ndarray, knots: np.ndarray, order: int, last: np.ndarray) -> np.ndarray:
    """The Cox-de Boor recursion on half-open intervals; the right end is given."""
    splines = ((knots[:-1] <= x[:, None]) & (x[:, None] < knots[1:])).astype(float)
    for k in range(1, order):
        m = len(knots) - k - 1
        up, down = knots[k : k + m] - knots[:m], knots[k + 1 : k + 1 + m] - knots[1 : 1 + m]
        rise = np.divide(x[:, None] - knots[:m], up, out=np.zeros((len(x), m)), where=up > 0)
        fall = np.divide(knots[k + 1 : k + 1 + m] - x[:, None], down, out=np.zeros((len(x), m)), where=down > 0)
        splines = rise * splines[:, :-1] + fall * splines[:, 1:]
    return np.vstack([splines, last])


@pytest.mark.parametrize(
    "made",
    [basis.BSpline(6, bounds=(0, 1)), basis.BSpline(5, order=3, bounds=(0, 1)), basis.CyclicBSpline(6, 1.0)],
)
def test_splines_sum_to_one(made) -> None:
    kernels = made.kernels(np.linspace(0, 1, 333))
    np.testing.assert_allclose(kernels.sum(axis=1), 1, atol=EXACT)
    assert kernels.min() >= 0


@pytest.mark.parametrize("n", [3, 4, 5, 9])
def test_cyclic_spline_is_the_wrapped_cardinal_spline(n) -> None:
    x = np.linspace(-400, 400, 300)
    cardinal = interpolate.BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
    expected = np.zeros((300, n))
    for turn in range(-5, 6):
        expected += np.nan_to_num(cardinal((x[:, None] + 360 * turn) / (360 / n) - np.arange(n)))
    np.testing.assert_allclose(basis.CyclicBSpline(n, 360).kernels(x), expected, atol=1e-10)


@pytest.mark.parametrize("made", [basis.CyclicBSpline(7, 2.0), basis.CyclicBSpline(5, 2.0, order=3), basis.Fourier(4, 2.0)])
def test_circular_bases_are_periodic(made) -> None:
    x = np.linspace(-1, 1, 57)
    assert made.periodic
    np.testing.assert_allclose(made.kernels(x + 2), made.kernels(x), atol=1e-10)
    np.testing.assert_allclose(made.kernels(np.array([-1e-20])), made.kernels(np.array([0.0])), atol=1e-10)


def test_fourier_columns_are_sines_and_cosines_without_a_constant() -> None:
    x = np.arange(24) / 24
    kernels = basis.Fourier(2, 1.0).kernels(x)
    expected = [np.exp(2j * np.pi * h * x) for h in (1, 2)]
    np.testing.assert_allclose(kernels[:, ::2], np.imag(expected).T, atol=EXACT)
    np.testing.assert_allclose(kernels[:, 1::2], np.real(expected).T, atol=EXACT)
    np.testing.assert_allclose(kernels.sum(axis=0), 0, atol=EXACT)


def test_product_is_the_outer_product_of_its_parts() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 1, (40, 3))
    a, b, c = basis.BSpline(5, bounds=(0, 1)), basis.Fourier(2, 1.0), basis.RaisedCosineLinear(3, bounds=(0, 1))
    parts = [made.kernels(points[:, i]) for i, made in enumerate((a, b, c))]
    np.testing.assert_allclose((a * b).kernels(points[:, :2]), np.einsum("ri,rj->rij", *parts[:2]).reshape(40, -1))
    triple = np.einsum("ri,rj,rk->rijk", *parts).reshape(40, -1)
    np.testing.assert_allclose((a * b * c).kernels(points), triple)
    np.testing.assert_allclose((a * (b * c)).kernels(points), triple)
    assert (b * b).periodic and not (a * b).periodic


def test_table_interpolates_and_takes_bins() -> None:
    points = np.linspace(0, 1, 11)
    table = basis.Table(np.stack([points, 1 - points**2], axis=1), points)
    x = np.linspace(0, 1, 37)
    expected = interpolate.make_interp_spline(points, table.table, k=1)(x)
    np.testing.assert_allclose(table.kernels(x), expected, atol=EXACT)
    for first in (0, 1):
        kernels = lag_kernels(basis.Table(DECAYS), 0.004, first, "spikes")[1]
        np.testing.assert_allclose(kernels, DECAYS / DECAYS.max(axis=0), atol=EXACT)


def test_table_wraps_on_a_circle() -> None:
    angles = np.arange(8) * 45.0
    table = basis.Table(np.cos(np.deg2rad(angles))[:, None], angles).resolve_values(angles, 360.0)
    np.testing.assert_allclose(table.kernels(np.array([-45.0, 315.0]))[:, 0], np.sqrt(0.5))
    np.testing.assert_allclose(table.kernels(np.array([337.5]))[:, 0], (1 + np.sqrt(0.5)) / 2)


def test_onehot_keeps_its_levels_and_names_an_unseen_one() -> None:
    words = basis.OneHot().resolve_values(np.array(["right", "left", "right"]))
    assert words.labels.tolist() == ["left", "right"]
    np.testing.assert_array_equal(words.kernels(np.array(["right", "left"])), [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="'up', which the training data do not have"):
        words.kernels(np.array(["left", "up"]))
    numbers = basis.OneHot([3, 1])
    np.testing.assert_array_equal(numbers.kernels(np.array([1.0, np.nan, 3.0])), [[0, 1], [0, 0], [1, 0]])
    with pytest.raises(ValueError, match="level 2.0"):
        numbers.kernels(np.array([2.0]))


def test_exponential_decays_by_e_in_a_timescale() -> None:
    made = basis.Exponential((0.01, 0.05), span=0.2)
    np.testing.assert_allclose(made.kernels(np.array([0.01, 0.05])).diagonal(), np.exp(-1))
