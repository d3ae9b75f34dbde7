"""check(): may this fit be believed? What could have gone wrong before, in and after it, and what to do about it."""

from __future__ import annotations

import html
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._checking._design import before, columns_of
from bayesglm._checking._drift import drift
from bayesglm._checking._drifted import BEYOND, WITHIN, Drift, name_of
from bayesglm._checking._held_out import held_out
from bayesglm._checking._items import DRIFT, STAGES, Item, Status, judged, unassessed, worst
from bayesglm._checking._parts import after, notes
from bayesglm._double import in_double

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm._fit import Fit

_HEADS = ("check", "value", "wanted", "status")
_MARKS = {"good": "", "warning": "!", "bad": "!!"}


@dataclass(frozen=True, eq=False, repr=False)
class Checks:
    """What was checked of a fit, item by item.

    Attributes
    ----------
    items : tuple of Item
        Each with its stage, name, value, threshold, status and advice.
    details : mapping
        What some of the values are the worst of: "collinearity" (neuron, term), "correlation" (neuron, term, other), "drift"
        (the ``Drift`` of the two halves), "rescale" and "posterior_check" (their records, where a test recording was given).
    """

    items: tuple[Item, ...]
    details: Mapping[str, Any]

    @property
    def status(self) -> Status:
        """The worst status of all items that were assessed."""
        return worst(self.items)

    @property
    def verdict(self) -> str:
        """One sentence."""
        by = {status: [item for item in self.items if item.status == status] for status in ("bad", "warning", "good", "not assessed")}
        parts = [f"{len(found)} {status}" for status, found in by.items() if found]
        named = [item.name for item in (*by["bad"], *by["warning"])]
        return ", ".join(parts) + (f": look at {', '.join(named)}" if named else ": nothing speaks against this fit")

    def __getitem__(self, name: str) -> Item:
        for item in self.items:
            if item.name == name:
                return item
        raise KeyError(f"there is no check {name!r}; there are {', '.join(repr(item.name) for item in self.items)}")

    def to_pandas(self) -> pd.DataFrame:
        """The items as a DataFrame, a row each."""
        import pandas as pd

        return pd.DataFrame([vars(item) for item in self.items]).set_index("name")

    def to_dataset(self) -> xr.Dataset:
        """The items as labelled arrays over ``check``."""
        words = ("stage", "threshold", "status", "advice", "about")
        columns = {key: ("check", np.array([getattr(item, key) for item in self.items], str)) for key in words}
        return xr.Dataset(columns | {"value": ("check", np.array([item.value for item in self.items]))}, {"check": [item.name for item in self.items]})

    def __repr__(self) -> str:
        kept = [item for item in self.items if item.status != "not assessed"]
        table = [_HEADS, *(item.cells() for item in kept)]
        widths = [max(len(line[i]) for line in table) for i in range(len(_HEADS))]
        lines, stage = [f"Checks: {self.verdict}", "", "   " + _row(_HEADS, widths)], ""
        for item in kept:
            lines += [item.stage] if item.stage != stage else []
            lines.append(f"{_MARKS[item.status]:<2} {_row(item.cells(), widths)}")
            stage = item.stage
        said = [f"  {item.name}: {item.advice}" for item in kept if item.advice]
        missing = [f"  {names}: {why}" for why, names in self._unassessed().items()]
        parts = [lines, *([["", "What to do", *said]] if said else []), *([["", "Not assessed", *missing]] if missing else [])]
        return "\n".join(line.rstrip() for part in parts for line in part)

    def _unassessed(self) -> dict[str, str]:
        """Names of what could not be assessed, by the reason."""
        found: dict[str, list[str]] = {}
        for item in self.items:
            if item.status == "not assessed":
                found.setdefault(item.advice, []).append(item.name)
        return {why: ", ".join(names) for why, names in found.items()}

    def _repr_html_(self) -> str:
        heads = "".join(f"<th style='text-align:left'>{head}</th>" for head in ("stage", *_HEADS, "what to do"))
        body = "".join(_html_row(item) for item in self.items if item.status != "not assessed")
        missing = "".join(f"<li>{html.escape(names)}: {html.escape(why)}</li>" for why, names in self._unassessed().items())
        below = f"<p>Not assessed</p><ul>{missing}</ul>" if missing else ""
        return f"<p><b>Checks</b>: {html.escape(self.verdict)}</p><table><tr>{heads}</tr>{body}</table>{below}"


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def _html_row(item: Item) -> str:
    cells = (item.stage, *item.cells(), item.advice)
    weight = "bold" if item.status in ("warning", "bad") else "normal"
    return f"<tr style='font-weight:{weight}'>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


@in_double
def check(fit: Fit, data: xr.Dataset | None = None, *, halves: bool = True, key: Any = 0, progress: bool = True) -> Checks:
    """Check a fit: the design before it, how it was sampled or optimised, whether halves agree, and how it predicts.

    Parameters
    ----------
    fit : Fit
    data : xarray.Dataset, optional
        A test recording: held-out score, time rescaling and predictive checks are looked at on it.
    halves : bool
        Whether to refit to the two halves of the recording (some seconds), to see whether its bands hold across them.
    key : int or JAX key
        Of the refits and replicates.
    progress : bool

    Returns
    -------
    Checks
        Prints as a table with what to do next. Before the fit: the share of each term's variance that other terms explain
        (adjusted for their number) and the condition number of all columns; neurons that never vary; neurons whose
        responses the columns separate; multi-spike bins under a Bernoulli family. After: divergences, tree depth, E-BFMI,
        rank-normalised R-hat, bulk and tail ESS, Monte Carlo error; of a point its gradient and Newton decrement; of a
        Laplace approximation its joint Pareto k; the correlation over draws between terms; the agreement of halves. What
        cannot be assessed says why.

    Raises
    ------
    ValueError
        Where ``data`` is no recording.

    Notes
    -----
    Of wide models some neurons and rows are looked at, evenly spaced, and the line says so. The correlation between two
    terms is that of their strengths along their posterior means, so that it does not depend on the basis. Halves are
    compared as ``bg.drift`` compares blocks.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter & Burkner 2021 (R-hat, ESS); Betancourt 2016 (E-BFMI); Yao et al. 2018 (Pareto k);
    Belsley, Kuh & Welsch 1980 (condition numbers); Correia, Guimaraes & Zylkin 2019 (separation).

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=600)
    >>> data = bg.recording(dt=0.1, spikes=rng.poisson(np.exp(x - 1))[:, None], x=x)
    >>> fit = bg.fit(bg.GLM(bg.Baseline() + bg.Linear("x")), data, "laplace", progress=False)
    >>> bg.check(fit, progress=False).status
    'good'
    """
    found = columns_of(fit)
    first, details = before(found)
    second, more = after(fit, found, details.pop("moments", None))
    third, halved = _halves(fit, key, progress) if halves else ([unassessed(DRIFT, "agreement of halves", "halves=False")], {})
    last, tested = held_out(fit, data, key, progress)
    items = sorted((*notes(fit), *first, *second, *third, *last), key=lambda item: STAGES.index(item.stage))
    return Checks(tuple(items), MappingProxyType(details | more | halved | tested))


def _halves(fit: Fit, key: Any, progress: bool) -> tuple[list[Item], dict[str, Drift]]:
    """Whether two contiguous halves agree as well as their posteriors say they should."""
    name, wanted = "agreement of halves", f"no more beyond {BEYOND:g} posterior sds than by chance"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = drift(fit, blocks=2, key=key, progress=progress)
    except ValueError as error:
        return [unassessed(DRIFT, name, str(error), wanted)], {}
    ratio = found.table["ratio"]
    if not ratio.notnull().any():
        return [unassessed(DRIFT, name, found.verdict, wanted)], {"drift": found}
    furthest = found.table.isel(effect=int(np.nanargmax(ratio.values)))
    far = f"{found.far} of {found.known} beyond, {found.expected:.2g} by chance"
    advice = (
        f"{WITHIN}: {found.width} (halves, refits by method.{type(found.method).__name__}); see "
        f"bg.plot.drift(bg.drift(fit)), and say of which session the effects are; {_mend(str(furthest['term'].item()))}"
    )
    return [judged(DRIFT, name, float(furthest["ratio"]), wanted, found.status, advice, f"{name_of(furthest)}; {far}")], {"drift": found}


def _mend(term: str) -> str:
    """How a model can let the term drift that drifts most."""
    if term == "baseline":
        return "bg.Tuning('time', basis.BSpline(6)) lets the rate drift"
    return f"bg.Tuning('time', basis.BSpline(4)) * the term {term!r} lets it drift"
