"""The demonstration: does a grasshopper's auditory receptor remember its own spikes?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bayesglm import _plot as plot
from bayesglm import basis, datasets
from bayesglm._comparing._compare import compare
from bayesglm._data import split
from bayesglm._filters import filters, interval
from bayesglm._fit import Fit, fit_all
from bayesglm._glm import GLM
from bayesglm._plot._style import caution, look, new_figure
from bayesglm._score import score
from bayesglm.method import MAP, NUTS, AbstractMethod
from bayesglm.terms import Baseline, History, Stimulus

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

STIMULUS, HISTORY = "stimulus", "stimulus + history"
_SPAN = 0.025  # s; the receptor follows modulations up to 200 Hz
_GAP = 0.4  # s left out between training and test part: the spikes' autocorrelation time and a little
_SHOWN = (9.0, 9.25)  # s of the held-out part that is drawn


def models() -> dict[str, GLM]:
    """A stimulus filter alone, and with the receptor's own past."""
    stimulus = Baseline() + Stimulus("stimulus", basis.RaisedCosine(8, span=_SPAN))
    return {STIMULUS: GLM(stimulus), HISTORY: GLM(stimulus + History(basis.RaisedCosine(8, span=_SPAN)))}


def run(out: str | Path = "demo_output", *, method: AbstractMethod | None = None, progress: bool = True) -> dict[str, Fit]:
    """Fit the grasshopper's receptor by MAP and by NUTS, print what was found, and draw it.

    Parameters
    ----------
    out : path
        Folder of the figures; made if it is not there.
    method : AbstractMethod, optional
        In place of NUTS with four chains.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict of Fit
        The sampled fits.

    Raises
    ------
    ValueError
        Where the recording is not on this machine; the sentence says how to get it.
    """
    began = time.perf_counter()
    data = datasets.load("grasshopper")
    train, test = split(data, 0.8, gap=_GAP)
    _say("An auditory receptor of a grasshopper", _what(data, train, test))
    points = fit_all(models(), train, MAP(), progress=progress)
    _say("Point estimates (MAP), in seconds", *_scores(points, test))
    fits = fit_all(models(), train, method or NUTS(num_chains=4), progress=progress)
    _say("Posteriors (NUTS)", *(f"{name}\n{fit!r}" for name, fit in fits.items()))
    _say("Held-out spikes, predicted given the real past", *_scores(fits, test))
    _say("Leave-one-block-out comparison on the training part", repr(compare(fits, ic="loo")))
    _say("What the filters say", *_found(fits[HISTORY]))
    _say("Figures", *(str(path) for path in draw(fits, test, Path(out))))
    print(f"\nThe demo took {time.perf_counter() - began:.0f} s.")
    return fits


def draw(fits: dict[str, Fit], test: xr.Dataset, out: Path) -> list[Path]:
    """Write the figures and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    figures = {"receptor_filters.png": plot.filters(fits[HISTORY]), "receptor_rate.png": _rates(fits, test)}
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=130)
    return [out / name for name in figures]


def _rates(fits: dict[str, Fit], test: xr.Dataset) -> Figure:
    """The rates of all models over the same held-out spikes."""
    with look():
        figure = new_figure(None, 8.0, 2.6 * len(fits))
        axes = figure.subplots(len(fits), 1, sharex=True)
        for ax, (name, fit) in zip(axes, fits.items(), strict=True):
            plot.rate(fit, test, start=_SHOWN[0], stop=_SHOWN[1], ax=ax)
            title = caution(fit, f"{name}: held-out rate one step ahead, given the real past")
            ax.set_title(title["text"], color=title["color"])
            ax.label_outer()
    return figure


def _say(title: str, *lines: str) -> None:
    print(f"\n{title}\n{'-' * len(title)}")
    for line in lines:
        print(line, flush=True)


def _what(data: xr.Dataset, train: xr.Dataset, test: xr.Dataset) -> str:
    dt = data.attrs["dt"]
    return (
        f"{data.sizes['time'] * dt:g} s in bins of {1000 * dt:g} ms, {int(data['spikes'].sum())} spikes, a tone whose amplitude follows noise up to 200 Hz.\n"
        f"The first {train.sizes['time'] * dt:g} s are fitted, the last {test.sizes['time'] * dt:g} s are held out."
    )


def _scores(fits: dict[str, Fit], test: xr.Dataset) -> list[str]:
    width = max(map(len, fits))
    values = {name: score(fit, test, "bits_per_spike") for name, fit in fits.items()}
    return [
        f"{name:<{width}}  {float(value.squeeze()):.3f} bits/spike held out, over a constant rate at {value.attrs['null']}" for name, value in values.items()
    ]


def _found(fit: Fit) -> list[str]:
    """Three sentences, each with its 90 % interval."""
    stimulus, history = interval(filters(fit, "stimulus")).squeeze(), interval(np.exp(filters(fit, "history"))).squeeze()
    peak = stimulus.isel(lag=int(abs(stimulus.sel(bound="median")).argmax("lag")))
    back = history.sel(lag=history["lag"][(history.sel(bound="upper") > 1.0).values][0])
    return [
        f"The stimulus acts most {_ms(peak)} back: log-gain per dB {_band(peak)}.",
        f"{_ms(history.isel(lag=0))} after a spike the rate is multiplied by {_band(history.isel(lag=0))}: the receptor is refractory.",
        f"{_ms(back)} after a spike its band first reaches a gain of 1: {_band(back)}.",
    ]


def _ms(bounds: xr.DataArray) -> str:
    return f"{1000 * float(bounds['lag']):.0f} ms"


def _band(bounds: xr.DataArray) -> str:
    low, middle, high = (float(bounds.sel(bound=name)) for name in ("lower", "median", "upper"))
    return f"{middle:.2g} (90 % interval {low:.2g} to {high:.2g})"
