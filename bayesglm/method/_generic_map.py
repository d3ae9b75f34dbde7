"""The mode of any NumPyro model: L-BFGS, or proximal Newton where sites have Laplace priors."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from bayesglm.engine.kinks import proximal_step, violation
from bayesglm.engine.target import StoryTarget, is_positive, latent_sites, traced
from bayesglm.method._base import Draws, as_numpy
from bayesglm.method._generic import minimise

_LARGEST = 1000  # coordinates of a dense proximal Newton


def generic_mode(target: StoryTarget, most: int) -> Draws:
    """Mode of a story's constrained density, one posterior at a time or jointly."""
    start = jnp.asarray(target.start())
    slope = kink_slopes(target)
    if slope.any():
        z, largest, steps = _proximal(target, start, jnp.asarray(slope), jnp.asarray(most))
    else:
        z, largest, steps = minimise(target, start, jnp.zeros(target.dim, bool), jnp.asarray(most), False)
    energy = _each(target, lambda each, z: target.energy_without_jacobian(each, z), z)
    converged = np.asarray(largest) < 1e-5 * (1.0 + np.abs(np.asarray(energy)))
    sites = _each(target, target.sites, z)
    joint = target.each is None
    as_draw = lambda value: np.asarray(value)[None] if joint else np.asarray(value)[None, None]  # noqa: E731
    per_neuron = {"converged": converged, "gradient": largest, "n_steps": steps}
    return Draws({k: as_draw(v) for k, v in sites.items()}, {"lp": as_draw(-np.asarray(energy))}, as_numpy(per_neuron), (), False, not joint)


def _each(target: StoryTarget, function: Any, z: Any) -> Any:
    if target.each is None:
        return jax.tree.map(lambda value: value[None], function(None, z[0]))
    return jax.vmap(function)(target.each, z)


def kink_slopes(target: StoryTarget) -> np.ndarray:
    """(dim,) strength of the L1 penalty on each coordinate: 1/scale of sites with a Laplace(0, scale) prior, else 0.

    Raises
    ------
    ValueError
        Where the scale of a Laplace prior is itself sampled: there is no joint mode.
    """
    each = None if target.each is None else jax.tree.map(lambda leaf: leaf[0], target.each)
    design = target.design if each is None else target.design.one(each)
    sites = latent_sites(traced(target.model, design))
    again = latent_sites(_moved(target, design, sites))
    parts = []
    for site in sorted(target.known, key=lambda one: one.name):
        law, other = _bare(sites[site.name]["fn"]), _bare(again[site.name]["fn"])
        size = int(np.prod(np.shape(sites[site.name]["value"])))
        if not isinstance(law, dist.Laplace):
            parts.append(np.zeros(size))
            continue
        if not np.allclose(law.scale, other.scale):
            raise ValueError(f"The scale of the Laplace prior of {site.name!r} is learned: the joint mode does not exist. Fix it, or use method='nuts'.")
        if np.any(np.asarray(law.loc) != 0):
            parts.append(np.zeros(size))
            continue
        parts.append(np.ravel(np.broadcast_to(1.0 / np.asarray(law.scale), np.shape(sites[site.name]["value"]))))
    return np.concatenate(parts) if parts else np.zeros(0)


def _moved(target: StoryTarget, design: Any, sites: dict[str, Any]) -> dict[str, Any]:
    """A second trace with the positive sites doubled: what depends on them moves."""
    return traced(target.model, design, {name: site["value"] * 2.0 for name, site in sites.items() if is_positive(site["fn"].support)})


def _bare(law: Any) -> Any:
    while isinstance(law, (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)):
        law = law.base_dist
    return law


@eqx.filter_jit
def _proximal(target: StoryTarget, z: Any, slope: Any, most: Any) -> tuple[Any, Any, Any]:
    """Proximal Newton with step halving on -log p = smooth(z) + sum slope |z|."""

    def one(each: Any, z0: Any) -> tuple[Any, Any, Any]:
        whole = lambda z: target.energy_without_jacobian(each, z)  # noqa: E731
        smooth = lambda z: whole(z) - jnp.sum(slope * jnp.abs(z))  # noqa: E731

        def step(carry: Any) -> Any:
            z, count, _ = carry
            gradient, hessian = jax.grad(smooth)(z), jax.hessian(smooth)(z)
            hessian = hessian + 1e-9 * jnp.eye(z.size) * jnp.trace(hessian) / z.size
            d = proximal_step(None, gradient, hessian, slope, z)
            fall = -(gradient @ d + jnp.sum(slope * (jnp.abs(z + d) - jnp.abs(z))))
            steps = 0.5 ** jnp.arange(20)
            values = jax.lax.map(lambda t: whole(z + t * d), steps)
            good = values <= whole(z) - 1e-4 * steps * fall + 1e-13 * (1 + jnp.abs(values))
            t = jnp.where(jnp.any(good), steps[jnp.argmax(good)], 0.0)
            new = z + t * d
            return new, count + 1, jnp.where(t > 0, violation(None, jax.grad(smooth)(new), slope, new), 0.0)

        def going(carry: Any) -> Any:
            return (carry[1] < most) & (carry[2] > 1e-9)

        z, count, _ = jax.lax.while_loop(going, step, (z0, 0, jnp.asarray(jnp.inf)))
        return z, violation(None, jax.grad(smooth)(z), slope, z), count

    return jax.vmap(one)(target.each, z) if target.each is not None else jax.tree.map(lambda x: x[None], one(None, z[0]))
