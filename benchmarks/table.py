"""Results as one readable page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rows import ROWS

_HEAD = """# Measured against the peers

Same data, same objective, one run; each line in a fresh process. *Cold* is the first call with compilation, imports and
data loading left out; *warm* is a later call in the same process on other data of the same shapes. Medians of
alternating runs. Peers get the matrix of columns ready made; ours is timed from the same columns, and "fit" lines are
the whole of `bg.fit` from the recording, labels and diagnostics included. The gap is in nats above a float64 Newton
reference. *Floor* is the time of the matrix products alone, in plain BLAS on the same arrays: one Gram matrix and 15
gradient passes for an optimum, the passes that were made for a posterior. *Shift* is the largest difference of a mean
from the first sampler's, in Monte Carlo errors. NumPyro runs in single precision, its default, NeMoS in double; ours in
double where a line does not say "single". NumPyro's `MCMC.run` and Bambi compile at every call, so their warm figures
contain it: goals for posteriors are about cold ones. Written by `benchmarks/run.py`.
"""


def page(results: list[dict[str, Any]]) -> str:
    """Markdown of every row's result."""
    return "\n".join([_HEAD, *(_row(result) for result in results)])


def write(folder: Path) -> Path:
    """``table.md`` from the JSON files of a folder, in the order of the rows."""
    found = [json.loads((folder / f"{name}.json").read_text()) for name in ROWS if (folder / f"{name}.json").exists()]
    path = folder / "table.md"
    path.write_text(page(found))
    return path


def _row(result: dict[str, Any]) -> str:
    sizes, machine = result["sizes"], result["machine"]
    about = f"{sizes['rows']:,} rows x {sizes['columns']} columns, {sizes['receivers']} of {sizes['neurons']} neurons fitted, {sizes['spikes']:,} spikes"
    about += f", {sizes['left']} weights left at the optimum" if "left" in sizes else ""
    quick = " **A smoke test: these figures mean nothing.**" if result["quick"] else ""
    lines = [f"## {result['row']}: {result['title']}", "", f"{about}.{quick}", ""]
    lines += _posterior(result) if result["posterior"] else _optimum(result)
    lines += ["", *(_goal(goal) for goal in result["goals"]), ""]
    lines += [f"Skipped: {what}." for what in result["skipped"]] + [""] * bool(result["skipped"])
    named = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines += [f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['date']}, load {machine['load']}; {named}.", ""]
    return "\n".join(lines)


def _optimum(result: dict[str, Any]) -> list[str]:
    lines = ["| solver | setting | cold, s | warm, s | gap, nats | warm / floor | peak, GiB | runs |", "|---|---|---|---|---|---|---|---|"]
    for e in result["entries"]:
        if e.get("error"):
            lines.append(f"| {e['who']} | {e['setting']} | failed: {e['error']} | | | | | |")
            continue
        cells = [_short(e["cold_seconds"]), _short(e["warm_seconds"]), f"{e['gap']:.0e}", _short(e["over_floor"]), _short(e["peak_gib"]), str(e["runs"])]
        lines.append(f"| {e['who']} | {e['setting']} | " + " | ".join(cells) + " |")
    return lines


def _posterior(result: dict[str, Any]) -> list[str]:
    head = "solver | setting | cold, s | warm, s | least bulk-ESS | ESS/s cold | ESS/s warm | steps a draw | shift, MCSE | time / floor | peak, GiB | runs"
    lines, notes = [f"| {head} |", "|" + "---|" * 12], []
    for e in result["entries"]:
        if e.get("error"):
            lines.append(f"| {e['who']} | {e['setting']} | failed: {e['error']} |" + " |" * 9)
            continue
        ess = [e.get("ess_cold"), e.get("rate_cold"), e.get("rate_warm"), e["info"].get("steps_a_draw"), e.get("shift"), e["over_floor"], e["peak_gib"]]
        cells = [_short(e["cold_seconds"]), _short(e["warm_seconds"]), *map(_short, ess), str(e["runs"])]
        lines.append(f"| {e['who']} | {e['setting']} | " + " | ".join(cells) + " |")
        notes += _said(e)
    return [*lines, "", *notes]


def _said(entry: dict[str, Any]) -> list[str]:
    """What a run said of itself, below the table."""
    info, name = entry["info"], f"{entry['who']} {entry['setting']}"
    said = [f"- {name}: {text}" for text in (*info.get("reasons", ()), *info.get("notes", ()))]
    if "converged" in info:
        said.append(f"- {name}: {'converged' if info['converged'] else 'NOT converged'}, {info.get('divergences', 0)} divergences")
    if "extrapolated_seconds" in info:
        figures = f"{info['transitions']} transitions run, {info['leapfrogs_a_transition']:.0f} leapfrogs of {info['seconds_a_leapfrog']:.2g} s each"
        bounds = f"{info['extrapolated_seconds']:.0f} s at this pace, {info['extrapolated_seconds_if_adapted']:.0f} s if adapted"
        said.append(f"- {name} is EXTRAPOLATED: {figures}; {bounds} ({info['how']}). Ratios use the first figure; a quarter of them holds for the second.")
    return said


def _goal(goal: dict[str, Any]) -> str:
    if goal["met"] is None:
        return f"- {goal['text']}: not measured"
    verdict = "met" if goal["met"] else "MISSED"
    return f"- {goal['text']}: {_short(goal['found'])} {goal['unit']}, {verdict}"


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
