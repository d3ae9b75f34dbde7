"""Feature encoding: responses to images as a weighted sum of any features, such as those of a bank of Gabor filters."""

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
from bayesglm._data import neurons, require_column
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import features, require_resolved, unit_sd
from bayesglm.models._stated import stated


class FeatureEncoding(bg.AbstractModel):
    """Linear readout of features: calcium responses, or z-scored rates, of many cells to many images.

    y_n(i) ~ Normal(b_n + sum_f w_nf x_f(i), sigma_n^2)

    w_nf ~ Normal(0, (tau_n / sd(x_f))^2),  tau_n ~ HalfNormal(1);  the mean response at the mean features
    ~ StudentT(3, mean y_n, 2.5);  sigma_n ~ HalfStudentT(4, sd(y_n)). The shrinkage tau_n is learned of each cell, so that there
    may be more features than images: the posterior is then exact in the space that the images span.

    Parameters
    ----------
    column : str
        Features, (trial, feature): ``bg.features.gabor_bank(images)``, or the activations of a network's layer.
    response : str
        (trial, neuron).

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing, has gaps or another number of features than in training.

    References
    ----------
    Kay et al. 2008, Identifying natural images from human brain activity; Cadena et al. 2019, Deep convolutional models
    improve predictions of macaque V1 responses to natural images.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.feature_encoding import FeatureEncoding, simulate
    >>> train, test = bg.split(simulate(500), 0.5)
    >>> fit = bg.fit(FeatureEncoding(), train, "laplace", progress=False)
    >>> bg.predict(fit, test).dims
    ('chain', 'draw', 'trial', 'neuron')
    """

    column: str = eqx.field(default="features", static=True)
    response: str = eqx.field(default="response", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    feature: str = eqx.field(default="", static=True, kw_only=True)  # dim of the features
    labels: tuple | None = eqx.field(default=None, static=True, kw_only=True)  # (feature,)
    mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (feature,) in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) mean response
    spread: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) its sd

    def resolve(self, data: xr.Dataset) -> FeatureEncoding:
        if self.mean is not None:
            return self
        x, feature, labels = features(data, self.column)
        y = self._responses(data)
        fixed = {"neurons": tuple(neurons(data).tolist()), "feature": feature, "labels": labels, "mean": x.mean(0), "sd": unit_sd(x)}
        return dataclasses.replace(self, **fixed, level=y.mean(0), spread=unit_sd(y))

    def _responses(self, data: xr.Dataset) -> np.ndarray:
        y = require_column(data, self.response, "FeatureEncoding")
        if "neuron" not in y.dims or y.ndim != 2 or np.isnan(y.values).any():
            raise ValueError(f"FeatureEncoding wants {self.response!r} (trial, neuron) without NaN: {self.response}=(('trial', 'neuron'), array).")
        here = tuple(neurons(data).tolist())
        if self.neurons is not None and here != self.neurons:
            raise ValueError(f"The model was resolved on the neurons {list(self.neurons)[:8]}, the recording has {list(here)[:8]}: select the same ones.")
        return y.transpose(..., "neuron").values.astype(float)

    def design(self, data: xr.Dataset) -> bg.Design:
        require_resolved(self.mean)
        x = features(data, self.column, self.labels)[0]
        each: dict[str, Any] = {"response": self._responses(data).T} if self.response in data else {}
        return bg.Design({"features": x}, each | {"cells": {"level": self.level, "spread": self.spread}}, np.ones(len(x)))

    def __call__(self, design: bg.Design) -> None:
        x, cells = design.shared["features"], design.each["cells"]
        with numpyro.plate("neuron", design.size, dim=-1):
            scale = numpyro.sample("weights_scale", dist.HalfNormal(1.0))
            law = dist.Normal(0.0, scale[:, None] / self.sd)
            w = numpyro.sample("weights", law.to_event(1), infer={"event_dims": [self.feature]})
            b = numpyro.sample("baseline", dist.StudentT(3.0, cells["level"] - w @ self.mean, 2.5))
            sigma = numpyro.sample("sigma", bg.prior.HalfStudentT(4.0, cells["spread"]))
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample(self.response, dist.Normal(b + jnp.asarray(x) @ w.T, sigma), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        x = design.shared["features"]
        prior = bg.prior.Gaussian(dist.HalfNormal(1.0)).relative_to(1.0 / self.sd)
        weights = bg.Block("weights", (self.feature,), x, None, np.ones((design.size, x.shape[1]), bool), prior)
        return stated(design, bg.family.Gaussian(), self.response, weights, centres={"weights": self.mean})

    def coords(self) -> dict[str, np.ndarray]:
        return {"neuron": np.asarray(self.neurons), self.feature: np.asarray(self.labels)}

    def observed_site(self) -> str:
        return self.response


def simulate(images: int = 600, seed: int = 0) -> xr.Dataset:
    """Two complex cells, of 45 and 120 degrees, see noise images; their responses are z-scored, a fifth is signal."""
    rng = np.random.default_rng(seed)
    pictures = rng.normal(size=(images, 16, 16))
    bank = bg.features.gabor_bank(pictures, orientations=np.arange(0, 180, 15), wavelengths=(6,), positions="centre", cells="complex")
    driven = np.stack([bank.values[:, bank["orientation"] == angle][:, 0] for angle in (45, 120)], 1)
    driven = (driven - driven.mean(0)) / driven.std(0)
    response = np.sqrt(0.2) * driven + np.sqrt(0.8) * rng.normal(size=driven.shape)
    labels = {"features": bank["orientation"].values.astype(str)}
    return bg.recording(rows="trial", features=bank.values, response=(("trial", "neuron"), response), labels=labels)


def main(images: int = 1200, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw each cell's weights over the orientation of the feature, with their bands."""
    from matplotlib.figure import Figure

    train, test = bg.split(simulate(images), 0.5)
    fit = bg.fit(FeatureEncoding(), train, method)
    print(fit)
    predicted = bg.predict(fit, test).mean(("chain", "draw"))
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    for row, (ax, angle) in enumerate(zip(figure.subplots(1, 2, sharey=True), (45, 120), strict=True)):
        r = np.corrcoef(predicted[:, row], test["response"][:, row])[0, 1]
        band = bg.interval(fit.posterior["weights"].isel(neuron=row) * xr.DataArray(fit.model.sd, dims=fit.model.feature))
        x = np.array(fit.model.labels, float)
        ax.axvline(angle, color="0.7", label="planted")
        ax.axhline(0.0, color="0.3", lw=0.8, ls="--")
        ax.fill_between(x, band.sel(bound="lower"), band.sel(bound="upper"), alpha=0.35, lw=0, label="90% band")
        ax.plot(x, band.sel(bound="median"), "o-", label="median")
        ax.set(xlabel="orientation of the feature (degrees)")
        ax.set_title(f"neuron {row}: r = {r:.2f} on unseen images ({np.sqrt(0.2):.2f} at best)", fontsize=9)
        ax.set(ylabel="weight (per sd of the feature)" if row == 0 else "", xticks=np.arange(0, 180, 45))
    figure.axes[0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main().savefig("feature_encoding.png")
