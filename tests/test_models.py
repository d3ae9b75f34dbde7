"""The reading room: every model equals its twin in terms, states its linear structure truly, and runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from matplotlib.figure import Figure
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density
from reading_room import BUMPS, CASES

import bayesglm as bg
from bayesglm import method, models
from bayesglm._double import in_double
from bayesglm.engine.target import latent_sites, traced

SAME = 1e-9  # nats
RELATIVE = 1e-10  # of 1 + sum |terms|


each_model = pytest.mark.parametrize("name", CASES)


def somewhere(model: bg.AbstractModel, design: bg.Design, seed: int) -> dict[str, np.ndarray]:
    """Random values of the latent sites, within their supports."""
    rng = np.random.default_rng(seed)
    sites = latent_sites(traced(model, design))
    return {name: np.asarray(biject_to(site["fn"].support)(0.4 * rng.normal(size=np.shape(site["value"])))) for name, site in sites.items()}


def density(model: bg.AbstractModel) -> Callable[[bg.Design, dict[str, Any]], Any]:
    """log p(design, values) of the story, compiled once."""
    return jax.jit(lambda design, values: log_density(model, (design,), {}, values)[0])


def test_every_file_is_listed_and_tested() -> None:
    files = {path.stem for path in pathlib.Path(inspect.getfile(models)).parent.glob("[a-z]*.py")}
    assert files == {case.file for case in CASES.values()}
    assert sorted(CASES) == models.__all__


@each_model
def test_reads_without_the_terms(name: str) -> None:
    """The oracle shares nothing with ``terms``; every import is absolute; ``main`` comes last."""
    tree = ast.parse(inspect.getsource(CASES[name].module))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert all(node.level == 0 for node in imported)
    assert not any("terms" in (node.module or "") or "_glm" in (node.module or "") for node in imported)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert (functions[0], functions[-1]) == ("simulate", "main")


@each_model
@in_double
def test_density_equals_the_twins(name: str) -> None:
    case = CASES[name]
    data = case.data()
    model, twin = case.make().resolve(data), case.twin().resolve(data)
    assert model.resolve(data) is model
    design, other = model.design(data), twin.design(data)
    ours, theirs = density(model), density(twin)
    for seed in range(3):
        values = somewhere(model, design, seed)
        assert {site: np.shape(v["value"]) for site, v in latent_sites(traced(twin, other)).items()} == {site: v.shape for site, v in values.items()}
        told = ours(design, values)
        assert abs(told - theirs(other, values)) < SAME
        assert abs(told - ours(design.padded(), values)) < SAME
    np.testing.assert_array_equal(design.scored, other.scored)
    assert model.observed_site() == twin.observed_site()
    assert model.has_neurons is twin.has_neurons


@each_model
@in_double
def test_labels_equal_the_twins(name: str) -> None:
    case = CASES[name]
    data = case.data()
    model, twin = case.make().resolve(data), case.twin().resolve(data)
    for what in ("coords", "constant_coords", "masks"):
        ours, theirs = getattr(model, what)(), getattr(twin, what)()
        for key in ours if what != "masks" else set(ours) & set(theirs):
            np.testing.assert_array_equal(ours[key], theirs[key])
    assert set(model.coords()) == set(twin.coords())
    for key, (dims, kernels) in twin.constants().items():
        assert model.constants()[key][0] == dims
        np.testing.assert_allclose(model.constants()[key][1], kernels, rtol=1e-14, atol=1e-14)
    events = [{site: v["infer"].get("event_dims") for site, v in latent_sites(traced(m, m.design(data))).items()} for m in (model, twin)]
    assert all(events[0][site] == (events[1][site] or events[0][site]) for site in events[0])


@each_model
@in_double
def test_stated_linear_structure_is_the_twins(name: str) -> None:
    """The same log density, neuron by neuron, as the engine builds from the terms, up to a constant."""
    case = CASES[name]
    data = case.data()
    model, twin = case.make().resolve(data), case.twin().resolve(data)
    pair = [one.linear(one.design(data).padded()) for one in (model, twin)]
    found = []
    for seed in range(3):
        values = {site: jnp.asarray(value) for site, value in somewhere(model, model.design(data), seed).items()}
        row = []
        for linear in pair:
            hyper = {site: values[site] for site in linear.hyper({"spread": 1.0})}
            hyper |= {site: jnp.broadcast_to(values[site], (linear.size, *values[site].shape)) for site in linear.shared_sites()}
            w = jax.vmap(linear.pack)(linear.each, {site: values[site] for site in linear.names})
            laws = jax.vmap(lambda each, h, linear=linear: sum(jnp.sum(law.log_prob(h[site])) for site, law in linear.hyper(each).items()))
            row.append(jax.vmap(linear.log_likelihood)(linear.each, w, hyper) + jax.vmap(linear.log_prior)(linear.each, w, hyper) + laws(linear.each, hyper))
        found.append(row)
    ours, theirs = np.moveaxis(np.diff(np.array(found), axis=0), 1, 0)
    np.testing.assert_allclose(ours, theirs, atol=RELATIVE * (1.0 + np.abs(found).sum()))


@each_model
@in_double
def test_prior_draws_need_no_response(name: str) -> None:
    case = CASES[name]
    data = case.data()
    model = case.make().resolve(data)
    design = model.design(data)
    blind = type(design)(design.shared, {key: leaf for key, leaf in design.each.items() if key != "response"}, design.scored)
    trace = numpyro.handlers.trace(numpyro.handlers.seed(model, jax.random.key(0))).get_trace(blind)
    assert trace[model.observed_site()]["value"].shape == (design.rows, design.size)
    assert all(np.isfinite(site["value"]).all() for site in latent_sites(trace).values())
    assert model.linear(blind) is None
    part = design.at(slice(20, 40))
    assert part.rows == 20
    assert np.isfinite(density(model)(part, somewhere(model, design, 0)))


@each_model
def test_docstring_examples(name: str) -> None:
    module = CASES[name].module
    result = doctest.testmod(module)
    assert result.attempted >= 3
    assert result.failed == 0


@each_model
def test_main_simulates_fits_and_draws(name: str, capsys: pytest.CaptureFixture) -> None:
    rows = {"SpikeHistory": 2_000, "ChoiceDecoding": 200, "DecisionKernels": 1_200}.get(name, 500)  # as the docstrings: programs are shared
    figure = CASES[name].module.main(rows, "laplace")
    assert isinstance(figure, Figure)
    assert figure.axes
    assert "Laplace" in capsys.readouterr().out


class Slow(models.PoissonReceptiveField):
    """The same story on the generic route."""

    def linear(self, design: bg.Design) -> None:
        return None


def test_generic_route_samples_the_same_posterior() -> None:
    data = CASES["PoissonReceptiveField"].data(400)
    how = method.NUTS(num_samples=400, num_chains=2, target_accept=0.95)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generic route meets the funnel of the learned scale: a few divergences
        slow = bg.fit(Slow(BUMPS(3, span=0.1)), data, how, progress=False)
    fast = bg.fit(models.PoissonReceptiveField(BUMPS(3, span=0.1)), data, "laplace", progress=False)
    for site in ("stimulus", "baseline"):
        gap = abs(slow.posterior[site].mean(("chain", "draw")) - fast.posterior[site].mean(("chain", "draw")))
        assert (gap < 0.35 * fast.posterior[site].std(("chain", "draw"))).all()
    assert slow.posterior["stimulus"].dims == fast.posterior["stimulus"].dims
    assert bg.predict(fast, data.isel(time=slice(0, 50)), draws=2).dims == ("chain", "draw", "time", "neuron")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.drop_vars("stimulus"), "wants the column 'stimulus'"),
        (lambda data: data.assign(stimulus=data["stimulus"].where(data["time"] > 0.5)), "'stimulus' holds 50 NaN"),
        (lambda data: data.assign(observed=data["spikes"] >= 0), "mask 'observed'"),
    ],
)
def test_what_the_reading_room_refuses(change: Callable, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bg.fit(models.PoissonReceptiveField(), change(CASES["PoissonReceptiveField"].module.simulate(300)), "map", progress=False)


def test_a_resolved_model_is_for_its_bins_and_neurons() -> None:
    data = CASES["PoissonReceptiveField"].data()
    model = models.PoissonReceptiveField().resolve(data)
    with pytest.raises(ValueError, match=r"dt=0\.01 s, the recording has 0\.02"):
        model.design(bg.recording(dt=0.02, spikes=data["spikes"].values, stimulus=data["stimulus"].values))
    with pytest.raises(ValueError, match=r"neurons \[0, 1\]"):
        model.design(data.isel(neuron=[1, 0]))
    with pytest.raises(ValueError, match="not resolved"):
        models.PoissonReceptiveField().design(data)


def test_choices_are_coded_0_and_1() -> None:
    data = CASES["ChoiceDecoding"].data(30)
    with pytest.raises(ValueError, match="'choice' holds the values"):
        models.ChoiceDecoding().resolve(data.assign(choice=data["choice"] + 1))
    with pytest.raises(ValueError, match="has 3 features; the model was resolved on 40"):
        models.ChoiceDecoding().resolve(data).design(data.isel(counts_feature=slice(0, 3)))
