"""Pictures of model comparisons: the differences, where in time they arise, and whether importance weights held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._comparing._comparison import LEAST_NATS, NOT, PROB, Compared, Comparison
from bayesglm._comparing._elpd import Elpd, clustered_se, t_quantile
from bayesglm._plot._style import COLOURS, FAINT, INK, axes_of, look, zero_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED = 6  # units with a bad Pareto k that are named one by one
_NATS = "log predictive density (nats)"
_CRITERIA = {"loo": "leave-one-out", "waic": "WAIC", "kfold": "K-fold"}


def comparison(compared: Comparison, *, ax: Axes | None = None) -> Any:
    """Draw every model's difference from the one with the highest density, with its 95 % interval and the verdict.

    Parameters
    ----------
    compared : Comparison
        Made by ``bg.compare``.
    ax : matplotlib Axes, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Intervals are by t quantiles over clusters. Grey: differences under 4 nats, which are never called better or worse.
        The highest is at zero, its verdict is against the next one; models that cannot be compared are named below.

    Raises
    ------
    ValueError
        For anything but a comparison.

    References
    ----------
    Sivula, Magnusson, Matamoros and Vehtari 2020.
    """
    if not isinstance(compared, Comparison):
        raise ValueError(f"plot.comparison wants the result of bg.compare({{...}}), got {type(compared).__name__}.")
    with look():
        rows = compared.rows
        drawn = axes_of(ax, 7.0, 0.42 * len(rows) + 1.5)
        drawn.axvspan(-LEAST_NATS, LEAST_NATS, color=FAINT, alpha=0.35, linewidth=0, label=f"under {LEAST_NATS:g} nats: not distinguishable")
        drawn.axvline(0.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5)
        for place, row in enumerate(rows):
            _difference(drawn, place, row, place == 0)
        drawn.set_yticks(range(len(rows)), [row.name for row in rows])
        drawn.set(ylim=(len(rows) - 0.4, -0.6), xlabel="difference in expected log predictive density from the highest (nats)")
        longest = max(len(row.name) for row in rows)
        drawn.set_title(_wrapped(compared.verdict, max(40, 92 - longest)), loc="left")  # names take their room from the left
        drawn.margins(x=0.08)
        _verdicts(drawn, rows)
        drawn.legend(loc="upper center", bbox_to_anchor=(0.5, -0.42 / (0.42 * len(rows) + 0.4)), ncols=2)
    return drawn.figure


def _difference(ax: Axes, place: int, row: Compared, best: bool) -> None:
    """One model's point and interval; the best model's interval is that of the next one, and is drawn there."""
    if row.verdict == NOT:
        return
    if best:
        ax.plot(0.0, place, "o", color=INK, markersize=6)
        return
    colour = COLOURS[1] if row.verdict == "worse" else COLOURS[0]
    low, high = row.interval()
    label = f"{PROB:.0%} interval" if not any(line.get_label() == f"{PROB:.0%} interval" for line in ax.get_lines()) else "_"
    ax.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt", label=label)
    ax.plot(row.difference, place, "o", color=colour, markersize=6)


def _verdicts(ax: Axes, rows: tuple[Compared, ...]) -> None:
    """The verdicts in words, right of the axes."""
    for place, row in enumerate(rows):
        weight = f", weight {row.weight:.2f}" if np.isfinite(row.weight) else ""
        ax.annotate(row.verdict + weight, (1.0, place), (6, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=8)


def khat(estimate: Elpd, *, ax: Axes | None = None) -> Any:
    """Draw the Pareto k of every unit that was left out, against where it lies.

    Parameters
    ----------
    estimate : Elpd
        Made by ``bg.loo``.
    ax : matplotlib Axes, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Points above the line have too few draws' worth of weight: their elpd is not to be trusted. Of several neurons
        every neuron's units are drawn, and the worst ones are named.

    Raises
    ------
    ValueError
        For an estimate without Pareto k (WAIC, K-fold, or one without importance sampling).

    References
    ----------
    Vehtari, Simpson, Gelman, Yao and Gabry 2024, Pareto smoothed importance sampling.
    """
    if not isinstance(estimate, Elpd) or not estimate.pareto_k.notnull().any():
        what = f"{estimate.ic!r} has none" if isinstance(estimate, Elpd) else f"got {type(estimate).__name__}"
        raise ValueError(f"plot.khat wants an estimate with a Pareto k for every unit, the result of bg.loo(fit); {what}.")
    with look():
        drawn = axes_of(ax, 7.0, 2.8)
        at, label = _where(estimate)
        k = _within_sight(estimate.pareto_k.values)
        bad = k > estimate.good_k
        for n in range(k.shape[1]):
            drawn.plot(at[~bad[:, n]], k[~bad[:, n], n], "o", color=COLOURS[0], markersize=3, alpha=0.7, label="trustworthy" if n == 0 else "_")
            drawn.plot(at[bad[:, n]], k[bad[:, n], n], "D", color=COLOURS[1], markersize=4.5, label="not to be trusted" if n == 0 and bad.any() else "_")
        drawn.axhline(estimate.good_k, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label=f"limit at {estimate.n_samples} draws: {estimate.good_k:.2f}")
        _name_worst(drawn, estimate, at, k)
        drawn.set(xlabel=label, ylabel="Pareto k")
        known = int(estimate.pareto_k.notnull().sum())
        drawn.set_title(f"{estimate.n_bad} of {known} {estimate.unit}s have a Pareto k above {estimate.good_k:.2f}", loc="left")
        drawn.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3)
    return drawn.figure


def _within_sight(k: np.ndarray) -> np.ndarray:
    """Infinite ones (no tail to judge by) at the edges of the others."""
    finite = k[np.isfinite(k)]
    return np.clip(k, -0.5, max(1.0, finite.max(initial=0.0)))


def _name_worst(ax: Axes, estimate: Elpd, at: np.ndarray, k: np.ndarray) -> None:
    """Labels of the neurons of the worst units, where there are several neurons."""
    if k.shape[1] == 1:
        return
    order = np.argsort(np.where(np.isnan(k), -np.inf, k), axis=None)[::-1][:_NAMED]
    for i, n in zip(*np.unravel_index(order, k.shape), strict=True):
        if k[i, n] > estimate.good_k:
            ax.annotate(f"neuron {estimate.pareto_k['neuron'].values[n]}", (at[i], k[i, n]), (4, 2), textcoords="offset points", fontsize=7)


def elpd(one: Comparison | Elpd, other: Elpd | None = None, *, models: tuple[str, str] | None = None, neuron: Any = None, ax: Axes | None = None) -> Any:
    """Draw where in time two models differ: the running sum of the pointwise difference of their log predictive densities.

    Parameters
    ----------
    one : Comparison or Elpd
        A comparison (its best model against the next one, or ``models``), or an estimate.
    other : Elpd, optional
        The estimate to compare ``one`` with, of the same units.
    models : (str, str), optional
        Names in the comparison.
    neuron : label, optional
        By default the sum over neurons.
    ax : matplotlib Axes, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Where the line rises the first model predicts better. The band after b of C blocks is the sum so far plus and minus
        its 95 % interval, sqrt(b) block-wise standard deviations times the t quantile: at the end it is the interval of the
        difference. The grey line would be an advantage spread evenly over the recording.

    Raises
    ------
    ValueError
        For models that cannot be compared, or anything but a comparison or two estimates.
    """
    first, second, names = _two(one, other, models)
    difference = _pointwise(first, second, neuron)
    with look():
        drawn = axes_of(ax, 8.0, 3.0)
        at, label = _where(first)
        total = np.nancumsum(difference)
        half = _half_widths(difference, first.cluster)
        drawn.fill_between(
            at, total - half, total + half, step="post", color=COLOURS[0], alpha=0.22, linewidth=0, label=f"{PROB:.0%} band, by {first.se_unit}s"
        )
        drawn.plot(at, total, color=COLOURS[0], linewidth=1.4, drawstyle="steps-post", label="running sum")
        drawn.plot(at[[0, -1]], [0.0, total[-1]], color=FAINT, linewidth=1.2, label="evenly spread")
        zero_line(drawn)
        who = "" if neuron is None else f", neuron {neuron}"
        drawn.set(xlabel=label, ylabel=f"difference in\n{_NATS}")
        drawn.set_title(f"{names[0]} minus {names[1]}{who}: {total[-1]:+.1f} nats ({_CRITERIA.get(first.ic, first.ic)})", loc="left")
        drawn.margins(x=0)
        drawn.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    return drawn.figure


def _two(one: Comparison | Elpd, other: Elpd | None, models: tuple[str, str] | None) -> tuple[Elpd, Elpd, tuple[str, str]]:
    """Two estimates of the same units, and their names."""
    if isinstance(one, Comparison):
        able = [row for row in one.rows if row.verdict != NOT]
        chosen = able[:2] if models is None else [one[name] for name in models]
        bad = [row.name for row in chosen if row.verdict == NOT]
        if len(chosen) != 2 or bad:
            raise ValueError(f"plot.elpd wants two models that can be compared; {', '.join(map(repr, bad)) or 'there is none'} cannot: {one.verdict}.")
        return chosen[0].elpd, chosen[1].elpd, (chosen[0].name, chosen[1].name)
    if not (isinstance(one, Elpd) and isinstance(other, Elpd)):
        raise ValueError("plot.elpd wants the result of bg.compare({...}), or two of bg.loo, bg.waic or bg.kfold: plot.elpd(one, other).")
    if one.elpd_i.shape != other.elpd_i.shape or one.unit != other.unit or one.identity != other.identity or not np.array_equal(one.cluster, other.cluster):
        raise ValueError("plot.elpd: these two estimates are of other rows or units; bg.compare says which, and bg.fit_all makes them alike.")
    return one, other, models or ("first", "second")


def _pointwise(one: Elpd, other: Elpd, neuron: Any) -> np.ndarray:
    """(unit,) differences; NaN where nothing is scored."""
    difference = one.elpd_i - other.elpd_i.values
    if neuron is None:
        return difference.sum("neuron", min_count=1).values
    known = difference["neuron"].values.tolist()
    if neuron not in known:
        raise ValueError(f"neuron={neuron!r}: there is none of this name; there are {known[:12]}{' ...' if len(known) > 12 else ''}.")
    return difference.sel(neuron=neuron).values


def _half_widths(difference: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """(unit,) half width of the band: it grows with the root of the share of clusters seen so far."""
    clusters = int(cluster.max()) + 1
    whole = t_quantile(PROB, clusters) * float(clustered_se(difference[:, None], cluster)[0])
    starts = np.flatnonzero(np.r_[True, np.diff(cluster) != 0])
    sizes = np.diff(np.r_[starts, len(cluster)])
    within = (np.arange(len(cluster)) - np.repeat(starts, sizes) + 1) / np.repeat(sizes, sizes)
    return whole * np.sqrt((cluster + within) / clusters)


def _where(estimate: Elpd) -> tuple[np.ndarray, str]:
    """Where the units begin, and what that is."""
    at: xr.DataArray = estimate.elpd_i[estimate.unit]
    return (at.values, "time (s)") if at.dtype.kind == "f" else (at.values, "trial")


def _wrapped(text: str, width: int = 90) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text[:1].upper() + text[1:], width))
