"""coverage(): how often the truth lies in a decoder's credible sets, and whether that holds through the recording."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data import row_dim
from bayesglm._decoding._grid import Grid
from bayesglm._filters import checked_prob

TENTHS = 10
_SURE = 2.0  # standard errors by which coverage must miss before a verdict says so
_CHUNK = 4_000_000  # numbers sorted at once


def coverage(decoded: xr.Dataset, truth: Any = None, prob: float = 0.9) -> xr.Dataset:
    """Share of rows in which the truth lies in the smallest set of the grid that holds ``prob`` of the posterior.

    A grid's cells rarely add up to ``prob``: the last cell is counted by the share of it that would (a randomised set),
    so that a calibrated decoder covers ``prob`` exactly on average, however coarse the grid.

    Parameters
    ----------
    decoded : xarray.Dataset
        Made by ``bg.decode``.
    truth : array (row,), optional
        In units of the target, one value a decoded row, NaN where unknown; for two targets (row, 2). Default: the
        target of the recording, which ``bg.decode`` kept.
    prob : float
        Of decoded stimuli that of the interval kept (0.9), or any other by a normal law.

    Returns
    -------
    xarray.Dataset
        ``coverage`` and ``se`` (over the tenths, which are long enough to be nearly independent), and ``by_tenth``
        (tenth,) of the recording. ``attrs["verdict"]`` says "overconfident" where coverage is clearly below ``prob``.

    Raises
    ------
    ValueError
        Where the truth is not known, or has another number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> law = xr.Dataset({"probability": (("trial", "x"), [[0.5, 0.5], [0.5, 0.5]])}, {"x": [0.0, 1.0]}, {"target": "x", "rows": "trial"})
    >>> round(float(coverage(law, np.array([0.0, 1.0]))["coverage"]), 6)
    0.9
    """
    prob = checked_prob(prob)
    values = truth_of(decoded, truth)
    inside = _in_sets(decoded, values, prob) if "probability" in decoded else _in_intervals(decoded, values[0], prob)
    known = np.flatnonzero(np.isfinite(inside))
    if not known.size:
        raise ValueError("coverage: the truth is not known in any decoded row.")
    tenths = np.array([inside[part].mean() if part.size else np.nan for part in np.array_split(known, TENTHS)])
    mean, seen = float(inside[known].mean()), np.isfinite(tenths)
    se = float(tenths[seen].std(ddof=1) / np.sqrt(seen.sum())) if seen.sum() > 1 else np.nan
    found = {"coverage": mean, "se": se, "by_tenth": ("tenth", tenths)}
    return xr.Dataset(found, {"tenth": np.arange(1, TENTHS + 1)}, {"prob": prob, "rows": int(known.size), "verdict": verdict(mean, se, prob)})


def verdict(mean: float, se: float, prob: float) -> str:
    """Coverage in words."""
    said = f"{prob:.0%} sets cover {mean:.1%} (se {se:.1%})"
    if mean + _SURE * se < prob:
        return f"overconfident: {said}"
    return f"cautious: {said}" if mean - _SURE * se > prob else f"as stated: {said}"


def grid_in(decoded: xr.Dataset) -> Grid:
    """The grid of a decoding, from its coordinates."""
    targets = tuple(np.atleast_1d(decoded.attrs["target"]).tolist())
    axes = tuple(decoded[target].values for target in targets)
    periods = tuple(decoded[target].attrs.get("period") for target in targets)
    kinds = tuple(axis.dtype.kind not in "fiu" or bool(decoded[target].attrs.get("category", False)) for target, axis in zip(targets, axes, strict=True))
    return Grid(targets, axes, periods, kinds)


def truth_of(decoded: xr.Dataset, truth: Any) -> tuple[np.ndarray, ...]:
    """The true values of each target, (row,)."""
    if not isinstance(decoded, xr.Dataset) or "target" not in decoded.attrs:
        raise ValueError(f"This wants what bg.decode returns; got {type(decoded).__name__}.")
    if truth is None and "truth" not in decoded:
        raise ValueError("The decoded recording does not have the target: pass truth=, one value a decoded row.")
    values = np.asarray(decoded["truth"].values if truth is None else truth)
    rows, targets = decoded.sizes[row_dim(decoded)], np.atleast_1d(decoded.attrs["target"]).size
    if "probability" not in decoded:
        if values.shape != decoded["estimate"].shape:
            raise ValueError(f"truth has shape {values.shape}; it wants {decoded['estimate'].shape}, as the estimate.")
        return (values,)
    if values.shape != ((rows,) if targets == 1 else (rows, targets)):
        wanted = (rows,) if targets == 1 else (rows, targets)
        raise ValueError(f"truth has shape {values.shape}; it wants {wanted}, one value a decoded row (the mean over each window).")
    return (values,) if targets == 1 else tuple(values.T)


def laws(decoded: xr.Dataset) -> np.ndarray:
    """(row, point) probabilities."""
    grid = grid_in(decoded)
    return decoded["probability"].transpose(row_dim(decoded), *grid.targets).values.reshape(-1, grid.size)


def _in_sets(decoded: xr.Dataset, truth: tuple[np.ndarray, ...], prob: float) -> np.ndarray:
    """(row,) share of the true cell that the randomised set of each row holds; NaN where the truth is not known."""
    cells, law = grid_in(decoded).cells(truth), laws(decoded)
    out = np.full(len(cells), np.nan)
    known = np.flatnonzero(cells >= 0)
    for part in np.array_split(known, max(1, known.size * law.shape[1] // _CHUNK)):
        here = law[part]
        own = here[np.arange(len(part)), cells[part]][:, None]
        above, ties = np.where(here > own, here, 0.0).sum(1), np.where(here == own, here, 0.0).sum(1)
        out[part] = np.clip((prob - above) / np.where(ties > 0, ties, np.inf), 0.0, 1.0)
    return out


def _in_intervals(decoded: xr.Dataset, truth: np.ndarray, prob: float) -> np.ndarray:
    """The same of intervals of a stimulus: the share of a row's entries."""
    from scipy.stats import norm

    if np.isclose(prob, decoded.attrs["prob"]):
        inside = (decoded["lower"].values <= truth) & (truth <= decoded["upper"].values)
    else:
        inside = np.abs(truth - decoded["estimate"].values) <= norm.ppf((1 + prob) / 2) * decoded["sd"].values
    shares = np.where(np.isfinite(truth), inside, np.nan).reshape(len(truth), -1)
    return np.where(np.isfinite(shares).any(1), np.nansum(shares, 1) / np.maximum(np.isfinite(shares).sum(1), 1), np.nan)
