"""From answers to figures: nats above the reference, effective draws a second, ratios, goals."""

from __future__ import annotations

from typing import Any

import numpy as np
from optimum import objective, optimum
from rows import Goal, Row
from same import Problem

CLOSE = 1e-2  # nats: a peer further off than this is not the fastest other
EXACT = 1e-6  # nats: what ours must reach before it is compared at all
PASSES = 15  # gradient passes of the floor of an exact MAP, beside one Gram matrix


def references(problem: Problem) -> list[np.ndarray]:
    """The optimum of every receiver in double precision."""
    return [optimum(problem, receiver) for receiver in range(problem.n_receivers)]


def gap(problem: Problem, reference: list[np.ndarray], weights: np.ndarray) -> float:
    """Nats above the reference of the worst receiver; weights (receiver, column + 1)."""
    return max(objective(problem, n, w) - objective(problem, n, best) for n, (w, best) in enumerate(zip(weights, reference, strict=True)))


def smallest_ess(draws: np.ndarray) -> float:
    """Smallest bulk effective sample size over receivers, weights and baselines; draws (chain, draw, receiver, column + 1)."""
    from bayesglm.engine.diagnostics import ess

    return float(np.min(ess(draws, "bulk")))


def largest_shift(draws: np.ndarray, others: np.ndarray) -> float:
    """Largest difference of two samplers' means in units of its Monte Carlo error."""
    from bayesglm.engine.diagnostics import mcse

    error = np.sqrt(mcse(draws) ** 2 + mcse(others) ** 2)
    return float(np.max(np.abs(draws.mean((0, 1)) - others.mean((0, 1))) / error))


def speed(entry: dict[str, Any], kind: str, within: float = np.inf) -> float | None:
    """What ratios compare: effective draws a second, or solutions a second; None where there is none, or it is further off than ``within`` nats."""
    if entry.get("error") or entry.get("gap", 0.0) > within:
        return None
    if "extrapolated_seconds" in entry["info"]:
        return 4000.0 / entry["info"]["extrapolated_seconds"]
    seconds = entry.get(f"{kind}_seconds")
    return None if not seconds else entry.get(f"ess_{kind}", 1.0) / seconds


def floor(row: Row, floors: dict[str, float], entry: dict[str, Any]) -> float | None:
    """Seconds of the products alone that an entry of ours cannot do without."""
    single = "single" if "single" in entry["setting"] else "double"
    if entry["who"] != "bayesglm" or entry.get("error"):
        return None
    if not row.posterior:
        return floors["gram_double"] + PASSES * floors["pass_double"]
    return floors[f"pass_{single}"] * entry["info"]["passes"] if "passes" in entry["info"] else None


def judged(goal: Goal, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether a goal was met, and by how much."""
    mine = next((e for e in entries if e["who"] == "bayesglm" and e["setting"] == goal.ours), None)
    if goal.seconds:
        found = mine and mine.get(f"{goal.kind}_seconds")
        done = bool(found) and found <= goal.seconds and mine["info"].get("converged", True)
        return {"text": f"{goal.ours}, {goal.kind}: at most {goal.seconds:g} s, diagnostics met", "found": found, "unit": "s", "met": done if found else None}
    theirs = [e for e in entries if e["who"] == goal.peer and e["setting"] == goal.setting] if goal.peer != "*" else _others(entries)
    # a peer that is named is taken as it stands: one that stops early is compared at a time that flatters it
    speeds = [(found, e) for e in theirs if (found := speed(e, goal.kind, CLOSE if goal.peer == "*" else np.inf))]
    label = "the fastest other" if goal.peer == "*" else f"{goal.peer} {goal.setting}"
    text = f"{goal.ours}, {goal.kind}: at least {goal.factor:g} times {label}"
    own = speed(mine, goal.kind, EXACT) if mine else None
    if not own or not speeds:
        return {"text": text, "found": None, "unit": "x", "met": None}
    fastest, peer = max(speeds, key=lambda pair: pair[0])
    ratio = own / fastest
    return {"text": text + (f" ({peer['who']} {peer['setting']})" if goal.peer == "*" else ""), "found": ratio, "unit": "x", "met": ratio >= goal.factor}


def _others(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e for e in entries if e["who"] not in ("bayesglm", "nemos")]
