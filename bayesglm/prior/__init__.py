"""Priors are the regularisers: Gaussian is L2, Laplace is L1."""

from numpyro.distributions import HalfCauchy, HalfNormal

from bayesglm.prior._base import AbstractPrior
from bayesglm.prior._convert import from_glmnet, from_nemos, from_sklearn, lasso, ridge
from bayesglm.prior._distributions import HalfStudentT
from bayesglm.prior._elastic import ElasticNet
from bayesglm.prior._simple import Flat, Gaussian, Laplace, StudentT

__all__ = [
    "AbstractPrior",
    "ElasticNet",
    "Flat",
    "Gaussian",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Laplace",
    "StudentT",
    "from_glmnet",
    "from_nemos",
    "from_sklearn",
    "lasso",
    "ridge",
]
