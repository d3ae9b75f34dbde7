"""Canonical shapes and recordings: tests that compile share them, so that each program is compiled once a session."""

from __future__ import annotations

import numpy as np
import xarray as xr

import bayesglm as bg

DT = 0.01
ROWS = 1500  # of the recordings that are sampled: as the fixture recording_small
NEURONS = 3
LABELS = ("a", "b", "c")
EPOCHS = (40, 3, 45)  # rows of the epochs of ``everything``: one is shorter than most filters


def like_small(seed: int) -> xr.Dataset:
    """Other data of the shape of the fixture ``recording_small``."""
    rng = np.random.default_rng(seed)
    return bg.recording(dt=DT, spikes=rng.poisson(0.25, (ROWS, NEURONS)), stimulus=rng.normal(size=ROWS))


def columns(seed: int = 0, rows: int = sum(EPOCHS)) -> dict[str, np.ndarray]:
    """One column of every kind that a term can read, as plain arrays."""
    rng = np.random.default_rng(seed)
    return {
        "spikes": rng.poisson(0.6, (rows, NEURONS)),
        "stimulus": 0.3 + rng.normal(size=rows),
        "pose": rng.normal(size=(rows, 2)) * [1.0, 3.0],
        "private": rng.normal(size=(rows, NEURONS)),
        "heading": rng.uniform(0, 360, rows),
        "x": rng.uniform(-1, 1, rows),
        "y": rng.uniform(0, 2, rows),
        "state": np.array(["rest", "run", "sleep"])[rng.integers(0, 3, rows)],
        "exposure": rng.normal(size=rows),
        "choice": rng.integers(0, 2, rows),
        "any_spike": rng.integers(0, 2, (rows, NEURONS)),
        "trace": rng.normal(size=(rows, NEURONS)) * [1.0, 2.0, 0.5],
        "movie": rng.normal(size=(rows, 3, 4)),
        "day": np.array(["mon", "tue"])[rng.integers(0, 2, rows)],
        "on": rng.integers(0, 2, rows),
        "licking": rng.integers(0, 2, (rows, NEURONS)),
        "power": rng.gamma(2.0, size=(rows, NEURONS)),
        "code": rng.integers(0, 3, (rows, NEURONS)),
        "direction": rng.uniform(0, 2 * np.pi, (rows, NEURONS)),
    }


def happenings(seed: int = 0, duration: float = DT * sum(EPOCHS)) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Events of every kind: cues with values, songs that last."""
    rng = np.random.default_rng(100 + seed)
    cues, songs = (np.sort(rng.uniform(0, duration, n)) for n in (12, 6))
    return {"cue": (cues, {"value": rng.normal(1.0, 0.5, cues.size)}), "song": (songs, {"stop": songs + rng.uniform(0.003, 0.08, songs.size)})}


def everything(seed: int = 0, *, observed: np.ndarray | None = None, events: dict | None = None, **changed: np.ndarray) -> xr.Dataset:
    """A tiny recording with a column of every kind, in three epochs."""
    given = columns(seed) | changed
    given["heading"] = bg.angle(given["heading"], period=360)
    for name in ("private", "any_spike", "trace", "licking", "power", "code", "direction"):
        given[name] = (("time", "neuron"), given[name])
    given["direction"] = bg.angle(given["direction"])
    epoch = np.repeat(np.arange(len(EPOCHS)), EPOCHS)
    events = happenings(seed) if events is None else events
    return bg.recording(dt=DT, epoch=epoch, observed=observed, events=events, labels={"neuron": list(LABELS), "area": ["V1", "CA1", "V1"]}, **given)
