"""decode(): the target given the spikes, by turning an encoding model round."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import row_dim
from bayesglm._decoding._coverage import coverage, grid_in, truth_of
from bayesglm._decoding._dynamics import RandomWalk, likeliest_factor, path_speed, walk_matrix
from bayesglm._decoding._grid import Grid, grid_of, prior_of
from bayesglm._decoding._grid_likelihood import Decoded, Reader, at_mean, posterior, reader_of, whole_recordings
from bayesglm._decoding._target_terms import checked_model, lagged_in_target, reading
from bayesglm._decoding._temperature import Temperature, learned_temperature
from bayesglm._decoding._windows import Windows, averaged, window_coords, windows_of
from bayesglm._double import in_double
from bayesglm._likelihood import recording_of
from bayesglm._predict import _evenly
from bayesglm._progress import progress_bar
from bayesglm._training import training_data
from bayesglm.engine.hidden import log_evidence
from bayesglm.method._base import whole

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_MEAN_DRAWS = 100  # of a chain, whose mean is where a speed is learned


class DecodeNote(UserWarning):
    """Something about a decoding that its reader must know: it is surer of itself than it may be."""


@in_double
def decode(
    fit: Fit,
    data: xr.Dataset | None,
    target: str | Sequence[str],
    *,
    grid: Any = None,
    prior: Any = "occupancy",
    window: float | None = None,
    dynamics: RandomWalk | None = None,
    draws: int = 200,
    calibrate: bool = False,
    given: str | Sequence[str] = (),
    key: Any = 0,
    progress: bool = True,
) -> xr.Dataset:
    """Decode a covariate from spikes by inverting an encoding fit: mean over posterior draws d of p(s | y, w_d).

    Each draw's posterior, p(s | y, w_d) proportional to p(s) prod_{t in window} prod_n p(y_n(t) | s, past, w_d), is
    normalised alone (a cut posterior: the decoded spikes do not teach the weights). Own and other cells' pasts are the
    observed ones, within the epoch.

    A target that enters without lags (Tuning, Linear, products of them with anything) is decoded on a grid. One that
    enters through ``Stimulus`` is decoded as a whole series, by Laplace's approximation in the stimulus.

    Parameters
    ----------
    fit : Fit
        Of a ``GLM`` that explains responses by the target.
    data : xarray.Dataset or None
        A recording; the target may be absent and is never read. None: the training recording.
    target : str or two of them
        Column(s) to decode, with one value a row; a stimulus may have features or pixels.
    grid : int or array (point,), optional
        Points, or how many; for two targets a pair or ``{target: points}``. Default: 60 around a circle, 100 along the
        range observed in training (30 each for two targets), the levels of a category.
    prior : "occupancy", "uniform" or array
        "occupancy": how often the target was in each point's cell in training (a cell never visited counts half a row).
        An array of the grid's shape. Of a stimulus: "occupancy" is a Gaussian with its training mean, sd and correlation
        from one row to the next; a pair is (mean, sd), without correlation.
    window : float, optional
        Seconds over which the target is held constant and log likelihoods are summed; windows follow one another within
        an epoch. Default: each row.
    dynamics : RandomWalk, optional
        The target moves from window to window: forward and backward sums over each epoch, which use the spikes before
        and after.
    draws : int
        At most so many draws, evenly thinned.
    calibrate : bool
        Learn a temperature T, p(s | y) proportional to p(s) p(y | s)^(1/T), on five blocks of the training part, each
        decoded by a fit that has not seen it.
    given : str or sequence of str
        Other columns that the model reads and that are known when the target is not. Without it they are refused: a speed
        computed from a position gives the position away.
    key : int or JAX key
        Of the fits of ``calibrate=True``; nothing else is random.
    progress : bool

    Returns
    -------
    xarray.Dataset
        ``probability`` (row, target), rows sum to 1; ``estimate`` (row,), the posterior mean, the mean direction of a
        circle, the likeliest category (two targets: (row, axis)); ``log_evidence`` (row,) in nats, of a window alone or,
        with dynamics, given the earlier ones; ``prior``; ``bins`` (row,), how many rows of the window were scored;
        ``truth`` (row,) where the recording has the target, averaged over each window. Rows are the windows, at their
        centre. Of a stimulus: ``estimate, sd, lower, upper`` (row, *its dims) in its unit, and of a binary one
        ``probability_high``. ``attrs``: target, period, window, prior, temperature, verdict (coverage as found).

    Raises
    ------
    ValueError
        A target that no term reads, or only in a way that cannot be inverted; other columns that were not ``given``; a
        grid, prior or window that does not fit.

    Warns
    -----
    DecodeNote
        Where the recording has the target and 90 % sets cover clearly less.

    References
    ----------
    Zhang, Ginzburg, McNaughton & Sejnowski 1998; Brown et al. 1998 (dynamics); Pillow, Ahmadian & Paninski 2011 (stimuli);
    Plummer 2015, Cuts in Bayesian graphical models; Guo, Pleiss, Sun & Weinberger 2017 (temperature).

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> x = np.random.default_rng(0).uniform(0, 1, 400)
    >>> data = bg.recording(dt=0.1, spikes=np.random.default_rng(1).poisson(np.exp(3 * x)), x=x)
    >>> broad = bg.prior.Gaussian(3.0)
    >>> fit = bg.fit(bg.GLM(bg.Baseline(broad) + bg.Linear("x", broad)), data, "map", progress=False)
    >>> decoded = decode(fit, data, "x", progress=False)
    >>> bool(np.corrcoef(decoded["estimate"], x)[0, 1] > 0.8)
    True
    """
    targets, given = _names(target), (given,) if isinstance(given, str) else tuple(given)
    where = recording_of(fit, data)
    model = checked_model(fit, targets, given)
    kept = _evenly(fit.posterior.sizes["draw"], whole("decode(draws)", draws, 1) // fit.posterior.sizes["chain"])
    lagged = [term.name for term in reading(model, targets) if lagged_in_target(term, targets)]
    if lagged:
        from bayesglm._decoding._movie import decode_stimulus

        _refuse_for_lags(lagged, targets, grid, dynamics, calibrate)
        return decode_stimulus(fit, where, targets[0], prior, window, kept, progress)
    if dynamics is not None and not isinstance(dynamics, RandomWalk):
        raise ValueError(f"decode(dynamics=) is bg.RandomWalk(speed=...) or None; got {type(dynamics).__name__}.")
    points = grid_of(fit, targets, grid)
    how = _How(points, prior_of(fit, points, prior), windows_of(where, window), _named_prior(prior), window)
    with progress_bar(progress, f"decode {' and '.join(targets)}") as monitor:
        walk, words = _kernels(fit, dynamics, how)
        heat = learned_temperature(fit, points, prior, window, walk, key, monitor) if calibrate else None
        reader = reader_of(fit, where, points, how.windows, kept)
        found = posterior(reader, how.law, walk, 1.0 if heat is None else 1.0 / heat.value, monitor)
    return _labelled(fit, where, how, reader, found, heat, words)


class _How(NamedTuple):
    grid: Grid
    law: np.ndarray
    windows: Windows
    prior: str
    window: float | None


def _names(target: str | Sequence[str]) -> tuple[str, ...]:
    names = (target,) if isinstance(target, str) else tuple(target)
    if not 1 <= len(set(names)) == len(names) <= 2 or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"decode(target={target!r}) wants the name of a column, or of two: bg.decode(fit, data, 'position').")
    return names


def _refuse_for_lags(lagged: list[str], targets: tuple[str, ...], grid: Any, dynamics: Any, calibrate: bool) -> None:
    asked = [name for name, value in (("grid", grid), ("dynamics", dynamics), ("calibrate", calibrate or None)) if value is not None]
    if asked or len(targets) > 1:
        said = f"{asked[0]}=" if asked else "two targets"
        raise ValueError(
            f"decode: {lagged[0]!r} reads {targets[0]!r} over lags, so that its values at different times cannot be decoded one by one on a grid. It is "
            f"decoded as a series, by the stimulus-movie route, which knows no {said}: bg.decode(fit, data, {targets[0]!r})."
        )


def _named_prior(prior: Any) -> str:
    return prior if isinstance(prior, str) else "given"


def _kernels(fit: Fit, dynamics: RandomWalk | None, how: _How) -> tuple[tuple[np.ndarray, ...], str]:
    """Transitions along each axis from one window to the next, and what they are in words."""
    if dynamics is None:
        return (), "none"
    grid = how.grid
    level = [target for target, category in zip(grid.targets, grid.categories, strict=True) if category]
    if level:
        raise ValueError(f"decode(dynamics=): {level[0]!r} is a category, and a random walk needs neighbours: leave dynamics out.")
    speeds = dynamics.speeds(len(grid.targets))
    learned = "auto" in speeds
    if learned:
        speeds = _learned_speeds(fit, how)
    said = ", ".join(f"{speed:.4g} {target} per sqrt(s)" for speed, target in zip(speeds, grid.targets, strict=True))
    return _walks(how, speeds), f"random walk, speed {said}{' (learned)' if learned else ''}"


def _walks(how: _How, speeds: Sequence[float]) -> tuple[np.ndarray, ...]:
    step = np.sqrt(how.windows.seconds)
    each = zip(how.grid.axes, how.grid.periods, speeds, strict=True)
    return tuple(walk_matrix(axis, how.grid.widths(i), turn, speed * step) for i, (axis, turn, speed) in enumerate(each))


def _learned_speeds(fit: Fit, how: _How) -> tuple[float, ...]:
    """The training path's own speeds times the factor under which the training spikes are likeliest."""
    data, have = training_data(fit), fit.posterior.sizes["draw"]
    windows = windows_of(data, how.window)
    paths = [averaged(values, windows, turn) for values, turn in zip(how.grid.values(data), how.grid.periods, strict=True)]
    speeds = [path_speed(path, windows.starts, turn, windows.seconds) for path, turn in zip(paths, how.grid.periods, strict=True)]
    reader = at_mean(reader_of(fit, data, how.grid, windows, _evenly(have, _MEAN_DRAWS)))
    _, values, starts = next(whole_recordings(reader))

    def evidence(factor: float) -> float:
        return float(np.mean(log_evidence(values, how.law, _walks(how, [factor * speed for speed in speeds]), starts)))

    factor = likeliest_factor(evidence)
    return tuple(factor * speed for speed in speeds)


def _labelled(fit: Fit, data: xr.Dataset, how: _How, reader: Reader, found: Decoded, heat: Temperature | None, walk: str) -> xr.Dataset:
    grid, row = how.grid, row_dim(data)
    train = training_data(fit)
    coords = window_coords(data, how.windows)
    for target, axis, category in zip(grid.targets, grid.axes, grid.categories, strict=True):
        known = {name: value for name, value in train[target].attrs.items() if name in ("units", "long_name", "period") and not category}
        coords[target] = (target, axis, known | ({"category": 1} if category else {}))
    shape, marks = (-1, *grid.shape), dict(coords[grid.targets[0]][2]) if len(grid.targets) == 1 else {}
    law = found.probability.reshape(shape)
    variables = {
        "probability": ((row, *grid.targets), law, {"units": "probability", "long_name": f"p({', '.join(grid.targets)} given spikes)"}),
        "estimate": _by_target(row, grid.estimate(law), marks),
        "log_evidence": (row, found.log_evidence, {"units": "nats"}),
        "prior": (grid.targets, how.law.reshape(grid.shape)),
        "bins": (row, reader.bins),
    }
    if all(target in data for target in grid.targets):
        means = [averaged(values, how.windows, turn) for values, turn in zip(grid.values(data), grid.periods, strict=True)]
        variables["truth"] = _by_target(row, means, marks)
    if len(grid.targets) == 2:
        coords["axis"] = list(grid.targets)
    attrs = {
        "rows": row,
        "dt": float(data.attrs["dt"]),
        "target": grid.targets[0] if len(grid.targets) == 1 else list(grid.targets),
        "period": grid.periods[0] if len(grid.targets) == 1 else list(grid.periods),
        "window": how.windows.seconds,
        "prior": how.prior,
        "dynamics": walk,
        "temperature": 1.0 if heat is None else heat.value,
        "draws": reader.made.draws,
        "posterior": "point" if fit.point else "draws",
    }
    attrs |= {} if heat is None else {"calibration": heat.words}
    return judged(xr.Dataset(variables, coords, attrs))


def _by_target(row: str, values: list[np.ndarray], attrs: dict[str, Any]) -> tuple[Any, np.ndarray, dict[str, Any]]:
    return (row, values[0], attrs) if len(values) == 1 else ((row, "axis"), np.stack(values, -1), attrs)


def judged(decoded: xr.Dataset) -> xr.Dataset:
    """With the verdict on its coverage, which warns where the decoder is too sure of itself."""
    if "truth" not in decoded or not any(_known(decoded)):
        return decoded.assign_attrs(verdict="coverage unknown: the recording does not have the target")
    found = coverage(decoded)
    words = found.attrs["verdict"]
    if words.startswith("overconfident"):
        mend = "" if decoded.attrs.get("temperature", 1.0) != 1.0 or "probability" not in decoded else "; calibrate=True learns how much less sure to be"
        warnings.warn(f"decode: {words}{mend}.", DecodeNote, stacklevel=5)
    return decoded.assign_attrs(verdict=words, coverage=float(found["coverage"]), coverage_by_tenth=found["by_tenth"].values.round(4).tolist())


def _known(decoded: xr.Dataset) -> np.ndarray:
    """(row,) where the truth is known."""
    truth = truth_of(decoded, None)
    return grid_in(decoded).cells(truth) >= 0 if "probability" in decoded else np.isfinite(truth[0]).reshape(len(truth[0]), -1).any(1)
