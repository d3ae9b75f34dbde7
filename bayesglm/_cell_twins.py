"""Simulated twins of cells with a past: retinal ganglion cells under flicker, a cell under injected current."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.signal import lfilter

from bayesglm._data import recording
from bayesglm._twins import _about, _positive

_CELLS = ("off_1", "off_2", "on_1", "on_2")
_FRAME, _CONTRAST = 0.00834, 0.48  # s; the flicker is plus or minus this
_STIMULUS_LAGS, _PAST_LAGS = 25, 20  # bins
_LEVEL = (-1.4, -1.5, -1.45, -1.55)  # eta without contrast and without spikes, a bin
_PEAK = (-1.9, -1.7, 2.0, 1.8)  # log-gain per unit of contrast
_DELAY = (4.2, 4.6, 4.0, 4.4)  # bins to the filter's peak
_REFRACTORY = (-0.9, -0.8, -1.0, -0.85)  # log-gain one bin after an own spike
_LINKS = np.array([[0.0, 0.10, -0.12, 0.0], [0.12, 0.0, 0.0, -0.10], [-0.10, 0.0, 0.0, 0.14], [0.0, -0.12, 0.12, 0.0]])  # (neuron, source), one bin after
_MILLISECOND, _SWEEPS = 0.001, (55.0, 85.0, 115.0)  # s; pA
_FLUCTUATION, _MEMORY = 25.0, 15.0  # pA and ms of the current's noise
_MEMBRANE, _HISTORY_LAGS, _CURRENT_LAGS = 12.0, 100, 200  # ms


def retina_twin(rows: int = 144_051, *, seed: int = 0) -> xr.Dataset:
    """A twin of the Pillow lab's retinal ganglion cells: two OFF and two ON cells under binary full-field flicker.

    y_n(t) ~ Poisson(exp(b_n + sum_{l >= 0} k_n(l) x(t - l) + sum_{l >= dt} h_n(l) y_n(t - l) + sum_{m != n, l >= dt} c_nm(l) y_m(t - l)))

    with biphasic stimulus filters k over 25 bins, refractory history h and couplings c over 20 bins: cells of one type excite
    each other, cells of unlike type inhibit each other or are not coupled.

    Parameters
    ----------
    rows : int
        Bins of 8.34 ms; 144,051 (20 minutes) as the recording has.
    seed : int

    Returns
    -------
    xarray.Dataset
        Time rows: ``spikes (time, neuron)``, ``stimulus (time,)``, contrast of plus or minus 0.48; the truth as
        ``planted_baseline (neuron,)``, ``planted_stimulus (neuron, planted_stimulus_lag)``, ``planted_history
        (neuron, planted_history_lag)`` and ``planted_coupling (neuron, source, planted_coupling_lag)``, in log-gain per unit of
        contrast or per spike, lags in s; a coupling that does not exist (the own cell) is NaN. ``attrs["generator"]``, the
        arguments as JSON text.

    Raises
    ------
    ValueError
        A size that is not positive.

    Notes
    -----
    Before the first row there are neither contrast nor spikes: filters read zeros there, as with ``edge="zero"``. Counts
    are Poisson given the past, which those of the real cells are not.

    References
    ----------
    Uzzell & Chichilnisky 2004, Precision of spike trains in primate retinal ganglion cells; Pillow et al. 2005 (the
    recording that it is a twin of).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.retina_twin(500)
    >>> data["spikes"].shape, data["planted_coupling"].shape
    ((500, 4), (4, 4, 20))
    """
    _positive("retina_twin", rows=rows)
    rng = np.random.default_rng([seed, 1])
    stimulus = _CONTRAST * rng.choice([-1.0, 1.0], rows)
    lag, past = np.arange(_STIMULUS_LAGS), np.arange(1, _PAST_LAGS + 1)
    filters = np.stack([_biphasic(lag, peak, delay) for peak, delay in zip(_PEAK, _DELAY, strict=True)])
    rebound = 0.04 * np.exp(-0.5 * ((past - 5.0) / 2.0) ** 2)
    history = np.outer(_REFRACTORY, np.exp(-(past - 1.0) / 1.5)) + rebound
    coupling = _LINKS[..., None] * np.exp(-(past - 1.0) / 2.0)
    drive = np.stack([np.convolve(stimulus, own)[:rows] for own in filters], 1) + _LEVEL
    feedback = coupling + np.eye(len(_CELLS))[..., None] * history[:, None]
    data = recording(dt=_FRAME, spikes=_run(rng, drive, feedback), stimulus=stimulus, labels={"neuron": _CELLS})
    data["stimulus"].attrs["units"] = "contrast"
    seen = np.where(np.eye(len(_CELLS), dtype=bool)[..., None], np.nan, coupling)
    planted = {"stimulus": (lag, filters), "history": (past, history), "coupling": (past, seen)}
    return _with_truth(data, planted, _LEVEL).assign_attrs(**_about("retina_twin", {"rows": rows, "seed": seed}))


def current_injection_twin(rows: int = 28_020, *, seed: int = 0) -> xr.Dataset:
    """A twin of a current-clamp recording: a cell that fires some 40 spikes in 28 s, under three sweeps of noisy current.

    y(t) ~ Poisson(exp(b + sum_{l >= 0} k(l) I(t - l) + sum_{l >= dt} h(l) y(t - l)))

    with a membrane that forgets over 12 ms, k(l) = 0.055 exp(-l / 12 ms) / sum_j exp(-j / 12 ms) per pA, and an own past that is refractory for
    some milliseconds and adapts over tens of them.

    Parameters
    ----------
    rows : int
        Bins of 1 ms; 28,020 as the recording has.
    seed : int

    Returns
    -------
    xarray.Dataset
        Time rows: ``spikes (time, neuron)``, ``current (time,)`` in pA: zero, and three sweeps of noise around rising
        levels; the truth as ``planted_baseline (neuron,)``, ``planted_current (neuron, planted_current_lag)`` and
        ``planted_history (neuron, planted_history_lag)``, in log-gain per pA or per spike, lags in s;
        ``attrs["generator"]``, the arguments as JSON text.

    Raises
    ------
    ValueError
        A size that is not positive.

    References
    ----------
    Viejo et al., NeMoS (the tutorial on current injection, with a cell of the Allen Cell Types Database; the recording
    that it is a twin of).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.current_injection_twin()
    >>> data["current"].shape, 20 < int(data["spikes"].sum()) < 60
    ((28020,), True)
    """
    _positive("current_injection_twin", rows=rows)
    rng = np.random.default_rng([seed, 6])
    current = _sweeps(rng, rows)
    lag, past = np.arange(_CURRENT_LAGS), np.arange(1, _HISTORY_LAGS + 1)
    decay = np.exp(-lag / _MEMBRANE)
    filters = 0.055 * decay / decay.sum()
    history = -8.0 * np.exp(-past / 2.0) - 1.0 * np.exp(-past / 30.0)
    level = (-10.9,)
    drive = np.convolve(current, filters)[:rows, None] + level
    data = recording(dt=_MILLISECOND, spikes=_run(rng, drive, history[None, None]), current=current)
    data["current"].attrs["units"] = "pA"
    planted = {"current": (lag, filters[None]), "history": (past, history[None])}
    return _with_truth(data, planted, level).assign_attrs(**_about("current_injection_twin", {"rows": rows, "seed": seed}))


def _biphasic(lag: np.ndarray, peak: float, delay: float) -> np.ndarray:
    """A lobe that peaks after ``delay`` bins less a later, flatter one, scaled to ``peak``."""
    early, late = ((lag / at) ** 14 * np.exp(14 * (1 - lag / at)) for at in (delay, 1.8 * delay))
    found = early - 0.35 * late
    return peak * found / found.max()


def _sweeps(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Current in pA: noise with memory around three levels, a ninth of the recording each, with rest before and after."""
    keep = np.exp(-1.0 / _MEMORY)
    noise = lfilter([np.sqrt(1 - keep**2)], [1.0, -keep], rng.normal(size=rows))
    on = (np.arange(rows) * 9 // rows) % 3 == 1
    level = np.repeat(_SWEEPS, -(-rows // 3))[:rows]
    return np.where(on, level + _FLUCTUATION * noise, 0.0)


def _run(rng: np.random.Generator, drive: np.ndarray, feedback: np.ndarray) -> np.ndarray:
    """Poisson counts (row, neuron) of exp(drive + feedback (neuron, source, lag) of the counts before)."""
    lags, size = feedback.shape[2], drive.shape[1]
    oldest_first = np.moveaxis(feedback[..., ::-1], 0, 2).transpose(1, 0, 2).reshape(lags * size, size)  # (lag x source, neuron)
    counts = np.zeros((lags + len(drive), size))
    for t, eta in enumerate(drive):
        counts[lags + t] = rng.poisson(np.exp(eta + counts[t : lags + t].ravel() @ oldest_first))
    return counts[lags:].astype(int)


def _with_truth(data: xr.Dataset, planted: dict[str, tuple[np.ndarray, np.ndarray]], level: tuple[float, ...]) -> xr.Dataset:
    """The recording with what was planted, named as its terms are, lags in s."""
    dt = float(data.attrs["dt"])
    lags = {f"planted_{name}_lag": np.round(lag * dt, 12) for name, (lag, _) in planted.items()}
    filters = {
        f"planted_{name}": (("neuron", *(("source",) if values.ndim == 3 else ()), f"planted_{name}_lag"), values) for name, (_, values) in planted.items()
    }
    sources = {"source": data["neuron"].values} if "coupling" in planted else {}
    return data.assign_coords(lags | sources).assign(planted_baseline=("neuron", np.array(level)), **filters)
