"""The difference estimator: WAIC of every unit, smoothing of a sample, and what the sampling adds to the error."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from bayesglm._comparing._cut import Cut
from bayesglm._comparing._elpd import UNRELIABLE_P, UNRELIABLE_SHARE
from bayesglm._comparing._pointwise import Figures, Manner, figures
from bayesglm._glm import GLM
from bayesglm._likelihood import Source, can_cut, chunk_at
from bayesglm._model import padded_size
from bayesglm.engine.pointwise import columns_of, moments_to_waic, weights_of
from bayesglm.engine.psis import psis

_NUMBERS = 1 << 18  # rows x neurons x weights worked on at once
_CAUTION = 0.5  # a skewed posterior's variances exceed those of its Gaussian: units are suspects from half the limit
_SEED = 0  # one seed for all fits: models of the same rows are compared on the same sample


class Estimate(NamedTuple):
    """Pointwise values whose sum is the difference estimator, and the standard error of that sum over samples."""

    values: np.ndarray  # (unit, column)
    se: float


def subsampled(made: Source, plan: Cut, joint: bool, ratio: np.ndarray | None, rows: int) -> tuple[Figures, Manner]:
    """LOO figures of all units from WAIC of all and smoothing of some; Pareto k is NaN where nothing was smoothed.

    Parameters
    ----------
    made : Source
    plan : Cut
        Every unit is one row.
    joint, ratio
        As in ``figures``.
    rows : int
        Size of the sample; every unit with a p_waic above 0.4 (by moments: 0.2) is evaluated besides.

    Raises
    ------
    ValueError
        Units of several rows; a model whose rows cannot be taken apart.

    References
    ----------
    Magnusson, Vehtari, Jonasson and Andersen 2020.
    """
    if len(plan.first) != len(plan.units) or not can_cut(made.design):
        what = "the rows of this model's design cannot be taken apart" if len(plan.first) == len(plan.units) else f"units are {plan.unit}s"
        raise ValueError(f"loo(rows={rows}): a sample is of single rows, but {what}: use unit='bin', or leave rows= out.")
    cheap, limit, how = _cheaply(made, plan, joint, ratio)
    scored, suspect = ~np.isnan(cheap.elpd).all(1), _suspects(cheap, limit)
    others = np.flatnonzero(scored & ~suspect)
    sample = np.sort(np.random.default_rng(_SEED).choice(others, min(rows, len(others)), replace=False))
    evaluated = np.flatnonzero(suspect | (np.bincount(sample, minlength=len(scored)) > 0))
    exact = figures(made.at(evaluated), np.arange(len(evaluated)), "loo", joint, ratio)
    values, k = np.full(cheap.elpd.shape, np.nan), np.full(cheap.elpd.shape, np.nan)
    values[evaluated], k[evaluated] = exact.elpd, exact.k
    found = difference_estimate(cheap.elpd, values, sample, len(others))
    note = (
        f"difference estimator: WAIC of {scored.sum()} units{how}, smoothing of {len(sample)} drawn at random and of {suspect.sum()} with p_waic above "
        f"{limit:g}; Pareto k is of these"
    )
    return Figures(found.values, cheap.lppd - found.values, k, cheap.lppd), Manner((note,), found.se)


def _cheaply(made: Source, plan: Cut, joint: bool, ratio: np.ndarray | None) -> tuple[Figures, float, str]:
    """WAIC of all units, the p_waic from which a unit is a suspect, and how it was found."""
    if has_moments(made, joint):
        found, limit = of_moments(made, ratio), _CAUTION * UNRELIABLE_P
        if _suspects(found, limit).mean() <= UNRELIABLE_SHARE:
            return found, limit, " (by the moments of their predictors)"
    return figures(made, plan.units, "waic", joint, ratio), UNRELIABLE_P, ""


def _suspects(found: Figures, limit: float) -> np.ndarray:
    """(unit,) bool"""
    return ~(np.where(np.isnan(found.p), 0.0, found.p) <= limit).all(1)


def has_moments(made: Source, joint: bool) -> bool:
    """Whether the draws matter through one Gaussian number a row: a GLM's predictor, which is a sum of many weights."""
    model = made.model
    if joint or not isinstance(model, GLM) or model.family.predictors is not None or model.family.hyper(model.response):
        return False
    return 4 * sum(values[0, 0].size for values in made.values.values()) <= made.draws


def of_moments(made: Source, ratio: np.ndarray | None) -> Figures:
    """WAIC of every row under the Gaussian that has the draws' mean and covariance: a hundredth of the work of the draws.

    Whatever it leaves out is in the difference that the sample measures. Draws of an approximation are weighted.
    """
    model: Any = made.model
    weights = weights_of(model.blocks(made.design.at(slice(0, 1))), made.values)
    drawn = np.moveaxis(np.concatenate([np.asarray(weights[kind]) for kind in ("shared", "own") if kind in weights], 2), 1, 0)  # (neuron, draw, P)
    share = np.full(drawn.shape[:2], 1 / made.draws) if ratio is None else np.exp(psis(ratio)[0])
    mean = np.einsum("ns,nsp->np", share, drawn)
    away = np.sqrt(share)[:, :, None] * (drawn - mean[:, None])
    sizes, axes = np.linalg.eigh(np.swapaxes(away, 1, 2) @ away)
    root = np.sqrt(np.maximum(sizes, 0.0))[:, :, None] * np.swapaxes(axes, 1, 2)
    lppd, p = np.empty(made.scored.shape), np.empty(made.scored.shape)
    rows = len(lppd)
    length = min(1 << max(16, _NUMBERS // mean.size).bit_length() - 1, padded_size(rows))
    for start in range(0, rows, length):
        part = made.design.at(chunk_at(start, length, rows))
        each, here = part.each, slice(start, min(start + length, rows))
        columns, known = columns_of(model.blocks(part)), each.get("known", {})
        found = moments_to_waic(model.family, columns, mean, root, each.get("offset"), known, each["response"], jnp.asarray(made.dt))
        lppd[here], p[here] = (np.asarray(values)[: here.stop - start] for values in found)
    lppd, p = (np.where(made.scored, values, np.nan) for values in (lppd, p * made.draws / (made.draws - 1)))
    return Figures(lppd - p, p, np.full(p.shape, np.nan), lppd)


def difference_estimate(cheap: np.ndarray, exact: np.ndarray, sample: np.ndarray, size: int) -> Estimate:
    """Sum of ``cheap`` plus the mean difference in a simple random sample, scaled up; known exactly elsewhere where ``exact`` is.

    Every unit that was not evaluated is moved by its column's mean difference, so that the values add up to the estimate.
    Its variance is (1 - n / N) n times the variance over the sample of z_i = sum_c N_c / n_c (e_ic - mean e_c).

    Parameters
    ----------
    cheap : (unit, column)
        Approximate values of all units; NaN where nothing is scored.
    exact : (unit, column)
        Exact values, NaN where not evaluated.
    sample : (n,) int
        Units drawn at random among ``size``; other units with an exact value were evaluated for certain.
    size : int
    """
    error = exact[sample] - cheap[sample]
    n = np.maximum((~np.isnan(error)).sum(0), 1)
    mean = np.where(np.isnan(error), 0.0, error).sum(0) / n
    values = np.where(np.isnan(exact), cheap + mean, exact)
    moved = np.isnan(exact) & ~np.isnan(cheap)
    weight = (moved.sum(0) + n) / n
    z = np.where(np.isnan(error), 0.0, weight * (error - mean)).sum(1)
    variance = max(0.0, 1 - len(sample) / max(size, 1)) * len(sample) * (z.var(ddof=1) if len(z) > 1 else 0.0)
    return Estimate(values, float(np.sqrt(variance)))
