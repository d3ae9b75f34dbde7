"""Orientation decoding: which angle was shown, given the spike counts of many cells, and how surely?"""

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
from bayesglm._data import period
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import features, require_resolved, shrinkage, signal, unit_sd
from bayesglm.models._stated import stated


class OrientationDecoding(bg.AbstractModel):
    """A von Mises distribution of the angle, whose natural parameters are linear in the counts of a trial.

    log p(theta(i)) = a(i) cos theta(i) + b(i) sin theta(i) - log I0(sqrt(a(i)^2 + b(i)^2)) - log period,
    (a(i), b(i)) = beta + sum_f w_f counts_f(i),  theta in turns of 2 pi a period

    w_fc ~ Normal(0, (tau / sd(counts_f))^2),  tau ~ HalfNormal(min(1, sqrt(20 / cells)));  (a, b) at the mean counts ~
    StudentT(3, those of the shown angles alone, 2.5). The direction of (a, b) is the decoded angle, its length how sure the
    cells are. For independent Poisson cells with circular tuning kappa_f cos(theta - theta_f) it is Bayes' rule, with
    w_f = kappa_f (cos theta_f, sin theta_f). Squared errors of raw degrees know nothing of the circle.

    Parameters
    ----------
    column : str
        Counts, (trial, feature).
    response : str
        The angle, (trial,), marked by ``bg.angle(values, period=180)``.

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing or has gaps, a response that is not marked as an angle.

    References
    ----------
    Ma, Beck, Latham & Pouget 2006, Bayesian inference with probabilistic population codes; Fisher & Lee 1992, Regression
    models for an angular response; Stringer et al. 2021, High-precision coding in visual cortex.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.orientation_decoding import OrientationDecoding, simulate
    >>> train, test = bg.split(simulate(500), 0.5)
    >>> fit = bg.fit(OrientationDecoding(), train, "laplace", progress=False)
    >>> fit.model.decoded(fit, test).dims  # degrees
    ('chain', 'draw', 'trial')
    """

    column: str = eqx.field(default="counts", static=True)
    response: str = eqx.field(default="orientation", static=True)
    period: float = eqx.field(default=0.0, static=True, kw_only=True)
    feature: str = eqx.field(default="", static=True, kw_only=True)  # dim of the counts
    labels: tuple | None = eqx.field(default=None, static=True, kw_only=True)  # (feature,)
    mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (feature,) of the counts in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (1, 2) natural parameters of the shown angles alone

    def resolve(self, data: xr.Dataset) -> OrientationDecoding:
        if self.mean is not None:
            return self
        counts, feature, labels = features(data, self.column)
        angle, circle = signal(data, self.response), period(data, self.response)
        if circle is None:
            raise ValueError(f"{self.response!r} is not marked as an angle: {self.response}=bg.angle(values, period=180) in bg.recording.")
        level = bg.family.VonMises(circle).levels(angle)[None]
        return dataclasses.replace(self, period=circle, feature=feature, labels=labels, mean=counts.mean(0), sd=unit_sd(counts), level=level)

    def design(self, data: xr.Dataset) -> bg.Design:
        require_resolved(self.mean)
        counts = features(data, self.column, self.labels)[0]
        each: dict[str, Any] = {"response": signal(data, self.response)[None]} if self.response in data else {}
        return bg.Design({"counts": counts}, each | {"cells": {"level": self.level}}, np.ones(len(counts)))

    def __call__(self, design: bg.Design) -> None:
        counts = design.shared["counts"]
        with numpyro.plate("neuron", 1, dim=-1):  # one decision maker: the plate leaves no dim in the posterior
            tau = numpyro.sample("weights_scale", dist.HalfNormal(shrinkage(len(self.sd))))
            law = dist.Normal(0.0, jnp.broadcast_to(tau[:, None, None] / self.sd[:, None], (1, len(self.sd), 2)))
            w = numpyro.sample("weights", law.to_event(2), infer={"event_dims": [self.feature, "component"]})
            law = dist.StudentT(3.0, design.each["cells"]["level"] - jnp.einsum("f,nfc->nc", self.mean, w), 2.5)
            beta = numpyro.sample("baseline", law.to_event(1), infer={"event_dims": ["component"]})
            natural = beta + jnp.einsum("tf,nfc->tnc", counts, w)  # a and b, last
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample(self.response, bg.family.VonMises(self.period)(natural, {}, 1.0), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        counts = design.shared["counts"]
        prior = bg.prior.Gaussian(dist.HalfNormal(shrinkage(len(self.sd)))).relative_to(1.0 / self.sd[:, None])
        weights = bg.Block("weights", (self.feature,), counts, None, np.ones((1, counts.shape[1]), bool), prior)
        return stated(design, bg.family.VonMises(self.period), self.response, weights, centres={"weights": self.mean})

    def natural(self, fit: bg.Fit, data: xr.Dataset) -> xr.DataArray:
        """Draws of (a, b) of every trial: (chain, draw, trial, component)."""
        counts = xr.DataArray(features(data, self.column, self.labels)[0], dims=("trial", self.feature))
        return fit.posterior["baseline"] + xr.dot(fit.posterior["weights"], counts, dim=self.feature)

    def decoded(self, fit: bg.Fit, data: xr.Dataset) -> xr.DataArray:
        """Draws of the decoded angle, in the response's unit, in [0, period): (chain, draw, trial)."""
        found = self.natural(fit, data)
        radians = np.arctan2(found.sel(component="sin", drop=True), found.sel(component="cos", drop=True))
        return (radians * (self.period / (2.0 * np.pi)) % self.period).transpose("chain", "draw", "trial")

    def coords(self) -> dict[str, np.ndarray]:
        return {self.feature: np.asarray(self.labels), "component": np.array(["cos", "sin"])}

    def observed_site(self) -> str:
        return self.response

    @property
    def has_neurons(self) -> bool:
        return False


def simulate(trials: int = 400, cells: int = 24, seed: int = 0) -> xr.Dataset:
    """Poisson cells tuned to orientation, half a spike a trial each: the optimal decoder's weights are known."""
    rng = np.random.default_rng(seed)
    orientation = rng.uniform(0.0, 180.0, trials)
    preferred = np.arange(cells) * 180.0 / cells
    counts = rng.poisson(0.5 * np.exp(np.cos(np.deg2rad(2.0 * (orientation[:, None] - preferred)))))
    labels = {"counts": [f"{angle:g}" for angle in preferred]}
    return bg.recording(rows="trial", counts=counts, orientation=bg.angle(orientation, period=180), labels=labels)


def main(trials: int = 1200, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw decoded against shown angles, and the weights against those of Bayes' rule."""
    from matplotlib.figure import Figure

    train, test = bg.split(simulate(trials), 0.5)
    fit = bg.fit(OrientationDecoding(), train, method)
    print(fit)
    natural = fit.model.natural(fit, test).mean(("chain", "draw"))
    decoded = np.rad2deg(np.arctan2(natural.sel(component="sin"), natural.sel(component="cos"))) / 2.0 % 180.0
    error = (decoded - test["orientation"].values + 90.0) % 180.0 - 90.0
    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    sure = left.scatter(test["orientation"], decoded, c=np.hypot(*natural.transpose("component", ...).values), s=10, cmap="viridis")
    figure.colorbar(sure, ax=left, label="concentration κ")
    left.set(xlabel="orientation shown (degrees)", ylabel="decoded (degrees)", title=f"unseen trials: median error {np.median(np.abs(error)):.1f}°")
    left.set(xticks=np.arange(0, 181, 45), yticks=np.arange(0, 181, 45))
    preferred = np.array(fit.model.labels, float)
    for component, law, colour in (("cos", np.cos, "#0072B2"), ("sin", np.sin, "#D55E00")):
        band = bg.interval(fit.posterior["weights"].sel(component=component))
        right.vlines(preferred, band.sel(bound="lower"), band.sel(bound="upper"), color=colour, lw=1.2)
        right.plot(preferred, band.sel(bound="median"), "o", color=colour, ms=3.5, label=f"{component}: 90% interval")
        right.plot(np.arange(181), law(np.deg2rad(2.0 * np.arange(181))), color=colour, lw=0.9, alpha=0.6, label="Bayes' rule")
    right.set(xlabel="preferred orientation of the cell (degrees)", ylabel="weight of a spike", xticks=np.arange(0, 181, 45))
    right.set(ylim=(-1.6, 2.6))
    right.legend(fontsize=7, ncols=2, loc="upper center")
    return figure


if __name__ == "__main__":
    main().savefig("orientation_decoding.png")
