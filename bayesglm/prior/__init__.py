"""Priors are the regularisers: Gaussian is L2, Laplace is L1; others smooth, shrink, select and pool."""

from numpyro.distributions import HalfCauchy, HalfNormal

from bayesglm.prior._base import AbstractPrior
from bayesglm.prior._convert import from_glmnet, from_nemos, from_sklearn, lasso, ridge
from bayesglm.prior._distributions import HalfStudentT
from bayesglm.prior._elastic import ElasticNet
from bayesglm.prior._gp import GaussianProcess
from bayesglm.prior._group import GroupLasso
from bayesglm.prior._hierarchical import Hierarchical
from bayesglm.prior._horseshoe import Horseshoe
from bayesglm.prior._simple import Flat, Gaussian, Laplace, StudentT
from bayesglm.prior._smooth import Smooth

__all__ = [
    "AbstractPrior",
    "ElasticNet",
    "Flat",
    "Gaussian",
    "GaussianProcess",
    "GroupLasso",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Hierarchical",
    "Horseshoe",
    "Laplace",
    "Smooth",
    "StudentT",
    "from_glmnet",
    "from_nemos",
    "from_sklearn",
    "lasso",
    "ridge",
]
