"""Leaving units out without refitting: Pareto smoothed importance sampling, LOO and WAIC of many units at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bayesglm.engine.diagnostics import ess

# Five values are too few: their first quartile is the smallest one, and the fit starts from the ratio of the two.
MIN_TAIL = 6
# Log ratios that differ by less are rounding errors of sums of log likelihoods.
CONSTANT = 1e-10
# Numbers worked on at once: 2 MiB, so that a chunk of units stays near the cache.
CHUNK = 1 << 18


class Loo(NamedTuple):
    """Leave-one-out figures of each unit; in nats, but for k."""

    elpd: np.ndarray  # log predictive density of the unit, given the others
    p_loo: np.ndarray  # lppd - elpd: effective number of parameters
    k: np.ndarray  # Pareto k, as `psis` gives it
    lppd: np.ndarray  # log predictive density of the unit, itself among the data


class Waic(NamedTuple):
    """WAIC figures of each unit, in nats (not times -2)."""

    elpd: np.ndarray
    p_waic: np.ndarray
    lppd: np.ndarray


def pareto_k_threshold(n_draws: int) -> float:
    """Largest Pareto k at which importance sampling with ``n_draws`` draws may be relied on: min(1 - 1 / log10 S, 0.7).

    Parameters
    ----------
    n_draws : int
        Draws of all chains together, S; two or more.

    Returns
    -------
    float
        0.7 from 2,155 draws on; below ten draws it is negative: no k will do.

    Raises
    ------
    ValueError
        If there are fewer than two draws.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), Journal of Machine Learning Research 25(72).

    Examples
    --------
    >>> round(pareto_k_threshold(1000), 3), pareto_k_threshold(4000)
    (0.667, 0.7)
    """
    if n_draws < 2:
        raise ValueError(f"pareto_k_threshold: n_draws is {n_draws}; Pareto k needs two draws or more (a point has none)")
    return float(min(1 - 1 / np.log10(n_draws), 0.7))


def tail_length(n_draws: int, r_eff: float | np.ndarray = 1.0) -> np.ndarray:
    """Number of the largest ratios that are smoothed: M = floor(min(S / 5, 3 sqrt(S / r_eff))).

    Parameters
    ----------
    n_draws : int
        Draws of all chains together, S.
    r_eff : float or (unit,)
        Relative efficiency of the draws, as `relative_efficiency` gives it.

    Returns
    -------
    int array of the shape of ``r_eff``
        Rounded down, as ArviZ does, so that its figures are met to the last digits; R's loo rounds up (one draw more).

    Raises
    ------
    ValueError
        If ``r_eff`` is not positive and finite.

    Examples
    --------
    >>> int(tail_length(1000)), int(tail_length(100))
    (94, 20)
    """
    efficiency = np.asarray(r_eff, float)
    bad = ~(np.isfinite(efficiency) & (efficiency > 0))
    if bad.any():
        raise ValueError(f"r_eff is {efficiency[bad].flat[0]}; it must be positive (1 for independent draws)")
    return np.floor(np.minimum(n_draws / 5, 3 * np.sqrt(n_draws / efficiency))).astype(int)


def psis(log_ratios: np.ndarray, r_eff: float | np.ndarray = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pareto smoothed importance weights of each unit.

    The M largest ratios r of a unit are replaced by the quantiles at (1/2, ..., M - 1/2) / M of a generalised Pareto
    distribution fitted to them, never above the largest raw ratio; M is `tail_length`.

    Parameters
    ----------
    log_ratios : (unit, draw), or (draw,) of one unit
        log r, up to a constant a unit; for leave-one-out minus the log likelihood of the unit, for draws from an
        approximation log p - log q.
    r_eff : float or (unit,)
        Relative efficiency of the draws, as `relative_efficiency` gives it.

    Returns
    -------
    log_weights : the shape of ``log_ratios``
        Normalised: the weights of a unit sum to one.
    k : (unit,)
        Shape of the tail: moments of the ratios above order 1/k do not exist. Trust the weights up to
        `pareto_k_threshold`. No smoothing is done, and

        - k is -inf (good) where all tail ratios are equal up to rounding, as constant ratios are: weights are bounded;
        - k is inf (bad) below six tail draws (30 draws), where a log ratio is +inf (such draws take all the weight),
          where all are -inf (weights are equal), and where a quarter of the tail has no weight in double precision;
        - k is nan (unknown) where otherwise a quarter of the tail ties at its smallest ratio, as after a chain that
          stood still. ``~(k <= threshold)`` counts what cannot be trusted, this too.

    Raises
    ------
    ValueError
        If a log ratio is NaN, there is no draw, or ``r_eff`` fits neither one unit nor all.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), Journal of Machine Learning Research 25(72); the fit: Zhang and
    Stephens (2009), Technometrics 51(3).

    Examples
    --------
    >>> log_weights, k = psis(np.random.default_rng(0).normal(size=(3, 1000)))
    >>> np.exp(log_weights).sum(axis=1).round(6).tolist(), bool((k < pareto_k_threshold(1000)).all())
    ([1.0, 1.0, 1.0], True)
    """
    ratios, efficiency = _units("log_ratios", np.atleast_2d(log_ratios), r_eff)
    log_weights, k = np.empty(ratios.shape), np.empty(len(ratios))
    for units, tail in _chunks(ratios, efficiency):
        log_weights[units], k[units] = _smoothed(_chunk("log_ratios", ratios, units), tail)
    shape = np.shape(log_ratios)
    return log_weights.reshape(shape), k.reshape(shape[:-1])


def loo_units(log_lik: np.ndarray, r_eff: float | np.ndarray = 1.0) -> Loo:
    """Leave-one-unit-out log predictive densities by `psis`.

    elpd_i = log sum_s w_is p(y_i | draw s) with log ratios -log p(y_i | draw s); a unit is whatever a row of
    ``log_lik`` is: a bin, a block, a trial.

    Parameters
    ----------
    log_lik : (unit, draw)
        Log likelihood of each unit at each draw, in nats, constants included. Any float type: the work is done in
        double precision, on a chunk of units at a time, and the weights are not kept.
    r_eff : float or (unit,)
        Relative efficiency of the draws, as `relative_efficiency` gives it.

    Returns
    -------
    Loo
        ``elpd, p_loo, k, lppd``, each (unit,). A unit that is impossible under some draw (log likelihood -inf) has
        elpd -inf, p_loo inf and k inf; where it is impossible under all, lppd is -inf and p_loo NaN.

    Raises
    ------
    ValueError
        If a log likelihood is NaN or +inf, there is no draw, or ``r_eff`` fits neither one unit nor all.

    References
    ----------
    Vehtari, Gelman and Gabry (2017), Statistics and Computing 27(5).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, mean = rng.normal(size=(20, 1)), rng.normal(scale=0.2, size=1000)
    >>> loo = loo_units(-0.5 * (y - mean) ** 2 - 0.5 * np.log(2 * np.pi))
    >>> loo.elpd.shape, bool((loo.p_loo > 0).all())
    ((20,), True)
    """
    log_lik, efficiency = _units("log_lik", log_lik, r_eff)
    elpd, k, lppd = (np.empty(len(log_lik)) for _ in range(3))
    for units, tail in _chunks(log_lik, efficiency):
        chunk = _chunk("log_lik", log_lik, units)
        log_weights, k[units] = _smoothed(-chunk, tail)
        elpd[units], lppd[units] = _log_sum(chunk + log_weights), _log_sum(chunk) - np.log(chunk.shape[1])
    with np.errstate(invalid="ignore"):
        return Loo(elpd, lppd - elpd, k, lppd)


def waic_units(log_lik: np.ndarray) -> Waic:
    """Widely applicable information criterion of each unit, on the scale of the log predictive density.

    elpd_i = log mean_s p(y_i | draw s) - p_i, where p_i is the variance of log p(y_i | draw s) over draws. Where
    p_i exceeds 0.4 it is not reliable: use `loo_units`, which says so by itself.

    Parameters
    ----------
    log_lik : (unit, draw)
        Log likelihood of each unit at each draw, in nats, constants included.

    Returns
    -------
    Waic
        ``elpd, p_waic, lppd``, each (unit,). A unit that is impossible under some draw has p_waic inf, elpd -inf.

    Raises
    ------
    ValueError
        If a log likelihood is NaN or +inf, or there are fewer than two draws.

    References
    ----------
    Watanabe (2010), Journal of Machine Learning Research 11; Gelman, Hwang and Vehtari (2014), Statistics and
    Computing 24(6).

    Examples
    --------
    >>> waic = waic_units(np.log([[0.5, 0.5], [0.2, 0.4]]))
    >>> waic.lppd.round(3).tolist(), waic.p_waic.round(3).tolist()
    ([-0.693, -1.204], [0.0, 0.24])
    """
    log_lik, efficiency = _units("log_lik", log_lik, 1.0)
    if log_lik.shape[1] < 2:
        raise ValueError("waic_units: log_lik has one draw; a variance over draws needs two or more (a point fit has no WAIC)")
    p_waic, lppd = np.empty(len(log_lik)), np.empty(len(log_lik))
    for units, _ in _chunks(log_lik, efficiency):
        chunk = _chunk("log_lik", log_lik, units)
        impossible = np.isneginf(chunk).any(axis=1)
        with np.errstate(invalid="ignore"):
            p_waic[units] = np.where(impossible, np.inf, chunk.var(axis=1, ddof=1))
        lppd[units] = _log_sum(chunk) - np.log(chunk.shape[1])
    return Waic(lppd - p_waic, p_waic, lppd)


def relative_efficiency(log_lik_by_chain: np.ndarray) -> np.ndarray:
    """Effective over actual number of draws, for the likelihood of each unit: ess(exp(log_lik), "mean") / S.

    Parameters
    ----------
    log_lik_by_chain : (chain, draw, *unit)
        Log likelihoods in nats, the chains apart.

    Returns
    -------
    (*unit)
        The ``r_eff`` of `psis` and `loo_units`: below 1 for autocorrelated draws, above 1 for antithetic ones.
        1 with fewer than four draws a chain, which are too few to tell; NaN where a log likelihood is.

    Raises
    ------
    ValueError
        If there is no chain or draw dimension.

    Examples
    --------
    >>> log_lik = np.random.default_rng(0).normal(size=(4, 500, 3))
    >>> bool((abs(relative_efficiency(log_lik) - 1) < 0.3).all())
    True
    """
    log_lik = np.asarray(log_lik_by_chain)
    if log_lik.ndim < 2 or 0 in log_lik.shape[:2]:
        raise ValueError(f"relative_efficiency: log_lik has the shape {log_lik.shape}; it must be (chain, draw, ...), not empty")
    n_chains, n_draws, *rest = log_lik.shape
    if n_draws < 4:
        return np.ones(rest)
    flat = log_lik.reshape(n_chains, n_draws, int(np.prod(rest)))
    result = np.empty(flat.shape[2])
    step = _step(n_chains * n_draws)
    for start in range(0, result.size, step):
        chunk = flat[:, :, start : start + step].astype(float)
        # ESS does not depend on the scale, and the likelihood of a block of bins would underflow.
        top = chunk.max(axis=(0, 1))
        result[start : start + step] = ess(np.exp(chunk - np.where(np.isneginf(top), 0.0, top)), "mean")
    return result.reshape(rest) / (n_chains * n_draws)


def _units(name: str, values: np.ndarray, r_eff: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The array as it is, and one relative efficiency a unit."""
    values, efficiency = np.asarray(values), np.asarray(r_eff, float)
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"{name} has the shape {values.shape}; it must be (unit, draw): put all chains in one axis, last")
    if efficiency.shape not in {(), (len(values),)}:
        raise ValueError(f"r_eff has the shape {efficiency.shape}; give one number, or one a unit: ({len(values)},)")
    return values, np.broadcast_to(efficiency, (len(values),))


def _step(n_draws: int) -> int:
    return max(1, CHUNK // n_draws)


def _chunks(values: np.ndarray, r_eff: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Indices of units that share a tail length, few enough at a time."""
    tails = tail_length(values.shape[1], r_eff)
    step = _step(values.shape[1])
    for tail in np.unique(tails):
        members = np.flatnonzero(tails == tail)
        for start in range(0, members.size, step):
            yield members[start : start + step], int(tail)


def _chunk(name: str, values: np.ndarray, units: np.ndarray) -> np.ndarray:
    chunk = values[units].astype(float)
    bad = np.isnan(chunk) | (np.isposinf(chunk) & (name == "log_lik"))
    if bad.any():
        row, draw = np.argwhere(bad)[0]
        where = f"{name} of unit {units[row]} is {chunk[row, draw]} at draw {draw}"
        raise ValueError(f"{where}; leave out units that were not observed, or look at that draw")
    return chunk


def _log_sum(values: np.ndarray) -> np.ndarray:
    """log sum exp over the last axis; rows of -inf give -inf."""
    top = values.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(axis=-1)) + top[..., 0]


def _smoothed(ratios: np.ndarray, tail: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalised log weights and k of units that share a tail length."""
    top = ratios.max(axis=1, keepdims=True)
    endless = ~np.isfinite(top)
    with np.errstate(invalid="ignore"):
        ratios = np.where(endless, np.where(ratios == top, 0.0, -np.inf), ratios - top)
    k = np.full(len(ratios), np.inf)
    if tail >= MIN_TAIL:
        _smooth_tails(ratios, k, tail, ~endless[:, 0])
    return ratios - _log_sum(ratios)[:, None], k


def _smooth_tails(ratios: np.ndarray, k: np.ndarray, tail: int, usable: np.ndarray) -> None:
    """Fit and smooth, in place, the tails of log ratios whose maximum is 0."""
    cutoff, index, ordered = _tails(ratios, tail)
    weights = np.exp(ordered)
    excess = weights - np.exp(cutoff)
    quartile = _quartile(tail)
    constant = ordered[:, -1] - ordered[:, 0] <= CONSTANT
    tied = excess[:, quartile] <= excess[:, 0]
    # A quarter of the tail with no weight at all is not a tie to be forgiven: a few draws carry everything.
    empty = weights[:, quartile] == 0
    k[usable & tied & ~empty] = np.nan
    k[usable & constant] = -np.inf
    rows = np.flatnonzero(usable & ~tied & ~constant)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        k[rows], sigma = _fit_pareto(excess[rows])
        quantiles = np.log(np.exp(cutoff[rows]) + sigma[:, None] * _standard_quantiles(k[rows, None], tail))
    good = np.isfinite(k[rows]) & (sigma > 0)
    ratios[rows[good, None], index[rows[good]]] = np.minimum(quantiles[good], 0.0)


def _tails(ratios: np.ndarray, tail: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest ratio below the tail (unit, 1), and the tail's places and values (unit, tail), in order of size."""
    last = np.argpartition(ratios, -tail - 1, axis=1)[:, -tail - 1 :]
    values = np.take_along_axis(ratios, last, axis=1)
    order = np.argsort(values[:, 1:], axis=1)
    index = np.take_along_axis(last[:, 1:], order, axis=1)
    return values[:, :1], index, np.take_along_axis(values[:, 1:], order, axis=1)


def _quartile(tail: int) -> int:
    return int(tail / 4 + 0.5) - 1


def _fit_pareto(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape k and scale sigma (unit,) of generalised Pareto distributions of sorted values (unit, tail).

    The posterior mean of b = -k / sigma over the grid of Zhang and Stephens; k is then drawn to 1/2 by a prior worth
    ten values.
    """
    n = excess.shape[1]
    n_grid = 30 + int(n**0.5)
    grid = 1 - np.sqrt(n_grid / (np.arange(1, n_grid + 1) - 0.5))
    b = grid / (3 * excess[:, _quartile(n), None]) + 1 / excess[:, -1:]
    # One grid point at a time: (unit, grid, tail) would be forty times the chunk.
    shape = np.stack([np.log1p(-b[:, [j]] * excess).mean(axis=1) for j in range(n_grid)], axis=1)
    log_profile = n * (np.log(-b / shape) - shape - 1)
    mass = np.exp(log_profile - _log_sum(log_profile)[:, None])
    mass = np.where(mass < 10 * np.finfo(float).eps, 0.0, mass)
    b_mean = (b * mass).sum(axis=1) / mass.sum(axis=1)
    k = np.log1p(-b_mean[:, None] * excess).mean(axis=1)
    sigma = -k / b_mean
    k = (n * k + 10 * 0.5) / (n + 10)
    return np.where(np.isnan(k), np.inf, k), sigma


def _standard_quantiles(k: np.ndarray, tail: int) -> np.ndarray:
    """Quantiles of the generalised Pareto distribution of scale 1 at (1/2, ..., tail - 1/2) / tail."""
    exponential = -np.log1p(-(np.arange(tail) + 0.5) / tail)
    return np.where(k == 0, exponential, np.expm1(k * exponential) / k)
