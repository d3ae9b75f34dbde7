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

    each: dict[str, Any]  # H0 (P, P), b (P,), ratio (P,), theta (K,), spread (K, K) lower triangular; mean (P,), root (P, P) = L^-1 at theta
    moving: bool = eqx.field(static=True)  # whether the prior's precision depends on theta

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        size = linear.dim
        theta = own["theta"] + own["spread"] @ z[size:]
        if not self.moving:
            return own["mean"] + z[:size] @ own["root"], theta, jnp.zeros(())
        hyper, _ = linear.constrain(each, theta)
        w, log_det = straightened(own["H0"], own["b"], own["ratio"] * linear.by_weight(each, hyper, "whitening"), z[:size])
        return w, theta, log_det


class Scaled(AbstractCoordinates):
    """Laplace coordinates where one learned scale multiplies one block: w = L^-T R(theta) (u + R L^-1 b).

    With L L' = H0 + P(theta0) and G = L^-1 D^(1/2), G G' = U lambda U', D the block's prior precision at theta0, a scale s
    adds d = (s0 / s)^2 - 1 times D to the precision, and R = (I + d U lambda U')^(-1/2) in closed form: what ``Whitened``
    does, without a matrix factored on the way. With two scales or more the product of such R's is not it, and a block
    whose scale goes to zero is not held tight enough (divergences, measured).
    """

    each: dict[str, Any]  # as Whitened's, with known: the scale at theta0, whole: L'w, turn: U (P, p), size: lambda (p)
    site: str = eqx.field(static=True)

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        size = linear.dim
        theta = own["theta"] + own["spread"] @ z[size:]
        hyper, _ = linear.constrain(each, theta)
        stretch = 1.0 + ((own["known"] / hyper[self.site]) ** 2 - 1.0) * own["size"]
        turned = lambda v: v + own["turn"] @ ((stretch**-0.5 - 1.0) * (own["turn"].T @ v))  # noqa: E731
        w = turned(z[:size] + turned(own["whole"])) @ own["root"]
        return w, theta, 0.5 * jnp.sum(jnp.log(stretch))


def inverse_root(whole: Any) -> Any:
    """L^-1 (P, P) of L L' = ``whole``.

    Weights are a product with it, not a solution of L' w = z: in a sampler's loop the threads of a linear algebra library
    wait for more work by spinning, and take half of a small machine from the passes over the data.
    """
    return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(whole), jnp.eye(len(whole)), lower=True)


def turn_of(linear: Linear, each: Any, root: Any, precision: Any) -> tuple[Any, Any]:
    """U (P, p) and lambda (p) of the block with the learned scale; ``precision`` (P,) is the prior's at theta0."""
    at = next(i for i, (prior, name) in enumerate(zip(linear.priors, linear.names, strict=True)) if prior.hyper(name))
    part = linear.parts()[at]
    sd = jnp.sqrt(precision * each["mask"])  # a masked weight's prior does not move
    g = root[:, part] * sd[part]
    values, vectors = jnp.linalg.eigh(g.T @ g)
    kept = values > _EMPTY
    values = jnp.clip(values, 0.0, 1.0)
    return g @ vectors * jnp.where(kept, jnp.where(kept, values, 1.0) ** -0.5, 0.0), jnp.where(kept, values, 0.0)


def one_scale(linear: Linear) -> str | None:
    """The site of the only learned scale, where it is one number that multiplies one block; else None."""
    laws = linear.laws()
    return next(iter(laws)) if len(laws) == 1 and all(law.shape() == () for law, _ in laws.values()) else None


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

    each: dict[str, Any]  # as Whitened's, with H0 and root (P,)
    moving: bool = eqx.field(static=True)

    def to_weights(self, linear: Linear, each: Any, own: Any, z: Any) -> tuple[Any, Any, Any]:
        size = linear.dim
        theta = own["theta"] + own["spread"] @ z[size:]
        if not self.moving:
            return own["mean"] + z[:size] * own["root"], theta, jnp.zeros(())
        hyper, _ = linear.constrain(each, theta)
        square = own["H0"] + own["ratio"] * linear.by_weight(each, hyper, "whitening")
        return z[:size] / jnp.sqrt(square) + own["b"] / square, theta, 0.5 * jnp.sum(jnp.log(square))


def solve_transposed(factor: Any, z: Any) -> Any:
    """L^-T z for lower triangular L."""
    return jax.scipy.linalg.solve_triangular(factor, z, lower=True, trans=1)
