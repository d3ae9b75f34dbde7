"""A stimulus from spikes: closed forms, the mode against another optimiser, coverage, what alignment and coupling are worth."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.linalg import cholesky_banded
from synthetic import made_up

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._decoding._coverage import coverage
from bayesglm._decoding._decode import DecodeNote, decode
from bayesglm._decoding._movie import Law, mixture_quantile
from bayesglm._double import double
from bayesglm.engine.banded import variances

DT = 0.01
G = prior.Gaussian(1.0)
LAGS = basis.Lags(span=0.04)
KERNEL = np.array([0.2, 0.9, 0.5, -0.3])


def quietly(*args, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecodeNote)
        return decode(*args, progress=False, **how)


def matrix(kernel, epochs, first=0):
    """The convolution as a dense matrix (row, row), nothing across epochs."""
    rows = len(epochs)
    out = np.zeros((rows, rows))
    for t in range(rows):
        for lag, value in enumerate(kernel, start=first):
            if 0 <= t - lag < rows and epochs[t - lag] == epochs[t]:
                out[t, t - lag] = value
    return out


def prior_covariance(law, starts):
    """sd^2 phi^|i - j| within an epoch."""
    epoch = np.cumsum(starts)
    apart = np.abs(np.subtract.outer(np.arange(len(starts)), np.arange(len(starts))))
    return law.sd**2 * law.phi**apart * (epoch[:, None] == epoch)


@pytest.mark.parametrize("edge", ["drop", "zero"])
@pytest.mark.parametrize("window", [None, 0.03])
@pytest.mark.parametrize("lead", [0.0, 0.02])
def test_a_linear_gaussian_model_has_the_closed_form(edge, window, lead):
    """y = A x + noise, x ~ N(m, S): mean and covariance by dense algebra; frames of several bins, filters that look ahead."""
    rng = np.random.default_rng(0)
    rows, epochs = 44, np.repeat([0, 1], [26, 18])
    stimulus = np.convolve(rng.normal(size=rows + 3), np.ones(4), "valid") + 0.5
    data = bg.recording(dt=DT, epoch=epochs, trace=(("time", "neuron"), rng.normal(size=(rows, 2))), stimulus=stimulus)
    model = bg.GLM(bg.Baseline(G) + bg.Stimulus("stimulus", LAGS, G, edge=edge, lead=lead), family.Gaussian(0.8), response="trace")
    weights = np.stack([KERNEL, -0.5 * KERNEL[::-1]])
    fit = made_up(model, data, {"baseline": 0.3, "stimulus": weights}, point=True)
    decoded = quietly(fit, data, "stimulus", window=window)
    law = Law(*(decoded.attrs[f"prior_{name}"] for name in ("mean", "sd", "correlation")))
    bins, first = 1 if window is None else 3, -round(lead / DT)
    of = np.concatenate([np.arange(26) // bins, np.arange(18) // bins + -(-26 // bins)])
    held = (of[:, None] == np.arange(of[-1] + 1)).astype(float)
    starts = np.isin(np.arange(of[-1] + 1), [0, of[26]])
    kernels = np.asarray(fit.model.terms["stimulus"].kernels)
    scored = np.asarray(fit.model.design(data).scored) > 0
    precision = np.linalg.inv(prior_covariance(law, starts))
    right = precision @ np.full(len(starts), law.mean)
    for n in range(2):
        through = (matrix(kernels @ fit.posterior["stimulus"].values[0, 0, n], epochs, first) @ held)[scored]
        y = data["trace"].values[scored, n] - fit.posterior["baseline"].values[0, 0, n]
        precision, right = precision + through.T @ through / 0.8**2, right + through.T @ y / 0.8**2
    covariance = np.linalg.inv(precision)
    np.testing.assert_allclose(decoded["estimate"], covariance @ right, atol=1e-8)
    np.testing.assert_allclose(decoded["sd"], np.sqrt(np.diag(covariance)), atol=1e-8)
    np.testing.assert_allclose(decoded["upper"] - decoded["estimate"], stats.norm.ppf(0.95) * decoded["sd"], atol=1e-6)
    assert abs(law.phi) > 0.1 or window is not None


@pytest.mark.parametrize("window", [None, 0.03])
@pytest.mark.parametrize("space", [None, basis.BSpline(3, order=2) * basis.BSpline(2, order=2)])
def test_movies_have_the_closed_form_too(window, space):
    """Several numbers a frame, with filters of their own or filters of space: every entry's mean and sd by dense algebra."""
    rng = np.random.default_rng(2)
    rows, pixels = 20, (3, 2)
    movie = rng.normal(size=(rows, *pixels)) * [1.0, 2.0]
    data = bg.recording(dt=DT, trace=(("time", "neuron"), rng.normal(size=(rows, 2))), movie=(("time", "y", "x"), movie))
    model = bg.GLM(bg.Baseline(G) + bg.Stimulus("movie", LAGS, G, space=space), family.Gaussian(0.8), response="trace")
    fit = made_up(model, data, {"movie": rng.normal(size=(2, *((6, 4) if space else (3, 2, 4))))}, point=True)
    decoded = quietly(fit, data, "movie", window=window)
    filters = bg.filters(fit, "movie").isel(chain=0, draw=0).transpose("neuron", "y", "x", "lag").values.reshape(2, 6, 4)
    frames = np.arange(rows) // (1 if window is None else 3)
    held = (frames[:, None] == np.arange(frames[-1] + 1)).astype(float)
    count = held.shape[1]
    law = Law(*(np.array(decoded.attrs[f"prior_{name}"]) for name in ("mean", "sd", "correlation")))
    covariance = np.zeros((count, 6, count, 6))
    for f in range(6):
        covariance[:, f, :, f] = prior_covariance(Law(law.mean[f], law.sd[f], law.phi[f]), np.eye(count)[0] > 0)
    precision = np.linalg.inv(covariance.reshape(count * 6, -1))
    right = precision @ np.tile(law.mean, count)
    scored = np.asarray(fit.model.design(data).scored) > 0
    for n in range(2):
        through = np.stack([matrix(own, np.zeros(rows, int)) @ held for own in filters[n]], 2).reshape(rows, -1)[scored]
        y = data["trace"].values[scored, n] - fit.posterior["baseline"].values[0, 0, n]
        precision, right = precision + through.T @ through / 0.8**2, right + through.T @ y / 0.8**2
    whole = np.linalg.inv(precision)
    assert decoded["estimate"].dims == ("time", "y", "x")
    np.testing.assert_allclose(decoded["estimate"].values.ravel(), whole @ right, atol=1e-7)
    np.testing.assert_allclose(decoded["sd"].values.ravel(), np.sqrt(np.diag(whole)), atol=1e-7)
    assert np.isfinite(float(bg.decoding_information(decoded, block=0.05)["bits"]))
    with pytest.raises(ValueError, match="pick an entry"):
        bg.plot.decoded(decoded)
    assert bg.plot.decoded(decoded.isel(y=1, x=0)).axes


def test_variances_are_the_diagonal_of_the_inverse():
    rng = np.random.default_rng(1)
    root = np.tril(rng.normal(size=(9, 9))) * (np.subtract.outer(np.arange(9), np.arange(9)) < 4) + 3 * np.eye(9)
    whole = root @ root.T
    banded = np.stack([np.r_[np.diag(whole, -j), np.zeros(j)] for j in range(4)])
    with double():
        np.testing.assert_allclose(variances(cholesky_banded(banded, lower=True)), np.diag(np.linalg.inv(whole)), rtol=1e-10)
        np.testing.assert_allclose(variances(cholesky_banded(banded[:1], lower=True)), 1 / banded[0])


def test_quantiles_of_a_mixture():
    one = mixture_quantile(np.array([[1.0, -2.0]]), np.array([[0.5, 2.0]]), 0.95)
    np.testing.assert_allclose(one, stats.norm.ppf(0.95, [1.0, -2.0], [0.5, 2.0]), atol=1e-10)
    two = mixture_quantile(np.array([[-3.0], [3.0]]), np.ones((2, 1)), 0.5)
    np.testing.assert_allclose(two, 0.0, atol=1e-8)


def retina(seed=0, rows=600, cells=4, binary=False, coupled=0.0):
    """Cells with a biphasic filter and own constants, refractory, driven by white noise, each acting on the next."""
    rng = np.random.default_rng(seed)
    stimulus = rng.normal(size=rows) if not binary else rng.choice([-0.5, 0.5], rows)
    filters = np.stack([KERNEL * sign * (1.0 if not binary else 2.5) for sign in (1.0, -1.0, 0.8, -0.8)])[:cells]
    drive = np.stack([np.convolve(stimulus, own)[:rows] for own in filters], 1) - 1.0
    spikes = np.zeros((rows, cells), int)
    for t in range(rows):
        past = spikes[t - 1] if t else np.zeros(cells)
        spikes[t] = rng.poisson(np.exp(drive[t] - 1.0 * past + coupled * np.roll(past, 1)))
    return bg.recording(dt=DT, spikes=spikes, stimulus=stimulus), filters


SHORT = basis.Lags(span=0.01)


def known(model, data, filters, coupled=0.0, **how):
    """A fit at the planted weights."""
    centres = {"baseline": -1.0, "stimulus": filters, "history": -1.0}
    if coupled:
        links = np.zeros((4, 4, 1))
        links[np.arange(4), (np.arange(4) - 1) % 4] = coupled
        centres["coupling"] = links
    return made_up(model, data, centres, **how)


CELLS = bg.Baseline(G) + bg.Stimulus("stimulus", LAGS, G) + bg.History(SHORT, G)


def test_the_mode_is_where_another_optimiser_ends():
    data, filters = retina(rows=40, cells=2)
    fit = known(bg.GLM(CELLS), data, filters, point=True)
    decoded = quietly(fit, data, "stimulus", prior=(0.1, 1.2))
    spikes, epochs = data["spikes"].values.astype(float), np.zeros(40, int)
    scored = np.asarray(fit.model.design(data).scored) > 0
    past = np.r_[np.zeros((1, 2)), spikes[:-1]]
    through = [matrix(own, epochs) for own in filters]

    def energy(x):
        eta = np.stack([one @ x for one in through], 1) - 1.0 - past
        return 0.5 * np.sum(((x - 0.1) / 1.2) ** 2) - np.sum((spikes * eta - np.exp(eta))[scored])

    found = optimize.minimize(energy, np.zeros(40), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(decoded["estimate"], found.x, atol=1e-4)


def test_intervals_cover_with_the_uncertainty_of_the_weights():
    train, filters = retina(0, rows=4000)
    fit = known(bg.GLM(CELLS), train, filters, sd=0.04, draws=10)
    test, _ = retina(1, rows=1500)
    decoded = decode(fit, test, "stimulus", progress=False)
    found = coverage(decoded)
    assert 0.87 < float(found["coverage"]) < 0.93
    assert abs(float(coverage(decoded, prob=0.5)["coverage"]) - 0.5) < 0.05
    assert float(bg.decoding_information(decoded)["bits"]) > 0.2
    assert decoded.attrs["verdict"].startswith("as stated")


def test_a_binary_stimulus_its_alignment_and_its_coupling():
    data, filters = retina(3, rows=1200, binary=True, coupled=-1.5)
    whole = CELLS + bg.Coupling(SHORT, G)
    coupled = quietly(known(bg.GLM(whole), data, filters, -1.5, point=True), data, "stimulus")
    alone = quietly(known(bg.GLM(CELLS), data, filters, point=True), data, "stimulus")
    late = quietly(known(bg.GLM(CELLS), data, np.roll(filters, 1, axis=1), point=True), data, "stimulus")
    r = [float(np.corrcoef(one["estimate"], one["truth"])[0, 1]) for one in (coupled, alone, late)]
    assert r[0] > r[1] > r[2] + 0.1
    gain = bg.decoding_information(coupled, minus=alone)
    assert float(gain["lower"]) > 0 and gain.attrs["verdict"] == "more information"
    right = (coupled["probability_high"] > 0.5) == (coupled["truth"] > 0)
    assert float(right.mean()) > 0.75
    sure = coupled["probability_high"] > 0.9
    assert float((coupled["truth"][sure] > 0).mean()) > 0.85


def test_a_softplus_cell_and_one_that_fires_in_clumps():
    data, filters = retina(4, rows=200)
    for law in (family.Poisson("softplus"), family.NegativeBinomial(0.3)):
        decoded = quietly(known(bg.GLM(CELLS, law), data, filters, draws=2), data, "stimulus")
        assert float(np.corrcoef(decoded["estimate"], decoded["truth"])[0, 1]) > 0.4


def test_bad_asking():
    data, filters = retina(rows=60)
    fit = known(bg.GLM(CELLS), data, filters, point=True)
    with pytest.raises(ValueError, match="pair \\(mean, sd\\)"):
        quietly(fit, data, "stimulus", prior="uniform")
    with pytest.raises(ValueError, match="sd above zero"):
        quietly(fit, data, "stimulus", prior=(0.0, 0.0))
    with pytest.raises(ValueError, match="dynamics="):
        quietly(fit, data, "stimulus", dynamics=bg.RandomWalk(1.0))
    both = made_up(bg.GLM(CELLS + bg.Linear("stimulus", G, name="now")), data, point=True)
    with pytest.raises(ValueError, match="that one Stimulus term reads"):
        quietly(both, data, "stimulus")


def test_the_picture_shows_the_band():
    data, filters = retina(rows=80)
    decoded = quietly(known(bg.GLM(CELLS), data, filters, draws=2), data, "stimulus")
    figure = bg.plot.decoded(decoded)
    figure.draw_without_rendering()
    assert {text.get_text() for text in figure.axes[0].get_legend().get_texts()} == {"90% band", "posterior mean", "truth"}
