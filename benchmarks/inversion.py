"""Heading and position decoded by inversion, beside pynapple on the same rows: ``python benchmarks/inversion.py FOLDER [--quick] [--out FOLDER]``.

FOLDER holds the folders ``head_direction`` and ``ca1_track``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
LIMITS = {"heading_median_deg": 17.8, "simulated_coverage": [0.87, 0.93]}
HEADING, TRACK = 0.2, 0.25  # s, windows
CELLS, PIXELS = 60, 100  # cells of the circle, of the track
RUNNING, FOLDS = 25.0, 5  # px/s
SEED = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, write one JSON file, print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the recordings")
    parser.add_argument("--quick", action="store_true", help="few rows and draws: shows only that everything runs")
    parser.add_argument("--out", type=Path, help="folder of the result; default benchmarks/results, none where --quick")
    given = parser.parse_args(arguments)
    from machine import described, versions
    from studies import decoding

    warnings.simplefilter("ignore")
    draws = 10 if given.quick else 200
    found = {"row": "inversion", "quick": given.quick, "machine": described(), "versions": versions(), "limits": LIMITS}
    found |= {"heading": heading(given.data, draws, 20_000 if given.quick else None)}
    found |= {"track": track(given.data, draws), "simulated_heading": decoding.heading_coverage(SEED, 2000 if given.quick else decoding.ROWS)}
    found |= {"simulated_mosaic": decoding.coupling_gain(SEED, 1500 if given.quick else decoding.FRAMES)}
    text = json.dumps(found, indent=1)
    out = given.out or (None if given.quick else HERE / "results")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "inversion.json").write_text(text + "\n")
    print(text)


def heading(folder: Path, draws: int, rows: int | None) -> dict[str, Any]:
    """Train on the first 60 %, test on the last 40 %; flat prior, 200 ms."""
    import bayesglm as bg
    from bayesglm import basis, prior

    data = bg.datasets.load("head_direction", folder / "head_direction").isel(time=slice(0, rows))
    train, test = bg.split(data, 0.6)
    model = bg.GLM(bg.Baseline() + bg.Tuning("heading", basis.CyclicBSpline(15), prior.Smooth()))
    began = time.perf_counter()
    fit = bg.fit(model, train, bg.method.Laplace(num_samples=max(200, draws)), progress=False)
    found: dict[str, Any] = {"rows_train": train.sizes["time"], "rows_test": test.sizes["time"], "seconds_fit": since(began)}
    grid = 2 * np.pi / CELLS * (np.arange(CELLS) + 0.5)
    how = {"grid": grid, "prior": "uniform", "draws": draws, "progress": False}
    whole = {
        "flat": {},
        "calibrated": {"calibrate": True},
        "walk": {"dynamics": bg.RandomWalk()},
        "walk_calibrated": {"dynamics": bg.RandomWalk(), "calibrate": True},
    }
    decoded = {}
    for name, more in whole.items():
        began = time.perf_counter()
        decoded[name] = bg.decode(fit, test, "heading", window=HEADING, **how, **more)
        found[name] = {"seconds": since(began)} | circular(decoded[name])
    began = time.perf_counter()
    bg.decode(fit, test, "heading", **how)
    found["seconds_every_bin"] = since(began)
    spikes = bg.predict(fit, test, "response", draws=1, key=SEED).isel(chain=0, draw=0)
    made = test.assign(spikes=(test["spikes"].dims, np.nan_to_num(spikes.values).astype(np.uint8)))
    found["spikes_simulated_from_the_fit"] = circular(bg.decode(fit, made, "heading", window=HEADING, **how))
    peer = circular(pynapple(train, test, decoded["flat"], "heading", np.linspace(0, 2 * np.pi, CELLS + 1), True))
    return found | {
        "pynapple": peer,
        "log_loss_less_than_pynapple": paired(decoded["flat"], pynapple(train, test, decoded["flat"], "heading", np.linspace(0, 2 * np.pi, CELLS + 1), True)),
    }


def track(folder: Path, draws: int) -> dict[str, Any]:
    """Running bins of a linear track, 250 ms, five folds of neighbouring bins."""
    import bayesglm as bg
    from bayesglm import basis, prior

    data = running(bg.datasets.load("ca1_track", folder / "ca1_track"))
    low, high = float(data["x"].min()), float(data["x"].max())
    edges = np.linspace(low, high, PIXELS + 1)
    model = bg.GLM(bg.Baseline() + bg.Tuning("x", basis.BSpline(20, bounds=(low, high)), prior.Smooth()))
    ours: dict[str, list[xr.Dataset]] = {"occupancy": [], "calibrated": [], "walk": [], "pynapple": []}
    began = time.perf_counter()
    for train, test in bg.folds(data, FOLDS):
        fit = bg.fit(model, train, "laplace", progress=False)
        how = {"grid": (edges[1:] + edges[:-1]) / 2, "window": TRACK, "draws": draws, "progress": False}
        ours["occupancy"].append(bg.decode(fit, test, "x", **how))
        ours["calibrated"].append(bg.decode(fit, test, "x", calibrate=True, **how))
        ours["walk"].append(bg.decode(fit, test, "x", dynamics=bg.RandomWalk(), **how))
        ours["pynapple"].append(pynapple(train, test, ours["occupancy"][-1], "x", edges, False))
    joined = {name: xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", join="override") for name, parts in ours.items()}
    found: dict[str, Any] = {"windows": joined["occupancy"].sizes["time"], "track_px": high - low, "seconds": since(began)}
    found |= {name: line(one) for name, one in joined.items()}
    return found | {"log_loss_less_than_pynapple": paired(joined["occupancy"], joined["pynapple"])}


def running(data: xr.Dataset) -> xr.Dataset:
    """Windows of 250 ms in which the animal runs; others are cut out, and each run is an epoch."""
    import bayesglm as bg

    bins = round(TRACK / data.attrs["dt"])
    whole = data.sizes["time"] // bins * bins
    x = data["x"].values[:whole].reshape(-1, bins).mean(1)
    runs = np.abs(np.gradient(x)) / TRACK > RUNNING
    kept = np.repeat(runs & np.isfinite(x), bins)
    part = data.isel(time=np.flatnonzero(kept))
    return bg.recording(dt=data.attrs["dt"], time=part["time"].values, spikes=part["spikes"].values, x=part["x"].values)


def pynapple(train: xr.Dataset, test: xr.Dataset, decoded: xr.Dataset, column: str, edges: np.ndarray, flat: bool) -> xr.Dataset:
    """``decode_bayes`` on the windows of ``decoded``: its tuning curves are histograms of the training bins, their cells ours."""
    import pynapple as nap

    dt, window = train.attrs["dt"], decoded.attrs["window"]
    seen = np.isfinite(train[column].values)
    at = np.digitize(train[column].values[seen], edges[1:-1])
    occupancy = np.bincount(at, minlength=len(edges) - 1)
    counts = np.stack([np.bincount(at, weights=y, minlength=len(edges) - 1) for y in train["spikes"].values[seen].T])
    centres = (edges[1:] + edges[:-1]) / 2
    rates = counts / np.maximum(occupancy, 1) / dt + 1e-3  # a cell in which a neuron was never seen to fire would forbid it
    curves = xr.DataArray(rates, {"unit": np.arange(len(counts)), column: centres}, ["unit", column], attrs={"occupancy": occupancy, "bin_edges": [edges]})
    from bayesglm._decode_windows import windows_of

    summed = windows_of(test, window).summed(test["spikes"].values.astype(float))
    clock = np.arange(len(summed)) * window  # its own clock: windows of runs that were cut out do not matter to it
    frame = nap.TsdFrame(t=clock, d=summed, columns=np.arange(len(counts)))
    _, law = nap.decode_bayes(curves, frame, nap.IntervalSet(-window, clock[-1] + window), bin_size=window, uniform_prior=flat)
    values = np.asarray(law.values, float)
    from bayesglm._decode_coverage import grid_in

    estimate = grid_in(decoded).estimate(values)[0]
    return decoded.assign(probability=(decoded["probability"].dims, values), estimate=(decoded["estimate"].dims, estimate))


def circular(decoded: xr.Dataset) -> dict[str, Any]:
    """Scores of headings, in degrees."""
    import bayesglm as bg

    turn = decoded["heading"].attrs["period"]
    best = decoded["heading"].values[decoded["probability"].values.argmax(1)]
    error = lambda values: np.rad2deg(np.abs((values - decoded["truth"].values + turn / 2) % turn - turn / 2))  # noqa: E731
    covered = bg.coverage(decoded)
    return {
        "median_error_deg": round(float(np.nanmedian(error(decoded["estimate"].values))), 2),
        "median_error_of_the_mode_deg": round(float(np.nanmedian(error(best))), 2),
        "log_loss_nats": round(float(np.nanmean(losses(decoded))), 4),
        "coverage_90": round(float(covered["coverage"]), 4),
        "coverage_by_tenth": covered["by_tenth"].values.round(3).tolist(),
        "bits_per_window": round(float(bg.decoding_information(decoded)["bits"]), 3),
        "bits_se": round(float(bg.decoding_information(decoded)["se"]), 3),
        "temperature": decoded.attrs["temperature"],
        "dynamics": decoded.attrs["dynamics"],
        "verdict": covered.attrs["verdict"],
    }


def line(decoded: xr.Dataset) -> dict[str, Any]:
    """Scores of positions, in pixels."""
    import bayesglm as bg

    covered = bg.coverage(decoded)
    return {
        "median_error_px": round(float(np.nanmedian(np.abs(decoded["estimate"] - decoded["truth"]))), 2),
        "median_error_of_the_mode_px": round(float(np.nanmedian(np.abs(decoded["x"].values[decoded["probability"].values.argmax(1)] - decoded["truth"]))), 2),
        "log_loss_nats": round(float(np.nanmean(losses(decoded))), 4),
        "coverage_90": round(float(covered["coverage"]), 4),
        "verdict": covered.attrs["verdict"],
    }


def losses(decoded: xr.Dataset) -> np.ndarray:
    """(window,) minus the log probability of the true cell; a probability under 1e-12 counts as it."""
    from bayesglm._decode_coverage import grid_in, laws, truth_of

    cells, law = grid_in(decoded).cells(truth_of(decoded, None)), laws(decoded)
    return np.where(cells >= 0, -np.log(np.maximum(law[np.arange(len(cells)), cells], 1e-12)), np.nan)


def paired(one: xr.Dataset, other: xr.Dataset, blocks: int = 20) -> dict[str, float]:
    """By how much the log loss of the first is less, with its standard error over blocks of neighbouring windows."""
    difference = losses(other) - losses(one)
    means = np.array([np.nanmean(part) for part in np.array_split(difference, blocks)])
    return {"nats": round(float(np.nanmean(difference)), 4), "se": round(float(means.std(ddof=1) / np.sqrt(blocks)), 4)}


def since(began: float) -> float:
    """Seconds, in tenths."""
    return round(time.perf_counter() - began, 1)


if __name__ == "__main__":
    main()
