"""The story of the GLM: against a NumPy oracle, against the engine, neuron by neuron; and what a second fit costs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import reference
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density
from registry import FAMILIES, METHODS, MODELS, PRIORS, FamilyCase, PriorCase, cases
from shapes import NEURONS, ROWS, columns, everything, like_small

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._double import double, in_double
from bayesglm.engine.laplace import approximate
from bayesglm.engine.linear_target import linear_target
from bayesglm.engine.target import factorises, latent_sites, neuron_axis, outline, story_target, traced

RELATIVE = 1e-10  # of 1 + sum |terms|
KERNEL, PAIR = basis.RaisedCosine(3, span=0.05), basis.RaisedCosine(2, span=0.05)


def story(model: bg.AbstractModel, design: Any, sites: dict[str, Any]) -> float:
    return float(log_density(model, (design,), {}, sites)[0])


def close(one: float, two: float, size: float = 0.0) -> bool:
    return abs(one - two) <= RELATIVE * (1.0 + abs(one) + abs(two) + size)


@pytest.mark.parametrize(("made", "response"), [(family.Poisson(), "spikes"), (family.Bernoulli(), "any_spike"), (family.Gaussian(), "trace")])
@in_double
def test_story_equals_the_oracle(made: family.AbstractFamily, response: str) -> None:
    """Default priors with their learned scales and centred baseline, edges, three epochs, masks."""
    kind = type(made).__name__
    terms = bg.Baseline() + bg.Stimulus("stimulus", reference.STIMULUS) + bg.History(reference.HISTORY) + bg.Coupling(reference.COUPLING)
    model = bg.GLM(terms, made, response=response).resolve(everything())
    design = model.design(everything())
    for seed in range(2):
        sites = reference.values(seed, kind == "Gaussian")
        assert close(story(model, design, sites), reference.log_p(columns(), sites, kind, response))
        assert close(story(model, design.padded(), sites), story(model, design, sites))


def engine_and_story(model: bg.GLM, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Energies of both routes at two points, neuron by neuron, without constants in the response; and their size."""
    design = model.design(everything())
    linear = model.linear(design)
    rng = np.random.default_rng(seed)
    found = []
    for n in range(linear.size):
        each = jax.tree.map(lambda leaf, n=n: leaf[n], linear.each)
        alone = design.one(jax.tree.map(lambda leaf, n=n: leaf[n], design.each))
        for _ in range(2):
            w, theta = 0.3 * jnp.asarray(rng.normal(size=linear.dim)), 0.5 * jnp.asarray(rng.normal(size=linear.free()))
            hyper, log_hyper = linear.constrain(each, theta)
            values, shared = linear.unpack(each, w) | hyper, linear.shared_sites()
            np.testing.assert_allclose(linear.pack(each, values), w, atol=1e-9)
            sites = {name: jnp.asarray(value) if name in shared else jnp.asarray(value)[None] for name, value in values.items()}
            jacobian = log_hyper - sum(law.log_prob(hyper[site]) for site, law in linear.hyper(each).items())
            energy = -(linear.log_likelihood(each, w, hyper) + linear.log_prior(each, w, hyper) + log_hyper)
            found.append((float(energy), -story(model, alone, sites) - float(jacobian)))
    engine, told = np.array(found).reshape(linear.size, 2, 2).transpose(2, 0, 1)
    return engine, told, float(np.abs(engine).max() + np.abs(told).max())


def check_equal_differences(model: bg.GLM, seed: int = 0) -> None:
    engine, told, size = engine_and_story(model, seed)
    np.testing.assert_allclose(engine[:, 1] - engine[:, 0], told[:, 1] - told[:, 0], atol=RELATIVE * (1 + size))


OF_SEVERAL = {"Smooth", "GaussianProcess", "GroupLasso", "Horseshoe"}  # priors of several weights at once: not of a baseline
EVERY_PRIOR = [case for entries in PRIORS.values() for case in entries]


@pytest.mark.parametrize("made", cases({name: FAMILIES[name] for name in ("Poisson", "Bernoulli", "Gaussian")}))
@pytest.mark.parametrize("first", range(0, len(EVERY_PRIOR), 3))
@in_double
def test_engine_equals_story(made: FamilyCase, first: int) -> None:
    """Three families under every prior (the others: test_family_engine), three a model: shared and own columns, masks, an offset, a centred baseline."""
    one, two, three = (EVERY_PRIOR[(first + i) % len(EVERY_PRIOR)].make() for i in range(3))
    parts = bg.Baseline() + bg.Stimulus("pose", KERNEL, one) + bg.Stimulus("private", KERNEL, two) + bg.Coupling(KERNEL, three) + bg.Offset("exposure")
    check_equal_differences(bg.GLM(parts, made.make(), response=made.column, neurons=("a", "c")).resolve(everything()))


@pytest.mark.parametrize("shrunk", cases(PRIORS))
@in_double
def test_engine_equals_story_without_centring(shrunk: PriorCase) -> None:
    """A baseline with a prior of its own is not centred, under a flat one columns are; or there is no baseline."""
    rest = bg.Linear("stimulus") + bg.Coupling(KERNEL, shrunk.make())
    own = prior.Gaussian(1.5) if type(shrunk.make()).__name__ in OF_SEVERAL else shrunk.make()
    for terms in (bg.Baseline(own) + rest, rest):
        check_equal_differences(bg.GLM(terms, response="spikes").resolve(everything()))


@in_double
def test_a_baseline_may_be_centred_under_a_prior_of_its_own() -> None:
    own = bg.Baseline(prior.Gaussian(0.7), centred=True)
    check_equal_differences(bg.GLM(own + bg.Linear("stimulus") + bg.Coupling(KERNEL), response="spikes").resolve(everything()))
    default, same = (
        bg.fit(bg.GLM(level + bg.Linear("stimulus")), everything(), "map", progress=False).posterior
        for level in (bg.Baseline(), bg.Baseline(prior.StudentT(3.0, 2.5), centred=True))
    )
    np.testing.assert_allclose(default["baseline"], same["baseline"], rtol=1e-12)


def test_labels_taken_from_an_array_are_plain_values() -> None:
    labels = everything()["neuron"].values
    terms = bg.Baseline() + bg.Coupling(PAIR, sources=labels[:2])
    model = bg.GLM(terms, neurons=labels[1:])
    assert {type(label) for label in (*model.neurons, *model.terms["coupling"].sources)} == {str}


@in_double
def test_engine_equals_story_with_lost_rows() -> None:
    """NaN covariates, unobserved cells, padding."""
    holes, seen = columns()["private"].copy(), np.ones((88, NEURONS), bool)
    holes[50:53, 1], seen[20:25, 2] = np.nan, False
    data = everything(observed=seen, private=holes)
    model = bg.GLM(bg.Baseline() + bg.Linear("private") + bg.History(PAIR) + bg.Coupling(PAIR)).resolve(data)
    design = model.design(data)
    linear, padded = (model.linear(d) for d in (design, design.padded()))
    assert padded.scored.size > linear.scored.size
    sites = reference.values(0)
    sites = {k: v for k, v in sites.items() if not k.startswith("stimulus")} | {"private": np.ones(3), "private_scale": np.ones(3)}
    assert close(story(model, design, sites), story(model, design.padded(), sites))
    for n in range(NEURONS):
        each, more = (jax.tree.map(lambda leaf, n=n: leaf[n], one.each) for one in (linear, padded))
        w = linear.pack(each, {name: jnp.asarray(value)[n] for name, value in sites.items()})
        assert close(float(linear.log_likelihood(each, w, {})), float(padded.log_likelihood(more, w, {})))
    check_equal_differences(model)


@pytest.mark.parametrize("shrunk", [None, bg.prior.Gaussian(0.5)], ids=["learned", "fixed"])
@in_double
def test_whitened_coordinates_carry_their_jacobian(shrunk: Any) -> None:
    """What the coordinates add to the energy is minus log |d(w, theta)/dz|, by automatic differentiation, up to a constant."""
    model = bg.GLM(bg.Baseline() + bg.History(KERNEL, shrunk)).resolve(everything())
    linear = model.linear(model.design(everything()))
    target = linear_target(linear, approximate(linear).coordinates)
    each = jax.tree.map(lambda leaf: leaf[0], target.each)

    def whole(z: Any) -> Any:
        return jnp.concatenate(target.coordinates.to_weights(linear, each["linear"], each["coordinates"], z)[:2])

    gaps = []
    for z in np.random.default_rng(4).normal(size=(2, target.dim)):
        log_det = float(jnp.linalg.slogdet(jax.jacobian(whole)(z))[1])
        w, theta = whole(z)[: linear.dim], whole(z)[linear.dim :]
        gaps.append(float(target.energy(each, z)) - float(target.energy_of(each["linear"], w, theta)) + log_det)
        np.testing.assert_allclose(linear.pack(each["linear"], target.sites(each, z)), w, atol=1e-10)
    assert close(*gaps, size=200.0)


@pytest.mark.parametrize("make", cases(MODELS))
@in_double
def test_the_story_is_the_sum_of_its_neurons(make: Any) -> None:
    data = everything()
    model = make().resolve(data)
    design = model.design(data)
    trace = traced(model, design)
    assert factorises(trace)
    latent = {name: site["fn"] for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}
    sites = {name: np.asarray(law.sample(jax.random.key(i))) for i, (name, law) in enumerate(latent.items())}
    alone = [design.one(jax.tree.map(lambda leaf, n=n: leaf[n], design.each)) for n in range(design.size)]
    parts = [story(model, one, {name: value[n : n + 1] for name, value in sites.items()}) for n, one in enumerate(alone)]
    assert sum(parts) == pytest.approx(story(model, design, sites), rel=1e-9)


@in_double
def test_story_target_is_the_story() -> None:
    """Energy = -(log density + log Jacobian of exp), neuron by neuron."""
    model = bg.GLM(bg.Baseline() + bg.History(PAIR)).resolve(everything())
    design = model.design(everything())
    target = story_target(model, design)
    assert (target.size, target.dim) == (NEURONS, 2 + PAIR.n_basis)
    for n in range(2):
        each = jax.tree.map(lambda leaf, n=n: leaf[n], target.each)
        sites = {"baseline": np.array([0.3]), "history": np.array([[0.1, -0.7]]), "history_scale": np.array([0.4])}
        raw = {site.name: biject_to(site.support).inv(jnp.asarray(sites[site.name])) for site in target.known}
        energy = float(target.energy(each, ravel_pytree(raw)[0]))
        assert close(energy, -story(model, design.one(each), sites) - np.log(0.4))
        again = target.sites(each, ravel_pytree(raw)[0])
        np.testing.assert_allclose(again["history"], [0.1, -0.7])


@pytest.mark.parametrize("make", cases(MODELS))
@in_double
def test_prior_draws_are_finite(make: Any) -> None:
    data = everything()
    model = make().resolve(data)
    design = model.design(data)
    known = {name: leaf for name, leaf in design.each.items() if name != "response"}
    blind = type(design)(design.shared, known, design.scored)
    for seed in range(3):
        trace = numpyro.handlers.trace(numpyro.handlers.seed(model, jax.random.key(seed))).get_trace(design)
        assert all(np.isfinite(site["value"]).all() for site in trace.values() if site["type"] == "sample")
        assert np.isfinite(story(model, design, {k: v["value"] for k, v in trace.items() if v["type"] == "sample" and not v["is_observed"]}))
    drawn = numpyro.handlers.trace(numpyro.handlers.seed(model, jax.random.key(9))).get_trace(blind)[model.response]["value"]
    assert drawn.shape == (design.rows, design.size)
    assert np.nanmin(drawn) >= 0


def test_a_design_needs_no_response() -> None:
    data = everything()
    model = bg.GLM(bg.Baseline() + bg.Linear("pose"), family.Bernoulli(), response="choice").resolve(data)
    blind, full = model.design(data.drop_vars("choice")), model.design(data)
    assert "response" not in blind.each
    jax.tree.map(np.testing.assert_array_equal, blind.shared, full.shared)
    assert model.linear(blind) is None


def test_a_design_is_for_one_bin_width() -> None:
    model = bg.GLM(bg.Baseline()).resolve(everything())
    with pytest.raises(ValueError, match=r"dt is 0\.02 s.*resolved at 0\.01 s.*bin both alike"):
        model.design(bg.recording(dt=0.02, spikes=columns()["spikes"]))


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Names of XLA's compilation events while the block runs."""
    seen: list[str] = []

    def note(event: str, seconds: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def quietly(model: bg.GLM, data: Any, how: Any, key: int = 0) -> bg.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bg.fit(model, data, how, key=key, progress=False)


def test_the_counter_counts() -> None:
    with compilations() as seen:
        jax.jit(lambda x: jnp.sin(x) * 3.25)(np.ones(7))
    assert seen


def test_second_map_of_a_shape_compiles_nothing(fit_small_map: bg.Fit, model_small: bg.GLM) -> None:
    assert like_small(1).sizes["time"] == ROWS == fit_small_map.data.sizes["time"]
    quietly(model_small, like_small(2), "map")  # programs of earlier tests may have been let go
    with compilations() as seen:
        quietly(model_small, like_small(1), "map")
    assert len(seen) == 0


def test_second_nuts_of_a_shape_compiles_nothing_and_keys_decide(fit_small_nuts: bg.Fit, model_small: bg.GLM, recording_small: Any) -> None:
    how = method.NUTS(num_samples=250, num_chains=2)
    quietly(model_small, like_small(2), how)  # programs of earlier tests may have been let go
    with compilations() as seen:
        quietly(model_small, like_small(1), how)
        again = quietly(model_small, recording_small, how)
        other = quietly(model_small, recording_small, how, key=1)
    assert len(seen) == 0
    for name, draws in fit_small_nuts.posterior.data_vars.items():
        np.testing.assert_array_equal(again.posterior[name], draws)
        assert not np.array_equal(other.posterior[name], draws)


@pytest.mark.parametrize("make", cases(METHODS))
def test_methods_are_values(make: Any) -> None:
    assert make() == make()
    assert hash(make()) == hash(make())
    assert isinstance(make().point, bool)


def test_an_outline_is_a_trace_without_values(model_small, recording_small):
    """The same sites, plates and shapes, with no number behind them: the story is not run."""
    with double():
        model = model_small.resolve(recording_small)
        design = model.design(recording_small)
        seen, full = outline(model, design), traced(model, design)
    assert list(seen) == list(full)
    for name, site in full.items():
        assert seen[name]["type"] == site["type"] and np.shape(seen[name]["value"]) == np.shape(site["value"])
        assert neuron_axis(seen[name]) == neuron_axis(site) and seen[name].get("infer") == site.get("infer")
    latent = [site["value"] for site in latent_sites(seen).values()]
    assert latent and all(isinstance(value, jax.core.Tracer) for value in latent)
