"""Stacking: weights of the mixture of models that would have predicted best what was left out."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

_ROUNDS = 200  # of expectation and maximisation, before the optimiser proper
_TINY = 1e-300


def stacking_weights(log_density: np.ndarray) -> np.ndarray:
    """Weights w on the simplex that maximise sum_i log sum_m w_m p_im: the best mixture of predictive distributions.

    Parameters
    ----------
    log_density : (unit, model)
        Log predictive densities of what was left out; units without one are NaN and are passed over.

    Returns
    -------
    (model,)
        They sum to one. Models that predict alike share a weight arbitrarily; a small weight does not say that a model is
        bad, only that the mixture does not need it.

    Raises
    ------
    ValueError
        Where no unit has a density under every model.

    References
    ----------
    Yao, Vehtari, Simpson and Gelman 2018, Using stacking to average Bayesian predictive distributions.

    Examples
    --------
    >>> stacking_weights(np.log([[0.9, 0.1], [0.8, 0.2], [0.2, 0.6]])).round(2).tolist()
    [0.93, 0.07]
    """
    known = np.asarray(log_density, float)
    known = known[np.isfinite(known).all(1)]
    if not len(known):
        raise ValueError("stacking: no unit has a predictive density under every model.")
    density = np.exp(known - known.max(1, keepdims=True))
    begin = _improved(density, np.full(density.shape[1], 1.0 / density.shape[1]))
    found = _optimum(density, begin)
    return found if _score(density, found) >= _score(density, begin) else begin


def _score(density: np.ndarray, w: np.ndarray) -> float:
    """Mean log density of the mixture."""
    return float(np.mean(np.log(np.maximum(density @ w, _TINY))))


def _improved(density: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Expectation and maximisation: every round is an improvement, however far the models are apart."""
    for _ in range(_ROUNDS):
        new = w * np.mean(density / np.maximum(density @ w, _TINY)[:, None], axis=0)
        new = new / new.sum()
        if np.abs(new - w).max() < 1e-12:
            return new
        w = new
    return w


def _optimum(density: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """The optimum near ``begin``: the problem is concave, so that it is the only one."""

    def cost(w: np.ndarray) -> tuple[float, np.ndarray]:
        mixture = np.maximum(density @ w, _TINY)
        return -float(np.mean(np.log(mixture))), -np.mean(density / mixture[:, None], axis=0)

    whole = {"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like}
    found = minimize(cost, begin, jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * len(begin), constraints=[whole], options={"ftol": 1e-14, "maxiter": 500})
    w = np.clip(found.x, 0.0, None)
    return w / w.sum() if np.isfinite(w).all() and w.sum() > 0 else begin
