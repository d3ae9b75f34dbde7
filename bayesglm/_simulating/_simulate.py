"""simulate(): free-running responses, each row given what was simulated before it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from bayesglm._data import bin_width, row_dim
from bayesglm._double import in_double
from bayesglm._fit import Fit
from bayesglm._glm import GLM
from bayesglm._likelihood import Source, _site, _story_values, glm_values
from bayesglm._model import AbstractModel
from bayesglm._predict import _evenly
from bayesglm._prior_check import _refuse_undrawable, prior_draws
from bayesglm._progress import progress_bar
from bayesglm._simulating._feedback import planned
from bayesglm._simulating._free_run import Chunk, free_run
from bayesglm._simulating._stability import RanAway, checked_cap, elapsed, stability
from bayesglm._simulating._story_run import refuse_feedback, story_run
from bayesglm._training import training_data
from bayesglm.method._base import whole

DRAWS = 100  # unless asked for more
LARGEST = 200_000_000  # numbers returned without being asked for


class Simulator(NamedTuple):
    """A model with draws on a recording, ready to run."""

    model: AbstractModel
    data: xr.Dataset
    draws: int
    replicates: int
    origin: str  # "posterior", "prior" or "point"
    labels: dict[str, tuple[str, np.ndarray]]  # which draws they are
    cap: float | None
    feeds: bool  # whether anything feeds back
    notes: tuple[str, ...]
    size: int  # responses a row
    run: Callable[..., Iterator[Chunk]]  # of a function that is told how much is done, or None


def simulate(
    model_or_fit: AbstractModel | Fit,
    data: xr.Dataset | None = None,
    *,
    key: Any = 0,
    draws: int | None = None,
    replicates: int = 1,
    cap: float | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Simulate responses free-running: y(t) ~ family(eta(t)), eta(t) from the *simulated* past, epoch by epoch.

    History and couplings read what the model itself has fired; ``bg.predict(kind="response")`` reads what was recorded.

    Parameters
    ----------
    model_or_fit : AbstractModel or Fit
        A fit: draws of its posterior. A model: draws of its prior.
    data : xarray.Dataset
        A recording that gives rows, epochs and covariates; the response may be absent (an unfitted model whose defaults
        are taken from the response needs it). Optional for a fit: its training recording.
    key : int or JAX key
    draws : int, optional
        At most this many draws, evenly spread over chains. Default 100, fewer where the result would exceed 2e8 numbers. A
        MAP fit is one draw.
    replicates : int
        Simulations a draw.
    cap : float, optional
        The count a bin (for continuous responses, the absolute value) at which a response is kept, so that activity that
        feeds on itself stays finite. Default for counts: 1,000 spikes/s or ten times the largest training count, whichever
        is larger, and at least 10 (65,535 where nothing feeds back); for continuous responses: 10,000 times the largest in training. Responses that are
        bounded (Bernoulli, Binomial, classes, angles) have none.
    progress : bool
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        The response (draw, replicate, time or trial[, neuron]), in the smallest type that holds it; ``ran_away`` (draw,
        replicate), whether it reached the cap; ``capped_at`` (draw, replicate), when it first did, in seconds from the
        recording's start (on trial rows, trials), NaN where never. Attributes ``cap``, ``share_ran_away``, ``stability``
        (a sentence), ``from`` ("posterior", "prior" or "point"), ``notes``.

    Raises
    ------
    ValueError
        A prior that cannot be drawn from; a covariate that is the response; a recording that lacks what the model reads;
        a model that is no GLM and reads the past of its response.

    Warns
    -----
    RanAway
        Where a simulation reached the cap.

    Notes
    -----
    Before an epoch there were no spikes: filters that reach there read zeros, also with ``edge="drop"``, whose rows a fit
    does not score. A covariate that is NaN counts as zero there, and a note says so. Neurons of the recording that
    the model does not explain (``GLM(neurons=...)``) keep their recorded past, and a response that is not spikes leaves
    couplings to recorded spikes as they are. Every row gets a response; trials without one in ``data`` do too, but
    ``History(missing="skip")`` steps over them.

    References
    ----------
    Gerhard, Deger & Truccolo 2017, On the stability and dynamics of stochastic spiking neuron models: nonlinear Hawkes
    process and point process GLMs. Hocker & Park 2017, Multistep inference for generalized linear spiking models curbs
    runaway excitation.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.2, (200, 2)))
    >>> few = bg.prior.Gaussian(0.05)
    >>> model = bg.GLM(bg.Baseline(few) + bg.History(bg.basis.RaisedCosine(3, span=0.05), few), bg.family.Poisson("softplus"))
    >>> simulated = bg.simulate(model, data, draws=4, replicates=2, progress=False)
    >>> simulated["spikes"].dims, simulated.attrs["from"], simulated.attrs["share_ran_away"]
    (('draw', 'replicate', 'time', 'neuron'), 'prior', 0.0)
    """
    made = simulator(model_or_fit, data, key=key, draws=draws, replicates=replicates, cap=cap)
    shape = (made.draws, made.replicates, made.data.sizes[row_dim(made.data)], made.size)
    out: np.ndarray | None = None
    reached = np.empty(shape[:2], int)
    with progress_bar(progress, "simulate") as monitor:
        tick = None if monitor is None else lambda done, total: monitor(done, total, None, "")
        for chunk in made.run(tick):
            out = _grown(out, shape, chunk.values.dtype)
            out[chunk.draws, chunk.replicates] = chunk.values
            reached[chunk.draws, chunk.replicates] = chunk.reached
    return _labelled(made, out, reached)


def simulated_chunks(
    model_or_fit: AbstractModel | Fit,
    data: xr.Dataset | None = None,
    *,
    key: Any = 0,
    draws: int | None = None,
    replicates: int = 1,
    cap: float | None = None,
    tick: Callable[[int, int], Any] | None = None,
) -> Iterator[Chunk]:
    """What ``simulate`` returns, by chunks of draws, so that statistics need not hold all of it.

    Yields
    ------
    Chunk
        ``values`` (draw, replicate, row, neuron), ``reached`` (draw, replicate), and which draws and replicates they are.
    """
    return simulator(model_or_fit, data, key=key, draws=draws, replicates=replicates, cap=cap).run(tick)


@in_double
def simulator(
    model_or_fit: AbstractModel | Fit, data: xr.Dataset | None, *, key: Any = 0, draws: int | None = None, replicates: int = 1, cap: float | None = None
) -> Simulator:
    """Draws, covariates and feedback, resolved and checked."""
    model, where, largest = _asked(model_or_fit, data)
    replicates = whole("simulate(replicates)", replicates, 1)
    numbers = where.sizes[row_dim(where)] * max(1, len(model.coords().get("neuron", ()))) * replicates
    wanted = max(1, min(DRAWS, LARGEST // numbers)) if draws is None else whole("simulate(draws)", draws, 1)
    key = jax.random.key(key) if isinstance(key, (int, np.integer)) else key
    own, drawing = jax.random.split(key)
    if isinstance(model_or_fit, Fit):
        posterior, labels = _picked(model_or_fit, wanted)
        origin = "point" if model_or_fit.point else "posterior"
        values = glm_values(model, posterior)[0] if isinstance(model, GLM) else _story_values(model, model.design(where).bare(), posterior)[0]
    else:
        _refuse_undrawable(model, "simulate")
        origin, labels = "prior", {}
        values = {name: np.asarray(value) for name, value in prior_draws(model, _one_row(model, where), wanted, drawing).items()}
    if isinstance(model, GLM):
        plan = planned(model, where, values)
        limit = checked_cap(cap, model, plan.dt, largest, bool(plan.loops))
        return Simulator(
            model,
            where,
            plan.draws,
            replicates,
            origin,
            labels,
            limit,
            bool(plan.loops),
            plan.notes,
            model.target.size,
            partial(free_run, plan, own, replicates, limit),
        )
    made = _story(model, where, values, cap)
    run = partial(story_run, made, own, replicates)
    return Simulator(model, where, made.draws, replicates, origin, labels, None, False, (), made.scored.shape[1], run)


def _asked(model_or_fit: Any, data: Any) -> tuple[AbstractModel, xr.Dataset, float]:
    """The resolved model, the recording, and the largest training response (NaN where it is not known)."""
    if not isinstance(model_or_fit, AbstractModel | Fit):
        raise ValueError(f"simulate wants a model such as bg.GLM(...) or a fit of bg.fit(...), got {type(model_or_fit).__name__}.")
    if data is None:
        if not isinstance(model_or_fit, Fit):
            raise ValueError("simulate(model, data) wants a recording: it gives the rows, epochs and covariates. Only a fit has one of its own.")
        data = training_data(model_or_fit)
    if not isinstance(data, xr.Dataset) or "rows" not in data.attrs:
        raise ValueError(f"simulate wants a recording made by bg.recording(...) or bg.bin_spikes(...), got {type(data).__name__}.")
    if isinstance(model_or_fit, Fit):
        return model_or_fit.model, data, _largest(_observed(model_or_fit), model_or_fit.model, data)
    model = model_or_fit.resolve(data)
    return model, data, _largest(data, model, data)


def _observed(fit: Fit) -> xr.Dataset:
    """The training responses, which a fit keeps."""
    if fit.data is not None:
        return fit.data
    return fit.idata["observed_data"].to_dataset() if "observed_data" in fit.idata.children else xr.Dataset()


def _largest(training: xr.Dataset, model: AbstractModel, data: xr.Dataset) -> float:
    name = model.observed_site()
    column = next((part[name] for part in (training, data) if name in part), None)
    if column is None or not column.size:
        return float("nan")
    return float(np.nanmax(np.abs(column.values)) if column.dtype.kind in "if" else column.values.max())


def _picked(fit: Fit, wanted: int) -> tuple[xr.Dataset, dict[str, tuple[str, np.ndarray]]]:
    """Draws evenly spread over the chains, as one chain; and which they were."""
    posterior = fit.posterior
    at = _evenly(posterior.sizes["chain"] * posterior.sizes["draw"], wanted)
    chain, draw = np.divmod(at, posterior.sizes["draw"])
    labels = {} if fit.point else {"chain": ("draw", posterior["chain"].values[chain]), "posterior_draw": ("draw", posterior["draw"].values[draw])}
    chosen = posterior.isel(chain=xr.DataArray(chain, dims="picked"), draw=xr.DataArray(draw, dims="picked"))
    return chosen.drop_vars(["chain", "draw"]).rename(picked="draw").expand_dims("chain"), labels


def _one_row(model: AbstractModel, data: xr.Dataset) -> Any:
    """A design of little more than one row: priors look at no row."""
    return model.design(data.isel({row_dim(data): slice(0, 2)}) if isinstance(model, GLM) else data).bare()


def _story(model: AbstractModel, data: xr.Dataset, values: dict[str, np.ndarray], cap: float | None) -> Source:
    """Draws of a story on a recording, where nothing feeds back."""
    if cap is not None:
        raise ValueError(f"simulate(cap={cap!r}): nothing feeds back in {type(model).__name__}; leave cap out.")
    made = Source(model, model.design(data).bare(), values, np.ones((data.sizes[row_dim(data)], 1), bool), bin_width(data), 1)
    size = int(np.prod(_site(made)["fn"].batch_shape[1:]))
    made = made._replace(scored=np.ones((len(made.scored), size), bool))
    refuse_feedback(made, data)
    return made


def _grown(out: np.ndarray | None, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """An array that holds values of ``kind`` too."""
    if out is None:
        return np.empty(shape, kind)
    wider = np.promote_types(out.dtype, kind)
    return out if wider == out.dtype else out.astype(wider)


def _labelled(made: Simulator, out: np.ndarray | None, reached: np.ndarray) -> xr.Dataset:
    """Responses and when they reached the cap, with the recording's coordinates."""
    row, name = row_dim(made.data), made.model.observed_site() or "response"
    values, dims = np.asarray(out), ["draw", "replicate", row]
    coords: dict[str, Any] = {"draw": np.arange(made.draws), "replicate": np.arange(reached.shape[1]), **made.labels}
    coords |= {label: made.data[label].variable for label in made.data.coords if made.data[label].dims == (row,)}
    if made.model.has_neurons:
        labels = made.model.coords().get("neuron", ())
        dims, coords = [*dims, "neuron"], coords | {"neuron": np.asarray(labels) if len(labels) == made.size else np.arange(made.size)}
    else:
        values = values[..., 0]
    since, unit = elapsed(made.data, reached)
    variables = {
        name: (dims, values, _attributes(made)),
        "ran_away": (["draw", "replicate"], reached >= 0),
        "capped_at": (["draw", "replicate"], since, {"units": unit}),
    }
    said = stability(reached, since, made.cap, made.data, getattr(made.model, "family", None), made.feeds)
    share = float((reached >= 0).mean())
    attrs = {"cap": float("nan") if made.cap is None else made.cap, "share_ran_away": share, "stability": said, "from": made.origin, "notes": list(made.notes)}
    if share:
        warnings.warn(f"simulate: {said}", RanAway, stacklevel=3)
    return xr.Dataset(variables, coords, attrs)


def _attributes(made: Simulator) -> dict[str, Any]:
    """Of the response: an angle keeps its period."""
    circle = getattr(getattr(made.model, "family", None), "circle", None)
    return {} if circle is None else {"period": circle}
