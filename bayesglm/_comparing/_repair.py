"""Units that importance sampling cannot leave out are left out in earnest: fits without them."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import logsumexp

from bayesglm._comparing._cut import Cut
from bayesglm._comparing._elpd import Elpd
from bayesglm._double import in_double
from bayesglm._fit import NotConverged, _fit
from bayesglm._function import FunctionModel
from bayesglm._glm import GLM
from bayesglm._likelihood import Source, can_cut, glm_values, log_likelihood_chunks, source
from bayesglm._training import training_data
from bayesglm.engine.psis import psis

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_KEY = 0


class HeldOut(NamedTuple):
    """A unit's log predictive density under the fit without it, and whether that fit converged."""

    elpd: float
    converged: bool


def repaired(fit: Fit, made: Source, plan: Cut, record: Elpd, joint: bool, most: int) -> Elpd:
    """The record with exact values where Pareto k was too large; k is 0 there.

    Parameters
    ----------
    fit : Fit
    made, plan, joint
        As the record was made from.
    record : Elpd
    most : int
        Refits that are made at most; where more are wanted none is made, and the notes say what to do.

    Raises
    ------
    ValueError
        A model of ``bg.from_function``: its rows cannot be left out.
    """
    bad = np.argwhere(record.bad_i.values)
    if not len(bad):
        return dataclasses.replace(record, notes=(*record.notes, "repair: every Pareto k is small enough, nothing to refit"))
    if isinstance(fit.model, FunctionModel):
        raise ValueError("loo(repair=): the rows of a function cannot be left out of its fit: take more draws, or K-fold (bg.kfold).")
    if len(bad) > most:
        note = f"repair: {len(bad)} units want a refit, more than {most}: take K-fold (bg.kfold), shorter blocks or more draws, or repair={len(bad)}"
        return dataclasses.replace(record, notes=(*record.notes, note))
    scored = np.logical_or.reduceat(made.scored.any(1), plan.first)
    rows_of = np.split(np.arange(len(plan.units)), plan.first[1:])
    kept = np.flatnonzero(scored)
    elpd, p, k = (array.copy() for array in (record.elpd_i, record.p_i, record.pareto_k))
    failed = 0
    for unit, neuron in bad:
        found = held_out(fit, made, rows_of[kept[unit]], None if joint else int(neuron))
        p.values[unit, neuron] += elpd.values[unit, neuron] - found.elpd
        elpd.values[unit, neuron], k.values[unit, neuron] = found.elpd, 0.0
        failed += not found.converged
    worst = float(record.pareto_k.values[tuple(bad.T)].max())
    note = f"repair: {len(bad)} unit(s) with k up to {worst:.2f} have exact values, from as many fits without them"
    note += f"; {failed} of these did not converge" if failed else ""
    return dataclasses.replace(record, elpd_i=elpd, p_i=p, pareto_k=k, notes=(*record.notes, note))


@in_double
def held_out(fit: Fit, made: Source, rows: np.ndarray, neuron: int | None) -> HeldOut:
    """log of the draw-averaged density of some rows, from a fit of the same method without them.

    Parameters
    ----------
    fit : Fit
    made : Source
        Of the fit's training recording.
    rows : (n,) int
    neuron : int or None
        Whose rows; only it is fitted again where the model allows. None: those of all neurons.
    """
    keep = np.ones(len(made.scored))
    keep[rows] = 0.0
    common = keep if fit.scored is None else keep * fit.scored
    alone = neuron is not None and isinstance(fit.model, GLM) and made.scored.shape[1] > 1
    model, design = _of_neuron(fit.model, made, neuron) if alone else (fit.model, made.design)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = _fit(model, training_data(fit), dataclasses.replace(design, scored=design.scored * common), fit.method, _KEY, False, None)
    if alone:
        new = made._replace(model=model, design=design, values=glm_values(model, again.posterior)[0], scored=made.scored[:, [neuron]])
    else:
        new = source(again)._replace(scored=made.scored)
    columns = slice(None) if neuron is None or alone else slice(neuron, neuron + 1)
    converged = not any(issubclass(warning.category, NotConverged) for warning in caught)
    return HeldOut(_log_mean(new, rows, columns, again), converged)


def _of_neuron(model: GLM, made: Source, neuron: int) -> tuple[GLM, object]:
    """A resolved model and its design, of one neuron alone; shapes are equal for all, so that one program serves."""
    assert model.target is not None and model.target.receivers is not None
    target = dataclasses.replace(model.target, receivers=(model.target.receivers[neuron],))
    one = dataclasses.replace(model, target=target, level=model.level[[neuron]], spread=model.spread[[neuron]])
    return one, made.design.neurons([neuron])


def _log_mean(made: Source, rows: np.ndarray, columns: slice, fit: Fit) -> float:
    """log mean over draws of the joint density of some rows; draws of an approximation are weighted."""
    part = made.at(rows) if can_cut(made.design) else made
    wanted = np.ones(len(part.scored), bool) if can_cut(made.design) else np.isin(np.arange(len(part.scored)), rows)
    total = np.zeros(made.draws)
    for where, values in log_likelihood_chunks(part):
        total += values[:, wanted[where], columns].sum((1, 2))
    ratio = fit.idata["sample_stats"].get("log_ratio") if "sample_stats" in fit.idata.children else None
    if ratio is None:
        return float(logsumexp(total) - np.log(len(total)))
    by_neuron = ratio.transpose("chain", "draw", ...).values.reshape(len(total), -1)
    return float(logsumexp(total + psis(by_neuron[:, columns].sum(1))[0]))
