"""Pieces of a GLM's design: where a prior is used, levels of responses, offsets, scored rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data import areas, row_dim
from bayesglm.family import AbstractFamily
from bayesglm.prior._base import Place
from bayesglm.terms import AbstractTerm, Offset, Response, Sum
from bayesglm.terms._base import settled


def placed(term: AbstractTerm, data: xr.Dataset, target: Response, family: AbstractFamily) -> AbstractTerm:
    """A resolved term whose prior knows where it is used."""
    if isinstance(term, Offset):
        return term
    known = areas(data)
    own = None if known is None or target.receivers is None else known[target.places(data)]
    rows, coords = data.sizes[row_dim(data)], term.coords()
    place = Place(term.name, term.shape, term.dims, coords, term.bases, rows, target.receivers, own, family.n_predictors)
    return settled(term, prior=term.prior.resolve(place))


def finite(values: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
    """(row, neuron) bool: the response is known there."""
    seen = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    return seen if observed is None else seen & observed


def level_and_spread(values: np.ndarray, seen: np.ndarray, family: AbstractFamily) -> tuple[np.ndarray, np.ndarray]:
    """Link of the training mean (neuron,) or (neuron, J), and the training sd, of each neuron. A silent one counts half a spike."""
    n = np.maximum(seen.sum(0), 1)
    mean = np.where(seen, values, 0).sum(0, dtype=float) / n
    spread = np.sqrt(np.where(seen, (values - mean) ** 2, 0.0).sum(0) / n)
    spread = np.where(spread > 0, spread, 1.0)
    if family.predictors is not None:
        return np.stack([family.levels(column[known]) for column, known in zip(values.T, seen.T, strict=True)]), np.ones_like(spread)
    return family.level(family.inside(mean, n)), spread


def summed_offset(terms: Sum, parts: dict[str, Any], size: int) -> np.ndarray | None:
    """Sum of the offsets (neuron, row), or None."""
    found = [parts[term.name] for term in terms if isinstance(term, Offset)]
    if not found:
        return None
    return sum(part.own if part.own is not None else np.broadcast_to(part.shared, (size, part.shared.size)) for part in found)


def scored_rows(invalid: dict[str, np.ndarray], rows: int, size: int) -> tuple[np.ndarray, np.ndarray | None, tuple]:
    """(row,) and, where neurons differ, (neuron, row); with the count of rows left out, by reason."""
    scored, own = np.ones(rows), None
    report = []
    for reason, flags in invalid.items():
        flags = flags[0] if flags.ndim == 2 and (size == 1 or (flags == flags[:1]).all()) else flags
        if flags.ndim == 1:
            scored = scored * ~flags
        else:
            own = ~flags if own is None else own & ~flags
        report.append((reason, int(flags.sum() if flags.ndim == 1 else np.ceil(flags.sum() / size))))
    return scored, None if own is None else own.astype(float), tuple((why, n) for why, n in report if n)
