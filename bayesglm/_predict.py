"""predict(): one step ahead, given the real past."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray as xr

from bayesglm._classes import class_names, probability_chunks
from bayesglm._data import is_time, row_dim
from bayesglm._double import in_double
from bayesglm._likelihood import labels_of, recording_of, response_chunks, source
from bayesglm.family import AbstractFamily, Bernoulli, Binomial
from bayesglm.method._base import whole

if TYPE_CHECKING:
    from bayesglm._fit import Fit

Kind = Literal["mean", "rate", "response"]
LARGEST = 50_000_000  # numbers returned without being asked for: 400 MB


class PredictNote(UserWarning):
    """Something about a prediction that its reader wants to know."""


@in_double
def predict(fit: Fit, data: xr.Dataset | None = None, kind: Kind = "mean", *, draws: int | None = None, key: Any = 0) -> xr.DataArray:
    """Predict responses one step ahead, given the real past: E[y(t) | past, draw], its rate, or y(t) itself.

    Parameters
    ----------
    fit : Fit
    data : xarray.Dataset, optional
        A recording; it needs what the model reads, the response only where terms read its past. None: the training
        recording.
    kind : "mean", "rate" or "response"
        Expected response a bin; spikes/s (for responses that are no spikes, the mean); or posterior predictive draws of
        the response itself. The mean of classes (Categorical, Ordinal) is the probability of each; that of an angle its
        mean direction, in the angle's unit.
    draws : int, optional
        At most this many draws, an equal number from each chain (at least one), evenly thinned. None: all of them, as
        long as the result has fewer than 5e7 numbers.
    key : int or JAX key
        Of ``kind="response"``.

    Returns
    -------
    xarray.DataArray, (chain, draw, time or trial[, neuron][, class]) float64
        NaN in rows that cannot be scored. ``attrs["units"]``; ``attrs["posterior"]`` is "point" for a MAP fit, which
        has one draw.

    Raises
    ------
    ValueError
        An unknown ``kind``; a recording that lacks what the model reads, or has another ``dt``.

    Warns
    -----
    PredictNote
        Where draws were thinned without being asked for.

    Notes
    -----
    This is no simulation: a model with history or couplings is fed the spikes that were recorded.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.array([[1], [0], [2], [1]]))
    >>> fit = bg.fit(bg.GLM(bg.Baseline(bg.prior.Flat())), data, "map", progress=False)
    >>> predict(fit, kind="rate").squeeze().values.round(3)
    array([10., 10., 10., 10.])
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r} is unknown; it is one of {', '.join(map(repr, get_args(Kind)))}.")
    where = recording_of(fit, data)
    names = None if kind == "response" else class_names(_family(fit))
    kept, note = _kept(fit, where, draws, 1 if names is None else names.size)
    made = source(fit, where, kept, common=False)
    out = np.empty((made.draws, *made.scored.shape, *(() if names is None else names.shape)))
    for part, values in response_chunks(made, kind, key) if names is None else probability_chunks(made, names.size):
        out[:, part] = values
    out[:, ~made.scored] = np.nan
    return _labelled(fit, where, out, kept, kind, note, names)


def _family(fit: Fit) -> AbstractFamily | None:
    """The model's family; None of a story without one."""
    return getattr(fit.model, "family", None)


def _kept(fit: Fit, data: xr.Dataset, draws: int | None, classes: int) -> tuple[np.ndarray, str]:
    """Positions of the draws kept of each chain, and what to say about it."""
    chains, have = fit.posterior.sizes["chain"], fit.posterior.sizes["draw"]
    if draws is not None:
        return _evenly(have, whole("predict(draws)", draws, 1) // chains), ""
    labels = fit.model.coords().get("neuron", ())
    numbers = data.sizes[row_dim(data)] * max(1, len(labels)) * chains * classes
    if numbers * have < LARGEST:
        return np.arange(have), ""
    kept = _evenly(have, LARGEST // numbers)
    note = f"{kept.size} of {have} draws a chain were kept, evenly, to return fewer than {LARGEST:.0e} numbers; draws= says how many"
    if kept.size < have:
        warnings.warn(f"predict: {note}.", PredictNote, stacklevel=4)
    return kept, note if kept.size < have else ""


def _evenly(have: int, wanted: int) -> np.ndarray:
    """About evenly spaced positions, at least one."""
    n = min(have, max(1, wanted))
    return ((2 * np.arange(n) + 1) * have) // (2 * n)


def _labelled(fit: Fit, data: xr.Dataset, out: np.ndarray, kept: np.ndarray, kind: Kind, note: str, names: np.ndarray | None) -> xr.DataArray:
    row = row_dim(data)
    posterior = fit.posterior.isel(draw=kept)
    shaped = out.reshape(posterior.sizes["chain"], kept.size, *out.shape[1:])
    coords = {name: data[name].variable for name in data.coords if data[name].dims == (row,)}
    coords |= {name: posterior[name].variable for name in ("chain", "draw")}
    dims = ["chain", "draw", row, "neuron"]
    labels = labels_of(fit, out.shape[2])
    if labels is None:
        shaped, dims = shaped[:, :, :, 0], dims[:3]
    else:
        coords |= {"neuron": labels}
    if names is not None:
        dims, coords = [*dims, "class"], coords | {"class": names}
    attrs = {"kind": kind, "units": _units(fit, data, kind), "posterior": "point" if fit.point else "draws"} | ({"note": note} if note else {})
    return xr.DataArray(shaped, coords, dims, f"{fit.model.observed_site() or 'response'}_{kind}", attrs)


def _units(fit: Fit, data: xr.Dataset, kind: Kind) -> str:
    family = _family(fit)
    if family is not None and not family.discrete:
        return "units of the response"
    if class_names(family) is not None:
        return "class" if kind == "response" else "probability"
    if kind == "rate" and not isinstance(family, Binomial):
        return "spikes/s" if is_time(data) else "events/trial"
    binary = isinstance(family, Bernoulli)
    what = ("probability" if kind == "mean" else "0 or 1") if binary else "successes" if isinstance(family, Binomial) else "counts"
    return f"{what} a {'bin' if is_time(data) else 'trial'}"
