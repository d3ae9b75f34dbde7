"""Recordings and fits that several tests share; a NUTS program is compiled once a session."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(os.path.dirname(__file__), "..", ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import bayesglm as bg
from bayesglm import basis, method


@pytest.fixture(scope="session")
def recording_small():
    """1,500 bins of 10 ms: three neurons driven by a white-noise stimulus, refractory, one coupling."""
    rng = np.random.default_rng(7)
    rows = 1500
    stimulus = rng.normal(size=rows)
    spikes = np.zeros((rows, 3), int)
    for t in range(1, rows):
        eta = -1.6 + 0.6 * stimulus[t] - 1.0 * spikes[t - 1] + np.array([0.0, 0.8 * spikes[t - 1, 0], 0.0])
        spikes[t] = rng.poisson(np.exp(eta))
    return bg.recording(dt=0.01, spikes=spikes, stimulus=stimulus)


@pytest.fixture(scope="session")
def model_small():
    """Baseline, stimulus, history and coupling on few basis functions."""
    return bg.GLM(
        bg.Baseline()
        + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05))
        + bg.History(basis.RaisedCosine(2, span=0.05))
        + bg.Coupling(basis.RaisedCosine(2, span=0.05))
    )


@pytest.fixture(scope="session")
def fit_small_nuts(recording_small, model_small):
    """A sampled fit; few draws, so that it may warn about its effective sample size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bg.fit(model_small, recording_small, method.NUTS(num_samples=250, num_chains=2), progress=False)


@pytest.fixture(scope="session")
def fit_small_map(recording_small, model_small):
    """A point fit."""
    return bg.fit(model_small, recording_small, "map", progress=False)


_MOST_MAPS = 20_000  # Linux gives a process 65,530; XLA takes a few for every program it compiles, and crashes where there are none left


@pytest.fixture(autouse=True)
def compiled_programs_are_let_go():
    """Thousands of programs in one process would run out of memory maps: past a third of them JAX forgets what it compiled."""
    yield
    maps, jax = Path("/proc/self/maps"), sys.modules.get("jax")
    if jax is not None and maps.exists() and maps.read_bytes().count(b"\n") > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()
