"""How much narrower than its prior a posterior is: one minus the ratio of variances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr

from bayesglm._double import in_double
from bayesglm._glm import GLM
from bayesglm._model import Block, compilable
from bayesglm._quantities import NET, Quantity, read
from bayesglm._story import at_average
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.scales import plain
from bayesglm.prior._distributions import EvidenceScale
from bayesglm.terms import Offset

if TYPE_CHECKING:
    from bayesglm._fit import Fit

LITTLE = 0.1  # contraction of a net effect below which the data said little of a filter
_DRAWS = 2000
_LARGEST = 20_000_000  # numbers drawn at once
_SHOWN = 6


class Contractions(NamedTuple):
    """Contraction of every entry of the listed quantities, and the sites of which it is a ratio of interquartile ranges."""

    of: dict[tuple[str, str], xr.DataArray]
    robust: tuple[str, ...]
    without: tuple[str, ...]  # terms without a prior to compare with


@in_double
def contractions(fit: Fit, listed: Sequence[Quantity]) -> Contractions:
    """1 - Var(posterior) / Var(prior) of each quantity, the prior's by draws of the resolved model's own story.

    Parameters
    ----------
    fit : Fit
    listed : sequence of Quantity

    Returns
    -------
    Contractions
        Without what has no posterior (a point), no prior (a flat one, a scale that the data choose) or no terms. Where a
        prior has no finite variance the squared interquartile ranges stand for variances.
    """
    if fit.point or not isinstance(fit.model, GLM):
        return Contractions({}, (), ())
    without, robust = _undrawable(fit.model), _without_variance(fit.model)
    kept = [q for q in listed if q.term not in without]
    parts: dict[tuple[str, str], list[xr.DataArray]] = {}
    for drawn in _prior_draws(fit, without):
        for q in kept:
            if q.term in drawn:
                parts.setdefault((q.term, q.name), []).append(_spread(read(fit, q.term, q.name, drawn), q.term in robust))
    prior = {key: xr.concat(found, "neuron") if len(found) > 1 else found[0] for key, found in parts.items()}
    own = {key: _spread(q.draws, q.term in robust) for q in kept if (key := (q.term, q.name)) in prior}
    of = {key: 1.0 - own[key] / prior[key] for key in own}
    shown = tuple(dict.fromkeys(q.term for q in kept if q.term in robust))
    terms = tuple(term.name for term in fit.model.terms if term.name in without)
    return Contractions(of, shown, terms)


def _spread(draws: xr.DataArray, robust: bool) -> xr.DataArray:
    """Variance of each entry, or the variance of the normal with its interquartile range."""
    values = draws.stack(sample=("chain", "draw"))
    if not robust:
        return values.var("sample", ddof=1, skipna=False)
    ends = values.quantile([0.25, 0.75], "sample", skipna=False)
    return ((ends.isel(quantile=1, drop=True) - ends.isel(quantile=0, drop=True)) / 1.349) ** 2


def _undrawable(model: GLM) -> set[str]:
    """Terms (and what they learn) whose prior has no draws; with one of them the centred baseline has none either."""
    found: set[str] = set()
    for term in _weighted(model):
        laws = {site: law for site, (law, _) in term.prior.hyper(term.name).items()}
        if not term.prior.proper or any(isinstance(plain(law), EvidenceScale) for law in laws.values()):
            found |= {term.name, *laws}
    return found | _with_baseline(model, found)


def _without_variance(model: GLM) -> set[str]:
    """Sites whose prior has no finite variance; the horseshoe's weights have one, by its slab."""
    laws = {site: law for site, (law, _) in model.family.hyper(model.response, jnp.ones(())).items()}
    wild: set[str] = set()
    for term in _weighted(model):
        own = {site: law for site, (law, _) in term.prior.hyper(term.name).items()}
        laws |= own
        if any(_heavy(law) for law in own.values()) and not term.prior.samples_only:
            wild.add(term.name)
    return wild | {site for site, law in laws.items() if _heavy(law)} | _with_baseline(model, wild)


def _with_baseline(model: GLM, terms: set[str]) -> set[str]:
    centred = any(term.name == "baseline" and getattr(term, "centred", False) for term in model.terms)
    return {"baseline"} if centred and terms else set()


def _heavy(law: Any) -> bool:
    """Whether a law's second moment is infinite."""
    base = plain(law)
    if isinstance(base, (dist.HalfCauchy, dist.Cauchy)):
        return True
    if isinstance(base, dist.InverseGamma):
        return bool(np.min(base.concentration) <= 2)
    return bool(np.min(getattr(base, "df", np.inf)) <= 2)


def _weighted(model: GLM) -> list[Any]:
    return [term for term in model.terms if not isinstance(term, Offset)]


def _prior_draws(fit: Fit, without: set[str]) -> Iterator[xr.Dataset]:
    """Draws of the fit's sites from its model's story, without the response: blocks of neurons, so that few are held at once."""
    model, posterior = fit.model, fit.posterior
    cells = model._cells()
    width = sum(mask[0].size for mask in cells["mask"].values()) * max(1, len(model.family.predictors.labels) if model.family.predictors else 1)
    step = max(1, _LARGEST // (_DRAWS * width))
    keys = jax.random.split(jax.random.key(0, impl="unsafe_rbg"), _DRAWS)  # its programs compile in a quarter of the default's time
    order = sorted(_weighted(model), key=lambda term: term.name == "baseline")
    for start in range(0, model.target.size, step):
        few = jax.tree.map(lambda leaf, at=slice(start, start + step): leaf[at], cells)
        blocks = [Block(t.name, t.dims, None, None, few["mask"][t.name], t.prior) for t in order if t.name not in without]
        values = _drawn(compilable(model), blocks, few, keys)
        part = posterior.isel(neuron=slice(start, start + step)) if "neuron" in posterior.dims else posterior
        yield _labelled(part, {name: np.asarray(value) for name, value in values.items() if name in part})


def _labelled(like: xr.Dataset, values: dict[str, np.ndarray]) -> xr.Dataset:
    """Draws with the dims and labels of the posterior's sites."""
    found = {}
    for name, value in values.items():
        inner = like[name].isel(chain=0, draw=0, drop=True)
        found[name] = xr.DataArray(value.reshape(1, -1, *inner.shape), dims=("chain", "draw", *inner.dims), coords=inner.coords)
    return xr.Dataset(found)


@compiled_quickly
def _drawn(model: GLM, blocks: list[Block], cells: dict[str, Any], keys: Any) -> dict[str, Any]:
    return jax.vmap(lambda key: _one_draw(model, blocks, cells, key))(keys)


def _one_draw(model: GLM, blocks: list[Block], cells: dict[str, Any], key: Any) -> dict[str, Any]:
    """The story of the weights and of what is learned, as ``GLM.__call__`` tells it."""
    trace = numpyro.handlers.trace(numpyro.handlers.seed(_weights_story, key)).get_trace(model, blocks, cells)
    return {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}


def _weights_story(model: GLM, blocks: list[Block], cells: dict[str, Any]) -> None:
    shared = {site: value for block in blocks for site, value in model._learned(block, False).items()}
    predictors, size = model.family.predictors, len(cells["level"])
    level = jnp.zeros((size,) if predictors is None else (size, len(predictors.labels)))
    with numpyro.plate("neuron", size, dim=-1):
        for block in blocks:
            centred = block.name == "baseline" and model.terms["baseline"].centred
            shift = cells["level"] - (level if predictors is None else level @ predictors.contrast) if centred else None
            w = model._weights(block, shift, cells.get("about", {}).get(block.name), shared)
            level = level + at_average(block, w, cells["centre"][block.name])
        for site, (law, _) in model.family.hyper(model.response, cells["spread"]).items():
            numpyro.sample(site, law)


def little_learned(of: dict[tuple[str, str], xr.DataArray]) -> Iterator[tuple[str, int, int, tuple[str, ...]]]:
    """Terms with filters that the data say little of: name, how many, among how many, labels of the first."""
    for (term, name), values in of.items():
        if name != NET:
            continue
        flat = values.values.ravel()
        low = np.flatnonzero(flat < LITTLE)
        if low.size:
            at = [np.unravel_index(place, values.shape) for place in low[:_SHOWN]]
            words = tuple(_words(values, dict(zip(values.dims, place, strict=True))) for place in at)
            yield term, low.size, int(np.isfinite(flat).sum()), tuple(word for word in words if word)


def _words(values: xr.DataArray, at: dict[Any, Any]) -> str:
    labels = {dim: values[dim].values[where] if dim in values.coords else where for dim, where in at.items()}
    cells = " <- ".join(str(labels.pop(dim)) for dim in ("neuron", "source") if dim in labels)
    return ", ".join(part for part in (cells, *(f"{dim}={label}" for dim, label in labels.items())) if part)
