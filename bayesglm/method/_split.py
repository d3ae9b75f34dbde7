"""Laplace-split Hamiltonian Monte Carlo as a NumPyro kernel: rotate exactly under the Gaussian part, kick with the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro.infer.mcmc import MCMCKernel

_MAX_ENERGY_ERROR = 1000.0


class SplitState(NamedTuple):
    """State of one chain in coordinates where the posterior is nearly a standard normal."""

    z: Any
    potential: Any  # V(z) = U(z) - |z|^2 / 2, what is left beside the Gaussian
    slope: Any  # its gradient
    energy: Any
    accept_prob: Any
    diverging: Any
    num_steps: Any
    i: Any
    rng_key: Any


def split_init(rest: Callable[[Any], Any], z: Any, key: Any) -> SplitState:
    """First state at ``z``; ``rest`` is V."""
    potential, slope = jax.value_and_grad(rest)(z)
    zero = jnp.zeros(())
    return SplitState(z, potential, slope, potential + 0.5 * z @ z, zero, jnp.asarray(False), jnp.asarray(0), jnp.asarray(0), key)


def split_start(z: Any, key: Any) -> SplitState:
    """A start at ``z`` whose density is not evaluated: that is a program to compile. The first transition from it is accepted."""
    none, far = jnp.asarray(0), jnp.full((), jnp.inf, z.dtype)  # the types of every later state: it is one program
    return SplitState(z, far, jnp.zeros_like(z), far, jnp.zeros(()), jnp.asarray(False), none, none, key)


def split_step(rest: Callable[[Any], Any], state: SplitState, kicks: Any, total: Any) -> SplitState:
    """One transition: ``kicks`` rounds of half kick, exact rotation, half kick, over a total angle jittered by 20 %.

    H = |p|^2/2 + |z|^2/2 + V(z). The rotation by the angle a is the exact flow of the first two parts:
    (z, p) -> (z cos a + p sin a, p cos a - z sin a). Shahbaba, Lan, Johnson & Neal 2014.
    """
    key, momentum, jitter, accept = jax.random.split(state.rng_key, 4)
    p = jax.random.normal(momentum, state.z.shape, state.z.dtype)
    angle = total * jax.random.uniform(jitter, (), minval=0.8, maxval=1.2) / kicks
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    before = 0.5 * p @ p + 0.5 * state.z @ state.z + state.potential

    def move(_: Any, carry: Any) -> Any:
        z, p, _, slope = carry
        p = p - 0.5 * angle * slope
        z, p = z * cos + p * sin, p * cos - z * sin
        potential, slope = jax.value_and_grad(rest)(z)
        return z, p - 0.5 * angle * slope, potential, slope

    z, p, potential, slope = jax.lax.fori_loop(0, kicks, move, (state.z, p, state.potential, state.slope))
    after = 0.5 * p @ p + 0.5 * z @ z + potential
    change = jnp.where(jnp.isfinite(after), after - before, jnp.inf)
    chance = jnp.minimum(1.0, jnp.exp(-change))
    take = jax.random.uniform(accept) < chance
    pick = lambda new, old: jnp.where(take, new, old)  # noqa: E731
    kept = (pick(z, state.z), pick(potential, state.potential), pick(slope, state.slope), jnp.where(take, after, before))
    return SplitState(*kept, chance, change > _MAX_ENERGY_ERROR, jnp.asarray(kicks), state.i + 1, key)


class LaplaceSplitHMC(MCMCKernel):
    """The same transition as a NumPyro kernel, for ``numpyro.infer.MCMC``.

    Parameters
    ----------
    energy : callable
        U(z), the potential energy in coordinates in which the posterior is nearly a standard normal.
    kicks : int
        Gradient evaluations a transition.
    angle : float
        Total angle of rotation; pi/2 makes successive draws of an exact Gaussian independent.
    """

    sample_field = "z"

    def __init__(self, energy: Callable[[Any], Any], kicks: int = 1, angle: float = jnp.pi / 2) -> None:
        self._rest = lambda z: energy(z) - 0.5 * z @ z
        self._kicks, self._angle = kicks, angle

    def init(self, rng_key: Any, num_warmup: int, init_params: Any, model_args: tuple, model_kwargs: dict) -> SplitState:
        if rng_key.ndim > jax.random.key(0).ndim:
            return jax.vmap(lambda k, z: split_init(self._rest, z, k))(rng_key, init_params)
        return split_init(self._rest, init_params, rng_key)

    def sample(self, state: SplitState, model_args: tuple, model_kwargs: dict) -> SplitState:
        step = lambda one: split_step(self._rest, one, self._kicks, self._angle)  # noqa: E731
        return jax.vmap(step)(state) if state.z.ndim > 1 else step(state)

    @property
    def default_fields(self) -> tuple[str, ...]:
        return (self.sample_field, "diverging")
