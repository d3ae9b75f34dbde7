"""Pictures of decodings: the posterior over time, and the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._data import is_time, row_dim
from bayesglm._decoding._coverage import grid_in, truth_of
from bayesglm._plot._style import COLOURS, INK, look, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 600  # rows drawn unless asked for
_SHOWN = 0.995  # quantile of the largest probabilities at which the colours end


def decoded(decoded: xr.Dataset, truth: Any = None, *, span: tuple[float, float] | None = None, ax: Axes | None = None) -> Any:
    """Draw a decoded posterior over time: dark where it is probable, with the truth as a line.

    Parameters
    ----------
    decoded : xarray.Dataset
        Made by ``bg.decode``.
    truth : array (row,), optional
        One value a decoded row. Default: the target of the recording, where it has it.
    span : (float, float), optional
        First and last time in s (row, on trial rows). Default: the first 600 rows.
    ax : matplotlib Axes, optional
        To draw one target into.

    Returns
    -------
    matplotlib.figure.Figure
        Of two targets a panel each, with the other summed out; of a stimulus its mean and its 90 % band. Gaps in time
        stay empty.

    Raises
    ------
    ValueError
        For anything but a decoding, or a span without rows.
    """
    known = truth is not None or "truth" in getattr(decoded, "data_vars", ())
    values = truth_of(decoded, truth) if known else None
    rows, note = _rows(decoded, span)
    targets = np.atleast_1d(decoded.attrs["target"]).tolist()
    if ax is not None and len(targets) > 1:
        raise ValueError("plot.decoded(ax=) draws one target, and this decoding has two: leave ax out.")
    with look():
        panels = [ax] if ax is not None else list(new_figure(None, 8.0, 0.9 + 2.2 * len(targets)).subplots(len(targets), 1, squeeze=False)[:, 0])
        for i, panel in enumerate(panels):
            true = None if values is None else values[i][rows]
            (_posterior if "probability" in decoded else _band)(panel, decoded, i, rows, true)
        panels[-1].set_xlabel("time (s)" if is_time(decoded) else "trial")
        panels[0].set_title(_title(decoded, note), loc="left", color=COLOURS[1] if "overconfident" in decoded.attrs.get("verdict", "") else INK)
    return panels[0].figure


def _rows(decoded: xr.Dataset, span: tuple[float, float] | None) -> tuple[np.ndarray, str]:
    """Which rows are drawn, and what to say about it."""
    if not isinstance(decoded, xr.Dataset) or "target" not in decoded.attrs:
        raise ValueError(f"plot.decoded wants what bg.decode returns; got {type(decoded).__name__}.")
    at = decoded[row_dim(decoded)].values
    if span is None:
        return np.arange(min(len(at), _MOST)), f"first {_MOST} of {len(at)} rows; span= picks others" if len(at) > _MOST else ""
    rows = np.flatnonzero((at >= span[0]) & (at <= span[1]))
    if not rows.size:
        raise ValueError(f"plot.decoded(span={span!r}) holds no row; the decoding runs from {at[0]:g} to {at[-1]:g}.")
    return rows, ""


def _posterior(ax: Axes, decoded: xr.Dataset, i: int, rows: np.ndarray, truth: np.ndarray | None) -> None:
    """One target's probabilities as an image on a regular raster of time."""
    grid, row = grid_in(decoded), row_dim(decoded)
    target = grid.targets[i]
    law = decoded["probability"].isel({row: rows}).transpose(row, *grid.targets)
    law = law.sum([name for name in grid.targets if name != target]).values
    at, step = decoded[row].values[rows].astype(float), decoded.attrs["window"] if is_time(decoded) else 1.0
    place = np.round((at - at[0]) / step).astype(int)
    image = np.full((place[-1] + 1, law.shape[1]), np.nan)
    image[place] = law
    numbers = np.arange(law.shape[1]) if grid.categories[i] else grid.axes[i].astype(float)
    side = np.diff(numbers).mean() / 2
    edges = np.r_[numbers[0] - side, (numbers[1:] + numbers[:-1]) / 2, numbers[-1] + side]
    times = at[0] + step * (np.arange(len(image) + 1) - 0.5)
    top = float(np.quantile(law.max(1), _SHOWN))
    drawn = ax.pcolormesh(times, edges, image.T, cmap="Greys", vmin=0.0, vmax=top, rasterized=True)
    ax.figure.colorbar(drawn, ax=ax, label="probability", pad=0.01, aspect=12)
    if truth is not None:
        _truth(ax, grid, i, at, step, truth)
    ax.set_ylabel(_labelled(decoded[target], target))
    if grid.categories[i]:
        ax.set_yticks(numbers, [str(level) for level in grid.axes[i]])
    ax.set_ylim(edges[0], edges[-1])


def _truth(ax: Axes, grid: Any, i: int, at: np.ndarray, step: float, truth: np.ndarray) -> None:
    """The true values; the line is broken over gaps and over a circle's seam."""
    if grid.categories[i]:
        order = {level: place for place, level in enumerate(grid.axes[i].tolist())}
        shown = np.array([order.get(value, np.nan) for value in truth.tolist()], float)
    else:
        turn = grid.periods[i]
        low = 0.0 if turn is None else (3 * grid.axes[i][0] - grid.axes[i][1]) / 2  # the lower edge of the image
        shown = truth.astype(float) if turn is None else low + np.mod(truth - low, turn)
    breaks = np.diff(at) > 1.5 * step
    if grid.periods[i] is not None:
        breaks |= np.abs(np.diff(shown)) > grid.periods[i] / 2
    cut = np.flatnonzero(breaks) + 1
    style = "-" if not grid.categories[i] else "|"
    ax.plot(np.insert(at, cut, np.nan), np.insert(shown, cut, np.nan), style, color=COLOURS[1], linewidth=1.1, markersize=8, label="truth")
    if i == 0:
        _legend(ax)


def _band(ax: Axes, decoded: xr.Dataset, _: int, rows: np.ndarray, truth: np.ndarray | None) -> None:
    """A stimulus: its mean, its band and the truth."""
    row, target = row_dim(decoded), decoded.attrs["target"]
    if decoded["estimate"].ndim > 1:
        inner = {str(dim): 0 for dim in decoded["estimate"].dims if dim != row}
        raise ValueError(
            f"plot.decoded draws a stimulus of one number a row; {target!r} has {len(inner)} more dims: pick an entry, as in decoded.isel({inner})."
        )
    part = decoded.isel({row: rows})
    at = part[row].values.astype(float)
    ax.fill_between(at, part["lower"].values, part["upper"].values, color=COLOURS[0], alpha=0.22, linewidth=0, label=f"{decoded.attrs['prob']:.0%} band")
    ax.plot(at, part["estimate"].values, color=COLOURS[0], linewidth=1.6, label="posterior mean")
    if truth is not None:
        ax.plot(at, truth, color=COLOURS[1], linewidth=1.0, label="truth", zorder=1)
    ax.set_ylabel(_labelled(decoded["estimate"], target))
    ax.margins(x=0)
    _legend(ax)


def _legend(ax: Axes) -> None:
    """Above the axes, so that it hides nothing."""
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0.2, ncols=3)


def _labelled(array: xr.DataArray, name: str) -> str:
    turn = array.attrs.get("period")
    unit = array.attrs.get("units") or ("" if turn is None else {360.0: "deg", 180.0: "deg"}.get(float(turn), "rad" if np.isclose(turn, 2 * np.pi) else ""))
    return f"{array.attrs.get('long_name', name)} ({unit})" if unit else str(array.attrs.get("long_name", name))


def _title(decoded: xr.Dataset, note: str) -> str:
    said = [decoded.attrs.get("verdict", ""), note]
    return "\n".join(part for part in said if part)
