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
SEED, DRAWS = 3, 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, write one JSON file, print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the recordings")
    parser.add_argument("--only", choices=list(PARTS), help="one part; the others are kept as the file has them")
    parser.add_argument("--quick", action="store_true", help="few rows and draws: shows only that everything runs")
    parser.add_argument("--out", type=Path, help="folder of the result; default benchmarks/results, none where --quick")
    given = parser.parse_args(arguments)
    from machine import described, versions

    warnings.simplefilter("ignore")
    out = given.out or (None if given.quick else HERE / "results")
    file = None if out is None else out / "inversion.json"
    before = json.loads(file.read_text()) if given.only and file is not None and file.exists() else {}
    found = before | {"row": "inversion", "quick": given.quick, "machine": described(), "versions": versions(), "limits": LIMITS}
    for name in [given.only] if given.only else PARTS:
        found[name] = PARTS[name](given.data, given.quick)
    text = json.dumps(found, indent=1)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    print(text)


def heading(folder: Path, quick: bool) -> dict[str, Any]:
    """Train on the first 60 %, test on the last 40 %; flat prior, 200 ms."""
    import bayesglm as bg
    from bayesglm import basis, prior

    draws, rows = (10, 20_000) if quick else (DRAWS, None)
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
    few = how | {"draws": min(draws, 20)}
    for name, more in {"every_bin": {}, "every_bin_walk": {"dynamics": bg.RandomWalk()}}.items():
        began = time.perf_counter()
        decoded[name] = bg.decode(fit, test, "heading", **(few if more else how), **more)
        found[name] = {"seconds": since(began)} | circular(decoded[name])
    found["error_less_by_the_walk_deg"] = fewer(decoded["flat"], decoded["walk"])
    found["error_less_by_the_walk_every_bin_deg"] = fewer(decoded["every_bin"], decoded["every_bin_walk"])
    found["log_loss_less_by_calibration"] = paired(decoded["calibrated"], decoded["flat"])
    for name, path in {"as_recorded": test, "held_in_windows": held(test, decoded["flat"])}.items():
        spikes = bg.predict(fit, path, "response", draws=1, key=SEED).isel(chain=0, draw=0)
        made = path.assign(spikes=(path["spikes"].dims, np.nan_to_num(spikes.values).astype(np.uint8)))
        found[f"spikes_simulated_from_the_fit_path_{name}"] = circular(bg.decode(fit, made, "heading", window=HEADING, **how))
    peer = pynapple(train, test, decoded["flat"], "heading", np.linspace(0, 2 * np.pi, CELLS + 1), True)
    return found | {
        "pynapple": circular(peer),
        "log_loss_less_than_pynapple": paired(decoded["flat"], peer),
        "error_less_than_pynapple_deg": fewer(peer, decoded["flat"]),
    }


def held(data: xr.Dataset, decoded: xr.Dataset) -> xr.Dataset:
    """The recording with its heading held at the mean of each window, as the decoder takes it to be."""
    from bayesglm._decoding._windows import windows_of

    windows = windows_of(data, HEADING)
    path = np.repeat(decoded["truth"].values, windows.inside.sum(1))
    return data.assign(heading=(data["heading"].dims, path, data["heading"].attrs))


def errors(decoded: xr.Dataset) -> np.ndarray:
    """(row,) distance of the estimate to the truth, along the circle in degrees or along the line."""
    turn = decoded.attrs["period"]
    apart = decoded["estimate"].values - decoded["truth"].values
    return np.abs(apart) if turn is None else np.rad2deg(np.abs((apart + turn / 2) % turn - turn / 2))


def fewer(one: xr.Dataset, other: xr.Dataset, blocks: int = 20) -> dict[str, float]:
    """By how much the mean error of the second is less, with its standard error over blocks of neighbouring windows."""
    difference = errors(one) - errors(other)
    means = np.array([np.nanmean(part) for part in np.array_split(difference, blocks)])
    return {"mean": round(float(np.nanmean(difference)), 3), "se": round(float(means.std(ddof=1) / np.sqrt(blocks)), 3)}


def track(folder: Path, quick: bool) -> dict[str, Any]:
    """Running bins of a linear track, 250 ms, five folds of neighbouring bins."""
    import bayesglm as bg
    from bayesglm import basis, prior

    data = running(bg.datasets.load("ca1_track", folder / "ca1_track"))
    data = data.isel(time=slice(0, 2000)) if quick else data
    low, high = float(data["x"].min()), float(data["x"].max())
    edges = np.linspace(low, high, PIXELS + 1)
    model = bg.GLM(bg.Baseline() + bg.Tuning("x", basis.BSpline(20, bounds=(low, high)), prior.Smooth()))
    ours: dict[str, list[xr.Dataset]] = {"occupancy": [], "calibrated": [], "walk": [], "pynapple": []}
    began = time.perf_counter()
    for train, test in bg.folds(data, 2 if quick else FOLDS):
        fit = bg.fit(model, train, "laplace", progress=False)
        how = {"grid": (edges[1:] + edges[:-1]) / 2, "window": TRACK, "draws": 10 if quick else DRAWS, "progress": False}
        ours["occupancy"].append(bg.decode(fit, test, "x", **how))
        ours["calibrated"].append(bg.decode(fit, test, "x", calibrate=True, **how))
        ours["walk"].append(bg.decode(fit, test, "x", dynamics=bg.RandomWalk(), **how))
        ours["pynapple"].append(pynapple(train, test, ours["occupancy"][-1], "x", edges, False))
    joined = {name: xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", join="override") for name, parts in ours.items()}
    found: dict[str, Any] = {"windows": joined["occupancy"].sizes["time"], "track_px": high - low, "seconds": since(began)}
    found |= {name: line(one) for name, one in joined.items()}
    found |= {
        "error_less_by_the_walk_px": fewer(joined["occupancy"], joined["walk"]),
        "log_loss_less_by_calibration": paired(joined["calibrated"], joined["occupancy"]),
    }
    more = {"error_less_than_pynapple_px": fewer(joined["pynapple"], joined["occupancy"])}
    return found | {"log_loss_less_than_pynapple": paired(joined["occupancy"], joined["pynapple"])} | more


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
    from bayesglm._decoding._windows import windows_of

    summed = windows_of(test, window).summed(test["spikes"].values.astype(float))
    clock = np.arange(len(summed)) * window  # its own clock: windows of runs that were cut out do not matter to it
    frame = nap.TsdFrame(t=clock, d=summed, columns=np.arange(len(counts)))
    _, law = nap.decode_bayes(curves, frame, nap.IntervalSet(-window, clock[-1] + window), bin_size=window, uniform_prior=flat)
    values = np.asarray(law.values, float)
    from bayesglm._decoding._coverage import grid_in

    estimate = grid_in(decoded).estimate(values)[0]
    return decoded.assign(probability=(decoded["probability"].dims, values), estimate=(decoded["estimate"].dims, estimate))


def circular(decoded: xr.Dataset) -> dict[str, Any]:
    """Scores of headings, in degrees."""
    import bayesglm as bg

    best = decoded["heading"].values[decoded["probability"].values.argmax(1)]
    mode = decoded.assign(estimate=(decoded["estimate"].dims, best))
    covered = bg.coverage(decoded)
    return {
        "median_error_deg": round(float(np.nanmedian(errors(decoded))), 2),
        "median_error_of_the_mode_deg": round(float(np.nanmedian(errors(mode))), 2),
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
    from bayesglm._decoding._coverage import grid_in, laws, truth_of

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


def simulated(_: Path, quick: bool) -> dict[str, Any]:
    """Coverage where the model is true, with history and coupling; what coupling is worth to a decoded stimulus."""
    from studies import decoding

    cells = decoding.heading_coverage(SEED, 2000 if quick else decoding.ROWS)
    return {"heading": cells, "mosaic": decoding.coupling_gain(SEED, 1500 if quick else decoding.FRAMES)}


PARTS = {"heading": heading, "track": track, "simulated": simulated}

if __name__ == "__main__":
    main()
