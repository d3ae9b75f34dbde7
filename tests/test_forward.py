"""forward_selection(): by hand on made-up densities, its two rules, its refusals; planted terms are found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr
from scipy.stats import wilcoxon

import bayesglm as bg
from bayesglm._comparing._elpd import Elpd, Identity

BLOCKS = 30


def made(values, seed=0, **changes):
    """An estimate with densities (block, neuron)."""
    values = np.asarray(values, float)
    coords = {"block": np.arange(len(values)) * 5.0, "neuron": np.arange(values.shape[1])}
    array = xr.DataArray(values, coords, ["block", "neuron"])
    identity = Identity("spikes", 0.1, tuple(range(values.shape[1])), True, 300, 1, 2)
    record = Elpd("loo", array, array * 0, array * np.nan, 0.7, "block", "block", 5.0, "block=", np.arange(len(values)), 100, identity)
    return dataclasses.replace(record, **changes)


@pytest.fixture(scope="module")
def estimates():
    """Neuron 0 gains by a and then by b; neuron 1 by b alone, and a little by a; neuron 2 by nothing."""
    rng = np.random.default_rng(0)
    base = rng.normal(-50, 5, (BLOCKS, 3))
    gains = {"a": [3.0, 0.02, -0.2], "b": [1.0, 2.0, -0.1], "a + b": [4.5, 2.03, -0.4]}
    noise = rng.normal(0, 0.5, (3, BLOCKS, 3))
    return {"constant": made(base)} | {name: made(base + np.array(gain) + noise[i]) for i, (name, gain) in enumerate(gains.items())}


def test_terms_are_added_while_they_help(estimates):
    found = bg.forward_selection(estimates)
    assert found["model"].values.tolist() == ["a + b", "b", "constant"]
    assert found["included"].sel(variable="a").values.tolist() == [True, False, False]
    assert found["included"].sel(variable="b").values.tolist() == [True, True, False]
    gain = (estimates["a + b"].elpd_i - estimates["constant"].elpd_i).sel(neuron=0).sum()
    assert found["gain"].values[0] == pytest.approx(float(gain))
    assert found["gain"].values[2] == 0.0


def test_a_model_that_is_clearly_worse_is_not_included(estimates):
    """The largest of several losses is a loss."""
    worse = {"constant": estimates["constant"], "a": made(estimates["constant"].elpd_i.values - 3.0), "b": made(estimates["constant"].elpd_i.values - 2.0)}
    assert bg.forward_selection(worse)["model"].values.tolist() == ["constant"] * 3


def test_the_signed_rank_rule_is_wilcoxons(estimates):
    """A step of 30 small gains passes the paired test and not the verdict, which wants 4 nats."""
    small = dict(estimates)
    small["a + b"] = made(estimates["b"].elpd_i.values + np.abs(np.random.default_rng(1).normal(0.05, 0.02, (BLOCKS, 3))))
    difference = (small["a + b"].elpd_i - small["b"].elpd_i).sel(neuron=1).values
    assert wilcoxon(difference, alternative="greater").pvalue < 0.05
    assert 0 < difference.sum() < 4
    assert bg.forward_selection(small, rule="signed_rank")["model"].values[1] == "a + b"
    assert bg.forward_selection(small)["model"].values[1] == "b"


def test_steps_to_models_that_are_not_there_are_not_taken(estimates):
    fewer = {name: estimates[name] for name in ("constant", "b", "a")}
    assert bg.forward_selection(fewer)["model"].values.tolist() == ["a", "b", "constant"]


def test_the_order_of_a_names_terms_does_not_matter(estimates):
    turned = {("b + a" if name == "a + b" else name): record for name, record in estimates.items()}
    xr.testing.assert_equal(bg.forward_selection(turned)["gain"], bg.forward_selection(estimates)["gain"])


def test_bins_are_summed_over_blocks():
    """The paired test is over blocks: two of them, however many bins, are too few for a verdict, and say nothing else."""
    rng = np.random.default_rng(2)
    base = rng.normal(-1, 0.1, (400, 1))
    cluster = np.arange(400) // 200
    pair = {"constant": made(base, cluster=cluster), "a": made(base + rng.normal(0.1, 0.02, (400, 1)), cluster=cluster)}
    with pytest.raises(ValueError, match="2 blocks are too few for a verdict, 20 are wanted.*block="):
        bg.forward_selection(pair)
    assert bg.forward_selection(pair, rule="signed_rank")["model"].item() == "constant"  # of two differences p is 1/4 at best


def test_planted_terms_are_found():
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(2, 3000))
    rates = np.exp(-1.0 + np.stack([0 * x, 0.4 * x, 0.4 * z, 0.4 * x + 0.4 * z], 1))
    data = bg.recording(dt=0.1, spikes=rng.poisson(rates), x=x, z=z)
    one, other = (bg.Linear(column, bg.prior.Gaussian(1.0)) for column in ("x", "z"))
    terms = {"constant": bg.Baseline(), "x": bg.Baseline() + one, "z": bg.Baseline() + other, "x + z": bg.Baseline() + one + other}
    fits = bg.fit_all({name: bg.GLM(one) for name, one in terms.items()}, data, "map", progress=False)
    found = bg.forward_selection({name: bg.loo(fit, approx=True, block=10.0) for name, fit in fits.items()})
    assert found["model"].values.tolist() == ["constant", "x", "z", "x + z"]


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        (lambda e: e, {"start": "none"}, "start='none'.*there are"),
        (lambda e: e, {"rule": "aic"}, "rule='aic'.*'verdict', 'signed_rank'"),
        (lambda e: e | {"c": 3.0}, {}, "'c' is a float"),
        (lambda e: e | {"b + a": e["a + b"]}, {}, "have the same terms"),
        (lambda e: e | {"c": made(e["a"].elpd_i.values, unit="bin")}, {}, "'c' cannot be compared with 'constant'"),
    ],
)
def test_refusals(estimates, change, arguments, said):
    with pytest.raises(ValueError, match=said):
        bg.forward_selection(change(estimates), **arguments)
