"""Decoding by inversion on simulated recordings: coverage where the model is true, and what coupling is worth."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, method, prior
from bayesglm._decoding._decode import DecodeNote
from bayesglm._fit import NotConverged

DT, CELLS, ROWS = 0.02, 8, 6000
FRAME, FRAMES, MOSAIC = 0.01, 6000, 4
KERNEL = np.array([0.3, 1.0, 0.6, -0.4, -0.2])
G = prior.Gaussian(1.0)
SAMPLER = method.Laplace(num_samples=200)


def heading_cells(seed: int, rows: int = ROWS) -> xr.Dataset:
    """Head-direction cells that are refractory and drive their neighbours, softly rectified; the head walks around the circle."""
    rng = np.random.default_rng(seed)
    angle = np.cumsum(rng.normal(size=rows)) * 90 * np.sqrt(DT) % 360
    centres = np.arange(CELLS) * 360 / CELLS
    drive = -1.8 + 1.2 * np.cos(np.deg2rad(angle[:, None] - centres))
    spikes = np.zeros((rows, CELLS), int)
    for t in range(rows):
        past = spikes[t - 1] if t else np.zeros(CELLS)
        spikes[t] = rng.poisson(np.logaddexp(drive[t] - 0.8 * past + 0.3 * np.roll(past, 1), 0.0))
    return bg.recording(dt=DT, spikes=spikes, heading=bg.angle(angle, period=360))


def heading_model() -> bg.GLM:
    """The model that made them."""
    lag = basis.Lags(span=DT)
    terms = bg.Baseline() + bg.Tuning("heading", basis.Fourier(2), G) + bg.History(lag, G) + bg.Coupling(lag, G)
    return bg.GLM(terms, family.Poisson("softplus"))


def quiet_fit(model: bg.GLM, data: xr.Dataset, key: int) -> Any:
    """A Laplace fit; of independent draws an effective sample size may be estimated too low."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        return bg.fit(model, data, SAMPLER, key=key, progress=False)


def heading_coverage(seed: int, rows: int = ROWS) -> dict[str, float]:
    """Coverage of 90 % sets of the last 40 %, each bin alone and with the dynamics, and the median errors."""
    train, test = bg.split(heading_cells(seed, rows), 0.6)
    fit = quiet_fit(heading_model(), train, seed)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecodeNote)
        for name, dynamics in (("alone", None), ("walk", bg.RandomWalk())):
            decoded = bg.decode(fit, test, "heading", prior="uniform", dynamics=dynamics, draws=40, progress=False)
            error = np.abs((decoded["estimate"] - decoded["truth"] + 180) % 360 - 180)
            found |= {f"coverage_{name}": float(bg.coverage(decoded)["coverage"]), f"median_error_{name}": float(error.median())}
    return found


def mosaic(seed: int, frames: int = FRAMES) -> tuple[xr.Dataset, xr.Dataset]:
    """Training and test part of ON and OFF cells that see one flickering stimulus and suppress their likes a bin later."""
    rng = np.random.default_rng(seed)
    stimulus = rng.choice([-0.5, 0.5], frames)
    drive = np.stack([np.convolve(stimulus, 2.0 * sign * KERNEL)[:frames] for sign in (1, -1, 1, -1)], 1) - 1.2
    links = np.roll(np.diag([-1.2] * MOSAIC), 2, axis=1)
    spikes = np.zeros((frames, MOSAIC), int)
    for t in range(frames):
        past = spikes[t - 1] if t else np.zeros(MOSAIC)
        spikes[t] = rng.poisson(np.exp(drive[t] - 1.2 * past + links @ past))
    return bg.split(bg.recording(dt=FRAME, spikes=spikes, stimulus=stimulus), 0.6)


def coupling_gain(seed: int, frames: int = FRAMES) -> dict[str, float]:
    """Correlation, sign accuracy, coverage and information of stimuli decoded with and without coupling, and the paired gain."""
    train, test = mosaic(seed, frames)
    alone = bg.Baseline() + bg.Stimulus("stimulus", basis.Lags(span=5 * FRAME), G) + bg.History(basis.Lags(span=FRAME), G)
    models = {"alone": alone, "coupled": alone + bg.Coupling(basis.Lags(span=FRAME), G)}
    decoded: dict[str, xr.Dataset] = {}
    found: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecodeNote)
        for name, terms in models.items():
            decoded[name] = bg.decode(quiet_fit(bg.GLM(terms), train, seed), test, "stimulus", draws=10, progress=False)
            one = decoded[name]
            found |= {
                f"r_{name}": float(np.corrcoef(one["estimate"], one["truth"])[0, 1]),
                f"sign_accuracy_{name}": float(((one["probability_high"] > 0.5) == (one["truth"] > 0)).mean()),
                f"coverage_{name}": float(bg.coverage(one)["coverage"]),
                f"bits_per_s_{name}": float(bg.decoding_information(one)["rate"]),
            }
    gain = bg.decoding_information(decoded["coupled"], minus=decoded["alone"])
    return found | {"gain_bits_per_s": float(gain["rate"]), "gain_se": float(gain["rate_se"])}
