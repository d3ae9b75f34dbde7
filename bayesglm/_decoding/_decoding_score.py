"""decoding_score() and reliability(): how good and how honest decoded probabilities are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from bayesglm._comparing._elpd import clustered_se
from bayesglm._decoding._blocks import cluster_ids, resampled, shuffled
from bayesglm._decoding._input import Given, Options, read
from bayesglm._decoding._metrics import HIGHER_IS_BETTER, LOWER_IS_BETTER, Classes, Forecast, OnGrid, Points, Truth, mass_above

_RESAMPLES = 200
_FEW = 20  # blocks under which a standard error or a chance level is rough
_SAME = 0.1  # share of permutations that leave the truth as it is beyond which they say nothing
_OWN = ("log_loss", "bits")  # of estimates with a density: known at the row's own truth alone
ORDER = (
    *("accuracy", "balanced_accuracy", "auc", "median_error", "mean_error", "rmse", "r2"),
    *("log_loss", "bits", "brier", "expected_calibration_error", "calibration_error", "coverage", "coverage_claimed"),
)


class Scored(NamedTuple):
    """Values of every metric, and what their standard errors and those of paired differences are made of."""

    value: dict[str, float]
    rows: dict[str, np.ndarray]  # (row,) numbers of which the value is the mean
    resamples: dict[str, np.ndarray]  # (resample,) values where blocks were drawn with replacement


def decoding_score(
    probabilities: Any,
    truth: Any = None,
    *,
    blocks: Any = None,
    chance: int = 200,
    key: int = 0,
    kind: str | None = None,
    period: float | None = None,
    log_density: Any = None,
    null: Any = None,
    prob: float = 0.9,
    bins: int = 10,
) -> xr.Dataset:
    """Score decoded probabilities against what was to be decoded, with standard errors and a chance level.

    With p_t the decoded distribution of row t and y_t its truth: the log loss is -mean log p_t(y_t) in nats, the bits
    mean log2 p_t(y_t) / q(y_t) are what the neurons add to q, a model without them, and the Brier score is
    mean sum_k (p_t(k) - [y_t = k])^2 (half of it for two classes).

    Parameters
    ----------
    probabilities : xarray.Dataset, xarray.DataArray or array
        What ``bg.decode`` returns; what ``bg.predict`` returns for classes (averaged over its draws) or, with
        ``kind="response"``, draws of an angle or of a number; or an array: (row, class), (row,) P(second class), or
        (row,) estimates.
    truth : array (row,) or DataArray
        Class names or their codes 0 to K - 1; values or angles. NaN rows are left out. A DataArray with more rows is
        read at the rows nearest to those decoded. None: what ``bg.decode`` has found in the recording.
    blocks : array (row,), float or None
        What belongs together: the trial or block of each row, or a length in s. None: trials where the rows know
        theirs, else blocks of 20 correlation times of the truth or of the loss.
    chance : int
        Number of permutations of the truth's blocks (whole blocks, rotated; never single bins of time).
    key : int
        Seed of permutations and resamples.
    kind : "classes", "angle" or "value", optional
        Where the arrays alone do not tell.
    period : float, optional
        Of an angle, where ``truth`` was not marked by ``bg.angle``.
    log_density : array (row,), optional
        For estimates and draws: log p(truth), which gives them a log loss.
    null : array (row,), optional
        log p(truth) of each row without any neuron. None: the frequencies of the truth itself, which flatters the null.
    prob : float
        Mass of the credible sets whose coverage is reported.
    bins : int
        Bins of the calibration error, with equally many rows in each.

    Returns
    -------
    xarray.Dataset
        Over ``metric``: ``value``; ``se``, its standard error over blocks; ``chance`` and ``chance_se``, mean and sd of
        the score where the truth's blocks are permuted; ``p_value``, the share of permutations that score as well.
        Classes: accuracy, balanced_accuracy, auc (of more than two classes the mean of one against the rest), log_loss,
        bits, brier, expected_calibration_error (mean |predicted - observed| over bins, biased upwards by chance),
        calibration_error (root of the debiased mean square), coverage and coverage_claimed (what the sets of at least
        ``prob`` hold: the two are equal where probabilities are right). Angles and numbers: median_error and mean_error
        in the target's unit, rmse and r2 on lines, log_loss of the density, bits, coverage. ``attrs``: kind, n (rows),
        blocks and how many, bins, notes.

    Raises
    ------
    ValueError
        Shapes, classes or probabilities that do not fit together.

    References
    ----------
    Gneiting & Raftery 2007, Strictly proper scoring rules. Kumar, Liang & Ma 2019, Verified uncertainty calibration (the
    debiased error). Ojala & Garriga 2010, Permutation tests for studying classifier performance.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> p = np.array([0.9, 0.8, 0.3, 0.1])
    >>> found = bg.decoding_score(p, [1, 1, 0, 1], bins=2)
    >>> float(found["value"].sel(metric="accuracy")), round(float(found["value"].sel(metric="brier")), 4)
    (0.75, 0.2375)
    """
    if not (isinstance(chance, (int, np.integer)) and chance >= 0):
        raise ValueError(f"chance={chance!r}: the number of permutations of the truth, 0 or more.")
    given = read(probabilities, truth, Options(kind, period, log_density, null, prob, bins))
    ids, what = cluster_ids(given, blocks, _loss(given))
    return tabled(given, ids, what, scored(given.forecast, given.truth, ids, key), int(chance), key)


def _loss(given: Given) -> np.ndarray:
    """(row,) log loss, or the error where there is no density."""
    rows = given.forecast.averages(given.truth)
    return rows.get("log_loss", rows.get("mean_error", np.zeros(0)))


def scored(forecast: Forecast, truth: Truth, ids: np.ndarray, key: int) -> Scored:
    """Every metric; the same ``ids`` and ``key`` draw the same resamples, so that two forecasts can be paired."""
    rows, ones = forecast.averages(truth), np.ones(len(truth.y))
    value = {name: float(values.mean()) for name, values in rows.items()} | forecast.others(truth, ones)
    drawn = [forecast.others(truth, weight) for weight in resampled(ids, _RESAMPLES, np.random.default_rng([key, 1]))]
    resamples = {name: np.array([one[name] for one in drawn]) for name in drawn[0]}
    known = [name for name in ORDER if name in value and not np.isnan(value[name])]
    return Scored({name: value[name] for name in known}, rows, resamples)


def standard_error(rows: np.ndarray | None, resamples: np.ndarray | None, ids: np.ndarray) -> float:
    """Of a mean over rows by the sums of its blocks; of any other score by blocks drawn with replacement."""
    if int(ids.max()) < 1:
        return np.nan
    if rows is not None:
        with np.errstate(invalid="ignore"):
            return float(clustered_se((rows - rows.mean())[:, None], ids)[0] / rows.size)
    known = resamples[np.isfinite(resamples)] if resamples is not None else np.zeros(0)
    return float(known.std(ddof=1)) if known.size > 1 else np.nan


def tabled(given: Given, ids: np.ndarray, what: str, found: Scored, chance: int, key: int) -> xr.Dataset:
    """The Dataset of ``decoding_score``."""
    names, blocks = list(found.value), int(ids.max()) + 1
    at_chance, same = _permuted(given.forecast, given.truth, ids, chance if blocks > 1 else 0, key)
    columns: dict[str, list[float]] = {name: [] for name in ("value", "se", "chance", "chance_se", "p_value")}
    for name in names:
        drawn = at_chance.get(name, np.zeros(0))
        figures = (found.value[name], standard_error(found.rows.get(name), found.resamples.get(name), ids), *_chance(name, found.value[name], drawn))
        for column, figure in zip(columns.values(), figures, strict=True):
            column.append(figure)
    attrs = {"kind": _kind_of(given.forecast), "n": len(ids), "blocks": blocks, "block": what, "permutations": chance, "prob": given.forecast.prob}
    if isinstance(given.forecast, Classes):
        attrs |= {"bins": f"{min(given.forecast.bins, len(ids))} of equally many rows", "classes": [str(name) for name in given.forecast.names]}
    attrs["notes"] = _notes(blocks, same, given)
    return xr.Dataset({name: ("metric", np.array(values, float)) for name, values in columns.items()}, {"metric": names}, attrs)


def _permuted(forecast: Forecast, truth: Truth, ids: np.ndarray, count: int, key: int) -> tuple[dict[str, np.ndarray], float]:
    """(permutation,) of every metric, and the share of permutations that left the truth as it was."""
    found: dict[str, list[float]] = {}
    same, ones = 0, np.ones(len(ids))
    for rows in shuffled(ids, count, np.random.default_rng([key, 2])):
        moved = truth.at(rows)
        same += bool(np.array_equal(moved.y, truth.y))
        values = {name: float(one.mean()) for name, one in forecast.averages(moved).items()} | forecast.others(moved, ones)
        for name, value in values.items():
            if not (isinstance(forecast, Points) and name in _OWN):
                found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}, same / max(count, 1)


def _chance(name: str, value: float, drawn: np.ndarray) -> tuple[float, float, float]:
    """Mean and sd under permutations, and the share of them that is as good."""
    if not drawn.size or np.isnan(drawn).any():
        return np.nan, np.nan, np.nan
    with np.errstate(invalid="ignore"):
        spread = float(drawn.std(ddof=1)) if drawn.size > 1 else np.nan
    if name not in LOWER_IS_BETTER + HIGHER_IS_BETTER:
        return float(drawn.mean()), spread, np.nan
    as_good = (drawn <= value + 1e-12) if name in LOWER_IS_BETTER else (drawn >= value - 1e-12)
    return float(drawn.mean()), spread, float((1 + as_good.sum()) / (1 + drawn.size))


def _kind_of(forecast: Forecast) -> str:
    if isinstance(forecast, Classes):
        return "classes"
    periods = forecast.periods if isinstance(forecast, OnGrid) else (forecast.period,)
    return "angle" if all(period is not None for period in periods) else "value"


def _notes(blocks: int, same: float, given: Given) -> list[str]:
    notes = []
    if blocks < _FEW:
        notes.append(f"{blocks} blocks: under {_FEW} a standard error and a chance level are rough")
    if same > _SAME:
        notes.append(f"{same:.0%} of the permutations leave the truth as it is (every block has the same order): the chance level says nothing; pass blocks=")
    lost = int((~given.kept).sum())
    if lost:
        notes.append(f"{lost} rows without a truth or a prediction are left out")
    return notes


def reliability(probabilities: Any, truth: Any = None, bins: int = 10, *, blocks: Any = None, prob: float = 0.9, period: float | None = None) -> xr.Dataset:
    """Reliability curve: how often what was given a probability happened, by bins of that probability.

    Of classes: bin the rows by P(second class), or by the probability of the likeliest of more than two, equally many
    rows a bin, and compare its mean with the share of rows in which it was the truth. Of posteriors on a grid: the share
    of rows whose truth lies in the credible set of mass 1/bins, 2/bins, ...: equal to the mass where posteriors are right.

    Parameters
    ----------
    probabilities, truth, blocks, period
        As for ``decoding_score``.
    bins : int
        Bins, or masses of credible sets.
    prob : float
        Of the intervals around the observed shares.

    Returns
    -------
    xarray.Dataset
        Over ``bin``: ``predicted`` (mean probability), ``observed`` (share), ``low`` and ``high`` (its interval by
        Jeffreys' prior, widened where rows of a block agree), ``count`` (rows). ``attrs["of"]`` says what was predicted.

    Raises
    ------
    ValueError
        As ``decoding_score``; and for estimates, which are no probabilities.

    References
    ----------
    Dawid 1982, The well-calibrated Bayesian. Brown, Cai & DasGupta 2001 (the interval).

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> p = np.random.default_rng(0).uniform(size=400)
    >>> curve = bg.reliability(p, np.random.default_rng(1).uniform(size=400) < p, bins=4)
    >>> bool((np.abs(curve["predicted"] - curve["observed"]) < 0.1).all())
    True
    """
    given = read(probabilities, truth, Options(None, period, None, None, prob, bins))
    ids, what = cluster_ids(given, blocks, _loss(given))
    if isinstance(given.forecast, Points):
        raise ValueError("reliability wants probabilities of classes or on a grid; these are estimates. Their intervals' coverage is in bg.decoding_score.")
    columns, of = _class_curve(given, ids) if isinstance(given.forecast, Classes) else _set_curve(given, ids, int(bins))
    low, high = _intervals(columns["observed"], columns.pop("informative"), prob)
    found = {name: ("bin", values) for name, values in (columns | {"low": low, "high": high}).items()}
    return xr.Dataset(found, attrs={"of": of, "prob": prob, "block": what, "blocks": int(ids.max()) + 1, "n": len(ids)})


def _class_curve(given: Given, ids: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    forecast = given.forecast
    binned = forecast.binned(given.truth)
    n, predicted, observed = binned.sums(np.ones(len(ids)))
    informative = np.array([_informative(binned.happened[binned.bin == b], ids[binned.bin == b]) for b in range(n.size)])
    of = f"P({forecast.names[1]})" if forecast.names.size == 2 else "probability of the likeliest class"
    return {"predicted": predicted, "observed": observed, "count": n.astype(int), "informative": informative}, of


def _set_curve(given: Given, ids: np.ndarray, bins: int) -> tuple[dict[str, np.ndarray], str]:
    """Where the truth's cell takes the mass from a to b of a row, it lies in the set of mass m with chance (m - a) / (b - a)."""
    forecast = given.forecast
    below, above = mass_above(forecast.p, forecast.cells(given.truth.y))
    levels = np.arange(1, bins) / bins
    covered = np.clip((levels - below[:, None]) / np.maximum(above - below, 1e-300)[:, None], 0.0, 1.0)
    informative = np.array([_informative(column, ids) for column in covered.T])
    count = np.full(levels.size, len(ids))
    return {"predicted": levels, "observed": covered.mean(0), "count": count, "informative": informative}, "mass of the credible set"


def _informative(happened: np.ndarray, ids: np.ndarray) -> float:
    """How many independent rows would give the share of events the standard error that its blocks give it."""
    values, cluster = happened.astype(float), np.unique(ids, return_inverse=True)[1]
    share, blocks = values.mean(), int(cluster.max()) + 1
    if share in (0.0, 1.0) or blocks < 2:
        return float(blocks)
    error = clustered_se((values - share)[:, None], cluster)[0] / values.size
    return float(np.clip(share * (1 - share) / error**2 * blocks / (blocks - 1), 1.0, values.size)) if error > 0 else float(blocks)


def _intervals(share: np.ndarray, n: np.ndarray, prob: float) -> tuple[np.ndarray, np.ndarray]:
    """Jeffreys intervals of shares of ``n`` rows."""
    events = share * n
    low = stats.beta.ppf(0.5 - prob / 2, events + 0.5, n - events + 0.5)
    high = stats.beta.ppf(0.5 + prob / 2, events + 0.5, n - events + 0.5)
    return np.minimum(low, share), np.maximum(high, share)
