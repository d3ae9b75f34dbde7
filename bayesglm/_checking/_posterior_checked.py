"""What posterior_check() found, and how it reads."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

LEVEL = 0.05
_WORDS = {"one_step": "one step ahead, given the real past", "free": "free-running"}
_NAMED = 3  # of what stands out, in the verdict


@dataclass(frozen=True, eq=False, repr=False)
class PosteriorCheck:
    """Statistics of the observed response and of its replicates.

    Attributes
    ----------
    table : xarray.Dataset (statistic[, neuron])
        ``observed``; ``mean``, ``low`` and ``high`` of the replicates (90 %); ``p_value`` of each alone and ``p_adjusted``
        over all of them together. A statistic that is a curve enters by its distance from the replicates' mean, the root
        mean square over its places in sd of the replicates; only large ones count against the fit.
    curves : mapping of names to xarray.Dataset (place[, neuron])
        The curves themselves: ``observed``, ``mean``, ``low``, ``high`` (90 % at each place).
    replicated : xarray.DataArray (replicate, statistic[, neuron])
        The table's statistics of every replicate.
    p_joint : float
        Of all statistics of all neurons together.
    p_neuron : xarray.DataArray ([neuron])
        Of a neuron's statistics together.
    kind : "one_step" or "free"
    in_sample : bool
        Whether the rows are those that the fit has seen: p-values are then too large, and a pass says little.
    point : bool
        Whether the parameters were taken as known, as of a MAP fit.
    rows : int
        Rows that any neuron scores.
    notes : tuple of str
    """

    table: xr.Dataset
    curves: Mapping[str, xr.Dataset]
    replicated: xr.DataArray
    p_joint: float
    p_neuron: xr.DataArray
    kind: str
    in_sample: bool
    point: bool
    rows: int
    notes: tuple[str, ...]

    @property
    def replicates(self) -> int:
        """How many there are."""
        return self.replicated.sizes["replicate"]

    @property
    def passed(self) -> bool:
        """Whether nothing stands out at 5 %, all statistics taken together."""
        return not self.p_joint <= LEVEL

    @property
    def verdict(self) -> str:
        """What it comes to, in a sentence."""
        if np.isnan(self.p_joint):
            return "not assessed: no statistic of any neuron could be computed"
        size = f"p = {self.p_joint:.2g} jointly over {int(self.table['p_value'].notnull().sum())} statistics"
        if self.passed:
            more = "; but in sample, where the fit has seen these rows, a pass says little: check a test part" if self.in_sample else ""
            return f"nothing stands out ({size}){more}"
        named = "; ".join(self._said(*place) for place in self.standing_out()[:_NAMED])
        return f"the fit does not describe these data ({size}): {named or 'no single statistic, but their worst is worse than chance'}"

    def standing_out(self) -> list[tuple[str, Any]]:
        """(statistic, neuron) with an adjusted p-value of at most 5 %, the worst first; neuron None where there is one response."""
        adjusted, alone = self.table["p_adjusted"], self.table["p_value"]
        names = [str(name) for name in self.table["statistic"].values]
        labels = self.table["neuron"].values.tolist() if "neuron" in self.table.dims else [None]
        flat = [(float(p), float(q), i, n) for i, n, p, q in _entries(adjusted.values, alone.values)]
        return [(names[i], labels[n]) for p, q, i, n in sorted(flat) if p <= LEVEL]

    def _said(self, name: str, neuron: Any) -> str:
        row = self._at(name, neuron)
        who = f" of neuron {neuron}" if self.table.sizes.get("neuron", 1) > 1 else ""
        observed, low, high = (_number(float(row[key])) for key in ("observed", "low", "high"))
        if name in self.curves:
            return f"{row['title'].item()}{who} ({observed} sd from the replicates' mean, theirs {low} to {high})"
        units = "" if row["units"].item() == "1" else f" {row['units'].item()}"
        return f"{row['title'].item()}{who} ({observed}{units}, replicates {low} to {high})"

    def _at(self, name: str, neuron: Any) -> xr.Dataset:
        row = self.table.sel(statistic=name)
        return row if neuron is None else row.sel(neuron=neuron)

    def _head(self) -> str:
        where = "in sample" if self.in_sample else "held out"
        neurons = f" of {self.table.sizes['neuron']} neuron(s)" if "neuron" in self.table.dims else ""
        return f"Posterior check, {where}, {_WORDS[self.kind]}: {self.replicates} replicates of {self.rows} rows{neurons}"

    def _rows(self) -> list[list[str]]:
        """A row a statistic: that of the neuron where it stands out most, and of how many it does."""
        several = self.table.sizes.get("neuron", 1) > 1
        lines = [["statistic", *(["worst neuron"] if several else []), "observed", "replicates (90 %)", "p", *(["p < 0.05 in"] if several else [])]]
        for name in self.table["statistic"].values:
            row = self.table.sel(statistic=name)
            known = int(row["p_value"].notnull().sum())
            if not known:
                continue
            one = row.isel(neuron=int(row["p_adjusted"].argmin("neuron"))) if "neuron" in row.dims else row
            cells = [_with_units(one), *([str(one["neuron"].item())] if several else []), _number(float(one["observed"]))]
            cells += [f"{_number(float(one['low']))} to {_number(float(one['high']))}", f"{float(one['p_value']):.3f}"]
            lines.append([*cells, *([f"{int((row['p_value'] < LEVEL).sum())} of {known}"] if several else [])])
        return lines

    def _mends(self) -> list[str]:
        """What to do about each statistic that stands out, by the side on which it does where that matters."""
        mends: dict[str, str] = {}
        for name, neuron in self.standing_out():
            row = self._at(name, neuron)
            low = name not in self.curves and float(row["observed"]) < float(row["mean"]) and row["mend_low"].item()
            mends.setdefault(name, row["mend_low" if low else "mend"].item())
        return [f"{name}: {mend}" for name, mend in mends.items() if mend]

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [self._head(), f"  verdict: {self.verdict}", ""]
        lines += ["  " + "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))) for row in rows]
        lines += [""] if self._mends() or self.notes else []
        lines += [f"  next  {mend}" for mend in self._mends()] + [f"  note  {note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *body = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self._rows()]
        table = f"<table><tr>{head.replace('td>', 'th>')}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"
        more = [f"<b>next</b> {html.escape(mend)}" for mend in self._mends()] + [f"<b>note</b> {html.escape(note)}" for note in self.notes]
        return f"<div><b>{html.escape(self._head())}</b><p>{html.escape(self.verdict)}</p>{table}{''.join(f'<p>{line}</p>' for line in more)}</div>"


def _entries(adjusted: np.ndarray, alone: np.ndarray) -> list[tuple[int, int, float, float]]:
    """(statistic, neuron, adjusted p, p) of all that are known."""
    p, q = (values.reshape(len(values), -1) for values in (adjusted, alone))
    return [(int(i), int(n), p[i, n], q[i, n]) for i, n in np.argwhere(~np.isnan(p))]


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _with_units(row: xr.Dataset) -> str:
    units = row["units"].item()
    return row["title"].item() + (f" ({units})" if units != "1" else "")
