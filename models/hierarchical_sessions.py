"""Hierarchical sessions: tuning of cells of several sessions and types, with a scale that the cells of a type share."""

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
from bayesglm._data import areas, bin_width, neurons, period
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import log_mean, same_bins, seen_counts, signal
from bayesglm.models._stated import stated


class HierarchicalSessions(bg.AbstractModel):
    """Tuning curves whose size is learned from all cells of a type, over all sessions: one joint posterior.

    y_n(t) ~ Poisson(exp(eta_n(t))) where cell n was observed,  eta_n(t) = b_n + f_n(x(t)),  f_n = functions of the basis @ w_n

    w_n ~ Normal(0, tau_A^2) with A the type (or area) of cell n;  tau_A ~ HalfNormal(1), one a type;  eta_n at the average of
    the columns ~ StudentT(3, log mean y_n, 2.5). tau_A answers "how strongly do cells of this type tune?" with the uncertainty of
    few and poorly sampled cells in it; a cell of few spikes is drawn towards what its type does, not towards its own noise.

    Parameters
    ----------
    basis : AbstractBasis
        Over the values of the column; cyclic where that is ``bg.angle``.
    column : str
        The covariate, (time,).

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing, has gaps or more than one number a row; neurons without areas (types).

    References
    ----------
    Gelman & Hill 2007, Data analysis using regression and multilevel/hierarchical models; Gelman 2006, Prior distributions
    for variance parameters in hierarchical models.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.hierarchical_sessions import HierarchicalSessions, simulate
    >>> fit = bg.fit(HierarchicalSessions(), simulate(500), "laplace", progress=False)
    >>> fit.posterior["heading_scale"].dims, fit.posterior["area_to"].values.tolist()
    (('chain', 'draw', 'area_to'), ['interneuron', 'pyramidal'])
    """

    basis: bg.basis.AbstractBasis = eqx.field(default_factory=lambda: bg.basis.CyclicBSpline(6))
    column: str = eqx.field(default="heading", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    types: tuple | None = eqx.field(default=None, static=True, kw_only=True)  # names
    type_of: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) place among the names
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    average: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (basis,) of the columns in training
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) log of the mean count where observed

    def resolve(self, data: xr.Dataset) -> HierarchicalSessions:
        if self.average is not None:
            return self
        if areas(data) is None:
            raise ValueError("HierarchicalSessions wants the type of each neuron: bg.recording(..., labels={'area': ['pyramidal', 'interneuron', ...]}).")
        types, type_of = np.unique(areas(data), return_inverse=True)
        values = signal(data, self.column)
        basis = self.basis.resolve_values(values, period(data, self.column))
        fixed = {"neurons": tuple(neurons(data).tolist()), "types": tuple(types.tolist()), "type_of": type_of, "dt": bin_width(data)}
        return dataclasses.replace(self, **fixed, basis=basis, average=basis.kernels(values).mean(0), level=log_mean(*seen_counts(data)))

    def design(self, data: xr.Dataset) -> bg.Design:
        same_bins(data, self.dt)
        columns = self.basis.kernels(signal(data, self.column))
        each: dict[str, Any] = {"cells": {"level": self.level, "type": self.type_of}}
        if "spikes" not in data:
            return bg.Design({"columns": columns}, each, np.ones(len(columns)))
        counts, seen = seen_counts(data, self.neurons)
        return bg.Design({"columns": columns}, each | {"response": counts.T, "scored": seen.T.astype(float)}, np.ones(len(columns)))

    def __call__(self, design: bg.Design) -> None:
        columns, cells = design.shared["columns"], design.each["cells"]
        law = dist.HalfNormal(1.0).expand((len(self.types),)).to_event(1)
        tau = numpyro.sample(f"{self.column}_scale", law, infer={"event_dims": ["area_to"]})  # all cells share them
        with numpyro.plate("neuron", design.size, dim=-1):
            law = dist.Normal(0.0, jnp.broadcast_to(tau[cells["type"]][:, None], (design.size, columns.shape[1])))
            w = numpyro.sample(self.column, law.to_event(1), infer={"event_dims": [f"{self.column}_basis"]})
            b = numpyro.sample("baseline", dist.StudentT(3.0, cells["level"] - w @ self.average, 2.5))
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample("spikes", dist.Poisson(jnp.exp(b + columns @ w.T)), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        columns = design.shared["columns"]
        prior = bg.prior.Hierarchical("area", dist.HalfNormal(1.0), receivers=self.type_of, areas=(self.types,))
        mask = np.ones((design.size, columns.shape[1]), bool)
        tuning = bg.Block(self.column, (f"{self.column}_basis",), columns, None, mask, prior)
        about = {self.column: {"receiver": design.each["cells"]["type"]}}
        return stated(design, bg.family.Poisson(), "spikes", tuning, centres={self.column: self.average}, dt=self.dt, about=about)

    def curves(self, fit: bg.Fit, points: Any) -> xr.DataArray:
        """Draws of f_n(x) (log-gain) at ``points``, less its average over training: (chain, draw, neuron, <column>)."""
        points = np.asarray(points, float)
        kernels = xr.DataArray(self.basis.kernels(points) - self.average, {self.column: points}, (self.column, f"{self.column}_basis"))
        return xr.dot(fit.posterior[self.column], kernels, dim=f"{self.column}_basis")

    def coords(self) -> dict[str, np.ndarray]:
        return {"neuron": np.asarray(self.neurons), f"{self.column}_basis": np.arange(len(self.average)), "area_to": np.asarray(self.types)}

    def observed_site(self) -> str:
        return "spikes"


def simulate(rows: int = 6_000, seed: int = 0) -> xr.Dataset:
    """Three sessions at 50 ms, four cells each: two pyramidal cells that tune to heading, two interneurons that hardly do."""
    rng = np.random.default_rng(seed)
    sessions = {}
    for name, n in zip(("s1", "s2", "s3"), np.diff(rows * np.arange(4) // 3), strict=True):
        heading = np.cumsum(0.3 * rng.normal(size=n)) % (2.0 * np.pi)
        depth, rate = np.array([1.2, 0.9, 0.15, 0.1]), np.array([0.1, 0.2, 0.8, 1.0])
        drive = depth * np.cos(heading[:, None] - rng.uniform(0.0, 2.0 * np.pi, 4))
        types = ["pyramidal", "pyramidal", "interneuron", "interneuron"]
        sessions[name] = bg.recording(dt=0.05, spikes=rng.poisson(rate * np.exp(drive)), heading=bg.angle(heading), labels={"area": types})
    return bg.concat(sessions)


def main(rows: int = 9_000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw every cell's curve and the scale of each type."""
    from matplotlib.figure import Figure

    fit = bg.fit(HierarchicalSessions(), simulate(rows), method)
    print(fit)
    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    *panels, last = figure.subplots(1, len(fit.model.types) + 1)
    points, colours = np.linspace(0.0, 2.0 * np.pi, 90), ("#0072B2", "#D55E00", "#009E73")
    drawn = fit.model.curves(fit, points)
    for i, (ax, name) in enumerate(zip(panels, fit.model.types, strict=True)):
        for n in np.flatnonzero(fit.model.type_of == i):
            band = bg.interval(drawn.isel(neuron=n))
            ax.fill_between(points, band.sel(bound="lower"), band.sel(bound="upper"), color=colours[i], alpha=0.15, lw=0)
            ax.plot(points, band.sel(bound="median"), color=colours[i], lw=1.0)
        ax.sharey(panels[0])
        ax.set(title=f"{name}: {int((fit.model.type_of == i).sum())} cells", xlabel="heading (rad)", ylabel="log-gain, 90% bands" if i == 0 else "")
        last.hist(fit.posterior[f"{fit.model.column}_scale"].isel(area_to=i).values.ravel(), 25, density=True, alpha=0.6, color=colours[i], label=name)
    last.set(xlabel="scale of the weights", ylabel="posterior density", title="how strongly the type tunes", xlim=(0.0, None))
    last.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main().savefig("hierarchical_sessions.png")
