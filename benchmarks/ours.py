"""bayesglm in the benchmark. ``prepare`` is not timed, ``solve`` is: from the built columns, or from the recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from same import DT, Problem, in_columns, model_of


class Solver(NamedTuple):
    """``prepare(problem)`` gives what ``solve`` takes; ``solve`` gives {"weights" or "draws": array, "info": dict}."""

    prepare: Callable[[Problem], Any]
    solve: Callable[[Any], dict[str, Any]]


def make(setting: str, quick: bool) -> Solver:
    """A method by its short name; "fit map" and the like time the whole of ``bg.fit`` from the recording."""
    import jax.numpy as jnp

    whole, name = setting.startswith("fit "), setting.removeprefix("fit ")
    jnp.zeros(1).block_until_ready()  # the backend starts with the imports
    return _whole(_method(name, quick)) if whole else _from_columns(_method(name, quick))


def _method(name: str, quick: bool) -> Any:
    from bayesglm import method

    kind, *more = name.split(" ")
    if kind == "map":
        return method.MAP()
    precision = "single" if "single" in more else "double"
    kept = next((int(word) for word in more if word.isdigit()), 1000)  # draws a chain
    if kind == "nuts":
        return method.NUTS(num_samples=50 if quick else kept, num_chains=2 if quick else 4, num_warmup=50 if quick else None, precision=precision)
    return method.HMC(num_samples=20, num_chains=4, precision=precision) if quick else method.HMC(precision=precision)


def _recording(problem: Problem) -> Any:
    import bayesglm as bg

    return bg.recording(dt=DT, spikes=problem.counts, stimulus=problem.stimulus)


def _from_columns(chosen: Any) -> Solver:
    """As the peers are timed: the columns exist; padding, centring and all that the engine derives from them is timed."""
    import jax

    from bayesglm._double import in_double
    from bayesglm._fit import neuron_labels
    from bayesglm.engine.target import story_target
    from bayesglm.method._base import Problem as Task
    from bayesglm.method._base import silent

    def prepare(problem: Problem) -> Any:
        data = _recording(problem)
        model = model_of(problem).resolve(data)
        return model, model.design(data)

    @in_double
    def solve(ready: Any) -> dict[str, Any]:
        model, design = ready
        padded = design.padded()
        task = Task(model, padded, model.linear(padded), neuron_labels(model, padded), lambda: story_target(model, padded))
        found = chosen.run(task, jax.random.key(0), silent)
        return _answer(found.sites, chosen, found.stats, {"notes": list(found.notes)})

    return Solver(prepare, solve)


def _whole(chosen: Any) -> Solver:
    """As a user calls it: checks, columns, fit, labels and convergence diagnostics."""
    import arviz_base  # noqa: F401  imports are not timed

    import bayesglm as bg

    def solve(ready: Any) -> dict[str, Any]:
        model, data = ready
        found = bg.fit(model, data, chosen, progress=False)
        sites = {name: found.posterior[name].values for name in ("baseline", "stimulus", "history", "coupling")}
        info = {"converged": bool(found.stats["converged"]), "reasons": [str(reason) for reason in found.stats["reasons"]], "notes": list(found.stats["notes"])}
        stats = {name: value.values for name, value in found.idata["sample_stats"].data_vars.items()}
        return _answer(sites, chosen, stats, info)

    return Solver(lambda problem: (model_of(problem), _recording(problem)), solve)


def _answer(sites: dict[str, np.ndarray], chosen: Any, stats: dict[str, np.ndarray], info: dict[str, Any]) -> dict[str, Any]:
    values = in_columns(sites)  # (chain, draw, receiver, column + 1)
    if chosen.point:
        return {"weights": values[0, 0], "info": info}
    steps = np.asarray(stats["n_steps"]).reshape(*values.shape[:2], -1)
    warmup = chosen.num_warmup or 150  # what NUTS(num_warmup=None) means in whitened coordinates
    info |= {"steps_a_draw": float(steps.mean()), "divergences": int(np.sum(stats["diverging"]))}
    # columns move in lock step, so a transition costs what its longest tree does; the warm-up is counted at the same pace
    info["passes"] = float(steps.max((0, 2)).sum() * (1 + warmup / values.shape[1]))
    return {"draws": values, "info": info}
