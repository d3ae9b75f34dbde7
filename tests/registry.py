"""Every public class of every kind, entered once: the laws run over these."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import special, stats
from test_basis import REGISTRY as BASES

import bayesglm as bg
from bayesglm import basis, family, method, prior


class PriorCase(NamedTuple):
    """A prior, its log density in closed form, learned values, and whether it is log-concave (has a proximal map)."""

    make: Callable[[], prior.AbstractPrior]
    log_density: Callable[[np.ndarray], np.ndarray] | None
    hyper: dict[str, float]
    concave: bool = True


class FamilyCase(NamedTuple):
    """A family, its law in SciPy given the mean, its inverse link, learned values, and a column that it may explain."""

    make: Callable[[], family.AbstractFamily]
    law: Callable[[np.ndarray], Any]
    mean: Callable[[np.ndarray], np.ndarray]
    hyper: dict[str, float]
    column: str


class TermCase(NamedTuple):
    """A term on ``shapes.everything`` and how many bins it looks ahead; -1: row t never meets its own row."""

    make: Callable[[], Any]
    ahead: int = 0


def _elastic(w: np.ndarray, l1: float, l2: float) -> np.ndarray:
    at_zero = 0.5 * np.log(2 * np.pi / l2) + l1**2 / (2 * l2) + stats.norm.logcdf(-l1 / np.sqrt(l2))
    return -l1 * np.abs(w) - 0.5 * l2 * w**2 - np.log(2.0) - at_zero


def _poisson(mean: np.ndarray) -> Any:
    return stats.poisson(mean)


def _bernoulli(mean: np.ndarray) -> Any:
    return stats.bernoulli(mean)


PRIORS: dict[str, list[PriorCase]] = {
    "Flat": [PriorCase(prior.Flat, None, {})],
    "Gaussian": [
        PriorCase(lambda: prior.Gaussian(0.7), lambda w: stats.norm.logpdf(w, 0, 0.7), {}),
        PriorCase(lambda: prior.Gaussian(dist.HalfNormal(1.0)), lambda w: stats.norm.logpdf(w, 0, 0.4), {"scale": 0.4}),
    ],
    "Laplace": [
        PriorCase(lambda: prior.Laplace(0.3), lambda w: stats.laplace.logpdf(w, 0, 0.3), {}),
        PriorCase(lambda: prior.Laplace(dist.HalfCauchy(1.0)), lambda w: stats.laplace.logpdf(w, 0, 1.6), {"scale": 1.6}),
    ],
    "StudentT": [
        PriorCase(lambda: prior.StudentT(5.0, 0.5), lambda w: stats.t.logpdf(w, 5, 0, 0.5), {}, False),
        PriorCase(lambda: prior.StudentT(4.0, prior.HalfStudentT(3.0)), lambda w: stats.t.logpdf(w, 4, 0, 2.0), {"scale": 2.0}, False),
    ],
    "ElasticNet": [
        PriorCase(lambda: prior.ElasticNet(2.0, 3.0), lambda w: _elastic(w, 2.0, 3.0), {}),
        PriorCase(lambda: prior.ElasticNet(0.1, 0.5), lambda w: _elastic(w, 0.1, 0.5), {}),
    ],
}

FAMILIES: dict[str, list[FamilyCase]] = {
    "Poisson": [
        FamilyCase(lambda: family.Poisson(), _poisson, np.exp, {}, "spikes"),
        FamilyCase(lambda: family.Poisson("softplus"), _poisson, lambda eta: np.logaddexp(eta, 0), {}, "spikes"),
    ],
    "Bernoulli": [
        FamilyCase(lambda: family.Bernoulli(), _bernoulli, special.expit, {}, "any_spike"),
        FamilyCase(lambda: family.Bernoulli("probit"), _bernoulli, special.ndtr, {}, "any_spike"),
        FamilyCase(lambda: family.Bernoulli("cloglog"), _bernoulli, lambda eta: -np.expm1(-np.exp(eta)), {}, "any_spike"),
    ],
    "Gaussian": [
        FamilyCase(lambda: family.Gaussian(), lambda mean: stats.norm(mean, 0.8), lambda eta: eta, {"sigma": 0.8}, "trace"),
        FamilyCase(lambda: family.Gaussian(2.0), lambda mean: stats.norm(mean, 2.0), lambda eta: eta, {}, "trace"),
        FamilyCase(lambda: family.Gaussian(prior.HalfCauchy(2.5)), lambda mean: stats.norm(mean, 1.5), lambda eta: eta, {"sigma": 1.5}, "trace"),
    ],
}

TERMS: dict[str, list[TermCase]] = {
    "Baseline": [TermCase(bg.Baseline), TermCase(lambda: bg.Baseline(prior.Gaussian(2.0)))],
    "Stimulus": [
        TermCase(lambda: bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.06))),
        TermCase(lambda: bg.Stimulus("pose", basis.BSpline(4, span=0.05), edge="zero", name="posture")),
        TermCase(lambda: bg.Stimulus("private", basis.Lags(span=0.02), prior.Laplace(0.5))),
        TermCase(lambda: bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.06), lead=0.02, name="ahead"), 2),
        TermCase(lambda: bg.Stimulus("stimulus", basis.BSpline(4, span=0.04), lead=0.05, edge="zero", name="far_ahead"), 5),
    ],
    "History": [
        TermCase(lambda: bg.History(basis.RaisedCosine(3, span=0.05)), -1),
        TermCase(lambda: bg.History(basis.Exponential([0.01, 0.05], span=0.1), edge="zero"), -1),
    ],
    "Coupling": [
        TermCase(lambda: bg.Coupling(basis.RaisedCosine(2, span=0.04)), -1),
        TermCase(lambda: bg.Coupling(basis.Lags(span=0.02), prior.Laplace(0.3), sources=("c", "a"), edge="zero"), -1),
        TermCase(lambda: bg.Coupling(basis.RaisedCosine(2, span=0.04), mask=~np.eye(3, k=1, dtype=bool)), -1),
    ],
    "Linear": [
        TermCase(lambda: bg.Linear("stimulus")),
        TermCase(lambda: bg.Linear("pose", prior.StudentT(4.0))),
        TermCase(lambda: bg.Linear("private", name="mine")),
    ],
    "Tuning": [
        TermCase(lambda: bg.Tuning("heading", basis.CyclicBSpline(5))),
        TermCase(lambda: bg.Tuning(("x", "y"), basis.BSpline(4) * basis.BSpline(4))),
        TermCase(lambda: bg.Tuning("state", basis.OneHot(), name="behaviour")),
        TermCase(lambda: bg.Tuning("x", basis.RaisedCosineLinear(4))),
    ],
    "Offset": [TermCase(lambda: bg.Offset("exposure")), TermCase(lambda: bg.Offset("private"))],
}

MODELS: dict[str, list[Callable[[], bg.AbstractModel]]] = {
    "GLM": [
        lambda: bg.GLM(bg.Baseline() + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05)) + bg.History(basis.RaisedCosine(2, span=0.05))),
        lambda: bg.GLM(bg.Baseline() + bg.Linear("pose"), family.Bernoulli(), response="choice"),
        lambda: bg.GLM(bg.Coupling(basis.RaisedCosine(2, span=0.05)) + bg.Baseline(), neurons=("c", "b")),
        lambda: bg.GLM(bg.Baseline() + bg.Coupling(basis.RaisedCosine(2, span=0.05)), family.Bernoulli(), response="choice"),
    ]
}

METHODS: dict[str, list[Callable[[], method.AbstractMethod]]] = {
    "HMC": [method.HMC],
    "Laplace": [method.Laplace],
    "MAP": [method.MAP],
    "NUTS": [method.NUTS],
}

KINDS: dict[str, tuple[ModuleType, type, dict[str, list]]] = {
    "basis": (basis, basis.AbstractBasis, BASES),
    "prior": (prior, prior.AbstractPrior, PRIORS),
    "family": (family, family.AbstractFamily, FAMILIES),
    "term": (bg, bg.terms.AbstractTerm, TERMS),
    "model": (bg, bg.AbstractModel, MODELS),
    "method": (method, method.AbstractMethod, METHODS),
}


def public_classes(module: ModuleType, kind: type) -> set[str]:
    """Names of the public classes of a kind."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {name for name, item in found.items() if inspect.isclass(item) and issubclass(item, kind) and not name.startswith("Abstract")}


def cases(table: dict[str, list]) -> list:
    """Every entry of a table as a pytest parameter."""
    return [pytest.param(entry, id=f"{name}-{i}") for name, entries in table.items() for i, entry in enumerate(entries)]
