"""How a decoded target moves: transitions on its grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import numpy as np
from scipy.linalg import expm

_LOWEST, _HIGHEST, _SPEEDS, _TURNS = 1 / 30, 3.0, 9, 8  # of the training path's own speed: range, first points, refinements


def _checked_speed(speed: Any) -> Any:
    """``speed`` itself, or a ValueError."""
    if isinstance(speed, str) and speed == "auto":
        return speed
    numbers = np.atleast_1d(np.asarray(speed, float)) if not isinstance(speed, (str, bool)) else np.array([np.nan])
    if numbers.ndim != 1 or not 1 <= numbers.size <= 2 or not np.isfinite(numbers).all() or not (numbers > 0).all():
        raise ValueError(
            f"RandomWalk(speed={speed!r}) wants the sd of the target's displacement after one second, a positive number (or one a target), or 'auto'."
        )
    return float(numbers[0]) if numbers.size == 1 else tuple(numbers.tolist())


class RandomWalk(eqx.Module):
    """The target moves as a random walk: Var[s(t + u) - s(t)] = speed^2 u, around a circle, or between reflecting ends.

    On the grid it is the random walk in continuous time between neighbouring points with that variance, so that K(u) =
    exp(u A), K(u) K(v) = K(u + v), and the law that does not move is the uniform one. Two targets move independently.

    Parameters
    ----------
    speed : float, pair of floats or "auto"
        Standard deviation of the displacement after one second, in units of the target per sqrt(s) (on trial rows, after
        one trial). "auto": the speed under which the spikes of the training part are likeliest, at the posterior mean
        of the weights.

    Raises
    ------
    ValueError
        Where ``speed`` is no positive number.

    References
    ----------
    Brown, Frank, Tang, Quirk & Wilson 1998, A statistical paradigm for neural spike train decoding.

    Examples
    --------
    >>> import bayesglm as bg
    >>> bg.RandomWalk(speed=0.5)
    RandomWalk(speed=0.5)
    """

    speed: float | tuple[float, float] | Literal["auto"] = eqx.field(default="auto", static=True, converter=_checked_speed)

    def speeds(self, targets: int) -> tuple[float, ...]:
        """One speed a target."""
        speeds = self.speed if isinstance(self.speed, tuple) else (self.speed,) * targets
        if len(speeds) != targets:
            raise ValueError(f"RandomWalk(speed={self.speed!r}) has {len(speeds)} speeds, and {targets} target is decoded: give one number.")
        return speeds


def walk_matrix(axis: np.ndarray, widths: np.ndarray, period: float | None, sd: float) -> np.ndarray:
    """Transitions (point, point) of a random walk of standard deviation ``sd`` on one axis of a grid.

    Parameters
    ----------
    axis : (point,)
    widths : (point,)
        Of the points' cells.
    period : float or None
        Length of the circle; None: a line with reflecting ends.
    sd : float
    """
    n = len(axis)
    ahead = np.diff(np.r_[axis, axis[0] + period]) if period is not None else np.diff(axis)
    at = np.arange(len(ahead))
    nearby = (at + 1) % n
    generator = np.zeros((n, n))
    np.add.at(generator, (at, nearby), 0.5 * sd**2 / (widths[at] * ahead))
    np.add.at(generator, (nearby, at), 0.5 * sd**2 / (widths[nearby] * ahead))
    generator -= np.diag(generator.sum(1))
    found = np.maximum(expm(generator), 0.0)
    return found / found.sum(1, keepdims=True)


def path_speed(path: np.ndarray, starts: np.ndarray, period: float | None, seconds: float) -> float:
    """Root of the mean squared step of a path (window,), per sqrt(s); steps across epochs are left out."""
    steps = np.diff(path)
    if period is not None:
        steps = (steps + period / 2) % period - period / 2
    steps = steps[~starts[1:] & np.isfinite(steps)]
    if not steps.size or not (steps != 0).any():
        raise ValueError("RandomWalk(speed='auto'): the target does not move in the training part; give its speed as a number.")
    return float(np.sqrt(np.mean(steps**2) / seconds))


def likeliest_factor(evidence: Callable[[float], float]) -> float:
    """The factor of the training path's speed of the largest evidence: on a grid of logarithms, then by parabolas."""
    logs = np.linspace(np.log(_LOWEST), np.log(_HIGHEST), _SPEEDS)
    values = np.array([evidence(float(np.exp(x))) for x in logs])
    best = int(values.argmax())
    if best in (0, _SPEEDS - 1):
        return float(np.exp(logs[best]))
    from scipy.optimize import minimize_scalar

    bracket = tuple(logs[best - 1 : best + 2])
    found = minimize_scalar(lambda x: -evidence(float(np.exp(x))), bracket=bracket, options={"maxiter": _TURNS}, tol=0.02)
    return float(np.exp(np.clip(found.x, logs[0], logs[-1])))
