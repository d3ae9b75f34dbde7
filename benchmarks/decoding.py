"""Decoders beside scikit-learn on the same folds: ``python benchmarks/decoding.py FOLDER [--quick] [--part NAME] [--out FOLDER]``.

FOLDER holds ``v1_gratings``, ``clicks_choice``, ``steinmetz`` and ``motor_cortex`` (see the documentation of the data). Folds
are runs of trials (of whole repeats for the gratings), so that they need no seed; what scikit-learn tunes it tunes by inner folds
of the training part, as we learn our scales there. Held to: accuracy not below the better peer by more than two standard errors of
the paired difference, with a lower log loss.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from decoding_angles import independent, orientation_twin
from decoding_classes import L1, L2, PLAIN, classes_on_folds
from decoding_scores import pair, quietly, runs, short

HERE = Path(__file__).parent
LIMIT = 1800  # seconds of a part
BEFORE, AFTER = 2, 5  # bins of spikes before and after a velocity


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every part in a process of its own, write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder that holds the recordings")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows only that everything runs")
    parser.add_argument("--part", choices=list(PARTS), action="append", help="one part (more than once for several)")
    parser.add_argument("--out", type=Path, help="folder of the result; default benchmarks/results, none where --quick")
    parser.add_argument("--here", action="store_true", help="in this process (used by the run itself)")
    given = parser.parse_args(arguments)
    if given.here:
        print(json.dumps(PARTS[given.part[0]](given.folder, given.quick)))
        return
    from machine import described, versions

    out = given.out or (None if given.quick else HERE / "results")
    place = None if out is None else out / "decoding.json"
    found = json.loads(place.read_text()) if place is not None and place.exists() else {}
    found |= {"row": "decoding", "quick": given.quick, "machine": described(), "versions": versions()}
    for name in given.part or list(PARTS):
        found.setdefault("parts", {})[name] = _in_a_process(name, given)
        if place is not None:
            out.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _in_a_process(name: str, given: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, str(given.folder), "--part", name, "--here"] + (["--quick"] if given.quick else [])
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.perf_counter()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as failed:
        return {"failed": type(failed).__name__, "seconds": round(time.perf_counter() - began, 1)}
    return json.loads(done.stdout.splitlines()[-1]) | {"seconds_of_the_part": round(time.perf_counter() - began, 1)}


def gratings(folder: Path, quick: bool, response: str) -> dict[str, Any]:
    """Directions or orientations of 16 repeats; two repeats a fold; the activity is the mean of frames from 0.25 to 1.5 s."""
    from bayesglm import datasets

    data = datasets.load("v1_gratings", folder / "v1_gratings")
    mean, code = data["activity"].sel(frame=slice(0.25, 1.5)).mean("frame"), (data[response].values / 45).astype(int)
    trials = data[["epoch"]].assign(mean=mean, code=("trial", code)).assign_attrs(data.attrs)
    return classes_on_folds(trials, "mean", "code", data["repeat"].values // (8 if quick else 2), (L2, PLAIN), quick)


def clicks(folder: Path, quick: bool, column: str) -> dict[str, Any]:
    """A rat's choices from 7 units, or from the clicks that it heard."""
    from bayesglm import datasets

    data = datasets.load("clicks_choice", folder / "clicks_choice")
    return classes_on_folds(data, column, "choice", runs(data.sizes["trial"], 3 if quick else 10), (L2, L1, PLAIN), quick)


def feedback(folder: Path, quick: bool, name: str) -> dict[str, Any]:
    """Reward or none from all neurons' counts in 390 ms after stimulus onset."""
    from bayesglm import datasets

    data = datasets.load(name, folder / "steinmetz")
    trials = data.assign(total=data["counts"].astype(float).sum("bin"))
    return classes_on_folds(trials, "total", "feedback", runs(data.sizes["trial"], 3 if quick else 5), (L2, PLAIN) if quick else (L2, L1, PLAIN), quick)


def choice_twin(folder: Path, quick: bool) -> dict[str, Any]:
    """276 trials x 691 neurons, eight folds as the course has them."""
    from bayesglm import datasets

    data = datasets.choice_twin(*((80, 120) if quick else ()), informative=20 if quick else 60)
    fold = runs(data.sizes["trial"], 4 if quick else 8)
    return classes_on_folds(data, "counts", "choice", fold, (L2, PLAIN) if quick else (L2, L1, PLAIN), quick) | {"best_accuracy": data.attrs["best_accuracy"]}


def velocity(folder: Path, quick: bool, scale: str = "") -> dict[str, Any]:
    """Hand velocity from 171 units of M1 at eight lags, the last fifth held out: ridge, and our Gaussian decoder.

    Its scale is learned (the default), or chosen by ``scale``; then columns are in training sds, as in ridge and by default.
    """
    from sklearn.linear_model import RidgeCV

    import bayesglm as bg
    from bayesglm import datasets, family, prior

    data = datasets.load("motor_cortex", folder / "motor_cortex")
    counts, hand = data["spikes"].values.astype(float), data["hand_velocity"].values
    counts = counts[:3000, :40] if quick else counts
    rows = np.arange(AFTER, len(counts) - BEFORE)
    x = np.concatenate([counts[rows + lag] for lag in range(-AFTER, BEFORE + 1)], 1)
    cut, found = int(0.8 * rows.size), {}
    spread = np.maximum(x[:cut].std(0), 1e-9)
    term = bg.Linear("counts", prior.Gaussian(scale)) if scale else bg.Linear("counts")
    for axis, name in enumerate(("x", "y")):
        y = hand[rows, axis]
        both = bg.recording(dt=data.attrs["dt"], time=data["time"].values[rows], counts=x / spread if scale else x, velocity=y)
        train, test = both.isel(time=slice(0, cut)), both.isel(time=slice(cut, None))
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = bg.fit(bg.GLM(bg.Baseline() + term, family.Gaussian(), response="velocity"), train, "laplace", progress=False)
        ours, seconds = bg.predict(fit, test, draws=200).mean(("chain", "draw")), time.perf_counter() - began
        drawn = bg.predict(fit, test, "response", draws=400)
        began = time.perf_counter()
        ridge = RidgeCV(alphas=np.geomspace(1e1, 1e5, 9)).fit(x[:cut] / spread, y[:cut])
        theirs, ridge_seconds = ridge.predict(x[cut:] / spread), time.perf_counter() - began
        scores = bg.decoding_score(drawn, test["velocity"], chance=20)
        peer = bg.decoding_score(test["velocity"].copy(data=theirs), test["velocity"], kind="value", chance=20)
        difference = (ours.values - y[cut:]) ** 2 - (theirs - y[cut:]) ** 2
        found[name] = {
            "rows": rows.size,
            "columns": x.shape[1],
            "r2": {"bayesglm": pair(scores, "r2"), "RidgeCV": pair(peer, "r2")},
            "squared_error_ours_minus_theirs": _blockwise(difference, int(scores.attrs["blocks"])),
            "coverage_of_90": pair(scores, "coverage"),
            "blocks": int(scores.attrs["blocks"]),
            "log_loss": {
                "bayesglm": short(-_log_density(fit, test)),
                "RidgeCV, Gaussian residuals": short(_plug_in(ridge, x[:cut] / spread, y, cut, theirs)),
            },
            "seconds": {"bayesglm": round(seconds, 1), "RidgeCV": round(ridge_seconds, 1)},
            "notes": list(fit.stats["notes"]),
        }
    return found


def _log_density(fit: Any, test: xr.Dataset) -> float:
    import bayesglm as bg

    return float(quietly(lambda: bg.score(fit, test))) / test.sizes["time"]


def _plug_in(ridge: Any, x: np.ndarray, y: np.ndarray, cut: int, predicted: np.ndarray) -> float:
    """Mean negative log density of a Gaussian with the sd of the training residuals."""
    sd = np.std(y[:cut] - ridge.predict(x))
    return float(np.mean(0.5 * ((y[cut:] - predicted) / sd) ** 2 + np.log(sd) + 0.5 * np.log(2 * np.pi)))


def _blockwise(values: np.ndarray, blocks: int) -> list[float]:
    """Mean, and its standard error over blocks."""
    means = np.array([part.mean() for part in np.array_split(values, max(blocks, 2))])
    return [short(values.mean()), short(means.std(ddof=1) / np.sqrt(means.size))]


PARTS: dict[str, Callable[[Path, bool], dict[str, Any]]] = {
    "gratings, 4 orientations": partial(gratings, response="orientation"),
    "gratings, 8 directions": partial(gratings, response="direction"),
    "clicks, 7 units": partial(clicks, column="rates"),
    "clicks, clicks": partial(clicks, column="clicks"),
    "feedback, 178 neurons": partial(feedback, name="steinmetz_1"),
    "feedback, 533 neurons": partial(feedback, name="steinmetz_2"),
    "choice twin": choice_twin,
    "velocity": velocity,
    "velocity, scale by folds": partial(velocity, scale="folds"),
    "orientation twin": orientation_twin,
    "independent decoder": lambda folder, quick: independent(quick),
}


if __name__ == "__main__":
    main()
