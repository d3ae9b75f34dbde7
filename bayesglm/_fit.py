"""fit(), fit_all() and the Fit that they return."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesglm import method as methods
from bayesglm._convergence import assess
from bayesglm._data import row_dim
from bayesglm._double import in_double
from bayesglm._examine import examine
from bayesglm._function import FunctionModel
from bayesglm._labels import tree
from bayesglm._model import AbstractModel, Design
from bayesglm._progress import progress_bar
from bayesglm._show import fit_html, fit_text
from bayesglm.engine.collapsed import Collapsed, collapsed_space, collapsible
from bayesglm.engine.linear import Linear
from bayesglm.engine.rowspace import RowSpace, in_row_space
from bayesglm.engine.target import story_target
from bayesglm.method import AbstractMethod
from bayesglm.method._base import Draws, Monitor, Problem, silent


class NotConverged(UserWarning):
    """A fit that should not be believed as it is."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model.

    Attributes
    ----------
    model : AbstractModel
        The resolved model: every knot, bound and default scale fixed.
    data : xarray.Dataset
        The training recording.
    idata : xarray.DataTree
        ArviZ groups posterior, sample_stats, observed_data, constant_data; dims and coordinates named, lags in seconds.
        A MAP fit is one chain of one draw, and ``attrs["posterior"]`` is "point".
    method : AbstractMethod
    stats : mapping
        Rows kept and why others went, seconds, convergence and its reasons, and what the method said of each neuron.
    """

    model: AbstractModel
    data: xr.Dataset | None
    idata: xr.DataTree
    method: AbstractMethod
    stats: Mapping[str, Any]
    scored: np.ndarray | None = field(default=None, repr=False)  # (row,) rows that fit_all scored beyond the model's own
    given: AbstractModel | None = field(default=None, repr=False)  # the model as it was written: what K-fold learns anew

    @property
    def point(self) -> bool:
        """Whether this is a point estimate, without a posterior."""
        return self.method.point

    @property
    def posterior(self) -> xr.Dataset:
        """The posterior group as a Dataset."""
        return self.idata["posterior"].to_dataset()

    def __repr__(self) -> str:
        return fit_text(self)

    def _repr_html_(self) -> str:
        return fit_html(self)


_SHORT = {"map": "MAP", "nuts": "NUTS", "laplace": "Laplace", "hmc": "HMC"}


def chosen_method(method: str | AbstractMethod) -> AbstractMethod:
    """A method object from a short name, or a ValueError that lists the names."""
    if isinstance(method, AbstractMethod):
        return method
    name = _SHORT.get(method.lower()) if isinstance(method, str) else None
    if name is None or not hasattr(methods, name):
        known = [short for short, long in _SHORT.items() if hasattr(methods, long)]
        raise ValueError(f"method={method!r} is not known: use one of {known}, or a method object such as method.NUTS(num_chains=4).")
    return getattr(methods, name)()


@in_double
def fit(model: AbstractModel, data: xr.Dataset, method: str | AbstractMethod = "nuts", *, key: Any = 0, progress: bool = True) -> Fit:
    """Fit a model to a recording: posterior p(parameters | data), or its mode.

    Parameters
    ----------
    model : AbstractModel
        ``GLM(...)``, a model of ``bayesglm.models``, or ``from_function(...)``.
    data : xarray.Dataset
        A recording.
    method : str or AbstractMethod
        "nuts" (default) or "map", or a method object with its options.
    key : int or JAX key
        The same key (and shapes, on one machine) gives the same draws.
    progress : bool
        Show a progress bar; False is silent.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        Where data and model do not fit together; it names the column and the mend.

    Warns
    -----
    NotConverged
        Where the result should not be believed as it is.
    """
    _checked_arguments(model, data)
    resolved = model.resolve(data)
    return replace(_fit(resolved, data, resolved.design(data), chosen_method(method), key, progress, None), given=model)


@in_double
def fit_all(
    models: Mapping[str, AbstractModel], data: xr.Dataset, method: str | AbstractMethod = "nuts", *, key: Any = 0, progress: bool = True
) -> dict[str, Fit]:
    """Fit several models on their common rows, so that they can be compared.

    Parameters
    ----------
    models : mapping of names to models
    data, method, key, progress
        As in ``fit``.

    Returns
    -------
    dict of Fit

    Notes
    -----
    A row that any of the models cannot score (a longer filter reaching out of the epoch) is scored by none.
    """
    if not models:
        raise ValueError("fit_all wants a mapping of names to models, as in {'alone': GLM(...), 'coupled': GLM(...)}; it is empty.")
    resolved = {}
    for name, model in models.items():
        _checked_arguments(model, data)
        resolved[name] = model.resolve(data)
    designs = {name: model.design(data) for name, model in resolved.items()}
    common = np.min([_scored_by_all(design) for design in designs.values()], axis=0)
    fits = {}
    for name, design in designs.items():
        lost = int((np.asarray(design.scored) > common).sum())
        if lost and isinstance(resolved[name], FunctionModel):
            raise ValueError(f"fit_all: model {name!r} is a function, whose rows cannot be left out, and another cannot score {lost} of them: cut those rows.")
        report = (*design.report, ("another model of the comparison cannot score it", lost)) if lost else design.report
        shared = replace(design, scored=design.scored * common, report=report)
        fits[name] = replace(_fit(resolved[name], data, shared, chosen_method(method), key, progress, common, name), given=models[name])
    return fits


def _scored_by_all(design: Design) -> np.ndarray:
    """(row,) rows that every neuron of a design scores."""
    own = design.each.get("scored") if isinstance(design.each, dict) else None
    return np.asarray(design.scored) if own is None else np.asarray(design.scored) * own.min(0)


def _checked_arguments(model: Any, data: Any) -> None:
    if not isinstance(model, AbstractModel):
        raise ValueError(f"fit wants a model such as GLM(Baseline() + ...), got {type(model).__name__}. A NumPyro function goes through from_function(fn).")
    if not isinstance(data, xr.Dataset) or "rows" not in data.attrs:
        raise ValueError(f"fit wants a recording made by bg.recording(...) or bg.bin_spikes(...), got {type(data).__name__}.")


def _fit(
    model: AbstractModel, data: xr.Dataset, design: Design, method: AbstractMethod, key: Any, progress: bool, common: np.ndarray | None, title: str = ""
) -> Fit:
    began = time.perf_counter()
    notes = (*getattr(model, "chosen", ()), *examine(model, design))
    with progress_bar(progress, title) as monitor:
        draws, padded, labels = drawn(model, design, method, key, monitor or silent)
    stats = _stats(design, draws, time.perf_counter() - began, notes, data) | {"key": _plain(key)}
    idata = tree(model, padded.bare(), draws, data, method.point)
    made = Fit(model, data, idata, method, MappingProxyType(stats), common)
    return _judged(made, draws, labels)


def drawn(model: AbstractModel, design: Design, method: AbstractMethod, key: Any, monitor: Monitor) -> tuple[Draws, Design, tuple]:
    """Draws of a resolved model on a design, the design as it was padded, and one label a posterior; nothing is examined or judged."""
    padded = design.padded() if isinstance(design.each, dict) and "cells" in design.each else design
    linear = model.linear(padded)
    space, collapsed = _fewer(linear, method)
    labels = neuron_labels(model, padded)
    problem = Problem(model, padded, linear if space is None else space.linear, labels, lambda: story_target(model, padded), collapsed)
    key = jax.random.key(key) if isinstance(key, (int, np.integer)) else key
    draws = method.run(problem, key, monitor)
    if space is not None:
        seed = None if method.point else int(jax.random.bits(key, dtype=np.uint32))
        draws = draws._replace(sites=space.lift(draws.sites, seed, labels))
    return draws, padded, problem.labels


def _plain(key: Any) -> Any:
    """A key as whole numbers, to be kept."""
    if isinstance(key, (int, np.integer)):
        return int(key)
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return tuple(np.ravel(jax.random.key_data(key) if typed else key).tolist())


def _fewer(linear: Linear | None, method: AbstractMethod) -> tuple[RowSpace | None, Collapsed | None]:
    """More columns than rows: exact in as many as there are rows; of a Gaussian response without them."""
    if linear is None:
        return None, None
    if isinstance(method, (methods.MAP, methods.Laplace, methods.NUTS)) and collapsible(linear):
        return collapsed_space(linear)
    return in_row_space(linear), None


def neuron_labels(model: AbstractModel, design: Design) -> tuple:
    """One label a posterior; keys derive from them."""
    labels = model.coords().get("neuron")
    return tuple(labels.tolist()) if labels is not None else tuple(range(design.size))


def _stats(design: Design, draws: Draws, seconds: float, notes: tuple[str, ...], data: xr.Dataset) -> dict[str, Any]:
    rows = data.sizes[row_dim(data)]
    kept = np.asarray(design.scored, float)
    own = design.each.get("scored") if isinstance(design.each, dict) else None
    return {
        "rows": rows,
        "rows_kept": int((kept > 0).sum()) if own is None else (own * kept > 0).sum(1),
        "rows_left_out": dict(design.report),
        "seconds": seconds,
        "notes": (*notes, *draws.notes),
        "interrupted": draws.interrupted,
        **{f"neuron_{name}": value for name, value in draws.per_neuron.items()},
    }


def _judged(made: Fit, draws: Draws, labels: tuple) -> Fit:
    """The fit with its convergence written into ``stats``; one that did not converge warns."""
    reached = np.atleast_1d(draws.per_neuron.get("converged", True))  # of a point, and of an approximation around one
    bad = tuple(str(label) for label, fine in zip(labels, reached, strict=False) if not fine)
    reasons = (f"the optimum was not reached for neuron(s) {', '.join(bad[:8])}",) if bad else ()
    stats = {"converged": not bad, "reasons": reasons, "bad_neurons": bad}
    if not made.point:
        found = assess(made.model, made.idata, isinstance(made.method, methods.Laplace))
        everyone = tuple(dict.fromkeys((*bad, *found.bad_neurons)))
        stats = {"converged": found.converged and not bad, "reasons": (*reasons, *found.reasons), "bad_neurons": everyone, "convergence": found}
    if draws.interrupted:
        stats |= {"converged": False, "reasons": ("interrupted: these are the draws so far", *stats["reasons"])}
    if not stats["converged"]:
        warnings.warn(f"The fit did not converge: {'; '.join(stats['reasons'])}.", NotConverged, stacklevel=4)
    return replace(made, stats=MappingProxyType(dict(made.stats) | stats))
