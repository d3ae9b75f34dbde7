"""Starting any NumPyro model: a bounded optimisation, then the Hessian as metric."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from bayesglm.engine.target import StoryTarget, is_positive

_LARGEST_HESSIAN = 500  # coordinates


class Prepared(NamedTuple):
    """Starting points (posterior, chain, dim) and a metric (posterior, dim, dim) or None."""

    z: Any
    inverse_mass: Any
    hessian_used: bool
    notes: tuple[str, ...]


def prepare_generic(target: StoryTarget, key: Any, num_chains: int) -> Prepared:
    """Start from the mode with positive sites held at their prior medians: there the joint mode need not exist."""
    start = jnp.asarray(target.start())
    held = jnp.asarray(held_coordinates(target))
    found = minimise(target, start, held, 200)[0]
    scatter = jax.random.normal(key, (target.size, num_chains, target.dim))
    if target.dim <= _LARGEST_HESSIAN:
        covariance, usable = _covariance(target, found)
        if bool(jnp.all(usable)):
            z = found[:, None] + jnp.einsum("nij,ncj->nci", jnp.linalg.cholesky(covariance), scatter)
            return Prepared(_finite_start(target, z, found), covariance, True, ())
    z = _finite_start(target, found[:, None] + 0.1 * scatter, found)
    return Prepared(z, None, False, ("the Hessian at the start was not positive definite: a diagonal metric was adapted",))


def held_coordinates(target: StoryTarget) -> np.ndarray:
    """(dim,) bool: the coordinates of positive sites."""
    flags = []
    for site in sorted(target.known, key=lambda one: one.name):  # ravel_pytree sorts a dict's keys
        size = int(np.prod(np.shape(target.unravel(jnp.zeros(target.dim))[site.name])))
        flags.append(np.full(size, is_positive(site.support)))
    return np.concatenate(flags) if flags else np.zeros(0, bool)


@eqx.filter_jit
def minimise(target: StoryTarget, z: Any, held: Any, most: Any, jacobian: bool = True) -> tuple[Any, Any, Any]:
    """L-BFGS from ``z`` (posterior, dim), held coordinates fixed; the point, the largest gradient entry, the steps."""
    energy = target.energy if jacobian else target.energy_without_jacobian

    def one(each: Any, z0: Any) -> tuple[Any, Any, Any]:
        cost = lambda z: energy(each, jnp.where(held, z0, z))  # noqa: E731
        solver = optax.lbfgs(memory_size=20)
        value_and_grad = optax.value_and_grad_from_state(cost)

        def going(carry: Any) -> Any:
            _, _, count, largest = carry
            return (count < most) & (largest > 1e-9)

        def step(carry: Any) -> Any:
            z, state, count, _ = carry
            value, gradient = value_and_grad(z, state=state)
            update, state = solver.update(gradient, state, z, value=value, grad=gradient, value_fn=cost)
            z = optax.apply_updates(z, update)
            return z, state, count + 1, jnp.max(jnp.abs(jax.grad(cost)(z)), initial=0.0)

        z, _, count, largest = jax.lax.while_loop(going, step, (z0, solver.init(z0), 0, jnp.asarray(jnp.inf)))
        return jnp.where(held, z0, z), largest, count

    return jax.vmap(one)(target.each, z) if target.each is not None else jax.tree.map(lambda x: x[None], one(None, z[0]))


@eqx.filter_jit
def _covariance(target: StoryTarget, z: Any) -> tuple[Any, Any]:
    """Inverse Hessian at ``z`` (posterior, dim), and whether it is positive definite and finite."""

    def one(each: Any, z: Any) -> tuple[Any, Any]:
        values, vectors = jnp.linalg.eigh(jax.hessian(lambda z: target.energy(each, z))(z))
        usable = jnp.all(jnp.isfinite(values)) & (jnp.min(values) > 1e-8 * jnp.max(jnp.abs(values)))
        return (vectors / jnp.where(usable, values, 1.0)) @ vectors.T, usable

    return jax.vmap(one)(target.each, z) if target.each is not None else jax.tree.map(lambda x: x[None], one(None, z[0]))


@eqx.filter_jit
def _finite_start(target: StoryTarget, z: Any, centre: Any) -> Any:
    """Starting points whose energy is finite: the others go to the centre."""
    over_chains = jax.vmap(target.energy, in_axes=(None, 0))
    energy = jax.vmap(over_chains)(target.each, z) if target.each is not None else over_chains(None, z[0])[None]
    return jnp.where(jnp.isfinite(energy)[..., None], z, centre[:, None])
