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
import numpyro.distributions as dist
import xarray as xr

HERE = Path(__file__).parent
LIMIT = 1800  # seconds of a part
SHOWN = ("accuracy", "balanced_accuracy", "auc", "log_loss", "bits", "brier", "expected_calibration_error", "calibration_error", "coverage", "coverage_claimed")
ANGLES = ("median_error", "mean_error", "log_loss", "coverage")
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


def classes_on_folds(data: xr.Dataset, column: str, response: str, fold: np.ndarray, peers: Sequence[str], quick: bool) -> dict[str, Any]:
    """Our decoder (and its rivals) on the same folds: scores, paired differences to ours, seconds."""
    import bayesglm as bg
    from bayesglm import family, method

    y = data[response].values.astype(int)
    size = int(y.max()) + 1
    law = family.Bernoulli() if size == 2 else family.Categorical()
    model = bg.GLM(bg.Baseline() + bg.Linear(column), law, response=response)
    ways = {"bayesglm NUTS": method.NUTS(num_samples=50 if quick else 2000), "bayesglm Laplace": method.Laplace()}
    p, seconds, notes = {}, {}, {}
    for name, way in ways.items():
        began = time.perf_counter()
        record = _quietly(lambda way=way: bg.cross_validate(model, data, k=fold, method=way, chance=0, progress=False))
        seconds[name], notes[name] = time.perf_counter() - began, list(record.notes)
        p[name] = record.predictions["model"]["probability"].values
    x = data[column].values.reshape(y.size, -1).astype(float)
    for peer in peers:
        began = time.perf_counter()
        p[peer] = _by_peer(peer, x, y, fold, size)
        seconds[peer] = time.perf_counter() - began
    return _table(p, y, seconds) | {"rows": y.size, "columns": x.shape[1], "classes": size, "folds": int(np.unique(fold).size), "notes": notes}


def _by_peer(peer: str, x: np.ndarray, y: np.ndarray, fold: np.ndarray, size: int) -> np.ndarray:
    """(row, class) probabilities of scikit-learn's logistic regression, C by five inner folds of the training part."""
    found = np.empty((y.size, size))
    for one in np.unique(fold):
        test = fold == one
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = _peer(peer).fit(x[~test], y[~test])
            found[test] = made.predict_proba(x[test])
    return found


def _peer(name: str) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = {"l1_ratio": 1.0, "solver": "liblinear"} if "L1" in name else {"max_iter": 2000}
    made = make_pipeline(StandardScaler(), LogisticRegression(**kind))
    if "C = 1" in name:
        return made
    return GridSearchCV(made, {"logisticregression__C": np.geomspace(1e-5, 10, 7)}, cv=5, scoring="neg_log_loss")


L2, L1, PLAIN = "scikit-learn L2, C by inner folds", "scikit-learn L1, C by inner folds", "scikit-learn L2, C = 1"


def _table(p: dict[str, np.ndarray], y: np.ndarray, seconds: dict[str, float]) -> dict[str, Any]:
    """Scores of everyone, and their paired differences to ours (ours minus theirs)."""
    import bayesglm as bg
    from bayesglm._decoding._cross_validated import differences
    from bayesglm._decoding._decoding_score import scored
    from bayesglm._decoding._input import Options, read

    scores, parts, ids = {}, {}, np.arange(y.size)
    for name, values in p.items():
        table = bg.decoding_score(values, y, chance=50)
        scores[name] = {metric: _pair(table, metric) for metric in SHOWN if metric in table["metric"].values} | {"seconds": round(seconds[name], 2)}
        given = read(values, y, Options())
        parts[name] = scored(given.forecast, given.truth, ids, 0)
    ours = next(iter(p))
    paired = {}
    for name in list(p)[1:]:
        found = differences({ours: parts[ours], name: parts[name]}, ids).sel(model=ours)
        paired[name] = {metric: [_short(found[what].sel(metric=metric)) for what in ("difference", "se")] for metric in ("accuracy", "log_loss", "brier")}
    return {"scores": scores, "ours_minus_theirs": paired, "passes": _passes(scores, paired)}


def _passes(scores: dict[str, Any], paired: dict[str, Any]) -> dict[str, bool]:
    """The rule, against every peer."""
    paired = {name: one for name, one in paired.items() if not name.startswith("bayesglm")}
    not_below = {name: bool(one["accuracy"][0] >= -2 * one["accuracy"][1]) for name, one in paired.items()}
    lower = {name: bool(one["log_loss"][0] < 0) for name, one in paired.items()}
    clearly_higher = {name: bool(one["log_loss"][0] > 2 * one["log_loss"][1]) for name, one in paired.items()}
    return {"accuracy_not_below": all(not_below.values()), "lower_log_loss": all(lower.values()), "log_loss_not_above": not any(clearly_higher.values())}


def _pair(table: xr.Dataset, metric: str) -> list[float]:
    return [_short(table[what].sel(metric=metric)) for what in ("value", "se")]


def _short(value: Any) -> float:
    return float(f"{float(value):.4g}")


def _runs(rows: int, k: int) -> np.ndarray:
    return np.arange(rows) * k // rows


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
    return classes_on_folds(data, column, "choice", _runs(data.sizes["trial"], 3 if quick else 10), (L2, L1, PLAIN), quick)


def feedback(folder: Path, quick: bool, name: str) -> dict[str, Any]:
    """Reward or none from all neurons' counts in 390 ms after stimulus onset."""
    from bayesglm import datasets

    data = datasets.load(name, folder / "steinmetz")
    trials = data.assign(total=data["counts"].astype(float).sum("bin"))
    return classes_on_folds(trials, "total", "feedback", _runs(data.sizes["trial"], 3 if quick else 5), (L2, PLAIN) if quick else (L2, L1, PLAIN), quick)


def choice_twin(folder: Path, quick: bool) -> dict[str, Any]:
    """276 trials x 691 neurons, eight folds as the course has them."""
    from bayesglm import datasets

    data = datasets.choice_twin(*((80, 120) if quick else ()), informative=20 if quick else 60)
    fold = _runs(data.sizes["trial"], 4 if quick else 8)
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
            "r2": {"bayesglm": _pair(scores, "r2"), "RidgeCV": _pair(peer, "r2")},
            "squared_error_ours_minus_theirs": _blockwise(difference, int(scores.attrs["blocks"])),
            "coverage_of_90": _pair(scores, "coverage"),
            "blocks": int(scores.attrs["blocks"]),
            "log_loss": {
                "bayesglm": _short(-_log_density(fit, test)),
                "RidgeCV, Gaussian residuals": _short(_plug_in(ridge, x[:cut] / spread, y, cut, theirs)),
            },
            "seconds": {"bayesglm": round(seconds, 1), "RidgeCV": round(ridge_seconds, 1)},
            "notes": list(fit.stats["notes"]),
        }
    return found


def _log_density(fit: Any, test: xr.Dataset) -> float:
    import bayesglm as bg

    return float(_quietly(lambda: bg.score(fit, test))) / test.sizes["time"]


def _plug_in(ridge: Any, x: np.ndarray, y: np.ndarray, cut: int, predicted: np.ndarray) -> float:
    """Mean negative log density of a Gaussian with the sd of the training residuals."""
    sd = np.std(y[:cut] - ridge.predict(x))
    return float(np.mean(0.5 * ((y[cut:] - predicted) / sd) ** 2 + np.log(sd) + 0.5 * np.log(2 * np.pi)))


def _blockwise(values: np.ndarray, blocks: int) -> list[float]:
    """Mean, and its standard error over blocks."""
    means = np.array([part.mean() for part in np.array_split(values, max(blocks, 2))])
    return [_short(values.mean()), _short(means.std(ddof=1) / np.sqrt(means.size))]


def orientation_twin(folder: Path, quick: bool) -> dict[str, Any]:
    """Orientation from 23,589 simulated neurons x 360 stimuli, five folds: linear (cos, sin), von Mises, scikit-learn's ridge.

    Each of them with columns as they are and per sd (the default prior's unit); the mode, and the mean of the posterior's draws.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import bayesglm as bg
    from bayesglm import datasets, family, method, prior

    data = datasets.orientation_twin(*((400, 60) if quick else (23589, 360)))
    fold = _runs(data.sizes["trial"], 3 if quick else 5)
    found: dict[str, Any] = {"rows": data.sizes["trial"], "columns": data.sizes["responses_feature"]}
    plain = prior.Gaussian(dist.HalfNormal(float(data.sizes["responses_feature"] ** -0.5)))
    ways = {
        "linear (cos, sin), MAP": (family.LinearCircular(), plain, "map"),
        "linear (cos, sin), MAP, scale by folds": (family.LinearCircular(), prior.Gaussian("folds"), "map"),
        "linear (cos, sin), Laplace": (family.LinearCircular(), plain, method.Laplace(num_samples=500)),
        "linear (cos, sin), Laplace, default prior": (family.LinearCircular(), None, method.Laplace(num_samples=500)),
        "von Mises, MAP, default prior": (family.VonMises(), None, "map"),
    }
    errors = {}
    for name, (law, weights, how) in ways.items():
        model = bg.GLM(bg.Baseline() + bg.Linear("responses", weights), law, response="angle")
        began = time.perf_counter()
        record = _quietly(lambda model=model, how=how: bg.cross_validate(model, data, k=fold, method=how, chance=20, progress=False))
        scores = record["model"]
        found[name] = {metric: _pair(scores, metric) for metric in ANGLES if metric in scores["metric"].values}
        found[name] |= {"seconds": round(time.perf_counter() - began, 1), "converged": bool(record.folds["converged"].all())}
        errors[name] = record.predictions["model"]["estimate"].values
    x, theta = data["responses"].values, np.deg2rad(data["angle"].values)
    ridge = RidgeCV(alphas=np.geomspace(1e1, 1e6, 11))
    for name, peer in {"": ridge, ", columns per sd": make_pipeline(StandardScaler(), ridge)}.items():
        began, predicted = time.perf_counter(), np.empty(theta.size)
        for one in np.unique(fold):
            test = fold == one
            predicted[test] = np.arctan2(*peer.fit(x[~test], np.c_[np.cos(theta), np.sin(theta)][~test]).predict(x[test]).T[::-1])
        table = bg.decoding_score(np.rad2deg(predicted) % 360, data["angle"], chance=20)
        name = f"scikit-learn RidgeCV of (cos, sin){name}"
        found[name] = {metric: _pair(table, metric) for metric in ANGLES if metric in table["metric"].values}
        found[name] |= {"seconds": round(time.perf_counter() - began, 1)}
        errors[name] = np.rad2deg(predicted) % 360
    return found | {"error_less_ridges": _to_ridge(errors, data["angle"].values)}


def _to_ridge(estimates: dict[str, np.ndarray], truth: np.ndarray) -> dict[str, list[float]]:
    """Mean paired difference of the error to scikit-learn's ridge on the columns as they are, degrees, and its standard error."""
    off = {name: np.abs((one - truth + 180) % 360 - 180) for name, one in estimates.items()}
    other = off["scikit-learn RidgeCV of (cos, sin)"]
    return {name: [_short((one - other).mean()), _short((one - other).std(ddof=1) / np.sqrt(truth.size))] for name, one in off.items()}


def independent(quick: bool) -> dict[str, Any]:
    """How sure an inverted encoding model is whose neurons are independent given the angle, where they share a gain and fluctuations."""
    import bayesglm as bg
    from bayesglm import basis, datasets, family

    found = {}
    for neurons in (30,) if quick else (100, 400, 1600):
        twin = datasets.orientation_twin(neurons, 200 if quick else 600, seed=1)
        data = twin.drop_vars(["preferred", "amplitude", "concentration"]).rename(responses_feature="neuron").assign_coords(neuron=np.arange(neurons))
        train, test = bg.split(data, 0.6)
        model = bg.GLM(bg.Baseline() + bg.Tuning("angle", basis.Fourier(4)), family.Gaussian(), response="responses")
        fit = _quietly(lambda model=model, train=train: bg.fit(model, train, "laplace", progress=False))
        for calibrated in (False, True):
            decoded = _quietly(lambda: bg.decode(fit, test, "angle", grid=180, prior="uniform", draws=50, calibrate=calibrated, progress=False))  # noqa: B023
            scores = bg.decoding_score(decoded, test["angle"], chance=20)
            one = {metric: _pair(scores, metric) for metric in ANGLES} | {"temperature": _short(decoded.attrs["temperature"])}
            found[f"{neurons} neurons{', calibrated' if calibrated else ''}"] = one
    return found


def _quietly(work: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work()


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
