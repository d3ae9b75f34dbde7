"""Free-running simulation: its eta is the design's on what it simulated, its moments those of theory."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from shapes import EPOCHS, columns, everything
from synthetic import made_up
from test_glm import compilations

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._double import double
from bayesglm._simulating import _free_run
from bayesglm._simulating._feedback import planned
from bayesglm._simulating._free_run import free_run
from bayesglm._simulating._simulate import RanAway, simulate, simulated_chunks
from bayesglm._story import added

EXACT = 1e-10
FEW = prior.Gaussian(0.2)
LAGS, COSINES = basis.Lags(span=0.03), basis.RaisedCosine(2, span=0.05)


def quiet(made, data=None, **options):
    """Simulated without a progress bar."""
    return simulate(made, data, progress=False, **options)


def put_back(model, data, values):
    """The recording with one simulation (row, neuron) as its response."""
    column = data[model.response]
    if model.target.receivers is None:
        new = values[:, 0].astype(float) if column.dtype.kind == "f" else values[:, 0].astype(column.dtype)
        return data.assign({model.response: column.copy(data=np.where(np.isnan(column), np.nan, new) if column.dtype.kind == "f" else new)})
    new = column.values.astype(float if column.dtype.kind == "f" else np.int64)
    new[:, model.target.places(data)] = values
    return data.assign({model.response: (column.dims, new, column.attrs)})


def eta_of(model, data, values, draw):
    """eta (row, neuron, J) of one draw, by the model's own design and story."""
    design = model.design(data)
    offset = design.each.get("offset")
    eta = sum(np.asarray(added(block, values[block.name][draw])) for block in model.blocks(design))
    eta = eta if offset is None else eta + offset.T
    return eta[..., None] if model.family.predictors is None else eta @ model.family.predictors.contrast


def made_up_values(model, draws=2):
    """Weights of every term and the family's own parameters, (draw, neuron, ...)."""
    rng, size = np.random.default_rng(0), (draws, model.target.size)
    classes = () if model.family.predictors is None else model.family.predictors.labels.shape
    values = {term.name: 0.2 * rng.normal(size=(*size, *term.shape, *classes)) for term in model.terms if not isinstance(term, bg.Offset)}
    own = {name: np.asarray(law.sample(jax.random.key(0), size)) for name, (law, _) in model.family.hyper(model.response).items()}
    return values | own


def check_law(model, data, cap=30.0):
    """eta of every simulated row is that of the design on the simulated responses."""
    model = model.resolve(data)
    with double():
        values = made_up_values(model)
        found = []
        chunks = list(free_run(planned(model, data, values), jax.random.key(1), 2, cap, None, found))
        for chunk, eta in zip(chunks, found, strict=True):
            for d, draw in enumerate(range(2)[chunk.draws]):
                for r in range(chunk.values.shape[1]):
                    back = put_back(model, data, chunk.values[d, r])
                    np.testing.assert_allclose(eta[d, r], eta_of(model, back, values, draw), rtol=EXACT, atol=EXACT)
    simulated = np.concatenate([chunk.values for chunk in chunks])
    assert simulated.max() > simulated.min()
    return simulated


POPULATIONS = {
    "history and coupling": lambda: (
        bg.Baseline()
        + bg.History(LAGS, FEW)
        + bg.Coupling(COSINES, FEW)
        + bg.Stimulus("stimulus", basis.RaisedCosine(2, span=0.04), FEW)
        + bg.Event("cue", basis.Lags(), FEW, window=(0, 0.02))
        + bg.Offset("exposure")
    ),
    "sources and a mask": lambda: bg.Baseline() + bg.History(COSINES, FEW, edge="zero") + bg.Coupling(LAGS, FEW, sources=("c", "b"), mask=MASK),
    "gains": lambda: (
        bg.Baseline()
        + bg.Tuning("x", basis.BSpline(4), FEW) * bg.History(COSINES)
        + bg.Coupling(LAGS, FEW, name="late") * bg.Linear("private")
        + bg.Linear("pose", FEW) * bg.Coupling(COSINES)
    ),
    "pooled": lambda: (
        bg.Baseline()
        + bg.Pooled("day", of=bg.History(LAGS), prior=FEW, name="slopes")
        + bg.Pooled("day", of=bg.Coupling(COSINES, name="theirs"), prior=FEW)
        + bg.Linear("stimulus", FEW) * bg.Pooled("state", of=bg.History(COSINES, name="own"))
    ),
}
MASK = np.array([[True, False], [True, True], [False, True]])


def binary():
    """At most one spike a bin: Bernoulli programs compile fastest."""
    return everything(spikes=np.minimum(columns()["spikes"], 1))


def test_eta_is_the_designs():
    check_law(bg.GLM(POPULATIONS["history and coupling"]()), everything())


@pytest.mark.parametrize("name", list(POPULATIONS)[1:])
def test_eta_is_the_designs_for_every_kind_of_term(name):
    check_law(bg.GLM(POPULATIONS[name](), family.Bernoulli()), binary(), None)


def test_eta_is_the_designs_over_the_borders_of_chunks(monkeypatch):
    monkeypatch.setattr(_free_run, "_NUMBERS", 1)
    monkeypatch.setattr(_free_run, "_CACHE", 1)
    check_law(bg.GLM(POPULATIONS["history and coupling"](), family.Bernoulli()), binary(), None)


def test_cells_outside_the_model_keep_their_recorded_past():
    data = binary()
    terms = bg.Baseline() + bg.Coupling(LAGS, FEW) + bg.Linear("x", FEW) * bg.Coupling(COSINES, name="scaled")
    check_law(bg.GLM(terms, family.Bernoulli(), neurons=("c", "a")), data, None)
    choice = bg.GLM(bg.Baseline() + bg.Coupling(LAGS, FEW) + bg.History(LAGS, FEW), family.Bernoulli(), response="choice")
    check_law(choice, data, None)
    fit = made_up(bg.GLM(terms, neurons=("c", "a")), data, point=True)
    with pytest.raises(ValueError, match=r"reads the spikes of \['b'\].*must be in the recording"):
        quiet(fit, data.drop_vars("spikes"))


FAMILIES = {
    "negative binomial": (family.NegativeBinomial(), "spikes", 30.0),
    "zero inflated": (family.ZeroInflatedPoisson(), "spikes", 30.0),
    "bernoulli": (family.Bernoulli("cloglog"), "any_spike", None),
    "binomial": (family.Binomial("trials"), "any_spike", None),
    "gaussian": (family.Gaussian(), "trace", 1e4),
    "student": (family.StudentT(), "trace", 1e4),
    "gamma": (family.Gamma(), "power", 1e4),
    "categorical": (family.Categorical(3), "code", None),
    "ordinal": (family.Ordinal(3), "code", None),
    "angle": (family.VonMises(), "direction", None),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_feeds_back(name):
    of, column, cap = FAMILIES[name]
    data = everything()
    data = data.assign(trials=("time", np.random.default_rng(0).integers(2, 9, data.sizes["time"])))
    level = bg.Linear("stimulus", FEW) if name == "ordinal" else bg.Baseline(prior.Gaussian(0.5))
    simulated = check_law(bg.GLM(level + bg.History(LAGS, FEW), of, response=column), data, cap)
    assert simulated.dtype == (np.uint8 if of.discrete else np.float64)


@pytest.mark.parametrize("missing", ["skip", "break"])
def test_choices_feed_back(missing):
    """Coded -1 and +1; trials without a choice are stepped over."""
    epoch = np.repeat([0, 1, 2], [19, 2, 19])
    choice = np.random.default_rng(0).integers(0, 2, epoch.size).astype(float)
    choice[[4, 5, 20, 30]] = np.nan if missing == "skip" else 1.0
    data = bg.recording(rows="trial", choice=choice, x=np.arange(40.0), epoch=epoch)
    history = bg.History(basis.Lags(span=3), prior.Gaussian(1.0), missing=missing)
    model = bg.GLM(bg.Baseline(FEW) + history, family.Bernoulli(), response="choice")
    check_law(model, data, None)
    whole = quiet(made_up(model, data, {"history": [9.0, 0, 0]}, draws=3, sd=0.0), data, draws=5, replicates=2)
    assert whole["choice"].dims == ("draw", "replicate", "trial")
    assert whole["capped_at"].attrs["units"] == "trials"
    inside = whole["choice"].isel(trial=slice(0, 3)).values  # a weight of 9: the first choice is repeated
    assert (inside == inside[..., :1]).mean() > 0.99


def test_independent_cells_fire_at_their_rate():
    """E y(t) = exp(b + w x(t)), and Poisson's variance."""
    x = np.linspace(-1, 1, 300)
    data = bg.recording(dt=0.01, x=x, spikes=np.zeros((300, 2), int))
    model = bg.GLM(bg.Baseline(FEW) + bg.Linear("x", FEW))
    fit = made_up(model, data, {"baseline": [-1.0, 0.5], "x": 0.7}, point=True)
    simulated = quiet(fit, replicates=400)
    expected = np.exp(np.array([-1.0, 0.5]) + 0.7 * x[:, None])
    y = simulated["spikes"].values[0].astype(float)
    z = (y.mean(0) - expected) / np.sqrt(expected / 400)
    assert np.abs(z).max() < 4.5
    assert z.std() == pytest.approx(1.0, abs=0.1)
    assert y.var(0).mean() == pytest.approx(expected.mean(), rel=0.03)
    assert simulated.attrs["share_ran_away"] == 0.0
    assert simulated.attrs["from"] == "point"
    assert simulated.sizes["draw"] == 1


def correlation(y, lag):
    y = y - y.mean()
    return (y[..., lag:] * y[..., :-lag]).mean() / (y * y).mean()


def test_a_gaussian_history_is_autoregressive():
    """y(t) = phi y(t - 1) + sigma e: variance sigma^2 / (1 - phi^2), correlation phi^lag."""
    phi, sigma = 0.8, 2.0
    data = bg.recording(dt=0.01, trace=np.random.default_rng(0).normal(size=2000))
    model = bg.GLM(bg.Baseline(FEW) + bg.History(basis.Lags(span=0.01), FEW), family.Gaussian(sigma), response="trace")
    fit = made_up(model, data, {"baseline": 0.0, "history": [phi]}, point=True)
    y = quiet(fit, replicates=40)["trace"].values[0][:, 100:]
    assert y.var() == pytest.approx(sigma**2 / (1 - phi**2), rel=0.05)
    for lag in (1, 2, 5):
        assert correlation(y, lag) == pytest.approx(phi**lag, abs=0.03)


def test_self_excitation_has_the_mean_of_a_hawkes_process():
    """Far above zero softplus is the identity: E y = b / (1 - w), var = mean / (1 - w^2), correlation w^lag."""
    w, level = 0.6, 20.0
    data = bg.recording(dt=0.01, spikes=np.full((1500, 1), 50))
    model = bg.GLM(bg.Baseline(FEW) + bg.History(basis.Lags(span=0.01), FEW), family.Poisson("softplus"))
    fit = made_up(model, data, {"baseline": level, "history": [w]}, point=True)
    y = quiet(fit, replicates=30)["spikes"].values[0, :, 100:, 0].astype(float)
    assert y.mean() == pytest.approx(level / (1 - w), rel=0.01)
    assert y.var() == pytest.approx(level / (1 - w) / (1 - w**2), rel=0.05)
    assert correlation(y, 2) == pytest.approx(w**2, abs=0.03)


def test_a_refractory_cell_pauses():
    data = bg.recording(dt=0.001, spikes=np.zeros((3000, 1), int), epoch=np.repeat([0, 1], 1500))
    model = bg.GLM(bg.Baseline(FEW) + bg.History(basis.Lags(span=0.003), FEW))
    y = quiet(made_up(model, data, {"baseline": 0.0, "history": -60.0}, point=True), replicates=2)["spikes"].values[0, ..., 0] > 0
    for lag in (1, 2, 3):
        pairs = y[:, lag:] & y[:, :-lag]
        assert not pairs[:, : 1500 - lag].any()
    assert 0.15 < y.mean() < 0.25  # every fourth bin at most


def runaway(link="exp"):
    data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.3, (400, 2)))
    model = bg.GLM(bg.Baseline(FEW) + bg.History(basis.Lags(span=0.03), FEW), family.Poisson(link))
    return made_up(model, data, {"baseline": [-6.0, -1.0], "history": [[0.0, 0, 0], [0.9, 0.9, 0.9]]}, chains=2, draws=5)


def test_what_runs_away_is_held_and_said():
    with pytest.warns(RanAway, match=r"ran away.*softplus"):
        away = quiet(runaway(), replicates=3)
    assert away.attrs["cap"] == 30.0  # ten times the three spikes of the fullest bin
    assert away["spikes"].max() == 30
    assert away["spikes"].dtype == np.uint8
    assert away.attrs["share_ran_away"] == away["ran_away"].mean() == 1.0
    first = (away["spikes"].isel(neuron=1) >= 30).values.argmax(-1)
    np.testing.assert_allclose(away["capped_at"], (first + 0.5) * 0.01)
    assert away["spikes"].isel(neuron=0).mean() < 0.1
    assert "10 of 10" not in away.attrs["stability"]
    assert "30 of 30 simulations (100.0%)" in away.attrs["stability"]
    with pytest.warns(RanAway):
        higher = quiet(runaway(), replicates=3, cap=1000)
    assert higher["spikes"].max() == 1000
    assert higher["spikes"].dtype == np.uint16
    assert (higher["capped_at"] >= away["capped_at"]).all()
    before = away["time"] < away["capped_at"]  # one key: alike until the lower cap is reached
    assert (higher["spikes"].where(before, 0) == away["spikes"].where(before, 0)).all()


def test_softplus_does_not_run_away():
    stormy = runaway("softplus")
    calm = made_up(stormy.model, stormy.data, {"baseline": -1.0, "history": [0.2, 0.2, 0.2]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = quiet(calm)
    assert "none of 100 simulations ran away" in found.attrs["stability"]
    assert np.isnan(found["capped_at"]).all()


def test_no_count_overflows():
    """Means beyond what can be drawn are held at the cap, and never turn negative or wrap around."""
    data = bg.recording(dt=0.01, spikes=np.ones((50, 3), int))
    model = bg.GLM(bg.Baseline(FEW))
    fit = made_up(model, data, {"baseline": [0.0, 15.0, 900.0]}, point=True)
    with pytest.warns(RanAway, match="nothing feeds back"):
        found = quiet(fit, cap=1e9, replicates=2)["spikes"]
    assert found.dtype == np.uint32
    assert (found.isel(neuron=2) == 10**9).all()
    assert float(found.isel(neuron=1).mean()) == pytest.approx(np.exp(15.0), rel=1e-3)
    fed = bg.GLM(bg.Baseline(FEW) + bg.History(LAGS, FEW), family.NegativeBinomial(0.5))
    with pytest.warns(RanAway):
        wild = quiet(made_up(fed, data, {"baseline": 3.0, "history": 5.0}, point=True), cap=300)["spikes"]
    assert wild.dtype == np.uint16
    assert wild.max() == 300


def test_an_unstable_gaussian_history_is_held():
    data = bg.recording(dt=0.01, trace=np.linspace(-1, 1, 500))
    model = bg.GLM(bg.Baseline(FEW) + bg.History(basis.Lags(span=0.01), FEW), family.Gaussian(1.0), response="trace")
    with pytest.warns(RanAway, match=r"10000"):
        found = quiet(made_up(model, data, {"history": [1.3]}, point=True), replicates=4)
    assert np.isfinite(found["trace"]).all()
    assert np.abs(found["trace"]).max() == found.attrs["cap"] == 1e4


def test_one_key_one_simulation():
    fit = made_up(bg.GLM(bg.Baseline() + bg.History(LAGS), family.Bernoulli()), binary(), {"baseline": -1.0}, draws=4)
    one = quiet(fit, key=3, draws=4, replicates=2)
    xr.testing.assert_identical(one, quiet(fit, key=3, draws=4, replicates=2))
    assert not one["spikes"].equals(quiet(fit, key=4, draws=4, replicates=2)["spikes"])
    assert not np.array_equal(one["spikes"].isel(replicate=0), one["spikes"].isel(replicate=1))
    parts = list(simulated_chunks(fit, key=3, draws=4, replicates=2))
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), one["spikes"])


def test_a_second_simulation_of_a_shape_compiles_nothing():
    model = bg.GLM(bg.Baseline() + bg.History(LAGS), family.Bernoulli())
    one, two = (made_up(model, binary(), {"baseline": level}, draws=4, seed=seed) for level, seed in ((-1.0, 0), (0.5, 1)))
    quiet(one, draws=4, replicates=2)
    with compilations() as seen:
        quiet(two, draws=4, replicates=2, key=9)
    assert not seen


def test_all_chunks_of_rows_share_one_program(monkeypatch):
    monkeypatch.setattr(_free_run, "_NUMBERS", 1)
    data = binary()
    for term in (bg.History(LAGS), bg.Linear("x")):
        fit = made_up(bg.GLM(bg.Baseline() + term, family.Bernoulli()), data, {"baseline": -1.0}, draws=4)
        quiet(fit, data.isel(time=slice(0, 16)), draws=4)
        with compilations() as seen:
            quiet(fit, data, draws=4)
        assert not seen


def test_the_picture_says_what_ran_away():
    with pytest.warns(RanAway):
        away = quiet(runaway(), replicates=3)
    figure = bg.plot.simulation(away, runaway().data)
    assert "ran away" in figure.get_suptitle()
    assert [ax.get_title() for ax in figure.axes] == ["recorded", "simulated (draw 0, replicate 0)", "means"]
    with pytest.raises(ValueError, match="with the response 'spikes'"):
        bg.plot.simulation(away, runaway().data.drop_vars("spikes"))


def test_draws_are_spread_over_chains_and_labelled():
    data = binary()
    fit = made_up(bg.GLM(bg.Baseline(), family.Bernoulli()), data, {"baseline": -1.0}, chains=2, draws=30)
    few = quiet(fit, draws=6)
    np.testing.assert_array_equal(few["chain"], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(few["posterior_draw"], [5, 15, 25, 5, 15, 25])
    assert few["spikes"].dims == ("draw", "replicate", "time", "neuron")
    np.testing.assert_array_equal(few["epoch"], np.repeat([0, 1, 2], EPOCHS))
    np.testing.assert_array_equal(few["time"], data["time"])
    assert few["neuron"].values.tolist() == ["a", "b", "c"]
    assert quiet(fit).sizes["draw"] == 60
    assert quiet(fit, draws=1000).sizes["draw"] == 60
    assert few.attrs["from"] == "posterior"
    back = data.assign(spikes=few["spikes"].isel(draw=0, replicate=0, drop=True))
    assert np.isfinite(bg.predict(fit, back).values).all()


def test_the_prior_can_be_run():
    """Rates of prior draws: E exp(b), b ~ Normal(0, 0.5^2)."""
    data = bg.recording(dt=0.01, spikes=np.ones((60, 2), int))
    found = quiet(bg.GLM(bg.Baseline(prior.Gaussian(0.5))), data, draws=2000)
    assert found.attrs["from"] == "prior"
    assert float(found["spikes"].mean()) == pytest.approx(np.exp(0.125), rel=0.05)
    each = found["spikes"].mean(("replicate", "time")).var()
    assert float(each) == pytest.approx(np.exp(0.25) * (np.exp(0.25) - 1) + np.exp(0.125) / 60, rel=0.2)
    hierarchical = bg.GLM(bg.Baseline(FEW) + bg.Coupling(LAGS, prior.Hierarchical()), family.Bernoulli())
    assert quiet(hierarchical, binary(), draws=3)["spikes"].shape == (3, 1, 88, 3)


def test_nan_covariates_are_said():
    data = everything(stimulus=np.where(np.arange(88) < 5, np.nan, 0.0))
    found = quiet(made_up(bg.GLM(bg.Baseline() + bg.Linear("stimulus"), family.Bernoulli(), response="choice"), data, draws=2), data)
    assert found.attrs["notes"] == ["'stimulus' is NaN in 5 rows, and counts as zero there"]


def driven(stimulus, count):
    weight = numpyro.sample("weight", dist.Normal(0.0, 0.2))
    with numpyro.plate("row", stimulus.shape[0]):
        numpyro.sample("count", dist.Poisson(jax.numpy.exp(weight * stimulus)), obs=count)


def remembering(stimulus, count):
    weight = numpyro.sample("weight", dist.Normal(0.0, 0.2))
    past = jax.numpy.concatenate([jax.numpy.zeros(1), count[:-1]])
    with numpyro.plate("row", stimulus.shape[0]):
        numpyro.sample("count", dist.Poisson(jax.numpy.exp(weight * past + 0.0 * stimulus)), obs=count)


def test_stories_run_where_nothing_feeds_back():
    rng = np.random.default_rng(0)
    data = bg.recording(dt=0.01, stimulus=rng.normal(size=80), count=rng.poisson(1.0, 80))
    found = quiet(bg.from_function(driven), data, draws=50, replicates=2)
    assert found["count"].dims == ("draw", "replicate", "time")
    assert found["count"].dtype == np.uint8
    assert float(found["count"].mean()) == pytest.approx(1.02, abs=0.06)
    with pytest.raises(ValueError, match=r"the function remembering reads the past of 'count'.*bg\.predict"):
        quiet(bg.from_function(remembering), data, draws=2)
    with pytest.raises(ValueError, match=r"leave cap out"):
        quiet(bg.from_function(driven), data, draws=2, cap=5)


def test_bad_asking():
    data = everything()
    fit = made_up(bg.GLM(bg.Baseline()), data, {"baseline": -1.0}, draws=2)
    for options in ({"draws": 0}, {"replicates": 0}, {"cap": 0.5}, {"cap": 1e10}, {"cap": True}):
        with pytest.raises(ValueError, match=next(iter(options))):
            quiet(fit, **options)
    with pytest.raises(ValueError, match=r"'baseline'.*prior\.Flat\(\).*Give a proper prior"):
        quiet(bg.GLM(bg.Baseline(prior.Flat())), data)
    with pytest.raises(ValueError, match=r"simulate: the data choose the scales of terms \['history'\]"):
        quiet(bg.GLM(bg.Baseline() + bg.History(LAGS, prior.Gaussian("evidence"))), data)
    with pytest.raises(ValueError, match="wants a recording: it gives the rows"):
        quiet(bg.GLM(bg.Baseline()))
    with pytest.raises(ValueError, match="got ndarray"):
        quiet(fit, np.zeros(3))
    with pytest.raises(ValueError, match="got Baseline"):
        quiet(bg.Baseline(), data)
    with pytest.raises(ValueError, match=r"\['drive'\] read the response 'spikes'.*use History or Coupling"):
        quiet(bg.GLM(bg.Baseline() + bg.Stimulus("spikes", LAGS, name="drive")), data)
    bounded = made_up(bg.GLM(bg.Baseline(), family.Bernoulli(), response="choice"), data, draws=2)
    with pytest.raises(ValueError, match=r"Bernoulli\(logit\) is bounded; leave cap out"):
        quiet(bounded, cap=3)
