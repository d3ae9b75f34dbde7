"""Products of terms: gain modulation, drifting weights, interactions."""

from __future__ import annotations

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from bayesglm.basis import AbstractBasis
from bayesglm.prior import AbstractPrior, Gaussian
from bayesglm.terms._base import AbstractTerm, Columns, Response, resolved, settled
from bayesglm.terms._lagged import AbstractLagged
from bayesglm.terms._plain import Baseline, Offset


def multiplied(left: AbstractTerm, right: AbstractTerm) -> AbstractTerm:
    """``left * right``; a baseline is the one of this product."""
    if not isinstance(right, AbstractTerm):
        raise ValueError(f"A term is multiplied by a term; got {type(right).__name__}. For a sum write a * b + a * c.")
    if isinstance(left, Baseline) or isinstance(right, Baseline):
        return right if isinstance(left, Baseline) else left
    return Product(left, right)


class Product(AbstractTerm):
    """Product of two terms, ``a * b``: eta(t) += sum_jk w_jk a_j(t) b_k(t), a weight for every pair of columns.

    ``Tuning("speed", ...) * Stimulus(...)`` is a filter whose gain depends on speed, ``Tuning("time", ...) *
    History(...)`` a history that drifts. ``b`` alone is in it where the functions of ``a`` sum to 1 (B-splines); otherwise
    add it to the sum.

    Parameters
    ----------
    left, right : AbstractTerm
        At most one with lags, whose dims come last.
    prior : AbstractPrior, optional
        The prior of the weights w_jk; by default the one given to ``left`` or ``right`` (where both have one, they must be
        equal), else Gaussian(tau), tau ~ HalfNormal(1), per training sd of the signals read.
    name : str, optional
        Default "a:b".

    Raises
    ------
    ValueError
        Where both terms have lags, one is an offset, or they share a dim.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.01, spikes=np.zeros(50, int), speed=np.linspace(0, 1, 50))
    >>> term = bg.Tuning("speed", bg.basis.BSpline(4)) * bg.History(bg.basis.RaisedCosine(3, span=0.05))
    >>> resolved = bg.GLM(term).resolve(data).terms["speed:history"]
    >>> resolved.dims, resolved.shape
    (('speed_basis', 'history_basis'), (4, 3))
    """

    left: AbstractTerm
    right: AbstractTerm
    prior: AbstractPrior | None = eqx.field(default=None, kw_only=True)
    name: str = eqx.field(default="", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.name = self.name or f"{self.left.name}:{self.right.name}"

    def __check_init__(self) -> None:
        for part in (self.left, self.right):
            if isinstance(part, Offset):
                raise ValueError(f"{self.name}: an offset has no weight to multiply; use Linear({part.column!r}).")
        if self.left.lagged is not None and self.right.lagged is not None:
            raise ValueError(f"{self.name}: both terms have lags, and a product takes at most one: leave the lags of the other out (Linear, Tuning).")

    @property
    def ordered(self) -> tuple[AbstractTerm, AbstractTerm]:
        """The two terms, the one with lags last."""
        return (self.right, self.left) if self.left.lagged is not None else (self.left, self.right)

    def parts(self) -> tuple[AbstractTerm, ...]:
        pairs = [(a, b) for a in self.left.parts() for b in self.right.parts()]
        return (self,) if len(pairs) == 1 else tuple(Product(a, b, prior=self.prior) for a, b in pairs)

    def refers(self) -> bool:
        return self.left.refers() or self.right.refers()

    def refer(self, known: dict[str, AbstractTerm]) -> Product:
        return settled(self, left=self.left.refer(known), right=self.right.refer(known))

    def resolve(self, data: xr.Dataset, response: Response) -> Product:
        if resolved(self):
            return self
        prior = self._given_prior()
        left, right = (settled(part.resolve(data, response), prior=None) for part in (self.left, self.right))
        made = settled(self, left=left, right=right)
        made._check_dims()
        prior = prior or Gaussian(dist.HalfNormal(1.0)).relative_to(1.0 / made.signal_sd())
        found = made.columns(data, response)
        return settled(made, prior=prior, shape=found.shape, centre=found.mean())

    def _given_prior(self) -> AbstractPrior | None:
        """The product's own prior, or the one that its terms were given."""
        given = [part.prior for part in (self, self.left, self.right) if part.prior is not None]
        if self.prior is None and len(given) == 2 and not eqx.tree_equal(*given):
            raise ValueError(
                f"{self.name} has one prior, and its terms were given two, {given[0].describe()} and {given[1].describe()}: give it to one of them, or "
                f"write terms.Product(a, b, prior=...)."
            )
        return given[0] if given else None

    def _check_dims(self) -> None:
        shared = set(self.left.dims) & set(self.right.dims)
        if shared:
            raise ValueError(f"{self.name}: both terms have the dim {min(shared)!r}: give one of them another name= (or rename the column's dim).")

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        one, two = self.ordered
        a, b = one.columns(data, response), two.columns(data, response)
        invalid = dict(a.invalid)
        for reason, flags in b.invalid.items():
            invalid[reason] = invalid.get(reason, False) | flags
        if a.own is None and b.own is None:
            return Columns(_pairs(a.shared, b.shared, 1), None, invalid)
        left, right = (part.shared[None] if part.own is None else part.own for part in (a, b))
        return Columns(None, _pairs(left, right, 2), invalid)

    def exists(self, response: Response) -> np.ndarray:
        one, two = (part.exists(response) for part in self.ordered)
        return _pairs(one, two, 1)

    def repeats(self) -> bool:
        return self.left.repeats() or self.right.repeats()

    def signal_sd(self) -> np.ndarray:
        one, two = (np.broadcast_to(part.signal_sd(), part.shape) for part in self.ordered)
        return _pairs(one, two, 0)

    @property
    def bases(self) -> tuple[AbstractBasis, ...]:
        one, two = self.ordered
        # a prior sees the axes from the last on: those of the first term only where all of the second's have a basis
        return (*one.bases, *two.bases) if len(two.bases) == len(two.dims) else two.bases

    @property
    def lagged(self) -> AbstractLagged | None:
        return self.ordered[1].lagged

    @property
    def dims(self) -> tuple[str, ...]:
        one, two = self.ordered
        return (*one.dims, *two.dims)

    def coords(self) -> dict[str, np.ndarray]:
        return self.left.coords() | self.right.coords()

    def needs(self) -> tuple[str, ...]:
        return (*self.left.needs(), *self.right.needs())


def _pairs(one: np.ndarray, two: np.ndarray, lead: int) -> np.ndarray:
    """(*lead, *one) and (*lead, *two) -> (*lead, *one, *two): row-wise products of all pairs."""
    inner, ahead = (1,) * (two.ndim - lead), (1,) * (one.ndim - lead)
    return np.reshape(one, (*one.shape, *inner)) * np.reshape(two, (*two.shape[:lead], *ahead, *two.shape[lead:]))
