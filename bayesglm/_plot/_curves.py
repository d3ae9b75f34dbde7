"""Tuning curves and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesglm import _tuning as verbs
from bayesglm._plot._style import COLOURS, WIDE, Bands, bands, chosen, draw_band, heading, legend, look, new_figure, zero_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayesglm._fit import Fit

_MOST = {1: 8, 2: 3}  # neurons drawn by default, for one column and for two
_ACROSS = 4


def tuning(
    fit: Fit, term: str, kind: Literal["rate", "gain"] = "rate", *, at: Any = None, neurons: Any = None, figure: Figure | SubFigure | None = None
) -> Any:
    """Draw the tuning to a term's column: a curve with its 50 % and 90 % bands, or a map for two columns.

    Parameters
    ----------
    fit : Fit
        Of a point estimate (MAP) there is no band, and the title says so.
    term : str
        A ``Tuning`` term, or a ``Linear`` term of one number a row.
    kind : "rate" or "gain"
        The rate averaged over the other covariates, or the gain over the average (see ``bg.tuning``).
    at : array, optional
        Values of the column (see ``bg.tuning``).
    neurons : labels, optional
        By default the first eight; three of a map.
    figure : matplotlib Figure or SubFigure, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        A categorical column has points with bars. Two columns have two panels a neuron: the median and the width of the
        90 % band; where one of the two is categorical, a curve with its 90 % band a level instead.

    Raises
    ------
    ValueError
        For an unknown ``kind`` or neuron, or a term that has no tuning.
    """
    if kind not in ("rate", "gain"):
        raise ValueError(f"plot.tuning(kind={kind!r}): 'rate' or 'gain'.")
    draws = verbs.tuning(fit, term, at)[kind]
    columns = [dim for dim in draws.dims if dim not in ("chain", "draw", "neuron")]
    who = "neuron " if "neuron" in draws.dims else ""
    draws = (draws if who else draws.expand_dims(neuron=[fit.model.response])).assign_attrs(who=who)
    along, level = _axes_of(draws, columns)
    labels, note = chosen(draws["neuron"].values, neurons, _MOST[1 if along else 2])
    found = bands(draws)
    with look():
        made = _curves(found, along, labels, draws, figure, level) if along else _maps(found, columns, labels, draws, figure, fit.point)
        heading(made, fit, note)
    return made


def _axes_of(draws: xr.DataArray, columns: list[str]) -> tuple[str, str]:
    """The column along which curves run, empty for a map; and the one that has a curve a level, empty for none."""
    if len(columns) == 1:
        return columns[0], ""
    levels = [column for column in columns if _categorical(draws[column])]
    if len(levels) != 1 or draws.sizes[levels[0]] > len(COLOURS):
        return "", ""
    return next(column for column in columns if column != levels[0]), levels[0]


def _curves(found: Bands, column: str, labels: list, draws: xr.DataArray, figure: Any, level: str = "") -> Any:
    across = min(_ACROSS, len(labels))
    down = -(-len(labels) // across)
    made = new_figure(figure, max(2.9 * across, 4.4), 2.5 * down + 0.4)
    axes = made.subplots(down, across, squeeze=False)
    for ax, label in zip(axes.flat, labels, strict=False):
        here = found.at(neuron=label)
        if level:
            _curve_a_level(ax, here, column, level)
        else:
            _levels(ax, here, column) if _categorical(draws[column]) else _curve(ax, here, column)
        title = f"{column} by {level}" if level else column
        ax.set(xlabel=_axis_label(draws[column]), ylabel=_value_label(draws), title=f"{title}, {draws.attrs['who']}{label}")
        if draws.name == "gain":
            zero_line(ax, 1.0 if str(draws.attrs["units"]).startswith("gain") else 0.0)
    for ax in axes.flat[len(labels) :]:
        ax.remove()
    legend(made, axes[0, 0])
    return made


def _curve_a_level(ax: Axes, found: Bands, column: str, level: str) -> None:
    """Curves in one panel, each with its wide band alone."""
    for value, colour in zip(found.line[level].values, COLOURS, strict=False):
        here = found.at(**{level: value})._replace(narrow=None)
        name = f"{value:g}" if np.issubdtype(np.asarray(value).dtype, np.number) else str(value)  # two columns share a type: levels may be 0.0
        _curve(ax, here, column, colour, f"{level} {name}" + ("" if found.wide is None else f", {WIDE:.0%} band"))


def _curve(ax: Axes, found: Bands, column: str, colour: str = COLOURS[0], label: str = "") -> None:
    x = found.line[column].values.astype(float)
    draw_band(ax, x, found, colour, label)
    ax.margins(x=0)
    turn = found.line[column].attrs.get("period")
    if turn == 360:
        ax.set_xticks(np.arange(0, 361, 90))
    elif turn is not None and np.isclose(turn, 2 * np.pi):
        ax.set_xticks(np.arange(5) * np.pi / 2, ["0", "π/2", "π", "3π/2", "2π"])


def _levels(ax: Axes, found: Bands, column: str) -> None:
    """One point a level: there is nothing between levels that a line could pass through."""
    x = np.arange(found.line.size)
    for part, width, name in ((found.wide, 1.4, "90% interval"), (found.narrow, 4.0, "50% interval")):
        if part is not None:
            ax.vlines(x, part.sel(bound="lower"), part.sel(bound="upper"), color=COLOURS[0], linewidth=width, alpha=0.6, label=name)
    ax.plot(x, found.line.values, "o", color=COLOURS[0], markersize=5, label="point estimate" if found.wide is None else "median")
    ax.set_xticks(x, [str(level) for level in found.line[column].values])
    ax.set_xlim(-0.5, x.size - 0.5)


def _maps(found: Bands, columns: list[str], labels: list, draws: xr.DataArray, figure: Any, point: bool) -> Any:
    shown = {"median": found.line}
    if found.wide is not None:
        shown[f"width of the {WIDE:.0%} band"] = found.wide.sel(bound="upper", drop=True) - found.wide.sel(bound="lower", drop=True)
    made = new_figure(figure, 4.2 * len(shown), 3.2 * len(labels) + 0.3)
    axes = made.subplots(len(labels), len(shown), squeeze=False)
    for row, label in zip(axes, labels, strict=True):
        for ax, (what, array), colours in zip(row, shown.items(), ("viridis", "cividis"), strict=False):
            values = array.sel(neuron=label).transpose(columns[1], columns[0])
            image = ax.pcolormesh(*(values[column].values.astype(float) for column in columns), values.values, cmap=colours, shading="nearest")
            made.colorbar(image, ax=ax, label=_value_label(draws))
            ax.set(xlabel=_axis_label(draws[columns[0]]), ylabel=_axis_label(draws[columns[1]]))
            ax.set_title(f"{draws.attrs['who']}{label}: {'point estimate' if point else what}")
    return made


def _categorical(axis: xr.DataArray) -> bool:
    """Levels of ``basis.OneHot``: names, or so few numbers that they are no grid."""
    return axis.dtype.kind not in "fiu" or axis.size < 10


def _axis_label(axis: xr.DataArray) -> str:
    units = axis.attrs.get("units", {2 * np.pi: "rad", 360.0: "degrees", 180.0: "degrees"}.get(axis.attrs.get("period", 0.0), ""))
    return f"{axis.name} ({units})" if units else str(axis.name)


def _value_label(draws: xr.DataArray) -> str:
    name, units = str(draws.attrs.get("long_name", draws.name)), str(draws.attrs["units"])
    return units if units.startswith((name, "difference")) else f"{name} ({units})"
