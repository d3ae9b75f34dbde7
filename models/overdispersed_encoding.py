"""Overdispersed encoding: tuning of spike counts that vary more from trial to trial than Poisson counts do."""

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
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import log_mean, responses, same_bins, signal, spike_counts
from bayesglm.models._stated import stated


class OverdispersedEncoding(bg.AbstractModel):
    """Tuning with negative binomial counts: a Poisson cell whose gain fluctuates from trial to trial.

    y_n(i) ~ NegativeBinomial(mean m_n(i), variance m_n(i) + a_n m_n(i)^2),  log m_n(i) = b_n + f_n(x(i)),
    f_n = functions of the basis @ w_n

    w_n ~ Normal(0, tau_n^2),  tau_n ~ HalfNormal(1);  log m_n at the average of the columns ~ StudentT(3, log mean y_n, 2.5);
    a_n ~ HalfNormal(1). A gamma-distributed gain of mean 1 and variance a_n gives exactly this law. A Poisson model of such
    counts has the right curve and bands that are too narrow, by about sqrt(1 + a m).

    Parameters
    ----------
    basis : AbstractBasis
        Over the values of the column; cyclic where that is ``bg.angle``.
    column : str
        What was shown, (trial,) or (time,).

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing, has gaps or more than one number a row.

    References
    ----------
    Pillow & Scott 2012, Fully Bayesian inference for neural models with negative-binomial spiking; Goris, Movshon &
    Simoncelli 2014, Partitioning neuronal variability.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.overdispersed_encoding import OverdispersedEncoding, simulate
    >>> fit = bg.fit(OverdispersedEncoding(), simulate(500), "laplace", progress=False)
    >>> fit.posterior["dispersion"].dims  # variance of the gain
    ('chain', 'draw', 'neuron')
    """

    basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.CyclicBSpline(6))
    column: str = eqx.field(default="direction", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    average: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (basis,) of the columns in training
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) log of the mean count

    def resolve(self, data: xr.Dataset) -> OverdispersedEncoding:
        if self.average is not None:
            return self
        values = signal(data, self.column)
        basis = self.basis.resolve_values(values, period(data, self.column))
        fixed = {"neurons": tuple(neurons(data).tolist()), "dt": bin_width(data)}
        return dataclasses.replace(self, **fixed, basis=basis, average=basis.kernels(values).mean(0), level=log_mean(spike_counts(data)))

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)
        columns = self.basis.kernels(signal(data, self.column))
        return bg.Design({"columns": columns}, responses(data, self.neurons) | {"cells": {"level": self.level}}, np.ones(len(columns)))

    def __call__(self, design: bg.Design) -> None:
        columns = design.shared["columns"]
        with numpyro.plate("neuron", design.size, dim=-1):
            scale = numpyro.sample(f"{self.column}_scale", dist.HalfNormal(1.0))
            law = dist.Normal(0.0, jnp.broadcast_to(scale[:, None], (design.size, columns.shape[1])))
            w = numpyro.sample(self.column, law.to_event(1), infer={"event_dims": [f"{self.column}_basis"]})
            b = numpyro.sample("baseline", dist.StudentT(3.0, design.each["cells"]["level"] - w @ self.average, 2.5))
            a = numpyro.sample("dispersion", dist.HalfNormal(1.0))
            counts = bg.family.NegativeBinomial()(b + columns @ w.T, {"dispersion": a}, self.dt)  # JAX's betaln, in NumPyro's own, is off by 5e-7
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", counts, obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        if "response" not in design.each:
            return None
        columns = design.shared["columns"]
        mask = np.ones((design.size, columns.shape[1]), bool)
        tuning = bg.Block(self.column, (f"{self.column}_basis",), columns, None, mask, bg.prior.Gaussian(dist.HalfNormal(1.0)))
        family = bg.family.NegativeBinomial().resolve("spikes", design.each["response"])
        return stated(design, family, "spikes", tuning, centres={self.column: self.average}, dt=self.dt)

    def rates(self, fit: bg.Fit, points: Any) -> xr.DataArray:
        """Draws of the mean count m_n(x) at ``points``: (chain, draw, neuron, <column>)."""
        points = np.asarray(points, float)
        kernels = xr.DataArray(self.basis.kernels(points), {self.column: points}, (self.column, f"{self.column}_basis"))
        return np.exp(fit.posterior["baseline"] + xr.dot(fit.posterior[self.column], kernels, dim=f"{self.column}_basis"))

    def coords(self) -> dict[str, np.ndarray]:
        return {"neuron": np.asarray(self.neurons), f"{self.column}_basis": np.arange(len(self.average))}

    def observed_site(self) -> str:
        return "spikes"


def simulate(trials: int = 400, seed: int = 0) -> xr.Dataset:
    """Counts of two direction-tuned cells; the gain of the second varies with a standard deviation of 0.6."""
    rng = np.random.default_rng(seed)
    direction = rng.choice(np.arange(0, 360, 15), trials)
    distance = np.deg2rad(direction[:, None] - np.array([90.0, 210.0]))
    gain = np.stack([np.ones(trials), rng.gamma(1.0 / 0.36, 0.36, trials)], 1)
    spikes = rng.poisson(gain * np.exp(np.log(3.0) + 1.2 * np.cos(distance)))
    return bg.recording(rows="trial", spikes=spikes, direction=bg.angle(direction.astype(float), period=360))


def main(trials: int = 600, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw each cell's counts with its curve, and their variance about it."""
    from matplotlib.figure import Figure

    data = simulate(trials)
    fit = bg.fit(OverdispersedEncoding(), data, method)
    print(fit)
    shown, points = np.unique(data["direction"]), np.linspace(0.0, 360.0, 100)
    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    for row, axes in enumerate(figure.subplots(2, 2)):
        counts = data["spikes"].values[:, row]
        mean, variance = (np.array([part(counts[data["direction"] == x]) for x in shown]) for part in (np.mean, np.var))
        band = bg.interval(fit.model.rates(fit, points).isel(neuron=row))
        axes[0].plot(data["direction"], counts, ".", color="0.75", markersize=3, label="a trial")
        axes[0].fill_between(points, band.sel(bound="lower"), band.sel(bound="upper"), alpha=0.4, lw=0, label="90% band of the mean")
        axes[0].plot(points, band.sel(bound="median"))
        axes[0].set(xlabel="direction (degrees)", ylabel=f"neuron {row}: spikes a trial", xticks=np.arange(0, 361, 90))
        m = np.linspace(0.01, mean.max(), 50)
        law = bg.interval(m + fit.posterior["dispersion"].isel(neuron=row) * xr.DataArray(m**2, dims="mean"))
        axes[1].plot(mean, variance, ".", color="0.5", label="a direction")
        axes[1].plot(m, m, "k--", lw=0.8, label="Poisson")
        axes[1].fill_between(m, law.sel(bound="lower"), law.sel(bound="upper"), alpha=0.4, lw=0, label="m + a m²: 90% band")
        axes[1].set(xlabel="mean count", ylabel="variance of the count")
        if row == 0:
            axes[0].legend(fontsize=8)
            axes[1].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main().savefig("overdispersed_encoding.png")
