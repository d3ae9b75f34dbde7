"""Slow: ranks of the truth are uniform under NUTS and HMC; under Laplace they are recorded."""

from __future__ import annotations

import numpy as np
import pytest
from studies.calibration import KEPT, fitted, uniformity
from studies.record import keep

from bayesglm import method

REPLICATIONS = 500
METHODS = {
    "NUTS": (method.NUTS(num_samples=150, num_chains=2), 50),
    "HMC": (method.HMC(num_samples=100, num_chains=8), 500),
    "Laplace": (method.Laplace(num_samples=1000), 500),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
@pytest.mark.parametrize("name", list(METHODS))
def test_ranks_are_uniform(name, learned):
    """500 parameter sets from the prior; a rank histogram that is not uniform shows a wrong posterior.

    The band is a 99 % one over all quantities jointly; that of one quantity alone is recorded beside it.
    """
    how, at_once = METHODS[name]
    _, found = fitted(REPLICATIONS, learned, 11, how, at_once)
    columns = {f"{site}[{j}]": column for site, rank in found.items() for j, column in enumerate(rank.reshape(REPLICATIONS, -1).T)}
    rows = {}
    for site, column in columns.items():
        distance, alone = uniformity(column, KEPT)
        covered = np.mean(np.abs((column + 0.5) / (KEPT + 1) - 0.5) < 0.45)
        joint = uniformity(column, KEPT, len(columns))[1]
        rows[site] = {"ecdf_distance": distance, "bound_99": alone, "joint_bound_99": joint, "coverage_90": float(covered)}
    keep(f"calibration_{name.lower()}_{'learned' if learned else 'fixed'}", {"replications": REPLICATIONS, "seed": 11, "quantities": rows})
    if name != "Laplace":
        beyond = {site: row for site, row in rows.items() if row["ecdf_distance"] > row["joint_bound_99"]}
        assert not beyond
