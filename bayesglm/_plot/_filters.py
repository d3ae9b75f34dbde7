"""Filters over lags, with bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm import _filters as verbs
from bayesglm._glm import GLM
from bayesglm._plot._receptive_field import receptive_field, space_of
from bayesglm._plot._style import COLOURS, bands, chosen, draw_band, gain_axis, heading, lag_axis, legend, log_link, look, new_figure, zero_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayesglm._fit import Fit

_MOST = 8  # neurons drawn unless asked for more
_ACROSS = 4


def filters(fit: Fit, term: str | None = None, *, neurons: Any = None, figure: Figure | SubFigure | None = None) -> Any:
    """Draw filters over lags: the median with its 50 % and 90 % bands, one panel a term and neuron.

    Parameters
    ----------
    fit : Fit
        Of a point estimate (MAP) the curve is drawn without a band, and the title says so.
    term : str, optional
        A term with lags; by default every one of the model.
    neurons : labels, optional
        Receivers to draw; by default the first eight.
    figure : matplotlib Figure or SubFigure, optional
        To draw into; pass ``plt.figure()`` to open a window with ``plt.show()``.

    Returns
    -------
    matplotlib.figure.Figure
        Lags in ms (s beyond one second); the left axis is on the scale of the linear predictor, the right one, where the
        link is logarithmic, the gain exp(k). Of sources or features the seven with the largest median are drawn; of a
        movie's filter the picture of ``receptive_field``.

    Raises
    ------
    ValueError
        For a term without lags, or an unknown neuron.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> spikes = np.random.default_rng(0).poisson(0.2, (300, 1))
    >>> model = bg.GLM(bg.Baseline() + bg.History(bg.basis.RaisedCosine(3, span=0.05)))
    >>> fit = bg.fit(model, bg.recording(dt=0.01, spikes=spikes), "map", progress=False)
    >>> len(bg.plot.filters(fit, "history").axes)
    1
    """
    terms = [term] if term is not None else lagged(fit)
    drawn = {name: verbs.filters(fit, name) for name in terms}
    if len(terms) == 1 and len(space_of(drawn[terms[0]])) == 2:
        return receptive_field(fit, terms[0], neurons=neurons, figure=figure)
    panels, note = _panels(drawn, neurons)
    across = len(terms) if len(terms) > 1 else min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    with look():
        made = new_figure(figure, max(3.4 * across, 4.2), 2.6 * down + 0.4)
        axes = made.subplots(down, across, squeeze=False, sharex="col" if len(terms) > 1 else "all")
        for ax, (name, where) in zip(axes.flat, panels, strict=False):
            _panel(ax, fit, drawn[name].sel(where), name, where)
        for ax in axes.flat[len(panels) :]:
            ax.remove()
        if not axes[0, 0].get_legend():
            legend(made, axes[0, 0])
        heading(made, fit, note)
    return made


def lagged(fit: Fit) -> list[str]:
    """Names of the terms with lags, in the order of the model; a ValueError where there is none."""
    kernels = [str(name).removesuffix("_kernels") for name in fit.idata["constant_data"].to_dataset().data_vars if str(name).endswith("_kernels")]
    if not kernels:
        raise ValueError(
            "The model has no term with lags (Stimulus, History, Coupling), so there is no filter to draw; bg.plot.tuning(fit, term) draws others."
        )
    return kernels


def _panels(drawn: dict[str, xr.DataArray], neurons: Any) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Term and neuron of each panel, neurons down and terms across; and a note on neurons left out."""
    first = next(iter(drawn.values()))
    if "neuron" not in first.dims:
        return [(name, {}) for name in drawn], ""
    labels, note = chosen(first["neuron"].values, neurons, _MOST)
    return [(name, {"neuron": label}) for label in labels for name in drawn], note


def _panel(ax: Axes, fit: Fit, draws: xr.DataArray, term: str, where: dict[str, Any]) -> None:
    x, label = lag_axis(draws["lag"].values, fit)
    found = bands(draws)
    inner = [dim for dim in found.line.dims if dim != "lag"]
    note = _overlaid(ax, x, found, inner) if inner else draw_band(ax, x, found, COLOURS[0])
    zero_line(ax)
    ax.margins(x=0)
    ax.set_xlabel(label)
    ax.set_ylabel(unit(fit, draws, term))
    who = f", neuron {where['neuron']}" if where else ""
    ax.set_title(f"{term}{who}{note or ''}")
    if log_link(fit):
        gain_axis(ax)


def _overlaid(ax: Axes, x: np.ndarray, found: Any, dims: list[str]) -> str:
    """One curve a source or feature, in the same axes; those with the largest medians where there are many."""
    line = found.line.stack(entry=dims)
    size = np.abs(line).max("lag").values
    order = [int(i) for i in np.argsort(-np.nan_to_num(size, nan=-1.0), kind="stable") if np.isfinite(size[i])]
    kept = sorted(order[: len(COLOURS)])
    for i, colour in zip(kept, COLOURS, strict=False):
        entry = dict(zip(dims, np.atleast_1d(np.asarray(line["entry"].values[i], object)), strict=True))
        draw_band(ax, x, found.at(**entry)._replace(narrow=None), colour, label=", ".join(f"{dim} {value}" for dim, value in entry.items()))
    ax.legend(loc="best")
    return f" (the {len(kept)} largest of {len(order)})" if len(kept) < len(order) else ""


def unit(fit: Fit, draws: xr.DataArray, term: str) -> str:
    """The unit of a filter's values, in the covariate's own unit where the recording knows it."""
    column = getattr(fit.model.terms[term], "column", None) if isinstance(fit.model, GLM) else None
    known = fit.data[column].attrs.get("units") if column is not None and fit.data is not None and column in fit.data else None
    said = draws.attrs["units"]
    return said.replace(f"unit of {column}", str(known)) if known else said
