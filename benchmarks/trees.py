"""Length of trees and target acceptance of NUTS where the posterior is nearly normal: ``python benchmarks/trees.py [--quick] [--out FOLDER]``.

What whitening leaves is close to a standard normal with slightly heavier or lighter tails. NumPyro's kernel on such a
target, with the library's bound on trees and without, at two target acceptances. Chains move in step, so that a draw
costs as much as its longest tree.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

HERE = Path(__file__).parent
CHAINS, DRAWS, WARMUP = 16, 500, 150
SIZES = (43, 171)  # coordinates
ACCEPT = (0.7, 0.8)
HEAVIER = 0.01  # coefficient of the fourth power


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, write one JSON file, print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few draws: shows only that everything runs")
    parser.add_argument("--out", type=Path, help="folder of the result; default benchmarks/results, none where --quick")
    given = parser.parse_args(arguments)
    from machine import described, versions

    from bayesglm._double import double
    from bayesglm.method._loop import DEEPEST, HALF_TURN, depth_for, likely_step

    found: dict[str, Any] = {"row": "trees", "quick": given.quick, "machine": described(), "versions": versions()}
    found |= {"chains": CHAINS, "draws": 20 if given.quick else DRAWS, "runs": []}
    with double():
        for size in SIZES:
            for accept in ACCEPT:
                for depth in (depth_for(HALF_TURN, likely_step(size, accept)), DEEPEST):
                    found["runs"].append(run(size, accept, depth, found["draws"]))
    text = json.dumps(found, indent=1)
    out = given.out or (None if given.quick else HERE / "results")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "trees.json").write_text(text + "\n")
    print(text)


def run(size: int, accept: float, depth: int, draws: int) -> dict[str, Any]:
    """Steps, effective draws and R-hat of one setting; medians over coordinates, smallest beside them."""
    from numpyro.infer import MCMC, NUTS

    from bayesglm._convergence import ess, rhat

    kernel = NUTS(potential_fn=energy, target_accept_prob=accept, max_tree_depth=depth, adapt_mass_matrix=False, step_size=0.5)
    chains = MCMC(kernel, num_warmup=WARMUP, num_samples=draws, num_chains=CHAINS, chain_method="vectorized", progress_bar=False)
    starts = jax.random.normal(jax.random.key(1), (CHAINS, size))
    chains.run(jax.random.key(0), init_params=starts, extra_fields=("num_steps", "adapt_state.step_size"))
    z = np.asarray(chains.get_samples(group_by_chain=True))
    seen = chains.get_extra_fields(group_by_chain=True)
    steps, total = np.asarray(seen["num_steps"]), CHAINS * draws
    bulk, tail = ess(z, "bulk"), ess(z, "tail")
    return {
        "coordinates": size,
        "accept": accept,
        "depth": depth,
        "step_size": round(float(np.mean(seen["adapt_state.step_size"][:, -1])), 3),
        "steps": round(float(steps.mean()), 1),
        "steps_in_step": round(float(steps.max(0).mean()), 1),
        "bulk_ess_a_draw": round(float(np.median(bulk)) / total, 2),
        "tail_ess_a_draw": round(float(np.median(tail)) / total, 2),
        "least_tail_ess_a_draw": round(float(tail.min()) / total, 2),
        "rhat": round(float(rhat(z).max()), 3),
    }


def energy(z: Any) -> Any:
    """Nearly a standard normal."""
    return jnp.sum(0.5 * z**2 + HEAVIER * z**4 / 4)


if __name__ == "__main__":
    main()
