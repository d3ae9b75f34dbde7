"""score(): how well a fit predicts, against a null model that it names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._autocorrelation import covariates, gap_between, slowest
from bayesglm._classes import class_count, class_names, mean_probabilities
from bayesglm._double import double, in_double
from bayesglm._likelihood import Source, gathered, labels_of, log_mean_chunks, response_chunks, response_of, source
from bayesglm._null import Null, known_of, null_of
from bayesglm.family import AbstractFamily, Bernoulli, Binomial, ZeroInflatedPoisson

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_SECOND = 1.0 / np.log(2.0)  # nats to bits


class ScoreNote(UserWarning):
    """Something about a score that its reader wants to know: its test part is no independent one."""


@in_double
def score(fit: Fit, data: xr.Dataset | None = None, metric: str = "log_likelihood") -> xr.DataArray:
    """Score a fit on a recording, one step ahead given the real past: L_n = sum_t log mean_d p(y_n(t) | past, draw d).

    Parameters
    ----------
    fit : Fit
    data : xarray.Dataset, optional
        A test recording. None: the training recording, and ``attrs["in_sample"]`` says so.
    metric : str
        With L the log likelihood in nats (constants such as y! included), L0 that of the null model and D a deviance:
        "log_likelihood", L; "bits_per_spike", (L - L0) / (spikes log 2), NaN for a neuron silent in ``data``;
        "pseudo_r2_mcfadden", 1 - L / L0; "pseudo_r2_cohen", 1 - D / D0, the share of the null's deviance that is
        explained, D at the mean prediction over draws ("deviance_explained" is another name); "accuracy", of classes
        (0/1, Categorical, Ordinal), the share of rows in which the likeliest class is the observed one;
        "circular_error", of angles, the mean distance along the circle to the predicted direction, in the angle's unit.

    Returns
    -------
    xarray.DataArray, (neuron,) or scalar
        ``attrs``: metric, units, the null model in words, in_sample, and for each neuron (a list; a number where there
        is one response) ``rows`` scored and ``mean`` log likelihood a row. A MAP fit is scored at its point.

    Raises
    ------
    ValueError
        An unknown metric, or one that this family has not (bits/spike of what is no spikes, a deviance where no model
        is saturated); the sentence lists those that work. A recording without the response.

    Warns
    -----
    ScoreNote
        Where the test part shares rows with the training part, or is nearer to it than a signal's or the spikes'
        autocorrelation time.

    Notes
    -----
    The null model is the mean of the *training* rows (for a Gaussian with their sd; for classes their frequencies), a
    neuron; a neuron silent in training counts half a spike. Families with parameters of their own have these, and the
    constant, at their maximum likelihood there; a deviance takes them as given.

    References
    ----------
    Paninski et al. 2004 (bits per spike); McFadden 1974; Cohen, Cohen, West and Aiken 2003.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.array([[1], [0], [2], [1]]))
    >>> fit = bg.fit(bg.GLM(bg.Baseline(bg.prior.Flat())), data, "map", progress=False)
    >>> score(fit, metric="bits_per_spike").values.round(6) + 0.0
    array([0.])
    """
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is unknown; it is one of {', '.join(map(repr, METRICS))}.")
    inside = data is None or data is fit.data
    made = source(fit, data)
    if data is not None and not inside:
        _note_nearness(fit, data)
    null = null_of(fit)
    _refuse_metric(metric, null.family)
    scored = _Scored(made, np.asarray(response_of(made), float), gathered(made, log_mean_chunks(made)), null)
    values = METRICS[metric](scored)
    return _labelled(fit, scored, values, {"metric": metric, "units": _UNITS.get(metric, "1"), "in_sample": inside})


class _Scored(NamedTuple):
    """What every metric reads."""

    made: Source
    y: np.ndarray  # (row, neuron)
    log_mean: np.ndarray  # (row, neuron) log of the draw-averaged probability; 0 where not scored
    null: Null

    def summed(self, values: np.ndarray) -> np.ndarray:
        """Sum over scored rows, (neuron,)."""
        return np.where(self.made.scored, values, 0.0).sum(0)

    def log_prob(self, eta: np.ndarray) -> np.ndarray:
        """Sum of the family's log p(y | eta), eta (row, neuron[, predictor]), with the null's learned parameters, (neuron,)."""
        scored = self.made.scored.reshape(*self.made.scored.shape, *(1,) * (eta.ndim - 2))
        with double():
            law = self.null.family(np.where(scored, eta, 0.0), self.null.hyper | known_of(self.made), self.made.dt)
            return self.summed(np.asarray(law.log_prob(np.where(self.made.scored, self.y, 0.0))))

    @property
    def null_log_prob(self) -> np.ndarray:
        """That of the null model."""
        return self.log_prob(np.broadcast_to(self.null.level, (len(self.y), *self.null.level.shape)))


def _log_likelihood(s: _Scored) -> np.ndarray:
    return s.summed(s.log_mean)


def _bits_per_spike(s: _Scored) -> np.ndarray:
    spikes = s.summed(s.y)
    gain = s.summed(s.log_mean) - s.null_log_prob
    return np.where(spikes > 0, gain / np.maximum(spikes, 1.0) * _SECOND, np.nan)


def _mcfadden(s: _Scored) -> np.ndarray:
    return 1.0 - s.summed(s.log_mean) / _nonzero(s.null_log_prob)


def _cohen(s: _Scored) -> np.ndarray:
    """Deviances of the draw-averaged mean and of the null; a family's own parameters are the null's in both."""
    mean = gathered(s.made, ((rows, values.mean(0)) for rows, values in response_chunks(s.made, "mean")))
    full = s.log_prob(_eta_of(s, np.where(s.made.scored, s.y, 0.0)))
    model = full - s.log_prob(_eta_of(s, np.where(s.made.scored, mean, 1.0)))
    return 1.0 - model / _nonzero(full - s.null_log_prob)


def _eta_of(s: _Scored, mean: np.ndarray) -> np.ndarray:
    family = s.null.family
    return family.level(mean, known_of(s.made)) if isinstance(family, Binomial) else family.level(mean)


def _accuracy(s: _Scored) -> np.ndarray:
    likeliest = mean_probabilities(s.made, class_count(s.null.family)).argmax(-1)
    return s.summed(likeliest == s.y) / _nonzero(s.made.scored.sum(0))


def _circular_error(s: _Scored) -> np.ndarray:
    turn = 2.0 * np.pi / s.null.family.circle
    chunks = ((rows, np.exp(1j * turn * values).mean(0)) for rows, values in response_chunks(s.made, "mean"))
    towards = np.empty(s.y.shape, complex)
    for rows, values in chunks:
        towards[rows] = values
    return s.summed(np.abs(np.angle(np.exp(1j * turn * s.y) / towards)) / turn) / _nonzero(s.made.scored.sum(0))


def _nonzero(values: np.ndarray) -> np.ndarray:
    """NaN for zero: a test part of one value leaves nothing to explain."""
    return np.where(values == 0, np.nan, values)


METRICS: dict[str, Callable[[_Scored], np.ndarray]] = {
    "log_likelihood": _log_likelihood,
    "bits_per_spike": _bits_per_spike,
    "pseudo_r2_mcfadden": _mcfadden,
    "pseudo_r2_cohen": _cohen,
    "deviance_explained": _cohen,
    "accuracy": _accuracy,
    "circular_error": _circular_error,
}
_UNITS = {"log_likelihood": "nats", "bits_per_spike": "bits/spike", "accuracy": "share of rows", "circular_error": "units of the response"}


def _saturated(family: AbstractFamily) -> bool:
    """Whether each response has an eta of largest probability that its mean gives."""
    return class_names(family) is None and not (isinstance(family, ZeroInflatedPoisson) or hasattr(family, "circle"))


_WANTS: dict[str, tuple[Callable[[AbstractFamily], bool], str]] = {
    "bits_per_spike": (lambda family: family.counts or isinstance(family, Bernoulli), "a response of spikes"),
    "pseudo_r2_cohen": (_saturated, "a family whose mean can be any response"),
    "deviance_explained": (_saturated, "a family whose mean can be any response"),
    "accuracy": (lambda family: class_count(family) is not None, "a response of classes"),
    "circular_error": (lambda family: hasattr(family, "circle"), "a response that is an angle"),
}


def _refuse_metric(metric: str, family: AbstractFamily) -> None:
    """Raise where the family has no such metric."""
    works = [name for name in METRICS if name not in _WANTS or _WANTS[name][0](family)]
    if metric not in works:
        raise ValueError(f"metric={metric!r} wants {_WANTS[metric][1]}, not family.{family.describe()}: use {', '.join(map(repr, works))}.")


def _labelled(fit: Fit, scored: _Scored, values: np.ndarray, attrs: dict[str, Any]) -> xr.DataArray:
    rows = scored.made.scored.sum(0)
    mean = scored.summed(scored.log_mean) / np.where(rows > 0, rows, np.nan)
    attrs |= {"null": scored.null.words, "posterior": "point" if fit.point else "draws"}
    labels = labels_of(fit, len(values))
    if labels is None:
        return xr.DataArray(float(values[0]), name=attrs["metric"], attrs=attrs | {"rows": int(rows[0]), "mean": float(mean[0])})
    return xr.DataArray(values, {"neuron": labels}, ["neuron"], attrs["metric"], attrs | {"rows": rows.tolist(), "mean": mean.tolist()})


def _note_nearness(fit: Fit, test: xr.Dataset) -> None:
    """Warn where the test part is not independent of the training part."""
    if fit.data is None:
        return
    response = fit.model.observed_site() or ""
    gap = gap_between(fit.data, test, response)
    if gap is None:
        return
    if gap < -0.5 * float(test.attrs["dt"]):
        warnings.warn("score: the test part shares rows with the training part; its score is not held out.", ScoreNote, stacklevel=4)
        return
    columns = tuple(name for name in ("spikes", response) if name in fit.data)
    seconds, who = slowest(fit.data, tuple(dict.fromkeys((*columns, *covariates(fit.model, fit.data)))))
    if gap < seconds * (1 - 1e-9) - 1e-9:
        warnings.warn(
            f"score: the test part begins {max(round(gap, 6), 0.0):.3g} s from the training part, less than the autocorrelation time of {who!r} "
            f"({seconds:.3g} s): it is not independent. Leave a gap, as in bg.split(data, 0.8, gap={seconds:.3g}).",
            ScoreNote,
            stacklevel=4,
        )
