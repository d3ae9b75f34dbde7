"""Laws of the terms: causal, within their epoch, linear, the same at every bin width, and blind to the test set."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpyro
import pytest
import xarray as xr
from numpyro.infer.util import log_density
from registry import TERMS, TermCase, cases
from shapes import DT, EPOCHS, LABELS, NEURONS, columns, everything, happenings
from test_convolve import slow

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._double import in_double
from bayesglm._model import Design
from bayesglm.terms._lagged import AbstractLagged

TIGHT = 1e-10
IDS = np.repeat(np.arange(len(EPOCHS)), EPOCHS)
ROWS = IDS.size
every_term = pytest.mark.parametrize("case", cases(TERMS))
lagged_terms = pytest.mark.parametrize("case", [p for p in cases(TERMS) if p.id.split("-")[0] in ("Stimulus", "History", "Coupling")])
weighted_terms = pytest.mark.parametrize("case", [p for p in cases(TERMS) if not p.id.startswith("Offset")])


def resolved(case: TermCase, data: xr.Dataset | None = None) -> tuple[bg.GLM, Any]:
    model = bg.GLM(case.make()).resolve(everything() if data is None else data)
    return model, next(iter(model.terms))


def dense(model: bg.GLM, term: Any, data: xr.Dataset) -> np.ndarray:
    """A term's columns for every neuron, (neuron, row, column)."""
    found = term.columns(data, model.target)
    whole = np.broadcast_to(found.shared, (model.target.size, *found.shared.shape)) if found.own is None else found.own
    return whole.reshape(*whole.shape[:2], -1)


def read_by(term: Any) -> tuple[str, ...]:
    """The columns that a term reads."""
    past = ("spikes",) if isinstance(term.lagged, bg.History | bg.Coupling) else ()
    return tuple(name for name in (*term.needs(), *past) if name in columns())


def joined(old: dict, new: dict, moment: float) -> dict:
    """Events that are the old ones before a moment, the new ones from it on."""
    found = {}
    for name, (times, values) in old.items():
        before, after = times < moment, new[name][0] >= moment
        both = {value: np.r_[column[before], new[name][1][value][after]] for value, column in values.items()}
        found[name] = (np.r_[times[before], new[name][0][after]], both)
    return found


def eta_of(model: bg.GLM, design: Design, values: dict[str, Any]) -> np.ndarray:
    """The predictor (row, neuron) in the model's own story."""
    story = numpyro.handlers.substitute(numpyro.handlers.seed(model, jax.random.key(0)), values)
    return np.asarray(numpyro.handlers.trace(story).get_trace(design)[model.response]["fn"].base_dist.log_mean)


@every_term
def test_names_dims_and_shapes(case: TermCase) -> None:
    model, term = resolved(case)
    found = term.columns(everything(), model.target)
    assert (found.shared is None) != (found.own is None)
    leading = (ROWS,) if found.own is None else (NEURONS, ROWS)
    array = found.shared if found.own is None else found.own
    assert array.shape == (*leading, *term.shape)
    assert np.isfinite(array).all()
    assert term.exists(model.target).shape == (NEURONS, *term.shape)
    labels = term.coords()
    assert tuple(len(labels[dim]) for dim in term.dims) == term.shape
    assert all(dim in ("source", "day") or dim.endswith(("_basis", "_feature", "_space")) for dim in term.dims)


@pytest.mark.parametrize(
    ("term", "name", "dims"),
    [
        (bg.Baseline(), "baseline", ()),
        (bg.Stimulus("stimulus", basis.Lags(span=0.02)), "stimulus", ("stimulus_basis",)),
        (bg.Stimulus("pose", basis.Lags(span=0.02), name="how"), "how", ("pose_feature", "how_basis")),
        (bg.History(basis.Lags(span=0.02)), "history", ("history_basis",)),
        (bg.Coupling(basis.Lags(span=0.02)), "coupling", ("source", "coupling_basis")),
        (bg.Linear("pose"), "pose", ("pose_feature",)),
        (bg.Linear("private"), "private", ()),
        (bg.Tuning("heading", basis.CyclicBSpline(5)), "heading", ("heading_basis",)),
        (bg.Tuning(("x", "y"), basis.BSpline(4) * basis.BSpline(4)), "x_y", ("x_y_basis",)),
    ],
)
def test_default_names(term: Any, name: str, dims: tuple[str, ...]) -> None:
    done = next(iter(bg.GLM(term).resolve(everything()).terms))
    assert (done.name, done.dims) == (name, dims)


@every_term
def test_causal(case: TermCase) -> None:
    """Changing the recording from row t on never changes an earlier row of the design; for spikes' past, nor row t itself."""
    model, term = resolved(case)
    old, new = columns(0), columns(1)
    new["state"] = np.where(old["state"] == "run", "rest", "run")
    for t in (EPOCHS[0] + EPOCHS[1] + 20, 17):
        happened = joined(happenings(0), happenings(1), t * DT)
        mixed = everything(events=happened, **{name: np.concatenate([old[name][:t], new[name][t:]]) for name in read_by(term)})
        changed = np.any(dense(model, term, mixed) != dense(model, term, everything()), axis=(0, 2))
        assert not changed[: t - case.ahead].any()
        if not isinstance(term, bg.Baseline):
            few = ROWS if set(term.needs()) & set(happened) else 4  # events are rare
            assert changed[t - case.ahead : t - case.ahead + few].any()


@lagged_terms
def test_columns_equal_a_slow_loop(case: TermCase) -> None:
    """Kernels times the past of the same epoch; ``edge='drop'`` leaves out the rows whose window is cut."""
    model, term = resolved(case)
    raw, data = columns(0), everything()
    found, invalid = dense(model, term, data), term.columns(data, model.target).invalid
    sources = [LABELS.index(label) for label in term.sources] if isinstance(term, bg.Coupling) else None
    for n in range(NEURONS):
        if isinstance(term, bg.Stimulus):
            signal = raw[term.column][:, n] if term.column == "private" else raw[term.column]
            signal = signal if term.space is None else np.einsum("tyx,yxs->ts", signal, term.space_kernels())
        else:
            signal = raw["spikes"][:, n] if sources is None else raw["spikes"][:, sources]
        wanted, whole = slow(signal.astype(float), term.kernels, IDS, -case.ahead)
        np.testing.assert_allclose(found[n], wanted.reshape(ROWS, -1), atol=1e-12)
        out = np.any(list(invalid.values()), axis=0) if invalid else np.zeros(ROWS, bool)
        np.testing.assert_array_equal(out, ~whole if term.edge == "drop" else False)


@lagged_terms
def test_lags_in_seconds(case: TermCase) -> None:
    """A lead shifts the lags; the kernels stay functions of the filter's own lag, from zero on."""
    _, term = resolved(case)
    np.testing.assert_allclose(term.lags, 0.01 * (np.arange(len(term.kernels)) - case.ahead), atol=1e-12)
    use = "signal" if isinstance(term, bg.Stimulus) else "spikes"
    _, kernels = basis.lag_kernels(case.make().basis, 0.01, 0 if use == "signal" else 1, use)
    np.testing.assert_allclose(term.kernels, kernels, atol=1e-12)


@weighted_terms
@in_double
def test_linear_in_the_weights(case: TermCase) -> None:
    model, term = resolved(case)
    design, rng = model.design(everything()), np.random.default_rng(2)
    scales = {site: np.full(NEURONS, 0.5) for site in term.prior.hyper(term.name)}
    one, two = rng.normal(size=(2, NEURONS, *term.shape))
    etas = [eta_of(model, design, {term.name: w} | scales) for w in (one, two, 2 * one - 3 * two)]
    np.testing.assert_allclose(etas[2], 2 * etas[0] - 3 * etas[1], atol=TIGHT)
    weights = (one * term.exists(model.target)).reshape(NEURONS, -1)
    np.testing.assert_allclose(etas[0], np.einsum("ntk,nk->tn", dense(model, term, everything()), weights), atol=TIGHT)


@every_term
def test_resolved_once_and_for_all(case: TermCase) -> None:
    """Resolving twice changes nothing, and another recording moves neither knots, bounds, kernels nor scales."""
    model, term = resolved(case)
    again = model.resolve(everything(1))
    assert again is model
    assert term.resolve(everything(1), model.target) is term
    stretched = everything(x=np.clip(3 * columns()["x"], -0.9, 5), y=columns()["y"] / 2)
    rows = slice(0, ROWS)
    if isinstance(term, bg.Tuning) and set(term.column) <= {"x", "y"}:
        at = np.stack([stretched[column].values for column in term.column], -1)
        np.testing.assert_allclose(dense(model, term, stretched)[0, rows], term.basis.kernels(at if len(term.column) > 1 else at[:, 0]), atol=1e-12)
    else:
        np.testing.assert_array_equal(dense(model, term, stretched), dense(model, term, everything()))


@weighted_terms
def test_centres_are_the_training_means(case: TermCase) -> None:
    model, term = resolved(case)
    found = dense(model, term, everything())
    centre = np.broadcast_to(term.centre, (NEURONS, *term.shape)).reshape(NEURONS, -1)
    if isinstance(term, bg.Baseline):
        return
    if not isinstance(term, AbstractLagged) or isinstance(term, bg.Event):
        np.testing.assert_allclose(centre, found.mean(1), atol=1e-12)
        return
    # a whole window's mean differs from the column's only by the rows near an epoch's edge
    constant = {name: np.broadcast_to(columns()[name].mean(0), columns()[name].shape) for name in read_by(term)}
    if "spikes" not in constant:
        flat = dense(model, term, everything(**constant))
        _, whole = slow(np.zeros(ROWS), term.kernels, IDS, -case.ahead)
        np.testing.assert_allclose(flat[:, whole], np.repeat(centre[:, None], whole.sum(), 1), atol=1e-12)


@pytest.mark.parametrize(
    "shape", [basis.RaisedCosine(4, span=0.1), basis.RaisedCosineLinear(4, span=0.1), basis.BSpline(5, span=0.1), basis.Exponential([0.02, 0.05], span=0.1)]
)
def test_one_spike_means_the_same_at_every_bin_width(shape: basis.AbstractBasis) -> None:
    """The eta after one spike, and under a constant signal, does not move with dt."""
    after, level = {}, {}
    for dt in (0.01, 0.005, 0.0025):
        rows, one = round(0.5 / dt), round(0.1 / dt)
        spikes = np.zeros((rows, 2), int)
        spikes[one] = 1
        data = bg.recording(dt=dt, spikes=spikes, drive=np.full(rows, 0.7))
        model = bg.GLM(bg.History(shape, edge="zero") + bg.Coupling(shape, edge="zero") + bg.Stimulus("drive", shape, edge="zero")).resolve(data)
        found = {term.name: dense(model, term, data) for term in model.terms}
        every = one + np.arange(1, 11) * round(0.01 / dt)
        after[dt] = np.stack([found["history"][0, every], found["coupling"][1, every, : found["history"].shape[-1]]])
        level[dt] = found["drive"][0, -1]
        assert np.abs(found["history"]).max() <= 1 + 1e-9
    for dt in (0.005, 0.0025):
        np.testing.assert_allclose(after[dt], after[0.01], atol=1e-9)
        np.testing.assert_allclose(level[dt], 0.7, rtol=1e-12)
    np.testing.assert_allclose(level[0.01], 0.7, rtol=1e-12)


def test_default_priors() -> None:
    """statistics.md: learned scales; only those of signals are per training sd."""
    raw, kernel = columns(), basis.RaisedCosine(3, span=0.05)
    total = bg.Baseline() + bg.Stimulus("stimulus", kernel) + bg.Stimulus("pose", kernel) + bg.History(kernel) + bg.Coupling(kernel)
    total = total + bg.Linear("private") + bg.Linear("pose", name="posture") + bg.Tuning("heading", basis.CyclicBSpline(5))
    terms = bg.GLM(total).resolve(everything()).terms
    baseline = terms["baseline"]
    assert (baseline.prior.df, baseline.prior.scale, baseline.centred) == (3.0, 2.5, True)
    scales = {term.name: float(term.prior.scale.scale) for term in terms if term.name != "baseline"}
    assert scales == {"stimulus": 1.0, "pose": 1.0, "history": 1.0, "coupling": 0.5, "private": 1.0, "posture": 1.0, "heading": 1.0}
    np.testing.assert_allclose(terms["stimulus"].prior.relative, 1 / raw["stimulus"].std())
    np.testing.assert_allclose(terms["pose"].prior.relative, 1 / raw["pose"].std(0)[:, None])
    np.testing.assert_allclose(terms["posture"].prior.relative, 1 / raw["pose"].std(0))
    np.testing.assert_allclose(terms["private"].prior.relative, 1 / raw["private"].std())
    assert all(np.all(np.asarray(terms[name].prior.relative) == 1.0) for name in ("history", "coupling", "heading"))
    given = bg.GLM(bg.Linear("pose", prior.Gaussian(0.3)) + bg.Baseline(prior.Gaussian(2.0))).resolve(everything()).terms
    assert given["pose"].prior == prior.Gaussian(0.3)
    assert not given["baseline"].centred


def test_coupling_exists_only_between_cells_and_where_asked() -> None:
    kernel, mask = basis.Lags(span=0.02), np.array([[True, True, False], [True, True, True], [False, False, True]])
    model = bg.GLM(bg.Coupling(kernel, mask=mask)).resolve(everything())
    exists = model.terms["coupling"].exists(model.target)
    np.testing.assert_array_equal(exists, np.repeat((mask & ~np.eye(3, dtype=bool))[..., None], 2, -1))
    some = bg.GLM(bg.Coupling(kernel, sources=("c", "a")), neurons=("b", "c")).resolve(everything())
    np.testing.assert_array_equal(some.terms["coupling"].mask, [[True, True], [False, True]])
    with pytest.raises(ValueError, match=r"mask=.*\(2, 3\).*bool \(neuron, source\) = \(3, 3\)"):
        bg.GLM(bg.Coupling(kernel, mask=mask[:2])).resolve(everything())
    with pytest.raises(ValueError, match=r"no neurons \['z'\]"):
        bg.GLM(bg.Coupling(kernel, sources=("a", "z"))).resolve(everything())


def test_receivers_are_chosen_and_all_stay_sources() -> None:
    kernel = basis.RaisedCosine(2, span=0.04)
    total = bg.Baseline() + bg.History(kernel) + bg.Coupling(kernel) + bg.Linear("private") + bg.Offset("exposure")
    every, some = (bg.GLM(total, neurons=chosen).resolve(everything()) for chosen in (None, ("c", "a")))
    whole, part = every.design(everything()), some.design(everything())
    picked = whole.neurons(np.array([2, 0]))
    jax.tree.map(np.testing.assert_array_equal, part.each, picked.each)
    jax.tree.map(np.testing.assert_array_equal, part.shared, whole.shared)
    assert some.coords()["source"].tolist() == list(LABELS)
    assert some.coords()["neuron"].tolist() == ["c", "a"]


@in_double
def test_the_order_of_terms_does_not_matter() -> None:
    kernel, rng, data = basis.RaisedCosine(2, span=0.04), np.random.default_rng(3), everything()
    parts = [bg.Baseline(), bg.Stimulus("stimulus", kernel), bg.Linear("private"), bg.History(kernel, prior.Laplace(0.5)), bg.Offset("exposure")]
    one, two = (bg.GLM(sum(order[1:], start=order[0])).resolve(data) for order in (parts, parts[::-1]))
    values = {"baseline": rng.normal(size=3), "stimulus": rng.normal(size=(3, 2)), "stimulus_scale": np.array([0.5, 1.0, 2.0])}
    values |= {"private": rng.normal(size=3), "private_scale": np.ones(3), "history": rng.normal(size=(3, 2))}
    densities = [float(log_density(model, (model.design(data),), {}, values)[0]) for model in (one, two)]
    assert densities[0] == pytest.approx(densities[1], rel=1e-13)


@in_double
def test_offset_enters_as_it_is() -> None:
    raw, data = columns(), everything()
    model = bg.GLM(bg.Baseline(prior.Flat()) + bg.Offset("exposure") + bg.Offset("private")).resolve(data)
    eta = eta_of(model, model.design(data), {"baseline": np.array([1.0, 2.0, 3.0])})
    np.testing.assert_allclose(eta, raw["exposure"][:, None] + raw["private"] + [1.0, 2.0, 3.0], atol=1e-12)


def test_history_of_a_continuous_response_sums_to_one() -> None:
    data = everything(trace=np.full((ROWS, NEURONS), 0.3))
    model = bg.GLM(bg.History(basis.RaisedCosine(3, span=0.05)), family.Gaussian(), response="trace").resolve(data)
    np.testing.assert_allclose(dense(model, model.terms["history"], data)[:, 30], 0.3, rtol=1e-12)


def test_a_sum_knows_its_terms() -> None:
    total = bg.Baseline() + (bg.Linear("x") + bg.Linear("y"))
    assert [term.name for term in total] == ["baseline", "x", "y"]
    with pytest.raises(ValueError, match=r"no term 'z'.*'baseline'"):
        total["z"]
    with pytest.raises(ValueError, match=r"Two terms are named \['x'\].*name="):
        bg.Linear("x") + bg.Linear("x")
    with pytest.raises(ValueError, match="sum of terms.*float"):
        bg.Baseline() + 1.0
