"""Designs whose columns repeat one another: a proper posterior under proper priors, a message under flat ones; never NaN or silence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm.terms import Sum

ROWS = 240


def recorded() -> xr.Dataset:
    """Two cells, a place, states, sessions, a column that never moves, and events that fill every bin."""
    rng = np.random.default_rng(2)
    return bg.recording(
        dt=0.01,
        spikes=rng.poisson(0.5, (ROWS, 2)),
        x=rng.uniform(-1, 1, ROWS),
        heading=bg.angle(rng.uniform(0, 360, ROWS), period=360),
        state=np.array(["rest", "run", "sleep"])[np.arange(ROWS) % 3],
        own=(("time", "neuron"), rng.normal(size=(ROWS, 2))),
        still=np.full(ROWS, 2.0),
        pair=np.stack([np.full(ROWS, -1.0), rng.normal(size=ROWS)], 1),
        session=np.array(["monday", "friday"])[(np.arange(ROWS) >= ROWS // 2).astype(int)],
    )


def chosen() -> xr.Dataset:
    """Choices among three classes, on trials."""
    rng = np.random.default_rng(4)
    return bg.recording(rows="trial", choice=rng.integers(0, 3, 90), x=rng.normal(size=90), state=np.array(["a", "b"])[np.arange(90) % 2])


class Case(NamedTuple):
    """A sum of terms, all or some of which take the prior under test; ``flat`` is what the message must name, None: it is identified."""

    terms: Callable[[Any], Any]
    flat: str | None = "collinear"
    data: Callable[[], xr.Dataset] = recorded
    family: Any = family.Poisson()
    response: str = "spikes"


KERNEL = basis.BSpline(4, span=0.05)


def _classes(terms: Callable[[Any], Any], flat: str | None) -> Case:
    return Case(terms, flat, chosen, family.Categorical(), "choice")


CASES = {
    "one-hot and a baseline": Case(lambda p: bg.Baseline() + bg.Tuning("state", basis.OneHot(), p)),
    "B-spline and a baseline": Case(lambda p: bg.Baseline() + bg.Tuning("x", basis.BSpline(5), p, name="place")),
    "cyclic B-spline and a baseline": Case(lambda p: bg.Baseline() + bg.Tuning("heading", basis.CyclicBSpline(5), p)),
    "one-hot alone": Case(lambda p: bg.Tuning("state", basis.OneHot(), p), None),
    "product of partitions": Case(lambda p: bg.Baseline() + bg.Tuning(("x", "heading"), basis.BSpline(4) * basis.CyclicBSpline(4), p)),
    "two partitions": Case(lambda p: bg.Tuning("x", basis.BSpline(4), p, name="place") + bg.Tuning("state", basis.OneHot(), p)),
    "a filter on a constant": Case(lambda p: bg.Baseline() + bg.Stimulus("still", KERNEL, p, edge="drop")),
    "a filter on a constant, no baseline": Case(lambda p: bg.Stimulus("still", KERNEL, p, edge="drop")),
    "a constant column": Case(lambda p: bg.Baseline() + bg.Linear("still", p)),
    "one constant column of two": Case(lambda p: bg.Baseline() + bg.Linear("pair", p)),
    "one term twice": Case(lambda p: bg.Baseline() + bg.Linear("x", p) + bg.Linear("x", p, name="again")),
    "one filter twice": Case(lambda p: bg.Baseline() + bg.Stimulus("x", KERNEL, p) + bg.Stimulus("x", KERNEL, p, name="again")),
    "history twice": Case(lambda p: bg.Baseline() + bg.History(KERNEL, p) + bg.History(KERNEL, p, name="again")),
    "a covariate of each neuron, twice": Case(lambda p: bg.Baseline() + bg.Linear("own", p) + bg.Linear("own", p, name="again")),
    "couplings twice": Case(lambda p: bg.Baseline() + bg.Coupling(KERNEL, p) + bg.Coupling(KERNEL, p, name="again")),
    "pooled beside the baseline": Case(lambda p: bg.Baseline() + bg.Pooled(prior=p)),
    "pooled slopes beside the slope": Case(lambda p: bg.Baseline() + bg.Linear("x", p) + bg.Pooled(of="x", prior=p, name="slopes")),
    "classes": _classes(lambda p: bg.Baseline(p) + bg.Linear("x", p), None),
    "one-hot classes and a baseline": _classes(lambda p: bg.Baseline(p) + bg.Tuning("state", basis.OneHot(), p), "collinear"),
}


def model_of(case: Case, own: Any) -> bg.GLM:
    return bg.GLM(case.terms(own), case.family, case.response)


def quietly(model: Any, data: xr.Dataset, how: Any) -> bg.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bg.fit(model, data, how, progress=False)


def finite(fit: bg.Fit) -> bool:
    return all(np.isfinite(values).all() for values in fit.posterior.data_vars.values())


def together(*names: str) -> Case:
    """All terms of several cases in one sum."""

    def terms(p: Any) -> Any:
        found = [term for name in names for term in (CASES[name].terms(p).terms if isinstance(CASES[name].terms(p), Sum) else (CASES[name].terms(p),))]
        kept = {term.name: term for term in found}
        return Sum(*kept.values())

    return Case(terms)


PROPER = {
    "at the row": together(*(name for name in CASES if not any(word in name for word in ("filter", "twice", "classes", "product"))), "one term twice"),
    "with lags": together("a filter on a constant", "one filter twice", "history twice", "couplings twice"),
    "product": CASES["product of partitions"],
    "own": CASES["a covariate of each neuron, twice"],
    "classes": CASES["one-hot classes and a baseline"],
}


@pytest.mark.parametrize("name", PROPER)
def test_a_proper_prior_gives_a_proper_posterior(name):
    """A converged mode, and draws of a covariance that is finite, positive definite, and no wider than the prior where the data say nothing."""
    case = PROPER[name]
    data, model = case.data(), model_of(case, prior.Gaussian(1.0))
    point = quietly(model, data, "map")
    assert point.stats["converged"] and finite(point)
    fit = quietly(model, data, method.Laplace(400))
    assert np.all(fit.stats["neuron_converged"]) and np.isfinite(fit.stats["neuron_pareto_k"]).all() and finite(fit)
    posterior = fit.posterior.isel({dim: 0 for dim in ("neuron",) if dim in fit.posterior.dims})
    posterior = posterior.isel({dim: slice(1, None) for dim in ("class",) if dim in posterior.dims})  # weights sum to zero over classes
    values = np.concatenate([array.values.reshape(400, -1) for term, array in posterior.data_vars.items()], 1)
    spectrum = np.linalg.eigvalsh(np.cov(values.T))
    assert np.isfinite(spectrum).all() and spectrum[0] > 1e-6
    assert all((array.var(("chain", "draw")) < 1.5).all() for term, array in posterior.data_vars.items() if term != "baseline")
    assert np.abs(point.posterior - fit.posterior.mean(("chain", "draw"))).to_array().max() < 1.0, "the mode is where the draws are"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.flat])
@pytest.mark.parametrize("how", ["map", "laplace"])
def test_a_flat_prior_is_refused(name, how):
    case = CASES[name]
    with pytest.raises(ValueError, match=rf"{case.flat}.*prior\.Flat\(\).*no posterior"):
        quietly(model_of(case, prior.Flat()), case.data(), how)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.flat])
def test_a_flat_prior_is_taken_where_the_data_tell_all(name):
    case = CASES[name]
    fit = quietly(model_of(case, prior.Flat()), case.data(), "map")
    assert fit.stats["converged"] and finite(fit)


def test_a_flat_prior_beside_a_proper_one_on_the_same_columns_is_a_posterior():
    """Only the sum is informed, and the proper prior shares it out: its term keeps its prior, the flat one takes the rest."""
    data = recorded()
    terms = bg.Baseline() + bg.Linear("x", prior.Flat()) + bg.Linear("x", prior.Gaussian(0.5), name="again")
    with pytest.warns(UserWarning, match="only their sum is informed"):
        fit = bg.fit(bg.GLM(terms), data, method.Laplace(4000), progress=False)
    alone = quietly(bg.GLM(bg.Baseline() + bg.Linear("x", prior.Flat())), data, method.Laplace(4000))
    draws, total = fit.posterior, fit.posterior["x"] + fit.posterior["again"]
    spread = float(alone.posterior["x"].std())
    np.testing.assert_allclose(draws["again"].std(("chain", "draw")), 0.5, rtol=0.05)
    np.testing.assert_allclose(draws["again"].mean(("chain", "draw")), 0.0, atol=0.05)
    np.testing.assert_allclose(total.mean(("chain", "draw")), alone.posterior["x"].mean(("chain", "draw")), atol=0.1 * spread)
    np.testing.assert_allclose(total.std(("chain", "draw")), alone.posterior["x"].std(("chain", "draw")), rtol=0.06)
