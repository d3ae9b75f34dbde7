"""Fits of a Gaussian response with more columns than rows: few numbers are searched or sampled, the wide block's follow exactly."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from bayesglm.engine.collapsed import Collapsed, CollapsedTarget, Found, approximated, at_mode, log_densities, log_evidence, read, scale_marginals
from bayesglm.engine.evidence import evidence_notes
from bayesglm.engine.psis import psis
from bayesglm.engine.rowspace import balanced
from bayesglm.method._base import Draws, Monitor, Problem, arrays, standard_normal
from bayesglm.method._loop import DEEPEST, Settings, by_chain, sample

if TYPE_CHECKING:
    from bayesglm.method.nuts import NUTS

_STILL = 1e-3  # posterior sds within which a mode is found


def collapsed_mode(problem: Problem, monitor: Monitor) -> Draws:
    """Weights at their mode given the scales at their marginal mode."""
    collapsed: Collapsed = arrays(problem.collapsed)
    found = approximated(collapsed, True)
    monitor(1, 1, None, "closed form")
    nothing = jnp.zeros((1, *collapsed.each["z"].shape))
    sites = {name: np.asarray(value)[None] for name, value in read(collapsed, jnp.asarray(found.w)[None], jnp.asarray(found.theta)[None], nothing).items()}
    density = at_mode(collapsed, found.theta[:, None]).value.T
    fine = np.asarray(found.gradient) < _STILL
    about = {"converged": fine, "gradient": np.asarray(found.gradient), "n_steps": np.ones(collapsed.size, int)}
    scales = [site for site in collapsed.rest.laws() if site in sites]
    notes: tuple[str, ...] = ()
    if collapsed.rest.by_evidence():
        about["log_evidence"] = np.asarray(log_evidence(collapsed, found))
        notes = evidence_notes(collapsed.rest, found.theta, problem.labels)
    elif scales:
        notes = (f"weights are at their mode given {', '.join(scales)} at the maximum of the marginal posterior",)
    return Draws(sites, {"lp": density[None]}, about, notes, False, True)


def collapsed_laplace(problem: Problem, key: Any, monitor: Monitor, num_samples: int) -> Draws:
    """Scales from their marginal densities on a grid, the other weights from their Gaussian approximation, the wide block's exactly."""
    collapsed: Collapsed = arrays(problem.collapsed)
    found = approximated(collapsed, False)
    monitor(1, 2, None, "mode found")
    rng = _generators(problem, key, collapsed)
    m, free = found.w.shape[1], found.theta.shape[1]
    u = _by_neuron(rng, (num_samples, m))
    log_q = -0.5 * (u**2).sum(-1)
    theta = np.broadcast_to(found.theta, (num_samples, *found.theta.shape))
    if free:
        s, log_scales = scale_marginals(collapsed, found).draw(ndtr(_by_neuron(rng, (num_samples, free))))
        theta, log_q = theta + np.einsum("nab,dnb->dna", found.spread, s), log_q + log_scales
    w, log_p, log_det = _around(collapsed, theta, u)
    log_ratio = log_p - log_q - log_det
    k = psis(np.where(np.isfinite(log_ratio), log_ratio, -1e300).T)[1] if m + free else np.zeros(collapsed.size)
    monitor(2, 2, None, f"Pareto k at most {np.max(k):.2f}")
    sites = _sites(collapsed, w, theta, rng)
    stats = {"lp": log_p[None], "log_ratio": log_ratio[None]}
    return Draws(sites, stats, {"converged": np.asarray(found.gradient) < _STILL, "pareto_k": k}, (), False, True)


def collapsed_nuts(method: NUTS, problem: Problem, key: Any, monitor: Monitor) -> Draws:
    """Scales and the other weights are sampled, the wide block's weights drawn given them."""
    collapsed: Collapsed = arrays(problem.collapsed)
    found = approximated(collapsed, False)
    each = {"collapsed": collapsed.each, "found": {name: jnp.asarray(value) for name, value in found._asdict().items()}}
    target = CollapsedTarget(collapsed, collapsed.size, found.w.shape[1] + found.theta.shape[1], each)
    rng = _generators(problem, key, collapsed)
    if target.dim == 0:
        return _independent(method, collapsed, found, rng)
    settings = Settings(method.num_warmup or 150, method.target_accept or 0.8, method.max_tree_depth or DEEPEST, False, False)
    keys = problem.chain_keys(key, target.size, method.num_chains)
    sampled = sample(target, settings, standard_normal(keys, target.dim), keys, method.num_samples, monitor, step_size=0.5)
    w, theta = _unwhitened(found, sampled.z)
    stats = {name: by_chain(value, False) for name, value in sampled.stats.items()}
    sites = [_sites(collapsed, w[:, :, c], theta[:, :, c], rng) for c in range(method.num_chains)]
    joined = {name: np.concatenate([one[name] for one in sites]) for name in sites[0]}
    return Draws(joined, stats, {"mode_converged": np.asarray(found.gradient) < _STILL}, (), sampled.interrupted, True)


def _independent(method: NUTS, collapsed: Collapsed, found: Found, rng: list[np.random.Generator]) -> Draws:
    """Nothing is left to be sampled: every draw is independent."""
    nothing = np.zeros((method.num_samples, collapsed.size, 0))
    sites = [_sites(collapsed, nothing, nothing, rng) for _ in range(method.num_chains)]
    joined = {name: np.concatenate([one[name] for one in sites]) for name in sites[0]}
    about = {"mode_converged": np.ones(collapsed.size, bool)}
    return Draws(joined, {"lp": np.zeros((method.num_chains, method.num_samples, collapsed.size))}, about, (), False, True)


def _unwhitened(found: Found, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z (draw, neuron, chain, m + K) -> w and theta, (draw, neuron, chain, ...)."""
    m = found.w.shape[1]
    inverse = np.linalg.inv(np.asarray(found.factor)) if m else np.zeros((found.w.shape[0], 0, 0))
    w = np.asarray(found.w)[:, None] + np.einsum("nba,dncb->dnca", inverse, z[..., :m])
    return w, np.asarray(found.theta)[:, None] + np.einsum("nab,dncb->dnca", np.asarray(found.spread), z[..., m:])


def _around(collapsed: Collapsed, theta: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """w = mode(theta) + L(theta)^-T u (draw, neuron, m), the collapsed log density there, and log |L|."""
    found = at_mode(collapsed, np.moveaxis(theta, 0, 1))
    shift = np.linalg.solve(np.swapaxes(found.factor, -1, -2), np.moveaxis(u, 0, 1)[..., None])[..., 0]
    w = np.moveaxis(found.w + shift, 1, 0)
    log_det = np.log(np.diagonal(found.factor, axis1=-2, axis2=-1)).sum(-1).T
    return w, log_densities(collapsed, w, theta), log_det


def _sites(collapsed: Collapsed, w: np.ndarray, theta: np.ndarray, rng: list[np.random.Generator]) -> dict[str, np.ndarray]:
    """One chain's values (1, draw, neuron, ...)."""
    noise = balanced(_by_neuron(rng, (len(w), *collapsed.each["z"].shape[1:])))
    return {name: np.asarray(value)[None] for name, value in read(collapsed, jnp.asarray(w), jnp.asarray(theta), jnp.asarray(noise)).items()}


def _generators(problem: Problem, key: Any, collapsed: Collapsed) -> list[np.random.Generator]:
    """One a neuron, from its name."""
    seed = int(jax.random.bits(key, dtype=np.uint32))
    labels = problem.labels if len(problem.labels) == collapsed.size else tuple(range(collapsed.size))
    return [np.random.default_rng([seed, zlib.crc32(f"collapsed {label}".encode())]) for label in labels]


def _by_neuron(rng: list[np.random.Generator], shape: tuple[int, ...]) -> np.ndarray:
    """(draw, neuron, ...) standard normals."""
    return np.stack([one.standard_normal(shape) for one in rng], 1)
