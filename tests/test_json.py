"""Nouns to JSON and back, exactly."""

import dataclasses
import inspect
import json

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from test_basis import CASES, resolved

import bayesglm as bg
from bayesglm import basis, family, method, prior, terms
from bayesglm._convergence import Convergence
from bayesglm._json import from_json, to_json
from bayesglm._registry import LAWS, kinds

RELATIVE = np.array([0.1, 1 / 3, 1e-300])

LAW_CASES = [
    dist.Beta(2.0, 3.0),
    dist.Cauchy(0.0, 1.0),
    dist.Chi2(3.0),
    dist.Exponential(0.1),
    dist.Gamma(2.0, 1 / 3),
    dist.HalfCauchy(2.5),
    dist.HalfNormal(0.3),
    prior.HalfStudentT(4.0, 0.1),
    dist.InverseGamma(2.0, 1.0),
    dist.Laplace(0.0, 1.0),
    dist.Logistic(0.0, 1.0),
    dist.LogNormal(0.0, 0.7),
    dist.LogUniform(0.01, 10.0),
    dist.Normal(0.0, 1.0),
    dist.Pareto(0.5, 3.0),
    dist.StudentT(3.0, 0.0, 1.0),
    dist.TruncatedNormal(1.0, 0.5, low=0.0),
    dist.TruncatedNormal(1.0, 0.5, low=0.0, high=3.0),
    dist.Uniform(0.0, 2.0),
    dist.Weibull(1.0, 2.0),
]
PRIORS = [
    prior.Flat(),
    prior.Gaussian(0.1),
    prior.Gaussian("evidence"),
    prior.Gaussian(dist.HalfNormal(1.0)).relative_to(RELATIVE),
    prior.Laplace(0.3),
    prior.Laplace(dist.Gamma(2.0, 1.0)),
    prior.StudentT(4.0, prior.HalfCauchy(2.5)),
    prior.ElasticNet(0.1, 0.2),
    prior.Horseshoe(3.0),
    prior.ridge(3.0),
    prior.lasso(7.0),
]
FAMILIES = [
    *(family.Poisson(link) for link in ("exp", "softplus")),
    *(family.Bernoulli(link) for link in ("logit", "probit", "cloglog")),
    *(family.Gaussian(scale) for scale in (None, 0.1, prior.HalfStudentT(4.0, 1.0))),
    *(family.Binomial(trials) for trials in (7, "n")),
    *(family.Ordinal(cutpoints=cutpoints) for cutpoints in (None, (-0.5, 1.0), dist.Normal(0.0, 2.0))),
    family.Categorical(labels=("left", "right")),
    family.VonMises(360.0),
    family.NegativeBinomial(prior.HalfNormal(0.5)),
]
METHODS = [method.MAP(), method.MAP(max_steps=7), method.NUTS(), method.NUTS(num_warmup=33, num_samples=10, num_chains=1, target_accept=0.9)]
BUMPS = basis.RaisedCosine(3, span=0.05)
TERMS = [
    terms.Baseline(),
    terms.Baseline(prior.Gaussian(2.0)),
    terms.Stimulus("stimulus", BUMPS, lead=0.02, edge="zero", name="seen"),
    terms.History(BUMPS, prior.Laplace(0.3)),
    terms.Coupling(BUMPS, sources=("a", "b"), mask=np.eye(2, dtype=bool)),
    terms.Linear("speed"),
    terms.Tuning(("x", "y"), basis.BSpline(4, bounds=(0, 1)) * basis.BSpline(5)),
    terms.Offset("exposure"),
    terms.Event("cue", basis.BSpline(4), prior.Laplace(0.3), window=(-0.1, 0.3), value="contrast"),
    terms.Stimulus("movie", BUMPS, space=basis.BSpline(4) * basis.BSpline(5)),
    terms.Pooled("animal/session", of="speed"),
    terms.Product(terms.Tuning("x", basis.BSpline(4)), terms.History(BUMPS, missing="skip"), prior=prior.Gaussian(0.5)),
    terms.Response("spikes", ("a", 1), ("a", 1, "b"), 0.01, True),
]


def same(one, two) -> bool:
    """Whether two trees have one structure (static fields included) and equal leaves of equal types; NaN is equal to NaN."""
    ones, twos = jax.tree.leaves(one), jax.tree.leaves(two)
    alike = [
        np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f") and np.asarray(a).dtype == np.asarray(b).dtype for a, b in zip(ones, twos, strict=True)
    ]
    return jax.tree.structure(one) == jax.tree.structure(two) and all(alike)


def fields(noun) -> dict:
    return {field.name: getattr(noun, field.name) for field in dataclasses.fields(noun)}


def again(noun):
    """Through JSON and back; the text of the second is that of the first."""
    text = to_json(noun)
    made = from_json(text)
    assert to_json(made) == text
    assert text.isascii()
    return made


@pytest.mark.parametrize("noun", [*PRIORS, *FAMILIES, *METHODS, *TERMS, terms.Sum(*TERMS[1:4])], ids=lambda noun: type(noun).__name__)
def test_nouns_come_back_exactly(noun) -> None:
    made = again(noun)
    assert type(made) is type(noun)
    assert same(made, noun)
    assert bool(eqx.tree_equal(made, noun))
    assert {name: type(value) for name, value in fields(made).items()} == {name: type(value) for name, value in fields(noun).items()}


@pytest.mark.parametrize(("make", "use"), CASES)
def test_bases_come_back_exactly_before_and_after_resolving(make, use) -> None:
    for noun in (make(), resolved(make(), use)):
        made = again(noun)
        assert type(made) is type(noun)
        assert same(made, noun)
        assert repr(made) == repr(noun)


@pytest.mark.parametrize("law", LAW_CASES, ids=lambda law: type(law).__name__)
def test_distributions_come_back_exactly(law) -> None:
    made = again({"law": law})["law"]
    assert type(made) is type(law)
    assert same(made, law)
    np.testing.assert_array_equal(made.log_prob(0.7), law.log_prob(0.7))


def test_a_distribution_made_in_double_precision_stays_in_it() -> None:
    with jax.enable_x64(True):
        law = prior.HalfStudentT(4.0, 0.1)
    assert from_json(to_json({"law": law}))["law"].scale.dtype == np.float64
    assert same(from_json(to_json({"law": law}))["law"], law)


@pytest.mark.parametrize(
    "value",
    [
        np.array([0.1, np.nan, np.inf, -np.inf, -0.0, 5e-324, 1e308]),
        np.float32([0.1, np.nan]),
        np.zeros((0, 3)),
        np.array(1 / 3),
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.array([2**63 - 1, -(2**63)]),
        np.array([[True, False]]),
        np.array(["left", "é", ""]),
        np.float64(0.1),
        np.int64(7),
        np.bool_(True),
        np.str_("a"),
    ],
    ids=repr,
)
def test_arrays_and_scalars_keep_value_type_and_shape(value) -> None:
    made = from_json(to_json({"value": value}))["value"]
    assert type(made) is type(value)
    assert made.dtype == value.dtype
    assert made.shape == value.shape
    np.testing.assert_array_equal(made, value)
    assert np.asarray(made).tobytes() == np.asarray(value).tobytes()


@pytest.mark.parametrize("value", [None, True, 1, 1.0, 0.1, -0.0, 2**70, "é\n", (), (1, (2.0, None)), [1, [2]], {}, {"kind": {"array": 1}}], ids=repr)
def test_plain_values_keep_their_types(value) -> None:
    made = from_json(to_json({"value": value}))["value"]
    assert repr(made) == repr(value)


def test_non_finite_numbers_are_standard_json() -> None:
    text = to_json({"values": (np.nan, np.inf, -np.inf), "array": np.array([np.nan])})
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert repr(from_json(text)["values"]) == "(nan, inf, -inf)"


def test_a_convergence_comes_back() -> None:
    found = Convergence(False, 1.02, 1.0, 1, 30, 300.0, np.inf, 2, 0, 0.9, ("n1",), ("too few draws",))
    assert from_json(to_json({"found": found}))["found"] == found


@pytest.mark.parametrize(("package", "cases"), [("prior", PRIORS), ("family", FAMILIES), ("method", METHODS), ("terms", TERMS)])
def test_every_public_class_has_a_case(package, cases) -> None:
    # Kinds that came after these lists are made with their defaults, so that a class that cannot be written is found.
    for name, cls in kinds(package).items():
        if name in {type(case).__name__ for case in cases} or name == "Sum":
            continue
        needs = [p for p in inspect.signature(cls).parameters.values() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
        assert not needs, f"add {package}.{name} to the cases of this file"
        assert same(again(cls()), cls())


def test_every_distribution_has_a_case() -> None:
    assert {type(law).__name__ for law in LAW_CASES} == set(LAWS)


def test_a_field_that_an_older_file_lacks_has_its_default() -> None:
    document = json.loads(to_json(method.NUTS(num_samples=10)))
    del document["fields"]["max_tree_depth"]
    assert from_json(json.dumps(document)) == method.NUTS(num_samples=10)


def test_a_resolved_glm_with_every_term_comes_back_with_its_design_and_density() -> None:
    model, data = everything()
    made = again(model)
    assert type(made) is bg.GLM
    assert same(made, model)
    assert same(made.design(data), model.design(data))
    assert log_density(made, data) == log_density(model, data)


def everything() -> tuple:
    rng = np.random.default_rng(3)
    rows = 60
    data = bg.recording(
        dt=0.01,
        spikes=rng.poisson(0.3, (rows, 2)),
        stimulus=rng.normal(size=rows),
        speed=rng.normal(size=(rows, 2)),
        heading=bg.angle(rng.uniform(0, 360, rows), period=360),
        x=rng.uniform(size=rows),
        y=rng.uniform(size=rows),
        context=np.array(["left", "right"])[rng.integers(0, 2, rows)],
        exposure=rng.normal(size=rows),
        labels={"neuron": ["a", "b"], "speed": ["slow", "fast"]},
    )
    parts = (
        terms.Baseline()
        + terms.Stimulus("stimulus", BUMPS)
        + terms.History(basis.Lags(span=0.03))
        + terms.Coupling(basis.Exponential([0.01, 0.02], span=0.04), prior.Laplace(0.3))
        + terms.Linear("speed")
        + terms.Tuning("heading", basis.CyclicBSpline(5), prior.Gaussian(dist.HalfNormal(0.7)))
        + terms.Tuning(("x", "y"), basis.BSpline(4) * basis.BSpline(4), prior.ElasticNet(1.0, 1.0))
        + terms.Tuning("context", basis.OneHot())
        + terms.Offset("exposure")
    )
    return bg.GLM(parts, family.Poisson("softplus"), neurons=("b",)).resolve(data), data


def log_density(model, data) -> float:
    from numpyro.infer.util import log_density

    with jax.enable_x64(True):
        design = model.design(data)
        values = {block.name: np.full(block.mask.shape, 0.1) for block in model.blocks(design)}
        values |= {f"{block.name}_scale": np.full(1, 0.5) for block in model.blocks(design) if block.prior.hyper(block.name)}
        return float(log_density(model, (design,), {}, values)[0])
