"""Decoders with more neurons than trials, beside scikit-learn on the same arrays: ``python benchmarks/decoders.py [--quick] [--only NAME]``.

Simulated twins of the field's recordings: orientation from 23,589 neurons in 360 and in 4,598 trials (linear decoder of
cosine and sine: mode and Laplace), a choice from 691 neurons in 276 trials (NUTS of the logistic decoder). Every row runs
in a fresh process, compilation included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
ROWS = {"orientation_360": (360, 23_589), "orientation_4598": (4_598, 23_589), "choice_276": (276, 691)}
QUICK = {"orientation_360": (60, 300), "orientation_4598": (120, 300), "choice_276": (60, 90)}
LIMITS = {"orientation_360": 5.0, "orientation_4598": 90.0, "choice_276": 60.0}
TESTED = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, write one JSON file, print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows only that everything runs")
    parser.add_argument("--out", type=Path, help="folder of the result; default benchmarks/results, none where --quick")
    parser.add_argument("--only", choices=ROWS, help="only this row, in this process (used by the run itself)")
    given = parser.parse_args(arguments)
    if given.only:
        print(json.dumps(measured(given.only, (QUICK if given.quick else ROWS)[given.only])))
        return
    from machine import described, versions

    found: dict[str, Any] = {"row": "decoders", "quick": given.quick, "machine": described(), "versions": versions(), "limits_seconds": LIMITS}
    for name in ROWS:
        found[name] = _in_a_fresh_process(name, given.quick)
        print(name, json.dumps(found[name], indent=1), flush=True)
    out = given.out or (None if given.quick else HERE / "results")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "decoders.json").write_text(json.dumps(found, indent=1) + "\n")


def measured(name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Ours and theirs on one twin."""
    return choice(*size) if name.startswith("choice") else orientation(*size)


def twin(trials: int, neurons: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Orientations (trial,) in degrees and responses (trial, neuron): tuned cells under a shared gain, low-rank and private noise."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 360, trials)
    preferred, width = rng.uniform(0, 360, neurons), rng.gamma(4.0, 0.5, neurons)
    tuning = np.exp(width * (np.cos(np.deg2rad(angle[:, None] - preferred)) - 1.0), dtype=np.float32)
    gain = np.exp(0.3 * rng.standard_normal((trials, 1))).astype(np.float32)
    shared = rng.standard_normal((trials, 20)).astype(np.float32) @ (0.3 * rng.standard_normal((20, neurons))).astype(np.float32)
    return angle, gain * tuning + shared + 2.0 * rng.standard_normal((trials, neurons), dtype=np.float32)


def orientation(trials: int, neurons: int) -> dict[str, Any]:
    """The linear decoder of cosine and sine: mode and Laplace posterior; scikit-learn's ridge with a strength by leave-one-out."""
    import bayesglm as bg

    angle, responses = twin(trials + TESTED, neurons)
    data = bg.recording(rows="trial", counts=responses[:trials], angle=bg.angle(angle[:trials], period=360))
    test = bg.recording(rows="trial", counts=responses[trials:], angle=bg.angle(angle[trials:], period=360))
    model = bg.GLM(bg.Baseline() + bg.Linear("counts"), bg.family.LinearCircular(), response="angle")
    found: dict[str, Any] = {"trials": trials, "neurons": neurons}
    for method in ("map", "laplace"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit, seconds = _timed(lambda method=method: bg.fit(model, data, method, progress=False))
        errors = _apart(_towards(fit, test), angle[trials:])
        found[method] = {"seconds": seconds, "converged": fit.stats["converged"], "median_error_degrees": float(np.median(errors)), "peak_gib": _peak()}
        found[method] |= {"scale": float(fit.posterior["counts_scale"].mean()), "sigma": float(fit.posterior["sigma"].mean())}
    found["laplace"]["weights_gib"] = round(fit.posterior["counts"].nbytes / 2**30, 3)
    fit = None  # a large posterior is let go
    found["map, scale by folds"] = _by_folds(data, test, angle[trials:])
    return found | {"ridge_cv": _ridge(responses, angle, trials)}


def _by_folds(data: xr.Dataset, test: xr.Dataset, truth: np.ndarray) -> dict[str, Any]:
    """The scale under which left-out trials are predicted best, columns as they are."""
    import bayesglm as bg

    model = bg.GLM(bg.Baseline() + bg.Linear("counts", bg.prior.Gaussian("folds")), bg.family.LinearCircular(), response="angle")
    fit, seconds = _timed(lambda: bg.fit(model, data, "map", progress=False))
    errors = _apart(_towards(fit, test), truth)
    about = {"scale": float(fit.model.terms["counts"].prior.scale), "sigma": float(fit.model.family.scale), "peak_gib": _peak()}
    return {"seconds": seconds, "median_error_degrees": float(np.median(errors)), "mean_error_degrees": float(errors.mean())} | about


def _ridge(responses: np.ndarray, angle: np.ndarray, trials: int) -> dict[str, Any]:
    from sklearn.linear_model import RidgeCV

    x = responses[:trials].astype(float)
    mean, sd = x.mean(0), x.std(0)
    plane = np.stack([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))], 1)
    ridge = RidgeCV(alphas=responses.shape[1] * np.geomspace(1e-3, 1e2, 11))
    _, seconds = _timed(lambda: ridge.fit((x - mean) / sd, plane[:trials]))
    towards = ridge.predict((responses[trials:] - mean) / sd)
    errors = _apart(np.rad2deg(np.arctan2(towards[:, 1], towards[:, 0])), angle[trials:])
    return {"seconds": seconds, "median_error_degrees": float(np.median(errors)), "alpha": float(ridge.alpha_), "peak_gib": _peak()}


def _towards(fit: Any, test: xr.Dataset) -> np.ndarray:
    import bayesglm as bg

    drawn = bg.predict(fit, test, draws=100).values
    return np.rad2deg(np.angle(np.exp(1j * np.deg2rad(drawn)).mean((0, 1))))


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs((a - b + 180) % 360 - 180)


def choice(trials: int, neurons: int) -> dict[str, Any]:
    """The logistic decoder under a learned scale by NUTS, against scikit-learn's L2 at C = 1 and over a nested grid."""
    import bayesglm as bg

    rng = np.random.default_rng(1)
    latent = rng.standard_normal((trials + TESTED, 10))
    counts = rng.poisson(np.exp(0.5 + latent @ (0.25 * rng.standard_normal((10, neurons)))))
    picked = (rng.random(trials + TESTED) < 1 / (1 + np.exp(-2.0 * latent[:, 0] - 1.5 * latent[:, 1]))).astype(int)
    data, test = (bg.recording(rows="trial", counts=counts[some], choice=picked[some]) for some in (slice(0, trials), slice(trials, None)))
    found: dict[str, Any] = {"trials": trials, "neurons": neurons}
    # the default scale, HalfNormal(1) per sd of each of 691 columns, is 26 on the log odds: the likelihood is flat out there
    priors = {"": bg.prior.Gaussian(bg.prior.HalfNormal(0.1)), ", default prior": None}
    for name, method in (("nuts", bg.method.NUTS(num_samples=2000)), ("laplace", "laplace"), ("map", "map")):
        for words, weights in priors.items():
            model = bg.GLM(bg.Baseline() + bg.Linear("counts", weights), bg.family.Bernoulli(), response="choice")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit, seconds = _timed(lambda model=model, method=method: bg.fit(model, data, method, progress=False))
            p = bg.predict(fit, test, draws=400).values.mean((0, 1))
            about = {"seconds": seconds, "converged": fit.stats["converged"], "reasons": fit.stats["reasons"]}
            found[name + words] = about | {"scale": float(fit.posterior["counts_scale"].mean()), **_scores(p, picked[trials:])}
    return found | _logistic(counts, picked, trials)


def _logistic(counts: np.ndarray, picked: np.ndarray, trials: int) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    mean, sd = counts[:trials].mean(0), np.maximum(counts[:trials].std(0), 1e-12)
    x, left = (counts[:trials] - mean) / sd, (counts[trials:] - mean) / sd
    found = {}
    for name, peer in (
        ("logistic_c1", LogisticRegression(max_iter=5000)),
        ("logistic_cv", LogisticRegressionCV(Cs=np.geomspace(1e-5, 1e2, 8), cv=8, max_iter=5000)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, seconds = _timed(lambda peer=peer: peer.fit(x, picked[:trials]))
        found[name] = {"seconds": seconds, **_scores(peer.predict_proba(left)[:, 1], picked[trials:])}
    return found


def _scores(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return {"accuracy": float(((p > 0.5) == y).mean()), "log_loss": float(-np.log(np.where(y == 1, p, 1 - p)).mean())}


def _timed(work: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    found = work()
    return found, round(time.perf_counter() - began, 2)


def _in_a_fresh_process(name: str, quick: bool) -> dict[str, Any]:
    """Peak memory is a process's own, and so is what was compiled before."""
    command = [sys.executable, __file__, "--only", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)


if __name__ == "__main__":
    main()
