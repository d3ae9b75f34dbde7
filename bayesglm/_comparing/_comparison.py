"""The record of a comparison, readable as it is printed."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from bayesglm._comparing._elpd import Elpd, t_quantile

LEAST_CLUSTERS = 20
LEAST_NATS = 4.0  # Sivula et al. 2020: below this a difference's standard error is itself unreliable
PROB = 0.95
BETTER, WORSE, SAME, FEW, NOT = "better", "worse", "not distinguishable", "too few blocks", "not comparable"
_HEADS = ("", "elpd", "se", "difference", "its se", "95 % interval")
_LEFT = (0, -1)  # cells that are words


@dataclass(frozen=True, eq=False)
class Compared:
    """One model of a comparison.

    Attributes
    ----------
    name : str
    elpd : Elpd or None
        None where there is none (a point fit).
    difference, se : float
        elpd minus the best model's (the best model's: minus the next one's), in nats, and its standard error over
        clusters; NaN where not comparable.
    clusters : int
    verdict : str
        "better" and "worse" are said where the difference exceeds 4 nats and its 95 % t-interval leaves out zero; else
        "not distinguishable", "too few blocks" (under 20), or "not comparable", with ``reason``.
    weight : float
        Stacking weight: the model's share in the mixture that would have predicted best; NaN where not comparable.
    by_neuron : xarray.Dataset or None
        difference and se of each neuron.
    """

    name: str
    elpd: Elpd | None
    difference: float
    se: float
    clusters: int
    verdict: str
    reason: str = ""
    by_neuron: xr.Dataset | None = field(default=None, repr=False)
    weight: float = np.nan

    def interval(self, prob: float = PROB) -> tuple[float, float]:
        """Interval of the difference by t quantiles with clusters - 1 degrees of freedom."""
        half = t_quantile(prob, self.clusters) * self.se
        return self.difference - half, self.difference + half


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Models in order of elpd; prints as a table with a verdict in words. ``comparison["name"]`` is one model's row."""

    rows: tuple[Compared, ...]
    ic: str
    about: str

    def __getitem__(self, name: str) -> Compared:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{name!r}: the models compared are {[row.name for row in self.rows]}")

    @property
    def best(self) -> Compared:
        """The model with the largest elpd among the comparable ones."""
        return self.rows[0]

    @property
    def verdict(self) -> str:
        """The comparison in one sentence."""
        known = [row for row in self.rows if row.verdict != NOT]
        if len(known) < 2:
            return "not comparable: " + "; ".join(f"{row.name!r}: {row.reason}" for row in self.rows if row.reason)
        best, following = known[:2]
        spread = f"se {best.se:.1f} over {best.clusters} {_unit(best)}s" if best.clusters > 1 else f"one {_unit(best)} tells no standard error"
        figures = f"{best.difference:.1f} nats, {spread}"
        if best.verdict == BETTER:
            return f"{best.name!r} predicts better than {following.name!r} ({figures})"
        if best.verdict == FEW:
            return f"too few blocks to tell {best.name!r} from {following.name!r} ({figures}; {LEAST_CLUSTERS} are wanted)"
        return f"{best.name!r} and {following.name!r} are not distinguishable ({figures})"

    def _table(self) -> list[tuple[str, ...]]:
        bad = "p > 0.4" if self.ic == "waic" else "bad k"
        lines = [(*_HEADS, f"p_{self.ic}", bad, "weight", "verdict"), *(_cells(row) for row in self.rows)]
        at = lines[0].index(bad)
        return [(*line[:at], *line[at + 1 :]) for line in lines] if self.ic == "kfold" else lines  # refits have no weights that could be bad

    def _notes(self) -> list[str]:
        found = [f"{row.name!r}: {note}" for row in self.rows if row.elpd is not None for note in row.elpd.notes]
        return found + [f"{row.name!r} is not comparable: {row.reason}" for row in self.rows if row.verdict == NOT]

    def __repr__(self) -> str:
        table = self._table()
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        left = [i % len(widths) for i in _LEFT]
        text = ["  ".join(cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))) for line in table]
        notes = [f"  note: {note}" for note in self._notes()]
        return "\n".join([self.verdict[:1].upper() + self.verdict[1:] + ".", "", *(line.rstrip() for line in text), "", f"  {self.about}", *notes])

    def _repr_html_(self) -> str:
        head, *body = self._table()
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
        heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        below = "".join(f"<p>{html.escape(line)}</p>" for line in [self.about, *self._notes()])
        return f"<p><b>{html.escape(self.verdict)}</b></p><table><tr>{heads}</tr>{rows}</table>{below}"


def _unit(row: Compared) -> str:
    return row.elpd.se_unit if row.elpd is not None else "block"


def _cells(row: Compared) -> tuple[str, ...]:
    """A line of the table, as long as its heads."""
    if row.elpd is None:
        return (row.name, *["-"] * 8, row.verdict)
    known = row.verdict != NOT
    low, high = row.interval() if known else (np.nan, np.nan)
    figures = [f"{row.difference:+.1f}", f"{row.se:.1f}", f"{low:.1f} to {high:.1f}"] if known else ["-"] * 3
    weight = f"{row.weight:.2f}" if np.isfinite(row.weight) else "-"
    return (row.name, f"{row.elpd.elpd:.1f}", f"{row.elpd.se:.1f}", *figures, f"{row.elpd.p:.1f}", str(row.elpd.n_bad), weight, row.verdict)
