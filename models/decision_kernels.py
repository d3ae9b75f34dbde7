"""Decision kernels: what do the events of a trial do to a cell, before and after they happen?"""

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
from bayesglm._data import bin_width, epoch_ids, event_names, event_spans, event_values, neurons
from bayesglm.engine.from_trace import linear_of_story
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import left_out, log_mean, responses, same_bins, spike_counts


class DecisionKernels(bg.AbstractModel):
    """Trial events and boxcars with a kernel each, and the own past: a cell of parietal cortex in a decision.

    y_n(t) ~ Poisson(exp(eta_n(t))),
    eta_n(t) = b_n + sum_e sum_l k_ne(l) s_e(t - l) + sum_{l >= dt} h_n(l) y_n(t - l)

    s_e: one (or the event's value) in the bin of a moment; in every bin that an event with a stop overlaps. k_ne = kernels of
    event e @ w_ne, from the lag starts[e] on: below zero it acts before the event (a saccade's build-up).
    w_ne ~ Normal(0, tau_ne^2),  h_n = history kernels @ v_n,  v_n ~ Normal(0, s_n^2);  tau_ne, s_n ~ HalfNormal(1);  eta_n at
    the average of the columns ~ StudentT(3, log mean y_n, 2.5). A kernel before its event says that the event can be foretold
    from the spikes, not that it makes them.

    Parameters
    ----------
    bases : dict
        Event -> basis over lags, with a ``span`` in seconds. Kernels of moments have peak 1, those of boxcars sum to 1.
    starts : dict
        Event -> first lag in seconds; default 0.
    values : dict
        Event -> the value that scales it; default one.
    history_basis : AbstractBasis

    Raises
    ------
    ValueError
        By ``fit``: an event that is missing; another bin width than it was fitted at.

    References
    ----------
    Park, Meister, Huk & Pillow 2014, Encoding and decoding in parietal cortex during sensorimotor decision-making.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.decision_kernels import DecisionKernels, simulate
    >>> fit = bg.fit(DecisionKernels(), simulate(1_200), "laplace", progress=False)
    >>> bg.filters(fit, "saccade_in")["lag"].values[[0, -1]].tolist()  # seconds from the saccade
    [-0.4, 0.18]
    """

    bases: dict[str, bg.basis.AbstractBasis] = eqx.field(
        default_factory=lambda: (
            {"targets": bg.basis.BSpline(6, span=0.5), "motion": bg.basis.BSpline(5, span=0.4)}
            | {f"saccade_{side}": bg.basis.BSpline(8, span=0.6) for side in ("in", "out")}
        )
    )
    starts: dict[str, float] = eqx.field(default_factory=lambda: {"saccade_in": -0.4, "saccade_out": -0.4})
    values: dict[str, str] = eqx.field(default_factory=lambda: {"motion": "value"}, static=True)
    history_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(4, span=0.1))
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    first: dict[str, int] | None = eqx.field(default=None, static=True, kw_only=True)  # first lag of each kernel in bins
    kernels: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)  # (lag, basis) each
    average: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)  # (basis,) of each event's columns
    counts: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) mean count a bin
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) its log

    def resolve(self, data: xr.Dataset) -> DecisionKernels:
        if self.kernels is not None:
            return self
        y, dt = spike_counts(data), bin_width(data)
        first = {name: round(self.starts.get(name, 0.0) / dt) for name in self.bases} | {"history": 1}
        kernels = {"history": bg.basis.lag_kernels(self.history_basis, dt, first=1, use="spikes")[1]}
        for name, basis in self.bases.items():
            use = "signal" if "stop" in event_values(data, name) else "spikes"
            kernels[name] = bg.basis.lag_kernels(basis, dt, first=0, use=use)[1]
        made = dataclasses.replace(self, neurons=tuple(neurons(data).tolist()), dt=dt, first=first, kernels=kernels, counts=y.mean(0), level=log_mean(y))
        return dataclasses.replace(made, average={name: columns.mean(0) for name, columns in made._columns(data).items()})

    def _columns(self, data: xr.Dataset) -> dict[str, np.ndarray]:
        epochs = epoch_ids(data)
        return {name: convolve(self.course(data, name), self.kernels[name], epochs, self.first[name]) for name in self.bases}

    def course(self, data: xr.Dataset, name: str) -> np.ndarray:
        """s_e(t) of one event, (time,)."""
        if name not in event_names(data):
            raise ValueError(f"DecisionKernels wants the event {name!r}, which the recording lacks; it has {event_names(data)}.")
        size, known = event_values(data, name), np.zeros(data.sizes["time"])
        amount = size[self.values[name]] if name in self.values else np.ones(data[name].size)
        for start, stop, value in zip(*event_spans(data, name), amount, strict=True):
            known[start:stop] += value
        return known

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)
        epochs = epoch_ids(data)
        history = np.moveaxis(convolve(spike_counts(data, self.neurons), self.kernels["history"], epochs, first=1), 1, 0)  # (neuron, row, basis)
        scored = reach(epochs, 1, len(self.kernels["history"]))
        each = responses(data, self.neurons) | {"history": history, "cells": {"level": self.level, "counts": self.counts}}
        return bg.Design(self._columns(data), each, scored.astype(float), left_out(scored, "the history reaches out of the trial"))

    def __call__(self, design: bg.Design) -> None:
        cells, history, size = design.each["cells"], design.each["history"], design.size
        own_mean = cells["counts"][:, None] * self.kernels["history"].sum(0)  # (neuron, basis)
        with numpyro.plate("neuron", size, dim=-1):
            scale = numpyro.sample("history_scale", dist.HalfNormal(1.0))
            law = dist.Normal(0.0, jnp.broadcast_to(scale[:, None], own_mean.shape))
            v = numpyro.sample("history", law.to_event(1), infer={"event_dims": ["history_basis"]})
            eta, middle = jnp.einsum("ntb,nb->tn", history, v), (v * own_mean).sum(-1)
            for name, columns in design.shared.items():
                scale = numpyro.sample(f"{name}_scale", dist.HalfNormal(1.0))
                law = dist.Normal(0.0, jnp.broadcast_to(scale[:, None], (size, columns.shape[1])))
                w = numpyro.sample(name, law.to_event(1), infer={"event_dims": [f"{name}_basis"]})
                eta, middle = eta + columns @ w.T, middle + w @ self.average[name]
            b = numpyro.sample("baseline", dist.StudentT(3.0, cells["level"] - middle, 2.5))
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", dist.Poisson(jnp.exp(b + eta)), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        return linear_of_story(self, design, (*self.bases, "history", "baseline"))

    def coords(self) -> dict[str, np.ndarray]:
        return {"neuron": np.asarray(self.neurons)} | {f"{name}_basis": np.arange(k.shape[1]) for name, k in self.kernels.items()}

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        return {f"{name}_kernels": ((f"{name}_lag", f"{name}_basis"), kernels) for name, kernels in self.kernels.items()}

    def constant_coords(self) -> dict[str, np.ndarray]:
        return {f"{name}_lag": np.round((self.first[name] + np.arange(len(k))) * self.dt, 12) for name, k in self.kernels.items()}

    def observed_site(self) -> str:
        return "spikes"


def simulate(rows: int = 12_000, seed: int = 0) -> xr.Dataset:
    """Trials of 1.2 s in bins of 20 ms; motion drives a cell that ramps up before saccades into its field, and only those."""
    rng = np.random.default_rng(seed)
    trials = rows // 60
    coherence = rng.choice([-0.5, -0.25, 0.0, 0.25, 0.5], trials)
    stop = rng.uniform(0.6, 0.75, trials)
    into = coherence + rng.normal(0.0, 0.2, trials) > 0
    events = {
        "targets": np.full(trials, 0.13),
        "motion": (np.full(trials, 0.3), {"value": coherence, "stop": stop}),
        "saccade_in": np.where(into, stop + 0.2, np.nan),
        "saccade_out": np.where(into, np.nan, stop + 0.2),
    }
    data = bg.from_trials({"spikes": np.zeros((trials, 60, 1), int)}, dt=0.02, events=events)
    model, epochs, planted = DecisionKernels(), epoch_ids(data), planted_kernels()
    first = {name: round(model.starts.get(name, 0.0) / 0.02) for name in model.bases}
    drive = sum(convolve(model.course(data, name), planted[name].values[:, None], epochs, first[name])[:, 0] for name in first)
    spikes = np.zeros((trials, 60), int)
    for t, eta in enumerate(drive.reshape(trials, 60).T):
        spikes[:, t] = rng.poisson(np.exp(np.log(0.25) + eta - (spikes[:, t - 1] if t else 0.0)))
    return data.assign(spikes=(("time", "neuron"), spikes.reshape(-1, 1).astype(np.uint8)))


def planted_kernels() -> xr.Dataset:
    """The kernels of ``simulate``, over the lags (s) at which the model has its own: log-gain; of motion, a bin and unit of coherence."""
    model, found = DecisionKernels(), {}
    shapes = {"targets": (1.2, 0.2, 0.12), "motion": (0.15, 0.18, 0.12), "saccade_in": (1.5, -0.08, 0.15), "saccade_out": (0.0, 0.0, 1.0)}
    for name, (height, peak, width) in shapes.items():
        lag = np.round(model.starts.get(name, 0.0) + 0.02 * np.arange(round((model.bases[name].span or 0.0) / 0.02)), 12)
        found[name] = xr.DataArray(height * np.exp(-(((lag - peak) / width) ** 2)), {f"{name}_lag": lag}, [f"{name}_lag"])
    return xr.Dataset(found)


def main(rows: int = 18_000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw every kernel with its band."""
    fit = bg.fit(DecisionKernels(), simulate(rows), method)
    print(fit)
    return bg.plot.filters(fit)


if __name__ == "__main__":
    main().savefig("decision_kernels.png")
