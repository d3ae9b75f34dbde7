"""Every public class of every kind, entered once: the laws run over these."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist
import pytest
from families import FAMILIES
from families import FamilyCase as FamilyCase
from scipy import special, stats
from test_basis import REGISTRY as BASES

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm.prior._base import Place


class PriorCase(NamedTuple):
    """A prior, its log density in closed form, learned values, and whether it is log-concave (has a proximal map).

    ``shape`` is that of a block whose elements differ or belong together; None: any number of elements, all alike. ``at``
    is where the closed form holds, for priors that must know it; ``make`` gives them as a user writes them.
    """

    make: Callable[[], prior.AbstractPrior]
    log_density: Callable[[np.ndarray], np.ndarray] | None
    hyper: dict[str, Any]
    concave: bool = True
    shape: tuple[int, ...] | None = None
    at: Place | None = None

    def resolved(self) -> prior.AbstractPrior:
        """The prior where its closed form holds."""
        return self.make() if self.at is None else self.make().resolve(self.at)


class TermCase(NamedTuple):
    """A term on ``shapes.everything`` and how many bins it looks ahead; -1: row t never meets its own row."""

    make: Callable[[], Any]
    ahead: int = 0


def _elastic(w: np.ndarray, l1: float, l2: float) -> np.ndarray:
    at_zero = 0.5 * np.log(2 * np.pi / l2) + l1**2 / (2 * l2) + stats.norm.logcdf(-l1 / np.sqrt(l2))
    return -l1 * np.abs(w) - 0.5 * l2 * w**2 - np.log(2.0) - at_zero


_LOCAL = np.array([[0.3, 1.0, 2.5], [0.8, 4.0, 0.1]])


def place(shape: tuple[int, ...], *bases: basis.AbstractBasis, name: str = "w", **known: Any) -> Place:
    """Where a prior is used: weights of this shape, the last axes those of resolved bases, on 400 rows."""
    return Place(name, shape, bases=bases, rows=400, **known)


def _lags() -> basis.AbstractBasis:
    return basis.BSpline(6, span=0.1).resolve_lags(0.01, 0)


def _circle() -> basis.AbstractBasis:
    return basis.CyclicBSpline(5, period=360.0)


def _circle_process(u: np.ndarray) -> np.ndarray:
    """Elements of five points around 360 degrees, scale 0.5, lengthscale 40: eigenvalues of the wrapped covariance."""
    apart = 72.0 * np.arange(5)
    wrapped = sum(np.exp(-0.5 * ((apart + 360.0 * turn) / 40.0) ** 2) for turn in range(-5, 6))
    values = np.fft.fft(wrapped).real[[0, 1, 1, 2, 2]]
    return stats.norm.logpdf(u, 0, 0.5 * np.sqrt(values / values.mean()))


def _horseshoe(w: np.ndarray) -> np.ndarray:
    """At scale 0.2 and squared slab 1.5."""
    return stats.norm.logpdf(w, 0, (1 / (0.2 * _LOCAL) ** 2 + 1 / 1.5) ** -0.5)


def _group(w: np.ndarray, slope: float) -> np.ndarray:
    """Each weight's share of slope^d exp(-slope |w|) Gamma(d/2) / (2 pi^(d/2) Gamma(d)), d weights a group (last axis)."""
    d = w.shape[-1]
    constant = d * np.log(slope) + special.gammaln(d / 2) - np.log(2) - d / 2 * np.log(np.pi) - special.gammaln(d)
    return np.broadcast_to((constant - slope * np.linalg.norm(w, axis=-1, keepdims=True)) / d, w.shape)


_AREAS = place((4, 2), dims=("source", "w_basis"), coords={"area": np.array(["CA1", "V1", "CA1", "V1"])}, receivers=("a", "b"), areas=np.array(["CA1", "V1"]))


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
    "Smooth": [
        PriorCase(lambda: prior.Smooth(0.7), lambda w: stats.norm.logpdf(w, 0, 0.7), {}, at=place((6,), _lags())),
        PriorCase(lambda: prior.Smooth(order=1), lambda w: stats.norm.logpdf(w, 0, 0.3), {"scale": 0.3}, at=place((2, 5), _circle())),
        PriorCase(lambda: prior.Smooth("evidence"), lambda w: stats.norm.logpdf(w, 0, 0.3), {"scale": 0.3}, at=place((6,), _lags())),
    ],
    "GaussianProcess": [
        PriorCase(prior.GaussianProcess, _circle_process, {"scale": 0.5, "lengthscale": 40.0}, shape=(5,), at=place((5,), _circle())),
        PriorCase(lambda: prior.GaussianProcess(0.5, 40.0), _circle_process, {}, shape=(2, 5), at=place((2, 5), _circle())),
    ],
    "Horseshoe": [
        PriorCase(lambda: prior.Horseshoe(2), _horseshoe, {"scale": 0.2, "local": _LOCAL, "slab": 1.5}, shape=(2, 3), at=place((2, 3))),
    ],
    "GroupLasso": [
        PriorCase(lambda: prior.GroupLasso(0.4), lambda w: _group(w, 2.5), {}, shape=(4, 3)),
        PriorCase(lambda: prior.GroupLasso(dist.HalfNormal(1.0)), lambda w: _group(w, 0.5), {"scale": 2.0}, shape=(3,)),
    ],
    "Hierarchical": [
        PriorCase(prior.Hierarchical, lambda w: stats.norm.logpdf(w, 0, 0.6), {"scale": 0.6}),
        PriorCase(lambda: prior.Hierarchical(partial=True), lambda w: stats.norm.logpdf(w, 0, 0.6 * np.e), {"scale": 0.6, "spread": 0.5, "deviation": 2.0}),
        PriorCase(
            lambda: prior.Hierarchical("area"),
            lambda w: stats.norm.logpdf(w, 0, np.array([0.3, 0.4, 0.3, 0.4])[:, None]),
            {"scale": np.array([[0.1, 0.2], [0.3, 0.4]]), "receiver": 1},
            shape=(4, 2),
            at=_AREAS,
        ),
    ],
}

TERMS: dict[str, list[TermCase]] = {
    "Baseline": [
        TermCase(bg.Baseline),
        TermCase(lambda: bg.Baseline(prior.Gaussian(2.0))),
        TermCase(lambda: bg.Baseline(prior.Gaussian(2.0), centred=True)),
    ],
    "Stimulus": [
        TermCase(lambda: bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.06))),
        TermCase(lambda: bg.Stimulus("pose", basis.BSpline(4, span=0.05), edge="zero", name="posture")),
        TermCase(lambda: bg.Stimulus("private", basis.Lags(span=0.02), prior.Laplace(0.5))),
        TermCase(lambda: bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.06), lead=0.02, name="ahead"), 2),
        TermCase(lambda: bg.Stimulus("stimulus", basis.BSpline(4, span=0.04), lead=0.05, edge="zero", name="far_ahead"), 5),
        TermCase(lambda: bg.Stimulus("movie", basis.RaisedCosine(2, span=0.03), space=basis.BSpline(2, order=2) * basis.BSpline(3, order=2))),
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
    "Event": [
        TermCase(lambda: bg.Event("cue", basis.RaisedCosine(3), window=(0, 0.06))),
        TermCase(lambda: bg.Event("cue", basis.BSpline(4), prior.Laplace(0.5), window=(-0.03, 0.05), value="value", name="valued"), 3),
        TermCase(lambda: bg.Event("song", basis.RaisedCosineLinear(3), window=(0, 0.04), edge="drop")),
        TermCase(lambda: bg.Event("on", basis.BSpline(4), window=(-0.02, 0.04)), 2),
        TermCase(lambda: bg.Event("licking", basis.Lags(), window=(0, 0.02))),
    ],
    "Pooled": [
        TermCase(lambda: bg.Pooled("day")),
        TermCase(lambda: bg.Pooled("day", of=bg.Linear("pose"), name="slopes")),
        TermCase(lambda: bg.Pooled("day", of=bg.Stimulus("private", basis.Lags(span=0.02)), prior=prior.Gaussian(0.5))),
        TermCase(lambda: bg.Pooled("state/day").parts()[1]),
    ],
    "Product": [
        TermCase(lambda: bg.Tuning("heading", basis.CyclicBSpline(5)) * bg.Linear("private")),
        TermCase(lambda: bg.Stimulus("pose", basis.RaisedCosine(2, span=0.03), lead=0.01) * bg.Tuning("heading", basis.CyclicBSpline(5)), 1),
        TermCase(lambda: bg.Linear("stimulus") * bg.History(basis.RaisedCosine(2, span=0.03), prior.Laplace(0.5))),
        TermCase(lambda: bg.Pooled("day") * bg.Event("cue", basis.BSpline(4), window=(0, 0.05))),
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
    "term": (bg.terms, bg.terms.AbstractTerm, TERMS),
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
