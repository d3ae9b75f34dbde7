"""Slow: 90 % intervals of differences hold the true one, and useless slow covariates are seldom called better."""

from __future__ import annotations

import pytest
from studies import comparison
from studies.record import keep

RECORDINGS, SEED = 200, 17
LOW, HIGH = 0.82, 0.96  # coverage of 90 % intervals
FALSE = 0.05
LEAST_BLOCKS, LEAST_TIMES = 50, 1_000


def test_the_generator_is_what_it_says():
    found = comparison.one_recording(SEED, 0)
    assert set(found) == {"driven", "useless", "driven by bin", "useless by bin"}
    assert found["driven"].truth > 0 > found["useless"].truth
    assert found["driven"].clusters >= LEAST_BLOCKS
    assert found["driven by bin"].clusters == round(comparison.SECONDS / comparison.DT)
    assert comparison.SECONDS / comparison.TAU >= LEAST_TIMES
    assert comparison.NEW >= 7


@pytest.mark.slow
def test_differences_are_honest():
    found = comparison.summary(comparison.study(RECORDINGS, SEED))
    keep("comparison_study", found)
    assert LOW <= found["driven"]["coverage"] <= HIGH
    assert found["useless"]["called_better"] <= FALSE
    assert found["driven"]["fewest_clusters"] >= LEAST_BLOCKS
