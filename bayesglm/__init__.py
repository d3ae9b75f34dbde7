"""bayesglm: the Bayesian GLM toolkit for neuroscience. The public face; every name loads when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesglm import _plot as plot
    from bayesglm import basis, datasets, family, method, prior
    from bayesglm._compare import compare
    from bayesglm._data import angle, bin_spikes, concat, folds, from_pynapple, from_trials, recording, signal, split
    from bayesglm._filters import filters, interval
    from bayesglm._fit import Fit, fit, fit_all
    from bayesglm._function import from_function
    from bayesglm._glm import GLM
    from bayesglm._kfold import kfold
    from bayesglm._loo import loo, waic
    from bayesglm._model import AbstractModel, Block, Design
    from bayesglm._predict import predict
    from bayesglm._prior_check import prior_check
    from bayesglm._prior_summary import prior_summary
    from bayesglm._score import score
    from bayesglm._store import load, save
    from bayesglm._summary import summary
    from bayesglm._tuning import tuning
    from bayesglm.terms import Baseline, Coupling, Event, History, Linear, Offset, Pooled, Stimulus, Tuning

_WHERE = {
    **dict.fromkeys(("angle", "bin_spikes", "concat", "folds", "from_pynapple", "from_trials", "recording", "signal", "split"), "_data"),
    **dict.fromkeys(("filters", "interval"), "_filters"),
    **dict.fromkeys(("Fit", "fit", "fit_all"), "_fit"),
    "GLM": "_glm",
    "from_function": "_function",
    "compare": "_compare",
    "kfold": "_kfold",
    **dict.fromkeys(("loo", "waic"), "_loo"),
    "predict": "_predict",
    "prior_check": "_prior_check",
    "prior_summary": "_prior_summary",
    "score": "_score",
    "summary": "_summary",
    "tuning": "_tuning",
    **dict.fromkeys(("AbstractModel", "Block", "Design"), "_model"),
    **dict.fromkeys(("load", "save"), "_store"),
    **dict.fromkeys(("Baseline", "Coupling", "Event", "History", "Linear", "Offset", "Pooled", "Stimulus", "Tuning"), "terms"),
}
_MODULES = {"basis": "basis", "datasets": "datasets", "family": "family", "method": "method", "models": "models", "plot": "_plot", "prior": "prior"}

__version__ = "0.1.0"
__all__ = sorted([*_WHERE, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"bayesglm.{_MODULES[name]}")
    if name in _WHERE:
        return getattr(importlib.import_module(f"bayesglm.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'bayesglm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
