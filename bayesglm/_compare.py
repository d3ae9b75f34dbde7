"""compare(): which model predicts better, by how much, and whether that can be told."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesglm._cut import Block, chosen_units, default_block, stated_block
from bayesglm._data import is_time
from bayesglm._double import in_double
from bayesglm._elpd import Elpd, clustered_se, left_out, t_quantile
from bayesglm._likelihood import source
from bayesglm._loo import evaluate, log_mean_rows
from bayesglm._training import training_data

if TYPE_CHECKING:
    from bayesglm._fit import Fit

CRITERIA = ("loo", "waic")
LEAST_CLUSTERS = 20
LEAST_NATS = 4.0  # Sivula et al. 2020: below this a difference's standard error is itself unreliable
_PROB = 0.95
_BETTER, _WORSE, _SAME, _FEW, _NOT = "better", "worse", "not distinguishable", "too few blocks", "not comparable"


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

    def interval(self, prob: float = _PROB) -> tuple[float, float]:
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
        known = [row for row in self.rows if row.verdict != _NOT]
        if len(known) < 2:
            return "not comparable: " + "; ".join(f"{row.name!r}: {row.reason}" for row in self.rows if row.reason)
        best, following = known[:2]
        figures = f"{best.difference:.1f} nats, se {best.se:.1f} over {best.clusters} {_unit(best)}s"
        if best.verdict == _BETTER:
            return f"{best.name!r} predicts better than {following.name!r} ({figures})"
        if best.verdict == _FEW:
            return f"too few blocks to tell {best.name!r} from {following.name!r} ({figures}; {LEAST_CLUSTERS} are wanted)"
        return f"{best.name!r} and {following.name!r} are not distinguishable ({figures})"

    def _table(self) -> list[tuple[str, ...]]:
        p = f"p_{self.ic}"
        bad = "bad k" if self.ic == "loo" else "p > 0.4"
        return [("", "elpd", "se", "difference", "its se", "95 % interval", p, bad, "verdict"), *(_cells(row) for row in self.rows)]

    def _notes(self) -> list[str]:
        found = [f"{row.name!r}: {note}" for row in self.rows if row.elpd is not None for note in row.elpd.notes]
        return found + [f"{row.name!r} is not comparable: {row.reason}" for row in self.rows if row.verdict == _NOT]

    def __repr__(self) -> str:
        table = self._table()
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        text = [
            "  ".join(cell.ljust(w) if i in (0, 8) else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))).rstrip() for line in table
        ]
        return "\n".join([self.verdict[:1].upper() + self.verdict[1:] + ".", "", *text, "", f"  {self.about}", *(f"  note: {note}" for note in self._notes())])

    def _repr_html_(self) -> str:
        head, *body = self._table()
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
        heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        below = "".join(f"<p>{html.escape(line)}</p>" for line in [self.about, *self._notes()])
        return f"<p><b>{html.escape(self.verdict)}</b></p><table><tr>{heads}</tr>{rows}</table>{below}"


@in_double
def compare(fits: Mapping[str, Fit | Elpd], ic: str = "loo", unit: str | None = None, se: str | None = None, block: float | None = None) -> Comparison:
    """Compare models by what they predict of left-out data: differences of elpd with *their* block-wise standard errors.

    The pointwise differences are summed over neurons and over each block's units; with C blocks the standard error is
    sqrt(C) times the sd of those sums, and intervals take t quantiles with C - 1 degrees of freedom.

    Parameters
    ----------
    fits : mapping of names to Fit (or to results of ``loo`` or ``waic``)
        Of the same rows: fit them with ``bg.fit_all``.
    ic : "loo" or "waic"
    unit, se, block
        As in ``loo`` (``se`` only there). The default length of a block is the largest of 10 longest filters of any
        model, 20 correlation times of the slowest covariate, and 20 of the pointwise differences.

    Returns
    -------
    Comparison
        Prints as a table, best model first, with a verdict in words.

    Raises
    ------
    ValueError
        Fewer than two models; an unknown criterion or unit.

    References
    ----------
    Vehtari, Gelman and Gabry 2017; Sivula, Magnusson, Matamoros and Vehtari 2020.

    Examples
    --------
    >>> import bayesglm as bg
    >>> x = np.random.default_rng(0).normal(size=600)
    >>> data = bg.recording(dt=0.1, spikes=np.random.default_rng(1).poisson(np.exp(x - 1))[:, None], x=x)
    >>> models = {"constant": bg.GLM(bg.Baseline()), "driven": bg.GLM(bg.Baseline() + bg.Linear("x"))}
    >>> found = bg.compare(bg.fit_all(models, data, "laplace", progress=False), block=1.0)
    >>> found.best.name, found.best.verdict
    ('driven', 'better')
    """
    if not isinstance(fits, Mapping) or len(fits) < 2:
        raise ValueError("compare wants two models or more, as in compare({'alone': fit, 'coupled': other}).")
    if ic not in CRITERIA:
        raise ValueError(f"compare(ic={ic!r}): the criteria are {', '.join(map(repr, CRITERIA))}.")
    if ic == "waic" and se is not None:
        raise ValueError("compare(ic='waic', se=): the standard error is over blocks (trials on trial rows); give block=, or use ic='loo'.")
    evaluated, reasons = _evaluated(fits, ic, unit, se, block)
    return _judged(list(fits), evaluated, reasons, ic)


def _evaluated(fits: Mapping[str, Fit | Elpd], ic: str, unit: str | None, se: str | None, block: float | None) -> tuple[dict[str, Elpd], dict[str, str]]:
    """The estimate of each model that has one, all with the same blocks; why the others have none."""
    given = {name: fit for name, fit in fits.items() if isinstance(fit, Elpd)}
    drawn = {name: fit for name, fit in fits.items() if not isinstance(fit, Elpd) and not fit.point}
    reasons = {name: "a MAP fit is a point, without draws to reweight: fit it with method='nuts'" for name in fits if name not in given and name not in drawn}
    evaluated: dict[str, Elpd] = dict(given)
    if drawn:
        length = _common_block(drawn, ic, unit, se, block)
        evaluated |= {name: evaluate(fit, ic, unit, se, length) for name, fit in drawn.items()}
    return evaluated, reasons


def _common_block(fits: dict[str, Fit], ic: str, unit: str | None, se: str | None, block: float | None) -> Block | None:
    """One length of block for all models; None where no block is needed."""
    data = training_data(next(iter(fits.values())))
    if "block" not in chosen_units(data, ic, unit, se):
        return None
    if block is not None:
        return stated_block(block, data)
    rows = {name: log_mean_rows(source(fit)) for name, fit in fits.items()}
    alike = {name: values for name, values in rows.items() if len(values) == len(next(iter(rows.values())))}
    best = max(alike, key=lambda name: np.nansum(alike[name]))
    others = [values - alike[best] for name, values in alike.items() if name != best]
    pointwise = np.stack(others, 1) if others else alike[best][:, None]
    same = {name: fit for name, fit in fits.items() if name in alike and is_time(training_data(fit))}
    return default_block(same, pointwise, "pointwise differences" if others else "pointwise log likelihoods")


def _judged(names: list[str], evaluated: dict[str, Elpd], reasons: dict[str, str], ic: str) -> Comparison:
    """Rows in order of elpd, verdicts relative to the best (the best's: to the next)."""
    reference = next((evaluated[name] for name in names if name in evaluated), None)
    if reference is None:
        raise ValueError("compare: every fit is a MAP, a point without draws. Fit with method='nuts', or score held-out data: bg.score(fit, test).")
    for name, record in evaluated.items():
        why = _unlike(record, reference)
        if why:
            reasons[name] = why
    able = sorted((name for name in evaluated if name not in reasons), key=lambda name: -evaluated[name].elpd)
    rows = [_against(name, evaluated[name], evaluated[able[1 if i == 0 else 0]], i == 0) for i, name in enumerate(able)] if len(able) > 1 else []
    if not rows:
        rows = [Compared(able[0], evaluated[able[0]], np.nan, np.nan, evaluated[able[0]].n_clusters, _NOT, "no other model can be compared with it")]
    rows += [Compared(name, evaluated.get(name), np.nan, np.nan, 0, _NOT, reasons[name]) for name in names if name in reasons]
    return Comparison(tuple(rows), reference.ic, _about(reference))


def _unlike(one: Elpd, other: Elpd) -> str:
    """Why two estimates cannot be compared; empty where they can."""
    a, b = one.identity, other.identity
    checks = [
        (one.ic == other.ic, f"its criterion is {one.ic}, the others' {other.ic}"),
        (
            (one.unit, one.se_unit) == (other.unit, other.se_unit),
            f"it leaves out {one.unit}s (se over {one.se_unit}s), the others {other.unit}s ({other.se_unit}s)",
        ),
        (a.response == b.response, f"its response is {a.response!r}, the others' {b.response!r}"),
        (a.mass == b.mass, "a density is no probability: one response is continuous, the other discrete"),
        (a.dt == b.dt, f"its bins are {a.dt:g} s, the others' {b.dt:g} s"),
        (a.neurons == b.neurons, "other neurons are scored"),
        ((a.rows, a.scored) == (b.rows, b.scored), "other rows are scored; bg.fit_all fits models on their common rows"),
        (a.values == b.values, "other responses are scored"),
        (one.elpd_i.shape == other.elpd_i.shape and np.array_equal(one.cluster, other.cluster), "its blocks or its neurons' joint units differ"),
    ]
    return "; ".join(why for same, why in checks if not same)


def _against(name: str, record: Elpd, other: Elpd, leads: bool) -> Compared:
    """One model against another on the same units."""
    pointwise = record.elpd_i - other.elpd_i.values
    joint = pointwise.sum("neuron").values[:, None]
    difference, se = float(joint.sum()), float(clustered_se(joint, record.cluster)[0])
    dims = ("neuron",)
    each = xr.Dataset({"difference": pointwise.sum(record.unit), "se": (dims, clustered_se(pointwise.values, record.cluster))})
    return Compared(name, record, difference, se, record.n_clusters, _verdict(difference, se, record.n_clusters, leads), "", each)


def _verdict(difference: float, se: float, clusters: int, leads: bool) -> str:
    if clusters < LEAST_CLUSTERS:
        return _FEW
    clear = abs(difference) >= LEAST_NATS and abs(difference) > t_quantile(_PROB, clusters) * se
    return (_BETTER if leads else _WORSE) if clear else _SAME


def _about(record: Elpd) -> str:
    """What the figures mean."""
    text = f"Differences are to the first model, the first model's to the second; left out: {left_out(record.unit, record.block, record.block_why)}"
    if record.se_unit == record.unit:
        return text + "."
    extra = f" of {record.block:.3g} s ({record.block_why})" if record.se_unit == "block" else ""
    return text + f"; standard errors over {record.se_unit}s{extra}."


def _unit(row: Compared) -> str:
    return row.elpd.se_unit if row.elpd is not None else "block"


def _cells(row: Compared) -> tuple[str, ...]:
    if row.elpd is None:
        return (row.name, *["-"] * 7, row.verdict)
    low, high = row.interval() if row.verdict != _NOT else (np.nan, np.nan)
    figures = [f"{row.difference:+.1f}", f"{row.se:.1f}", f"{low:.1f} to {high:.1f}"] if row.verdict != _NOT else ["-"] * 3
    return (row.name, f"{row.elpd.elpd:.1f}", f"{row.elpd.se:.1f}", *figures, f"{row.elpd.p:.1f}", str(row.elpd.n_bad), row.verdict)
