"""The threads of the linear algebra library while a method runs."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from bayesglm.method._base import Draws, Monitor, Problem

_SMALL = 1000  # weights of a neuron up to which a factorisation is too short to be shared


def one_thread(run: Callable[[Any, Problem, Any, Monitor], Draws]) -> Callable[[Any, Problem, Any, Monitor], Draws]:
    """A method's ``run``, with a single thread of linear algebra where matrices are small.

    After a call the library's threads spin for milliseconds, waiting for another. A sampler that factors a small matrix at
    every step never lets them sleep, and they keep a core from the passes over the data, which have threads of their own.
    """

    @functools.wraps(run)
    def alone(self: Any, problem: Problem, key: Any, monitor: Monitor) -> Draws:
        small = problem.linear is not None and problem.linear.dim <= _SMALL
        with _limited() if small else contextlib.nullcontext():
            return run(self, problem, key, monitor)

    return alone


class _Fits:
    """Methods that run now, in any thread: the first of them takes the libraries' threads, the last gives them back."""

    lock, count, limit = threading.Lock(), 0, contextlib.ExitStack()


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    with _Fits.lock:
        if not _Fits.count:
            _Fits.limit.enter_context(_libraries().limit(limits=1, user_api="blas"))
        _Fits.count += 1
    try:
        yield
    finally:
        with _Fits.lock:
            _Fits.count -= 1
            if not _Fits.count:
                _Fits.limit.close()


@functools.cache
def _libraries() -> Any:
    """The linear algebra libraries of this process: NumPy's, and SciPy's, which JAX calls."""
    import scipy.linalg  # noqa: F401  loads its own
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
