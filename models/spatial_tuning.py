"""Spatial tuning: does a cell follow place, speed or heading, each given the others?"""

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
from bayesglm._data import bin_width, neurons, period
from bayesglm.engine.from_trace import linear_of_story
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import log_mean, responses, same_bins, signal, spike_counts


class SpatialTuning(bg.AbstractModel):
    """Tuning to several covariates at once: gains of place, speed and heading multiply one another.

    y_n(t) ~ Poisson(exp(eta_n(t))),  eta_n(t) = b_n + sum_c f_nc(x_c(t)),  f_nc = functions of basis c @ w_nc

    w_nc ~ Normal(0, tau_nc^2),  tau_nc ~ HalfNormal(1);  eta_n at the average of the columns ~ StudentT(3, log mean y_n, 2.5).
    A curve that is tuned alone and flat beside the others is explained by them: an animal runs fastest where it turns least.

    Parameters
    ----------
    bases : dict
        Column -> basis over its values. Default: position and speed on B-splines, heading (``bg.angle``) on a cyclic one.

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing, has gaps or more than one number a row.

    References
    ----------
    Brown et al. 1998, A statistical paradigm for neural spike train decoding; Hardcastle et al. 2017, A multiplexed,
    heterogeneous, and adaptive code for navigation in medial entorhinal cortex.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.spatial_tuning import SpatialTuning, simulate
    >>> fit = bg.fit(SpatialTuning(), simulate(500), "laplace", progress=False)
    >>> fit.model.curves(fit, "speed", [5.0, 10.0, 20.0]).dims
    ('chain', 'draw', 'neuron', 'speed')
    """

    bases: dict[str, bg.basis.AbstractBasis] = eqx.field(
        default_factory=lambda: {"position": bg.basis.BSpline(8), "speed": bg.basis.BSpline(5), "heading": bg.basis.CyclicBSpline(6)}
    )
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    average: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)  # (basis,) of the columns in training
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) log of the mean count

    def resolve(self, data: xr.Dataset) -> SpatialTuning:
        if self.average is not None:
            return self
        values = {name: signal(data, name) for name in self.bases}
        bases = {name: basis.resolve_values(values[name], period(data, name)) for name, basis in self.bases.items()}
        average = {name: basis.kernels(values[name]).mean(0) for name, basis in bases.items()}
        fixed = {"neurons": tuple(neurons(data).tolist()), "dt": bin_width(data)}
        return dataclasses.replace(self, bases=bases, average=average, level=log_mean(spike_counts(data)), **fixed)

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)  # eta is about a bin
        columns = {name: basis.kernels(signal(data, name)) for name, basis in self.bases.items()}
        each = responses(data, self.neurons) | {"cells": {"level": self.level}}
        return bg.Design(columns, each, np.ones(data.sizes["time"]))

    def __call__(self, design: bg.Design) -> None:
        eta, middle = jnp.zeros((design.rows, design.size)), jnp.zeros(design.size)
        with numpyro.plate("neuron", design.size, dim=-1):
            for name, columns in design.shared.items():
                scale = numpyro.sample(f"{name}_scale", dist.HalfNormal(1.0))
                law = dist.Normal(0.0, jnp.broadcast_to(scale[:, None], (design.size, columns.shape[1])))
                w = numpyro.sample(name, law.to_event(1), infer={"event_dims": [f"{name}_basis"]})
                eta, middle = eta + columns @ w.T, middle + w @ self.average[name]
            b = numpyro.sample("baseline", dist.StudentT(3.0, design.each["cells"]["level"] - middle, 2.5))
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", dist.Poisson(jnp.exp(b + eta)), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        return linear_of_story(self, design, (*self.bases, "baseline"))

    def curves(self, fit: bg.Fit, column: str, points: Any) -> xr.DataArray:
        """Draws of f_n(x) (log-gain) of one covariate at ``points``, less its average over training: (chain, draw, neuron, <column>)."""
        columns = self.bases[column].kernels(np.asarray(points, float)) - self.average[column]
        kernels = xr.DataArray(columns, {column: np.asarray(points, float)}, (column, f"{column}_basis"))
        return xr.dot(fit.posterior[column], kernels, dim=f"{column}_basis")

    def coords(self) -> dict[str, np.ndarray]:
        return {"neuron": np.asarray(self.neurons)} | {f"{name}_basis": np.arange(len(middle)) for name, middle in self.average.items()}

    def observed_site(self) -> str:
        return "spikes"


def simulate(rows: int = 10_000, seed: int = 0) -> xr.Dataset:
    """A place cell and a head-direction cell at 50 ms; speed moves neither, but is highest in the middle of the track."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows) * 0.05
    position = 50.0 + 50.0 * np.sin(0.2 * t + 0.3 * np.sin(0.017 * t))  # cm
    speed = np.abs(np.gradient(position, 0.05)) * np.exp(0.2 * rng.normal(size=rows))  # cm/s
    heading = np.cumsum(0.2 * rng.normal(size=rows)) % (2.0 * np.pi)
    place, direction = -0.5 * ((position - 60.0) / 10.0) ** 2, 2.0 * (np.cos(heading - 1.0) - 1.0)
    spikes = rng.poisson(np.exp(np.stack([place, direction], 1) - 0.5))
    return bg.recording(dt=0.05, spikes=spikes, position=position, speed=speed, heading=bg.angle(heading))


def main(rows: int = 20_000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw each cell's curves with their bands."""
    from matplotlib.figure import Figure

    fit = bg.fit(SpatialTuning(), simulate(rows), method)
    print(fit)
    units = {"position": "cm", "speed": "cm/s", "heading": "rad"}
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    for row, axes in enumerate(figure.subplots(2, 3, sharey=True)):
        for ax, column in zip(axes, fit.model.bases, strict=True):
            points = np.linspace(*np.quantile(fit.data[column], [0.01, 0.99]), 80)
            band = bg.interval(fit.model.curves(fit, column, points).isel(neuron=row))
            ax.fill_between(points, band.sel(bound="lower"), band.sel(bound="upper"), alpha=0.3, lw=0)
            ax.plot(points, band.sel(bound="median"))
            ax.set(xlabel=f"{column} ({units[column]})", ylabel=f"neuron {row}: log-gain" if ax is axes[0] else "")
    return figure


if __name__ == "__main__":
    main().savefig("spatial_tuning.png")
