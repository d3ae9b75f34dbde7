"""A simulated twin of navigating animals' recordings: cells of known class, behaviour that is slow, and what no model knows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.signal import lfilter

from bayesglm._data import angle, recording
from bayesglm._twins import _about, _positive

VARIABLES = ("position", "heading", "speed", "theta")
_BOX = 100.0  # cm
_SPEED, _TURN = 25.0, 0.6  # cm/s a coordinate, and s that a velocity lasts
_WALL, _SLOW = 20.0, 0.6  # within so many cm of a wall the animal loses up to this share of its speed
_THETA, _WOBBLE = 8.0, 0.8  # Hz, and the sd of its frequency, which lasts 1 s
_FASTEST = 80.0  # cm/s: faster is as fast, for the cells


class _Walk(NamedTuple):
    """Behaviour, (row,) each."""

    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    speed: np.ndarray
    theta: np.ndarray


def navigation_twin(
    seconds: float = 1800.0, cells: int = 64, *, dt: float = 0.025, hidden: float = 0.0, memory: float = 3.0, useless: int = 0, seed: int = 0
) -> xr.Dataset:
    """A twin of cells recorded in an open field, each tuned to a known subset of position, heading, speed and theta phase.

    Counts are Poisson with log rate b_n + sum_v c_nv f_nv(v_t) + hidden z_nt. Cell n has the class n mod 16, whose binary
    digits are c_n (1: position, 2: heading, 4: speed, 8: theta). f is a place field of a bump, a bump around a preferred heading, a
    slope in speed, a cosine of theta phase; z is an Ornstein-Uhlenbeck process of a cell's own, of unit variance and correlation time
    ``memory``: what the cell follows and nobody recorded. The animal is slow near the walls, so that speed and position
    go together.

    Parameters
    ----------
    seconds : float
    cells : int
    dt : float
        Bin width in s.
    hidden : float
        Standard deviation of the unrecorded log-gain.
    memory : float
        Its correlation time in s, and that of the useless columns.
    useless : int
        Columns of unit variance that no cell follows.
    seed : int
        Of the behaviour and of the cells; a cell does not depend on how many cells there are.

    Returns
    -------
    xarray.Dataset
        Time rows: ``spikes (time, neuron)``, ``x``, ``y`` (cm, 0 to 100), ``heading`` and ``theta`` (rad), ``speed`` (cm/s),
        ``useless (time, useless_feature)`` where there are any; the truth as ``tuned (variable, neuron)``, bool;
        ``attrs["generator"]``, the arguments as JSON text.

    Raises
    ------
    ValueError
        Sizes that are not positive, a negative ``hidden`` or ``useless``.

    References
    ----------
    Hardcastle, Maheswaranathan, Ganguli & Giocomo 2017, A multiplexed, heterogeneous, and adaptive code for navigation in
    medial entorhinal cortex (the recordings that it is a twin of).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.navigation_twin(20.0, 5)
    >>> data["tuned"].sel(variable="heading").values.tolist()
    [False, False, True, True, False]
    """
    _positive("navigation_twin", seconds=seconds, cells=cells, dt=dt, memory=memory)
    for name, value in {"hidden": hidden, "useless": useless}.items():
        if not value >= 0:
            raise ValueError(f"navigation_twin({name}={value!r}): 0 or more is wanted.")
    rows = round(seconds / dt)
    rng = np.random.default_rng([seed, 12])
    walk = _walk(rng, rows, dt)
    spikes = np.stack([_spikes(np.random.default_rng([seed, 12, n]), walk, _classes(n), dt, hidden, memory) for n in range(cells)], 1)
    columns = {"x": walk.x, "y": walk.y, "heading": angle(walk.heading), "speed": walk.speed, "theta": angle(walk.theta)}
    columns |= {"useless": slow(rng, rows, useless, memory / dt)} if useless else {}
    data = recording(dt=dt, spikes=spikes, **columns)
    for name, unit in {"x": "cm", "y": "cm", "heading": "rad", "speed": "cm/s", "theta": "rad"}.items():
        data[name].attrs["units"] = unit
    tuned = np.array([_classes(n) for n in range(cells)]).T
    generator = dict(seconds=seconds, cells=cells, dt=dt, hidden=hidden, memory=memory, useless=useless, seed=seed)
    return data.assign(tuned=(("variable", "neuron"), tuned), variable=list(VARIABLES)).assign_attrs(**_about("navigation_twin", generator))


def slow(rng: np.random.Generator, rows: int, columns: int, memory: float) -> np.ndarray:
    """Ornstein-Uhlenbeck series (row, column) of unit variance and a correlation time of ``memory`` rows, in their stationary state."""
    keep = np.exp(-1.0 / memory)
    noise = rng.normal(size=(rows, columns)) * np.sqrt(1 - keep**2)
    noise[0] = rng.normal(size=columns)
    return lfilter([1.0], [1.0, -keep], noise, axis=0)


def _classes(cell: int) -> list[bool]:
    """Which variables a cell follows: the binary digits of its class."""
    return [bool(cell % 16 >> digit & 1) for digit in range(len(VARIABLES))]


def _walk(rng: np.random.Generator, rows: int, dt: float) -> _Walk:
    """An animal that keeps its velocity for a while, is turned back by walls and slow beside them."""
    velocity = _SPEED * slow(rng, rows, 2, _TURN / dt)
    place, sign = rng.uniform(0, _BOX, 2).tolist(), [1.0, 1.0]
    path, moved = np.empty((rows, 2)), np.empty((rows, 2))
    for row, pair in enumerate(velocity.tolist()):
        room = min(place[0], place[1], _BOX - place[0], _BOX - place[1])
        pace = 1.0 - _SLOW * max(0.0, 1.0 - room / _WALL)
        for axis in (0, 1):
            step = sign[axis] * pace * pair[axis]
            place[axis] += step * dt
            if not 0.0 <= place[axis] <= _BOX:
                mirrored = -place[axis] if place[axis] < 0 else 2 * _BOX - place[axis]
                place[axis] = min(max(mirrored, 0.0), _BOX)
                sign[axis], step = -sign[axis], -step
            moved[row, axis] = step
        path[row] = place
    phase = 2 * np.pi * dt * np.cumsum(_THETA + _WOBBLE * slow(rng, rows, 1, 1.0 / dt)[:, 0])
    heading = np.arctan2(moved[:, 1], moved[:, 0]) + 0.3 * slow(rng, rows, 1, 0.5 / dt)[:, 0]
    turn = 2 * np.pi
    return _Walk(path[:, 0], path[:, 1], heading % turn, np.hypot(*moved.T), phase % turn)


def _spikes(rng: np.random.Generator, walk: _Walk, follows: list[bool], dt: float, hidden: float, memory: float) -> np.ndarray:
    """Counts (row,) of one cell; all its tuning is drawn, whatever it follows, so that classes differ in nothing else."""
    centre, width = rng.uniform(10, _BOX - 10, 2), rng.uniform(12, 20)
    field = rng.uniform(1.2, 2.2) * np.exp(-((walk.x - centre[0]) ** 2 + (walk.y - centre[1]) ** 2) / (2 * width**2))
    direction = rng.uniform(0.8, 1.6) * np.exp(rng.uniform(1.0, 3.0) * (np.cos(walk.heading - rng.uniform(0, 2 * np.pi)) - 1.0))
    pace = rng.uniform(0.5, 1.2) * rng.choice([-1.0, 1.0]) * np.minimum(walk.speed, _FASTEST) / _FASTEST * 2.0
    rhythm = rng.uniform(0.2, 0.7) * np.cos(walk.theta - rng.uniform(0, 2 * np.pi))
    eta = np.stack([field, direction, pace, rhythm], 1) @ np.array(follows, float)
    mean = rng.uniform(3.0, 10.0)  # spikes/s
    log_rate = eta + hidden * slow(rng, len(eta), 1, memory / dt)[:, 0]
    return rng.poisson(mean * dt * np.exp(log_rate) / np.exp(log_rate).mean())
