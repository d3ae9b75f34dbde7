"""What cross-validation found of one decoder or several, readable as it is printed."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesglm._comparing._comparison import BETTER, FEW, LEAST_CLUSTERS, LEAST_NATS, SAME, WORSE
from bayesglm._comparing._elpd import t_quantile
from bayesglm._decoding._decoding_score import Scored, standard_error
from bayesglm._decoding._metrics import LOWER_IS_BETTER, NATS_A_BIT

PROB = 0.95
_SHOWN = ("accuracy", "balanced_accuracy", "auc", "median_error", "rmse", "r2", "log_loss", "bits", "brier", "calibration_error", "coverage")


@dataclass(frozen=True, eq=False, repr=False)
class CrossValidated:
    """Held-out scores of one model or several on the same folds. ``record["name"]`` are a model's scores.

    Attributes
    ----------
    scores : dict of xarray.Dataset
        ``bg.decoding_score`` of each model's held-out predictions, in the order of their log loss.
    differences : xarray.Dataset or None
        Over ``model`` and ``metric``: ``difference`` to the first model (the first one's: to the second), its ``se``
        over the same blocks, and the ``verdict``: "better", "worse", "not distinguishable" or "too few blocks".
    predictions : dict of xarray.Dataset
        Of every row by the fold that did not see it: ``probability (row, class)``, or ``estimate``, ``low`` and
        ``high``; ``truth``, ``log_density``, ``null`` (log density by the training rows' frequencies), ``fold``.
    folds : xarray.Dataset
        Over ``model`` and ``fold``: ``converged``, ``separated`` (a linear rule tells all training rows apart: their
        weights' size comes from the prior), ``pareto_k`` of a Laplace approximation, ``seconds``, ``rows`` learned from.
    chosen : tuple of str
        Where ``nested``, the model that each fold's inner folds chose.
    scheme : str
        What was left out, in words.
    notes : tuple of str
    """

    scores: Mapping[str, xr.Dataset]
    differences: xr.Dataset | None
    predictions: Mapping[str, xr.Dataset]
    folds: xr.Dataset
    chosen: tuple[str, ...]
    scheme: str
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> xr.Dataset:
        if name not in self.scores:
            raise KeyError(f"{name!r}: the models are {list(self.scores)}")
        return self.scores[name]

    @property
    def best(self) -> str:
        """The model of lowest log loss (error, where densities cannot be compared); whether it is better than the next is another question."""
        return next(iter(self.scores))

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        return _alone(self) if self.differences is None else _compared(self)

    def __repr__(self) -> str:
        table = _table(self)
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))) for line in table]
        below = [f"  {line}" for line in _below(self)]
        return "\n".join([self.verdict[:1].upper() + self.verdict[1:] + ".", "", *(line.rstrip() for line in lines), "", *below])

    def _repr_html_(self) -> str:
        head, *body = _table(self)
        heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
        below = "".join(f"<p>{html.escape(line)}</p>" for line in _below(self))
        return f"<p><b>{html.escape(self.verdict)}</b></p><table><tr>{heads}</tr>{rows}</table>{below}"


def _main_metric(scores: xr.Dataset) -> str:
    known = scores["metric"].values.tolist()
    return next(name for name in ("accuracy", "median_error") if name in known)


def _alone(record: CrossValidated) -> str:
    name, scores = next(iter(record.scores.items()))
    metric = _main_metric(scores)
    one = scores.sel(metric=metric)
    against = ""
    if np.isfinite(one["chance"]):
        against = f"; at chance {float(one['chance']):.3g} +- {float(one['chance_se']):.2g}, p = {float(one['p_value']):.2g}"
    return f"{name!r}: {_words(metric)} {float(one['value']):.3g}, se {float(one['se']):.2g}{against}"


def _compared(record: CrossValidated) -> str:
    first, second = list(record.scores)[:2]
    row = record.differences.sel(model=first)
    metric = _main_metric(record.scores[first])
    by = "log_loss" if "log_loss" in row["metric"].values else "mean_error"
    loss = row.sel(metric=by)
    other, n = row.sel(metric=metric), record.scores[first].attrs["n"]
    verdict = {BETTER: f"{first!r} predicts better than {second!r}", FEW: f"too few blocks to tell {first!r} from {second!r}"}.get(
        str(loss["verdict"].values), f"{first!r} and {second!r} are not distinguishable"
    )
    told = f"{float(other['difference']):+.3g}"
    if metric == "accuracy":
        told = f"{round(n * float(other['difference'])):+d} of {n} rows"
    return (
        f"{verdict} ({_words(by)} {float(loss['difference']):+.3g} a row, se {float(loss['se']):.2g}; {_words(metric)} {told}, "
        f"se {float(other['se']):.2g}: {other['verdict'].values!s})"
    )


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _table(record: CrossValidated) -> list[tuple[str, ...]]:
    first = next(iter(record.scores.values()))
    names = [name for name in _SHOWN if name in first["metric"].values]
    lines = [("", *(_words(name) for name in names))]
    for model, scores in record.scores.items():
        lines.append((model, *(_figure(scores, name, "value", "se") for name in names)))
    return [*lines, ("at chance", *(_figure(first, name, "chance", "chance_se") for name in names))]


def _figure(scores: xr.Dataset, metric: str, value: str, error: str) -> str:
    if metric not in scores["metric"].values:
        return "-"
    one = scores.sel(metric=metric)
    if not np.isfinite(one[value]):
        return "-"
    return f"{float(one[value]):.3g} ({float(one[error]):.2g})"


def _below(record: CrossValidated) -> list[str]:
    first = next(iter(record.scores.values()))
    about = f"{first.attrs['n']} rows, each predicted by a fit without it; left out: {record.scheme}; standard errors in brackets, over {first.attrs['block']}."
    chosen = [f"inner folds chose {', '.join(record.chosen)}"] if record.chosen else []
    return [about, *chosen, *(f"note: {note}" for note in record.notes)]


def differences(found: Mapping[str, Scored], ids: np.ndarray) -> xr.Dataset:
    """Paired differences of models in order, to the first (the first's: to the second), with their standard errors and verdicts."""
    names = list(found)
    metrics = [name for name in found[names[0]].value if all(name in one.value for one in found.values())]
    figures = np.empty((2, len(names), len(metrics)))
    verdicts = np.empty((len(names), len(metrics)), object)
    for i, name in enumerate(names):
        other = found[names[1 if i == 0 else 0]]
        for j, metric in enumerate(metrics):
            figures[:, i, j] = _paired(found[name], other, metric, ids)
            verdicts[i, j] = verdict(metric, *figures[:, i, j], int(ids.max()) + 1, len(ids))
    dims = ("model", "metric")
    columns = {"difference": (dims, figures[0]), "se": (dims, figures[1]), "verdict": (dims, verdicts.astype(str))}
    return xr.Dataset(columns, {"model": names, "metric": metrics})


def _paired(one: Scored, other: Scored, metric: str, ids: np.ndarray) -> tuple[float, float]:
    difference = one.value[metric] - other.value[metric]
    if metric in one.rows:
        return difference, standard_error(one.rows[metric] - other.rows[metric], None, ids)
    return difference, standard_error(None, one.resamples[metric] - other.resamples[metric], ids)


def verdict(metric: str, difference: float, se: float, blocks: int, rows: int) -> str:
    """What a difference of one metric says: more than its 95 % interval, and of log densities more than four nats in all."""
    if blocks < LEAST_CLUSTERS:
        return FEW
    nats = {"log_loss": 1.0, "bits": NATS_A_BIT}.get(metric)
    small = nats is not None and rows * abs(difference) * nats < LEAST_NATS
    clear = np.isfinite(se) and abs(difference) > t_quantile(PROB, blocks) * se
    if small or not clear or metric.startswith("coverage"):
        return SAME
    return BETTER if (difference < 0) == (metric in LOWER_IS_BETTER) else WORSE
