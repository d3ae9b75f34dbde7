"""Methods are values: how a model is fitted, with its options."""

from bayesglm.method._base import AbstractMethod
from bayesglm.method.map import MAP
from bayesglm.method.nuts import NUTS

__all__ = ["MAP", "NUTS", "AbstractMethod"]
