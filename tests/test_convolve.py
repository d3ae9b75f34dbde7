"""Convolution against a slow loop: epochs, chunks, lags ahead, NaN."""

from __future__ import annotations

import numpy as np
import pytest

from bayesglm import _convolve
from bayesglm._convolve import convolve, reach, touched

EPOCHS = np.repeat([0, 1, 2, 3], [7, 1, 12, 5])
ROWS = EPOCHS.size


def slow(signal: np.ndarray, kernels: np.ndarray, epochs: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """out[t, ..., b] = sum_l k[l, b] x[t - first - l, ...] within the epoch; and whether the whole window was."""
    out = np.zeros((*signal.shape, kernels.shape[1]))
    whole = np.ones(len(signal), bool)
    for t in range(len(signal)):
        for lag, kernel in enumerate(kernels):
            at = t - first - lag
            if 0 <= at < len(signal) and epochs[at] == epochs[t]:
                out[t] += np.nan_to_num(signal[at])[..., None] * kernel
            else:
                whole[t] = False
    return out, whole


@pytest.mark.parametrize("first", [-30, -6, -2, 0, 1, 4, 30])
@pytest.mark.parametrize("n_lags", [1, 3, 9, 40])
@pytest.mark.parametrize("chunk", [1, 60, 4_000_000])
def test_equals_the_slow_loop(first: int, n_lags: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_convolve, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    signal, kernels = rng.normal(size=(ROWS, 2)), rng.normal(size=(n_lags, 3))
    wanted, whole = slow(signal, kernels, EPOCHS, first)
    np.testing.assert_allclose(convolve(signal, kernels, EPOCHS, first), wanted, atol=1e-12)
    np.testing.assert_array_equal(reach(EPOCHS, first, n_lags), whole)


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 1), (ROWS, 2, 3)])
def test_shapes(shape: tuple[int, ...]) -> None:
    signal = np.random.default_rng(1).integers(0, 250, shape).astype(np.uint8)
    kernels = np.random.default_rng(2).normal(size=(4, 2))
    out = convolve(signal, kernels, EPOCHS, 1)
    assert out.shape == (*shape, 2)
    np.testing.assert_allclose(out, slow(signal.astype(float), kernels, EPOCHS, 1)[0], atol=1e-10)


@pytest.mark.parametrize("first", [-2, 0, 1])
def test_nan_counts_as_zero_and_is_touched(first: int) -> None:
    signal = np.random.default_rng(3).normal(size=(ROWS, 2))
    signal[[3, 9, 24], [0, 1, 0]] = np.nan
    kernels = np.random.default_rng(4).normal(size=(3, 2))
    np.testing.assert_allclose(convolve(signal, kernels, EPOCHS, first), slow(signal, kernels, EPOCHS, first)[0], atol=1e-12)
    reads = slow(np.isnan(signal).astype(float), np.ones((3, 1)), EPOCHS, first)[0][..., 0] > 0
    np.testing.assert_array_equal(touched(np.isnan(signal), EPOCHS, first, 3), reads)
    assert not touched(np.zeros((ROWS, 2), bool), EPOCHS, first, 3).any()


def test_the_signal_is_left_as_it_was() -> None:
    signal = np.random.default_rng(5).normal(size=ROWS)
    signal[4] = np.nan
    kept = signal.copy()
    convolve(signal, np.ones((3, 1)), EPOCHS, 0)
    np.testing.assert_array_equal(signal, kept)


def test_a_long_signal_in_chunks() -> None:
    """Against NumPy's convolution, one epoch."""
    rng = np.random.default_rng(6)
    signal, kernel = rng.normal(size=50_000), rng.normal(size=100)
    out = convolve(signal, kernel[:, None], np.zeros(signal.size, int), 1)[:, 0]
    np.testing.assert_allclose(out[1:], np.convolve(signal, kernel)[: signal.size - 1], atol=1e-10)
    assert out[0] == 0.0
