"""Slow: ranks of the truth are uniform under NUTS and HMC; under Laplace they are recorded."""

from __future__ import annotations

import numpy as np
import pytest
from studies.calibration import model, ranks, simulate, uniformity
from studies.record import keep

import bayesglm as bg
from bayesglm import method

REPLICATIONS, KEPT = 500, 199
METHODS = {
    "NUTS": method.NUTS(num_samples=150, num_chains=2),
    "HMC": method.HMC(num_samples=100, num_chains=8),
    "Laplace": method.Laplace(num_samples=1000),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
@pytest.mark.parametrize("name", list(METHODS))
def test_ranks_are_uniform(name, learned):
    """500 parameter sets from the prior; a rank histogram that is not uniform shows a wrong posterior."""
    data, truth = simulate(REPLICATIONS, learned, seed=11)
    fit = bg.fit(model(learned), data, METHODS[name], progress=False)
    found = ranks(fit, truth, KEPT)
    rows = {}
    for site, rank in found.items():
        columns = rank.reshape(REPLICATIONS, -1)
        for j in range(columns.shape[1]):
            distance, bound = uniformity(columns[:, j], KEPT)
            covered = np.mean(np.abs((columns[:, j] + 0.5) / (KEPT + 1) - 0.5) < 0.45)
            rows[f"{site}[{j}]"] = {"ecdf_distance": distance, "bound_99": bound, "coverage_90": float(covered)}
    keep(f"calibration_{name.lower()}_{'learned' if learned else 'fixed'}", {"replications": REPLICATIONS, "quantities": rows})
    if name != "Laplace":
        beyond = {site: row for site, row in rows.items() if row["ecdf_distance"] > row["bound_99"]}
        assert not beyond
