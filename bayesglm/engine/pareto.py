"""The largest importance ratios, smoothed: generalised Pareto distributions fitted to many tails at once."""

from __future__ import annotations

import numpy as np

from bayesglm.engine.diagnostics import CHUNK, ess

# Five values are too few: their first quartile is the smallest one, and the fit starts from the ratio of the two.
MIN_TAIL = 6
# Log ratios that differ by less are rounding errors of sums of log likelihoods.
CONSTANT = 1e-10
_STILL = 1e-26  # variance below which draws are looked at again: they may be constant
_PAIRS = (4, 16)  # of lags, looked at before a Fourier transform is
_SHARE = 0.7  # the largest k at which any number of draws may be relied on
_FACTORS = 8  # whose product's logarithm is taken at once: a logarithm costs as much as ten products
_AT_ONCE = 1 << 15  # factors: a few in the cache at once cost less than many calls
_LARGEST_FACTOR = 1e30  # eight such factors still have a product


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
    return float(min(1 - 1 / np.log10(n_draws), _SHARE))


def draws_wanted(k: float) -> int | None:
    """Smallest number of draws at which ``k`` could be relied on, 10^(1 / (1 - k)); None where no number will do.

    Parameters
    ----------
    k : float
        The largest Pareto k.

    Returns
    -------
    int or None
        None above 0.7. An estimate: with more draws k itself is estimated anew.

    Examples
    --------
    >>> draws_wanted(0.68), draws_wanted(0.9)
    (1334, None)
    """
    return int(np.ceil(10 ** (1 / (1 - k)))) if k <= _SHARE else None


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
    step = max(1, CHUNK // (n_chains * n_draws))
    for start in range(0, result.size, step):
        chunk = flat[:, :, start : start + step].astype(float, copy=False)
        # ESS does not depend on the scale, and the likelihood of a block of bins would underflow.
        top = chunk.max(axis=(0, 1))
        below = chunk - np.where(np.isneginf(top), 0.0, top)
        result[start : start + step] = _ess_of_means(np.exp(below, out=below))
    return result.reshape(rest) / (n_chains * n_draws)


def _ess_of_means(draws: np.ndarray) -> np.ndarray:
    """``ess(draws, "mean")`` of (chain, draw, unit): most sums over lags end after a few, for which no transform is wanted."""
    n_draws, size = draws.shape[1:]
    half = n_draws // 2
    by_unit = np.moveaxis(draws, 2, 0)
    halves = by_unit if n_draws == 2 * half else np.concatenate([by_unit[:, :, :half], by_unit[:, :, -half:]], axis=2)
    halves = halves.reshape(size, -1, half)
    result, left = np.empty(size), np.arange(size)
    for pairs in _PAIRS:
        if 2 * pairs > half - 3 or not left.size:
            break
        found = _ess_by_lags(halves[left] if left.size < size else halves, pairs)
        known = ~np.isnan(found)
        result[left[known]] = found[known]
        left = left[~known]
    if left.size:
        result[left] = ess(draws[:, :, left], "mean")
    return result


def _ess_by_lags(chains: np.ndarray, pairs: int) -> np.ndarray:
    """Effective draws of (unit, chain, draw) where Geyer's sum ends within that many pairs of lags; else NaN."""
    n_chains, n = chains.shape[1:]
    means = chains.mean(axis=2, keepdims=True)
    # Zeros behind every chain keep the next one out of its products, which then run over one long line.
    away = np.zeros((len(chains), n_chains, n + 2 * pairs))
    np.subtract(chains, means, out=away[:, :, :n])
    line = away.reshape(len(chains), -1)
    length = line.shape[1] - 2 * pairs
    covariance = np.stack([np.einsum("un,un->u", line[:, :length], line[:, lag : lag + length]) for lag in range(2 * pairs)], axis=1) / (n_chains * n)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = covariance[:, :1] + means.var(axis=1, ddof=1)
        rho = 1 - (covariance[:, :1] * n / (n - 1) - covariance) / pooled
        rho[:, 0] = 1.0
        sums = rho[:, 0::2] + rho[:, 1::2]
        stop = np.argmax(sums <= 0, axis=1)
        kept = np.where(np.arange(pairs) < stop[:, None], np.minimum.accumulate(sums, axis=1), 0.0).sum(axis=1)
        rows = np.arange(len(chains))
        even = rho[rows, 2 * stop]
        tau = -1 + 2 * kept + np.where((even > 0) | (sums[rows, stop] >= 0), even, 0.0)
        effective = n_chains * n / np.maximum(tau, 1 / np.log10(n_chains * n))
    known = (sums <= 0).any(axis=1) & (covariance[:, 0] > _STILL)
    return np.where(known, effective, np.nan)


def smoothed_tails(ordered: np.ndarray, cutoff: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios of tails replaced by the quantiles of generalised Pareto distributions, and the shapes k.

    Parameters
    ----------
    ordered : (unit, tail)
        Log ratios relative to the unit's largest, which is 0 and comes last.
    cutoff : (unit, 1)
        The largest log ratio below the tail.

    Returns
    -------
    smoothed : (unit, tail)
        Never above 0; the values given where k is not finite.
    k : (unit,)
        -inf, inf and nan as `psis` says.
    """
    weights, below = np.exp(ordered), np.exp(cutoff)
    excess = weights - below
    quartile = _quartile(ordered.shape[1])
    constant = ordered[:, -1] - ordered[:, 0] <= CONSTANT
    tied = excess[:, quartile] <= excess[:, 0]
    # A quarter of the tail with no weight at all is not a tie to be forgiven: a few draws carry everything.
    k = np.where(weights[:, quartile] == 0, np.inf, np.nan)
    k[constant] = -np.inf
    rows = np.flatnonzero(~tied & ~constant)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        k[rows], sigma = _fit(excess[rows])
        quantiles = np.log(below[rows] + sigma[:, None] * _standard_quantiles(k[rows, None], ordered.shape[1]))
    good = np.isfinite(k[rows]) & (sigma > 0)
    smoothed = ordered.copy()
    smoothed[rows[good]] = np.minimum(quantiles[good], 0.0)
    return smoothed, k


def _quartile(tail: int) -> int:
    return int(tail / 4 + 0.5) - 1


def _fit(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape k and scale sigma (unit,) of generalised Pareto distributions of sorted values (unit, tail).

    The posterior mean of b = -k / sigma over the grid of Zhang and Stephens; k is then drawn to 1/2 by a prior worth
    ten values.
    """
    n = excess.shape[1]
    n_grid = 30 + int(n**0.5)
    grid = 1 - np.sqrt(n_grid / (np.arange(1, n_grid + 1) - 0.5))
    b = grid[:, None] / (3 * excess[:, _quartile(n)]) + 1 / excess[:, -1]  # (grid, unit)
    # Units last, so that sums and products over the tail run along memory; zeros fill the last product.
    x = np.zeros((-(-n // _FACTORS) * _FACTORS, len(excess)))
    x[:n] = excess.T
    # A few grid points at a time: (grid, tail, unit) would be forty times the chunk.
    step = max(1, _AT_ONCE // max(1, x.size))
    in_range = x.size > 0 and (1 - b * x[n - 1]).max() < _LARGEST_FACTOR
    shape = np.concatenate([_sum_of_logs(x, b[i : i + step, None], in_range) for i in range(0, n_grid, step)]) / n
    log_profile = n * (np.log(-b / shape) - shape - 1)
    mass = np.exp(log_profile - log_profile.max(axis=0))
    mass /= mass.sum(axis=0)
    mass = np.where(mass < 10 * np.finfo(float).eps, 0.0, mass)
    b_mean = (b * mass).sum(axis=0) / mass.sum(axis=0)
    k = np.log1p(-b_mean * x).sum(axis=0) / n
    sigma = -k / b_mean
    k = (n * k + 10 * 0.5) / (n + 10)
    return np.where(np.isnan(k), np.inf, k), sigma


def _sum_of_logs(x: np.ndarray, b: np.ndarray, in_range: bool) -> np.ndarray:
    """Sum over the tail of log(1 - b x), (grid, unit): logarithms of products of a few factors, where those stay in range.

    x is (tail, unit), b (grid, 1, unit).
    """
    factors = -b * x
    if not in_range:
        return np.log1p(factors, out=factors).sum(axis=1)
    factors += 1
    return np.log(factors.reshape(len(b), -1, _FACTORS, x.shape[1]).prod(axis=2)).sum(axis=1)


def _standard_quantiles(k: np.ndarray, tail: int) -> np.ndarray:
    """Quantiles of the generalised Pareto distribution of scale 1 at (1/2, ..., tail - 1/2) / tail."""
    exponential = -np.log1p(-(np.arange(tail) + 0.5) / tail)
    return np.where(k == 0, exponential, np.expm1(k * exponential) / k)
