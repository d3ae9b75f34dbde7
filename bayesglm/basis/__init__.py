"""Bases: a few known functions of a lag or of a value, in which filters and tuning curves are written."""

from bayesglm.basis._base import AbstractBasis
from bayesglm.basis._cosine import RaisedCosine, RaisedCosineLinear
from bayesglm.basis._exponential import Exponential
from bayesglm.basis._fourier import Fourier
from bayesglm.basis._lags import Lags, lag_kernels
from bayesglm.basis._onehot import OneHot
from bayesglm.basis._product import Product
from bayesglm.basis._spline import BSpline, CyclicBSpline
from bayesglm.basis._table import Table

__all__ = [
    "AbstractBasis",
    "BSpline",
    "CyclicBSpline",
    "Exponential",
    "Fourier",
    "Lags",
    "OneHot",
    "Product",
    "RaisedCosine",
    "RaisedCosineLinear",
    "Table",
    "lag_kernels",
]
