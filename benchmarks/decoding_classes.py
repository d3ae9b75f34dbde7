"""Decoders of classes beside scikit-learn's logistic regression on the same folds: scores, paired differences, the rule."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from decoding_scores import SHOWN, pair, quietly, short


def classes_on_folds(data: xr.Dataset, column: str, response: str, fold: np.ndarray, peers: Sequence[str], quick: bool) -> dict[str, Any]:
    """Our decoder (and its rivals) on the same folds: scores, paired differences to ours, seconds."""
    import bayesglm as bg
    from bayesglm import family, method

    y = data[response].values.astype(int)
    size = int(y.max()) + 1
    law = family.Bernoulli() if size == 2 else family.Categorical()
    model = bg.GLM(bg.Baseline() + bg.Linear(column), law, response=response)
    ways = {"bayesglm NUTS": method.NUTS(num_samples=50 if quick else 2000), "bayesglm Laplace": method.Laplace()}
    p, seconds, notes = {}, {}, {}
    for name, way in ways.items():
        began = time.perf_counter()
        record = quietly(lambda way=way: bg.cross_validate(model, data, k=fold, method=way, chance=0, progress=False))
        seconds[name], notes[name] = time.perf_counter() - began, list(record.notes)
        p[name] = record.predictions["model"]["probability"].values
    x = data[column].values.reshape(y.size, -1).astype(float)
    for peer in peers:
        began = time.perf_counter()
        p[peer] = _by_peer(peer, x, y, fold, size)
        seconds[peer] = time.perf_counter() - began
    return _table(p, y, seconds) | {"rows": y.size, "columns": x.shape[1], "classes": size, "folds": int(np.unique(fold).size), "notes": notes}


def _by_peer(peer: str, x: np.ndarray, y: np.ndarray, fold: np.ndarray, size: int) -> np.ndarray:
    """(row, class) probabilities of scikit-learn's logistic regression, C by five inner folds of the training part."""
    found = np.empty((y.size, size))
    for one in np.unique(fold):
        test = fold == one
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = _peer(peer).fit(x[~test], y[~test])
            found[test] = made.predict_proba(x[test])
    return found


def _peer(name: str) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = {"l1_ratio": 1.0, "solver": "liblinear"} if "L1" in name else {"max_iter": 2000}
    made = make_pipeline(StandardScaler(), LogisticRegression(**kind))
    if "C = 1" in name:
        return made
    return GridSearchCV(made, {"logisticregression__C": np.geomspace(1e-5, 10, 7)}, cv=5, scoring="neg_log_loss")


L2, L1, PLAIN = "scikit-learn L2, C by inner folds", "scikit-learn L1, C by inner folds", "scikit-learn L2, C = 1"


def _table(p: dict[str, np.ndarray], y: np.ndarray, seconds: dict[str, float]) -> dict[str, Any]:
    """Scores of everyone, and their paired differences to ours (ours minus theirs)."""
    import bayesglm as bg
    from bayesglm._decoding._cross_validated import differences
    from bayesglm._decoding._decoding_score import scored
    from bayesglm._decoding._input import Options, read

    scores, parts, ids = {}, {}, np.arange(y.size)
    for name, values in p.items():
        table = bg.decoding_score(values, y, chance=50)
        scores[name] = {metric: pair(table, metric) for metric in SHOWN if metric in table["metric"].values} | {"seconds": round(seconds[name], 2)}
        given = read(values, y, Options())
        parts[name] = scored(given.forecast, given.truth, ids, 0)
    ours = next(iter(p))
    paired = {}
    for name in list(p)[1:]:
        found = differences({ours: parts[ours], name: parts[name]}, ids).sel(model=ours)
        paired[name] = {metric: [short(found[what].sel(metric=metric)) for what in ("difference", "se")] for metric in ("accuracy", "log_loss", "brier")}
    return {"scores": scores, "ours_minus_theirs": paired, "passes": _passes(scores, paired)}


def _passes(scores: dict[str, Any], paired: dict[str, Any]) -> dict[str, bool]:
    """The rule, against every peer."""
    paired = {name: one for name, one in paired.items() if not name.startswith("bayesglm")}
    not_below = {name: bool(one["accuracy"][0] >= -2 * one["accuracy"][1]) for name, one in paired.items()}
    lower = {name: bool(one["log_loss"][0] < 0) for name, one in paired.items()}
    clearly_higher = {name: bool(one["log_loss"][0] > 2 * one["log_loss"][1]) for name, one in paired.items()}
    return {"accuracy_not_below": all(not_below.values()), "lower_log_loss": all(lower.values()), "log_loss_not_above": not any(clearly_higher.values())}
