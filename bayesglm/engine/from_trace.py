"""The linear structure of a NumPyro story that names its linear sites, read off its traces and checked numerically."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from bayesglm.engine.predictor import DensePredictor
from bayesglm.engine.reading import Site, View, bare, chosen_link, links, point, refuse, same, shifted, view_of
from bayesglm.engine.stated import NamedNoise, NamedScale, StatedLinear
from bayesglm.engine.target import traced
from bayesglm.family import AbstractFamily, Gaussian
from bayesglm.prior import AbstractPrior, Flat, Laplace, StudentT
from bayesglm.prior import Gaussian as GaussianPrior

_EQUAL = 1e-13  # relative difference below which two neurons' columns are one


def linear_of_story(story: Any, design: Any, sites: Sequence[str], observed: str | None = None) -> StatedLinear | None:
    """The ``Linear`` of a story whose linear predictor is linear in the named sites.

    Parameters
    ----------
    story : callable
        A NumPyro model; called with ``design``. Neurons, where there are any, are its plate ``neuron``, and every latent
        site lies under it.
    design : Any
    sites : sequence of str
        The sites in which eta is linear. Their priors are Normal, Laplace, StudentT or flat, around a location that may be
        an affine function of other stated sites, with scales that are known or proportional to one positive scalar site.
        Every other site is such a scale, or the standard deviation of a Normal response.
    observed : str, optional
        Name of the observed site; default: the only one.

    Returns
    -------
    StatedLinear or None
        None where the response is absent. Its energy differences equal the story's.

    Raises
    ------
    ValueError
        Where the story is not of this form; it names the site.
    """
    view = view_of(story, design, sites, observed)
    if view is None:
        return None
    rng = np.random.default_rng(0)
    a, b = point(view, rng), point(view, rng)
    link = chosen_link(view, a, b)
    scales = _scales(view, a)
    linear = _assembled(view, link, scales, _columns(view, link, b, scales.relative))
    _check(view, linear, rng)
    return linear


class _Scales(NamedTuple):
    """Scales of the stated weights: ``relative`` times the learned parameter ``view.others[owner]``, or alone where -1."""

    relative: np.ndarray  # (neuron, P)
    owner: np.ndarray  # (neuron, P)
    noise: int  # place in ``view.others`` of the response's standard deviation; -1: it is known, or there is none
    sigma: np.ndarray | None  # (row, neuron)


def _scales(view: View, a: np.ndarray) -> _Scales:
    """Move every learned parameter in turn and see what changes."""
    still, at = view.read(0.0 * a), view.read(a)
    if not same(still.scale, at.scale) or (at.noise is not None and not same(still.noise, at.noise)):
        refuse("a scale depends on the stated sites themselves")
    scale, owner, noise = np.asarray(at.scale), np.full((view.size, view.dim), -1), -1
    relative = scale.copy()
    for place, site in enumerate(view.others):
        if site.size != 1:
            refuse(f"the site {site.name!r} holds {site.size} numbers a neuron; a learned scale is one (state it if eta is linear in it)")
        before, hyper = np.asarray(view.start[site.name]), view.moved(site.name)
        before = np.where(before > 0, before, np.nan)  # what is not positive is no scale, and is found not to be proportional
        after, now = np.asarray(hyper[site.name]), view.read(a, hyper)
        if not all(same(np.asarray(one)[view.scored], np.asarray(two)[view.scored]) for one, two in zip(now.eta, at.eta, strict=True)):
            refuse(f"the linear predictor depends on {site.name!r}, which is not among them")
        if not same(now.location, at.location):
            refuse(f"{site.name!r} is the location of a stated site's prior and is not stated itself")
        changed = np.abs(np.asarray(now.scale) - scale) > 1e-9 * scale
        if (changed & (owner >= 0)).any():
            refuse(f"a prior's scale depends on {site.name!r} and on another site")
        if not same(np.where(changed, now.scale, 0.0), np.where(changed, scale * (after / before), 0.0)):
            refuse(f"a prior's scale is not proportional to {site.name!r}")
        owner, relative = np.where(changed, place, owner), np.where(changed, scale / before, relative)
        if now.noise is not None and not same(now.noise, at.noise):
            if not same(now.noise, np.broadcast_to(after.T, now.noise.shape)):
                refuse(f"the response's standard deviation is not {site.name!r} itself")
            noise = place
        elif not changed.any():
            refuse(f"{site.name!r} is neither stated nor the scale of a stated site's prior nor the response's standard deviation")
    return _Scales(relative, owner, noise, None if at.noise is None else np.asarray(at.noise))


class _Columns(NamedTuple):
    """Standardised columns: what multiplies (w - location) / stretch once leaning sites are made upright."""

    columns: list[np.ndarray]  # of each weight: (row,) where all neurons share it, else (row, neuron)
    live: np.ndarray  # (neuron, P) bool: not zero in every row
    steady: np.ndarray  # (neuron, P) the value of a column that is constant over the scored rows, else zero
    leaning: tuple[int, ...]
    lean: np.ndarray  # (neuron, L, P)


def _columns(view: View, link: int, at: np.ndarray, stretch: np.ndarray) -> _Columns:
    """d eta / dw, one weight of all neurons at a time: a mixture of neurons would fail the check of energies."""
    slopes = np.stack(list(view.slopes(at, None)), 2)
    leaning = np.flatnonzero(slopes.any((0, 2)))
    if slopes[:, leaning][:, :, leaning].any():
        refuse("the location of a prior depends on a site whose own location depends on another")
    base = {p: column for p, column in enumerate(view.slopes(at, link)) if p in leaning} if leaning.size else {}
    columns, live, steady = [], [], []
    seen = view.scored.any(1)
    for p, column in enumerate(view.slopes(at, link)):
        column = column + sum((base[int(q)] * slopes[:, q, p] for q in leaning if slopes[:, q, p].any()), 0.0)
        column = np.where(np.isfinite(column) | view.scored, column, 0.0) * stretch[:, p]
        live.append((column != 0).any(0))
        low, high = column[seen].min(0, initial=np.inf), column[seen].max(0, initial=-np.inf)
        steady.append(np.where(low == high, low, 0.0))
        columns.append(_common(column, live[-1]))
    return _Columns(columns, np.stack(live, 1), np.stack(steady, 1), tuple(leaning.tolist()), slopes[:, leaning])


def _common(column: np.ndarray, live: np.ndarray) -> np.ndarray:
    """(row, neuron) -> (row,) where every neuron that reads the column reads the same."""
    one = column[:, int(live.argmax())]
    gap = np.abs(column[:, live] - one[:, None]).max(initial=0.0)
    return one.copy() if gap <= _EQUAL * np.abs(one).max(initial=0.0) else column


def _assembled(view: View, link: int, scales: _Scales, found: _Columns) -> StatedLinear:
    normal = np.concatenate([np.full(site.size, isinstance(bare(site.law)[0], dist.Normal)) for site in view.stated])
    masked = ~found.live & (scales.owner < 0) & normal  # no data and a known normal prior: what a mask means to the engine
    priors = [_prior(view, site, part, scales, masked) for site, part in zip(view.stated, view.parts(), strict=True)]
    alike = [all(found.columns[p].ndim == 1 for p in range(part.start, part.stop)) and (found.live | masked)[:, part].all() for part in view.parts()]
    order = [i for i, shared in enumerate(alike) if shared] + [i for i, shared in enumerate(alike) if not shared]
    places = np.concatenate([np.r_[view.parts()[i]] for i in order])
    back = {int(p): i for i, p in enumerate(places)}
    family, spread = _family(view, link, scales)
    level = _level(view, family)
    location = np.asarray(view.read(jnp.zeros((view.size, view.dim))).location)
    upright = location.copy()
    upright[:, found.leaning] += np.einsum("nlp,np->nl", found.lean, location)
    offset = np.asarray(view.read(upright).eta[link])
    offset = np.where(np.isfinite(offset) | view.scored, offset, 0.0)
    each = {"response": view.response, "mask": (~masked).astype(float)[:, places], "level": level, "spread": spread}
    each |= {"location": location[:, places], "stretch": scales.relative[:, places], "lean": found.lean[:, :, places]}
    each["first"] = _first(found.steady, level - np.where(view.scored, offset, 0.0).sum(0) / np.maximum(view.scored.sum(0), 1))[:, places]
    if offset.any():
        each["offset"] = offset.T
    scored = view.scored[:, 0].astype(float)
    if (view.scored != view.scored[:, :1]).any():
        each["scored"], scored = view.scored.T.astype(float), np.ones(len(view.scored))
    own = [p for i in order if not alike[i] for p in np.r_[view.parts()[i]]]
    if own:
        each["own"] = np.stack([_spread_out(found.columns[p], found.live[:, p]) for p in own], 1)
    shared = [found.columns[p] for p in places if p not in own]
    columns = np.stack(shared) if shared else np.zeros((0, len(scored)))
    names, shapes = tuple(view.stated[i].name for i in order), tuple(view.stated[i].shape for i in order)
    leaning = tuple(back[p] for p in found.leaning)
    return StatedLinear(
        DensePredictor(columns), each, scored, family, tuple(priors[i] for i in order), names, shapes, view.observed, 1.0, False, leaning=leaning
    )


def _spread_out(column: np.ndarray, live: np.ndarray) -> np.ndarray:
    """(neuron, row) of a weight's columns."""
    return column.T if column.ndim == 2 else live[:, None] * column


def _first(steady: np.ndarray, level: np.ndarray) -> np.ndarray:
    """A start (neuron, P): the first constant column brings eta to the link of the mean response."""
    first, rows, at = np.zeros(steady.shape), np.arange(len(steady)), (steady != 0).argmax(1)
    value = steady[rows, at]
    first[rows, at] = np.where(value != 0, level / np.where(value != 0, value, 1.0), 0.0)
    return first


def _prior(view: View, site: Site, part: slice, scales: _Scales, masked: np.ndarray) -> AbstractPrior:
    """The library prior of a stated site's standardised weights."""
    law, owners = bare(site.law)[0], scales.owner[:, part][~masked[:, part]]
    if np.unique(owners).size > 1:
        refuse(f"the weights of {site.name!r} have different scales, some of them learned")
    owner = int(owners[0]) if owners.size else -1
    if isinstance(law, dist.ImproperUniform):
        return Flat()
    scale = 1.0 if owner < 0 else _scalar_law(view, view.others[owner])
    if isinstance(law, dist.StudentT):
        df = np.unique(np.asarray(law.df))
        if df.size > 1 or df[0] <= 2:
            refuse(f"the StudentT prior of {site.name!r} wants one df above 2; it has {df[:4].tolist()}")
        made: AbstractPrior = StudentT(float(df[0]), scale)
    else:
        made = Laplace(scale) if isinstance(law, dist.Laplace) else GaussianPrior(scale)
    return made if owner < 0 or view.others[owner].name == f"{site.name}_scale" else NamedScale(made, view.others[owner].name)


def _scalar_law(view: View, site: Site) -> Distribution:
    law, moving, _ = _law_of_one(view, site)
    if moving is not None:
        refuse(f"the prior of {site.name!r} differs from neuron to neuron")
    return law


def _law_of_one(view: View, site: Site) -> tuple[Distribution, str | None, np.ndarray | None]:
    """One neuron's law of a learned parameter; which of its own parameters differs by neuron, and its values."""
    law = bare(site.law)[0]
    if law.batch_shape == ():
        return law, None, None
    try:
        given = {arg: np.broadcast_to(np.ravel(getattr(law, arg)), view.size).astype(float) for arg in law.arg_constraints}
        one = type(law)(**{arg: float(values[0]) for arg, values in given.items()})
    except (TypeError, ValueError, AttributeError):
        refuse(f"the prior of {site.name!r} ({type(law).__name__}) cannot be taken apart by neuron")
    moving = [arg for arg, values in given.items() if np.ptp(values) > 0]
    if len(moving) > 1:
        refuse(f"the prior of {site.name!r} differs from neuron to neuron in {moving}")
    return one, (moving[0] if moving else None), (given[moving[0]] if moving else None)


def _family(view: View, link: int, scales: _Scales) -> tuple[AbstractFamily, np.ndarray]:
    """The response's family, and the number that its learned parameter's prior takes of each neuron."""
    family = links(bare(traced(view.story, view.design)[view.observed]["fn"])[0])[link][0]
    n = np.maximum(view.scored.sum(0), 1)
    mean = np.where(view.scored, view.response.T, 0).sum(0, dtype=float) / n
    sd = np.sqrt(np.where(view.scored, (view.response.T - mean) ** 2, 0.0).sum(0) / n)
    spread = np.where(sd > 0, sd, 1.0)
    if family is not None:
        return family, spread
    if scales.noise < 0:
        sigma = np.unique(scales.sigma[view.scored])
        if sigma.size > 1:
            refuse("the known standard deviation of the response differs from row to row or neuron to neuron")
        return Gaussian(float(sigma[0])), spread
    site = view.others[scales.noise]
    law, moving, values = _law_of_one(view, site)
    return NamedNoise(law, site.name, moving), spread if values is None else values


def _level(view: View, family: AbstractFamily) -> np.ndarray:
    """(neuron,) link of the mean response, a silent neuron counted as half an event."""
    n = np.maximum(view.scored.sum(0), 1)
    mean = np.where(view.scored, view.response.T, 0).sum(0, dtype=float) / n
    if family.discrete:
        mean = np.clip(mean, 0.5 / n, None if family.counts else 1.0 - 0.5 / n)
    return np.asarray(family.level(mean), float)


def _check(view: View, linear: StatedLinear, rng: np.random.Generator) -> None:
    """Energy differences of the two routes, for the response, the stated sites and the learned parameters apart."""
    found = []
    for by in (0.0, 0.3):
        v = rng.normal(size=(view.size, view.dim))
        hyper = {site.name: shifted(site.law, view.start[site.name].T, by).T for site in view.others}
        found.append(np.asarray(_densities(view.light(), linear, v, hyper)))
    told, built, size = np.moveaxis(np.array(found), 1, 0)
    gap = np.abs(np.diff(told, axis=0) - np.diff(built, axis=0))[0]
    for name, off in zip(("the response", "the stated sites", "the learned parameters"), gap, strict=True):
        if not off <= 1e-9 * (1.0 + size.sum()):
            refuse(f"read off its traces, the density of {name} differs from the story's by {off:.3g} nats")


@eqx.filter_jit
def _densities(view: View, linear: StatedLinear, v: Any, hyper: dict[str, Any]) -> Any:
    """Log densities (3, 3) by the story and by ``linear``, and sums of the story's |terms|; a column each of response, stated and learned.

    ``v`` are directions of the standardised weights, followed as far as eta moves by one.
    """
    each = jax.tree.map(jnp.asarray, linear.each)
    moves = jax.vmap(lambda each, v: linear.eta(each, v) - linear.eta(each, 0.0 * v))(each, v)
    v = v / (1.0 + jnp.max(jnp.where(jax.vmap(linear.weight)(each) > 0, jnp.abs(moves), 0.0)))
    sites = jax.vmap(linear.unpack)(each, v)
    trace = traced(view.story, view.design, view.values(jnp.concatenate([sites[site.name].reshape(len(v), -1) for site in view.stated], 1), hyper))
    groups = [(view.observed,), [site.name for site in view.stated], [site.name for site in view.others]]
    terms = [[trace[name]["fn"].log_prob(trace[name]["value"]) for name in group] for group in groups]
    told = [sum((jnp.sum(term) for term in group), jnp.zeros(())) for group in terms]
    size = [sum((jnp.sum(jnp.abs(jnp.where(jnp.isfinite(term), term, 0.0))) for term in group), jnp.zeros(())) for group in terms]
    learned = {name: value[:, 0] for name, value in hyper.items()}
    likelihood = jax.vmap(linear.log_likelihood)(each, v, learned)
    prior = jax.vmap(linear.log_prior)(each, v, learned)
    laws = jax.vmap(lambda each, hyper: sum((law.log_prob(hyper[site]) for site, law in linear.hyper(each).items()), jnp.zeros(())))(each, learned)
    return jnp.array([told, [jnp.sum(likelihood), jnp.sum(prior), jnp.sum(laws)], size])
