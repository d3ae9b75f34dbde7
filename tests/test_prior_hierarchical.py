"""Hierarchical: scales that neurons share, by all of them, nearly, or by pairs of areas."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from registry import place

import bayesglm as bg
from bayesglm import prior
from bayesglm._double import in_double

AREAS = np.array(["v1", "hpc", "v1", "v1"])
CELLS = {"dims": ("source", "lag"), "coords": {"area": AREAS}, "areas": AREAS[[1, 2]]}


def by_area(**fields):
    return prior.Hierarchical("area", **fields).resolve(place((4, 3), **CELLS))


@in_double
def test_a_scale_a_pair_of_areas():
    """Receivers hpc and v1, sources v1, hpc, v1, v1; areas in alphabetical order."""
    made, tau = by_area(), np.array([[0.1, 0.2], [0.3, 0.4]])
    width = made.width({"scale": tau, **made.known()}, np.ones((2, 4, 3), bool))
    area = {"hpc": 0, "v1": 1}
    wanted = [[tau[area[to], area[source]] for source in AREAS] for to in ("hpc", "v1")]
    np.testing.assert_allclose(width, np.repeat(np.array(wanted)[..., None], 3, -1))
    one = made.width({"scale": tau, "receiver": jnp.asarray(1)}, np.ones((4, 3), bool))
    np.testing.assert_allclose(one, width[1])


def test_its_sites_are_shared_and_named():
    sites = by_area(scale=dist.HalfCauchy(2.0)).hyper("coupling")
    law, alone = sites["coupling_scale"]
    assert list(sites) == ["coupling_scale"] and law.shape() == (2, 2) and not alone
    labels = by_area().hyper_coords("coupling")["coupling_scale"]
    assert {dim: names.tolist() for dim, names in labels.items()} == {"area_to": ["hpc", "v1"], "area_from": ["hpc", "v1"]}
    shared = prior.Hierarchical().hyper("history")
    assert {site: alone for site, (_, alone) in shared.items()} == {"history_scale": False}


@in_double
def test_terms_without_sources_have_a_scale_an_area():
    made = prior.Hierarchical("area").resolve(place((3,), dims=("lag",), areas=AREAS))
    width = made.width({"scale": np.array([0.5, 2.0]), **made.known()}, np.ones((4, 3), bool))
    np.testing.assert_allclose(width[:, 0], [2.0, 0.5, 2.0, 2.0])


@in_double
def test_partial_scales_differ_around_the_shared_one():
    made = prior.Hierarchical(partial=True)
    hyper = {"scale": 0.5, "spread": 0.2, "deviation": np.array([0.0, 1.0, -2.0])}
    width = made.width(hyper, np.ones((3, 2), bool))
    np.testing.assert_allclose(width, np.repeat(0.5 * np.exp(0.2 * np.array([0.0, 1.0, -2.0]))[:, None], 2, 1))
    assert [alone for _, alone in made.hyper("w").values()] == [False, False, True]


def test_a_fit_pools_its_neurons():
    """Eight cells with small effects and little data each: the shared scale is surer than any of the cells' own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    effects = 0.3 * rng.normal(size=(3, 8))
    data = bg.recording(dt=0.05, x=x, y=(("time", "neuron"), x @ effects + rng.normal(size=(120, 8))), labels={"neuron": list("abcdefgh")})
    widths = {}
    for name, law in (("pooled", prior.Hierarchical()), ("alone", prior.Gaussian(dist.HalfNormal(1.0)))):
        model = bg.GLM(bg.Baseline() + bg.Linear("x", law), bg.family.Gaussian(1.0), "y")
        fit = bg.fit(model, data, "laplace", progress=False)
        scale = fit.posterior["x_scale"]
        assert ("neuron" in scale.dims) == (name == "alone")
        widths[name] = float(scale.std(("chain", "draw")).mean())
        middle = float(scale.mean())
        if name == "pooled":
            assert 0.15 < middle < 0.5
    assert widths["pooled"] < 0.5 * widths["alone"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: prior.Hierarchical("animal"), "'neuron' or 'area'"),
        (lambda: prior.Hierarchical(scale=0.5), "learned.*HalfNormal"),
        (lambda: prior.Hierarchical(scale="evidence"), "learned.*HalfNormal"),
        (lambda: prior.Hierarchical("area", partial=True), "partial"),
        (lambda: prior.Hierarchical("area").hyper("w"), "not resolved"),
        (lambda: prior.Hierarchical("area").resolve(place((3,), name="history")), "'history'.*no areas.*labels="),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(ValueError, match=said):
        make()
