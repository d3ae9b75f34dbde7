"""Methods are values: how a model is fitted, with its options."""

from bayesglm.method._base import AbstractMethod
from bayesglm.method.hmc import HMC
from bayesglm.method.laplace import Laplace
from bayesglm.method.map import MAP
from bayesglm.method.nuts import NUTS

__all__ = ["HMC", "MAP", "NUTS", "AbstractMethod", "Laplace"]
