"""Did the chains mix, and what are their draws worth? R-hat, effective sample sizes, Monte Carlo errors, E-BFMI."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import next_fast_len
from scipy.special import ndtri

KINDS = ("bulk", "tail", "mean")
TAIL_PROBS = (0.05, 0.95)
MIN_DRAWS = 4
# Numbers of draws worked on at once: 2 MiB, so that a chunk and its transforms stay near the cache.
CHUNK = 1 << 18


def rhat(draws: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat, the larger of the bulk's and the folded one.

    Each chain is cut in two halves of n draws; with W the mean variance within the halves and B the variance between
    their means times n, both of the draws' normal scores, R-hat = sqrt((B / W + n - 1) / n). The folded one takes the
    scores of ``|draw - median|``, and so sees chains that differ in scale.

    Parameters
    ----------
    draws : (chain, draw, *anything)
        Draws of any number of quantities.

    Returns
    -------
    (*anything)
        1 when the chains agree. NaN for constant draws, for draws with a NaN, for one chain, or below four draws;
        infinite when each chain stands still at a place of its own.

    Raises
    ------
    ValueError
        If ``draws`` has no chain or draw dimension.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Bayesian Analysis 16(2).

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(size=(4, 500, 3))
    >>> rhat(draws).shape
    (3,)
    >>> bool((rhat(draws) < 1.01).all())
    True
    """
    return _by_quantity(_rhat, draws, min_chains=2)


def ess(draws: np.ndarray, kind: str = "bulk") -> np.ndarray:
    """Effective sample size: the number of independent draws that would be as informative.

    S / tau with tau = -1 + 2 sum_t rho_t, where the autocorrelations rho_t combine all (split) chains and the sum is
    cut by Geyer's initial monotone sequence; tau is at least 1 / log10(S), so that ESS is at most S log10(S).

    Parameters
    ----------
    draws : (chain, draw, *anything)
        Draws of any number of quantities.
    kind : {"bulk", "tail", "mean"}
        Of the normal scores of the ranks; the smaller one of the 5 % and the 95 % quantile; of the mean.

    Returns
    -------
    (*anything)
        Draws, not a fraction of them. Constant draws give their number (of the halves, so an odd draw is not
        counted): they carry no error, and R-hat is NaN there. NaN for draws with a NaN, or below four draws.

    Raises
    ------
    ValueError
        If ``kind`` is unknown, or ``draws`` has no chain or draw dimension.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Bayesian Analysis 16(2); Geyer (1992), Statistical
    Science 7(4).

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(size=(4, 500, 3))
    >>> bool((ess(draws, "mean") > 1500).all())
    True
    """
    if kind not in KINDS:
        raise ValueError(f"ess: kind is {kind!r}; say one of {', '.join(map(repr, KINDS))}")
    return _by_quantity({"bulk": _ess_bulk, "tail": _ess_tail, "mean": _ess_mean}[kind], draws, min_chains=1)


def mcse(draws: np.ndarray) -> np.ndarray:
    """Monte Carlo standard error of the mean: sd / sqrt(ess(draws, "mean")).

    Parameters
    ----------
    draws : (chain, draw, *anything)
        Draws of any number of quantities.

    Returns
    -------
    (*anything)
        In the unit of the draws. 0 for constant draws; NaN where the ESS is.

    Raises
    ------
    ValueError
        If ``draws`` has no chain or draw dimension.

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(size=(4, 500))
    >>> bool(abs(mcse(draws) - 1 / np.sqrt(2000)) < 0.002)
    True
    """
    return _by_quantity(_mcse, draws, min_chains=1)


def ebfmi(energy: np.ndarray) -> np.ndarray:
    """Estimated Bayesian fraction of missing information of each chain.

    sum_t (E_t - E_{t-1})^2 / sum_t (E_t - mean E)^2; below about 0.3 the momentum is refreshed too timidly for the
    spread of the energy, and the tails are explored slowly.

    Parameters
    ----------
    energy : (chain, draw, *anything)
        Energies of a Hamiltonian sampler.

    Returns
    -------
    (chain, *anything)
        One fraction a chain, because a chain that is stuck must not hide behind the others. NaN where it is constant.

    Raises
    ------
    ValueError
        If ``energy`` has no chain or draw dimension.

    References
    ----------
    Betancourt (2016), arXiv:1604.00695.

    Examples
    --------
    >>> energy = np.random.default_rng(0).normal(size=(4, 500))
    >>> ebfmi(energy).round().tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    energy = _checked(energy).astype(float)
    if energy.shape[1] == 0:
        return np.full((energy.shape[0], *energy.shape[2:]), np.nan)
    spread = np.square(energy - energy.mean(axis=1, keepdims=True)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.square(np.diff(energy, axis=1)).sum(axis=1) / spread


def _checked(draws: np.ndarray) -> np.ndarray:
    draws = np.asarray(draws)
    if draws.ndim < 2:
        raise ValueError(f"draws have the shape {draws.shape}; they must be (chain, draw, ...): add the chain by draws[None]")
    return draws


def _by_quantity(figure: Callable[[np.ndarray], np.ndarray], draws: np.ndarray, min_chains: int) -> np.ndarray:
    """``figure`` of (quantity, chain, draw) float64 chunks, put back into the shape of the trailing axes."""
    draws = _checked(draws)
    n_chains, n_draws, *rest = draws.shape
    flat = draws.reshape(n_chains, n_draws, int(np.prod(rest)))
    result = np.full(flat.shape[2], np.nan)
    if n_draws < MIN_DRAWS or n_chains < min_chains:
        return result.reshape(rest)
    step = max(1, CHUNK // (n_chains * n_draws))
    for start in range(0, result.size, step):
        chunk = np.ascontiguousarray(np.moveaxis(flat[:, :, start : start + step], 2, 0), dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            result[start : start + step] = np.where(np.isnan(chunk).any(axis=(1, 2)), np.nan, figure(chunk))
    return result.reshape(rest)


def _rhat(draws: np.ndarray) -> np.ndarray:
    halves = _split(draws)
    folded = np.abs(halves - np.median(halves, axis=(1, 2), keepdims=True))
    # fmax: two-valued draws that are symmetric about the median have no folded R-hat, only that of the bulk.
    return np.fmax(_rhat_plain(_normal_scores(halves)), _rhat_plain(_normal_scores(folded)))


def _rhat_plain(draws: np.ndarray) -> np.ndarray:
    n = draws.shape[2]
    between = n * draws.mean(axis=2).var(axis=1, ddof=1)
    within = draws.var(axis=2, ddof=1).mean(axis=1)
    return np.sqrt((between / within + n - 1) / n)


def _mcse(draws: np.ndarray) -> np.ndarray:
    return draws.std(axis=(1, 2), ddof=1) / np.sqrt(_ess_mean(draws))


def _ess_mean(draws: np.ndarray) -> np.ndarray:
    return _ess(_split(draws))


def _ess_bulk(draws: np.ndarray) -> np.ndarray:
    return _ess(_normal_scores(_split(draws)))


def _ess_tail(draws: np.ndarray) -> np.ndarray:
    bounds = np.quantile(draws, TAIL_PROBS, axis=(1, 2))[..., None, None]
    low, high = (_ess(_split((draws <= bound).astype(float))) for bound in bounds)
    return np.minimum(low, high)


def _split(draws: np.ndarray) -> np.ndarray:
    """(quantity, chain, draw) -> (quantity, 2 chain, draw // 2); an odd number of draws loses its middle one."""
    half = draws.shape[2] // 2
    return np.concatenate([draws[:, :, :half], draws[:, :, -half:]], axis=1)


def _normal_scores(draws: np.ndarray) -> np.ndarray:
    """Normal quantiles of the ranks over all chains of a quantity (Blom's offset 3/8); ties share their mean rank."""
    flat = draws.reshape(len(draws), -1)
    size = flat.shape[1]
    order = np.argsort(flat, axis=1)
    # Mean ranks are multiples of one half: the normal quantile is a look-up, not 2 S evaluations a quantity.
    scores = ndtri((np.arange(2, 2 * size + 1) / 2 - 0.375) / (size + 0.25))
    result = np.empty_like(flat)
    np.put_along_axis(result, order, scores[_twice_ranks(np.take_along_axis(flat, order, axis=1)) - 2], axis=1)
    return result.reshape(draws.shape)


def _twice_ranks(ordered: np.ndarray) -> np.ndarray:
    """Twice the mean rank (from 1) of each entry of sorted rows: first + last rank of its run of equal values."""
    n_rows, size = ordered.shape
    tied = np.zeros((n_rows, size + 1), bool)
    tied[:, 1:-1] = ordered[:, 1:] == ordered[:, :-1]
    twice = np.tile(np.arange(2, 2 * size + 1, 2), (n_rows, 1))
    rows, first = np.nonzero(tied[:, 1:] & ~tied[:, :-1])
    _, last = np.nonzero(tied[:, :-1] & ~tied[:, 1:])
    length = last - first + 1
    inside = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    twice[np.repeat(rows, length), np.repeat(first, length) + inside] = np.repeat(first + last + 2, length)
    return twice


def _ess(chains: np.ndarray) -> np.ndarray:
    n_chains, n = chains.shape[1:]
    rho = _autocorrelation(chains)
    pairs = rho[:, 0::2][:, : n // 2] + rho[:, 1::2]
    # Geyer's initial positive sequence: pairs of lags are summed up to the first that is not positive, or to the end.
    end = max(0, (n - 3) // 2)
    stopped = pairs[:, : end + 1] <= 0
    stop = np.where(stopped.any(axis=1), stopped.argmax(axis=1), end)
    monotone = np.minimum.accumulate(pairs[:, : end + 1], axis=1)
    kept = np.where(np.arange(end + 1) < stop[:, None], monotone, 0.0).sum(axis=1)
    rows = np.arange(len(chains))
    even, pair = rho[rows, 2 * stop], pairs[rows, stop]
    # Of the pair it stopped at, a positive even lag still counts (once): it lowers the estimate's variance.
    tau = -1 + 2 * kept + np.where((even > 0) | (pair >= 0), even, 0.0)
    size = n_chains * n
    effective = size / np.maximum(tau, 1 / np.log10(size))
    effective[np.isnan(rho).any(axis=1)] = np.nan
    return np.where(np.ptp(chains, axis=(1, 2)) < np.finfo(float).resolution, size, effective)


def _autocorrelation(chains: np.ndarray) -> np.ndarray:
    """(quantity, chain, draw) -> (quantity, lag): the chains' mean autocovariance over the pooled variance."""
    n = chains.shape[2]
    means = chains.mean(axis=2, keepdims=True)
    spectrum = np.fft.rfft(chains - means, n=next_fast_len(2 * n, real=True), axis=2)
    # The mean over chains is taken before the inverse transform, which is linear.
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).mean(axis=1)
    covariance = np.fft.irfft(power, n=next_fast_len(2 * n, real=True), axis=1)[:, :n] / n
    within = covariance[:, :1] * n / (n - 1)
    pooled = covariance[:, :1] + means.var(axis=1, ddof=1)
    rho = 1 - (within - covariance) / pooled
    rho[:, 0] = 1.0
    return rho
