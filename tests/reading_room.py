"""The reading room: every model with its file, and the same model written in terms."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, models, prior

BUMPS = basis.RaisedCosine


class Case(NamedTuple):
    """A model of the reading room, its file, and the same model written in terms."""

    file: str
    make: Callable[[], bg.AbstractModel]
    twin: Callable[[], bg.GLM]

    @property
    def module(self) -> Any:
        return importlib.import_module(f"bayesglm.models.{self.file}")

    def data(self, rows: int = 300) -> xr.Dataset:
        """A short simulation, in two epochs where rows are bins of time."""
        data = self.module.simulate(rows)
        if "time" not in data.dims:
            return data
        rows = data.sizes["time"]
        return data.assign_coords(epoch=("time", np.repeat([0, 1], [rows // 3, rows - rows // 3])))


CASES = {
    "ReceptiveField": Case(
        "receptive_field",
        lambda: models.ReceptiveField(BUMPS(3, span=0.1)),
        lambda: bg.GLM(bg.Baseline() + bg.Stimulus("stimulus", BUMPS(3, span=0.1)), family.Gaussian()),
    ),
    "PoissonReceptiveField": Case(
        "poisson_receptive_field",
        lambda: models.PoissonReceptiveField(BUMPS(3, span=0.1)),
        lambda: bg.GLM(bg.Baseline() + bg.Stimulus("stimulus", BUMPS(3, span=0.1))),
    ),
    "SpikeHistory": Case(
        "spike_history",
        models.SpikeHistory,
        lambda: bg.GLM(bg.Baseline() + bg.Stimulus("current", BUMPS(5, span=0.1)) + bg.History(BUMPS(5, span=0.1))),
    ),
    "SpatialTuning": Case(
        "spatial_tuning",
        models.SpatialTuning,
        lambda: bg.GLM(
            bg.Baseline() + bg.Tuning("position", basis.BSpline(8)) + bg.Tuning("speed", basis.BSpline(5)) + bg.Tuning("heading", basis.CyclicBSpline(6))
        ),
    ),
    "CoupledPopulation": Case(
        "coupled_population",
        models.CoupledPopulation,
        lambda: bg.GLM(bg.Baseline() + bg.Stimulus("stimulus", BUMPS(5, span=0.1)) + bg.History(BUMPS(4, span=0.05)) + bg.Coupling(BUMPS(3, span=0.05))),
    ),
    "ChoiceDecoding": Case(
        "choice_decoding",
        models.ChoiceDecoding,
        lambda: bg.GLM(bg.Baseline() + bg.Linear("counts", name="weights"), family.Bernoulli(), response="choice"),
    ),
    "TwoAreaPopulation": Case(
        "two_area_population",
        models.TwoAreaPopulation,
        lambda: bg.GLM(
            bg.Baseline()
            + bg.Stimulus("velocity", basis.BSpline(4, span=0.3), lead=0.2)
            + bg.History(BUMPS(4, span=0.05))
            + bg.Coupling(BUMPS(2, span=0.03), prior.Hierarchical("area", dist.HalfNormal(0.5)))
        ),
    ),
    "OverdispersedEncoding": Case(
        "overdispersed_encoding",
        models.OverdispersedEncoding,
        lambda: bg.GLM(bg.Baseline() + bg.Tuning("direction", basis.CyclicBSpline(6)), family.NegativeBinomial()),
    ),
    "HierarchicalSessions": Case(
        "hierarchical_sessions",
        models.HierarchicalSessions,
        lambda: bg.GLM(bg.Baseline() + bg.Tuning("heading", basis.CyclicBSpline(6), prior.Hierarchical("area"))),
    ),
    "DecisionKernels": Case(
        "decision_kernels",
        models.DecisionKernels,
        lambda: bg.GLM(
            bg.Baseline()
            + bg.Event("targets", basis.BSpline(6), window=(0.0, 0.5))
            + bg.Event("motion", basis.BSpline(5), window=(0.0, 0.4), value="value")
            + bg.Event("saccade_in", basis.BSpline(8), window=(-0.4, 0.2))
            + bg.Event("saccade_out", basis.BSpline(8), window=(-0.4, 0.2))
            + bg.History(BUMPS(4, span=0.1))
        ),
    ),
    "PsychometricHistory": Case(
        "psychometric_history",
        models.PsychometricHistory,
        lambda: bg.GLM(
            bg.Baseline()
            + bg.Linear("contrast")
            + bg.History(basis.Lags(span=3))
            + bg.Pooled("session", name="bias")
            + bg.Pooled("session", of="contrast", name="sensitivity"),
            family.Bernoulli(),
            response="choice",
        ),
    ),
    "OrientationDecoding": Case(
        "orientation_decoding",
        models.OrientationDecoding,
        lambda: bg.GLM(bg.Baseline() + bg.Linear("counts", name="weights"), family.VonMises(), response="orientation"),
    ),
    "FeatureEncoding": Case(
        "feature_encoding",
        models.FeatureEncoding,
        lambda: bg.GLM(bg.Baseline() + bg.Linear("features", name="weights"), family.Gaussian(), response="response"),
    ),
}
