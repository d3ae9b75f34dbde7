"""Targets: independent posteriors in unconstrained coordinates. The story's is the oracle of the engine's."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to, constraints
from numpyro.infer.initialization import init_to_feasible, init_to_median
from numpyro.infer.util import log_density


class AbstractTarget(eqx.Module):
    """``size`` independent posteriors of ``dim`` unconstrained coordinates each; ``each`` leaves are (size, ...)."""

    size: eqx.AbstractVar[int]
    dim: eqx.AbstractVar[int]
    each: eqx.AbstractVar[Any]

    def energy(self, each: Any, z: Any) -> Any:
        """Negative log density of one posterior, (dim,) -> ()."""
        raise NotImplementedError

    def sites(self, each: Any, z: Any) -> dict[str, Any]:
        """Constrained values of the model's own sites at one point."""
        raise NotImplementedError


class Site(eqx.Module):
    """What a trace told of one latent site. ``place`` is the axis of its neuron plate in the value, None without one."""

    name: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    place: int | None = eqx.field(static=True)
    support: Any = eqx.field(static=True)


class StoryTarget(AbstractTarget):
    """Potential energy of a NumPyro story on a design: any model, any prior.

    Where every site lies under the plate ``neuron`` the posterior factorises: ``size`` is the number of neurons and
    ``energy`` runs the story on ``design.one(each)``. Else ``size`` is 1.
    """

    model: Any
    design: Any
    each: Any
    size: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    known: tuple[Site, ...]
    unravel: Callable[[Any], dict[str, Any]] = eqx.field(static=True)

    def _design(self, each: Any) -> Any:
        return self.design.one(each) if self.size > 1 or self.each is not None else self.design

    def energy(self, each: Any, z: Any) -> Any:
        values, log_jacobian = self._constrain(each, z)
        return -(log_density(self.model, (self._design(each),), {}, values)[0] + log_jacobian)

    def energy_without_jacobian(self, each: Any, z: Any) -> Any:
        """Negative log density of the constrained values: what a MAP minimises."""
        values, _ = self._constrain(each, z)
        return -log_density(self.model, (self._design(each),), {}, values)[0]

    def sites(self, each: Any, z: Any) -> dict[str, Any]:
        values, _ = self._constrain(each, z)
        trace = self._trace(each, values)
        values |= {name: site["value"] for name, site in trace.items() if site["type"] == "deterministic"}
        if self.each is None:
            return values
        places = {site.name: site.place for site in self.known}
        return {name: jnp.squeeze(value, places.get(name, neuron_axis(trace[name]))) for name, value in values.items()}

    def _trace(self, each: Any, values: dict[str, Any]) -> dict[str, Any]:
        return traced(self.model, self._design(each), values)

    def _constrain(self, each: Any, z: Any) -> tuple[dict[str, Any], Any]:
        raw = self.unravel(z)
        values, total = {}, jnp.zeros(())
        for site in self.known:
            transform = biject_to(site.support)
            values[site.name] = transform(raw[site.name])
            total = total + jnp.sum(transform.log_abs_det_jacobian(raw[site.name], values[site.name]))
        return values, total

    def start(self) -> np.ndarray:
        """(size, dim): positive sites at their prior medians, the others at zero or their prior medians."""
        return np.stack([np.asarray(_first(self.model, self._design(each_n)), float) for each_n in self._slices()])

    def _slices(self) -> list[Any]:
        return [None] if self.each is None else [jax.tree.map(lambda leaf, i=i: leaf[i], self.each) for i in range(self.size)]


def neuron_axis(site: dict[str, Any]) -> int | None:
    """Axis (from the right) of the plate ``neuron`` in a traced site's value."""
    for frame in site.get("cond_indep_stack", ()):
        if frame.name == "neuron":
            return frame.dim - site["fn"].event_dim if site["type"] == "sample" else frame.dim
    return None


def traced(model: Any, design: Any, values: dict[str, Any] | None = None) -> dict[str, Any]:
    """A trace of the story at ``values``, elsewhere at a feasible point (zero in unconstrained coordinates)."""
    start = numpyro.handlers.substitute(numpyro.handlers.seed(model, jax.random.key(0)), substitute_fn=init_to_feasible())
    start = numpyro.handlers.substitute(start, values) if values else start
    return numpyro.handlers.trace(start).get_trace(design)


def outline(model: Any, design: Any) -> dict[str, Any]:
    """``traced`` without values: plates, shapes and supports. Nothing is computed, so nothing is compiled."""
    kept: dict[str, Any] = {}
    jax.eval_shape(lambda: kept.update(traced(model, design)))
    return kept


def latent_sites(trace: dict[str, Any]) -> dict[str, Any]:
    """The sampled, unobserved sites of a trace."""
    return {name: site for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}


def factorises(trace: dict[str, Any]) -> bool:
    """Whether every sampled site lies under the plate ``neuron``: the posterior is then a product over neurons."""
    sampled = [site for site in trace.values() if site["type"] == "sample"]
    return bool(sampled) and all(neuron_axis(site) is not None for site in sampled)


def story_target(model: Any, design: Any) -> StoryTarget:
    """The story of ``model`` on ``design`` as a target; discrete latent sites raise a ValueError that names them."""
    trace = traced(model, design)
    latent = latent_sites(trace)
    discrete = [name for name, site in latent.items() if site["fn"].support.is_discrete]
    if discrete:
        raise ValueError(f"The sites {discrete} are discrete and not observed: sum them out, or give them as data (obs=).")
    apart = factorises(trace) and jax.tree.leaves(design.each) != []
    each = design.each if apart else None
    shown = traced(model, design.one(jax.tree.map(lambda leaf: leaf[0], design.each))) if apart else trace
    known, raw = [], {}
    for name, site in latent_sites(shown).items():
        value = jnp.asarray(site["value"], float)
        known.append(Site(name, value.shape, neuron_axis(site) if apart else None, site["fn"].support))
        raw[name] = biject_to(site["fn"].support).inv(value)
    flat, unravel = ravel_pytree(raw)
    size = design.size if apart else 1
    return StoryTarget(model, design.bare(), each, size, int(flat.size), tuple(known), _Unravel(unravel, raw))


class _Unravel:
    """``unravel`` of a fixed structure, equal to another of the same structure so that programs are shared."""

    def __init__(self, unravel: Callable[[Any], dict[str, Any]], raw: dict[str, Any]) -> None:
        self._unravel = unravel
        self._shape = tuple((name, jnp.shape(value)) for name, value in raw.items())

    def __call__(self, z: Any) -> dict[str, Any]:
        return self._unravel(z)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unravel) and self._shape == other._shape

    def __hash__(self) -> int:
        return hash(self._shape)


def _first(model: Any, design: Any) -> Any:
    """Unconstrained start of one posterior: positive sites at their prior medians, the others feasible."""
    raw = {}
    for name, site in latent_sites(traced(model, design)).items():
        value = _median(site) if is_positive(site["fn"].support) else site["value"]
        raw[name] = biject_to(site["fn"].support).inv(jnp.asarray(value, float))
    return ravel_pytree(raw)[0]


def _median(site: dict[str, Any]) -> Any:
    return init_to_median(site | {"value": None, "kwargs": site["kwargs"] | {"rng_key": jax.random.key(1)}}, num_samples=15)


def is_positive(support: Any) -> bool:
    """Whether a support is the positive half-line: a scale, a dispersion."""
    return any(support is kind for kind in (constraints.positive, constraints.nonnegative, constraints.softplus_positive))
