"""Free-running simulation of a coupled population: ``python benchmarks/simulate.py [--quick] [--out FOLDER]``."""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
DT = 0.001
LAGS = 100  # bins
COUPLINGS, HISTORIES = 5, 8  # functions of lag
LEVEL = np.log(10 * DT)  # ten spikes a second
LIMITS = {"seconds": 120}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, write one JSON file, print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows only that everything runs")
    parser.add_argument("--out", type=Path, help="folder of the result; default benchmarks/results, none where --quick")
    given = parser.parse_args(arguments)
    from machine import described, versions

    size = (8, 2000) if given.quick else (100, 100_000)
    found = {"row": "simulate", "quick": given.quick, "machine": described(), "versions": versions(), "limits": LIMITS}
    found |= {"network": network(*size)}
    text = json.dumps(found, indent=1)
    out = given.out or (None if given.quick else HERE / "results")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "simulate.json").write_text(text + "\n")
    print(text)


def network(neurons: int, rows: int) -> dict[str, Any]:
    """Seconds of one draw, compilation included and not, of four draws, and of four replicates of one draw."""
    import bayesglm as bg

    made = drawn(neurons, rows, 4)
    ways = {"one_draw_cold": (1, 1), "one_draw": (1, 1), "four_draws": (4, 1), "four_replicates": (1, 4)}
    seconds, figures = {}, {}
    for name, (draws, replicates) in ways.items():
        began = time.perf_counter()
        found = bg.simulate(made, draws=draws, replicates=replicates, progress=False)
        seconds[name] = round(time.perf_counter() - began, 2)
        if name == "four_draws":
            figures = {"rate_hz": float(found["spikes"].mean()) / DT, "stability": found.attrs["stability"], "type": found["spikes"].dtype.name}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"neurons": neurons, "rows": rows, "lags": LAGS, "functions": [COUPLINGS, HISTORIES], "seconds": seconds, "peak_gib": round(peak, 2), **figures}


def drawn(neurons: int, rows: int, draws: int) -> Any:
    """A fit with made-up draws: refractory cells with weak couplings of both signs, all to all."""
    import bayesglm as bg
    from bayesglm import basis, method, prior
    from bayesglm._fit import Fit

    rng = np.random.default_rng(0)
    data = bg.recording(dt=DT, spikes=rng.poisson(np.exp(LEVEL), (rows, neurons)))
    span, few = LAGS * DT, prior.Gaussian(0.3)
    terms = bg.Baseline(few) + bg.History(basis.RaisedCosine(HISTORIES, span=span), few) + bg.Coupling(basis.RaisedCosine(COUPLINGS, span=span), few)
    model = bg.GLM(terms).resolve(data)
    shape, dims = (1, draws, neurons), ("chain", "draw", "neuron")
    history = np.linspace(-4.0, 0.0, HISTORIES) + 0.05 * rng.standard_normal((*shape, HISTORIES))
    coupling = 0.3 / np.sqrt(neurons) * rng.standard_normal((*shape, neurons, COUPLINGS))
    variables = {
        "baseline": (dims, LEVEL + 0.05 * rng.standard_normal(shape)),
        "history": ((*dims, *model.terms["history"].dims), history),
        "coupling": ((*dims, *model.terms["coupling"].dims), coupling),
    }
    posterior = xr.Dataset(variables, {"chain": [0], "draw": np.arange(draws)} | model.coords())
    return Fit(model, data, xr.DataTree.from_dict({"posterior": posterior}), method.Laplace(), MappingProxyType({}))


if __name__ == "__main__":
    main()
