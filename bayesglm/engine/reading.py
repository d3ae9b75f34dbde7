"""Reading a NumPyro story at chosen points: its linear predictor, the locations and scales of the sites it calls linear."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import ndtri
from numpyro.distributions import Distribution, biject_to

from bayesglm.engine.target import latent_sites, neuron_axis, traced
from bayesglm.family import AbstractFamily, Bernoulli, Poisson
from bayesglm.family._distributions import BernoulliLog, PoissonLogRate

_SAME = 1e-9  # relative difference below which two readings are one
_WIDEST = 4.0  # change of eta at the points where a story is read: far enough to bend, near enough not to overflow
_NUMBERS = 4_000_000  # derivatives held at once
_MOVE = 0.3  # of a learned parameter, in its unconstrained coordinate


class Site(NamedTuple):
    """A latent site: ``shape`` of one neuron's value, ``axis`` of the neurons in the whole value (None: there is no plate)."""

    name: str
    shape: tuple[int, ...]
    axis: int | None
    law: Distribution | None

    @property
    def size(self) -> int:
        """Numbers a neuron."""
        return int(np.prod(self.shape))

    def outward(self, values: Any) -> Any:
        """(neuron, size) -> the site's value."""
        values = jnp.reshape(values, (-1, *self.shape))
        return values[0] if self.axis is None else jnp.moveaxis(values, 0, self.axis)

    def inward(self, value: Any) -> Any:
        """The site's value -> (neuron, size)."""
        value = jnp.asarray(value)[None] if self.axis is None else jnp.moveaxis(jnp.asarray(value), self.axis, 0)
        return jnp.reshape(value, (value.shape[0], -1))


class Reading(NamedTuple):
    """What a story says at one point. ``eta`` has an entry for each link that the response's distribution may have."""

    eta: tuple[Any, ...]  # (row, neuron) each
    noise: Any  # (row, neuron) standard deviation of a Gaussian response, else None
    location: Any  # (neuron, P) of the stated sites' priors
    scale: Any  # (neuron, P)


class View(NamedTuple):
    """A story with its stated sites (P weights a neuron, in the order of the story) and its learned parameters."""

    story: Any
    design: Any
    observed: str
    axis: int | None
    size: int
    stated: tuple[Site, ...]
    others: tuple[Site, ...]
    start: dict[str, Any]  # (neuron, 1) feasible values of the learned parameters
    response: Any  # (neuron, row)
    scored: Any  # (row, neuron) bool

    @property
    def dim(self) -> int:
        """Number of stated weights of one neuron."""
        return sum(site.size for site in self.stated)

    def parts(self) -> list[slice]:
        """Where each stated site lies in (P,)."""
        ends = np.cumsum([site.size for site in self.stated])
        return [slice(int(end) - site.size, int(end)) for end, site in zip(ends, self.stated, strict=True)]

    def values(self, w: Any, hyper: dict[str, Any]) -> dict[str, Any]:
        """Stated weights (neuron, P) and learned parameters (neuron, 1) as the story's own values."""
        values = {site.name: site.outward(w[:, part]) for site, part in zip(self.stated, self.parts(), strict=True)}
        return values | {site.name: site.outward(hyper[site.name]) for site in self.others}

    def read(self, w: Any, hyper: dict[str, Any] | None = None) -> Reading:
        """The story at a point."""
        return _read(self.light(), jnp.asarray(w), self.start if hyper is None else hyper)

    def slopes(self, w: Any, what: int | None) -> Iterator[np.ndarray]:
        """Derivatives at ``w`` by each stated weight, of all neurons at a time: of the locations (None) or of an eta (row, neuron)."""
        light, w = self.light(), jnp.asarray(w)
        together = max(1, min(self.dim, _NUMBERS // self.scored.size))
        for start in range(0, self.dim, together):
            units = np.zeros((together, *w.shape))
            last = min(start + together, self.dim)
            units[np.arange(last - start), :, np.arange(start, last)] = 1.0
            yield from np.asarray(_push(light, w, units, what))[: last - start]

    def light(self) -> View:
        """Without what a reading does not need, so that compiled programs do not depend on it."""
        stated, others = (tuple(site._replace(law=None) for site in sites) for sites in (self.stated, self.others))
        return self._replace(stated=stated, others=others, start=self.start, response=None, scored=None)

    def moved(self, name: str) -> dict[str, Any]:
        """The learned parameters with one of them moved within its support."""
        (law,) = (site.law for site in self.others if site.name == name)
        return self.start | {name: shifted(law, self.start[name].T, _MOVE).T}


@eqx.filter_jit
def _read(view: View, w: Any, hyper: dict[str, Any]) -> Reading:
    trace = traced(view.story, view.design, view.values(w, hyper))
    law, shape = bare(trace[view.observed]["fn"])[0], jnp.shape(trace[view.observed]["value"])
    rows = lambda x: by_row(jnp.broadcast_to(x, shape), view.axis)  # noqa: E731
    eta = tuple(rows(link(law)) for _, link in links(law))
    noise = rows(law.scale) if isinstance(law, dist.Normal) else None
    pairs = [location_and_scale(trace[site.name]) for site in view.stated]
    whole = [jnp.concatenate([site.inward(pair[i]) for site, pair in zip(view.stated, pairs, strict=True)], 1) for i in range(2)]
    return Reading(eta, noise, *whole)


@eqx.filter_jit
def _push(view: View, w: Any, units: Any, what: int | None) -> Any:
    def figure(w: Any) -> Any:
        found = _read(view, w, view.start)
        return found.location if what is None else found.eta[what]

    return jax.vmap(lambda unit: jax.jvp(figure, (w,), (unit,))[1])(units)


def shifted(law: Distribution, value: Any, by: Any) -> Any:
    """A value moved within the support of its law."""
    transform = biject_to(law.support)
    return transform(transform.inv(value) + by)


def refuse(why: str) -> NoReturn:
    """The one error of this module."""
    raise ValueError(f"The stated linear structure does not hold: {why}. Leave linear= out, and the model takes the generic route.")


def bare(law: Any) -> tuple[Any, Any]:
    """A distribution without its wrappers, and its mask in the shape of its values."""
    mask: Any = True
    while isinstance(law, (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)):
        if isinstance(law, dist.MaskedDistribution):
            mask = mask & jnp.reshape(law._mask, jnp.shape(law._mask) + (1,) * law.event_dim)
        law = law.base_dist
    return law, mask


def by_row(value: Any, axis: int | None) -> Any:
    """The response's shape -> (row, neuron)."""
    if axis is None:
        return jnp.reshape(value, (-1, 1))
    moved = jnp.moveaxis(value, axis, -1)
    return jnp.reshape(moved, (-1, moved.shape[-1]))


def _log_odds(law: Any) -> tuple[Any, Any]:
    """log p(1) and log p(0)."""
    return (law.log_one, law.log_zero) if isinstance(law, BernoulliLog) else (jnp.log(law.probs), jnp.log1p(-law.probs))


def _probit(law: Any) -> Any:
    one, zero = _log_odds(law)  # the smaller of the two tails keeps its digits
    return jnp.where(one < zero, ndtri(jnp.exp(one)), -ndtri(jnp.exp(zero)))


_BINARY = (
    (Bernoulli("logit"), lambda law: _log_odds(law)[0] - _log_odds(law)[1]),
    (Bernoulli("probit"), _probit),
    (Bernoulli("cloglog"), lambda law: jnp.log(-_log_odds(law)[1])),
)
_LINKS: dict[type, tuple[tuple[AbstractFamily | None, Callable[[Any], Any]], ...]] = {
    dist.Poisson: ((Poisson("exp"), lambda law: jnp.log(law.rate)), (Poisson("softplus"), lambda law: jnp.log(jnp.expm1(law.rate)))),
    PoissonLogRate: ((Poisson("exp"), lambda law: law.log_mean), (Poisson("softplus"), lambda law: jnp.log(jnp.expm1(jnp.exp(law.log_mean))))),
    dist.BernoulliLogits: ((Bernoulli("logit"), lambda law: law.logits),),
    dist.BernoulliProbs: _BINARY,
    BernoulliLog: _BINARY,
    dist.Normal: ((None, lambda law: law.loc),),
}


def links(law: Any) -> tuple[tuple[AbstractFamily | None, Callable[[Any], Any]], ...]:
    """Families that a response's distribution may be, each with its eta; None is the Gaussian."""
    if type(law) not in _LINKS:
        refuse(f"its response is {type(law).__name__}; the fast route knows Poisson, Bernoulli and Normal")
    return _LINKS[type(law)]


def location_and_scale(site: dict[str, Any]) -> tuple[Any, Any]:
    """Location and scale of a stated site's prior, in the shape of its value."""
    law, shape = bare(site["fn"])[0], jnp.shape(site["value"])
    if isinstance(law, dist.ImproperUniform):
        return jnp.zeros(shape), jnp.ones(shape)
    return jnp.broadcast_to(law.loc, shape), jnp.broadcast_to(law.scale, shape)


def view_of(story: Any, design: Any, sites: Sequence[str], observed: str | None) -> View | None:
    """Look at a story once; None where its response is absent. Raises where its shape rules the fast route out."""
    trace = traced(story, design)
    seen = [name for name, site in trace.items() if site["type"] == "sample" and site["is_observed"]]
    if not seen or (observed is not None and observed not in seen):
        return None
    if len(seen) > 1:
        refuse(f"it observes {seen}, and the fast route knows one response")
    scaled = [name for name, site in trace.items() if site["type"] == "sample" and site["scale"] is not None]
    if scaled:
        refuse(f"the density of {scaled} is scaled (numpyro.handlers.scale, a subsampling plate)")
    latent = latent_sites(trace)
    missing = [name for name in sites if name not in latent]
    if missing:
        refuse(f"it has no latent sites {missing}; it has {list(latent)}")
    target = trace[seen[0]]
    axis = neuron_axis(target)
    found = {name: _site(name, site, axis) for name, site in latent.items()}
    stated, others = (tuple(one for name, one in found.items() if (name in sites) is wanted) for wanted in (True, False))
    for site in stated:
        _known_prior(site.name, latent[site.name])
    scored = by_row(jnp.broadcast_to(bare(target["fn"])[1], np.shape(target["value"])), axis)
    response = np.asarray(by_row(target["value"], axis)).T
    start = {site.name: site.inward(jnp.asarray(latent[site.name]["value"], float)) for site in others}
    return View(story, design, seen[0], axis, len(response), stated, others, start, response, np.asarray(scored))


def _site(name: str, site: dict[str, Any], response: int | None) -> Site:
    axis, shape = neuron_axis(site), list(np.shape(site["value"]))
    if (axis is None) is not (response is None):
        refuse(f"the site {name!r} does not lie under the plate 'neuron' of the response, so that neurons share it")
    if axis is not None:
        del shape[axis]
    return Site(name, tuple(shape), axis, site["fn"])


def _known_prior(name: str, site: dict[str, Any]) -> None:
    law, mask = bare(site["fn"])
    flat = isinstance(law, dist.ImproperUniform) and _unbounded(law.support)
    if not (flat or isinstance(law, (dist.Normal, dist.Laplace, dist.StudentT))) or not np.all(mask):
        found = f"{type(law).__name__}{'' if np.all(mask) else ', masked'}"
        refuse(f"the prior of {name!r} is {found}; the fast route knows Normal, Laplace, StudentT and a flat one")


def _unbounded(support: Any) -> bool:
    while isinstance(support, dist.constraints.independent):
        support = support.base_constraint
    return support is dist.constraints.real


def point(view: View, rng: np.random.Generator) -> np.ndarray:
    """Random stated weights (neuron, P), each site at a size at which it moves eta by a few units at most."""
    w = rng.normal(size=(view.size, view.dim))
    still = np.asarray(view.read(0.0 * w).eta[0])[view.scored]
    if not np.isfinite(still).all():
        refuse("its linear predictor is not finite where all stated sites are zero")
    for part in view.parts():
        w[:, part] *= _shrinkage(view, np.where(np.isin(np.arange(view.dim), np.r_[part]), w, 0.0), still)
    return w


def _shrinkage(view: View, w: np.ndarray, still: np.ndarray) -> float:
    for shrink in 10.0 ** -np.arange(9):
        with np.errstate(all="ignore"):
            change = np.abs(np.asarray(view.read(shrink * w).eta[0])[view.scored] - still)
        if np.isfinite(change).all() and change.max(initial=0.0) < _WIDEST:
            return float(shrink)
    refuse("its linear predictor is not finite near zero")


def same(one: Any, two: Any, size: Any = 0.0) -> bool:
    """Whether two readings agree, relative to their size."""
    with np.errstate(all="ignore"):
        one, two = np.asarray(one), np.asarray(two)
        return bool(np.all(np.abs(one - two) <= _SAME * (1.0 + np.abs(two).max(initial=0.0) + size)))


def chosen_link(view: View, a: np.ndarray, b: np.ndarray) -> int:
    """The first link in whose eta the story is linear: f(a) + f(b) = f(0) + f(a + b), and f(a) + f(-a) = 2 f(0)."""

    def linear_in(a: np.ndarray, b: np.ndarray) -> list[bool]:
        read = [[np.asarray(eta)[view.scored] for eta in view.read(w).eta] for w in (0.0 * a, a, b, a + b, -a)]
        with np.errstate(all="ignore"):
            return [same(fa + fb - f0, fab) and same(fa + minus, 2.0 * f0) for f0, fa, fb, fab, minus in zip(*read, strict=True)]

    verdicts = linear_in(a, b)
    if any(verdicts):
        return verdicts.index(True)
    alone = []
    for site, part in zip(view.stated, view.parts(), strict=True):
        only = np.zeros(view.dim)
        only[part] = 1.0
        if not any(linear_in(a * only, b * only)):
            alone.append(site.name)
    names = alone or [site.name for site in view.stated]
    refuse(f"the linear predictor is not linear in {names}" + ("" if alone else " together"))
