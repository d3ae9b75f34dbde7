"""loo() and waic(): how well would what was left out have been predicted? Streamed over rows, neuron by neuron."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._comparing._cut import Block, Cut, chosen_units, cut, default_block, stated_block
from bayesglm._comparing._elpd import UNRELIABLE_P, UNRELIABLE_SHARE, Elpd, Identity
from bayesglm._comparing._leave_out import without_draws
from bayesglm._comparing._pointwise import Figures, Manner, figures
from bayesglm._comparing._repair import repaired
from bayesglm._comparing._subsample import subsampled
from bayesglm._data import is_time, row_dim
from bayesglm._double import in_double
from bayesglm._likelihood import Source, gathered, is_mass, labels_of, log_mean_chunks, response_of, source
from bayesglm._training import training_data
from bayesglm.engine.pareto import draws_wanted, pareto_k_threshold
from bayesglm.prior._distributions import EvidenceScale

if TYPE_CHECKING:
    from bayesglm._fit import Fit


@in_double
def loo(
    fit: Fit,
    unit: str | None = None,
    se: str | None = None,
    block: float | None = None,
    rows: int | None = None,
    repair: bool | int = False,
    approx: bool = False,
) -> Elpd:
    """Leave-one-unit-out predictive density by Pareto smoothed importance sampling: sum_un log p(y_un | the rest).

    The log likelihoods of a unit's rows are summed within a neuron before smoothing; a unit is left out of one neuron
    at a time, since posteriors factorise over neurons (where parameters are shared, of all neurons together).

    Parameters
    ----------
    fit : Fit
        With draws; a MAP fit has none to reweight, and needs ``approx=True``.
    unit : "bin", "block" or "trial", optional
        What is left out. Default: "block" for time rows ("bin" where ``rows`` is given), "trial" for trial rows. "bin"
        asks how well one bin is predicted given the neighbouring bins, which give much of the answer away where
        covariates are slow.
    se : "bin", "block" or "trial", optional
        Over what pointwise values are summed before the standard error; never shorter than ``unit``. Default: "block"
        for bins, else the unit.
    block : float, optional
        Length of a block in seconds. Default: the largest of 10 longest filters and 20 correlation times of the
        slowest covariate and of the pointwise values. Blocks are of equal length, never shorter than this.
    rows : int, optional
        Estimate from WAIC of all bins (or trials) and smoothing of a random sample of this many, and of every one with a
        p_waic above 0.4: the difference estimator. ``subsampling_se`` says what that adds to the standard error.
    repair : bool or int
        Fit again without each unit whose Pareto k is too large, with the fit's own method, and take its density from
        that fit. At most 20 times (or the number given); where more are bad none is repaired, and the notes say so.
    approx : bool
        Without importance sampling: each unit is taken out of the mode and its Hessian by one Newton step. A MAP fit
        gives the density at that point ("loo_plugin"), a Laplace fit its average over the Gaussian posterior.

    Returns
    -------
    Elpd
        Prints as a readable summary; in nats.

    Notes
    -----
    Draws of an approximation (``method.Laplace``) are weighted by log p - log q besides; Pareto k judges both.

    Raises
    ------
    ValueError
        A point fit without ``approx``; unknown units; a cluster shorter than the unit; options that exclude each other.

    References
    ----------
    Vehtari, Gelman and Gabry 2017; Vehtari et al. 2024 (PSIS); Roberts et al. 2017 (blocks); Magnusson, Vehtari,
    Jonasson and Andersen 2020 (the difference estimator).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.random.default_rng(0).poisson(0.5, (400, 1)))
    >>> fit = bg.fit(bg.GLM(bg.Baseline()), data, "laplace", progress=False)
    >>> found = bg.loo(fit, block=1.0)
    >>> found.unit, found.n_data_points, bool(0.5 < found.p < 1.5)
    ('block', 40, True)
    """
    return evaluate(fit, "loo", unit, se, block, Options(rows, repair, approx))


@in_double
def waic(fit: Fit, unit: str | None = None, block: float | None = None) -> Elpd:
    """Widely applicable information criterion: sum_un [log mean_d p(y_un | d) - var_d log p(y_un | d)], in nats.

    Parameters
    ----------
    fit : Fit
        With draws.
    unit : "bin" or "trial", optional
        Default: "bin" for time rows, "trial" for trial rows. The variance of a block's log likelihood is too large for
        the criterion to mean anything.
    block : float, optional
        Length in seconds of the blocks over which the standard error of bins is taken; default as ``loo``'s.

    Returns
    -------
    Elpd
        With a note where more than 1 % of units have a p_waic above 0.4: it is unreliable then, and ``loo`` is not.

    Raises
    ------
    ValueError
        A point fit; unknown units.

    References
    ----------
    Watanabe 2010; Gelman, Hwang and Vehtari 2014.

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.random.default_rng(0).poisson(0.5, (400, 1)))
    >>> fit = bg.fit(bg.GLM(bg.Baseline()), data, "laplace", progress=False)
    >>> found = bg.waic(fit)
    >>> found.unit, found.n_data_points, bool(0.5 < found.p < 1.5)
    ('bin', 400, True)
    """
    return evaluate(fit, "waic", unit, None, block)


class Options(NamedTuple):
    """What ``loo`` may do besides smoothing every unit."""

    rows: int | None = None
    repair: bool | int = False
    approx: bool = False


def evaluate(fit: Fit, ic: str, unit: str | None, se: str | None, block: float | Block | None, options: Options = Options()) -> Elpd:
    """``loo`` or ``waic`` of one fit."""
    _checked(fit, ic, options)
    data = training_data(fit)
    unit = "bin" if unit is None and options.rows is not None and is_time(data) else unit
    unit, se = chosen_units(data, ic, unit, se)
    made = source(fit)
    # Bins do not depend on the length of a block, and their own values tell it: one pass over the recording, not two.
    late = (unit, se, block) == ("bin", "block", None)
    plan = cut(data, unit, "bin" if late else se, None if late or "block" not in (unit, se) else _length(fit, made, data, block))
    joint = made.scored.shape[1] > 1 and any("neuron" not in array.dims for array in fit.posterior.data_vars.values())
    found, manner = _found(fit, made, plan, ic, joint, options)
    if late:
        pointwise = np.where(np.isnan(found.lppd).all(1), np.nan, np.nansum(found.lppd, 1))
        plan = cut(data, unit, se, default_block({"": fit}, pointwise, "pointwise log likelihoods"))
    record = _record(fit, made, data, plan, found, manner.ic or ic, joint)
    record = replace(record, notes=(*record.notes, *manner.notes), subsampling_se=manner.subsampling_se)
    if options.repair is False:
        return _noted(record)
    return _noted(repaired(fit, made, plan, record, joint, 20 if options.repair is True else int(options.repair)))


def _found(fit: Fit, made: Source, plan: Cut, ic: str, joint: bool, options: Options) -> tuple[Figures, Manner]:
    """Figures of every unit, and what is to be said of how they were found."""
    if options.approx:
        return without_draws(fit, made, plan, joint)
    if options.rows is not None:
        return subsampled(made, plan, joint, _log_ratio(fit), options.rows)
    return figures(made, plan.units, ic, joint, _log_ratio(fit)), Manner()


def _checked(fit: Fit, ic: str, options: Options) -> None:
    """Options that exclude each other, and points."""
    if not options.approx:
        refuse_point(fit, ic)
    if options.approx and (options.rows is not None or options.repair is not False):
        raise ValueError("loo(approx=True) takes every unit out without importance sampling: leave rows= and repair= out.")
    if options.rows is not None and (isinstance(options.rows, bool) or not isinstance(options.rows, (int, np.integer)) or options.rows < 2):
        raise ValueError(f"loo(rows={options.rows!r}): the number of bins to sample, two or more.")
    if not isinstance(options.repair, (bool, int, np.integer)) or options.repair < 0:
        raise ValueError(f"loo(repair={options.repair!r}): True, False, or the largest number of refits.")


def refuse_point(fit: Fit, ic: str) -> None:
    """A point has no posterior to leave anything out of."""
    if fit.point:
        raise ValueError(
            f"{ic}: a MAP fit is a point, without the draws that {ic} reweights. Fit with method='nuts', take bg.loo(fit, approx=True) "
            f"(a plug-in density), or score held-out data: bg.score(fit, test)."
        )


def _length(fit: Fit, made: Source, data: xr.Dataset, block: float | Block | None) -> Block:
    if isinstance(block, Block):
        return block
    if block is not None:
        return stated_block(block, data)
    pointwise = log_mean_rows(made)
    return default_block({"": fit}, pointwise, "pointwise log likelihoods")


def log_mean_rows(made: Source) -> np.ndarray:
    """(row,) log draw-averaged probabilities summed over neurons; NaN in rows where nothing is scored."""
    return np.where(made.scored.any(1), gathered(made, log_mean_chunks(made)).sum(1), np.nan)


def _log_ratio(fit: Fit) -> np.ndarray | None:
    """(neuron, draw) log p - log q of draws from an approximation; None where draws are from the posterior itself."""
    ratio = fit.idata["sample_stats"].get("log_ratio") if "sample_stats" in fit.idata.children else None
    if ratio is None:
        return None
    values = ratio.transpose("chain", "draw", ...).values
    return values.reshape(values.shape[0] * values.shape[1], -1).T


def _record(fit: Fit, made: Source, data: xr.Dataset, plan: Cut, found: Figures, ic: str, joint: bool) -> Elpd:
    labels = np.array(["all"]) if joint else labels_of(fit, made.scored.shape[1])
    labels = np.arange(1) if labels is None else labels
    row = row_dim(data)
    begins = data[row].values[plan.first] if row in data.coords else plan.first
    kept = ~np.isnan(found.elpd).all(1)
    coords = {plan.unit: begins[kept], "neuron": labels}
    elpd, p, k = (xr.DataArray(values[kept], coords, [plan.unit, "neuron"], name) for name, values in zip(("elpd", "p", "pareto_k"), found, strict=False))
    cluster = np.unique(plan.clusters[kept], return_inverse=True)[1]
    length, why = plan.block or (None, "")
    good = pareto_k_threshold(made.draws) if made.draws > 1 else np.nan
    notes = ("neurons share parameters: units are left out of all of them together",) if joint else ()
    notes += _given_scale(fit)
    return Elpd(ic, elpd, p, k, good, plan.unit, plan.se, length, why, cluster, made.draws, _identity(fit, made), notes)


def _given_scale(fit: Fit) -> tuple[str, ...]:
    """A scale that the evidence fixed saw the rows that are left out."""
    terms = [term for term in getattr(fit.model, "terms", ()) if term.prior is not None]
    sites = {site: law for term in terms for site, (law, _) in term.prior.hyper(term.name).items()}
    fixed = [site for site, law in sites.items() if isinstance(law, EvidenceScale) and bool((fit.posterior[site] == fit.posterior[site][0, 0]).all())]
    return (f"given scale: {', '.join(fixed)} stayed at what the evidence of all rows chose, of those left out too",) if fixed else ()


def _noted(record: Elpd) -> Elpd:
    notes = []
    if not record.reliable and record.ic == "loo":
        wanted = draws_wanted(float(record.pareto_k.max()))
        more = f"take more draws ({wanted} in all would do for this k)" if wanted else "more draws will not mend it"
        notes.append(
            f"{record.n_bad} unit(s) have a Pareto k above {record.good_k:.2f}, at most {float(record.pareto_k.max()):.2f}: elpd is optimistic there; "
            f"{more}, or repair=True, shorter blocks, or K-fold"
        )
    if not record.reliable and record.ic == "waic":
        share = record.n_bad / record.n_data_points
        notes.append(f"unreliable: {share:.1%} of units have p_waic above {UNRELIABLE_P} (more than {UNRELIABLE_SHARE:.0%}); use bg.loo")
    return replace(record, notes=(*record.notes, *notes))


def _identity(fit: Fit, made: Source) -> Identity:
    y = np.where(made.scored, np.asarray(response_of(made), float), 0.0)
    neurons: Any = fit.model.coords().get("neuron", np.arange(0))
    digest = zlib.crc32(np.packbits(made.scored).tobytes())
    measure = getattr(getattr(fit.model, "family", None), "measure", "")  # a density over the plane is none over the circle
    name = " as ".join(filter(None, [fit.model.observed_site() or "", measure]))
    return Identity(name, made.dt, tuple(neurons.tolist()), is_mass(made), len(y), digest, zlib.crc32(y.tobytes()))
