"""bayesglm: the Bayesian GLM toolkit for neuroscience. The public face; every name loads when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesglm import _plot as plot
    from bayesglm import basis, datasets, family, features, method, prior, rsa
    from bayesglm._checking._check import check
    from bayesglm._checking._coupling_table import coupling_table
    from bayesglm._checking._drift import drift
    from bayesglm._checking._posterior_check import posterior_check
    from bayesglm._checking._rescale import rescale
    from bayesglm._checking._sensitivity import sensitivity
    from bayesglm._comparing._compare import compare
    from bayesglm._comparing._forward import forward_selection
    from bayesglm._comparing._kfold import kfold
    from bayesglm._comparing._loo import loo, waic
    from bayesglm._data import angle, bin_spikes, concat, folds, from_pynapple, from_trials, recording, signal, split
    from bayesglm._decoding._coverage import coverage
    from bayesglm._decoding._cross_validate import cross_validate
    from bayesglm._decoding._decode import decode
    from bayesglm._decoding._decode_over_time import decode_over_time
    from bayesglm._decoding._decoding_score import decoding_score, reliability
    from bayesglm._decoding._dynamics import RandomWalk
    from bayesglm._decoding._information import decoding_information
    from bayesglm._filters import filters, interval
    from bayesglm._fit import Fit, fit, fit_all
    from bayesglm._function import from_function
    from bayesglm._glm import GLM
    from bayesglm._model import AbstractModel, Block, Design
    from bayesglm._predict import predict
    from bayesglm._prior_check import prior_check
    from bayesglm._prior_summary import prior_summary
    from bayesglm._report import report
    from bayesglm._score import score
    from bayesglm._simulating._simulate import simulate
    from bayesglm._sta import sta
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
    "check": "_checking._check",
    "compare": "_comparing._compare",
    "coupling_table": "_checking._coupling_table",
    "decode": "_decoding._decode",
    "coverage": "_decoding._coverage",
    "decoding_information": "_decoding._information",
    "decode_over_time": "_decoding._decode_over_time",
    "RandomWalk": "_decoding._dynamics",
    "drift": "_checking._drift",
    "cross_validate": "_decoding._cross_validate",
    **dict.fromkeys(("decoding_score", "reliability"), "_decoding._decoding_score"),
    "forward_selection": "_comparing._forward",
    "kfold": "_comparing._kfold",
    **dict.fromkeys(("loo", "waic"), "_comparing._loo"),
    "posterior_check": "_checking._posterior_check",
    "predict": "_predict",
    "prior_check": "_prior_check",
    "prior_summary": "_prior_summary",
    "rescale": "_checking._rescale",
    "report": "_report",
    "score": "_score",
    "sensitivity": "_checking._sensitivity",
    "simulate": "_simulating._simulate",
    "sta": "_sta",
    "summary": "_summary",
    "tuning": "_tuning",
    **dict.fromkeys(("AbstractModel", "Block", "Design"), "_model"),
    **dict.fromkeys(("load", "save"), "_store"),
    **dict.fromkeys(("Baseline", "Coupling", "Event", "History", "Linear", "Offset", "Pooled", "Stimulus", "Tuning"), "terms"),
}
_MODULES = {name: name for name in ("basis", "datasets", "family", "features", "method", "models", "prior", "rsa")} | {"plot": "_plot"}

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
