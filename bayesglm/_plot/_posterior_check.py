"""The picture of a posterior predictive check: a panel a statistic, replicates and what was observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._checking._posterior_checked import LEVEL, PosteriorCheck
from bayesglm._plot._style import COLOURS, FAINT, INK, chosen, look, new_figure, zero_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 3
_PANEL = (3.1, 2.15)  # inches
_BAND = "90 % of replicates"


def posterior_check(record: PosteriorCheck, *, neuron: Any = None, statistics: Sequence[str] | None = None, figure: Figure | None = None) -> Any:
    """Draw every statistic of a posterior predictive check: the replicates' distribution or band, and what was observed.

    Parameters
    ----------
    record : PosteriorCheck
        Made by ``bg.posterior_check``.
    neuron : label, optional
        By default the one whose statistics, taken together, have the smallest p-value.
    statistics : names, optional
        Default: all.
    figure : matplotlib Figure, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Observed values are black, orange where they stand out at 5 % over all statistics and neurons. Bands are pointwise.
        The rootogram hangs: bars of the roots of the observed numbers hang from the roots of the expected ones, and should end
        within the band around zero.

    Raises
    ------
    ValueError
        For anything but a posterior check; unknown neurons or statistics.

    References
    ----------
    Kleiber & Zeileis 2016, Visualizing count data regressions using rootograms.
    """
    if not isinstance(record, PosteriorCheck):
        raise ValueError(f"plot.posterior_check wants the result of bg.posterior_check(fit, ...), got {type(record).__name__}.")
    names, _ = chosen(record.table["statistic"].values, statistics, record.table.sizes["statistic"], "statistics")
    who = _who(record, neuron)
    with look():
        down = -(-len(names) // _ACROSS)
        across = min(_ACROSS, len(names))
        drawn = new_figure(figure, max(6.0, _PANEL[0] * across), _PANEL[1] * down + 0.7)
        axes = np.ravel(drawn.subplots(down, across, squeeze=False))
        for ax, name in zip(axes, names, strict=False):
            _panel(ax, record, name, who)
        for ax in axes[len(names) :]:
            ax.remove()
        drawn.suptitle(_title(record, who), x=0.01, ha="left")
        _legend(drawn)
    return drawn


def _who(record: PosteriorCheck, neuron: Any) -> dict[str, Any]:
    if "neuron" not in record.table.dims:
        return {}
    if neuron is not None:
        [label], _ = chosen(record.table["neuron"].values, [neuron], 1)
        return {"neuron": label}
    worst = record.table["p_adjusted"].min("statistic").fillna(2.0) + 0.01 * record.p_neuron.fillna(2.0)
    return {"neuron": record.table["neuron"].values[int(worst.argmin("neuron"))]}


def _title(record: PosteriorCheck, who: dict[str, Any]) -> str:
    kind = "one step ahead, given the real past" if record.kind == "one_step" else "free-running"
    name = f"neuron {who['neuron']}: " if who else ""
    everyone = f" of all {record.table.sizes['neuron']} neurons" if record.table.sizes.get("neuron", 1) > 1 else ""
    verdict = "nothing stands out" if record.passed else "the fit does not describe these data"
    what = f"{name}{record.replicates} replicates, {kind}, {'in sample' if record.in_sample else 'held out'}"
    return f"{what}\n{verdict}: p = {record.p_joint:.2g} jointly over the statistics{everyone}"


def _panel(ax: Axes, record: PosteriorCheck, name: str, who: dict[str, Any]) -> None:
    """One statistic."""
    row = record.table.sel(statistic=name, **who)
    if not np.isfinite(float(row["observed"])):
        ax.text(0.5, 0.5, "not defined here", ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()
    else:
        colour = COLOURS[1] if float(row["p_adjusted"]) <= LEVEL else INK
        if name in record.curves:
            curve = record.curves[name].sel(who)
            _CURVES.get(name, _along)(ax, curve, colour)
        else:
            _distribution(ax, record.replicated.sel(statistic=name, **who).values, float(row["observed"]), colour)
            ax.set_xlabel(row["units"].item() if row["units"].item() != "1" else "")
            ax.set(yticks=[], ylabel="replicates")
    ax.set_title(_wrapped(f"{row['title'].item()}, p = {float(row['p_value']):.2g}"), loc="left", fontsize=8.5)


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text[:1].upper() + text[1:], 42))


def _distribution(ax: Axes, values: np.ndarray, observed: float, colour: str) -> None:
    """A histogram of replicates; of few distinct values a bar each."""
    distinct = np.unique(values)
    if distinct.size <= 12 and np.all(values == np.round(values)):
        ax.bar(distinct, [(values == value).sum() for value in distinct], width=0.8, color=COLOURS[0], alpha=0.45)
    else:
        ax.hist(values, bins=20, color=COLOURS[0], alpha=0.45)
    ax.axvline(observed, color=colour, linewidth=2.0)
    ax.margins(x=0.08)


def _along(ax: Axes, curve: xr.Dataset, colour: str) -> None:
    """A curve over its axis, with the band of the replicates."""
    dim = next(iter(curve.dims))
    x, label = _scaled(curve[dim].values, str(dim))
    ax.fill_between(x, curve["low"], curve["high"], color=COLOURS[0], alpha=0.3, linewidth=0)
    ax.plot(x, curve["mean"], color=COLOURS[0], linewidth=1.2)
    ax.plot(x, curve["observed"], "o-", color=colour, markersize=3, linewidth=0.8)
    ax.set(xlabel=label, ylabel=curve.attrs["units"] if curve.attrs["units"] != "1" else "")


def _scaled(x: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    """An axis in the unit that reads best."""
    words = {"lag": "lag", "interval": "interval", "trial_time": "time in the trial"}
    if name not in words:
        return x, name
    return (1000 * x, f"{words[name]} (ms)") if np.abs(x).max() < 1 else (x, f"{words[name]} (s)")


def _correlation(ax: Axes, curve: xr.Dataset, colour: str) -> None:
    _along(ax, curve, colour)
    zero_line(ax)
    if curve["lag"].size > 3:
        ax.set_xscale("log")
    ax.set_ylabel("correlation")


def _intervals(ax: Axes, curve: xr.Dataset, colour: str) -> None:
    """Classes of intervals side by side, for each is twice as wide as the last."""
    place = np.arange(curve["interval"].size)
    _steps(ax, place, curve, colour)
    edges = 1000 * curve["to"].values
    shown = place[1 :: max(1, place.size // 4)]
    ax.set_xticks(shown, [f"{edges[i]:.3g}" for i in shown])
    ax.set(xlabel="interval up to (ms)", ylabel="share of spikes")


def _steps(ax: Axes, place: np.ndarray, curve: xr.Dataset, colour: str) -> None:
    ax.bar(place, curve["high"] - curve["low"], 0.9, curve["low"], color=COLOURS[0], alpha=0.3)
    ax.hlines(curve["mean"], place - 0.45, place + 0.45, color=COLOURS[0], linewidth=1.2)
    ax.plot(place, curve["observed"], "o", color=colour, markersize=3.5)


def _transform(ax: Axes, curve: xr.Dataset, colour: str) -> None:
    place = np.arange(curve["probability"].size)
    _steps(ax, place, curve, colour)
    ax.set_xticks([-0.5, (place.size - 1) / 2, place.size - 0.5], ["0", "0.5", "1"])
    ax.set(xlabel="probability of a smaller response", ylabel="share of rows", ylim=(0, 1.08 * float(curve[["observed", "high"]].to_array().max())))


def _classes(ax: Axes, curve: xr.Dataset, colour: str) -> None:
    place = np.arange(curve["class"].size)
    _steps(ax, place, curve, colour)
    ax.set_xticks(place, [str(label) for label in curve["class"].values])
    ax.set(xlabel="class", ylabel="share of rows", ylim=(0, None))


def _hanging(ax: Axes, curve: xr.Dataset, colour: str) -> None:
    """Roots of observed numbers, hung from the roots of the expected ones."""
    some = np.flatnonzero((curve["observed"].values > 0) | (curve["high"].values > 0))
    part = curve.isel(count=slice(0, int(some[-1]) + 1 if some.size else 1))
    place = np.arange(part["count"].size)
    mean, low, high, observed = (np.sqrt(part[name].values) for name in ("mean", "low", "high", "observed"))
    ax.bar(place, observed, 0.75, mean - observed, color=FAINT, edgecolor=colour, linewidth=0.8)
    ax.bar(place, high - low, 0.9, mean - high, color=COLOURS[0], alpha=0.4)
    ax.plot(place, mean, "o-", color=COLOURS[0], markersize=3, linewidth=1.2)
    zero_line(ax)
    shown = place[:: max(1, place.size // 6)]
    ax.set_xticks(shown, [f"{part['count'].values[i]:.0f}" for i in shown])
    ax.set(xlabel="count", ylabel="root of the number of rows")


def _partners(ax: Axes, curve: xr.Dataset, colour: str) -> None:
    """Correlations with each partner, in the order of what was observed."""
    part = curve.isel(partner=np.argsort(curve["observed"].values)).dropna("partner")
    place = np.arange(part["partner"].size)
    _steps(ax, place, part, colour)
    zero_line(ax)
    shown = place if place.size <= 8 else place[:0]
    ax.set_xticks(shown, [str(label) for label in part["partner"].values[shown]])
    ax.set(xlabel="partner" if shown.size else "partners, in order", ylabel="correlation")


_CURVES: dict[str, Callable[[Any, xr.Dataset, str], None]] = {
    "autocorrelation": _correlation,
    "isi": _intervals,
    "pit": _transform,
    "rootogram": _hanging,
    "frequencies": _classes,
    "cross_correlation": _partners,
    "cross_correlation_lagged": _partners,
}


def _legend(figure: Any) -> None:
    """What is blue and what is not, once for all panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(color=COLOURS[0], alpha=0.4, label=f"replicates ({_BAND} in curves)"),
        Line2D([], [], color=INK, marker="o", markersize=3, label="observed"),
    ]
    handles.append(Line2D([], [], color=COLOURS[1], marker="o", markersize=3, label="observed, stands out at 5 % over all statistics"))
    engine = figure.get_layout_engine()
    if engine is not None and not engine.adjust_compatible:
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
