"""Banded matrices: variances of a Gaussian from its banded precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def variances(factor: np.ndarray) -> np.ndarray:
    """Diagonal of the inverse of H = L L', from its banded Cholesky factor: Takahashi's recursion from the last row up.

    Parameters
    ----------
    factor : (band + 1, n)
        ``factor[j, i]`` = L[i + j, i], as ``scipy.linalg.cholesky_banded(..., lower=True)`` gives it.

    Returns
    -------
    (n,)

    References
    ----------
    Rue & Martino 2007, Approximate Bayesian inference for hierarchical Gaussian Markov random field models.
    """
    band = factor.shape[0] - 1
    below = np.array(factor)
    for j in range(1, band + 1):
        below[j, below.shape[1] - j :] = 0.0
    if band == 0:
        return 1.0 / below[0] ** 2
    return np.asarray(_recursion(jnp.asarray(below)))


@jax.jit
def _recursion(below: Any) -> Any:
    def step(trailing: Any, column: Any) -> tuple[Any, Any]:
        ratio = column[1:] / column[0]
        off = -(trailing @ ratio)
        own = 1.0 / column[0] ** 2 - ratio @ off
        first = jnp.concatenate([own[None], off[:-1]])
        grown = jnp.zeros_like(trailing).at[1:, 1:].set(trailing[:-1, :-1]).at[0].set(first).at[:, 0].set(first)
        return grown, own

    band = below.shape[0] - 1
    return jax.lax.scan(step, jnp.zeros((band, band)), below.T, reverse=True)[1]
