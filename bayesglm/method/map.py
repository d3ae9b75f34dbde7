"""Maximum a posteriori: a point, and said to be one."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.laplace import approximate
from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import Mode, modes
from bayesglm.method._base import AbstractMethod, Draws, Monitor, Problem, arrays, as_numpy, whole
from bayesglm.method._generic_map import generic_mode


class MAP(AbstractMethod):
    """Mode of the posterior (one chain, one draw), by Newton, proximal Newton (L1, elastic net) or L-BFGS (any model).

    Under a learned scale the joint mode does not exist (the density grows without bound as the scale goes to zero), so
    the weights are at their mode given the scale at the maximum of its *marginal* (Laplace) posterior.

    Parameters
    ----------
    max_steps : int
        Newton (or L-BFGS, times ten) steps before a fit is called not converged.

    Notes
    -----
    A point has no posterior: bands, probabilities of sign, R-hat, ESS and LOO are not available from it. Weights that
    are exactly zero under an L1 prior are a property of the optimum, not evidence that a cell does not code.
    """

    max_steps: int = eqx.field(default=100, static=True, converter=lambda n: whole("MAP(max_steps)", n, 1))
    point: ClassVar[bool] = True

    def run(self, problem: Problem, key: Any, monitor: Monitor) -> Draws:
        if problem.linear is None:
            return generic_mode(arrays(problem.make_story()), 10 * self.max_steps)
        linear = arrays(problem.linear)
        refuse_learned_kinks(linear)
        theta, start, notes = _learned(linear)
        found = modes(linear, theta, start, has_kinks(linear), jnp.asarray(self.max_steps))
        monitor(1, 1, None, f"{int(found.steps.max())} Newton steps")
        return _draws(linear, theta, found, notes)


def has_kinks(linear: Linear) -> bool:
    """Whether any prior has a kink at zero (L1, elastic net)."""
    return any(kinked(prior) for prior in linear.priors)


def kinked(prior: Any) -> bool:
    """Whether this prior's log density has a kink at zero."""
    return type(prior).__name__ in ("Laplace", "ElasticNet")


def refuse_learned_kinks(linear: Linear) -> None:
    """A Laplace prior with a learned scale has no joint mode, and its marginal is not what the engine maximises."""
    for prior, name in zip(linear.priors, linear.names, strict=True):
        if kinked(prior) and prior.hyper(name):
            raise ValueError(
                f"Term {name!r} has a Laplace prior with a learned scale: its joint mode does not exist (the scale goes to zero). "
                f"Give the scale as a number (prior.lasso(strength)), use a Gaussian prior, or method='nuts'."
            )


def _learned(linear: Linear) -> tuple[Any, Any, tuple[str, ...]]:
    """Learned parameters at their marginal modes, a start for the weights, and what to say about it."""
    nothing = jnp.zeros((linear.size, 0)), jnp.zeros((linear.size, linear.dim)), ()
    if linear.free() == 0:
        return nothing
    found = approximate(linear)
    scales = [f"{name}_scale" for prior, name in zip(linear.priors, linear.names, strict=True) if prior.hyper(name)]
    note = f"weights are at their mode given {', '.join(scales)} at the maximum of the marginal (Laplace) posterior" if scales else ""
    return found.theta, found.mode.w, (note,) if note else ()


def _draws(linear: Linear, theta: Any, found: Mode, notes: tuple[str, ...]) -> Draws:
    hyper = jax.vmap(lambda each, t: linear.constrain(each, t)[0])(linear.each, theta)
    sites = jax.vmap(linear.unpack)(linear.each, found.w) | hyper
    energy = jax.vmap(lambda e, w, t: -linear.log_likelihood(e, w, linear.constrain(e, t)[0]) - linear.log_prior(e, w, linear.constrain(e, t)[0]))(
        linear.each, found.w, theta
    )
    per_neuron = {
        "converged": found.converged,
        "gradient": found.gradient,
        "decrement": found.decrement,
        "n_steps": found.steps,
    }
    as_draw = lambda value: np.asarray(value)[None, None]  # noqa: E731
    stats = {"lp": as_draw(-energy)}
    return Draws({name: as_draw(value) for name, value in sites.items()}, stats, as_numpy(per_neuron), notes, False, True)
