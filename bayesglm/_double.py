"""Double precision as a context, never a change of the user's global setting."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import jax


@contextlib.contextmanager
def double() -> Iterator[None]:
    """Context in which JAX computes in float64; what is asked for in float32 is not rounded further (to TF32, on NVIDIA cards)."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


def in_double[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run a whole function in double precision: every verb, task, thread and callback enters it itself."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with double():
            return function(*args, **kwargs)

    return wrapped
