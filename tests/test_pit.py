"""Distribution functions of every family against SciPy; randomised transforms are uniform if the model is true."""

from __future__ import annotations

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from families import FAMILIES
from scipy import special, stats

import bayesglm as bg
from bayesglm import _likelihood, family, prior
from bayesglm._checking._pit import cdf_chunks, pit_chunks, pit_draw_chunks
from bayesglm._double import double
from bayesglm._likelihood import Source
from bayesglm.engine.goodness import goodness
from bayesglm.family._cdf import cdf

EXACT = 1e-11
UNLIKELY = 1e-3  # of a true model; seeds are fixed
CERTAIN = 1e-6
G = prior.Gaussian(1.0)
PLAIN = [(f"{name}-{i}", case) for name, cases in FAMILIES.items() for i, case in enumerate(cases) if case.plain]


def value(made, eta, y, hyper=None):
    """The distribution function of a family at eta."""
    with double():
        return np.asarray(jax.jit(lambda eta, y, hyper: cdf(made(eta, hyper, 0.01), y))(eta, y, hyper or {}))


@pytest.mark.parametrize(("name", "case"), PLAIN, ids=[name for name, _ in PLAIN])
def test_a_family_has_scipys_distribution_function(name, case):
    eta = np.linspace(-3, 3, 7)[:, None]
    y = np.array(case.responses)
    found = value(case.make(), eta, y, case.hyper)
    law = case.law(case.mean(eta))
    truth = law.cdf(y) if hasattr(law, "cdf") else law.share + (1 - law.share) * law.inner.cdf(y)
    np.testing.assert_allclose(found, truth, atol=EXACT)
    if case.make().discrete:
        np.testing.assert_array_equal(value(case.make(), eta[:, 0], -1.0, case.hyper), 0.0)


def test_counts_of_every_size():
    mean = np.array([1e-5, 0.3, 40.0, 3e4])[:, None]
    y = np.round(mean + np.sqrt(mean) * np.linspace(-6, 9, 31)).clip(0)
    np.testing.assert_allclose(value(family.Poisson(), np.log(mean), y), stats.poisson(mean).cdf(y), atol=EXACT)
    a = np.array([1e-4, 0.5, 4.0])[:, None, None]
    found = value(family.NegativeBinomial(), np.log(mean), y, {"dispersion": a})
    np.testing.assert_allclose(found, stats.nbinom(1 / a, 1 / (1 + a * mean)).cdf(y), atol=1e-9)
    barely = value(family.NegativeBinomial(), np.log(mean), y, {"dispersion": np.array(1e-13)})  # SciPy's own loses its digits there
    np.testing.assert_allclose(barely, stats.poisson(mean).cdf(y), atol=1e-7)


def test_far_tails_are_zero_and_one():
    found = value(family.Poisson(), np.log([5.0, 5.0, 1e-300, 2e5]), np.array([4000.0, 0.0, 1.0, 10.0]))
    np.testing.assert_allclose(found, [1.0, np.exp(-5.0), 1.0, 0.0], rtol=EXACT)


def test_angles_are_measured_from_zero():
    y = np.linspace(0.001, 2 * np.pi - 0.001, 41)
    kappa, mean = (axis.ravel()[:, None] for axis in np.meshgrid([1e-6, 0.5, 3.0, 60.0, 5e3], [0.0, 0.4, 3.1, 5.0]))
    law, eta = family.VonMises(360.0), np.stack([kappa * np.cos(mean), kappa * np.sin(mean)], -1)
    grid = np.linspace(0, 2 * np.pi, 200_001)
    density = np.exp(kappa * (np.cos(grid - mean) - 1)) / (2 * np.pi * special.i0e(kappa))
    below = np.concatenate([np.zeros((len(kappa), 1)), np.cumsum(0.5 * (density[:, 1:] + density[:, :-1]), 1) * grid[1]], 1)
    truth = [np.interp(y, grid, row) for row in below]
    np.testing.assert_allclose(value(law, eta, np.degrees(y)), truth, atol=1e-6)
    assert value(law, eta, np.zeros(1)).max() == 0.0


def test_classes_add_up_in_the_order_of_their_codes():
    eta = np.array([[0.3, -0.5], [1.0, 0.2]])
    law = family.Categorical(3)
    with double():
        p = np.asarray(law(eta, {}, 0.01).probs)
    for k in range(3):
        np.testing.assert_allclose(value(law, eta, np.full(2, float(k))), p[:, : k + 1].sum(1), atol=EXACT)
    cuts = np.array([-0.8, 0.6])
    ordered = [value(family.Ordinal(3, link="probit"), np.array([0.2]), np.array([float(k)]), {"cutpoints": cuts})[0] for k in range(3)]
    np.testing.assert_allclose(ordered, [*special.ndtr(cuts - 0.2), 1.0], atol=EXACT)


@pytest.mark.parametrize(
    ("law", "truth"),
    [
        (lambda: dist.Poisson(2.5), stats.poisson(2.5)),
        (lambda: dist.NegativeBinomial2(2.5, 1.7), stats.nbinom(1.7, 1.7 / 4.2)),
        (lambda: dist.Binomial(6, probs=0.3), stats.binom(6, 0.3)),
        (lambda: dist.Bernoulli(logits=0.4), stats.bernoulli(1 / (1 + np.exp(-0.4)))),
        (lambda: dist.Normal(1.0, 2.0), stats.norm(1.0, 2.0)),
        (lambda: dist.Poisson(2.5).mask(True).expand((4,)), stats.poisson(2.5)),
    ],
)
def test_numpyros_distributions_too(law, truth):
    with double():
        found = np.asarray(cdf(law(), np.array([0.0, 1.0, 2.0, 3.0])))
    np.testing.assert_allclose(found, truth.cdf([0, 1, 2, 3]), atol=1e-9)


class NoCdf(dist.Distribution):
    """A law of the real line of which only the density is known."""

    support = dist.constraints.real
    pytree_data_fields = ()


def test_a_density_without_a_distribution_function_says_so():
    with pytest.raises(ValueError, match="distribution with a cdf; NoCdf has none"):
        cdf(NoCdf(), np.zeros(2))


ROWS = 3000
TURNED = {"Categorical": family.Categorical(3), "Ordinal": family.Ordinal(3, cutpoints=(-0.8, 0.6)), "VonMises": family.VonMises(2 * np.pi)}
SIMULATED = {
    "Poisson": family.Poisson(),
    "softplus": family.Poisson("softplus"),
    "NegativeBinomial": family.NegativeBinomial(0.7),
    "ZeroInflatedPoisson": family.ZeroInflatedPoisson(0.3),
    "Bernoulli": family.Bernoulli(),
    "Binomial": family.Binomial(7),
    "Gaussian": family.Gaussian(0.5),
    "StudentT": family.StudentT(scale=0.5),
    "Gamma": family.Gamma(shape=2.0),
    **TURNED,
}


def simulated(law, seed=0, rows=ROWS):
    """A recording from a family at eta = 0.3 + 0.8 x (of several predictors a second slope), and the Source of that truth."""
    x = np.random.default_rng(seed).normal(size=rows)
    own = getattr(law, "own_constant", False)
    several = law.predictors is not None
    base, slope = (np.array([0.3, -0.4]), np.array([0.8, 0.5])) if several else (0.0 if own else 0.3, 0.8)
    eta = base + x[:, None, None] * slope if several else base + slope * x[:, None]
    with double():
        y = np.asarray(law(eta, {}, 0.1).sample(jax.random.key(seed)))[:, 0]
    y = bg.angle(y) if isinstance(law, family.VonMises) else y.astype(int) if law.discrete else y
    data = bg.recording(dt=0.1, y=y, x=x)
    terms = bg.Linear("x", G) if own else bg.Baseline(G) + bg.Linear("x", G)
    model = bg.GLM(terms, law, response="y").resolve(data)
    spread = (lambda w: w @ law.predictors.contrast.T) if several else (lambda w: w)
    values = {"x": np.asarray(spread(slope)).reshape(1, 1, *((-1,) if several else ()))}
    values |= {} if own else {"baseline": np.asarray(spread(base)).reshape(1, 1, *((-1,) if several else ()))}
    design = model.design(data).bare()
    return data, Source(model, design, values, np.ones((rows, 1), bool), 0.1, 1)


def transformed(made, key=0, chunks=pit_chunks):
    with double():
        return np.concatenate([values for _, values in chunks(made, key)], axis=-2)


@pytest.mark.parametrize("name", list(SIMULATED))
def test_transforms_of_a_true_model_are_uniform_and_independent(name):
    _, made = simulated(SIMULATED[name], seed=3)
    found = goodness(transformed(made)[:, 0])
    assert found.n == ROWS
    assert min(found.p_value, found.autocorrelation_p) > UNLIKELY
    wrong = made._replace(values={site: -w for site, w in made.values.items()})
    assert goodness(transformed(wrong)[:, 0]).p_value < CERTAIN


def two_rates():
    """Two cells whose rate is 0.2 or 1.0 a bin, with half of the draws each."""
    rng = np.random.default_rng(0)
    data = bg.recording(dt=0.1, spikes=rng.poisson(0.5, (600, 2)), labels={"neuron": ["a", "b"]})
    model = bg.GLM(bg.Baseline(G)).resolve(data)
    values = {"baseline": np.log([[0.2, 0.2], [1.0, 1.0]])}
    return data, Source(model, model.design(data).bare(), values, np.ones((600, 2), bool), 0.1, 1)


def test_the_distribution_is_averaged_over_draws():
    data, made = two_rates()
    y = data["spikes"].values.astype(int)
    with double():
        below, at = (np.concatenate(parts, 1).mean(0) for parts in zip(*((b, a) for _, b, a in cdf_chunks(made)), strict=True))
    for bound, k in ((below, y - 1), (at, y)):
        np.testing.assert_allclose(bound, 0.5 * (stats.poisson(0.2).cdf(k) + stats.poisson(1.0).cdf(k)), atol=EXACT)
    u = transformed(made)
    assert ((below <= u) & (u <= at)).all()
    np.testing.assert_allclose(transformed(made, chunks=pit_draw_chunks).mean(0), u, atol=EXACT)  # one v for all draws


def test_transforms_depend_on_key_and_label_only(monkeypatch):
    _, made = two_rates()
    u = transformed(made)
    np.testing.assert_array_equal(transformed(made, jax.random.key(4)), transformed(made, jax.random.key(4)))
    assert not np.array_equal(transformed(made, 1), u)
    alike = made.design.each["response"][0] == made.design.each["response"][1]
    assert (u[alike, 0] != u[alike, 1]).all()  # a neuron has numbers of its own
    monkeypatch.setattr(_likelihood, "_NUMBERS", 400)
    np.testing.assert_allclose(transformed(made), u, atol=EXACT)  # rows in many chunks
    data = bg.recording(dt=0.1, spikes=made.design.each["response"][1:].T, labels={"neuron": ["b"]})
    model = bg.GLM(bg.Baseline(G)).resolve(data)
    alone = Source(model, model.design(data).bare(), {"baseline": made.values["baseline"][:, 1:]}, made.scored[:, 1:], 0.1, 1)
    np.testing.assert_allclose(transformed(alone), u[:, 1:], atol=EXACT)


def test_rows_that_are_not_scored_have_no_transform():
    _, made = two_rates()
    scored = np.random.default_rng(1).random(made.scored.shape) < 0.8
    u = transformed(made._replace(scored=scored))
    np.testing.assert_array_equal(np.isnan(u), ~scored)
    np.testing.assert_array_equal(u[scored], transformed(made)[scored])


def test_a_recording_without_the_response_has_no_transforms():
    data, made = two_rates()
    bare = made.model.design(xr.Dataset({"x": ("time", np.zeros(600))}, coords=data.coords, attrs=data.attrs)).bare()
    with double(), pytest.raises(ValueError, match="lacks the response"):
        next(pit_chunks(made._replace(design=bare)))
