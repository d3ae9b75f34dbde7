"""Scales chosen by folds: those under which left-out blocks of the training part are predicted best."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import numpy as np
import xarray as xr

from bayesglm import _fit as fits
from bayesglm._autocorrelation import covariates, slowest
from bayesglm._comparing._kfold import run
from bayesglm._comparing._kfold_record import Folding
from bayesglm._comparing._kfold_rows import default_by
from bayesglm._comparing._ridge_folds import ridge_of_folds
from bayesglm._comparing._wide_folds import WideOfFolds, wide_of_folds
from bayesglm._data import bin_width, is_time, row_dim
from bayesglm._double import in_double
from bayesglm._examine import DesignNote
from bayesglm._prior_summary import _sd_of_eta, mean_squares
from bayesglm.method import MAP
from bayesglm.prior._scale import by_folds
from bayesglm.terms import Sum
from bayesglm.terms._base import settled

if TYPE_CHECKING:
    from bayesglm._glm import GLM

_K = 5
_COARSE, _FINER, _TWICE = 4, (2, 1), 2  # steps of the search, in powers of sqrt(2)
_REACH, _FURTHEST = 12, 28  # how far from the reference it looks at first, and at all: factors of 64 and 16,384
_SWEEPS = 3  # over terms, where several are chosen
_EDGE = 0.1  # of a test block: what is left out at most at each of its ends


class _Search(NamedTuple):
    """Mean held-out log density a row as a function of the terms' places (in powers of sqrt(2)), and the scales there."""

    score: Callable[[dict[str, float]], float]
    scales: Callable[[dict[str, float]], dict[str, float]]
    known: dict[tuple[tuple[str, float], ...], float]
    noise: Callable[[dict[str, float]], float] | None = None  # the family's own sd, where it is chosen too

    def at(self, places: dict[str, float]) -> float:
        """The score of some places, kept; minus infinity where a fold has none."""
        key = tuple(places.items())
        if key not in self.known:
            value = self.score(places)
            self.known[key] = value if np.isfinite(value) else -np.inf
        return self.known[key]

    def along(self, name: str, places: dict[str, float]) -> int:
        """The best place of one term, the others held: a coarse grid, further out while its end is best, then finer steps."""
        at = lambda place: self.at({**places, name: place})  # noqa: E731
        place = max(range(-_REACH, _REACH + 1, _COARSE), key=at)
        if not np.isfinite(at(place)):
            raise ValueError(f"scale='folds' of term {name!r}: under no scale can all of {_K} folds of the training rows be fitted. Give a number instead.")
        out = int(np.sign(place)) * _COARSE
        while _REACH <= abs(place) < _FURTHEST and at(place + out) > at(place):
            place += out
        for step in _FINER:
            place = max((place, place - step, place + step), key=at)
        return place

    def between(self, name: str, places: dict[str, float]) -> float:
        """The top of the parabola through a place on the grid and its neighbours, where it is one and predicts no worse."""
        place = places[name]
        at = lambda place: self.at({**places, name: place})  # noqa: E731
        below, here, above = (at(place + step) for step in (-1, 0, 1))
        bend = below - 2.0 * here + above
        if not (np.isfinite(bend) and bend < 0 and here >= max(below, above)):
            return place
        top = place + 0.5 * (below - above) / bend
        return top if at(top) >= here else place


@in_double
def with_scales(written: GLM, resolved: GLM, data: xr.Dataset) -> GLM:
    """A resolved model whose scales ``"folds"`` are numbers: those of largest held-out log density; its notes say how it falls.

    The training rows are cut into five runs of neighbours, so that a noise that remembers gives nothing away; all else
    that is learned is learned in each fold. Rows nearer to a test block than the slowest column remembers are left out,
    a tenth of a block at most. Several terms are chosen in turn.

    Raises
    ------
    ValueError
        Fewer rows than folds; no scale under which every fold can be fitted.
    """
    names = tuple(term.name for term in resolved.terms if by_folds(term.prior))
    search = _searched(written, resolved, data, names)
    best: dict[str, float] = dict.fromkeys(names, 0.0)
    for _ in range(_SWEEPS if len(names) > 1 else 1):
        before = dict(best)
        for name in names:
            best[name] = search.along(name, best)
        if best == before:
            break
    for name in names:
        best[name] = search.between(name, best)
    scales = search.scales(best)
    notes = tuple(_note(search, name, best, scales[name]) for name in names)
    chosen = dataclasses.replace(resolved, terms=_replaced(resolved.terms, scales), chosen=notes)
    return chosen if search.noise is None else dataclasses.replace(chosen, family=dataclasses.replace(chosen.family, scale=search.noise(best)))


def _searched(written: GLM, resolved: GLM, data: xr.Dataset, names: tuple[str, ...]) -> _Search:
    """The closed form where there is one, else refits."""
    folding = Folding(_K, default_by(data, None), _gap(resolved, data), 0, False)
    reference = {name: _reference(resolved, data, name) for name in names}
    given = (resolved, data, names, folding, reference[names[0]])
    ridge = ridge_of_folds(*given) or wide_of_folds(*given)
    if ridge is not None:
        one = names[0]
        noise = (lambda places: ridge.noise(_factor(places[one]))) if isinstance(ridge, WideOfFolds) else None
        return _Search(lambda places: ridge.score(_factor(places[one])), lambda places: {one: ridge.scale(_factor(places[one]))}, {}, noise)
    scales = lambda places: {name: reference[name] * _factor(places[name]) for name in names}  # noqa: E731
    return _Search(lambda places: _refitted(written, scales(places), data, folding), scales, {})


def _factor(place: float) -> float:
    return 2.0 ** (0.5 * place)


def _gap(model: GLM, data: xr.Dataset) -> float:
    """What is left out at the ends of test blocks, in s (trials on trial rows)."""
    most = _EDGE * data.sizes[row_dim(data)] / _K * (bin_width(data) if is_time(data) else 1.0)
    response = tuple(name for name in (model.response,) if name in data)
    return min(slowest(data, (*response, *covariates(model, data)))[0], most)


def _reference(model: GLM, data: xr.Dataset, name: str) -> float:
    """The scale at which the term's prior sd of eta is one, or the sd of a response that eta is in the unit of."""
    known = dataclasses.replace(model, terms=_replaced(model.terms, {name: 1.0}))
    design = known.design(data)
    block = next(block for block in known.blocks(design) if block.name == name)
    laws = {site: law for site, (law, _) in block.prior.hyper(name).items()}
    squares = mean_squares(block, np.asarray(design.weight()), np.asarray(design.each["cells"]["centre"][name], float))
    sd = float(np.median(_sd_of_eta(block, laws, squares, model.family.n_predictors)))
    unit = float(np.median(model.spread)) if model.family.own_unit else 1.0
    return unit / sd if sd > 0 else unit


def _refitted(written: GLM, scales: dict[str, float], data: xr.Dataset, how: Folding) -> float:
    """Mean log density a row of the folds' modes (plugged in), by ``kfold``."""
    model = dataclasses.replace(written, terms=_replaced(written.terms, scales))
    with warnings.catch_warnings():
        for category in (fits.NotConverged, DesignNote):
            warnings.simplefilter("ignore", category)
        found = run(model, data, MAP(), how).elpd_i.values
    return float(np.mean(found[~np.isnan(found)]))


def _replaced(terms: Sum, scales: dict[str, float]) -> Sum:
    """The terms with these numbers as their priors' scales."""
    some = lambda term: settled(term, prior=eqx.tree_at(lambda p: p.scale, term.prior, scales[term.name]))  # noqa: E731
    return Sum(*(some(term) if term.name in scales else term for term in terms))


def _note(search: _Search, name: str, best: dict[str, float], scale: float) -> str:
    """What was chosen, and how much worse its neighbours predict."""
    fall = [f"{what} of it {search.at({**best, name: best[name] + step}) - search.at(best):+.2g}" for what, step in (("half", -_TWICE), ("twice", _TWICE))]
    also = "" if search.noise is None else f", with the noise {search.noise(best):.3g},"
    said = f"the scale {scale:.3g} of {name!r}{also} predicts {_K} left-out blocks of these rows best ({', '.join(fall)} nats a row); intervals are given it"
    if abs(best[name]) < _FURTHEST:
        return said
    return f"{said}; it is at the end of the range: {'no shrinkage helps' if best[name] > 0 else 'the term does not help to predict'}"
