"""Kernels of Gaussian processes, their spectral densities, and the modes in which their covariances are diagonal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

_ALIASES = np.arange(-10, 11)
_SHARES = (0.15, 0.5)  # of the range: the lengthscales at which modes are exact

# k(r), r = distance / lengthscale, k(0) = 1
KERNELS: dict[str, Callable[[Any], Any]] = {
    "squared_exponential": lambda r: jnp.exp(-0.5 * r**2),
    "matern32": lambda r: (1.0 + 3**0.5 * r) * jnp.exp(-(3**0.5) * r),
    "matern52": lambda r: (1.0 + 5**0.5 * r + 5.0 * r**2 / 3.0) * jnp.exp(-(5**0.5) * r),
}

# their Fourier transforms up to a factor, of angular frequency times lengthscale
SPECTRA: dict[str, Callable[[Any], Any]] = {
    "squared_exponential": lambda f: jnp.exp(-0.5 * f**2),
    "matern32": lambda f: (1.0 + f**2 / 3.0) ** -2,
    "matern52": lambda f: (1.0 + f**2 / 5.0) ** -3,
}


def circle_modes(n: int, turns: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal real Fourier modes (n, n) at n equally spaced points (in turns), the constant first, and their harmonics (n,)."""
    turns = np.arange(n) / n if turns is None else turns
    harmonics = (np.arange(n) + 1) // 2
    phase = 2 * np.pi * turns[:, None] * harmonics
    modes = np.where(np.arange(n) % 2 == 1, np.cos(phase), np.sin(phase))
    modes[:, 0] = 1.0
    return modes / np.linalg.norm(modes, axis=0), harmonics


def aliases(harmonics: np.ndarray, n: int, period: float) -> np.ndarray:
    """Angular frequencies (mode, alias) that n points around a circle cannot tell apart."""
    return 2 * np.pi * np.abs(harmonics[:, None] + n * _ALIASES) / period


def line_modes(distance: np.ndarray) -> np.ndarray:
    """Columns of norm one, (n, n), in which covariances on a line are nearly diagonal whatever the lengthscale.

    They make two Matern 3/2 covariances exactly diagonal, with lengthscales of 0.15 and 0.5 times the range.
    """
    short, long = (np.asarray((1.0 + r) * np.exp(-r)) for r in (3**0.5 * distance / (share * distance.max()) for share in _SHARES))
    root = np.linalg.cholesky(short)
    between = np.linalg.solve(root, np.linalg.solve(root, long).T)
    values, vectors = np.linalg.eigh(0.5 * (between + between.T))
    modes = root @ vectors[:, np.argsort(-values)]
    return modes / np.linalg.norm(modes, axis=0)


def fitted(modes: np.ndarray) -> np.ndarray:
    """(n, n) that turns the diagonal of R' K R into the variances v for which R diag(v) R' is nearest to K (least squares)."""
    return np.linalg.inv((modes.T @ modes) ** 2)
