"""What a user says about a column: that it is circular, or sampled on a clock of its own."""

from typing import Any, Literal, get_args

import equinox as eqx
import numpy as np

How = Literal["mean", "linear", "previous"]


class Angle(eqx.Module):
    """Values on a circle of length `period`; made by `angle`."""

    values: Any
    period: float = eqx.field(static=True)


class Signal(eqx.Module):
    """Samples `values` at the times `t`, still to be put on the bins; made by `signal`."""

    t: Any
    values: Any
    how: How | None = eqx.field(static=True)
    period: float | None = eqx.field(static=True)
    max_gap: float | None = eqx.field(static=True)


def angle(values: Any, period: float = 2 * np.pi) -> Angle:
    """Mark a column as circular: a value and the value plus `period` are the same.

    Parameters
    ----------
    values : array (row,) or (row, ...), ``(dims, array)``, DataArray, or ``(t, values)`` for `bin_spikes`
        In radians, degrees or any unit in which `period` is given. They are stored as they are.
    period : float
        Length of the circle: 2π (radians), 360 (degrees), 180 (orientation).

    Returns
    -------
    Angle
        To be passed as a column; the stored column carries ``attrs["period"]``.

    Raises
    ------
    ValueError
        Where `period` is not a positive number.

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=[0, 1, 0], heading=bg.angle([10.0, 20.0, 350.0], period=360))
    >>> data["heading"].attrs["period"]
    360.0
    """
    return Angle(values, _positive(period, "period", "2π for radians, 360 for degrees, 180 for orientations"))


def signal(t: Any, values: Any, how: How | None = None, period: float | None = None, max_gap: float | None = None) -> Signal:
    """Samples on a clock of their own, which `bin_spikes` puts on its bins, epoch by epoch.

    For a bin with centre c: "mean" averages the samples inside it, "linear" interpolates at c, "previous" takes the
    last sample at or before c. Circles are averaged as vectors, angle(mean exp(2πi v / period)). Samples outside an
    epoch are never used for its bins.

    Parameters
    ----------
    t : array (sample,)
        Times in s, in order.
    values : array (sample, ...)
        NaN samples are taken as missing under "mean" and "linear".
    how : "mean", "linear" or "previous", optional
        By default "previous" for frames (more than one axis) and categories (strings, integers, booleans), else "mean"
        with two or more samples a bin, else "linear".
    period : float, optional
        Length of the circle of a circular signal.
    max_gap : float, optional
        In s: a bin without samples whose centre is farther than this from the nearest sample (for "previous": from the
        sample before) is NaN; nearer ones are interpolated, also under "mean". By default ten sample intervals, at least a bin; without end for "previous".

    Returns
    -------
    Signal
        To be passed to `bin_spikes` or `from_pynapple` as a keyword.

    Raises
    ------
    ValueError
        Where `how` is unknown, or `period` or `max_gap` is not a positive number. What is wrong with the samples is
        said by `bin_spikes`, which knows the column's name.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> t = np.arange(0, 1, 0.01)
    >>> speed = bg.signal(t, 10 * t, how="mean", max_gap=0.5)
    >>> data = bg.bin_spikes([np.array([0.2, 0.7])], dt=0.1, epochs=(0, 1), speed=speed)
    >>> float(data["speed"][0].round(3))
    0.45
    """
    if how is not None and how not in get_args(How):
        raise ValueError(f"signal: how={how!r} is unknown; it is one of {', '.join(get_args(How))}.")
    if period is not None:
        period = _positive(period, "period", "2π for radians, 360 for degrees, 180 for orientations")
    if max_gap is not None:
        max_gap = _positive(max_gap, "max_gap", "seconds, such as 0.5, or leave it out")
    return Signal(t, values, how, period, max_gap)


def _positive(value: Any, name: str, wants: str) -> float:
    number = float(value)
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}: {wants}.")
    return number
