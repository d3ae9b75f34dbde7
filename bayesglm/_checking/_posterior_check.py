"""posterior_check(): what a fit expects to see, against what was seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import jax
import numpy as np
import xarray as xr

from bayesglm._autocorrelation import gap_between
from bayesglm._checking._joint_null import judged
from bayesglm._checking._posterior_checked import PosteriorCheck
from bayesglm._checking._replicates import Own, Tick, blocks_of, chosen_draws, free_running, independent_rows, observed_rows, one_step, whole
from bayesglm._checking._statistics import Statistic
from bayesglm._checking._statistics_known import KNOWN, offered
from bayesglm._checking._statistics_rows import Layout, layout_of
from bayesglm._double import in_double
from bayesglm._likelihood import Source, labels_of, recording_of, source
from bayesglm._progress import progress_bar
from bayesglm.method._base import whole as whole_number

if TYPE_CHECKING:
    from bayesglm._fit import Fit

Kind = Literal["one_step", "free"]
PROB = 0.9  # of the bands
_LEAST = 39  # replicates: with fewer no two-sided p-value reaches 5 %


@in_double
def posterior_check(
    fit: Fit,
    data: xr.Dataset | None = None,
    statistics: str | Sequence[str] | Mapping[str, Own] | None = None,
    *,
    kind: Kind = "one_step",
    draws: int = 200,
    key: Any = 0,
    progress: bool = True,
) -> PosteriorCheck:
    """Compare statistics T(y) of the observed response with T(y_rep) of replicates, y_rep ~ p(y | draw of the posterior).

    Parameters
    ----------
    fit : Fit
    data : xarray.Dataset, optional
        A test recording. None: the training recording, and the record says that it is in sample.
    statistics : names, or a mapping of names to functions, optional
        By default all that the response has: mean, variance, Fano factor, share of zeros, maximum, autocorrelation,
        intervals between spikes, PSTH (binned trials), correlations with other neurons, rootogram, probability integral
        transform; skewness, kurtosis and the largest distance of continuous responses; frequencies and repeats of
        classes; concentration of angles. A function gets an array (row, neuron) of the rows that all neurons score and
        returns a number or (neuron,).
    kind : "one_step" or "free"
        "one_step": each row's replicate is drawn given the real past, y_rep(t) ~ p(y(t) | y before t, draw). "free":
        replicates feed back their own responses, as ``bg.simulate`` does.
    draws : int
        Replicates, each of another draw where there are as many.
    key : int or JAX key
    progress : bool
        Show a progress bar; False is silent.

    Returns
    -------
    PosteriorCheck
        Prints the verdict and a table; ``bg.plot.posterior_check`` draws it.

    Raises
    ------
    ValueError
        Unknown statistics, or ones that this response or kind has not; fewer than 39 draws; a recording without the
        response; functions with ``kind="one_step"`` where the model reads the response's past.

    Notes
    -----
    One step ahead a statistic is a sum over rows of g(y(t), past), and the replicates replace y(t), never the past: the
    autocorrelation is that of the residuals, sum_t r(t) r(t - lag), with the observed r(t - lag), and an interval ends in
    a replicate's spike and begins at the real one before it. The sum for the observed response minus its expectation
    given the past is a martingale with the variance of the replicates, so that p-values of held-out rows are nominal (for
    long recordings; exactly where the model does not read the past). Statistics of what replicates do by themselves, such
    as their own intervals, are those of ``kind="free"``. The largest count is no sum; its p-value is never too small.

    In sample p-values are too large. There the probability integral transform leaves each row out of the posterior by
    importance weights. p-values are two-sided, (r + 1)/(R + 1), except of curves; ``p_joint`` is the rank of the smallest
    one among the replicates' own smallest.

    References
    ----------
    Gelman, Meng & Stern 1996, Posterior predictive assessment of model fitness; Gabry et al. 2019, Visualization in
    Bayesian workflow; Czado, Gneiting & Held 2009, Predictive model assessment for count data; Kleiber & Zeileis 2016,
    Visualizing count data regressions using rootograms.

    Examples
    --------
    >>> import bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> data = bg.recording(dt=0.01, spikes=rng.poisson(0.2, 600) * rng.integers(1, 4, 600))
    >>> train, test = bg.split(data, 0.5)
    >>> fit = bg.fit(bg.GLM(bg.Baseline()), train, "laplace", progress=False)
    >>> bg.posterior_check(fit, test, ["variance", "zeros"], draws=99, progress=False).passed
    False
    """
    if kind not in get_args(Kind):
        raise ValueError(f"posterior_check(kind={kind!r}): it is one of {', '.join(map(repr, get_args(Kind)))}.")
    draws = whole_number("posterior_check(draws)", draws, _LEAST)
    where = recording_of(fit, data)
    name = fit.model.observed_site()
    if name is not None and name not in where:
        raise ValueError(f"posterior_check: the recording lacks the response {name!r}, which replicates are compared with; bg.simulate needs none.")
    inside = _in_sample(fit, data)
    made = chosen_draws(source(fit, data), draws)
    layout = layout_of(fit, made, where)
    chosen, own = _wanted(statistics, layout, kind)
    if own and kind == "one_step" and reads_past(fit):
        raise ValueError(
            f"posterior_check(statistics={list(own)}): the model reads the response's past, so that a function of a whole one-step-ahead replicate has another "
            f"distribution than that of the observed response. Use kind='free', or the names of built-in statistics."
        )
    key = jax.random.key(key) if isinstance(key, (int, np.integer)) else key
    leave_out = inside and not fit.point
    with progress_bar(progress, "posterior check") as monitor:
        found = _pools(kind, fit, made, layout, where, chosen, own, key, leave_out, _tick(monitor))
    notes = (*_notes(fit, inside, chosen, layout), *found.notes)
    return _record(fit, layout, found.pools, kind, inside, notes)


def _tick(monitor: Any) -> Tick:
    return lambda done, total: None if monitor is None else monitor(done, total, None, "")


def reads_past(fit: Fit) -> bool:
    """Whether the response of a row depends on earlier responses, as far as one can tell: of a story without terms one cannot."""
    from bayesglm._simulating._feedback import feeds_back

    terms = getattr(fit.model, "terms", None)
    if terms is None:
        return True
    return any(feeds_back(term, fit.model) or fit.model.observed_site() in term.needs() for term in terms)


def _in_sample(fit: Fit, data: xr.Dataset | None) -> bool:
    """Whether the fit has seen any of these rows."""
    if data is None or data is fit.data:
        return True
    gap = None if fit.data is None else gap_between(fit.data, data, fit.model.observed_site() or "")
    return gap is not None and gap < -0.5 * float(data.attrs["dt"])


def _wanted(statistics: Any, layout: Layout, kind: str) -> tuple[list[Statistic], dict[str, Callable]]:
    """The house's statistics and the user's."""
    have = offered(layout, kind)
    if isinstance(statistics, Mapping):
        wrong = [name for name, function in statistics.items() if not callable(function)]
        if wrong or not statistics:
            raise ValueError(f"posterior_check(statistics=...): a mapping of names to functions of an array (row, neuron); {wrong or 'it'} is none.")
        return [], dict(statistics)
    names = have if statistics is None else (statistics,) if isinstance(statistics, str) else tuple(statistics)
    bad = [name for name in names if name not in have]
    if bad or not names:
        known = [name for name in bad if name in KNOWN]
        why = f"this response has no {known} with kind={kind!r}" if known else f"{bad or 'an empty list'} is unknown"
        raise ValueError(f"posterior_check(statistics=...): {why}; there are {', '.join(map(repr, have))}, or a mapping of names to functions.")
    return [KNOWN[name](layout) for name in dict.fromkeys(names)], {}


class _Pool(NamedTuple):
    """One statistic of the observed response and of every replicate."""

    statistic: Statistic | None  # None: the user's
    name: str
    value: np.ndarray  # (1 + replicate, neuron)
    curve: np.ndarray | None  # (1 + replicate, neuron, place)


class _Found(NamedTuple):
    pools: list[_Pool]
    notes: tuple[str, ...]


def _pools(
    kind: str, fit: Fit, made: Source, layout: Layout, data: xr.Dataset, chosen: list[Statistic], own: dict[str, Own], key: Any, leave_out: bool, tick: Tick
) -> _Found:
    """Every statistic's pool, and what is to be said of the replicates."""
    if kind == "one_step" and not own:
        sums = one_step(made, layout, chosen, key, leave_out, tick)
        return _Found([_pool(statistic, found, layout) for statistic, found in zip(chosen, sums, strict=True)], ())
    reached: list[int] = []
    if kind == "one_step":
        replicated = independent_rows(made, key)
    else:
        replicated, reached = free_running(fit, data, made.draws, key)
    found = whole(blocks_of(observed_rows(made, layout), replicated), layout, chosen, own, tick, made.draws)
    pools = [_pool(statistic, sums, layout) for statistic, sums in zip(chosen, found.sums, strict=True)]
    away = sum(row >= 0 for row in reached)
    notes = (f"{away} of {made.draws} replicates ran away and were held at the cap: see bg.simulate",) if away else ()
    return _Found([*pools, *(_Pool(None, name, values, None) for name, values in found.own.items())], notes)


def _pool(statistic: Statistic, sums: np.ndarray, layout: Layout) -> _Pool:
    """Neurons without a scored row have no statistic."""
    found = statistic.finish(sums, layout)
    silent = ~layout.weight.any(1)
    found = np.where(silent.reshape(-1, *(1,) * (found.ndim - 2)), np.nan, found)
    return _Pool(statistic, statistic.name, distances(found), found) if statistic.axis else _Pool(statistic, statistic.name, found, None)


def distances(curves: np.ndarray) -> np.ndarray:
    """Root mean square over places of (curve - mean) / sd, mean and sd over the pool; (member, neuron, place) -> (member, neuron)."""
    spread = curves.std(0)
    z = np.divide(curves - curves.mean(0), spread, out=np.full(curves.shape, np.nan), where=spread > 1e-12 * (1.0 + np.abs(curves).max(0)))
    known = ~np.isnan(z)
    size = known.sum(-1)
    return np.where(size > 0, np.sqrt((np.where(known, z, 0.0) ** 2).sum(-1) / np.maximum(size, 1)), np.nan)


def _notes(fit: Fit, inside: bool, chosen: list[Statistic], layout: Layout) -> tuple[str, ...]:
    notes = []
    if fit.point:
        notes.append("a MAP fit is a point: replicates take its parameters as known and vary too little; method='laplace' takes seconds")
    if inside and not fit.point and any(statistic.name == "pit" for statistic in chosen):
        notes.append("in sample: p-values are too large; the probability integral transform leaves each row out of the posterior")
    elif inside:
        notes.append("in sample: p-values are too large")
    if layout.partners.size < len(layout.weight) and any(statistic.axis == "partner" for statistic in chosen):
        notes.append(f"correlations are those among {layout.partners.size} of {len(layout.weight)} neurons, evenly chosen")
    return tuple(notes)


def _record(fit: Fit, layout: Layout, pools: list[_Pool], kind: str, inside: bool, notes: tuple[str, ...]) -> PosteriorCheck:
    values = np.stack([pool.value for pool in pools], 1)  # (1 + replicate, statistic, neuron)
    upper = np.array([pool.curve is not None for pool in pools])
    unit = np.array([0.0 if pool.statistic is None else pool.statistic.unit for pool in pools])
    found = judged(values, upper, unit)
    labels = labels_of(fit, values.shape[2])
    shaped = {"observed": values[0], "mean": values[1:].mean(0)} | _band(values[1:]) | {"p_value": found.alone, "p_adjusted": found.adjusted}
    dims, coords = ["statistic", "neuron"], {"statistic": [pool.name for pool in pools], "neuron": np.arange(1) if labels is None else labels}
    words = {name: ("statistic", [_by_kind(text(pool), kind) for pool in pools]) for name, text in _TEXTS.items()}
    made: list[Any] = [
        xr.Dataset({name: (dims, array) for name, array in shaped.items()}, coords | words, {"kind": kind, "in_sample": inside, "prob": PROB}),
        xr.DataArray(values[1:], coords, ["replicate", *dims], "replicated"),
        xr.DataArray(found.by_neuron, {"neuron": coords["neuron"]}, ["neuron"], "p_neuron"),
        *(_curve(pool, layout, coords["neuron"]) for pool in pools if pool.curve is not None),
    ]
    table, replicated, p_neuron, *listed = made if labels is not None else [array.isel(neuron=0, drop=True) for array in made]
    curves = dict(zip([pool.name for pool in pools if pool.curve is not None], listed, strict=True))
    return PosteriorCheck(table, curves, replicated, found.joint, p_neuron, kind, inside, fit.point, int(layout.weight.any(0).sum()), notes)


_TEXTS: dict[str, Callable[[_Pool], str]] = {
    "title": lambda pool: pool.name if pool.statistic is None else pool.statistic.title,
    "units": lambda pool: "1" if pool.statistic is None else "sd from the replicates' mean" if pool.curve is not None else pool.statistic.units,
    "mend": lambda pool: "" if pool.statistic is None else pool.statistic.mend,
    "mend_low": lambda pool: "" if pool.statistic is None else pool.statistic.mend_low,
}


def _by_kind(title: str, kind: str) -> str:
    """Free-running responses are looked at about their own means."""
    if kind == "free":
        title = title.replace(" around the prediction", "").replace("from the prediction", "from the mean").replace("predicted direction", "mean direction")
    return title


def _band(replicated: np.ndarray) -> dict[str, np.ndarray]:
    low, high = np.quantile(replicated, [(1 - PROB) / 2, (1 + PROB) / 2], axis=0)
    return {"low": low, "high": high}


def _curve(pool: _Pool, layout: Layout, labels: np.ndarray) -> xr.Dataset:
    """A statistic that is a curve, over its places and neurons."""
    statistic, values = pool.statistic, np.moveaxis(pool.curve, 2, 1)
    at = labels[layout.partners] if statistic.axis == "partner" else statistic.at(layout)
    shaped = {"observed": values[0], "mean": values[1:].mean(0)} | _band(values[1:])
    coords: dict[str, Any] = {statistic.axis: at, "neuron": labels}
    if statistic.width is not None:
        coords |= {"from": (statistic.axis, statistic.width(layout)[:, 0]), "to": (statistic.axis, statistic.width(layout)[:, 1])}
    dims = [statistic.axis, "neuron"]
    return xr.Dataset({name: (dims, array) for name, array in shaped.items()}, coords, {"title": statistic.title, "units": statistic.units, "prob": PROB})
