"""Functional coupling between cells: small filters, a map of net effects, or net effects against a distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm import _filters as verbs
from bayesglm._plot._style import COLOURS, FAINT, INK, NARROW, WIDE, Bands, bands, chosen, draw_band, heading, lag_axis, legend, look, new_figure, zero_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayesglm._fit import Fit

_SMALL = 8  # receivers and sources up to which every filter is drawn
_WIDE = 2.5  # sources a receiver beyond which a map fills its width, and squares are given up
_NAMED = 24  # labels that an axis of the map has room for
_GROUPS = 6  # of pairs at like distance


def coupling(
    fit: Fit, term: str = "coupling", *, neurons: Any = None, sources: Any = None, against: Any = None, figure: Figure | SubFigure | None = None
) -> Any:
    """Draw functional coupling: receivers down, sources across.

    Up to eight cells every filter is drawn with its 50 % and 90 % bands, in orange where the 90 % interval of its net
    effect (the sum over lags) leaves zero out. More cells make a map of the median net effects, with a dot on those.
    ``against`` draws the net effects over what tells the pairs apart: a distance, a difference in tuning.

    Parameters
    ----------
    fit : Fit
        Of a point estimate (MAP) there are neither bands nor marks, and the title says so.
    term : str
        Name of the coupling term.
    neurons, sources : labels, optional
        Receivers and sources to draw, in this order; by default all. Cells in the order of their tuning or place make a
        map that can be read.
    against : xarray.DataArray (neuron, source), optional
        A number a pair, with the fit's labels; its name and ``attrs["units"]`` label the axis. The mean over pairs in six
        equal ranges of it is drawn with its own 90 % band, over posterior draws for these pairs.
    figure : matplotlib Figure or SubFigure, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        In log-gain per source spike; couplings that do not exist (a cell's own, ``mask=``) are left blank.

    Raises
    ------
    ValueError
        Where the term has no sources, for unknown cells, or where ``against`` lacks cells that are drawn.

    Notes
    -----
    Functional coupling is a statistical dependence given the rest of the model; it is no synapse.
    """
    draws = verbs.filters(fit, term)
    if "source" not in draws.dims:
        raise ValueError(f"plot.coupling wants a Coupling term; {term!r} has dims {draws.dims}: bg.plot.filters(fit, {term!r}) draws it.")
    if "neuron" not in draws.dims:
        draws = draws.expand_dims(neuron=[fit.model.response])
    kept = {dim: chosen(draws[dim].values, wanted, draws.sizes[dim], f"{dim}s")[0] for dim, wanted in (("neuron", neurons), ("source", sources))}
    draws = draws.sel(kept)
    summed = draws.sum("lag", skipna=False, keep_attrs=True)
    with look():
        if against is not None:
            return _over(fit, summed, _placed(against, summed), figure)
        if max(draws.sizes["neuron"], draws.sizes["source"]) <= _SMALL:
            return _matrix(fit, draws, bands(summed), figure)
        return _map(fit, bands(summed), draws.attrs["units"], figure)


def excludes_zero(net: Bands) -> xr.DataArray:
    """(neuron, source) bool: whether the 90 % interval leaves zero out; nowhere for a point estimate."""
    if net.wide is None:
        return xr.zeros_like(net.line, dtype=bool)
    return (net.wide.sel(bound="lower", drop=True) > 0) | (net.wide.sel(bound="upper", drop=True) < 0)


def _matrix(fit: Fit, draws: xr.DataArray, net: Bands, figure: Any) -> Any:
    found, marked = bands(draws), excludes_zero(net)
    x, label = lag_axis(draws["lag"].values, fit)
    receivers, sources = draws["neuron"].values, draws["source"].values
    made = new_figure(figure, max(1.5 * len(sources) + 1.4, 5.0), max(1.25 * len(receivers) + 1.2, 3.2))
    axes = made.subplots(len(receivers), len(sources), squeeze=False, sharex=True, sharey=True)
    for row, receiver in zip(axes, receivers, strict=True):
        for ax, source in zip(row, sources, strict=True):
            where = {"neuron": receiver, "source": source}
            _cell(ax, x, found.at(**where), bool(marked.sel(where)), "own past" if receiver == source else "left out")
        row[0].set_ylabel(f"to {receiver}")
    for ax, source in zip(axes[0], sources, strict=True):
        ax.set_title(f"from {source}")
    axes[0, 0].margins(x=0)
    for ax in axes[-1]:
        ax.set_xlabel(label)
    made.supylabel(str(draws.attrs["units"]), fontsize=9)
    _bands_named(made, axes[-1, -1], fit)
    heading(made, fit, "functional coupling", "" if fit.point else f"orange: the {WIDE:.0%} interval of the net effect leaves zero out")
    return made


def _cell(ax: Axes, x: np.ndarray, found: Bands, marked: bool, absent: str) -> None:
    if np.isnan(found.line.values).all():
        ax.set_facecolor("#F4F4F4")
        ax.text(0.5, 0.5, absent, transform=ax.transAxes, ha="center", va="center", color=FAINT)
        return
    draw_band(ax, x, found, COLOURS[1 if marked else 0])
    zero_line(ax)


def _bands_named(made: Any, ax: Axes, fit: Fit) -> None:
    """What the shades mean, once for all panels and in grey, for they have two colours."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if fit.point:
        return
    handles = [Line2D([], [], color=INK), Patch(color=INK, alpha=0.5, linewidth=0), Patch(color=INK, alpha=0.22, linewidth=0)]
    legend(made, ax, handles, ["median", f"{NARROW:.0%} band", f"{WIDE:.0%} band"])


def _map(fit: Fit, net: Bands, units: str, figure: Any) -> Any:
    values = net.line.transpose("neuron", "source").values
    wide = values.shape[1] > _WIDE * len(values)
    made = new_figure(figure, *((8.4, min(5.2, 1.8 + 0.2 * len(values))) if wide else (6.4, 5.2)))
    ax = made.add_subplot()
    limit = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    ax.set_facecolor("#DDDDDD")
    image = ax.imshow(values, cmap="PuOr_r", vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto" if wide else "equal")
    rows, columns = np.nonzero(excludes_zero(net).transpose("neuron", "source").values)
    size = 110.0 / max(values.shape)
    dots = {"s": max(size**1.5, 7.0), "linewidths": 0.4} if wide else {"s": size**1.5, "linewidths": 0.6}
    ax.scatter(columns, rows, color=INK, edgecolors="white", **dots)  # seen on dark squares too
    for axis, name in ((ax.xaxis, "source"), (ax.yaxis, "neuron")):
        _label(axis, net.line[name].values)
    ax.set_xlabel("source")
    ax.set_ylabel("receiver")
    made.colorbar(image, ax=ax, label=f"net effect, sum over lags\n({units})", shrink=0.85)
    marks = "" if fit.point else f"dot: its {WIDE:.0%} interval leaves zero out ({rows.size} of {int(np.isfinite(values).sum())})"
    heading(made, fit, "functional coupling: net effect", marks)
    return made


def _label(axis: Any, labels: np.ndarray) -> None:
    """As many of the labels as there is room for."""
    step = max(1, -(-len(labels) // _NAMED))
    axis.set_ticks(np.arange(0, len(labels), step), [str(label) for label in labels[::step]])
    if len(labels) > _NAMED // 2:
        axis.set_tick_params(labelsize=7)


def _placed(against: Any, net: xr.DataArray) -> xr.DataArray:
    """``against`` for the pairs that are drawn, NaN where there is no coupling."""
    wants = "a DataArray with the dims neuron and source, and their labels in the fit"
    if not isinstance(against, xr.DataArray) or set(against.dims) != {"neuron", "source"}:
        raise ValueError(f"plot.coupling(against=) wants {wants}; got {getattr(against, 'dims', type(against).__name__)}.")
    missing = [label for dim in ("neuron", "source") for label in net[dim].values.tolist() if label not in against[dim].values.tolist()]
    if missing:
        raise ValueError(f"plot.coupling(against=) lacks the cells {missing[:8]}; it wants {wants}.")
    placed = against.sel(neuron=net["neuron"], source=net["source"]).transpose("neuron", "source").astype(float)
    return placed.where(net.isel(chain=0, draw=0, drop=True).notnull()).rename(against.name or "against")


def _over(fit: Fit, net: xr.DataArray, x: xr.DataArray, figure: Any) -> Any:
    """Net effects with their intervals over a number of each pair, and their means in ranges of it."""
    made = new_figure(figure, 5.6, 4.2)
    ax = made.add_subplot()
    found = bands(net)
    marked = excludes_zero(found).values & np.isfinite(x.values)
    for kind, colour, name in ((~marked & np.isfinite(x.values), COLOURS[0], ""), (marked, COLOURS[1], "leaves zero out")):
        if found.wide is not None:
            ax.vlines(x.values[kind], *(found.wide.sel(bound=bound).values[kind] for bound in ("lower", "upper")), color=colour, linewidth=0.6, alpha=0.2)
        label = name or ("pair" if found.wide is None else f"pair, {WIDE:.0%} interval")
        ax.plot(x.values[kind], found.line.values[kind], "o", color=colour, markersize=2.6, label=label)
    _means(ax, net, x)
    zero_line(ax)
    units = x.attrs.get("units", "")
    ax.set(xlabel=f"{x.name} ({units})" if units else str(x.name), ylabel=f"net effect, sum over lags\n({net.attrs['units']})")
    legend(made, ax)
    marks = "" if fit.point else f"of {int(np.isfinite(x.values).sum())} pairs the {WIDE:.0%} interval of {int(marked.sum())} leaves zero out"
    heading(made, fit, "functional coupling: net effect", marks)
    return made


def _means(ax: Axes, net: xr.DataArray, x: xr.DataArray) -> None:
    """Means over the pairs in equal ranges, with the band of the posterior draws."""
    edges = np.linspace(float(x.min()), float(x.max()), _GROUPS + 1)
    group = np.clip(np.digitize(x.values, edges[1:-1]), 0, _GROUPS - 1)
    for k in range(_GROUPS):
        inside = xr.DataArray((group == k) & np.isfinite(x.values), x.coords)
        if not inside.any():
            continue
        mean = bands(net.where(inside).mean(("neuron", "source"), keep_attrs=True))
        ends, said = edges[k : k + 2], "mean over pairs" if mean.wide is None else f"mean over pairs, {WIDE:.0%} band"
        if mean.wide is not None:
            ax.fill_between(ends, *(float(mean.wide.sel(bound=bound)) for bound in ("lower", "upper")), color=INK, alpha=0.3, linewidth=0)
        ax.plot(ends, [float(mean.line)] * 2, color=INK, linewidth=1.8, label=said if k == 0 else "")
