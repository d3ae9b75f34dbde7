"""Areas of neurons: from labels or a column, through concat, to the terms and priors that use them; and each neuron's own covariates."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import NEURONS, columns, everything
from test_terms import dense

import bayesglm as bg
from bayesglm import basis, prior
from bayesglm._data import areas

KERNEL = basis.RaisedCosine(2, span=0.03)


def recorded(names=("m", "m", "v"), rows=50, seed=0, **more):
    counts = np.random.default_rng(seed).poisson(0.5, (rows, len(names)))
    return bg.recording(dt=0.01, spikes=counts, labels={"area": list(names)}, **more)


def test_areas_are_a_coordinate_or_a_column():
    data = recorded()
    assert data["area"].dims == ("neuron",)
    assert "area" in data.coords
    assert areas(data).tolist() == ["m", "m", "v"]
    column = bg.recording(dt=0.01, spikes=np.zeros((5, 2), int), area=("neuron", ["m", "v"]))
    assert areas(column).tolist() == ["m", "v"]
    assert areas(bg.recording(dt=0.01, spikes=np.zeros((5, 2), int))) is None
    pupil = bg.recording(dt=0.01, spikes=np.zeros((5, 2), int), area=np.zeros((5, 2)), labels={"area": ["left", "right"]})
    assert areas(pupil) is None
    assert pupil["area_feature"].values.tolist() == ["left", "right"]
    binned = bg.bin_spikes({"a": [0.1], "b": [0.2]}, dt=0.1, epochs=(0, 1), labels={"area": ["m", "v"]})
    assert areas(binned).tolist() == ["m", "v"]


def test_areas_of_pynapple_units():
    nap = pytest.importorskip("pynapple")
    whole = nap.IntervalSet(0, 1)
    cells = {1: nap.Ts([0.2, 0.7], time_support=whole), 2: nap.Ts([0.4], time_support=whole)}
    units = nap.TsGroup(cells, time_support=whole, metadata={"area": ["m", "v"]})
    data = bg.from_pynapple(units, dt=0.1, events={"run": nap.IntervalSet([0.1], [0.35])})
    assert areas(data).tolist() == ["m", "v"]
    model = bg.GLM(bg.Event("run", basis.Lags(), window=(0, 0.1))).resolve(data)
    np.testing.assert_array_equal(np.flatnonzero(model.design(data).shared["run"][:, 0]), [1, 2, 3])


def test_sessions_keep_areas():
    both = bg.concat({"s1": recorded(), "s2": recorded(("v", "w"), seed=1)})
    assert areas(both).tolist() == ["m", "m", "v", "v", "w"]
    assert both["neuron"].values.tolist()[-1] == "s2/1"
    train, _ = bg.split(both)
    assert areas(train).tolist() == areas(both).tolist()
    with pytest.raises(ValueError, match=r"'s2' has no coordinate 'area'.*in all or in none"):
        bg.concat({"s1": recorded(), "s2": recorded().drop_vars("area")})


@pytest.mark.parametrize(("names", "sentence"), [(["m"], r"'area' have the shape \(1,\)"), ([0.1, 0.2, 0.3], "'area'.*float64")])
def test_errors(names, sentence):
    with pytest.raises(ValueError, match=sentence):
        bg.recording(dt=0.01, spikes=np.zeros((5, 3), int), labels={"area": names})
    with pytest.raises(ValueError, match="'area' names both"):
        bg.recording(dt=0.01, spikes=np.zeros((5, 3), int), area=np.zeros(5), labels={"area": ["m", "m", "v"]})


class Spy(prior.Gaussian):
    """A prior that shows where it is used."""

    def resolve(self, place):
        SEEN.append(place)
        return self


SEEN: list = []


@pytest.mark.parametrize("by_column", [False, True])
def test_a_prior_learns_the_areas_of_sources_and_receivers(by_column):
    data = recorded()
    if by_column:
        data = data.reset_coords("area")
    SEEN.clear()
    model = bg.GLM(bg.Coupling(KERNEL, Spy(0.5), sources=(2, 0)), neurons=(1, 2)).resolve(data)
    (place,) = SEEN
    assert place.coords["area"].tolist() == ["v", "m"]
    assert place.areas.tolist() == ["m", "v"]
    assert (place.dims, place.shape) == (("source", "coupling_basis"), (2, 2))
    assert model.terms["coupling"].coords()["area"].tolist() == ["v", "m"]


def test_a_scale_for_each_pair_of_areas_is_one_line():
    model = bg.GLM(bg.Baseline() + bg.Coupling(KERNEL, prior.Hierarchical("area"))).resolve(recorded())
    hyper = model.terms["coupling"].prior.hyper("coupling")
    assert hyper
    assert all(not alone for _, alone in hyper.values())  # receivers of an area share it


def test_cells_never_recorded_together_have_no_coupling():
    both = bg.concat({"s1": recorded(), "s2": recorded(("v", "w"), seed=1)})
    model = bg.GLM(bg.Baseline() + bg.Coupling(KERNEL)).resolve(both)
    together = np.zeros((5, 5), bool)
    together[:3, :3] = together[3:, 3:] = True
    np.testing.assert_array_equal(model.terms["coupling"].mask, together & ~np.eye(5, dtype=bool))
    scored = model.design(both).weight() > 0
    np.testing.assert_array_equal(scored.sum(0), 50 - 3)  # the first three bins of a session reach before it
    np.testing.assert_array_equal(scored & ~both["observed"].values, False)


OWN = {
    "Linear": lambda column: bg.Linear(column),
    "Stimulus": lambda column: bg.Stimulus(column, KERNEL),
    "Tuning": lambda column: bg.Tuning(column, basis.BSpline(4, bounds=(-4, 4))),
    "two-dimensional Tuning": lambda column: bg.Tuning((column, "heading"), basis.BSpline(4, bounds=(-4, 4)) * basis.CyclicBSpline(5)),
    "Offset": lambda column: bg.Offset(column),
    "Pooled": lambda column: bg.Pooled("day", of=bg.Linear(column)),
    "Product": lambda column: bg.Linear(column) * bg.Tuning("heading", basis.CyclicBSpline(5)),
}


@pytest.mark.parametrize("kind", OWN)
def test_own_covariates_are_the_shared_ones_of_each_neuron(kind):
    """Neuron n's columns are those of a model in which everyone has n's covariate."""
    data, raw = everything(), columns()["private"]
    model = bg.GLM(OWN[kind]("private")).resolve(data)
    found = dense(model, next(iter(model.terms)), data)
    for n in range(NEURONS):
        alone = everything(stimulus=raw[:, n])
        shared = bg.GLM(OWN[kind]("stimulus")).resolve(alone)
        np.testing.assert_allclose(found[n], dense(shared, next(iter(shared.terms)), alone)[n], atol=1e-12)
    some = bg.GLM(OWN[kind]("private"), neurons=("c", "a")).resolve(data)
    np.testing.assert_array_equal(dense(some, next(iter(some.terms)), data), found[[2, 0]])


def test_own_events():
    data, raw = everything(), columns()["licking"]
    model = bg.GLM(bg.Event("licking", basis.Lags(), window=(0, 0.01))).resolve(data)
    np.testing.assert_array_equal(dense(model, model.terms["licking"], data)[:, :, 0], raw.T)


def test_a_hole_in_an_own_covariate_costs_only_its_neuron():
    holes = columns()["private"].copy()
    holes[30, 1] = np.nan
    for kind in ("Tuning", "two-dimensional Tuning", "Product", "Pooled"):
        data = everything(private=holes)
        weight = bg.GLM(OWN[kind]("private")).resolve(data).design(data).weight()
        np.testing.assert_array_equal(np.argwhere(weight == 0), [[30, 1]])


def test_two_columns_one_of_them_a_circle():
    """The surface is periodic along the circle and equals the product of the two one-dimensional bases."""
    raw, data = columns(), everything()
    grid = basis.BSpline(4) * basis.CyclicBSpline(5)
    model = bg.GLM(bg.Tuning(("x", "heading"), grid)).resolve(data)
    one = bg.GLM(bg.Tuning("x", basis.BSpline(4)) + bg.Tuning("heading", basis.CyclicBSpline(5))).resolve(data)
    parts = [dense(one, one.terms[name], data)[0] for name in ("x", "heading")]
    wanted = (parts[0][:, :, None] * parts[1][:, None, :]).reshape(len(parts[0]), -1)
    np.testing.assert_allclose(dense(model, model.terms["x_heading"], data)[0], wanted, atol=1e-12)
    turned = everything(heading=raw["heading"] + 360)
    np.testing.assert_allclose(dense(model, model.terms["x_heading"], turned)[0], wanted, atol=1e-9)
