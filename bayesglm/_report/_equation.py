"""A GLM as an equation in HTML, and its terms in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bayesglm._report._page import paragraph, table, text
from bayesglm.terms import Coupling, Event, History, Linear, Offset, Pooled, Stimulus, Tuning

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_ETA = "<i>&eta;</i>"
_SUM = "&Sigma;<sub><i>&#8467;</i></sub>&nbsp;"


def equation(fit: Fit) -> str:
    """The law of the response and its predictor; of a model that is no GLM its description."""
    model: Any = fit.model
    if not hasattr(model, "terms"):
        said = (type(model).__doc__ or "").strip().splitlines()
        return paragraph(f"{type(model).__name__}: {said[0] if said else 'a NumPyro model'}")
    n = "<sub><i>n</i></sub>" if model.has_neurons else ""
    rows = "(<i>t</i>)"
    law = f"<i>{text(model.response)}</i>{n}{rows} ~ {text(model.family.describe())} of {_ETA}{n}{rows}"
    parts = " + ".join(_part(term, n) for term in model.terms)
    return f'<div class="equation">{law}<br>{_ETA}{n}{rows} = {parts}</div>'


def _part(term: Any, n: str) -> str:
    for kind, write in _KINDS.items():
        if isinstance(term, kind):
            return write(term, n)
    return f"<i>{text(term.name)}</i>{n}" if term.name == "baseline" else f"<i>{text(term.name)}</i>{n}(<i>t</i>)"


def _filtered(name: str, n: str, signal: str) -> str:
    return f"{_SUM}<i>f</i><sup>{text(name)}</sup>{n}(<i>&#8467;</i>)&thinsp;{signal}"


def _coupling(term: Any, n: str) -> str:
    pair = "<sub><i>nm</i></sub>"
    return f"&Sigma;<sub><i>m</i>&ne;<i>n</i></sub>&nbsp;{_filtered(term.name, pair, 'spikes<sub><i>m</i></sub>(<i>t</i>&minus;<i>&#8467;</i>)')}"


def _columns(term: Any) -> str:
    return ", ".join(text(column) for column in term.column)


_KINDS: dict[type, Callable[[Any, str], str]] = {
    Coupling: _coupling,
    History: lambda term, n: _filtered(term.name, n, f"response{n}(<i>t</i>&minus;<i>&#8467;</i>)"),
    Stimulus: lambda term, n: _filtered(term.name, n, f"{text(term.column)}(<i>t</i>&minus;<i>&#8467;</i>)"),
    Event: lambda term, n: _filtered(term.name, n, f"{text(term.name)}(<i>t</i>&minus;<i>&#8467;</i>)"),
    Tuning: lambda term, n: f"<i>f</i><sup>{text(term.name)}</sup>{n}({_columns(term)}(<i>t</i>))",
    Linear: lambda term, n: f"<b>w</b>{n}&middot;{text(term.name)}(<i>t</i>)",
    Pooled: lambda term, n: f"<i>u</i>{n}<sub>{text(term.name)}(<i>t</i>)</sub>",
    Offset: lambda term, n: f"{text(term.column)}{n}(<i>t</i>)",
}


def terms_table(fit: Fit) -> str:
    """Terms with their bases and priors, as resolved."""
    model: Any = fit.model
    if not hasattr(model, "terms"):
        return ""
    rows = []
    for term in model.terms:
        basis = getattr(term, "basis", None)
        shown = "" if basis is None else f"{type(basis).__name__}, {getattr(term, 'shape', ())[-1:]!s:.20}".replace("(", "").replace(",)", " functions")
        rows.append((term.name, type(term).__name__, shown, "" if term.prior is None else term.prior.describe()))
    return table(("term", "kind", "basis", "prior"), rows)
