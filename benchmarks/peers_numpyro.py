"""NumPyro as one writes it by hand, its NUTS with default settings, with a dense mass matrix, or a part run of a long one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ours import Solver
from same import Problem

CHAINS = 4


def make(setting: str, quick: bool) -> Solver:
    """Settings "default", "dense_mass", or "part run"."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    def story(columns: Any, y: Any, scale: Any) -> None:
        w = numpyro.sample("w", dist.Normal(0.0, scale).expand([columns.shape[1]]).to_event(1))
        baseline = numpyro.sample("baseline", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("y", dist.Poisson(jnp.exp(baseline + columns @ w)), obs=y)

    def prepare(problem: Problem) -> Any:
        return jnp.asarray(problem.columns), jnp.asarray(problem.responses[:, 0]), jnp.asarray(problem.ridge**-0.5)

    return Solver(prepare, _part_run(story, quick) if setting == "part run" else _mcmc(story, setting, quick))


def _mcmc(story: Any, setting: str, quick: bool) -> Any:
    """``MCMC.run``, four chains on four host devices. It compiles at every call; so it does with sequential chains and ``jit_model_args``."""
    import jax
    from numpyro.infer import MCMC, NUTS

    draws = 50 if quick else 1000
    kernel = NUTS(story, dense_mass=setting == "dense_mass")
    mcmc = MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=CHAINS, chain_method="parallel", progress_bar=False)

    def solve(ready: Any) -> dict[str, Any]:
        mcmc.run(jax.random.key(0), *ready, extra_fields=("num_steps",))
        found = mcmc.get_samples(group_by_chain=True)
        values = np.concatenate([found["w"], np.asarray(found["baseline"])[..., None]], -1).astype(float)
        return {"draws": values[:, :, None], "info": {"steps_a_draw": float(np.mean(mcmc.get_extra_fields()["num_steps"]))}}

    return solve


def _part_run(story: Any, quick: bool) -> Any:
    """Transitions of one chain's warm-up for some minutes, and what four whole chains would take at that pace."""
    import jax
    from numpyro.infer import NUTS

    budget, fewest = (3.0, 5) if quick else (400.0, 40)
    kernel = NUTS(story)
    step = jax.jit(lambda state, args: kernel.sample(state, args, {}))

    def solve(ready: Any) -> dict[str, Any]:
        state = step(kernel.init(jax.random.key(0), 1000, None, ready, {}), ready)  # compiles; its time is not counted
        jax.block_until_ready(state)
        began, taken, steps = time.perf_counter(), [], []
        while len(taken) < fewest or time.perf_counter() - began < budget:
            last = time.perf_counter()
            state = step(state, ready)
            steps.append(int(state.num_steps))
            taken.append(time.perf_counter() - last)
            if time.perf_counter() - began > 4 * budget:
                break
        return {"info": _extrapolated(np.asarray(taken), np.asarray(steps))}

    return solve


def _extrapolated(taken: np.ndarray, steps: np.ndarray) -> dict[str, Any]:
    """Seconds of 4 x (1,000 + 1,000) transitions if two chains run at once at full pace, at the pace of the last third."""
    late = slice(len(taken) - max(len(taken) // 3, 1), None)
    leapfrog = float(taken[late].sum() / steps[late].sum())
    whole = CHAINS * 2000 * float(taken[late].mean()) / 2
    return {
        "transitions": len(taken),
        "seconds_a_leapfrog": leapfrog,
        "leapfrogs_a_transition": float(steps[late].mean()),
        "extrapolated_seconds": whole,
        "extrapolated_seconds_if_adapted": whole / 4,
        "how": "four chains of 1,000 + 1,000 transitions, two at once without loss, at the pace of the last third of the part run; "
        "'if adapted': a quarter of its leapfrogs; every one of the 4,000 draws counted as independent",
    }
