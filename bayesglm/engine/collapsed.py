"""A Gaussian response with more columns than rows: the wide block's weights integrated out, in the rows' eigenvectors."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.elements import over_predictors, spread_out
from bayesglm.engine.kinks import grouped
from bayesglm.engine.laplace import kinks
from bayesglm.engine.linear import Linear
from bayesglm.engine.maximum import maximum
from bayesglm.engine.predictor import DensePredictor
from bayesglm.engine.rowspace import RowSpace, decomposed, replaced, widest_gaussian, without
from bayesglm.engine.scale_grid import Marginals, joined, standard_grid
from bayesglm.engine.scale_mode import log_slopes
from bayesglm.engine.target import AbstractTarget

_FEW = 50  # weights of other blocks that are still sampled beside the scales
_NEWTON = 30  # steps to the other weights' mode: their density is a quadratic form but for their prior, and two or three will do
_CLOSE = 1e-7  # posterior sds
_BATCH = 32  # points of theta at once: every use has this shape, so that one program is compiled


class Collapsed(eqx.Module):
    """p(y | w, theta) of one neuron with the wide block's weights integrated out; ``w`` (m,) are the other blocks' elements.

    With X X' = V diag(l) V' of the wide block's columns times their units, z = V'(y - level - offset) and C = V' times the
    other columns, z_ij ~ Normal((C w)_ij, sigma^2 + tau^2 l_i) independently: once the eigenvectors are known a scale costs
    as many operations as there are rows. Given w and theta the weights along eigenvector i are Normal as in any regression
    of one number on one.
    """

    rest: Linear  # the model without the wide block's columns; each["own"] (neuron, q, row) are C
    each: dict[str, Any]  # linear: rest.each, z (neuron, row, J), values (neuron, row)
    at: int = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.rest.size

    def log_density(self, each: Any, w: Any, theta: Any) -> Any:
        """log p(z | w, theta) + log p(w | theta) + log p(theta), up to a constant."""
        hyper, log_hyper = self.rest.constrain(each["linear"], theta)
        _, _, variance = self._variances(each, hyper)
        left = self._left(each, w)
        likelihood = -0.5 * (left.shape[1] * jnp.sum(jnp.log(variance)) + jnp.sum(left**2 / variance[:, None]))
        return likelihood + self.rest.log_prior(each["linear"], w, hyper) + log_hyper

    def _variances(self, each: Any, hyper: dict[str, Any]) -> tuple[Any, Any, Any]:
        """tau, sigma and the rows' variances (row,)."""
        prior, name = self.rest.priors[self.at], self.rest.names[self.at]
        tau = prior.width(self.rest.given(each["linear"], prior, name, hyper), jnp.ones((1,), bool))[0]
        sigma = jnp.asarray(hyper.get("sigma", self.rest.family.scale))
        return tau, sigma, sigma**2 + tau**2 * each["values"]

    def _left(self, each: Any, w: Any) -> Any:
        """(row, J) what the other blocks leave of the response."""
        own = each["linear"]["own"]
        eta = over_predictors(lambda v: self.rest.predictor.eta(v, own), spread_out(self.rest, each["linear"], w))
        return each["z"] - (eta[:, None] if eta.ndim == 1 else eta)

    def sites(self, each: Any, w: Any, theta: Any, noise: Any) -> dict[str, Any]:
        """The story's values at w and theta; the wide block's reduced weights (row[, K]) are drawn by standard normal ``noise`` (row, J)."""
        hyper, _ = self.rest.constrain(each["linear"], theta)
        tau, sigma, variance = self._variances(each, hyper)
        mean = (tau**2 * jnp.sqrt(each["values"]) / variance)[:, None] * self._left(each, w)
        a = mean + (tau * sigma / jnp.sqrt(variance))[:, None] * noise
        a = a[:, 0] if self.rest.contrast is None else a @ self.rest.contrast.T
        return self.rest.unpack(each["linear"], w) | {name: jnp.asarray(value) for name, value in hyper.items()} | {self.rest.names[self.at]: a}


class CollapsedTarget(AbstractTarget):
    """The collapsed posterior of (w, theta) for a sampler: w = mode + L^-T u, theta = mode + spread s, z = (u, s)."""

    collapsed: Collapsed
    size: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    each: Any

    def energy(self, each: Any, z: Any) -> Any:
        return -self.collapsed.log_density(each["collapsed"], *self.place(each, z))

    def place(self, each: Any, z: Any) -> tuple[Any, Any]:
        """w and theta of one posterior at z."""
        found, m = each["found"], self.collapsed.rest.dim
        shift = jax.scipy.linalg.solve_triangular(found["factor"], z[:m], lower=True, trans=1) if m else z[:0]
        return found["w"] + shift, found["theta"] + found["spread"] @ z[m:]

    def sites(self, each: Any, z: Any) -> dict[str, Any]:
        w, theta = self.place(each, z)
        return {"w": w, "theta": theta}


class Found(NamedTuple):
    """Modes of every neuron, leading axis neuron: of theta its marginal one, of w given theta."""

    theta: Any  # (neuron, K)
    spread: Any  # (neuron, K, K) Cholesky factor of theta's covariance
    w: Any  # (neuron, m)
    factor: Any  # (neuron, m, m) of minus the Hessian
    gradient: Any  # (neuron,) largest entry, in posterior sds


@compiled_quickly
def _local(collapsed: Collapsed, w: Any, theta: Any) -> tuple[Any, Any, Any, Any]:
    """Log density, its gradient and minus its Hessian in w, and the scales' log slopes; (neuron, point, ...) each."""

    def one(each: Any, w: Any, theta: Any) -> tuple[Any, Any, Any, Any]:
        density = lambda v: collapsed.log_density(each, v, theta)  # noqa: E731
        value, slope = jax.value_and_grad(density)(w)
        return value, slope, -jax.hessian(density)(w), log_slopes(collapsed.rest, each["linear"], theta)

    return jax.vmap(jax.vmap(one, in_axes=(None, 0, 0)))(collapsed.each, w, theta)


class Point(NamedTuple):
    """The other weights at their mode given theta, as NumPy arrays (neuron, point, ...)."""

    w: np.ndarray
    value: np.ndarray  # log density there
    factor: np.ndarray  # Cholesky factor of minus the Hessian in w
    log_slope: np.ndarray  # of theta's coordinates, see ``log_slopes``
    gradient: np.ndarray  # largest entry, in posterior sds

    @property
    def marginal(self) -> np.ndarray:
        """log p(z, theta), the other weights integrated out by their Gaussian approximation; up to a constant."""
        return self.value - np.log(np.diagonal(self.factor, axis1=-2, axis2=-1)).sum(-1)


def at_mode(collapsed: Collapsed, theta: np.ndarray) -> Point:
    """The other weights' modes given theta (neuron, point, K), by Newton steps on the host: few numbers, one small program."""
    parts = []
    for first in range(0, theta.shape[1], _BATCH):
        some = theta[:, first : first + _BATCH]
        filled = np.pad(some, ((0, 0), (0, _BATCH - some.shape[1]), (0, 0)), mode="edge")
        parts.append([field[:, : some.shape[1]] for field in _newton(collapsed, filled)])
    return Point(*(np.concatenate(fields, 1) for fields in zip(*parts, strict=True)))


def _newton(collapsed: Collapsed, theta: np.ndarray) -> Point:
    w = np.zeros((*theta.shape[:2], collapsed.rest.dim))
    step, best, length = np.zeros_like(w), None, np.ones(theta.shape[:2])
    for _ in range(_NEWTON):
        value, slope, bend, log_slope = (np.asarray(part) for part in _local(collapsed, jnp.asarray(w + step), jnp.asarray(theta)))
        worse = np.zeros_like(length, bool) if best is None else ~(value >= best.value - 1e-9 * (1.0 + np.abs(best.value)))
        factor = _factor(bend)
        half = np.linalg.solve(factor, slope[..., None])
        new = Point(w + step, value, factor, log_slope, np.abs(half[..., 0]).max(-1, initial=0.0))
        best = new if best is None else Point(*(np.where(_wide(worse, a), b, a) for a, b in zip(new, best, strict=True)))
        if not worse.any() and (best.gradient < _CLOSE).all():
            break
        length = np.where(worse, 0.5 * length, 1.0)
        full = np.linalg.solve(np.swapaxes(factor, -1, -2), half)[..., 0]
        step = np.where(_wide(worse, full), 0.5 * step, full)
        w = best.w
    assert best is not None
    return best


def _wide(flags: np.ndarray, like: np.ndarray) -> np.ndarray:
    return flags.reshape(*flags.shape, *(1,) * (like.ndim - flags.ndim))


def _factor(bend: np.ndarray) -> np.ndarray:
    """Cholesky factors; a Student-t's tails bend the other way, and are straightened."""
    if bend.shape[-1] == 0:
        return bend
    values, vectors = np.linalg.eigh(bend)
    floor = 1e-10 * np.abs(values).max(-1, keepdims=True)
    return np.linalg.cholesky((vectors * np.maximum(np.abs(values), floor)[..., None, :]) @ np.swapaxes(vectors, -1, -2))


@compiled_quickly
def _start(collapsed: Collapsed) -> Any:
    return jax.vmap(collapsed.rest.start)(collapsed.each["linear"])


def approximated(collapsed: Collapsed, in_log: bool) -> Found:
    """The marginal mode of the scales (of their logarithms, for a MAP), and the other weights given it."""
    theta = np.asarray(_start(collapsed))
    spread = np.zeros((len(theta), theta.shape[1], theta.shape[1]))
    score = lambda points: (found := at_mode(collapsed, points)).marginal - (found.log_slope if in_log else 0.0)  # noqa: E731
    left = np.zeros(len(theta))
    if theta.shape[1]:
        theta, spread, left = maximum(score, theta)
    found = at_mode(collapsed, theta[:, None])
    return Found(theta, spread, found.w[:, 0], found.factor[:, 0], np.maximum(left, found.gradient[:, 0]))


def scale_marginals(collapsed: Collapsed, found: Found) -> Marginals:
    """Densities of the coordinates s of theta = mode + spread s, one at a time, on seven points."""
    grid = standard_grid()
    places = found.theta[:, None, None] + grid[None, None, :, None] * np.swapaxes(found.spread, 1, 2)[:, :, None]
    size, free = found.theta.shape
    return joined(at_mode(collapsed, places.reshape(size, -1, free)).marginal.reshape(size, free, len(grid)))


def log_densities(collapsed: Collapsed, w: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Collapsed log densities (draw, neuron) of draws (draw, neuron, ...)."""
    found = []
    for first in range(0, len(w), _BATCH):
        some = [np.moveaxis(part[first : first + _BATCH], 0, 1) for part in (w, theta)]
        filled = [np.pad(part, ((0, 0), (0, _BATCH - part.shape[1]), (0, 0)), mode="edge") for part in some]
        found.append(np.asarray(_local(collapsed, *map(jnp.asarray, filled))[0])[:, : some[0].shape[1]].T)
    return np.concatenate(found)


@compiled_quickly
def read(collapsed: Collapsed, w: Any, theta: Any, noise: Any) -> dict[str, Any]:
    """The story's values of draws (draw, neuron, ...)."""
    return jax.lax.map(lambda these: jax.vmap(collapsed.sites)(collapsed.each, *these), (w, theta, noise))


@compiled_quickly
def _log_hyper(collapsed: Collapsed, theta: Any) -> Any:
    return jax.vmap(lambda each, theta: collapsed.rest.constrain(each, theta)[1])(collapsed.each["linear"], theta)


def log_evidence(collapsed: Collapsed, found: Found) -> np.ndarray:
    """log p(y | theta) (neuron,) at the marginal mode, the other weights by their Gaussian approximation."""
    log_hyper = _log_hyper(collapsed, jnp.asarray(found.theta))
    known = found.w.shape[1] - np.prod(collapsed.each["z"].shape[1:])
    return at_mode(collapsed, found.theta[:, None]).marginal[:, 0] - np.asarray(log_hyper) + 0.5 * known * np.log(2 * np.pi)


def collapsible(linear: Linear) -> bool:
    """Whether the response is Gaussian in eta, with the same rows for all neurons, and little but the wide block and smooth priors beside it."""
    wide = widest_gaussian(linear)
    if wide is None or linear.family.gaussian(np.zeros(1)) is None or "scored" in linear.each or linear.shared_sites():
        return False
    smooth = not kinks(linear) and grouped(linear) is None and not any(prior.samples_only for prior in linear.priors)
    return smooth and linear.dim - wide.size * linear.several <= _FEW


def collapsed_space(linear: Linear) -> tuple[RowSpace, Collapsed]:
    """The wide block integrated out, and the way back to its weights. Called in double precision, where ``collapsible``."""
    wide = widest_gaussian(linear)
    assert wide is not None
    eigen = decomposed(linear, wide)
    rest = without(linear, wide, 0)
    rows = np.asarray(linear.scored) > 0
    each = dict(rest.each)
    known = {key: each.pop(key) for key in ("offset", "own") if key in each}
    others = _others(linear, wide)
    z, columns, values = [], [], []
    for n in range(linear.size):
        found, vectors = eigen.of(n)
        y = np.asarray(linear.family.gaussian(np.asarray(linear.each["response"][n], float)))
        level = np.asarray(linear.each["level"][n]) if linear.centred else 0.0
        offset = np.asarray(known["offset"][n]).reshape(len(y), -1) if "offset" in known else 0.0
        z.append(vectors[rows].T @ (y - level - offset)[rows])
        columns.append(others(n)[:, rows] @ vectors[rows])
        values.append(found)
    each |= {"own": np.stack(columns), "response": np.zeros((linear.size, rows.sum()))}
    rest = eqx.tree_at(
        lambda one: (one.predictor, one.each, one.scored), rest, (DensePredictor(np.zeros((0, int(rows.sum())))), each, np.ones(int(rows.sum())))
    )
    return RowSpace(rest, linear, wide, eigen), Collapsed(rest, {"linear": rest.each, "z": np.stack(z), "values": np.stack(values)}, wide.at)


def _others(linear: Linear, wide: Any) -> Any:
    """A neuron -> the columns (q, row) of the other blocks, in their order."""
    nothing = np.zeros((0, linear.predictor.columns.shape[1]))
    shared = np.asarray(linear.predictor.columns) if wide.own else replaced(linear.predictor.columns, wide, nothing)
    if "own" not in linear.each:
        return lambda n: shared
    own = [np.asarray(one) if not wide.own else replaced(one, wide, nothing) for one in linear.each["own"]]
    return lambda n: np.concatenate([shared, own[n]])
