"""Ridge regression of folds with more columns than rows: one Gram matrix of the rows, and its eigenvectors in each fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from scipy.linalg import eigh

from bayesglm._comparing._kfold_record import Folding
from bayesglm._comparing._kfold_rows import planned, purged
from bayesglm.family import Gaussian as GaussianFamily
from bayesglm.family import LinearCircular
from bayesglm.prior import Gaussian

if TYPE_CHECKING:
    from bayesglm._glm import GLM

_CHUNK = 4096  # columns of a Gram matrix worked on at once


class _Fold(NamedTuple):
    """Training rows in the eigenvectors of their centred Gram matrix, and what the test rows have in common with them."""

    values: np.ndarray  # (row - 1,) eigenvalues
    z: np.ndarray  # (row - 1, response) the centred responses
    across: np.ndarray  # (test row, row - 1)
    length: np.ndarray  # (test row,) squares of the test rows
    left: np.ndarray  # (test row, response): less the training rows' mean


class WideOfFolds(NamedTuple):
    """A response that is Gaussian in eta, a baseline and one Gaussian term of many columns: held-out density by scale and noise.

    With K = X X' of the centred rows and a = (sigma / tau)^2 a test row is Normal(k'(K + a)^-1 y, tau^2 (a + |x|^2 - k'(K + a)^-1 k)):
    the weights are integrated out. Both a and tau are where the held-out rows are likeliest, tau given a in closed form. The
    noise is not left to the training rows: where columns outnumber rows the evidence may say that there is none, and the scale
    alone does not hold it up.
    """

    folds: tuple[_Fold, ...]
    strength: float  # a at factor one

    def score(self, factor: float) -> float:
        """Mean log density of test rows."""
        squares, widths = self._held_out(factor)
        each = np.log(2.0 * np.pi * widths * (squares / widths).mean()) + 1.0
        return float(-0.5 * each.mean() * squares.shape[1])

    def scale(self, factor: float) -> float:
        """The scale tau."""
        squares, widths = self._held_out(factor)
        return float(np.sqrt((squares / widths).mean()))

    def noise(self, factor: float) -> float:
        """The noise sigma."""
        return self.scale(factor) * float(np.sqrt(self.strength)) / factor

    def _held_out(self, factor: float) -> tuple[np.ndarray, np.ndarray]:
        """Squared errors (test row, response) and the predictive variances (test row, 1) at tau one."""
        squares, widths, strength = [], [], self.strength / factor**2
        for fold in self.folds:
            share = 1.0 / (fold.values + strength)
            squares.append((fold.left - fold.across @ (fold.z * share[:, None])) ** 2)
            widths.append(strength + np.maximum(fold.length - fold.across**2 @ share, 0.0))
        return np.concatenate(squares), np.concatenate(widths)[:, None]


def wide_of_folds(model: GLM, data: xr.Dataset, names: tuple[str, ...], how: Folding, reference: float) -> WideOfFolds | None:
    """The closed form for a resolved model; None where it does not hold, or no fold has more columns than rows."""
    term = model.terms[names[0]]
    known = isinstance(model.family, GaussianFamily | LinearCircular) and model.family.scale is None and type(term.prior) is Gaussian and len(names) == 1
    others = [one for one in model.terms if one is not term]
    if not known or model.has_neurons or [one.name for one in others] != ["baseline"] or not getattr(others[0], "centred", False):
        return None
    design = model.design(data)
    columns, relative = design.shared.get(term.name), np.asarray(term.prior.relative, float)
    seen = np.asarray(design.scored) > 0
    if columns is None or "scored" in design.each or int(np.prod(term.shape)) <= seen.sum():
        return None
    if relative.ndim > len(term.shape) and relative.shape[-1] == 1:
        relative = relative[..., 0]
    unit = np.broadcast_to(relative, term.shape).ravel()
    gram = _gram(np.asarray(columns).reshape(len(seen), -1), unit)
    y = np.asarray(model.family.gaussian(np.asarray(design.each["response"][0], float))).reshape(len(seen), -1)
    plan = purged(planned(data, how.k, how.by, how.gap), (model,), data)
    folds = tuple(_fold(gram, y, np.flatnonzero(fold.kept & seen), fold.test[seen[fold.test]]) for fold in plan)
    power = np.mean([(fold.z**2).mean() for fold in folds])
    return WideOfFolds(folds, float(power / reference**2))


def _gram(x: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(row, row) X X', around the rows' mean, by chunks of columns."""
    total = np.zeros((len(x), len(x)))
    for first in range(0, x.shape[1], _CHUNK):
        part = np.asarray(x[:, first : first + _CHUNK], float)
        part = np.nan_to_num(part - np.nanmean(part, 0)) * unit[first : first + _CHUNK]
        total += part @ part.T
    return total


def _fold(gram: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> _Fold:
    """Around the training rows' means: a constant without a prior is fitted beside the columns."""
    own, across = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
    mean, apart = own.mean(0), across.mean(1, keepdims=True)
    length = np.diag(gram)[test] - 2.0 * apart[:, 0] + mean.mean()
    centred = own - mean - mean[:, None] + mean.mean()
    across = across - mean - apart + mean.mean()
    values, vectors = eigh(centred, overwrite_a=True, check_finite=False, driver="evd")
    values, vectors = np.maximum(values[1:], 0.0), vectors[:, 1:]  # the first is the constant
    level = y[train].mean(0)
    return _Fold(values, vectors.T @ (y[train] - level), across @ vectors, length, y[test] - level)
