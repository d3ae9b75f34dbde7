"""A model that is linear in its weights, as arrays and densities: what the fast engine works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from bayesglm.engine.by_rows import summed
from bayesglm.engine.elements import fold, from_elements, gather, gather_squares, mixed, over_predictors, spread_out, to_elements
from bayesglm.engine.predictor import AbstractPredictor
from bayesglm.engine.scales import from_value, middle, to_value, unconstrained_shape
from bayesglm.family import AbstractFamily
from bayesglm.prior import AbstractPrior, Flat
from bayesglm.prior._base import site_values
from bayesglm.prior._distributions import EvidenceScale

if TYPE_CHECKING:
    from collections.abc import Sequence


class Linear(eqx.Module):
    """One neuron's story in arrays: y ~ family(eta), eta = level + offset + Z w, with Z the centred columns.

    ``w`` (P,) holds the blocks side by side, shared columns first. It is in elements: a prior's rotation is in the columns,
    and where a family has J predictors each column has J weights, side by side, and eta a last axis. The weight of a
    centred baseline is kept as its distance from ``level``, so that every prior is around zero. ``each`` leaves have a
    leading neuron axis: ``response, mask (P), centre (P), level, spread`` and, where needed, ``own (column, row), offset,
    scored``, ``known`` (the family's numbers of each row), ``about`` (the priors' numbers of each neuron) and ``places``:
    which column each weight multiplies, where two blocks read the same columns (a cell's history on the basis of its
    couplings).
    """

    predictor: AbstractPredictor
    each: dict[str, Any]
    scored: Any
    family: AbstractFamily
    priors: tuple[AbstractPrior, ...]
    names: tuple[str, ...] = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)  # of one neuron's elements, the J predictors last
    response: str = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    centred: bool = eqx.field(static=True)
    contrast: Any = None  # (K, J) of a family with several predictors
    rotations: dict[str, Any] = eqx.field(default_factory=dict)  # R (B, B) of blocks whose weights are R times their elements
    mixings: dict[str, Any] = eqx.field(default_factory=dict)  # R (J, J) of blocks whose prior is over the classes
    chunk: int = eqx.field(default=0, static=True)  # rows by which the likelihood is summed; 0: all at once

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.each["level"].shape[0]

    @property
    def dim(self) -> int:
        """Number of weights of one neuron."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    @property
    def several(self) -> int:
        """Number of predictors a response, J."""
        return 1 if self.contrast is None else self.contrast.shape[1]

    def in_single(self) -> Linear:
        """The same arrays in single precision, for preconditioners and cheap products."""
        is_double = lambda leaf: not isinstance(leaf, str) and jnp.asarray(leaf).dtype == jnp.float64  # noqa: E731
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32) if is_double(leaf) else leaf, self)

    def parts(self) -> list[slice]:
        """Where each block's weights lie in (P,)."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        return [slice(int(end - np.prod(shape)), int(end)) for end, shape in zip(ends, self.shapes, strict=True)]

    def eta(self, each: Any, w: Any) -> Any:
        """The linear predictor of one neuron, (row,), or (row, J)."""
        eta = over_predictors(lambda v: self.predictor.eta(v, each.get("own")), spread_out(self, each, w))
        eta = eta + each["level"] if self.centred else eta
        return eta + each["offset"] if "offset" in each else eta

    def pull(self, each: Any, r: Any) -> Any:
        """(row,) or (row, J) -> (P,): the transpose of ``eta``'s linear part."""
        return gather(self, each, over_predictors(lambda one: self.predictor.pull(one, each.get("own")), r))

    def gram(self, m: Any) -> Any:
        """Row weights (neuron, row), or (neuron, row, J, J) -> (neuron, P, P) weighted Gram matrices of every neuron's columns."""
        own = self.each.get("own")
        if self.contrast is None:
            return jax.vmap(lambda each, found: fold(self, each, found))(self.each, self.predictor.gram(m, own))
        j = self.several
        pairs = {(a, b): self.predictor.gram(m[:, :, a, b], own) for a in range(j) for b in range(a + 1)}
        whole = jnp.stack([jnp.stack([pairs[max(a, b), min(a, b)] for b in range(j)], -1) for a in range(j)], -2)
        return jax.vmap(lambda each, found: fold(self, each, found))(self.each, whole)

    def diagonal(self, m: Any) -> Any:
        """The diagonals (neuron, P) of ``gram(m)``, where the matrices are too large to hold."""

        def one(each: Any, m: Any) -> Any:
            along = m if self.contrast is None else jnp.diagonal(m, axis1=-2, axis2=-1)
            return gather_squares(self, each, over_predictors(lambda part: self.predictor.diagonal(part, each.get("own")), along))

        return jax.lax.map(lambda pair: one(*pair), (self.each, m))

    def of_one(self, each: Any) -> Linear:
        """The same for one neuron alone."""
        return eqx.tree_at(lambda linear: linear.each, self, jax.tree.map(lambda leaf: leaf[None], each))

    def weight(self, each: Any) -> Any:
        """1 where one neuron's response is scored, (row,)."""
        return self.scored * each["scored"] if "scored" in each else self.scored

    def log_likelihood(self, each: Any, w: Any, hyper: dict[str, Any]) -> Any:
        """Summed log density of one neuron's responses, up to terms in the response alone."""
        return summed((w, hyper), _of_rows, self, each) if self.chunk else self.log_likelihood_of(each, self.eta(each, w), hyper)

    def log_likelihood_of(self, each: Any, eta: Any, hyper: dict[str, Any]) -> Any:
        """The same given eta (row,) or (row, J)."""
        family_hyper = {site: hyper[site] for site in self.family.hyper(self.response)} | each.get("known", {})
        y = each["response"].astype(eta.dtype)
        weight = self.weight(each)
        inside = (weight > 0).reshape(weight.shape + (1,) * (eta.ndim - 1))
        density = self.family.log_density(jnp.where(inside, eta, 0.0), y, family_hyper, self.dt)
        return jnp.sum(jnp.where(weight > 0, density, 0.0))

    def log_prior(self, each: Any, w: Any, hyper: dict[str, Any]) -> Any:
        """Log prior density of one neuron's elements given the learned parameters."""
        total = jnp.zeros(())
        for prior, name, part, shape in zip(self.priors, self.names, self.parts(), self.shapes, strict=True):
            law = prior.weights(self.given(each, prior, name, hyper), each["mask"][part].reshape(shape))
            total = total + law.log_prob(w[part].reshape(shape)).sum()
        return total

    def by_weight(self, each: Any, hyper: dict[str, Any], what: str) -> Any:
        """A prior's ``whitening`` precision or ``absolute`` slope for every element, (P,)."""
        found = []
        for prior, name, part, shape in zip(self.priors, self.names, self.parts(), self.shapes, strict=True):
            mask = each["mask"][part].reshape(shape)
            value = getattr(prior, what)(self.given(each, prior, name, hyper), mask)
            found.append(jnp.ravel(jnp.zeros(shape) if value is None else jnp.broadcast_to(value, shape)))
        return jnp.concatenate(found)

    def given(self, each: Any, prior: AbstractPrior, name: str, hyper: dict[str, Any]) -> dict[str, Any]:
        """One prior's learned parameters, and what it knows of this neuron."""
        return site_values(prior, name, hyper, each.get("about", {}).get(name))

    def laws(self) -> dict[str, tuple[Any, bool]]:
        """Every prior's learned parameters by site: (law, one a neuron?)."""
        return {site: pair for prior, name in zip(self.priors, self.names, strict=True) for site, pair in prior.hyper(name).items()}

    def shared_sites(self) -> tuple[str, ...]:
        """Learned parameters that all neurons share: the posterior is a joint one then."""
        return tuple(site for site, (_, alone) in self.laws().items() if not alone)

    def hyper(self, each: Any) -> dict[str, Distribution]:
        """Priors of one neuron's learned parameters, by site; shared ones last."""
        laws = self.laws()
        sites = {site: law for site, (law, alone) in laws.items() if alone}
        sites |= {site: law for site, (law, _) in self.family.hyper(self.response, each["spread"]).items()}
        return sites | {site: laws[site][0] for site in self.shared_sites()}

    def sizes(self) -> dict[str, int]:
        """Number of unconstrained coordinates of every learned parameter."""
        return {site: int(np.prod(unconstrained_shape(law))) for site, law in self.hyper({"spread": 1.0}).items()}

    def free(self) -> int:
        """Number of unconstrained coordinates of one neuron's learned parameters."""
        return sum(self.sizes().values())

    def learned_scales(self) -> bool:
        """Whether any prior's scale is learned (the family's own parameters do not count)."""
        return bool(self.laws())

    def by_evidence(self) -> bool:
        """Whether any prior's scale is chosen by the evidence."""
        return any(isinstance(law, EvidenceScale) for law, _ in self.laws().values())

    def constrain(self, each: Any, theta: Any) -> tuple[dict[str, Any], Any]:
        """Unconstrained (K,) -> learned parameters by site, and the log density of theta (prior and Jacobian)."""
        values, log_density, begin = {}, jnp.zeros(()), 0
        for site, law in self.hyper(each).items():
            shape = unconstrained_shape(law)
            end = begin + int(np.prod(shape))
            values[site], added = to_value(law, theta[begin:end].reshape(shape))
            log_density, begin = log_density + added, end
        return values, log_density

    def start(self, each: Any) -> Any:
        """Unconstrained start of the learned parameters: their prior medians (the spread, for a Gaussian's sigma)."""
        sites = self.hyper(each)
        found = [jnp.ravel(from_value(law, each["spread"] if site == "sigma" else middle(law))) for site, law in sites.items()]
        return jnp.concatenate(found) if found else jnp.zeros(0)

    def first_weights(self, each: Any) -> Any:
        """A start (P,): the baseline at the link of the training mean, all else zero."""
        w = jnp.zeros(self.dim)
        return w if self.centred or "baseline" not in self.names else w.at[self._baseline()].set(each["level"])

    def pack(self, each: Any, sites: dict[str, Any]) -> Any:
        """One neuron's sites -> (P,)."""
        w = jnp.concatenate([jnp.ravel(to_elements(self, each, name, sites[name])) for name in self.names])
        return w.at[self._baseline()].add(self._shift(each, w)) if self.centred or self._shifted() else w

    def unpack(self, each: Any, w: Any) -> dict[str, Any]:
        """(P,) -> one neuron's sites, the inverse of ``pack``."""
        if self.centred or self._shifted():
            w = w.at[self._baseline()].add(-self._shift(each, w))
        return {name: from_elements(self, each, name, w) for name in self.names}

    def _shift(self, each: Any, w: Any) -> Any:
        """How far a centred baseline lies from the one on raw columns, () or (J,)."""
        moved = mixed(self, w * each["mask"]) * (each["centre"] if self.contrast is None else each["centre"][:, None])
        shift = moved.sum(0) - (each["level"] if self.centred else 0.0)
        return shift if "baseline" not in self.mixings else shift @ jnp.linalg.inv(self.mixings["baseline"]).T

    def _baseline(self) -> Any:
        part = self.parts()[self.names.index("baseline")]
        return part.start if self.contrast is None else part

    def _shifted(self) -> bool:
        return centres(self.names, self.priors, self.centred)


def _of_rows(params: Any, linear: Linear, each: Any) -> Any:
    return linear.log_likelihood(each, *params)


def centres(names: Sequence[str], priors: Sequence[AbstractPrior], centred: bool) -> bool:
    """Columns may be centred where the baseline's prior does not notice."""
    return centred or ("baseline" in names and isinstance(priors[names.index("baseline")], Flat))
