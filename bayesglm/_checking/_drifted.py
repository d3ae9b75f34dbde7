"""What drift() found: every effect in every block, and how far apart the blocks are."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesglm import _filters as verbs
from bayesglm._checking._items import Status
from bayesglm.method import AbstractMethod

if TYPE_CHECKING:
    from bayesglm._fit import Fit

BEYOND = 2.0  # posterior sds between parts beyond which a band is of its own part only
WITHIN = "the band is within-session only"
_CHANCE = 0.05  # of a false alarm
_SHOWN = 8


@dataclass(frozen=True, eq=False, repr=False)
class Drift:
    """A model fitted to every block of a recording, and how far apart the blocks are.

    Attributes
    ----------
    table : xarray.Dataset (effect, block)
        ``mean`` and ``sd`` (effect, block) of every net effect, baseline and plain weight; ``whole`` (effect,) its mean in
        the fit; ``ratio`` (effect,), the spread between blocks over what their posteriors allow, 1 where nothing drifts;
        ``p_value``; ``largest``, the largest difference of two blocks. Coordinates say which effect: ``term``,
        ``quantity``, ``neuron``, ``source``, ``entry``; and when each block was: ``start``, ``stop``.
    fits : tuple of Fit
        One a block.
    fit : Fit
        The fit that was asked about.
    by : str
        What the blocks are made of.
    method : AbstractMethod
        What they were fitted by.
    notes : tuple of str
    """

    table: xr.Dataset
    fits: tuple[Fit, ...]
    fit: Fit
    by: str
    method: AbstractMethod
    notes: tuple[str, ...]

    @property
    def blocks(self) -> list:
        """Labels of the blocks."""
        return self.table["block"].values.tolist()

    def filters(self, term: str) -> xr.DataArray:
        """Draws of a term's filters in every block, (block, chain, draw, neuron[, source], lag); as ``bg.filters`` computes them."""
        found = [verbs.filters(one, term) for one in self.fits]
        return xr.concat(found, "block", combine_attrs="override").assign_coords(block=self.table["block"])

    @property
    def beyond(self) -> xr.Dataset:
        """The effects whose blocks are further apart than two posterior sds, the furthest first."""
        found = self.table.isel(effect=np.flatnonzero(self.table["ratio"].values > BEYOND))
        return found.sortby("ratio", ascending=False)

    @property
    def known(self) -> int:
        """How many effects have a posterior in two blocks or more."""
        return int(self.table["ratio"].notnull().sum())

    @property
    def far(self) -> int:
        """How many of them are further apart than two posterior sds."""
        return int((self.table["ratio"] > BEYOND).sum())

    @property
    def expected(self) -> float:
        """How many would be by chance where nothing drifts."""
        return _beyond_by_chance(len(self.fits)) * self.known

    @property
    def too_narrow(self) -> float:
        """By how much the bands are too narrow across blocks: the root mean square of ``ratio`` over all effects."""
        return float(np.sqrt((self.table["ratio"] ** 2).mean()))

    @property
    def status(self) -> Status:
        """Good where the blocks agree as they should, bad where bands are more than twice too narrow across blocks."""
        if not self.known:
            return "not assessed"
        if not _more_than_chance(self.table["ratio"].values, self.table["p_value"].values, len(self.fits)):
            return "good"
        return "bad" if self.too_narrow > BEYOND else "warning"

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.known:
            return "no effect has a posterior in two blocks"
        much = f"by more than {BEYOND:g} posterior sds ({self.expected:.2g} expected by chance)"
        said = f"{self.far} of {self.known} effects differ between {self._parts()} {much}"
        if self.status == "good":
            return f"{said}: the blocks agree"
        return f"{said}; {self.width}: {WITHIN}"

    @property
    def width(self) -> str:
        """What that means for the bands, in words."""
        x = self.too_narrow
        return f"bands are about {x:.1f} times too narrow across them" if x > 1.05 else "their bands do not hold across them, those of most others do"

    def _parts(self) -> str:
        return "halves" if len(self.fits) == 2 and self.by == "block" else f"{len(self.fits)} {self.by}s"

    def _lines(self) -> list[tuple[str, str]]:
        dt = self.table["stop"] - self.table["start"]
        unit = self.table["start"].attrs["units"]
        shortest, longest = f"{float(dt.min()):.3g}", f"{float(dt.max()):.3g}"
        spans = shortest if shortest == longest else f"{shortest} to {longest}"
        lines = [("verdict", self.verdict), (self.by + "s", f"{len(self.fits)} of {spans} {unit}")]
        lines += [("refits", f"method.{type(self.method).__name__}; bases, bounds and units as in the fit, learned scales anew in each"), *self._worst()]
        return [*lines, *(("note", note) for note in self.notes)]

    def _worst(self) -> list[tuple[str, str]]:
        """The effects furthest apart."""
        order = np.argsort(-np.nan_to_num(self.table["ratio"].values, nan=-1.0), kind="stable")[:_SHOWN]
        rows = [self.table.isel(effect=int(i)) for i in order if self.table["ratio"].values[i] > BEYOND]
        return [(name_of(row), f"{', '.join(f'{value:.3g}' for value in row['mean'].values)}; {float(row['ratio']):.1f} posterior sds apart") for row in rows]

    def __repr__(self) -> str:
        width = max(len(label) for label, _ in self._lines())
        return "Drift\n" + "\n".join(f"  {label:<{width}}  {text}" for label, text in self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th style='text-align:left'>{html.escape(a)}</th><td style='text-align:left'>{html.escape(b)}</td></tr>" for a, b in self._lines())
        return f"<table><caption style='text-align:left'><b>Drift</b></caption>{rows}</table>"


def name_of(row: xr.Dataset) -> str:
    """An effect in words: term, then neuron <- source."""
    cells = " <- ".join(str(row[key].item()) for key in ("neuron", "source") if row[key].item())
    inside = ", ".join(part for part in (cells, str(row["entry"].item())) if part)
    return f"{row['term'].item()}[{inside}]" if inside else str(row["term"].item())


def _beyond_by_chance(blocks: int) -> float:
    """The chance that the blocks of one effect are more than two sds apart where nothing drifts."""
    from scipy.stats import chi2

    return float(chi2.sf(BEYOND**2 * (blocks - 1), blocks - 1))


def _more_than_chance(ratio: np.ndarray, p_value: np.ndarray, blocks: int) -> bool:
    """Whether more effects are far apart than 1 recording in 20 would show without drift, or one of them much too far."""
    from scipy.stats import binom

    known = np.isfinite(ratio)
    many, far = int(known.sum()), int((ratio[known] > BEYOND).sum())
    if far == 0:
        return False
    return bool(many * np.min(p_value[known]) < _CHANCE) or float(binom.sf(far - 1, many, _beyond_by_chance(blocks))) < _CHANCE
