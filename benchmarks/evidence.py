"""The evidence's scale against a cross-validated grid, on real recordings: ``python benchmarks/evidence.py FOLDER [--quick]``.

FOLDER holds ``head_direction`` and ``motor_cortex`` (see the documentation of the data). Ten strengths in five blocked
folds, and one fit by the evidence, on the first 80 %; the held-out log likelihood of the last 20 % of each.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from machine import described, versions

import bayesglm as bg
from bayesglm import basis, prior

SCALES = np.geomspace(0.01, 2.0, 10)
FOLDS, BLOCKS = 5, 40


def head_direction(folder: Path, quick: bool) -> tuple[xr.Dataset, basis.AbstractBasis, list[int]]:
    """Nineteen cells at 10 ms; couplings over 0.1 s."""
    counts = np.load(folder / "head_direction" / "hd_wake.npz")["counts"][: 3000 if quick else 18_000]
    return bg.recording(dt=0.01, spikes=counts.astype(int)), basis.RaisedCosine(4, span=0.1), list(range(3 if quick else 19))


def motor_cortex(folder: Path, quick: bool) -> tuple[xr.Dataset, basis.AbstractBasis, list[int]]:
    """The thirty busiest of 171 units at 50 ms; couplings over 0.3 s."""
    counts = np.load(next((folder / "motor_cortex").glob("*.npz")))["counts"]
    counts = counts if counts.shape[0] > counts.shape[1] else counts.T
    busiest = np.sort(np.argsort(-counts.sum(0))[:30])
    return (
        bg.recording(dt=0.05, spikes=counts[: 3000 if quick else None, busiest].astype(int)),
        basis.RaisedCosine(3, span=0.3),
        list(range(3 if quick else 30)),
    )


def model(lags: basis.AbstractBasis, scale: Any, receivers: list[int]) -> bg.GLM:
    """Baseline, history and couplings under one kind of scale."""
    return bg.GLM(bg.Baseline() + bg.History(lags, prior.Gaussian(scale)) + bg.Coupling(lags, prior.Gaussian(scale)), neurons=tuple(receivers))


def compared(data: xr.Dataset, lags: basis.AbstractBasis, receivers: list[int], scales: np.ndarray) -> dict[str, Any]:
    """Held-out log likelihoods by both, their difference with its block-wise standard error, and seconds."""
    train, test = bg.split(data, 0.8, gap=1.0)
    bg.fit(model(lags, "evidence", receivers), train, "map", progress=False)  # compiles; the grid's first fit compiles for itself
    began = time.perf_counter()
    chosen = bg.fit(model(lags, "evidence", receivers), train, "map", progress=False)
    by_evidence = time.perf_counter() - began
    bg.fit(model(lags, float(scales[0]), receivers), train, "map", progress=False)
    began = time.perf_counter()
    scores = np.zeros((len(scales), len(receivers)))
    for part, left in bg.folds(train, FOLDS, gap=1.0):
        for i, scale in enumerate(scales):
            scores[i] += bg.score(bg.fit(model(lags, float(scale), receivers), part, "map", progress=False), left).values
    best = scores.argmax(0)
    fits = {int(i): bg.fit(model(lags, float(scales[i]), receivers), train, "map", progress=False) for i in np.unique(best)}
    by_grid = time.perf_counter() - began
    grid = np.stack([rows(fits[int(i)], test)[:, n] for n, i in enumerate(best)], 1)
    gained = rows(chosen, test) - grid
    joint = np.nansum(gained, 1)
    blocks = np.array([part.sum() for part in np.array_split(joint, BLOCKS)])
    error = float(blocks.std(ddof=1) * np.sqrt(BLOCKS))
    each = np.array([[part[:, n].sum() for part in np.array_split(np.nan_to_num(gained), BLOCKS)] for n in range(len(receivers))])
    within = np.abs(each.sum(1)) <= each.std(1, ddof=1) * np.sqrt(BLOCKS)
    return {
        "rows": int(train.sizes["time"]),
        "neurons": len(receivers),
        "evidence_minus_grid_nats": float(joint.sum()),
        "its_standard_error": error,
        "neurons_within_one_standard_error": int(within.sum()),
        "neurons_where_evidence_is_better": int((each.sum(1) > 0).sum()),
        "grid_at_an_end": int(np.isin(best, (0, len(scales) - 1)).sum()),
        "seconds_evidence": by_evidence,
        "seconds_grid": by_grid,
        "times_faster": by_grid / by_evidence,
    }


def rows(fit: bg.Fit, test: xr.Dataset) -> np.ndarray:
    """(row, neuron) log probabilities of a held-out part."""
    from bayesglm._likelihood import gathered, log_mean_chunks, source

    made = source(fit, test)
    return gathered(made, log_mean_chunks(made))


def main() -> None:
    """Run both recordings and write ``results/evidence.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {"machine": described(), "versions": versions(), "scales": SCALES.tolist(), "folds": FOLDS}
    for name, load in {"head_direction": head_direction, "motor_cortex": motor_cortex}.items():
        found[name] = compared(*load(given.folder, given.quick), SCALES[::4] if given.quick else SCALES)
        print(name, json.dumps(found[name], indent=1))
    if not given.quick:
        (Path(__file__).parent / "results" / "evidence.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
