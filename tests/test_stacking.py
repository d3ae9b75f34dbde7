"""Stacking weights: the optimum's conditions, closed forms, and ArviZ's own."""

from __future__ import annotations

import arviz_base
import arviz_stats
import numpy as np
import pytest
from scipy import stats

from bayesglm._comparing._stacking import stacking_weights

EXACT = 1e-6


def score(log_density, w):
    return np.mean(np.log(np.exp(log_density) @ w))


def test_two_models_by_their_closed_form():
    """Each unit is foretold by one model only: the weights are the shares of units."""
    log_density = np.log([[0.5, 1e-12]] * 3 + [[1e-12, 0.2]])
    np.testing.assert_allclose(stacking_weights(log_density), [0.75, 0.25], atol=EXACT)


def test_a_model_that_is_always_worse_gets_nothing():
    better = np.random.default_rng(0).normal(size=200)
    np.testing.assert_allclose(stacking_weights(np.stack([better, better - 0.1, better - 3], 1)), [1, 0, 0], atol=EXACT)


@pytest.mark.parametrize("seed", range(3))
def test_the_optimums_conditions(seed):
    """Where the weight is not zero the mean ratio of the model's density to the mixture's is one; elsewhere it is less."""
    rng = np.random.default_rng(seed)
    log_density = rng.normal(size=(300, 4)) * [1.0, 1.5, 0.5, 1.0] + [0.0, -0.3, -0.1, -2.0]
    w = stacking_weights(log_density)
    assert w.sum() == pytest.approx(1.0)
    assert w.min() >= 0
    density = np.exp(log_density)
    ratio = (density / (density @ w)[:, None]).mean(0)
    np.testing.assert_allclose(ratio[w > EXACT], 1.0, atol=1e-4)
    assert ratio.max() < 1 + 1e-4


def test_the_mixture_beats_every_model_and_finds_the_truth():
    rng = np.random.default_rng(0)
    y = np.where(rng.random(4000) < 0.3, rng.normal(-2, 1, 4000), rng.normal(2, 1, 4000))
    log_density = np.stack([stats.norm.logpdf(y, -2, 1), stats.norm.logpdf(y, 2, 1)], 1)
    w = stacking_weights(log_density)
    assert w[0] == pytest.approx(0.3, abs=0.03)
    assert all(score(log_density, w) > score(log_density, one) for one in np.eye(2))


def test_far_apart_and_without_a_density():
    far = np.array([[-1000.0, -2000.0], [-3000.0, -1500.0], [np.nan, -1.0]])
    np.testing.assert_allclose(stacking_weights(far), [0.5, 0.5], atol=EXACT)
    with pytest.raises(ValueError, match="under every model"):
        stacking_weights(far[2:])


def test_it_is_arvizs():
    rng = np.random.default_rng(1)
    y = rng.standard_t(3, size=80)
    laws = {"narrow": 0.8, "wide": 2.0}
    trees, columns = {}, []
    for name, scale in laws.items():
        means = rng.normal(0, 0.1, size=(2, 300))
        log_lik = stats.norm.logpdf(y, means[..., None], scale)
        trees[name] = arviz_base.from_dict({"posterior": {"mean": means}, "log_likelihood": {"y": log_lik}})
        columns.append(arviz_stats.loo(trees[name], pointwise=True).elpd_i.values)
    theirs = arviz_stats.compare(trees, method="stacking")["weight"]
    np.testing.assert_allclose(stacking_weights(np.stack(columns, 1)), [theirs[name] for name in laws], atol=1e-3)
