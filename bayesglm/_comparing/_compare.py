"""compare(): which model predicts better, by how much, and whether that can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._autocorrelation import correlation_time
from bayesglm._comparing._comparison import BETTER, FEW, LEAST_CLUSTERS, LEAST_NATS, NOT, PROB, SAME, WORSE, Compared, Comparison
from bayesglm._comparing._cut import MEMORIES, Block, chosen_units, default_block, equal_blocks, present_clusters, stated_block, stated_length
from bayesglm._comparing._elpd import Elpd, clustered_se, left_out, t_quantile
from bayesglm._comparing._kfold import run
from bayesglm._comparing._kfold_record import Folding
from bayesglm._comparing._loo import Options, evaluate, log_mean_rows
from bayesglm._comparing._stacking import stacking_weights
from bayesglm._data import is_time
from bayesglm._double import in_double
from bayesglm._likelihood import source
from bayesglm._training import training_data

if TYPE_CHECKING:
    from bayesglm._fit import Fit

CRITERIA = ("loo", "waic", "kfold")
_POINT = "a MAP fit is a point, without draws to reweight: fit it with method='nuts', or compare(approx=True) takes the plug-in density"
_PLUG_IN = "its density is plugged in at a point (MAP), the others' are averaged over a posterior; compare(approx=True) compares them all the same"


@in_double
def compare(
    fits: Mapping[str, Fit | Elpd],
    ic: str = "loo",
    unit: str | None = None,
    se: str | None = None,
    block: float | None = None,
    *,
    approx: bool = False,
    **folding: Any,
) -> Comparison:
    """Compare models by what they predict of left-out data: differences of elpd with *their* block-wise standard errors.

    The pointwise differences are summed over neurons and over each block's units; with C blocks the standard error is
    sqrt(C) times the sd of those sums, and intervals take t quantiles with C - 1 degrees of freedom. Stacking weights
    maximise the log density of the models' mixture, a unit at a time.

    Parameters
    ----------
    fits : mapping of names to Fit (or to results of ``loo``, ``waic`` or ``kfold``)
        Of the same rows: fit them with ``bg.fit_all``.
    ic : "loo", "waic" or "kfold"
        What fits are evaluated by. "kfold" fits every model anew in each fold, by its own method; the folds of all
        models are purged alike.
    unit, se, block
        As in ``loo`` (``unit`` and ``se`` not for "kfold", ``se`` not for "waic"). The default length of a block is the
        largest of 10 longest filters of any model, 20 correlation times of the slowest covariate, and 20 of the pointwise
        differences.
    approx : bool
        Take the plug-in density of MAP fits, and compare it with the others' average over their posterior: a rough look.
    **folding
        For "kfold": ``k, by, gap, key, progress`` as in ``kfold``.

    Returns
    -------
    Comparison
        Prints as a table, best model first, with a verdict in words.

    Raises
    ------
    ValueError
        Fewer than two models; an unknown criterion, unit or option.

    References
    ----------
    Vehtari, Gelman and Gabry 2017; Sivula, Magnusson, Matamoros and Vehtari 2020; Yao, Vehtari, Simpson and Gelman 2018.

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
    _check_options(ic, unit, se, folding)
    _check_ready(fits, unit, se, block)
    evaluated, reasons = _evaluated(fits, ic, unit, se, block, approx, folding)
    return _judged(list(fits), _same_blocks(evaluated, block), reasons, approx)


def _check_options(ic: str, unit: str | None, se: str | None, folding: dict[str, Any]) -> None:
    """Criteria that do not exist, and options that a criterion does not know."""
    if ic not in CRITERIA:
        raise ValueError(
            f"compare(ic={ic!r}): the criteria are {', '.join(map(repr, CRITERIA))}. AIC and the evidence judge a model on the rows that it was fitted "
            f"to, which need not be the same ones for all."
        )
    if ic == "waic" and se is not None:
        raise ValueError("compare(ic='waic', se=): the standard error is over blocks (trials on trial rows); give block=, or use ic='loo'.")
    if ic == "kfold" and (unit, se) != (None, None):
        raise ValueError(
            "compare(ic='kfold', unit=, se=): folds are left out, and rows are the units; by= says what a fold is, block= the standard error's blocks."
        )
    unknown = sorted(set(folding) - set(Folding._fields if ic == "kfold" else ()))
    if unknown:
        raise ValueError(f"compare(ic={ic!r}) does not know {', '.join(unknown)}; ic='kfold' takes {', '.join(Folding._fields)}.")


def _check_ready(fits: Mapping[str, Fit | Elpd], unit: str | None, se: str | None, block: float | None) -> None:
    """Estimates that are ready have their units, and all but K-fold's their blocks."""
    ready = [fit for fit in fits.values() if isinstance(fit, Elpd)]
    asked = [name for name, value in {"unit": unit, "se": se, "block": block}.items() if value is not None]
    if len(ready) == len(fits) and asked and (asked != ["block"] or all(record.ic != "kfold" for record in ready)):
        raise ValueError(f"compare({', '.join(asked)}=): these estimates are ready; give fits, or make them anew by bg.loo, bg.waic or bg.kfold.")


def _evaluated(
    fits: Mapping[str, Fit | Elpd], ic: str, unit: str | None, se: str | None, block: float | None, approx: bool, folding: dict[str, Any]
) -> tuple[dict[str, Elpd], dict[str, str]]:
    """The estimate of each model that has one, all with the same blocks; why the others have none."""
    evaluated: dict[str, Elpd] = {name: fit for name, fit in fits.items() if isinstance(fit, Elpd)}
    made: dict[str, Fit] = {name: fit for name, fit in fits.items() if not isinstance(fit, Elpd)}
    if ic == "kfold":
        reasons = {name: _forgotten(fit) for name, fit in made.items() if _forgotten(fit)}
        made = {name: fit for name, fit in made.items() if name not in reasons}
        found = {name: _refitted(fit, [other.model for other in made.values()], folding) for name, fit in made.items()}
        return evaluated | found, reasons
    usable = {name: fit for name, fit in made.items() if not fit.point or (approx and ic == "loo")}
    if usable:
        length = _common_block(usable, ic, unit, se, block)
        evaluated |= {name: evaluate(fit, ic, unit, se, length, Options(approx=fit.point)) for name, fit in usable.items()}
    return evaluated, {name: _POINT for name in made if name not in usable}


def _forgotten(fit: Fit) -> str:
    """Why a fit cannot be made anew; empty where it can."""
    if fit.given is not None and fit.data is not None:
        return ""
    return "it was loaded from a file that holds no recording, or no model as it was written: give the result of bg.kfold(model, data)"


def _refitted(fit: Fit, models: list[Any], folding: dict[str, Any]) -> Elpd:
    """``kfold`` of a fit's model by its own method, on the rows of the fit, purged for the filters of all models."""
    return run(fit.given, fit.data, fit.method, Folding(**folding), fit.scored, models)


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


def _same_blocks(evaluated: dict[str, Elpd], block: float | None) -> dict[str, Elpd]:
    """K-fold estimates of the same rows with one length of block: their units are rows, which can be clustered anew."""
    records = {name: record for name, record in evaluated.items() if record.ic == "kfold" and record.se_unit == "block"}
    if len({(record.identity.rows, record.identity.dt) for record in records.values()}) != 1:
        return evaluated
    rows, dt = next((record.identity.rows, record.identity.dt) for record in records.values())
    chosen = _longest(list(records.values())) if block is None else stated_length(block, dt)
    cluster = equal_blocks(rows, dt, chosen.seconds)
    about = {"block": rows * dt / (cluster[-1] + 1), "block_why": chosen.why}
    known = {name: record.elpd_i.notnull().any("neuron").values for name, record in records.items()}
    return evaluated | {name: replace(record, cluster=present_clusters(cluster, known[name]), **about) for name, record in records.items()}


def _longest(records: list[Elpd]) -> Block:
    """The longest of the records' own blocks and of 20 correlation times of their differences."""
    best = max(records, key=lambda record: record.elpd)
    found = [Block(record.block, record.block_why) for record in records]
    others = [record for record in records if record is not best and record.elpd_i.shape == best.elpd_i.shape]
    if others:
        pointwise = np.stack([(record.elpd_i - best.elpd_i.values).sum("neuron", min_count=1).values for record in others], 1)
        gaps = np.diff(best.elpd_i[best.unit].values) > 1.5 * best.identity.dt
        seconds = float(correlation_time(pointwise, np.r_[0, np.cumsum(gaps)]).max()) * best.identity.dt
        found.append(Block(MEMORIES * seconds, f"{MEMORIES} x the correlation time of the pointwise differences, {seconds:.3g} s"))
    return max(found, key=lambda length: length.seconds)


def _judged(names: list[str], evaluated: dict[str, Elpd], reasons: dict[str, str], approx: bool) -> Comparison:
    """Rows in order of elpd, verdicts relative to the best (the best's: to the next)."""
    reference = next((evaluated[name] for name in names if name in evaluated), None)
    if reference is None:
        raise ValueError("compare: no model can be evaluated: " + "; ".join(f"{name!r}: {why}" for name, why in reasons.items()) + ".")
    for name, record in evaluated.items():
        why = _unlike(record, reference, approx)
        if why:
            reasons[name] = why
    able = sorted((name for name in evaluated if name not in reasons), key=lambda name: -evaluated[name].elpd)
    rows = [_against(name, evaluated[name], evaluated[able[1 if i == 0 else 0]], i == 0) for i, name in enumerate(able)] if len(able) > 1 else []
    if rows:
        weights = stacking_weights(np.stack([row.elpd.elpd_i.sum("neuron", min_count=1).values for row in rows], 1))
        rows = [replace(row, weight=float(weight)) for row, weight in zip(rows, weights, strict=True)]
    else:
        rows = [Compared(able[0], evaluated[able[0]], np.nan, np.nan, evaluated[able[0]].n_clusters, NOT, "no other model can be compared with it")]
    rows += [Compared(name, evaluated.get(name), np.nan, np.nan, 0, NOT, reasons[name]) for name in names if name in reasons]
    return Comparison(tuple(rows), _criterion(reference), _about(reference))


def _criterion(record: Elpd) -> str:
    return record.ic.removesuffix("_plugin")


def _plugged_in(record: Elpd) -> bool:
    """Whether the density is that of a point."""
    return record.ic.endswith("_plugin") or (record.ic == "kfold" and record.n_samples == 1)


def _unlike(one: Elpd, other: Elpd, approx: bool) -> str:
    """Why two estimates cannot be compared; empty where they can."""
    a, b = one.identity, other.identity
    checks = [
        (_criterion(one) == _criterion(other), f"its criterion is {one.ic}, the others' {other.ic}"),
        (approx or _criterion(one) != _criterion(other) or _plugged_in(one) == _plugged_in(other), _PLUG_IN),
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
    sampled = np.hypot(record.subsampling_se, other.subsampling_se)
    difference, se = float(joint.sum()), float(np.hypot(clustered_se(joint, record.cluster)[0], sampled))
    dims = ("neuron",)
    each = xr.Dataset({"difference": pointwise.sum(record.unit), "se": (dims, clustered_se(pointwise.values, record.cluster))})
    return Compared(name, record, difference, se, record.n_clusters, _verdict(difference, se, record.n_clusters, leads), "", each)


def _verdict(difference: float, se: float, clusters: int, leads: bool) -> str:
    if clusters < LEAST_CLUSTERS:
        return FEW
    clear = abs(difference) >= LEAST_NATS and abs(difference) > t_quantile(PROB, clusters) * se
    return (BETTER if leads else WORSE) if clear else SAME


def _about(record: Elpd) -> str:
    """What the figures mean."""
    what = record.scheme or left_out(record.unit, record.block, record.block_why)
    text = f"Differences are to the first model, the first model's to the second; left out: {what}"
    if record.se_unit == record.unit:
        return text + "."
    extra = f" of {record.block:.3g} s ({record.block_why})" if record.se_unit == "block" else ""
    return text + f"; standard errors over {record.se_unit}s{extra}."
