"""A fresh process for one entry: time a cold call, then warm calls on other data of the same shapes."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

_ENOUGH = 5.0  # seconds of warm calls after which no further one is made


def timed(solve: Any, ready: Any) -> tuple[float, dict[str, Any]]:
    """Seconds of one call, and its answer."""
    began = time.perf_counter()
    answer = solve(ready)
    return time.perf_counter() - began, answer


def measure(who: str, setting: str, quick: bool, calls: int, folder: Path) -> dict[str, Any]:
    """Cold and warm seconds of one entry; answers are left in ``folder`` for the judge."""
    from same import read

    solver = _make(who, setting, quick)
    ready = solver.prepare(read(folder / "a.npz"))
    cold, answer = timed(solver.solve, ready)
    _keep(answer, folder / "cold.npz")
    result, warm = {"cold": cold, "info": answer["info"], "warm": []}, []
    if calls:
        ready = solver.prepare(read(folder / "b.npz"))
        while len(warm) < calls and sum(warm) < _ENOUGH:
            seconds, answer = timed(solver.solve, ready)
            warm.append(seconds)
        _keep(answer, folder / "warm.npz")
        result |= {"warm": warm, "warm_info": answer["info"]}
    return result | {"peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}


def _make(who: str, setting: str, quick: bool) -> Any:
    if who == "bayesglm":
        import ours

        return ours.make(setting, quick)
    import peers

    return peers.make(who, setting, quick)


def _keep(answer: dict[str, Any], path: Path) -> None:
    np.savez(path, **{name: value for name, value in answer.items() if name != "info"})


def main() -> None:
    """``worker.py WHO SETTING QUICK CALLS FOLDER``: the result is written to FOLDER/result.json."""
    who, setting, quick, calls, folder = sys.argv[1:]
    warnings.simplefilter("ignore")
    result = measure(who, setting, quick == "1", int(calls), Path(folder))
    (Path(folder) / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
