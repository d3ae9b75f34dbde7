"""Leaving units out without refitting: Pareto smoothed importance sampling, LOO and WAIC of many units at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bayesglm.engine.pareto import MIN_TAIL, pareto_k_threshold, relative_efficiency, smoothed_tails, tail_length

__all__ = ["Loo", "Waic", "loo_units", "pareto_k_threshold", "psis", "relative_efficiency", "tail_length", "waic_units"]

# Numbers worked on at once: 2 MiB, so that a chunk of units stays near the cache.
CHUNK = 1 << 18
_WIDE = 600.0  # nats between draws from which likelihoods relative to the smallest one leave the range of floats


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


def loo_units(log_lik: np.ndarray, r_eff: float | np.ndarray = 1.0, log_ratio: np.ndarray | None = None) -> Loo:
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
    log_ratio : (draw,), optional
        log p - log q of draws from an approximation q, up to a constant: they are weighted by it too, so that a unit is
        left out of p.

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
    within = -np.log(log_lik.shape[1]) if log_ratio is None else psis(log_ratio)[0]
    for units, tail in _chunks(log_lik, efficiency):
        if log_ratio is None and tail >= MIN_TAIL:
            elpd[units], k[units], lppd[units] = _left_out(np.asarray(log_lik[units], float), tail)
            if np.isfinite(elpd[units]).all() and np.isfinite(lppd[units]).all():
                continue
        chunk = _chunk("log_lik", log_lik, units)
        log_weights, k[units] = _smoothed(-chunk if log_ratio is None else log_ratio - chunk, tail)
        elpd[units], lppd[units] = _log_sum(chunk + log_weights), _log_sum(chunk + within)
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
        draws, top = chunk.shape[1], chunk.max(axis=1, keepdims=True)
        # Seen from its maximum a unit's log likelihood is at most a few sds off its mean: its squares lose no digits.
        away = chunk - np.where(np.isneginf(top), 0.0, top)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = away.mean(axis=1)
            variance = (np.einsum("us,us->u", away, away) - draws * mean**2) / (draws - 1)
            p_waic[units] = np.where(np.isneginf(mean), np.inf, np.maximum(variance, 0.0))
            lppd[units] = np.log(np.exp(away, out=away).mean(axis=1)) + top[:, 0]
    return Waic(lppd - p_waic, p_waic, lppd)


def _units(name: str, values: np.ndarray, r_eff: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The array as it is, and one relative efficiency a unit."""
    values, efficiency = np.asarray(values), np.asarray(r_eff, float)
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"{name} has the shape {values.shape}; it must be (unit, draw): put all chains in one axis, last")
    if efficiency.shape not in {(), (len(values),)}:
        raise ValueError(f"r_eff has the shape {efficiency.shape}; give one number, or one a unit: ({len(values)},)")
    return values, np.broadcast_to(efficiency, (len(values),))


def _chunks(values: np.ndarray, r_eff: np.ndarray) -> Iterator[tuple[slice | np.ndarray, int]]:
    """Indices of units that share a tail length, few enough at a time."""
    tails, step = tail_length(values.shape[1], r_eff), max(1, CHUNK // values.shape[1])
    for tail in np.unique(tails):
        members = np.flatnonzero(tails == tail)
        for start in range(0, members.size, step):
            found = members[start : start + step]
            yield (slice(found[0], found[-1] + 1) if found[-1] - found[0] < len(found) else found), int(tail)


def _chunk(name: str, values: np.ndarray, units: slice | np.ndarray) -> np.ndarray:
    """The values of some units in double precision; a view of them where they are neighbours."""
    chunk = np.asarray(values[units], float)
    top = chunk.max(axis=1)
    bad = np.isnan(top) | (np.isposinf(top) & (name == "log_lik"))
    if bad.any():
        row = int(bad.argmax())
        draw = int((np.isnan(chunk[row]) | np.isposinf(chunk[row])).argmax())
        where = f"{name} of unit {np.arange(len(values))[units][row]} is {chunk[row, draw]} at draw {draw}"
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
    usable = np.flatnonzero(~endless[:, 0])
    if tail >= MIN_TAIL and usable.size:
        cutoff, index, ordered = _tails(ratios[usable], tail)
        ratios[usable[:, None], index], k[usable] = smoothed_tails(ordered, cutoff)
    return ratios - _log_sum(ratios)[:, None], k


def _tails(ratios: np.ndarray, tail: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest ratio below the tail (unit, 1), and the tail's places and values (unit, tail), in order of size."""
    last = np.argpartition(ratios, -tail - 1, axis=1)[:, -tail - 1 :]
    values = np.take_along_axis(ratios, last, axis=1)
    order = np.argsort(values[:, 1:], axis=1)
    index = np.take_along_axis(last[:, 1:], order, axis=1)
    return values[:, :1], index, np.take_along_axis(values[:, 1:], order, axis=1)


def _left_out(log_lik: np.ndarray, tail: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log sum_s w_s p(y | s), k and lppd of units that share a tail length, not finite where that takes more care.

    Below the tail w_s p(y | s) is one number, whatever the draw; so only the tail's values matter, not their places.
    """
    draws = log_lik.shape[1]
    ratios = np.partition(log_lik, tail, axis=1)
    low = ratios[:, :tail].min(axis=1)
    with np.errstate(all="ignore"):
        np.subtract(low[:, None], ratios, out=ratios)
        ordered = np.sort(ratios[:, :tail], axis=1)
        smoothed, k = smoothed_tails(ordered, ratios[:, tail, None])
        rest = np.exp(ratios[:, tail:], out=ratios[:, tail:])
        below = rest.sum(axis=1)
        whole = np.log((np.reciprocal(rest, out=rest).sum(axis=1) + np.exp(-ordered).sum(axis=1)) / draws)
        numerator = np.logaddexp(np.log(draws - tail), _log_sum(smoothed - ordered))
        elpd = low + numerator - np.log(below + np.exp(smoothed).sum(axis=1))
    return elpd, k, np.where(whole < _WIDE, low + whole, np.nan)
