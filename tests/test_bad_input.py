"""Bad input, through the front door: each gets a sentence that says what, where and the mend."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from shapes import DT, ROWS, everything, like_small

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._examine import DesignNote

KERNEL = basis.RaisedCosine(2, span=0.05)
SPIKES = np.random.default_rng(0).poisson(0.5, (60, 2))
FLAT = bg.Baseline(prior.Flat())


def changed(row: int, value: float) -> np.ndarray:
    spikes = SPIKES.astype(float)
    spikes[row, 1] = value
    return spikes


def fit(terms: Any, data: xr.Dataset, *args: Any, **options: Any) -> bg.Fit:
    return bg.fit(bg.GLM(terms, *args, **options), data, "map", progress=False)


def trials(**columns: Any) -> xr.Dataset:
    return bg.recording(rows="trial", **columns)


RECORDINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "negative counts": (lambda: bg.recording(dt=DT, spikes=changed(7, -1)), r"spikes has 1 negative counts.*row 7, neuron 1: pass counts a bin"),
    "fractional counts": (lambda: bg.recording(dt=DT, spikes=changed(3, 0.5)), r"1 fractional counts.*row 3, neuron 1.*not rates"),
    "NaN counts": (lambda: bg.recording(dt=DT, spikes=changed(9, np.nan)), r"1 NaN counts.*row 9, neuron 1.*epochs.*observed="),
    "infinite counts": (lambda: bg.recording(dt=DT, spikes=changed(9, np.inf)), r"1 infinite counts.*row 9, neuron 1"),
    "infinite covariate": (lambda: bg.recording(dt=DT, x=[0.0, np.inf, 1.0]), r"'x' has 1 infinite values, the first at row 1: replace them by NaN"),
    "mismatched lengths": (lambda: bg.recording(dt=DT, spikes=SPIKES, x=np.zeros(59)), r"unequal numbers of rows.*'spikes' has 60, 'x' has 59"),
    "times out of order": (lambda: bg.recording(time=[0.0, 0.2, 0.1], dt=0.1, x=np.zeros(3)), r"time are out of order: 0\.1 s at position 2.*sort them"),
    "spike times out of order": (lambda: bg.bin_spikes({"u7": [0.5, 0.2]}, dt=DT), r"neuron 'u7' are out of order.*sort them"),
    "an empty epoch": (lambda: bg.bin_spikes([[0.5]], dt=DT, epochs=[(0, 1), (2, 2)]), r"(?i)epoch.*(empty|bin|stop)"),
    "times in milliseconds": (lambda: bg.recording(time=np.arange(60) * 10.0, dt=DT, spikes=SPIKES), r"milliseconds.*time / 1000"),
    "dt in milliseconds": (lambda: bg.recording(time=np.arange(60) * 0.01, dt=10.0, spikes=SPIKES), r"milliseconds.*dt=0\.01"),
    "spike times in milliseconds": (lambda: bg.bin_spikes([np.arange(10.0, 90000.0, 777.0)], dt=DT, epochs=(0, 90)), r"milliseconds.*times / 1000"),
    "reserved names": (lambda: bg.recording(dt=DT, neuron=np.zeros(3)), r"'neuron' is reserved.*another name"),
}

FITS: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown column": (lambda: fit(bg.Linear("speed"), everything()), r"Linear wants the column 'speed', which the recording lacks; it has .*stimulus"),
    "unknown response": (lambda: fit(bg.Baseline(), everything(), response="choices"), r"response=\).*'choices'.*choice"),
    "unknown stimulus": (lambda: fit(bg.Stimulus("stim", KERNEL), everything()), r"Stimulus wants the column 'stim'"),
    "unknown neuron": (lambda: fit(bg.Baseline(), everything(), neurons=("a", "z")), r"no \['z'\]; it has \['a', 'b', 'c'\]"),
    "words in Linear": (lambda: fit(bg.Linear("state"), everything()), r"'state' holds .* values; Linear wants numbers.*OneHot"),
    "features in Tuning": (lambda: fit(bg.Tuning("pose", basis.BSpline(4)), everything()), r"'pose'.*wants a column \(time,\).*Linear\('pose'\)"),
    "span under a bin": (lambda: fit(bg.History(basis.RaisedCosine(1, span=0.004)), everything()), r"span=0\.004 s, under one bin of dt=0\.01 s.*longer span"),
    "more functions than lags": (lambda: fit(bg.History(basis.RaisedCosine(9, span=0.05)), everything()), r"9 functions that its 5 lags.*cannot tell apart"),
    "filters longer than epochs": (
        lambda: fit(bg.History(basis.RaisedCosine(3, span=2.0)), everything()),
        r"No row can be scored.*history reaches.*edge='zero'",
    ),
    "a column of NaN": (lambda: fit(bg.Baseline() + bg.Linear("x"), everything(x=np.full(88, np.nan))), r"'x'.*NaN|NaN.*'x'"),
    "a tuning column of NaN": (
        lambda: fit(bg.Tuning("x", basis.BSpline(4)), everything(x=np.full(88, np.nan))),
        r"Tuning of 'x': the column has no finite value",
    ),
    "a constant under Tuning": (lambda: fit(bg.Tuning("x", basis.BSpline(4)), everything(x=np.ones(88))), r"Tuning of 'x': the column is 1 in every row"),
    "choice coded -1, 1": (
        lambda: fit(bg.Baseline() + bg.Linear("x"), trials(x=np.arange(4.0), choice=[-1, 1, 1, -1]), family.Bernoulli(), response="choice"),
        r"'choice' holds the values -1, 1.*wants 0 and 1.*choice == 1",
    ),
    "choice coded 1, 2": (lambda: fit(bg.Baseline(), trials(choice=[1, 2, 2]), family.Bernoulli(), response="choice"), r"1, 2.*\(choice == 2\)"),
    "several spikes a bin under Bernoulli": (lambda: fit(bg.Baseline(), everything(), family.Bernoulli()), r"'spikes' holds.*family\.Poisson"),
    "an angle under Gaussian": (lambda: fit(bg.Baseline(), everything(), family.Gaussian(), response="heading"), r"'heading' is an angle.*cosine and sine"),
    "negative counts in another column": (lambda: fit(bg.Baseline(), trials(licks=[1, -2, 0]), response="licks"), r"'licks'.*-2.*whole numbers"),
    "words as a response": (lambda: fit(bg.Baseline(), everything(), response="state"), r"'state'.*(numbers|0 and 1|categories)"),
    "features as a response": (lambda: fit(bg.Baseline(), everything(), response="pose"), r"'pose' has dims .*wants \(time,\) or \(time, neuron\)"),
    "neurons of a choice": (
        lambda: fit(bg.Baseline(), everything(), family.Bernoulli(), response="choice", neurons=("a",)),
        r"no dim 'neuron'.*leave neurons out",
    ),
    "no recording": (lambda: bg.fit(bg.GLM(bg.Baseline()), {"spikes": SPIKES}), r"recording made by bg\.recording.*got dict"),
    "no model": (lambda: bg.fit(bg.Baseline(), everything()), r"model such as GLM.*got Baseline"),
    "unknown method": (lambda: bg.fit(bg.GLM(bg.Baseline()), everything(), "mcmc"), r"method='mcmc'.*'map', 'nuts'"),
    "no models": (lambda: bg.fit_all({}, everything()), r"fit_all.*empty"),
    "a silent neuron under Flat": (lambda: fit(FLAT, bg.recording(dt=DT, spikes=SPIKES * [1, 0])), r"never varies.*neuron\(s\) 1.*prior\.Flat.*proper prior"),
    "a constant column under Flat": (
        lambda: fit(bg.Baseline() + bg.Linear("x", prior.Flat()), bg.recording(dt=DT, spikes=SPIKES, x=np.ones(60))),
        r"\['x'\] are collinear or constant.*proper prior or drop",
    ),
    "collinear columns under Flat": (
        lambda: fit(bg.Linear("x", prior.Flat()) + bg.Linear("z", prior.Flat()), bg.recording(dt=DT, spikes=SPIKES, x=np.arange(60.0), z=2 * np.arange(60.0))),
        r"\['x', 'z'\] are collinear.*no posterior",
    ),
}


@pytest.mark.parametrize("case", RECORDINGS.values(), ids=RECORDINGS)
def test_recordings_refuse(case: tuple[Callable[[], Any], str]) -> None:
    with pytest.raises(ValueError, match=case[1]) as caught:
        case[0]()
    one_sentence(caught.value)


@pytest.mark.parametrize("case", FITS.values(), ids=FITS)
def test_fits_refuse(case: tuple[Callable[[], Any], str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DesignNote)
        with pytest.raises(ValueError, match=case[1]) as caught:
            case[0]()
    one_sentence(caught.value)


def one_sentence(error: ValueError) -> None:
    text = str(error)
    assert 40 < len(text) < 420
    assert "\n" not in text
    assert "Traceback" not in text
    assert not text.startswith(("operands", "cannot", "could not"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: method.NUTS(num_samples=0), "num_samples.*at least 1"),
        (lambda: method.NUTS(num_chains=2.5), "num_chains.*whole number"),
        (lambda: method.NUTS(target_accept=1.2), "between 0.5 and 1"),
        (lambda: method.MAP(max_steps=-1), "max_steps"),
        (lambda: bg.History(KERNEL, edge="wrap"), "edge='wrap'.*drop.*zero"),
        (lambda: bg.Tuning(("x", "y", "z"), KERNEL), "one column or two; got 3"),
    ],
)
def test_options_refuse(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_a_silent_neuron_is_said_and_spoils_no_other() -> None:
    data = like_small(5)
    silent = data.assign(spikes=data["spikes"] * xr.DataArray([1, 1, 0], dims="neuron").astype("uint8"))
    model = bg.GLM(bg.Baseline() + bg.Linear("stimulus", prior.ridge(4.0)))
    whole = bg.fit(model, data, "map", progress=False)
    with pytest.warns(DesignNote, match=r"'spikes' never varies.*neuron\(s\) 2: what is estimated for them comes from the priors"):
        part = bg.fit(model, silent, "map", progress=False)
    assert any("never varies" in note for note in part.stats["notes"])
    for name in ("baseline", "stimulus"):
        np.testing.assert_allclose(part.posterior[name].isel(neuron=[0, 1]), whole.posterior[name].isel(neuron=[0, 1]), rtol=1e-6, atol=1e-9)
        assert np.isfinite(part.posterior[name]).all()


def test_collinear_columns_are_said_and_their_sum_is_right() -> None:
    """Two copies under ridge(s) act as one under ridge(s/2)."""
    data = like_small(6)
    data = data.assign(copy=data["stimulus"])
    with pytest.warns(DesignNote, match=r"columns of \['copy', 'stimulus'\] are collinear.*only their sum"):
        both = fit(bg.Baseline() + bg.Linear("stimulus", prior.ridge(8.0)) + bg.Linear("copy", prior.ridge(8.0)), data)
    one = fit(bg.Baseline() + bg.Linear("stimulus", prior.ridge(4.0)), data)
    np.testing.assert_allclose(both.posterior["stimulus"] + both.posterior["copy"], one.posterior["stimulus"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(both.posterior["stimulus"], both.posterior["copy"], rtol=1e-6, atol=1e-9)


def test_functions_that_sum_to_one_are_no_news_and_collinear_curves_are() -> None:
    """Splines and levels sum to one, as the baseline does, whatever the data: only what the data add to that is said."""
    data = like_small(6)
    data = data.assign(copy=data["stimulus"], side=("time", np.arange(ROWS) % 2))
    curve = bg.Tuning("stimulus", basis.BSpline(5), prior.Gaussian(1.0))
    sides = bg.Tuning("side", basis.OneHot(), prior.Gaussian(1.0))
    assert fit(bg.Baseline() + curve + sides, data).stats["notes"] == ()  # a warning would be an error here
    with pytest.warns(DesignNote, match=r"columns of \['copy', 'stimulus'\] are collinear"):
        fit(bg.Baseline() + curve + sides + bg.Tuning("copy", basis.BSpline(5), prior.Gaussian(1.0)), data)


def test_a_constant_column_is_said_and_changes_nothing() -> None:
    data = like_small(6).assign(still=("time", np.full(ROWS, 3.0)))
    with pytest.warns(DesignNote, match=r"1 column\(s\) of term 'still' are constant"):
        both = fit(bg.Baseline() + bg.Linear("stimulus", prior.ridge(4.0)) + bg.Linear("still", prior.ridge(4.0)), data)
    one = fit(bg.Baseline() + bg.Linear("stimulus", prior.ridge(4.0)), data)
    np.testing.assert_allclose(both.posterior["stimulus"], one.posterior["stimulus"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(both.posterior["still"], 0.0, atol=1e-7)


def test_nan_covariates_are_counted_and_said() -> None:
    data = like_small(7)
    holes = data["stimulus"].copy()
    holes[100:110] = np.nan
    made = fit(bg.Baseline() + bg.Linear("stimulus", prior.ridge(4.0)), data.assign(stimulus=holes))
    assert made.stats["rows_left_out"] == {"'stimulus' is NaN": 10}
    assert made.stats["rows_kept"] == ROWS - 10


def test_a_separable_choice_is_not_passed_in_silence() -> None:
    """Under Flat there is no posterior: refused, with the mend."""
    x = np.linspace(-1, 1, 40)
    data = trials(x=x, choice=(x > 0).astype(int))
    with pytest.raises(ValueError, match="separable.*prior.Gaussian"):
        fit(FLAT + bg.Linear("x", prior.Flat()), data, family.Bernoulli(), response="choice")
