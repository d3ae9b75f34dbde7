"""Coupled population: stimulus, own past, and the past of every other recorded cell."""

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


class CoupledPopulation(bg.AbstractModel):
    """Population with functional coupling: every cell is driven by the stimulus, its own past and the others' past.

    y_n(t) ~ Poisson(exp(eta_n(t))),
    eta_n(t) = b_n + sum_{l >= 0} k_n(l) x(t - l) + sum_{l >= dt} h_n(l) y_n(t - l) + sum_{m != n} sum_{l >= dt} c_nm(l) y_m(t - l)

    Each filter is kernels @ weights. Weights on the stimulus ~ Normal(0, (tau_n / sd(x))^2), on the own past
    ~ Normal(0, s_n^2), on the others' ~ Normal(0, g_n^2), one g_n a receiver; tau_n, s_n ~ HalfNormal(1),
    g_n ~ HalfNormal(0.5);  eta_n at the average of the columns ~ StudentT(3, log mean y_n, 2.5). A coupling says that a spike
    of m foretells spikes of n, given the rest; it is no synapse: an input that both share does the same.

    Parameters
    ----------
    stimulus_basis, history_basis, coupling_basis : AbstractBasis
        Over lags, with a ``span`` in seconds. Kernels on the stimulus sum to 1; kernels on spikes have peak 1, so that a
        weight is the log-gain of one spike.
    column : str
        The stimulus, (time,).

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing, has gaps or more than one number a row; another bin width than it was fitted at.

    References
    ----------
    Pillow et al. 2008, Spatio-temporal correlations and visual signalling in a complete neuronal population.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.coupled_population import CoupledPopulation, simulate
    >>> fit = bg.fit(CoupledPopulation(), simulate(500), "laplace", progress=False)
    >>> bg.filters(fit, "coupling").dims
    ('chain', 'draw', 'neuron', 'source', 'lag')
    """

    stimulus_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(5, span=0.1))
    history_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(4, span=0.05))
    coupling_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(3, span=0.05))
    column: str = eqx.field(default="stimulus", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    lags: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)
    kernels: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)  # (lag, basis) each
    mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # of the stimulus in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)
    counts: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) mean count a bin
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) its log

    def resolve(self, data: xr.Dataset) -> CoupledPopulation:
        if self.kernels is not None:
            return self
        x, y, dt = signal(data, self.column), spike_counts(data), bin_width(data)
        parts = {"stimulus": (self.stimulus_basis, 0, "signal"), "history": (self.history_basis, 1, "spikes"), "coupling": (self.coupling_basis, 1, "spikes")}
        made = {name: bg.basis.lag_kernels(basis, dt, first=first, use=use) for name, (basis, first, use) in parts.items()}
        lags, kernels = ({name: pair[i] for name, pair in made.items()} for i in range(2))
        fixed = {"neurons": tuple(neurons(data).tolist()), "dt": dt, "lags": lags, "kernels": kernels}
        return dataclasses.replace(self, **fixed, mean=x.mean(), sd=unit_sd(x), counts=y.mean(0), level=log_mean(y))

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)
        epochs, kernels, counts = epoch_ids(data), self.kernels, spike_counts(data, self.neurons)
        shared = {
            "stimulus": convolve(signal(data, self.column), kernels["stimulus"], epochs, first=0),
            "coupling": convolve(counts, kernels["coupling"], epochs, first=1),  # (row, source, basis)
        }
        history = np.moveaxis(convolve(counts, kernels["history"], epochs, first=1), 1, 0)  # (neuron, row, basis)
        scored = reach(epochs, 0, len(kernels["stimulus"])) & reach(epochs, 1, max(len(kernels[name]) for name in ("history", "coupling")))
        cells = {"level": self.level, "counts": self.counts, "other": ~np.eye(len(self.neurons), dtype=bool)}
        each = responses(data, self.neurons) | {"history": history, "cells": cells}
        return bg.Design(shared, each, scored.astype(float), left_out(scored, "a filter reaches out of the epoch"))

    def __call__(self, design: bg.Design) -> None:
        stimulus, coupling, history = design.shared["stimulus"], design.shared["coupling"], design.each["history"]
        cells, size = design.each["cells"], design.size
        at_mean = self.mean * self.kernels["stimulus"].sum(0)
        own_mean = cells["counts"][:, None] * self.kernels["history"].sum(0)  # (neuron, basis)
        others_mean = self.counts[:, None] * self.kernels["coupling"].sum(0)  # (source, basis)
        other = cells["other"][:, :, None]  # (neuron, source, 1): a cell's coupling to itself is no weight, only a standard normal
        with numpyro.plate("neuron", size, dim=-1):
            tau = numpyro.sample("stimulus_scale", dist.HalfNormal(1.0))[:, None] / self.sd
            law = dist.Normal(0.0, jnp.broadcast_to(tau, (size, stimulus.shape[1])))
            w = numpyro.sample("stimulus", law.to_event(1), infer={"event_dims": ["stimulus_basis"]})
            s = numpyro.sample("history_scale", dist.HalfNormal(1.0))[:, None]
            law = dist.Normal(0.0, jnp.broadcast_to(s, own_mean.shape))
            v = numpyro.sample("history", law.to_event(1), infer={"event_dims": ["history_basis"]})
            g = numpyro.sample("coupling_scale", dist.HalfNormal(0.5))[:, None, None]
            law = dist.Normal(0.0, jnp.broadcast_to(jnp.where(other, g, 1.0), (size, *others_mean.shape)))
            c = numpyro.sample("coupling", law.to_event(2), infer={"event_dims": ["source", "coupling_basis"]}) * other
            middle = w @ at_mean + (v * own_mean).sum(-1) + (c * others_mean).sum((-2, -1))
            b = numpyro.sample("baseline", dist.StudentT(3.0, cells["level"] - middle, 2.5))
            eta = b + stimulus @ w.T + jnp.einsum("ntb,nb->tn", history, v) + jnp.einsum("tmb,nmb->tn", coupling, c)
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", dist.Poisson(jnp.exp(eta)), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        return linear_of_story(self, design, ("stimulus", "history", "coupling", "baseline"))

    def coords(self) -> dict[str, np.ndarray]:
        labels = {"neuron": np.asarray(self.neurons), "source": np.asarray(self.neurons)}
        return labels | {f"{name}_basis": np.arange(k.shape[1]) for name, k in self.kernels.items()}

    def masks(self) -> dict[str, np.ndarray]:
        exists = ~np.eye(len(self.neurons), dtype=bool)
        return {"coupling": np.repeat(exists[:, :, None], self.kernels["coupling"].shape[1], 2)}

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        return {f"{name}_kernels": ((f"{name}_lag", f"{name}_basis"), kernels) for name, kernels in self.kernels.items()}

    def constant_coords(self) -> dict[str, np.ndarray]:
        return {f"{name}_lag": np.round(lags, 12) for name, lags in self.lags.items()}

    def observed_site(self) -> str:
        return "spikes"


def simulate(rows: int = 5_000, seed: int = 0) -> xr.Dataset:
    """Three refractory cells at 10 ms under one stimulus; the first excites the second and inhibits the third."""
    rng = np.random.default_rng(seed)
    stimulus, spikes = rng.normal(size=rows), np.zeros((rows, 3), int)
    weights = np.array([[-1.5, 0.0, 0.0], [1.0, -1.5, 0.0], [-1.0, 0.0, -1.5]])  # (neuron, source)
    for t in range(1, rows):
        spikes[t] = rng.poisson(np.exp(-1.7 + 0.5 * stimulus[t] + weights @ spikes[t - 1]))
    return bg.recording(dt=0.01, spikes=spikes, stimulus=stimulus)


def main(rows: int = 20_000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw every coupling filter with its band."""
    fit = bg.fit(CoupledPopulation(), simulate(rows), method)
    print(fit)
    return bg.plot.coupling(fit)


if __name__ == "__main__":
    main().savefig("coupled_population.png")
