"""What a basis refuses, and what it says then."""

import numpy as np
import pytest

from bayesglm import basis
from bayesglm.basis import lag_kernels

ANGLES = np.linspace(-3, 3, 50)
PAIR = np.stack([ANGLES, ANGLES], axis=1)
TABLE = np.eye(5)[:, :2]


ON_LAGS = [
    (basis.RaisedCosine(5), 0.01, "give span="),
    (basis.Exponential(0.1), 0.01, "give span="),
    (basis.Lags(), 0.01, "give span="),
    (basis.BSpline(5), 0.01, "give span="),
    (basis.RaisedCosine(5, 0.005), 0.01, "under one bin"),
    (basis.RaisedCosine(20, 0.1), 0.01, "fewer functions or a longer span"),
    (basis.RaisedCosine(8, 0.1, offset=1e-4), 0.01, "larger offset"),
    (basis.BSpline(12, 0.1), 0.01, "fewer functions"),
    (basis.Table(np.zeros((5, 2))), 0.01, "cannot tell apart"),
    (basis.RaisedCosine(5, 0.1), -1.0, "bin width"),
    (basis.Lags(0.1), -1.0, "not a length"),
    (basis.Lags(0.1).resolve_lags(0.01, 1), 0.02, "resolved at dt=0.01"),
    (basis.CyclicBSpline(5, 1.0), 0.01, "has no lags"),
    (basis.Fourier(2, 1.0), 0.01, "has no lags"),
    (basis.OneHot(), 0.01, "has no lags"),
    (basis.BSpline(5) * basis.BSpline(5), 0.01, "has no lags"),
]


@pytest.mark.parametrize(("made", "dt", "message"), ON_LAGS)
def test_lags_that_cannot_be(made, dt, message) -> None:
    with pytest.raises(ValueError, match=message):
        made.resolve_lags(dt, 1)


ON_VALUES = [
    (basis.Lags(0.1), "values", "use OneHot"),
    (basis.RaisedCosine(4), "values", "RaisedCosineLinear"),
    (basis.RaisedCosine(4), "circle", "RaisedCosineLinear"),
    (basis.Exponential(1.0), "circle", "Fourier"),
    (basis.BSpline(5), "circle", "CyclicBSpline"),
    (basis.BSpline(5, 0.1), "values", "a length of lags"),
    (basis.RaisedCosineLinear(5, 0.1), "values", "a length of lags"),
    (basis.CyclicBSpline(5), "values", "bg.angle"),
    (basis.Fourier(5), "values", "bg.angle"),
    (basis.Table(TABLE), "values", "give points="),
    (basis.BSpline(5) * basis.BSpline(5), "values", "2 columns"),
]


@pytest.mark.parametrize(("made", "use", "message"), ON_VALUES)
def test_values_that_cannot_be(made, use, message) -> None:
    with pytest.raises(ValueError, match=message):
        made.resolve_values(ANGLES, 2 * np.pi if use == "circle" else None)


def test_columns_without_a_range_are_refused() -> None:
    with pytest.raises(ValueError, match="no range"):
        basis.BSpline(5).resolve_values(np.ones(9))
    with pytest.raises(ValueError, match="no finite value"):
        basis.BSpline(5).resolve_values(np.full(9, np.nan))
    with pytest.raises(ValueError, match="one a column"):
        (basis.BSpline(5) * basis.Fourier(1)).resolve_values(PAIR, 360.0)


EARLY = [
    basis.RaisedCosine(3), basis.RaisedCosineLinear(3), basis.BSpline(4), basis.CyclicBSpline(4), basis.Fourier(1),
    basis.OneHot(), basis.Table(TABLE), basis.Lags(0.1),
]  # fmt: skip


@pytest.mark.parametrize("made", EARLY, ids=lambda made: type(made).__name__)
def test_an_unresolved_basis_says_so(made) -> None:
    with pytest.raises(ValueError, match=r"has no .* yet"):
        made.kernels(np.linspace(0, 1, 5))


BAD = [
    (lambda: basis.RaisedCosine(0, 0.1), "at least 1"),
    (lambda: basis.RaisedCosine(2.5, 0.1), "at least 1"),
    (lambda: basis.RaisedCosine(3, -0.1), "above 0"),
    (lambda: basis.RaisedCosine(3, 0.1, offset=0), "above 0"),
    (lambda: basis.Lags(np.inf), "finite"),
    (lambda: basis.RaisedCosineLinear(3, bounds=(1, 0)), "smaller first"),
    (lambda: basis.BSpline(5, bounds=(0, np.nan)), "smaller first"),
    (lambda: basis.BSpline(3), "n >= 4"),
    (lambda: basis.CyclicBSpline(5, period=0), "above 0"),
    (lambda: basis.Fourier(-1), "at least 1"),
    (lambda: basis.Exponential([0.1, 0.0]), "above 0"),
    (lambda: basis.Exponential([]), "one or more"),
    (lambda: basis.Exponential([0.1, 0.1]), "each of them once"),
    (lambda: basis.OneHot([1, 1]), "each of them once"),
    (lambda: basis.Table([1.0, 2.0]), r"\(point, basis\)"),
    (lambda: basis.Table([[1.0], [np.nan]]), "finite"),
    (lambda: basis.Table([[1.0], [2.0]], [1.0, 0.0]), "ascending"),
    (lambda: basis.BSpline(4, bounds=(0, 1)).kernels(np.zeros((3, 2))), "one column"),
    (lambda: basis.OneHot([1]).kernels(np.zeros((3, 2))), "one column"),
    (lambda: lag_kernels(basis.Lags(0.1), 0.01, 1, "rates"), "unknown"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input_is_named(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
