"""R-hat, effective sample sizes, Monte Carlo errors and E-BFMI against ArviZ, and what they say of odd draws."""

import time
import warnings

import numpy as np
import pytest
from arviz_stats.base import array_stats

from bayesglm.engine import diagnostics
from bayesglm.engine.diagnostics import ebfmi, ess, mcse, rhat

RELATIVE = 1e-8
ORACLES = {
    "rhat": (rhat, array_stats.rhat),
    "bulk": (lambda draws: ess(draws, "bulk"), lambda draws: array_stats.ess(draws, method="bulk")),
    "tail": (lambda draws: ess(draws, "tail"), lambda draws: array_stats.ess(draws, method="tail", prob=(0.05, 0.95))),
    "mean": (lambda draws: ess(draws, "mean"), lambda draws: array_stats.ess(draws, method="mean")),
    "mcse": (mcse, array_stats.mcse),
}


def autoregressive(n_chains: int, n_draws: int, n_quantities: int = 24, seed: int = 0) -> np.ndarray:
    """(chain, draw, quantity), from antithetic to hardly moving; the last eight rounded, so that they have ties."""
    rng = np.random.default_rng(seed)
    draws = rng.normal(size=(n_chains, n_draws, n_quantities))
    memory = np.linspace(-0.95, 0.99, n_quantities)
    for t in range(1, n_draws):
        draws[:, t] = memory * draws[:, t - 1] + np.sqrt(1 - memory**2) * draws[:, t]
    draws[..., -8:] = draws[..., -8:].round()
    return draws


def oracle(function, draws):
    """ArviZ wants (quantity, chain, draw), and warns of 0 / 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(np.moveaxis(draws, 2, 0))


@pytest.mark.parametrize("figure", ORACLES)
@pytest.mark.parametrize("n_chains", [1, 2, 4])
@pytest.mark.parametrize("n_draws", [3, 4, 5, 6, 7, 8, 9, 50, 501])
def test_agrees_with_arviz(figure, n_chains, n_draws):
    ours, theirs = ORACLES[figure]
    draws = autoregressive(n_chains, n_draws, seed=n_draws)
    np.testing.assert_allclose(ours(draws), oracle(theirs, draws), rtol=RELATIVE)


@pytest.mark.parametrize("figure", ORACLES)
def test_agrees_with_arviz_on_odd_draws(figure):
    ours, theirs = ORACLES[figure]
    draws = np.random.default_rng(3).standard_cauchy(size=(4, 200, 7))
    draws[..., 1] = 2.5
    draws[..., 2] = np.arange(4)[:, None]
    draws[..., 3] = np.random.default_rng(4).integers(0, 2, size=(4, 200)) * 2 - 1
    draws[1, 7, 4] = np.nan
    draws[..., 5] *= 1e-9
    draws[..., 6] += 3.0 * np.arange(4)[:, None]
    np.testing.assert_allclose(ours(draws), oracle(theirs, draws), rtol=RELATIVE)


def test_ebfmi_agrees_with_arviz():
    energy = autoregressive(3, 100)
    np.testing.assert_allclose(ebfmi(energy), oracle(array_stats.bfmi, energy).T, rtol=RELATIVE)
    assert ebfmi(energy[..., 0]).shape == (3,)
    assert np.isnan(ebfmi(np.ones((2, 10)))).all()
    assert ebfmi(np.zeros((2, 0, 5))).shape == (2, 5)


def test_constant_draws():
    draws = np.full((4, 101, 2), 3.0)
    assert np.isnan(rhat(draws)).all()
    for kind in ("bulk", "tail", "mean"):
        np.testing.assert_array_equal(ess(draws, kind), 400)  # the odd draw of each chain is not counted
    np.testing.assert_array_equal(mcse(draws), 0)


def test_chains_that_stand_still_apart():
    assert rhat(np.repeat(np.arange(4.0)[:, None], 50, axis=1)) == np.inf


def test_folded_rhat_sees_unequal_scales():
    draws = np.random.default_rng(0).normal(size=(4, 1000)) * np.array([1, 1, 1, 3])[:, None]
    assert rhat(draws) > 1.05


def test_autoregressive_truth():
    memory = 0.8
    draws = np.random.default_rng(1).normal(size=(4, 5000, 20)) * np.sqrt(1 - memory**2)
    for t in range(1, 5000):
        draws[:, t] += memory * draws[:, t - 1]
    expected = 4 * 5000 * (1 - memory) / (1 + memory)
    assert abs(ess(draws, "mean").mean() / expected - 1) < 0.05


@pytest.mark.parametrize("figure", [rhat, ess, mcse])
def test_shapes(figure):
    draws = np.random.default_rng(0).normal(size=(2, 20, 3, 4)).astype(np.float32)
    flat = figure(draws.reshape(2, 20, 12))
    np.testing.assert_array_equal(figure(draws), flat.reshape(3, 4))
    np.testing.assert_array_equal(figure(draws[:, :, 0, 0]), flat[0])
    assert figure(draws[:, :, :0]).shape == (0, 4)
    assert figure(draws[:, :0]).shape == (3, 4)
    with pytest.raises(ValueError, match=r"\(chain, draw"):
        figure(draws[0, :, 0, 0])


def test_chunks_do_not_matter(monkeypatch):
    draws = autoregressive(2, 30)
    whole = [figure(draws) for figure, _ in ORACLES.values()]
    monkeypatch.setattr(diagnostics, "CHUNK", 200)
    for (figure, _), expected in zip(ORACLES.values(), whole, strict=True):
        np.testing.assert_allclose(figure(draws), expected, rtol=1e-12)


def test_unknown_kind():
    with pytest.raises(ValueError, match="'bulk', 'tail', 'mean'"):
        ess(np.zeros((2, 10)), "median")


def test_fast_enough_for_a_coupled_fit():
    draws = np.random.default_rng(0).normal(size=(4, 1000, 340))
    start = time.process_time()
    rhat(draws), ess(draws, "bulk"), ess(draws, "tail")
    assert time.process_time() - start < 2  # a tenth of the real thing; about a quarter of a second
