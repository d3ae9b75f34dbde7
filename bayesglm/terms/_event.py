"""Event: kernels around moments, and over the time for which something lasts."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from bayesglm._data import column_names, epoch_ids, event_names, event_rows, event_spans, event_values, row_dim
from bayesglm.basis import AbstractBasis
from bayesglm.prior import AbstractPrior, Gaussian
from bayesglm.terms._base import Columns, Response, resolved, settled
from bayesglm.terms._lagged import AbstractLagged, Edge, checked_edge
from bayesglm.terms._plain import covariate


def _checked_window(window: tuple[float, float]) -> tuple[float, float]:
    start, stop = (float(edge) for edge in window)
    if not (np.isfinite([start, stop]).all() and start < stop):
        raise ValueError(f"window=({start:g}, {stop:g}) is no stretch of time: give seconds around the event, the earlier first, such as (-0.2, 0.5).")
    return start, stop


class Event(AbstractLagged):
    """Response around events: eta(t) += sum_e v_e k(t - t_e), k = kernels @ weights, lags from window[0] to window[1].

    An event that lasts is a boxcar, on in all the bins that it overlaps, filtered by the kernels: eta(t) += sum_l k(l)
    on(t - l).

    Parameters
    ----------
    event : str
        Events of the recording (``events=``), of one moment each or, with the value ``stop``, lasting; or a column of 0
        and 1 that says when something is on, (row,), or (row, neuron) for each neuron its own.
    basis : AbstractBasis
        Over lags; its span is the window's length and need not be given. Kernels of moments have peak 1: a weight is the
        log-gain at its kernel's peak. Kernels of what lasts sum to 1: a weight is the log-gain while it is on.
        ``RaisedCosine`` is finest where the window starts: where that is before the event use ``BSpline``.
    prior : AbstractPrior, optional
        Default Gaussian(tau), tau ~ HalfNormal(1).
    window : (float, float)
        First and last lag in seconds (trials on trial rows); below zero before the event (acausal).
    value : str, optional
        Value of the events that scales their kernels, such as "value" or "contrast"; without it every event counts 1.
    edge : "drop" or "zero"
        "zero", the default, keeps rows whose window reaches out of their epoch: no event is seen there.

    Raises
    ------
    ValueError
        Where the event or its value is unknown, a column is not 0 or 1, or the basis has a span of another length.

    Notes
    -----
    An event never acts across an epoch's edge, and one that lies in no bin acts nowhere.

    References
    ----------
    Park et al. 2014, Encoding and decoding in parietal cortex during sensorimotor decision-making.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.zeros(20, int), events={"cue": ([0.55, 1.25], [1.0, 2.0])})
    >>> term = bg.Event("cue", bg.basis.Lags(), window=(-0.1, 0.2), value="value")
    >>> bg.GLM(term).resolve(data).design(data).shared["cue"][4:8, :].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """

    event: str = eqx.field(static=True)
    basis: AbstractBasis
    prior: AbstractPrior | None = None
    window: tuple[float, float] = eqx.field(default=(0.0, 0.5), static=True, kw_only=True, converter=_checked_window)
    value: str | None = eqx.field(default=None, static=True, kw_only=True)
    edge: Edge = eqx.field(default="zero", static=True, kw_only=True, converter=checked_edge)
    name: str = eqx.field(default="", static=True, kw_only=True)
    shape: tuple[int, ...] | None = eqx.field(default=None, static=True, kw_only=True)
    kernels: np.ndarray | None = eqx.field(default=None, kw_only=True)
    first: int = eqx.field(default=0, static=True, kw_only=True)
    dt: float = eqx.field(default=0.0, static=True, kw_only=True)
    centre: np.ndarray | None = eqx.field(default=None, kw_only=True)
    lasting: bool | None = eqx.field(default=None, static=True, kw_only=True)  # whether boxcars

    def __post_init__(self) -> None:
        self.name = self.name or self.event

    def resolve(self, data: xr.Dataset, response: Response) -> "Event":
        if resolved(self):
            return self
        lasting = self._lasts(data)
        spanned = settled(self, basis=self._spanned(), lasting=lasting)
        lagged = spanned.lag_fields(response, 0, "signal" if lasting else "spikes", lead=-round(self.window[0] / response.dt))
        prior = self.prior or Gaussian(dist.HalfNormal(1.0))
        made = settled(spanned, prior=prior, **lagged)
        found = made.columns(data, response)
        return settled(made, shape=found.shape, centre=found.mean())

    def _spanned(self) -> AbstractBasis:
        """The basis with the window's length as its span."""
        length, basis = self.window[1] - self.window[0], self.basis
        if basis.span is None:
            settable = any(field.name == "span" and field.init for field in dataclasses.fields(basis))
            return dataclasses.replace(basis, span=length) if settable else basis
        if not np.isclose(basis.span, length, rtol=1e-6, atol=0):
            raise ValueError(
                f"Event({self.event!r}) has window=({self.window[0]:g}, {self.window[1]:g}), {length:g} s long, and a basis with span={basis.span:g} s: "
                f"leave span out of the basis, or give window=(0, {basis.span:g})."
            )
        return basis

    def _lasts(self, data: xr.Dataset) -> bool:
        """Whether the event lasts; a ValueError where there is none of this name."""
        if self.event in event_names(data):
            return "stop" in event_values(data, self.event)
        known = column_names(data)
        if self.event not in known:
            has = f"events {event_names(data)} and columns {known}"
            raise ValueError(f"Event wants events or a column of 0 and 1 named {self.event!r}, which the recording lacks; it has {has}.")
        if self.value is not None:
            raise ValueError(f"Event({self.event!r}, value={self.value!r}): {self.event!r} is a column, and only events have values: leave value out.")
        return True

    def columns(self, data: xr.Dataset, response: Response) -> Columns:
        if self._lasts(data) != self.lasting:
            raise ValueError(f"The events {self.event!r} {'have no' if self.lasting else 'have a'} stop here, unlike in training: make both alike.")
        epochs = epoch_ids(data)
        if self.event in event_names(data):
            signal, gaps = self._moments(data)
            return self.of_signal(signal, gaps, False, epochs, f"{self.event} {self.value}")
        values, dims, own = covariate(data, self.event, response, "Event")
        if dims or not np.isin(values[~np.isnan(values)], (0, 1)).all():
            wants = f"a column ({row_dim(data)},) of 0 and 1"
            raise ValueError(f"Event({self.event!r}) wants {wants}, on or off; got dims {data[self.event].dims}: use Stimulus for other signals.")
        return self.of_signal(values, np.isnan(values), own, epochs, self.event)

    def _moments(self, data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
        """What each row gets of the events' values, (row,), and which rows hold an event whose value is NaN."""
        values = self._values(data)
        rows, signal = data.sizes["time"], np.zeros(data.sizes["time"])
        first, after = event_spans(data, self.event) if self.lasting else _moment_spans(event_rows(data, self.event))
        lengths = after - first
        event = np.repeat(np.arange(len(values)), lengths)
        at = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[event]
        np.add.at(signal, at, np.nan_to_num(values[event], nan=0.0))
        return signal, np.bincount(at[np.isnan(values[event])], minlength=rows) > 0

    def _values(self, data: xr.Dataset) -> np.ndarray:
        """The number by which each event counts, (event,)."""
        if self.value is None:
            return np.ones(data[self.event].size)
        known: dict[str, Any] = event_values(data, self.event)
        if self.value not in known or known[self.value].dtype.kind not in "biuf":
            why = "are no numbers" if self.value in known else f"are unknown; known are {list(known)}"
            raise ValueError(f"Event({self.event!r}, value={self.value!r}): these values {why}. Give them as events={{{self.event!r}: (times, values)}}.")
        return known[self.value].astype(float)

    @property
    def dims(self) -> tuple[str, ...]:
        return (self.basis_dim,)

    def coords(self) -> dict[str, np.ndarray]:
        return {self.basis_dim: self.basis.labels}

    def needs(self) -> tuple[str, ...]:
        return (self.event,)


def _moment_spans(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The one bin of each event; none for an event that lies outside every bin."""
    return np.maximum(rows, 0), np.where(rows >= 0, rows + 1, 0)
