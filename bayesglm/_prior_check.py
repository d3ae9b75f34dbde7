"""prior_check(): the rates that a model expects before it has seen a spike."""

from __future__ import annotations

import html
import warnings
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
import numpyro
import xarray as xr

from bayesglm._data import bin_width, is_time
from bayesglm._double import in_double
from bayesglm._likelihood import Source, response_chunks
from bayesglm._model import AbstractModel, Design, compilable
from bayesglm.engine.target import latent_sites
from bayesglm.family import Bernoulli
from bayesglm.method._base import whole

HIGHEST = 500.0  # spikes/s: no cell fires faster for long
_SHARE = 0.05
_ROWS = 2000
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_EDGES = np.linspace(-2.0, 4.0, 61)  # of the histogram, in log10 of spikes/s


class PriorNote(UserWarning):
    """A prior that expects what no neuron does."""


@dataclass(frozen=True, eq=False, repr=False)
class PriorCheck:
    """The prior predictive rate, one step ahead given the real past.

    Attributes
    ----------
    quantiles : xarray.DataArray (quantile[, neuron])
        Of the rate over prior draws and rows (spikes/s; the mean, for responses that are no spikes).
    beyond : xarray.DataArray ([neuron])
        Share of (draw, row) beyond ``limit``; NaN where there is none.
    beyond_at_level : xarray.DataArray ([neuron])
        The same where every draw has the typical level: its rates, times the factor that brings their geometric mean to the median of
        all draws'. What is left is what stimulus, past and other cells move. The level itself is one number a neuron, which
        the data settle whatever its prior.
    limit : float or None
        500 spikes/s, for a Bernoulli response 1/dt where that is less; None on trial rows and where the response is not spikes.
    observed : xarray.DataArray ([neuron])
        The recorded mean rate in the same rows, NaN without a response.
    histogram : xarray.DataArray (log10_rate[, neuron])
        Share of (draw, row) by log10 of the rate, for plots; the coordinate is a bin's centre.
    draws, rows : int
    notes : tuple of str
    """

    quantiles: xr.DataArray
    beyond: xr.DataArray
    beyond_at_level: xr.DataArray
    limit: float | None
    observed: xr.DataArray
    histogram: xr.DataArray
    draws: int
    rows: int
    notes: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of all (draw, row, neuron) beyond the limit; NaN where there is none."""
        return float(self.beyond.mean())

    def to_dataset(self) -> xr.Dataset:
        """All of it as labelled arrays."""
        return xr.Dataset({name: getattr(self, name) for name in ("quantiles", "beyond", "beyond_at_level", "observed", "histogram")})

    def __repr__(self) -> str:
        return "PriorCheck\n" + "\n".join(f"  {label}: {text}" for label, text in self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th style='text-align:left'>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in self._lines())
        return f"<table><caption>Prior predictive rate</caption>{rows}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        units = self.quantiles.attrs["units"]
        middle = self.quantiles.median("neuron") if "neuron" in self.quantiles.dims else self.quantiles
        figures = ", ".join(f"{float(q):.0%} {float(value):.3g}" for q, value in zip(middle["quantile"], middle, strict=True))
        lines = [("prior draws", f"{self.draws} on {self.rows} rows"), (f"rate ({units}), the typical neuron", figures)]
        if self.observed.notnull().any():
            lines.append(("recorded mean", f"{float(self.observed.median()):.3g} {units}"))
        if self.limit is not None:
            lines.append((f"beyond {self.limit:g} {units}", f"{self.share:.1%}; {float(self.beyond_at_level.mean()):.1%} with every draw at the typical level"))
        return [*lines, *(("note", note) for note in self.notes)]


@in_double
def prior_check(model: AbstractModel, data: xr.Dataset, draws: int = 200, key: Any = 0) -> PriorCheck:
    """The prior predictive rate, one step ahead given the real past: rate(eta(t)), eta = X w with w drawn from the prior.

    Parameters
    ----------
    model : AbstractModel
    data : xarray.Dataset
        The training recording.
    draws : int
        Draws from the prior.
    key : int or JAX key

    Returns
    -------
    PriorCheck
        Prints what a careful reader wants to see; at most 2,000 scored rows are looked at, evenly spaced.

    Raises
    ------
    ValueError
        A flat prior, or a scale by evidence: neither can be drawn from, so there is no prior predictive; a family of classes
        or angles, which has no rate.

    Warns
    -----
    PriorNote
        Where more than 5 % of the rates lie beyond 500 spikes/s (for a Bernoulli response, beyond 1/dt) although every draw is
        put at the typical level. Where they do so by their level alone, a note says so without a warning.

    Notes
    -----
    What is fed to history and couplings are the spikes recorded. A simulation that feeds its own spikes back may run
    away where this does not.

    References
    ----------
    Gabry, Simpson, Vehtari, Betancourt & Gelman 2019, Visualization in Bayesian workflow.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.array([[1], [0], [2], [1]]))
    >>> bg.prior_check(bg.GLM(bg.Baseline(bg.prior.Gaussian(1.0))), data).share
    0.0
    """
    resolved = model.resolve(data)
    _refuse_unrated(resolved)
    _refuse_undrawable(resolved)
    draws = whole("prior_check(draws)", draws, 1)
    design = _some_rows(resolved.design(data).bare())
    key = jax.random.key(key) if isinstance(key, (int, np.integer)) else key
    one, two = jax.random.split(key)
    values = {name: np.asarray(value) for name, value in prior_draws(resolved, design, draws, one).items()}
    scored = np.asarray(design.weight()) > 0
    size = _responses(resolved, design)
    made = Source(resolved, design, values, np.broadcast_to(scored, (design.rows, size)).copy(), bin_width(data), 1)
    kind = "rate" if _spiking(resolved, data) else "mean"  # of a choice the probability
    rate = np.concatenate([part for _, part in response_chunks(made, kind, two)], axis=1)
    return _record(resolved, data, made, rate.reshape(draws, design.rows, -1))


def _refuse_unrated(model: AbstractModel) -> None:
    family = getattr(model, "family", None)
    if family is not None and family.n_predictors > 1:
        raise ValueError(f"prior_check looks at rates, of which family.{family.describe()} has none: see bg.prior_summary for how far eta may move.")


def _refuse_undrawable(model: AbstractModel, who: str = "prior_check") -> None:
    priors = [(term.name, term.prior) for term in getattr(model, "terms", ()) if term.prior is not None]
    flat = [name for name, prior in priors if not prior.proper]
    if flat:
        raise ValueError(f"{who}: terms {flat} have prior.Flat(), which has no draws: there is no prior predictive. Give a proper prior.")
    chosen = [name for name, prior in priors if isinstance(getattr(prior, "scale", None), str)]
    if chosen:
        raise ValueError(f'{who}: the data choose the scales of terms {chosen} ("evidence"): there is no prior to draw from. Give a distribution as the scale.')


def _some_rows(design: Design) -> Design:
    """The scored rows of a design, at most ``_ROWS`` of them, evenly spaced."""
    if not (isinstance(design.each, dict) and "cells" in design.each):
        return design
    rows = np.flatnonzero((np.asarray(design.weight()) > 0).any(1))
    if not len(rows):
        raise ValueError("prior_check: no row of the recording can be scored; see what bg.fit says of it.")
    return design.at(rows[np.unique(np.linspace(0, len(rows) - 1, _ROWS).round().astype(int))])


def prior_draws(model: AbstractModel, design: Design, draws: int, key: Any) -> dict[str, Any]:
    """Draws of every latent site from the prior, (draw, *the site's shape in the story)."""
    few = design.at(np.arange(1)) if isinstance(design.each, dict) and "cells" in design.each else design
    return _drawn(compilable(model), few, jax.random.split(key, draws))


@eqx.filter_jit
def _drawn(model: AbstractModel, design: Design, keys: Any) -> dict[str, Any]:
    def one(key: Any) -> dict[str, Any]:
        trace = numpyro.handlers.trace(numpyro.handlers.seed(model, key)).get_trace(design)
        return {name: site["value"] for name, site in latent_sites(trace).items() if name != model.observed_site()}

    return jax.vmap(one)(keys)


def _responses(model: AbstractModel, design: Design) -> int:
    labels = model.coords().get("neuron", ())
    return len(labels) or design.size


def _limit(model: AbstractModel, data: xr.Dataset) -> float | None:
    family = getattr(model, "family", None)
    if not _spiking(model, data):
        return None
    return HIGHEST if family is None or family.counts else min(HIGHEST, 1.0 / bin_width(data))


def _spiking(model: AbstractModel, data: xr.Dataset) -> bool:
    """Whether the response is spikes in time: counts, or cells that fire or not; a choice is neither."""
    family = getattr(model, "family", None)
    return is_time(data) and (family is None or family.counts or (isinstance(family, Bernoulli) and model.has_neurons))


def _record(model: AbstractModel, data: xr.Dataset, made: Source, rate: np.ndarray) -> PriorCheck:
    """Figures of (draw, row, neuron) rates; rows that a neuron does not score are left out of its figures."""
    limit, size = _limit(model, data), rate.shape[2]
    spikes = _spiking(model, data)
    kept = [rate[:, made.scored[:, n], n].ravel() for n in range(size)]
    safe = [np.where(np.isnan(values), np.inf, values) for values in kept]  # what overflowed is beyond any limit
    at_level = [_at_level(rate[:, made.scored[:, n], n]) for n in range(size)]
    beyond, beyond_at_level = (np.array([np.nan if limit is None else (values > limit).mean() for values in one]) for one in (safe, at_level))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [np.histogram(np.clip(np.log10(values), _EDGES[0], _EDGES[-1]), _EDGES)[0] / values.size for values in safe]
    quantiles = np.stack([np.quantile(values, _QUANTILES, method="inverted_cdf") for values in safe], -1)
    each = made.design.each
    y = np.asarray(each["response"], float).T if isinstance(each, dict) and "response" in each else None
    scale = made.dt if spikes else 1.0
    observed = [np.nan if y is None else y[made.scored[:, n], n].mean() / scale for n in range(size)]
    coords = {"quantile": np.array(_QUANTILES), "log10_rate": 0.5 * (_EDGES[1:] + _EDGES[:-1])}
    units = {"units": "spikes/s" if spikes else "units of the response"}
    arrays = {"quantile": quantiles, "beyond": beyond, "beyond_at_level": beyond_at_level, "observed": np.array(observed), "log10_rate": np.stack(shares, -1)}
    labelled = {name: _labelled(model, name, value, coords, units) for name, value in arrays.items()}
    notes = _notes(float(beyond.mean()), float(beyond_at_level.mean()), limit)
    shown = (labelled["quantile"], labelled["beyond"], labelled["beyond_at_level"], limit, labelled["observed"], labelled["log10_rate"])
    return PriorCheck(*shown, len(rate), len(made.scored), notes)


def _at_level(rate: np.ndarray) -> np.ndarray:
    """(draw, row) rates with the geometric mean of every draw at the median of the draws'; what overflowed stays beyond."""
    logs = np.log(np.clip(np.nan_to_num(rate, nan=np.inf), 1e-30, 1e30))
    level = logs.mean(1, keepdims=True)
    return np.where(np.isfinite(rate), np.exp(logs - level + np.median(level)), np.inf).ravel()


def _labelled(model: AbstractModel, name: str, value: np.ndarray, coords: dict[str, np.ndarray], units: dict[str, str]) -> xr.DataArray:
    dims = [dim for dim in (name,) if dim in coords]
    labels = model.coords().get("neuron")
    if not model.has_neurons:
        return xr.DataArray(value[..., 0], {dim: coords[dim] for dim in dims}, dims, name, units)
    own = {"neuron": np.arange(value.shape[-1]) if labels is None or len(labels) != value.shape[-1] else labels}
    return xr.DataArray(value, {dim: coords[dim] for dim in dims} | own, [*dims, "neuron"], name, units)


def _notes(share: float, at_level: float, limit: float | None) -> tuple[str, ...]:
    if limit is None or not share > _SHARE:
        return ()
    note = f"{share:.0%} of the prior's rates lie beyond {limit:g} spikes/s"
    if at_level <= _SHARE:
        return (f"{note}, but {at_level:.1%} with every draw at the typical level: the baseline's prior is wide, and the mean rate settles it",)
    note += (
        f" ({at_level:.0%} with every draw at the typical level): the prior expects what no neuron does. See bg.prior_summary for the terms "
        f"that move eta most, and give those smaller scales"
    )
    warnings.warn(f"prior_check: {note}.", PriorNote, stacklevel=5)
    return (note,)
