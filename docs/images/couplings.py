"""Functional couplings between real head-direction cells, with bands: the picture that heads the README.

``python docs/images/couplings.py [PICTURE]`` fits the first three minutes (18,000 bins of 10 ms) of the recording that
``bg.datasets.load("head_direction")`` finds: own past and all 18 other cells over 0.8 s, and the heading itself. It
prints whether the fit converged and how many of the couplings drawn leave zero out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpyro.distributions as dist

import bayesglm as bg
from bayesglm import basis, method, prior

CELLS = (16, 17, 2, 5, 7)  # five that fire much, by preferred direction


def main(picture: Path) -> None:
    """Fit, draw, save."""
    data = bg.datasets.load("head_direction").isel(time=slice(0, 18_000))
    heading = bg.Tuning("heading", basis.CyclicBSpline(10), prior.Gaussian(1.0))
    prefers = bg.tuning(bg.fit(bg.GLM(bg.Baseline() + heading), data, "map", progress=False), "heading")["gain"].idxmax("heading").squeeze()
    data = data.assign_coords(neuron=[f"{label} ({np.rad2deg(float(prefers.sel(neuron=label))):.0f}°)" for label in data["neuron"].values])
    cells = [str(label) for label in data["neuron"].values[list(CELLS)]]
    cosines = basis.RaisedCosine(8, span=0.8)
    past = bg.Baseline() + bg.History(cosines, prior.Gaussian(1.0)) + bg.Coupling(cosines, prior.Gaussian(dist.HalfNormal(0.1)))
    fit = bg.fit(bg.GLM(past + heading, neurons=cells), data, method.HMC(num_samples=500, precision="single"), progress=False)
    print(fit)
    net = bg.interval(bg.filters(fit, "coupling").sel(source=cells).sum("lag", skipna=False))
    clear = (net.sel(bound="lower") > 0) | (net.sel(bound="upper") < 0)
    print(f"{int(clear.sum())} of {int(net.sel(bound='median').notnull().sum())} net effects leave zero out")
    bg.plot.coupling(fit, sources=cells).savefig(picture, dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
