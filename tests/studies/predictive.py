"""Predictive checks of true models: how often does a check reject one, held out, in sample, one step ahead and free-running?

Every neuron of a population is a data set of its own: it has its own parameters, is fitted on its own training part, and
its statistics are judged together on its own test part.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, prior
from bayesglm._fit import NotConverged
from bayesglm.basis import lag_kernels

DT = 0.01
BASIS = basis.RaisedCosine(2, span=0.05)
LEVEL = 0.05
FAMILIES = {"poisson": family.Poisson(), "bernoulli": family.Bernoulli(), "gaussian": family.Gaussian()}
# mean and sd over data sets: baseline, covariate, the two weights of history
TRUTH = {
    "poisson": ((-1.4, 0.3), (0.4, 0.2), (-0.8, 0.2), (-0.1, 0.1)),
    "bernoulli": ((-1.2, 0.3), (0.4, 0.2), (-1.0, 0.2), (0.3, 0.1)),
    "gaussian": ((0.5, 0.3), (0.4, 0.2), (0.5, 0.08), (0.1, 0.05)),
}


def model(name: str) -> bg.GLM:
    """The true model: a covariate and the response's own past."""
    terms = bg.Baseline(prior.Gaussian(3.0)) + bg.Linear("x", prior.Gaussian(1.0)) + bg.History(BASIS, prior.Gaussian(1.0))
    return bg.GLM(terms, FAMILIES[name], response="spikes" if name != "gaussian" else "trace")


def simulate(name: str, sets: int, rows: int, seed: int) -> xr.Dataset:
    """One recording of ``rows`` bins: a neuron a data set."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    level, slope, *past = (rng.normal(mean, sd, sets) for mean, sd in TRUTH[name])
    use = "signal" if name == "gaussian" else "spikes"
    filters = np.stack(past, 1) @ lag_kernels(BASIS.resolve_lags(DT, 1), DT, 1, use)[1].T  # (set, lag)
    lags = filters.shape[1]
    y = np.zeros((rows + lags, sets))
    for t in range(rows):
        eta = level + slope * x[t] + (filters * y[t : t + lags][::-1].T).sum(1)
        y[t + lags] = {
            "poisson": lambda eta: rng.poisson(np.exp(eta)),
            "bernoulli": lambda eta: rng.random(sets) < 1 / (1 + np.exp(-eta)),
            "gaussian": lambda eta: eta + rng.normal(size=sets),
        }[name](eta)
    if name == "gaussian":
        return bg.recording(dt=DT, trace=(("time", "neuron"), y[lags:]), x=x)
    return bg.recording(dt=DT, spikes=y[lags:].astype(int), x=x)


def fitted(name: str, sets: int, rows: int, seed: int) -> tuple[bg.Fit, xr.Dataset]:
    """The true model fitted to the first half, and the second half."""
    train, test = bg.split(simulate(name, sets, 2 * rows, seed), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        fit = bg.fit(model(name), train, "laplace", key=seed, progress=False)
    return fit, test


def alone(fit: bg.Fit, data: xr.Dataset | None, kind: str, draws: int = 200, key: int = 0) -> Any:
    """All statistics but those of pairs: the neurons are data sets that have nothing to do with each other."""
    names = {
        "poisson": ("mean", "variance", "fano", "zeros", "maximum", "autocorrelation", "isi", "rootogram", "pit"),
        "bernoulli": ("mean", "variance", "fano", "autocorrelation", "isi", "pit"),
        "gaussian": ("mean", "variance", "skewness", "kurtosis", "extreme", "autocorrelation", "pit"),
    }[type(fit.model.family).__name__.lower()]
    chosen = [name for name in names if kind == "one_step" or name != "pit"]
    return bg.posterior_check(fit, data, chosen, kind=kind, draws=draws, key=key, progress=False)


def networks(sets: int, rows: int, seed: int, draws: int = 200) -> np.ndarray:
    """Joint p of three coupled neurons' correlations, a data set each; fits are Gaussians that hold the truth as often as they say."""
    from synthetic import made_up

    made = bg.GLM(bg.Baseline(prior.Gaussian(3.0)) + bg.History(BASIS, prior.Gaussian(1.0)) + bg.Coupling(BASIS, prior.Gaussian(1.0)))
    kernels = lag_kernels(BASIS.resolve_lags(DT, 1), DT, 1, "spikes")[1]
    rng, found = np.random.default_rng(seed), []
    for number in range(sets):
        truth = {"baseline": rng.normal(-1.6, 0.2, 3), "history": rng.normal(-0.6, 0.2, (3, 2)), "coupling": rng.normal(0.1, 0.1, (3, 3, 2))}
        weights = truth["coupling"].copy()
        weights[np.arange(3), np.arange(3)] = truth["history"]
        filters = np.einsum("lb,nsb->nsl", kernels, weights)
        spikes = np.zeros((rows + len(kernels), 3), int)
        for t in range(len(kernels), len(spikes)):
            past = spikes[t - len(kernels) : t][::-1]
            spikes[t] = rng.poisson(np.exp(truth["baseline"] + np.einsum("nsl,ls->n", filters, past)))
        centre = {name: value + 0.05 * rng.normal(size=value.shape) for name, value in truth.items()}
        data, backwards = (bg.recording(dt=DT, spikes=some) for some in (spikes[len(kernels) :], spikes[::-1]))
        fit = made_up(made, backwards, centre, sd=0.05, chains=1, draws=draws, seed=number)
        check = bg.posterior_check(fit, data, ["cross_correlation", "cross_correlation_lagged", "autocorrelation"], draws=draws, key=number, progress=False)
        found.append(check.p_joint)
    return np.array(found)


def rejected(p: np.ndarray) -> dict[str, float]:
    """Share at 5 %, with its standard error."""
    share = float((p <= LEVEL).mean())
    return {"rejected": share, "se": float(np.sqrt(share * (1 - share) / p.size)), "sets": int(p.size)}


def summary(check: Any) -> dict[str, Any]:
    """Jointly, and by statistic."""
    by_name = {str(name): rejected(check.table["p_value"].sel(statistic=name).values)["rejected"] for name in check.table["statistic"].values}
    return rejected(check.p_neuron.values) | {"by_statistic": by_name}


def study(name: str, sets: int = 500, rows: int = 600, seed: int = 11) -> dict[str, Any]:
    """Rates of one family, held out and in sample."""
    fit, test = fitted(name, sets, rows, seed)
    checks = {"one_step": (test, "one_step"), "free": (test, "free"), "in sample": (None, "one_step")}
    return {label: summary(alone(fit, data, kind, draws=99)) for label, (data, kind) in checks.items()}


def networks_study(sets: int = 500, rows: int = 600, seed: int = 12) -> dict[str, Any]:
    """Rates of coupled networks, a p-value each."""
    return {"one_step": rejected(networks(sets, rows, seed, draws=99))}
