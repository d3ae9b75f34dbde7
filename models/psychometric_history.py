"""Psychometric behaviour: contrast, side bias and earlier choices, with biases and sensitivities that vary over sessions."""

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
from bayesglm._data import epoch_ids, require_column
from bayesglm.engine.from_trace import linear_of_story
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import choices, features, left_out, log_odds, require_resolved, unit_sd


class PsychometricHistory(bg.AbstractModel):
    """Logistic model of choices in a detection task, partially pooled over sessions.

    choice(i) ~ Bernoulli(1 / (1 + exp(-eta(i)))),
    eta(i) = beta + bias_s(i) + sum_f (w_f + u_s(i)f) x_f(i) + sum_{l = 1..lags} h_l c(i - l),  c = -1 or +1 of an earlier choice

    x: contrast on each side; s(i): the session. w_f ~ Normal(0, (tau_w / sd(x_f))^2); u_sf ~ Normal(0, (tau_u / sd(x_f))^2);
    bias_s ~ Normal(0, tau_b^2); h_l ~ Normal(0, tau_h^2); every tau ~ HalfNormal(1); eta at the average of the columns
    ~ StudentT(3, logit(mean choice), 2.5). tau_b and tau_u say how much sessions differ; a session of few trials is drawn
    towards the others. h_l is half the change in log-odds between the two choices l trials ago: perseveration above zero,
    alternation below. There is no lapse rate: an animal that guesses in a tenth of the trials flattens w.

    Parameters
    ----------
    column : str
        Contrasts, (trial, side), scaled as the animal sees them: tanh(5 c) / tanh(5) of a contrast c in [0, 1], for instance.
    response, session : str
        The choice (trial,), coded 0 and 1; the label of its session (trial,), as ``bg.concat`` makes it.
    lags : int
        Number of earlier trials; the first ones of a session are not scored.

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing or has gaps, a choice that is not coded 0 and 1, a session not seen in training.

    References
    ----------
    Busse et al. 2011, The detection of visual contrast in the behaving mouse; The International Brain Laboratory 2021,
    Standardized and reproducible measurement of decision-making in mice; Roy et al. 2021, Extracting the dynamics of behavior.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.psychometric_history import PsychometricHistory, simulate
    >>> fit = bg.fit(PsychometricHistory(), simulate(500), "laplace", progress=False)
    >>> fit.posterior["bias"].dims
    ('chain', 'draw', 'session')
    """

    column: str = eqx.field(default="contrast", static=True)
    response: str = eqx.field(default="choice", static=True)
    session: str = eqx.field(default="session", static=True)
    lags: int = eqx.field(default=3, static=True)
    feature: str = eqx.field(default="", static=True, kw_only=True)  # dim of the contrasts
    labels: tuple | None = eqx.field(default=None, static=True, kw_only=True)  # (feature,)
    sessions: tuple | None = eqx.field(default=None, static=True, kw_only=True)
    average: dict[str, np.ndarray] | None = eqx.field(default=None, kw_only=True)  # of every column in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (feature,)
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (1,) logit of the mean choice

    def resolve(self, data: xr.Dataset) -> PsychometricHistory:
        if self.average is not None:
            return self
        x, feature, labels = features(data, self.column)
        choice = choices(data, self.response)
        sessions = tuple(dict.fromkeys(require_column(data, self.session, "PsychometricHistory").values.tolist()))
        made = dataclasses.replace(self, feature=feature, labels=labels, sessions=sessions, sd=unit_sd(x), level=log_odds(choice))
        average = {name: columns.mean(0) for name, columns in made._columns(data).items()}
        return dataclasses.replace(made, average=average | {"history": np.full(self.lags, 2.0 * choice.mean() - 1.0)})

    def _columns(self, data: xr.Dataset) -> dict[str, np.ndarray]:
        """What multiplies each site's weights: (trial, *shape of the weights)."""
        x, rows = features(data, self.column, self.labels)[0], require_column(data, self.session, "PsychometricHistory").values.tolist()
        unknown = list(dict.fromkeys(label for label in rows if label not in self.sessions))
        if unknown:
            raise ValueError(f"The sessions {unknown[:5]} were not seen in training, which had {list(self.sessions)[:10]}: the model knows no bias there.")
        here = (np.array([self.sessions.index(label) for label in rows])[:, None] == np.arange(len(self.sessions))).astype(float)
        earlier = convolve(2.0 * choices(data, self.response) - 1.0, np.eye(self.lags), epoch_ids(data), first=1)
        return {"contrast": x, "history": earlier, "bias": here, "sensitivity": here[:, :, None] * x[:, None]}

    def design(self, data: xr.Dataset) -> bg.Design:
        require_resolved(self.average)
        columns, scored = self._columns(data), reach(epoch_ids(data), 1, self.lags)
        each = {"response": choices(data, self.response)[None], "cells": {"level": self.level}}
        return bg.Design(columns, each, scored.astype(float), left_out(scored, "the history reaches out of the session"))

    def __call__(self, design: bg.Design) -> None:
        dims = {"contrast": [self.feature], "history": ["history_basis"], "bias": [self.session], "sensitivity": [self.session, self.feature]}
        per_sd = {"contrast": 1.0 / self.sd, "sensitivity": 1.0 / self.sd}  # the unit of weights on contrast
        eta, middle = jnp.zeros((design.rows, 1)), jnp.zeros(1)
        with numpyro.plate("neuron", 1, dim=-1):  # one animal: the plate leaves no dim in the posterior
            for name, columns in design.shared.items():
                tau = numpyro.sample(f"{name}_scale", dist.HalfNormal(1.0))
                law = dist.Normal(0.0, jnp.broadcast_to(tau * per_sd.get(name, 1.0), (1, *columns.shape[1:])))
                w = numpyro.sample(name, law.to_event(columns.ndim - 1), infer={"event_dims": dims[name]})
                eta = eta + (columns * w).reshape(design.rows, -1).sum(1, keepdims=True)
                middle = middle + (self.average[name] * w).sum()
            b = numpyro.sample("baseline", dist.StudentT(3.0, design.each["cells"]["level"] - middle, 2.5))
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample(self.response, dist.Bernoulli(logits=b + eta), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        return linear_of_story(self, design, (*design.shared, "baseline"))

    def coords(self) -> dict[str, np.ndarray]:
        return {self.feature: np.asarray(self.labels), "history_basis": np.arange(self.lags), self.session: np.asarray(self.sessions)}

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        return {"history_kernels": (("history_lag", "history_basis"), np.eye(self.lags))}

    def constant_coords(self) -> dict[str, np.ndarray]:
        return {"history_lag": 1.0 + np.arange(self.lags)}

    def observed_site(self) -> str:
        return self.response

    @property
    def has_neurons(self) -> bool:
        return False


def simulate(trials: int = 1200, seed: int = 0) -> xr.Dataset:
    """Four sessions of a mouse that repeats itself; each has a bias of its own."""
    rng = np.random.default_rng(seed)
    parts = {}
    for name, bias, n in zip(("mon", "tue", "wed", "thu"), (0.8, -0.6, 0.1, -0.2), np.diff(trials * np.arange(5) // 4), strict=True):
        contrast = rng.choice([0.0, 0.06, 0.12, 0.25, 1.0], n)[:, None] * np.eye(2)[rng.integers(0, 2, n)]
        seen, choice = np.tanh(5.0 * contrast) / np.tanh(5.0), np.zeros(n, int)
        for i in range(n):
            eta = bias + seen[i] @ [-3.5, 4.0] + (0.5 * (2 * choice[i - 1] - 1) if i else 0.0)
            choice[i] = rng.random() < 1.0 / (1.0 + np.exp(-eta))
        parts[name] = bg.recording(rows="trial", choice=choice, contrast=seen, labels={"contrast": ["left", "right"]})
    return bg.concat(parts)


def main(trials: int = 2000, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw the psychometric curve after either choice, each session's bias and the choice history."""
    from matplotlib.figure import Figure

    fit = bg.fit(PsychometricHistory(), simulate(trials), method)
    print(fit)
    drawn, x = fit.posterior, xr.DataArray(np.linspace(-1.0, 1.0, 81), dims="x")
    sides = xr.concat([np.maximum(-x, 0.0), np.maximum(x, 0.0)], fit.model.feature).assign_coords({fit.model.feature: list(fit.model.labels)})
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    curve, bias, past = figure.subplots(1, 3, width_ratios=(1.5, 1.0, 1.0))
    for sign, label, colour in ((-1.0, "left", "#0072B2"), (1.0, "right", "#D55E00")):
        eta = drawn["baseline"] + (drawn["contrast"] * sides).sum(fit.model.feature) + sign * drawn["history"].isel(history_basis=0)
        band = bg.interval(1.0 / (1.0 + np.exp(-eta)))
        curve.fill_between(x, band.sel(bound="lower"), band.sel(bound="upper"), color=colour, alpha=0.3, lw=0)
        curve.plot(x, band.sel(bound="median"), color=colour, label=f"after a choice {label}")
    curve.set(xlabel="contrast seen, right less left", ylabel="P(choice right)", title="median and 90% band")
    curve.legend(fontsize=8)
    for ax, band, ticks in ((bias, bg.interval(drawn["bias"]), fit.model.sessions), (past, bg.interval(drawn["history"]), range(1, fit.model.lags + 1))):
        ax.axhline(0.0, color="0.3", lw=0.8, ls="--")
        ax.vlines(np.arange(len(ticks)), band.sel(bound="lower"), band.sel(bound="upper"))
        ax.plot(np.arange(len(ticks)), band.sel(bound="median"), "o")
        ax.set_xticks(np.arange(len(ticks)), ticks)
    bias.set(xlabel="session", ylabel="bias (log-odds)", title="90% intervals")
    past.set(xlabel="trials back", ylabel="weight of the choice (log-odds)")
    return figure


if __name__ == "__main__":
    main().savefig("psychometric_history.png")
