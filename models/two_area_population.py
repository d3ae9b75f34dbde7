"""Two areas: what do cells of one area tell of those of the other, beside their own area and the moving hand?"""

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
from bayesglm._data import areas, bin_width, epoch_ids, neurons
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import features, left_out, log_mean, responses, same_bins, spike_counts, unit_sd
from bayesglm.models._stated import stated


class TwoAreaPopulation(bg.AbstractModel):
    """Coupled cells of two (or more) areas: a learned scale for each pair of areas, and kinematics at a lead.

    y_n(t) ~ Poisson(exp(eta_n(t))),
    eta_n(t) = b_n + sum_l k_n(l) . v(t + lead - l) + sum_{l >= dt} h_n(l) y_n(t - l) + sum_{m != n} sum_{l >= dt} c_nm(l) y_m(t - l)

    Each filter is kernels @ weights. Weights on the velocity ~ Normal(0, (tau_n / sd(v))^2), on the own past
    ~ Normal(0, s_n^2), on cell m's past ~ Normal(0, g_AB^2) with A the area of n and B that of m: four blocks of two areas
    share four scales g, and the posterior is one of all cells together. tau_n, s_n ~ HalfNormal(1); g_AB ~ HalfNormal(0.5);
    eta_n at the average of the columns ~ StudentT(3, log mean y_n, 2.5). A small g says that an area foretells little of the
    other once the rest is known; it says nothing of anatomy.

    Parameters
    ----------
    velocity_basis, history_basis, coupling_basis : AbstractBasis
        Over lags, with a ``span`` in seconds. Kernels on the velocity sum to 1; kernels on spikes have peak 1.
    lead : float
        Seconds by which the velocity filter looks ahead: motor cortex leads the hand.
    column : str
        The velocity, (time, 2) or any features (time, feature).

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing or has gaps; neurons without areas; another bin width than it was fitted at.

    References
    ----------
    Truccolo et al. 2005, A point process framework for relating neural spiking activity to spiking history; Truccolo,
    Hochberg & Donoghue 2010, Collective dynamics in human and monkey sensorimotor cortex.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.two_area_population import TwoAreaPopulation, simulate
    >>> fit = bg.fit(TwoAreaPopulation(), simulate(500), "laplace", progress=False)
    >>> fit.posterior["coupling_scale"].dims
    ('chain', 'draw', 'area_to', 'area_from')
    """

    velocity_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.BSpline(4, span=0.3))
    history_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(4, span=0.05))
    coupling_basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.RaisedCosine(2, span=0.03))
    lead: float = eqx.field(default=0.2, static=True)
    column: str = eqx.field(default="velocity", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    areas: tuple | None = eqx.field(default=None, static=True, kw_only=True)  # names
    feature: str = eqx.field(default="", static=True, kw_only=True)  # dim of the velocity
    labels: tuple | None = eqx.field(default=None, static=True, kw_only=True)  # (feature,)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    first: dict[str, int] | None = eqx.field(default=None, static=True, kw_only=True)  # first lag of each kernel in bins
    kernels: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)  # (lag, basis) each
    area: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) place among the names
    mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (feature,) of the velocity in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)
    counts: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) mean count a bin
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) its log

    def resolve(self, data: xr.Dataset) -> TwoAreaPopulation:
        if self.kernels is not None:
            return self
        (v, feature, labels), y, dt = features(data, self.column), spike_counts(data), bin_width(data)
        if areas(data) is None:
            raise ValueError("TwoAreaPopulation wants the area of each neuron: bg.recording(..., labels={'area': ['M1', 'M1', 'PMv', ...]}).")
        names, area = np.unique(areas(data), return_inverse=True)
        first = {"velocity": -round(self.lead / dt), "history": 1, "coupling": 1}
        parts = {"velocity": (self.velocity_basis, 0, "signal"), "history": (self.history_basis, 1, "spikes"), "coupling": (self.coupling_basis, 1, "spikes")}
        kernels = {name: bg.basis.lag_kernels(basis, dt, first=lag, use=use)[1] for name, (basis, lag, use) in parts.items()}
        fixed = {"neurons": tuple(neurons(data).tolist()), "areas": tuple(names.tolist()), "area": area, "feature": feature, "labels": labels, "dt": dt}
        return dataclasses.replace(self, **fixed, first=first, kernels=kernels, mean=v.mean(0), sd=unit_sd(v), counts=y.mean(0), level=log_mean(y))

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)
        epochs, counts = epoch_ids(data), spike_counts(data, self.neurons)
        signals = {"velocity": features(data, self.column, self.labels)[0], "history": counts, "coupling": counts}
        columns = {name: convolve(values, self.kernels[name], epochs, self.first[name]) for name, values in signals.items()}
        history = np.moveaxis(columns.pop("history"), 1, 0)  # (neuron, row, basis)
        scored = np.all([reach(epochs, self.first[name], len(k)) for name, k in self.kernels.items()], axis=0)
        cells = {"level": self.level, "counts": self.counts, "area": self.area, "other": ~np.eye(len(self.neurons), dtype=bool)}
        each = responses(data, self.neurons) | {"history": history, "cells": cells}
        return bg.Design(columns, each, scored.astype(float), left_out(scored, "a filter reaches out of the epoch"))

    def __call__(self, design: bg.Design) -> None:
        velocity, coupling, history = design.shared["velocity"], design.shared["coupling"], design.each["history"]
        cells, size, count = design.each["cells"], design.size, len(self.areas)
        at_mean = self.mean[:, None] * self.kernels["velocity"].sum(0)  # (feature, basis)
        own_mean = cells["counts"][:, None] * self.kernels["history"].sum(0)  # (neuron, basis)
        others_mean = self.counts[:, None] * self.kernels["coupling"].sum(0)  # (source, basis)
        other = cells["other"][:, :, None]  # (neuron, source, 1): a cell's coupling to itself is no weight, only a standard normal
        blocks = dist.HalfNormal(0.5).expand((count, count)).to_event(2)
        g = numpyro.sample("coupling_scale", blocks, infer={"event_dims": ["area_to", "area_from"]})  # all cells share them
        with numpyro.plate("neuron", size, dim=-1):
            tau = numpyro.sample("velocity_scale", dist.HalfNormal(1.0))[:, None, None] / self.sd[:, None]
            law = dist.Normal(0.0, jnp.broadcast_to(tau, (size, *at_mean.shape)))
            w = numpyro.sample("velocity", law.to_event(2), infer={"event_dims": [self.feature, "velocity_basis"]})
            s = numpyro.sample("history_scale", dist.HalfNormal(1.0))[:, None]
            law = dist.Normal(0.0, jnp.broadcast_to(s, own_mean.shape))
            h = numpyro.sample("history", law.to_event(1), infer={"event_dims": ["history_basis"]})
            block = g[cells["area"]][:, self.area, None]  # (neuron, source, 1)
            law = dist.Normal(0.0, jnp.broadcast_to(jnp.where(other, block, 1.0), (size, *others_mean.shape)))
            c = numpyro.sample("coupling", law.to_event(2), infer={"event_dims": ["source", "coupling_basis"]}) * other
            middle = (w * at_mean).sum((-2, -1)) + (h * own_mean).sum(-1) + (c * others_mean).sum((-2, -1))
            b = numpyro.sample("baseline", dist.StudentT(3.0, cells["level"] - middle, 2.5))
            eta = b + jnp.einsum("tfb,nfb->tn", velocity, w) + jnp.einsum("ntb,nb->tn", history, h) + jnp.einsum("tmb,nmb->tn", coupling, c)
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", dist.Poisson(jnp.exp(eta)), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        gaussian, sizes = bg.prior.Gaussian(dist.HalfNormal(1.0)), {name: k.shape[1] for name, k in self.kernels.items()}
        pairs = bg.prior.Hierarchical("area", dist.HalfNormal(0.5), receivers=self.area, sources=self.area, areas=(self.areas, self.areas), behind=1)
        everywhere = np.ones((design.size, len(self.mean), sizes["velocity"]), bool)
        own, other = np.ones((design.size, sizes["history"]), bool), np.repeat(design.each["cells"]["other"][:, :, None], sizes["coupling"], 2)
        blocks = (
            bg.Block("velocity", (self.feature, "velocity_basis"), design.shared["velocity"], None, everywhere, gaussian.relative_to(1.0 / self.sd[:, None])),
            bg.Block("history", ("history_basis",), None, design.each["history"], own, gaussian),
            bg.Block("coupling", ("source", "coupling_basis"), design.shared["coupling"], None, other, pairs),
        )
        means = {"velocity": self.mean, "history": design.each["cells"]["counts"], "coupling": self.counts}
        centres = {name: mean[:, None] * self.kernels[name].sum(0) for name, mean in means.items()}
        about = {"coupling": {"receiver": design.each["cells"]["area"]}}
        return stated(design, bg.family.Poisson(), "spikes", *blocks, centres=centres, dt=self.dt, about=about)

    def coords(self) -> dict[str, np.ndarray]:
        labels = {"neuron": np.asarray(self.neurons), "source": np.asarray(self.neurons), self.feature: np.asarray(self.labels)}
        labels |= {"area": np.asarray(self.areas)[self.area], "area_to": np.asarray(self.areas), "area_from": np.asarray(self.areas)}
        return labels | {f"{name}_basis": np.arange(k.shape[1]) for name, k in self.kernels.items()}

    def masks(self) -> dict[str, np.ndarray]:
        exists = ~np.eye(len(self.neurons), dtype=bool)
        return {"coupling": np.repeat(exists[:, :, None], self.kernels["coupling"].shape[1], 2)}

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        return {f"{name}_kernels": ((f"{name}_lag", f"{name}_basis"), kernels) for name, kernels in self.kernels.items()}

    def constant_coords(self) -> dict[str, np.ndarray]:
        return {f"{name}_lag": np.round((self.first[name] + np.arange(len(k))) * self.dt, 12) for name, k in self.kernels.items()}

    def observed_site(self) -> str:
        return "spikes"


def simulate(rows: int = 5_000, seed: int = 0) -> xr.Dataset:
    """Six cells at 10 ms that follow the hand 120 ms ahead; coupling is strong within M1, weaker from PMv to M1, else absent."""
    rng = np.random.default_rng(seed)
    smooth = np.exp(-0.5 * (np.arange(-60, 61) / 15.0) ** 2)
    velocity = np.stack([np.convolve(rng.normal(size=rows + 132), smooth / np.sqrt((smooth**2).sum()), "valid") for _ in range(2)], 1)
    preferred = rng.uniform(0.0, 2.0 * np.pi, 6)
    kinematic = 0.5 * velocity[12:] @ np.stack([np.cos(preferred), np.sin(preferred)])
    weights = -1.5 * np.eye(6)  # (neuron, source)
    weights[:3, :3] += rng.normal(0.0, 0.8, (3, 3)) * ~np.eye(3, dtype=bool)
    weights[:3, 3:] = rng.normal(0.0, 0.4, (3, 3))
    spikes = np.zeros((rows, 6), int)
    for t in range(1, rows):
        spikes[t] = rng.poisson(np.exp(-2.0 + kinematic[t] + weights @ np.minimum(spikes[t - 1], 2)))
    return bg.recording(dt=0.01, spikes=spikes, velocity=velocity[:rows], labels={"area": ["M1"] * 3 + ["PMv"] * 3, "velocity": ["x", "y"]})


def main(rows: int = 20_000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw the scale of each block of couplings, and the couplings' net effects."""
    from matplotlib.figure import Figure

    fit = bg.fit(TwoAreaPopulation(), simulate(rows), method)
    print(fit)
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    scales = fit.posterior["coupling_scale"].stack(block=("area_to", "area_from"))
    band, blocks = bg.interval(scales), [f"{source} to {to}" for to, source in scales["block"].values]
    left.vlines(np.arange(len(blocks)), band.sel(bound="lower"), band.sel(bound="upper"), lw=2)
    left.plot(np.arange(len(blocks)), band.sel(bound="median"), "o")
    left.set_xticks(np.arange(len(blocks)), blocks, rotation=20)
    left.set(ylabel="scale of the couplings (log-gain a spike)", title="median and 90% interval", ylim=(0.0, None))
    net = bg.filters(fit, "coupling").sum("lag", skipna=False).median(("chain", "draw"))
    image = right.imshow(net, cmap="PuOr_r", vmin=-float(abs(net).max()), vmax=float(abs(net).max()))
    figure.colorbar(image, ax=right, label="net effect, sum over lags (log-gain a spike)")
    names = [f"{area} {label}" for area, label in zip(fit.model.coords()["area"], fit.model.neurons, strict=True)]
    right.set_xticks(range(6), names, rotation=45)
    right.set_yticks(range(6), names)
    right.set(xlabel="source", ylabel="receiver", title="functional coupling: posterior medians")
    return figure


if __name__ == "__main__":
    main().savefig("two_area_population.png")
