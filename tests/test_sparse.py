"""Sparse truth: what bands of zero and planted couplings cover, and whether the horseshoe finds them in a better order than L1."""

from __future__ import annotations

import numpy as np
import pytest
from studies import record, sparse

from bayesglm import method

NETWORKS, RANKED, RECEIVERS = 20, 10, 5
FEW, SHORT, LONG = 1_000, 4_000, 20_000  # rows: 10 s, where a ranking is not yet easy, 40 s and 200 s


def test_average_precision_by_hand():
    """Hits at ranks one and three of four: (1 + 2/3) / 2."""
    assert sparse.average_precision(np.array([True, False, True, False]), np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx(5 / 6)


@pytest.mark.slow
def test_zeros_and_planted_couplings_are_covered():
    """Of 200 s; of 40 s, where the learned scale shrinks what is there, coverage is recorded beside it."""
    results = {}
    for rows in (SHORT, LONG):
        found = np.array([sparse.covered(sparse.network(rows, seed), method.Laplace()) for seed in range(NETWORKS)])
        (zeros, planted), errors = found.mean(0), found.std(0, ddof=1) / np.sqrt(NETWORKS)
        results[f"{rows * sparse.DT:.0f} s"] = {"zeros": zeros, "zeros_se": errors[0], "planted": planted, "planted_se": errors[1]}
    record.keep("coverage_sparse", {"networks": NETWORKS, "nominal": 0.9, "method": "Laplace()", "coverage": results})
    assert zeros >= 0.9
    assert planted >= 0.8


@pytest.mark.slow
def test_the_horseshoe_ranks_couplings_better_than_l1():
    """Of 10 s: at 40 s and more both find nearly every planted coupling first, and there is nothing to tell."""
    sampler = method.NUTS(num_samples=250, num_chains=2)
    found = [sparse.ranking(sparse.network(FEW, seed), sampler, RECEIVERS) for seed in range(RANKED)]
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    gain = np.array([one["horseshoe"] - one["lasso_path"] for one in found])
    figures = {"gain_over_path": float(gain.mean()), "gain_se": float(gain.std(ddof=1) / np.sqrt(RANKED))}
    record.keep("ranking_sparse", {"networks": RANKED, "receivers": RECEIVERS, "rows": FEW, "average_precision": means, **figures, "each": found})
    assert means["horseshoe"] > means["lasso_path"]
