"""Where the recordings and reference posteriors lie."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


def folder(name: str) -> Path:
    """The folder of a data set (``BAYESGLM_DATA``, else beside the repository); the test is skipped where it is absent."""
    place = Path(os.environ.get("BAYESGLM_DATA") or _ROOT.parent / "shared" / "data") / name
    if not place.is_dir():
        pytest.skip(f"the data set {name!r} is not at {place}: set BAYESGLM_DATA to the folder that holds it", allow_module_level=True)
    return place


def read_json(place: Path) -> dict:
    """A JSON file."""
    return json.loads(place.read_text())
