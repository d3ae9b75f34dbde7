"""bg.check: every item fails when it should, is good when it should be, and says why where it cannot be assessed."""

from __future__ import annotations

import warnings
from dataclasses import replace
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from registry import TERMS, cases
from shapes import everything
from synthetic import made_up

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._checking._held_out import _by_chance, _score
from bayesglm._checking._items import STAGES
from bayesglm._convergence import existing
from bayesglm.engine.collinear import conditioning, explained, moments, strengths
from bayesglm.engine.separation import separable

ROWS = 1500
SHARE = 0.03  # of a share of variance estimated from 1,500 rows: three standard errors
CORRELATION = 0.12  # of a correlation over 1,000 draws: three standard errors


def quietly(model, data, how="laplace", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bg.fit(model, data, how, progress=False, **options)


def posed(model, data):
    """A fit with made-up draws: what is known of a design needs no sampler."""
    made = made_up(model, data)
    idata = made.idata.copy()
    idata["sample_stats"] = xr.DataTree(xr.Dataset())
    return replace(made, idata=idata, stats=MappingProxyType({"converged": True, "reasons": (), "notes": ()}))


def quick(fit, **options):
    return bg.check(fit, halves=False, progress=False, **options)


def two_columns(r: float, seed: int = 0, shape: tuple[int, ...] = ()):
    """Two columns that correlate by r, and spikes that both drive."""
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=(2, ROWS))
    z = r * x + np.sqrt(1 - r**2) * noise
    spikes = rng.poisson(np.exp(-0.5 + 0.3 * x + 0.3 * z))[:, None]
    return bg.recording(dt=0.01, spikes=spikes, x=x, z=z)


LINEAR = bg.GLM(bg.Baseline() + bg.Linear("x") + bg.Linear("z"))


@pytest.fixture(scope="module")
def plain():
    """Two columns that have nothing to do with one another, and a model that is right."""
    return quietly(LINEAR, two_columns(0.0))


def test_a_true_model_on_plain_data_is_good(plain):
    found = bg.check(plain, progress=False)
    assert found.status == "good", found
    assert found.verdict.endswith("nothing speaks against this fit")
    assert {item.status for item in found.items} == {"good", "not assessed"}
    assert all(item.advice for item in found.items if item.status == "not assessed")


@pytest.mark.parametrize(("r", "status"), [(0.5, "good"), (0.93, "warning"), (0.998, "bad")])
def test_collinear_terms(r, status):
    found = quick(posed(LINEAR, two_columns(r)))
    item = found["collinearity of terms"]
    assert item.value == pytest.approx(r**2, abs=SHARE)
    assert item.status == status
    assert (status == "good") == (item.advice == "")
    np.testing.assert_allclose(found.details["collinearity"].sel(neuron=0, term=["x", "z"]), r**2, atol=SHARE)


def test_terms_that_are_told_apart_only_together():
    """Weights of two columns with equal variances that correlate by r have the posterior correlation -r."""
    for r in (0.0, 0.6, 0.98):
        fit = quietly(bg.GLM(bg.Baseline() + bg.Linear("x", prior.Gaussian(10.0)) + bg.Linear("z", prior.Gaussian(10.0))), two_columns(r))
        item = quick(fit)["correlation between terms"]
        expected = float(xr.corr(fit.posterior["x"], fit.posterior["z"]))
        assert item.value == pytest.approx(expected, abs=1e-6)
        assert item.value == pytest.approx(-r, abs=CORRELATION)
        assert (item.status == "warning") == (r > 0.9)


def test_shares_do_not_grow_with_the_number_of_columns():
    """Forty columns of noise explain none of another; without the adjustment they would explain 40 of 200 rows."""
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(40):
        owners = np.array(["a"] + ["b"] * 40)
        shares.append(explained(moments(iter([rng.normal(size=(200, 41))]), owners, True))["a"])
    assert abs(np.mean(shares)) < 4 * np.std(shares) / np.sqrt(len(shares))
    assert np.isnan(explained(moments(iter([rng.normal(size=(30, 41))]), owners, True))["a"])


def test_moments_do_not_depend_on_the_chunks():
    x = 1e4 + np.random.default_rng(2).normal(size=(500, 4))
    owners = np.array(["a", "a", "b", "b"])
    whole = moments(iter([x]), owners, True)
    parts = moments(iter(np.split(x, 10)), owners, True)
    np.testing.assert_allclose(parts.covariance, np.cov(x.T, ddof=0), atol=1e-8)
    np.testing.assert_allclose(whole.covariance, parts.covariance, atol=1e-8)


def test_strengths_do_not_depend_on_the_basis():
    """Other columns of the same span, weights changed accordingly: one strength."""
    rng = np.random.default_rng(13)
    x, w = rng.normal(size=(400, 3)), rng.normal(size=(50, 3))
    turn = rng.normal(size=(3, 3))
    owners = np.array(["a"] * 3)
    plain_ones = strengths(moments(iter([x]), owners, True), {"a": w})
    turned = strengths(moments(iter([x @ turn]), owners, True), {"a": w @ np.linalg.inv(turn).T})
    np.testing.assert_allclose(turned, plain_ones, rtol=1e-8)
    along = (x - x.mean(0)) @ w.T
    np.testing.assert_allclose(plain_ones[0], along.T @ along.mean(1) / len(x), rtol=1e-10)


def test_condition_number():
    """Of two columns that correlate by r: sqrt((1 + r) / (1 - r)); a partition of one has an empty direction."""
    item = quick(posed(LINEAR, two_columns(0.998)))["condition of the columns"]
    assert item.value == pytest.approx(np.sqrt(1.998 / 0.002), rel=0.15)
    x = np.random.default_rng(3).uniform(-1, 1, ROWS)
    data = bg.recording(dt=0.01, spikes=np.random.default_rng(4).poisson(0.4, (ROWS, 1)), x=x)
    item = quick(posed(bg.GLM(bg.Baseline() + bg.Tuning("x", basis.BSpline(5))), data))["condition of the columns"]
    assert "1 more have no variance" in item.about and item.status == "good"
    one = conditioning(moments(iter([np.random.default_rng(0).normal(size=(5000, 3))]), np.array(["a"] * 3), True))
    assert one.number == pytest.approx(1.0, abs=0.1) and one.rank == 3


def test_silent_neurons(recording_small):
    data = recording_small.copy()
    spikes = data["spikes"].values.copy()
    spikes[:, 1] = 0
    data["spikes"] = (data["spikes"].dims, spikes)
    found = quick(posed(bg.GLM(bg.Baseline() + bg.Linear("stimulus")), data))
    assert found["silent neurons"].value == 1 and found["silent neurons"].about == "1"
    assert found["silent neurons"].status == "warning" and "neurons=[" in found["silent neurons"].advice


def brute(columns: np.ndarray, fired: np.ndarray, counts: bool) -> bool:
    """Separation by two columns: every direction that lies on a row's border, and those between them."""
    angles = np.concatenate([np.arctan2(columns[:, 1], columns[:, 0]) + turn for turn in (-np.pi / 2, np.pi / 2)])
    angles = np.unique(np.round(np.concatenate([angles, (np.sort(angles)[1:] + np.sort(angles)[:-1]) / 2, [0.0, np.pi]]), 12))
    z = np.stack([np.cos(angles), np.sin(angles)])
    values = np.round(columns @ z, 9)
    if counts:
        fine = (values[fired] == 0).all(0) & (values[~fired] <= 0).all(0)
        return bool((fine & (values != 0).any(0)).any())
    values = np.where(fired[:, None], values, -values)
    return bool(((values >= 0).all(0) & (values > 0).any(0)).any())


@pytest.mark.parametrize("counts", [False, True])
def test_separation_against_brute_force(counts):
    rng = np.random.default_rng(5)
    verdicts = []
    for _ in range(150):
        rows = int(rng.integers(3, 9))
        columns = rng.integers(-2, 3, (rows, 2)).astype(float)
        fired = rng.uniform(size=rows) < 0.4
        expected = brute(columns, fired, counts)
        assert separable(columns, fired, counts) == expected, (columns, fired)
        verdicts.append(expected)
    assert 20 < sum(verdicts) < 130


def test_separation_on_many_rows_by_few():
    """Only two of 20,000 rows keep the classes apart from being separated: the growing set of rows finds them."""
    rng = np.random.default_rng(6)
    x = np.column_stack([np.ones(20_000), rng.normal(size=(20_000, 3))])
    fired = x @ [0.1, 1.0, -1.0, 0.5] > 0
    assert separable(x, fired, False) is True
    far = np.argsort(-np.abs(x @ [0.1, 1.0, -1.0, 0.5]))[:2]
    fired[far] = ~fired[far]
    assert separable(x, fired, False) is False


def test_a_refractory_bin_separates():
    """No spike ever follows a spike within a bin: the weight of that lag has no largest likelihood."""
    rng = np.random.default_rng(7)
    spikes = np.zeros((ROWS, 2), int)
    for t in range(1, ROWS):
        spikes[t] = rng.poisson(0.3 * (spikes[t - 1] == 0)) if t % 2 else rng.poisson([0.0, 0.3])
    spikes[1:, 0] *= spikes[:-1, 0] == 0
    fit = posed(bg.GLM(bg.Baseline() + bg.History(basis.Lags(span=0.02))), bg.recording(dt=0.01, spikes=spikes, labels={"neuron": ["never", "free"]}))
    item = quick(fit)["separation"]
    assert (item.value, item.status, item.about) == (1, "warning", "never")
    assert "refractory" in item.advice


def test_a_choice_that_is_separated():
    rng = np.random.default_rng(8)
    x = rng.normal(size=60)
    choices = {"apart": x > 0, "mixed": (x + rng.normal(size=60)) > 0}
    for name, choice in choices.items():
        trials = bg.recording(rows="trial", choice=choice.astype(int), x=x)
        fit = posed(bg.GLM(bg.Baseline() + bg.Linear("x"), family.Bernoulli(), "choice"), trials)
        assert quick(fit)["separation"].status == ("warning" if name == "apart" else "good")


def test_more_columns_than_rows_says_so():
    rng = np.random.default_rng(9)
    trials = bg.recording(rows="trial", choice=rng.integers(0, 2, 40), counts=rng.normal(size=(40, 60)), more=rng.normal(size=40))
    fit = posed(bg.GLM(bg.Baseline() + bg.Linear("counts", prior.Gaussian(0.3)) + bg.Linear("more"), family.Bernoulli(), "choice"), trials)
    found = quick(fit)
    assert found["separation"].status == "warning"
    shares = found.details["collinearity"].isel(neuron=0)
    assert np.isnan(shares.sel(term="more")) and not np.isnan(shares.sel(term="counts"))


def test_bins_with_more_than_one_spike_under_bernoulli():
    counts = np.random.default_rng(10).poisson(0.4, (ROWS, 2))
    data = bg.recording(dt=0.01, spikes=counts, any=(("time", "neuron"), (counts > 0).astype(int)))
    with pytest.raises(ValueError, match=r"family\.Poisson\(\) for counts, or narrower bins"):
        bg.fit(bg.GLM(bg.Baseline(), family.Bernoulli()), data, progress=False)
    item = quick(posed(bg.GLM(bg.Baseline(), family.Bernoulli(), "any"), data))["bins with more than one spike"]
    assert item.value == pytest.approx((counts > 1).sum() / (counts > 0).sum()) and item.status == "bad"
    once = bg.recording(dt=0.01, spikes=np.minimum(counts, 1))
    item = quick(posed(bg.GLM(bg.Baseline(), family.Bernoulli()), once))["bins with more than one spike"]
    assert (item.value, item.status) == (0, "good")


def planted(fit, posterior=None, **stats):
    """A sampled fit with other draws or sampler statistics, to be assessed anew."""
    idata = fit.idata.copy()
    if posterior is not None:
        idata["posterior"] = xr.DataTree(posterior)
    known = idata["sample_stats"].to_dataset()
    idata["sample_stats"] = xr.DataTree(known.assign({name: known[name].copy(data=value(known[name].values)) for name, value in stats.items()}))
    kept = {name: value for name, value in fit.stats.items() if name != "convergence"}
    return replace(fit, idata=idata, stats=MappingProxyType(kept))


def one_true(values):
    found = np.zeros_like(values)
    found[0, 3, 1] = True
    return found


def stuck(array):
    """Draws that hardly move: each repeated fifty times."""
    return array.isel(draw=np.arange(array.sizes["draw"]) // 50 * 50).assign_coords(draw=array["draw"])


def moved(array):
    return array + array.std() * array["chain"]


def test_what_the_sampler_says(fit_small_nuts):
    good = quick(planted(fit_small_nuts))
    assert {good[name].status for name in ("divergences", "tree depth", "E-BFMI", "R-hat of weights")} == {"good"}
    bad = quick(planted(fit_small_nuts, diverging=one_true))["divergences"]
    assert (bad.value, bad.status, bad.about) == (1, "bad", "neuron 1") and "target_accept" in bad.advice
    deep = quick(planted(fit_small_nuts, reached_max_treedepth=one_true))["tree depth"]
    assert (deep.value, deep.status) == (1, "warning") and "max_tree_depth" in deep.advice
    slow = quick(planted(fit_small_nuts, energy=lambda values: np.cumsum(np.random.default_rng(0).normal(size=values.shape), 1)))["E-BFMI"]
    assert slow.value < 0.3 and slow.status == "bad"


def test_what_the_draws_say(fit_small_nuts):
    found = quick(planted(fit_small_nuts, fit_small_nuts.posterior.map(stuck, keep_attrs=True)))
    for name in ("bulk ESS", "tail ESS"):
        assert found[name].value < 400 and found[name].status == "bad" and "num_samples" in found[name].advice
    assert found["Monte Carlo error"].status == "bad" and found["Monte Carlo error"].value > 0.1
    apart = quick(planted(fit_small_nuts, fit_small_nuts.posterior.map(moved, keep_attrs=True)))
    for name in ("R-hat of effects", "R-hat of weights"):
        assert apart[name].value > 1.1 and apart[name].status == "bad" and "chains disagree" in apart[name].advice


def test_a_point_has_a_gradient_and_no_r_hat(fit_small_map, plain):
    found = quick(fit_small_map)
    assert found["gradient"].status == found["Newton decrement"].status == "good"
    assert found["Newton decrement"].value < 1e-10
    for name in ("R-hat of effects", "bulk ESS", "correlation between terms"):
        assert found[name].status == "not assessed" and "no posterior" in found[name].advice
    fixed = prior.Gaussian(1.0)
    short = quick(quietly(bg.GLM(bg.Baseline() + bg.Linear("x", fixed) + bg.Linear("z", fixed)), plain.data, method.MAP(max_steps=1)))
    assert short["gradient"].status == "bad" and "max_steps" in short["gradient"].advice and short.status == "bad"


def test_a_laplace_approximation_has_a_pareto_k(plain):
    assert quick(plain)["joint Pareto k"].status == "good"
    for name in ("divergences", "R-hat of effects"):
        assert quick(plain)[name].status == "not assessed" and "independent" in quick(plain)[name].advice
    wide = replace(plain, stats=MappingProxyType(dict(plain.stats) | {"neuron_pareto_k": np.array([0.9])}))
    item = quick(wide)["joint Pareto k"]
    assert item.status == "warning" and "these draws cannot be reweighted" in item.advice
    assert quick(plain)["filters by quadrature"].status == "not assessed"
    lost = replace(plain, stats=MappingProxyType(dict(plain.stats) | {"neuron_converged": np.array([False])}))
    assert quick(lost)["modes"].status == "bad" and quick(plain)["modes"].status == "good"
    off = replace(plain, stats=MappingProxyType(dict(plain.stats) | {"neuron_filter_shift": np.array([0.4])}))
    assert quick(off)["filters by quadrature"].status == "warning"


def test_halves_that_do_not_agree():
    rng = np.random.default_rng(11)
    x, z = rng.normal(size=(2, ROWS))
    slope = np.where(np.arange(ROWS) < ROWS // 2, 0.0, 0.8)
    data = bg.recording(dt=0.01, spikes=rng.poisson(np.exp(-0.5 + slope * x + 0.3 * z))[:, None], x=x, z=z)
    for how in ("laplace", "map"):
        found = bg.check(quietly(LINEAR, data, how), progress=False)
        item = found["agreement of halves"]
        assert item.status in ("warning", "bad") and item.value > 5 and item.about.startswith("x[0]")
        assert "within-session only" in item.advice and "method.Laplace" in item.advice
        assert found.details["drift"].beyond["term"].values[0] == "x"


def test_halves_that_cannot_be_refitted_say_why(plain):
    sparse = posed(bg.GLM(bg.Baseline() + bg.Linear("x", prior.lasso(2.0))), plain.data)
    item = bg.check(sparse, progress=False)["agreement of halves"]
    assert item.status == "not assessed" and "kink" in item.advice
    assert bg.check(plain, halves=False)["agreement of halves"].advice == "halves=False"


def test_a_fit_without_its_recording_and_a_model_without_terms(plain):
    found = bg.check(replace(plain, data=None), progress=False)
    for name in ("collinearity of terms", "separation", "silent neurons", "agreement of halves"):
        assert found[name].status == "not assessed" and "recording" in found[name].advice
    assert found["joint Pareto k"].status == "good"


def test_a_function_says_what_cannot_be_assessed(plain):
    def story(x, spikes=None):
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        with numpyro.plate("neuron", 1, dim=-1), numpyro.plate("row", len(x), dim=-2):
            numpyro.sample("spikes", dist.Poisson(jnp.exp(slope * x[:, None])), obs=spikes)

    found = bg.check(quietly(bg.from_function(story), plain.data, "map"), progress=False)
    assert found["gradient"].status == "good"
    assert "states no terms" in found["separation"].advice and "rows can be left out" in found["agreement of halves"].advice


def test_own_cells_of_a_class_response():
    """The net effects of couplings have lost their basis, not their classes."""
    data = everything()
    model = bg.GLM(bg.Baseline() + bg.Coupling(basis.Lags(span=0.02)), family.Categorical(), "code").resolve(data)
    classes = model.family.predictors.dim
    net = existing(model, "coupling", xr.DataArray(np.ones((1, 1, 3, 3, 3)), dims=("chain", "draw", "neuron", "source", classes)))
    np.testing.assert_array_equal(np.isnan(net.values[0, 0]), np.broadcast_to(np.eye(3, dtype=bool)[:, :, None], (3, 3, 3)))


def test_the_held_out_score_of_a_model_that_learned_noise():
    rng = np.random.default_rng(12)
    data = bg.recording(dt=0.01, spikes=rng.poisson(0.2, (400, 1)), noise=rng.normal(size=(400, 40)))
    train, test = bg.split(data, 0.5)
    fit = quietly(bg.GLM(bg.Baseline() + bg.Linear("noise", prior.Gaussian(3.0))), train)
    found = quick(fit, data=test)
    assert {"rescale", "posterior_check"} <= set(found.details)
    assert all(found[name].status != "not assessed" and found[name].value >= 0 for name in ("time rescaling", "predictive checks"))
    item = found["held-out score"]
    assert item.value < 0 and item.status == "bad" and "no better than" in item.advice and "in-sample" in item.about
    honest = two_columns(0.0)
    train, test = bg.split(honest, 0.5)
    item = _score(made_up(LINEAR, train, {"baseline": -0.5, "x": 0.3, "z": 0.3}), test)
    assert item.status == "good" and item.value > 0
    assert quick(fit)["held-out score"].advice.startswith("pass a test recording")


@pytest.mark.parametrize(("chance", "status"), [(0.3, "good"), (0.03, "warning"), (0.003, "bad"), (np.nan, "not assessed")])
def test_chances_under_the_fit(chance, status):
    item = _by_chance("time rescaling", chance, "do this")
    assert item.status == status and item.advice == ("" if status == "good" else "do this")


@pytest.mark.parametrize("case", cases(TERMS))
def test_every_term_can_be_checked(case):
    """On three epochs, one shorter than most filters, beside a constant and a column."""
    term = case.make()
    others = bg.Linear("stimulus", name="other") if term.name == "baseline" else bg.Baseline() + bg.Linear("stimulus", name="other")
    fit = posed(bg.GLM(others + term if term.name != "baseline" else term + others), everything())
    found = quick(fit)
    assert all(item.advice for item in found.items if item.status != "good")
    assert repr(found) and found._repr_html_()


def test_the_record_reads_as_a_table(plain):
    found = quick(plain)
    text, page = repr(found), found._repr_html_()
    for item in found.items:
        assert item.name in text and item.name in page
    assert "before the fit" in text and "Not assessed\n" in text and "What to do" not in text
    assert "divergences, tree depth, E-BFMI, R-hat of effects, R-hat of weights: draws of a Laplace" in text
    stages = [item.stage for item in found.items]
    assert stages == sorted(stages, key=STAGES.index)
    frame, dataset = found.to_pandas(), found.to_dataset()
    assert list(frame.index) == dataset["check"].values.tolist() == [item.name for item in found.items]
    assert frame.loc["silent neurons", "status"] == "good" and float(dataset["value"].sel(check="silent neurons")) == 0.0
    with pytest.raises(KeyError, match="there is no check 'magic'"):
        found["magic"]


def test_the_cheap_ones_show_with_every_fit(plain, fit_small_map):
    assert "checks     good: " in repr(plain) and "bg.check(fit)" in repr(plain)
    assert "gradient" in repr(fit_small_map)
    wide = replace(plain, stats=MappingProxyType(dict(plain.stats) | {"neuron_pareto_k": np.array([0.9])}))
    assert "warning: joint Pareto k 0.9 (1 of 1 above)" in repr(wide) and "joint Pareto k" in wide._repr_html_()
