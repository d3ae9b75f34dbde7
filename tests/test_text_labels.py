"""Features that are named by text: every verb that compiles a model takes it."""

from __future__ import annotations

import numpy as np

import bayesglm as bg
from bayesglm import basis, prior


def test_named_features_go_through_every_compiled_story():
    rng = np.random.default_rng(0)
    data = bg.recording(dt=0.1, spikes=rng.poisson(0.3, 400), velocity=rng.normal(size=(400, 2)), labels={"velocity": ["x", "y"]})
    model = bg.GLM(bg.Baseline(prior.Gaussian(0.5), centred=True) + bg.Stimulus("velocity", basis.Lags(span=0.2)))
    assert 0 <= bg.prior_check(model, data, draws=20).share <= 1
    fit = bg.fit(model, data, "laplace", progress=False)
    assert "velocity" in repr(bg.summary(fit))
    assert np.isfinite(bg.sensitivity(fit).table["prior"]).all()
