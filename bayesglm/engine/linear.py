"""A model that is linear in its weights, as arrays and densities: what the fast engine works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from bayesglm._double import double
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.predictor import AbstractPredictor, DensePredictor
from bayesglm.engine.scales import from_value, to_value
from bayesglm.family import AbstractFamily
from bayesglm.prior import AbstractPrior, Flat
from bayesglm.prior._base import site_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bayesglm._model import Block, Design


class Linear(eqx.Module):
    """One neuron's story in arrays: y ~ family(eta), eta = level + offset + Z w, with Z the centred columns.

    ``w`` (P,) holds the blocks side by side, shared columns first. The weight of a centred baseline is kept as its
    distance from ``level``, so that every prior is around zero. ``each`` leaves have a leading neuron axis:
    ``response, mask (P), centre (P), level, spread`` and, where needed, ``own (column, row), offset, scored`` and
    ``places (P)``: which column each weight multiplies, where two blocks read the same columns (a cell's history on the
    basis of its couplings).
    """

    predictor: AbstractPredictor
    each: dict[str, Any]
    scored: Any
    family: AbstractFamily
    priors: tuple[AbstractPrior, ...]
    names: tuple[str, ...] = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    response: str = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    centred: bool = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.each["level"].shape[0]

    @property
    def dim(self) -> int:
        """Number of weights of one neuron."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def in_single(self) -> Linear:
        """The same arrays in single precision, for preconditioners and cheap products."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32) if jnp.asarray(leaf).dtype == jnp.float64 else leaf, self)

    def parts(self) -> list[slice]:
        """Where each block's weights lie in (P,)."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        return [slice(int(end - np.prod(shape)), int(end)) for end, shape in zip(ends, self.shapes, strict=True)]

    def eta(self, each: Any, w: Any) -> Any:
        """The linear predictor of one neuron, (row,)."""
        eta = self.predictor.eta(self.spread_out(each, w), each.get("own"))
        eta = eta + each["level"] if self.centred else eta
        return eta + each["offset"] if "offset" in each else eta

    def spread_out(self, each: Any, w: Any) -> Any:
        """(P,) weights -> one number a column of the predictor."""
        if "places" not in each:
            return w * each["mask"]
        own = 0 if "own" not in each else each["own"].shape[0]
        return jnp.zeros(self.predictor.columns.shape[0] + own, w.dtype).at[each["places"]].add(w * each["mask"])

    def gather(self, each: Any, values: Any) -> Any:
        """One number a column -> (P,): the transpose of ``spread_out``."""
        return (values[each["places"]] if "places" in each else values) * each["mask"]

    def gram(self, m: Any) -> Any:
        """(neuron, row) row weights -> (neuron, P, P) weighted Gram matrices of every neuron's columns."""
        found = self.predictor.gram(m, self.each.get("own"))
        if "places" in self.each:
            found = jax.vmap(lambda g, at: g[at][:, at])(found, self.each["places"])
        return found * self.each["mask"][:, :, None] * self.each["mask"][:, None, :]

    def weight(self, each: Any) -> Any:
        """1 where one neuron's response is scored, (row,)."""
        return self.scored * each["scored"] if "scored" in each else self.scored

    def log_likelihood(self, each: Any, w: Any, hyper: dict[str, Any]) -> Any:
        """Summed log density of one neuron's responses, up to terms in the response alone."""
        return self.log_likelihood_of(each, self.eta(each, w), hyper)

    def log_likelihood_of(self, each: Any, eta: Any, hyper: dict[str, Any]) -> Any:
        """The same given eta (row,)."""
        family_hyper = {site: hyper[site] for site in self.family.hyper(self.response)}
        y = each["response"].astype(eta.dtype)
        weight = self.weight(each)
        density = self.family.log_density(jnp.where(weight > 0, eta, 0.0), y, family_hyper, self.dt)
        return jnp.sum(jnp.where(weight > 0, density, 0.0))

    def log_prior(self, each: Any, w: Any, hyper: dict[str, Any]) -> Any:
        """Log prior density of one neuron's weights given the learned parameters."""
        total = jnp.zeros(())
        for prior, name, part in zip(self.priors, self.names, self.parts(), strict=True):
            law = prior.weights(site_values(prior, name, hyper), each["mask"][part])
            total = total + law.log_prob(w[part]).sum()
        return total

    def by_weight(self, each: Any, hyper: dict[str, Any], what: str) -> Any:
        """A prior's ``whitening`` precision or ``absolute`` slope for every weight, (P,)."""
        found = []
        for prior, name, part in zip(self.priors, self.names, self.parts(), strict=True):
            mask = each["mask"][part]
            value = getattr(prior, what)(site_values(prior, name, hyper), mask)
            found.append(jnp.zeros(mask.shape) if value is None else jnp.broadcast_to(value, mask.shape))
        return jnp.concatenate(found)

    def hyper(self, each: Any) -> dict[str, Distribution]:
        """Priors of one neuron's learned parameters, by site."""
        sites = {site: law for prior, name in zip(self.priors, self.names, strict=True) for site, (law, _) in prior.hyper(name).items()}
        return sites | {site: law for site, (law, _) in self.family.hyper(self.response, each["spread"]).items()}

    def free(self) -> int:
        """Number of unconstrained learned parameters of one neuron."""
        return len(self.hyper({"spread": 1.0}))

    def learned_scales(self) -> bool:
        """Whether any prior's scale is learned (the family's own parameters do not count)."""
        return any(prior.hyper(name) for prior, name in zip(self.priors, self.names, strict=True))

    def constrain(self, each: Any, theta: Any) -> tuple[dict[str, Any], Any]:
        """Unconstrained (K,) -> learned parameters by site, and the log density of theta (prior and Jacobian)."""
        values, log_density = {}, jnp.zeros(())
        for i, (site, law) in enumerate(self.hyper(each).items()):
            values[site], added = to_value(law, theta[i])
            log_density = log_density + added
        return values, log_density

    def start(self, each: Any) -> Any:
        """Unconstrained start of the learned parameters: their prior medians (the spread, for a Gaussian's sigma)."""
        sites = self.hyper(each)
        middle = [from_value(law, each["spread"] if site == "sigma" else _median(law)) for site, law in sites.items()]
        return jnp.asarray(middle) if middle else jnp.zeros(0)

    def first_weights(self, each: Any) -> Any:
        """A start (P,): the baseline at the link of the training mean, all else zero."""
        w = jnp.zeros(self.dim)
        return w if self.centred or "baseline" not in self.names else w.at[self._baseline()].set(each["level"])

    def pack(self, each: Any, sites: dict[str, Any]) -> Any:
        """One neuron's sites -> (P,)."""
        w = jnp.concatenate([jnp.ravel(sites[name]) for name in self.names])
        if self.centred or self._shifted():
            at = self._baseline()
            shift = jnp.sum(w * each["mask"] * each["centre"]) - (each["level"] if self.centred else 0.0)
            w = w.at[at].add(shift)
        return w

    def unpack(self, each: Any, w: Any) -> dict[str, Any]:
        """(P,) -> one neuron's sites, the inverse of ``pack``."""
        if self.centred or self._shifted():
            shift = jnp.sum(w * each["mask"] * each["centre"]) - (each["level"] if self.centred else 0.0)
            w = w.at[self._baseline()].add(-shift)
        return {name: w[part].reshape(shape) for name, part, shape in zip(self.names, self.parts(), self.shapes, strict=True)}

    def _baseline(self) -> int:
        return self.parts()[self.names.index("baseline")].start

    def _shifted(self) -> bool:
        return _centres(self.names, self.priors, self.centred)


def _centres(names: Sequence[str], priors: Sequence[AbstractPrior], centred: bool) -> bool:
    """Columns may be centred where the baseline's prior does not notice."""
    return centred or ("baseline" in names and isinstance(priors[names.index("baseline")], Flat))


def _median(law: Distribution) -> Any:
    """Median of a positive prior; by its mean where NumPyro knows no quantile."""
    try:
        return law.icdf(0.5)
    except NotImplementedError:
        draws = law.sample(jax.random.key(0), (1001,))
        return jnp.median(draws)


def linear_of_blocks(blocks: Sequence[Block], design: Design, family: AbstractFamily, response: str, dt: float, centred: bool) -> Linear | None:
    """The linear structure of blocks on a design; None where it has no response, or neurons share a learned scale."""
    shared_scale = any(not alone for block in blocks for _, alone in block.prior.hyper(block.name).values())
    if "response" not in design.each or family.n_predictors != 1 or shared_scale:
        return None
    ordered = [b for b in blocks if b.own is None] + [b for b in blocks if b.own is not None]
    names, priors = tuple(b.name for b in ordered), tuple(b.prior for b in ordered)
    cells, size = design.each["cells"], design.size
    shift = _centres(names, priors, centred)
    centre = np.concatenate([np.asarray(cells["centre"][name], float).reshape(size, -1) for name in names], 1) * shift
    parts = [b.shared.reshape(design.rows, -1) for b in ordered if b.own is None]
    with double():  # transposing is a quarter of a fit's time in NumPy
        shared = _stacked(parts, centre[0, : sum(part.shape[1] for part in parts)]) if parts else np.zeros((0, design.rows))
    each = {
        "response": design.each["response"],
        "mask": np.concatenate([np.asarray(cells["mask"][name]).reshape(size, -1) for name in names], 1).astype(float),
        "centre": centre,
        "level": np.asarray(cells["level"], float),
        "spread": np.asarray(cells["spread"], float),
    }
    each |= {key: design.each[key] for key in ("offset", "scored") if key in design.each}
    own, places = _own_columns(ordered, size, cells["centre"])
    if own is not None:
        where = np.arange(centre.shape[1]) if places is None else places[0]
        each["own"] = own - centre[:, where >= len(shared), None]
    if places is not None:
        each["places"] = places
    shapes = tuple(tuple(b.mask.shape[1:]) for b in ordered)
    return Linear(DensePredictor(shared), each, np.asarray(design.scored, float), family, priors, names, shapes, response, dt, centred)


def _own_columns(ordered: Sequence[Block], size: int, centres: dict[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Columns of each neuron alone (neuron, column, row), and where every weight's column is, where some are shared."""
    starts = np.cumsum([0, *(int(np.prod(b.shared.shape[1:])) for b in ordered if b.own is None)])
    shared = [(b, start) for b, start in zip([b for b in ordered if b.own is None], starts[:-1], strict=True)]
    places, kept, end = [np.tile(np.arange(starts[-1]), (size, 1))], [], int(starts[-1])
    for block in (b for b in ordered if b.own is not None):
        found = next((at for at in (_among(block, b, start, centres) for b, start in shared) if at is not None), None)
        if found is None:
            kept.append(np.moveaxis(block.own.reshape(*block.own.shape[:2], -1), 1, 2))
            width = kept[-1].shape[1]
            found, end = np.tile(np.arange(end, end + width), (size, 1)), end + width
        places.append(found)
    alias = np.concatenate(places, 1)
    plain = np.array_equal(alias, np.tile(np.arange(alias.shape[1]), (size, 1)))
    return (np.concatenate(kept, 1) if kept else None), (None if plain else alias.astype(np.int32))


def _among(block: Block, other: Block, start: int, centres: dict[str, Any]) -> np.ndarray | None:
    """(neuron, column) places of own columns (neuron, row, B) among shared ones (row, S, B); None where one is missing."""
    own, shared = block.own, other.shared
    if own.ndim != 3 or shared.ndim != 3 or own.shape[2] != shared.shape[2]:
        return None
    head = min(4096, own.shape[1])
    places = []
    for n, columns in enumerate(own):
        near = np.flatnonzero(_same(shared[:head], columns[:head, None]).all((0, 2)))
        match = next((s for s in near if _same(shared[:, s], columns).all()), None)
        if match is None or not np.allclose(centres[block.name][n], centres[other.name][n, match], rtol=1e-13, atol=0.0):
            return None
        places.append(start + match * own.shape[2] + np.arange(own.shape[2]))
    return np.stack(places)


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a - b) <= 1e-12 * (1.0 + np.abs(a))


@compiled_quickly
def _stacked(parts: list[Any], centre: Any) -> Any:
    """(row, column) arrays side by side, centred, features-major: (column, row) in double precision."""
    return jnp.concatenate([part.T.astype(float) for part in parts]) - centre[:, None]
