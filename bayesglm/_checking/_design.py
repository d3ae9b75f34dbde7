"""What bg.check looks at before the fit: collinear terms, silent neurons, separation, bins with more than one spike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._checking._items import BEFORE, Item, graded, judged, unassessed
from bayesglm._glm import GLM
from bayesglm._model import Block, Design
from bayesglm.engine.collinear import Moments, chunked, conditioning, explained, moments
from bayesglm.engine.separation import separable
from bayesglm.family import Bernoulli
from bayesglm.method._base import named

if TYPE_CHECKING:
    from bayesglm._fit import Fit

SHARED, INSEPARABLE = 0.8, 0.99  # share of a term's variance that the other terms explain
CONDITION = 100.0
_NUMBERS = 20_000_000  # rows x columns of one neuron looked at
_WORK = 2e10  # rows x columns^2 over all neurons looked at
_NEURONS = 24
_COLUMNS = 2000
_COUNTS = "collinearity of terms", "condition of the columns"


class Columns(NamedTuple):
    """The columns of a fit's model on its recording, to be read one neuron at a time."""

    fit: Fit
    design: Design
    blocks: tuple[Block, ...]
    scored: np.ndarray  # (row, neuron) bool
    y: np.ndarray  # (row, neuron)
    labels: np.ndarray

    def width(self, n: int) -> int:
        """Number of one neuron's weights."""
        return sum(int(np.asarray(block.mask[n]).sum()) for block in self.blocks)

    def rows(self, n: int, most: int) -> np.ndarray:
        """Some of one neuron's scored rows, evenly spaced."""
        found = np.flatnonzero(self.scored[:, n])
        return found[np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).astype(int))] if len(found) else found

    def of(self, n: int, rows: np.ndarray, blocks: tuple[Block, ...]) -> np.ndarray:
        """(row, P) columns of one neuron's weights that exist."""
        parts = []
        for block in blocks:
            values = np.asarray(block.shared[rows] if block.own is None else block.own[n][rows], float).reshape(len(rows), -1)
            parts.append(values[:, np.asarray(block.mask[n]).reshape(-1)])
        return np.concatenate(parts, 1)


def columns_of(fit: Fit) -> Columns | str:
    """The columns of a fit, or why there are none to look at."""
    if not isinstance(fit.model, GLM):
        return f"the model ({type(fit.model).__name__}) states no terms"
    if fit.data is None:
        return "the fit was loaded without its recording: save it with bg.save(fit, path, data=True)"
    design = fit.model.design(fit.data).bare()
    scored = np.broadcast_to(np.asarray(design.weight()) > 0, (design.rows, design.size)).copy()
    if fit.scored is not None:
        scored &= (np.asarray(fit.scored) > 0)[:, None]
    labels = np.asarray(fit.model.coords().get("neuron", np.arange(design.size)))
    return Columns(fit, design, fit.model.blocks(design), scored, np.asarray(design.each["response"]).T, labels)


def before(found: Columns | str) -> tuple[list[Item], dict[str, Any]]:
    """Items on the recording and the design; ``details`` holds the shares by neuron and term and the moments that they are from."""
    if isinstance(found, str):
        names = (*_COUNTS, "silent neurons", "separation", "bins with more than one spike")
        return [unassessed(BEFORE, name, found) for name in names], {}
    seen = _moments(found)
    items = [_collinearity(found, seen), _condition(found, seen), _silence(found), _separation(found), *_several_spikes(found)]
    details = {"moments": seen, "collinearity": _shares(found, seen)} if not isinstance(seen, str) else {}
    return items, details


def _moments(found: Columns) -> dict[int, Moments] | str:
    """Second moments of the columns of some neurons, the constant left out."""
    repeated = {term.name for term in found.fit.model.terms if term.repeats()}
    blocks = tuple(block for block in found.blocks if block.name != "baseline" and block.name not in repeated)
    if not blocks:
        return "there are no columns beside the constant"
    width = max(found.width(n) for n in range(found.design.size))
    if width > _COLUMNS:
        return f"{width} columns are more than the {_COLUMNS} that are looked at: leave terms out and look at bg.check of the smaller model"
    most = max(1, _NUMBERS // width)
    rows = min(most, int(found.scored.sum(0).max()))
    neurons = int(np.clip(_WORK / (rows * width**2), 1, min(_NEURONS, found.design.size)))
    centred = len(blocks) < len(found.blocks)
    return {int(n): _of_one(found, int(n), blocks, most, centred) for n in np.unique(np.linspace(0, found.design.size - 1, neurons).astype(int))}


def _of_one(found: Columns, n: int, blocks: tuple[Block, ...], most: int, centred: bool) -> Moments:
    owners = np.repeat([block.name for block in blocks], [int(np.asarray(block.mask[n]).sum()) for block in blocks])
    return moments((found.of(n, part, blocks) for part in chunked(found.rows(n, most))), owners, centred)


def _shares(found: Columns, seen: dict[int, Moments]) -> xr.DataArray:
    """(neuron, term) share of the variance of a term's columns that the other terms explain."""
    each = [explained(one) for one in seen.values()]
    terms = list(dict.fromkeys(name for shares in each for name in shares))
    values = [[shares.get(name, np.nan) for name in terms] for shares in each]
    coords = {"neuron": found.labels[list(seen)], "term": terms}
    return xr.DataArray(np.array(values, float).reshape(len(each), len(terms)), coords, ["neuron", "term"], "collinearity")


def _collinearity(found: Columns, seen: dict[int, Moments] | str) -> Item:
    name, wanted = _COUNTS[0], f"share explained by other terms below {SHARED:g}"
    if isinstance(seen, str):
        return unassessed(BEFORE, name, seen, wanted)
    shares = _shares(found, seen)
    if shares.sizes["term"] == 0:
        return unassessed(BEFORE, name, "there is one term only", wanted)
    if not shares.notnull().any():
        why = "there are as many columns as rows, so that every column is explained by the others: the priors decide between them"
        return unassessed(BEFORE, name, why, wanted)
    at = shares.where(shares.notnull(), -np.inf).argmax(...)
    worst = shares.isel(at)
    term = str(worst["term"].item())
    about = f"{term!r}" + (f", neuron {worst['neuron'].item()}" if found.fit.model.has_neurons and shares.sizes["neuron"] > 1 else "") + _looked(found, seen)
    advice = (
        f"the data hardly tell {term!r} from the other terms: read them together, compare bg.compare(bg.fit_all({{...}}, data)) with and without it, and "
        f"do not call either one an effect of its own"
    )
    return judged(BEFORE, name, float(worst), wanted, graded(float(worst), SHARED, INSEPARABLE), advice, about)


def _condition(found: Columns, seen: dict[int, Moments] | str) -> Item:
    name, wanted = _COUNTS[1], f"at most {CONDITION:g}"
    if isinstance(seen, str):
        return unassessed(BEFORE, name, seen, wanted)
    each = [conditioning(one) for one in seen.values()]
    worst = max(each, key=lambda one: one.number)
    empty = max(one.empty for one in each)
    said = f"{worst.rank} directions; {empty} more have no variance and come from the prior alone" if empty else f"{worst.rank} directions"
    advice = "some direction of the weights is informed by its prior, not by the data: look at contraction in bg.summary(fit), or use fewer basis functions"
    return judged(BEFORE, name, worst.number, wanted, graded(worst.number, CONDITION, np.inf), advice, said)


def _looked(found: Columns, seen: dict[int, Moments]) -> str:
    return f"; {len(seen)} of {found.design.size} neurons looked at" if len(seen) < found.design.size else ""


def _silence(found: Columns) -> Item:
    """Neurons whose response never varies in the scored rows."""
    silent = np.array([np.ptp(found.y[found.scored[:, n], n].astype(float)) == 0 if found.scored[:, n].any() else True for n in range(found.design.size)])
    advice = "what is estimated for them is their prior: leave them out with bg.GLM(..., neurons=[...]), or record longer"
    about = f"{named(tuple(found.labels), silent)}" if silent.any() and found.fit.model.has_neurons else ""
    return judged(BEFORE, "silent neurons", int(silent.sum()), "none", "warning" if silent.any() else "good", advice, about)


def _separation(found: Columns) -> Item:
    """Responses that the columns separate: their likelihood has no maximum, and the prior says how large weights are."""
    name, wanted = "separation", "no neuron"
    family = found.fit.model.family
    binary = isinstance(family, Bernoulli)
    if not binary and not family.counts:
        return unassessed(BEFORE, name, f"family.{family.describe()}: looked for in binary responses and counts only", wanted)
    order = _fewest_spikes(found)
    width = max(found.width(int(n)) for n in order) if len(order) else 0
    if not len(order) or width > _COLUMNS:
        why = "no neuron fires" if not len(order) else f"{width} columns are more than the {_COLUMNS} that are looked at"
        return unassessed(BEFORE, name, why, wanted)
    verdicts = {int(n): _separable(found, int(n), not binary) for n in order}
    split = [n for n, verdict in verdicts.items() if verdict]
    unsettled = sum(verdict is None for verdict in verdicts.values())
    some = f"; the {len(order)} with the fewest spikes looked at" if len(order) < found.design.size else ""
    some += f"; {unsettled} not settled" if unsettled else ""
    if unsettled == len(verdicts):
        return unassessed(BEFORE, name, "too many rows and columns to settle it", wanted)
    flags = np.isin(np.arange(found.design.size), split)
    who = named(tuple(found.labels), flags) if split and found.fit.model.has_neurons else ""
    spiking = found.fit.model.has_neurons or not binary
    which = "never meets a spike (a refractory bin, a place never fired in)" if spiking else "tells the response of every row"
    advice = (
        f"some combination of columns {which}, so that the data alone push its weight to infinity: its size is the prior's; look at how it "
        "changes with another prior"
    )
    return judged(BEFORE, name, len(split), wanted, "warning" if split else "good", advice, (who + some).removeprefix("; "))


def _fewest_spikes(found: Columns) -> np.ndarray:
    """Neurons that fire, those with the fewest spikes first: they are most at risk."""
    fired = np.array([np.count_nonzero(found.y[found.scored[:, n], n]) for n in range(found.design.size)])
    order = np.argsort(fired, kind="stable")
    return order[fired[order] > 0][:_NEURONS]


def _separable(found: Columns, n: int, counts: bool) -> bool | None:
    """Of all rows where they can be held, else of some: what a part does not separate the whole does not either."""
    rows = np.flatnonzero(found.scored[:, n])
    fired = found.y[rows, n] > 0
    most = max(100, _NUMBERS // max(1, found.width(n)))
    if len(rows) > most:
        kept = np.union1d(_thinned(rows[fired], most // 2), _thinned(rows[~fired], most // 2))
        verdict = separable(found.of(n, kept, found.blocks), found.y[kept, n] > 0, counts)
        return None if verdict else verdict
    return separable(found.of(n, rows, found.blocks), fired, counts)


def _thinned(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[:: max(1, -(-len(rows) // most))]


def _several_spikes(found: Columns) -> list[Item]:
    """Share of bins with spikes that hold more than one, where the family sees one at most."""
    name, wanted = "bins with more than one spike", "none under Bernoulli"
    if not isinstance(found.fit.model.family, Bernoulli):
        return []
    counts = _counts(found)
    if counts is None:
        return [unassessed(BEFORE, name, "the response is 0 or 1 and the recording holds no counts that it was made from", wanted)]
    several, total = int(((counts > 1) & found.scored).sum()), max(1, int(((found.y > 0) & found.scored).sum()))
    advice = f"{several} of {total} bins with spikes held more than one: Bernoulli drops the rest; use family.Poisson() on the counts, or narrower bins"
    return [judged(BEFORE, name, several / total, wanted, graded(several / total, 0.0, 0.05), advice)]


def _counts(found: Columns) -> np.ndarray | None:
    """(row, neuron) counts of the recording: the response itself, or the spikes that another column was made from."""
    data, model = found.fit.data, found.fit.model
    if model.response == "spikes":
        return found.y
    if data is None or "spikes" not in data or data["spikes"].dims != data[model.response].dims:
        return None
    counts = model.target.values(data.assign({model.response: data["spikes"]}))
    return counts if np.array_equal(counts[found.scored] > 0, found.y[found.scored] > 0) else None
