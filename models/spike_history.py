"""Current injection with spike history: what does a cell make of its input, and what of its own last spikes?"""

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


class SpikeHistory(bg.AbstractModel):
    """Injected current and own past: a refractory, bursting or adapting cell.

    y_n(t) ~ Poisson(exp(eta_n(t))),  eta_n(t) = b_n + sum_{l >= 0} k_n(l) I(t - l) + sum_{l >= dt} h_n(l) y_n(t - l)

    k_n = current kernels @ w_n,  w_n ~ Normal(0, (tau_n / sd(I))^2);  h_n = history kernels @ v_n,  v_n ~ Normal(0, s_n^2);
    tau_n, s_n ~ HalfNormal(1);  eta_n at the average of the columns ~ StudentT(3, log mean y_n, 2.5). Lag 0 of the own past is
    excluded: a bin never explains itself.

    Parameters
    ----------
    current_basis, history_basis : AbstractBasis
        Over lags, with a ``span`` in seconds. Kernels on the current sum to 1; kernels on spikes have peak 1, so that a weight
        is the log-gain of one own spike.
    column : str
        The current, (time,).

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing, has gaps or more than one number a row; another bin width than it was fitted at.

    References
    ----------
    Truccolo et al. 2005, A point process framework for relating neural spiking activity to spiking history; Weber & Pillow
    2017, Capturing the dynamical repertoire of single neurons with generalized linear models.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.spike_history import SpikeHistory, simulate
    >>> fit = bg.fit(SpikeHistory(), simulate(2_000), "laplace", progress=False)
    >>> float((bg.filters(fit, "history").squeeze()[:, 0] < 0).mean()) > 0.95  # P(refractory)
    True
    """

    current_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(5, span=0.1))
    history_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(5, span=0.1))
    column: str = eqx.field(default="current", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    lags: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)
    kernels: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)  # (lag, basis) each
    mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # of the current in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)
    counts: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) mean count a bin
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) its log

    def resolve(self, data: xr.Dataset) -> SpikeHistory:
        if self.kernels is not None:
            return self
        x, y, dt = signal(data, self.column), spike_counts(data), bin_width(data)
        current = bg.basis.lag_kernels(self.current_basis, dt, first=0, use="signal")
        history = bg.basis.lag_kernels(self.history_basis, dt, first=1, use="spikes")
        lags, kernels = ({"current": current[i], "history": history[i]} for i in range(2))
        fixed = {"neurons": tuple(neurons(data).tolist()), "dt": dt, "lags": lags, "kernels": kernels}
        return dataclasses.replace(self, **fixed, mean=x.mean(), sd=unit_sd(x), counts=y.mean(0), level=log_mean(y))

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)
        epochs, kernels = epoch_ids(data), self.kernels
        current = convolve(signal(data, self.column), kernels["current"], epochs, first=0)
        history = convolve(spike_counts(data, self.neurons), kernels["history"], epochs, first=1)  # (row, neuron, basis)
        scored = reach(epochs, 0, len(kernels["current"])) & reach(epochs, 1, len(kernels["history"]))
        cells = {"level": self.level, "counts": self.counts}
        each = responses(data, self.neurons) | {"history": np.moveaxis(history, 1, 0), "cells": cells}
        return bg.Design({"current": current}, each, scored.astype(float), left_out(scored, "a filter reaches out of the epoch"))

    def __call__(self, design: bg.Design) -> None:
        current, history, cells = design.shared["current"], design.each["history"], design.each["cells"]
        at_mean = self.mean * self.kernels["current"].sum(0)
        own_mean = cells["counts"][:, None] * self.kernels["history"].sum(0)  # (neuron, basis)
        with numpyro.plate("neuron", design.size, dim=-1):
            current_scale = numpyro.sample("current_scale", dist.HalfNormal(1.0))
            law = dist.Normal(0.0, jnp.broadcast_to(current_scale[:, None] / self.sd, (design.size, current.shape[1])))
            w = numpyro.sample("current", law.to_event(1), infer={"event_dims": ["current_basis"]})
            history_scale = numpyro.sample("history_scale", dist.HalfNormal(1.0))
            law = dist.Normal(0.0, jnp.broadcast_to(history_scale[:, None], own_mean.shape))
            v = numpyro.sample("history", law.to_event(1), infer={"event_dims": ["history_basis"]})
            b = numpyro.sample("baseline", dist.StudentT(3.0, cells["level"] - w @ at_mean - (v * own_mean).sum(-1), 2.5))
            eta = b + current @ w.T + jnp.einsum("ntb,nb->tn", history, v)
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", dist.Poisson(jnp.exp(eta)), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        return linear_of_story(self, design, ("current", "history", "baseline"))

    def coords(self) -> dict[str, np.ndarray]:
        return {"neuron": np.asarray(self.neurons)} | {f"{name}_basis": np.arange(k.shape[1]) for name, k in self.kernels.items()}

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        return {f"{name}_kernels": ((f"{name}_lag", f"{name}_basis"), kernels) for name, kernels in self.kernels.items()}

    def constant_coords(self) -> dict[str, np.ndarray]:
        return {f"{name}_lag": np.round(lags, 12) for name, lags in self.lags.items()}

    def observed_site(self) -> str:
        return "spikes"


def simulate(rows: int = 10_000, seed: int = 0) -> xr.Dataset:
    """One refractory, adapting cell under a slowly fluctuating current, at 2 ms."""
    rng = np.random.default_rng(seed)
    current = np.convolve(rng.normal(size=rows + 24), np.ones(25) / 5.0, "valid")
    lag = np.arange(1, 51) * 0.002
    own = -6.0 * np.exp(-lag / 0.003) - 0.5 * np.exp(-lag / 0.05)
    spikes = np.zeros((rows + 50, 1), int)
    for t in range(rows):
        eta = -2.8 + 0.8 * current[t] + own[::-1] @ spikes[t : t + 50, 0]
        spikes[t + 50, 0] = rng.poisson(np.exp(eta))
    return bg.recording(dt=0.002, spikes=spikes[50:], current=current)


def main(rows: int = 20_000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw both filters with their bands."""
    fit = bg.fit(SpikeHistory(), simulate(rows), method)
    print(fit)
    return bg.plot.filters(fit)


if __name__ == "__main__":
    main().savefig("spike_history.png")
