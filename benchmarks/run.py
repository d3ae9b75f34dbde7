"""Run rows of the benchmark: ``python benchmarks/run.py ROW ... [--quick] [--peers nemos,glum] [--out FOLDER]``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
_LONG = 300.0  # seconds of a process after which it is not repeated
_LIMIT = 7200.0  # seconds after which a process is ended


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rows asked for; write a JSON file for each and one table."""
    from rows import ROWS
    from table import page, write

    given = _parsed(arguments, list(ROWS))
    results = []
    for name in given.rows or list(ROWS):
        results.append(run_row(name, given))
        if given.out:
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / f"{name}.json").write_text(json.dumps(results[-1], indent=1) + "\n")
            write(given.out)
    print(page(results))


def _parsed(arguments: Sequence[str] | None, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one or more of {', '.join(names)}; default all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one run: shows only that everything runs")
    parser.add_argument("--peers", default="all", help="names separated by commas, 'all' or 'none'")
    parser.add_argument("--ours", default="all", help="our settings separated by commas, or 'all'")
    parser.add_argument("--repeats", type=int, default=3, help="alternating runs of every entry")
    parser.add_argument("--out", type=Path, help="folder of the results; default benchmarks/results, none where --quick")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.rows if name not in names]
    if unknown:
        parser.error(f"no rows {unknown}; there are {', '.join(names)}")
    given.out = given.out or (None if given.quick else HERE / "results")
    given.repeats = 1 if given.quick else given.repeats
    return given


def run_row(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Data, floors, alternating runs, judgement."""
    from machine import described, floors, versions
    from rows import ROWS, small
    from same import simulated, write

    row = small(ROWS[name]) if given.quick else ROWS[name]
    about = described()
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
    try:
        problems = [simulated(row.rows, row.neurons, row.receivers, seed, row.ridge) for seed in (0, 1)]
        if row.share:
            from optimum import lasso_that_leaves

            penalty = lasso_that_leaves(problems[0], row.share)
            problems = [problem._replace(lasso=penalty) for problem in problems]
        for problem, letter in zip(problems, "ab", strict=True):
            write(problem, folder / f"{letter}.npz")
        found = {"row": name, "title": row.title, "quick": given.quick, "posterior": row.posterior, "machine": about, "versions": versions()}
        found |= {"sizes": _sizes(row, problems[0]), "floors": floors(problems[0].columns, row.passengers)}
        entries, found["skipped"] = _wanted(row.entries, given)
        runs = _alternating(entries, given, folder)
        return found | _judgement(row, problems, entries, runs, found["floors"], folder, found["sizes"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sizes(row: Any, problem: Any) -> dict[str, Any]:
    sizes = {"rows": len(problem.columns), "columns": problem.columns.shape[1] + 1, "neurons": row.neurons, "receivers": row.receivers}
    return sizes | {"spikes": int(problem.responses.sum()), "ridge": problem.ridge, "lasso": problem.lasso, "passengers": row.passengers}


def _wanted(entries: Sequence[Any], given: argparse.Namespace) -> tuple[list[Any], list[str]]:
    """Entries that are asked for and installed, and what was skipped and why."""
    from peers import MODULES

    kept, skipped = [], []
    for entry in entries:
        ours = entry.who == "bayesglm"
        chosen = given.ours if ours else given.peers
        if chosen != "all" and (entry.setting if ours else entry.who) not in chosen.split(","):
            continue
        missing = [module for module in MODULES.get(entry.who, ()) if importlib.util.find_spec(module) is None]
        if missing:
            message = f"{entry.who} ({entry.setting}): {', '.join(missing)} is not installed"
            print(f"skipping {message}", file=sys.stderr)
            skipped.append(message)
        else:
            kept.append(entry)
    return kept, skipped


def _alternating(entries: list[Any], given: argparse.Namespace, folder: Path) -> dict[Any, list[dict[str, Any]]]:
    """Round after round over all entries, so that a slow minute of the machine falls on everybody."""
    runs: dict[Any, list[dict[str, Any]]] = {entry: [] for entry in entries}
    for turn in range(given.repeats):
        for place, entry in enumerate(entries):
            done = runs[entry]
            if turn >= entry.repeats or (done and ("error" in done[0] or done[0]["cold"] + sum(done[0]["warm"]) > _LONG)):
                continue
            print(f"{entry.who} {entry.setting}, run {turn + 1}", file=sys.stderr, flush=True)
            done.append(_process(entry, given.quick, folder, folder / str(place), keep=turn == 0))
    return runs


def _process(entry: Any, quick: bool, folder: Path, kept: Path, keep: bool) -> dict[str, Any]:
    """One worker; its answers are moved to ``kept`` where ``keep``."""
    from same import fresh_caches

    caches = fresh_caches()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")} | caches
    if entry.who == "numpyro":
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    command = [sys.executable, str(HERE / "worker.py"), entry.who, entry.setting, str(int(quick)), str(entry.calls), str(folder)]
    for name in ("result.json", "cold.npz", "warm.npz"):
        (folder / name).unlink(missing_ok=True)
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {_LIMIT:.0f} s"}
    finally:
        shutil.rmtree(caches["NUMBA_CACHE_DIR"], ignore_errors=True)
    if ended.returncode:
        print(ended.stderr[-3000:], file=sys.stderr)
        return {"error": (ended.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    if keep:
        kept.mkdir()
        for name in ("cold.npz", "warm.npz"):
            if (folder / name).exists():
                (folder / name).rename(kept / name)
    return json.loads((folder / "result.json").read_text())


def _judgement(row: Any, problems: list[Any], entries: list[Any], runs: dict[Any, list], floors: dict[str, float], folder: Path, sizes: dict) -> dict[str, Any]:
    from judge import floor, judged, references

    best = None if row.posterior else [references(problem) for problem in problems]
    if row.share:
        sizes["left"] = int((best[0][0][:-1] != 0).sum())
    made, first = [], None
    for place, entry in enumerate(entries):
        figures = {"who": entry.who, "setting": entry.setting, **_figures(runs[entry])}
        if not figures.get("error"):
            answers = [_answer(folder / str(place) / name) for name in ("cold.npz", "warm.npz")]
            figures |= _posterior_figures(figures, answers, first) if row.posterior else _optimum_figures(problems, best, answers)
            first = answers[0].get("draws") if first is None else first
            least = floor(row, floors, figures)
            seconds = figures["warm_seconds"] or figures["cold_seconds"]
            figures["over_floor"] = seconds / least if least else None
        made.append(figures)
    return {"entries": made, "goals": [judged(goal, made) for goal in row.goals]}


def _figures(done: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over processes."""
    good = [one for one in done if "error" not in one]
    if not good:
        return {"error": done[0]["error"], "info": {}}
    cold, warm = [one["cold"] for one in good], [seconds for one in good for seconds in one["warm"]]
    found = {"cold_seconds": float(np.median(cold)), "warm_seconds": float(np.median(warm)) if warm else None, "cold_all": cold, "warm_all": warm}
    return found | {"runs": len(good), "info": good[0]["info"], "peak_gib": max(one["peak_gib"] for one in good)}


def _answer(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    with np.load(path) as saved:
        return dict(saved)


def _optimum_figures(problems: list[Any], best: list[Any], answers: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    from judge import gap

    return {"gap": max(gap(problem, reference, answer["weights"]) for problem, reference, answer in zip(problems, best, answers, strict=True) if answer)}


def _posterior_figures(figures: dict[str, Any], answers: list[dict[str, np.ndarray]], first: np.ndarray | None) -> dict[str, Any]:
    from judge import largest_shift, smallest_ess

    found = {}
    for kind, answer in zip(("cold", "warm"), answers, strict=True):
        if "draws" in answer:
            found[f"ess_{kind}"] = smallest_ess(answer["draws"])
            found[f"rate_{kind}"] = found[f"ess_{kind}"] / figures[f"{kind}_seconds"]
    if first is not None and "draws" in answers[0]:
        found["shift"] = largest_shift(answers[0]["draws"], first)
    return found


if __name__ == "__main__":
    main()
