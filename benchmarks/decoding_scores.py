"""What the decoding studies share: one score and its standard error, folds, silence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

SHOWN = ("accuracy", "balanced_accuracy", "auc", "log_loss", "bits", "brier", "expected_calibration_error", "calibration_error", "coverage", "coverage_claimed")
ANGLES = ("median_error", "mean_error", "log_loss", "coverage")


def pair(table: xr.Dataset, metric: str) -> list[float]:
    return [short(table[what].sel(metric=metric)) for what in ("value", "se")]


def short(value: Any) -> float:
    return float(f"{float(value):.4g}")


def runs(rows: int, k: int) -> np.ndarray:
    return np.arange(rows) * k // rows


def quietly(work: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work()
