"""Penalties of other packages, as priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from bayesglm.prior._base import AbstractPrior
from bayesglm.prior._elastic import ElasticNet
from bayesglm.prior._group import GroupLasso
from bayesglm.prior._simple import Flat, Gaussian, Laplace


def ridge(strength: float) -> AbstractPrior:
    """Gaussian prior that adds exactly strength/2 * sum(w^2) to the summed negative log likelihood.

    Parameters
    ----------
    strength : float
        The penalty, at least zero; zero is ``Flat()``.

    Examples
    --------
    >>> from bayesglm import prior
    >>> prior.ridge(4.0).scale
    0.5
    """
    return Gaussian(_positive("ridge", strength) ** -0.5) if strength else Flat()


def lasso(strength: float) -> AbstractPrior:
    """Laplace prior that adds exactly strength * sum(|w|) to the summed negative log likelihood.

    Parameters
    ----------
    strength : float
        The penalty, at least zero; zero is ``Flat()``.

    Examples
    --------
    >>> from bayesglm import prior
    >>> prior.lasso(4.0).scale
    0.25
    """
    return Laplace(1.0 / _positive("lasso", strength)) if strength else Flat()


def from_sklearn(C: float, penalty: Literal["l2", "l1"] = "l2") -> AbstractPrior:
    """The prior of scikit-learn's ``LogisticRegression(C=C)``: C * sum(loss) + |w|^2/2 (l2) or + |w|_1 (l1).

    For ``PoissonRegressor(alpha)``, whose loss is a mean, use ``from_glmnet(alpha, 0.0, n_rows)``.

    Raises
    ------
    ValueError
        An unknown penalty, or ``C`` that is not positive.
    """
    return _by_name("from_sklearn", penalty, {"l2": ridge, "l1": lasso})(1.0 / _positive("from_sklearn", C))


def from_nemos(
    strength: float,
    n_rows: int,
    regularizer: Literal["Ridge", "Lasso", "ElasticNet", "GroupLasso"] = "Ridge",
    *,
    ratio: float | None = None,
    group_size: int | None = None,
) -> AbstractPrior:
    """The prior of a NeMoS regulariser: its loss is a mean over bins, so the strength is multiplied by ``n_rows``.

    Parameters
    ----------
    strength : float
        ``regularizer_strength`` of NeMoS.
    n_rows : int
        Bins that entered the fit (after NaN rows were dropped).
    regularizer : "Ridge", "Lasso", "ElasticNet" or "GroupLasso"
    ratio : float, optional
        Of "ElasticNet": share of L1; NeMoS's default is 0.5.
    group_size : int, optional
        Of "GroupLasso": weights of a group (NeMoS multiplies its norm by sqrt(group_size)); here a group is a filter.

    Raises
    ------
    ValueError
        An unknown regulariser; an argument that it does not take, or one that it needs.

    Examples
    --------
    >>> from bayesglm import prior
    >>> prior.from_nemos(0.01, 400).scale
    0.5
    """
    makers = {"Ridge": ridge, "Lasso": lasso, "ElasticNet": _nemos_net, "GroupLasso": _nemos_group}
    make = _by_name("from_nemos", regularizer, makers)
    for name, value, owner in (("ratio", ratio, "ElasticNet"), ("group_size", group_size, "GroupLasso")):
        if value is not None and regularizer != owner:
            raise ValueError(f"prior.from_nemos({name}={value}) belongs to regularizer={owner!r}, not to {regularizer!r}: leave it out.")
    total = _positive("from_nemos", strength) * _rows("from_nemos", n_rows)
    extra = {"ElasticNet": (ratio,), "GroupLasso": (group_size,)}.get(regularizer, ())
    return make(total, *extra)


def _nemos_net(total: float, ratio: float | None) -> AbstractPrior:
    return from_glmnet(total, 0.5 if ratio is None else ratio, 1)


def _nemos_group(total: float, group_size: int | None) -> AbstractPrior:
    if group_size is None or group_size < 1:
        raise ValueError(f"prior.from_nemos(group_size={group_size}): GroupLasso needs the number of weights of a group, at least 1.")
    return GroupLasso(1.0 / (total * group_size**0.5))


def from_glmnet(lam: float, alpha: float, n_rows: int) -> AbstractPrior:
    """The prior of glmnet's (and pyglmnet's) penalty: mean(loss) + lam * ((1 - alpha)/2 |w|^2 + alpha |w|_1).

    glmnet standardises columns by default; switch that off (``standardize=FALSE``) to compare.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"from_glmnet: alpha is the share of L1, between 0 and 1; got {alpha}.")
    total = _positive("from_glmnet", lam) * _rows("from_glmnet", n_rows)
    if alpha in (0.0, 1.0):
        return lasso(total) if alpha else ridge(total)
    return ElasticNet(l1=total * alpha, l2=total * (1.0 - alpha))


def _positive(where: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"prior.{where}: the penalty must be positive; got {value}. For no penalty use prior.Flat().")
    return float(value)


def _rows(where: str, n_rows: int) -> int:
    if n_rows < 1:
        raise ValueError(f"prior.{where}: n_rows is the number of bins of the fit, at least 1; got {n_rows}.")
    return int(n_rows)


def _by_name(where: str, name: str, known: dict[str, Callable[..., AbstractPrior]]) -> Callable[..., AbstractPrior]:
    if name not in known:
        raise ValueError(f"prior.{where}: {name!r} is not known; choose one of {', '.join(known)}.")
    return known[name]
