"""A filter a block, overlaid: does it drift?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm import _filters as verbs
from bayesglm._checking._drifted import BEYOND, Drift
from bayesglm._plot._filters import lagged, unit
from bayesglm._plot._style import COLOURS, INK, Bands, bands, chosen, gain_axis, lag_axis, log_link, look, new_figure, zero_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_MOST, _ACROSS = 6, 3


def drift(found: Drift, term: str | None = None, *, neurons: Any = None, sources: Any = None, figure: Figure | SubFigure | None = None) -> Any:
    """Draw a filter of every block over the whole recording's: medians with their 90 % bands, one panel a neuron (and source).

    Parameters
    ----------
    found : Drift
        Made by ``bg.drift``.
    term : str, optional
        A term with lags; by default the one whose blocks are furthest apart.
    neurons : labels, optional
        By default the six whose blocks are furthest apart.
    sources : labels, optional
        Of a coupling; by default those whose blocks are furthest apart.
    figure : matplotlib Figure or SubFigure, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Blocks run from dark to light in the order of time; grey is the fit to all rows. Each panel's title says how far apart
        the net effects of its blocks are, in posterior sds.

    Raises
    ------
    ValueError
        For anything but a ``Drift``, a term without lags, an unknown neuron or source.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> spikes = np.random.default_rng(0).poisson(0.3, (600, 1))
    >>> model = bg.GLM(bg.Baseline() + bg.History(bg.basis.RaisedCosine(3, span=0.05)))
    >>> fit = bg.fit(model, bg.recording(dt=0.01, spikes=spikes), "laplace", progress=False)
    >>> len(bg.plot.drift(bg.drift(fit, blocks=2, progress=False)).axes)
    1
    """
    if not isinstance(found, Drift):
        raise ValueError(f"plot.drift wants the result of bg.drift(fit), got {type(found).__name__}.")
    name = _furthest_term(found) if term is None else term
    draws, whole_fit = found.filters(name), verbs.filters(found.fit, name)
    panels, note = _panels(found, name, draws, neurons, sources)
    across = min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    with look():
        made = new_figure(figure, max(3.4 * across, 4.6), 2.6 * down + 1.0)
        axes = made.subplots(down, across, squeeze=False, sharex=True)
        for ax, where in zip(axes.flat, panels, strict=False):
            _panel(ax, found, name, draws.sel(where), whole_fit.sel(where), where)
        for ax in axes.flat[len(panels) :]:
            ax.remove()
        _legend(made, axes[0, 0], 2 * across + 1)
        title = found.verdict[:1].upper() + found.verdict[1:]
        made.suptitle(
            "\n".join(filter(None, [_wrapped(title, 40 * across + 20), note, "medians with 90 % bands"])), color=INK if found.status == "good" else COLOURS[1]
        )
    return made


def _legend(figure: Any, ax: Axes, columns: int) -> None:
    """Blocks by name below the panels, in as many columns as there is room for."""
    handles, labels = ax.get_legend_handles_labels()
    engine = figure.get_layout_engine()
    if engine is not None and not engine.adjust_compatible:  # constrained layout
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))
    else:
        ax.legend(handles, labels, loc="best")


def _furthest_term(found: Drift) -> str:
    terms = lagged(found.fit)
    ratios = {name: float(found.table["ratio"].values[found.table["term"].values == name].max(initial=-1.0)) for name in terms}
    return max(ratios, key=ratios.__getitem__)


def _ratio(found: Drift, term: str, where: dict[str, Any]) -> float:
    """The largest ratio of a panel's net effects."""
    table = found.table
    here = table["term"].values == term
    for dim, label in where.items():
        here = here & ((table[dim].values == str(label)) if dim in ("neuron", "source") else True)
    return float(np.nanmax(table["ratio"].values[here], initial=0.0))


def _panels(found: Drift, term: str, draws: xr.DataArray, neurons: Any, sources: Any) -> tuple[list[dict[str, Any]], str]:
    """What each panel shows, those furthest apart first where there are too many."""
    wanted = {"neuron": neurons, "source": sources}
    dims = [str(dim) for dim in draws.dims if dim not in ("block", "chain", "draw", "lag")]
    places: list[dict[str, Any]] = [{}]
    for dim in dims:
        labels = draws[dim].values if dim in draws.coords else np.arange(draws.sizes[dim])
        kept = labels.tolist() if wanted.get(dim) is None else chosen(labels, wanted[dim], len(labels), f"{dim}s")[0]
        places = [place | {dim: label} for place in places for label in kept]
    places = [place for place in places if np.isfinite(draws.isel(chain=0, draw=0).sel(place)).any()]
    order = sorted(range(len(places)), key=lambda i: -_ratio(found, term, places[i]))[:_MOST]
    note = f"the {_MOST} of {len(places)} filters whose blocks are furthest apart" if len(places) > _MOST else ""
    return [places[i] for i in sorted(order)], note


def _panel(ax: Axes, found: Drift, term: str, draws: xr.DataArray, whole_fit: xr.DataArray, where: dict[str, Any]) -> None:
    import matplotlib

    x, label = lag_axis(draws["lag"].values, found.fit)
    count = draws.sizes["block"]
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, count))
    curves = [(bands(whole_fit), INK, "whole recording")]
    curves += [(bands(draws.isel(block=block)), shade, _named(found, block)) for block, shade in zip(range(count), shades, strict=True)]
    draw = _bars if x.size == 1 else _curves
    draw(ax, x, curves)
    zero_line(ax)
    if x.size > 1:
        ax.margins(x=0)
    ax.set(xlabel=label, ylabel=unit(found.fit, whole_fit, term))
    ratio = _ratio(found, term, where)
    cells = " <- ".join(str(where[dim]) for dim in ("neuron", "source") if dim in where)
    ax.set_title(f"{term}{f', {cells}' if cells else ''}: {ratio:.1f} sds apart", color=COLOURS[1] if ratio > BEYOND else INK)
    if log_link(found.fit):
        gain_axis(ax)


def _curves(ax: Axes, x: np.ndarray, curves: list[tuple[Bands, Any, str]]) -> None:
    """Medians over faint bands whose edges are drawn, so that several can be told apart where they overlap."""
    shade = 0.35 / len(curves)
    for found, colour, name in curves:
        if found.wide is not None:
            low, high = found.wide.sel(bound="lower").values, found.wide.sel(bound="upper").values
            ax.fill_between(x, low, high, color=colour, alpha=shade, linewidth=0)
            for edge in (low, high):
                ax.plot(x, edge, color=colour, linewidth=0.7, alpha=0.7)
        ax.plot(x, found.line.values, color=colour, linewidth=2.0, label=name)


def _bars(ax: Axes, x: np.ndarray, curves: list[tuple[Bands, Any, str]]) -> None:
    """Of a filter with one lag, medians and bands side by side."""
    for place, (found, colour, name) in enumerate(curves):
        middle = found.line.values
        ends = None if found.wide is None else np.abs(found.wide.sel(bound=["lower", "upper"]).values - middle)
        ax.errorbar([place], middle, yerr=ends, color=colour, marker="o", markersize=5, capsize=3, linewidth=1.6, label=name)
    ax.set_xlim(-0.7, len(curves) - 0.3)
    ax.set_xticks([(len(curves) - 1) / 2], [f"{x[0]:g}"])


def _named(found: Drift, block: int) -> str:
    row = found.table.isel(block=block)
    units = found.table["start"].attrs["units"]
    span = f"{float(row['start']):.4g}-{float(row['stop']):.4g} {units}"
    label = row["block"].item()
    return span if isinstance(label, int) else f"{label} ({span})"


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))
