"""What speaks for the fit and what against it: checks, predictive checks, time rescaling, drift, comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from bayesglm import _plot as plot
from bayesglm._checking._check import Checks
from bayesglm._checking._posterior_check import posterior_check
from bayesglm._checking._rescale import rescale
from bayesglm._checking._sensitivity import NO_POSTERIOR, sensitivity
from bayesglm._comparing._compare import compare as compared
from bayesglm._comparing._comparison import Comparison
from bayesglm._report._page import paragraph, picture, record, text, wide

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_NEURONS = 4  # whose time rescaling is drawn


def short(fit: Fit, checks: Checks | None) -> str:
    """The verdict, before everything else."""
    status = "bad" if not fit.stats["converged"] else "" if checks is None else checks.status
    kind = f" {status}" if status in ("bad", "warning") else ""
    converged = "The fit converged." if fit.stats["converged"] else f"The fit did not converge: {'; '.join(fit.stats['reasons'])}."
    point = " It is a point estimate, without a posterior: there are no bands." if fit.point else ""
    said = "" if checks is None else f"<p>Checks: {text(checks.verdict)}.</p>"
    return f'<div class="short{kind}"><p><b>{text(converged + point)}</b></p>{said}</div>'


def checks_section(checks: Checks) -> str:
    """Every item with its status, and below it what to do next."""
    lines = [f"<tr>{''.join(f'<th>{head}</th>' for head in ('check', 'value', 'wanted', 'status'))}</tr>"]
    for item in checks.items:
        if item.status != "not assessed":
            lines.append("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in item.cells()) + "</tr>")
            lines += [f'<tr class="advice"><td colspan="4">{text(item.advice)}</td></tr>'] if item.advice else []
    missing = "".join(f"<li>{text(item.name)}: {text(item.advice)}</li>" for item in checks.items if item.status == "not assessed")
    return wide(f'<table class="checks">{"".join(lines)}</table>') + (f"<h3>Not assessed</h3><ul>{missing}</ul>" if missing else "")


def sensitivity_section(fit: Fit) -> str:
    """What the priors decide."""
    return paragraph(f"Not assessed: {NO_POSTERIOR}.") if fit.point else record(sensitivity(fit))


def drift_section(checks: Checks) -> str:
    """Filters of the two halves of the recording."""
    halves: Any = checks.details.get("drift")
    if halves is None:
        return paragraph(f"Not assessed: {checks['agreement of halves'].advice}.")
    return paragraph(halves.verdict) + picture(plot.drift(halves), "Filters fitted to the two halves of the recording") + record(halves)


def predictive_section(fit: Fit, test: xr.Dataset | None, checks: Checks | None, key: Any, progress: bool) -> str:
    """Replicated against observed responses."""
    found = None if checks is None else checks.details.get("posterior_check")
    found = posterior_check(fit, test, key=key, progress=progress) if found is None else found
    where = "the recording that was fitted: these checks are conservative" if found.in_sample else "the test recording"
    return paragraph(f"Replicates of {where}.", "small") + picture(plot.posterior_check(found), "Replicated against observed statistics") + record(found)


def rescaling_section(fit: Fit, test: xr.Dataset | None, checks: Checks | None, key: Any, progress: bool) -> str:
    """Whether events come when the fit expects them."""
    found = None if checks is None else checks.details.get("rescale")
    found = rescale(fit, test, key=key, progress=progress) if found is None else found
    labels = found.table["neuron"].values[:_NEURONS]
    return picture(plot.rescale(found, neurons=labels), "Quantiles and correlations of rescaled intervals") + record(found)


def comparison_section(given: Any) -> str:
    """A comparison that was made, or one of several fits."""
    if not isinstance(given, Comparison | Mapping):
        raise ValueError(f"compare= wants the result of bg.compare(...) or a mapping of names to fits, got {type(given).__name__}.")
    found = given if isinstance(given, Comparison) else compared(given)
    return paragraph(found.verdict) + picture(plot.comparison(found), "Differences of the models' predictive densities") + record(found)
