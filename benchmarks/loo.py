"""LOO against ArviZ, and at the scale of a recording: ``python benchmarks/loo.py [--quick] [--out FOLDER]``."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
CHAINS = 4
COLUMNS = 41  # and a baseline
LEVEL = -3.0  # log of the mean count a bin
REPEATS = 3
LIMITS = {"speed_exact": 10, "speed_sampled": 100, "subsampling_se": 0.5, "seconds": 240, "peak_gib": 2 * 1e9 / 2**30}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, write one JSON file, print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows only that everything runs")
    parser.add_argument("--out", type=Path, help="folder of the result; default benchmarks/results, none where --quick")
    parser.add_argument("--long", type=int, metavar="ROWS", help="only the long recording, in this process (used by the run itself)")
    given = parser.parse_args(arguments)
    if given.long:
        print(json.dumps(long_recording(given.long)))
        return
    from machine import described, versions

    rows, draws, longest = (1000, 200, 20_000) if given.quick else (20_000, 1000, 1_000_000)
    found = {"row": "loo", "quick": given.quick, "machine": described(), "versions": versions() | {"arviz-stats": _version("arviz-stats")}, "limits": LIMITS}
    found |= {"against_arviz": against_arviz(rows, draws), "long_recording": _in_a_fresh_process(longest)}
    text = json.dumps(found, indent=1)
    out = given.out or (None if given.quick else HERE / "results")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "loo.json").write_text(text + "\n")
    print(text)


def against_arviz(rows: int, draws: int) -> dict[str, Any]:
    """Seconds of ``bg.loo``, exact and from 2,000 bins, and of ``arviz.loo`` on the same draws (its log likelihoods ready made)."""
    import arviz_base
    import arviz_stats

    import bayesglm as bg
    from bayesglm._likelihood import log_likelihood_chunks

    fit = drawn(rows, draws)
    ways: dict[str, Callable[[], Any]] = {
        "exact": lambda: bg.loo(fit, unit="bin", block=1.0),
        "sampled": lambda: bg.loo(fit, unit="bin", block=1.0, rows=min(2000, rows // 2)),
        "waic": lambda: bg.waic(fit, block=1.0),
    }
    seconds = {name: _timed(way) for name, way in ways.items()}
    log_lik = np.concatenate([values for _, values in log_likelihood_chunks(fit)], axis=1)[:, :, 0]
    tree = arviz_base.from_dict({"posterior": {"b": np.zeros((CHAINS, draws // CHAINS))}, "log_likelihood": {"y": log_lik.reshape(CHAINS, -1, rows)}})
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = arviz_stats.loo(tree, pointwise=True, reff=1.0)
    peer = time.perf_counter() - began
    exact, sampled = ways["exact"](), ways["sampled"]()
    return {
        "rows": rows,
        "draws": draws,
        "columns": COLUMNS + 1,
        "seconds": {name: warm for name, (_, warm) in seconds.items()},
        "seconds_cold": {name: cold for name, (cold, _) in seconds.items()},
        "seconds_arviz": peer,
        "speed_exact": peer / seconds["exact"][1],
        "speed_sampled": peer / seconds["sampled"][1],
        "elpd": {"arviz": float(theirs.elpd), "exact": exact.elpd, "sampled": sampled.elpd},
        "largest_pointwise_difference": float(np.abs(exact.elpd_i.values[:, 0] - theirs.elpd_i.values).max()),  # relative efficiencies differ
        "subsampling_se": sampled.subsampling_se,
    }


def long_recording(rows: int) -> dict[str, Any]:
    """Seconds and peak memory of this whole process: one neuron, 42 columns, 1,000 draws, everything at its default but the unit."""
    import bayesglm as bg

    fit = drawn(rows, 1000)
    before = _peak()
    began = time.perf_counter()
    record = bg.loo(fit, unit="bin")
    seconds = time.perf_counter() - began
    figures = {"rows": rows, "draws": 1000, "columns": COLUMNS + 1, "seconds": seconds, "peak_gib": _peak(), "peak_before_gib": before}
    return figures | {"elpd": record.elpd, "se": record.se, "p": record.p, "bad": record.n_bad, "block": record.block}


def drawn(rows: int, draws: int) -> Any:
    """A Poisson GLM on white covariates with draws as wide as its posterior: independent, sd 1 / sqrt(rows x rate)."""
    import bayesglm as bg
    from bayesglm import method, prior
    from bayesglm._fit import Fit

    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, COLUMNS))
    weights = 0.3 * rng.standard_normal(COLUMNS) / np.sqrt(COLUMNS)
    spikes = rng.poisson(np.exp(LEVEL + x @ weights))[:, None]
    data = bg.recording(dt=0.01, spikes=spikes, x=x)
    gaussian = prior.Gaussian(1.0)
    model = bg.GLM(bg.Baseline(gaussian) + bg.Linear("x", gaussian)).resolve(data)
    spread = 1 / np.sqrt(rows * np.exp(LEVEL))
    shape = (CHAINS, draws // CHAINS, 1)
    dims = ("chain", "draw", "neuron")
    variables = {
        "baseline": (dims, LEVEL + spread * rng.standard_normal(shape)),
        "x": ((*dims, *model.terms["x"].dims), weights + spread * rng.standard_normal((*shape, COLUMNS))),
    }
    coords = {"chain": np.arange(CHAINS), "draw": np.arange(shape[1])} | model.coords()
    idata = xr.DataTree.from_dict({"posterior": xr.Dataset(variables, coords)})
    return Fit(model, data, idata, method.NUTS(), MappingProxyType({}))


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the first call, compilation included, and the median of later ones."""
    taken = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken[0], float(np.median(taken[1:]))


def _in_a_fresh_process(rows: int) -> dict[str, Any]:
    """Peak memory is a process's own."""
    done = subprocess.run([sys.executable, __file__, "--long", str(rows)], capture_output=True, text=True, check=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)


def _version(name: str) -> str:
    from importlib import metadata

    return metadata.version(name)


if __name__ == "__main__":
    main()
