"""Poisson receptive field (linear-nonlinear-Poisson): which recent stimulus makes a cell fire?"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr

import bayesglm as bg
from bayesglm._convolve import convolve, reach
from bayesglm._data import bin_width, epoch_ids, neurons
from bayesglm.engine.from_trace import linear_of_story
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import left_out, log_mean, responses, same_bins, signal, spike_counts, unit_sd


class PoissonReceptiveField(bg.AbstractModel):
    """Linear-nonlinear-Poisson model: filter the recent stimulus, exponentiate, draw a count.

    y_n(t) ~ Poisson(exp(eta_n(t))),  eta_n(t) = b_n + sum_l k_n(l) x(t - l),  k_n = kernels @ w_n

    w_n ~ Normal(0, (tau_n / sd(x))^2),  tau_n ~ HalfNormal(1);  eta_n at the mean stimulus ~ StudentT(3, log mean y_n, 2.5).

    Parameters
    ----------
    basis : AbstractBasis
        Over lags, with a ``span`` in seconds; its kernels (lag, basis) sum to 1 over their lags.
    column : str
        The stimulus, (time,).

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing, has gaps or more than one number a row; another bin width than it was fitted at.

    References
    ----------
    Chichilnisky 2001, A simple white noise analysis of neuronal light responses; Paninski 2004, Maximum likelihood
    estimation of cascade point-process neural encoding models.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.poisson_receptive_field import PoissonReceptiveField, simulate
    >>> fit = bg.fit(PoissonReceptiveField(), simulate(500), "laplace", progress=False)
    >>> bg.filters(fit, "stimulus").dims
    ('chain', 'draw', 'neuron', 'lag')
    """

    basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(8, span=0.2))
    column: str = eqx.field(default="stimulus", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    lags: np.ndarray | None = eqx.field(default=None, kw_only=True)
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (lag, basis)
    mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # of the stimulus in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) log of the mean count

    def resolve(self, data: xr.Dataset) -> PoissonReceptiveField:
        if self.kernels is not None:
            return self
        x, counts = signal(data, self.column), spike_counts(data)
        dt = bin_width(data)
        lags, kernels = bg.basis.lag_kernels(self.basis, dt, first=0, use="signal")
        fixed = {"neurons": tuple(neurons(data).tolist()), "dt": dt, "lags": lags, "kernels": kernels}
        return dataclasses.replace(self, **fixed, mean=x.mean(), sd=unit_sd(x), level=log_mean(counts))

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)
        epochs = epoch_ids(data)
        x = convolve(signal(data, self.column), self.kernels, epochs, first=0)
        scored = reach(epochs, 0, len(self.kernels)).astype(float)  # a filter never reaches into another epoch
        each = responses(data, self.neurons) | {"cells": {"level": self.level}}
        return bg.Design({"stimulus": x}, each, scored, left_out(scored, "stimulus reaches out of the epoch"))

    def __call__(self, design: bg.Design) -> None:
        x, cells = design.shared["stimulus"], design.each["cells"]
        at_mean = self.mean * self.kernels.sum(0)  # the columns where the stimulus stays at its mean
        with numpyro.plate("neuron", design.size, dim=-1):
            scale = numpyro.sample("stimulus_scale", dist.HalfNormal(1.0))
            law = dist.Normal(0.0, jnp.broadcast_to(scale[:, None] / self.sd, (design.size, x.shape[1])))
            w = numpyro.sample("stimulus", law.to_event(1), infer={"event_dims": ["stimulus_basis"]})
            b = numpyro.sample("baseline", dist.StudentT(3.0, cells["level"] - w @ at_mean, 2.5))
            eta = b + x @ w.T
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", dist.Poisson(jnp.exp(eta)), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        return linear_of_story(self, design, ("stimulus", "baseline"))

    def coords(self) -> dict[str, np.ndarray]:
        return {"neuron": np.asarray(self.neurons), "stimulus_basis": np.arange(self.kernels.shape[1])}

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        return {"stimulus_kernels": (("stimulus_lag", "stimulus_basis"), self.kernels)}

    def constant_coords(self) -> dict[str, np.ndarray]:
        return {"stimulus_lag": np.round(self.lags, 12)}

    def observed_site(self) -> str:
        return "spikes"


def simulate(rows: int = 5_000, seed: int = 0) -> xr.Dataset:
    """White noise at 10 ms seen by two cells, one of them through a biphasic filter."""
    rng = np.random.default_rng(seed)
    lag = np.arange(20) * 0.01
    filters = np.stack([np.exp(-lag / 0.03) - 0.6 * np.exp(-lag / 0.06), -0.5 * np.exp(-((lag - 0.05) ** 2) / 0.0008)], 1)
    x = rng.normal(size=rows)
    drive = convolve(x, filters, np.zeros(rows, int), first=0)
    return bg.recording(dt=0.01, spikes=rng.poisson(np.exp(np.log([0.2, 0.3]) + 0.8 * drive)), stimulus=x)


def main(rows: int = 20_000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw the filters with their bands."""
    fit = bg.fit(PoissonReceptiveField(), simulate(rows), method)
    print(fit)
    return bg.plot.filters(fit, "stimulus")


if __name__ == "__main__":
    main().savefig("poisson_receptive_field.png")
