"""Decoders over time and of angles: planted truth, agreement with fits by hand, real recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import integrate, stats

import bayesglm as bg
from bayesglm import family, method, prior
from bayesglm._double import in_double

DATA = Path(__file__).parents[2] / "shared" / "data"
TRIALS, CELLS, BINS = 80, 100, 4
SAME = 1e-6
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # more columns than rows: separable, and said


def planted(seed: int = 0) -> xr.Dataset:
    """A hundred cells of which a choice, a grating and a rating move some, in the last two of four bins only."""
    rng = np.random.default_rng(seed)
    grating = rng.uniform(0, 180, TRIALS)
    choice = rng.integers(0, 2, TRIALS)
    counts = rng.normal(size=(TRIALS, CELLS, BINS))
    preferred = np.arange(CELLS) * 180 / CELLS
    tuned = np.cos(np.deg2rad(2 * (grating[:, None] - preferred))) + 0.5 * choice[:, None] * rng.normal(size=CELLS)
    counts[:, :, 2:] += tuned[:, :, None]
    return bg.recording(
        rows="trial",
        counts=(("trial", "neuron", "bin"), counts),
        choice=choice,
        class_of=(grating // 60).astype(int),
        grating=bg.angle(grating, period=180),
        speed=tuned[:, :5].sum(1) + 0.1 * rng.normal(size=TRIALS),
        labels={"bin": [0.1, 0.2, 0.3, 0.4]},
    )


@pytest.fixture(scope="module")
def trials():
    return planted()


def decoder(response: str, likelihood: family.AbstractFamily, scale: object = 0.1) -> bg.GLM:
    return bg.GLM(bg.Baseline() + bg.Linear("counts", prior.Gaussian(scale)), likelihood, response=response)


def test_a_choice_is_told_when_cells_tell_it(trials):
    """Chance in the first two bins, above it in the last two; the labels of the bins are kept."""
    found = bg.decode_over_time(decoder("choice", family.Bernoulli()), trials, k=5, progress=False)
    assert found["accuracy"].dims == ("bin",) and found["bin"].values.tolist() == [0.1, 0.2, 0.3, 0.4]
    gain = (found["accuracy"] - found["accuracy_chance"]) / np.hypot(found["accuracy_se"], found["accuracy_chance_se"])
    assert (gain[:2] < 3).all() and (gain[2:] > 3).all()
    assert (found["log_loss"][2:] < found["log_loss_chance"][2:]).all()
    np.testing.assert_allclose(found["log_loss_chance"], np.log(2), atol=0.05)
    np.testing.assert_allclose(found["probability"].sum("class"), 1.0, atol=1e-9)
    truth = trials["choice"].values
    p = found["probability"].values[:, np.arange(TRIALS), truth]
    np.testing.assert_allclose(found["log_loss"], -np.log(p).mean(1), atol=1e-9)
    np.testing.assert_allclose(found["accuracy"], (p > 0.5).mean(1), atol=1e-9)


@pytest.mark.parametrize("kind", ["choice", "class_of", "speed", "grating"])
def test_each_bin_is_the_fit_of_its_own_columns(trials, kind):
    """The first fold's test trials, bin by bin, against bg.fit and bg.predict on the training part."""
    likelihood = {"choice": family.Bernoulli(), "class_of": family.Categorical(), "speed": family.Gaussian(0.5), "grating": family.LinearCircular(scale=0.4)}
    model = decoder(kind, likelihood[kind])
    found = bg.decode_over_time(model, trials, k=4, method="map", permutations=2, progress=False)
    train, test = bg.folds(trials, 4, "trial")[0]
    held = slice(0, test.sizes["trial"])
    for b in range(0, BINS, 3):
        one = bg.fit(model, train.isel(bin=b), "map", progress=False)
        predicted = bg.predict(one, test.isel(bin=b)).values[0, 0]
        if kind == "choice":
            predicted = np.stack([1 - predicted, predicted], -1)
        np.testing.assert_allclose(found["probability" if "probability" in found else "prediction"].values[b, held], predicted, atol=SAME)
    assert ("accuracy" in found) == (kind in ("choice", "class_of"))
    if kind in ("speed", "grating"):
        assert (found["error"][:2] > found["error_chance"][:2] - 4 * found["error_chance_se"][:2]).all()
        assert (found["error"][2:] < found["error_chance"][2:] - 4 * found["error_chance_se"][2:]).all()


def test_a_trial_without_a_response_is_not_scored(trials):
    """It is NaN, and the others are scored."""
    data = trials.assign(speed=trials["speed"].where(np.arange(TRIALS) != 7))
    found = bg.decode_over_time(decoder("speed", family.Gaussian(0.5)), data, k=4, method="map", permutations=2, progress=False)
    assert np.isnan(found["prediction"].values[:, 7]).all() and np.isfinite(found["error"]).all()
    assert np.isfinite(found["prediction"].values[:, 8]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, d: (m.resolve(d), d, None), "not one that was resolved"),
        (lambda m, d: (m, d, "time"), r"over='time'.*no column.*counts"),
        (lambda m, d: (m, d.isel(bin=0, drop=True), None), "which dim are the time bins.*over="),
        (lambda m, d: (bg.GLM(m.terms + bg.Coupling(bg.basis.Lags(span=2)), m.family, response="choice"), d, "bin"), "Coupling"),
        (lambda m, d: (m, bg.recording(dt=0.1, counts=np.zeros((9, 2)), choice=np.zeros(9, int)), None), "rows='trial'.*'time'"),
    ],
)
def test_bad_input(trials, change, said):
    model, data, over = change(decoder("choice", family.Bernoulli()), trials)
    with pytest.raises(ValueError, match=said):
        bg.decode_over_time(model, data, over, progress=False)


def test_an_angle_is_decoded_from_more_cells_than_trials():
    """Least squares on (cos, sin), period 180: held-out errors of a few degrees, directions drawn as far off as they are."""
    rng = np.random.default_rng(3)
    grating = rng.uniform(0, 180, 240)
    preferred = rng.uniform(0, 180, 500)
    counts = np.exp(np.cos(np.deg2rad(2 * (grating[:, None] - preferred)))) + 2.0 * rng.normal(size=(240, 500))
    data = bg.recording(rows="trial", counts=counts, grating=bg.angle(grating, period=180))
    train, test = bg.split(data, 0.5)
    model = bg.GLM(bg.Baseline() + bg.Linear("counts"), family.LinearCircular(), response="grating")
    fit = bg.fit(model, train, method.Laplace(num_samples=800), progress=False)
    assert fit.stats["converged"] and fit.posterior["counts"].dims[2:] == ("counts_feature", "component")
    truth = test["grating"].values[:, None]
    apart = lambda a, b: np.abs((a - b + 90) % 180 - 90)  # noqa: E731
    mean = bg.predict(fit, test).values[0]
    centre = np.rad2deg(np.angle(np.exp(2j * np.deg2rad(mean)).mean(0))) / 2
    error = apart(centre, truth[:, 0])
    assert np.median(error) < 5
    drawn = bg.predict(fit, test, "response", key=1).values[0].T  # (trial, draw)
    cover = (error <= np.quantile(apart(drawn, centre[:, None]), 0.9, axis=1)).mean()
    assert 0.75 < cover <= 1.0
    with pytest.raises(ValueError, match="is an angle"):
        bg.fit(bg.GLM(bg.Baseline() + bg.Linear("counts"), family.Gaussian(), response="grating"), train, progress=False)


@in_double
def test_the_plane_and_the_circle():
    """log p is the bivariate normal's at (cos, sin); its restriction to the circle, normalised, is the law that angles are drawn from."""
    eta, sigma, period = np.array([0.5, -0.3]), 0.4, 360.0
    law = family.LinearCircular(period)(eta, {"sigma": sigma}, 1.0)
    angles = np.array([0.0, 40.0, 200.0, 359.0])
    radians = np.deg2rad(angles)
    points = np.stack([np.cos(radians), np.sin(radians)], 1)
    wanted = stats.multivariate_normal(eta, sigma**2).logpdf(points)
    np.testing.assert_allclose(law.log_prob(angles), wanted, rtol=1e-12)
    total = integrate.quad(lambda a: np.exp(float(law.log_prob(a))), 0, period, epsrel=1e-10)[0]
    np.testing.assert_allclose(law.on_the_circle().log_prob(angles), wanted - np.log(total), rtol=1e-8)
    assert float(law.mean) == pytest.approx(np.rad2deg(np.arctan2(eta[1], eta[0])) % 360)
    made = family.LinearCircular(period)
    cheap = made.log_density(np.broadcast_to(eta, (4, 2)), angles, {"sigma": sigma}, 1.0)
    np.testing.assert_allclose(np.diff(cheap), np.diff(wanted), rtol=1e-10)
    np.testing.assert_allclose(made.levels(angles), points.mean(0))


def test_the_plane_is_not_compared_with_the_circle(trials):
    """A density over the plane against one over the circle."""
    data = trials.isel(bin=3, neuron=slice(0, 10))
    models = {"plane": decoder("grating", family.LinearCircular()), "circle": decoder("grating", family.VonMises())}
    fits = bg.fit_all(models, data, method.Laplace(num_samples=400), progress=False)
    verdict = bg.compare(fits)
    assert "not comparable" in {row.verdict for row in verdict.rows}
    assert all(bg.score(one, metric="circular_error") < 20 for one in fits.values())


def gratings() -> xr.Dataset:
    path = DATA / "v1_gratings" / "230803_mrcuts25_fov6.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    held = np.load(path, allow_pickle=False)
    direction = held["direction_deg"].astype(float)
    counts = held["act"][:, :, 16:].mean(2)  # the grating comes on after a second
    return bg.recording(rows="trial", counts=counts, direction=(direction // 45).astype(int), orientation=((direction % 180) // 45).astype(int))


@pytest.mark.parametrize(("response", "classes", "period", "wanted"), [("direction", 8, 360.0, 0.45), ("orientation", 4, 180.0, 0.70)])
def test_gratings_of_a_real_recording(response, classes, period, wanted):
    """A process over the classes of an angle; folds of whole repeats; not below the reference by more than two standard errors."""
    data = gratings()
    weights = prior.GaussianProcess(lengthscale=period / 8, over="class", period=period)
    model = bg.GLM(bg.Baseline() + bg.Linear("counts", weights), family.Categorical(classes), response=response)
    hits = []
    for train, test in bg.folds(data, 4, "trial"):
        fit = bg.fit(model, train, "map", progress=False)
        hits.append(bg.predict(fit, test).values[0, 0].argmax(-1) == test[response].values)
    accuracy = np.concatenate(hits).mean()
    assert accuracy > wanted - 2 * 0.044
