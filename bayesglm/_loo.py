"""loo() and waic(): how well would what was left out have been predicted? Streamed over rows, neuron by neuron."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesglm._cut import Block, Cut, chosen_units, cut, default_block, stated_block
from bayesglm._data import row_dim
from bayesglm._double import in_double
from bayesglm._elpd import UNRELIABLE_P, UNRELIABLE_SHARE, Elpd, Identity
from bayesglm._likelihood import Source, gathered, is_mass, labels_of, log_likelihood_chunks, log_mean_chunks, response_of, source
from bayesglm._training import training_data
from bayesglm.engine.psis import loo_units, pareto_k_threshold, psis, relative_efficiency, waic_units

if TYPE_CHECKING:
    from bayesglm._fit import Fit


@in_double
def loo(fit: Fit, unit: str | None = None, se: str | None = None, block: float | None = None) -> Elpd:
    """Leave-one-unit-out predictive density by Pareto smoothed importance sampling: sum_un log p(y_un | the rest).

    The log likelihoods of a unit's rows are summed within a neuron before smoothing; a unit is left out of one neuron
    at a time, since posteriors factorise over neurons (where parameters are shared, of all neurons together).

    Parameters
    ----------
    fit : Fit
        With draws; a MAP fit has none to reweight.
    unit : "bin", "block" or "trial", optional
        What is left out. Default: "block" for time rows, "trial" for trial rows. "bin" asks how well one bin is
        predicted given the neighbouring bins, which give much of the answer away where covariates are slow.
    se : "bin", "block" or "trial", optional
        Over what pointwise values are summed before the standard error; never shorter than ``unit``. Default: "block"
        for bins, else the unit.
    block : float, optional
        Length of a block in seconds. Default: the largest of 10 longest filters and 20 correlation times of the
        slowest covariate and of the pointwise values. Blocks are of equal length, never shorter than this.

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
        A point fit; unknown units; a cluster shorter than the unit.

    References
    ----------
    Vehtari, Gelman and Gabry 2017; Vehtari et al. 2024 (PSIS); Roberts et al. 2017 (blocks).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.random.default_rng(0).poisson(0.5, (400, 1)))
    >>> fit = bg.fit(bg.GLM(bg.Baseline()), data, "laplace", progress=False)
    >>> found = bg.loo(fit, block=1.0)
    >>> found.unit, found.n_data_points, bool(0.5 < found.p < 1.5)
    ('block', 40, True)
    """
    return evaluate(fit, "loo", unit, se, block)


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


def evaluate(fit: Fit, ic: str, unit: str | None, se: str | None, block: float | Block | None) -> Elpd:
    """``loo`` or ``waic`` of one fit."""
    refuse_point(fit, ic)
    data = training_data(fit)
    unit, se = chosen_units(data, ic, unit, se)
    made = source(fit)
    length = _length(fit, made, data, block) if "block" in (unit, se) else None
    plan = cut(data, unit, se, length)
    joint = made.scored.shape[1] > 1 and any("neuron" not in array.dims for array in fit.posterior.data_vars.values())
    return _record(fit, made, data, plan, _figures(made, plan, ic, joint, _log_ratio(fit)), ic, joint)


def refuse_point(fit: Fit, ic: str) -> None:
    """A point has no posterior to leave anything out of."""
    if fit.point:
        raise ValueError(
            f"{ic}: a MAP fit is a point, without the draws that {ic} reweights. Fit with method='nuts', or score held-out data: bg.score(fit, test)."
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


class _Figures(NamedTuple):
    elpd: np.ndarray  # (unit, neuron); NaN where nothing is scored
    p: np.ndarray
    k: np.ndarray


def _figures(made: Source, plan: Cut, ic: str, joint: bool, ratio: np.ndarray | None) -> _Figures:
    """Figures of every unit and neuron, a chunk of units at a time; ``ratio`` (neuron, draw) of an approximation's draws."""
    ratio = ratio.sum(0, keepdims=True) if joint and ratio is not None else ratio
    scored = made.scored.any(1, keepdims=True) if joint else made.scored
    present = np.logical_or.reduceat(scored, plan.first, axis=0)
    elpd, p, k = (np.full(present.shape, np.nan) for _ in range(3))
    for units, sums in unit_sums(made, plan.units):
        values = sums.sum(2, keepdims=True) if joint else sums
        here = present[units]
        if not here.any():
            continue
        log_lik = np.moveaxis(values, 0, 2)[here]
        found = _of_units(log_lik, made.chains, ic, None if ratio is None else ratio[np.nonzero(here)[1]])
        for out, figure in zip((elpd, p, k), found, strict=True):
            piece = np.full(here.shape, np.nan)
            piece[here] = figure
            out[units] = piece
    return _Figures(elpd, p, k)


def _of_units(log_lik: np.ndarray, chains: int, ic: str, ratio: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """elpd, p and k of (unit, draw) log likelihoods."""
    if ic == "waic":
        criterion = waic_units(log_lik)
        return criterion.elpd, criterion.p_waic, np.full(len(log_lik), np.nan)
    if ratio is not None:
        return _reweighted(log_lik, ratio)
    by_chain = np.moveaxis(log_lik.reshape(len(log_lik), chains, -1), 0, 2)
    efficiency = relative_efficiency(by_chain)
    left = loo_units(log_lik, np.where(np.isfinite(efficiency) & (efficiency > 0), efficiency, 1.0))
    return left.elpd, left.p_loo, left.k


def _reweighted(log_lik: np.ndarray, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same from independent draws of q: what is left out is left out of p = q exp(ratio)."""
    without, k = psis(ratio - log_lik)
    elpd, lppd = (np.asarray(logsumexp(weights + log_lik, axis=1)) for weights in (without, psis(ratio)[0]))
    return elpd, lppd - elpd, k


def unit_sums(made: Source, units: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Log likelihoods summed over each unit's rows: (units, (draw, unit, neuron)); a unit may run over many chunks."""
    held, carried = None, None
    for rows, values in log_likelihood_chunks(made):
        local = units[rows]
        starts = np.flatnonzero(np.r_[True, np.diff(local) != 0])
        found, sums = local[starts], np.add.reduceat(values, starts, axis=1)
        if carried is not None and held == found[0]:
            sums[:, 0] += carried
        elif carried is not None:
            yield np.array([held]), carried[:, None]
        held, carried = found[-1], sums[:, -1].copy()
        if len(found) > 1:
            yield found[:-1], sums[:, :-1]
    if carried is not None:
        yield np.array([held]), carried[:, None]


def _record(fit: Fit, made: Source, data: xr.Dataset, plan: Cut, figures: _Figures, ic: str, joint: bool) -> Elpd:
    labels = np.array(["all"]) if joint else labels_of(fit, made.scored.shape[1])
    labels = np.arange(1) if labels is None else labels
    row = row_dim(data)
    begins = data[row].values[plan.first] if row in data.coords else plan.first
    kept = ~np.isnan(figures.elpd).all(1)
    coords = {plan.unit: begins[kept], "neuron": labels}
    elpd, p, k = (xr.DataArray(values[kept], coords, [plan.unit, "neuron"], name) for name, values in zip(("elpd", "p", "pareto_k"), figures, strict=True))
    cluster = np.unique(plan.clusters[kept], return_inverse=True)[1]
    length, why = plan.block or (None, "")
    good = pareto_k_threshold(made.draws)
    record = Elpd(ic, elpd, p, k, good, plan.unit, plan.se, length, why, cluster, made.draws, _identity(fit, made))
    return _noted(record, joint)


def _noted(record: Elpd, joint: bool) -> Elpd:
    notes = ["neurons share parameters: units are left out of all of them together"] if joint else []
    if not record.reliable and record.ic == "loo":
        notes.append(f"{record.n_bad} unit(s) have a Pareto k above {record.good_k:.2f}: elpd is optimistic there; take more draws, shorter blocks, or K-fold")
    if not record.reliable and record.ic == "waic":
        share = record.n_bad / record.n_data_points
        notes.append(f"unreliable: {share:.1%} of units have p_waic above {UNRELIABLE_P} (more than {UNRELIABLE_SHARE:.0%}); use bg.loo")
    return replace(record, notes=tuple(notes))


def _identity(fit: Fit, made: Source) -> Identity:
    y = np.where(made.scored, np.asarray(response_of(made), float), 0.0)
    neurons: Any = fit.model.coords().get("neuron", np.arange(0))
    digest = zlib.crc32(np.packbits(made.scored).tobytes())
    return Identity(fit.model.observed_site() or "", made.dt, tuple(neurons.tolist()), is_mass(made), len(y), digest, zlib.crc32(y.tobytes()))
