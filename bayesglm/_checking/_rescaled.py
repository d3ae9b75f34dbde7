"""The record of a time-rescaling test, readable as it is printed."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

Way = Literal["counts", "any_spike", "pit"]
LEVEL = 0.05  # share of true models that are rejected, over all neurons and both tests together
REJECTED, KEPT, NOT = "rejected", "not rejected", "not assessed"
_SHOWN = 12  # neurons that are printed
_NAMED = 6
_HEADS = ("", "n", "KS distance", "p", "p over draws", "autocorrelation p", "Holm p", "")
_WORDS = {
    "counts": "intervals between spikes in rescaled time; k spikes of a bin are k uniform order statistics of it, exact for Poisson counts",
    "any_spike": "intervals between bins with a spike in rescaled time, by the discrete-time theorem of Haslinger, Pipa & Brown 2010",
    "pit": "randomised probability integral transforms of every row",
}
_UNIT = {"counts": "intervals", "any_spike": "intervals", "pit": "rows"}


@dataclass(frozen=True, eq=False, repr=False)
class Rescaled:
    """How well the timing of events, or the whole distribution of a response, is what a fit expects; prints as a table.

    Attributes
    ----------
    table : xarray.Dataset (neuron[, lag])
        ``n`` intervals or rows; ``ks``, the largest distance between the observed distribution function of the uniform
        transforms u and the diagonal, at u = ``ks_at``; its ``p_value`` at the draw-averaged prediction; ``p_low`` and
        ``p_high``, between which 90 % of the single draws' p-values lie (NaN for a point); ``autocorrelation`` of the
        normal scores of u at ``lag`` intervals or rows, its ``pairs``, ``autocorrelation_p`` of all lags together;
        ``p_adjusted``, the smaller of the two p-values after Holm's correction over all neurons and both tests;
        ``status``, "rejected", "not rejected" or "not assessed".
    curves : xarray.Dataset (neuron, quantile)
        ``share`` of u below each quantile, and the band ``low`` to ``high`` that holds 90 % of the draws.
    how : "counts", "any_spike" or "pit"
    held_out : bool
        Whether the fit has not seen these rows. In sample the test is conservative.
    draws : int
        1: a point estimate.
    response : str
    notes : tuple of str
    """

    table: xr.Dataset
    curves: xr.Dataset
    how: Way
    held_out: bool
    draws: int
    response: str
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """What was counted: intervals or rows."""
        return _UNIT[self.how]

    @property
    def rejected(self) -> tuple:
        """Labels of the neurons whose timing is not what the fit expects."""
        return tuple(self.table["neuron"].values[self.table["status"].values == REJECTED].tolist())

    @property
    def assessed(self) -> int:
        """Neurons with enough events to be tested."""
        return int((self.table["status"] != NOT).sum())

    @property
    def p_joint(self) -> float:
        """Smallest p-value after Holm's correction: below 0.05 the fit is rejected as a whole. NaN where nothing was assessed."""
        found = self.table["p_adjusted"].values
        return float(np.nanmin(found)) if self.assessed else np.nan

    @property
    def verdict(self) -> str:
        """The test in one sentence."""
        seen = "held out" if self.held_out else "in sample, where the test is conservative"
        if not self.assessed:
            return f"not assessed: no neuron has enough {self.unit} ({seen})"
        figures = f"smallest p {_p(self.p_joint)} after Holm's correction, {seen}"
        some = self.table.sizes["neuron"] > 1
        who = f" in {len(self.rejected)} of {self.assessed} neurons ({_named(self.rejected)})" if some else ""
        if self.rejected:
            return f"rejected{who}: {self._faults()} ({figures})"
        about = f" in any of {self.assessed} neurons" if some else ""
        return f"not rejected{about} ({figures})" + ("" if self.held_out else ": this says little")

    def _faults(self) -> str:
        """What is wrong in the neuron that is rejected most clearly."""
        worst = self.table.isel(neuron=int(np.nanargmin(self.table["p_adjusted"].values)))
        if worst["autocorrelation_p"] < worst["p_value"]:
            what = "neighbouring intervals" if self.how != "pit" else "neighbouring rows"
            return f"{what} are correlated ({float(worst['autocorrelation'][0]):+.2f} at lag 1): something slow, or a past, is missing"
        if self.how == "pit":
            return "the response's distribution is not the predicted one"
        at = float(worst["ks_at"])
        observed = float(np.interp(at, self.curves["quantile"], self.curves["share"].sel(neuron=worst["neuron"])))
        few = "too few" if observed < at else "too many"
        return f"{few} intervals are shorter than the fit's {at:.0%} quantile ({observed:.0%})"

    def _table(self) -> list[tuple[str, ...]]:
        order = np.argsort(self.table["p_adjusted"].values, kind="stable") if self.table.sizes["neuron"] > _SHOWN else np.arange(self.table.sizes["neuron"])
        return [_HEADS, *(_cells(self.table.isel(neuron=int(n))) for n in order[:_SHOWN])]

    def _about(self) -> list[str]:
        more = self.table.sizes["neuron"] - _SHOWN
        rest = [f"{more} more neurons are in .table; the least likely are shown"] if more > 0 else []
        return [*rest, f"{_WORDS[self.how]}; n counts {self.unit}", *(f"note: {note}" for note in self.notes)]

    def __repr__(self) -> str:
        table = self._table()
        widths = [max(len(line[i]) for line in table) for i in range(len(_HEADS))]
        left = (0, len(_HEADS) - 1)
        text = ["  ".join(cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))) for line in table]
        title = f"Time rescaling of {self.response!r}: {self.verdict}."
        return "\n".join([title, "", *(line.rstrip() for line in text), "", *(f"  {line}" for line in self._about())])

    def _repr_html_(self) -> str:
        head, *body = self._table()
        heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
        below = "".join(f"<p>{html.escape(line)}</p>" for line in self._about())
        return f"<p><b>Time rescaling of {html.escape(repr(self.response))}: {html.escape(self.verdict)}.</b></p><table><tr>{heads}</tr>{rows}</table>{below}"


def _cells(row: xr.Dataset) -> tuple[str, ...]:
    """A line of the table."""
    label, n, status = str(row["neuron"].values), str(int(row["n"])), str(row["status"].values)
    if status == NOT:
        return label, n, "-", "-", "-", "-", "-", status
    over = f"{_p(float(row['p_low']))} to {_p(float(row['p_high']))}" if np.isfinite(row["p_low"]) else "-"
    return label, n, f"{float(row['ks']):.3f}", _p(float(row["p_value"])), over, _p(float(row["autocorrelation_p"])), _p(float(row["p_adjusted"])), status


def _p(value: float) -> str:
    """A p-value, with the digits that it deserves."""
    if not np.isfinite(value):
        return "-"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}" if value >= 1e-4 else f"{value:.0e}"


def _named(labels: tuple) -> str:
    more = f", ... {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(str(label) for label in labels[:_NAMED]) + more
