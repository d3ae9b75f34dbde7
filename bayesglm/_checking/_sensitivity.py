"""sensitivity(): how far would the posterior move if priors, or the likelihood, counted a little more or less?"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import numpyro
import xarray as xr

from bayesglm._double import double, in_double
from bayesglm._glm import GLM
from bayesglm._likelihood import Source, _story_values, log_likelihood_chunks, source
from bayesglm._model import compilable
from bayesglm._quantities import Quantity, quantities
from bayesglm.engine.target import factorises, traced

if TYPE_CHECKING:
    from bayesglm._fit import Fit

SENSITIVE = 0.05  # Kallioinen et al. 2024: about a shift of the mean by a third of a posterior sd when a component is doubled
CONFLICT, STRONG, FINE, UNKNOWN = "prior-data conflict", "strong prior or weak likelihood", "-", "not assessed"
NO_POSTERIOR = "a MAP fit is a point, without a posterior that could move; method='laplace' takes seconds"
FAMILY = "family"
_LOCAL = "_local"  # a horseshoe's own scales of each weight are no choice of the user's
_SHOWN = 20
_HEADS = ("quantity", "prior", "likelihood", "diagnosis")


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity:
    """Sensitivity of what a fit found to its priors and to its likelihood.

    Attributes
    ----------
    table : xarray.Dataset (effect)
        ``prior`` and ``likelihood``, the sensitivities; ``diagnosis``. Coordinates say which effect: ``term``, ``quantity``,
        ``neuron``, ``source``, ``entry``.
    """

    table: xr.Dataset

    @property
    def verdict(self) -> str:
        """One sentence."""
        found = self.table["diagnosis"].values
        counts = [(what, int((found == what).sum())) for what in (CONFLICT, STRONG)]
        said = [f"{n} of {found.size}: {what}" for what, n in counts if n]
        return "; ".join(said) if said else f"no prior decides any of the {found.size} quantities"

    def _rows(self) -> tuple[list[tuple[str, ...]], int]:
        size = np.nan_to_num(self.table["prior"].values, nan=-1.0)
        order = np.argsort(-size, kind="stable")
        rows = [self.table.isel(effect=int(i)) for i in order[:_SHOWN]]
        lines = [(_named(row), f"{float(row['prior']):.3f}", f"{float(row['likelihood']):.3f}", str(row["diagnosis"].item())) for row in rows]
        return lines, order.size - len(lines)

    def __repr__(self) -> str:
        lines, left = self._rows()
        table = [_HEADS, *lines]
        widths = [max(len(line[i]) for line in table) for i in range(len(_HEADS))]
        shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
        return "\n".join([f"Sensitivity: {self.verdict}", *shown, *([f"... and {left} more in .table"] if left else [])])

    def _repr_html_(self) -> str:
        lines, left = self._rows()
        head = "".join(f"<th style='text-align:left'>{cell}</th>" for cell in _HEADS)
        body = "".join("<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
        more = f"<p>... and {left} more</p>" if left else ""
        return f"<p><b>Sensitivity</b>: {html.escape(self.verdict)}</p><table><tr>{head}</tr>{body}</table>{more}"


@in_double
def sensitivity(fit: Fit) -> Sensitivity:
    """Power-scaling sensitivity: how fast a posterior p(theta | y) ~ p(y | theta)^b p(theta)^a moves with a and with b, at one.

    The distance is the cumulative Jensen-Shannon one, a change a doubling. A net effect, baseline or learned parameter
    is confronted with the prior of its own term: the top one, that of the scale where it is learned, else that of the
    weights.

    Parameters
    ----------
    fit : Fit
        With draws.

    Returns
    -------
    Sensitivity
        Prior and likelihood both above 0.05: "prior-data conflict". The prior alone: "strong prior or weak likelihood". A
        prior that is meant to be strong is no fault.

    Raises
    ------
    ValueError
        Of a MAP fit, or where the training recording is not there.

    Notes
    -----
    Draws are reweighted by Pareto-smoothed importance sampling, by ArviZ; nothing is fitted again. Posteriors that factorise
    over neurons are moved neuron by neuron. Weights that a filter is made of move together: their net effect and peak are
    what is looked at. Draws of an approximation (Laplace) are taken for those of the posterior.

    References
    ----------
    Kallioinen, Paananen, Burkner & Vehtari 2024, Detecting and diagnosing prior and likelihood sensitivity with power-scaling.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.5, (4000, 1)))
    >>> fit = bg.fit(bg.GLM(bg.Baseline()), data, "laplace", progress=False)
    >>> sensitivity(fit).table["diagnosis"].values.tolist()
    ['-']
    """
    if fit.point:
        raise ValueError(f"sensitivity: {NO_POSTERIOR}.")
    found = _components(fit)
    rows = [row for quantity in quantities(fit, False) for row in _of_quantity(quantity, found)]
    names = ("term", "quantity", "neuron", "source", "entry")
    table = xr.Dataset({name: ("effect", np.array([row[name] for row in rows], float)) for name in ("prior", "likelihood")})
    table["diagnosis"] = "effect", np.array([_diagnosed(row["prior"], row["likelihood"]) for row in rows], str)
    return Sensitivity(table.assign_coords({name: ("effect", np.array([str(row[name]) for row in rows])) for name in names}))


class _Components(NamedTuple):
    """Log densities of every draw, (chain, draw, posterior): one posterior a neuron, or one of all."""

    prior: dict[str, np.ndarray]
    likelihood: np.ndarray
    neurons: list[Any]  # labels of the posteriors; empty where there is one


def _components(fit: Fit) -> _Components:
    made = source(fit)
    model, posterior = fit.model, fit.posterior
    values = _story_values(model, made.design, posterior)[0]
    apart = factorises(_traced(model, made.design, values))
    likelihood = np.zeros((made.draws, made.scored.shape[1]))
    for _, log_prob in log_likelihood_chunks(made):
        likelihood += log_prob.sum(1)
    prior = {name: _summed(value, made.draws, apart) for name, value in _log_priors(made, values).items()}
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], -1)
    likelihood = likelihood if apart else likelihood.sum(1, keepdims=True)
    labels = list(model.coords().get("neuron", ())) if apart else []
    return _Components({name: value.reshape(shape) for name, value in prior.items()}, likelihood.reshape(shape), labels)


def _traced(model: Any, design: Any, values: dict[str, np.ndarray]) -> dict[str, Any]:
    with double():
        return traced(model, design, {name: value[0] for name, value in values.items()})


def _summed(value: np.ndarray, draws: int, apart: bool) -> np.ndarray:
    """(draw, posterior): the plate of neurons is the last axis of a log density where there is one."""
    value = value.reshape(draws, -1) if value.ndim == 1 else value.reshape(draws, -1, value.shape[-1]).sum(1)
    return value if apart else value.sum(1, keepdims=True)


def _log_priors(made: Source, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Log density of the top prior of every term (and of the family's own parameters), (draw, ..., neuron)."""
    sites = _top_sites(made, list(values))
    with double():
        each = _log_probs(compilable(made.model), made.design.bare(), values, tuple(sorted({site for listed in sites.values() for site in listed})))
    each = {site: np.asarray(value) for site, value in each.items()}
    return {term: sum(each[site] for site in listed) for term, listed in sites.items()}


@eqx.filter_jit
def _log_probs(model: Any, design: Any, values: Any, sites: tuple[str, ...]) -> dict[str, Any]:
    def one(value: Any) -> dict[str, Any]:
        story = numpyro.handlers.substitute(numpyro.handlers.seed(model, jax.random.key(0)), value)
        trace = numpyro.handlers.trace(story).get_trace(design)
        return {site: trace[site]["fn"].log_prob(trace[site]["value"]) for site in sites}

    return jax.lax.map(one, values)


def _top_sites(made: Source, sites: list[str]) -> dict[str, list[str]]:
    """Sites of each term's top prior: its learned parameters where it has any, else its weights."""
    model = made.model
    if not isinstance(model, GLM):
        return _by_name(sites, model.observed_site())
    found = {}
    for term in (term for term in model.terms if term.prior is not None and term.name in sites):
        learned = [site for site in term.prior.hyper(term.name) if not site.endswith(_LOCAL)]
        found[term.name] = learned or [term.name]
    own = list(model.family.hyper(model.response))
    return found | ({FAMILY: own} if own else {})


def _by_name(sites: list[str], observed: str | None) -> dict[str, list[str]]:
    """Of a model that is no GLM: a site and the scale that is named after it."""
    scales = {site: f"{site}_scale" for site in sites if f"{site}_scale" in sites}
    plain = [site for site in sites if site != observed and site not in scales.values()]
    return {site: [scales.get(site, site)] for site in plain}


def _of_quantity(quantity: Quantity, found: _Components) -> Iterator[dict[str, Any]]:
    """Sensitivities of every entry of a quantity."""
    own = next((name for name in found.prior if quantity.term == name or quantity.term.startswith(f"{name}_")), FAMILY)
    if own not in found.prior:
        return
    for n, label in enumerate(found.neurons or [None]):
        draws = quantity.draws if label is None or "neuron" not in quantity.draws.dims else quantity.draws.sel(neuron=[label])
        inner = [dim for dim in draws.dims if dim not in ("chain", "draw")]
        flat = draws.transpose("chain", "draw", *inner).values.reshape(*(draws.sizes[dim] for dim in ("chain", "draw")), -1)
        kept = np.isfinite(flat).all((0, 1))
        moved = partial(_moved, flat[:, :, kept])
        prior, likelihood = moved(found.prior[own][..., n], "prior"), moved(found.likelihood[..., n], "likelihood")
        labels = [dict(zip(inner, key, strict=True)) for key in _keys(draws, inner)]
        for where, a, b in zip((one for one, fine in zip(labels, kept, strict=True) if fine), prior, likelihood, strict=True):
            entry = ", ".join(f"{dim} {value}" for dim, value in where.items() if dim not in ("neuron", "source"))
            yield {"term": quantity.term, "quantity": quantity.name, "neuron": where.get("neuron", ""), "source": where.get("source", "")} | {
                "entry": entry,
                "prior": a,
                "likelihood": b,
            }


def _keys(draws: xr.DataArray, inner: list[Any]) -> list[tuple]:
    grids = np.meshgrid(*(draws[dim].values for dim in inner), indexing="ij") if inner else []
    return list(zip(*(grid.ravel() for grid in grids), strict=True)) if inner else [()]


def _moved(values: np.ndarray, log_density: np.ndarray, group: str) -> np.ndarray:
    """ArviZ's sensitivity of (chain, draw, entry) to a component's log density (chain, draw)."""
    from arviz_stats.psense import psense

    if not values.shape[2] or np.ptp(log_density) == 0.0:  # a flat prior has no power
        return np.zeros(values.shape[2])
    dims = ("chain", "draw")
    held = {"posterior": xr.Dataset({"x": ((*dims, "entry"), values)}), f"log_{group}": xr.Dataset({"component": (dims, log_density)})}
    tree = xr.DataTree.from_dict({name: one.assign_coords(chain=np.arange(values.shape[0]), draw=np.arange(values.shape[1])) for name, one in held.items()})
    return np.asarray(psense(tree, group=group, sample_dims=list(dims))["x"].values)


def _diagnosed(prior: float, likelihood: float) -> str:
    if np.isnan(prior) or np.isnan(likelihood):
        return UNKNOWN
    if prior < SENSITIVE:
        return FINE
    return CONFLICT if likelihood >= SENSITIVE else STRONG


def _named(row: xr.Dataset) -> str:
    who = " <- ".join(str(row[name].item()) for name in ("neuron", "source") if row[name].item())
    more = str(row["entry"].item())
    inside = ", ".join(part for part in (who, more) if part)
    return f"{row['term'].item()}{f'[{inside}]' if inside else ''} {row['quantity'].item()}"
