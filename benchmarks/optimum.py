"""The judge: objective, Newton and proximal Newton in NumPy and double precision, sharing no code with any solver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_factor, cho_solve

if TYPE_CHECKING:
    from same import Problem

_CLOSE = 1e-13  # nats
_STEPS = 100
_CHUNK = 8192  # rows of a Gram product held at once


def objective(problem: Problem, receiver: int, w: np.ndarray) -> float:
    """Penalised negative log likelihood of one receiver at w (column + 1,), the baseline last."""
    eta = problem.columns @ w[:-1] + w[-1]
    penalty = 0.5 * problem.ridge * w[:-1] @ w[:-1] if not problem.lasso else problem.lasso * np.abs(w[:-1]).sum()
    return float(np.exp(eta).sum() - problem.responses[:, receiver] @ eta + penalty)


def optimum(problem: Problem, receiver: int, start: np.ndarray | None = None) -> np.ndarray:
    """Minimum of ``objective``: exact Newton steps with halving, the step's quadratic solved by coordinates under an L1 penalty."""
    y = problem.responses[:, receiver]
    w = np.append(np.zeros(problem.columns.shape[1]), np.log(max(y.mean(), 0.5 / len(y)))) if start is None else start.copy()
    value = objective(problem, receiver, w)
    for _ in range(_STEPS):
        gradient, hessian = _derivatives(problem, receiver, w)
        move, fall = _move(problem, gradient, hessian, w)
        if fall < 2 * _CLOSE:
            return w
        size = 1.0
        while (new := objective(problem, receiver, w + size * move)) > value - 1e-4 * size * fall and size > 1e-10:
            size /= 2
        if new >= value:  # below the rounding of the objective
            return w
        w, value = w + size * move, new
    raise RuntimeError(f"The reference did not converge in {_STEPS} steps (last fall {fall:.1e} nats).")


def _derivatives(problem: Problem, receiver: int, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian of the smooth part, the baseline last."""
    size = len(w)
    gradient, hessian = np.zeros(size), np.zeros((size, size))
    for at in range(0, len(problem.columns), _CHUNK):
        part = np.column_stack([problem.columns[at : at + _CHUNK], np.ones(len(problem.columns[at : at + _CHUNK]))])
        mean = np.exp(part @ w)
        gradient += part.T @ (mean - problem.responses[at : at + _CHUNK, receiver])
        hessian += (part * mean[:, None]).T @ part
    ridge = np.append(np.full(size - 1, 0.0 if problem.lasso else problem.ridge), 0.0)
    return gradient + ridge * w, hessian + np.diag(ridge)


def _move(problem: Problem, gradient: np.ndarray, hessian: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, float]:
    """The step and how much the objective should fall."""
    if not problem.lasso:
        move = -cho_solve(cho_factor(hessian), gradient)
        return move, float(-gradient @ move)
    slope = np.append(np.full(len(w) - 1, problem.lasso), 0.0)
    move = _sparse_move(gradient, hessian, slope, w)
    return move, float(-(gradient @ move + slope @ (np.abs(w + move) - np.abs(w))))


def _sparse_move(gradient: np.ndarray, hessian: np.ndarray, slope: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Minimise g.d + d.H.d/2 + slope.|w + d| by coordinates, then exactly on the support that they find."""
    at, residual = w.copy(), gradient.copy()
    for _ in range(2000):
        moved = 0.0
        for j in range(len(w)):
            want = at[j] - residual[j] / hessian[j, j]
            change = np.sign(want) * max(abs(want) - slope[j] / hessian[j, j], 0.0) - at[j]
            if change:
                at[j] += change
                residual += change * hessian[j]
                moved = max(moved, hessian[j, j] * change**2)
        if moved < 1e-20:
            break
    return at - w


def lasso_that_leaves(problem: Problem, share: float) -> float:
    """The L1 penalty at which about ``share`` of the first receiver's weights are not zero, by bisection of its logarithm."""
    blank = problem._replace(lasso=1e-300)
    silent = np.append(np.zeros(problem.columns.shape[1]), np.log(problem.responses[:, 0].mean()))
    high = np.log(np.abs(_derivatives(blank, 0, silent)[0][:-1]).max())
    low, w = high - 12.0, silent
    for _ in range(8):
        middle = (low + high) / 2
        w = optimum(problem._replace(lasso=float(np.exp(middle))), 0, w)
        if (w[:-1] != 0).mean() < share:
            high = middle
        else:
            low = middle
    return float(f"{np.exp((low + high) / 2):.3g}")
