"""More columns than rows, exactly: a Gaussian prior lets the data see only the rows' own space."""

from __future__ import annotations

import dataclasses
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.linear import Linear
from bayesglm.engine.predictor import DensePredictor
from bayesglm.prior import Gaussian

_RANK = 1e-12  # relative eigenvalue of the rows' Gram matrix below which a direction is empty


class RowSpace(NamedTuple):
    """A linear model whose widest block was rotated into the rows' space, and the way back.

    With w ~ Normal(0, (scale d)^2), columns Z and Q an orthonormal basis of the rows of Z d, the predictor sees only
    a = Q'(w / d), and a ~ Normal(0, scale^2) again. The rest of w / d is prior: it is drawn, not sampled.
    """

    linear: Linear  # the reduced model: as many columns as rows have dimensions
    name: str  # the block that was reduced
    basis: np.ndarray  # Q (P, r)
    unit: np.ndarray  # d (P,)
    shape: tuple[int, ...]  # of one neuron's weights in the block
    centre: np.ndarray | None  # means of the block's columns, where the baseline is uncentred by them

    def lift(self, sites: dict[str, np.ndarray], seed: int | None) -> dict[str, np.ndarray]:
        """Draws of the block's own weights: d (Q a + scale (1 - Q Q') e), e standard normal; e = 0 without a seed (a mode).

        ``sites`` are (chain, draw, neuron, ...); the scale is read from them where it is learned.
        """
        a = sites[self.name]
        inside = a @ self.basis.T
        if seed is not None:
            noise = np.random.default_rng([seed, zlib.crc32(self.name.encode())]).normal(size=inside.shape)
            noise -= (noise @ self.basis) @ self.basis.T
            inside = inside + self._scale(sites)[..., None] * noise
        return sites | {self.name: (inside * self.unit).reshape(*a.shape[:3], *self.shape), **self._baseline(sites, inside)}

    def _scale(self, sites: dict[str, np.ndarray]) -> np.ndarray:
        prior = self.linear.priors[self.linear.names.index(self.name)]
        learned = sites.get(f"{self.name}_scale")
        return np.broadcast_to(np.asarray(prior.scale, float), sites[self.name].shape[:3]) if learned is None else learned

    def _baseline(self, sites: dict[str, np.ndarray], inside: np.ndarray) -> dict[str, np.ndarray]:
        """The uncentred baseline: it moves with the weights that the reduced model does not have."""
        if self.centre is None:
            return {}
        return {"baseline": sites["baseline"] - (inside * self.unit) @ self.centre}


def widest_gaussian(linear: Linear) -> int | None:
    """Index of a block with more columns than scored rows and a Gaussian prior; None where there is none to reduce."""
    if "own" in linear.each or "places" in linear.each or not isinstance(linear.predictor, DensePredictor) or linear.contrast is not None:
        return None
    rows = int((np.asarray(linear.scored) > 0).sum())
    sizes = [int(np.prod(shape)) for shape in linear.shapes]
    widest = int(np.argmax(sizes))
    usable = isinstance(linear.priors[widest], Gaussian) and sizes[widest] > rows
    whole = bool(np.asarray(linear.each["mask"])[:, linear.parts()[widest]].all())
    return widest if usable and whole else None


def in_row_space(linear: Linear) -> RowSpace | None:
    """The reduced model, or None where no block has more columns than rows. Called in double precision."""
    at = widest_gaussian(linear)
    if at is None:
        return None
    part, prior, name = linear.parts()[at], linear.priors[at], linear.names[at]
    unit = np.ravel(np.broadcast_to(np.asarray(prior.relative, float), linear.shapes[at]))
    columns = np.asarray(linear.predictor.columns)
    scaled = columns[part] * unit[:, None]  # (P, row)
    seen = scaled[:, np.asarray(linear.scored) > 0]
    values, vectors = jnp.linalg.eigh(jnp.asarray(seen.T @ seen))
    values, vectors = np.asarray(values), np.asarray(vectors)
    kept = values > _RANK * values[-1]
    basis = (seen @ vectors[:, kept]) / np.sqrt(values[kept])
    new = np.concatenate([columns[: part.start], basis.T @ scaled, columns[part.stop :]])
    cut = lambda leaf, fill: np.concatenate([leaf[:, : part.start], np.full((len(leaf), basis.shape[1]), fill), leaf[:, part.stop :]], 1)  # noqa: E731
    each = dict(linear.each)
    centre = np.asarray(each["centre"])[0, part]
    each |= {"mask": cut(np.asarray(each["mask"]), 1.0), "centre": cut(np.asarray(each["centre"]), 0.0)}
    priors = tuple(dataclasses.replace(p, relative=1.0) if i == at else p for i, p in enumerate(linear.priors))
    shapes = tuple((basis.shape[1],) if i == at else shape for i, shape in enumerate(linear.shapes))
    reduced = dataclasses.replace(linear, predictor=DensePredictor(new), each=jax.tree.map(np.asarray, each), priors=priors, shapes=shapes)
    uncentred = centre if "baseline" in linear.names and np.any(centre) else None
    return RowSpace(reduced, name, basis, unit, linear.shapes[at], uncentred)
