"""Choice decoding: which choice will the animal make, given the spike counts of many cells in a trial?"""

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
from bayesglm.engine.linear import Linear
from bayesglm.models._recording import choices, features, log_odds, require_resolved, shrinkage, unit_sd
from bayesglm.models._stated import stated


class ChoiceDecoding(bg.AbstractModel):
    """Logistic regression of a choice on the counts of a trial, with a learned Gaussian (L2) shrinkage.

    choice(i) ~ Bernoulli(1 / (1 + exp(-eta(i)))),  eta(i) = b + sum_f w_f counts_f(i)

    w_f ~ Normal(0, (tau / sd(counts_f))^2),  tau ~ HalfNormal(min(1, sqrt(20 / cells)));  eta at the mean counts ~ StudentT(3,
    logit(mean choice), 2.5). Without a prior, more cells than trials decode the training set perfectly and mean nothing;
    here tau is learned, under a law that shares what eta may move among the cells, and a probability of 0.9 is meant to be
    right nine times in ten.

    Parameters
    ----------
    column : str
        Counts, (trial, feature).
    response : str
        The choice, (trial,), coded 0 and 1.

    Raises
    ------
    ValueError
        By ``fit``: a column that is missing or has gaps, a choice that is not coded 0 and 1.

    References
    ----------
    Steinmetz et al. 2019, Distributed coding of choice, action and engagement across the mouse brain.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.models.choice_decoding import ChoiceDecoding, simulate
    >>> train, test = bg.split(simulate(200), 0.5)
    >>> fit = bg.fit(ChoiceDecoding(), train, "laplace", progress=False)
    >>> bg.predict(fit, test).dims  # P(choice = 1)
    ('chain', 'draw', 'trial')
    """

    column: str = eqx.field(default="counts", static=True)
    response: str = eqx.field(default="choice", static=True)
    feature: str = eqx.field(default="", static=True, kw_only=True)  # dim of the counts
    labels: tuple | None = eqx.field(default=None, static=True, kw_only=True)  # (feature,)
    mean: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (feature,) of the counts in training
    sd: np.ndarray | None = eqx.field(default=None, kw_only=True)
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (1,) logit of the mean choice

    def resolve(self, data: xr.Dataset) -> ChoiceDecoding:
        if self.mean is not None:
            return self
        counts, feature, labels = features(data, self.column)
        level = log_odds(choices(data, self.response))
        return dataclasses.replace(self, feature=feature, labels=labels, mean=counts.mean(0), sd=unit_sd(counts), level=level)

    def design(self, data: xr.Dataset) -> bg.Design:
        require_resolved(self.mean)
        counts = features(data, self.column, self.labels)[0]
        each: dict[str, Any] = {"response": choices(data, self.response)[None]} if self.response in data else {}
        return bg.Design({"counts": counts}, each | {"cells": {"level": self.level}}, np.ones(len(counts)))

    def __call__(self, design: bg.Design) -> None:
        counts = design.shared["counts"]
        with numpyro.plate("neuron", 1, dim=-1):  # one decision maker: the plate leaves no dim in the posterior
            scale = numpyro.sample("weights_scale", dist.HalfNormal(shrinkage(len(self.sd))))
            law = dist.Normal(0.0, scale[:, None] / self.sd)
            w = numpyro.sample("weights", law.to_event(1), infer={"event_dims": [self.feature]})
            b = numpyro.sample("baseline", dist.StudentT(3.0, design.each["cells"]["level"] - w @ self.mean, 2.5))
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=design.weight() > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample(self.response, dist.Bernoulli(logits=b + jnp.asarray(counts) @ w.T), obs=observed)

    def linear(self, design: bg.Design) -> Linear | None:
        counts = design.shared["counts"]
        prior = bg.prior.Gaussian(dist.HalfNormal(shrinkage(len(self.sd)))).relative_to(1.0 / self.sd)
        weights = bg.Block("weights", (self.feature,), counts, None, np.ones((1, counts.shape[1]), bool), prior)
        return stated(design, bg.family.Bernoulli(), self.response, weights, centres={"weights": self.mean})

    def coords(self) -> dict[str, np.ndarray]:
        return {self.feature: np.asarray(self.labels)}

    def observed_site(self) -> str:
        return self.response

    @property
    def has_neurons(self) -> bool:
        return False


def simulate(trials: int = 300, cells: int = 40, seed: int = 0) -> xr.Dataset:
    """Trials in which one cell in eight prefers a side."""
    rng = np.random.default_rng(seed)
    choice = rng.integers(0, 2, trials)
    preference = np.where(np.arange(cells) % 8 == 0, rng.choice([-0.4, 0.4], cells), 0.0)
    counts = rng.poisson(np.exp(1.0 + preference * (2 * choice[:, None] - 1)))
    return bg.recording(rows="trial", counts=counts, choice=choice)


def main(trials: int = 400, method: Any = "nuts") -> Any:
    """Simulate, fit, and draw how often the choice was 1 among unseen trials given each probability."""
    from matplotlib.figure import Figure

    train, test = bg.split(simulate(trials), 0.5)
    fit = bg.fit(ChoiceDecoding(), train, method)
    print(fit)
    p, choice = bg.predict(fit, test).mean(("chain", "draw")).values, test["choice"].values
    print(f"right in {np.mean((p > 0.5) == choice):.0%} of {len(choice)} unseen trials; Brier score {np.mean((p - choice) ** 2):.3f}")
    groups = [group for group in np.array_split(np.argsort(p), 6) if group.size]
    ax = (figure := Figure(figsize=(4.0, 4.0), layout="constrained")).subplots()
    ax.plot([0, 1], [0, 1], color="0.7")
    ax.plot([p[group].mean() for group in groups], [choice[group].mean() for group in groups], "o-")
    ax.set(xlabel="predicted P(choice = 1)", ylabel="share of choices 1")
    return figure


if __name__ == "__main__":
    main().savefig("choice_decoding.png")
