"""Neighbouring weights are alike: a penalty on differences, as a rotation into independent elements."""

from __future__ import annotations

from typing import Any, Self

import equinox as eqx
import numpy as np
from numpyro.distributions import HalfNormal

from bayesglm.basis import AbstractBasis
from bayesglm.prior._axes import axes, harmonics, kron, ordered
from bayesglm.prior._base import Place
from bayesglm.prior._scale import Scale, checked_scale, describe_scale
from bayesglm.prior._simple import AbstractNormal, AbstractScaled

_NULL = 1e-9  # of the largest eigenvalue: below it a direction is not penalised


class Smooth(AbstractScaled, AbstractNormal):
    """Neighbouring weights of a basis are alike: -log p = w' Q w / (2 scale^2) + const, Q ~ D'D / mu + ridge * (its null space).

    D takes differences of the given order between neighbouring functions, around the circle where the basis is cyclic; for
    ``basis.Fourier`` the penalty is harmonic^(2 order). mu is the smallest nonzero eigenvalue of D'D, so that what a
    penalty means does not depend on the number of functions. The null space (constants; with order 2 on a line also
    straight lines) is not penalised by differences and has the precision ``ridge`` instead, on that space alone. Q is
    scaled so that the geometric mean of the weights' prior standard deviations is ``scale`` (Sorbye & Rue 2014).

    Over several axes (space and lag, ``basis * basis``) the penalty is the sum over axes, each divided by its own mu:
    each axis has its own roughness, a function that is smooth along both is the cheapest.

    Parameters
    ----------
    scale : float, numpyro Distribution, "evidence" or "folds"
        Prior standard deviation of a typical weight. Default HalfNormal(1).
    order : 1 or 2
        1: neighbours are alike (a random walk); 2: slopes are alike (a smoother curve).
    ridge : float
        Precision of the null space over that of the smoothest penalised curve, above 0: at the default 0.1 levels (and
        slopes) have 3 times its prior standard deviation, at 1 they are shrunk as it is.

    Notes
    -----
    Differences are between neighbours in order, whatever the distance between their centres: on log-stretched bumps the
    filter is smoother at long lags. ``prior.GaussianProcess`` knows distances.

    Raises
    ------
    ValueError
        By ``fit``: a term without a basis, levels without an order, fewer functions than differences need.

    References
    ----------
    Eilers & Marx 1996, Flexible smoothing with B-splines and penalties; Sorbye & Rue 2014, Scaling intrinsic Gaussian
    Markov random field priors; Park & Pillow 2011, Receptive field inference with localized priors.

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> from bayesglm import prior
    >>> prior.Smooth(dist.HalfNormal(0.5), order=1).describe()
    'Smooth(HalfNormal(0.5), order=1)'
    """

    scale: Scale = eqx.field(default_factory=lambda: HalfNormal(1.0), converter=checked_scale)
    order: int = eqx.field(default=2, static=True)
    ridge: float = 0.1
    relative: Any = eqx.field(default=1.0, kw_only=True)
    factor: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (B, B), after resolve

    def __check_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"prior.Smooth(order={self.order!r}): it is 1 (neighbours are alike) or 2 (slopes are alike).")
        if isinstance(self.ridge, (int, float)) and not 0 < self.ridge < np.inf:
            raise ValueError(f"prior.Smooth(ridge={self.ridge}): without a ridge on its null space the prior is improper; give a positive number, such as 0.1.")

    def resolve(self, place: Place) -> Self:
        if self.factor is not None:
            return self
        parts = axes(place, "Smooth")
        one = AbstractScaled.resolve(self, place)
        return eqx.tree_at(lambda p: p.factor, one, square_root(parts, self.order, float(self.ridge), place.name), is_leaf=lambda x: x is None)

    def rotation(self) -> np.ndarray | None:
        return self.factor

    def describe(self) -> str:
        return f"Smooth({describe_scale(self.scale)}, order={self.order})"


def square_root(parts: tuple[AbstractBasis, ...], order: int, ridge: float, name: str) -> np.ndarray:
    """Symmetric R (B, B) with R R' the prior covariance of the weights at scale one."""
    values, vectors = zip(*(_spectrum(roughness(part, order, name)) for part in parts), strict=True)
    total = np.zeros(1)
    for own in values:
        total = (total[:, None] + own).ravel()
    precision = np.where(total > 0, total, ridge)
    modes = kron(list(vectors))
    root = (modes * precision**-0.5) @ modes.T
    return root / np.exp(0.5 * np.log((root**2).sum(1)).mean())


def roughness(basis: AbstractBasis, order: int, name: str) -> np.ndarray:
    """D'D (basis, basis): the sum of squared differences of neighbouring weights, as a quadratic form."""
    ordered(basis, "Smooth", name)
    waves = harmonics(basis)
    if waves is not None:
        return np.diag(waves.astype(float) ** (2 * order))
    if basis.n_basis <= order:
        raise ValueError(
            f"prior.Smooth(order={order}) on {name!r}: {basis.n_basis} function(s) have no differences of order {order}; "
            f"give the basis more than {order}, or use prior.Gaussian."
        )
    step = np.eye(basis.n_basis)
    for _ in range(order):
        step = np.roll(step, -1, 0) - step if basis.periodic else np.diff(step, axis=0)
    return step.T @ step


def _spectrum(penalty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues over the smallest nonzero one, exactly zero on the null space, and eigenvectors."""
    values, vectors = np.linalg.eigh(penalty)
    values = np.where(values > _NULL * values[-1], values, 0.0)
    return values / values[values > 0][0], vectors
