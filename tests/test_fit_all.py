"""Common rows of several models."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import bayesglm as bg
from bayesglm import basis


def constant(spikes):
    baseline = numpyro.sample("baseline", dist.Normal(0.0, 2.0))
    numpyro.sample("spikes", dist.Poisson(np.exp(1.0) ** baseline), obs=spikes[:, 0])


def test_a_function_whose_rows_cannot_be_left_out_is_refused():
    """Silently scoring rows that the others do not would make the comparison wrong."""
    data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.5, (200, 1)))
    models = {"function": bg.from_function(constant), "history": bg.GLM(bg.Baseline() + bg.History(basis.RaisedCosine(3, span=0.05)))}
    with pytest.raises(ValueError, match=r"'function' is a function.*cut those rows"):
        bg.fit_all(models, data, "map", progress=False)
