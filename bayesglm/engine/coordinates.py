"""Coordinates in which a posterior is nearly a standard normal, with their Jacobian."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from bayesglm.engine.linear import Linear

_EMPTY = 1e-14  # eigenvalue of a block's share of the precision below which a direction does not feel its scale


class AbstractCoordinates(eqx.Module):
    """An invertible map z -> (weights, unconstrained learned parameters), one a neuron; ``each`` leaves lead by neuron."""

    each: eqx.AbstractVar[Any]

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        """(dim,) -> weights (P,), theta (K,), and minus the log of the Jacobian's determinant (up to a constant)."""
        raise NotImplementedError


class Whitened(AbstractCoordinates):
    """Laplace coordinates: theta = theta0 + S s, w = m(theta) + L(theta)^-T u, with z = (u, s).

    ``H0`` and ``b`` are the quadratic form of the log likelihood at the mode; L L' = H0 + P(theta) with P the prior's
    (surrogate) precision at theta, and m = (H0 + P)^-1 b. Whatever the learned scale, the weights are nearly standard
    normal: the funnel of a hierarchical prior is straightened. The density that is sampled stays exact, because the
    determinant of L(theta) is part of it.
    """

    each: dict[str, Any]  # H0 (P, P), b (P,), ratio (P,), theta (K,), spread (K, K) lower triangular; mean (P,), factor (P, P) at theta
    moving: bool = eqx.field(static=True)  # whether the prior's precision depends on theta

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        size = linear.dim
        theta = own["theta"] + own["spread"] @ z[size:]
        if not self.moving:
            return own["mean"] + solve_transposed(own["factor"], z[:size]), theta, jnp.zeros(())
        hyper, _ = linear.constrain(each, theta)
        w, log_det = straightened(own["H0"], own["b"], own["ratio"] * linear.by_weight(each, hyper, "whitening"), z[:size])
        return w, theta, log_det


class Scaled(AbstractCoordinates):
    """Laplace coordinates where every learned scale multiplies one block: w = L^-T R(theta) (u + R' L^-1 b).

    With L L' = H0 + P(theta0) and G_j = L^-1 D_j^(1/2) = U_j lambda_j^(1/2) V_j', D_j the prior precision of block j at
    theta0, a scale s_j moves the precision by d_j = (s_j0 / s_j)^2 - 1 times D_j, and R is the product over blocks of
    (I + d_j U_j lambda_j U_j')^(-1/2), in closed form. One learned scale is straightened exactly, several nearly; no
    matrix is factored on the way. What is sampled stays exact, because |R| is part of it.
    """

    each: dict[str, Any]  # as Whitened's, with turns: tuple of (U_j (P, p), lambda_j (p)) and known: (J,) scales at theta0
    sites: tuple[str, ...] = eqx.field(static=True)  # of the scales, one a turn

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        size = linear.dim
        theta = own["theta"] + own["spread"] @ z[size:]
        hyper, _ = linear.constrain(each, theta)
        moved = [(own["known"][j] / hyper[site]) ** 2 - 1.0 for j, site in enumerate(self.sites)]
        stretch = [1.0 + d * values for d, (_, values) in zip(moved, own["turns"], strict=True)]

        def turned(v: Any, order: Any) -> Any:
            for (vectors, _), along in order:
                v = v + vectors @ ((along**-0.5 - 1.0) * (vectors.T @ v))
            return v

        turns = list(zip(own["turns"], stretch, strict=True))
        w = solve_transposed(own["factor"], turned(z[:size] + turned(own["whole"], turns), turns[::-1]))
        return w, theta, 0.5 * sum((jnp.sum(jnp.log(along)) for along in stretch), jnp.zeros(()))


def turns_of(linear: Linear, each: Any, hyper: Any, factor: Any, precision: Any) -> tuple[tuple[Any, Any], ...]:
    """(U (P, p), lambda (p)) of every block with a learned scale; ``precision`` (P,) is the prior's at theta0."""
    found = []
    for prior, name, part in zip(linear.priors, linear.names, linear.parts(), strict=True):
        if not prior.hyper(name):
            continue
        root = jnp.sqrt(precision[part] * each["mask"][part])  # a masked weight's prior does not move
        block = jnp.zeros((linear.dim, part.stop - part.start)).at[jnp.arange(part.start, part.stop), jnp.arange(part.stop - part.start)].set(root)
        g = jax.scipy.linalg.solve_triangular(factor, block, lower=True)
        values, vectors = jnp.linalg.eigh(g.T @ g)
        values = jnp.clip(values, 0.0, 1.0)
        kept = values > _EMPTY
        found.append((g @ vectors * jnp.where(kept, jnp.where(kept, values, 1.0) ** -0.5, 0.0), jnp.where(kept, values, 0.0)))
    return tuple(found)


def proportional(linear: Linear) -> bool:
    """Whether every learned scale is one number that multiplies one block."""
    laws = [list(prior.hyper(name).values()) for prior, name in zip(linear.priors, linear.names, strict=True)]
    return all(len(own) == 0 or (len(own) == 1 and own[0][0].shape() == ()) for own in laws)


def scale_sites(linear: Linear) -> tuple[str, ...]:
    """Sites of the blocks' learned scales, in the order of the blocks."""
    return tuple(site for prior, name in zip(linear.priors, linear.names, strict=True) for site in prior.hyper(name))


@jax.custom_vjp
def straightened(h: Any, b: Any, d: Any, u: Any) -> tuple[Any, Any]:
    """w = A^-1 b + L^-T u and log |L|, with A = h + diag(d) = L L'.

    Its derivative in ``d`` and ``u`` is written out: automatic differentiation of a Cholesky factor and two triangular
    solves takes thirty times as long on a CPU.
    """
    return _straightened(h, b, d, u)[0]


def _straightened(h: Any, b: Any, d: Any, u: Any) -> tuple[tuple[Any, Any], tuple[Any, Any, Any]]:
    factor = jnp.linalg.cholesky(h + jnp.diag(d))
    c = jax.scipy.linalg.solve_triangular(factor, b, lower=True)
    w = solve_transposed(factor, u + c)
    return (w, jnp.sum(jnp.log(jnp.diagonal(factor)))), (factor, c, u)


def _straightened_back(kept: tuple[Any, Any, Any], pulls: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """dw = L^-T (du - dL'w) - L^-T L^-1 dL c with dL = L tril(L^-1 dA L^-T), its diagonal halved; h and b are constants."""
    (factor, c, u), (pull, pull_det) = kept, pulls
    root = jax.scipy.linalg.solve_triangular(factor, jnp.eye(u.size), lower=True)
    q = root @ pull
    outer = jnp.tril(jnp.outer(q, c) + jnp.outer(u + c, q))
    outer = outer - 0.5 * jnp.diag(jnp.diagonal(outer))
    along = 0.5 * pull_det * jnp.sum(root**2, axis=0) - jnp.sum(root * (outer @ root), axis=0)
    return jnp.zeros_like(factor), jnp.zeros_like(u), along, q


straightened.defvjp(_straightened, _straightened_back)


class Diagonal(AbstractCoordinates):
    """The same with the diagonal of the quadratic form alone, where a P x P matrix cannot be held."""

    each: dict[str, Any]  # as Whitened's, with H0 and factor (P,)
    moving: bool = eqx.field(static=True)

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        size = linear.dim
        theta = own["theta"] + own["spread"] @ z[size:]
        if not self.moving:
            return own["mean"] + z[:size] / own["factor"], theta, jnp.zeros(())
        hyper, _ = linear.constrain(each, theta)
        square = own["H0"] + own["ratio"] * linear.by_weight(each, hyper, "whitening")
        return z[:size] / jnp.sqrt(square) + own["b"] / square, theta, 0.5 * jnp.sum(jnp.log(square))


def solve_transposed(factor: Any, z: Any) -> Any:
    """L^-T z for lower triangular L."""
    return jax.scipy.linalg.solve_triangular(factor, z, lower=True, trans=1)
