"""What a careful reader wants to see first of a fit."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bayesglm._fit import Fit


def headline(fit: Fit) -> list[tuple[str, str]]:
    """Label and sentence, in the order in which they should be read."""
    lines = [("model", _model(fit)), ("method", _method(fit)), ("rows", _rows(fit)), ("converged", _converged(fit)), ("found", _found(fit))]
    lines.append(("checks", _checks(fit)))
    lines.append(("bands", conditions(fit)))
    lines += [("note", note) for note in fit.stats["notes"]]
    return lines


def conditions(fit: Fit) -> str:
    """What the fit's bands condition on, in one sentence."""
    if fit.point:
        return "none: a point estimate has no posterior; method='nuts' gives bands"
    learned = [name for name in fit.posterior.data_vars if name.endswith("_scale")]
    scale = f"averaged over the learned scales ({', '.join(learned)})" if learned else "given the stated prior scales"
    return f"{scale}; given the bases, these rows and the neurons recorded; for a model of this form"


def fit_text(fit: Fit) -> str:
    """The ``repr`` of a fit."""
    width = max(len(label) for label, _ in headline(fit))
    return "Fit\n" + "\n".join(f"  {label:<{width}}  {text}" for label, text in headline(fit))


def fit_html(fit: Fit) -> str:
    """The notebook view of a fit."""
    rows = "".join(f"<tr><th style='text-align:left'>{html.escape(a)}</th><td style='text-align:left'>{html.escape(b)}</td></tr>" for a, b in headline(fit))
    return f"<table><caption style='text-align:left'><b>Fit</b></caption>{rows}</table>"


def _model(fit: Fit) -> str:
    model = fit.model
    if not hasattr(model, "terms"):
        return type(model).__name__
    terms = " + ".join(term.name + (f" ~ {term.prior.describe()}" if term.prior is not None else "") for term in model.terms)
    return f"{model.response} ~ {model.family.describe()}: {terms}"


def _method(fit: Fit) -> str:
    seconds = fit.stats["seconds"]
    if fit.point:
        return f"{type(fit.method).__name__} (a point), {seconds:.1f} s"
    sizes = fit.posterior.sizes
    return f"{type(fit.method).__name__}, {sizes['chain']} chains x {sizes['draw']} draws, {seconds:.1f} s"


def _rows(fit: Fit) -> str:
    kept = np.atleast_1d(fit.stats["rows_kept"])
    shown = f"{kept.min()}" if kept.min() == kept.max() else f"{kept.min()} to {kept.max()}"
    left = "; ".join(f"{count}: {why}" for why, count in fit.stats["rows_left_out"].items())
    return f"{shown} of {fit.stats['rows']} scored" + (f" (left out {left})" if left else "")


def _converged(fit: Fit) -> str:
    if fit.stats["converged"]:
        return "yes" + _figures(fit)
    return "NO: " + "; ".join(fit.stats["reasons"]) + _figures(fit)


def _figures(fit: Fit) -> str:
    if fit.point:
        gradient = fit.stats.get("neuron_gradient")
        return "" if gradient is None else f" (largest gradient {np.max(gradient):.1e})"
    found = fit.stats["convergence"]
    some = f", {found.weights_above} of {found.weights} weights above 1.01" if found.weights_above else ""
    return f" (R-hat {max(found.rhat_effect, found.rhat_weight):.3f}{some}, ESS {min(found.ess_bulk, found.ess_tail):.0f}, {found.divergences} divergent)"


def _checks(fit: Fit) -> str:
    """What the cheap checks say; the verb itself is of a higher layer."""
    from bayesglm._checking._parts import line

    return line(fit)


def _found(fit: Fit) -> str:
    sizes = {name: int(np.prod(array.shape[2:])) for name, array in fit.posterior.data_vars.items()}
    neurons = fit.posterior.sizes.get("neuron")
    who = f"{neurons} neuron{'s' if neurons > 1 else ''}; " if neurons else ""
    return who + ", ".join(f"{name} ({size})" if size > 1 else name for name, size in sizes.items())
