"""The Laplace evidence of learned scales, with its exact gradient: the mode moves with the scale, and the Hessian with the mode."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.columns import solve
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import negative_log_likelihood
from bayesglm.engine.scale_mode import log_slopes
from bayesglm.prior._distributions import EvidenceScale

_STEPS = 4
_CLOSE = 2e-2  # a move of a coordinate after which the finish stops: the next would be a tenth of it
_LONGEST = 0.5
_FINE = 1e-14
_NEAR = 1.05  # ratio to an end of the range within which an optimum is flagged


def log_evidence(linear: Linear, each: Any, theta: Any, w: Any) -> Any:
    """log of the Laplace approximation to p(y | theta) p(theta) of one neuron, at the mode ``w`` of its weights.

    log p(y | w) + log p(w | theta) + (P/2) log 2 pi - (1/2) log |H(w) + precision(theta)| + log p(theta), up to terms in y
    alone (MacKay 1992); priors without a kink.
    """
    return evidence_at(linear, each, theta, w)[0]


def evidence_at(linear: Linear, each: Any, theta: Any, w: Any) -> tuple[Any, Any]:
    """``log_evidence`` and the likelihood's curvature (P, P) at ``w``; of families with several predictors too."""
    hyper, log_hyper = linear.constrain(each, theta)
    value, _, rows = negative_log_likelihood(linear, each, w, hyper)
    curvature = linear.of_one(each).gram(rows[None])[0]
    log_det = 2.0 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(curvature + jnp.diag(_bend(linear, each, w, hyper))))))
    return -value + linear.log_prior(each, w, hyper) + log_hyper + 0.5 * (w.size * jnp.log(2 * jnp.pi) - log_det), curvature


def value_and_gradient(linear: Linear, each: Any, theta: Any, w: Any) -> tuple[Any, Any]:
    """``log_evidence`` and its total derivative in theta (K,), with dw/dtheta and dH/dw in it.

    With h_t = z_t' A^-1 z_t the leverages (A the whole Hessian) and m_t the rows' curvatures,
    d(-1/2 log|A|) = -1/2 (sum h_t dm_t + sum_p (A^-1)_pp dprecision_p), and dw/dtheta = A^-1 d(gradient)/dtheta.
    """
    hyper, _ = linear.constrain(each, theta)
    value = log_evidence(linear, each, theta, w)
    eta = linear.eta(each, w)
    rows = _curvatures(linear, each, eta, hyper)
    whole = linear.of_one(each).gram(rows[None])[0] + jnp.diag(_bend(linear, each, w, hyper))
    root = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(whole), jnp.eye(w.size), lower=True)  # A^-1 = root' root
    leverage = linear.predictor.squares(_on_columns(linear, each, root), each.get("own"))
    variances = jnp.sum(root**2, axis=0)

    def direct(theta: Any) -> Any:
        hyper, log_hyper = linear.constrain(each, theta)
        bend = leverage @ _curvatures(linear, each, eta, hyper) + variances @ _bend(linear, each, w, hyper)
        return linear.log_likelihood_of(each, eta, hyper) + linear.log_prior(each, w, hyper) + log_hyper - 0.5 * bend

    pull = jax.grad(lambda e: -0.5 * leverage @ _curvatures(linear, each, e, hyper))(eta)
    of_prior = jax.grad(lambda v: -0.5 * variances @ _bend(linear, each, v, hyper))(w)
    moved = root.T @ (root @ (linear.pull(each, pull) + of_prior))  # A^-1 times the gradient in w

    def through_mode(theta: Any) -> Any:
        hyper, _ = linear.constrain(each, theta)
        slope = linear.pull(each, jax.grad(lambda e: linear.log_likelihood_of(each, e, hyper))(eta))
        return moved @ (slope + jax.grad(lambda v: linear.log_prior(each, v, hyper))(w))

    return value, jax.grad(direct)(theta) + jax.grad(through_mode)(theta)


def _curvatures(linear: Linear, each: Any, eta: Any, hyper: Any) -> Any:
    """(row,) minus the second derivatives of the rows' log likelihoods."""
    slope = jax.grad(lambda e: -linear.log_likelihood_of(each, e, hyper))
    return jnp.maximum(jax.jvp(slope, (eta,), (jnp.ones_like(eta),))[1], 0.0)


def _bend(linear: Linear, each: Any, w: Any, hyper: Any) -> Any:
    """(P,) minus the second derivatives of the log prior; a Student-t baseline's is not its whitening precision."""
    slope = jax.grad(lambda v: -linear.log_prior(each, v, hyper))
    return jnp.maximum(jax.jvp(slope, (w,), (jnp.ones_like(w),))[1], 0.0)


def _on_columns(linear: Linear, each: Any, root: Any) -> Any:
    """(P, weights) -> (P, columns of the predictor)."""
    masked = root * each["mask"]
    if "places" not in each:
        return masked
    own = 0 if "own" not in each else each["own"].shape[0]
    return jnp.zeros((root.shape[0], linear.predictor.columns.shape[0] + own)).at[:, each["places"]].add(masked)


@compiled_quickly
def _slopes(linear: Linear, theta: Any, w: Any) -> Any:
    """Gradient (neuron, K) of the evidence times the density of the scales; one neuron after another, for a leverage pass holds P x rows."""

    def one(each: Any, theta: Any, w: Any) -> Any:
        return value_and_gradient(linear, each, theta, w)[1] - jax.grad(lambda t: log_slopes(linear, each, t))(theta)

    return jax.lax.map(lambda these: one(*these), (linear.each, theta, w))


@compiled_quickly
def _values(linear: Linear, theta: Any, w: Any) -> Any:
    """log p(y | parameters) of every neuron, (neuron,)."""

    def one(each: Any, theta: Any, w: Any) -> Any:
        hyper, log_hyper = linear.constrain(each, theta)
        return log_evidence(linear, each, theta, w) - log_hyper + _left_out(linear, each, w, hyper)

    return jax.lax.map(lambda these: one(*these), (linear.each, theta, w))


def _left_out(linear: Linear, each: Any, w: Any, hyper: Any) -> Any:
    """Terms of the log likelihood in the responses alone, which the engine leaves out."""
    weight, eta = linear.weight(each), linear.eta(each, w)
    given = {site: hyper[site] for site in linear.family.hyper(linear.response)} | each.get("known", {})
    inside = jnp.where(weight.reshape(weight.shape + (1,) * (eta.ndim - 1)) > 0, eta, 0.0)
    whole = linear.family(inside, given, linear.dt).log_prob(each["response"].astype(eta.dtype))
    return jnp.sum(jnp.where(weight > 0, whole, 0.0)) - linear.log_likelihood_of(each, eta, hyper)


def finished(linear: Linear, theta: Any, spread: Any, w: Any, reference: Any) -> tuple[Any, Any]:
    """The maximum of the evidence (neuron, K) from a start close to it, and log p(y | scales) there (neuron,), implicit terms included.

    Steps are S S' g with S the spread (the inverse Hessian's factor), which ignores only what is small.
    """
    for _ in range(_STEPS):
        slope = _slopes(linear, theta, w)
        move = jnp.einsum("nab,ncb,nc->na", spread, spread, slope)
        move = move * jnp.minimum(1.0, _LONGEST / jnp.maximum(jnp.max(jnp.abs(move), axis=1, keepdims=True), 1e-12))
        theta = theta + move
        w = solve(linear, theta, w, reference, jnp.asarray(_FINE)).w
        if float(jnp.max(jnp.abs(move))) < _CLOSE:
            break
    return theta, _values(linear, theta, w)


def evidence_notes(linear: Linear, theta: Any, labels: tuple) -> tuple[str, ...]:
    """What the evidence chose, as a note; an optimum at an end of its range is flagged."""
    values, notes = jax.vmap(lambda each, one: linear.constrain(each, one)[0])(linear.each, theta), []
    sites = [site for site, (law, _) in linear.laws().items() if isinstance(law, EvidenceScale)]
    notes.append(f"weights are at their mode given {', '.join(sites)} at the maximum of the evidence: intervals given the scale are too narrow")
    for site in sites:
        law, scale = linear.laws()[site][0], np.asarray(values[site])
        at = {"lower": scale < law.low * _NEAR, "upper": scale > law.high / _NEAR}
        for end, flagged in at.items():
            if flagged.any():
                which = ", ".join(str(label) for label, flag in zip(labels, flagged, strict=False) if flag)
                said = "the data say nothing of this term" if end == "lower" else "the data alone rule"
                notes.append(f"the evidence is highest at the {end} end of the range of {site} for {which}: {said}")
    return tuple(notes)
