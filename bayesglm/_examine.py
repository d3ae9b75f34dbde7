"""What is known before a fit: silent neurons, constant and collinear columns, problems that a flat prior cannot solve."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from bayesglm._model import AbstractModel, Design
from bayesglm.engine.collinear import Moments, chunked, moments
from bayesglm.family import Bernoulli, Categorical, Ordinal
from bayesglm.method._base import named

_RANK = 1e-10  # relative eigenvalue of the correlation matrix below which columns are collinear
_NO_POSTERIOR = (
    "The columns of {involved} are collinear or constant, and {stuck} have prior.Flat(): there is no posterior. Give a proper prior or drop a column."
)
_LARGEST = 2000  # columns beyond which the rank is not looked at


class DesignNote(UserWarning):
    """Something about data and model that a careful reader wants to know; the result is still right."""


def examine(model: AbstractModel, design: Design) -> tuple[str, ...]:
    """Notes on a GLM's design, each also a warning; raises where a flat prior meets a problem without a posterior.

    Raises
    ------
    ValueError
        No scored row; a silent neuron, or collinear columns, under ``prior.Flat()``.
    """
    if not (isinstance(design.each, dict) and "response" in design.each):
        return ()
    scored = np.broadcast_to(np.asarray(design.weight()) > 0, (design.rows, design.size))
    if not scored.any(0).all():
        raise ValueError(f"No row can be scored: {dict(design.report) or 'the recording is empty'}. Use shorter filters, longer epochs or edge='zero'.")
    if not hasattr(model, "blocks"):
        return ()
    blocks = model.blocks(design)
    labels = model.coords().get("neuron", np.arange(design.size))
    flat = [block.name for block in blocks if not block.prior.proper]
    pooled = {term.name for term in getattr(model, "terms", ()) if term.repeats() and term.name not in flat}
    notes = [
        _silence(model, design, scored, labels, flat),
        _separable(model, blocks, scored),
        *_collinearity(tuple(b for b in blocks if b.name not in pooled), design, flat, _on_values(model)),
    ]
    kept = tuple(note for note in notes if note)
    for note in kept:
        warnings.warn(note, DesignNote, stacklevel=5)
    return kept


def _silence(model: AbstractModel, design: Design, scored: np.ndarray, labels: Any, flat: list[str]) -> str:
    """A neuron whose response never varies."""
    if not model.family.discrete:
        return ""
    y = np.asarray(design.each["response"]).T
    constant = np.array([np.ptp(y[scored[:, n], n].astype(float)) == 0 for n in range(design.size)])
    if not constant.any():
        return ""
    who = f"{model.response!r} never varies in the scored rows" + (f" for neuron(s) {named(labels, constant)}" if model.has_neurons else "")
    if flat:
        raise ValueError(f"{who}: under prior.Flat() (terms {flat}) there is no posterior. Give a proper prior, or leave these neurons out (GLM(neurons=)).")
    return f"{who}: what is estimated for them comes from the priors"


def _separable(model: AbstractModel, blocks: tuple, scored: np.ndarray) -> str:
    """Classes with as many columns as rows: some plane separates any labels."""
    if not isinstance(model.family, (Bernoulli, Categorical, Ordinal)) or model.has_neurons:
        return ""
    columns, rows = sum(int(np.prod(b.mask.shape[1:])) for b in blocks), int(scored.sum())
    if columns < rows:
        return ""
    learned = any(b.prior.hyper(b.name) for b in blocks)
    scale = "; a learned scale is then hardly known, and the Gaussian approximation of 'map' and 'laplace' may put it too low: compare with 'nuts'"
    return (
        f"{columns} columns for {rows} scored rows can separate any labels of {model.response!r}: the likelihood has no optimum, and the prior sets the size "
        f"of the weights; judge the model by held-out rows, and see how it depends on the prior{scale if learned else ''}"
    )


def _on_values(model: AbstractModel) -> set[str]:
    """Names of the terms whose columns are functions of a value: splines and levels sum to one, because they are made so."""
    return {term.name for term in getattr(model, "terms", ()) if term.bases and term.lagged is None}


def _collinearity(blocks: tuple, design: Design, flat: list[str], on_values: set[str]) -> list[str]:
    """Constant columns, and columns that the others explain; of each neuron's own columns only where a flat prior needs to know.

    That the functions of a value sum to one, as the baseline does, is no news about the data: only what is collinear besides is noted.
    """
    scored = np.asarray(design.scored) > 0
    has_baseline = any(b.name == "baseline" for b in blocks)
    if any(name != "baseline" for name in flat) and any(b.own is not None for b in blocks):
        _refuse_own(blocks, design, flat)
    seen = [b for b in blocks if b.shared is not None and b.name != "baseline"]
    more = sorted(b.name for b in seen if b.name in flat and int(np.prod(b.mask.shape[1:])) > scored.sum())
    if more:
        raise ValueError(_NO_POSTERIOR.format(involved=more, stuck=more))
    if not seen or sum(int(np.prod(b.mask.shape[1:])) for b in seen) > _LARGEST:
        return []
    found = _moments([np.asarray(b.shared).reshape(design.rows, -1) for b in seen], [b.name for b in seen], scored, has_baseline)
    constant, notes = _constant(found) if has_baseline else np.zeros(len(found.owners), bool), []
    for name in dict.fromkeys(found.owners[constant].tolist()):
        many = int((constant & (found.owners == name)).sum())
        notes.append(f"{many} column(s) of term {name!r} are constant in the scored rows: their weights come from the prior, not from the data")
    free = ~constant
    for name in on_values:
        free[_spare(found, np.flatnonzero(free & (found.owners == name)), has_baseline)] = False
    wide = {b.name for b in seen if int(np.prod(b.mask.shape[1:])) >= scored.sum()}  # as decoders are: no news
    collinear = [name for name in _null_terms(found, free) if name not in wide and any(b.name == name and b.mask.all() for b in blocks)]
    if collinear:
        notes.append(
            f"columns of {collinear} are collinear{' with one another or the baseline' if has_baseline else ''}: only their sum is informed by the data"
        )
    _refuse(found, constant, flat)
    return notes


def _refuse(found: Moments, constant: np.ndarray, flat: list[str]) -> None:
    """Raise where columns under flat priors are constant, or collinear among themselves: a proper prior on one of them would tell them apart."""
    under = np.isin(found.owners, flat)
    stuck = sorted({*_null_terms(found, under & ~constant), *found.owners[under & constant].tolist()})
    if stuck:
        raise ValueError(_NO_POSTERIOR.format(involved=stuck, stuck=stuck))


def _moments(parts: list[np.ndarray], names: list[str], scored: np.ndarray, centred: bool) -> Moments:
    """Of the scored rows of columns (row, column) side by side, some thousand rows at a time."""
    owners = np.repeat(names, [part.shape[1] for part in parts])
    chunks = (np.concatenate([part[at] for part in parts], 1).astype(float) for at in chunked(np.flatnonzero(scored)))
    return moments(chunks, owners, centred)


def _constant(found: Moments) -> np.ndarray:
    """(column,) bool."""
    return np.sqrt(np.clip(np.diag(found.covariance), 0.0, None)) <= 1e-12 * (1.0 + np.abs(found.mean))


def _spare(found: Moments, places: np.ndarray, centred: bool) -> np.ndarray:
    """One of the columns ``places`` where a combination of them is constant, as splines and levels are made; else none."""
    if not places.size:
        return places
    block, outer = found.covariance[np.ix_(places, places)], np.outer(found.mean[places], found.mean[places])
    around, raw = (_null_of(block), _null_of(block + outer)) if centred else (_null_of(block - outer), _null_of(block))
    return places[[np.abs(around[:, 0]).argmax()]] if around.shape[1] > raw.shape[1] else places[:0]


def _refuse_own(blocks: tuple, design: Design, flat: list[str]) -> None:
    """Raise where columns of one neuron alone (a history, its own covariate) are constant, or repeat others, under a flat prior."""
    kept = [b for b in blocks if b.name in flat and b.name != "baseline"]
    if sum(int(np.prod(b.mask.shape[1:])) for b in kept) > _LARGEST:
        return
    scored = np.broadcast_to(np.asarray(design.weight()) > 0, (design.rows, design.size))
    centred = any(b.name == "baseline" for b in blocks)
    for n in range(design.size):
        parts = [np.asarray(b.shared if b.own is None else b.own[n]).reshape(design.rows, -1)[:, np.asarray(b.mask[n]).ravel()] for b in kept]
        found = _moments(parts, [b.name for b in kept], scored[:, n], centred)
        _refuse(found, _constant(found) if centred else np.zeros(len(found.owners), bool), flat)


def _null_terms(found: Moments, kept: np.ndarray) -> list[str]:
    """Terms with a share in directions along which the columns ``kept`` (column,) bool, each scaled to one, vanish."""
    owners, null = found.owners[kept], _null_of(found.covariance[np.ix_(kept, kept)])
    weight = (null**2).sum(1)
    return sorted(set(owners[weight > 1e-6].tolist()))


def _null_of(moments: np.ndarray) -> np.ndarray:
    """(column, direction): along which columns with these second moments, each scaled to one, vanish; the emptiest first."""
    power = np.diag(moments)
    scale = np.where(power > 0, 1.0 / np.sqrt(np.where(power > 0, power, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(moments * scale[:, None] * scale)
    return vectors[:, values < _RANK * max(values.max(initial=0.0), 1.0)]
