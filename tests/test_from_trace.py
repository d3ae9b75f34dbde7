"""from_function(fn, linear=...): the structure read off a story is the story's, or an error says which site is not linear."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import shapes
from jax.scipy.special import ndtr
from numpyro.infer.util import log_density

import bayesglm as bg
from bayesglm import family, method, prior
from bayesglm._double import in_double
from bayesglm.engine.from_trace import linear_of_story
from bayesglm.engine.reading import view_of
from bayesglm.engine.stated import StatedLinear

RELATIVE = 1e-10  # of 1 + sum |terms|
N = shapes.NEURONS
sample, plate = numpyro.sample, numpyro.plate


def unplated(stimulus: Any, pose: Any, exposure: Any, choice: Any) -> None:
    """Learned scale under its own name, two sites that share it, an offset; logits."""
    tau = sample("tau", dist.HalfCauchy(1.0))
    w = sample("w", dist.Normal(0.0, tau).expand([2]).to_event(1))
    v = sample("v", dist.Normal(0.3, 2.0 * tau))
    sample("choice", dist.Bernoulli(logits=pose @ w + v * stimulus + exposure), obs=choice)


def probit(stimulus: Any, choice: Any) -> None:
    b, w = sample("b", dist.StudentT(4.0, 0.2, 1.5)), sample("w", dist.Laplace(0.0, 0.3))
    sample("choice", dist.Bernoulli(probs=ndtr(b + w * stimulus)), obs=choice)


def cloglog(stimulus: Any, choice: Any) -> None:
    b = sample("b", dist.ImproperUniform(dist.constraints.real, (), ()))
    w = sample("w", dist.Laplace(0.0, sample("w_scale", dist.Gamma(2.0, 3.0))))
    sample("choice", dist.Bernoulli(probs=-jnp.expm1(-jnp.exp(b + w * stimulus))), obs=choice)


def softplus(stimulus: Any, pose: Any, x: Any) -> None:
    """Counts through a softplus; a feature plate; a location that leans on other sites; rows masked."""
    with plate("feature", 2):
        w = sample("w", dist.Normal(jnp.array([0.0, 0.1]), jnp.array([1.0, 0.5])))
    b = sample("b", dist.Normal(0.5 - w @ pose.mean(0), 2.0))
    with numpyro.handlers.mask(mask=x > -0.8):
        sample("count", dist.Poisson(jax.nn.softplus(b + pose @ w)), obs=jnp.floor(jnp.abs(stimulus)))


def gaussian(stimulus: Any, trace: Any, private: Any) -> None:
    """Neurons with their own covariate, priors that differ by neuron, noise under its own name."""
    with plate("neuron", N, dim=-1):
        w = sample("w", dist.Normal(0.0, jnp.arange(1.0, N + 1)))
        b = sample("b", dist.Normal(jnp.arange(0.0, N), sample("width", dist.InverseGamma(3.0, 1.0))))
        noise = sample("noise", dist.HalfNormal(jnp.arange(1.0, N + 1)))
        with plate("row", len(stimulus), dim=-2):
            sample("trace", dist.Normal(b + w * private, noise), obs=trace)


def known_noise(stimulus: Any, trace: Any) -> None:
    with plate("neuron", N, dim=-1):
        mean = sample("mean", dist.Normal(0.0, 1.0))  # of the two weights: a stated site with no column of its own
        w = sample("w", dist.Normal(mean[:, None], 0.7).expand([N, 2]).to_event(1))
        sample("trace", dist.Normal(w[:, 0] + stimulus[:, None] * w[:, 1], 0.8), obs=trace)


def coupled(spikes: Any) -> None:
    """A mask: own cells' weights have a standard normal prior and no data, beside a learned scale."""
    past = jnp.roll(spikes, 1, 0)
    other = ~np.eye(N, dtype=bool)
    with plate("neuron", N, dim=-1):
        g = sample("g", dist.HalfNormal(0.5))
        c = sample("c", dist.Normal(0.0, jnp.where(other, g[:, None], 1.0)).to_event(1), infer={"event_dims": ["source"]})
        b = sample("b", dist.Normal(-1.0, 2.0))
        with plate("row", spikes.shape[0], dim=-2):
            sample("spikes", dist.Poisson(jnp.exp(b + past @ (c * other).T)), obs=spikes)


STORIES: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "unplated": (unplated, ("w", "v")),
    "probit": (probit, ("w", "b")),
    "cloglog": (cloglog, ("b", "w")),
    "softplus": (softplus, ("w", "b")),
    "gaussian": (gaussian, ("w", "b")),
    "known_noise": (known_noise, ("mean", "w")),
    "coupled": (coupled, ("c", "b")),
}


class Read(NamedTuple):
    """A story, resolved, with both of its routes."""

    model: Any
    design: Any
    linear: StatedLinear


def read(name: str) -> Read:
    story, sites = STORIES[name]
    model = bg.from_function(story, linear=sites).resolve(shapes.everything())
    design = model.design(shapes.everything())
    return Read(model, design, model.linear(design))


@pytest.mark.parametrize("name", STORIES)
@in_double
def test_read_structure_is_the_story(name: str) -> None:
    """Energy differences of the two routes, far from where the story was read; ``pack`` inverts ``unpack``."""
    model, design, linear = read(name)
    view = view_of(model, design, model.linear_sites, model.site)
    rng, found = np.random.default_rng(3), []
    for _ in range(3):
        v, theta = jnp.asarray(0.4 * rng.normal(size=(linear.size, linear.dim))), jnp.asarray(0.5 * rng.normal(size=(linear.size, linear.free())))
        hyper, _ = jax.vmap(linear.constrain)(linear.each, theta)
        sites = jax.vmap(linear.unpack)(linear.each, v)
        np.testing.assert_allclose(jax.vmap(linear.pack)(linear.each, sites), v, atol=1e-12)
        built = jax.vmap(linear.log_likelihood)(linear.each, v, hyper) + jax.vmap(linear.log_prior)(linear.each, v, hyper)
        laws = jax.vmap(lambda each, hyper: sum((law.log_prob(hyper[site]) for site, law in linear.hyper(each).items()), jnp.zeros(())))
        w = jnp.concatenate([sites[site.name].reshape(linear.size, -1) for site in view.stated], 1)
        values = view.values(w, {site: value[:, None] for site, value in hyper.items()})
        assert set(values) == {site.name for site in (*view.stated, *view.others)}
        found.append((float((built + laws(linear.each, hyper)).sum()), float(log_density(model, (design,), {}, values)[0])))
    ours, told = np.diff(np.array(found), axis=0).T
    np.testing.assert_allclose(ours, told, atol=RELATIVE * (1.0 + np.abs(found).sum()))


@in_double
def test_what_is_shared_what_is_own_what_is_masked() -> None:
    linear = {name: read(name).linear for name in ("gaussian", "coupled", "softplus", "unplated")}
    assert linear["gaussian"].each["own"].shape == (N, 1, 88)
    assert linear["gaussian"].family.hyper("trace", 2.0)["noise"][0].scale == 2.0
    assert "own" not in linear["coupled"].each
    mask = linear["coupled"].each["mask"]
    np.testing.assert_array_equal(mask[:, :N], ~np.eye(N, dtype=bool))
    assert linear["softplus"].family == family.Poisson("softplus")
    assert 0 < linear["softplus"].scored.sum() < linear["softplus"].scored.size
    assert linear["unplated"].size == 1
    np.testing.assert_allclose(linear["unplated"].each["offset"][0], shapes.columns()["exposure"] + 0.3 * shapes.columns()["stimulus"])


def no_line(stimulus: Any, choice: Any) -> None:
    w, v = sample("w", dist.Normal(0.0, 1.0)), sample("v", dist.Normal(0.0, 1.0))
    sample("choice", dist.Bernoulli(logits=v + jnp.exp(w) * stimulus), obs=choice)


def product(stimulus: Any, choice: Any) -> None:
    w, v = sample("w", dist.Normal(0.0, 1.0)), sample("v", dist.Normal(0.0, 1.0))
    sample("choice", dist.Bernoulli(logits=v * w * stimulus), obs=choice)


def rectified(stimulus: Any, choice: Any) -> None:
    sample("choice", dist.Bernoulli(logits=jax.nn.relu(sample("w", dist.Normal(0.0, 1.0))) * stimulus), obs=choice)


def non_centred(stimulus: Any, choice: Any) -> None:
    w, tau = sample("w", dist.Normal(0.0, 1.0)), sample("tau", dist.HalfNormal(1.0))
    sample("choice", dist.Bernoulli(logits=tau * w * stimulus), obs=choice)


def log_scale(stimulus: Any, choice: Any) -> None:
    w = sample("w", dist.Normal(0.0, jnp.exp(sample("log_tau", dist.Normal(0.0, 1.0)))))
    sample("choice", dist.Bernoulli(logits=w * stimulus), obs=choice)


def two_scales(stimulus: Any, choice: Any) -> None:
    w = sample("w", dist.Normal(0.0, sample("tau", dist.HalfNormal(1.0)) * sample("global", dist.HalfNormal(1.0))))
    sample("choice", dist.Bernoulli(logits=w * stimulus), obs=choice)


def many_scales(pose: Any, choice: Any) -> None:
    w = sample("w", dist.Normal(0.0, sample("tau", dist.HalfNormal(1.0).expand([2]).to_event(1))).to_event(1))
    sample("choice", dist.Bernoulli(logits=pose @ w), obs=choice)


def moving_mean(stimulus: Any, choice: Any) -> None:
    w = sample("w", dist.Normal(sample("mu", dist.Normal(0.0, 1.0)), 1.0))
    sample("choice", dist.Bernoulli(logits=w * stimulus), obs=choice)


def bounded(stimulus: Any, choice: Any) -> None:
    sample("choice", dist.Bernoulli(logits=sample("w", dist.Uniform(-1.0, 1.0)) * stimulus), obs=choice)


def hierarchy(stimulus: Any, choice: Any) -> None:
    w = sample("w", dist.Normal(0.0, sample("tau", dist.HalfNormal(1.0))))
    sample("s", dist.HalfNormal(1.0))
    sample("choice", dist.Bernoulli(logits=w * stimulus), obs=choice)


def shared_scale(stimulus: Any, spikes: Any) -> None:
    tau = sample("tau", dist.HalfNormal(1.0))
    with plate("neuron", N, dim=-1):
        w = sample("w", dist.Normal(0.0, tau))
        sample("spikes", dist.Poisson(jnp.exp(w * stimulus[:, None])), obs=spikes)


def mixed_neurons(stimulus: Any, spikes: Any) -> None:
    with plate("neuron", N, dim=-1):
        w = sample("w", dist.Normal(0.0, 1.0))
        sample("spikes", dist.Poisson(jnp.exp(stimulus[:, None] * (w + w.sum()))), obs=spikes)


def beta(stimulus: Any, x: Any) -> None:
    w = sample("w", dist.Normal(0.0, 1.0))
    sample("x", dist.Laplace(w * stimulus, 1.0), obs=x)


def uneven(stimulus: Any, x: Any) -> None:
    w = sample("w", dist.Normal(0.0, 1.0))
    sample("x", dist.Normal(w * stimulus, 1.0 + jnp.abs(stimulus)), obs=x)


def law_depends(stimulus: Any, choice: Any) -> None:
    tau = sample("tau", dist.HalfNormal(1.0))
    w = sample("w", dist.Normal(0.0, tau))
    v = sample("v", dist.Normal(0.0, sample("s", dist.HalfNormal(tau))))
    sample("choice", dist.Bernoulli(logits=w * stimulus + v), obs=choice)


WRONG = [
    (no_line, ("w", "v"), r"not linear in \['w'\]"),
    (product, ("w", "v"), r"not linear in \['w', 'v'\] together"),
    (product, ("w",), "depends on 'v', which is not among them"),
    (rectified, ("w",), r"not linear in \['w'\]"),
    (non_centred, ("w",), "depends on 'tau'"),
    (log_scale, ("w",), "not proportional to 'log_tau'"),
    (two_scales, ("w",), "on 'global' and on another site|on 'tau' and on another site"),
    (many_scales, ("w",), "'tau' holds 2 numbers"),
    (moving_mean, ("w",), "'mu' is the location"),
    (bounded, ("w",), "prior of 'w' is Uniform"),
    (hierarchy, ("w",), "'s' is neither stated nor the scale"),
    (shared_scale, ("w",), "'tau' does not lie under the plate 'neuron'"),
    (mixed_neurons, ("w",), "density of the response differs"),
    (beta, ("w",), "its response is Laplace"),
    (uneven, ("w",), "known standard deviation of the response differs"),
    (law_depends, ("w", "v"), "density of the learned parameters differs"),
]


@pytest.mark.parametrize(("story", "sites", "said"), WRONG, ids=[f"{story.__name__}-{i}" for i, (story, _, _) in enumerate(WRONG)])
def test_a_wrong_linear_raises(story: Callable, sites: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said) as found:
        bg.fit(bg.from_function(story, linear=sites), shapes.everything(), "map", progress=False)
    assert "Leave linear= out" in str(found.value)


def test_unknown_sites_are_named() -> None:
    with pytest.raises(ValueError, match=r"no sites \['nope'\]"):
        bg.fit(bg.from_function(no_line, linear=("nope",)), shapes.everything(), progress=False)


@in_double
def test_without_a_response_there_is_no_structure() -> None:
    def blind(stimulus: Any) -> None:
        sample("choice", dist.Bernoulli(logits=sample("w", dist.Normal(0.0, 1.0)) * stimulus))

    design = bg.from_function(blind).design(shapes.everything())
    assert linear_of_story(lambda design: blind(**design.shared), design, ("w",)) is None


def ridge(stimulus: Any, spikes: Any) -> None:
    with plate("neuron", N, dim=-1):
        w = sample("slope", dist.Normal(0.0, 0.5))
        b = sample("baseline", dist.Normal(0.0, 2.0))
        sample("spikes", dist.Poisson(jnp.exp(b + w * stimulus[:, None])), obs=spikes)


def test_fits_like_its_twin_in_terms() -> None:
    data = shapes.like_small(3)
    ours = bg.fit(bg.from_function(ridge, linear=("slope", "baseline")), data, "laplace", progress=False)
    twin = bg.GLM(bg.Baseline(prior.Gaussian(2.0)) + bg.Linear("stimulus", prior.Gaussian(0.5), name="slope"))
    other = bg.fit(twin, data, "laplace", progress=False)
    assert ours.posterior["slope"].dims == ("chain", "draw", "neuron")
    for site in ("slope", "baseline"):
        one, two = ours.posterior[site], other.posterior[site]
        assert (abs(one.mean(("chain", "draw")) - two.mean(("chain", "draw"))) < 5.0 * two.std(("chain", "draw")) / np.sqrt(500)).all()
    np.testing.assert_allclose(ours.stats["neuron_pareto_k"].max(), other.stats["neuron_pareto_k"].max(), atol=0.3)


def test_a_site_without_a_plate_has_no_neuron_dim() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = bg.fit(bg.from_function(unplated, linear=("w", "v")), shapes.everything(), method.NUTS(num_samples=50, num_chains=2), progress=False)
    assert {name: array.dims for name, array in fit.posterior.data_vars.items()} == {
        "w": ("chain", "draw", "w_entry"),
        "v": ("chain", "draw"),
        "tau": ("chain", "draw"),
    }
    assert fit.idata["sample_stats"]["diverging"].dims == ("chain", "draw")


def test_a_learned_l1_scale_is_refused_where_it_has_no_mode() -> None:
    model = bg.from_function(cloglog, linear=("b", "w"))
    with pytest.raises(ValueError, match="Laplace prior with a learned scale"):
        bg.fit(model, shapes.everything(), "map", progress=False)
    with pytest.raises(ValueError, match="kink"):
        bg.fit(model, shapes.everything(), "laplace", progress=False)
