"""Receptive field, linear and Gaussian: the spike-triggered average done as a regression, with its uncertainty."""

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
from bayesglm.models._recording import left_out, responses, same_bins, signal, spike_counts, unit_sd


class ReceptiveField(bg.AbstractModel):
    """Linear-Gaussian receptive field: a response is the recent stimulus, filtered, plus noise.

    y_n(t) ~ Normal(eta_n(t), sigma_n^2),  eta_n(t) = b_n + sum_l k_n(l) x(t - l),  k_n = kernels @ w_n

    w_n ~ Normal(0, (tau_n / sd(x))^2),  tau_n ~ HalfNormal(1);  eta_n at the mean stimulus ~ StudentT(3, mean y_n, 2.5);
    sigma_n ~ HalfStudentT(4, sd(y_n)). Given tau and sigma the posterior is Gaussian in closed form. Counts are no Gaussian
    variable: this model predicts negative rates, which is why ``PoissonReceptiveField`` exists.

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
    de Boer & Kuyper 1968, Triggered correlation; Chichilnisky 2001, A simple white noise analysis of neuronal light responses.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.receptive_field import ReceptiveField, simulate
    >>> fit = bg.fit(ReceptiveField(), simulate(500), "laplace", progress=False)
    >>> sorted(fit.posterior.data_vars)
    ['baseline', 'sigma', 'stimulus', 'stimulus_scale']
    """

    basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(8, span=0.2))
    column: str = eqx.field(default="stimulus", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    lags: np.ndarray | None = eqx.field(default=None, kw_only=True)
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (lag, basis)
    mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # of the stimulus in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)
    response_mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,)
    response_sd: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,)

    def resolve(self, data: xr.Dataset) -> ReceptiveField:
        if self.kernels is not None:
            return self
        x, y, dt = signal(data, self.column), spike_counts(data), bin_width(data)
        lags, kernels = bg.basis.lag_kernels(self.basis, dt, first=0, use="signal")
        fixed = {"neurons": tuple(neurons(data).tolist()), "dt": dt, "lags": lags, "kernels": kernels}
        return dataclasses.replace(self, **fixed, mean=x.mean(), sd=unit_sd(x), response_mean=y.mean(0), response_sd=y.std(0))

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)
        epochs = epoch_ids(data)
        x = convolve(signal(data, self.column), self.kernels, epochs, first=0)
        scored = reach(epochs, 0, len(self.kernels)).astype(float)  # a filter never reaches into another epoch
        each = responses(data, self.neurons) | {"cells": {"mean": self.response_mean, "sd": self.response_sd}}
        return bg.Design({"stimulus": x}, each, scored, left_out(scored, "stimulus reaches out of the epoch"))

    def __call__(self, design: bg.Design) -> None:
        x, cells = design.shared["stimulus"], design.each["cells"]
        at_mean = self.mean * self.kernels.sum(0)  # the columns where the stimulus stays at its mean
        with numpyro.plate("neuron", design.size, dim=-1):
            scale = numpyro.sample("stimulus_scale", dist.HalfNormal(1.0))
            law = dist.Normal(0.0, jnp.broadcast_to(scale[:, None] / self.sd, (design.size, x.shape[1])))
            w = numpyro.sample("stimulus", law.to_event(1), infer={"event_dims": ["stimulus_basis"]})
            b = numpyro.sample("baseline", dist.StudentT(3.0, cells["mean"] - w @ at_mean, 2.5))
            sigma = numpyro.sample("sigma", bg.prior.HalfStudentT(4.0, cells["sd"]))
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", dist.Normal(b + x @ w.T, sigma), obs=observed)

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
    """White noise at 10 ms seen by two cells, one of them through a biphasic filter; rates are rectified."""
    rng = np.random.default_rng(seed)
    lag = np.arange(20) * 0.01
    filters = np.stack([np.exp(-lag / 0.03) - 0.6 * np.exp(-lag / 0.06), -0.5 * np.exp(-((lag - 0.05) ** 2) / 0.0008)], 1)
    x = rng.normal(size=rows)
    drive = convolve(x, filters, np.zeros(rows, int), first=0)
    return bg.recording(dt=0.01, spikes=rng.poisson(np.maximum(0.6 + 0.5 * drive, 0.0)), stimulus=x)


def main(rows: int = 20_000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw the filters with their bands."""
    fit = bg.fit(ReceptiveField(), simulate(rows), method)
    print(fit)
    return bg.plot.filters(fit, "stimulus")


if __name__ == "__main__":
    main().savefig("receptive_field.png")
