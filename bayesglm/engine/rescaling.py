"""Time rescaling of spike trains: intervals in which time runs as fast as the model expects spikes. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

How = Literal["counts", "any_spike"]


class Events(NamedTuple):
    """Spikes of many trains, in the order of their rows; ``place`` is uniform in the bin, in order where a bin has several."""

    row: np.ndarray
    train: np.ndarray
    place: np.ndarray

    def within(self, start: int, stop: int) -> Events:
        """Those of some rows, train by train, with rows counted from ``start``."""
        low, high = np.searchsorted(self.row, (start, stop))
        order = low + np.argsort(self.train[low:high], kind="stable")
        return Events(self.row[order] - start, self.train[order], self.place[order])


def place_events(counts: np.ndarray, scored: np.ndarray, how: How, generators: Sequence[np.random.Generator]) -> Events:
    """Where in their bins spikes are put.

    Parameters
    ----------
    counts : (row, train)
        Spikes a bin.
    scored : (row, train) bool
        Bins that count; the others are cut out of rescaled time.
    how : "counts" or "any_spike"
        k spikes are k uniform order statistics of their bin; or a bin with any spike is one event.
    generators : (train,) of numpy Generator
        One a train, so that a train's places do not depend on the others'.
    """
    rows, trains, places = [], [], []
    for n, generator in enumerate(generators):
        row = np.flatnonzero(scored[:, n] & (counts[:, n] > 0))
        row = np.repeat(row, counts[row, n].astype(int)) if how == "counts" else row
        place = generator.random(row.size)
        rows.append(row)
        places.append(place[np.lexsort((place, row))])
        trains.append(np.full(row.size, n))
    row, train, place = (np.concatenate(parts) for parts in (rows, trains, places))
    order = np.argsort(row, kind="stable")
    return Events(row[order], train[order], place[order])


class Clock:
    """Rescaled time of many trains at many rates, moved on chunk by chunk."""

    def __init__(self, rates: int, trains: int, how: How) -> None:
        self.how = how
        self.now = np.zeros((rates, trains))
        self.last = np.full((rates, trains), np.nan)  # when the last event was; NaN: there was none yet

    def advance(self, lengths: np.ndarray, events: Events) -> tuple[np.ndarray, np.ndarray]:
        """Intervals that end in a chunk of rows: their trains (interval,), their rescaled lengths (rate, interval).

        Parameters
        ----------
        lengths : (rate, row, train)
            Rescaled lengths of the bins: expected counts, or -log P(no spike); 0 where not scored.
        events : Events
            Of these rows, train by train.
        """
        at, place = (slice(None), events.row, events.train), events.place
        if self.how == "any_spike":
            lengths = np.array(lengths, float)
            lengths[at] = -np.log1p(place * np.expm1(-lengths[at]))
            place = np.ones_like(place)  # what is left of the bin after its event is no time in which another could come
        total = np.cumsum(lengths, axis=1)
        when = self.now[:, events.train] + total[at] - (1.0 - place) * lengths[at]
        self.now = self.now + total[:, -1]
        return self._since_last(events.train, when)

    def _since_last(self, train: np.ndarray, when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not train.size:
            return train, when
        first = np.flatnonzero(np.r_[True, train[1:] != train[:-1]])
        before = np.concatenate([np.full((len(when), 1), np.nan), when[:, :-1]], 1)
        before[:, first] = self.last[:, train[first]]
        self.last[:, train[first]] = when[:, np.r_[first[1:], train.size] - 1]
        known = ~np.isnan(before[0])
        return train[known], (when - before)[:, known]


def rescaled_intervals(
    expected: np.ndarray, counts: np.ndarray, *, how: How = "counts", scored: np.ndarray | None = None, seed: int | Sequence[int] = 0
) -> list[np.ndarray]:
    """Rescaled intervals between the spikes of each train: independent and Exponential(1) if ``expected`` is true.

    Parameters
    ----------
    expected : (row, train)
        For "counts" the Poisson mean of each bin given the past; for "any_spike" the probability of a spike in it.
    counts : (row, train)
        Spikes a bin.
    how : "counts" or "any_spike"
        "counts": k spikes are k uniform order statistics of the bin's rescaled length, which is exact for Poisson
        counts. "any_spike": at most one event a bin, after -log(1 - r p) of its rescaled length -log(1 - p), r uniform,
        which is exact for Bernoulli bins.
    scored : (row, train) bool, optional
        Bins that count; the others, and their spikes, are cut out.
    seed : int or ints

    Returns
    -------
    list of (interval,)
        For each train the intervals from its first to its last event: one that is cut off by an end is not known.

    Raises
    ------
    ValueError
        Where the shapes differ.

    Notes
    -----
    Epochs are put end to end. The rescaled process is memoryless, so an interval over the join of two epochs has the
    same law as any other. To leave out the two cut-off intervals of each epoch instead would leave out long ones, since
    a long interval is the likelier to be cut off: with four spikes an epoch and 600 in all, a true model is then rejected
    nineteen times in twenty or more.

    References
    ----------
    Brown, Barbieri, Ventura, Kass & Frank 2002. Haslinger, Pipa & Brown 2010, Discrete time rescaling theorem.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(0.1, (20000, 1))
    >>> intervals = rescaled_intervals(np.full(counts.shape, 0.1), counts)[0]
    >>> intervals.size == int(counts.sum()) - 1, abs(float(intervals.mean()) - 1) < 0.1
    (True, True)
    """
    expected, counts = np.asarray(expected, float), np.asarray(counts)
    if expected.ndim != 2 or expected.shape != counts.shape:
        raise ValueError(f"rescaled_intervals wants expected and counts of one shape (row, train), got {expected.shape} and {counts.shape}.")
    kept = np.ones(counts.shape, bool) if scored is None else np.asarray(scored, bool)
    seeds = np.atleast_1d(seed).tolist()
    events = place_events(counts, kept, how, [np.random.default_rng([*seeds, n]) for n in range(counts.shape[1])])
    lengths = expected if how == "counts" else -np.log1p(-np.minimum(expected, 1.0 - 1e-16))
    clock = Clock(1, counts.shape[1], how)
    train, found = clock.advance(np.where(kept, lengths, 0.0)[None], events.within(0, len(counts)))
    return list(by_train([(train, found[0])], counts.shape[1]))


def by_train(parts: Sequence[tuple[np.ndarray, np.ndarray]], trains: int) -> Iterator[np.ndarray]:
    """Values of each train, put together from chunks of (train, value)."""
    train = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, int)
    values = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0)
    order = np.argsort(train, kind="stable")
    return iter(np.split(values[order], np.searchsorted(train[order], np.arange(1, trains))))
