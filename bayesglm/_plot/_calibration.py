"""Reliability curves: how often what was given a probability happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._plot._style import COLOURS, FAINT, INK, axes_of, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHIFT = 0.006  # between curves that are drawn side by side
_WANTED = ("predicted", "observed", "low", "high", "count")


def calibration(curves: xr.Dataset | Mapping[str, xr.Dataset], *, ax: Axes | None = None) -> Any:
    """Draw the share of rows in which what was decoded came true against its decoded probability, with intervals.

    Parameters
    ----------
    curves : xarray.Dataset or mapping of names to them
        Made by ``bg.reliability``.
    ax : matplotlib Axes, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        On the dashed line probabilities are right; below it what was decoded is too sure of itself (for probabilities
        above a half, and for credible sets). The area of a point goes with its rows.

    Raises
    ------
    ValueError
        For anything but reliability curves.
    """
    named = dict(curves) if isinstance(curves, Mapping) and not isinstance(curves, xr.Dataset) else {"": curves}
    wrong = [type(curve).__name__ for curve in named.values() if not (isinstance(curve, xr.Dataset) and all(name in curve for name in _WANTED))]
    if wrong or not named:
        raise ValueError(f"plot.calibration wants the result of bg.reliability(probabilities, truth), or a mapping of names to such; got {wrong or 'none'}.")
    with look():
        drawn = axes_of(ax, 4.4, 4.2)
        drawn.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5, label="probabilities are right")
        largest = max(int(curve["count"].max()) for curve in named.values())
        for place, (name, curve) in enumerate(named.items()):
            _curve(drawn, curve, name, COLOURS[place % len(COLOURS)], _SHIFT * (place - (len(named) - 1) / 2), largest)
        drawn.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=_xlabel(named), ylabel=_ylabel(named))
        drawn.set_xticks(np.linspace(0, 1, 6))
        drawn.set_yticks(np.linspace(0, 1, 6))
        drawn.set_aspect("equal")
        drawn.grid(color=FAINT, linewidth=0.4, alpha=0.5)
        drawn.legend(loc="upper left")
    return drawn.figure


def _curve(ax: Axes, curve: xr.Dataset, name: str, colour: str, shift: float, largest: int) -> None:
    x, y = curve["predicted"].values + shift, curve["observed"].values
    ax.vlines(x, curve["low"].values, curve["high"].values, color=colour, linewidth=1.4, alpha=0.6)
    label = f"{name}, {curve.attrs['n']} rows" if name else f"{curve.attrs['n']} rows, {curve.attrs['prob']:.0%} intervals"
    ax.plot(x, y, color=colour, linewidth=1.2, label=label)
    ax.scatter(x, y, s=8 + 28 * curve["count"].values / largest, color=colour, zorder=3)


def _of(named: Mapping[str, xr.Dataset]) -> str:
    said = {str(curve.attrs.get("of", "decoded probability")) for curve in named.values()}
    return said.pop() if len(said) == 1 else "decoded probability"


def _xlabel(named: Mapping[str, xr.Dataset]) -> str:
    of = _of(named)
    return of if of.startswith("mass") else f"decoded {of}" if of.startswith("P(") else of


def _ylabel(named: Mapping[str, xr.Dataset]) -> str:
    if _of(named).startswith("mass"):
        return "share of rows with the truth inside"
    return "share of rows in which it was the truth"
