"""A family's own parameter: a known number, a NumPyro distribution (its prior), or None for the documented prior."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from numpyro.distributions import Distribution, constraints

from bayesglm.family._base import Hyper

Within = Literal["positive", "unit", "real"]
_WORDS = {"positive": "positive numbers", "unit": "numbers between 0 and 1", "real": "the real line"}
_EXAMPLES = {"positive": "HalfNormal(1.0)", "unit": "Beta(1.0, 9.0)", "real": "Normal(0.0, 2.0)"}


def own(family: str, name: str, within: Within = "positive") -> Callable[[Any], Any]:
    """A converter that lets a good value through and raises a ValueError that names family, parameter and the mend."""

    def checked(value: Any) -> Any:
        what = f"family.{family}({name}={value!r})"
        if isinstance(value, Distribution):
            if value.shape() != () or not _lies(value, within):
                raise ValueError(
                    f"family.{family}({name}=): its prior needs a scalar distribution on {_WORDS[within]}; got {type(value).__name__} with shape "
                    f"{value.shape()}. Use numpyro.distributions.{_EXAMPLES[within]}, for instance."
                )
            return value
        if isinstance(value, str):
            raise ValueError(f"{what}: a family's own parameter is a number or a NumPyro distribution; 'evidence' is for priors of weights.")
        if isinstance(value, numbers.Real):
            high = 1.0 if within == "unit" else np.inf
            if not (np.isfinite(value) and 0 < value < high):
                raise ValueError(f"{what}: it must be one of the {_WORDS[within]}, finite; leave it out to learn it.")
            return float(value)
        return value  # None, or an array inside a transformed (traced) family

    return checked


def _lies(law: Distribution, within: Within) -> bool:
    if within == "real":
        return law.support is constraints.real
    low, high = getattr(law.support, "lower_bound", None), getattr(law.support, "upper_bound", None)
    if law.support in (constraints.positive, constraints.nonnegative):
        low = 0.0
    above = low is not None and bool(np.all(np.asarray(low) >= 0))
    return above and (within == "positive" or (high is not None and bool(np.all(np.asarray(high) <= 1))))


def site(name: str, value: Any, default: Distribution) -> dict[str, tuple[Distribution, bool]]:
    """The parameter as a family's ``hyper`` states it, one a neuron; nothing where it is known."""
    if isinstance(value, Distribution):
        return {name: (value, True)}
    return {name: (default, True)} if value is None else {}


def value_of(name: str, value: Any, hyper: Hyper) -> Any:
    """The learned value where there is one, else the known one."""
    return hyper.get(name, value)


class Ordered(dist.Distribution):
    """Increasing vectors: the order statistics of ``size`` independent draws of ``one``, p(c) = size! prod one(c_k).

    With a logistic (normal) law the class probabilities of a cumulative logit (probit) model at eta = 0 are uniform
    over the simplex.
    """

    support = constraints.ordered_vector
    pytree_data_fields = ("one",)
    arg_constraints: dict = {}  # noqa: RUF012

    def __init__(self, one: Distribution, size: int, *, validate_args: bool | None = None) -> None:
        self.one = one
        super().__init__(batch_shape=one.batch_shape, event_shape=(size,), validate_args=validate_args)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        return self.one.expand((*self.batch_shape, *self.event_shape)).sample(key, sample_shape).sort(-1)

    def log_prob(self, value: Any) -> Any:
        return gammaln(self.event_shape[0] + 1.0) + self.one.log_prob(value).sum(-1)
