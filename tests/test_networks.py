"""Bands over the prior: 90 % intervals of net effects hold the truth in 90 % of simulated networks."""

from __future__ import annotations

import numpy as np
import pytest
from studies import networks, record

from bayesglm import method

NETWORKS, ROWS = 200, 4_000
LOW, HIGH = 0.87, 0.93
SAFE_RATE = 200.0  # spikes/s
SAMPLER = method.HMC()
PLANTED = 0.6  # eta at the peak of each kernel
QUICK = method.Laplace(num_samples=500)  # these posteriors are nearly Gaussian, and it compiles in a few seconds


def _drawn(n, seed):
    return [networks.from_prior(np.random.default_rng([seed, i, 1])) for i in range(n)]


def _planted(n, seed):
    return [networks.planted(np.random.default_rng([seed, i, 2]), PLANTED) for i in range(n)]


def test_a_few_networks():
    bands = networks.study(_drawn(10, 3) + _planted(2, 3), 1_500, QUICK, seed=3)
    hits = networks.covered(bands)[:10]
    assert abs(hits.mean() - 0.9) < 4 * np.sqrt(0.9 * 0.1 / hits.size)
    rings = networks.Bands(*(part[10:] for part in bands))
    assert networks.sign_found(rings).all()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [SAMPLER, QUICK], ids=["hmc", "laplace"])
def test_coverage_of_net_effects(sampler):
    bands = networks.study(_drawn(NETWORKS, 11), ROWS, sampler, seed=11)
    hits = networks.covered(bands)
    by_network = hits.mean(1)
    width = np.nanmean(bands.upper - bands.lower)
    result = {
        "method": repr(sampler),
        "networks": NETWORKS,
        "rows": ROWS,
        "dt": networks.DT,
        "intervals": int(hits.size),
        "nominal": 0.9,
        "coverage": float(hits.mean()),
        "standard_error_by_network": float(by_network.std(ddof=1) / np.sqrt(NETWORKS)),
        "width_over_prior_width": float(width / (2 * 1.645 * np.nanstd(bands.truth))),
        "fastest_rate": float(bands.peak_rate.max()),
        "largest_rhat": float(bands.rhat.max()),
    }
    record.keep(f"coverage_networks_{type(sampler).__name__.lower()}", result)
    assert bands.peak_rate.max() < SAFE_RATE
    assert LOW <= hits.mean() <= HIGH


@pytest.mark.slow
def test_planted_couplings_are_found_with_their_sign():
    bands = networks.study(_planted(20, 12), ROWS, SAMPLER, seed=12)
    found = networks.sign_found(bands)
    null = networks.covered(bands)[bands.truth[:, ~np.eye(networks.CELLS, dtype=bool)] == 0]
    result = {"method": repr(SAMPLER), "networks": 20, "rows": ROWS, "planted": int(found.size), "found": int(found.sum()), "zeros_covered": float(null.mean())}
    record.keep("planted_couplings", result)
    assert found.all()
