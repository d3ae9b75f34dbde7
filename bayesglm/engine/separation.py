"""Is there a direction of the weights along which a likelihood never falls? Separation of binary responses and of counts."""

from __future__ import annotations

import numpy as np

_RANK = 1e-10  # relative eigenvalue below which a direction of the spiking rows is empty
_SLACK = 1e-6  # of a constraint; columns are scaled to a largest entry of one
_GAIN = 1e-5  # summed over rows: HiGHS solves to 1e-7 a row
_ROUNDS = 40
_FIRST = 200


def separable(columns: np.ndarray, fired: np.ndarray, counts: bool) -> bool | None:
    """Whether the responses of one neuron are (quasi-)separated by its columns.

    Binary responses are when some z has (2y - 1) x'z >= 0 in every row and > 0 in one; counts with a logarithmic link when
    x'z = 0 in every row with a spike and x'z <= 0, once < 0, in rows without. The likelihood then has no maximum.

    Parameters
    ----------
    columns : (row, P)
        The constant included where the model has one.
    fired : (row,) bool
        y > 0.
    counts : bool
        Whether responses are counts rather than 0 or 1.

    Returns
    -------
    bool or None
        None where the linear programs did not settle it.

    References
    ----------
    Albert & Anderson 1984; Konis 2007; Correia, Guimaraes & Zylkin 2019; Zhao & Iyengar 2010 (spike trains).

    Examples
    --------
    >>> x = np.column_stack([np.ones(4), [0.0, 1.0, 2.0, 3.0]])
    >>> separable(x, np.array([False, False, True, True]), False)
    True
    >>> separable(x, np.array([False, True, False, True]), False)
    False
    """
    largest = np.abs(columns).max(0, initial=0.0)
    x = columns[:, largest > 0] / largest[largest > 0]
    if not counts:
        return _recedes(np.where(fired[:, None], x, -x))
    free = _null(x[fired], x.shape[1])
    return False if free.shape[1] == 0 else _recedes(-x[~fired] @ free)


def _null(rows: np.ndarray, size: int) -> np.ndarray:
    """(P, d) basis of the directions that no row has a part in; a few rows suffice to see that there are none."""
    for some in (rows[:: max(1, len(rows) // (4 * size + 50))], rows):
        values, vectors = np.linalg.eigh(some.T @ some) if len(some) else (np.zeros(size), np.eye(size))
        free = vectors[:, values <= _RANK * max(float(values.max(initial=0.0)), 1e-300)]
        if free.shape[1] == 0:
            break
    return free


def _recedes(a: np.ndarray) -> bool | None:
    """Whether some z in the unit box has A z >= 0 and not = 0: linear programs on a growing set of rows.

    The objective is the sum over all rows, so that a program without gain settles it whatever rows it was given.
    """
    if not a.size:
        return False
    total = a.sum(0)
    kept = np.unique(np.linspace(0, len(a) - 1, min(len(a), _FIRST + 4 * a.shape[1])).astype(int))
    for _ in range(_ROUNDS):
        z = _program(total, a[kept])
        if z is None:
            return None
        if total @ z <= _GAIN:
            return False
        values = a @ z
        broken = np.flatnonzero(values < -_SLACK)
        if not broken.size:
            return True
        kept = np.union1d(kept, broken[np.argsort(values[broken])[: max(50, 4 * a.shape[1])]])
    return None


def _program(total: np.ndarray, a: np.ndarray) -> np.ndarray | None:
    from scipy.optimize import linprog

    found = linprog(-total, A_ub=-a, b_ub=np.zeros(len(a)), bounds=(-1.0, 1.0), method="highs")
    return found.x if found.status == 0 else None
