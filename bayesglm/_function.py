"""from_function: any NumPyro function as a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
import xarray as xr

from bayesglm._data import bin_width, neurons, require_column, row_dim
from bayesglm._model import AbstractModel, Design

if TYPE_CHECKING:
    from bayesglm.engine.linear import Linear


class FunctionModel(AbstractModel):
    """A NumPyro function whose parameters are columns of the recording. Made by ``from_function``."""

    function: Callable[..., Any] = eqx.field(static=True)
    linear_sites: tuple[str, ...] = eqx.field(static=True)
    columns: tuple[str, ...] = eqx.field(static=True)
    site: str | None = eqx.field(default=None, static=True)
    plated: bool = eqx.field(default=False, static=True)
    labels: tuple[tuple[str, tuple], ...] = eqx.field(default=(), static=True)

    def resolve(self, data: xr.Dataset) -> FunctionModel:
        if self.site is not None:
            return self
        from bayesglm._double import double
        from bayesglm.engine.target import neuron_axis, traced

        with double():
            trace = traced(self, self.design(data))
        observed = [name for name, site in trace.items() if site["type"] == "sample" and site["is_observed"]]
        if len(observed) != 1:
            found = observed or "nothing"
            raise ValueError(f"{self.function.__name__} observes {found}: exactly one numpyro.sample must have obs=, a column of the recording.")
        missing = [name for name in self.linear_sites if name not in trace]
        if missing:
            raise ValueError(f"from_function(linear={list(self.linear_sites)}): {self.function.__name__} has no sites {missing}; it has {list(trace)}.")
        plated = neuron_axis(trace[observed[0]]) is not None
        known = {dim: tuple(data[dim].values.tolist()) for dim in data.dims if dim in data.coords and dim != row_dim(data)}
        if "neuron" in data.dims:
            known["neuron"] = tuple(neurons(data).tolist())
        return FunctionModel(self.function, self.linear_sites, self.columns, observed[0], plated, tuple(known.items()))

    def design(self, data: xr.Dataset) -> Design:
        rows = data.sizes[row_dim(data)]
        arrays = {name: self._column(data, name) for name in self.columns if name in data or name == "dt" or self._required(name)}
        return Design(arrays, {}, np.ones(rows))

    def _required(self, name: str) -> bool:
        return inspect.signature(self.function).parameters[name].default is inspect.Parameter.empty

    def _column(self, data: xr.Dataset, name: str) -> np.ndarray:
        if name == "dt" and "dt" not in data:
            return np.asarray(bin_width(data))
        array = require_column(data, name, f"{self.function.__name__}()")
        values = array.transpose(row_dim(data), ...).values
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ValueError(f"Column {name!r} holds {int(np.isnan(values).sum())} NaN, and a function's rows cannot be left out: cut those epochs first.")
        return values

    def __call__(self, design: Design) -> None:
        self.function(**design.shared)

    def linear(self, design: Design) -> Linear | None:
        if not self.linear_sites:
            return None
        from bayesglm.engine.from_trace import linear_of_story

        return linear_of_story(self, design, self.linear_sites, self.site)

    def coords(self) -> dict[str, np.ndarray]:
        return {dim: np.asarray(values) for dim, values in self.labels}

    def observed_site(self) -> str | None:
        return self.site

    @property
    def has_neurons(self) -> bool:
        return self.plated


def from_function(function: Callable[..., Any], linear: Sequence[str] = ()) -> FunctionModel:
    """A NumPyro function as a model that ``fit`` takes.

    Parameters
    ----------
    function : callable
        Its parameters are named like the recording's columns and receive them as arrays, rows first; a parameter ``dt``
        receives the bin width in seconds. Exactly one ``numpyro.sample`` has ``obs=``. Sites under
        ``numpyro.plate("neuron", n, dim=-1)`` get the dim ``neuron``; others are named by
        ``infer={"event_dims": [...]}``.
    linear : sequence of str
        Sites in which the linear predictor is linear; the fit is then as fast as a ``GLM``'s, in the same coordinates. Their
        priors are Normal, Laplace, StudentT or flat, with known scales or one learned scale a site; the response is Poisson,
        Bernoulli or Normal; nothing else is sampled. Checked numerically by ``fit``. ``numpyro.deterministic`` sites are
        not kept on this route.

    Raises
    ------
    ValueError
        By ``fit``: a parameter that is no column; no observed site, or several; NaN in a column; sites in ``linear=`` in
        which the model is not linear (the sentence names them).

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> import bayesglm as bg
    >>> def tuned(contrast, choice):
    ...     slope = numpyro.sample("slope", dist.Normal(0.0, 2.0))
    ...     numpyro.sample("choice", dist.Bernoulli(logits=slope * contrast), obs=choice)
    >>> bg.from_function(tuned, linear=("slope",)).columns
    ('contrast', 'choice')
    """
    if not callable(function):
        raise ValueError(f"from_function wants a NumPyro function, got {type(function).__name__}.")
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    variable = [name for name, p in parameters.items() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY)]
    if variable:
        raise ValueError(f"from_function: {function.__name__} has parameters {variable} that name no column; write each column as a parameter.")
    return FunctionModel(function, tuple(linear), tuple(parameters))
