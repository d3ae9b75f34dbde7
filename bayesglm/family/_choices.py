"""Choices among several: successes among trials, one of K classes, one of K ordered levels."""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import xarray as xr
from jax.scipy.special import log_ndtr
from numpyro.distributions import Distribution
from scipy.linalg import helmert

from bayesglm._data import require_column, row_dim
from bayesglm.family._base import AbstractFamily, Hyper, Predictors, chosen_link, finite_response
from bayesglm.family._binary import Bernoulli
from bayesglm.family._counts import check_counts
from bayesglm.family._densities import log_between
from bayesglm.family._distributions import BinomialLog, ClassesLog, LevelsLog
from bayesglm.family._parameters import Ordered, own, value_of


class Binomial(AbstractFamily):
    """Successes among known numbers of trials: y ~ Binomial(trials, p), p as in ``Bernoulli``.

    Parameters
    ----------
    trials : int or str
        The number of trials of every row, or the column that holds it, (row,) or (row, neuron).
    link : "logit", "probit" or "cloglog"

    Raises
    ------
    ValueError
        By ``fit`` where the response is no count, or exceeds its trials.
    """

    trials: Any = eqx.field(static=True)
    link: str = eqx.field(default="logit", static=True)
    column: str = eqx.field(default="", static=True, kw_only=True)  # the response, once it is known
    average: float | None = eqx.field(default=None, static=True, kw_only=True)  # trials a row in training
    discrete: ClassVar[bool] = True

    def __check_init__(self) -> None:
        chosen_link("Binomial", self.link, ("logit", "probit", "cloglog"))
        whole = isinstance(self.trials, numbers.Integral) and not isinstance(self.trials, bool) and self.trials > 0
        if not (whole or isinstance(self.trials, str)):
            raise ValueError(f"family.Binomial(trials={self.trials!r}): a whole number above 0, or the name of the column that holds the trials of each row.")

    def check(self, column: str, response: np.ndarray) -> None:
        check_counts(column, response, "family.Binomial")
        if not isinstance(self.trials, str) and response.size and np.nanmax(response) > self.trials:
            raise ValueError(f"{column!r} holds {np.nanmax(response):g} successes among trials={self.trials}: give the number of trials, or its column.")

    def resolve(self, column: str, response: np.ndarray, period: float | None = None, known: Hyper | None = None) -> Self:
        self.check(column, response)
        average = float(np.mean((known or {}).get("trials", 1.0))) if isinstance(self.trials, str) else float(self.trials)
        return dataclasses.replace(self, column=column, average=average)

    def known(self, data: xr.Dataset) -> dict[str, np.ndarray]:
        if not isinstance(self.trials, str):
            return {}
        trials = require_column(data, self.trials, "family.Binomial(trials=)").transpose(row_dim(data), ...)
        if trials.dtype.kind not in "iuf" or not ((trials.values >= 0) & (trials.values == np.round(trials.values))).all():
            raise ValueError(f"family.Binomial(trials={self.trials!r}) wants whole numbers from 0 up in every row; where nothing was tried put 0.")
        if self.column in data:
            self._check_trials(data[self.column], trials)
        return {"trials": np.asarray(trials.values, float)}

    def _check_trials(self, response: xr.DataArray, trials: xr.DataArray) -> None:
        if not set(trials.dims) <= set(response.dims):
            raise ValueError(f"family.Binomial(trials={self.trials!r}): the column has dims {trials.dims}, the response {self.column!r} has {response.dims}.")
        above = (response > trials).transpose(trials.dims[0], ...).values
        if above.any():
            row = int(np.argmax(above.reshape(len(above), -1).any(1)))
            raise ValueError(f"{self.column!r} exceeds its trials in {self.trials!r}, the first time at row {row}: successes come first, trials second.")

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return BinomialLog(*self._logs(eta), value_of("trials", self.trials, hyper))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        one, zero = self._logs(eta)
        trials = value_of("trials", self.trials, hyper)
        return y * eta - trials * jax.nn.softplus(eta) if self.link == "logit" else y * one + (trials - y) * zero

    def _logs(self, eta: Any) -> tuple[Any, Any]:
        return Bernoulli(self.link).logs(eta)

    @property
    def usual(self) -> float:
        """Trials of every row, or their training mean."""
        return self.average or (1.0 if isinstance(self.trials, str) else float(self.trials))

    def inside(self, mean: np.ndarray, n: np.ndarray) -> np.ndarray:
        return np.clip(mean, 0.5 / n, self.usual - 0.5 / n)

    def level(self, mean: np.ndarray, hyper: Hyper | None = None) -> np.ndarray:
        """The eta of this mean number of successes among ``trials``, or among the usual number."""
        trials = np.maximum(value_of("trials", self.usual, hyper or {}), 1e-9)
        return Bernoulli(self.link).level(np.asarray(mean) / trials)


class AbstractClasses(AbstractFamily):
    """A response that is the code, 0 to K - 1, of one of K classes."""

    classes: int | None = eqx.field(default=None, static=True)
    labels: tuple | None = eqx.field(default=None, static=True, kw_only=True, converter=lambda names: None if names is None else tuple(names))
    discrete: ClassVar[bool] = True

    def __check_init__(self) -> None:
        size = self.classes if self.labels is None else len(self.labels)
        if size is not None and not (isinstance(size, numbers.Integral) and size >= 2):
            raise ValueError(f"{self._called()}(classes={size!r}): two classes or more are wanted; family.Bernoulli() is the plain one for two.")
        if self.classes is not None and self.classes != size:
            raise ValueError(f"{self._called()}: {len(self.labels)} labels for classes={self.classes}: give one label a class.")

    def _called(self) -> str:
        return f"family.{type(self).__name__}"

    @property
    def size(self) -> int:
        """Number of classes, K."""
        found = self.classes if self.labels is None else len(self.labels)
        if found is None:
            raise ValueError(f"{self._called()}() takes the number of classes from the training data: it has none before fit. Give classes=K to have it now.")
        return int(found)

    @property
    def names(self) -> np.ndarray:
        """Labels of the classes, (K,); their codes where none were given."""
        return np.arange(self.size) if self.labels is None else np.asarray(self.labels)

    def check(self, column: str, response: np.ndarray) -> None:
        finite_response(column, response, self._called())
        seen = np.unique(response[np.isfinite(response)] if response.dtype.kind == "f" else response)
        if seen.size and ((seen < 0) | (seen != np.round(seen))).any():
            raise ValueError(
                f"{column!r} holds values that are no classes (such as {seen[(seen < 0) | (seen != np.round(seen))][0]:g}): code them 0, 1, 2, ..."
            )
        known = self.classes is not None or self.labels is not None
        if known and seen.size and seen[-1] >= self.size:
            raise ValueError(f"{column!r} holds the class {seen[-1]:g}; {self._called()} with {self.size} classes wants the codes 0 to {self.size - 1}.")
        if not known and (seen.size < 2 or not np.array_equal(seen, np.arange(seen.size))):
            raise ValueError(
                f"{column!r} holds the classes {', '.join(f'{v:g}' for v in seen[:8])}; {self._called()} wants all of 0 to K - 1: code them so "
                f"(numpy.unique(..., return_inverse=True)), or give classes=K where some did not occur."
            )

    def resolve(self, column: str, response: np.ndarray, period: float | None = None, known: Hyper | None = None) -> Self:
        self.check(column, response)
        return self if self.classes is not None else dataclasses.replace(self, classes=int(np.nanmax(response)) + 1 if self.labels is None else self.size)


class Categorical(AbstractClasses):
    """One of K unordered classes: P(y = k) = exp(eta_k) / sum over j of exp(eta_j).

    Weights have a last dim ``class`` and sum to zero over it: a weight is the class's log odds against the (geometric)
    average of all classes, whichever came first. A prior is on the K - 1 free numbers v of w = C v, C an orthonormal
    Helmert contrast: a Gaussian prior treats the classes alike.

    Parameters
    ----------
    classes : int, optional
        Number of classes; default: from the training data, where each must occur.
    labels : sequence, optional
        Their names, in the order of the codes.

    Raises
    ------
    ValueError
        By ``fit`` where the response is not coded 0 to K - 1.
    """

    @property
    def predictors(self) -> Predictors:
        return Predictors("class", self.names, helmert(self.size).T)

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return ClassesLog(jax.nn.log_softmax(eta @ jnp.asarray(helmert(self.size), jnp.result_type(eta)), axis=-1))

    def levels(self, response: np.ndarray) -> np.ndarray:
        known = np.asarray(response, float)
        known = known[np.isfinite(known)].astype(int)
        return helmert(self.size) @ np.log(np.bincount(known, minlength=self.size) + 0.5)


class Ordinal(AbstractClasses):
    """One of K ordered classes, the cumulative model: P(y <= k) = F(c_k - eta), F logistic or normal.

    The K - 1 cutpoints c are learned, and are the model's constant: a ``Baseline`` would move with them and is refused.
    Columns should be centred (or small beside their effect): the cutpoints are those of eta = 0.

    Parameters
    ----------
    classes : int, optional
        Number of classes; default: from the training data, where each must occur.
    link : "logit" or "probit"
    cutpoints : numpyro Distribution, sequence of K - 1 increasing numbers, or None
        Law of the real line of which the cutpoints are the order statistics, known cutpoints, or None for the link's own
        law, F: class probabilities at eta = 0 are then uniform over the simplex. The posterior's name is ``cutpoints``.
    labels : sequence, optional

    References
    ----------
    McCullagh 1980, Regression models for ordinal data. Bürkner & Vuorre 2019, Ordinal regression models in psychology.
    """

    link: str = eqx.field(default="logit", static=True)
    cutpoints: Any = eqx.field(
        default=None, converter=lambda c: _increasing(c) if isinstance(c, (tuple, list, np.ndarray)) else own("Ordinal", "cutpoints", "real")(c)
    )
    own_constant: ClassVar[bool] = True

    def __check_init__(self) -> None:
        chosen_link("Ordinal", self.link, ("logit", "probit"))
        if isinstance(self.cutpoints, float) or (isinstance(self.cutpoints, tuple) and self.classes not in (None, len(self.cutpoints) + 1)):
            raise ValueError(f"family.Ordinal(cutpoints={self.cutpoints!r}): K - 1 increasing numbers for K classes, a law of the real line, or None.")

    def hyper(self, name: str, spread: Any = 1.0) -> dict[str, tuple[Distribution, bool]]:
        if isinstance(self.cutpoints, tuple):
            return {}
        law = dist.Logistic(0.0, 1.0) if self.link == "logit" else dist.Normal(0.0, 1.0)
        return {"cutpoints": (Ordered(law if self.cutpoints is None else self.cutpoints, self.size - 1), True)}

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        at = jnp.asarray(value_of("cutpoints", self.cutpoints, hyper)) - jnp.asarray(eta)[..., None]
        below = jax.nn.log_sigmoid if self.link == "logit" else log_ndtr
        middle = log_between(at[..., :-1], at[..., 1:], self.link)
        return LevelsLog(jnp.concatenate([below(at[..., :1]), middle, below(-at[..., -1:])], -1))

    def level(self, mean: np.ndarray, hyper: Hyper | None = None) -> np.ndarray:
        """Zero: the cutpoints carry the level."""
        return np.zeros(np.shape(mean))


def _increasing(cutpoints: Any) -> tuple[float, ...]:
    found = tuple(float(c) for c in cutpoints)
    if not found or not np.isfinite(found).all() or (np.diff(found) <= 0).any():
        raise ValueError(f"family.Ordinal(cutpoints={found}): known cutpoints are finite and increase.")
    return found
