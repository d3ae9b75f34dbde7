"""Laplace-split Hamiltonian Monte Carlo for whole populations: a fixed number of kicks, all columns in step."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.joint import engine_target
from bayesglm.engine.laplace import approximate
from bayesglm.engine.linear_target import usable_precision
from bayesglm.engine.target import AbstractTarget
from bayesglm.method._base import AbstractMethod, Draws, Monitor, Problem, arrays, checked_precision, whole
from bayesglm.method._loop import BLOCK, Sampled, by_chain, constrained, in_blocks
from bayesglm.method._split import SplitState, split_start, split_step
from bayesglm.method._threads import one_thread
from bayesglm.method.map import refuse_separable

_ACCEPT = 0.65  # mean acceptance below which the kicks are doubled
_MOST_KICKS = 16
_TRIAL = 15  # transitions by which an angle is judged


class HMC(AbstractMethod):
    """Full posterior by Laplace-split HMC in whitened coordinates.

    U(z) = |z|^2/2 + V(z): the Gaussian part is rotated exactly, the rest kicks. Near a Gaussian posterior one or two
    gradients give a nearly independent draw. The number of kicks (1, 2, 4, ...) is tuned by the worst neuron's
    acceptance, the total angle stays near pi/2.

    Parameters
    ----------
    num_warmup : int
        Transitions discarded after tuning; chains start from the Laplace approximation.
    num_samples : int
        Draws kept of each chain.
    num_chains : int
    precision : "double" or "single"
        "single" evaluates the likelihood, centred at the mode, in float32 and sums it in float64.

    Notes
    -----
    Where the posterior is far from Gaussian (few spikes, strong priors, learned scales that the data hardly inform) it
    needs many kicks and says so: NUTS is the better choice there.

    References
    ----------
    Shahbaba, Lan, Johnson & Neal 2014, Split Hamiltonian Monte Carlo; Casas, Sanz-Serna & Shaw 2022.
    """

    num_warmup: int = eqx.field(default=50, static=True, converter=lambda n: whole("HMC(num_warmup)", n, 0))
    num_samples: int = eqx.field(default=250, static=True, converter=lambda n: whole("HMC(num_samples)", n, 1))
    num_chains: int = eqx.field(default=16, static=True, converter=lambda n: whole("HMC(num_chains)", n, 1))
    precision: str = eqx.field(default="double", static=True, converter=checked_precision)
    point: ClassVar[bool] = False

    @one_thread
    def run(self, problem: Problem, key: Any, monitor: Monitor) -> Draws:
        if problem.linear is None:
            raise ValueError("method='hmc' needs a model that is linear in its weights (GLM, or one that states linear=); use method='nuts'.")
        linear = arrays(problem.linear)
        found = approximate(linear)
        refuse_separable(problem, linear, found.mode.w)
        precision, notes = usable_precision(linear, self.precision)
        target = engine_target(linear, found.coordinates, precision, self.num_chains)
        keys = problem.chain_keys(key, target.size, self.num_chains)
        state, kicks = _tuned(target, _begin(target, keys), monitor, self.num_warmup + self.num_samples)
        sampled = _run(target, state, kicks, self.num_warmup, self.num_samples, monitor)
        joint = target.each is None
        stats = {name: by_chain(value, joint) for name, value in sampled.stats.items()}
        per_neuron = {"mode_converged": np.asarray(found.mode.converged)}
        return Draws(constrained(target, sampled.z), stats, per_neuron, (*notes, *_notes(kicks, sampled)), sampled.interrupted, not joint)


def _rest(target: AbstractTarget, each: Any) -> Any:
    return lambda z: target.energy(each, z) - 0.5 * z @ z


@compiled_quickly
def _begin(target: AbstractTarget, keys: Any) -> SplitState:
    """Starts drawn from the Laplace approximation: (neuron, chain)."""
    one = lambda k: split_start(jax.random.normal(jax.random.fold_in(k, 1), (target.dim,)), k)  # noqa: E731
    return jax.vmap(jax.vmap(one))(keys)


@eqx.filter_jit
def _advance(target: AbstractTarget, state: SplitState, kicks: Any, n: Any) -> tuple[SplitState, dict[str, Any]]:
    """``n`` transitions (at most ``BLOCK``) of every chain of every neuron."""
    one = lambda each, s: split_step(_rest(target, each), s, kicks, jnp.pi / 2)  # noqa: E731
    everywhere = jax.vmap(jax.vmap(one, in_axes=(None, 0)))

    def seen_of(state: SplitState) -> dict[str, Any]:
        lp = -(state.potential + 0.5 * jnp.sum(state.z**2, -1))
        return {"z": state.z, "diverging": state.diverging, "energy": state.energy, "lp": lp, "acceptance_rate": state.accept_prob, "n_steps": state.num_steps}

    kept = {name: jnp.zeros((BLOCK, *value.shape), value.dtype) for name, value in seen_of(state).items()}

    def body(i: Any, carry: Any) -> Any:
        state, kept = carry
        state = everywhere(target.each, state)
        return state, {name: kept[name].at[i].set(value) for name, value in seen_of(state).items()}

    return jax.lax.fori_loop(0, n, body, (state, kept))


def _tuned(target: AbstractTarget, state: SplitState, monitor: Monitor, total: int) -> tuple[SplitState, int]:
    """The smallest number of kicks at which the worst neuron accepts often enough; the first transition from a start always is."""
    kicks = 1
    while True:
        state, seen = _advance(target, state, jnp.asarray(kicks), jnp.asarray(_TRIAL))
        worst = float(jnp.min(jnp.mean(seen["acceptance_rate"][1:_TRIAL], axis=(0, 2))))
        monitor(0, total, None, f"tuning, {kicks} kicks accept {worst:.2f}")
        if worst >= _ACCEPT or kicks >= _MOST_KICKS:
            return state, kicks
        kicks *= 2


def _run(target: AbstractTarget, state: SplitState, kicks: int, num_warmup: int, num_samples: int, monitor: Monitor) -> Sampled:
    def line(seen: dict[str, np.ndarray], warming: bool) -> str:
        return f"{'warm-up' if warming else 'sampling'}, {kicks} kicks a draw, accepting {seen['acceptance_rate'].mean():.2f}"

    advance = lambda state, n: _advance(target, state, jnp.asarray(kicks), n)  # noqa: E731
    return in_blocks(advance, state, num_warmup, num_samples, monitor, line)


def _notes(kicks: int, sampled: Sampled) -> tuple[str, ...]:
    worst = float(sampled.stats["acceptance_rate"].mean((0, 2)).min())
    if kicks >= 8 or worst < _ACCEPT:
        return (f"split HMC needed {kicks} kicks a draw (worst acceptance {worst:.2f}): the posterior is far from Gaussian, prefer method='nuts'",)
    return ()
