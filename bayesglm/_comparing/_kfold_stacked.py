"""K-fold refits of a GLM's modes as masked columns of the same arrays: one matrix product for all folds."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesglm._comparing._kfold_rows import Fold, training_part
from bayesglm._data import row_dim
from bayesglm._fit import neuron_labels
from bayesglm._glm import GLM
from bayesglm._model import Design, padded_size
from bayesglm.engine.compiling import compiled_quickly
from bayesglm.engine.folded import folded, units, warm_modes
from bayesglm.engine.laplace import approximate, kinks
from bayesglm.engine.linear import Linear
from bayesglm.engine.linear_target import linear_target
from bayesglm.engine.predictor import DensePredictor
from bayesglm.engine.rowspace import widest_gaussian
from bayesglm.engine.target import story_target
from bayesglm.method import MAP, AbstractMethod, Laplace
from bayesglm.method._base import Monitor, Problem, arrays, silent
from bayesglm.method._loop import constrained
from bayesglm.method.laplace import refuse_kinks
from bayesglm.method.map import refuse_separable
from bayesglm.prior import AbstractPrior
from bayesglm.prior._simple import AbstractScaled

_NUMBERS = 1 << 24  # rows x folds x neurons, and like products, held at once: 128 MB each
_HEAD = 8  # rows on which a fold's centres and levels are put into the engine's order
_LEARNED = ("centre", "prior", "observed_range", "sd")  # what a part of the recording may change without changing a column


class Found(NamedTuple):
    """Draws of some neurons' posteriors, site -> (draw, neuron, ...) or (draw, neuron, fold, ...), and which reached their mode."""

    values: dict[str, np.ndarray]
    converged: np.ndarray  # (neuron,) or (neuron, fold)
    notes: tuple[str, ...] = ()


class Stack(NamedTuple):
    """A model resolved on all rows, its arrays, and what every fold changes in them."""

    model: GLM
    design: Design  # unpadded, with what is scored in training on all rows
    problem: Problem
    plan: list[Fold]
    parts: list[Linear]  # of each fold: its own centres and levels, on a few rows
    stretch: np.ndarray  # (fold, P) its priors' units in those of all rows


def stack(model: GLM, resolved: GLM, design: Design, data: xr.Dataset, plan: list[Fold], how: AbstractMethod) -> Stack | None:
    """The folds as one problem; None where they must be fitted one by one.

    That is so for methods that sample, several predictors, more columns than rows, scales that neurons share, and where
    a fold learns other columns (knots, levels) or other priors (but for their units) than the rest.
    """
    if type(how) not in (MAP, Laplace):
        return None
    padded = design.padded()
    linear = resolved.linear(padded)
    if linear is None or linear.contrast is not None or linear.shared_sites() or not isinstance(linear.predictor, DensePredictor):
        return None
    if widest_gaussian(linear) is not None:
        return None
    head, parts = data.isel({row_dim(data): slice(0, _HEAD)}), []
    for fold in plan:
        learned = model.resolve(training_part(data, fold))
        if not _same_columns(resolved, learned):
            return None
        parts.append(learned.linear(learned.design(head)))
        if any(_ratio(a, b) is None for a, b in zip(parts[-1].priors, linear.priors, strict=True)):
            return None
    stretch = np.stack([_stretch(part, linear) for part in parts])
    if not _usable_units(linear, stretch):
        return None
    problem = Problem(resolved, padded, arrays(linear), neuron_labels(resolved, padded), lambda: story_target(resolved, padded))
    return Stack(resolved, design, problem, plan, parts, stretch)


def _usable_units(linear: Linear, stretch: np.ndarray) -> bool:
    """Whether weights that share a column also share its unit, and no prior's rotation mixes units."""
    rotated = [part for part, name in zip(linear.parts(), linear.names, strict=True) if name in linear.rotations]
    if any(np.any(stretch[:, part] != 1) for part in rotated):
        return False
    at = np.asarray(linear.each.get("places", np.arange(stretch.shape[1])[None]))
    return all(np.array_equal(_by_column(stretch, np.tile(one, (len(stretch), 1)), int(one.max()) + 1, 1.0)[:, one], stretch) for one in at)


def _same_columns(one: GLM, other: GLM) -> bool:
    """Whether two resolved models make the same columns of any recording."""
    if jax.tree.structure(one.terms) != jax.tree.structure(other.terms):
        return False
    pairs = zip(jax.tree_util.tree_leaves_with_path(one.terms), jax.tree_util.tree_leaves_with_path(other.terms), strict=True)
    fixed = [(a, b) for (path, a), (_, b) in pairs if not any(getattr(step, "name", "") in _LEARNED for step in path)]
    return all(np.array_equal(a, b) for a, b in fixed) and eqx.tree_equal((one.family, one.target), (other.family, other.target)) is True


def _ratio(one: AbstractPrior, other: AbstractPrior) -> Any:
    """By how much wider a fold's prior is than another's; None where they differ otherwise."""
    if not (isinstance(one, AbstractScaled) and isinstance(other, AbstractScaled)):
        return 1.0 if eqx.tree_equal(one, other) is True else None
    plain = [eqx.tree_at(lambda p: p.relative, prior, 1.0) for prior in (one, other)]
    return np.asarray(one.relative, float) / np.asarray(other.relative, float) if eqx.tree_equal(*plain) is True else None


def _stretch(part: Linear, whole: Linear) -> np.ndarray:
    """(P,) units of a fold's priors in those of all rows."""
    ratios = [np.broadcast_to(_ratio(a, b), shape) for a, b, shape in zip(part.priors, whole.priors, whole.shapes, strict=True)]
    return np.concatenate([np.ravel(ratio) for ratio in ratios])


def all_rows(stacked: Stack, how: AbstractMethod, key: Any, monitor: Monitor) -> tuple[Found, np.ndarray]:
    """The fit to all rows, and its modes (neuron, P): where the folds start."""
    problem, linear = stacked.problem, stacked.problem.linear
    if isinstance(how, MAP):
        drawn = how.run(problem, key, monitor)
        values = {name: value[0] for name, value in drawn.sites.items()}
        return Found(values, drawn.per_neuron["converged"], drawn.notes), np.asarray(_packed(linear, {name: value[0] for name, value in values.items()}))
    refuse_kinks(linear)
    found = approximate(linear, exact=True)
    refuse_separable(problem, linear, found.mode.w)
    return Found(_draws(linear, found, problem.keys(key, linear.size), how.num_samples), np.asarray(found.mode.converged)), np.asarray(found.mode.w)


def groups(stacked: Stack, draws: int) -> list[np.ndarray]:
    """Positions of the neurons whose folds are solved together, in groups of nearly one size."""
    linear, folds = stacked.problem.linear, len(stacked.plan)
    columns = linear.predictor.columns.shape[0]
    each = folds * max(linear.scored.shape[0], columns**2, draws * linear.dim)
    most = 1 if "own" in linear.each else max(1, _NUMBERS // each)
    count = -(-linear.size // most)
    return np.array_split(np.arange(linear.size), count)


def of_group(stacked: Stack, how: AbstractMethod, places: np.ndarray, w: np.ndarray, key: Any) -> Found:
    """Posteriors of some neurons in every fold: values (draw, neuron, fold, ...), converged (neuron, fold)."""
    some, folds = _folds_of(stacked, places)
    count = len(stacked.plan)
    names = tuple(f"{stacked.problem.labels[n]}, fold {i + 1}" for n in places for i in range(count))
    problem = Problem(stacked.model, stacked.problem.design, folds, names, stacked.problem.make_story)
    if isinstance(how, Laplace):
        found = approximate(folds, exact=True)
        refuse_separable(problem, folds, found.mode.w)
        sites, converged = _draws(folds, found, problem.keys(key, folds.size), how.num_samples), found.mode.converged
    elif folds.free() or kinks(folds):  # from the start of a fit alone, so that the result is that of a fit alone
        drawn = how.run(problem, key, silent)
        sites, converged = {name: value[0] for name, value in drawn.sites.items()}, drawn.per_neuron["converged"]
    else:
        found = warm_modes(folds, some, jnp.asarray(w[places]), jnp.asarray(_removed(stacked.plan)))
        refuse_separable(problem, folds, found.w)
        sites, converged = {name: np.asarray(value)[None] for name, value in _unpacked(folds, found.w).items()}, found.done
    values = {name: value.reshape(len(value), len(places), count, *value.shape[2:]) for name, value in _in_model_units(folds, sites).items()}
    return Found(values, np.asarray(converged).reshape(len(places), count))


def _folds_of(stacked: Stack, places: np.ndarray) -> tuple[Linear, Linear]:
    """The problems of some neurons on all rows, and the same once a fold."""
    whole, parts = stacked.problem.linear, stacked.parts
    some = eqx.tree_at(lambda linear: linear.each, whole, jax.tree.map(lambda leaf: leaf[places], whole.each))
    by_fold = lambda name: jax.tree.map(lambda *leaves: _flat([leaf[places] for leaf in leaves]), *[part.each[name] for part in parts])  # noqa: E731
    centre, stretch = by_fold("centre"), np.tile(stacked.stretch, (len(places), 1))
    shift = np.repeat(np.asarray(some.each["centre"]), len(parts), axis=0) - centre
    columns = some.predictor.columns.shape[0] + (some.each["own"].shape[1] if "own" in some.each else 0)
    at = np.asarray(some.each["places"]) if "places" in some.each else np.tile(np.arange(columns), (len(places), 1))
    moved = [_by_column(values, np.repeat(at, len(parts), axis=0), columns, rest) for values, rest in ((shift, 0.0), (stretch, 1.0))]
    kept = np.zeros((len(parts), some.scored.shape[0]))
    for row, fold in zip(kept, stacked.plan, strict=True):
        row[: fold.kept.size] = fold.kept
    fields = {"scored": np.tile(kept, (len(places), 1)), "centre": centre * stretch, "level": by_fold("level"), "spread": by_fold("spread")}
    fields |= {"about": by_fold("about")} if "about" in some.each else {}
    return some, folded(some, arrays(fields), *arrays(moved))


def _flat(leaves: list[np.ndarray]) -> np.ndarray:
    """(neuron, ...) of each fold to (neuron x fold, ...)."""
    stacked = np.stack(leaves, 1)
    return stacked.reshape(-1, *stacked.shape[2:])


def _removed(plan: list[Fold]) -> np.ndarray:
    """(fold, n) rows that a fold does not score, filled up with -1 to a length that like recordings share."""
    rows = [np.flatnonzero(~fold.kept) for fold in plan]
    found = np.full((len(plan), padded_size(max(len(lost) for lost in rows))), -1)
    for line, lost in zip(found, rows, strict=True):
        line[: len(lost)] = lost
    return found


def _by_column(values: np.ndarray, places: np.ndarray, columns: int, rest: float) -> np.ndarray:
    """(posterior, P) to (posterior, column)."""
    found = np.full((len(values), columns), rest)
    np.put_along_axis(found, places, values, axis=1)
    return found


@compiled_quickly
def _packed(linear: Linear, sites: dict[str, Any]) -> Any:
    return jax.vmap(linear.pack)(linear.each, {name: sites[name] for name in linear.names})


@compiled_quickly
def _unpacked(linear: Linear, w: Any) -> dict[str, Any]:
    return jax.vmap(linear.unpack)(linear.each, w)


def _in_model_units(folds: Linear, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights (draw, fold, *shape) in the model's units: the baseline was found with the others in theirs."""
    unit = np.asarray(jax.vmap(lambda each: units(folds, each))(folds.each))
    scale = {name: unit[:, part].reshape(-1, *shape) for name, part, shape in zip(folds.names, folds.parts(), folds.shapes, strict=True)}
    return {name: value * scale[name] if name in scale else value for name, value in values.items()}


def _draws(linear: Linear, found: Any, keys: Any, draws: int) -> dict[str, np.ndarray]:
    """Draws of the Gaussian approximation, (draw, posterior, ...)."""
    target = linear_target(linear, found.coordinates)
    z = jax.vmap(lambda key: jax.random.normal(key, (draws, target.dim)))(keys)
    return {name: value[0] for name, value in constrained(target, np.asarray(jnp.moveaxis(z, 0, 1))[:, :, None]).items()}
