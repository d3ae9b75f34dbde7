"""Ridge regression of folds in closed form: one Gram matrix of all rows, and a Cholesky factor a fold and strength."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from scipy.linalg import cho_factor, cho_solve

from bayesglm._comparing._kfold_record import Folding
from bayesglm._comparing._kfold_rows import planned, purged
from bayesglm.family import Gaussian as GaussianFamily
from bayesglm.prior import Gaussian

if TYPE_CHECKING:
    from bayesglm._glm import GLM


class _Sums(NamedTuple):
    """Sums of n rows of columns x and responses y: what a regression needs of them."""

    n: float
    x: np.ndarray  # (column,)
    y: np.ndarray  # (response,)
    xx: np.ndarray  # (column, column)
    xy: np.ndarray  # (column, response)
    yy: np.ndarray  # (response,)

    def minus(self, other: _Sums) -> _Sums:
        return _Sums(*(a - b for a, b in zip(self, other, strict=True)))

    def centred(self) -> _Sums:
        """Around the rows' means: a constant without a prior is fitted beside the columns."""
        mean, level = self.x / self.n, self.y / self.n
        xx, xy = self.xx - self.n * np.outer(mean, mean), self.xy - self.n * np.outer(mean, level)
        return _Sums(self.n, mean, level, xx, xy, self.yy - self.n * level**2)


class RidgeOfFolds(NamedTuple):
    """A Gaussian response, a baseline and one Gaussian term: held-out log density as a function of the term's scale.

    w = argmin |y - X w|^2 + a |w|^2 and sigma^2 = (|y|^2 - w'X'y) / n, the maximum of the evidence given a = (sigma / tau)^2.
    """

    whole: _Sums
    training: tuple[_Sums, ...]  # of each fold, centred
    tests: tuple[tuple[np.ndarray, np.ndarray], ...]  # columns and responses of each fold's test rows
    strength: float  # a where the scale is the reference

    def score(self, factor: float) -> float:
        """Mean log density of test rows, where the scale is ``factor`` times the reference; sigma and w are the training rows'."""
        total, rows = 0.0, 0
        for sums, (x, y) in zip(self.training, self.tests, strict=True):
            w, sigma = _solved(sums, self.strength / factor**2)
            error = (y - sums.y - (x - sums.x) @ w) / sigma
            total += float(np.sum(-0.5 * error**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)))
            rows += error.size
        return total / max(rows, 1)

    def scale(self, factor: float) -> float:
        """The scale tau itself, sigma being that of all rows."""
        strength = self.strength / factor**2
        return float(np.median(_solved(self.whole, strength)[1]) / np.sqrt(strength))


def _solved(sums: _Sums, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (column, response) and sigma (response,)."""
    whole = sums.xx + strength * np.eye(len(sums.xx))
    w = cho_solve(cho_factor(whole, lower=True, overwrite_a=True, check_finite=False), sums.xy, check_finite=False)
    left = np.maximum(sums.yy - np.sum(w * sums.xy, 0), 1e-12 * sums.yy)
    return w, np.sqrt(left / sums.n)


def ridge_of_folds(model: GLM, data: xr.Dataset, names: tuple[str, ...], how: Folding, reference: float) -> RidgeOfFolds | None:
    """The closed form for a resolved model; None where it does not hold, or columns outnumber rows."""
    term = model.terms[names[0]]
    plain = type(model.family) is GaussianFamily and model.family.scale is None and type(term.prior) is Gaussian and len(names) == 1
    others = [one for one in model.terms if one is not term]
    if not plain or [one.name for one in others] != ["baseline"] or not getattr(others[0], "centred", False):
        return None
    design = model.design(data)
    columns = design.shared.get(term.name)
    if columns is None or "scored" in design.each or not np.asarray(design.each["cells"]["mask"][term.name]).all():
        return None
    seen = np.asarray(design.scored) > 0
    x = np.asarray(columns, float).reshape(len(seen), -1)
    if x.shape[1] > seen.sum():
        return None
    unit = np.broadcast_to(np.asarray(term.prior.relative, float), term.shape).ravel()
    x, y = x * unit, np.asarray(design.each["response"], float).T
    plan = purged(planned(data, how.k, how.by, how.gap), (model,), data)
    whole = _sums(x[seen], y[seen])
    training, tests = [], []
    for fold in plan:
        training.append(whole.minus(_sums(x[seen & ~fold.kept], y[seen & ~fold.kept])).centred())
        test = fold.test[seen[fold.test]]
        tests.append((x[test], y[test]))
    all_rows = whole.centred()
    strength = float(np.median(all_rows.yy) / all_rows.n / reference**2)
    return RidgeOfFolds(all_rows, tuple(training), tuple(tests), strength)


def _sums(x: np.ndarray, y: np.ndarray) -> _Sums:
    return _Sums(float(len(x)), x.sum(0), y.sum(0), x.T @ x, x.T @ y, (y**2).sum(0))
