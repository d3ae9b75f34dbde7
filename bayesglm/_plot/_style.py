"""What the pictures share: colours, figures, bands, axes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import is_time
from bayesglm._filters import LOG_LINKS, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayesglm._fit import Fit

# Okabe & Ito's palette, told apart by every kind of colour vision; black is kept for spikes and zero lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
INK, FAINT = "#333333", "#BBBBBB"
WIDE, NARROW = 0.9, 0.5
_FEW = 12  # points of a curve that are marked one by one
POINT = "point estimate (MAP): no bands"
_LOOK = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.titlesize": 10.0,
    "figure.dpi": 110.0,
    "savefig.dpi": 150.0,
    "image.cmap": "viridis",
}


class Bands(NamedTuple):
    """A curve and the credible bands around it; of a point estimate the curve alone."""

    line: xr.DataArray
    narrow: xr.DataArray | None
    wide: xr.DataArray | None

    def at(self, **where: Any) -> Bands:
        """The curve at some labels."""
        return Bands(*(None if part is None else part.sel(where) for part in self))

    def where(self, **positions: Any) -> Bands:
        """The curve at some positions."""
        return Bands(*(None if part is None else part.isel(positions) for part in self))


@contextlib.contextmanager
def look() -> Iterator[None]:
    """The house's style, for what is drawn inside and nothing else."""
    import matplotlib

    with matplotlib.rc_context(_LOOK):
        yield


def new_figure(figure: Figure | SubFigure | None, width: float, height: float) -> Any:
    """The figure given, or a new one in inches.

    A new one is closed for pyplot at once: a notebook shows what a cell returns, once, and nothing piles up.
    """
    if figure is not None:
        return figure
    import matplotlib.pyplot as plt

    made = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(made)
    return made


def axes_of(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes given, or those of a new figure."""
    return new_figure(None, width, height).add_subplot() if ax is None else ax


def bands(draws: xr.DataArray) -> Bands:
    """Median, 50 % and 90 % band over chain and draw; the value itself of a point estimate."""
    if draws.attrs.get("posterior") == "point":
        return Bands(draws.isel(chain=0, draw=0, drop=True), None, None)
    wide = interval(draws, WIDE)
    return Bands(wide.sel(bound="median", drop=True), interval(draws, NARROW), wide)


def draw_band(ax: Axes, x: np.ndarray, found: Bands, colour: str, label: str = "", step: bool = False) -> None:
    """A curve over its two bands; without a label of its own it is named median, and the bands by their probability."""
    how: dict[str, Any] = {"step": "mid"} if step else {}
    parts = ((found.wide, 0.22, f"{WIDE:.0%} band"), (found.narrow, 0.38, f"{NARROW:.0%} band"))
    for part, alpha, name in parts:
        if part is not None:
            low, high = part.sel(bound="lower").values, part.sel(bound="upper").values
            ax.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0, label="" if label else name, **how)
    name = label or ("median" if found.wide is not None else "point estimate")
    dots = {"marker": "o", "markersize": 3.0} if x.size <= _FEW else {}  # where a line could pass for more points than there are
    ax.plot(x, found.line.values, color=colour, linewidth=1.0 if step else 1.6, label=name, drawstyle="steps-mid" if step else "default", **dots)


def zero_line(ax: Axes, at: float = 0.0) -> None:
    """The line of no effect."""
    ax.axhline(at, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5)


def lag_axis(lags: np.ndarray, fit: Fit) -> tuple[np.ndarray, str]:
    """Lags in the unit that reads best, and its label."""
    if fit.data is not None and not is_time(fit.data):
        return lags, "lag (trials)"
    return (lags * 1000, "lag (ms)") if np.abs(lags).max() < 1 else (lags, "lag (s)")


def gain_axis(ax: Axes, label: str = "gain") -> None:
    """exp of the left axis on the right: by how much the rate is multiplied."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = np.exp(np.clip(ax.get_ylim(), -50, 50))
    ticks = gain_ticks(float(low), float(high))
    right = ax.secondary_yaxis("right", functions=(np.exp, _log))
    right.yaxis.set_major_locator(FixedLocator(ticks.tolist()))
    right.yaxis.set_minor_locator(NullLocator())
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    right.set_ylabel(label)


def gain_ticks(low: float, high: float) -> np.ndarray:
    """Round gains between two bounds: 1-2-5 where they span much, equally spaced where they do not."""
    from matplotlib.ticker import MaxNLocator

    if high / low < 6:
        ticks = np.asarray(MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(low, high))
        return np.round(ticks[(ticks >= low) & (ticks <= high)], 10)
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    # Decades alone once 1-2-5 would crowd the axis.
    steps = (1, 2, 5) if np.log10(high / low) < 2.5 else (1,)
    ticks = np.array([step * 10.0**decade for decade in decades for step in steps])
    return ticks[(ticks >= low) & (ticks <= high)]


def _log(gain: Any) -> np.ndarray:
    return np.log(np.maximum(gain, 1e-300))  # matplotlib asks beyond the axis too


def log_link(fit: Fit) -> bool:
    """Whether effects multiply the rate."""
    return getattr(getattr(fit.model, "family", None), "link", None) in LOG_LINKS


def chosen(labels: np.ndarray, wanted: Any, most: int, what: str = "neurons") -> tuple[list, str]:
    """Labels to draw, the first ``most`` by default, and a note on those left out."""
    known = labels.tolist()
    if wanted is None:
        kept = known[:most]
        return kept, f"{len(kept)} of {len(known)} {what}; {what}= picks others" if len(kept) < len(known) else ""
    listed = list(wanted) if isinstance(wanted, Sequence | np.ndarray) and not isinstance(wanted, str) else [wanted]
    unknown = [label for label in listed if label not in known]
    if unknown or not listed:
        raise ValueError(f"{what}={wanted!r}: there is no {unknown or 'label'}; there are {known[:12]}{' ...' if len(known) > 12 else ''}.")
    return listed, ""


def legend(figure: Any, ax: Axes, handles: Any = None, labels: Any = None) -> None:
    """One legend for all panels, below them where the figure's layout can make room there."""
    if handles is None:
        handles, labels = ax.get_legend_handles_labels()
    engine = figure.get_layout_engine()
    if engine is not None and not engine.adjust_compatible:  # constrained layout
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    else:
        ax.legend(handles, labels, loc="best")


def caution(fit: Fit, *notes: str) -> dict[str, str]:
    """A title's text and colour: the notes, then what a reader must know before looking at the curves, a line each."""
    said = [*notes, POINT if fit.point else "", "" if fit.stats["converged"] else "the fit did NOT CONVERGE"]
    return {"text": "\n".join(note for note in said if note), "color": INK if fit.stats["converged"] else COLOURS[1]}


def heading(figure: Any, fit: Fit, *notes: str) -> None:
    """The figure's title, where there is anything to say."""
    title = caution(fit, *notes)
    if title["text"]:
        figure.suptitle(title["text"], color=title["color"])
