"""A simulated mosaic of retinal ganglion cells that are coupled: planted truth for correlations and for decoding."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesglm._data import recording
from bayesglm._twins import _about, _positive

_DT = 0.01  # s, a frame
_STIMULUS = np.array([0.4, 1.4, 1.0, -0.4, -0.5, -0.2])  # log-gain per unit contrast, by lag from 0
_HISTORY = np.array([-2.0, -0.8, -0.3])  # log-gain per own spike, by lag from one bin
_DECAY = np.array([1.0, 0.5, 0.2])  # of a coupling, by lag from one bin
_REACH = 0.7  # bars, sd of a receptive field
_LEVEL = -2.2  # log of the expected count at grey


def mosaic_twin(frames: int = 12_000, cells: int = 8, *, coupling: float = 1.0, seed: int = 0) -> xr.Dataset:
    """A twin of a retinal mosaic: ON and OFF cells that tile flickering bars, refractory, and coupled to their neighbours.

    A cell fires at most once in a frame of 10 ms, with P = 1 - exp(-exp(eta)), the chance of any event of a Poisson process:
    eta_n(t) = b + sum_xl k_n(x, l) s(t - l, x) + sum_l h(l) y_n(t - l) + sum_ml c_nm(l) y_m(t - l), which is
    ``family.Bernoulli("cloglog")``. Bars are +-0.5 at random. Half of the cells are ON, half OFF; a receptive field is a Gaussian over bars around
    the cell's own. A spike of a neighbour of the same kind raises a cell's log rate by ``coupling`` in the next frame, one
    of the cell of the other kind at the same place lowers it by half of that; both fade within three frames.

    Parameters
    ----------
    frames : int
    cells : int
        An even number, at least 4: one ON and one OFF cell a bar.
    coupling : float
        Log-gain a spike, in the first frame after it; 0 is a mosaic without coupling.
    seed : int

    Returns
    -------
    xarray.Dataset
        ``spikes (time, neuron)``, ``stimulus (time, bar)``; neurons are called "ON 0", "OFF 0", ... The truth as
        ``planted_stimulus (neuron, bar, stimulus_lag)``, ``planted_history (past_lag,)`` and ``planted_coupling (neuron,
        source, past_lag)``, in log-gain, lags in seconds; ``attrs["generator"]``, the arguments as JSON text.

    Raises
    ------
    ValueError
        Sizes that are not positive, an odd number of cells or under four; a coupling that no cell has.

    References
    ----------
    Pillow et al. 2008, Spatio-temporal correlations and visual signalling in a complete neuronal population (the kind of
    recording that it is a twin of).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.mosaic_twin(500, 4)
    >>> data["spikes"].shape, data["stimulus"].shape, data["neuron"].values.tolist()
    ((500, 4), (500, 2), ['ON 0', 'ON 1', 'OFF 0', 'OFF 1'])
    """
    _positive("mosaic_twin", frames=frames)
    if cells < 4 or cells % 2:
        raise ValueError(f"mosaic_twin(cells={cells!r}): an even number from 4 is wanted, an ON and an OFF cell a bar.")
    if not -3.0 <= coupling <= 3.0:
        raise ValueError(f"mosaic_twin(coupling={coupling!r}): a log-gain a spike, from -3 to 3, is wanted.")
    bars, rng = cells // 2, np.random.default_rng([seed, 10])
    kind, place = np.repeat([1.0, -1.0], bars), np.tile(np.arange(bars), 2)
    fields = np.exp(-0.5 * ((place[:, None] - np.arange(bars)) / _REACH) ** 2)
    filters = kind[:, None, None] * fields[:, :, None] * _STIMULUS
    alike = kind[:, None] == kind
    links = coupling * (alike & (abs(place[:, None] - place) == 1)) - 0.5 * coupling * (~alike & (place[:, None] == place))
    past = links[:, :, None] * _DECAY
    stimulus = rng.choice([-0.5, 0.5], (frames, bars))
    spikes = _run(rng, _LEVEL + _drive(stimulus, filters), past + np.eye(cells)[:, :, None] * _HISTORY)
    names = [f"{name} {i}" for name in ("ON", "OFF") for i in range(bars)]
    data = recording(dt=_DT, spikes=spikes, stimulus=(("time", "bar"), stimulus), labels={"neuron": names})
    truth = {
        "planted_stimulus": (("neuron", "bar", "stimulus_lag"), filters),
        "planted_history": ("past_lag", _HISTORY),
        "planted_coupling": (("neuron", "source", "past_lag"), past),
    }
    lags = {"source": names, "stimulus_lag": _DT * np.arange(_STIMULUS.size), "past_lag": _DT * np.arange(1, _HISTORY.size + 1)}
    generator = dict(frames=frames, cells=cells, coupling=coupling, seed=seed)
    return data.assign(truth).assign_coords(lags).assign_attrs(**_about("mosaic_twin", generator))


def _drive(stimulus: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """(frame, neuron): the stimulus through the filters; grey before the first frame."""
    out = np.zeros((len(stimulus), len(filters)))
    for lag in range(filters.shape[2]):
        out[lag:] += stimulus[: len(stimulus) - lag] @ filters[:, :, lag].T
    return out


def _run(rng: np.random.Generator, drive: np.ndarray, past: np.ndarray) -> np.ndarray:
    """(frame, neuron) zeros and ones; ``past`` (neuron, source, lag from one bin)."""
    lags = past.shape[2]
    weights = past[:, :, ::-1].transpose(2, 1, 0).reshape(-1, len(past))  # oldest lag first, as rows of counts lie
    spikes, events = np.zeros((lags + len(drive), len(past)), int), rng.exponential(size=drive.shape)
    for t, now in enumerate(drive):
        spikes[t + lags] = events[t] < np.exp(now + spikes[t : t + lags].ravel() @ weights)
    return spikes[lags:]
