"""Orientation from the simulated twin of a large recording: discriminative decoders beside ridge, and an inverted encoding model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpyro.distributions as dist
from decoding_scores import ANGLES, pair, quietly, runs, short


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
    fold = runs(data.sizes["trial"], 3 if quick else 5)
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
        record = quietly(lambda model=model, how=how: bg.cross_validate(model, data, k=fold, method=how, chance=20, progress=False))
        scores = record["model"]
        found[name] = {metric: pair(scores, metric) for metric in ANGLES if metric in scores["metric"].values}
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
        found[name] = {metric: pair(table, metric) for metric in ANGLES if metric in table["metric"].values}
        found[name] |= {"seconds": round(time.perf_counter() - began, 1)}
        errors[name] = np.rad2deg(predicted) % 360
    return found | {"error_less_ridges": _to_ridge(errors, data["angle"].values)}


def _to_ridge(estimates: dict[str, np.ndarray], truth: np.ndarray) -> dict[str, list[float]]:
    """Mean paired difference of the error to scikit-learn's ridge on the columns as they are, degrees, and its standard error."""
    off = {name: np.abs((one - truth + 180) % 360 - 180) for name, one in estimates.items()}
    other = off["scikit-learn RidgeCV of (cos, sin)"]
    return {name: [short((one - other).mean()), short((one - other).std(ddof=1) / np.sqrt(truth.size))] for name, one in off.items()}


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
        fit = quietly(lambda model=model, train=train: bg.fit(model, train, "laplace", progress=False))
        for calibrated in (False, True):
            decoded = quietly(lambda: bg.decode(fit, test, "angle", grid=180, prior="uniform", draws=50, calibrate=calibrated, progress=False))  # noqa: B023
            scores = bg.decoding_score(decoded, test["angle"], chance=20)
            one = {metric: pair(scores, metric) for metric in ANGLES} | {"temperature": short(decoded.attrs["temperature"])}
            found[f"{neurons} neurons{', calibrated' if calibrated else ''}"] = one
    return found
