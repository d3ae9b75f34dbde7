"""What the fit is and what it found: model, recording, filters, couplings, tuning, how to reproduce it."""

from __future__ import annotations

import datetime
import hashlib
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm import _plot as plot
from bayesglm._checking._coupling_table import CAVEAT, coupling_table
from bayesglm._data import bin_width, is_time, row_dim
from bayesglm._plot._filters import lagged
from bayesglm._prior_summary import prior_summary
from bayesglm._report._equation import equation, terms_table
from bayesglm._report._page import code, paragraph, picture, record, table
from bayesglm._show import conditions, headline
from bayesglm._summary import summary
from bayesglm._tuning import tuning
from bayesglm.terms import Coupling, Tuning

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_NEURONS = 6  # whose curves are drawn
_PLACES = 20  # of a marginal curve
_PACKAGES = ("bayesglm", "jax", "numpyro", "numpy", "xarray", "arviz-base")


def model_section(fit: Fit) -> str:
    """The equation, the terms, the priors used."""
    parts = [equation(fit), terms_table(fit)]
    if fit.data is not None and hasattr(fit.model, "terms"):
        parts += ["<h3>Priors used</h3>", record(prior_summary(fit.model, fit.data))]
    return "".join(parts)


def recording_section(fit: Fit, test: xr.Dataset | None) -> str:
    """Rows, neurons, rates, and what was left out."""
    if fit.data is None:
        return paragraph("The fit was saved without its recording (bg.save(fit, path, data=True) keeps it).") + table((), [("rows", _rows(fit))])
    lines = [*_described(fit.data, fit.model.observed_site() or "spikes"), ("rows scored", _rows(fit))]
    lines += [(f"test recording: {label}", value) for label, value in ([] if test is None else _described(test, fit.model.observed_site() or "spikes"))]
    drawn = ""
    if is_time(fit.data) and "spikes" in fit.data and "neuron" in fit.data["spikes"].dims:
        drawn = picture(plot.raster(fit.data), "Raster of the recorded spikes over time", "The beginning of the recording.")
    return table((), lines) + drawn


def _rows(fit: Fit) -> str:
    return dict(headline(fit))["rows"]


def _described(data: xr.Dataset, response: str) -> list[tuple[str, str]]:
    rows, dt = data.sizes[row_dim(data)], bin_width(data)
    if not is_time(data):
        return [("trials", f"{rows:,}")]
    epochs = len(np.unique(data["epoch"].values)) if "epoch" in data.coords else 1
    found = [("duration", f"{rows * dt:,.5g} s in {rows:,} bins of {1e3 * dt:g} ms, {epochs} epoch{'s' * (epochs > 1)}")]
    if response in data and "neuron" in data[response].dims:
        rates = data[response].mean(row_dim(data)).values / dt
        found.append(("neurons", f"{rates.size}, firing {rates.min():.3g} to {rates.max():.3g} spikes/s (median {np.median(rates):.3g})"))
    return found


def filters_section(fit: Fit) -> str:
    """Filters with their bands, and the summary of everything estimated."""
    parts = []
    filtered = any(name.endswith("_kernels") for name in fit.model.constants())
    for term in lagged(fit) if filtered else []:
        if term not in _couplings(fit):
            parts.append(picture(plot.filters(fit, term), f"Filters of the term {term} with credible bands"))
    return "".join(parts) + "<h3>Everything estimated</h3>" + record(summary(fit))


def coupling_section(fit: Fit, refit: bool) -> str:
    """The matrix of couplings and the table of the strongest."""
    terms = _couplings(fit)
    if not terms:
        return paragraph("The model has no coupling.")
    parts = [paragraph(CAVEAT[0].upper() + CAVEAT[1:] + ".")]
    for term in terms:
        parts.append(picture(plot.coupling(fit, term), f"Functional couplings of the term {term}"))
        if hasattr(fit.model, "family"):
            parts.append(record(coupling_table(fit, term=term, refit=refit and fit.data is not None, progress=False)))
    return "".join(parts)


def _couplings(fit: Fit) -> list[str]:
    return [term.name for term in getattr(fit.model, "terms", ()) if isinstance(term, Coupling)]


def tuning_section(fit: Fit) -> str:
    """Tuning given the other terms, and the raw curve beside it."""
    terms = [term for term in getattr(fit.model, "terms", ()) if isinstance(term, Tuning)]
    if not terms or fit.data is None:
        return paragraph("The model has no tuning." if not terms else "Tuning is averaged over the recording, which was not saved with the fit.")
    said = (
        "Lines and bands: the rate at each value, averaged over the other covariates as they were observed. Dots: the raw rate at that value. Where the two "
        "differ, other covariates explain what the raw curve shows."
    )
    return paragraph(said, "small") + "".join(_tuned(fit, term) for term in terms)


def _tuned(fit: Fit, term: Any) -> str:
    alt = f"Tuning to {' and '.join(term.column)}"
    found = tuning(fit, term.name)["rate"] if len(term.column) == 1 else None
    if found is None or found[term.column[0]].dtype.kind not in "fiu":
        return picture(plot.tuning(fit, term.name), alt)
    labels = found["neuron"].values[:_NEURONS] if "neuron" in found.dims else None
    figure = plot.tuning(fit, term.name, neurons=labels)
    for ax, label in zip(figure.axes, [None] if labels is None else labels, strict=False):
        middle, raw = _marginal(fit, term.column[0], label)
        ax.plot(middle, raw, "o", color="#333333", ms=3, label="raw")
    return picture(figure, f"{alt}, with the raw marginal curve")


def _marginal(fit: Fit, column: str, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean response at twenty values of a column, spikes/s where it counts spikes in time."""
    data: Any = fit.data
    response = data[fit.model.observed_site()]
    y, x = (response if label is None else response.sel(neuron=label)).values.astype(float), data[column].values.astype(float)
    seen = np.isfinite(x) & np.isfinite(y)
    edges = np.linspace(x[seen].min(), x[seen].max(), _PLACES + 1)
    at = np.clip(np.digitize(x[seen], edges) - 1, 0, _PLACES - 1)
    count = np.bincount(at, minlength=_PLACES)
    scale = 1.0 / bin_width(data) if is_time(data) and fit.model.family.counts else 1.0
    raw = np.where(count > 0, scale * np.bincount(at, y[seen], _PLACES) / np.maximum(count, 1), np.nan)
    return 0.5 * (edges[1:] + edges[:-1]), raw


def conditions_section(fit: Fit) -> str:
    """What the bands hold for."""
    return paragraph(f"Bands: {conditions(fit)}.") + paragraph(
        "A band says how well this model's parameters are known from these rows if the model holds. It does not cover what the model leaves out: drift between "
        "sessions, covariates and cells that were not recorded, another choice of basis or bin."
    )


def reproduce_section(fit: Fit) -> str:
    """Versions, settings, a fingerprint of the data, and the code."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [("packages", versions), ("python", platform.python_version()), ("method", repr(fit.method)), ("seconds", f"{fit.stats['seconds']:.1f}")]
    if "key" in fit.stats:
        lines.append(("key", str(fit.stats["key"])))
    if fit.data is not None:
        lines.append(("recording", fingerprint(fit.data)))
    lines.append(("made", datetime.date.today().isoformat()))
    written = fit.given if fit.given is not None else fit.model
    call = f'fit = bg.fit(model, data, method, key={fit.stats.get("key", 0)})\nbg.report(fit, "report.html")'
    model = repr(written) if not hasattr(written, "terms") else dict(headline(fit))["model"]
    return table((), lines) + code(f"# model: {model}\n{call}")


def fingerprint(data: xr.Dataset) -> str:
    """Columns, shapes and a hash of the values."""
    found = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        values = data[name].values
        found.update(name.encode() + (values.tobytes() if values.dtype.kind in "biufM" else str(values.tolist()).encode()))
    columns = ", ".join(f"{name} {tuple(array.sizes.values())}" for name, array in data.data_vars.items())
    return f"{columns}; SHA-256 {found.hexdigest()[:16]}"
