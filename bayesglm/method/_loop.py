"""The one sampling loop: NumPyro's NUTS kernel over posteriors and chains, in blocks that can be stopped and shown."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc

from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.target import AbstractTarget
from bayesglm.method._base import Monitor

BLOCK = 50  # transitions held on the device at once
_SECONDS = 1.0  # aimed length of a block
DEEPEST = 10  # doublings of a tree where nothing better is known
HALF_TURN, WIDER_TURN = 0.9 * np.pi, 1.2 * np.pi  # spans of a tree in whitened coordinates, after which a trajectory comes back


class Settings(NamedTuple):
    """What is fixed when the kernel is compiled."""

    num_warmup: int
    target_accept: float
    max_tree_depth: int
    dense: bool
    adapt_mass: bool


class Sampled(NamedTuple):
    """Draws in unconstrained coordinates and their statistics, (draw, posterior, chain, ...), NumPy."""

    z: np.ndarray
    stats: dict[str, np.ndarray]
    interrupted: bool


def _kernel(settings: Settings) -> tuple[Any, Any]:
    return hmc(potential_fn_gen=_potential, algo="NUTS")


def _potential(target: AbstractTarget | None, each: Any) -> Any:
    """The energy of one posterior; of a standard normal where there is no target (to fill the kernel's closure)."""
    return (lambda z: 0.5 * z @ z) if target is None else (lambda z: target.energy(each, z))


def _prepare(init: Any, settings: Settings, target: Any, each: Any, z: Any, key: Any, inverse_mass: Any, step_size: Any) -> Any:
    return init(
        z,
        settings.num_warmup,
        step_size,
        inverse_mass,
        True,
        settings.adapt_mass,
        settings.dense,
        settings.target_accept,
        max_tree_depth=settings.max_tree_depth,
        model_args=(target, each),
        rng_key=key,
    )


@compiled_quickly
def _begin(target: AbstractTarget, settings: Settings, z: Any, keys: Any, inverse_mass: Any, step_size: Any) -> Any:
    """States (posterior, chain) from positions (posterior, chain, dim)."""
    init, _ = _kernel(settings)
    one = lambda each, z, key, mass: _prepare(init, settings, target, each, z, key, mass, step_size)  # noqa: E731
    chains = jax.vmap(one, in_axes=(None, 0, 0, None))
    return jax.vmap(chains, in_axes=(0, 0, 0, None if inverse_mass is None else 0))(target.each, z, keys, inverse_mass)


@eqx.filter_jit(donate="none")
def _advance(target: AbstractTarget, settings: Settings, state: Any, n: Any) -> tuple[Any, dict[str, Any]]:
    """``n`` transitions (at most ``BLOCK``) of every chain of every posterior, and what they visited."""
    init, sample = _kernel(settings)
    shape = state.potential_energy.shape

    def move(each: Any, state: Any) -> Any:
        # NumPyro's kernel keeps its settings in a closure that init fills; the state made here is thrown away
        _prepare(init, settings, None, None, state.z, state.rng_key, state.adapt_state.inverse_mass_matrix, 1.0)
        return sample(state, (target, each), {})

    everywhere = jax.vmap(jax.vmap(move, in_axes=(None, 0)))
    kept = {
        "z": jnp.zeros((BLOCK, *state.z.shape)),
        "diverging": jnp.zeros((BLOCK, *shape), bool),
        "energy": jnp.zeros((BLOCK, *shape)),
        "lp": jnp.zeros((BLOCK, *shape)),
        "acceptance_rate": jnp.zeros((BLOCK, *shape)),
        "n_steps": jnp.zeros((BLOCK, *shape), int),
        "step_size": jnp.zeros((BLOCK, *shape)),
    }

    def body(i: Any, carry: Any) -> Any:
        state, kept = carry
        state = everywhere(target.each, state)
        seen = {
            "z": state.z,
            "diverging": state.diverging,
            "energy": state.energy,
            "lp": -state.potential_energy,
            "acceptance_rate": state.accept_prob,
            "n_steps": state.num_steps,
            "step_size": state.adapt_state.step_size,
        }
        return state, {name: kept[name].at[i].set(value) for name, value in seen.items()}

    return jax.lax.fori_loop(0, n, body, (state, kept))


def sample(
    target: AbstractTarget,
    settings: Settings,
    z: Any,
    keys: Any,
    num_samples: int,
    monitor: Monitor,
    inverse_mass: Any = None,
    step_size: float = 1.0,
    span: float = 0.0,
) -> Sampled:
    """Run warm-up and sampling; between blocks the monitor sees how it goes, and Ctrl-C keeps the draws so far.

    Where a ``span`` is given, trees after the warm-up are deepened if the smallest step size leaves them far short of it.
    """
    state = _begin(target, settings, z, keys, inverse_mass, jnp.asarray(step_size))

    def advance(state: Any, n: Any) -> Any:
        known = span and int(state.i.min()) >= settings.num_warmup
        return _advance(target, _deepened(settings, span, float(state.adapt_state.step_size.min())) if known else settings, state, n)

    found = in_blocks(advance, state, settings.num_warmup, num_samples, monitor, _line)
    return found._replace(stats=_with_depth(found.stats, DEEPEST if span else settings.max_tree_depth))


def _deepened(settings: Settings, span: float, step_size: float) -> Settings:
    """Another depth is another program to compile: only where the trees would be shorter than two thirds of the span."""
    short = (2**settings.max_tree_depth - 1) * step_size < span / 1.5
    return settings._replace(max_tree_depth=depth_for(span, step_size)) if short else settings


def likely_step(dim: int, accept: float) -> float:
    """The step size that warm-up finds on a standard normal of ``dim`` coordinates, roughly."""
    return (1.65 if accept < 0.75 else 1.35) * max(dim, 1) ** -0.25


def depth_for(span: float, step_size: float) -> int:
    """Doublings until a tree of steps of that size is ``span`` long."""
    return int(np.clip(np.ceil(np.log2(span / max(step_size, 1e-9) + 1.0)), 1, DEEPEST))


def in_blocks(advance: Any, state: Any, num_warmup: int, num_samples: int, monitor: Monitor, line: Any) -> Sampled:
    """Advance chains in blocks of about a second, warm-up first; the monitor may stop, and Ctrl-C keeps the draws so far.

    ``advance(state, n)`` gives the new state and what ``n`` transitions visited; ``line(seen, warming)`` says how it goes.
    """
    total, done, block, blocks, interrupted = num_warmup + num_samples, 0, 5, [], False
    try:
        while done < total:
            left = (num_warmup if done < num_warmup else total) - done
            n, began = min(block, left), time.perf_counter()
            state, seen = advance(state, jnp.asarray(n))
            seen = {name: np.asarray(value)[:n] for name, value in seen.items()}
            if done >= num_warmup:
                blocks.append(seen)
            done += n
            block = int(np.clip(n * _SECONDS / max(time.perf_counter() - began, 1e-3), 1, BLOCK))
            if monitor(done, total, state, line(seen, done <= num_warmup)):
                interrupted = done < total
                break
    except KeyboardInterrupt:
        if not blocks:
            raise
        interrupted = True
    if not blocks:
        raise KeyboardInterrupt
    joined = {name: np.concatenate([piece[name] for piece in blocks]) for name in blocks[0]}
    return Sampled(joined.pop("z"), joined, interrupted)


def _with_depth(stats: dict[str, np.ndarray], deepest: int) -> dict[str, np.ndarray]:
    depth = np.floor(np.log2(np.maximum(stats["n_steps"], 1))).astype(int) + 1
    return stats | {"tree_depth": depth, "reached_max_treedepth": stats["n_steps"] >= 2**deepest - 1}


def _line(seen: dict[str, np.ndarray], warming: bool) -> str:
    phase = "warm-up" if warming else "sampling"
    return f"{phase}, {seen['n_steps'].mean():.0f} steps a draw, {int(seen['diverging'].sum())} diverging"


@compiled_quickly
def _sites(target: AbstractTarget, z: Any) -> dict[str, Any]:
    over_chains = jax.vmap(target.sites, in_axes=(None, 0))
    over_posteriors = jax.vmap(over_chains)
    return jax.lax.map(lambda one: over_posteriors(target.each, one), z)


def constrained(target: AbstractTarget, z: np.ndarray) -> dict[str, np.ndarray]:
    """(draw, posterior, chain, dim) -> the model's sites (chain, draw[, posterior], ...), posterior dropped where joint."""
    pieces = [jax.tree.map(np.asarray, _sites(target, z[i : i + 250])) for i in range(0, len(z), 250)]
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return {name: by_chain(value, target.each is None) for name, value in joined.items()}


def by_chain(value: np.ndarray, joint: bool) -> np.ndarray:
    """(draw, posterior, chain, ...) -> (chain, draw, posterior, ...), or (chain, draw, ...) where the posterior is joint."""
    moved = np.moveaxis(value, 2, 0)
    return moved[:, :, 0] if joint else moved
