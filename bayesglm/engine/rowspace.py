"""More columns than rows, exactly: a Gaussian prior lets the data see only the rows' own space."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh

from bayesglm.engine.linear import Linear
from bayesglm.engine.predictor import DensePredictor
from bayesglm.prior import Gaussian, GaussianProcess, Smooth

_RANK = 1e-12  # relative eigenvalue of the rows' Gram matrix below which a direction is empty
_STEP = 16  # reduced columns come in multiples of it
_CHUNK = 4096  # columns of a Gram matrix worked on at once
_NUMBERS = 1 << 23  # weights x draws lifted at once: 64 MB, and three more of that size


class Wide(NamedTuple):
    """A block with more columns than rows, and where it lies."""

    at: int
    name: str
    part: slice  # in the elements
    place: slice  # among the columns, shared ones first
    first: int  # of its columns in the array that holds them: the shared ones, or each neuron's own
    own: bool
    unit: np.ndarray  # (P,) prior standard deviations of its columns' weights, against one another

    @property
    def size(self) -> int:
        """Number of columns, P."""
        return self.unit.size


class Eigen(NamedTuple):
    """X X' = V diag(values) V' of the scored rows, X (row, P) the block's columns times their units; one a neuron, or one for all."""

    values: list[np.ndarray]  # (r,), those of empty directions zero
    vectors: list[np.ndarray]  # (row, r), zero in rows that are not scored

    def of(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Those of neuron ``n``."""
        return self.values[n % len(self.values)], self.vectors[n % len(self.vectors)]


class RowSpace(NamedTuple):
    """A linear model whose widest block was rotated into the rows' space, and the way back.

    With w_j ~ Normal(0, (s_j unit)^2) for each of J predictors and X V = U diag(values)^(1/2), the predictor sees only
    a_j = U'(w_j / unit), and a_j ~ Normal(0, s_j^2) again. The rest of w / unit is prior: it is drawn, not sampled.
    """

    linear: Linear  # the reduced model: as many columns as rows have dimensions
    whole: Linear
    wide: Wide
    eigen: Eigen

    def lift(self, sites: dict[str, np.ndarray], seed: int | None, labels: Sequence[Any] = ()) -> dict[str, np.ndarray]:
        """Draws of the block's own weights: unit (s e + X' V values^(-1/2) (a - s U'e)), e standard normal; e = 0 without a seed (a mode).

        ``sites`` are (chain, draw, neuron, ...), the block's r[, K] numbers last; learned scales are read from them. Draws
        given a (Matheron's rule): never is the basis U (P, r) made.
        """
        name, shape = self.wide.name, self.whole.shapes[self.wide.at]
        a, scale = self._elements(sites[name]), self._scale(sites)
        chains, draws, size, _, several = a.shape
        a, scale = a.reshape(chains * draws, *a.shape[2:]), scale.reshape(chains * draws, *scale.shape[2:])
        turn = self._turn()
        out = np.empty((chains * draws, size, self.wide.size, several if turn is None else len(turn)))
        shift = np.zeros((*out.shape[:2], out.shape[-1]))
        step = max(1, _NUMBERS // (self.wide.size * several))
        step = -(-len(out) // -(-len(out) // step))  # of like length: the noise is balanced over each
        for n in range(size):
            label = str(labels[n]) if n < len(labels) else str(n)
            rng = None if seed is None else np.random.default_rng([seed, zlib.crc32(f"{name} {label}".encode())])
            centre = np.asarray(self.whole.each["centre"])[n, self.wide.place]
            for first in range(0, len(out), step):
                some = slice(first, first + step)
                w = self._lifted(n, a[some, n], scale[some, n], rng)  # (P, draw, J)
                moved = np.tensordot(centre, w, 1)
                w = np.moveaxis(self._rotated(w), 0, 1)
                out[some, n] = w if turn is None else w @ turn.T
                shift[some, n] = moved if turn is None else moved @ turn.T
        out, shift = out.reshape(chains, draws, *out.shape[1:]), shift.reshape(chains, draws, *shift.shape[1:])
        trailing = (*shape[:-1], out.shape[-1]) if several > 1 else shape
        return sites | {name: out.reshape(chains, draws, size, *trailing), **self._baseline(sites, shift if several > 1 else shift[..., 0])}

    def _lifted(self, n: int, a: np.ndarray, scale: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """(P, draw, J) weights of one neuron, before rotations."""
        values, vectors = self.eigen.of(n)
        inverse = np.where(values > 0, np.where(values > 0, values, 1.0) ** -0.5, 0.0)
        columns, unit = columns_of(self.whole, self.wide, n), self.wide.unit[:, None]
        b = np.moveaxis(a, 1, 0)  # (r, draw, J)
        shape, noise = b.shape[1:], None
        if rng is not None:
            noise = balanced(rng.standard_normal((self.wide.size, *shape)), 1) * np.moveaxis(np.broadcast_to(scale, (shape[0], 1, shape[1])), 1, 0)
            seen = columns.T @ (noise.reshape(self.wide.size, -1) * unit)
            b = b - (inverse[:, None] * (vectors.T @ seen)).reshape(-1, *shape)
        v = columns @ (vectors @ (inverse[:, None] * b.reshape(len(b), -1)))
        v *= unit
        v = v.reshape(-1, *shape)
        if noise is not None:
            v += noise
        v *= unit[:, :, None]
        return v

    def _elements(self, story: np.ndarray) -> np.ndarray:
        """The block's reduced weights in the story (chain, draw, neuron, r[, K]) -> elements (chain, draw, neuron, r, J)."""
        if self.whole.contrast is None:
            return story[..., None]
        mixing = self.whole.mixings.get(self.wide.name)
        v = story @ np.asarray(self.whole.contrast)
        return v if mixing is None else v @ np.linalg.inv(mixing).T

    def _turn(self) -> np.ndarray | None:
        """(K, J): elements over predictors to weights over classes; None where they are the same."""
        if self.whole.contrast is None:
            return None
        contrast, mixing = np.asarray(self.whole.contrast), self.whole.mixings.get(self.wide.name)
        turn = contrast if mixing is None else contrast @ mixing
        return None if np.array_equal(turn, np.eye(len(turn))) else turn

    def _rotated(self, w: np.ndarray) -> np.ndarray:
        rotation = self.whole.rotations.get(self.wide.name)
        if rotation is None:
            return w
        return np.einsum("ab,nbm->nam", rotation, w.reshape(-1, len(rotation), w.shape[1] * w.shape[2])).reshape(w.shape)

    def _scale(self, sites: dict[str, np.ndarray]) -> np.ndarray:
        """Prior standard deviations of the elements (chain, draw, neuron, 1, J)."""
        prior, name = self.linear.priors[self.wide.at], self.wide.name
        hyper = {site.removeprefix(f"{name}_"): sites[site] for site in prior.hyper(name)}
        return np.asarray(prior.width(hyper, np.ones((*sites[name].shape[:3], 1, self.whole.several), bool)))

    def _baseline(self, sites: dict[str, np.ndarray], shift: np.ndarray) -> dict[str, np.ndarray]:
        """The uncentred baseline: it moves with the weights that the reduced model does not have."""
        return {"baseline": sites["baseline"] - shift} if "baseline" in self.whole.names and np.any(shift) else {}


def balanced(noise: np.ndarray, axis: int = 0) -> np.ndarray:
    """Standard normals whose mean over draws is zero: each is still standard normal, two draws of n are correlated by -1 / (n - 1).

    Means over draws of what is linear in the weights then have next to no Monte Carlo error. It matters here: of ten thousand
    weights seen in a hundred rows nearly all is prior, and the mean of a hundred draws would be off by a tenth of the prior's sd.
    """
    n = noise.shape[axis]
    return noise if n < 2 else (noise - noise.mean(axis, keepdims=True)) * np.sqrt(n / (n - 1.0))


def widest_gaussian(linear: Linear) -> Wide | None:
    """A block with more columns than scored rows and a prior that is Gaussian given a scale; None where there is none to reduce."""
    if "places" in linear.each or not isinstance(linear.predictor, DensePredictor):
        return None
    rows = int((np.asarray(linear.scored) > 0).sum())
    sizes = [int(np.prod(shape)) // linear.several for shape in linear.shapes]
    at = int(np.argmax(sizes))
    part = linear.parts()[at]
    whole = bool(np.asarray(linear.each["mask"])[:, part].all())
    unit = _unit(linear, at, sizes[at]) if sizes[at] > rows and whole else None
    if unit is None:
        return None
    first, shared = sum(sizes[:at]), linear.predictor.columns.shape[0]
    own = first >= shared
    return Wide(at, linear.names[at], part, slice(first, first + sizes[at]), first - shared if own else first, own, unit)


def _unit(linear: Linear, at: int, size: int) -> np.ndarray | None:
    """(P,) what sets the weights' prior standard deviations against one another; None where that is not a number a column."""
    prior, shape = linear.priors[at], linear.shapes[at]
    known = type(prior) in (Gaussian, Smooth) or (type(prior) is GaussianProcess and prior.over == "class" and linear.contrast is not None)
    relative = np.asarray(prior.relative, float) if known else np.zeros(0)
    if not known or (linear.several > 1 and relative.ndim == len(shape) and relative.shape[-1] != 1):
        return None
    columns = shape if linear.several == 1 else (*shape[:-1], 1)
    return np.broadcast_to(relative, columns).reshape(size)


def columns_of(linear: Linear, wide: Wide, n: int) -> np.ndarray:
    """The block's columns (P, row) of one neuron, a view."""
    held = linear.each["own"][n] if wide.own else linear.predictor.columns
    return np.asarray(held)[wide.first : wide.first + wide.size]


def decomposed(linear: Linear, wide: Wide) -> Eigen:
    """One Gram matrix of the scored rows and its eigenvectors, for all neurons or one a neuron."""
    rows = np.asarray(linear.scored) > 0
    values, vectors = [], []
    for n in range(linear.size if wide.own else 1):
        found, directions = eigh(_gram(columns_of(linear, wide, n), wide.unit, rows), overwrite_a=True, check_finite=False, driver="evd")
        values.append(np.where(found > _RANK * found[-1], found, 0.0))
        everywhere = np.zeros((rows.size, found.size))
        everywhere[rows] = directions
        vectors.append(everywhere)
    return Eigen(values, vectors)


def _gram(columns: np.ndarray, unit: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(row, row) X X' of the scored rows, summed over chunks of columns."""
    count = int(rows.sum())
    kept: Any = slice(0, count) if rows[:count].all() else rows
    total = np.zeros((count, count))
    for first in range(0, len(columns), _CHUNK):
        part = columns[first : first + _CHUNK, kept] * unit[first : first + _CHUNK, None]
        total += part.T @ part
    return total


def without(linear: Linear, wide: Wide, columns: int) -> Linear:
    """The model with ``columns`` numbers a predictor in the block's place, each with a prior sd of the block's scale; its predictor is not changed."""
    count = columns * linear.several

    def cut(leaf: Any, at: slice, many: int, fill: float) -> np.ndarray:
        leaf = np.asarray(leaf)
        return np.concatenate([leaf[:, : at.start], np.full((len(leaf), many), fill), leaf[:, at.stop :]], 1)

    each = dict(linear.each) | {"mask": cut(linear.each["mask"], wide.part, count, 1.0), "centre": cut(linear.each["centre"], wide.place, columns, 0.0)}
    shape = (columns,) if linear.several == 1 else (columns, linear.several)
    shapes = tuple(shape if i == wide.at else one for i, one in enumerate(linear.shapes))
    priors = tuple(dataclasses.replace(one, relative=1.0) if i == wide.at else one for i, one in enumerate(linear.priors))
    rotations = {name: rotation for name, rotation in linear.rotations.items() if name != wide.name}
    return dataclasses.replace(linear, each=each, shapes=shapes, priors=priors, rotations=rotations)


def in_row_space(linear: Linear) -> RowSpace | None:
    """The reduced model, or None where no block has more columns than rows. Called in double precision."""
    wide = widest_gaussian(linear)
    if wide is None:
        return None
    eigen = _nonempty(decomposed(linear, wide))
    reduced = [np.sqrt(values)[:, None] * vectors.T for values, vectors in zip(*eigen, strict=True)]
    cut = without(linear, wide, len(reduced[0]))
    if wide.own:
        cut = dataclasses.replace(cut, each=cut.each | {"own": replaced(linear.each["own"], wide, np.stack(reduced))})
    else:
        cut = dataclasses.replace(cut, predictor=DensePredictor(replaced(linear.predictor.columns, wide, reduced[0])))
    return RowSpace(cut, linear, wide, eigen)


def replaced(held: Any, wide: Wide, columns: np.ndarray) -> np.ndarray:
    """The arrays (..., column, row) that hold the block with other columns in its place."""
    held = np.asarray(held)
    return np.concatenate([held[..., : wide.first, :], columns, held[..., wide.first + wide.size :, :]], -2)


def _nonempty(eigen: Eigen) -> Eigen:
    """Without the directions that are empty for every neuron, which come first, filled up so that like ranks share compiled programs."""
    first = min(int((values == 0).sum()) for values in eigen.values)
    more = -(eigen.values[0].size - first) % _STEP
    values = [np.pad(one[first:], (0, more)) for one in eigen.values]
    return Eigen(values, [np.pad(one[:, first:], ((0, 0), (0, more))) for one in eigen.vectors])
