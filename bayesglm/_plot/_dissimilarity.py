"""Pictures of dissimilarity matrices, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._plot._style import look, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_SAMPLE = ("chain", "draw")
_OTHER = "_other"
_TICKS = 9  # labels of conditions along an axis
_ACROSS = 4


def dissimilarity(matrices: xr.DataArray | Mapping[str, xr.DataArray], *, label: str | None = None, figure: Figure | SubFigure | None = None) -> Any:
    """Draw dissimilarity matrices: how different are the patterns of every two conditions?

    Parameters
    ----------
    matrices : DataArray or mapping of names to them, (condition, condition_other)
        Made by ``bg.rsa.dissimilarity``; of posterior draws (``chain``, ``draw``) the mean is drawn, and the title says so.
    label : str, optional
        Of both axes; default: the name of the conditions' dim.
    figure : matplotlib Figure or SubFigure, optional
        To draw into.

    Returns
    -------
    matplotlib.figure.Figure
        A panel a matrix, each with a colour scale of its own from zero: distances of different metrics or noise have
        different units, and what is compared is their pattern. Below zero (crossnobis) lies noise, drawn as zero.

    Raises
    ------
    ValueError
        For anything but dissimilarity matrices.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> matrix = bg.rsa.dissimilarity(np.random.default_rng(0).normal(size=(5, 20)))
    >>> len(bg.plot.dissimilarity({"data": matrix}).axes)  # the matrix and its colour scale
    2
    """
    named = dict(matrices) if isinstance(matrices, Mapping) and not isinstance(matrices, xr.DataArray) else {"": matrices}
    wrong = [name or type(one).__name__ for name, one in named.items() if not _is_matrix(one)]
    if wrong or not named:
        raise ValueError(
            f"plot.dissimilarity wants (condition, condition_other), as bg.rsa.dissimilarity makes it, or a mapping of names to such; not {wrong}."
        )
    with look():
        across = min(_ACROSS, len(named))
        down = -(-len(named) // across)
        made = new_figure(figure, 2.9 * across, 2.7 * down + 0.1)
        axes = list(made.subplots(down, across, squeeze=False).flat)
        for ax, (name, one) in zip(axes, named.items(), strict=False):
            _panel(made, ax, name, one, label)
        for ax in axes[len(named) :]:
            ax.remove()
    return made


def _is_matrix(one: Any) -> bool:
    dims = one.dims if isinstance(one, xr.DataArray) else ()
    return len(dims) >= 2 and dims[-1] == str(dims[-2]) + _OTHER and not set(dims[:-2]) - set(_SAMPLE)


def _panel(figure: Any, ax: Axes, name: str, one: xr.DataArray, label: str | None) -> None:
    drawn = [dim for dim in _SAMPLE if dim in one.dims]
    several = int(np.prod([one.sizes[dim] for dim in drawn])) > 1
    mean = one.mean(drawn)
    condition = str(mean.dims[0])
    values, top = mean.values, float(mean.max())
    image = ax.imshow(values, cmap="viridis", vmin=0.0, vmax=top if top > 0 else 1.0, interpolation="nearest")
    metric = str(mean.attrs.get("metric", one.attrs.get("metric", "")))
    figure.colorbar(image, ax=ax, label=f"{metric} distance".strip(), shrink=0.85)
    ax.spines[:].set_visible(False)
    title = f"{name}\nposterior mean" if name and several else "posterior mean" if several else name
    said = label or (condition if condition in mean.coords else f"{condition} (number)")
    ax.set(title=title, xlabel=said, ylabel=said)
    labels = mean[condition].values if condition in mean.coords else np.arange(len(values))
    at = np.arange(0, len(labels), max(1, -(-len(labels) // _TICKS)))
    texts = [f"{labels[i]:g}" if np.issubdtype(labels.dtype, np.number) else str(labels[i]) for i in at]
    ax.set_xticks(at, texts, rotation=90 if max(map(len, texts)) > 2 else 0)
    ax.set_yticks(at, texts)
