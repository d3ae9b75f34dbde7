"""The Laplace approximation: a Gaussian at the mode, with what it is worth."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from bayesglm.engine.accuracy import FLAGGED, quantile_shifts
from bayesglm.engine.columns import DENSEST
from bayesglm.engine.joint import engine_target
from bayesglm.engine.laplace import Approximation, approximate, kinked
from bayesglm.engine.linear import Linear
from bayesglm.engine.psis import psis
from bayesglm.engine.scale_grid import scale_marginals
from bayesglm.engine.scale_nodes import by_nodes, draw, log_density, scale_nodes, sites
from bayesglm.method._base import AbstractMethod, Draws, Monitor, Problem, arrays, refuse_samples_only, whole
from bayesglm.method._collapsed import collapsed_laplace
from bayesglm.method._loop import by_chain, constrained
from bayesglm.method._separation import separation_notes
from bayesglm.method._threads import one_thread
from bayesglm.method.map import refuse_separable, separable

_BLOCK = 100  # draws handed over at once
_TOGETHER = 20  # of them, evaluated in one pass over the data
_SMALL = 2**20  # rows x neurons up to which the predictors of that many draws may be held


class Laplace(AbstractMethod):
    """Gaussian approximation at the posterior mode: w | theta ~ Normal(w_hat, H^-1), H the Hessian in double precision.

    Learned scales are drawn too, each from its marginal density on a seven-point grid around the marginal mode
    (weighted by the Laplace evidence), and the weights given each drawn scale, so that bands are averaged over the
    scale. Where a decoder of classes has fewer than twenty rows a weight and one learned scale, each point of the grid has
    a mode and a curvature of its own. The result is one chain of independent draws. ``stats`` holds the joint Pareto k of each neuron: above 0.7 the
    draws cannot be reweighted to the exact posterior; that alone does not make the bands wrong.

    Parameters
    ----------
    num_samples : int
    check : "joint" or "filters"
        "joint" computes the Pareto k. "filters" also compares the 5, 50 and 95 % points of every filter's net effect and
        peak with a 15-point quadrature of the exact posterior (scales held at their modes; fifteen weighted Gram
        matrices a quantity): a shift beyond 0.25 posterior sds is flagged in ``stats``.

    Raises
    ------
    ValueError
        By ``fit``: a Laplace, elastic-net or group prior (the posterior has a kink at its mode), or a model that does not
        state its linear structure.

    References
    ----------
    Tierney & Kadane 1986; MacKay 1992; Yao, Vehtari, Simpson & Gelman 2018 (the Pareto k check).
    """

    num_samples: int = eqx.field(default=1000, static=True, converter=lambda n: whole("Laplace(num_samples)", n, 2))
    check: str = eqx.field(default="joint", static=True)
    point: ClassVar[bool] = False

    def __check_init__(self) -> None:
        if self.check not in ("joint", "filters"):
            raise ValueError(f'Laplace(check={self.check!r}): it is "joint" or "filters".')

    @one_thread
    def run(self, problem: Problem, key: Any, monitor: Monitor) -> Draws:
        if problem.linear is None:
            raise ValueError("method='laplace' needs a model that is linear in its weights (GLM, or one that states linear=); use 'nuts' or 'map'.")
        if problem.collapsed is not None:
            return collapsed_laplace(problem, key, monitor, self.num_samples)
        linear = arrays(problem.linear)
        refuse_samples_only(linear, "laplace")
        refuse_kinks(linear)
        refuse_large(linear)
        found = approximate(linear, exact=True)
        refuse_separable(problem, linear, found.mode.w)
        target = engine_target(linear, found.coordinates, chains=_TOGETHER)
        monitor(1, 2, None, "mode found")
        keys = problem.keys(key, linear.size)
        z = jax.vmap(lambda k: jax.random.normal(k, (self.num_samples, target.dim)))(keys)
        z = np.array(jnp.moveaxis(z, 0, 1))[:, :, None]  # (draw, neuron, chain, dim)
        if by_nodes(linear, found):
            made, log_p, log_q = _from_nodes(linear, found, z)
        else:
            log_q = _draw_scales(linear, found, z) if linear.free() and target.each is not None else -0.5 * (z**2).sum(-1)
            log_p = np.concatenate([np.asarray(_log_density(target, z[i : i + _BLOCK])) for i in range(0, len(z), _BLOCK)])
            made = constrained(target, z)
        log_ratio = log_p - log_q
        k = psis(np.where(np.isfinite(log_ratio), log_ratio, -1e300)[:, :, 0].T)[1]
        monitor(2, 2, None, f"Pareto k at most {np.max(k):.2f}")
        joint = target.each is None
        stats = {"lp": by_chain(log_p, joint), "log_ratio": by_chain(log_ratio, joint)}
        fine = np.asarray(found.mode.converged & ~separable(linear, found.mode.w))
        per_neuron, notes = {"converged": fine, "pareto_k": k}, (*_notes(k), *separation_notes(problem, linear, found.mode.w))
        if self.check == "filters":
            shift = _filter_shifts(problem, linear, found.coordinates.each, monitor)
            per_neuron["filter_shift"] = shift
            notes = (*notes, *_filter_notes(shift))
        return Draws(made, stats, per_neuron, notes, False, not joint)


def _from_nodes(linear: Linear, found: Approximation, z: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A decoder's sites, log p and log q, from a mode at every node of its scale instead of from one."""
    drawn = draw(linear, scale_nodes(linear, found), z[:, :, 0])
    w, theta = jnp.asarray(drawn.w), jnp.asarray(drawn.theta)
    made = {name: np.asarray(value)[None] for name, value in sites(linear, w, theta).items()}
    return made, np.asarray(log_density(linear, w, theta))[..., None], drawn.log_q[..., None]


@eqx.filter_jit
def _log_density(target: Any, z: Any) -> Any:
    """log p of draws (draw, posterior, chain, dim), up to a constant of each posterior."""
    energy = jax.vmap(jax.vmap(target.energy, in_axes=(None, 0)))
    linear = getattr(target, "inner", target).linear
    together = _TOGETHER if linear.chunk or linear.scored.shape[0] * linear.size <= _SMALL else 1
    return jax.lax.map(lambda one: -energy(target.each, one), z, batch_size=together)


def _draw_scales(linear: Linear, found: Approximation, z: np.ndarray) -> np.ndarray:
    """Put draws of the scales' marginal densities in place of the Gaussian ones, by their quantiles; log q (draw, neuron, 1)."""
    s, log_q = scale_marginals(linear, found).draw(ndtr(z[:, :, 0, linear.dim :]))
    z[:, :, 0, linear.dim :] = s
    return (log_q - 0.5 * (z[:, :, 0, : linear.dim] ** 2).sum(-1))[..., None]


def _filter_shifts(problem: Problem, linear: Linear, coordinates: dict[str, Any], monitor: Monitor) -> np.ndarray:
    """(neuron,) largest shift of a quantile of any filter's net effect or peak, in posterior sds."""
    worst = np.zeros(linear.size)
    for n in range(linear.size):
        functionals = _functionals(problem, linear, np.asarray(coordinates["mean"][n]), np.asarray(linear.each["mask"][n]))
        if len(functionals):
            worst[n] = np.abs(quantile_shifts(linear, coordinates, n, functionals).shift).max()
        monitor(n + 1, linear.size, None, "checking filters by quadrature")
    return worst


def _functionals(problem: Problem, linear: Linear, mean: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(functional, P): net effect and peak of every filter that exists."""
    rows = []
    constants = problem.model.constants()
    for name, part in zip(linear.names, linear.parts(), strict=True):
        if f"{name}_kernels" not in constants:
            continue
        kernels = constants[f"{name}_kernels"][1]
        width = kernels.shape[1]
        for first in range(part.start, part.stop, width):
            if mask[first] == 0:
                continue
            peak = kernels[np.argmax(np.abs(kernels @ mean[first : first + width]))]
            for weights in (kernels.sum(0), peak):
                row = np.zeros(linear.dim)
                row[first : first + width] = weights
                rows.append(row)
    return np.array(rows).reshape(-1, linear.dim)


def _filter_notes(shift: np.ndarray) -> tuple[str, ...]:
    bad = int((shift > FLAGGED).sum())
    if not bad:
        return (f"quadrature: no quantile of a filter's net effect or peak is off by more than {shift.max():.2f} posterior sds",)
    return (f"quadrature: filters of {bad} of {shift.size} neurons are off by more than {FLAGGED} posterior sds (at most {shift.max():.2f}): use 'nuts'",)


def refuse_kinks(linear: Linear) -> None:
    """A Gaussian at a sparse mode is no approximation of anything."""
    bad = [name for prior, name in zip(linear.priors, linear.names, strict=True) if kinked(prior)]
    if bad:
        raise ValueError(
            f"method='laplace' cannot approximate terms {bad}: their priors have a kink at zero (L1, elastic net), where a Gaussian has none. "
            f"Use method='nuts' or 'hmc' for the posterior, method='map' for the sparse optimum, or prior.Gaussian."
        )


def refuse_large(linear: Linear) -> None:
    """A Hessian that cannot be held."""
    if linear.dim > DENSEST:
        raise ValueError(
            f"method='laplace' holds the Hessian of {linear.dim} weights, more than {DENSEST}: use a prior.Gaussian on the widest term where it has more "
            f"columns than there are rows (it is then exact in as many columns as rows), fewer columns, method='map' or 'nuts'."
        )


def _notes(k: np.ndarray) -> tuple[str, ...]:
    high = int((k > 0.7).sum())
    if not high:
        return ()
    which = f"{high} of {k.size} posteriors"
    return (f"joint Pareto k is above 0.7 for {which}: these draws cannot be reweighted (the bands may still be right; compare with 'nuts')",)
