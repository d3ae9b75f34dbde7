"""The record of a leave-out estimate, readable as it is printed."""

from __future__ import annotations

import functools
import html
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import xarray as xr
from scipy import stats

if TYPE_CHECKING:
    from arviz_stats.utils import ELPDData

UNRELIABLE_P = 0.4  # p_waic of a unit beyond which WAIC is not to be trusted there
UNRELIABLE_SHARE = 0.01


class Identity(NamedTuple):
    """What two estimates must share before their difference means anything."""

    response: str
    dt: float
    neurons: tuple
    mass: bool
    rows: int
    scored: int  # digest of which entries are scored
    values: int  # digest of the responses there


@dataclass(frozen=True, eq=False, repr=False)
class Elpd:
    """Expected log predictive density of what was left out, in nats; names as ArviZ's where they mean the same.

    It is an ``arviz_stats`` ``ELPDData``, so that ``arviz.compare`` and ``arviz.plot_khat`` take it as it is. Their standard
    errors of differences are over units, not over clusters: ``bg.compare`` has the clustered ones.

    Attributes
    ----------
    ic : "loo", "waic" or "loo_plugin"
        "loo_plugin" is the density at the point that a MAP fit would have without the unit.
    elpd, se : float
        Sum over units and neurons; its standard error over clusters.
    p : float
        Effective number of parameters.
    elpd_i, p_i, pareto_k : xarray.DataArray (unit, neuron)
        NaN where nothing was scored; ``pareto_k`` is all NaN for WAIC. The unit's coordinate is where it begins.
    good_k : float
        Largest trustworthy Pareto k at this number of draws.
    unit, se_unit : str
        What was left out; over what differences are summed before the standard error.
    block : float or None
        Length of a block in seconds; ``block_why`` says where it comes from.
    cluster : (unit,) int
    n_samples : int
        Draws.
    subsampling_se : float
        What estimating from a sample of units (``rows=``) adds to the standard error; 0 where every unit was evaluated.
    notes : tuple of str
    """

    ic: str
    elpd_i: xr.DataArray
    p_i: xr.DataArray
    pareto_k: xr.DataArray
    good_k: float
    unit: str
    se_unit: str
    block: float | None
    block_why: str
    cluster: np.ndarray
    n_samples: int
    identity: Identity = field(repr=False)
    notes: tuple[str, ...] = ()
    subsampling_se: float = 0.0
    scheme: str = ""  # how K-fold left things out, in words

    def __new__(cls, *_: Any, **__: Any) -> Self:
        # ArviZ asks for instances of its own class; it is loaded with the first record, not with the package.
        return object.__new__(_arviz_kind() if cls is Elpd else cls)

    def __reduce__(self) -> tuple:
        return Elpd, tuple(getattr(self, entry.name) for entry in fields(self))

    @property
    def kind(self) -> str:
        """What ArviZ calls the criterion."""
        return {"waic": "waic", "kfold": "loo_kfold"}.get(self.ic, "loo")

    @property
    def scale(self) -> str:
        """Log densities: more is better."""
        return "log"

    @property
    def warning(self) -> bool:
        """Whether any unit is not to be trusted."""
        return self.n_bad > 0

    @property
    def elpd(self) -> float:
        return float(self.elpd_i.sum())

    @property
    def p(self) -> float:
        return float(self.p_i.sum())

    @property
    def se(self) -> float:
        return float(clustered_se(np.nansum(self.elpd_i.values, 1, keepdims=True), self.cluster)[0])

    @property
    def n_data_points(self) -> int:
        """Units with anything scored, summed over neurons."""
        return int(self.elpd_i.notnull().sum())

    @property
    def n_clusters(self) -> int:
        return int(self.cluster.max()) + 1

    @property
    def n_bad(self) -> int:
        """Units with a Pareto k that is not to be trusted; for WAIC, with p above 0.4."""
        return int(self.bad_i.sum())

    @property
    def bad_i(self) -> xr.DataArray:
        """(unit, neuron) bool: which."""
        return self.p_i > UNRELIABLE_P if self.ic == "waic" else self.pareto_k > self.good_k

    @property
    def reliable(self) -> bool:
        """Whether the importance weights (WAIC: the variances) may be trusted."""
        return self.n_bad <= UNRELIABLE_SHARE * self.n_data_points if self.ic == "waic" else self.n_bad == 0

    @property
    def by_neuron(self) -> xr.Dataset:
        """elpd, se, p and bad units of each neuron."""
        bad = self.bad_i
        se = clustered_se(self.elpd_i.values, self.cluster)
        figures = {"elpd": self.elpd_i.sum(self.unit), "se": ("neuron", se), "p": self.p_i.sum(self.unit), "bad": bad.sum(self.unit)}
        return xr.Dataset(figures)

    def interval(self, prob: float = 0.95) -> tuple[float, float]:
        """Interval of elpd by t quantiles with clusters - 1 degrees of freedom."""
        half = t_quantile(prob, self.n_clusters) * float(np.hypot(self.se, self.subsampling_se))
        return self.elpd - half, self.elpd + half

    def to_arviz(self) -> ELPDData:
        """A plain ``arviz_stats`` record: ``ELPDDataLOO`` for LOO, else ``ELPDData``.

        Units without a value are left out; where there are any, the arrays are (observation,) with the coordinates of
        unit and neuron.
        """
        from arviz_stats.utils import ELPDData, ELPDDataLOO

        arrays = [self.elpd_i, self.pareto_k, self.p_i]
        if self.elpd_i.isnull().any():
            known = self.elpd_i.stack(observation=self.elpd_i.dims).notnull()
            arrays = [array.stack(observation=array.dims)[known].reset_index("observation") for array in arrays]
        shared = {name: getattr(self, name) for name in ("elpd", "se", "p", "n_samples", "n_data_points", "scale", "warning", "good_k")}
        if self.kind != "loo":
            return ELPDData(**shared, elpd_i=arrays[0])
        return ELPDDataLOO(**shared, elpd_i=arrays[0], pareto_k=arrays[1], p_loo_i=arrays[2])

    def _lines(self) -> list[tuple[str, str]]:
        name = f"elpd_{self.ic}"
        lines = [(name, f"{self.elpd:.1f} nats, se {self.se:.1f} over {self.n_clusters} {self.se_unit}s"), (f"p_{self.ic}", f"{self.p:.1f}")]
        if self.subsampling_se:
            lines.append(("sampling", f"adds {self.subsampling_se:.2g} nats to the standard error"))
        lines.append(("left out", self.scheme or left_out(self.unit, self.block, self.block_why)))
        if self.se_unit == "block" and self.unit != "block":
            lines.append(("se blocks", f"{self.block:.3g} s ({self.block_why})"))
        checked = int(self.pareto_k.notnull().sum())
        if checked:
            lines.append(("Pareto k", f"{self.n_bad} of {checked} above {self.good_k:.2f}, with {self.n_samples} draws"))
        return lines + [("note", note) for note in self.notes]

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        width = max(len(label) for label, _ in self._lines())
        return f"{self.ic.upper()}\n" + "\n".join(f"  {label:<{width}}  {text}" for label, text in self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th style='text-align:left'>{html.escape(a)}</th><td style='text-align:left'>{html.escape(b)}</td></tr>" for a, b in self._lines())
        return f"<table><caption style='text-align:left'><b>{self.ic.upper()}</b></caption>{rows}</table>"


@functools.cache
def _arviz_kind() -> type:
    """``Elpd`` that is also ArviZ's."""
    from arviz_stats.utils import ELPDData

    own = {"__module__": __name__, "__doc__": Elpd.__doc__, "__eq__": object.__eq__, "__hash__": object.__hash__}
    return type("Elpd", (Elpd, ELPDData), own)


def left_out(unit: str, block: float | None, why: str) -> str:
    """What was left out, in words."""
    if unit == "bin":
        return "bins: one step ahead, given the neighbouring bins"
    return "whole trials" if unit == "trial" else f"blocks of {block:.3g} s ({why})"


def clustered_se(values: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Standard error of column sums of (unit, column): sqrt(C) times the sd of the C cluster sums. NaN units are absent."""
    known = ~np.isnan(values)
    sums, seen = np.zeros((2, int(cluster.max()) + 1, values.shape[1]))
    np.add.at(sums, cluster, np.where(known, values, 0.0))
    np.add.at(seen, cluster, known)
    present = seen > 0
    count = present.sum(0)
    mean = sums.sum(0) / np.maximum(count, 1)
    squares = np.where(present, (sums - mean) ** 2, 0.0).sum(0)
    return np.where(count > 1, np.sqrt(count * squares / np.maximum(count - 1, 1)), np.nan)


def t_quantile(prob: float, clusters: int) -> float:
    """Half width, in standard errors, of a central interval."""
    if not 0 < prob < 1:
        raise ValueError(f"prob={prob!r}: the mass of an interval lies between 0 and 1.")
    return float(stats.t.ppf(0.5 + prob / 2, clusters - 1)) if clusters > 1 else np.nan
