"""Choice history: earlier choices coded -1 and +1, and trials without a choice."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import everything
from test_glm import check_equal_differences

import bayesglm as bg
from bayesglm import basis, family
from bayesglm._convolve import convolve, convolve_seen, reach
from bayesglm._double import in_double

LAGS = basis.Lags(span=3)
EPOCHS = np.repeat([0, 1, 2], [9, 2, 9])


def choices(seed=0, lost=()):
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 2, EPOCHS.size).astype(float)
    made[list(lost)] = np.nan
    return bg.recording(rows="trial", choice=made, x=rng.normal(size=EPOCHS.size), epoch=EPOCHS)


def designed(data, family_=None, **options):
    model = bg.GLM(bg.Baseline() + bg.History(LAGS, **options), family_ or family.Bernoulli(), response="choice").resolve(data)
    return model, model.design(data)


def test_a_choice_enters_as_minus_or_plus_one():
    data = choices()
    model, design = designed(data, edge="zero")
    sign = 2 * data["choice"].values - 1
    wanted = np.zeros((EPOCHS.size, 3))
    for t in range(EPOCHS.size):
        for lag in (1, 2, 3):
            if t >= lag and EPOCHS[t - lag] == EPOCHS[t]:
                wanted[t, lag - 1] = sign[t - lag]
    np.testing.assert_array_equal(design.each["own"]["history"][0], wanted)
    assert model.terms["history"].lags.tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(model.terms["history"].centre[0], sign.mean())


def test_only_binary_responses_on_trial_rows_are_coded():
    counts = bg.recording(rows="trial", choice=np.array([0, 1, 1, 0, 1]))
    _, design = designed(counts, family.Poisson(), edge="zero")
    np.testing.assert_array_equal(design.each["own"]["history"][0, :, 0], [0, 0, 1, 1, 0])
    timed = bg.GLM(bg.History(basis.Lags(span=0.01), edge="zero"), family.Bernoulli(), response="choice").resolve(everything())
    assert set(np.unique(timed.design(everything()).each["own"]["history"])) == {0.0, 1.0}


def test_break_loses_the_rows_that_read_a_missing_trial():
    _, design = designed(choices(lost=[4]))
    early = np.isin(np.arange(EPOCHS.size), [0, 1, 2, 9, 10, 11, 12, 13])
    np.testing.assert_array_equal(design.weight()[:, 0] == 0, early | np.isin(np.arange(EPOCHS.size), [4, 5, 6, 7]))
    assert ("history reads unobserved rows", 3) in design.report


def test_skip_steps_over_missing_trials():
    """The rows with a choice are what they would be if the others had never been."""
    lost = [4, 5, 13]
    data = choices(lost=lost)
    kept = np.delete(np.arange(EPOCHS.size), lost)
    _, design = designed(data, missing="skip")
    _, alone = designed(data.isel(trial=kept))
    np.testing.assert_array_equal(design.each["own"]["history"][:, kept], alone.each["own"]["history"])
    np.testing.assert_array_equal(design.weight()[kept], alone.weight())
    assert (design.weight()[lost] == 0).all()
    np.testing.assert_array_equal(design.each["own"]["history"][0, 5], design.each["own"]["history"][0, 6])  # what a lost trial would have read
    zero, _ = designed(data, missing="skip", edge="zero")
    assert zero.design(data).weight()[kept].all()


def test_an_unobserved_trial_is_a_missing_one():
    data = choices()
    seen = np.ones(EPOCHS.size, bool)
    seen[4] = False
    hidden = bg.recording(rows="trial", choice=data["choice"].values, epoch=EPOCHS, observed=seen)
    for how in ("break", "skip"):
        _, one = designed(hidden, missing=how)
        _, two = designed(choices(lost=[4]), missing=how)
        np.testing.assert_array_equal(one.weight(), two.weight())
        np.testing.assert_array_equal(one.each["own"]["history"], two.each["own"]["history"])


def test_no_missing_trial_no_difference():
    (_, one), (_, two) = (designed(choices(), missing=how) for how in ("break", "skip"))
    np.testing.assert_array_equal(one.each["own"]["history"], two.each["own"]["history"])
    np.testing.assert_array_equal(one.weight(), two.weight())


def test_seen_convolution_of_everything_is_the_plain_one():
    rng = np.random.default_rng(3)
    signal, kernels = rng.normal(size=(EPOCHS.size, 2)), rng.normal(size=(4, 3))
    out, whole = convolve_seen(signal, np.ones(signal.shape, bool), kernels, EPOCHS)
    np.testing.assert_allclose(out, convolve(signal, kernels, EPOCHS, 1), atol=1e-12)
    np.testing.assert_array_equal(whole, np.repeat(reach(EPOCHS, 1, 4)[:, None], 2, 1))
    out, whole = convolve_seen(signal, np.zeros(signal.shape, bool), kernels, EPOCHS)
    assert not out.any()
    assert not whole.any()


def test_errors():
    with pytest.raises(ValueError, match=r"missing='drop': 'break'.*'skip'"):
        bg.History(LAGS, missing="drop")
    with pytest.raises(ValueError, match=r"missing='skip'.*time bins: leave missing out"):
        bg.GLM(bg.History(basis.Lags(span=0.03), missing="skip")).resolve(everything())


@in_double
def test_engine_equals_story():
    data = everything(choice=np.where(np.arange(88) % 9 == 4, np.nan, np.arange(88) % 2))
    trials = bg.recording(rows="trial", choice=data["choice"].values, spikes=data["spikes"].values, epoch=data["epoch"].values)
    model = bg.GLM(bg.Baseline() + bg.History(LAGS, missing="skip"), family.Bernoulli(), response="choice").resolve(trials)
    design = model.design(trials)
    assert model.linear(design) is not None
    timed = bg.GLM(bg.Baseline() + bg.History(basis.Lags(span=0.02)), family.Bernoulli(), response="choice")
    check_equal_differences(timed.resolve(everything()))


def test_perseverance_is_recovered():
    """A chooser who repeats the last choice: logit P = 0.9 * last + 0.5 * x, a tenth of the trials without a choice."""
    rng = np.random.default_rng(4)
    x, made = rng.normal(size=3000), np.zeros(3000)
    last = 1.0
    for t in range(3000):
        made[t] = rng.uniform() < 1 / (1 + np.exp(-(0.9 * last + 0.5 * x[t])))
        last = 2 * made[t] - 1
        if rng.uniform() < 0.1:
            made[t] = np.nan
            last = last if t == 0 or np.isnan(made[:t]).all() else 2 * made[:t][~np.isnan(made[:t])][-1] - 1
    data = bg.recording(rows="trial", choice=made, x=x)
    terms = bg.Baseline() + bg.Linear("x") + bg.History(basis.Lags(span=2), missing="skip")
    fit = bg.fit(bg.GLM(terms, family.Bernoulli(), response="choice"), data, "map", progress=False)
    np.testing.assert_allclose(fit.posterior["history"].squeeze(), [0.9, 0.0], atol=0.15)
    assert float(fit.posterior["x"].squeeze()) == pytest.approx(0.5, abs=0.15)
    assert bg.filters(fit, "history").attrs["units"] == "log-odds per earlier choice, coded -1 or +1"
