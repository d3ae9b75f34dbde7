"""Receptive fields over space and lags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm import _filters as verbs
from bayesglm._plot._style import COLOURS, INK, Bands, bands, chosen, draw_band, heading, lag_axis, legend, look, new_figure, zero_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayesglm._fit import Fit

_MOST = 4  # neurons drawn unless asked for more
_DIVERGING = "PuOr_r"  # its two sides are told apart by every kind of colour vision
_OUTSIDE = ("chain", "draw", "neuron", "source", "lag")


class _Peak(NamedTuple):
    """Where a filter's median is largest in size."""

    space: dict[str, int]
    lag: int


def receptive_field(fit: Fit, term: str | None = None, *, neurons: Any = None, figure: Figure | SubFigure | None = None) -> Any:
    """Draw a filter over space and lags: a map at the lag of its peak, and the course over lags at the peak, with its bands.

    Parameters
    ----------
    fit : Fit
    term : str, optional
        A ``Stimulus`` whose column has one or two dims of space; by default the first of the model.
    neurons : labels, optional
        Receivers to draw; by default the first four.
    figure : matplotlib Figure or SubFigure, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        A row a neuron. Left: the median over (y, x) at the lag of the peak, or over (lag, x) where space has one dim; a
        line surrounds where the 90 % band of a pixel, taken alone, leaves zero out. Right: the course at the peak's
        pixel, with its 50 % and 90 % bands. The peak was chosen because it is the largest: its band is not corrected for that.

    Raises
    ------
    ValueError
        For a term without space, or an unknown neuron.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> data = bg.recording(dt=0.01, spikes=rng.poisson(0.2, 300), movie=rng.normal(size=(300, 5, 6)))
    >>> space = bg.basis.BSpline(3, order=3) * bg.basis.BSpline(3, order=3)
    >>> stimulus = bg.Stimulus("movie", bg.basis.RaisedCosine(3, span=0.05), bg.prior.Gaussian(0.3), space=space)
    >>> fit = bg.fit(bg.GLM(bg.Baseline() + stimulus), data, "map", progress=False)
    >>> len(bg.plot.receptive_field(fit).axes)  # a map, its colour bar, a course
    3
    """
    draws = verbs.filters(fit, _first(fit) if term is None else term)
    dims = space_of(draws)
    if not 1 <= len(dims) <= 2:
        raise ValueError(f"plot.receptive_field: the filter of {draws.name!r} has the dims of space {dims}, and one or two are drawn; use bg.plot.filters.")
    labels, note = chosen(draws["neuron"].values, neurons, _MOST) if "neuron" in draws.dims else ([None], "")
    with look():
        made = new_figure(figure, 7.6, 2.7 * len(labels) + 0.4)
        axes = made.subplots(len(labels), 2, squeeze=False, width_ratios=(1.0, 1.2))
        for (left, right), label in zip(axes, labels, strict=True):
            own = draws if label is None else draws.sel(neuron=label)
            _row(made, left, right, fit, own, dims, "" if label is None else f", neuron {label}")
        legend(made, axes[0, 1])
        heading(made, fit, note)
    return made


def space_of(draws: xr.DataArray) -> list[str]:
    """The dims of a filter that are neither draws, cells nor lags."""
    return [str(dim) for dim in draws.dims if dim not in _OUTSIDE]


def _first(fit: Fit) -> str:
    """The first term whose filter has dims of space."""
    from bayesglm._plot._filters import lagged

    found = [name for name in lagged(fit) if "source" not in fit.posterior[name].dims and space_of(verbs.filters(fit, name))]
    if not found:
        raise ValueError("plot.receptive_field: no filter of the model has dims of space; bg.plot.filters draws what there is.")
    return found[0]


def _row(figure: Any, left: Axes, right: Axes, fit: Fit, draws: xr.DataArray, dims: list[str], who: str) -> None:
    found = bands(draws)
    peak = _peak(found.line, dims)
    lags, lag_label = lag_axis(draws["lag"].values, fit)
    image = _map(left, found, peak, dims, lags, lag_label)
    figure.colorbar(image, ax=left, label=_short(draws.attrs["units"]), shrink=0.9)
    place = ", ".join(f"{dim} {_label(draws, dim, i)}" for dim, i in peak.space.items())
    left.set_title(f"{draws.name}{who}" + (f", lag {lags[peak.lag]:g} {lag_label[5:-1]}" if len(dims) == 2 else ""))
    draw_band(right, lags, found.where(**peak.space), COLOURS[0])
    zero_line(right)
    right.margins(x=0)
    right.set_xlabel(lag_label)
    right.set_ylabel(_short(draws.attrs["units"]))
    right.set_title(f"at the peak: {place}")


def _peak(line: xr.DataArray, dims: list[str]) -> _Peak:
    values = np.abs(np.nan_to_num(line.transpose(*dims, "lag").values))
    *space, lag = (int(i) for i in np.unravel_index(int(values.argmax()), values.shape))
    return _Peak(dict(zip(dims, space, strict=True)), lag)


def _map(ax: Axes, found: Bands, peak: _Peak, dims: list[str], lags: np.ndarray, lag_label: str) -> Any:
    """The median as a picture, a line around what the band sets apart from zero, a cross at the peak."""
    down, across = dims if len(dims) == 2 else (dims[0], "lag")
    at = {"lag": peak.lag} if len(dims) == 2 else {}
    shown = Bands(*(None if part is None else part.isel(at) for part in found))
    values = shown.line.transpose(down, across).values
    size = max(float(np.nanmax(np.abs(found.line.values))), 1e-300)
    rows, columns = (np.arange(n) for n in values.shape)
    image = ax.pcolormesh(columns, rows, values, cmap=_DIVERGING, vmin=-size, vmax=size, shading="nearest", rasterized=True)
    if shown.wide is not None and min(values.shape) > 1:
        low, high = (shown.wide.sel(bound=bound).transpose(down, across).values for bound in ("lower", "upper"))
        apart = ((low > 0) | (high < 0)).astype(float)
        if 0 < apart.sum() < apart.size:
            ax.contour(columns, rows, apart, levels=[0.5], colors=INK, linewidths=0.9)
    ax.plot(peak.lag if across == "lag" else peak.space[across], peak.space[down], marker="+", color=INK, markersize=8)
    ax.invert_yaxis()
    _ticks(ax, found.line, down, across, lags)
    ax.set_ylabel(down)
    ax.set_xlabel(lag_label if across == "lag" else across)
    if across != "lag":
        ax.set_aspect("equal")
    return image


def _ticks(ax: Axes, line: xr.DataArray, down: str, across: str, lags: np.ndarray) -> None:
    """A few labels of the recording's own, rather than positions."""
    for axis, dim in ((ax.yaxis, down), (ax.xaxis, across)):
        size = line.sizes[dim]
        places = np.unique(np.linspace(0, size - 1, min(size, 5)).round().astype(int))
        axis.set_ticks(places, [f"{lags[i]:g}" if dim == "lag" else _label(line, dim, i) for i in places])


def _label(array: xr.DataArray, dim: str, i: int) -> str:
    value = array[dim].values[i] if dim in array.coords else i
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _short(unit: str) -> str:
    return unit.replace(" per ", "\nper ", 1)
