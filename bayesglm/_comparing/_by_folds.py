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
from bayesglm._data import bin_width, is_time, row_dim
from bayesglm._double import in_double
from bayesglm._examine import DesignNote
from bayesglm._prior_summary import mean_squares
from bayesglm.method import MAP
from bayesglm.prior._scale import FOLDS
from bayesglm.terms import Sum
from bayesglm.terms._base import settled

if TYPE_CHECKING:
    from bayesglm._glm import GLM

_K = 5
_COARSE, _FINER, _TWICE = 4, (2, 1), 2  # steps of the search, in powers of sqrt(2)
_REACH, _FURTHEST = 16, 28  # how far from the reference it looks at first, and at all: factors of 256 and 16,384
_SWEEPS = 3  # over terms, where several are chosen
_EDGE = 0.1  # share of a fold that is left out at most at each end of a test block


class _Search(NamedTuple):
    """Mean held-out log density a row as a function of the terms' places (in powers of sqrt(2)), and the scales there."""

    score: Callable[[dict[str, int]], float]
    scales: Callable[[dict[str, int]], dict[str, float]]


@in_double
def with_scales(written: GLM, resolved: GLM, data: xr.Dataset) -> GLM:
    """A resolved model whose scales ``"folds"`` are numbers: those of largest held-out log density; the notes say how it falls.

    The training rows are cut into five runs of neighbours, so that a noise that remembers gives nothing away; all else
    that is learned is learned in each fold. Rows nearer to a test block than the slowest column remembers are left out,
    a tenth of a fold at most.

    Raises
    ------
    ValueError
        Fewer rows than folds; no scale under which every fold can be fitted.
    """
    names = tuple(term.name for term in resolved.terms if by_folds(term))
    search = _searched(written, resolved, data, names)
    best = {name: 0 for name in names}
    looked = {name: _Line(search, name, best) for name in names}
    for _ in range(_SWEEPS if len(names) > 1 else 1):
        before = dict(best)
        for line in looked.values():
            line.follow(best)
        if best == before:
            break
    scales = search.scales(best)
    notes = tuple(_note(looked[name], best, scales[name]) for name in names)
    return dataclasses.replace(resolved, terms=_replaced(resolved.terms, scales), chosen=notes)


def by_folds(term: object) -> bool:
    """Whether a term's scale is to be chosen by folds."""
    return getattr(getattr(term, "prior", None), "scale", None) is not None and getattr(term.prior, "scale", None) == FOLDS


class _Line:
    """The search along one term's scale, the others' held."""

    def __init__(self, search: _Search, name: str, best: dict[str, int]) -> None:
        self.search, self.name, self.known, self.others = search, name, {}, dict(best)

    def follow(self, best: dict[str, int]) -> None:
        """Put the best place into ``best``: a coarse grid, further out while its end is best, then finer steps."""
        if {**best, self.name: 0} != {**self.others, self.name: 0}:
            self.known, self.others = {}, dict(best)
        place = max(range(-_REACH, _REACH + 1, _COARSE), key=self.at)
        if not np.isfinite(self.at(place)):
            raise ValueError(f"scale='folds' of term {self.name!r}: no scale lets all of {_K} folds of the training rows be fitted. Give a number instead.")
        while abs(place) in (_REACH, *range(_REACH, _FURTHEST, _COARSE)) and self.at(further := place + int(np.sign(place)) * _COARSE) > self.at(place):
            place = further
        for step in _FINER:
            place = max((place, place - step, place + step), key=self.at)
        best[self.name] = place

    def at(self, place: int) -> float:
        """Held-out log density a row; minus infinity where a fold has none."""
        if place not in self.known:
            value = self.search.score({**self.others, self.name: place})
            self.known[place] = value if np.isfinite(value) else -np.inf
        return self.known[place]


def _searched(written: GLM, resolved: GLM, data: xr.Dataset, names: tuple[str, ...]) -> _Search:
    """The closed form where there is one, else refits."""
    folding = Folding(_K, default_by(data, None), _gap(resolved, data), 0, False)
    reference = {name: _reference(resolved, data, name) for name in names}
    ridge = ridge_of_folds(resolved, data, names, folding, reference[names[0]])
    if ridge is not None:
        one = names[0]
        return _Search(lambda places: ridge.score(_factor(places[one])), lambda places: {one: ridge.scale(_factor(places[one]))})
    scales = lambda places: {name: reference[name] * _factor(places[name]) for name in names}  # noqa: E731
    return _Search(lambda places: _refitted(written, scales(places), data, folding), scales)


def _factor(place: int) -> float:
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
    mask = np.asarray(block.mask)
    squares = mean_squares(block, np.asarray(design.weight()), np.asarray(design.each["cells"]["centre"][name], float))
    about = block.prior.known()
    width = np.asarray(block.prior.whitening(about, mask if model.family.n_predictors == 1 else mask[..., None]), float) ** -0.5
    width = width if width.ndim == mask.ndim else width[..., 0]
    sd = float(np.sqrt(np.median(np.where(mask, squares * width**2, 0.0).reshape(len(mask), -1).sum(1))))
    unit = float(np.median(model.spread)) if model.target is not None and model.target.own_unit else 1.0
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


def _note(line: _Line, best: dict[str, int], scale: float) -> str:
    """What was chosen, and how much worse its neighbours predict."""
    place = best[line.name]
    line.follow(dict(best))
    fall = [f"{what} of it {line.at(place + step) - line.at(place):+.2g}" for what, step in (("half", -_TWICE), ("twice", _TWICE))]
    said = f"the scale {scale:.3g} of {line.name!r} predicts {_K} left-out blocks of these rows best ({', '.join(fall)} nats a row); intervals are given it"
    if abs(place) >= _FURTHEST:
        said += "; it is at the end of the range: " + ("no shrinkage helps" if place > 0 else "the term does not help to predict")
    return said
