"""Response distributions, written in the linear predictor."""

from bayesglm.family._base import AbstractFamily
from bayesglm.family._binary import Bernoulli
from bayesglm.family._continuous import Gaussian
from bayesglm.family._counts import Poisson

__all__ = ["AbstractFamily", "Bernoulli", "Gaussian", "Poisson"]
