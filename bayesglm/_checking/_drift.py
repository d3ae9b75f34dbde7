"""drift(): the same model fitted to each part of a recording. Do the parts agree as well as their posteriors say they should?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
import xarray as xr

from bayesglm._checking._drifted import Drift
from bayesglm._checking._refit import quick_method, refitted
from bayesglm._convergence import existing, net_effects
from bayesglm._data import bin_width, epoch_ids, is_time, row_dim
from bayesglm._data._split import By, _units
from bayesglm._double import in_double
from bayesglm._likelihood import can_cut
from bayesglm._model import Design
from bayesglm._quantities import NET, WEIGHT
from bayesglm._training import training_data
from bayesglm.method import AbstractMethod
from bayesglm.method._base import whole

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_DRAWS = 400
_BLOCKS = 4
_LEVEL = "level"


class Part(NamedTuple):
    """Rows of one block, and which of them read no row of another."""

    rows: np.ndarray  # (row,) int
    kept: np.ndarray  # (row,) bool
    label: Any


@in_double
def drift(
    fit: Fit,
    by: By = "block",
    blocks: int | None = None,
    terms: str | Sequence[str] | None = None,
    *,
    method: str | AbstractMethod | None = None,
    key: Any = 0,
    progress: bool = True,
) -> Drift:
    """Fit the model to each block of its recording: r = sqrt(sum_b (m_b - m)^2 / s_b^2 / (B - 1)) of every effect.

    m_b and s_b are the posterior mean and sd of an effect in block b and m their precision-weighted mean. Of two blocks r is
    the difference over its posterior sd. Beyond 2 the fit's band holds within a session only.

    Parameters
    ----------
    fit : Fit
        Of a model that can leave rows out (a ``GLM``), with its recording.
    by : "block", "epoch", "trial" or "session"
        What is never cut: blocks are runs of rows, of epochs, of trials or of sessions.
    blocks : int, optional
        How many; by default 4 (every session, with ``by="session"``).
    terms : str or sequence of str, optional
        Terms whose effects are compared; by default all.
    method : str or AbstractMethod, optional
        Of the refits; by default ``method.Laplace(num_samples=400)``, whatever the fit's own.
    key : int or JAX key
    progress : bool

    Returns
    -------
    Drift
        ``.table``, ``.filters(term)`` with the dim ``block``, ``.verdict``; ``bg.plot.drift`` overlays the filters.

    Raises
    ------
    ValueError
        Fewer than two blocks, an unknown term, a fit without its recording, a model that has no Laplace approximation
        where no ``method`` is given.

    Notes
    -----
    Rows whose filters read another block are left out. Knots, bounds, units and centres are the fit's, so that a weight
    means the same in every block; scales that are learned are learned anew in each, so that shrinkage in one block does
    not know of the others. A neuron without rows in a block is NaN there. Shrinkage draws blocks together, so that r is
    on average somewhat below 1 where nothing drifts. Effects are net effects of filters, the baseline (eta at the average
    of all columns), plain weights, and levels of tuning curves (each weight minus their mean).

    References
    ----------
    Birge 1932 (r, the ratio of external to internal consistency).

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=800)
    >>> slope = np.where(np.arange(800) < 400, 0.2, 1.2)
    >>> data = bg.recording(dt=0.1, spikes=rng.poisson(np.exp(slope * x - 1))[:, None], x=x)
    >>> fit = bg.fit(bg.GLM(bg.Baseline() + bg.Linear("x")), data, "laplace", progress=False)
    >>> found = bg.drift(fit, blocks=2, progress=False)
    >>> found.beyond["term"].values.tolist()
    ['x']
    """
    data = training_data(fit)
    wanted = _chosen_terms(fit, terms)
    design = fit.model.design(data).bare()
    if not can_cut(design):
        raise ValueError(f"drift wants a model whose rows can be left out, such as bg.GLM; {type(fit.model).__name__} cannot.")
    parts = planned(fit, data, by, blocks)
    chosen = quick_method(fit, method, _DRAWS, "drift")
    fits = refitted(fit, [(fit.model, _of_part(fit, design, part, max(len(p.rows) for p in parts))) for part in parts], chosen, key, progress, "drift")
    scored = _scored(fit, design, parts)
    fits = [_unseen(one, seen) for one, seen in zip(fits, scored, strict=True)]
    table = _table(fit, fits, wanted).assign_coords(_when(data, parts))
    lost = [str(part.label) for part, one, seen in zip(parts, fits, scored, strict=True) if not _reached(one, seen)]
    notes = (f"the fits of {by}(s) {', '.join(lost)} did not converge",) if lost else ()
    return Drift(table, tuple(fits), fit, by, chosen, notes)


def _reached(one: Fit, seen: np.ndarray) -> bool:
    """Whether the optimum was reached for every neuron that has rows."""
    reached = one.stats["reached"]
    return bool((reached[seen] if reached.size == seen.size else reached).all())


def _chosen_terms(fit: Fit, terms: str | Sequence[str] | None) -> list[str]:
    known = [str(name) for name in _effects(fit)]
    listed = known if terms is None else [terms] if isinstance(terms, str) else list(terms)
    unknown = [name for name in listed if name not in known]
    if unknown:
        raise ValueError(f"drift(terms={listed}): the fit has no effects of {unknown}; it has {known}.")
    return listed


def planned(fit: Fit, data: xr.Dataset, by: str, blocks: int | None) -> list[Part]:
    """Runs of rows (epochs, trials, sessions) of nearly equal number; rows whose filters read another run are not kept."""
    if by not in get_args(By):
        raise ValueError(f"drift(by={by!r}): blocks are made of one of {', '.join(map(repr, get_args(By)))}.")
    units = _units(data, by)  # type: ignore[arg-type]
    many = int(units.max()) + 1
    count = (many if by == "session" else min(_BLOCKS, many)) if blocks is None else whole("drift(blocks)", blocks, 2)
    if not 2 <= count <= many:
        raise ValueError(f"drift(by={by!r}, blocks={blocks}): the recording has {many} {'rows' if by == 'block' else by + 's'}; two blocks or more are wanted.")
    run = np.empty(many, int)
    for i, members in enumerate(np.array_split(np.arange(many), count)):
        run[members] = i
    return [_part(fit, data, run[units] == i, i, by, count == many) for i in range(count)]


def _part(fit: Fit, data: xr.Dataset, inside: np.ndarray, place: int, by: str, single: bool) -> Part:
    epochs, reading = epoch_ids(data), np.zeros(len(inside), bool)
    for term in getattr(fit.model, "terms", ()):
        if term.lagged is not None:
            reading |= term.lagged.reading(~inside, epochs)
    rows = np.flatnonzero(inside)
    label = data[by].values[rows[0]].item() if single and by in data.variables else place
    return Part(rows, ~reading[rows], label)


def _of_part(fit: Fit, design: Design, part: Part, length: int) -> Design:
    """The design on a block's rows, filled up to a length that all blocks share, so that one program serves all."""
    short = length - len(part.rows)
    cut = design.at(np.r_[part.rows, np.full(short, part.rows[-1])])
    common = 1.0 if fit.scored is None else np.asarray(fit.scored)[part.rows]
    return replace(cut, scored=cut.scored * np.r_[part.kept * common, np.zeros(short)])


def _scored(fit: Fit, design: Design, parts: list[Part]) -> list[np.ndarray]:
    """(neuron,) bool of each block: the neuron has rows there."""
    found = []
    for part in parts:
        one = _of_part(fit, design, part, len(part.rows))
        found.append(np.broadcast_to(np.asarray(one.weight()) > 0, (len(part.rows), design.size)).any(0))
    return found


def _unseen(one: Fit, seen: np.ndarray) -> Fit:
    """NaN for neurons without a row: what is there is their prior."""
    posterior = one.posterior
    if seen.all() or "neuron" not in posterior.dims:
        return one
    flags = xr.DataArray(seen, dims="neuron")
    masked = posterior.map(lambda array: array.where(flags) if "neuron" in array.dims else array, keep_attrs=True)
    idata = one.idata.copy()
    idata["posterior"] = xr.DataTree(masked)
    return replace(one, idata=idata)


def _effects(fit: Fit) -> dict[str, tuple[str, xr.DataArray]]:
    """Of every term, what is compared: the net effect of its filters, its weights, or levels of its tuning curve."""
    posterior, model = fit.posterior, fit.model
    filtered = net_effects(model, posterior)
    terms = [term.name for term in getattr(model, "terms", ())] or [str(name) for name in posterior.data_vars if not str(name).endswith("_scale")]
    found = {}
    for name in terms:
        if name not in posterior:
            continue
        if name in filtered:
            found[name] = (NET, existing(model, name, filtered[name]))
            continue
        if name == "baseline":
            found[name] = (_LEVEL, _at_average(fit))
            continue
        draws = existing(model, name, posterior[name])
        on = [dim for dim in draws.dims if str(dim).endswith("_basis")]
        found[name] = (_LEVEL, draws - draws.mean(on)) if on else (WEIGHT, draws)
    return found


def _at_average(fit: Fit) -> xr.DataArray:
    """Draws of eta at the training mean of all columns: a constant alone would move with every other weight."""
    total, posterior = fit.posterior["baseline"], fit.posterior
    for term in getattr(fit.model, "terms", ()):
        if term.name == "baseline" or term.name not in posterior or term.centre is None:
            continue
        mask = term.exists(fit.model.target)
        centre = xr.DataArray(np.where(mask, term.centre, 0.0), dims=("neuron", *term.dims))
        centre = centre if "neuron" in posterior[term.name].dims else centre.isel(neuron=0)
        total = total + xr.dot(posterior[term.name], centre, dim=list(term.dims))
    return total


def _table(fit: Fit, fits: list[Fit], terms: list[str]) -> xr.Dataset:
    """Every effect's mean and sd in every block, and how far apart the blocks are."""
    pieces = []
    whole_fit, each = _effects(fit), [_effects(one) for one in fits]
    for term in terms:
        kind, draws = whole_fit[term]
        blocks = xr.concat([found[term][1].mean(("chain", "draw"), skipna=False) for found in each], "block")
        sds = xr.concat([found[term][1].std(("chain", "draw"), ddof=1, skipna=False) for found in each], "block")
        pieces.append(_flat(term, kind, draws.mean(("chain", "draw"), skipna=False), blocks, sds))
    table = xr.concat(pieces, "effect")
    ratio, p_value = _apart(table["mean"].values, table["sd"].values)
    largest = np.ptp(np.where(np.isfinite(table["mean"]), table["mean"], np.nan), axis=1)
    return table.assign(ratio=("effect", ratio), p_value=("effect", p_value), largest=("effect", largest))


def _flat(term: str, kind: str, mean: xr.DataArray, blocks: xr.DataArray, sds: xr.DataArray) -> xr.Dataset:
    """Entries of one term as rows, those that do not exist left out."""
    inner = list(mean.dims)
    blocks, sds = (array.transpose("block", *inner).values.reshape(array.sizes["block"], -1) for array in (blocks, sds))
    kept = np.flatnonzero(np.isfinite(mean.values.reshape(-1)))
    labels = [_labels(mean, inner, place) for place in kept]
    columns = {key: ("effect", np.array([label[key] for label in labels], str)) for key in ("neuron", "source", "entry")}
    columns |= {"term": ("effect", np.full(len(kept), term)), "quantity": ("effect", np.full(len(kept), kind))}
    values = {"mean": (("effect", "block"), blocks[:, kept].T), "sd": (("effect", "block"), sds[:, kept].T)}
    return xr.Dataset(values | {"whole": ("effect", mean.values.reshape(-1)[kept])}, columns)


def _labels(mean: xr.DataArray, inner: list, place: int) -> dict[str, str]:
    at = dict(zip(inner, np.unravel_index(place, mean.shape), strict=True)) if inner else {}
    words = {str(dim): str(mean[dim].values[where]) if dim in mean.coords else str(where) for dim, where in at.items()}
    return {"neuron": words.pop("neuron", ""), "source": words.pop("source", ""), "entry": ", ".join(f"{dim}={label}" for dim, label in words.items())}


def _apart(mean: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Birge ratio (effect,) of (effect, block) means and sds, and the chance of a larger one; blocks that are NaN do not count."""
    from scipy.stats import chi2

    known = np.isfinite(mean) & (sd > 0)
    weight = np.where(known, 1.0 / np.where(known, sd, 1.0) ** 2, 0.0)
    centre = (weight * np.where(known, mean, 0.0)).sum(1) / np.maximum(weight.sum(1), 1e-300)
    free = known.sum(1) - 1
    q = (weight * (np.where(known, mean, 0.0) - centre[:, None]) ** 2).sum(1)
    enough = free > 0
    ratio = np.where(enough, np.sqrt(q / np.maximum(free, 1)), np.nan)
    return ratio, np.where(enough, chi2.sf(q, np.maximum(free, 1)), np.nan)


def _when(data: xr.Dataset, parts: list[Part]) -> dict[str, Any]:
    """Labels of the blocks, and when each began and ended."""
    if is_time(data):
        time, dt = data[row_dim(data)].values, bin_width(data)
        spans = [(time[part.rows[0]] - dt / 2, time[part.rows[-1]] + dt / 2) for part in parts]
    else:
        spans = [(float(part.rows[0]), float(part.rows[-1] + 1)) for part in parts]
    units = {"units": "s" if is_time(data) else "trials"}
    start, stop = np.array(spans).T
    return {"block": [part.label for part in parts], "start": ("block", start, units), "stop": ("block", stop, units)}
