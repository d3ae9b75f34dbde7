"""How much less sure a decoder should be: a temperature learned on blocks of the training part that it did not see."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import folds
from bayesglm._decoding._grid import Grid, prior_of
from bayesglm._decoding._grid_likelihood import Reader, log_likelihoods, reader_of, whole_recordings
from bayesglm._decoding._windows import averaged, windows_of
from bayesglm._training import training_data
from bayesglm.engine.hidden import smoothed
from bayesglm.method import MAP, Laplace
from bayesglm.method._base import Monitor

if TYPE_CHECKING:
    from bayesglm._fit import Fit

FOLDS = 5
_DRAWS, _WINDOWS, _LAPLACE = 20, 2000, 200  # of a fold: draws and windows read, draws made
_RANGE = (1 / 3, 200.0)  # temperatures tried
_LEAST = 1e-300
_NUMBERS = 1 << 22  # rows x neurons x points held at once


class Temperature(NamedTuple):
    """What was learned, and what it is worth on the blocks on which it was learned (each decoded by fits that had not seen it)."""

    value: float
    before: float  # mean log loss a window, nats
    after: float

    @property
    def words(self) -> str:
        """In one sentence."""
        return f"log loss on {FOLDS} held-out blocks of the training part: {self.before:.3f} -> {self.after:.3f} nats a row at temperature {self.value:.3g}"


class Held(NamedTuple):
    """One held-out block: what its spikes say, and where the truth was."""

    values: Any  # (window, draw, point) log likelihoods
    law: np.ndarray
    starts: np.ndarray | None  # where chains begin; None: windows are decoded one by one
    cells: np.ndarray  # (window,), -1 where the truth is not known


def learned_temperature(
    fit: Fit, grid: Grid, prior: Any, window: float | None, kernels: tuple[np.ndarray, ...], key: Any, monitor: Monitor | None = None
) -> Temperature:
    """The temperature T of the smallest log loss, p(s | y)^(1/T): of blocks of the training part, each left out in its turn.

    The model is fitted anew without the block (everything learned is learned without it): by the fit's own method where it
    is MAP or Laplace, else by Laplace, or by MAP where the priors have a kink.
    """
    from scipy.optimize import minimize_scalar

    data = training_data(fit)
    blocks = []
    for number, (train, test) in enumerate(folds(data, FOLDS)):
        blocks.append(_held(_refit(fit, train, key), test, grid, prior, window, kernels))
        if monitor is not None:
            monitor(number + 1, FOLDS, None, " learning the temperature")
    loss = lambda log_t: _loss(blocks, kernels, float(np.exp(-log_t)))  # noqa: E731
    found = minimize_scalar(loss, bounds=np.log(_RANGE), method="bounded", options={"xatol": 0.01})
    return Temperature(float(np.exp(found.x)), loss(0.0), float(found.fun))


def _refit(fit: Fit, train: xr.Dataset, key: Any) -> Fit:
    from bayesglm._examine import DesignNote
    from bayesglm._fit import NotConverged
    from bayesglm._fit import fit as fitted

    model = fit.given or fit.model
    own = (fit.method,) if isinstance(fit.method, (MAP, Laplace)) else (Laplace(num_samples=_LAPLACE), MAP(), fit.method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)  # draws enough for a mean may be too few for a quantile
        warnings.simplefilter("ignore", DesignNote)  # the fit itself has said so
        for method in own[:-1]:
            with contextlib.suppress(ValueError):
                return fitted(model, train, method, key=key, progress=False)
        return fitted(model, train, own[-1], key=key, progress=False)


def _held(fit: Fit, test: xr.Dataset, grid: Grid, prior: Any, window: float | None, kernels: tuple[np.ndarray, ...]) -> Held:
    windows, have = windows_of(test, window), fit.posterior.sizes["draw"]
    kept = np.unique(np.linspace(0, have - 1, min(have, _DRAWS)).round().astype(int))
    reader = reader_of(fit, test, grid, windows, kept)
    law = prior_of(fit, grid, prior)
    truth = grid.cells(tuple(averaged(values, windows, turn) for values, turn in zip(grid.values(test), grid.periods, strict=True)))
    truth = np.where(reader.bins > 0, truth, -1)
    if kernels:
        _, values, starts = next(whole_recordings(reader))
        return Held(values, law, starts, np.r_[truth, np.full(len(values) - len(truth), -1)])
    some = np.unique(np.linspace(0, windows.count - 1, min(windows.count, _WINDOWS)).round().astype(int))
    return Held(_values(reader, some), law, None, truth[some])


def _values(reader: Reader, which: np.ndarray) -> np.ndarray:
    draws, out = np.arange(reader.made.draws), []
    bins, neurons = reader.windows.inside.shape[1], reader.made.scored.shape[1]
    held = bins * neurons if reader.factorises else bins * neurons * reader.grid.size
    step = int(np.clip(_NUMBERS // held, 1, 128))
    for start in range(0, len(which), step):
        padded = which[np.minimum(np.arange(start, start + step), len(which) - 1)]
        out.append(np.asarray(log_likelihoods(reader, draws, padded))[:, : len(which) - start])
    return np.moveaxis(np.concatenate(out, 1), 0, 1)


def _loss(blocks: list[Held], kernels: tuple[np.ndarray, ...], power: float) -> float:
    """Mean over windows of -log of the draw-averaged probability of the true cell."""
    total, rows = 0.0, 0
    for block in blocks:
        known = np.flatnonzero(block.cells >= 0)
        if block.starts is None:
            joint = block.values[known] * power + np.log(np.maximum(block.law, _LEAST))
            joint = np.exp(joint - joint.max(-1, keepdims=True))
            law = joint / joint.sum(-1, keepdims=True)
        else:
            law = np.asarray(smoothed(block.values * power, block.law, kernels, block.starts)[0])[known]
        mean = law.mean(1)[np.arange(len(known)), block.cells[known]]
        total, rows = total - float(np.log(np.maximum(mean, _LEAST)).sum()), rows + len(known)
    return total / max(rows, 1)
