"""Results of slow studies, kept with versions and the machine's description."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
_PACKAGES = ("bayesglm", "jax", "numpyro", "numpy", "scipy", "xarray")


def machine() -> dict[str, Any]:
    """CPU model, cores and memory (GiB)."""
    info = Path("/proc/cpuinfo")
    named = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": named[0] if named else platform.processor(), "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory, 1)}


def keep(name: str, result: dict[str, Any]) -> None:
    """Write ``benchmarks/results/<name>.json``."""
    versions = {"python": platform.python_version()} | {package: version(package) for package in _PACKAGES}
    RESULTS.mkdir(parents=True, exist_ok=True)
    whole = {"study": name, "result": result, "versions": versions, "machine": machine()}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
