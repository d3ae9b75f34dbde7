"""Seconds of a pooled scale, a horseshoe and a dispersion on the head-direction recording: ``python benchmarks/priors.py FOLDER [--quick]``.

FOLDER holds ``head_direction``. Each posterior is drawn by NUTS, compilation included for the first two; negative
binomial and Poisson are drawn in turn, warm, and compared by the second a draw.
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
from bayesglm import basis, family, method, prior

ROUNDS = 3


def drawn(model: bg.GLM, data: xr.Dataset, how: method.NUTS) -> dict[str, Any]:
    """One fit: seconds, whether it converged and how."""
    began = time.perf_counter()
    fit = bg.fit(model, data, how, progress=False)
    found = {"seconds": time.perf_counter() - began, "converged": fit.stats["converged"], "reasons": list(fit.stats["reasons"])}
    convergence, stats = fit.stats["convergence"], fit.idata["sample_stats"]
    figures = {"rhat_effect": convergence.rhat_effect, "ess_bulk": convergence.ess_bulk, "divergences": int(convergence.divergences)}
    return found | figures | {"steps_a_draw": float(stats["n_steps"].mean())}


def dispersion(data: xr.Dataset, how: method.NUTS) -> dict[str, Any]:
    """Negative binomial over Poisson: seconds of warm fits in turn, medians."""
    terms = bg.Baseline() + bg.History(basis.RaisedCosine(8, span=0.8))
    models = {"negative_binomial": bg.GLM(terms, family.NegativeBinomial(), neurons=(2,)), "poisson": bg.GLM(terms, neurons=(2,))}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(ROUNDS + 1):
        for name, model in models.items():
            found = drawn(model, data, how)["seconds"]
            if turn:  # the first one compiles
                seconds[name].append(found)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return medians | {"ratio": medians["negative_binomial"] / medians["poisson"]}


def main() -> None:
    """Measure and write ``results/priors.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, draws = (1000, 50) if given.quick else (9000, 500)
    counts = np.load(given.folder / "head_direction" / "hd_wake.npz")["counts"][:rows].astype(int)
    data, how = bg.recording(dt=0.01, spikes=counts), method.NUTS(num_samples=draws)
    past, lags = bg.History(basis.RaisedCosine(8, span=0.8)), basis.RaisedCosine(5, span=0.1)
    sparse = bg.Baseline() + past + bg.Coupling(lags, prior.Horseshoe(expected_nonzero=10))
    found: dict[str, Any] = {"machine": described(), "versions": versions(), "rows": rows, "chains": 4, "draws": draws}
    found["hierarchical, 19 neurons"] = drawn(bg.GLM(bg.Baseline() + bg.History(past.basis, prior.Hierarchical())), data, how)
    found["horseshoe couplings, one neuron"] = drawn(bg.GLM(sparse, neurons=(2,)), data, how)
    found["dispersion, one neuron"] = dispersion(data, how)
    print(json.dumps(found, indent=1))
    if not given.quick:
        (Path(__file__).parent / "results" / "priors.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
