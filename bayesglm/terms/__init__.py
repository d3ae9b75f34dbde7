"""The grammar: terms that add up to a linear predictor."""

from bayesglm.terms._base import AbstractTerm, Columns, Response
from bayesglm.terms._lagged import Coupling, History, Stimulus
from bayesglm.terms._plain import Baseline, Linear, Offset
from bayesglm.terms._sum import Sum
from bayesglm.terms._tuning import Tuning

__all__ = ["AbstractTerm", "Baseline", "Columns", "Coupling", "History", "Linear", "Offset", "Response", "Stimulus", "Sum", "Tuning"]
