"""Slow: 90 % intervals of differences hold the true one, and useless slow covariates are seldom called better."""

from __future__ import annotations

import numpy as np
import pytest
from studies import comparison
from studies.record import keep

RECORDINGS, SEED = 200, 17
LOW, HIGH = 0.82, 0.96  # coverage of 90 % intervals
FALSE = 0.05
LEAST_BLOCKS, LEAST_TIMES = 50, 1_000


def test_the_generator_is_what_it_says():
    rng = np.random.default_rng(0)
    signals = comparison.slow(rng, 40_000, 2)
    lags = {lag: np.mean(signals[lag:] * signals[:-lag]) for lag in (1, 5, 10)}
    for lag, correlation in lags.items():
        assert correlation == pytest.approx(np.exp(-lag * comparison.DT / comparison.TAU), abs=0.03)
    data = comparison.simulate(rng, comparison.SECONDS)
    known = comparison.RATE * comparison.DT * np.exp(comparison.DRIVEN**2 / 2)
    assert float(data["spikes"].mean()) == pytest.approx(known, rel=0.1)
    assert set(data.data_vars) == {"spikes", "x", "noise"}  # what drives the cell besides is hidden
    assert comparison.SECONDS / comparison.TAU >= LEAST_TIMES
    assert comparison.NEW >= 7


@pytest.mark.slow
def test_differences_are_honest():
    found = comparison.summary(comparison.study(RECORDINGS, SEED))
    keep("comparison_study", found)
    assert LOW <= found["driven"]["coverage"] <= HIGH
    assert found["useless"]["called_better"] <= FALSE
    assert found["driven"]["fewest_clusters"] >= LEAST_BLOCKS
