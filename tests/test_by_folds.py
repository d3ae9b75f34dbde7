"""Scales chosen by folds: right where the noise remembers, the same by closed form and by refits, learned in each fold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter
from scipy.stats import norm

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._comparing import _by_folds
from bayesglm._double import in_double
from bayesglm._json import from_json, to_json

ROWS, COLUMNS, MEMORY = 1500, 60, 0.9
STEP = 2.01  # twice a step of the search's grid, in a search that goes one scale after the other


def remembering(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Autoregressive columns of sd one."""
    return lfilter([np.sqrt(1 - MEMORY**2)], [1, -MEMORY], rng.normal(size=(rows + 200, columns)), axis=0)[200:]


def decoding(seed: int, memory: bool = True, rows: int = ROWS, signal: float = 0.1, ahead: int = 10):
    """A training and a longer test recording: y = x w + noise, both of which remember where ``memory``."""
    rng = np.random.default_rng(seed)
    w = signal * rng.normal(size=COLUMNS)
    parts = []
    for size in (rows, ahead * rows):
        x = remembering(size, COLUMNS, rng)
        noise = remembering(size, 1, rng)[:, 0] if memory else rng.normal(size=size)
        parts.append(bg.recording(dt=0.05, counts=x, speed=x @ w + noise))
    return parts


def decoder(scale="folds", law=None, response="speed"):
    return bg.GLM(bg.Baseline() + bg.Linear("counts", prior.Gaussian(scale)), law or family.Gaussian(), response=response)


def fitted(model, data, method="map"):
    return bg.fit(model, data, method, progress=False)


def ridge_error(train, test, strength: float) -> float:
    """Mean squared error on the test part of |y - level - X w|^2 + strength |w|^2, fitted to the training part."""
    x, y = train["counts"].values, train["speed"].values
    middle = x - x.mean(0)
    w = np.linalg.solve(middle.T @ middle + strength * np.eye(x.shape[1]), middle.T @ (y - y.mean()))
    return float(np.mean((test["speed"].values - y.mean() - (test["counts"].values - x.mean(0)) @ w) ** 2))


def scale_of(fit, term="counts") -> float:
    return float(fit.model.terms[term].prior.scale)


def test_where_the_noise_remembers_folds_shrink_more_than_the_evidence_and_predict_better():
    """Nearly the error of the best scale there is, which the evidence, taking rows for independent, is far from."""
    excess, scales = {"folds": [], "evidence": []}, {"folds": [], "evidence": []}
    for seed in range(3):
        train, test = decoding(seed)
        best = min(ridge_error(train, test, strength) for strength in np.geomspace(1, 1e5, 21))
        for name, found in excess.items():
            fit = fitted(decoder(name), train)
            tau = fit.posterior["counts_scale"].item() if name == "evidence" else scale_of(fit)
            scales[name].append(tau)
            found.append(ridge_error(train, test, (fit.posterior["sigma"].item() / tau) ** 2) / best - 1)
    assert (np.array(scales["folds"]) < 0.5 * np.array(scales["evidence"])).all()
    assert np.mean(excess["folds"]) < 0.03 < 0.05 < np.mean(excess["evidence"])


def test_where_rows_are_independent_folds_and_evidence_agree():
    train, _ = decoding(0, memory=False)
    folds, evidence = fitted(decoder(), train), fitted(decoder("evidence"), train)
    assert scale_of(folds) == pytest.approx(evidence.posterior["counts_scale"].item(), rel=0.5)


@in_double
def test_the_closed_form_is_that_of_refits(monkeypatch):
    """The same scale, and nearly the same held-out density: in refits the noise of a fold makes its penalty."""
    train, _ = decoding(1, memory=False)
    with monkeypatch.context() as patch:
        patch.setattr(_by_folds, "with_scales", lambda written, resolved, data: resolved)
        model = decoder().resolve(train)
        closed = _by_folds._searched(decoder(), model, train, ("counts",))
        patch.setattr(_by_folds, "ridge_of_folds", lambda *given: None)
        refits = _by_folds._searched(decoder(), model, train, ("counts",))
    for place in ({"counts": 0}, {"counts": -4}):
        assert closed.scales(place)["counts"] == pytest.approx(refits.scales(place)["counts"], rel=0.3)
        assert closed.at(place) == pytest.approx(refits.at(place), abs=0.02)


@in_double
def test_the_choice_lies_between_the_steps_of_the_grid():
    """Within a few per cent of the best scale of all, where the grid's are 41 % apart."""
    for seed in range(3):
        train, _ = decoding(seed)
        model = decoder().resolve(train)
        search = _by_folds._searched(decoder(), model, train, ("counts",))
        best = minimize_scalar(lambda place: -search.score({"counts": place}), bounds=(-20, 20), method="bounded", options={"xatol": 1e-3}).x  # noqa: B023
        assert abs(best - round(best)) > 0.1 or seed  # the first one is between two steps
        assert float(model.terms["counts"].prior.scale) == pytest.approx(search.scales({"counts": best})["counts"], rel=0.05)


def test_columns_by_neuron_and_units_of_the_columns_are_known_to_the_closed_form():
    """A column in other units gets a scale in them; NaN responses are left out."""
    train, _ = decoding(2, rows=600)
    speed = train["speed"].values.copy()
    speed[::7] = np.nan
    train = train.assign(speed=("time", speed))
    milli = train.assign(counts=1000 * train["counts"])
    one, other = fitted(decoder(), train), fitted(decoder(), milli)
    assert scale_of(one) == pytest.approx(1000 * scale_of(other), rel=1e-6)


def test_what_was_chosen_is_said_and_kept():
    train, _ = decoding(3, rows=600)
    fit = fitted(decoder(), train, "laplace")
    (note,) = (note for note in fit.stats["notes"] if "left-out blocks" in note)
    assert f"{scale_of(fit):.3g}" in note and "half of it -" in note and "twice of it -" in note and note in repr(fit)
    assert fit.model.resolve(train) is fit.model
    again = from_json(to_json(fit.model))
    assert again.chosen == fit.model.chosen and scale_of(fit) == float(again.terms["counts"].prior.scale)
    assert from_json(to_json(decoder())).terms["counts"].prior.scale == "folds"


def test_a_term_that_tells_nothing_is_said_to():
    train, _ = decoding(4, rows=600, signal=0.0)
    fit = fitted(decoder(), train.assign(speed=("time", np.random.default_rng(0).normal(size=600))))
    if scale_of(fit) < 1e-3:
        assert any("does not help to predict" in note for note in fit.stats["notes"])
    assert np.abs(fit.posterior["counts"]).max() < 0.05


def test_nothing_of_a_test_fold_chooses_the_scale():
    train, _ = decoding(5, rows=600)
    test = np.arange(600) >= 300
    changed = train.assign(speed=("time", np.where(test, 50.0 - 3.0 * train["speed"].values, train["speed"].values)))
    found = [bg.cross_validate(decoder(), one, k=2, method="map", chance=0, progress=False).predictions["model"] for one in (train, changed)]
    np.testing.assert_allclose(found[0]["estimate"][test], found[1]["estimate"][test], rtol=1e-9)


def coarse(monkeypatch):
    """Few points, for models that are fitted again at each."""
    monkeypatch.setattr(_by_folds, "_REACH", 8)
    monkeypatch.setattr(_by_folds, "_FINER", ())


def test_choices_are_chosen_for_by_refits(monkeypatch):
    coarse(monkeypatch)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8))
    choice = (rng.uniform(size=400) < 1 / (1 + np.exp(-2.0 * x[:, 0]))).astype(int)
    model = decoder(law=family.Bernoulli(), response="choice").resolve(bg.recording(rows="trial", counts=x, choice=choice))
    assert 0.2 < float(model.terms["counts"].prior.scale) < 5.0


def test_spikes_have_one_scale_for_all_neurons(monkeypatch):
    """Terms with lags; where there is nothing to know there is most shrinkage."""
    coarse(monkeypatch)
    spikes = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.2, (1500, 3)))
    terms = bg.Baseline() + bg.History(basis.RaisedCosine(3, span=0.05), prior.Gaussian("folds"))
    model = bg.GLM(terms).resolve(spikes)
    assert float(model.terms["history"].prior.scale) < 0.5


def test_several_terms_are_chosen_in_turn(monkeypatch):
    """The search alone, on a density whose best scales depend on one another."""
    best = {"strong": 2.0, "weak": 0.05}

    def held_out(written, scales, data, how):
        off = {name: np.log(scale / best[name]) for name, scale in scales.items()}
        return -sum(one**2 for one in off.values()) - off["strong"] * off["weak"]

    monkeypatch.setattr(_by_folds, "_refitted", held_out)
    rng = np.random.default_rng(1)
    data = bg.recording(dt=0.05, strong=rng.normal(size=(60, 2)), weak=rng.normal(size=(60, 2)), speed=rng.normal(size=60))
    terms = bg.Baseline() + bg.Linear("strong", prior.Gaussian("folds")) + bg.Linear("weak", prior.Gaussian("folds"))
    model = bg.GLM(terms, family.Gaussian(), response="speed").resolve(data)
    for name, value in best.items():
        assert 1 / STEP < float(model.terms[name].prior.scale) / value < STEP
    assert len(model.chosen) == 2


def test_a_lone_prior_cannot_choose():
    with pytest.raises(ValueError, match='scale="folds" is chosen on a recording'):
        prior.Gaussian("folds").hyper("w")
    with pytest.raises(ValueError, match='"evidence" or "folds"'):
        prior.Gaussian("fold")
    with pytest.raises(ValueError, match="pooled scale is learned"):
        prior.Hierarchical(scale="folds")


def test_too_few_rows_are_refused():
    data = bg.recording(rows="trial", counts=np.random.default_rng(0).normal(size=(4, 2)), speed=np.arange(4.0))
    with pytest.raises(ValueError, match="folds"):
        decoder().resolve(data)


@pytest.mark.filterwarnings("ignore:.*collinear")
@pytest.mark.parametrize("law", [family.Gaussian(), family.LinearCircular()], ids=["a number", "an angle"])
def test_more_columns_than_rows_by_their_rows(law, monkeypatch):
    """The held-out density is that of a ridge regression whose weights are integrated out, at the scale and the noise that are chosen."""
    rng = np.random.default_rng(7)
    angle = rng.uniform(0, 2 * np.pi, 70)
    plane = np.stack([np.cos(angle), np.sin(angle)], 1)
    counts = plane @ rng.normal(size=(2, 150)) * 0.4 + rng.normal(size=(70, 150))
    data = bg.recording(rows="trial", counts=counts, speed=3.0 * np.cos(angle), way=bg.angle(np.rad2deg(angle), period=360))
    number = isinstance(law, family.Gaussian)
    response, y = ("speed", 3.0 * plane[:, :1]) if number else ("way", plane)
    searches, searched = [], _by_folds._searched
    monkeypatch.setattr(_by_folds, "_searched", lambda *given: searches.append(searched(*given)) or searches[-1])
    resolved = decoder(law=law, response=response).resolve(data)
    tau, sigma = float(resolved.terms["counts"].prior.scale), float(resolved.family.scale)
    place = next(at for ((_, at),) in searches[0].known if np.isclose(searches[0].scales({"counts": at})["counts"], tau, rtol=1e-12))
    total = 0.0
    for train, test in ((np.setdiff1d(np.arange(70), block), block) for block in np.array_split(np.arange(70), 5)):
        x = counts[train] - counts[train].mean(0)
        inverse = np.linalg.inv(x.T @ x + (sigma / tau) ** 2 * np.eye(150))
        new = counts[test] - counts[train].mean(0)
        mean = y[train].mean(0) + new @ inverse @ x.T @ (y[train] - y[train].mean(0))
        sd = sigma * np.sqrt(1.0 + np.einsum("tp,pq,tq->t", new, inverse, new))
        total += norm.logpdf(y[test], mean, sd[:, None]).sum()
    assert searches[0].at({"counts": place}) == pytest.approx(total / 70, abs=1e-6)
    assert searches[0].at({"counts": place - 8}) < searches[0].at({"counts": place}) - 0.01
    assert "with the noise" in resolved.chosen[0]
    fit = fitted(decoder(law=law, response=response), data)
    assert "sigma" not in fit.posterior and scale_of(fit) == pytest.approx(tau)
