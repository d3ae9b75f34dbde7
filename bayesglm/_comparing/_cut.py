"""What is left out, and what clusters a standard error: bins, blocks or trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._autocorrelation import correlation_time, covariates, slowest
from bayesglm._data import bin_width, epoch_ids, is_time, row_dim
from bayesglm._training import training_data

if TYPE_CHECKING:
    from bayesglm._fit import Fit

UNITS = ("bin", "block", "trial")
FILTERS, MEMORIES = 10, 20  # a block is this many longest filters, and this many correlation times
_CLUSTERS = {"bin": ("bin", "block", "trial"), "block": ("block",), "trial": ("trial", "block")}


class Block(NamedTuple):
    """Length of a block in seconds, and where it comes from."""

    seconds: float
    why: str


class Cut(NamedTuple):
    """Rows to units, and units to the clusters of the standard error; both number from 0 in the order of rows."""

    unit: str
    se: str
    units: np.ndarray  # (row,)
    clusters: np.ndarray  # (unit,)
    first: np.ndarray  # (unit,) first row
    block: Block | None


def chosen_units(data: xr.Dataset, ic: str, unit: str | None, se: str | None) -> tuple[str, str]:
    """``unit`` and ``se`` with their defaults, checked.

    Raises
    ------
    ValueError
        Unknown values; a cluster shorter than the unit; blocks of trial rows; trials of a recording without trials.
    """
    if unit is None:
        unit = "trial" if not is_time(data) else "bin" if ic == "waic" else "block"
    if unit not in UNITS or (ic == "waic" and unit == "block"):
        known = ("bin", "trial") if ic == "waic" else UNITS
        raise ValueError(f"{ic}(unit={unit!r}): what is left out is one of {', '.join(map(repr, known))}.")
    has_blocks = is_time(data)
    se = ("block" if unit == "bin" and has_blocks else unit) if se is None else se
    if se not in _CLUSTERS[unit]:
        raise ValueError(
            f"{ic}(unit={unit!r}, se={se!r}): differences are summed over one of {', '.join(map(repr, _CLUSTERS[unit]))}, never less than what is left out."
        )
    if not has_blocks and (unit, se) != ("trial", "trial"):
        raise ValueError(f"{ic}(unit={unit!r}, se={se!r}): the rows of this recording are trials, so unit and se are 'trial'.")
    if "trial" in (unit, se) and has_blocks and "trial" not in data.coords:
        raise ValueError(f"{ic}(unit={unit!r}, se={se!r}): the recording has no trials (no coordinate 'trial'): use 'block', or make it with bg.from_trials.")
    return unit, se


def cut(data: xr.Dataset, unit: str, se: str, block: Block | None) -> Cut:
    """Units and clusters of a recording's rows. Blocks are of equal length, never shorter than asked for."""
    kinds = {kind: _ids(data, kind, block) for kind in {unit, se}}
    units = kinds[unit]
    first = np.flatnonzero(np.r_[True, np.diff(units) != 0])
    clusters = np.unique(kinds[se][first], return_inverse=True)[1]
    actual = None if block is None else Block(len(units) * bin_width(data) / (kinds.get("block", units[:1])[-1] + 1), block.why)
    return Cut(unit, se, units, clusters, first, actual)


def _ids(data: xr.Dataset, kind: str, block: Block | None) -> np.ndarray:
    """(row,) the bin, block or trial of each row."""
    rows = data.sizes[row_dim(data)]
    if kind == "bin" or not is_time(data):
        return np.arange(rows)
    if kind == "block":
        assert block is not None
        return equal_blocks(rows, bin_width(data), block.seconds)
    trial, epochs = data["trial"].values, epoch_ids(data)
    return np.cumsum(np.r_[False, (trial[1:] != trial[:-1]) | (epochs[1:] != epochs[:-1])])


def equal_blocks(rows: int, dt: float, seconds: float) -> np.ndarray:
    """(row,) number of the block of each row: blocks are of equal length, never shorter than asked for."""
    count = max(1, int(rows * dt / seconds * (1 + 1e-9)))
    return np.arange(rows) * count // rows


def present_clusters(cluster: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Clusters numbered without those in which nothing is scored; units that are not scored go with a neighbour."""
    present = np.unique(cluster[known])
    return np.minimum(np.searchsorted(present, cluster), max(len(present) - 1, 0))


def default_block(fits: dict[str, Fit], pointwise: np.ndarray, what: str) -> Block:
    """The default length: the largest of 10 longest filters, 20 correlation times of ``pointwise`` and of the slowest covariate."""
    lengths = [_longest_filter(fit) for fit in fits.values()] + [_slowest_covariate(fit) for fit in fits.values()]
    data = training_data(next(iter(fits.values())))
    seconds = float(correlation_time(pointwise, epoch_ids(data)).max(initial=0.0)) * bin_width(data)
    lengths.append(Block(MEMORIES * seconds, f"{MEMORIES} x the correlation time of the {what}, {seconds:.3g} s"))
    longest = max(lengths, key=lambda length: length.seconds)
    return longest if longest.seconds >= bin_width(data) else Block(bin_width(data), "one bin: nothing here remembers more")


def _longest_filter(fit: Fit) -> Block:
    lagged = {term.name: len(term.lagged.lags) * bin_width(training_data(fit)) for term in getattr(fit.model, "terms", ()) if term.lagged is not None}
    if not lagged:
        return Block(0.0, "")
    name = max(lagged, key=lagged.__getitem__)
    return Block(FILTERS * lagged[name], f"{FILTERS} x the longest filter, {name!r}, {lagged[name]:.3g} s")


def _slowest_covariate(fit: Fit) -> Block:
    data = training_data(fit)
    seconds, name = slowest(data, covariates(fit.model, data))
    return Block(MEMORIES * seconds, f"{MEMORIES} x the correlation time of {name!r}, {seconds:.3g} s")


def stated_block(block: Any, data: xr.Dataset) -> Block:
    """``block=`` as given, or a ValueError."""
    return stated_length(block, bin_width(data))


def stated_length(block: Any, dt: float) -> Block:
    """The same for bins of ``dt`` seconds."""
    wrong = isinstance(block, bool) or not isinstance(block, (int, float, np.number)) or not np.isfinite(block)
    if wrong or block < dt * (1 - 1e-9):
        raise ValueError(f"block={block!r}: the length of a block is a number of seconds, at least one bin ({dt:g} s).")
    return Block(float(block), "block=")
