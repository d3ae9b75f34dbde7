"""The engine: one posterior from every method, neurons apart, single precision, accuracy flags."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._double import double
from bayesglm.engine.accuracy import quantile_shifts
from bayesglm.engine.columns import solve
from bayesglm.engine.diagnostics import mcse
from bayesglm.engine.laplace import approximate, start
from bayesglm.engine.linear_target import linear_target
from bayesglm.engine.newton import modes
from bayesglm.engine.scale_mode import Form, log_marginal
from bayesglm.method._base import arrays

EXACT = 1e-10
pytestmark = pytest.mark.filterwarnings("ignore::bayesglm._fit.NotConverged")  # few draws


def linear_of(model, data):
    """The linear structure of a model on a recording, as arrays."""
    made = model.resolve(data)
    return arrays(made.linear(made.design(data).padded()))


def at(tree, n):
    """One neuron's slice."""
    return jax.tree.map(lambda leaf: leaf[n], tree)


@pytest.fixture(scope="module")
def alone(recording_small, model_small):
    """The second neuron fitted alone: the others stay sources."""
    return bg.GLM(model_small.terms, neurons=[1])


def test_a_neuron_does_not_see_who_is_fitted_beside_it(recording_small, model_small, alone):
    """Density and gradient to 1e-10, MAP and Laplace to 1e-6 of a posterior sd."""
    with double():
        all_three, one = linear_of(model_small, recording_small), linear_of(alone, recording_small)
        many, few = approximate(all_three, exact=True), approximate(one, exact=True)
        both = [linear_target(a, b.coordinates) for a, b in ((all_three, many), (one, few))]
        w, theta = many.mode.w[1] + 0.1, many.theta[1] - 0.2
        energies = [jax.value_and_grad(t.energy_of, argnums=(1, 2))(at(t.each["linear"], n), w, theta) for t, n in zip(both, (1, 0), strict=True)]
        (value_a, slope_a), (value_b, slope_b) = energies
        np.testing.assert_allclose(value_a, value_b, rtol=EXACT)
        for a, b in zip(slope_a, slope_b, strict=True):
            np.testing.assert_allclose(a, b, rtol=EXACT, atol=EXACT * np.abs(np.asarray(a)).max())
        root = np.asarray(few.coordinates.each["root"][0])
        sd = np.sqrt(np.diagonal(root.T @ root))
        np.testing.assert_array_less(np.abs(np.asarray(many.mode.w[1] - few.mode.w[0])) / sd, 1e-6)
        np.testing.assert_allclose(many.coordinates.each["root"][1], root, rtol=0, atol=1e-6 * np.abs(root).max())


def test_means_agree_alone_and_beside_others(recording_small, fit_small_nuts, alone):
    """Within 4 MCSE: keys come from names, never from positions."""
    fit = bg.fit(alone, recording_small, method.NUTS(num_samples=500, num_chains=2), progress=False)
    for name in ("baseline", "stimulus", "history"):
        a, b = fit.posterior[name].sel(neuron=1).values, fit_small_nuts.posterior[name].sel(neuron=1).values
        error = np.sqrt(mcse(a) ** 2 + mcse(b) ** 2)
        assert (np.abs(a.mean((0, 1)) - b.mean((0, 1))) < 4 * error).all()


def test_the_three_posteriors_agree(recording_small, model_small, fit_small_nuts):
    """NUTS, HMC and the Laplace approximation (here nearly exact) on weights that the data inform."""
    fits = [bg.fit(model_small, recording_small, how, progress=False) for how in (method.HMC(num_samples=100), method.Laplace(num_samples=2000))]
    reference = fit_small_nuts.posterior["stimulus"].values
    for fit, tolerance in zip(fits, (0.0, 0.15), strict=True):
        values = fit.posterior["stimulus"].values
        error = np.sqrt(mcse(values.reshape(-1, 100, *values.shape[2:])) ** 2 + mcse(reference) ** 2)
        allowed = 4 * error + tolerance * reference.std((0, 1))
        assert (np.abs(values.mean((0, 1)) - reference.mean((0, 1))) < allowed).all()


@pytest.mark.parametrize("kind", [family.Poisson(), family.Bernoulli()], ids=["poisson", "bernoulli"])
def test_single_precision_keeps_energy_differences(kind):
    """Centred at the mode, float32 energies are right to a thousandth of a nat over the posterior."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 4))
    spikes = rng.poisson(np.exp(-2 + 0.5 * x[:, :1]) * np.ones(2)).clip(0, 1)
    model = bg.GLM(bg.Baseline() + bg.Linear("x", prior.Gaussian(1.0)), kind)
    with double():
        linear = linear_of(model, bg.recording(dt=0.01, spikes=spikes, x=x))
        found = approximate(linear)
        full, light = linear_target(linear, found.coordinates), linear_target(linear, found.coordinates, "single")
        z = jax.random.normal(jax.random.key(0), (2, 40, full.dim))
        a, b = (jax.vmap(jax.vmap(t.energy, (None, 0)))(t.each, z) for t in (full, light))
        error = np.ptp(np.asarray(a - b), axis=1)
        assert error.max() < 1e-3
        slope_a, slope_b = (jax.grad(t.energy, argnums=1)(at(t.each, 0), z[0, 0]) for t in (full, light))
        np.testing.assert_allclose(slope_b, slope_a, atol=1e-4 * float(jnp.abs(slope_a).max()))


def test_single_precision_says_when_it_cannot(recording_small):
    rng = np.random.default_rng(0)
    data = bg.recording(rows="trial", y=rng.normal(size=60), x=rng.normal(size=60))
    model = bg.GLM(bg.Baseline() + bg.Linear("x"), family.Gaussian(), response="y")
    fit = bg.fit(model, data, method.HMC(num_samples=200, precision="single"), progress=False)
    assert any("double precision" in note for note in fit.stats["notes"])


def test_fast_modes_equal_newton(recording_small):
    """Preconditioned L-BFGS and exact Newton stop at one optimum."""
    terms = bg.Baseline(prior.Flat()) + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05), prior.ridge(2.0))
    with double():
        linear = linear_of(bg.GLM(terms + bg.Coupling(basis.RaisedCosine(2, span=0.05), prior.ridge(5.0))), recording_small)
        theta, w, reference = start(linear)
        fast, exact = solve(linear, theta, w, reference, jnp.asarray(1e-12)), modes(linear, theta, w, False)
    assert bool(fast.done.all())
    assert bool(exact.converged.all())
    np.testing.assert_allclose(fast.w, exact.w, atol=2e-6)


def test_log_marginal_gradient_matches_finite_differences(recording_small, model_small):
    """The evidence's slope in the log scales, at held curvature."""
    with double():
        linear = linear_of(model_small, recording_small)
        found = approximate(linear)
        each, mode = at(linear.each, 0), at(found.mode, 0)
        form = Form(mode.curvature, mode.curvature @ mode.w - mode.slope, linear.eta(each, mode.w), mode.w, found.theta[0])
        score = lambda t: log_marginal(linear, each, form, t)  # noqa: E731
        theta, step = found.theta[0], 1e-5
        slope = jax.grad(score)(theta)
        for i in range(theta.size):
            move = step * jnp.eye(theta.size)[i]
            np.testing.assert_allclose(slope[i], (score(theta + move) - score(theta - move)) / (2 * step), atol=1e-5)
        assert float(jnp.abs(slope).max()) < 0.05  # theta is the optimum


def test_a_silent_neuron_is_reported_and_spoils_no_other(recording_small, model_small, fit_small_map):
    """The others' weights do not move; the silent neuron's come from the priors."""
    from bayesglm._examine import DesignNote

    spikes = recording_small["spikes"].values.copy()
    spikes[:, 2] = 0
    data = bg.recording(dt=0.01, spikes=spikes, stimulus=recording_small["stimulus"].values)
    terms = bg.Baseline() + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05))
    with pytest.warns(DesignNote, match="never varies.*neuron.* 2"):
        beside = bg.fit(bg.GLM(terms), data, "map", progress=False)
    apart = bg.fit(bg.GLM(terms, neurons=[0, 1]), data, "map", progress=False)
    np.testing.assert_allclose(beside.posterior["stimulus"].sel(neuron=[0, 1]), apart.posterior["stimulus"], atol=1e-6)
    assert np.isfinite(beside.posterior["stimulus"]).all()


def test_separable_choices_under_a_flat_prior_are_not_called_converged():
    x = np.linspace(-1, 1, 40)
    data = bg.recording(rows="trial", x=x, choice=(x > 0).astype(int))
    model = bg.GLM(bg.Baseline(prior.Flat()) + bg.Linear("x", prior.Flat()), family.Bernoulli(), response="choice")
    with pytest.raises(ValueError, match="separable"):
        bg.fit(model, data, "map", progress=False)


def test_quadrature_finds_a_gaussian_exact_and_few_spikes_not():
    """No shift for a Gaussian likelihood; a shift where a rate rests on three spikes."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    shifts = []
    for y, kind in ((0.3 * x + rng.normal(size=200), family.Gaussian(1.0)), ((np.arange(200) % 67 == 0).astype(int), family.Poisson())):
        data = bg.recording(rows="trial", y=y, x=x)
        model = bg.GLM(bg.Baseline(prior.Gaussian(5.0)) + bg.Linear("x", prior.Gaussian(2.0)), kind, response="y")
        with double():
            linear = linear_of(model, data)
            found = approximate(linear, exact=True)
            shifts.append(quantile_shifts(linear, found.coordinates.each, 0, np.array([[1.0, 0.0]])))
    assert np.abs(shifts[0].shift).max() < 1e-3
    assert shifts[1].flagged.all()


def test_laplace_refuses_kinks_and_hmc_the_generic_route(recording_small):
    import numpyro
    import numpyro.distributions as dist

    sparse = bg.GLM(bg.Baseline() + bg.Coupling(basis.RaisedCosine(2, span=0.05), prior.Laplace(0.3)))
    with pytest.raises(ValueError, match=r"kink.*'nuts'"):
        bg.fit(sparse, recording_small, "laplace", progress=False)

    def rate(spikes):
        level = numpyro.sample("level", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Poisson(jnp.exp(level)), obs=spikes)

    with pytest.raises(ValueError, match="linear in its weights"):
        bg.fit(bg.from_function(rate), recording_small, "hmc", progress=False)


def test_laplace_checks_filters_on_request(recording_small):
    """A well-informed stimulus filter passes its quadrature; the shift is reported."""
    model = bg.GLM(bg.Baseline() + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05)), neurons=[0])
    fit = bg.fit(model, recording_small, method.Laplace(num_samples=400, check="filters"), progress=False)
    assert 0 < fit.stats["neuron_filter_shift"][0] < 0.25
    assert any("quadrature" in note for note in fit.stats["notes"])


def test_a_column_that_rounding_stops_has_converged_and_one_that_is_cut_short_has_not(recording_small, model_small):
    """No step reaches a tolerance of zero; what counts is how many nats are left."""
    with double():
        linear = linear_of(model_small, recording_small)
        theta, w, reference = start(linear)
        stopped = solve(linear, theta, w, reference, jnp.asarray(0.0))
        short = solve(linear, theta, w, reference, jnp.asarray(0.0), jnp.asarray(2))
        assert stopped.done.all() and (stopped.decrement < 1e-9).all()
        assert not short.done.any() and (short.decrement > 1e-9).all()
