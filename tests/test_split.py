"""Laplace-split HMC as a NumPyro kernel, and what an interruption keeps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC

from bayesglm._double import double
from bayesglm.engine.diagnostics import ess, mcse
from bayesglm.method._loop import in_blocks
from bayesglm.method._split import LaplaceSplitHMC, split_start, split_step


def skewed(z):
    """A posterior near a standard normal: a normal times a logistic curve of one coordinate."""
    return 0.5 * z @ z + jax.nn.softplus(-3.0 * z[0])


def test_numpyro_runs_the_kernel_and_its_draws_are_right():
    """Skew-normal-like: the mean and variance of z0 by quadrature, z1 standard normal."""
    grid = np.linspace(-8, 8, 4001)
    density = np.exp(-0.5 * grid**2) / (1 + np.exp(-3 * grid))
    density /= density.sum()
    mean = (grid * density).sum()
    with double():
        mcmc = MCMC(LaplaceSplitHMC(skewed, kicks=2), num_warmup=50, num_samples=4000, progress_bar=False)
        mcmc.run(jax.random.key(1), init_params=jnp.zeros(2))
        draws = np.asarray(mcmc.get_samples(group_by_chain=True))
    assert (ess(draws) > 1000).all()
    error = mcse(draws)
    assert abs(draws[..., 0].mean() - mean) < 4 * error[0]
    assert abs(draws[..., 1].mean()) < 4 * error[1]
    variance = ((grid - mean) ** 2 * density).sum()
    np.testing.assert_allclose(draws[..., 0].var(), variance, rtol=0.1)


def test_an_exact_gaussian_is_always_accepted():
    """The rotation is exact: without a rest the energy is conserved to rounding."""
    with double():
        mcmc = MCMC(LaplaceSplitHMC(lambda z: 0.5 * z @ z), num_warmup=0, num_samples=50, progress_bar=False)
        mcmc.run(jax.random.key(0), init_params=jnp.ones(3), extra_fields=("accept_prob",))
        assert float(mcmc.get_extra_fields()["accept_prob"].min()) > 1 - 1e-10


def test_an_interruption_keeps_the_draws_so_far():
    """Ctrl-C after the warm-up keeps whole blocks; before it there is nothing to keep."""

    def advance(state, n):
        if state >= 40:
            raise KeyboardInterrupt
        seen = {"z": np.full((50, 1, 2, 3), float(state)), "diverging": np.zeros((50, 1, 2), bool)}
        return state + int(n), seen

    quiet = lambda done, total, state, fresh: False  # noqa: E731
    found = in_blocks(advance, 0, 10, 1000, quiet, lambda seen, warming: "")
    assert found.interrupted
    assert found.z.shape[1:] == (1, 2, 3)
    assert 0 < len(found.z) < 1000
    with pytest.raises(KeyboardInterrupt):
        in_blocks(advance, 0, 500, 10, quiet, lambda seen, warming: "")


def test_a_monitor_can_stop():
    seen = {"z": np.zeros((50, 1, 2, 3))}
    stop = lambda done, total, state, fresh: done >= 20  # noqa: E731
    found = in_blocks(lambda state, n: (state, seen), 0, 5, 1000, stop, lambda seen, warming: "")
    assert found.interrupted
    assert 15 <= len(found.z) < 1000


def test_a_start_needs_no_density_and_is_left_at_once():
    """Its types are those of every later state, or the program of a transition is compiled twice; the first move is accepted."""
    with double():
        start = split_start(jnp.asarray(np.full(3, 9.0)), jax.random.key(0))
        moved = split_step(lambda z: 0.1 * jnp.sum(z**4), start, jnp.asarray(1), jnp.pi / 2)
        types = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)), state) for state in (start, moved)]
        assert types[0] == types[1]
        assert moved.accept_prob == 1.0 and not moved.diverging
        assert bool(jnp.all(moved.z != start.z)) and jnp.isfinite(moved.potential) and jnp.isfinite(moved.energy)
