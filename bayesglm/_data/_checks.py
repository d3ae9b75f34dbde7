"""Checks on times, counts, values and names; each failure is one sentence: what, where, and the mend."""

from typing import Any

import numpy as np

_DIMS = ("time", "trial", "epoch", "neuron", "source", "lag", "chain", "draw", "bound", "row")
RESERVED = frozenset((*_DIMS, "observed", "scored", "trial_time", "session_time", "events"))
_SUFFIXES = ("_basis", "_feature", "_event")
_KINDS = "biuf"
MILLI = 1000.0


def check_name(name: str) -> None:
    """Refuse column names that the dims and coordinates of recordings and fits use."""
    if name in RESERVED or name.endswith(_SUFFIXES):
        raise ValueError(
            f"The name {name!r} is reserved, as are {', '.join(sorted(RESERVED))} and names that end in {', '.join(_SUFFIXES)}: give this column another name."
        )


def check_dt(dt: Any) -> float:
    """`dt` as a float in s."""
    try:
        width = float(dt)
    except (TypeError, ValueError):
        width = np.nan
    if not (np.isfinite(width) and width > 0):
        raise ValueError(f"dt is the bin width in seconds and must be a positive number, got {dt!r}: pass dt=0.01.")
    return width


def check_times(times: Any, what: str) -> np.ndarray:
    """`times` as float64 (n,), finite and in order; `what` names them in the error."""
    array = np.asarray(times)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{what} must be numbers in seconds, got {array.dtype}: convert them to float seconds.")
    array = array.astype(np.float64)
    if array.ndim != 1:
        raise ValueError(f"{what} must be one-dimensional, got shape {array.shape}: pass one array of times.")
    if bad := int((~np.isfinite(array)).sum()):
        where = int(np.argmin(np.isfinite(array)))
        raise ValueError(f"{what} have {bad} NaN or infinite values, the first at position {where}: drop them.")
    falls = np.flatnonzero(np.diff(array) < 0)
    if falls.size:
        i = int(falls[0])
        raise ValueError(
            f"{what} are out of order: {array[i + 1]:g} s at position {i + 1} comes after {array[i]:g} s; sort them "
            f"(together with their values), or pass separate recordings to concat."
        )
    return array


def check_spacing(time: np.ndarray, steps: np.ndarray, dt: float) -> None:
    """Refuse rows whose spacing (`steps`, within epochs) contradicts `dt`."""
    if steps.size == 0:
        return
    step = float(np.median(steps))
    ratio = step / dt
    if 0.5 * MILLI < ratio < 2 * MILLI:
        raise ValueError(f"time looks like milliseconds: rows are {step:g} apart but dt={dt:g} s; pass time / 1000.")
    if 0.5 / MILLI < ratio < 2 / MILLI:
        raise ValueError(f"dt={dt:g} looks like milliseconds: rows are {step:g} s apart; pass dt={dt / MILLI:g}.")
    if steps.min() < 0.5 * dt:
        i = int(np.argmin(np.diff(time)))
        raise ValueError(
            f"time has rows nearer than half a bin: {time[i]:g} s and {time[i + 1]:g} s at row {i} with dt={dt:g} s; "
            f"pass one time a bin, or dt alone with epoch= at the jumps."
        )
    if not 0.9 < ratio < 1.1:
        raise ValueError(f"time has a spacing of {step:g} s but dt={dt:g} s: pass dt={step:g} or bin the data again.")


def as_counts(values: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
    """Spike counts (row, neuron) in the smallest unsigned type; NaN is allowed only where not observed."""
    if values.dtype.kind not in _KINDS:
        raise ValueError(f"spikes must be counts a bin, got {values.dtype}: times of spikes go to bin_spikes.")
    if values.dtype.kind == "f":
        values = _without_nan(values, observed)
        _refuse(np.isinf(values), "infinite counts", "check how the counts were made")
        _refuse(values != np.floor(values), "fractional counts", "pass counts a bin, not rates (counts = rate * dt)")
    _refuse(values < 0, "negative counts", "pass counts a bin, not z-scored or baseline-subtracted values")
    return values.astype(np.min_scalar_type(int(values.max())))


def _without_nan(values: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
    missing = np.isnan(values)
    if observed is not None:
        # An unobserved count is never scored, so that any number may stand there.
        values = np.where(missing & ~observed, 0, values)
        missing &= observed
    mend = "cut those rows out (epochs of bin_spikes) or pass observed=, False where the cell was lost"
    _refuse(missing, "NaN counts", mend)
    return values


def _refuse(bad: np.ndarray, what: str, mend: str) -> None:
    if bad.any():
        row, neuron = np.argwhere(bad)[0]
        raise ValueError(f"spikes has {int(bad.sum())} {what}, the first at row {row}, neuron {neuron}: {mend}.")


def check_values(name: str, values: np.ndarray) -> np.ndarray:
    """A covariate as numbers, booleans or strings; NaN is allowed and counted by the fit."""
    if values.dtype.kind in "OTS":
        values = _as_strings(name, values)
    if values.dtype.kind not in _KINDS + "U":
        raise ValueError(f"{name!r} has the type {values.dtype}; pass numbers, booleans or strings.")
    if values.dtype.kind == "f" and np.isinf(values).any():
        bad = np.isinf(values)
        raise ValueError(
            f"{name!r} has {int(bad.sum())} infinite values, the first at row {np.argwhere(bad)[0][0]}: "
            f"replace them by NaN, whose rows are left out and counted."
        )
    return values


def _as_strings(name: str, values: np.ndarray) -> np.ndarray:
    odd = [v for v in values.ravel().tolist() if not isinstance(v, str | bytes)]
    if odd:
        raise ValueError(
            f"{name!r} mixes objects of type {type(odd[0]).__name__} ({odd[0]!r}): pass an array of numbers or strings with one shape for every row."
        )
    return values.astype(str)
