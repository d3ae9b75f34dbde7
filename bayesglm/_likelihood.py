"""Response distributions of all draws, streamed over rows: what predict, score and the comparison share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions
import xarray as xr

from bayesglm._data import bin_width
from bayesglm._double import double
from bayesglm._glm import GLM
from bayesglm._model import AbstractModel, Design, padded_size
from bayesglm._training import training_data
from bayesglm.engine.pointwise import columns_of, log_probabilities, weights_of
from bayesglm.engine.target import latent_sites, outline, traced
from bayesglm.family._cdf import cdf

if TYPE_CHECKING:
    from bayesglm._fit import Fit

# log_mean: log of the draw-averaged probability, as one draw; cdf: P(Y <= y)
What = Literal["log_prob", "log_mean", "cdf", "mean", "rate", "response"]
_NUMBERS = 1 << 21  # draws x neurons x rows held at once: 16 MB, and a few temporaries of that size
_LEAST_ROWS = 16


class Source(NamedTuple):
    """Draws of a resolved model, shaped for its story, on the design of one recording."""

    model: AbstractModel
    design: Design
    values: dict[str, np.ndarray]  # (chain x draw, *the site's shape in the story)
    scored: np.ndarray  # (row, neuron) bool
    dt: float
    chains: int

    @property
    def draws(self) -> int:
        """Draws of all chains together."""
        return next(iter(self.values.values())).shape[0]

    def at(self, rows: np.ndarray) -> Source:
        """The same on some rows; ``can_cut`` says where that is possible."""
        return self._replace(design=self.design.at(rows), scored=self.scored[rows])


def source(fit: Fit, data: xr.Dataset | None = None, draws: np.ndarray | None = None, *, common: bool = True) -> Source:
    """What the streams below read.

    Parameters
    ----------
    fit : Fit
    data : xarray.Dataset, optional
        A recording; None: the training recording.
    draws : (draw,) int, optional
        Positions of the draws to keep of each chain; None: all.
    common : bool
        On the training recording, score only the rows that ``fit_all`` scored.
    """
    where = recording_of(fit, data)
    design = fit.model.design(where).bare()
    posterior = fit.posterior if draws is None else fit.posterior.isel(draw=draws)
    model = fit.model
    values, size = glm_values(model, posterior) if _is_glm(model) else _story_values(model, design, posterior)
    scored = np.broadcast_to(np.asarray(design.weight()) > 0, (design.rows, size)).copy()
    if common and fit.scored is not None and (data is None or data is fit.data):
        scored &= (fit.scored > 0)[:, None]
    return Source(fit.model, design, values, scored, bin_width(where), posterior.sizes["chain"])


def recording_of(fit: Fit, data: Any) -> xr.Dataset:
    """``data``, checked; the training recording where it is None."""
    where = training_data(fit) if data is None else data
    if not isinstance(where, xr.Dataset) or "rows" not in where.attrs:
        raise ValueError(f"data= wants a recording made by bg.recording(...) or bg.bin_spikes(...), got {type(where).__name__}.")
    return where


def log_likelihood_chunks(fit: Fit | Source, data: xr.Dataset | None = None) -> Iterator[tuple[slice, np.ndarray]]:
    """log p(y | draw), constants such as y! included, by chunks of rows: (rows, (draw, row, neuron) float64).

    Entries of rows that are not scored are 0. Never are draws x rows held for a whole recording, unless the rows of
    the model's design cannot be cut.

    Raises
    ------
    ValueError
        Where the recording lacks the response.
    """
    made = fit if isinstance(fit, Source) else source(fit, data)
    response_of(made)
    for rows, values in response_chunks(made, "log_prob"):
        scored = made.scored[rows]
        if not scored.all():  # draws stay side by side in memory
            values = np.moveaxis(np.where(scored[:, :, None], np.moveaxis(values, 0, 2), 0.0), 2, 0)
        yield rows, values


def response_chunks(made: Source, what: What, key: Any = 0) -> Iterator[tuple[slice, np.ndarray]]:
    """Mean, rate, a draw of the response, its log probability or P(Y <= y), for every posterior draw: (rows, (draw, row, neuron)).

    Chunks have one shape (the last repeats its last row), so that a program is compiled once.
    """
    rows, neurons = made.scored.shape
    length = _chunk_rows(rows, neurons * made.draws) if can_cut(made.design) else rows
    key = jax.random.key(key) if isinstance(key, (int, np.integer)) else key
    with double():
        weights = weights_of(made.model.blocks(made.design.at(slice(0, 1))), made.values) if _is_glm(made.model) else {}
    for start in range(0, rows, length):
        part = made.design.at(chunk_at(start, length, rows)) if can_cut(made.design) else made.design
        with double():
            values = _read(made, part, weights, what, jax.random.fold_in(key, start))
        stop = min(start + length, rows)
        yield slice(start, stop), values[:, : stop - start]


def log_mean_chunks(made: Source) -> Iterator[tuple[slice, np.ndarray]]:
    """log of the mean over draws of p(y | draw): (rows, (row, neuron)); 0 where not scored."""
    response_of(made)
    for rows, values in response_chunks(made, "log_mean"):
        yield rows, np.where(made.scored[rows], values[0], 0.0)


def gathered(made: Source, chunks: Iterator[tuple[slice, np.ndarray]]) -> np.ndarray:
    """(row, neuron) chunks put together."""
    out = np.empty(made.scored.shape)
    for rows, values in chunks:
        out[rows] = values
    return out


def response_of(made: Source) -> np.ndarray:
    """The observed responses (row, neuron), in their own type."""
    each = made.design.each
    if isinstance(each, dict) and "response" in each:
        return np.asarray(each["response"]).T
    site = None if can_cut(made.design) else _site(made)
    if site is None or not site["is_observed"]:
        raise ValueError(f"The recording lacks the response {made.model.observed_site()!r}: a likelihood is of responses. bg.predict needs none.")
    return np.asarray(site["value"]).reshape(len(made.scored), -1)


def labels_of(fit: Fit, size: int) -> np.ndarray | None:
    """Labels of the responses a row; None where there is one, without a dim."""
    labels = fit.model.coords().get("neuron", ())
    if size == 1 and not fit.model.has_neurons:
        return None
    return np.asarray(labels) if len(labels) == size else np.arange(size)


def is_mass(made: Source) -> bool:
    """Whether the response is discrete: its likelihood is then a probability, else a density."""
    family = getattr(made.model, "family", None)
    if family is not None:
        return bool(family.discrete)
    return bool(_site(made)["fn"].support.is_discrete)


def _site(made: Source) -> dict[str, Any]:
    """The site of the responses at the first draw."""
    with double():
        return _observed(traced(made.model, made.design, {name: value[0] for name, value in made.values.items()}), made.model)


def _over_draws(what: What, values: Any) -> Any:
    """(draw, ...) -> (1, ...) where the draws are averaged."""
    return jax.nn.logsumexp(values, axis=0, keepdims=True) - jnp.log(values.shape[0]) if what == "log_mean" else values


def _is_glm(model: AbstractModel) -> TypeGuard[GLM]:
    return isinstance(model, GLM)


def chunk_at(start: int, length: int, rows: int) -> slice | np.ndarray:
    """Rows of a chunk; beyond the end the last row again, so that all chunks have one shape."""
    stop = start + length
    return slice(start, stop) if stop <= rows else np.minimum(np.arange(start, stop), rows - 1)


def can_cut(design: Design) -> bool:
    """Whether a design's rows may be taken apart."""
    return isinstance(design.each, dict) and "cells" in design.each


def _chunk_rows(rows: int, columns: int) -> int:
    """A power of two of rows, so that draws x neurons x rows stay within the budget; all of them where they fit."""
    fitting = 1 << max(_LEAST_ROWS, _NUMBERS // columns).bit_length() - 1
    return min(fitting, padded_size(rows))


def glm_values(model: GLM, posterior: xr.Dataset) -> tuple[dict[str, np.ndarray], int]:
    """Weights (draw, neuron, *shape) of every term, learned parameters (draw, neuron) of the family; how many neurons."""
    names = [term.name for term in model.terms if term.name in posterior] + list(model.family.hyper(model.response))
    if not model.has_neurons:  # a feature may be called neuron
        return {name: _stacked(posterior[name], [])[:, None] for name in names}, 1
    return {name: _stacked(posterior[name], ["neuron"]) for name in names}, model.target.size if model.target is not None else 1


def _story_values(model: AbstractModel, design: Design, posterior: xr.Dataset) -> tuple[dict[str, np.ndarray], int]:
    """Latent values in the shapes that the story samples (plates by their place, dims of size one put back); how many neurons."""
    values = {}
    with double():
        trace = outline(model, design)
    for name, site in latent_sites(trace).items():
        if name == model.observed_site():
            continue
        plates = [frame.name for frame in sorted(site["cond_indep_stack"], key=lambda frame: frame.dim)]
        values[name] = _stacked(posterior[name], plates).reshape(-1, *np.shape(site["value"]))
    return values, int(np.prod(_observed(trace, model)["fn"].batch_shape[1:]))


def _stacked(array: xr.DataArray, plates: list[str]) -> np.ndarray:
    """(chain x draw, *plates, ...); a plate without a dim (one unnamed neuron, a shared number) has size one."""
    found = [plate for plate in plates if plate in array.dims]
    values = array.transpose("chain", "draw", *found, ...).values
    sizes = [array.sizes.get(plate, 1) for plate in plates]
    return values.reshape(values.shape[0] * values.shape[1], *sizes, *values.shape[2 + len(found) :])


def _read(made: Source, part: Design, weights: dict[str, Any], what: What, key: Any) -> np.ndarray:
    """(draw, row, neuron) of one chunk."""
    model, dt = made.model, jnp.asarray(made.dt)
    if not _is_glm(model):
        step = max(1, _NUMBERS // max(1, made.scored.size)) if not can_cut(part) else made.draws
        return np.asarray(_story_read(what, model, part, made.values, dt, key, min(step, made.draws)))
    columns = columns_of(model.blocks(part))
    sites = {site: made.values[site][:, :, None] for site in model.family.hyper(model.response)} | part.each.get("known", {})
    offset, y = part.each.get("offset"), part.each.get("response")
    if what == "log_prob":
        return np.moveaxis(np.asarray(log_probabilities(model.family, columns, weights, offset, sites, y, dt)), 2, 0)
    return np.moveaxis(np.asarray(_glm_read(what, model.family, columns, weights, offset, sites, y, dt, key)), 2, 1)


@eqx.filter_jit
def _glm_read(what: What, family: Any, columns: Any, weights: Any, offset: Any, sites: Any, y: Any, dt: Any, key: Any) -> Any:
    eta = jnp.zeros(())
    if "shared" in columns:
        eta = eta + jnp.einsum("snp...,tp->snt...", weights["shared"], columns["shared"])
    if "own" in columns:
        eta = eta + jnp.einsum("snp...,ntp->snt...", weights["own"], columns["own"])
    eta = eta if offset is None else eta + offset
    eta = eta if family.predictors is None else eta @ family.predictors.contrast
    law = family(eta, sites, dt)
    found = _figure(what, law, y, key, lambda: family.rate(eta, sites, dt))
    return _over_draws(what, jnp.broadcast_to(found, jnp.broadcast_shapes(found.shape, law.batch_shape)))


@eqx.filter_jit
def _story_read(what: What, model: Any, part: Design, values: Any, dt: Any, key: Any, batch: int) -> Any:
    def one(value_and_key: Any) -> Any:
        value, own_key = value_and_key
        story = numpyro.handlers.substitute(numpyro.handlers.seed(model, own_key), value)
        site = _observed(numpyro.handlers.trace(story).get_trace(part), model)
        law = _unmasked(site["fn"])
        found = _figure(what, law, site["value"], own_key, lambda: _rate(law, dt))
        return found.reshape(found.shape[0], -1)

    keys = jax.random.split(key, jax.tree.leaves(values)[0].shape[0])
    return _over_draws(what, jax.lax.map(one, (values, keys), batch_size=batch))


def _figure(what: What, law: Any, y: Any, key: Any, rate: Callable[[], Any]) -> Any:
    if what in ("log_prob", "log_mean"):
        return law.log_prob(y)
    if what == "cdf":
        return cdf(law, y)
    if what == "response":
        return law.sample(key)
    return law.mean if what == "mean" else rate()


def _rate(law: Any, dt: Any) -> Any:
    """Expected events a second of a story's distribution; its mean where it is no count."""
    if law.support is numpyro.distributions.constraints.boolean:
        return -jnp.log1p(-law.mean) / dt
    return law.mean / dt if law.support.is_discrete else law.mean


def _unmasked(law: Any) -> Any:
    while isinstance(law, numpyro.distributions.MaskedDistribution):
        law = law.base_dist
    return law


def _observed(trace: dict[str, Any], model: AbstractModel) -> dict[str, Any]:
    """The site of the responses."""
    name = model.observed_site()
    if name is not None:
        return trace[name]
    seen = [site for site in trace.values() if site["type"] == "sample" and site["is_observed"]]
    if len(seen) != 1:
        raise ValueError(f"The story observes {[site['name'] for site in seen]}; one observed site is wanted (or observed_site() that names it).")
    return seen[0]
