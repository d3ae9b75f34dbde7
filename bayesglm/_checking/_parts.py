"""What bg.check reads from the draws, the mode and what the method said; nothing here fits anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._checking._design import Columns
from bayesglm._checking._items import APPROXIMATION, BEFORE, OPTIMUM, POSTERIOR, SAMPLING, Item, graded, judged, unassessed, worst
from bayesglm._convergence import EBFMI_WANTED, ESS_WANTED, RHAT_EFFECT, RHAT_WEIGHT, Convergence, assess, existing, net_effects
from bayesglm._filters import NO_POSTERIOR
from bayesglm._likelihood import glm_values
from bayesglm.engine.collinear import Moments, strengths
from bayesglm.engine.diagnostics import mcse
from bayesglm.method import Laplace
from bayesglm.method._base import named

if TYPE_CHECKING:
    from bayesglm._fit import Fit

PARETO = 0.7
SHIFT = 0.25  # posterior sds by which a quantile of a filter's net effect or peak may be off
TOGETHER = 0.9  # correlation over draws of the strengths of two terms
_MCSE = 0.05  # of a posterior sd: that of 400 independent draws
_DECREMENT = 1e-4  # nats below the mode
_SAMPLER = ("divergences", "tree depth", "E-BFMI")
_CHAINS = ("R-hat of effects", "R-hat of weights")
_SIZES = ("bulk ESS", "tail ESS")
_LONGER = "run longer chains: method.NUTS(num_samples=2000)"


def cheap(fit: Fit) -> list[Item]:
    """What the fit's statistics hold already, without touching a draw: shown with every fit."""
    if fit.point:
        return _optimum(fit)
    found = _convergence(fit)
    return [*_chains(fit, found), *_accuracy(fit)]


def after(fit: Fit, found: Columns | str, seen: Mapping[int, Moments] | None) -> tuple[list[Item], dict[str, Any]]:
    """Everything known of the fit as it is."""
    together, detail = _together(fit, found, seen)
    items = [*cheap(fit), *([] if fit.point else [_errors(fit)]), together]
    return items, {} if detail is None else {"correlation": detail}


def line(fit: Fit) -> str:
    """The cheap items in one line, for the fit's repr."""
    items = cheap(fit)
    status = worst(items)
    good = [item.name for item in items if item.status == "good"]
    loud = [f"{item.name} {item.cells()[1]}, wanted {item.threshold}" for item in items if item.status in ("warning", "bad")]
    said = "; ".join(loud) if loud else f"{', '.join(good)}"
    return f"{status}: {said}; bg.check(fit) looks further (collinearity, separation, drift)"


def _convergence(fit: Fit) -> Convergence:
    """As the fit assessed it; anew for a fit that was loaded."""
    found = fit.stats.get("convergence")
    return found if isinstance(found, Convergence) else assess(fit.model, fit.idata)


def _chains(fit: Fit, found: Convergence) -> list[Item]:
    """Divergences, tree depth, E-BFMI, R-hat, ESS; of independent draws the last only."""
    sizes = [_size(name, value) for name, value in zip(_SIZES, (found.ess_bulk, found.ess_tail), strict=True)]
    if isinstance(fit.method, Laplace):
        why = "draws of a Laplace approximation are independent: there are no chains that could disagree"
        return [unassessed(SAMPLING, name, why) for name in (*_SAMPLER, *_CHAINS)] + sizes
    return [*_sampler(fit, found), *_rhats(fit, found), *sizes]


def _sampler(fit: Fit, found: Convergence) -> list[Item]:
    stats = fit.idata["sample_stats"].to_dataset()
    raise_it = "raise method.NUTS(target_accept=0.95); if they stay, loosen what makes the posterior's neck (a learned scale close to zero)"
    items = [judged(SAMPLING, _SAMPLER[0], found.divergences, "none", "bad" if found.divergences else "good", raise_it, _where(stats, "diverging"))]
    if "reached_max_treedepth" in stats:
        share = found.depth_hits / stats["reached_max_treedepth"].size
        advice = "the draws are right but dear: raise method.NUTS(max_tree_depth=12), or find the two terms that the data cannot tell apart"
        items.append(judged(SAMPLING, _SAMPLER[1], found.depth_hits, "no draw at the limit", graded(share, 0.0, 0.25), advice))
    else:
        items.append(unassessed(SAMPLING, _SAMPLER[1], f"method.{type(fit.method).__name__} builds no trees"))
    if np.isnan(found.ebfmi):
        return [*items, unassessed(SAMPLING, _SAMPLER[2], "the method kept no energies")]
    status = "bad" if found.ebfmi < EBFMI_WANTED else "good"
    advice = "the energy is explored slowly: the tails of learned scales are hard to reach; give scales a narrower prior, or run longer chains"
    return [*items, judged(SAMPLING, _SAMPLER[2], found.ebfmi, f"at least {EBFMI_WANTED:g}", status, advice)]


def _where(stats: xr.Dataset, name: str) -> str:
    """Which neurons a flag is of."""
    if name not in stats or "neuron" not in stats[name].dims or not stats[name].any():
        return ""
    flags = stats[name].any([dim for dim in stats[name].dims if dim != "neuron"])
    return f"neuron {named(flags['neuron'].values.tolist(), flags.values)}"


def _rhats(fit: Fit, found: Convergence) -> list[Item]:
    if fit.posterior.sizes["chain"] < 2:
        return [unassessed(SAMPLING, name, "one chain cannot disagree with itself: method.NUTS(num_chains=4)") for name in _CHAINS]
    advice = f"the chains disagree: {_LONGER}; bg.summary(fit) lists each R-hat"
    effects = judged(SAMPLING, _CHAINS[0], found.rhat_effect, f"at most {RHAT_EFFECT:g}", "bad" if found.rhat_effect > RHAT_EFFECT else "good", advice)
    if not found.weights:
        return [effects, unassessed(SAMPLING, _CHAINS[1], "the model has no weights of basis functions")]
    about = f"{found.weights_above} of {found.weights} above {RHAT_EFFECT:g}"
    bad = found.rhat_weight > RHAT_WEIGHT
    return [effects, judged(SAMPLING, _CHAINS[1], found.rhat_weight, f"at most {RHAT_WEIGHT:g}", "bad" if bad else "good", advice, about)]


def _size(name: str, value: float) -> Item:
    return judged(SAMPLING, name, value, f"at least {ESS_WANTED}", "bad" if value < ESS_WANTED else "good", f"too few independent draws: {_LONGER}")


def _errors(fit: Fit) -> Item:
    """Largest Monte Carlo error of a net effect, baseline or learned parameter, in its posterior sd."""
    name, wanted = "Monte Carlo error", f"at most {_MCSE:g} posterior sd"
    effects = net_effects(fit.model, fit.posterior)
    ratios = {}
    for site, array in fit.posterior.data_vars.items():
        draws = existing(fit.model, str(site), effects.get(str(site), array)).transpose("chain", "draw", ...).values
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = mcse(draws) / draws.std((0, 1), ddof=1)
        ratios[str(site)] = float(np.nanmax(np.where(np.isfinite(ratio), ratio, -np.inf), initial=-np.inf))
    largest = max(ratios, key=ratios.__getitem__, default="")
    if not np.isfinite(ratios.get(largest, np.nan)):
        return unassessed(SAMPLING, name, "there are too few draws", wanted)
    return judged(SAMPLING, name, ratios[largest], wanted, graded(ratios[largest], _MCSE, 2 * _MCSE), f"posterior means are blurred: {_LONGER}", repr(largest))


def _optimum(fit: Fit) -> list[Item]:
    """Gradient and Newton decrement of a point, and what a point has not."""
    stats = fit.stats
    lost = tuple(stats.get("bad_neurons", ()))
    status = "good" if stats.get("converged", False) else "bad"
    about = f"neuron {', '.join(map(str, lost[:8]))}" if lost else ""
    advice = "the optimum was not reached: look at separation and silent neurons, give a proper prior, or raise method.MAP(max_steps=1000)"
    items = [_of_mode("gradient", stats.get("neuron_gradient"), "the optimum reached", status, advice, about)]
    decrement = stats.get("neuron_decrement")
    if decrement is None:
        items.append(unassessed(OPTIMUM, "Newton decrement", "a model that is not linear in its weights is optimised without its Hessian"))
    else:
        far = status if np.nanmax(decrement) < _DECREMENT else "bad"
        items.append(_of_mode("Newton decrement", decrement, f"below {_DECREMENT:g} nats", far, advice, about))
    return [*items, *(unassessed(SAMPLING, name, NO_POSTERIOR) for name in (*_CHAINS, *_SIZES))]


def _of_mode(name: str, values: Any, wanted: str, status: Any, advice: str, about: str) -> Item:
    if values is None:
        return unassessed(OPTIMUM, name, "the fit does not hold it", wanted)
    return judged(OPTIMUM, name, float(np.max(values)), wanted, status, advice, about)


def _accuracy(fit: Fit) -> list[Item]:
    """Of a Laplace approximation: the joint Pareto k, and the filters by quadrature where that was asked for."""
    if not isinstance(fit.method, Laplace):
        return []
    k = np.atleast_1d(np.asarray(fit.stats.get("neuron_pareto_k", np.nan), float))
    items = _mode(fit)
    if np.isnan(k).all():
        items.append(unassessed(APPROXIMATION, "joint Pareto k", "the fit does not hold it"))
    else:
        high = int((k > PARETO).sum())
        advice = (
            "these draws cannot be reweighted; the bands may still be right: method.Laplace(check='filters') looks at them by quadrature, "
            "method='nuts' is exact"
        )
        status = "warning" if high else "good"
        items.append(judged(APPROXIMATION, "joint Pareto k", k.max(), f"at most {PARETO:g}", status, advice, f"{high} of {k.size} above"))
    shift = fit.stats.get("neuron_filter_shift")
    name, wanted = "filters by quadrature", f"off by at most {SHIFT:g} posterior sd"
    if shift is None:
        return [*items, unassessed(APPROXIMATION, name, "looked at on request: bg.fit(model, data, method.Laplace(check='filters'))", wanted)]
    far = float(np.max(shift))
    advice = "a quantile of a filter's net effect or peak is off: use method='nuts'"
    return [*items, judged(APPROXIMATION, name, far, wanted, graded(far, SHIFT, 4 * SHIFT), advice, f"{int((np.asarray(shift) > SHIFT).sum())} neurons beyond")]


def _mode(fit: Fit) -> list[Item]:
    """Neurons whose mode was not reached, or whose predictor ran away on the way to it."""
    reached = fit.stats.get("neuron_converged")
    if reached is None:
        return []
    lost = ~np.atleast_1d(np.asarray(reached, bool))
    labels = fit.model.coords().get("neuron", np.arange(lost.size))
    about = f"neuron {named(tuple(labels), lost)}" if lost.any() and fit.model.has_neurons and len(labels) == lost.size else ""
    advice = "the approximation is not at a mode, or its predictor runs beyond all bounds: look at separation, and use method='nuts'"
    return [judged(APPROXIMATION, "modes", int(lost.sum()), "all reached", "bad" if lost.any() else "good", advice, about)]


def _together(fit: Fit, found: Columns | str, seen: Mapping[int, Moments] | None) -> tuple[Item, xr.DataArray | None]:
    """Largest correlation over draws between the strengths of two terms: how much one is known only together with the other."""
    name, wanted = "correlation between terms", f"at most {TOGETHER:g} in size"
    if fit.point:
        return unassessed(POSTERIOR, name, NO_POSTERIOR, wanted), None
    if isinstance(found, str) or seen is None or fit.model.family.predictors is not None:
        why = found if isinstance(found, str) else "the columns were not looked at" if seen is None else "a family of several predictors"
        return unassessed(POSTERIOR, name, why, wanted), None
    table = _correlations(fit, found, seen)
    if table.sizes["term"] < 2:
        return unassessed(POSTERIOR, name, "there is one term only", wanted), None
    size = abs(table).where(~np.eye(table.sizes["term"], dtype=bool)[None], 0.0)
    at = size.isel(size.argmax(...))
    one, other = str(at["term"].item()), str(at["other"].item())
    value = float(table.sel(neuron=at["neuron"], term=one, other=other))
    who = f", neuron {at['neuron'].item()}" if fit.model.has_neurons and table.sizes["neuron"] > 1 else ""
    advice = f"{one!r} is known only together with {other!r}: what one gains the other loses from draw to draw; read their sum (bg.predict), not each alone"
    status = graded(abs(value), TOGETHER, np.inf)
    return judged(POSTERIOR, name, value, wanted, status, advice, f"{one!r} and {other!r}{who}"), table


def _correlations(fit: Fit, found: Columns, seen: Mapping[int, Moments]) -> xr.DataArray:
    """(neuron, term, other) correlation over draws."""
    values, _ = glm_values(fit.model, fit.posterior)
    masks = {block.name: np.asarray(block.mask) for block in found.blocks}
    terms = [str(name) for name in dict.fromkeys(next(iter(seen.values())).owners.tolist())]
    tables = []
    for n, one in seen.items():
        draws = {name: values[name][:, n].reshape(len(values[name]), -1)[:, masks[name][n].reshape(-1)] for name in terms}
        strong = strengths(one, draws)
        with np.errstate(divide="ignore", invalid="ignore"):
            tables.append(np.nan_to_num(np.atleast_2d(np.corrcoef(strong))))
    coords = {"neuron": found.labels[list(seen)], "term": terms, "other": terms}
    return xr.DataArray(np.array(tables).reshape(len(seen), len(terms), len(terms)), coords, ["neuron", "term", "other"], "correlation")


def notes(fit: Fit) -> list[Item]:
    """What was said of the design when it was fitted, where it can no longer be looked at."""
    said = [note for note in fit.stats.get("notes", ()) if "never varies" in note or "collinear" in note or "constant in" in note]
    return [judged(BEFORE, "said at the fit", len(said), "nothing", "warning", "; ".join(said))] if said and fit.data is None else []
