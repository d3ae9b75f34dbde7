"""score(): how well a fit predicts, against a null model that it names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._autocorrelation import covariates, gap_between, slowest
from bayesglm._double import double, in_double
from bayesglm._likelihood import Source, gathered, is_mass, labels_of, log_mean_chunks, response_chunks, response_of, source
from bayesglm._training import training_data
from bayesglm.family import AbstractFamily, Bernoulli, Gaussian, Poisson

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
        explained, D at the mean prediction over draws ("deviance_explained" is another name).

    Returns
    -------
    xarray.DataArray, (neuron,) or scalar
        ``attrs``: metric, units, the null model in words, in_sample, and for each neuron (a list; a number where there
        is one response) ``rows`` scored and ``mean`` log likelihood a row. A MAP fit is scored at its point.

    Raises
    ------
    ValueError
        An unknown metric (the sentence lists them); a recording without the response; bits/spike of a response that is
        not spikes.

    Warns
    -----
    ScoreNote
        Where the test part shares rows with the training part, or is nearer to it than a signal's or the spikes'
        autocorrelation time.

    Notes
    -----
    The null model is the mean of the *training* rows (for a Gaussian with their sd), a neuron; a neuron silent in
    training counts half a spike.

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
    scored = _Scored(made, np.asarray(response_of(made), float), gathered(made, log_mean_chunks(made)), null_of(fit))
    values = METRICS[metric](scored)
    return _labelled(fit, scored, values, {"metric": metric, "units": _UNITS.get(metric, "1"), "in_sample": inside})


class Null(NamedTuple):
    """The model of a constant mean: its family, eta (neuron,) and learned parameters (neuron,)."""

    family: AbstractFamily
    level: np.ndarray
    hyper: dict[str, np.ndarray]
    words: str


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
        """Sum of the family's log p(y | eta), with the null's learned parameters, (neuron,)."""
        with double():
            law = self.null.family(np.where(self.made.scored, eta, 0.0), self.null.hyper, self.made.dt)
            return self.summed(np.asarray(law.log_prob(np.where(self.made.scored, self.y, 0.0))))


def null_of(fit: Fit) -> Null:
    """The null model: the training mean of each neuron's scored rows (a Gaussian's sd beside it)."""
    if fit.data is None:
        return _stored_null(fit)
    made = source(fit, training_data(fit))
    y, n = np.asarray(response_of(made), float), np.maximum(made.scored.sum(0), 1)
    mean = np.where(made.scored, y, 0.0).sum(0) / n
    spread = np.sqrt(np.where(made.scored, (y - mean) ** 2, 0.0).sum(0) / n)
    family = family_of(fit, made)
    if family.discrete:
        mean = np.clip(mean, 0.5 / n, None if family.counts else 1.0 - 0.5 / n)
    return Null(family, family.level(mean), _constants(family, spread), "the training mean of each neuron" if fit.model.has_neurons else "the training mean")


def _stored_null(fit: Fit) -> Null:
    """Of a fit loaded without its recording: what the model knows of its training part."""
    model: Any = fit.model
    if getattr(model, "level", None) is None:
        training_data(fit)
    return Null(model.family, np.asarray(model.level), _constants(model.family, np.asarray(model.spread)), "the training mean (of all observed training rows)")


def _constants(family: AbstractFamily, spread: np.ndarray) -> dict[str, np.ndarray]:
    return {"sigma": np.where(spread > 0, spread, 1.0)} if "sigma" in family.hyper("") else {}


def family_of(fit: Fit, made: Source) -> AbstractFamily:
    """The model's family; for a story without one the plainest that shares its support."""
    family = getattr(fit.model, "family", None)
    if family is not None:
        return family
    if not is_mass(made):
        return Gaussian()
    return Bernoulli() if np.isin(response_of(made), (0, 1)).all() else Poisson()


def _log_likelihood(s: _Scored) -> np.ndarray:
    return s.summed(s.log_mean)


def _bits_per_spike(s: _Scored) -> np.ndarray:
    if not s.null.family.discrete:
        raise ValueError("metric='bits_per_spike' wants a response of spikes, this one is continuous: use 'pseudo_r2_cohen' or 'log_likelihood'.")
    spikes = s.summed(s.y)
    gain = s.summed(s.log_mean) - s.log_prob(np.broadcast_to(s.null.level, s.y.shape))
    return np.where(spikes > 0, gain / np.maximum(spikes, 1.0) * _SECOND, np.nan)


def _mcfadden(s: _Scored) -> np.ndarray:
    return 1.0 - s.summed(s.log_mean) / _nonzero(s.log_prob(np.broadcast_to(s.null.level, s.y.shape)))


def _cohen(s: _Scored) -> np.ndarray:
    """Deviances of the draw-averaged mean and of the null; a family's own parameters are the null's in both."""
    family = s.null.family
    mean = gathered(s.made, ((rows, values.mean(0)) for rows, values in response_chunks(s.made, "mean")))
    full = s.log_prob(family.level(np.where(s.made.scored, s.y, 0.0)))
    model = full - s.log_prob(family.level(np.where(s.made.scored, mean, 1.0)))
    return 1.0 - model / _nonzero(full - s.log_prob(np.broadcast_to(s.null.level, s.y.shape)))


def _nonzero(values: np.ndarray) -> np.ndarray:
    """NaN for zero: a test part of one value leaves nothing to explain."""
    return np.where(values == 0, np.nan, values)


METRICS: dict[str, Callable[[_Scored], np.ndarray]] = {
    "log_likelihood": _log_likelihood,
    "bits_per_spike": _bits_per_spike,
    "pseudo_r2_mcfadden": _mcfadden,
    "pseudo_r2_cohen": _cohen,
    "deviance_explained": _cohen,
}
_UNITS = {"log_likelihood": "nats", "bits_per_spike": "bits/spike"}


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
            f"score: the test part begins {max(gap, 0.0):.3g} s from the training part, less than the autocorrelation time of {who!r} "
            f"({seconds:.3g} s): it is not independent. Leave a gap, as in bg.split(data, 0.8, gap={seconds:.2g}).",
            ScoreNote,
            stacklevel=4,
        )
