"""Poisson counts against SciPy's law, over the whole range of means."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayesglm._double import double
from bayesglm.family._sampling import _inverted, poisson

SIZE = 100_000
UNLIKELY = 1e-4


@pytest.fixture(scope="module")
def drawn():
    """One program for all means, small and large side by side."""
    means = np.array([0.0, 0.003, 0.7, 4.0, 29.9, 30.1, 55.0, 1e3, 1e6, 9e8])
    with double():
        return means, np.asarray(jax.jit(poisson)(jax.random.key(2), jnp.broadcast_to(means, (SIZE, means.size))))


def test_counts_follow_the_law(drawn):
    for mean, counts in zip(drawn[0], drawn[1].T, strict=True):
        if mean == 0.0:
            assert not counts.any()
            continue
        cuts = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 30), mean))
        expected = SIZE * np.diff(np.r_[0.0, stats.poisson.cdf(cuts, mean), 1.0])
        found = np.histogram(counts, np.r_[-0.5, cuts + 0.5, np.inf])[0]
        assert (counts == np.round(counts)).all()
        assert stats.chisquare(found, expected * SIZE / expected.sum()).pvalue > UNLIKELY
        assert counts.var() == pytest.approx(mean, rel=6 * np.sqrt((2 + 1 / mean) / SIZE))


def test_the_largest_uniform_number_ends_too():
    """In single precision it may lie beyond the rounded distribution function, and must not run on."""
    means = np.linspace(0.1, 29.9, 500, dtype=np.float32)
    counts = np.asarray(jax.jit(_inverted)(jnp.full(means.shape, np.nextafter(np.float32(1), np.float32(0))), means))
    assert counts.dtype == np.float32
    assert (counts > means).all()
    assert (counts < means + 8 * np.sqrt(means) + 8).all()
