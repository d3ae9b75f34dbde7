"""Double precision as a context, never a change of the user's global setting."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax


def double() -> Any:
    """Context in which JAX computes in float64."""
    return jax.enable_x64(True)


def in_double[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run a whole function in double precision: every verb, task, thread and callback enters it itself."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with double():
            return function(*args, **kwargs)

    return wrapped
