"""decoding_information(): what the spikes tell of the target, in bits, with an honest standard error."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import norm

from bayesglm._autocorrelation import correlation_time
from bayesglm._comparing._cut import MEMORIES, equal_blocks, stated_length
from bayesglm._comparing._elpd import clustered_se, t_quantile
from bayesglm._data import epoch_ids, is_time, row_dim
from bayesglm._decoding._coverage import grid_in, laws, truth_of

LEAST = 1e-12  # a probability below it counts as it: one impossible row must not decide
_FEW = 20  # blocks under which a standard error is no more than a hint


def decoding_information(decoded: xr.Dataset, truth: Any = None, *, minus: xr.Dataset | None = None, block: float | None = None) -> xr.Dataset:
    """Information that a decoding has about the truth: mean over rows of log2 p(s_t | y) - log2 p(s_t), in bits a row.

    Zero is a decoder that knows no more than the prior, and a wrong one is below it. With ``minus`` it is the paired
    difference of two decodings of the same rows: what coupling, or parameter uncertainty, adds.

    Parameters
    ----------
    decoded : xarray.Dataset
        Made by ``bg.decode``.
    truth : array (row,), optional
        As for ``bg.coverage``.
    minus : xarray.Dataset, optional
        Another decoding of the same rows.
    block : float, optional
        Seconds (rows, on trial rows) over which the standard error sums differences. Default: 20 times the correlation
        time of the bits a row.

    Returns
    -------
    xarray.Dataset
        ``bits`` a row and their ``se``; ``lower`` and ``upper`` of the 95 % interval (t quantiles over blocks); ``rate``
        and ``rate_se`` in bits/s on time rows. ``attrs``: block, blocks, verdict.

    Raises
    ------
    ValueError
        Where the truth is not known, or the two decodings are of other rows.

    Notes
    -----
    Of a decoded stimulus it is the information of each number alone, by a normal law of the posterior's mean and sd,
    summed over a frame.

    References
    ----------
    Pillow et al. 2008, Spatio-temporal correlations and visual signalling in a complete neuronal population.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> law = {"probability": (("trial", "x"), np.tile([[0.75, 0.25], [0.25, 0.75]], (20, 1))), "prior": ("x", [0.5, 0.5])}
    >>> law = xr.Dataset(law, {"x": [0.0, 1.0], "epoch": ("trial", np.zeros(40, int))}, {"target": "x", "rows": "trial", "dt": 1.0})
    >>> round(float(decoding_information(law, np.tile([0.0, 1.0], 20))["bits"]), 3)
    0.585
    """
    values = _bits(decoded, truth)
    if minus is not None:
        row = row_dim(decoded)
        if decoded.sizes[row] != minus.sizes.get(row) or not np.array_equal(decoded[row].values, minus[row].values):
            raise ValueError("decoding_information(minus=): the other decoding is of other rows; decode both on one recording with one window.")
        values = values - _bits(minus, truth)
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        raise ValueError("decoding_information: the truth is not known in any decoded row.")
    cluster, seconds = _blocks(decoded, values, known, block)
    count, mean = int(cluster.max()) + 1, float(values[known].mean())
    se = float(clustered_se(values[known][:, None], cluster)[0]) / known.size
    half = t_quantile(0.95, count) * se if count > 1 else np.nan
    found = {"bits": mean, "se": se, "lower": mean - half, "upper": mean + half}
    if is_time(decoded):
        found |= {"rate": mean / decoded.attrs["window"], "rate_se": se / decoded.attrs["window"]}
    attrs = {"units": "bits a row", "block": seconds, "blocks": count, "rows": int(known.size), "verdict": _verdict(mean, half, count, minus is not None)}
    return xr.Dataset(found, attrs=attrs)


def _bits(decoded: xr.Dataset, truth: Any) -> np.ndarray:
    """(row,) log2 p(truth | y) / p(truth); NaN where the truth is not known."""
    values = truth_of(decoded, truth)
    if "probability" not in decoded:
        return _frame_bits(decoded, values[0])
    grid, law = grid_in(decoded), laws(decoded)
    cells = grid.cells(values)
    before = np.maximum(decoded["prior"].transpose(*grid.targets).values.ravel()[cells], LEAST)
    after = np.maximum(law[np.arange(len(cells)), cells], LEAST)
    return np.where(cells >= 0, np.log2(after) - np.log2(before), np.nan)


def _frame_bits(decoded: xr.Dataset, truth: np.ndarray) -> np.ndarray:
    entries = lambda values: np.asarray(values).reshape(len(truth), -1)  # noqa: E731
    after = norm.logpdf(entries(truth), entries(decoded["estimate"].values), entries(decoded["sd"].values))
    return (after - norm.logpdf(entries(truth), decoded.attrs["prior_mean"], decoded.attrs["prior_sd"])).sum(1) / np.log(2.0)


def _blocks(decoded: xr.Dataset, values: np.ndarray, known: np.ndarray, block: float | None) -> tuple[np.ndarray, float]:
    """Block of each known row, from 0, and a block's length."""
    width = float(decoded.attrs["window"]) if is_time(decoded) else 1.0
    if block is None:
        seconds = max(width, MEMORIES * width * float(correlation_time(values, epoch_ids(decoded))[0]))
    else:
        seconds = stated_length(block, width).seconds
    ids = equal_blocks(len(values), width, min(seconds, len(values) * width))[known]
    return np.unique(ids, return_inverse=True)[1], seconds


def _verdict(mean: float, half: float, count: int, difference: bool) -> str:
    if count < _FEW:
        return f"too few blocks ({count}) for a standard error to be believed"
    if abs(mean) <= half:
        return "not distinguishable" if difference else "not distinguishable from the prior"
    if difference:
        return "more information" if mean > 0 else "less information"
    return "informative" if mean > 0 else "worse than the prior"
