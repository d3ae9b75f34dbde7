"""Spikes over time, alone and under the rate that a fit predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._data import bin_width, epoch_ids, is_time
from bayesglm._plot._style import COLOURS, FAINT, INK, Bands, axes_of, bands, caution, chosen, draw_band, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesglm._fit import Fit

_SECONDS = 10.0  # of a raster, unless asked for more
_BINS = 300  # of a rate, unless asked for more
_DRAWS = 400  # enough for a band that is read off a picture

_LABEL = 0.17  # inches of a neuron's label


def raster(data: xr.Dataset, neurons: Any = None, start: float | None = None, stop: float | None = None, *, ax: Axes | None = None) -> Any:
    """Draw the spikes of a recording, one row a neuron.

    Parameters
    ----------
    data : xarray.Dataset
        A recording with ``spikes`` on time rows.
    neurons : labels, optional
        By default all.
    start, stop : float, optional
        In s on the recording's clock; by default its first ten seconds.
    ax : matplotlib Axes, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        A tick is a bin with a spike, a thicker one a bin with more. Grey: time that no epoch covers.

    Raises
    ------
    ValueError
        Without ``spikes`` on time rows, for an unknown neuron, or where no row lies between start and stop.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.1, (300, 4)))
    >>> bg.plot.raster(data, stop=2.0).axes[0].get_xlabel()
    'time (s)'
    """
    if "spikes" not in data or not is_time(data):
        raise ValueError("plot.raster wants a recording with spikes (time, neuron) on time rows: bg.bin_spikes(...) or bg.recording(dt=..., spikes=...).")
    part = window(data, start, stop, _SECONDS)
    spikes = part["spikes"] if "neuron" in part["spikes"].dims else part["spikes"].expand_dims(neuron=["spikes"], axis=-1)
    labels, _ = chosen(spikes["neuron"].values, neurons, spikes.sizes["neuron"])
    with look():
        drawn = axes_of(ax, 8.0, float(np.clip(0.22 * len(labels) + 1.0, 1.8, 9.0)))
        for row, label in enumerate(labels):
            _ticks(drawn, part, spikes.sel(neuron=label).values, row, 0.8)
        _gaps(drawn, part)
        room = drawn.get_window_extent().height / drawn.figure.dpi / _LABEL
        step = max(1, -(-len(labels) // max(2, min(25, int(room)))))
        drawn.set_yticks(np.arange(0, len(labels), step), [str(label) for label in labels[::step]])
        drawn.set(ylim=(len(labels) - 0.4, -0.6), ylabel="neuron", xlabel="time (s)")
        _bounds(drawn, part)
    return drawn.figure


def rate(fit: Fit, data: xr.Dataset | None = None, neuron: Any = None, start: float | None = None, stop: float | None = None, *, ax: Axes | None = None) -> Any:
    """Draw the predicted rate, given the real past, with its 50 % and 90 % bands over the spikes.

    Parameters
    ----------
    fit : Fit
        Of a point estimate (MAP) there is no band, and the title says so.
    data : xarray.Dataset, optional
        By default the training recording.
    neuron : label, optional
        By default the first.
    start, stop : float, optional
        In s on the recording's clock; by default the first 300 bins that can be predicted.
    ax : matplotlib Axes, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        The band is that of the rate (what is not known of the parameters); spikes scatter around the rate besides.

    Raises
    ------
    ValueError
        On trial rows, for an unknown neuron, or where no row lies between start and stop.
    """
    from bayesglm._predict import predict
    from bayesglm._training import training_data

    data = training_data(fit) if data is None else data
    if not is_time(data):
        raise ValueError("plot.rate wants a recording on time rows; on trial rows read bg.predict(fit, data).")
    back, ahead = _reach(fit)
    begin = start if start is not None else float(data["time"][0]) - bin_width(data) / 2 + back
    end = stop if stop is not None else begin + _BINS * bin_width(data)
    draws = predict(fit, window(data, begin - back, end + ahead, 0.0), kind="rate", draws=None if fit.point else _DRAWS)
    part = window(data, begin, end, 0.0)
    draws = draws.sel(time=part["time"])
    who, name = _receiver(fit, draws, neuron)
    title = caution(fit, f"{name}: predicted one step ahead, given the real past")
    with look():
        drawn = axes_of(ax, 8.0, 2.8)
        _predicted(drawn, part, bands(draws.sel(who)))
        _over(drawn, part, part[fit.model.response].sel(who).values, fit)
        drawn.set(xlabel="time (s)", ylabel=str(draws.attrs.get("units", "rate")))
        drawn.set_title(title["text"], color=title["color"])
    return drawn.figure


def window(data: xr.Dataset, start: float | None, stop: float | None, default: float) -> xr.Dataset:
    """The rows whose bins lie between two times; a ValueError where there is none."""
    times, half = data["time"].values, 0.5 * bin_width(data)
    first, last = float(times[0]) - half, float(times[-1]) + half
    start = first if start is None else start
    stop = min(start + default, last) if stop is None else stop
    slack = 1e-6 * half  # times of bins carry rounding
    inside = np.flatnonzero((times - half >= start - slack) & (times + half <= stop + slack))
    if not inside.size:
        raise ValueError(f"No bin lies between start={start:g} and stop={stop:g} s; the recording runs from {first:g} to {last:g} s.")
    return data.isel(time=slice(int(inside[0]), int(inside[-1]) + 1))


def _reach(fit: Fit) -> tuple[float, float]:
    """How far the filters reach back and ahead, in s."""
    constants = fit.idata["constant_data"].to_dataset()
    lags = [constants[name].values for name in constants.coords if str(name).endswith("_lag")]
    return max((float(lag.max()) for lag in lags), default=0.0), max((float(-lag.min()) for lag in lags), default=0.0)


def _receiver(fit: Fit, draws: xr.DataArray, neuron: Any) -> tuple[dict[str, Any], str]:
    if "neuron" not in draws.dims:
        return {}, fit.model.response
    [label], _ = chosen(draws["neuron"].values, None if neuron is None else [neuron], 1)
    return {"neuron": label}, f"neuron {label}"


def _predicted(ax: Axes, part: xr.Dataset, found: Bands) -> None:
    """The rate epoch by epoch, for no line may cross a gap."""
    ids = epoch_ids(part)
    for epoch in np.unique(ids):
        here = np.flatnonzero(ids == epoch)
        draw_band(ax, part["time"].values[here], found.where(time=here), COLOURS[0], step=True)


def _over(ax: Axes, part: xr.Dataset, values: np.ndarray, fit: Fit) -> None:
    """The response: spikes in a strip of their own above the rate, a continuous one in the same axes."""
    times = part["time"].values
    if fit.model.family.discrete:
        high = ax.get_ylim()[1]
        ax.set_ylim(0, 1.2 * high)
        fired = values > 0
        ax.vlines(times[fired], 1.04 * high, 1.16 * high, color=INK, linewidth=np.where(values[fired] > 1, 2.2, 1.0), label="spikes")
    else:
        ax.plot(times, values, color=INK, linewidth=0.7, label=fit.model.response, zorder=0.9)
    _gaps(ax, part)
    _bounds(ax, part)
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))  # each epoch has named its band
    ax.legend(once.values(), once.keys(), loc="center left", bbox_to_anchor=(1.0, 0.5))


def _ticks(ax: Axes, part: xr.Dataset, counts: np.ndarray, row: int, height: float) -> None:
    fired = counts > 0
    widths = np.where(counts[fired] > 1, 2.0, 0.8)
    ax.vlines(part["time"].values[fired], row - height / 2, row + height / 2, color=INK, linewidth=widths)


def _gaps(ax: Axes, part: xr.Dataset) -> None:
    """Shade what lies between epochs."""
    times, half = part["time"].values, 0.5 * bin_width(part)
    for i in np.flatnonzero(np.diff(times) > 3 * half):
        ax.axvspan(times[i] + half, times[i + 1] - half, color=FAINT, alpha=0.35, linewidth=0)


def _bounds(ax: Axes, part: xr.Dataset) -> None:
    times, half = part["time"].values, 0.5 * bin_width(part)
    ax.set_xlim(times[0] - half, times[-1] + half)
