"""K-fold: every fold is a fit that never saw its test rows, however it is computed."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from studies.arrays import folder

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._comparing._compare import compare
from bayesglm._comparing._kfold_rows import planned, purged
from bayesglm._comparing._kfold_stacked import stack
from bayesglm._fit import NotConverged
from bayesglm._likelihood import log_mean_chunks, source

G = prior.Gaussian(1.0)
SHORT = basis.RaisedCosine(2, span=0.05)
EXACT = 1e-6  # nats a row, of a plug-in density by two routes
CHANCE = 0.5  # nats, four standard errors of what 2,000 draws give
LEARNED = 1e-5  # where a scale is found by rounds in single precision


@pytest.fixture(scope="module")
def recording():
    """800 bins of 10 ms in two epochs: two coupled neurons, a signal far from zero, a position."""
    rng = np.random.default_rng(0)
    rows = 800
    x, position = 3 + 2 * rng.normal(size=rows), rng.uniform(0, 1, rows)
    spikes = np.zeros((rows, 2), int)
    for t in range(1, rows):
        eta = -1.4 + 0.2 * (x[t] - 3) + np.sin(6 * position[t]) - 0.8 * spikes[t - 1] + np.array([0.0, 0.5 * spikes[t - 1, 0]])
        spikes[t] = rng.poisson(np.exp(np.minimum(eta, 1.0)))
    return bg.recording(dt=0.01, spikes=spikes, x=x, position=position, epoch=np.repeat([0, 1], rows // 2))


def from_scratch(model, data, k, how="map", **folding):
    """(row, neuron) log densities of test rows by fits to the training recordings of ``bg.folds``, on their real past."""
    marked = data.assign_coords(place=(next(iter(data["epoch"].dims)), np.arange(data["epoch"].size)))
    found = None
    for train, test in bg.folds(marked, k, **folding):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = bg.fit(model, train.drop_vars("place"), how, progress=False)
        made = source(fit, data)
        rows = np.concatenate([values for _, values in log_mean_chunks(made)])
        found = np.full_like(rows, np.nan) if found is None else found
        at = test["place"].values
        found[at] = np.where(made.scored, rows, np.nan)[at]
    return found


def quietly(*args, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bg._examine.DesignNote)
        return bg.kfold(*args, progress=False, **how)


def is_stacked(model, data, how, k=4):
    resolved = model.resolve(data)
    plan = purged(planned(data, k, "block", 0.0), (resolved,), data)
    return stack(model, resolved, resolved.design(data), data, plan, how) is not None


FIXED = {
    "linear": bg.Baseline() + bg.Linear("x", G),
    "coupled": bg.Baseline(G) + bg.History(SHORT, G) + bg.Coupling(SHORT, prior.Gaussian(0.5)),
    "smooth": bg.Baseline() + bg.Tuning("position", basis.BSpline(5, bounds=(0, 1)), prior.Smooth(0.5)),
    "sparse": bg.Baseline() + bg.Linear("x", prior.Laplace(0.3)) + bg.History(SHORT, prior.Laplace(0.3)),
}


@pytest.mark.parametrize("name", FIXED)
def test_folds_are_fits_from_scratch(recording, name):
    model = bg.GLM(FIXED[name])
    assert is_stacked(model, recording, method.MAP())
    found = quietly(model, recording, 4, method="map")
    np.testing.assert_allclose(found.elpd_i, from_scratch(model, recording, 4), atol=EXACT)


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_scales_noise_and_units_are_learned_in_the_fold(recording, gap):
    """The default prior of a signal is in units of its training sd, its scale is learned, and so is the noise."""
    data = recording.assign(trace=("time", np.random.default_rng(1).normal(recording["x"].values), {"kind": "column"}))
    model = bg.GLM(bg.Baseline() + bg.Stimulus("x", SHORT), family.Gaussian(), response="trace")
    assert is_stacked(model, data, method.MAP())
    found = bg.kfold(model, data, 4, method="map", gap=gap, progress=False)
    np.testing.assert_allclose(found.elpd_i, from_scratch(model, data, 4, gap=gap), atol=LEARNED)


def test_a_population_with_default_priors_is_one_problem(recording):
    """Histories are columns of the couplings, on one basis; the stimulus has a fold's own unit."""
    model = bg.GLM(bg.Baseline() + bg.Stimulus("x", SHORT) + bg.History(SHORT) + bg.Coupling(SHORT))
    assert is_stacked(model, recording, method.MAP())


def test_learned_knots_are_fitted_one_by_one(recording):
    model = bg.GLM(bg.Baseline() + bg.Tuning("position", basis.BSpline(5), G), neurons=[0])
    assert not is_stacked(model, recording, method.MAP())
    found = quietly(model, recording, 4, method="map")
    np.testing.assert_allclose(found.elpd_i, from_scratch(model, recording, 4), atol=EXACT)


def test_draws_of_the_folds_are_those_of_fits_alone(recording):
    model = bg.GLM(bg.Baseline() + bg.Stimulus("x", SHORT) + bg.History(SHORT), neurons=[1])
    how = method.Laplace(num_samples=2000)
    assert is_stacked(model, recording, how)
    found = bg.kfold(model, recording, 4, method=how, progress=False)
    alone = from_scratch(model, recording, 4, how)
    assert found.n_samples == 2000
    assert found.elpd == pytest.approx(np.nansum(alone), abs=CHANCE)
    np.testing.assert_allclose(found.elpd_i, alone, atol=0.2)


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    counts = rng.normal(size=(60, 100))
    trials = bg.recording(rows="trial", counts=counts, choice=rng.binomial(1, 1 / (1 + np.exp(-2 * counts[:, 0]))))
    model = bg.GLM(bg.Baseline() + bg.Linear("counts", prior.Gaussian(0.1)), family.Bernoulli(), response="choice")
    found = quietly(model, trials, 4, method="map")
    assert (found.unit, found.se_unit, found.n_clusters) == ("trial", "trial", 60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = from_scratch(model, trials, 4, by="trial")
    np.testing.assert_allclose(found.elpd_i, expected, atol=EXACT)


@pytest.mark.parametrize("terms", [bg.Baseline() + bg.Linear("x"), bg.Baseline() + bg.Tuning("x", basis.BSpline(5))], ids=["units", "knots"])
def test_nothing_of_a_test_block_is_learned(recording, terms):
    """Responses and covariates of half of a block's rows change; what is predicted for the other half must not."""
    block = planned(recording, 4, "block", 0.0)[1].test
    changed, same = block[::2], block[1::2]
    spikes, x = recording["spikes"].values.copy(), recording["x"].values.copy()
    spikes[changed], x[changed] = 7, -50.0
    other = recording.assign(spikes=(("time", "neuron"), spikes, recording["spikes"].attrs), x=("time", x, recording["x"].attrs))
    a, b = (quietly(bg.GLM(terms), data, 4, method="map").elpd_i.values for data in (recording, other))
    np.testing.assert_allclose(a[same], b[same], atol=1e-9)
    assert np.abs(a[changed] - b[changed]).min() > 0.1


@pytest.mark.parametrize(("lead", "edge"), [(0.0, "drop"), (0.03, "drop"), (0.0, "zero")])
def test_no_training_row_reads_a_test_row(recording, lead, edge):
    terms = bg.Baseline() + bg.Stimulus("x", SHORT, lead=lead, edge=edge) + bg.History(SHORT, edge=edge)
    resolved = bg.GLM(terms).resolve(recording)
    before = resolved.design(recording)
    for fold in purged(planned(recording, 5, "block", 0.02), (resolved,), recording):
        lost = ~fold.part
        spikes, x = recording["spikes"].values.copy(), recording["x"].values.copy()
        spikes[lost], x[lost] = 9, 99.0
        other = recording.assign(spikes=(("time", "neuron"), spikes, recording["spikes"].attrs), x=("time", x, recording["x"].attrs))
        after = resolved.design(other)
        np.testing.assert_array_equal(before.shared["x"][fold.kept], after.shared["x"][fold.kept])
        np.testing.assert_array_equal(before.each["own"]["history"][:, fold.kept], after.each["own"]["history"][:, fold.kept])
        distance = np.abs(np.flatnonzero(fold.kept)[:, None] - fold.test).min(1)
        assert distance.min() > 2  # a gap of two bins
        assert (fold.part & ~fold.kept).sum() <= 2 * 5 + round(lead / 0.01)


def test_test_rows_read_their_real_past(recording):
    model = bg.GLM(bg.Baseline() + bg.History(SHORT, G))
    found = bg.kfold(model, recording, 8, method="map", progress=False).elpd_i
    assert int(found.isnull().any("neuron").sum()) == 2 * 5  # only the rows at the two epochs' beginnings


def test_all_rows_are_tested_once_by_trials_and_sessions():
    rng = np.random.default_rng(0)
    trials = bg.from_trials({"spikes": rng.poisson(0.3, (25, 40, 1))}, dt=0.01)
    model = bg.GLM(bg.Baseline())
    found = bg.kfold(model, trials, 5, by="trial", method="map", progress=False)
    assert (found.unit, found.se_unit, found.n_clusters) == ("bin", "trial", 25)
    np.testing.assert_allclose(found.elpd_i, from_scratch(model, trials, 5, by="trial"), atol=EXACT)
    sessions = bg.concat({"a": trials, "b": trials, "c": trials})
    choice = bg.GLM(bg.Baseline(), response="rate")
    counts = sessions.assign(rate=("time", rng.poisson(0.3, sessions.sizes["time"]), {"kind": "column"})).drop_vars(["spikes", "observed"])
    by_session = bg.kfold(choice, counts, 3, by="session", method="map", progress=False)
    assert by_session.n_data_points == 3000
    with pytest.raises(ValueError, match="leaves no row to learn a/"):
        bg.kfold(model, sessions, 3, by="session", method="map", progress=False)


def test_functions_and_models_are_fitted_on_the_training_rows(recording):
    def driven(spikes, x):
        slope = numpyro.sample("slope", dist.Normal(0, 1))
        level = numpyro.sample("level", dist.Normal(0, 3))
        numpyro.sample("spikes", dist.Poisson(np.e ** (level + slope * x)), obs=spikes)

    data = recording.drop_vars("spikes").assign(spikes=("time", recording["spikes"].values[:, 0], {"kind": "column"}))
    glm = bg.GLM(bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x", G))
    by_function = bg.kfold(bg.from_function(driven), data, 4, method="map", progress=False)
    np.testing.assert_allclose(by_function.elpd_i, bg.kfold(glm, data, 4, method="map", progress=False).elpd_i, atol=1e-3)


def test_sampled_folds(recording):
    data = recording.isel(time=slice(0, 400))
    model = bg.GLM(bg.Baseline() + bg.Linear("x", G))
    with pytest.warns(NotConverged):  # so few draws
        found = bg.kfold(model, data, 2, method=method.NUTS(num_samples=60, num_chains=2, num_warmup=60), progress=False)
    averaged = bg.kfold(model, data, 2, method="laplace", progress=False)  # over a posterior too: the mode alone is 1.4 nats lower
    assert found.n_samples == 120
    assert found.elpd == pytest.approx(averaged.elpd, abs=2)
    assert "did not converge" in repr(found)


def test_the_record_says_what_it_is(recording):
    found = bg.kfold(bg.GLM(bg.Baseline() + bg.History(SHORT, G)), recording, 5, method="map", progress=False)
    assert found.ic == "kfold"
    assert found.p == pytest.approx(float(found.p_i.sum()))
    assert 0 < found.p < 20
    for words in ("one block of neighbouring rows of 5 at a time", "training rows a fold that read it", "plug-in density", "KFOLD"):
        assert words in repr(found)
    assert set(found.by_neuron) >= {"elpd", "se", "p"}
    assert found.by_neuron["elpd"].sum().item() == pytest.approx(found.elpd)


def test_comparisons_by_folds_share_rows_and_purge(recording):
    models = {"long": bg.GLM(bg.Baseline() + bg.History(basis.RaisedCosine(3, span=0.2), G)), "short": bg.GLM(bg.Baseline() + bg.History(SHORT, G))}
    fits = bg.fit_all(models, recording, "map", progress=False)
    found = compare(fits, ic="kfold", k=4, progress=False)
    assert all(row.verdict != "not comparable" for row in found.rows)
    assert found.ic == "kfold"
    assert found["long"].elpd.scheme == found["short"].elpd.scheme  # the longer filter purges for both
    assert "plug-in" in repr(found)
    assert compare(fits, ic="kfold", k=4, block=0.2, progress=False)["long"].clusters == 38  # its filter drops a whole block at the beginning of each epoch
    alone = {name: bg.kfold(model, recording, 4, method="map", progress=False) for name, model in models.items()}
    assert "fit_all" in compare(alone).verdict
    forgotten = {name: replace(fit, given=None) for name, fit in fits.items()}
    with pytest.raises(ValueError, match="as it was written"):
        compare(forgotten, ic="kfold")


def test_points_and_posteriors_are_not_compared(recording):
    model = bg.GLM(bg.Baseline() + bg.Linear("x", G))
    point, draws = (bg.kfold(model, recording, 4, method=how, progress=False) for how in ("map", method.Laplace(num_samples=500)))
    found = compare({"draws": draws, "point": point})
    assert found["point"].verdict == "not comparable"
    assert "approx=True" in found["point"].reason
    assert compare({"draws": draws, "point": point}, approx=True)["point"].verdict == "not distinguishable"


def test_bad_asking(recording):
    model = bg.GLM(bg.Baseline())
    with pytest.raises(ValueError, match="as you wrote it"):
        bg.kfold(model.resolve(recording), recording, progress=False)
    with pytest.raises(ValueError, match="'block', 'epoch', 'trial', 'session'"):
        bg.kfold(model, recording, by="minute", progress=False)
    with pytest.raises(ValueError, match="between 2 and 2"):
        bg.kfold(model, recording, k=5, by="epoch", method="map", progress=False)
    with pytest.raises(ValueError, match="does not know k"):
        compare({"a": 1, "b": 2}, k=5)
    with pytest.raises(ValueError, match="by= says"):
        compare({"a": 1, "b": 2}, ic="kfold", unit="bin")


@pytest.fixture(scope="module")
def place_cell():
    """10 ms bins of the place cell: spikes, position (cm), speed (cm/s), direction of travel."""
    import scipy.io

    raw = scipy.io.loadmat(folder("place_cell") / "spikes-1.mat")
    t, x, times = (raw[name].ravel() for name in ("t", "X", "spiketimes"))
    rows = t.size // 10
    binned = lambda values: values[: rows * 10].reshape(rows, 10)  # noqa: E731
    spikes = binned(np.histogram(times, np.append(t - 5e-4, t[-1] + 5e-4))[0]).sum(1)
    velocity = binned(np.append(0.0, np.diff(x)) / 1e-3).mean(1)
    return bg.recording(dt=0.01, spikes=spikes, position=binned(x).mean(1), speed=np.abs(velocity), direction=(velocity > 0).astype(int))


def test_speed_adds_nothing_to_a_place_cell_and_direction_does(place_cell):
    law = prior.Gaussian(3.0)
    position = bg.Baseline() + bg.Tuning("position", basis.BSpline(10, bounds=(0, 100)), law)
    models = {
        "position": bg.GLM(position),
        "position + speed": bg.GLM(position + bg.Tuning("speed", basis.BSpline(10, bounds=(0, 60)), law)),
        "position + direction": bg.GLM(position + bg.Tuning("direction", basis.OneHot([0, 1]), law)),
    }
    records = {name: quietly(model, place_cell, method="map") for name, model in models.items()}
    compared = lambda *names: compare({name: records[name] for name in names}, block=5.0)  # noqa: E731
    assert compared("position", "position + speed")["position + speed"].verdict in ("worse", "not distinguishable")
    assert compared("position", "position + direction")["position + direction"].verdict == "better"
