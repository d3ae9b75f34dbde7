"""While a method runs on small matrices the linear algebra libraries have one thread; before and after, as many as they had."""

from __future__ import annotations

import jax
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from bayesglm import _fit as fits
from bayesglm import method
from bayesglm._double import double
from bayesglm.method import _threads

METHODS = {
    "map": method.MAP(),
    "laplace": method.Laplace(num_samples=20),
    "nuts": method.NUTS(num_samples=5, num_chains=2, num_warmup=20),
    "hmc": method.HMC(num_samples=5, num_chains=2, num_warmup=5),
}


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def seen_by_the_monitor(how, model, data, monitor=lambda: None):
    """The numbers of threads at each report of progress of a fit that begins with two."""
    found = set()
    resolved = model.resolve(data)
    with double(), threadpool_limits(2, user_api="blas"):
        try:
            fits.drawn(resolved, resolved.design(data), how, jax.random.key(0), lambda *at: bool(found.update(threads()) or monitor()))
        finally:
            assert threads() == {2}
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_one_thread_of_linear_algebra(name, model_small, recording_small):
    assert seen_by_the_monitor(METHODS[name], model_small, recording_small) == {1}


def test_where_matrices_are_large_they_are_factored_by_all(model_small, recording_small, monkeypatch):
    monkeypatch.setattr(_threads, "_SMALL", 5)
    assert seen_by_the_monitor(METHODS["map"], model_small, recording_small) == {2}


def test_fits_at_the_same_time_give_the_threads_back_once():
    """The one that ends first does not take them from the other, and the last one leaves none behind."""
    with threadpool_limits(2, user_api="blas"):
        first, second = _threads._limited(), _threads._limited()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {2}


def test_the_threads_come_back_when_a_fit_is_stopped(model_small, recording_small):
    def stop():
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        seen_by_the_monitor(METHODS["laplace"], model_small, recording_small, stop)
