"""The record of a leave-out estimate, readable as it is printed."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

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

    Attributes
    ----------
    ic : "loo" or "waic"
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
        return int((self.p_i > UNRELIABLE_P).sum() if self.ic == "waic" else (self.pareto_k > self.good_k).sum())

    @property
    def reliable(self) -> bool:
        """Whether the importance weights (WAIC: the variances) may be trusted."""
        return self.n_bad <= UNRELIABLE_SHARE * self.n_data_points if self.ic == "waic" else self.n_bad == 0

    @property
    def by_neuron(self) -> xr.Dataset:
        """elpd, se, p and bad units of each neuron."""
        bad = self.p_i > UNRELIABLE_P if self.ic == "waic" else self.pareto_k > self.good_k
        se = clustered_se(self.elpd_i.values, self.cluster)
        figures = {"elpd": self.elpd_i.sum(self.unit), "se": ("neuron", se), "p": self.p_i.sum(self.unit), "bad": bad.sum(self.unit)}
        return xr.Dataset(figures)

    def interval(self, prob: float = 0.95) -> tuple[float, float]:
        """Interval of elpd by t quantiles with clusters - 1 degrees of freedom."""
        half = t_quantile(prob, self.n_clusters) * self.se
        return self.elpd - half, self.elpd + half

    def _lines(self) -> list[tuple[str, str]]:
        name = f"elpd_{self.ic}"
        lines = [(name, f"{self.elpd:.1f} nats, se {self.se:.1f} over {self.n_clusters} {self.se_unit}s"), (f"p_{self.ic}", f"{self.p:.1f}")]
        lines.append(("left out", left_out(self.unit, self.block, self.block_why)))
        if self.se_unit == "block" and self.unit != "block":
            lines.append(("se blocks", f"{self.block:.3g} s ({self.block_why})"))
        if self.ic == "loo":
            lines.append(("Pareto k", f"{self.n_bad} of {self.n_data_points} above {self.good_k:.2f}, with {self.n_samples} draws"))
        return lines + [("note", note) for note in self.notes]

    def __repr__(self) -> str:
        width = max(len(label) for label, _ in self._lines())
        return f"{self.ic.upper()}\n" + "\n".join(f"  {label:<{width}}  {text}" for label, text in self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th style='text-align:left'>{html.escape(a)}</th><td style='text-align:left'>{html.escape(b)}</td></tr>" for a, b in self._lines())
        return f"<table><caption style='text-align:left'><b>{self.ic.upper()}</b></caption>{rows}</table>"


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
