"""The likelihood summed over chunks of rows is the likelihood, and trees in whitened coordinates end after half a turn."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from shapes import everything

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._double import double
from bayesglm.engine import by_rows
from bayesglm.engine.laplace import approximate
from bayesglm.engine.linear_target import linear_target
from bayesglm.method._base import arrays
from bayesglm.method._loop import HALF_TURN, WIDER_TURN, Settings, _deepened, depth_for

CHUNK = 16  # rows; a recording of 88 is padded to 96
LAGS = basis.RaisedCosine(2, span=0.04)
MODELS = {
    "own columns, own rows": lambda: bg.GLM(bg.Baseline() + bg.Stimulus("stimulus", LAGS) + bg.History(LAGS) + bg.Linear("private") + bg.Coupling(LAGS)),
    "offset": lambda: bg.GLM(bg.Baseline() + bg.Offset("exposure") + bg.Linear("pose")),
    "dispersion": lambda: bg.GLM(bg.Baseline() + bg.Linear("pose"), family.NegativeBinomial()),
    "noise": lambda: bg.GLM(bg.Baseline() + bg.Linear("pose"), family.Gaussian(), "trace"),
    "classes": lambda: bg.GLM(bg.Baseline() + bg.Linear("pose"), family.Categorical(), "code"),
    "known trials": lambda: bg.GLM(bg.Baseline() + bg.Linear("pose"), family.Binomial("licking_of"), "licking"),
}


def linear_of(name: str) -> object:
    data = everything()
    data = data.assign(licking_of=(("time", "neuron"), 1 + np.asarray(data["licking"])))
    model = MODELS[name]().resolve(data)
    return arrays(model.linear(model.design(data).padded()))


def small_chunks(monkeypatch):
    """Chunks that a recording of 88 rows is worth."""
    for name, value in {"_ROWS": CHUNK, "_LEAST": 4, "_NUMBERS": 1}.items():
        monkeypatch.setattr(by_rows, name, value)


@pytest.mark.parametrize("name", MODELS)
def test_chunks_add_up(name):
    """Value, and gradient in the weights and in what is learned, of every neuron."""
    with double():
        plain = linear_of(name)
        assert plain.scored.shape[0] % CHUNK == 0 and plain.scored.shape[0] // CHUNK > 4
        chunked = dataclasses.replace(plain, chunk=CHUNK)
        w = 0.3 * jax.random.normal(jax.random.key(1), (plain.size, plain.dim))
        theta = 0.3 * jax.random.normal(jax.random.key(2), (plain.size, plain.free()))

        def cost(linear):
            one = lambda each, w, theta: linear.log_likelihood(each, w, linear.constrain(each, theta)[0])  # noqa: E731
            return jax.vmap(jax.value_and_grad(one, argnums=(1, 2)))(plain.each, w, theta)

        (value, slopes), (expected, expected_slopes) = cost(chunked), cost(plain)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert np.abs(expected_slopes[0]).max() > 0.1  # there is something to agree on
    for found, wanted in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)


def test_rows_that_only_fill_up_the_shape_are_not_read():
    """Chunks behind the last scored row could hold anything."""
    with double():
        plain = linear_of("offset")
        scored = plain.scored.at[70:].set(0.0)
        poisoned = dataclasses.replace(plain.predictor, columns=plain.predictor.columns.at[:, 80:].set(np.nan))
        chunked = dataclasses.replace(plain, scored=scored, predictor=poisoned, chunk=CHUNK)
        w = 0.3 * jax.random.normal(jax.random.key(1), (plain.dim,))
        each = jax.tree.map(lambda leaf: leaf[0], plain.each)
        both = (chunked, dataclasses.replace(plain, scored=scored))
        found, expected = (jax.value_and_grad(lambda w, one=one: one.log_likelihood(each, w, {}))(w) for one in both)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-10, atol=1e-10)


def test_chunks_add_up_in_single_precision(monkeypatch):
    """The centred likelihood of a sampler's target, over chains."""
    small_chunks(monkeypatch)
    with double():
        linear = linear_of("own columns, own rows")
        found = approximate(linear)
        few, many = (linear_target(linear, found.coordinates, "single", chains) for chains in (1, 10))
        assert (few.single.chunk, many.single.chunk) == (0, CHUNK)
        z = jax.random.normal(jax.random.key(0), (3, 10, few.dim))
        a, b = (jax.vmap(jax.vmap(jax.value_and_grad(t.energy, argnums=1), (None, 0)))(t.each, z) for t in (few, many))
    np.testing.assert_allclose(b[0], a[0], atol=1e-4)
    np.testing.assert_allclose(b[1], a[1], atol=1e-4 * np.abs(a[1]).max())


@pytest.mark.filterwarnings("ignore::bayesglm._fit.NotConverged")  # few draws
@pytest.mark.parametrize(("law", "way"), [(None, "map"), (None, method.Laplace(num_samples=100)), (prior.Hierarchical(), method.Laplace(num_samples=100))])
def test_a_fit_in_chunks_is_the_fit(monkeypatch, law, way):
    """Modes, draws and their weights; scales a neuron's own, or shared."""
    model = bg.GLM(bg.Baseline() + bg.Stimulus("stimulus", LAGS) + bg.Linear("pose", law), family.NegativeBinomial(0.3))
    whole = bg.fit(model, everything(), way, progress=False)
    cut = []
    small_chunks(monkeypatch)
    monkeypatch.setattr(by_rows, "_COLUMNS", 2)
    monkeypatch.setattr(by_rows, "_rows", lambda *given, rows=by_rows._rows: cut.append(1) or rows(*given))
    jax.clear_caches()  # what was compiled a moment ago is whole
    chunked = bg.fit(model, everything(), way, progress=False)
    assert cut
    for name, values in whole.posterior.data_vars.items():
        np.testing.assert_allclose(chunked.posterior[name], values, rtol=1e-6, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(chunked.idata["sample_stats"]["lp"], whole.idata["sample_stats"]["lp"], rtol=1e-9)


def test_what_is_cut(monkeypatch):
    """One column costs what reading the matrix costs, once as well as in pieces; few rows are not worth it; a rest would be lost."""
    with double():
        linear = linear_of("offset")
        assert linear.scored.shape[0] == 96
        assert by_rows.in_chunks(linear, 10**6).chunk == 0  # fewer rows than chunks are worth
        monkeypatch.setattr(by_rows, "_LEAST", 4)
        for length, cut in ((16, 16), (24, 24), (32, 0), (10, 0)):
            monkeypatch.setattr(by_rows, "_ROWS", length)
            assert by_rows.in_chunks(linear, 2**14).chunk == cut
            assert by_rows.in_chunks(linear, 2**14 - 1).chunk == 0  # 96 x 2^14 = 3 x 2^19 predictors
        monkeypatch.setattr(by_rows, "_NUMBERS", 1)
        monkeypatch.setattr(by_rows, "_ROWS", 16)
        assert [by_rows.in_chunks(linear, columns).chunk for columns in (15, 16)] == [0, 16]


def test_trees_are_deepened_only_where_far_too_short():
    """The program of a shape is compiled once, unless a posterior needs other trees than its size lets expect."""
    settings = Settings(150, 0.7, 3, False, False)
    assert _deepened(settings, HALF_TURN, 0.3) == settings
    assert _deepened(settings, HALF_TURN, 0.05).max_tree_depth == depth_for(HALF_TURN, 0.05) > 5


@pytest.mark.parametrize("step", [0.05, 0.2, 0.37, 0.55, 1.1])
def test_a_tree_spans_half_a_turn_and_not_two(step):
    """2^d - 1 steps: at least the span, less than twice that and a step."""
    for span in (HALF_TURN, WIDER_TURN):
        assert span <= (2 ** depth_for(span, step) - 1) * step <= 2 * span + step


@pytest.mark.filterwarnings("ignore::bayesglm._fit.NotConverged")  # few draws
def test_trees_end_there_unless_told(recording_small, model_small):
    """Every lane waits for the longest tree; depth as chosen is no fault of the sampling, depth as given is."""
    fit = bg.fit(model_small, recording_small, method.NUTS(num_samples=100, num_chains=2), progress=False)
    stats = fit.idata["sample_stats"]
    smallest = float(stats["step_size"].min())
    assert int(stats["n_steps"].max()) <= 2 ** max(depth_for(WIDER_TURN, smallest), 3) - 1
    assert not stats["reached_max_treedepth"].any()
    short = bg.fit(model_small, recording_small, method.NUTS(num_samples=100, num_chains=2, max_tree_depth=1), progress=False)
    assert int(short.idata["sample_stats"]["n_steps"].max()) == 1 and short.idata["sample_stats"]["reached_max_treedepth"].all()


@pytest.mark.filterwarnings("ignore::bayesglm._fit.NotConverged")
def test_trees_that_start_too_short_are_deepened(recording_small, model_small, monkeypatch):
    """After warm-up with trees of one step; and a single step is called no fault, because the depth was not the user's."""
    fitted = lambda: bg.fit(model_small, recording_small, method.NUTS(num_samples=100, num_chains=2), progress=False)  # noqa: E731
    monkeypatch.setattr("bayesglm.method.nuts.depth_for", lambda *given: 1)
    assert int(fitted().idata["sample_stats"]["n_steps"].max()) > 1
    monkeypatch.setattr("bayesglm.method._loop.depth_for", lambda *given: 1)
    stats = fitted().idata["sample_stats"]
    assert int(stats["n_steps"].max()) == 1 and not stats["reached_max_treedepth"].any()
