"""Fits whose draws are made up: what the verbs do with draws needs no sampler."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import xarray as xr

from bayesglm import method
from bayesglm._fit import Fit
from bayesglm.terms import Offset


def made_up(model, data, centre=None, *, sd=0.03, chains=2, draws=100, seed=0, point=False, sigma=None, scored=None):
    """A Fit with Gaussian draws around ``centre`` (a number or an array for each term; 0 elsewhere)."""
    rng = np.random.default_rng(seed)
    model, centre = model.resolve(data), centre or {}
    size = (1, 1) if point else (chains, draws)
    lead = ("neuron",) if model.has_neurons else ()
    variables = {}
    for term in model.terms:
        if isinstance(term, Offset):
            continue
        shape = ((model.target.size,) if lead else ()) + tuple(term.shape)
        middle = np.broadcast_to(centre.get(term.name, 0.0), shape)
        variables[term.name] = (("chain", "draw", *lead, *term.dims), middle + (0 if point else sd) * rng.normal(size=(*size, *shape)))
        for site in term.prior.hyper(term.name):
            of_neurons = shape[: len(lead)]
            variables[site] = (("chain", "draw", *lead), np.exp(0.1 * rng.normal(size=(*size, *of_neurons))))
    if sigma is not None:
        shape = (model.target.size,) if lead else ()
        variables["sigma"] = (("chain", "draw", *lead), sigma * np.exp(0.02 * rng.normal(size=(*size, *shape))))
    posterior = xr.Dataset(variables, coords={"chain": np.arange(size[0]), "draw": np.arange(size[1])} | model.coords())
    constants = xr.Dataset({name: (list(dims), values) for name, (dims, values) in model.constants().items()}, coords=model.constant_coords())
    idata = xr.DataTree.from_dict({"posterior": posterior, "constant_data": constants})
    how = method.MAP() if point else method.NUTS()
    return Fit(model, data, idata, how, MappingProxyType({}), scored)
