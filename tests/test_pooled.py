"""Pooled: intercepts and slopes by level; conjugate closed forms, nesting, levels and cells that were never seen; the union of sessions."""

from __future__ import annotations

import equinox as eqx
import numpy as np
import pytest
from shapes import columns, everything
from test_terms import dense

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._json import from_json, to_json

KERNEL = basis.RaisedCosine(2, span=0.03)


def resolve(terms, data=None):
    model = bg.GLM(terms).resolve(everything() if data is None else data)
    return model, model.terms["pooled"]


def test_intercepts_and_slopes():
    raw, data = columns(), everything()
    days = list(dict.fromkeys(raw["day"].tolist()))
    here = (raw["day"][:, None] == np.array(days)).astype(float)
    model, term = resolve(bg.Baseline() + bg.Pooled("day"), data)
    np.testing.assert_array_equal(dense(model, term, data)[0], here)
    assert (term.dims, term.coords()["day"].tolist()) == (("day",), days)
    model, term = resolve(bg.Baseline() + bg.Linear("pose") + bg.Pooled("day", of="pose"), data)
    np.testing.assert_allclose(dense(model, term, data)[0], (here[:, :, None] * raw["pose"][:, None]).reshape(-1, 4), atol=1e-12)
    assert term.dims == ("day", "pose_feature")
    np.testing.assert_allclose(term.prior.relative, 1 / raw["pose"].std(0))
    for of in ("stimulus", bg.Stimulus("stimulus", KERNEL)):
        model, term = resolve(bg.Stimulus("stimulus", KERNEL) + bg.Pooled("day", of=of), data)
        filtered = dense(model, model.terms["stimulus"], data)[0]
        np.testing.assert_allclose(dense(model, term, data)[0], (here[:, :, None] * filtered[:, None]).reshape(-1, 4), atol=1e-12)
        assert term.dims == ("day", "stimulus_basis")
        assert term.bases == (model.terms["stimulus"].basis,)


def test_the_order_in_the_sum_does_not_matter():
    one, two = resolve(bg.Pooled("day", of="x") + bg.Linear("x"))[1], resolve(bg.Linear("x") + bg.Pooled("day", of="x"))[1]
    assert eqx.tree_equal(one, two)


def test_of_a_product():
    data = everything()
    model, term = resolve(bg.Linear("x") * bg.Linear("y") + bg.Pooled("day", of="x:y"), data)
    inner = dense(model, model.terms["x:y"], data)[0]
    np.testing.assert_allclose(dense(model, term, data)[0].sum(-1), inner[:, 0], atol=1e-12)
    model = bg.GLM(bg.Linear("x") + bg.Pooled("day", of="x") * bg.Tuning("heading", basis.CyclicBSpline(5))).resolve(data)
    assert model.terms["pooled:heading"].dims == ("day", "heading_basis")


def test_nested_levels_are_two_terms():
    raw = columns()
    total = bg.Baseline() + bg.Pooled("state/day")
    assert [term.name for term in total] == ["baseline", "pooled_state", "pooled_day"]
    model = bg.GLM(total).resolve(everything())
    paths = [f"{state}/{day}" for state, day in zip(raw["state"], raw["day"], strict=True)]
    assert model.coords()["state"].tolist() == list(dict.fromkeys(raw["state"].tolist()))
    assert model.coords()["day"].tolist() == list(dict.fromkeys(paths))
    hyper = {site for term in model.terms for site in term.prior.hyper(term.name)}
    assert hyper == {"pooled_state_scale", "pooled_day_scale"}
    slopes = bg.GLM(bg.Linear("x") + bg.Pooled("state/day", of="x", name="slopes")).resolve(everything())
    assert slopes.terms["slopes_day"].shape == (6,)
    alone = bg.GLM(bg.Pooled("state/day"))
    assert [term.name for term in alone.terms] == ["pooled_state", "pooled_day"]
    both = bg.Pooled("state/day") * bg.Linear("x")
    assert [term.name for term in bg.Baseline() + both] == ["baseline", "pooled_state:x", "pooled_day:x"]


def test_partial_pooling_is_the_conjugate_mean():
    """y = level + noise: the posterior mean of a level is n m / (n + sigma^2 / tau^2), m its mean."""
    rng = np.random.default_rng(0)
    sizes, tau, sigma = np.array([2, 5, 40]), 0.6, 1.5
    level = np.repeat(["a", "b", "c"], sizes)
    y = np.repeat(rng.normal(0, 2, 3), sizes) + rng.normal(0, sigma, sizes.sum())
    data = bg.recording(rows="trial", y=y, who=level)
    model = bg.GLM(bg.Pooled("who", prior=prior.Gaussian(tau)), family.Gaussian(sigma), response="y")
    fit = bg.fit(model, data, "laplace", progress=False)
    means = np.array([y[level == name].mean() for name in "abc"])
    wanted, sd = sizes * means / (sizes + sigma**2 / tau**2), np.sqrt(1 / (sizes / sigma**2 + tau**-2))
    point = bg.fit(model, data, "map", progress=False).posterior["pooled"]
    np.testing.assert_allclose(point.values.ravel(), wanted, rtol=1e-5)
    np.testing.assert_allclose(fit.posterior["pooled"].std(("chain", "draw")), sd, rtol=0.15)
    assert fit.posterior["pooled"].dims == ("chain", "draw", "who")


def test_the_learned_scale_tells_whether_sessions_differ():
    rng = np.random.default_rng(1)
    found = {}
    for spread in (0.0, 1.0):
        level = np.repeat(rng.normal(0, spread, 8), 60) if spread else np.zeros(480)
        data = bg.recording(rows="trial", y=level + rng.normal(size=480), who=np.repeat(list("abcdefgh"), 60))
        fit = bg.fit(bg.GLM(bg.Baseline() + bg.Pooled("who"), family.Gaussian(1.0), response="y"), data, "map", progress=False)
        found[spread] = float(fit.posterior["pooled_scale"].squeeze())
    assert found[0.0] < 0.25 < 0.5 < found[1.0] < 2.0


def test_a_level_without_training_is_refused():
    model, _ = resolve(bg.Baseline() + bg.Pooled("day"))
    with pytest.raises(ValueError, match=r"Pooled over 'day' never saw \['wed'\] in training, only \['mon', 'tue'\]|only \['tue', 'mon'\]"):
        model.design(everything(day=np.where(np.arange(88) > 50, "wed", "mon")))
    few = everything(day=np.full(88, "mon"))
    assert model.design(few).shared["pooled"].shape == (88, 2)


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        (lambda: bg.Pooled("day", of="speed") + bg.Linear("x"), r"of='speed'\): the model has no such term; it has \['x'\]"),
        (lambda: bg.Pooled("day") + bg.Pooled("day", of="pooled", name="two") + bg.Pooled("day", of="two", name="three"), "of='two'.*no such term"),
        (lambda: bg.Pooled("session"), "Pooled wants the column 'session', which the recording lacks"),
        (lambda: bg.Pooled("x"), "'x' as a column.*labels.*float64"),
        (lambda: bg.Pooled("day/"), "'day/'.*nested"),
        (lambda: bg.Pooled("day", of=bg.Offset("exposure")), r"no weight that could vary; use Linear\('exposure'\)"),
        (lambda: bg.Pooled("day") + bg.Pooled("state/day", name="other"), r"'pooled' and 'other_day' both have the dim 'day', with 2 and 6 labels"),
    ],
)
def test_errors(terms, sentence):
    with pytest.raises(ValueError, match=sentence):
        bg.GLM(terms()).resolve(everything())


def test_a_named_term_needs_its_sum():
    model = bg.GLM(bg.Baseline()).resolve(everything())
    with pytest.raises(ValueError, match="names a term of its sum, and is alone"):
        bg.Pooled("day", of="x").resolve(everything(), model.target)


def test_areas_of_neurons_are_for_another_prior():
    data = bg.recording(dt=0.1, spikes=np.zeros((5, 2), int), area=("neuron", ["m", "v"]))
    with pytest.raises(ValueError, match=r"'area'.*prior\.Hierarchical|lacks"):
        bg.GLM(bg.Pooled("area")).resolve(data)


def test_keeps_in_a_file():
    model = bg.GLM(bg.Baseline() + bg.Linear("pose") + bg.Pooled("state/day") + bg.Pooled("state/day", of="pose", name="slopes")).resolve(everything())
    again = from_json(to_json(model))
    assert eqx.tree_equal(model, again)
    assert eqx.tree_equal(from_json(to_json(bg.GLM(bg.Pooled("day", of="x") + bg.Linear("x")))), bg.GLM(bg.Pooled("day", of="x") + bg.Linear("x")))


def session(seed, neurons):
    rng = np.random.default_rng(seed)
    rows = 400
    counts = rng.poisson(0.4, (rows, neurons))
    counts[1:, 0] += rng.poisson(0.3 * counts[:-1, -1])
    return bg.recording(dt=0.01, spikes=counts, stimulus=rng.normal(size=rows), block=np.repeat(["early", "late"], rows // 2))


def test_a_neuron_in_the_union_has_the_density_of_its_own_session():
    """The same columns on the same scored rows, the same weights that exist, the same level: the other sessions change nothing."""
    one, two = session(0, 3), session(1, 2)
    both = bg.concat({"s1": one, "s2": two})
    terms = bg.Baseline() + bg.Stimulus("stimulus", KERNEL) + bg.History(KERNEL) + bg.Coupling(KERNEL) + bg.Pooled("block")
    union = bg.GLM(terms).resolve(both)
    whole = union.design(both)
    start = 0
    for first, alone in ((0, one), (3, two)):
        model = bg.GLM(terms).resolve(alone)
        design, rows = model.design(alone), slice(start, start + 400)
        cells = slice(first, first + alone.sizes["neuron"])
        scored = whole.weight()
        np.testing.assert_array_equal(scored[rows, cells], design.weight() * np.ones((1, alone.sizes["neuron"])))
        np.testing.assert_array_equal(np.delete(scored[:, cells], np.arange(rows.start, rows.stop), 0), 0)
        for name in ("history", "coupling", "stimulus", "pooled"):
            ours, theirs = dense(model, model.terms[name], alone), dense(union, union.terms[name], both)[cells, rows]
            exists = union.terms[name].exists(union.target)[cells].reshape(alone.sizes["neuron"], -1)
            own = model.terms[name].exists(model.target).reshape(alone.sizes["neuron"], -1)
            for n in range(alone.sizes["neuron"]):
                np.testing.assert_allclose(theirs[n][:, exists[n]], ours[n][:, own[n]], atol=1e-12)
        np.testing.assert_allclose(union.level[cells], model.level)
        np.testing.assert_allclose(union.terms["history"].centre[cells], model.terms["history"].centre)
        start += 400


@pytest.mark.slow
def test_a_neuron_in_the_union_is_fitted_as_in_its_own_session():
    """History, couplings, pooled blocks with learned scales: other sessions' cells and rows change nothing."""
    one, two = session(0, 3), session(1, 2)
    both = bg.concat({"s1": one, "s2": two})
    terms = bg.Baseline() + bg.Stimulus("stimulus", KERNEL, prior.Gaussian(0.5)) + bg.History(KERNEL) + bg.Coupling(KERNEL) + bg.Pooled("block")
    union = bg.fit(bg.GLM(terms), both, "map", progress=False)
    for name, alone in (("s1", one), ("s2", two)):
        fit = bg.fit(bg.GLM(terms), alone, "map", progress=False)
        for label in alone["neuron"].values:
            theirs = union.posterior.sel(neuron=f"{name}/{label}")
            ours = fit.posterior.sel(neuron=label)
            for site in ("baseline", "stimulus", "history", "pooled", "coupling_scale", "history_scale", "pooled_scale"):
                np.testing.assert_allclose(theirs[site], ours[site], atol=2e-4, err_msg=f"{name}/{label} {site}")
            others = [str(s) for s in alone["neuron"].values if s != label]
            np.testing.assert_allclose(
                theirs["coupling"].sel(source=[f"{name}/{s}" for s in others]), ours["coupling"].sel(source=[int(s) for s in others]), atol=2e-4
            )


def test_choices_of_sessions_that_also_have_spikes():
    """A mask of cells says nothing of a choice: every trial is scored, and sessions have intercepts of their own."""
    rng = np.random.default_rng(6)
    parts = {
        name: bg.recording(rows="trial", choice=rng.integers(0, 2, 30), spikes=rng.poisson(1.0, (30, cells)), labels={"neuron": range(cells)})
        for name, cells in (("s1", 2), ("s2", 3))
    }
    both = bg.concat(parts)
    model = bg.GLM(bg.Baseline() + bg.Pooled("session"), family.Bernoulli(), response="choice").resolve(both)
    assert model.terms["pooled"].exists(model.target).all()
    assert model.design(both).weight().sum() == 60
    np.testing.assert_array_equal(model.design(both).shared["pooled"].sum(0), 30)


def test_pooled_over_sessions_has_no_weight_where_a_cell_was_not():
    both = bg.concat({"s1": session(0, 2), "s2": session(1, 1)})
    model, term = resolve(bg.Baseline() + bg.Pooled("session"), both)
    np.testing.assert_array_equal(term.exists(model.target), [[True, False], [True, False], [False, True]])
    seen = both["observed"].values
    np.testing.assert_array_equal(model.design(both).weight() > 0, seen)
    later = both.assign(observed=both["observed"].copy(data=np.ones_like(seen)))
    np.testing.assert_array_equal(model.design(later).weight() > 0, seen)  # rows in which the weight is unknown
    assert any("not observed in this session" in why for why, _ in model.design(later).report)
