"""The no-U-turn sampler, in whitened coordinates where the model is linear in its weights."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax

from bayesglm.engine.coordinates import Diagonal
from bayesglm.engine.joint import engine_target
from bayesglm.engine.laplace import approximate
from bayesglm.engine.linear_target import usable_precision
from bayesglm.engine.target import AbstractTarget
from bayesglm.method._base import AbstractMethod, Draws, Monitor, Problem, arrays, checked_precision, standard_normal, whole
from bayesglm.method._collapsed import collapsed_nuts
from bayesglm.method._generic import prepare_generic
from bayesglm.method._loop import DEEPEST, HALF_TURN, WIDER_TURN, Settings, by_chain, constrained, depth_for, likely_step, sample
from bayesglm.method._separation import separation_notes, spread_out_scale
from bayesglm.method._threads import one_thread
from bayesglm.method.map import refuse_separable


class NUTS(AbstractMethod):
    """Full posterior by the no-U-turn sampler (NumPyro's kernel, chains and neurons vectorised).

    A model that is linear in its weights is sampled in Laplace-whitened coordinates: each neuron has its own step size
    and tree, and 150 warm-up transitions tune the step size alone. Any other NumPyro model starts from a bounded
    optimisation with positive sites at their prior medians, with the inverse Hessian as inverse mass matrix.

    Parameters
    ----------
    num_warmup : int, optional
        Default 150 (whitened), 300 (Hessian as metric) or 1000 (no usable Hessian).
    num_samples : int
        Draws kept of each chain.
    num_chains : int
    target_accept : float, optional
        Default 0.8; 0.7 in whitened coordinates where no scale is learned, and where all neurons have one joint posterior, whose
        acceptance is flat in the step size near 0.8.
    max_tree_depth : int, optional
        Default 10; in whitened coordinates the smallest depth whose trees span half a turn of a standard normal (rather more
        where scales are learned) at the step size to be expected: 3 or 4, as a rule; more where the adapted one is much
        smaller. Longer trees walk back there, and where the step fits a whole turn into a tree the criterion does not notice;
        all neurons and chains wait for the longest tree. A number is taken as it is.
    precision : "double" or "single"
        "single" evaluates the likelihood, centred at the mode, in float32 and sums it in float64.

    References
    ----------
    Hoffman & Gelman 2014, The No-U-Turn Sampler; Phan, Pradhan & Jankowiak 2019, NumPyro.
    """

    num_warmup: int | None = eqx.field(default=None, static=True, converter=lambda n: n if n is None else whole("NUTS(num_warmup)", n, 20))
    num_samples: int = eqx.field(default=1000, static=True, converter=lambda n: whole("NUTS(num_samples)", n, 1))
    num_chains: int = eqx.field(default=4, static=True, converter=lambda n: whole("NUTS(num_chains)", n, 1))
    target_accept: float | None = eqx.field(default=None, static=True)
    max_tree_depth: int | None = eqx.field(default=None, static=True, converter=lambda n: n if n is None else whole("NUTS(max_tree_depth)", n, 1))
    precision: str = eqx.field(default="double", static=True, converter=checked_precision)
    point: ClassVar[bool] = False

    def __check_init__(self) -> None:
        if self.target_accept is not None and not 0.5 <= self.target_accept < 1.0:
            raise ValueError(f"NUTS(target_accept={self.target_accept}): between 0.5 and 1; 0.8 is usual, 0.95 for difficult posteriors.")

    @one_thread
    def run(self, problem: Problem, key: Any, monitor: Monitor) -> Draws:
        if problem.collapsed is not None:
            return collapsed_nuts(self, problem, key, monitor)
        if problem.linear is not None:
            return self._whitened(problem, key, monitor)
        target = arrays(problem.make_story())
        prepared = prepare_generic(target, key, self.num_chains)
        warmup = self.num_warmup or (300 if prepared.hessian_used else 1000)
        settings = Settings(warmup, self.target_accept or 0.8, self.max_tree_depth or DEEPEST, prepared.hessian_used, True)
        keys = problem.chain_keys(key, target.size, self.num_chains)
        sampled = sample(target, settings, prepared.z, keys, self.num_samples, monitor, prepared.inverse_mass)
        return _draws(target, sampled, {}, prepared.notes)

    def _whitened(self, problem: Problem, key: Any, monitor: Monitor) -> Draws:
        linear = arrays(problem.linear)
        found = approximate(linear)
        refuse_separable(problem, linear, found.mode.w)
        precision, notes = usable_precision(linear, self.precision)
        coordinates = spread_out_scale(linear, found)
        target = engine_target(linear, coordinates, precision, self.num_chains)
        rough = isinstance(coordinates, Diagonal) or any(prior.samples_only for prior in linear.priors)
        # a learned scale moves in longer steps than whitening foresees, and a smaller step serves it better
        learned = linear.learned_scales()
        accept = self.target_accept or (0.8 if rough or (learned and target.each is not None) else 0.7)
        span = (WIDER_TURN if learned else HALF_TURN) if self.max_tree_depth is None and not rough else 0.0
        depth = depth_for(span, likely_step(target.dim, accept)) if span else self.max_tree_depth or DEEPEST
        settings = Settings(self.num_warmup or (500 if rough else 150), accept, depth, False, rough)
        keys = problem.chain_keys(key, target.size, self.num_chains)
        starts = standard_normal(keys, target.dim)
        sampled = sample(target, settings, starts, keys, self.num_samples, monitor, step_size=0.5, span=span)
        notes = (*notes, *separation_notes(problem, linear, found.mode.w))
        return _draws(target, sampled, {"mode_converged": found.mode.converged}, notes)


def _draws(target: AbstractTarget, sampled: Any, per_neuron: dict[str, Any], notes: tuple[str, ...]) -> Draws:
    joint = target.each is None
    stats = {name: by_chain(value, joint) for name, value in sampled.stats.items()}
    per_neuron = {name: jax.device_get(value) for name, value in per_neuron.items()}
    return Draws(constrained(target, sampled.z), stats, per_neuron, notes, sampled.interrupted, not joint)
