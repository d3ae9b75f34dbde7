"""coupling_table(): which functional couplings stand out, how many of them should be wrong, and how they move with the model."""

from __future__ import annotations

import html
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._checking._refit import quick_method, refitted
from bayesglm._contraction import LITTLE, contractions
from bayesglm._convergence import existing, net_effects
from bayesglm._data import bin_width, row_dim
from bayesglm._double import in_double
from bayesglm._filters import NO_POSTERIOR, checked_prob, filter_unit
from bayesglm._glm import GLM
from bayesglm._quantities import NET, PEAK, Quantity, read
from bayesglm._show import conditions
from bayesglm._training import training_data
from bayesglm.basis import BSpline
from bayesglm.method import AbstractMethod, Laplace
from bayesglm.method._base import whole
from bayesglm.terms import Baseline, Coupling, History, Offset, Pooled, Sum, Tuning

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm._fit import Fit
    from bayesglm._model import Design

CAVEAT = (
    "functional coupling: a statistical dependence given the rest of the model, not a synapse; common input and neurons that were not recorded "
    "make couplings too"
)
MOVED = 2.0  # posterior sds by which a coupling moves with the model, beyond which that is said
_DRAWS = 400
_SHOWN = 20
_DRIFT = "smooth_drift"
_FIGURES = ("net", "sd", "lower", "upper", "p_sign", "p_outside_rope", "contraction", "peak", "peak_lag")
_HEADS = {"p_sign": "P(sign)", "p_outside_rope": "P(outside)", "peak_lag": "at lag", "drift_shift": "with drift", "alone_shift": "alone"}


@dataclass(frozen=True, eq=False, repr=False)
class Couplings:
    """Functional couplings of a fit.

    Attributes
    ----------
    table : xarray.Dataset (neuron, source)
        ``net`` (posterior mean of the sum over lags, log-gain a source spike), ``sd``, ``lower``, ``upper``; ``peak`` and
        ``peak_lag``; ``p_positive``, ``p_sign``, ``p_outside_rope``; ``reported``; ``contraction``; ``with_drift`` and
        ``alone``, the net effect with a smooth drift added and without stimulus, tuning and covariates, ``drift_shift`` and
        ``alone_shift`` by how many posterior sds it moves. Couplings that do not exist (a cell's own) are NaN. ``attrs``
        hold ``caveat``, ``expected_false``, ``reported``, ``rope``, ``prob``, ``refits`` and ``bands``.
    notes : tuple of (label, sentence)
    """

    table: xr.Dataset
    notes: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> xr.DataArray:
        return self.table[name]

    @property
    def attrs(self) -> dict[str, Any]:
        """What the whole table says: how many are reported, how many of them should be wrong, and of what."""
        return self.table.attrs

    def to_pandas(self) -> pd.DataFrame:
        """A row a coupling, the strongest (in posterior sds) first."""
        frame = self.table.to_dataframe().dropna(subset="net")
        strength = (frame["net"] / frame["sd"]).abs().fillna(frame["net"].abs())
        return frame.loc[strength.sort_values(ascending=False, kind="stable").index]

    def _strongest(self) -> list[xr.Dataset]:
        flat = self.table.stack(pair=("neuron", "source"))
        size = abs(flat["net"] / flat["sd"]).where(flat["sd"].notnull(), abs(flat["net"])).values
        order = [int(i) for i in np.argsort(-np.nan_to_num(size, nan=-1.0), kind="stable") if np.isfinite(flat["net"].values[i])]
        return [flat.isel(pair=i) for i in order]

    def _lines(self) -> tuple[list[list[str]], int]:
        rows = self._strongest()
        columns = [name for name in (*_FIGURES, "drift_shift", "alone_shift") if name in self.table and self.table[name].notnull().any()]
        head = ["neuron <- source", *(_HEADS.get(name, name) for name in columns), "reported"]
        lines = [head]
        for row in rows[:_SHOWN]:
            neuron, source = row["pair"].item()
            lines.append([f"{neuron} <- {source}", *(_cell(name, float(row[name])) for name in columns), "yes" if bool(row["reported"]) else ""])
        return lines, len(rows) - len(lines) + 1

    def __repr__(self) -> str:
        lines, left = self._lines()
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        table = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))) for line in lines]
        more = [f"... and {left} more: coupling_table(fit).to_pandas()"] if left > 0 else []
        said = [f"  {label}: {text}" for label, text in self.notes]
        return "\n".join(["Functional coupling", *said, "", *(line.rstrip() for line in table), *more])

    def _repr_html_(self) -> str:
        lines, left = self._lines()
        said = "".join(f"<p><b>{html.escape(label)}</b>: {html.escape(text)}</p>" for label, text in self.notes)
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in lines[0])
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines[1:])
        more = f"<p>... and {left} more</p>" if left > 0 else ""
        return f"<div><b>Functional coupling</b>{said}<table><tr>{head}</tr>{body}</table>{more}</div>"


def _cell(name: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{value:+.1f} sd" if name.endswith("_shift") else f"{value:.3f}" if name.startswith("p_") else f"{value:.3g}"


@in_double
def coupling_table(
    fit: Fit,
    rope: float | Sequence[float] | None = None,
    prob: float = 0.9,
    *,
    term: str | None = None,
    refit: bool = True,
    method: str | AbstractMethod | None = None,
    drift: int = 10,
    key: Any = 0,
    progress: bool = True,
) -> Couplings:
    """Functional couplings: net effect C_nm = sum_l c_nm(l) of every pair, what of it is sure, and how it moves with the model.

    Parameters
    ----------
    fit : Fit
        Of a ``GLM`` with a ``Coupling``.
    rope : float or (low, high), optional
        Region of practical equivalence to zero, in log-gain a source spike; a number r is (-r, r).
    prob : float
        Of the equal-tailed intervals, in (0, 1). A coupling is reported where its interval leaves zero out; with ``rope``
        where P(outside, on one side) is at least ``prob``.
    term : str, optional
        Name of the coupling term; by default the only one.
    refit : bool
        Whether to fit the model again with a smooth drift added, and without stimulus, tuning and covariates (some
        seconds each).
    method : str or AbstractMethod, optional
        Of the refits; by default ``method.Laplace(num_samples=400)``.
    drift : int
        Number of cubic B-splines over the recording's time that make the drift.
    key : int or JAX key
    progress : bool

    Returns
    -------
    Couplings
        Prints the strongest couplings; ``.table`` is an xarray.Dataset (neuron, source), ``.to_pandas()`` a DataFrame.
        ``attrs["expected_false"]`` = sum(1 - P) over what is reported, P the probability of the sign (with ``rope``, of
        lying outside on that side), for the stated prior. Of a MAP fit only ``net`` and ``peak`` are numbers.

    Raises
    ------
    ValueError
        A model without a coupling, or with several where ``term`` does not say which; ``prob`` or ``rope`` out of range; a
        fit without its recording, or a model that has no Laplace approximation, where refits are asked for.

    Notes
    -----
    Refits are compared with a refit of the model itself by the same method, so that a shift is the model's and not the
    method's; it is in posterior sds of that refit, and couplings that move by more than two are named. A common slow input makes couplings that
    shrink when the drift is added; a common stimulus makes couplings that grow when it is left out.

    References
    ----------
    Gelman & Tuerlinckx 2000 (errors of sign); Kruschke 2018 (region of practical equivalence); Stevenson et al. 2008
    (common input).

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> spikes = np.random.default_rng(0).poisson(0.3, (800, 2))
    >>> spikes[1:, 1] += spikes[:-1, 0]
    >>> model = bg.GLM(bg.Baseline() + bg.Coupling(bg.basis.Lags(span=0.02)))
    >>> fit = bg.fit(model, bg.recording(dt=0.01, spikes=spikes), "laplace", progress=False)
    >>> found = bg.coupling_table(fit, refit=False)
    >>> found["net"].dims, bool(found["reported"].sel(neuron=1, source=0))
    (('neuron', 'source'), True)
    """
    prob, bounds = checked_prob(prob), _rope(rope)
    name = _term(fit, term)
    made = _table(fit, name, prob, bounds)
    if refit and not fit.point:
        made = made.merge(_moves(fit, name, method, whole("coupling_table(drift)", drift, 4), key, progress), combine_attrs="drop_conflicts")
    return Couplings(made, tuple(_notes(fit, made)))


def _rope(rope: Any) -> tuple[float, float] | None:
    if rope is None:
        return None
    pair = (-rope, rope) if np.ndim(rope) == 0 else tuple(rope)
    if len(pair) != 2 or not np.isfinite(pair).all() or not pair[0] <= 0 <= pair[1] or pair[0] == pair[1]:
        raise ValueError(f"rope={rope!r}: a region around zero is a positive number, such as 0.05, or (low, high) with low <= 0 <= high.")
    return float(pair[0]), float(pair[1])


def _term(fit: Fit, term: str | None) -> str:
    """The coupling term asked for, or the only one."""
    known = [one.name for one in getattr(fit.model, "terms", ()) if isinstance(one, Coupling)]
    if not known:
        raise ValueError("coupling_table wants a model with a Coupling term; bg.summary(fit) lists what this one found.")
    if term is None and len(known) > 1:
        raise ValueError(f"The model has the couplings {known}: say which, as in coupling_table(fit, term={known[0]!r}).")
    if term is not None and term not in known:
        raise ValueError(f"coupling_table(term={term!r}): the couplings of the model are {known}.")
    return known[0] if term is None else term


def _net(fit: Fit, name: str) -> xr.DataArray:
    """Draws of the net effects (chain, draw, neuron, source); NaN where there is no coupling."""
    draws = existing(fit.model, name, net_effects(fit.model, fit.posterior)[name])
    draws = draws if "neuron" in draws.dims else draws.expand_dims(neuron=[fit.model.response])
    return draws.transpose("chain", "draw", "neuron", "source", ...)


def _table(fit: Fit, name: str, prob: float, rope: tuple[float, float] | None) -> xr.Dataset:
    net = _net(fit, name)
    if net.ndim > 4:
        raise ValueError(f"coupling_table wants one predictor a response; {fit.model.family.describe()} has several: see bg.summary(fit).")
    peak = existing(fit.model, name, read(fit, name, PEAK, fit.posterior))
    peak = peak if "neuron" in peak.dims else peak.expand_dims(neuron=[fit.model.response])
    values = net.values.reshape(-1, *net.shape[2:])
    figures = {"net": values.mean(0), **_probabilities(values, prob, rope, fit.point)}
    where = ("neuron", "source")
    found = xr.Dataset({key: (where, value) for key, value in figures.items()}, {dim: net[dim].values for dim in where})
    at = peak.mean(("chain", "draw"), skipna=False).transpose(*where)
    lags = at["lag"].broadcast_like(at).transpose(*where).where(at.notnull())
    found = found.assign(peak=(where, at.values), peak_lag=(where, lags.values))
    found["contraction"] = (where, _contraction(fit, name, net))
    attrs = {"units": filter_unit(fit.model, name), "prob": prob, "caveat": CAVEAT, "bands": conditions(fit), "term": name}
    attrs |= {"rope": "none" if rope is None else list(rope), "reported": int(found["reported"].sum()), "expected_false": _expected_false(found, rope)}
    return found.assign_attrs(attrs | ({"why": NO_POSTERIOR} if fit.point else {}))


def _probabilities(values: np.ndarray, prob: float, rope: tuple[float, float] | None, point: bool) -> dict[str, np.ndarray]:
    """Figures of (draw, neuron, source) net effects."""
    gone = np.full(values.shape[1:], np.nan)
    if point:
        return dict.fromkeys(("sd", "lower", "upper", "p_positive", "p_sign", "p_outside_rope"), gone) | {"reported": np.zeros(gone.shape, bool)}
    lower, upper = np.quantile(values, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    lost = np.isnan(values).any(0)
    positive = np.where(lost, np.nan, (values > 0).mean(0))
    sign = np.maximum(positive, 1.0 - positive)
    outside = gone if rope is None else np.where(lost, np.nan, np.maximum((values > rope[1]).mean(0), (values < rope[0]).mean(0)))
    reported = (lower > 0) | (upper < 0) if rope is None else outside >= prob
    sd = values.std(0, ddof=1)
    return {"sd": sd, "lower": lower, "upper": upper, "p_positive": positive, "p_sign": sign, "p_outside_rope": outside, "reported": reported}


def _contraction(fit: Fit, name: str, net: xr.DataArray) -> np.ndarray:
    """(neuron, source) 1 - Var(posterior) / Var(prior) of the net effects."""
    own = existing(fit.model, name, net_effects(fit.model, fit.posterior)[name])
    values = contractions(fit, [Quantity(name, NET, "", own, True)]).of.get((name, NET))
    if values is None:
        return np.full(net.shape[2:], np.nan)
    return (values if "neuron" in values.dims else values.expand_dims("neuron")).transpose("neuron", "source").values


def _expected_false(found: xr.Dataset, rope: tuple[float, float] | None) -> float:
    """Sum of 1 - P over what is reported."""
    sure = found["p_sign"] if rope is None else found["p_outside_rope"]
    return float((1.0 - sure).where(found["reported"], 0.0).sum()) if found["reported"].any() else 0.0


class _Variant(NamedTuple):
    """A model beside the fit's own, and its design."""

    model: GLM
    design: Design


def _moves(fit: Fit, name: str, method: str | AbstractMethod | None, drift: int, key: Any, progress: bool) -> xr.Dataset:
    """Net effects with a drift added and without what drives the cells, and by how many posterior sds they move."""
    data = training_data(fit)
    chosen = quick_method(fit, method, _DRAWS, "coupling_table")
    own = fit if type(fit.method) is Laplace and method is None else None
    variants = _variants(fit, data, drift, own is not None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = dict(zip(variants, refitted(fit, list(variants.values()), chosen, key, progress, "coupling_table"), strict=True))
    base = _net(fits.get("itself", fit), name)
    middle, sd = base.mean(("chain", "draw"), skipna=False), base.std(("chain", "draw"), ddof=1, skipna=False)
    found: dict[str, Any] = {}
    for variant, mean_name, shift in (("drift", "with_drift", "drift_shift"), ("alone", "alone", "alone_shift")):
        if variant in fits:
            moved = _net(fits[variant], name).mean(("chain", "draw"), skipna=False)
            found |= {mean_name: moved, shift: (moved - middle) / sd}
    lost = [variant for variant, one in fits.items() if not one.stats["converged"]]
    refits = f"method.{type(chosen).__name__}" + (f"; {', '.join(lost)} did not converge" if lost else "")
    return xr.Dataset(found).drop_vars(["chain", "draw"], errors="ignore").assign_attrs(refits=refits)


def _variants(fit: Fit, data: xr.Dataset, drift: int, known: bool) -> dict[str, _Variant]:
    """The models to refit, all on the rows that the fit scored."""
    rows = np.broadcast_to(np.asarray(fit.model.design(data).weight()) > 0, (data.sizes[row_dim(data)], fit.model.target.size))
    rows = rows if fit.scored is None else rows & (np.asarray(fit.scored) > 0)[:, None]
    clock = data.assign({_DRIFT: (row_dim(data), np.arange(data.sizes[row_dim(data)]) * bin_width(data))})
    terms = tuple(fit.model.terms)
    models = {} if known else {"itself": (terms, data)}
    models["drift"] = ((*terms, Tuning(_DRIFT, BSpline(drift))), clock)
    kept = tuple(term for term in terms if _of_cells(term))
    if len(kept) < len(terms):
        models["alone"] = (kept, data)
    return {name: _variant(fit.model, Sum(*some), recording, rows) for name, (some, recording) in models.items()}


def _of_cells(term: Any) -> bool:
    """Whether a term is neither a stimulus, a tuning curve nor a covariate."""
    return isinstance(term, Baseline | History | Coupling | Offset) or (isinstance(term, Pooled) and (term.of is None or _of_cells(term.of)))


def _variant(model: GLM, terms: Sum, data: xr.Dataset, rows: np.ndarray) -> _Variant:
    """Resolved terms stay as they are; new ones are resolved here."""
    made = replace(model, terms=terms, target=None, level=None, spread=None).resolve(data)
    design = made.design(data).bare()
    both = rows & (np.broadcast_to(np.asarray(design.weight()), rows.shape) > 0)
    each = {name: value for name, value in design.each.items() if name != "scored"}
    each |= {} if (both == both[:, :1]).all() else {"scored": both.T.astype(float)}
    return _Variant(made, replace(design, each=each, scored=both.any(1).astype(float)))


def _notes(fit: Fit, found: xr.Dataset) -> Iterator[tuple[str, str]]:
    yield "caveat", CAVEAT
    if not fit.stats.get("converged", True):
        yield "NOT CONVERGED", "; ".join(fit.stats["reasons"])
    if fit.point:
        yield "point", NO_POSTERIOR
        return
    yield "reported", _reported(found, fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"])
    yield "bands", conditions(fit)
    prior = int((found["contraction"] < LITTLE).sum())
    if prior:
        known = int(found["net"].notnull().sum())
        yield "prior", f"the band of {prior} of {known} couplings is nearly its prior (contraction below {LITTLE:g}): the data say little"
    for shift, what in (("drift_shift", "with a smooth drift added"), ("alone_shift", "without stimulus, tuning and covariates")):
        if shift in found:
            far = int((abs(found[shift]) > MOVED).sum())
            yield "moves", f"{what}, {far} move by more than {MOVED:g} posterior sds (refits by {found.attrs['refits']}){_movers(found, shift)}"


def _movers(found: xr.Dataset, shift: str) -> str:
    """The couplings that move most, by name."""
    flat = found[shift].stack(pair=("neuron", "source"))
    size = np.nan_to_num(np.abs(flat.values), nan=0.0)
    order = [i for i in np.argsort(-size, kind="stable")[:5] if size[i] > MOVED]
    named = ", ".join("{} <- {} ({:+.1f})".format(*flat["pair"].values[i], float(flat.values[i])) for i in order)
    return f": {named}" if named else ""


def _reported(found: xr.Dataset, draws: int) -> str:
    """How many couplings are reported, and how many of these should be wrong."""
    many, total = found.attrs["reported"], int(found["net"].notnull().sum())
    rope = found.attrs["rope"]
    rule = f"a {found.attrs['prob']:.0%} interval that excludes zero" if rope == "none" else f"P(outside [{rope[0]:g}, {rope[1]:g}]) >= {found.attrs['prob']:g}"
    if not many:
        return f"none of {total} couplings has {rule}"
    wrong, least = found.attrs["expected_false"], many / draws  # finitely many draws cannot tell a smaller probability from none
    number = f"{wrong:.2g}" if wrong > least else f"under {least:.1g}"
    return f"{many} of {total} couplings have {rule}; {number} of them are expected to be false, for the stated prior"
