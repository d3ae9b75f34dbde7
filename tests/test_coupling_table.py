"""bg.coupling_table: signs and numbers of a planted network, honest false discoveries, and couplings that the model's other terms explain."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import norm
from synthetic import made_up

import bayesglm as bg
from bayesglm import basis, prior

ROWS = 4000
KERNEL = basis.Lags(span=0.01)
NAMES = ["a", "b", "c", "d"]
PLANTED = np.zeros((4, 4))
PLANTED[1, 0], PLANTED[2, 1], PLANTED[0, 3] = 0.6, -0.8, 0.6
WRONG = 3.0  # posterior sds within which a planted number lies


def quietly(model, data, how="laplace"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bg.fit(model, data, how, progress=False)


def network(weights: np.ndarray, drive: np.ndarray, seed: int = 0, **columns):
    """Cells that fire by a common drive (row,) and by one another's last bin."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros((len(drive), len(weights)), int)
    for t in range(1, len(drive)):
        spikes[t] = rng.poisson(np.exp(-1.3 + drive[t] + weights @ spikes[t - 1]))
    return bg.recording(dt=0.01, spikes=spikes, labels={"neuron": NAMES[: len(weights)]}, **columns)


COUPLED = bg.GLM(bg.Baseline() + bg.Coupling(KERNEL))


@pytest.fixture(scope="module")
def fit():
    return quietly(COUPLED, network(PLANTED, np.zeros(ROWS)))


@pytest.fixture(scope="module")
def found(fit):
    return bg.coupling_table(fit, progress=False)


def test_signs_and_sizes_of_a_planted_network(found):
    there = PLANTED != 0
    assert (np.sign(found["net"].values[there]) == np.sign(PLANTED[there])).all() and found["reported"].values[there].all()
    assert (found["p_sign"].values[there] > 0.99).all()
    off = ~np.eye(4, dtype=bool)
    assert (np.abs(found["net"].values - PLANTED)[off] < WRONG * found["sd"].values[off]).all()
    np.testing.assert_allclose(found["peak"].values[off], found["net"].values[off])
    assert (found["peak_lag"].values[off] == 0.01).all()
    assert (found["contraction"].values[off] > 0.5).all()


def test_own_cells_are_left_out(found):
    for name, values in found.table.data_vars.items():
        own = np.diagonal(values.transpose("neuron", "source").values)
        assert not own.any() if name == "reported" else np.isnan(own).all(), name
    frame = found.to_pandas()
    assert len(frame) == 12 and set(frame.index[:3]) == {("b", "a"), ("c", "b"), ("a", "d")}


def test_expected_false_discoveries_are_those_of_what_is_reported(fit, found):
    reported = found["reported"].values
    assert found.attrs["expected_false"] == pytest.approx((1 - found["p_sign"].values)[reported].sum())
    assert found.attrs["reported"] == reported.sum()
    wide = bg.coupling_table(fit, rope=0.3, refit=False)
    outside = wide["p_outside_rope"].values
    draws = bg.filters(fit, "coupling").squeeze("lag").values.reshape(-1, 4, 4)
    assert outside[1, 0] == pytest.approx((draws[:, 1, 0] > 0.3).mean())
    np.testing.assert_array_equal(wide["reported"].values, np.nan_to_num(outside) >= 0.9)
    assert wide.attrs["expected_false"] == pytest.approx((1 - outside)[wide["reported"].values].sum())
    assert bg.coupling_table(fit, rope=(-0.3, 0.3), refit=False).table.identical(wide.table)


def test_as_many_are_false_as_expected():
    """Two hundred couplings whose truth is drawn from their own posterior: of the signs reported about Sum(1 - P) are wrong."""
    rng = np.random.default_rng(1)
    receivers, sources, sd = 40, 5, 0.1
    middle = 0.1 * rng.normal(size=(receivers, sources))
    truth = middle + sd * rng.normal(size=middle.shape)
    names = tuple(range(sources))
    model = bg.GLM(bg.Baseline() + bg.Coupling(KERNEL, prior.Gaussian(0.15), sources=names), neurons=tuple(range(sources, sources + receivers)))
    data = bg.recording(dt=0.01, spikes=rng.poisson(0.3, (100, sources + receivers)))
    found = bg.coupling_table(made_up(model, data, {"coupling": middle[..., None]}, sd=sd, draws=1000), prob=0.6, refit=False)
    reported, wrong = found["reported"].values, np.sign(found["net"].values) != np.sign(truth)
    expected = found.attrs["expected_false"]
    assert reported.sum() > 50 and expected > 4
    assert abs((wrong & reported).sum() - expected) < 3 * np.sqrt(expected)
    assert expected == pytest.approx(norm.sf(np.abs(middle) / sd)[reported].sum(), rel=0.05)
    inside = (found["lower"].values <= truth) & (truth <= found["upper"].values)
    assert inside.mean() == pytest.approx(0.6, abs=3 * np.sqrt(0.24 / inside.size))


def test_a_common_slow_input_makes_couplings_that_a_drift_takes_away():
    time = np.arange(ROWS) * 0.01
    slow = 1.0 * np.sin(2 * np.pi * time / 20.0)
    found = bg.coupling_table(quietly(COUPLED, network(np.zeros((4, 4)), slow)), progress=False)
    off = ~np.eye(4, dtype=bool)
    assert found["reported"].values[off].all() and (found["net"].values[off] > 0).all()
    assert (found["drift_shift"].values[off] < -2).all()
    assert (np.abs(found["with_drift"].values)[off] < 0.5 * found["net"].values[off]).all()
    assert "with a smooth drift added, 12 move by more than 2 posterior sds" in repr(found)
    assert "alone" not in found.table


def test_a_common_stimulus_makes_couplings_where_it_is_left_out():
    rng = np.random.default_rng(2)
    stimulus = np.convolve(rng.normal(size=ROWS + 9), np.ones(10) / np.sqrt(10), "valid")
    data = network(np.zeros((4, 4)), 0.8 * stimulus, stimulus=stimulus)
    model = bg.GLM(bg.Baseline() + bg.Linear("stimulus") + bg.Coupling(KERNEL))
    found = bg.coupling_table(quietly(model, data), progress=False)
    off = ~np.eye(4, dtype=bool)
    assert (found["alone_shift"].values[off] > 2).all() and (found["alone"].values[off] > 0.1).all()
    assert (np.abs(found["net"].values)[off] < WRONG * found["sd"].values[off]).all()
    assert (np.abs(found["drift_shift"].values)[off] < 1).all()


def test_planted_couplings_do_not_move_with_a_drift(found):
    assert np.nanmax(np.abs(found["drift_shift"].values)) < 1.5
    assert found.attrs["refits"] == "method.Laplace"


def test_a_point_has_no_probabilities(fit):
    point = bg.coupling_table(made_up(COUPLED, fit.data, {"coupling": PLANTED[..., None]}, point=True), rope=0.1)
    off = ~np.eye(4, dtype=bool)
    assert np.isfinite(point["net"].values[off]).all() and np.isfinite(point["peak"].values[off]).all()
    for name in ("sd", "lower", "upper", "p_sign", "p_positive", "p_outside_rope", "contraction"):
        assert np.isnan(point[name].values).all()
    assert not point["reported"].any() and "method='laplace' takes seconds" in point.attrs["why"] and "takes seconds" in repr(point)


def test_a_choice_has_sources_too():
    rng = np.random.default_rng(3)
    spikes = rng.poisson(0.5, (600, 2))
    lever = (rng.uniform(size=600) < 1 / (1 + np.exp(1.0 - 1.5 * np.roll(spikes[:, 0], 1)))).astype(int)
    data = bg.recording(dt=0.01, spikes=spikes, lever=lever)
    fit = made_up(bg.GLM(bg.Baseline() + bg.Coupling(KERNEL), bg.family.Bernoulli(), "lever"), data, {"coupling": [[1.5], [0.0]]})
    found = bg.coupling_table(fit, refit=False)
    assert found.table.sizes == {"neuron": 1, "source": 2} and found["neuron"].values.tolist() == ["lever"]
    assert found["reported"].values.tolist() == [[True, False]]


def test_the_caveat_is_always_there(found):
    for text in (repr(found), found._repr_html_(), found.attrs["caveat"]):
        assert "functional coupling" in text and "not a synapse" in text
    assert "expected to be false" in repr(found) and "for the stated prior" in repr(found)
    assert found.table.drop_vars("reported").to_netcdf() is not None


def test_errors_name_what_is_wanted(fit):
    with pytest.raises(ValueError, match="a model with a Coupling"):
        bg.coupling_table(made_up(bg.GLM(bg.Baseline()), fit.data))
    two = made_up(bg.GLM(bg.Baseline() + bg.Coupling(KERNEL, sources=["a"]) + bg.Coupling(KERNEL, sources=["a"], name="again")), fit.data)
    with pytest.raises(ValueError, match=r"term='coupling'"):
        bg.coupling_table(two)
    for rope in (-0.1, (0.1, 0.3), 0.0):
        with pytest.raises(ValueError, match="rope="):
            bg.coupling_table(fit, rope=rope)
    with pytest.raises(ValueError, match="prob="):
        bg.coupling_table(fit, prob=90)
