"""Response distributions, written in the linear predictor."""

from bayesglm.family._base import AbstractFamily
from bayesglm.family._binary import Bernoulli
from bayesglm.family._choices import Binomial, Categorical, Ordinal
from bayesglm.family._circular import LinearCircular, VonMises
from bayesglm.family._continuous import Gamma, Gaussian, StudentT
from bayesglm.family._counts import NegativeBinomial, Poisson, ZeroInflatedPoisson

__all__ = [
    "AbstractFamily",
    "Bernoulli",
    "Binomial",
    "Categorical",
    "Gamma",
    "Gaussian",
    "LinearCircular",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "StudentT",
    "VonMises",
    "ZeroInflatedPoisson",
]
