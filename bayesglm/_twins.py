"""Simulated twins of recordings that may not be passed on: same size, planted truth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data import angle, recording

_CELLS = 2048  # neurons drawn by one generator, whatever the number of neurons


def choice_twin(
    trials: int = 276, neurons: int = 691, *, informative: int = 60, signal: float = 4.0, shared: float = 0.3, factors: int = 8, seed: int = 0
) -> xr.Dataset:
    """A twin of a choice recording: spike counts of correlated neurons, and a choice that a sparse logistic rule of them draws.

    Counts are Poisson with log mean b_n + sum_f L_nf z_tf: ``factors`` common ones of all neurons (sd ``shared``), and one
    of its own that the ``informative`` neurons share, each with its sign. The choice is
    Bernoulli(1 / (1 + exp(-eta))), eta_t = sum_n w_n x_tn with x the standardised counts and w zero but for the informative neurons,
    scaled so that eta has the sd ``signal``.

    Parameters
    ----------
    trials, neurons : int
    informative : int
        Neurons whose weight is not zero.
    signal : float
        Standard deviation of eta over trials.
    shared : float
        Standard deviation of each common factor's part of a log rate.
    factors : int
        Number of common factors.
    seed : int

    Returns
    -------
    xarray.Dataset
        Trial rows: ``counts (trial, counts_feature)``, ``choice (trial,)``; the truth as ``planted_eta (trial,)`` and
        ``planted_weights (counts_feature,)``, of standardised counts; ``attrs["best_accuracy"]`` is that of the rule
        itself, ``attrs["generator"]`` the arguments as JSON text.

    Raises
    ------
    ValueError
        More informative neurons than there are, or sizes that are not positive.

    References
    ----------
    Steinmetz et al. 2019, Distributed coding of choice, action and engagement across the mouse brain (the recording that
    it is a twin of, as Neuromatch Academy uses it).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.choice_twin(50, 20, informative=5)
    >>> data["counts"].shape, int((data["planted_weights"] != 0).sum())
    ((50, 20), 5)
    """
    _positive("choice_twin", trials=trials, neurons=neurons, informative=informative, signal=signal, factors=factors)
    if informative > neurons:
        raise ValueError(f"choice_twin(informative={informative}): there are {neurons} neurons.")
    rng = np.random.default_rng([seed, 5])
    level = rng.normal(np.log(4.0), 0.8, neurons)
    loadings = shared / np.sqrt(factors) * rng.normal(size=(factors, neurons))
    own = np.zeros(neurons)
    chosen = rng.permutation(neurons)[:informative]
    own[chosen] = rng.choice([-1.0, 1.0], informative) * rng.uniform(0.15, 0.5, informative)
    counts = rng.poisson(np.exp(level + rng.normal(size=(trials, factors)) @ loadings + rng.normal(size=(trials, 1)) * own))
    spread = counts.std(0)
    standard = (counts - counts.mean(0)) / np.where(spread > 0, spread, 1.0)
    eta = standard @ own
    weights = own * signal / eta.std()
    eta = standard @ weights
    p = 1.0 / (1.0 + np.exp(-eta))
    choice = (rng.uniform(size=trials) < p).astype(int)
    data = recording(rows="trial", counts=counts, choice=choice)
    truth = {"planted_eta": ("trial", eta), "planted_weights": ("counts_feature", weights)}
    generator = dict(trials=trials, neurons=neurons, informative=informative, signal=signal, shared=shared, factors=factors, seed=seed)
    return data.assign(truth).assign_attrs(best_accuracy=float(np.maximum(p, 1 - p).mean()), **_about("choice_twin", generator))


def orientation_twin(
    neurons: int = 23589,
    stimuli: int = 360,
    *,
    tuned: float = 0.5,
    gain: float = 0.3,
    rank: int = 16,
    shared: float = 0.4,
    noise: float = 1.0,
    seed: int = 0,
) -> xr.Dataset:
    """A twin of an orientation recording: tens of thousands of tuned neurons with a shared gain and low-rank noise.

    r_tn = (1 + g_t) f_n(theta_t) + sum_k L_nk z_tk + noise e_tn, with tuning
    f_n(theta) = a_n exp(kappa_n (cos(theta - phi_n) - 1)), amplitudes a_n log-normal (zero for neurons that are not tuned),
    g_t ~ Normal(0, gain), ``rank`` common fluctuations z of sd ``shared`` in all, e independent standard normal.

    Parameters
    ----------
    neurons, stimuli : int
        23,589 x 360 as the course has it; 4,598 stimuli as the recording itself has.
    tuned : float
        Share of the neurons that are tuned.
    gain, shared, noise : float
        Standard deviations of the gain that all neurons share, of the low-rank noise, of each neuron's own.
    rank : int
        Number of common fluctuations.
    seed : int
        A neuron's numbers do not depend on how many neurons there are; its trials do on how many stimuli there are.

    Returns
    -------
    xarray.Dataset
        Trial rows: ``responses (trial, responses_feature)`` in single precision (434 MB of 4,598 x 23,589), ``angle``
        (degrees, period 360, uniform); the truth as ``planted_gain (trial,)``, ``preferred`` (degrees), ``amplitude``
        and ``concentration (responses_feature,)``; ``attrs["generator"]``, the arguments as JSON text.

    Raises
    ------
    ValueError
        Sizes that are not positive, shares outside 0 to 1.

    References
    ----------
    Stringer, Michaelos, Tsyboulski, Lindo & Pachitariu 2021, High-precision coding in visual cortex (the recording that
    it is a twin of).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.orientation_twin(neurons=30, stimuli=8)
    >>> data["responses"].shape, data["angle"].attrs["period"]
    ((8, 30), 360.0)
    """
    _positive("orientation_twin", neurons=neurons, stimuli=stimuli, rank=rank, noise=noise)
    if not 0 <= tuned <= 1:
        raise ValueError(f"orientation_twin(tuned={tuned!r}): a share between 0 and 1.")
    rng = np.random.default_rng([seed, 13])
    theta = rng.uniform(0, 2 * np.pi, stimuli)
    scale = 1.0 + gain * rng.normal(size=stimuli)
    common = rng.normal(size=(stimuli, rank)).astype(np.float32)
    responses = np.empty((stimuli, neurons), np.float32)
    planted = np.empty((3, neurons))
    for start in range(0, neurons, _CELLS):
        stop = min(start + _CELLS, neurons)
        values, about = _cells(np.random.default_rng([seed, 13, start]), theta, scale, common, tuned, shared, noise)
        responses[:, start:stop], planted[:, start:stop] = values[:, : stop - start], about[:, : stop - start]
    data = recording(rows="trial", responses=responses, angle=angle(np.rad2deg(theta), period=360))
    truth = {
        "planted_gain": ("trial", scale),
        **dict(zip(("preferred", "amplitude", "concentration"), (("responses_feature", row) for row in planted), strict=True)),
    }
    generator = dict(neurons=neurons, stimuli=stimuli, tuned=tuned, gain=gain, rank=rank, shared=shared, noise=noise, seed=seed)
    return data.assign(truth).assign_attrs(**_about("orientation_twin", generator))


def _cells(
    rng: np.random.Generator, theta: np.ndarray, scale: np.ndarray, common: np.ndarray, tuned: float, shared: float, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Responses (stimulus, cell) of one batch of cells, and preferred angle (degrees), amplitude and concentration (3, cell)."""
    preferred = rng.uniform(0, 2 * np.pi, _CELLS)
    amplitude = np.where(rng.uniform(size=_CELLS) < tuned, rng.lognormal(-0.5, 0.8, _CELLS), 0.0)
    concentration = rng.uniform(1.0, 8.0, _CELLS)
    loadings = (shared / np.sqrt(common.shape[1]) * rng.normal(size=(common.shape[1], _CELLS))).astype(np.float32)
    found = np.cos(theta[:, None] - preferred)
    found -= 1.0
    found *= concentration
    np.exp(found, out=found)
    found *= scale[:, None] * amplitude
    found = found.astype(np.float32)
    found += common @ loadings
    found += np.float32(noise) * rng.standard_normal(found.shape, np.float32)
    return found, np.stack([np.rad2deg(preferred), amplitude, concentration])


def _positive(who: str, **sizes: float) -> None:
    for name, value in sizes.items():
        if not value > 0:
            raise ValueError(f"{who}({name}={value!r}): a number above 0 is wanted.")


def _about(who: str, generator: dict[str, Any]) -> dict[str, str]:
    return {"generator": json.dumps({"function": f"bayesglm.datasets.{who}"} | generator), "source": "simulated"}
