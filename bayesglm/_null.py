"""The null model of a score: a constant, with the family's own parameters, of the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to
from scipy.optimize import minimize

from bayesglm._likelihood import Source, is_mass, response_of, source
from bayesglm._model import padded_size
from bayesglm._training import training_data
from bayesglm.engine.scales import middle
from bayesglm.family import AbstractFamily, Bernoulli, Binomial, Gaussian, Poisson

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_WIDEST = 40.0  # of eta around its start, and of the unconstrained parameters: a silent neuron's optimum is far away
_MEAN = "the training mean"


class Null(NamedTuple):
    """The model of a constant: its family, eta (neuron[, predictor]) and learned parameters (neuron, ...)."""

    family: AbstractFamily
    level: np.ndarray
    hyper: dict[str, np.ndarray]
    words: str


def null_of(fit: Fit) -> Null:
    """The null model of each neuron's scored training rows.

    It is the training mean (for a Gaussian with their sd, for classes their frequencies, for angles their mean
    direction and concentration). A family with parameters of its own has them, and the constant, at their maximum
    likelihood.
    """
    if fit.data is None:
        return _stored_null(fit)
    made = source(fit, training_data(fit))
    y, family = np.asarray(response_of(made), float), family_of(fit, made)
    words = _words(fit, family)
    if family.n_predictors > 1:
        level = np.stack([family.levels(np.where(made.scored[:, n], y[:, n], np.nan)) for n in range(y.shape[1])])
        return Null(family, level, left_of_circle(family, level), words)
    n = np.maximum(made.scored.sum(0), 1)
    mean = np.where(made.scored, y, 0.0).sum(0) / n
    spread = np.sqrt(np.where(made.scored, (y - mean) ** 2, 0.0).sum(0) / n)
    level = _level(family, family.inside(mean, n), made)
    if _plain(family):
        return Null(family, level, _constants(family, spread), words)
    return Null(family, *_most_likely(family, y, made, level, spread), words)


def known_of(made: Source) -> dict[str, np.ndarray]:
    """What the family knows of each row, (row, neuron)."""
    each = made.design.each
    return {name: np.asarray(value).T for name, value in each.get("known", {}).items()} if isinstance(each, dict) else {}


def _words(fit: Fit, family: AbstractFamily) -> str:
    of_each = " of each neuron" if fit.model.has_neurons else ""
    if family.n_predictors > 1:
        return f"the training frequencies{of_each}" if family.discrete else f"the training rows' mean direction and concentration{of_each}"
    return f"{_MEAN}{of_each}" if _plain(family) else f"a constant of maximum likelihood on the training rows{of_each}"


def _plain(family: AbstractFamily) -> bool:
    """Whether moments give the constant of maximum likelihood."""
    return not family.hyper("") or isinstance(family, Gaussian)


def _stored_null(fit: Fit) -> Null:
    """Of a fit loaded without its recording: what the model knows of its training part."""
    model: Any = fit.model
    if getattr(model, "level", None) is None or not _plain(model.family):
        training_data(fit)
    return Null(model.family, np.asarray(model.level), _constants(model.family, np.asarray(model.spread)), "the training mean (of all observed training rows)")


def _constants(family: AbstractFamily, spread: np.ndarray) -> dict[str, np.ndarray]:
    return {"sigma": np.where(spread > 0, spread, 1.0)} if "sigma" in family.hyper("") else {}


def left_of_circle(family: AbstractFamily, level: np.ndarray) -> dict[str, np.ndarray]:
    """The sd (neuron,) that a point in the circle leaves of cosine and sine, where the family learns one."""
    return {"sigma": np.sqrt(np.maximum(1.0 - (level**2).sum(-1), 1e-12) / 2.0)} if "sigma" in family.hyper("") else {}


def _level(family: AbstractFamily, mean: np.ndarray, made: Source) -> np.ndarray:
    """The eta of a constant mean; of a binomial with the trials of its scored rows."""
    trials = known_of(made).get("trials")
    if not isinstance(family, Binomial) or trials is None:
        return family.level(mean)
    each = np.where(made.scored, np.broadcast_to(trials, made.scored.shape), 0.0).sum(0) / np.maximum(made.scored.sum(0), 1)
    return family.level(mean, {"trials": each})


def family_of(fit: Fit, made: Source) -> AbstractFamily:
    """The model's family; for a story without one the plainest that shares its support."""
    family = getattr(fit.model, "family", None)
    if family is not None:
        return family
    if not is_mass(made):
        return Gaussian()
    return Bernoulli() if np.isin(response_of(made), (0, 1)).all() else Poisson()


def _most_likely(family: AbstractFamily, y: np.ndarray, made: Source, level: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Constant eta (neuron,) and own parameters (neuron, ...) of maximum likelihood, neuron by neuron."""
    found = [_of_one(family, y[made.scored[:, n], n], level[n], np.where(spread[n] > 0, spread[n], 1.0), made.dt) for n in range(y.shape[1])]
    hyper = {name: np.stack([values[name] for _, values in found]) for name in found[0][1]}
    return np.array([eta for eta, _ in found]), hyper


def _of_one(family: AbstractFamily, y: np.ndarray, level: float, spread: Any, dt: float) -> tuple[float, dict[str, np.ndarray]]:
    first = [np.ravel(biject_to(law.support).inv(middle(law))) for law, _ in family.hyper("", spread).values()]
    start = np.concatenate([[level], *first])
    fixed = getattr(family, "own_constant", False)
    bounds = [(0.0, 0.0) if fixed else (level - _WIDEST, level + _WIDEST) if family.discrete else (None, None), *((-_WIDEST, _WIDEST) for _ in start[1:])]
    values, counts = np.unique(y, return_counts=True)
    padding = padded_size(values.size) - values.size  # so that neurons share one program
    values, weights = np.pad(values, (0, padding), mode="edge"), np.pad(counts / counts.sum(), (0, padding))

    def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _cost(family, x, values, weights, dt)
        return float(value), np.asarray(slope)

    x = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500}).x
    return float(x[0]), {name: np.asarray(value) for name, value in _parameters(family, x).items()}


def _parameters(family: AbstractFamily, x: Any) -> dict[str, Any]:
    """The family's own parameters, of the unconstrained numbers that follow eta."""
    hyper, at = {}, 1
    for name, (law, _) in family.hyper("").items():
        transform = biject_to(law.support)
        shape = transform.inverse_shape(law.shape())
        size = int(np.prod(shape))
        hyper[name] = transform(x[at : at + size].reshape(shape))
        at += size
    return hyper


@eqx.filter_jit
def _cost(family: AbstractFamily, x: Any, y: Any, weights: Any, dt: float) -> tuple[Any, Any]:
    """Mean negative log density of responses ``y`` (value,) with ``weights``, and its gradient."""
    cost = lambda x: -jnp.sum(weights * family.log_density(jnp.broadcast_to(x[0], y.shape), y, _parameters(family, x), dt))  # noqa: E731
    return jax.value_and_grad(cost)(x)
