"""Pooled: intercepts and slopes that vary over sessions or animals, shrunk towards what these share."""

from __future__ import annotations

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from bayesglm._data import require_column, row_dim
from bayesglm.basis import AbstractBasis
from bayesglm.prior import AbstractPrior, Gaussian
from bayesglm.terms._base import AbstractTerm, Columns, Response, resolved, settled
from bayesglm.terms._lagged import AbstractLagged
from bayesglm.terms._plain import Offset


class Pooled(AbstractTerm):
    """Partial pooling: eta(t) += sum_f w_{level(t), f} x_f(t), w ~ Normal(0, tau^2), with x = 1 or the columns of a term.

    Varying intercepts, or varying slopes of the term ``of``, one a level; the learned tau says how much levels differ.
    Keep ``Baseline()`` (or the term ``of`` itself) in the model for what levels share.

    Parameters
    ----------
    over : str
        A column or coordinate of labels, (row,): "session", as ``bg.concat`` makes it. "animal/session" stands for two
        terms, ``pooled_animal`` and ``pooled_session``, with a scale each: sessions differ within animals.
    of : str or AbstractTerm, optional
        A term, or the name of one in the same sum, whose weights vary over the levels; by default the intercept.
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(1), per training sd where ``of`` reads a signal.
    name : str
        Default "pooled".

    Raises
    ------
    ValueError
        Where the column is unknown or holds no labels, the term is not in the sum, or a level was not seen in training.

    Notes
    -----
    Each neuron has weights of its own; one that was not observed in a level has no weight there. To pool over neurons or
    their areas use ``prior.Hierarchical``.

    References
    ----------
    Gelman & Hill 2007, Data analysis using regression and multilevel/hierarchical models.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> one = bg.recording(rows="trial", choice=[0, 1, 1], x=[0.0, 1.0, 2.0])
    >>> both = bg.concat({"monday": one, "friday": one})
    >>> terms = bg.Baseline() + bg.Linear("x") + bg.Pooled("session", of="x")
    >>> bg.GLM(terms, bg.family.Bernoulli(), response="choice").resolve(both).coords()["session"].tolist()
    ['monday', 'friday']
    """

    over: str = eqx.field(default="session", static=True)
    of: AbstractTerm | str | None = eqx.field(default=None, kw_only=True)
    prior: AbstractPrior | None = eqx.field(default=None, kw_only=True)
    name: str = eqx.field(default="pooled", static=True, kw_only=True)
    within: tuple[str, ...] = eqx.field(default=(), static=True, kw_only=True)  # the outer columns of a nested one
    levels: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    seen: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron, level): has rows in training
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)

    def __check_init__(self) -> None:
        if isinstance(self.of, Offset):
            raise ValueError(f"Pooled(of={self.of.column!r}): an offset has no weight that could vary; use Linear({self.of.column!r}).")
        if not self.over or not all(self.over.split("/")):
            raise ValueError(f"Pooled(over={self.over!r}) wants a column of labels, 'session', or nested ones, 'animal/session'.")

    def parts(self) -> tuple[AbstractTerm, ...]:
        path = self.over.split("/")
        if len(path) == 1:
            return (self,)
        return tuple(settled(self, over=over, within=tuple(path[:i]), name=f"{self.name}_{over}") for i, over in enumerate(path))

    def refers(self) -> bool:
        return isinstance(self.of, str) or (self.of is not None and self.of.refers())

    def refer(self, known: dict[str, AbstractTerm]) -> Pooled:
        if not isinstance(self.of, str):
            return self if self.of is None else settled(self, of=self.of.refer(known))
        if self.of not in known:
            raise ValueError(f"Pooled(of={self.of!r}): the model has no such term; it has {list(known)}. Give a name, or the term itself.")
        return settled(self, of=known[self.of])

    def resolve(self, data: xr.Dataset, response: Response) -> Pooled:
        if resolved(self):
            return self
        if isinstance(self.of, str):
            raise ValueError(f"Pooled(of={self.of!r}) names a term of its sum, and is alone: give the term itself, or the sum to GLM.")
        rows = self._labels(data)
        levels = tuple(dict.fromkeys(rows))
        of = None if self.of is None else settled(self.of.resolve(data, response), prior=None)  # the weights here have a prior of their own
        sd = 1.0 if of is None else of.signal_sd()
        prior = self.prior or Gaussian(dist.HalfNormal(1.0)).relative_to(1.0 / sd)
        made = settled(self, of=of, levels=levels, prior=prior, seen=_seen(data, response, rows, levels))
        found = made.columns(data, response)
        return settled(made, shape=found.shape, centre=found.mean())

    def _labels(self, data: xr.Dataset) -> list:
        """The level of each row; nested ones as "animal/session"."""
        columns = [self._column(data, name) for name in (*self.within, self.over)]
        return columns[0].tolist() if len(columns) == 1 else ["/".join(map(str, parts)) for parts in zip(*columns, strict=True)]

    def _column(self, data: xr.Dataset, name: str) -> np.ndarray:
        column = require_column(data, name, "Pooled")
        if column.dims != (row_dim(data),) or column.dtype.kind not in "biuU":
            raise ValueError(
                f"Pooled wants {name!r} as a column ({row_dim(data)},) of labels, strings or whole numbers; got dims {column.dims} and type "
                f"{column.dtype}. What is one value a neuron (an area) pools by prior.Hierarchical."
            )
        return column.values

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        rows, place = self._labels(data), {level: i for i, level in enumerate(self.levels)}
        unknown = list(dict.fromkeys(level for level in rows if level not in place))
        if unknown:
            raise ValueError(f"Pooled over {self.over!r} never saw {unknown[:5]} in training, only {list(self.levels)[:10]}: it knows no weight there.")
        at = np.array([place[level] for level in rows], int)
        here = (at[:, None] == np.arange(len(self.levels))).astype(float)
        invalid = self._without_weight(data, response, at)
        if self.of is None:
            return Columns(here, None, invalid)
        found = self.of.columns(data, response)
        here = here.reshape(*here.shape, *(1,) * len(self.of.shape))
        own = None if found.own is None else here * found.own[:, :, None]
        return Columns(None if found.shared is None else here * found.shared[:, None], own, found.invalid | invalid)

    def _without_weight(self, data: xr.Dataset, response: Response, at: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of a neuron in a level in which it was not observed in training."""
        if self.seen.all():
            return {}
        observed = response.observed(data)
        lost = ~self.seen[:, at] & (True if observed is None else observed.T)
        return {f"{self.name}: the neuron was not observed in this {self.over} in training": lost} if lost.any() else {}

    def exists(self, response: Response) -> np.ndarray:
        if self.of is None:
            return self.seen.copy()
        inner = self.of.exists(response)
        return self.seen.reshape(*self.seen.shape, *(1,) * (inner.ndim - 1)) & inner[:, None]

    def repeats(self) -> bool:
        return True

    def signal_sd(self) -> np.ndarray | float:
        return 1.0 if self.of is None else self.of.signal_sd()

    @property
    def bases(self) -> tuple[AbstractBasis, ...]:
        return () if self.of is None else self.of.bases

    @property
    def lagged(self) -> AbstractLagged | None:
        return self.of.lagged if isinstance(self.of, AbstractTerm) else None

    @property
    def dims(self) -> tuple[str, ...]:
        return (self.over, *(() if self.of is None else self.of.dims))

    def coords(self) -> dict[str, np.ndarray]:
        return {self.over: np.asarray(self.levels)} | ({} if self.of is None else self.of.coords())

    def needs(self) -> tuple[str, ...]:
        return (*self.within, self.over, *(() if self.of is None else self.of.needs()))


def _seen(data: xr.Dataset, response: Response, rows: list, levels: tuple) -> np.ndarray:
    """(neuron, level) bool: some row of the level has the neuron observed."""
    observed = response.observed(data)
    if observed is None:
        return np.ones((response.size, len(levels)), bool)
    at = np.array([levels.index(level) for level in rows])
    return np.stack([observed[at == i].any(0) for i in range(len(levels))], 1)
