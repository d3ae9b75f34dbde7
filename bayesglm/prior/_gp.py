"""Gaussian-process priors over the functions of a basis, or over classes on a circle: fixed modes, learned variances."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from bayesglm.basis import AbstractBasis
from bayesglm.prior._axes import axes, centres, harmonics, kron, period_of, trailing
from bayesglm.prior._base import Hyper, Place, from_left
from bayesglm.prior._kernels import KERNELS, SPECTRA, aliases, circle_modes, fitted, line_modes
from bayesglm.prior._scale import Scale, checked_scale, describe_scale, learned, scale_law
from bayesglm.prior._simple import AbstractNormal, AbstractScaled

_FLOOR = 1e-6  # least variance of a mode over the mean one: no combination of weights is known for certain
_SPREAD = 0.5  # sd of the log of a lengthscale with the default prior


def _lengths(value: Any) -> Any:
    """A lengthscale as it may be given: None, a number or one an axis, or a distribution."""
    if value is None or isinstance(value, Distribution):
        return value if value is None else checked_scale(value)
    given = tuple(float(v) for v in np.ravel(value)) if isinstance(value, (int, float, tuple, list, np.ndarray)) else value
    if isinstance(given, tuple) and not (given and all(0 < v < np.inf for v in given)):
        raise ValueError(f"prior.GaussianProcess(lengthscale={value!r}): a positive number (or one an axis), a distribution, or None for the default.")
    return given


class GaussianProcess(AbstractScaled, AbstractNormal):
    """Gaussian process over where the functions of a basis lie: Cov(w_i, w_j) = scale^2 k(|x_i - x_j| / lengthscale).

    x are the functions' centres, in seconds of lag or the column's unit; around a circle k is wrapped. w = R u with a fixed
    R and independent u_j ~ Normal(0, scale^2 v_j(lengthscale)), v scaled so that the mean variance of a weight is scale^2.
    Around a circle (R the real Fourier modes; also for ``basis.Fourier``, whose weights they are) this is the process
    itself. On a line it is nearly (Notes). Over several axes the kernel is a product, each axis with its own lengthscale.

    Parameters
    ----------
    scale : float, numpyro Distribution, "evidence" or "folds"
        Prior standard deviation of a weight. Default HalfNormal(1). Site ``<name>_scale``.
    lengthscale : float, sequence of float, numpyro Distribution or None
        In seconds or the column's unit; one an axis. Default LogNormal(log(range / 4), 0.5), on a circle with period / 8.
        Site ``<name>_lengthscale``.
    kernel : "squared_exponential", "matern32" or "matern52"
    over : "basis" or "class"
        "class": over the classes of ``family.Categorical`` on a circle instead of the basis (neighbouring targets of a
        choice have like weights).
    positions : sequence of float, optional
        Of ``over="class"``: where the classes lie, equally spaced around the circle, in the order of their labels; default:
        in that order.
    period : float, optional
        Of ``over="class"``: length of the circle, in the unit of ``positions``.

    Raises
    ------
    ValueError
        An unknown kernel; by ``fit``: a term without a basis, levels without an order, functions that lie on one another.

    Notes
    -----
    On a line the columns of R diagonalise Matern 3/2 covariances of two lengthscales, and v is the least-squares fit to
    K(lengthscale): from a tenth to three quarters of the range the covariance is within 8 % (Frobenius norm), at twice
    the range within 16 %; correlations shorter than the spacing of the functions are not represented. The sines of Solin
    & Sarkka 2020, as many as there are weights, are off by up to 25 % there, and make R singular for many functions.

    References
    ----------
    Solin & Sarkka 2020, Hilbert space methods for reduced-rank Gaussian process regression; Riutort-Mayol et al. 2023,
    Practical Hilbert space approximate Bayesian Gaussian processes for probabilistic programming.

    Examples
    --------
    >>> from bayesglm import prior
    >>> prior.GaussianProcess(0.5, lengthscale=0.02, kernel="matern52").describe()
    'GaussianProcess(0.5, matern52)'
    """

    scale: Scale = eqx.field(default_factory=lambda: dist.HalfNormal(1.0), converter=checked_scale)
    lengthscale: Any = eqx.field(default=None, converter=_lengths)
    kernel: str = eqx.field(default="squared_exponential", static=True)
    over: str = eqx.field(default="basis", static=True, kw_only=True)
    positions: tuple[float, ...] | None = eqx.field(
        default=None, static=True, kw_only=True, converter=lambda p: None if p is None else tuple(float(v) for v in p)
    )
    period: float | None = eqx.field(default=None, kw_only=True)
    relative: Any = eqx.field(default=1.0, kw_only=True)
    factor: np.ndarray | None = eqx.field(default=None, kw_only=True)  # R (B, B), after resolve
    modes: tuple[np.ndarray, ...] | None = eqx.field(default=None, kw_only=True)  # of each axis (n, n)
    solves: tuple[np.ndarray, ...] | None = eqx.field(default=None, kw_only=True)  # of each axis (n, n), see ``fitted``
    axes: tuple[np.ndarray, ...] | None = eqx.field(default=None, kw_only=True)  # distances (n, n) on a line, frequencies (n, alias) on a circle
    circles: tuple[bool, ...] = eqx.field(default=(), static=True, kw_only=True)
    lengths: tuple[float, ...] = eqx.field(default=(), static=True, kw_only=True)  # medians of the default lengthscales
    shape: tuple[int, ...] = eqx.field(default=(), static=True, kw_only=True)  # sizes of the trailing axes of a mask that the modes fill

    def __check_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise ValueError(f"prior.GaussianProcess(kernel={self.kernel!r}): the kernels are {', '.join(map(repr, KERNELS))}.")
        if self.over not in ("basis", "class"):
            raise ValueError(f"prior.GaussianProcess(over={self.over!r}): it is 'basis' or 'class'.")
        if self.over == "basis" and (self.positions is not None or self.period is not None):
            raise ValueError("prior.GaussianProcess(positions=, period=) are of over='class'; a basis knows where its functions lie.")
        if self.over == "class" and self.period is None:
            raise ValueError("prior.GaussianProcess(over='class') needs period=, the length of the circle on which the classes lie (360 for degrees).")

    def resolve(self, place: Place) -> Self:
        if self.axes is not None:
            return self
        one = AbstractScaled.resolve(self, place)
        if self.over == "class":
            return one._over_classes(place)
        found = [_axis(part, place.name) for part in axes(place, "GaussianProcess")]
        self._check_lengths(len(found), place.name)
        factor = kron([modes for modes, *_ in found])
        shape = trailing(place) + ((1,) if place.several > 1 else ())
        return dataclasses.replace(
            one,
            factor=factor,
            modes=tuple(modes for modes, *_ in found),
            solves=tuple(fitted(modes) for modes, *_ in found),
            axes=tuple(own for _, own, _, _ in found),
            circles=tuple(circle for *_, circle, _ in found),
            lengths=tuple(length for *_, length in found),
            shape=shape,
        )

    def _over_classes(self, place: Place) -> Self:
        if place.several < 2:
            raise ValueError(
                f"prior.GaussianProcess(over='class') on {place.name!r}: the family has no classes; it is for family.Categorical with three or more."
            )
        self._check_lengths(1, place.name)
        classes, period = place.several + 1, float(self.period or 0.0)
        frequencies = aliases(circle_modes(classes)[1][1:], classes, period)
        return dataclasses.replace(
            self,
            modes=(np.eye(place.several),),
            solves=(np.eye(place.several),),
            axes=(frequencies,),
            circles=(True,),
            lengths=(period / 8,),
            shape=(place.several,),
        )

    def _check_lengths(self, number: int, name: str) -> None:
        if isinstance(self.lengthscale, tuple) and len(self.lengthscale) not in (1, number):
            raise ValueError(f"prior.GaussianProcess(lengthscale={self.lengthscale}) on {name!r}: the weights have {number} axis(es); give one an axis.")

    def rotation(self) -> np.ndarray | None:
        return self.factor

    def class_rotation(self, contrast: np.ndarray) -> np.ndarray | None:
        if self.over != "class":
            return None
        classes = contrast.shape[0]
        angles = np.arange(classes) / classes if self.positions is None else np.asarray(self.positions) / self.period % 1.0
        if len(angles) != classes or not np.allclose(np.diff(np.sort(angles)), 1 / classes, atol=1e-6):
            raise ValueError(
                f"prior.GaussianProcess(over='class', positions=, period={self.period}): {classes} classes want as many positions, equally spaced around "
                f"the circle; got {self.positions}."
            )
        return np.asarray(contrast).T @ circle_modes(classes, angles - angles[0])[0][:, 1:]

    def hyper(self, name: str) -> dict[str, tuple[Distribution, bool]]:
        law = scale_law(self.scale)
        sites = {} if law is None else {f"{name}_scale": (law, True)}
        if isinstance(self.lengthscale, tuple):
            return sites
        if self.axes is None:
            raise ValueError("prior.GaussianProcess is not resolved: where its functions lie is known on a model's data (model.resolve(data)).")
        number = len(self.lengths)
        middle = np.log(self.lengths)
        law = dist.LogNormal(middle if number > 1 else float(middle[0]), _SPREAD) if self.lengthscale is None else self.lengthscale
        if number > 1:
            law = law.expand((number,)).to_event(1)
        return sites | {f"{name}_lengthscale": (law, True)}

    def width(self, hyper: Hyper, mask: Any) -> Any:
        scale = from_left(jnp.asarray(hyper["scale"] if learned(self.scale) else self.scale), jnp.ndim(mask))
        spread = jnp.sqrt(self.spectrum(hyper))
        free = jnp.ndim(mask) - len(self.shape) - (spread.ndim - 1)
        spread = spread.reshape(spread.shape[:-1] + (1,) * free + self.shape)
        return jnp.where(mask, scale * spread * self.relative, 1.0)

    def spectrum(self, hyper: Hyper) -> Any:
        """Variances of the elements at scale one, (..., B), with mean one."""
        number = len(self.lengths)
        lengths = jnp.asarray(self.lengthscale if isinstance(self.lengthscale, tuple) else hyper["lengthscale"], float)
        if number == 1 and not isinstance(self.lengthscale, tuple):
            lengths = lengths[..., None]
        lengths = jnp.broadcast_to(lengths, lengths.shape[:-1] + (number,))
        out = jnp.ones((*lengths.shape[:-1], 1))
        parts = zip(self.axes or (), self.modes or (), self.solves or (), self.circles, strict=True)
        for a, (own, modes, solve, circle) in enumerate(parts):
            length = lengths[..., a, None, None]
            if circle:
                power = SPECTRA[self.kernel](jnp.asarray(own) * length).sum(-1)
            else:
                diagonal = jnp.einsum("ij,...ik,kj->...j", modes, KERNELS[self.kernel](jnp.asarray(own) / length), modes)
                power = diagonal @ jnp.asarray(solve).T
            power = jnp.maximum(power, _FLOOR * power.mean(-1, keepdims=True))
            power = power / power.mean(-1, keepdims=True)
            out = (out[..., :, None] * power[..., None, :]).reshape(*out.shape[:-1], -1)
        return out

    def describe(self) -> str:
        kind = "" if self.kernel == "squared_exponential" else f", {self.kernel}"
        return f"GaussianProcess({describe_scale(self.scale)}{kind}{', over classes' if self.over == 'class' else ''})"


def _axis(basis: AbstractBasis, name: str) -> tuple[np.ndarray, np.ndarray, bool, float]:
    """Modes (n, n), distances or frequencies, whether it is a circle, and the median of the default lengthscale."""
    waves, period = harmonics(basis), period_of(basis)
    if waves is not None:
        return np.eye(len(waves)), 2 * np.pi * waves[:, None] / float(period or 1.0), True, float(period or 1.0) / 8
    if period is not None:
        modes, waves = circle_modes(basis.n_basis)
        return modes, aliases(waves, basis.n_basis, period), True, period / 8
    x = centres(basis, "GaussianProcess", name)
    span = float(np.ptp(x))
    if len(x) < 2 or np.diff(np.sort(x)).min() <= 1e-6 * span:
        raise ValueError(
            f"prior.GaussianProcess on {name!r}: its {len(x)} function(s) do not lie apart, so that there is no distance between them. Use prior.Gaussian."
        )
    distance = np.abs(x[:, None] - x)
    return line_modes(distance), distance, False, span / 4
