"""summary(): what a fit found, as a table."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._contraction import LITTLE, Contractions, contractions, little_learned
from bayesglm._filters import NO_POSTERIOR, checked_prob
from bayesglm._quantities import NET, Quantity, quantities
from bayesglm._show import conditions
from bayesglm.engine.diagnostics import ess, rhat
from bayesglm.terms import Coupling

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm._fit import Fit

FIGURES = ("mean", "sd", "lower", "upper", "p_positive", "contraction", "ess_bulk", "rhat")
_KEYS = ("term", "quantity", "neuron", "source", "entry", "lag", "units")
_HEADS = {"p_positive": "P(>0)", "ess_bulk": "ESS", "rhat": "R-hat"}
_SHOWN = 12  # rows of one quantity in the printed table


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """What a fit found: a table of net effects, peaks, baselines and learned parameters, and how to read it.

    Attributes
    ----------
    table : tuple of dict
        A row a number, with the keys term, quantity, neuron, source, entry (other dims, in words), lag (of a peak),
        units, mean, sd, lower, upper, p_positive, contraction, ess_bulk, rhat. Where there is no posterior all but ``mean``
        are NaN.
    prob : float
        Probability of the intervals from ``lower`` to ``upper``.
    notes : tuple of (label, sentence)
        Convergence, what the bands condition on, filters of which the data say little, expected false discoveries.
    point : bool
        Whether the fit is a point, without a posterior.
    """

    table: tuple[dict[str, Any], ...]
    prob: float
    notes: tuple[tuple[str, str], ...]
    point: bool

    def to_pandas(self) -> pd.DataFrame:
        """The table as a DataFrame, a row labelled ``term[neuron <- source] quantity``."""
        import pandas as pd

        frame = pd.DataFrame(list(self.table))
        frame.index = pd.Index([f"{row['term']}{_brackets(row)} {row['quantity']}" for row in self.table])
        return frame

    def to_dataset(self) -> xr.Dataset:
        """The table as labelled arrays: a variable a figure, over ``row``, with what each row is about as coordinates of it."""
        columns = {key: [row[key] for row in self.table] for key in (*_KEYS, *FIGURES)}
        words = {key: ["" if value is None else str(value) for value in columns[key]] for key in _KEYS if key != "lag"}
        about = {key: ("row", np.array(values, str)) for key, values in words.items()} | {"lag": ("row", np.array(columns["lag"], float))}
        return xr.Dataset({name: ("row", np.array(columns[name], float)) for name in FIGURES}, about, {"prob": self.prob})

    def __repr__(self) -> str:
        lines = [f"Summary ({self.prob:.0%} intervals)"] + [f"  {label}: {text}" for label, text in self.notes]
        for title, rows, left in self._groups():
            lines += ["", title, *_aligned(rows, self.figures)]
            lines += [f"  ... and {left} more: summary(fit).to_pandas()"] if left else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        notes = "".join(f"<p><b>{html.escape(label)}</b>: {html.escape(text)}</p>" for label, text in self.notes)
        return f"<div><b>Summary</b> ({self.prob:.0%} intervals){notes}{''.join(self._tables())}</div>"

    def _tables(self) -> Iterator[str]:
        for title, rows, left in self._groups():
            head = "".join(f"<th>{html.escape(_HEADS.get(name, name))}</th>" for name in (_labelled(rows), *self.figures))
            cells = ("".join(f"<td>{html.escape(text)}</td>" for text in _cells(row, self.figures)) for row in rows)
            more = f"<tr><td>... and {left} more</td></tr>" if left else ""
            yield f"<table><caption>{html.escape(title)}</caption><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}{more}</table>"

    @property
    def figures(self) -> tuple[str, ...]:
        """The columns that hold something."""
        return FIGURES[:1] if self.point else FIGURES

    def _groups(self) -> Iterator[tuple[str, list[dict[str, Any]], int]]:
        """Rows by term and quantity, with a title; of many rows those furthest from zero, and how many were left out."""
        keys = dict.fromkeys((row["term"], row["quantity"], row["units"]) for row in self.table)
        for term, quantity, units in keys:
            rows = [row for row in self.table if (row["term"], row["quantity"]) == (term, quantity)]
            cut = sorted(rows, key=_distance)[_SHOWN - 1] if len(rows) > _SHOWN else None
            shown = rows if cut is None else [row for row in rows if _distance(row) <= _distance(cut)][:_SHOWN]
            name = term if quantity in (term, "") else f"{term}: {quantity}"
            yield f"{name} ({units})" if units else name, shown, len(rows) - len(shown)


def _distance(row: dict[str, Any]) -> float:
    """Smallest for what is furthest from zero, in posterior sd where there is one."""
    return -abs(row["mean"]) / (row["sd"] if row["sd"] > 0 else 1.0)


def summary(fit: Fit, prob: float = 0.9, weights: bool = False) -> Summary:
    """What a fit found: for every filter its net effect (sum over lags) and peak, baselines, learned parameters.

    Parameters
    ----------
    fit : Fit
    prob : float
        Probability of the equal-tailed intervals, in (0, 1).
    weights : bool
        Also list every single weight of the bases.

    Returns
    -------
    Summary
        Prints as a table; ``.table`` is a tuple of rows, ``.to_pandas()`` a DataFrame, ``.to_dataset()`` an
        xarray.Dataset. Of a MAP fit only ``mean`` (the point) is a number.

    Raises
    ------
    ValueError
        Where ``prob`` is not in (0, 1).

    Notes
    -----
    The peak is the filter at the lag where its posterior mean is largest in size, so that it is one lag's number with a
    posterior of its own. Weights that do not exist (own cell, ``mask=``) are left out. ``p_positive`` is P(> 0); the
    expected number of wrong signs is the sum of 1 - P(sign) over the couplings whose interval excludes zero.

    ``contraction`` is 1 - Var(posterior) / Var(prior), near 1 where the data speak and near 0 where the band is the prior's;
    the prior's variance is that of 2,000 draws, averaged over learned scales (a sampling error of some 5 %). Where the
    prior has no finite variance (a half-Cauchy scale) squared interquartile ranges stand for variances, and a note says
    so. NaN where there is no prior to compare with: flat priors, scales by evidence, models without terms.

    References
    ----------
    Gelman & Tuerlinckx 2000, Type S error rates for classical and Bayesian single and multiple comparison procedures;
    Betancourt 2018, Calibrating model-based inferences and decisions (prior-to-posterior contraction).
    """
    prob = checked_prob(prob)
    listed = tuple(quantities(fit, weights))
    found = contractions(fit, listed)
    table = tuple(row for quantity in listed for row in _rows(quantity, prob, fit.point, found.of.get((quantity.term, quantity.name))))
    return Summary(table, prob, tuple(_notes(fit, table, prob, found)), fit.point)


def _rows(quantity: Quantity, prob: float, point: bool, contraction: xr.DataArray | None) -> Iterator[dict[str, Any]]:
    """A dict a number; entries that do not exist (NaN) are left out."""
    draws = quantity.draws.transpose("chain", "draw", ...)
    inner = draws.dims[2:]
    values = draws.values.reshape(*draws.shape[:2], -1).astype(float)
    kept = np.flatnonzero(~np.isnan(values).all((0, 1)))
    narrower = np.full(draws.shape[2:], np.nan) if contraction is None else contraction.transpose(*inner).values
    figures = _figures(values[:, :, kept], prob, point) | {"contraction": narrower.reshape(-1)[kept]}
    lags = np.broadcast_to(draws["lag"].values, draws.shape[2:]).reshape(-1) if "lag" in draws.coords else np.full(values.shape[2], np.nan)
    for i, place in enumerate(kept):
        at = dict(zip(inner, np.unravel_index(place, draws.shape[2:]), strict=True)) if inner else {}
        labels = {dim: draws[dim].values[where].item() if dim in draws.coords else int(where) for dim, where in at.items()}
        row = {"term": quantity.term, "quantity": quantity.name, "neuron": labels.pop("neuron", None), "source": labels.pop("source", None)}
        row |= {"entry": ", ".join(f"{dim}={label}" for dim, label in labels.items()), "lag": float(lags[place]), "units": quantity.units}
        row |= {name: float(figures[name][i]) for name in FIGURES}
        yield row if quantity.signed else row | {"p_positive": np.nan}


def _figures(values: np.ndarray, prob: float, point: bool) -> dict[str, np.ndarray]:
    """Each figure of (chain, draw, entry) draws, (entry,)."""
    flat = values.reshape(-1, values.shape[2])
    if point or not flat.size:
        return {name: np.full(flat.shape[1], np.nan) for name in FIGURES} | ({"mean": flat.mean(0)} if flat.size else {})
    lower, upper = np.quantile(flat, [(1.0 - prob) / 2.0, (1.0 + prob) / 2.0], axis=0)
    return {
        "mean": flat.mean(0),
        "sd": flat.std(0, ddof=1),
        "lower": lower,
        "upper": upper,
        "p_positive": (flat > 0).mean(0),
        "ess_bulk": ess(values, "bulk"),
        "rhat": rhat(values),
    }


def _notes(fit: Fit, table: tuple[dict[str, Any], ...], prob: float, found: Contractions) -> Iterator[tuple[str, str]]:
    if not fit.stats["converged"]:
        yield "NOT CONVERGED", "; ".join(fit.stats["reasons"])
    if fit.point:
        yield "point", NO_POSTERIOR
        return
    yield "bands", conditions(fit)
    yield from _of_priors(found)
    couplings = {term.name for term in getattr(fit.model, "terms", ()) if isinstance(term, Coupling)}
    effects = [row for row in table if row["term"] in couplings and row["quantity"] == NET]
    if effects:
        yield "couplings", _discoveries(effects, prob, fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"])


def _of_priors(found: Contractions) -> Iterator[tuple[str, str]]:
    """Bands that are their priors', and what their comparison leaves out."""
    for term, low, number, labels in little_learned(found.of):
        which = f" ({', '.join(labels)}{', ...' if low > len(labels) else ''})" if labels else ""
        said = "is nearly its prior" if number == 1 else f"of {low} of {number} filters is nearly its prior"
        yield term, f"the band of the net effect {said}: contraction below {LITTLE:g}{which}; the data say little of it"
    if found.robust:
        yield "contraction", f"by interquartile ranges for {', '.join(found.robust)}, whose prior has no finite variance"
    if found.without:
        yield "contraction", f"none for {', '.join(found.without)}: a flat prior, or a scale by evidence, is no prior to compare with"


def _discoveries(effects: list[dict[str, Any]], prob: float, draws: int) -> str:
    """How many couplings stand out, and how many of their signs should be wrong."""
    found = [row for row in effects if row["lower"] > 0 or row["upper"] < 0]
    if not found:
        return f"none of {len(effects)} net effects has a {prob:.0%} interval that excludes zero"
    wrong = sum(min(row["p_positive"], 1.0 - row["p_positive"]) for row in found)
    least = len(found) / draws  # finitely many draws cannot tell a smaller probability from none
    number = f"{wrong:.2g}" if wrong > least else f"under {least:.1g}"
    stand = f"{len(found)} of {len(effects)} net effects have a {prob:.0%} interval that excludes zero"
    return f"{stand}; of their signs {number} are expected to be wrong, for the stated prior"


def _brackets(row: dict[str, Any]) -> str:
    inside = _label(row)
    return f"[{inside}]" if inside else ""


def _label(row: dict[str, Any]) -> str:
    """``neuron <- source, entry``, as far as the row has them."""
    cells = " <- ".join(str(row[key]) for key in ("neuron", "source") if row[key] is not None)
    return ", ".join(part for part in (cells, row["entry"]) if part)


def _labelled(rows: list[dict[str, Any]]) -> str:
    """What the labels of the rows name: head of the first column."""
    return " <- ".join(key for key in ("neuron", "source") if rows[0][key] is not None)


def _cells(row: dict[str, Any], figures: tuple[str, ...]) -> list[str]:
    label = _label(row) + ("" if np.isnan(row["lag"]) else f" at {row['lag']:.4g}")
    formats = {"p_positive": ".3f", "ess_bulk": ".0f", "rhat": ".3f"}
    return [label, *("-" if np.isnan(row[name]) else format(row[name], formats.get(name, ".3g")) for name in figures)]


def _aligned(rows: list[dict[str, Any]], figures: tuple[str, ...]) -> list[str]:
    """The rows as text, columns aligned."""
    lines = [[_labelled(rows), *(_HEADS.get(name, name) for name in figures)], *(_cells(row, figures) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(figures) + 1)]
    return ["  " + "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))) for line in lines]
