"""Products of terms: row-wise products of columns, one prior, at most one with lags."""

from __future__ import annotations

import equinox as eqx
import numpy as np
import pytest
from numpyro.infer.util import log_density
from shapes import LABELS, NEURONS, columns, everything
from test_glm import check_equal_differences
from test_terms import dense

import bayesglm as bg
from bayesglm import basis, prior
from bayesglm._double import in_double
from bayesglm._json import from_json, to_json
from bayesglm.terms import Product

KERNEL = basis.RaisedCosine(2, span=0.03)
RING = basis.CyclicBSpline(5)
KERNEL_AROUND = basis.BSpline(3, order=3)


def resolve(term, data=None):
    model = bg.GLM(term).resolve(everything() if data is None else data)
    return model, next(iter(model.terms))


PAIRS = {
    "signals": (lambda: bg.Linear("stimulus"), lambda: bg.Linear("pose")),
    "tuning of two": (lambda: bg.Tuning("heading", RING), lambda: bg.Tuning("x", basis.BSpline(4))),
    "gain of a filter": (lambda: bg.Tuning("heading", RING), lambda: bg.Stimulus("pose", KERNEL)),
    "own gain of own past": (lambda: bg.Linear("private"), lambda: bg.History(KERNEL)),
    "gain of couplings": (lambda: bg.Linear("stimulus"), lambda: bg.Coupling(KERNEL)),
    "by day": (lambda: bg.Pooled("day"), lambda: bg.Event("cue", basis.Lags(), window=(-0.01, 0.02))),
}


@pytest.mark.parametrize("names", PAIRS)
def test_columns_are_products_of_all_pairs(names):
    left, right = (make() for make in PAIRS[names])
    data = everything()
    model, both = resolve(left * right, data)
    (one, a), (two, b) = resolve(left, data), resolve(right, data)
    wanted = dense(one, a, data)[..., :, None] * dense(two, b, data)[..., None, :]
    np.testing.assert_allclose(dense(model, both, data), wanted.reshape(*wanted.shape[:2], -1), atol=1e-12)
    assert both.name == f"{left.name}:{right.name}"
    assert both.dims == (*a.dims, *b.dims)
    assert both.shape == (*a.shape, *b.shape)
    lost = np.zeros(wanted.shape[:2], bool)
    for part, owner in ((a, one), (b, two)):
        for flags in part.columns(data, owner.target).invalid.values():
            lost |= flags
    np.testing.assert_array_equal((model.design(data).weight() == 0).T | np.zeros_like(lost), lost)
    exists = a.exists(one.target).reshape(NEURONS, -1, 1) & b.exists(two.target).reshape(NEURONS, 1, -1)
    np.testing.assert_array_equal(both.exists(model.target).reshape(NEURONS, -1), exists.reshape(NEURONS, -1))


@in_double
def test_the_order_of_factors_does_not_matter():
    """The term with lags is last either way: one density for the same weights."""
    rng, data = np.random.default_rng(0), everything()
    tuned, filtered = bg.Tuning("heading", RING), bg.Stimulus("stimulus", KERNEL)
    weights = rng.normal(size=(NEURONS, 5, 2))
    densities = []
    for product in (tuned * filtered, filtered * tuned):
        model, term = resolve(product, data)
        assert term.dims == ("heading_basis", "stimulus_basis")
        values = {term.name: weights, f"{term.name}_scale": np.full(NEURONS, 0.7)}
        densities.append(float(log_density(model, (model.design(data),), {}, values)[0]))
    assert densities[0] == pytest.approx(densities[1], rel=1e-13)


def test_a_baseline_is_one():
    tuned = bg.Tuning("heading", RING)
    assert bg.Baseline() * tuned is tuned
    assert tuned * bg.Baseline() is tuned


def test_the_default_prior_is_per_sd_of_both_signals():
    raw = columns()
    _, term = resolve(bg.Linear("stimulus") * bg.Linear("pose"))
    np.testing.assert_allclose(term.prior.relative, 1 / (raw["stimulus"].std() * raw["pose"].std(0)))
    assert float(term.prior.scale.scale) == 1.0
    _, term = resolve(bg.Tuning("heading", RING) * bg.Stimulus("stimulus", KERNEL))
    np.testing.assert_allclose(term.prior.relative, np.full((5, 2), 1 / raw["stimulus"].std()))


def test_one_prior():
    """Given to either term, to both alike, or to the product; two are refused."""
    shrunk = prior.Laplace(0.3)
    for product in (
        bg.Linear("x", shrunk) * bg.Linear("y"),
        bg.Linear("x") * bg.Linear("y", shrunk),
        bg.Linear("x", shrunk) * bg.Linear("y", prior.Laplace(0.3)),
        Product(bg.Linear("x"), bg.Linear("y", prior.Gaussian(2.0)), prior=shrunk),
    ):
        assert resolve(product)[1].prior == shrunk
    with pytest.raises(ValueError, match=r"x:y has one prior.*Laplace\(0\.3\) and Gaussian\(2\).*give it to one"):
        resolve(bg.Linear("x", shrunk) * bg.Linear("y", prior.Gaussian(2.0)))


def test_bases_of_the_trailing_axes():
    """A prior that is smooth along axes learns their bases, from the last one back as far as they go."""
    _, tuned = resolve(bg.Tuning("heading", RING) * bg.Stimulus("stimulus", KERNEL))
    assert [type(b).__name__ for b in tuned.bases] == ["CyclicBSpline", "RaisedCosine"]
    _, featured = resolve(bg.Tuning("heading", RING) * bg.Stimulus("pose", KERNEL))
    assert [type(b).__name__ for b in featured.bases] == ["RaisedCosine"]
    _, instant = resolve(bg.Tuning("heading", RING) * bg.Linear("pose"))
    assert instant.bases == ()


def test_a_smooth_prior_acts_along_every_basis():
    """Smooth along the circle and along lags; along space and lags of a movie; along values within a level."""
    grid = basis.BSpline(3, order=2) * basis.BSpline(3, order=2)
    movie = bg.Stimulus("movie", basis.RaisedCosine(3, span=0.04), prior.Smooth(1.0), space=grid)
    gain = bg.Tuning("heading", RING, prior.Smooth(0.5)) * bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.04))
    levels = bg.Pooled("day", of=bg.Tuning("x", basis.BSpline(4)), prior=prior.Smooth(1.0))
    model, _ = resolve(movie + gain + levels)
    sizes = {term.name: term.prior.rotation().shape[0] for term in model.terms}
    assert sizes == {"movie": 27, "heading:stimulus": 15, "pooled": 4}


def test_three_terms():
    data = everything()
    model, term = resolve(bg.Linear("stimulus") * bg.Linear("x") * bg.History(KERNEL), data)
    assert (term.name, term.dims) == ("stimulus:x:history", ("history_basis",))
    raw, history = columns(), resolve(bg.History(KERNEL), data)
    np.testing.assert_allclose(dense(model, term, data), (raw["stimulus"] * raw["x"])[None, :, None] * dense(*history, data), atol=1e-12)


@pytest.mark.parametrize(
    ("product", "sentence"),
    [
        (lambda: bg.History(KERNEL) * bg.Coupling(KERNEL), "history:coupling: both terms have lags"),
        (lambda: bg.Linear("x") * bg.Offset("exposure"), r"offset has no weight.*Linear\('exposure'\)"),
        (lambda: bg.Linear("pose") * bg.Linear("pose", name="again"), r"both terms have the dim 'pose_feature'.*name="),
        (lambda: bg.Linear("x") * (bg.Linear("y") + bg.Linear("stimulus")), r"multiplied by a term; got Sum.*a \* b \+ a \* c"),
        (lambda: bg.Linear("x") * 2.0, "multiplied by a term; got float"),
        (
            lambda: bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.06)) + bg.Linear("x") * bg.Stimulus("stimulus", KERNEL),
            r"'stimulus' and 'x:stimulus' both have the dim 'stimulus_basis', with 3 and 2 labels.*name=",
        ),
    ],
)
def test_errors(product, sentence):
    with pytest.raises(ValueError, match=sentence):
        resolve(product())


def test_names_within_products_keep_bases_apart():
    slow = bg.Stimulus("stimulus", KERNEL, name="slow")
    model, _ = resolve(bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.06)) + bg.Linear("x") * slow)
    assert model.coords()["slow_basis"].size == 2


@in_double
def test_engine_equals_story():
    """Products with own and shared factors, pooled levels, events, a movie, own tuning: both routes, one density."""
    gain = bg.Tuning("heading", RING) * bg.Stimulus("stimulus", KERNEL)
    own = bg.Linear("private", prior.Laplace(0.5)) * bg.History(KERNEL)
    pooled = bg.Pooled("state/day") + bg.Pooled("state", of=bg.Linear("private"), name="own", prior=prior.Laplace(0.4))
    events = bg.Event("cue", KERNEL_AROUND, window=(-0.02, 0.03), value="value") + bg.Event("licking", basis.Lags(), window=(0, 0.02))
    movie = bg.Stimulus("movie", basis.Lags(span=0.02), space=basis.BSpline(2, order=2) * basis.BSpline(2, order=2))
    more = movie + bg.Tuning("private", basis.BSpline(3, order=2), name="tuned") + bg.Linear("x") * bg.Coupling(KERNEL)
    check_equal_differences(bg.GLM(bg.Baseline() + gain + own + pooled + events + more, neurons=("a", "c")).resolve(everything()))


def test_keeps_in_a_file():
    model, _ = resolve(bg.Pooled("day", of=bg.Linear("x")) * bg.History(KERNEL) + bg.Tuning("heading", RING) * bg.Stimulus("movie", KERNEL))
    again = from_json(to_json(model))
    assert eqx.tree_equal(model, again)


def test_a_gain_is_recovered():
    """A filter whose gain grows with speed; its filters are shown one a function of speed."""
    rng = np.random.default_rng(5)
    rows = 4000
    speed, drive = rng.uniform(0, 1, rows), rng.normal(size=rows)
    eta = -2.0 + 0.3 * drive + 1.2 * speed * drive
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(eta))[:, None], speed=speed, drive=drive)
    instant = basis.Lags(span=0.01)
    fit = bg.fit(bg.GLM(bg.Baseline() + bg.Stimulus("drive", instant) + bg.Linear("speed") * bg.Stimulus("drive", instant)), data, "map", progress=False)
    assert float(fit.posterior["drive"].squeeze()) == pytest.approx(0.3, abs=0.15)
    assert float(fit.posterior["speed:drive"].squeeze()) == pytest.approx(1.2, abs=0.2)
    found = bg.filters(fit, "speed:drive")
    assert found.dims == ("chain", "draw", "neuron", "lag")
    assert found.attrs["units"] == "log-gain per unit of drive times speed"
    assert bg.summary(fit) is not None


def test_a_drifting_history():
    """Tuning to time times history: filters (time_basis, lag) of every neuron."""
    with_time = bg.Tuning("time", basis.BSpline(4, order=2)) * bg.History(KERNEL, prior.Gaussian(0.5))
    fit = bg.fit(bg.GLM(bg.Baseline() + with_time), everything(), "map", progress=False)
    found = bg.filters(fit, "time:history")
    assert found.dims == ("chain", "draw", "neuron", "time_basis", "lag")
    assert found["neuron"].values.tolist() == list(LABELS)
