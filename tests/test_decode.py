"""Decoding by inversion: against loops and closed forms, its calibration, its dynamics, what it refuses."""

from __future__ import annotations

import itertools
import warnings

import matplotlib
import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp
from synthetic import made_up

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._decoding._coverage import coverage
from bayesglm._decoding._decode import DecodeNote, decode
from bayesglm._decoding._dynamics import RandomWalk, walk_matrix
from bayesglm._double import double
from bayesglm._likelihood import log_likelihood_chunks, source
from bayesglm.engine.hidden import log_evidence, smoothed

matplotlib.use("Agg")

ROWS, DT = 90, 0.1
ABSOLUTE = 1e-9  # of probabilities that two routes compute
G = prior.Gaussian(1.0)


def recording(seed=0, rows=ROWS, cells=3):
    rng = np.random.default_rng(seed)
    return bg.recording(
        dt=DT,
        epoch=np.repeat([0, 1], [rows // 2 + 2, rows - rows // 2 - 2]),
        spikes=rng.poisson(0.7, (rows, cells)),
        heading=bg.angle(rng.uniform(0, 360, rows), period=360),
        x=rng.uniform(0, 2, rows),
        y=rng.uniform(-1, 1, rows),
        speed=rng.gamma(2.0, size=rows),
        state=np.array(["rest", "run", "sleep"])[rng.integers(0, 3, rows)],
        contrast=rng.choice([0.0, 0.5, 1.0], rows),
        session=np.repeat(["one", "two"], [rows // 2 + 2, rows - rows // 2 - 2]),
        any_spike=(("time", "neuron"), rng.integers(0, 2, (rows, cells))),
        trace=(("time", "neuron"), rng.normal(size=(rows, cells))),
        choice=rng.integers(0, 3, rows),
        own=(("time", "neuron"), rng.normal(size=(rows, cells))),
    )


def by_replacing(fit, data, targets, decoded, window=None, power=1.0):
    """The posterior by writing each of the grid's values into every row: no factor is split, nothing is shared."""
    grid = list(itertools.product(*(decoded[target].values for target in targets)))
    logs = []
    for values in grid:
        told = data.assign(
            {target: (data[target].dims, np.full(data.sizes["time"], value), data[target].attrs) for target, value in zip(targets, values, strict=True)}
        )
        made = source(fit, told, common=False)
        logs.append(np.concatenate([part.sum(2) for _, part in log_likelihood_chunks(made)], axis=1))
    logs = np.stack(logs, -1)  # (draw, row, point)
    bins = 1 if window is None else round(window / DT)
    parts, epoch = [], data["epoch"].values
    for number in np.unique(epoch):
        rows = np.flatnonzero(epoch == number)
        parts += [logs[:, rows[i : i + bins]].sum(1) for i in range(0, len(rows), bins)]
    joint = power * np.stack(parts, 1) + np.log(decoded["prior"].values.ravel())
    each = np.exp(joint - logsumexp(joint, axis=2, keepdims=True))
    return each.mean(0), logsumexp(joint, axis=2)


def quietly(*args, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecodeNote)
        return decode(*args, progress=False, **how)


PAST = bg.History(basis.RaisedCosine(2, span=0.3), G) + bg.Coupling(basis.RaisedCosine(2, span=0.3), G)
HEADING = bg.Tuning("heading", basis.CyclicBSpline(5), G)
CASES = {
    "a circle with history and coupling": (bg.Baseline() + HEADING + PAST, "heading", {}, family.Poisson(), "spikes"),
    "a line": (bg.Baseline() + bg.Tuning("x", basis.BSpline(5), G) + bg.Linear("x", G, name="slope"), "x", {}, family.Poisson(), "spikes"),
    "a plane": (bg.Baseline() + bg.Tuning(("x", "y"), basis.BSpline(4) * basis.BSpline(4), G), ("x", "y"), {"grid": (7, 5)}, family.Poisson(), "spikes"),
    "two lines": (bg.Baseline() + bg.Linear("x", G) + bg.Tuning("y", basis.BSpline(4), G), ("x", "y"), {"grid": 6}, family.Poisson(), "spikes"),
    "a category": (bg.Baseline() + bg.Tuning("state", basis.OneHot(), G), "state", {}, family.Poisson(), "spikes"),
    "a numbered category": (bg.Baseline() + bg.Tuning("contrast", basis.OneHot(), G), "contrast", {}, family.Poisson(), "spikes"),
    "a known column": (
        bg.Baseline() + HEADING * bg.Linear("speed") + bg.Linear("own", G),
        "heading",
        {"given": ("speed", "own")},
        family.Poisson(),
        "spikes",
    ),
    "half of a plane": (bg.Baseline() + bg.Tuning(("y", "x"), basis.BSpline(4) * basis.BSpline(4), G), "x", {"given": "y"}, family.Poisson(), "spikes"),
    "gain on history": (
        bg.Baseline() + HEADING + HEADING * bg.History(basis.RaisedCosine(2, span=0.3), G, name="past"),
        "heading",
        {},
        family.Poisson(),
        "spikes",
    ),
    "pooled": (bg.Baseline() + HEADING + bg.Pooled("session", of="heading", prior=G), "heading", {"given": "session"}, family.Poisson(), "spikes"),
    "softplus": (bg.Baseline() + HEADING + PAST, "heading", {}, family.Poisson("softplus"), "spikes"),
    "dispersed": (bg.Baseline() + HEADING + PAST, "heading", {}, family.NegativeBinomial(0.5), "spikes"),
    "binary": (bg.Baseline() + HEADING, "heading", {}, family.Bernoulli(), "any_spike"),
    "calcium": (bg.Baseline() + HEADING + bg.Offset("own"), "heading", {"given": "own"}, family.Gaussian(0.7), "trace"),
    "choices": (bg.Baseline() + bg.Tuning("heading", basis.Fourier(1), G), "heading", {}, family.Categorical(), "choice"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_posterior_is_that_of_writing_every_value_into_the_recording(case):
    terms, target, how, law, response = CASES[case]
    data, targets = recording(), (target,) if isinstance(target, str) else target
    model = bg.GLM(terms, law, response=response)
    if case == "choices":
        fit = bg.fit(model, data, "map", progress=False)
    else:
        fit = made_up(model, data, {"baseline": -0.4}, sd=0.4, draws=3)
    window = None if case in ("softplus", "a line") else 0.3
    how = how if "category" in case else {"grid": 9} | how
    decoded = quietly(fit, data, target, window=window, **how)
    expected, logs = by_replacing(fit, data, targets, decoded, window)
    np.testing.assert_allclose(decoded["probability"].values.reshape(expected.shape), expected, atol=ABSOLUTE)
    np.testing.assert_allclose(decoded["log_evidence"], logsumexp(logs, axis=0) - np.log(len(logs)), atol=1e-7)
    np.testing.assert_allclose(decoded["probability"].sum(targets), 1.0, atol=1e-12)


def test_two_levels_by_hand():
    """p(s | y) of one count: a ratio of two Poisson probabilities, averaged over two draws, each normalised alone."""
    data = bg.recording(rows="trial", spikes=[3, 0, 1], state=["a", "b", "a"])
    fit = made_up(bg.GLM(bg.Baseline(G) + bg.Tuning("state", basis.OneHot(), G)), data, chains=1, draws=2)
    logs = np.array([[0.2, 1.1], [-0.5, 0.9]])  # (draw, level)
    fit.idata["posterior"]["baseline"].values[:] = 0.0
    fit.idata["posterior"]["state"].values[:] = logs.reshape(fit.idata["posterior"]["state"].shape)
    decoded = quietly(fit, data, "state", prior=[0.3, 0.7])
    each = [[np.array([0.3, 0.7]) * stats.poisson.pmf(y, np.exp(row)) for row in logs] for y in (3, 0, 1)]
    expected = [np.mean([p / p.sum() for p in pair], axis=0) for pair in each]
    np.testing.assert_allclose(decoded["probability"], expected, atol=ABSOLUTE)
    assert decoded["estimate"].values.tolist() == [["a", "b"][int(p.argmax())] for p in expected]


def test_nothing_of_the_target_is_read():
    data = recording()
    fit = made_up(bg.GLM(bg.Baseline() + HEADING + PAST), data, sd=0.4, draws=3)
    whole = quietly(fit, data, "heading", window=0.3)
    shuffled = data.assign(heading=(data["heading"].dims, np.roll(data["heading"].values, 31), data["heading"].attrs))
    lost = data.assign(heading=(data["heading"].dims, np.full(ROWS, np.nan), data["heading"].attrs))
    for other in (shuffled, lost, data.drop_vars("heading")):
        np.testing.assert_array_equal(quietly(fit, other, "heading", window=0.3)["probability"], whole["probability"])
    assert "truth" not in quietly(fit, data.drop_vars("heading"), "heading")
    assert "does not have the target" in quietly(fit, lost, "heading").attrs["verdict"]


def test_windows_stay_in_their_epoch_and_say_what_they_hold():
    data = recording()
    fit = made_up(bg.GLM(bg.Baseline() + HEADING), data, draws=2)
    decoded = quietly(fit, data, "heading", window=0.5)
    first = ROWS // 2 + 2
    assert decoded["bins"].values.tolist() == [5] * (first // 5) + [first % 5] + [5] * ((ROWS - first) // 5) + [(ROWS - first) % 5]
    np.testing.assert_allclose(decoded["time"][0], data["time"][:5].mean())
    vectors = np.exp(1j * np.deg2rad(data["heading"].values[:5])).mean()
    np.testing.assert_allclose(decoded["truth"][0], np.rad2deg(np.angle(vectors)) % 360)
    assert set(np.unique(decoded["epoch"])) == {0, 1}


def test_rows_that_are_not_scored_give_the_prior_back():
    data = recording()
    fit = made_up(bg.GLM(bg.Baseline() + HEADING + bg.History(basis.RaisedCosine(2, span=0.3), G)), data, draws=2)
    decoded = quietly(fit, data, "heading")
    np.testing.assert_allclose(decoded["probability"][:3], np.broadcast_to(decoded["prior"], (3, 60)), atol=1e-12)
    assert decoded["bins"].values[:4].tolist() == [0, 0, 0, 1]


def test_the_occupancy_prior_counts_the_training_rows():
    data = recording()
    fit = made_up(bg.GLM(bg.Baseline() + bg.Tuning("x", basis.BSpline(5), G)), data, draws=2)
    decoded = quietly(fit, data, "x", grid=[0.2, 1.0, 1.8])
    counts = np.histogram(data["x"], [-9, 0.6, 1.4, 9])[0] + 0.5
    np.testing.assert_allclose(decoded["prior"], counts / counts.sum())
    uneven = quietly(fit, data, "x", grid=[0.0, 0.5, 1.5], prior="uniform")["prior"].values
    np.testing.assert_allclose(uneven, np.array([0.5, 0.75, 1.0]) / 2.25)


def simulated(seed=0, rows=6000, cells=6, gain=1.3, walk=None, noise=0.0, dt=0.05):
    """Head-direction cells: a von Mises bump each; a heading drawn anew or walking; a shared gain that no model knows."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 360, rows) if walk is None else np.cumsum(rng.normal(size=rows) * walk * np.sqrt(dt)) % 360
    centres = np.arange(cells) * 360 / cells
    shared = noise * np.repeat(rng.normal(size=rows // 20 + 1), 20)[:rows]
    eta = -1.2 + gain * np.cos(np.deg2rad(angle[:, None] - centres)) + shared[:, None]
    return bg.recording(dt=dt, spikes=rng.poisson(np.exp(eta)), heading=bg.angle(angle, period=360))


BUMPS = bg.GLM(bg.Baseline(G) + bg.Tuning("heading", basis.Fourier(1), G))


def planted(data, gain=1.3, cells=6):
    """Draws around the truth of ``simulated``."""
    centres = np.arange(cells) * 2 * np.pi / cells
    return made_up(BUMPS, data, {"baseline": -1.2, "heading": gain * np.stack([np.sin(centres), np.cos(centres)], 1)}, draws=20)


def test_sets_cover_what_they_say_on_spikes_of_the_model():
    train, test = bg.split(simulated(), 0.5)
    decoded = decode(planted(train), test, "heading", prior="uniform", progress=False)
    for prob in (0.5, 0.9):
        found = coverage(decoded, prob=prob)
        assert abs(float(found["coverage"]) - prob) < 0.03
    assert decoded.attrs["verdict"].startswith("as stated")
    assert found["by_tenth"].sizes == {"tenth": 10}


def test_dynamics_lower_the_error_and_the_speed_is_found():
    train, test = bg.split(simulated(1, walk=90.0, rows=3000, gain=1.0), 0.5)
    fit = planted(train, gain=1.0)
    still = quietly(fit, test, "heading", prior="uniform", draws=20)
    moving = quietly(fit, test, "heading", prior="uniform", draws=20, dynamics=RandomWalk())
    errors = [np.median(np.abs((one["estimate"] - one["truth"] + 180) % 360 - 180)) for one in (still, moving)]
    assert errors[1] < 0.6 * errors[0]
    speed = float(moving.attrs["dynamics"].split("speed ")[1].split()[0])
    assert 60 < speed < 130
    assert 0.85 < moving.attrs["coverage"] < 0.95


def test_temperature_mends_what_a_shared_gain_breaks():
    train, test = bg.split(simulated(2, rows=4000, noise=1.2), 0.6)
    fit = bg.fit(BUMPS, train, "map", progress=False)
    with pytest.warns(DecodeNote, match="overconfident"):
        sure = decode(fit, test, "heading", prior="uniform", window=0.4, draws=20, progress=False)
    calm = quietly(fit, test, "heading", prior="uniform", window=0.4, draws=20, calibrate=True)
    assert calm.attrs["temperature"] > 1.2
    assert "->" in calm.attrs["calibration"]
    losses = [-bg.decoding_information(one)["bits"] for one in (sure, calm)]
    assert losses[1] < losses[0]
    np.testing.assert_allclose(calm["probability"], by_replacing_power(fit, test, calm), atol=1e-6)


def by_replacing_power(fit, data, decoded):
    """A few rows of the tempered posterior by hand; the rest as found."""
    expected = decoded["probability"].values.copy()
    part = data.isel(time=slice(0, 16))
    kept = fit.posterior.stack(sample=("chain", "draw"))
    kernels = fit.model.terms["heading"].basis.kernels(decoded["heading"].values)
    rate = np.exp(kept["baseline"].values.T[:, None] + np.einsum("gb,nbs->sgn", kernels, kept["heading"].transpose("neuron", "heading_basis", "sample").values))
    for i in range(2):
        y = part["spikes"].values[8 * i : 8 * i + 8]
        logs = stats.poisson.logpmf(y[:, None, None], rate).sum((0, 3)) / decoded.attrs["temperature"]
        expected[i] = np.exp(logs - logsumexp(logs, axis=1, keepdims=True)).mean(0)
    return expected


def test_sums_forward_and_backward_are_sums_over_all_paths():
    rng = np.random.default_rng(0)
    steps, states = 5, 3
    logs, first = rng.normal(size=(steps, 1, states)) * 3, np.array([0.2, 0.5, 0.3])
    kernel = rng.dirichlet(np.ones(states), states)
    starts = np.array([True, False, False, True, False])
    law, total = np.zeros((steps, states)), 0.0
    for path in itertools.product(range(states), repeat=steps):
        p = np.exp(sum(logs[t, 0, s] for t, s in enumerate(path)))
        for t, s in enumerate(path):
            p *= first[s] if starts[t] else kernel[path[t - 1], s]
        total += p
        for t, s in enumerate(path):
            law[t, s] += p
    with double():
        found, evidence = smoothed(logs, first, (kernel,), starts)
        assert abs(float(log_evidence(logs, first, (kernel,), starts)[0]) - np.log(total)) < 1e-10
    np.testing.assert_allclose(found[:, 0], law / total, atol=1e-12)
    np.testing.assert_allclose(np.asarray(evidence).sum(), np.log(total), atol=1e-10)


def test_axes_that_move_alone_are_one_chain_on_their_product():
    rng = np.random.default_rng(1)
    one, other = rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(2), 2)
    logs, starts = rng.normal(size=(6, 2, 6)), np.eye(6)[0] > 0
    with double():
        pair = smoothed(logs, np.full(6, 1 / 6), (one, other), starts)[0]
        whole = smoothed(logs, np.full(6, 1 / 6), (np.kron(one, other),), starts)[0]
    np.testing.assert_allclose(pair, whole, atol=1e-12)


@pytest.mark.parametrize("turn", [None, 10.0])
def test_the_walk_on_the_grid_has_the_variance_of_the_walk(turn):
    axis = np.linspace(0.05, 9.95, 100)
    widths = np.full(100, 0.1)
    for sd in (0.03, 0.2, 0.9):
        walk = walk_matrix(axis, widths, turn, sd)
        np.testing.assert_allclose(walk @ np.ones(100), 1.0)
        np.testing.assert_allclose(np.ones(100) @ walk, 1.0, atol=1e-9)
        np.testing.assert_allclose(walk[50] @ (axis - axis[50]) ** 2, sd**2, rtol=1e-3)
        half = walk_matrix(axis, widths, turn, sd / np.sqrt(2))
        np.testing.assert_allclose(half @ half, walk, atol=1e-12)
    seam = walk_matrix(axis, widths, turn, 0.2)[0, -1]
    assert (seam > 0.1) == (turn is not None)
    np.testing.assert_allclose(stats.norm.pdf(axis[20:81] - axis[50], scale=0.9) * 0.1, walk[50, 20:81], atol=2e-4)


def test_epochs_are_chains_of_their_own():
    data = recording()
    fit = made_up(bg.GLM(bg.Baseline() + HEADING), data, sd=0.5, draws=2)
    how = {"prior": "uniform", "dynamics": RandomWalk(speed=40.0)}
    whole = quietly(fit, data, "heading", **how)["probability"].values
    first = ROWS // 2 + 2
    parts = [quietly(fit, data.isel(time=part), "heading", **how)["probability"].values for part in (slice(0, first), slice(first, ROWS))]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-10)
    wild = quietly(fit, data, "heading", prior="uniform", dynamics=RandomWalk(speed=1e5))["probability"].values
    np.testing.assert_allclose(wild, quietly(fit, data, "heading", prior="uniform")["probability"].values, atol=1e-6)


def test_information_of_a_known_channel():
    """A posterior that is right three times in four and says so: 2 - h bits on four levels, and the paired difference with itself is zero."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 4000)
    shown = np.where(rng.uniform(size=4000) < 0.75, truth, rng.integers(0, 4, 4000))
    right = 0.75 + 0.25 / 4
    law = np.where(np.arange(4) == shown[:, None], right, (1 - right) / 3)
    coords = {"s": np.arange(4.0), "time": (np.arange(4000) + 0.5) * 0.1, "epoch": ("time", np.zeros(4000, int))}
    decoded = xr.Dataset(
        {"probability": (("time", "s"), law), "prior": ("s", np.full(4, 0.25))}, coords, {"target": "s", "rows": "time", "dt": 0.1, "window": 0.1}
    )
    found = bg.decoding_information(decoded, truth.astype(float))
    expected = 2 + right * np.log2(right) + (1 - right) * np.log2((1 - right) / 3)
    assert abs(float(found["bits"]) - expected) < 3 * float(found["se"])
    assert abs(float(found["rate"]) - 10 * float(found["bits"])) < 1e-12
    spread = np.sqrt(right * (1 - right)) * np.log2(right * 3 / (1 - right)) / np.sqrt(4000)
    assert 0.7 < float(found["se"]) / spread < 1.4
    none = bg.decoding_information(decoded, truth.astype(float), minus=decoded)
    assert float(none["bits"]) == 0.0 and none.attrs["verdict"] == "not distinguishable"


def test_randomised_sets_cover_exactly():
    """On a law that is true, whatever the number of cells, coverage is prob in expectation: summed over the law itself."""
    law = np.array([0.5, 0.3, 0.15, 0.05])
    decoded = xr.Dataset({"probability": (("trial", "s"), np.tile(law, (4, 1)))}, {"s": np.arange(4.0)}, {"target": "s", "rows": "trial"})
    for prob in (0.2, 0.5, 0.8, 0.9, 0.97):
        each = [float(coverage(decoded.isel(trial=[0]), np.array([value]), prob)["coverage"]) for value in range(4)]
        np.testing.assert_allclose(law @ each, prob)


BAD = {
    "no term of the model reads 'y'": ({}, "y"),
    "given=\\('speed',\\)": ({}, "heading"),
    "reads no \\['x'\\]": ({"given": ("speed", "x")}, "heading"),
    "at least one bin": ({"given": "speed", "window": 0.01}, "heading"),
    "shape \\(60,\\)": ({"given": "speed", "prior": np.ones(3)}, "heading"),
    "'occupancy', 'uniform'": ({"given": "speed", "prior": "flat"}, "heading"),
    "rising order": ({"given": "speed", "grid": [0.0, 180.0, 360.0]}, "heading"),
    "whole number": ({"given": "speed", "draws": 0}, "heading"),
    "bg.RandomWalk": ({"given": "speed", "dynamics": 3.0}, "heading"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_asking(sentence):
    how, target = BAD[sentence]
    data = recording()
    fit = made_up(bg.GLM(bg.Baseline() + HEADING + bg.Linear("speed", G)), data, draws=2)
    with pytest.raises(ValueError, match=sentence):
        quietly(fit, data, target, **how)


def test_more_bad_asking():
    data = recording()
    lagged = made_up(bg.GLM(bg.Baseline() + bg.Stimulus("x", basis.RaisedCosine(2, span=0.3), G)), data, draws=2)
    with pytest.raises(ValueError, match="stimulus-movie route"):
        quietly(lagged, data, "x", grid=20)
    category = made_up(bg.GLM(bg.Baseline() + bg.Tuning("state", basis.OneHot(), G)), data, draws=2)
    with pytest.raises(ValueError, match="needs neighbours"):
        quietly(category, data, "state", dynamics=RandomWalk(1.0))
    with pytest.raises(ValueError, match="its levels"):
        quietly(category, data, "state", grid=["rest", "fly"])
    with pytest.raises(ValueError, match="speed="):
        RandomWalk(speed=-1.0)
    with pytest.raises(ValueError, match="bg.decode returns"):
        coverage(data)
    with pytest.raises(ValueError, match="response"):
        quietly(category, data.drop_vars("spikes").assign(other=("time", np.zeros(ROWS))), "state")
    outside = made_up(bg.GLM(bg.Baseline() + bg.Linear("own", G) + bg.Offset("x")), data, draws=2)
    with pytest.raises(ValueError, match="Offset"):
        quietly(outside, data, "x", given="own")
    with pytest.raises(ValueError, match="one value a row"):
        quietly(outside, data, "own", given="x")


def test_the_picture_shows_posterior_and_truth():
    data = recording()
    fit = made_up(bg.GLM(bg.Baseline() + HEADING), data, sd=0.5, draws=3)
    decoded = quietly(fit, data, "heading", window=0.3)
    figure = bg.plot.decoded(decoded)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    assert ax.get_ylabel() == "heading (deg)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["truth"]
    line = ax.get_lines()[0]
    known = np.isfinite(line.get_ydata())
    np.testing.assert_allclose(np.mod(line.get_ydata()[known], 360), decoded["truth"].values)
    plane = made_up(bg.GLM(bg.Baseline() + bg.Tuning(("x", "y"), basis.BSpline(4) * basis.BSpline(4), G)), data, draws=2)
    both = quietly(plane, data, ("x", "y"), grid=8)
    assert len(bg.plot.decoded(both, span=(0.0, 3.0)).axes) == 4
    with pytest.raises(ValueError, match="two"):
        bg.plot.decoded(both, ax=ax)
    with pytest.raises(ValueError, match="holds no row"):
        bg.plot.decoded(decoded, span=(1e3, 2e3))


@pytest.mark.slow
def test_sets_cover_with_history_and_coupling_alone_and_along_the_walk():
    """Ten populations, refractory and coupled, decoded by their own fits: 87-93 % of 90 % sets hold the truth, and the walk lowers the error."""
    from studies.decoding import heading_coverage

    found = [heading_coverage(seed) for seed in range(10)]
    for name in ("alone", "walk"):
        assert 0.87 < np.mean([one[f"coverage_{name}"] for one in found]) < 0.93
    assert np.mean([one["median_error_walk"] for one in found]) < 0.6 * np.mean([one["median_error_alone"] for one in found])


@pytest.mark.slow
def test_coupling_is_worth_information():
    """Five mosaics: the gain of the coupled model is positive, beyond its standard errors taken together, and both decoders cover."""
    from studies.decoding import coupling_gain

    found = [coupling_gain(seed) for seed in range(5)]
    gains, errors = ([one[name] for one in found] for name in ("gain_bits_per_s", "gain_se"))
    assert np.mean(gains) > 3 * np.sqrt(np.sum(np.square(errors))) / len(found)
    assert all(0.85 < one["coverage_coupled"] < 0.98 for one in found)
