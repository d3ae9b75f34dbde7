"""What was measured on: the machine, the versions, and the floors that no solver can undercut."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("bayesglm", "jax", "numpyro", "numpy", "scipy", "nemos", "glum", "scikit-learn", "skglm", "statsmodels", "bambi", "pymc", "nutpie", "numba")


def described() -> dict[str, Any]:
    """Processor, cores, memory, system and date."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20, 1),
        "system": platform.platform(terse=True),
        "date": datetime.date.today().isoformat(),
        "load": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of Python and of whatever is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def floors(columns: np.ndarray, passengers: int) -> dict[str, float]:
    """Seconds of one gradient pass of ``passengers`` weight vectors (two products) and of one Gram matrix, in plain BLAS."""
    found = {}
    for precision, kind in (("double", np.float64), ("single", np.float32)):
        x = np.ascontiguousarray(columns, dtype=kind)
        w = np.zeros((x.shape[1], passengers), kind)
        found[f"pass_{precision}"] = _median(lambda x=x, w=w: x.T @ (x @ w))
        found[f"gram_{precision}"] = _median(lambda x=x: x.T @ x)
    return found


def _median(work: Callable[[], Any]) -> float:
    work()
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def _field(path: str, name: str) -> str:
    """The first ``name: value`` of a file of the Linux kernel, or an empty string."""
    file = Path(path)
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")
