"""Maximum a posteriori: a point, and said to be one."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.columns import Solution, solve
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.evidence import evidence_notes, finished
from bayesglm.engine.laplace import approximate, kinked, kinks, quadratic_form, start
from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import modes
from bayesglm.engine.scale_nodes import by_nodes, node_mode
from bayesglm.method._base import AbstractMethod, Draws, Monitor, Problem, arrays, as_numpy, named, refuse_samples_only, whole
from bayesglm.method._collapsed import collapsed_mode
from bayesglm.method._generic_map import generic_mode
from bayesglm.method._separation import separation_notes
from bayesglm.method._threads import one_thread

_TOLERANCE = 1e-16  # nats: a mode within 1.4e-8 posterior sds
_ETA_LIMIT = 60.0  # |eta| beyond which a problem is called separable


class MAP(AbstractMethod):
    """Mode of the posterior (one chain, one draw), by preconditioned L-BFGS, proximal Newton (L1) or plain L-BFGS (any model).

    Under a learned scale the joint mode does not exist (the density grows without bound as the scale goes to zero), so
    the weights are at their mode given the scale at the maximum of its *marginal* (Laplace) posterior.

    Parameters
    ----------
    max_steps : int
        Proximal Newton steps before a fit is called not converged; twice as many for preconditioned L-BFGS, ten times
        for any other model.

    Notes
    -----
    A point has no posterior: bands, probabilities of sign, R-hat, ESS and LOO are not available from it. Weights that
    are exactly zero under an L1 prior are a property of the optimum, not evidence that a cell does not code.
    """

    max_steps: int = eqx.field(default=100, static=True, converter=lambda n: whole("MAP(max_steps)", n, 1))
    point: ClassVar[bool] = True

    @one_thread
    def run(self, problem: Problem, key: Any, monitor: Monitor) -> Draws:
        if problem.linear is None:
            return generic_mode(arrays(problem.make_story()), 10 * self.max_steps)
        if problem.collapsed is not None:
            return collapsed_mode(problem, monitor)
        linear = arrays(problem.linear)
        refuse_samples_only(linear, "map")
        refuse_learned_kinks(linear)
        theta, w, reference, evidence, notes = _learned(linear, problem.labels)
        if kinks(linear):
            found = modes(linear, theta, w, True, jnp.asarray(self.max_steps))
            converged = found.converged
        else:
            most = jnp.asarray(2 * self.max_steps)
            found = solve(linear, theta, w, reference, jnp.asarray(_TOLERANCE), most)
            if not bool(found.done.all()):
                found = _again(linear, theta, found, most)
            converged = found.done
        found = found._replace(w=jnp.where(jnp.isfinite(found.w), found.w, 0.0))
        monitor(1, 1, None, f"{int(found.steps.max())} steps")
        refuse_separable(problem, linear, found.w)
        notes = (*notes, *separation_notes(problem, linear, found.w))
        return _draws(linear, theta, found, converged & ~separable(linear, found.w), evidence, notes)


def _again(linear: Linear, theta: Any, found: Solution, most: Any) -> Solution:
    """The walk of those that did not arrive, from where they are: the curvature there is not what it was at the start."""
    reference, _ = quadratic_form(linear, theta, found.w, True)
    further = solve(linear, theta, found.w, reference, jnp.asarray(_TOLERANCE), most)
    further = further._replace(steps=found.steps + further.steps)
    return jax.tree.map(lambda old, new: jnp.where(found.done.reshape(-1, *(1,) * (old.ndim - 1)), old, new), found, further)


def refuse_learned_kinks(linear: Linear) -> None:
    """A Laplace prior with a learned scale has no joint mode, and its marginal is not what the engine maximises."""
    for prior, name in zip(linear.priors, linear.names, strict=True):
        if kinked(prior) and prior.hyper(name):
            raise ValueError(
                f"Term {name!r} has a Laplace prior with a learned scale: its joint mode does not exist (the scale goes to zero). "
                f"Give the scale as a number (prior.lasso(strength)), use a Gaussian prior, or method='nuts'."
            )


def _learned(linear: Linear, labels: tuple) -> tuple[Any, Any, Any, dict[str, Any], tuple[str, ...]]:
    """Learned parameters at their marginal modes, a start and a reference curvature, the evidence, and what to say about it."""
    if linear.free() == 0:
        return *start(linear), {}, ()
    found = approximate(linear, in_log=True)
    if linear.by_evidence():
        theta, evidence = finished(linear, found.theta, found.spread, found.mode.w, found.mode.curvature)
        return theta, found.mode.w, found.mode.curvature, {"log_evidence": evidence}, evidence_notes(linear, theta, labels)
    scales = list(dict.fromkeys(site for prior, name in zip(linear.priors, linear.names, strict=True) for site in prior.hyper(name)))
    note = f"weights are at their mode given {', '.join(scales)} at the maximum of the marginal (Laplace) posterior" if scales else ""
    if by_nodes(linear, found):
        return *node_mode(linear, found), {}, (note,)
    return found.theta, found.mode.w, found.mode.curvature, {}, (note,) if note else ()


def refuse_separable(problem: Problem, linear: Linear, w: Any) -> None:
    """Under a flat prior a separable problem has no posterior at all."""
    flat = [name for prior, name in zip(linear.priors, linear.names, strict=True) if not prior.proper]
    away = np.asarray(separable(linear, w))
    if flat and away.any():
        who = f" for neuron(s) {named(problem.labels, away)}" if linear.size > 1 else ""
        raise ValueError(
            f"{linear.response!r} is separable{who}: the predictor runs away, and {flat} have prior.Flat(), so there is no posterior. "
            f"Give a proper prior, such as prior.Gaussian(1.0), and look at how the result depends on it."
        )


@compiled_quickly
def separable(linear: Linear, w: Any) -> Any:
    """(neuron,) bool: the predictor has run away, so that the data alone have no optimum.

    Only where eta is a logarithm or a quantile; a continuous response has eta in its own unit, which may be large.
    """
    if not linear.family.discrete:
        return jnp.zeros(linear.size, bool)
    widest = jax.vmap(lambda each, w: jnp.max(jnp.abs(linear.eta(each, w)).T * linear.weight(each), initial=0.0))(linear.each, w)
    return widest > _ETA_LIMIT


@compiled_quickly
def _read(linear: Linear, theta: Any, w: Any) -> tuple[dict[str, Any], Any]:
    """Every neuron's sites, and the energy of its weights given its learned parameters."""

    def one(each: Any, theta: Any, w: Any) -> tuple[dict[str, Any], Any]:
        hyper, _ = linear.constrain(each, theta)
        return linear.unpack(each, w) | hyper, -linear.log_likelihood(each, w, hyper) - linear.log_prior(each, w, hyper)

    return jax.vmap(one)(linear.each, theta, w)


def _draws(linear: Linear, theta: Any, found: Any, converged: Any, evidence: dict[str, Any], notes: tuple[str, ...]) -> Draws:
    sites, energy = _read(linear, theta, found.w)
    per_neuron = {
        "converged": converged,
        "gradient": found.gradient,
        "decrement": found.decrement,
        "n_steps": found.steps,
        **evidence,
    }
    as_draw = lambda value: np.asarray(value)[None, None]  # noqa: E731
    sites |= {site: sites[site][0] for site in linear.shared_sites()}
    stats = {"lp": as_draw(-energy)}
    return Draws({name: as_draw(value) for name, value in sites.items()}, stats, as_numpy(per_neuron), notes, False, True)
