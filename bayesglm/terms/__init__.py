"""The grammar: terms that add up to a linear predictor."""

from bayesglm.terms._base import AbstractTerm, Columns, Response
from bayesglm.terms._event import Event
from bayesglm.terms._interaction import Product
from bayesglm.terms._lagged import Stimulus
from bayesglm.terms._past import Coupling, History
from bayesglm.terms._plain import Baseline, Linear, Offset
from bayesglm.terms._pooled import Pooled
from bayesglm.terms._sum import Sum
from bayesglm.terms._tuning import Tuning

__all__ = [
    "AbstractTerm",
    "Baseline",
    "Columns",
    "Coupling",
    "Event",
    "History",
    "Linear",
    "Offset",
    "Pooled",
    "Product",
    "Response",
    "Stimulus",
    "Sum",
    "Tuning",
]
