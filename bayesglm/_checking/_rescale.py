"""rescale(): is the timing of events what the fit expects? Time rescaling, and its kin for every family."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
import numpyro.distributions as dist
import xarray as xr
from numpyro.distributions import constraints

from bayesglm._autocorrelation import gap_between
from bayesglm._checking._pit import bound_chunks, generators
from bayesglm._checking._rescaled import KEPT, LEVEL, NOT, REJECTED, Rescaled, Way
from bayesglm._classes import _answering, class_names
from bayesglm._data import bin_width, epoch_ids, is_time
from bayesglm._double import in_double
from bayesglm._likelihood import Source, _site, is_mass, labels_of, recording_of, response_chunks, response_of, source
from bayesglm._predict import _evenly
from bayesglm._progress import progress_bar
from bayesglm.engine.goodness import LAGS, LEAST, Goodness, Histogram, goodness, holm, ks_p
from bayesglm.engine.rescaling import Clock, by_train, place_events
from bayesglm.family import Bernoulli, Poisson
from bayesglm.family._distributions import PoissonLogRate
from bayesglm.method._base import whole

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_BAND = (0.05, 0.95)  # quantiles over draws
_STEP = 4  # edges of the histogram between two points of a curve
_LONGEST = 1e6  # rescaled length of a bin of a draw that ran away: infinite ones would make NaN
_ZEROS = 0.8  # share of empty bins beyond which transforms of rows say little of when spikes come


@in_double
def rescale(fit: Fit, data: xr.Dataset | None = None, *, draws: int = 50, key: Any = 0, how: Way | None = None, progress: bool = True) -> Rescaled:
    """Test whether events come when a fit expects them: intervals in rescaled time are independent and Exponential(1) if it is true.

    With tau the expected number of spikes between two spikes, one step ahead given the real past, u = 1 - exp(-tau) is
    uniform and independent of its neighbours. Both are tested: u by Kolmogorov and Smirnov, the correlations of
    Phi^-1(u) over ten neighbours by Ljung and Box.

    Parameters
    ----------
    fit : Fit
    data : xarray.Dataset, optional
        A recording. None: the training recording, where the test is conservative, and is labelled so.
    draws : int
        At most this many draws are read, an equal number from each chain. The p-values are of the prediction averaged
        over them, and are given with the band of the single draws' p-values.
    key : int or JAX key
        Of what is random: where in a bin a spike is put, and the uniform numbers of discrete responses.
    how : "counts", "any_spike" or "pit", optional
        Default by family. Poisson, "counts": k spikes are k uniform order statistics of their bin's rescaled length,
        which is exact. Bernoulli, "any_spike": the discrete-time theorem, which is exact for at most one event a bin.
        All others, "pit": randomised probability integral transforms of the rows, and their correlations over ten
        rows within epochs. "any_spike" also works for other counts, by the predicted probability of an empty bin; where
        most bins are empty it sees more of their timing than "pit".
    progress : bool
        Show a progress bar where it takes more than a few seconds.

    Returns
    -------
    Rescaled
        ``table`` (neuron), ``verdict``, ``held_out``; ``bg.plot.rescale`` draws it. A neuron is rejected at 5 % after
        Holm's correction over all neurons and both tests, so that a true model is rejected as a whole once in twenty
        times. Under 20 intervals (rows) or 20 spikes nothing is said.

    Raises
    ------
    ValueError
        A recording without the response; a ``how`` that this family has not; what ``predict`` refuses.

    Notes
    -----
    Rows that are not scored are cut out of rescaled time, with their spikes, and epochs are put end to end: what is cut
    off by the end of one epoch is completed in the next, as a memoryless process allows. The first and the last interval of
    the whole are cut off and left out. Leaving them out of every epoch would leave out long intervals, and reject a true model.

    The rate is uncertain: on a test part about as long as the training part, or longer, the error of estimation counts
    against a true model. The band over draws shows how much.

    References
    ----------
    Brown, Barbieri, Ventura, Kass & Frank 2002, The time-rescaling theorem and its application to neural spike train
    data analysis. Haslinger, Pipa & Brown 2010, Discrete time rescaling theorem. Ljung & Box 1978.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.2, (2000, 1)))
    >>> fit = bg.fit(bg.GLM(bg.Baseline()), data, "map", progress=False)
    >>> found = bg.rescale(fit, progress=False)
    >>> found.how, found.held_out, found.rejected
    ('counts', False, ())
    """
    kept = _evenly(fit.posterior.sizes["draw"], whole("rescale(draws)", draws, 1) // fit.posterior.sizes["chain"])
    where = recording_of(fit, data)
    made = source(fit, where if data is not None else None, kept)
    y = np.asarray(response_of(made))
    way = _way(made, how)
    held_out, notes = _seen(fit, data)
    read = _read(made, y, way, key, epoch_ids(where) if is_time(where) else None, progress)
    table, curves = _tables(made, read, _enough(made, y, way), labels_of(fit, y.shape[1]))
    table.attrs = {"lag_unit": ("intervals" if way != "pit" else "bins" if is_time(where) else "trials"), "how": way}
    notes = (*notes, *_notes(fit, made, y, way))
    return Rescaled(table, curves, way, held_out, made.draws, fit.model.observed_site() or "response", notes)


def _way(made: Source, how: str | None) -> Way:
    """How this response is tested; raises where it cannot be."""
    family = getattr(made.model, "family", None)
    usual = _usual(made)
    if how is None or how == usual:
        return usual
    if how not in get_args(Way):
        raise ValueError(f"rescale(how={how!r}): it is one of {', '.join(map(repr, get_args(Way)))}, or None for the family's own.")
    if how == "counts":
        raise ValueError(f"rescale(how='counts') places Poisson counts in their bins; this response's own way is how={usual!r}.")
    if how == "any_spike" and (not is_mass(made) or class_names(family) is not None):
        raise ValueError("rescale(how='any_spike') wants a response of counts, in which 0 is an empty bin; use how='pit'.")
    return how


def _usual(made: Source) -> Way:
    family = getattr(made.model, "family", None)
    if family is not None:
        return "counts" if isinstance(family, Poisson) else "any_spike" if isinstance(family, Bernoulli) else "pit"
    law = _site(made)["fn"]
    while isinstance(law, dist.MaskedDistribution | dist.ExpandedDistribution):
        law = law.base_dist
    if law.support is constraints.boolean:
        return "any_spike"
    return "counts" if isinstance(law, dist.Poisson | PoissonLogRate) else "pit"


def _seen(fit: Fit, data: xr.Dataset | None) -> tuple[bool, tuple[str, ...]]:
    """Whether the rows are new to the fit, and what to say about it."""
    if data is None or data is fit.data:
        return False, ()
    if fit.data is None:
        return True, ("the fit was saved without its recording: these rows are taken for held-out ones",)
    if is_time(data):
        gap = gap_between(fit.data, data, fit.model.observed_site() or "")
        return gap is None or gap > -0.5 * bin_width(data), ()
    return not data.identical(fit.data), ()


class _Reading(NamedTuple):
    """Uniform transforms of each neuron at the averaged prediction, their distribution under each draw, their epochs."""

    uniform: list[np.ndarray]
    spread: Histogram | None
    group: np.ndarray | None


def _read(made: Source, y: np.ndarray, way: Way, key: Any, epochs: np.ndarray | None, progress: bool) -> _Reading:
    rows, neurons = y.shape
    spread = Histogram(made.draws, neurons) if made.draws > 1 else None
    parts = []
    chunks = _transforms(made, key) if way == "pit" else _intervals(made, y, way, key)
    with progress_bar(progress, "rescale", delay=2.0) as monitor:
        for part, neuron, uniform in chunks:
            parts.append((neuron, uniform[0]))
            if spread is not None:
                spread.add(neuron, uniform[1:])
            if monitor is not None:
                monitor(part.stop, rows, None, "")
    each = list(by_train(parts, neurons))
    if way != "pit":
        return _Reading(each, spread, None)
    return _Reading([_in_rows(values, made.scored[:, n]) for n, values in enumerate(each)], spread, epochs)


def _in_rows(values: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Values of the scored rows in their places, NaN elsewhere."""
    out = np.full(scored.shape, np.nan)
    out[scored] = values
    return out


def _transforms(made: Source, key: Any) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Chunks of (rows, neuron (value,), u (1 + draw, value)), the averaged prediction first."""
    for rows, below, at, places in bound_chunks(made, key):
        neuron, row = np.nonzero(made.scored[rows].T)
        low, high = (_with_average(bound[:, row, neuron]) for bound in (below, at))
        yield rows, neuron, np.clip(low + places[row, neuron] * (high - low), 0.0, 1.0)


def _intervals(made: Source, y: np.ndarray, way: Way, key: Any) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Chunks of (rows, neuron (interval,), u (1 + draw, interval)), the averaged prediction first."""
    events = place_events(y, made.scored, way, generators(made, key))
    clock = Clock(1 + made.draws if made.draws > 1 else 1, y.shape[1], way)
    for rows, lengths in _lengths(made, way):
        lengths = np.where(made.scored[rows], np.fmin(lengths, _LONGEST), 0.0)
        neuron, interval = clock.advance(lengths, events.within(rows.start, rows.stop))
        yield rows, neuron, -np.expm1(-interval)


def _lengths(made: Source, way: Way) -> Iterator[tuple[slice, np.ndarray]]:
    """Rescaled lengths of bins (1 + draw, row, neuron): expected counts, or -log P(no spike)."""
    if way == "counts":
        yield from ((rows, _with_average(mean)) for rows, mean in response_chunks(made, "mean"))
        return
    for rows, some in _some_spike(made):
        yield rows, -np.log1p(-np.minimum(_with_average(some), 1.0 - 1e-16))


def _some_spike(made: Source) -> Iterator[tuple[slice, np.ndarray]]:
    """P(any spike) by chunks of rows, (draw, row, neuron)."""
    each = made.design.each
    if isinstance(each, dict) and "response" in each:
        yield from ((rows, -np.expm1(silent)) for rows, silent in response_chunks(_answering(made, 0), "log_prob"))
    elif _usual(made) == "any_spike":
        yield from response_chunks(made, "mean")
    else:
        raise ValueError("rescale(how='any_spike') wants a model whose design holds the response, such as a GLM; use how='pit'.")


def _with_average(values: np.ndarray) -> np.ndarray:
    """The average over draws, then the draws; of one draw the draw itself."""
    return values if len(values) == 1 else np.concatenate([values.mean(0, keepdims=True), values])


def _enough(made: Source, y: np.ndarray, way: Way) -> np.ndarray:
    """(neuron,) whether there are spikes enough to say anything; rows of what is no spikes count for themselves."""
    spiking = way != "pit" or getattr(getattr(made.model, "family", None), "counts", False)
    return np.where(made.scored, y, 0).sum(0) >= LEAST if spiking else np.ones(y.shape[1], bool)


def _tables(made: Source, read: _Reading, enough: np.ndarray, labels: np.ndarray | None) -> tuple[xr.Dataset, xr.Dataset]:
    found = [_judged(values, read.group, fine) for values, fine in zip(read.uniform, enough, strict=True)]
    coords = {"neuron": np.arange(enough.size) if labels is None else labels}
    names = ("n", "ks", "ks_at", "p_value", "autocorrelation_p")
    table = xr.Dataset({name: ("neuron", np.array([getattr(one, name) for one in found])) for name in names}, coords | {"lag": np.arange(1, LAGS + 1)})
    for name in ("autocorrelation", "pairs"):
        table[name] = ("neuron", "lag"), np.array([getattr(one, name) for one in found])
    table["p_low"], table["p_high"] = (("neuron", column) for column in np.array([_spread_of_p(read, found, n) for n in range(enough.size)]).T)
    adjusted = holm(np.stack([table["p_value"].values, table["autocorrelation_p"].values]))
    smaller = np.fmin(*adjusted)
    table["p_adjusted"] = "neuron", smaller
    table["status"] = "neuron", np.where(np.isnan(smaller), NOT, np.where(smaller < LEVEL, REJECTED, KEPT))
    return table, _curves(read, coords)


def _judged(uniform: np.ndarray, group: np.ndarray | None, enough: bool) -> Goodness:
    found = goodness(uniform, group)
    return found if enough else found._replace(ks=np.nan, ks_at=np.nan, p_value=np.nan, autocorrelation_p=np.nan)


def _spread_of_p(read: _Reading, found: list[Goodness], n: int) -> tuple[float, float]:
    """The p-values between which 90 % of the draws' lie."""
    if read.spread is None or np.isnan(found[n].p_value):
        return np.nan, np.nan
    shares = read.spread.shares(n)
    distance = np.abs(shares - np.linspace(0.0, 1.0, shares.shape[1])).max(1)
    near, far = np.quantile(distance, _BAND)
    return ks_p(far, found[n].n), ks_p(near, found[n].n)


def _curves(read: _Reading, coords: dict[str, np.ndarray]) -> xr.Dataset:
    """Distribution functions on a grid, with their band over draws."""
    grid = np.linspace(0.0, 1.0, 1024 // _STEP + 1)
    share = np.array([_share_below(values[~np.isnan(values)], grid) for values in read.uniform])
    low, high = np.full((2, *share.shape), np.nan)
    if read.spread is not None:
        for n in range(len(share)):
            low[n], high[n] = np.quantile(read.spread.shares(n)[:, ::_STEP], _BAND, axis=0)
    dims = ("neuron", "quantile")
    return xr.Dataset({"share": (dims, share), "low": (dims, low), "high": (dims, high)}, coords | {"quantile": grid})


def _share_below(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(values), grid, side="right") / values.size if values.size else np.full(grid.shape, np.nan)


def _notes(fit: Fit, made: Source, y: np.ndarray, way: Way) -> tuple[str, ...]:
    """What a reader of the table must know besides."""
    found = ["a point estimate: the uncertainty of its parameters is not shown"] if fit.point else []
    counts = getattr(getattr(made.model, "family", None), "counts", False)
    if way == "pit" and counts and made.scored.any() and (y[made.scored] == 0).mean() > _ZEROS:
        found.append("most bins are empty, so transforms of rows say little of when spikes come: how='any_spike' tests the intervals between them")
    return tuple(found)
