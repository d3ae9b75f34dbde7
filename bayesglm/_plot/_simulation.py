"""Simulated responses beside the recorded ones."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._data import bin_width, epoch_ids, is_time
from bayesglm._plot._spikes import raster, window
from bayesglm._plot._style import COLOURS, INK, WIDE, chosen, look, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_SECONDS, _NEURONS, _TRACES = 10.0, 30, 4
_LINE = 115  # letters


def simulation(
    simulated: xr.Dataset,
    data: xr.Dataset,
    neurons: Any = None,
    start: float | None = None,
    stop: float | None = None,
    *,
    draw: int = 0,
    replicate: int = 0,
    figure: Figure | SubFigure | None = None,
) -> Any:
    """Draw one simulation under the recording, and the means of all simulations against the recorded ones.

    Parameters
    ----------
    simulated : xarray.Dataset
        From ``bg.simulate``.
    data : xarray.Dataset
        The recording that it was made on, with the response.
    neurons : labels, optional
        By default the first thirty (four, where the response is no count).
    start, stop : float, optional
        In s on the recording's clock; by default its first ten seconds.
    draw, replicate : int
        Which simulation is drawn (positions).
    figure : matplotlib Figure or SubFigure, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Right: a dot a neuron, the median over simulations of its mean, with their central 90 %; on the diagonal the model
        fires as often as the cell.

    Raises
    ------
    ValueError
        On trial rows, where the recording lacks the response, or for an unknown neuron.
    """
    name = next(str(key) for key in simulated.data_vars if key not in ("ran_away", "capped_at"))
    if name not in data or not is_time(data):
        raise ValueError(f"plot.simulation wants a recording on time rows with the response {name!r}, on which bg.simulate was run.")
    counts = simulated[name].dtype.kind in "ub"
    one, real = (_plain(part) for part in (simulated[name].isel(draw=draw, replicate=replicate, drop=True), data[name]))
    labels, note = chosen(one["neuron"].values, neurons, _NEURONS if counts else _TRACES)
    part = window(data, start, stop, _SECONDS)
    with look():
        made = new_figure(figure, 9.0, 4.6 if counts else 4.0)
        grid = made.add_gridspec(2, 2, width_ratios=(2.4, 1.0))
        upper = made.add_subplot(grid[0, 0])
        lower = made.add_subplot(grid[1, 0], sharex=upper, sharey=upper)
        for ax, values, title in ((upper, real, "recorded"), (lower, one, f"simulated (draw {draw}, replicate {replicate})")):
            _over_time(ax, part, values.sel(time=part["time"], neuron=labels), counts, name)
            ax.set_title(title)
        upper.set_xlabel("")
        _means(made.add_subplot(grid[:, 1]), simulated, name, real, bin_width(data) if counts else None)
        said = [*textwrap.wrap(simulated.attrs["stability"], _LINE), note]
        made.suptitle("\n".join(text for text in said if text), color=COLOURS[1] if simulated.attrs["share_ran_away"] else INK)
    return made


def _plain(values: xr.DataArray) -> xr.DataArray:
    """(time, neuron), also where the response has no neurons."""
    return values if "neuron" in values.dims else values.expand_dims(neuron=["response"], axis=-1)


def _over_time(ax: Axes, part: xr.Dataset, values: xr.DataArray, counts: bool, name: str) -> None:
    """A raster, or traces."""
    if counts:
        raster(part.drop_dims("neuron", errors="ignore").assign(spikes=values.transpose("time", "neuron")), start=None, stop=float(np.inf), ax=ax)
        return
    ids = epoch_ids(part)
    for i, label in enumerate(values["neuron"].values):
        for epoch in np.unique(ids):
            here = ids == epoch
            ax.plot(part["time"].values[here], values.sel(neuron=label).values[here], color=COLOURS[i % len(COLOURS)], linewidth=0.8)
    ax.set(xlabel="time (s)", ylabel=name)


def _means(ax: Axes, simulated: xr.Dataset, name: str, real: xr.DataArray, dt: float | None) -> None:
    """Mean of each neuron, simulated against recorded; of those that did not run away, where there are such."""
    unit, scale = (f"mean {name}", 1.0) if dt is None else ("mean rate (spikes/s)", 1.0 / dt)
    drawn = _plain(simulated[name].mean("time")).stack(run=("draw", "replicate")).transpose("run", "neuron")
    calm = ~simulated["ran_away"].stack(run=("draw", "replicate")).values
    left_out = bool(calm.any() and not calm.all())
    found = drawn.values[calm if left_out else slice(None)] * scale
    observed = np.asarray(real.sel(neuron=drawn["neuron"].values).mean("time")) * scale
    low, middle, high = np.quantile(found, [(1 - WIDE) / 2, 0.5, (1 + WIDE) / 2], axis=0)
    ax.vlines(observed, low, high, color=COLOURS[0], alpha=0.5, linewidth=2.0, label=f"{WIDE:.0%} of simulations")
    ax.plot(observed, middle, "o", color=COLOURS[0], markersize=4.0, label="median")
    ends = [min(observed.min(), low.min()), max(observed.max(), high.max())]
    ax.plot(ends, ends, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5, label="alike")
    ax.set(xlabel=f"recorded: {unit}", ylabel=f"simulated: {unit}")
    ax.set_title("means" + (f", {int((~calm).sum())} that ran away left out" if left_out else ""))
    ax.legend(loc="best")
