"""Laws that every basis obeys."""

import inspect
from collections.abc import Callable

import equinox as eqx
import numpy as np
import pytest

from bayesglm import basis
from bayesglm.basis import AbstractBasis, lag_kernels

EXACT = 1e-12
TABLE = np.stack([np.exp(-np.arange(20) / 4), np.arange(20) / 19, np.cos(np.arange(20))], axis=1)

# Every public class is here, once or more: name -> (constructor, what it is used on).
REGISTRY: dict[str, list[tuple[Callable[[], AbstractBasis], str]]] = {
    "Lags": [(lambda: basis.Lags(span=0.2), "lags")],
    "RaisedCosine": [
        (lambda: basis.RaisedCosine(8, span=0.2), "lags"),
        (lambda: basis.RaisedCosine(5, span=0.2, offset=0.02), "lags"),
        (lambda: basis.RaisedCosine(4), "positive"),
    ],
    "RaisedCosineLinear": [
        (lambda: basis.RaisedCosineLinear(6, span=0.2), "lags"),
        (lambda: basis.RaisedCosineLinear(6), "values"),
        (lambda: basis.RaisedCosineLinear(6), "circle"),
        (lambda: basis.RaisedCosineLinear(7), "circle"),
    ],
    "BSpline": [
        (lambda: basis.BSpline(7, span=0.2), "lags"),
        (lambda: basis.BSpline(5, span=0.2, order=2), "lags"),
        (lambda: basis.BSpline(7), "values"),
        (lambda: basis.BSpline(4, order=1), "values"),
    ],
    "CyclicBSpline": [(lambda: basis.CyclicBSpline(8), "circle"), (lambda: basis.CyclicBSpline(3), "circle")],
    "Fourier": [(lambda: basis.Fourier(3), "circle")],
    "Exponential": [
        (lambda: basis.Exponential([0.005, 0.02, 0.1], span=0.2), "lags"),
        (lambda: basis.Exponential(2.0), "positive"),
    ],
    "OneHot": [(lambda: basis.OneHot(), "levels")],
    "Table": [
        (lambda: basis.Table(TABLE), "lags"),
        (lambda: basis.Table(TABLE, np.linspace(0, 0.2, 20)), "lags"),
        (lambda: basis.Table(TABLE, np.linspace(-3, 3, 20)), "values"),
    ],
    "Product": [(lambda: basis.BSpline(5) * basis.CyclicBSpline(6), "pair")],
}
CASES = [pytest.param(make, use, id=f"{name}-{use}-{i}") for name, entries in REGISTRY.items() for i, (make, use) in enumerate(entries)]
LAGGED = [case for case in CASES if case.values[1] == "lags"]
VALUED = [case for case in CASES if case.values[1] != "lags"]


def column(use: str, seed: int = 0, n: int = 400) -> tuple[np.ndarray, object]:
    """A column of data and its period."""
    rng = np.random.default_rng(seed)
    match use:
        case "circle":
            return rng.uniform(-np.pi, np.pi, n), 2 * np.pi
        case "levels":
            return rng.choice([1.0, 2.0, 5.0], n), None
        case "positive":
            return rng.uniform(0, 8, n), None
        case "pair":
            return np.stack([rng.normal(size=n), rng.uniform(0, 360, n)], axis=1), (None, 360.0)
    return rng.normal(size=n), None


def resolved(made: AbstractBasis, use: str, seed: int = 0) -> AbstractBasis:
    return made.resolve_lags(0.01, 0) if use == "lags" else made.resolve_values(*column(use, seed))


def test_every_public_class_is_in_the_registry() -> None:
    public = {name for name in basis.__all__ if inspect.isclass(getattr(basis, name))} - {"AbstractBasis"}
    assert public == set(REGISTRY)
    assert all(type(make()).__name__ == name for name, entries in REGISTRY.items() for make, _ in entries)


@pytest.mark.parametrize(("make", "use"), CASES)
def test_kernels_are_finite_of_full_rank_and_of_the_stated_shape(make, use) -> None:
    known = resolved(make(), use)
    points = known.lags(0.01, 0) if use == "lags" else column(use)[0]
    kernels = known.kernels(points)
    assert kernels.shape == (len(points), known.n_basis) and kernels.dtype == np.float64
    assert np.isfinite(kernels).all()
    assert np.linalg.matrix_rank(kernels) == known.n_basis
    assert len(known.labels) == known.n_basis


@pytest.mark.parametrize(("make", "use"), CASES)
def test_resolving_twice_changes_nothing_and_leaves_the_original(make, use) -> None:
    made = make()
    once = resolved(made, use)
    twice = resolved(once, use)
    assert bool(eqx.tree_equal(once, twice))
    assert repr(made) == repr(make())


@pytest.mark.parametrize(("make", "use"), VALUED)
def test_a_test_set_never_moves_a_basis(make, use) -> None:
    known = resolved(make(), use)
    test, period = column(use, seed=1)
    test = test if use in ("levels", "circle") else 3 * test
    again = known.resolve_values(test, period)
    np.testing.assert_array_equal(again.kernels(test), known.kernels(test))
    # Each row stands alone, so the other rows cannot have scaled it.
    np.testing.assert_array_equal(known.kernels(test)[:5], known.kernels(test[:5]))
    assert np.isfinite(known.kernels(test)).all()


@pytest.mark.parametrize(("make", "use"), VALUED)
def test_missing_values_do_not_count_and_give_missing_rows(make, use) -> None:
    values, period = column(use)
    holed = np.concatenate([np.full_like(values[:1], np.nan), values])
    known = make().resolve_values(holed, period)
    assert repr(known) == repr(make().resolve_values(values, period))
    rows = known.kernels(holed)
    assert (rows[0] == 0).all() if use == "levels" else np.isnan(rows[0]).all()
    assert np.isfinite(rows[1:]).all()


@pytest.mark.parametrize(("make", "use"), LAGGED)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("kind", ["spikes", "signal"])
def test_lag_kernels_honour_span_and_scale(make, use, first, kind) -> None:
    lags, kernels = lag_kernels(make(), 0.01, first, kind)
    assert len(lags) == 20 and kernels.shape[0] == 20
    np.testing.assert_allclose(lags, (first + np.arange(20)) * 0.01, atol=EXACT)
    if kind == "spikes":
        assert np.abs(kernels).max() <= 1 + 1e-5
    elif not isinstance(make(), basis.Table):
        np.testing.assert_allclose(kernels.sum(axis=0), 1, atol=EXACT)


@pytest.mark.parametrize("span", [0.05, 0.1, 0.3, 0.8])
@pytest.mark.parametrize("dt", [0.001, 0.002, 0.01])
def test_span_over_dt_is_the_number_of_lags(span, dt) -> None:
    assert basis.Lags(span).n_lags(dt) == round(span / dt) == basis.Lags(span).resolve_lags(dt, 1).n_basis
    np.testing.assert_allclose(basis.Lags(span).resolve_lags(dt, 1).lags(dt, 1)[[0, -1]], [dt, span])


SMOOTH = [case for case in LAGGED if not case.id.startswith("Lags") and not case.id.startswith("Table-lags-0")]


@pytest.mark.parametrize(("make", "use"), SMOOTH)
def test_kernels_on_spikes_do_not_move_with_dt(make, use) -> None:
    fine_lags, fine = lag_kernels(make(), 0.001, 1, "spikes")
    lags, coarse = lag_kernels(make(), 0.002, 1, "spikes")
    np.testing.assert_allclose(fine_lags[1::2], lags, atol=EXACT)
    np.testing.assert_allclose(fine[1::2], coarse, atol=EXACT)


def test_peak_is_that_of_the_continuous_function() -> None:
    # The cubic cardinal spline peaks at 2/3, between the lags of a coarse grid.
    made = basis.BSpline(9, span=0.09)
    np.testing.assert_allclose(made.resolve_lags(0.009, 1).peaks()[[0, 4, 8]], [1, 2 / 3, 1], rtol=1e-5)
    np.testing.assert_array_equal(basis.RaisedCosine(5, 0.1).peaks(), 1)
    found = AbstractBasis.peaks(basis.RaisedCosine(5, 0.1))
    np.testing.assert_allclose(found, 1, rtol=1e-5)


def test_a_constant_signal_has_one_gain_at_every_dt() -> None:
    weights = np.array([0.5, -1.0, 2.0, 0.1])
    etas = [(lag_kernels(basis.RaisedCosine(4, 0.2), dt, 0, "signal")[1] @ weights).sum() for dt in (0.001, 0.004, 0.01)]
    np.testing.assert_allclose(etas, weights.sum(), rtol=1e-10)


def test_lags_are_the_identity_in_both_uses() -> None:
    for first, kind in ((1, "spikes"), (0, "signal")):
        np.testing.assert_array_equal(lag_kernels(basis.Lags(0.05), 0.01, first, kind)[1], np.eye(5))


def test_biphasic_tables_are_scaled_by_size() -> None:
    lobes = np.sin(2 * np.pi * np.arange(20) / 20)[:, None]
    kernels = lag_kernels(basis.Table(lobes), 0.01, 0, "signal")[1]
    np.testing.assert_allclose(np.abs(kernels).sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("span", [0.1, 0.2, 0.4, 0.8])
@pytest.mark.parametrize("dt", [0.001, 0.005, 0.01])
@pytest.mark.parametrize("first", [0, 1])
def test_raised_cosines_serve_the_usual_uses(span, dt, first) -> None:
    made = basis.RaisedCosine(8, span).resolve_lags(dt, first)
    kernels = made.kernels(made.lags(dt, first))
    assert np.linalg.cond(kernels / np.linalg.norm(kernels, axis=0)) < 1e4
    assert kernels.sum(axis=1).min() > 0.01
    ends = made.kernels(np.array([0.0, span]))
    assert ends[0, 0] == 1 and ends[1, -1] < 0.1


def test_product_hands_each_column_its_own_data_and_period() -> None:
    values, periods = column("pair")
    made = (basis.BSpline(5) * basis.CyclicBSpline(6)).resolve_values(values, periods)
    assert made.left.bounds == (values[:, 0].min(), values[:, 0].max()) and made.right.period == 360
    nested = basis.BSpline(4) * (basis.BSpline(4) * basis.Fourier(1))
    stacked = np.column_stack([values[:, 0], values])
    assert nested.resolve_values(stacked, (None, None, 360.0)).right.right.period == 360


def test_floating_spans_lose_no_bin() -> None:
    assert basis.Lags(0.3).n_lags(0.1) == 3 and basis.Lags(0.3 - 0.2).n_lags(0.1) == 1 and basis.Lags(5).n_lags(1) == 5
