"""filters(): kernels times weights. interval(): the band of any draws."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesglm._convergence import existing
from bayesglm._glm import GLM
from bayesglm._training import on_time_rows
from bayesglm.terms import Coupling, Event, History, Product, Stimulus

if TYPE_CHECKING:
    from bayesglm._fit import Fit
    from bayesglm._model import AbstractModel

NO_POSTERIOR = "a MAP fit has no posterior; method='laplace' takes seconds"
LOG_LINKS = ("exp", "cloglog", "log")  # eta is the log of an expected number: effects multiply it
_UNITS = dict.fromkeys(LOG_LINKS, "log-gain") | {"logit": "log-odds", "probit": "probits", "softplus": "eta (softplus)"}
_SAMPLE = ("chain", "draw")


def filters(fit: Fit, term: str) -> xr.DataArray:
    """Draws of a term's filters: k(l) = sum_b kernels(l, b) w_b.

    Parameters
    ----------
    fit : Fit
    term : str
        Name of a term with lags: a stimulus, ``history``, ``coupling``.

    Returns
    -------
    xarray.DataArray, (chain, draw, neuron[, source][, feature dims][, y, x], lag)
        ``lag`` in seconds, positive back in time (in trials on trial rows). A movie's filter is given at its pixels.
        ``attrs["units"]`` says of what; a coupling that does not exist (own cell, ``mask=``) is NaN. For a MAP fit ``attrs["posterior"]`` is "point".

    Raises
    ------
    ValueError
        Where the model has no such term, or the term has no lags.

    Notes
    -----
    Filters are computed and never stored: kernels and weights are what a fit keeps.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> spikes = np.random.default_rng(0).poisson(0.2, (300, 1))
    >>> model = bg.GLM(bg.Baseline() + bg.History(bg.basis.RaisedCosine(3, span=0.05), bg.prior.Gaussian(1.0)))
    >>> fit = bg.fit(model, bg.recording(dt=0.01, spikes=spikes), "map", progress=False)
    >>> bg.filters(fit, "history").dims
    ('chain', 'draw', 'neuron', 'lag')
    """
    kernels = kernels_of(fit, term)
    drawn = xr.dot(existing(fit.model, term, fit.posterior[term]), kernels, dim=str(kernels.dims[-1]))
    drawn = _at_pixels(fit, term, drawn).transpose(..., "lag")
    drawn["lag"].attrs |= {"units": "s" if on_time_rows(fit) else "trials", "long_name": "lag, back in time"}
    attrs = {"units": filter_unit(fit.model, term), "long_name": f"{term} filter", "along": "lag"}
    return drawn.rename(term).assign_attrs(attrs, posterior=fit.posterior.attrs.get("posterior", "draws"))


def _at_pixels(fit: Fit, term: str, drawn: xr.DataArray) -> xr.DataArray:
    """Weights of functions of space as values at the pixels of a movie; anything else as it is."""
    functions = fit.idata["constant_data"].to_dataset().get(f"{term}_space_functions")
    return drawn if functions is None else xr.dot(drawn, functions, dim=str(functions.dims[-1]))


def kernels_of(fit: Fit, term: str) -> xr.DataArray:
    """A term's kernels (lag, <term>_basis), or a ValueError that lists the terms with lags."""
    constants = fit.idata["constant_data"].to_dataset()
    known = [str(name).removesuffix("_kernels") for name in constants.data_vars if str(name).endswith("_kernels")]
    if term not in known:
        has = f"terms with lags: {known}" if known else "the model has no term with lags"
        why = f"Term {term!r} has no lags, so no filter" if term in fit.posterior else f"The fit has no term {term!r}"
        raise ValueError(f"{why}; {has}. bg.tuning(fit, term) reads a term without lags.")
    return constants[f"{term}_kernels"].rename({f"{term}_lag": "lag"})


def eta_unit(model: AbstractModel) -> str:
    """What one unit of the linear predictor means."""
    if not isinstance(model, GLM):
        return "eta"
    return _UNITS.get(getattr(model.family, "link", ""), f"units of {model.response}")


def filter_unit(model: AbstractModel, term: str) -> str:
    """The unit of a filter's values."""
    unit = eta_unit(model)
    if not isinstance(model, GLM):
        return unit
    part = model.terms[term]
    per = _per(model, part.lagged)
    others = [other.name for other in (part.left, part.right) if other.lagged is None] if isinstance(part, Product) else []
    return " times ".join([f"{unit} {per}" if per else unit, *others])


def _per(model: GLM, part: Any) -> str:
    """What the filter's signal counts."""
    if isinstance(part, Coupling):
        return "per source spike"
    if isinstance(part, History):
        spiking = model.target is not None and model.target.spiking
        own = f"per earlier {model.response}, coded -1 or +1" if part.coded else "per own spike"
        return own if spiking else f"per unit of {model.response}"
    if isinstance(part, Event):
        return f"while {part.event} is on" if part.lasting else f"per {part.event}" if part.value is None else f"per unit of {part.event} {part.value}"
    return f"per unit of {part.column}" if isinstance(part, Stimulus) else ""


def interval(draws: xr.DataArray | xr.Dataset, prob: float = 0.9, simultaneous: bool = False) -> Any:
    """Credible interval of draws at every entry: equal-tailed quantiles over chain and draw.

    Parameters
    ----------
    draws : xarray.DataArray or xarray.Dataset
        With dims ``chain`` and ``draw`` (or one of them), such as ``filters`` and ``tuning`` give.
    prob : float
        Probability that the interval holds, in (0, 1).
    simultaneous : bool
        A band that holds the *whole* curve with probability ``prob``: median +- q sd, where q is the ``prob`` quantile
        over draws of max_l abs(k(l) - median(l)) / sd(l). The maximum runs over ``lag``, over the columns of a tuning
        curve, else over the last dim.

    Returns
    -------
    DataArray or Dataset, (bound, ...) with ``bound`` = lower, median, upper
        All NaN for a point (a MAP fit), with the reason in ``attrs["why"]``.

    Raises
    ------
    ValueError
        Where ``prob`` is not in (0, 1) or the draws have neither ``chain`` nor ``draw``.

    References
    ----------
    Montiel Olea & Plagborg-Moller 2019, Simultaneous confidence bands.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> draws = xr.DataArray(np.linspace(0, 1, 101)[None, :], dims=("chain", "draw"))
    >>> [round(float(value), 2) for value in interval(draws, prob=0.8)]
    [0.1, 0.5, 0.9]
    """
    prob = checked_prob(prob)
    if not isinstance(draws, xr.Dataset):
        return _band(draws, prob, simultaneous)
    stamp = {key: draws.attrs[key] for key in ("posterior",) if key in draws.attrs}
    bands = {name: _band(array.assign_attrs(stamp), prob, simultaneous) for name, array in draws.data_vars.items()}
    why = {"why": NO_POSTERIOR} if any("why" in band.attrs for band in bands.values()) else {}
    return xr.Dataset(bands, attrs={**draws.attrs, "prob": prob, **why})


def checked_prob(prob: float) -> float:
    """``prob`` itself, or a ValueError."""
    if not (isinstance(prob, numbers.Real) and 0 < prob < 1):
        raise ValueError(f"prob={prob!r}: an interval holds a probability strictly between 0 and 1, such as prob=0.9.")
    return float(prob)


def _band(draws: xr.DataArray, prob: float, simultaneous: bool) -> xr.DataArray:
    sample = [dim for dim in _SAMPLE if dim in getattr(draws, "dims", ())]
    if not sample:
        got = f"dims {draws.dims}" if isinstance(draws, xr.DataArray) else type(draws).__name__
        raise ValueError(f"interval wants draws with the dims 'chain' and 'draw'; got {got}. Pass bg.filters(fit, term) or fit.posterior[name].")
    along = _along(draws, sample)
    if simultaneous and not along:
        raise ValueError(f"interval(simultaneous=True) wants a dim to run along besides {sample}, such as 'lag'; got dims {draws.dims}.")
    point = draws.attrs.get("posterior") == "point" or all(draws.sizes[dim] == 1 for dim in sample)
    if point:
        one = draws.isel(dict.fromkeys(sample, 0), drop=True)
        bounds = [xr.full_like(one, np.nan, dtype=float)] * 3
    else:
        bounds = _simultaneous(draws, prob, sample, along) if simultaneous else _pointwise(draws, prob, sample)
    band = xr.concat([bound.drop_vars("quantile", errors="ignore") for bound in bounds], "bound").assign_coords(bound=["lower", "median", "upper"])
    kind = f"simultaneous over {', '.join(along)}" if simultaneous else "pointwise"
    return band.rename(draws.name).assign_attrs({**draws.attrs, "prob": prob, "band": kind} | ({"why": NO_POSTERIOR} if point else {}))


def _along(draws: xr.DataArray, sample: list[str]) -> list[str]:
    """The dims of one curve: what the verb that made the draws said, else ``lag``, else the last."""
    inner = [str(dim) for dim in draws.dims if dim not in sample]
    said = [dim for dim in np.atleast_1d(draws.attrs.get("along", "lag")).tolist() if dim in inner]
    return said or [dim for dim in inner[-1:] if dim not in ("neuron", "source")]


def _pointwise(draws: xr.DataArray, prob: float, sample: list[str]) -> list[xr.DataArray]:
    tail = (1.0 - prob) / 2.0
    found = draws.quantile([tail, 0.5, 1.0 - tail], sample, skipna=False)  # what does not exist stays NaN
    return [found.isel(quantile=i) for i in range(3)]


def _simultaneous(draws: xr.DataArray, prob: float, sample: list[str], along: list[str]) -> list[xr.DataArray]:
    middle, sd = draws.median(sample, skipna=False), draws.std(sample, skipna=False)
    # Where every kernel is zero the draws do not vary: no distance there, rather than 0/0.
    distance = abs(draws - middle) / xr.where(sd > 0, sd, 1.0)
    reach = distance.max(along, skipna=False).quantile(prob, sample, skipna=False) * sd
    return [bound.transpose(*middle.dims) for bound in (middle - reach, middle, middle + reach)]
