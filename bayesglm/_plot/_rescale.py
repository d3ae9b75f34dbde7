"""Pictures of time rescaling: the KS plot with its bounds, and the correlation of neighbouring intervals."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._checking._rescaled import NOT, REJECTED, Rescaled
from bayesglm._plot._style import COLOURS, FAINT, INK, chosen, legend, look, new_figure, zero_line
from bayesglm.engine.goodness import ks_bound

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 4
_THIN = 0.04  # bounds narrower than this hide in the line: about 1,100 intervals
_PROB = 0.95
_LETTERS = 12.5  # of a title, an inch


def rescale(rescaled: Rescaled, *, neurons: Any = None, figure: Any = None) -> Any:
    """Draw observed against predicted quantiles (a KS plot) and the correlation of neighbours, a row a neuron.

    Parameters
    ----------
    rescaled : Rescaled
        Made by ``bg.rescale``.
    neurons : sequence of labels, optional
        Which to draw; by default the four that are least likely.
    figure : matplotlib Figure or SubFigure, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Left: the share of rescaled intervals below each quantile of the fit (of more than about 1,100, its difference
        from the quantile); a true model stays between the grey bounds in 95 % of runs, for this neuron alone. The
        coloured band holds 90 % of the posterior draws. Right: the correlation of intervals 1 to 10 apart, with 95 %
        bounds for each alone.

    Raises
    ------
    ValueError
        For anything but a record of ``bg.rescale``, or an unknown neuron.

    References
    ----------
    Brown, Barbieri, Ventura, Kass & Frank 2002.
    """
    if not isinstance(rescaled, Rescaled):
        raise ValueError(f"plot.rescale wants the result of bg.rescale(fit, data), got {type(rescaled).__name__}.")
    order = np.argsort(rescaled.table["p_adjusted"].values, kind="stable")
    labels, note = chosen(rescaled.table["neuron"].values[order], neurons, _MOST)
    with look():
        drawn = new_figure(figure, 6.8, 2.7 * len(labels) + 0.9)
        axes = drawn.subplots(len(labels), 2, squeeze=False)
        for (left, right), label in zip(axes, labels, strict=True):
            table = rescaled.table.sel(neuron=label)
            _quantiles(left, rescaled, table, rescaled.curves.sel(neuron=label))
            _correlation(right, rescaled, table)
        axes[-1, 0].set_xlabel("quantile of the fit")
        axes[-1, 1].set_xlabel(f"lag ({rescaled.table.attrs['lag_unit']})")
        lines = textwrap.wrap(f"{rescaled.response}: {rescaled.verdict}", int(_LETTERS * drawn.bbox.width / drawn.dpi))
        title = "\n".join([*lines, *([f"the least likely: {note}"] if note else [])])
        drawn.suptitle(title, color=COLOURS[1] if rescaled.rejected else INK)
        legend(drawn, axes[0, 0])
    return drawn


def _quantiles(ax: Axes, rescaled: Rescaled, table: xr.Dataset, curve: xr.Dataset) -> None:
    """Observed shares over predicted quantiles; of many intervals their difference, which could not be seen otherwise."""
    x, n = curve["quantile"].values, int(table["n"])
    bound = ks_bound(n, _PROB) if n else 1.0
    base = x if bound < _THIN else np.zeros_like(x)
    ax.set_title(f"{_name(rescaled, table)}{n} {rescaled.unit}, {_judgement(table)}", loc="left", color=COLOURS[1] if table["status"] == REJECTED else INK)
    ax.plot(x[[0, -1]], (x - base)[[0, -1]], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5)
    ax.fill_between(x, x - base - bound, x - base + bound, color=FAINT, alpha=0.45, linewidth=0, label=f"{_PROB:.0%} of true models", zorder=0.2)
    if rescaled.draws > 1:
        label = f"90% of {rescaled.draws} draws"
        ax.fill_between(x, curve["low"] - base, curve["high"] - base, color=COLOURS[0], alpha=0.35, linewidth=0, label=label)
    name = "averaged prediction" if rescaled.draws > 1 else "point estimate"
    ax.plot(x, curve["share"] - base, color=COLOURS[0], linewidth=1.4, label=name)
    if bound < _THIN:
        reach = 1.15 * np.nanmax([bound, *np.abs([curve["low"] - x, curve["high"] - x, curve["share"] - x]).ravel()])
        ax.set(xlim=(0, 1), ylim=(-reach, reach), ylabel=f"share of {rescaled.unit} - quantile")
    else:
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", ylabel=f"share of {rescaled.unit}")


def _correlation(ax: Axes, rescaled: Rescaled, table: xr.Dataset) -> None:
    """Correlations of normal scores over lags."""
    lags, value = table["lag"].values, table["autocorrelation"].values
    half = 1.96 / np.sqrt(np.maximum(table["pairs"].values, 1))
    ax.fill_between(lags, -half, half, color=FAINT, alpha=0.45, linewidth=0)
    zero_line(ax)
    ax.vlines(lags, 0, value, color=COLOURS[0], linewidth=1.4)
    ax.plot(lags, value, "o", color=COLOURS[0], markersize=4)
    reach = 1.15 * max(0.1, np.nanmax(np.abs(value), initial=0.0), half.max() if table["status"] != NOT else 0.1)
    ax.set(xlim=(0.4, lags[-1] + 0.6), ylim=(-reach, reach), ylabel="correlation of neighbours", xticks=lags)
    p = float(table["autocorrelation_p"])
    ax.set_title("" if np.isnan(p) else f"all lags together: p = {p:.2g}", loc="left")


def _name(rescaled: Rescaled, table: xr.Dataset) -> str:
    return f"neuron {table['neuron'].values}: " if rescaled.table.sizes["neuron"] > 1 else ""


def _judgement(table: xr.Dataset) -> str:
    p = float(table["p_value"])
    return str(table["status"].values) if np.isnan(p) else f"p = {p:.2g}"
