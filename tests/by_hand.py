"""Recordings and fits that are put together by hand: enough for a file, and no time for fitting."""

import dataclasses
import functools

import numpy as np
import xarray as xr

import bayesglm as bg
from bayesglm import basis, method, prior


@functools.cache
def rich():
    """Epochs, events with values, an angle, labels, words, a mask, a movie; and a model of it."""
    rng = np.random.default_rng(0)
    rows = 40
    seen = rng.uniform(size=(rows, 2)) < 0.9
    data = bg.recording(
        dt=0.1,
        spikes=rng.poisson(300.0, (rows, 2)),
        heading=bg.angle(rng.uniform(0, 360, rows), period=360),
        speed=xr.DataArray(rng.normal(size=rows), dims="time", attrs={"units": "days since 2000-01-01", "_FillValue": 0.0, "scale_factor": 2.0, "ok": True}),
        movie=rng.normal(size=(rows, 3, 2)).astype(np.float32),
        context=np.array(["left", "é"])[rng.integers(0, 2, rows)],
        observed=seen,
        epoch=np.repeat([0, 1], rows // 2),
        events={"cue": ([0.5, 1.5], [1.0, 2.0]), "lick": [0.7]},
        labels={"neuron": ["s1/u1", "s1/u22"]},
    )
    data["speed"].values[3] = np.nan
    model = bg.GLM(bg.Baseline(prior.Gaussian(1.0)) + bg.Tuning("context", basis.OneHot()))
    return data, model


def by_hand(model, data, **changes):
    """A fit without fitting: enough for a file."""
    neurons = data["neuron"].values
    posterior = xr.Dataset(
        {"baseline": (("chain", "draw", "neuron"), np.full((1, 1, len(neurons)), 1 / 3), {"units": "log(spikes)"})},
        coords={"chain": [0], "draw": [0], "neuron": neurons},
        attrs={"posterior": "point", "names": ["a", "b"], "empty": [], "none": None, "pair": (1, 2.5), "array": np.arange(3), "flag": True},
    )
    idata = xr.DataTree.from_dict(
        {"posterior": posterior, "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), [[False]])}), "observed_data": xr.Dataset()}
    )
    stats = {"rows": 40, "rows_kept": np.array([3, 4]), "rows_left_out": {"why": 1}, "seconds": 0.1, "notes": ("a note",), "converged": True}
    scored = np.arange(data.sizes["time"]) % 2 == 0
    made = bg.Fit(model, data, idata, method.MAP(), stats, scored)
    return dataclasses.replace(made, **changes)
