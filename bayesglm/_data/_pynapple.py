"""Reading pynapple's objects without importing it: whoever holds one has imported it already."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesglm._data._checks import RESERVED


def is_a(thing: Any, *kinds: str) -> bool:
    """Whether `thing` is an object of one of pynapple's classes `kinds`."""
    nap = sys.modules.get("pynapple")
    return nap is not None and isinstance(thing, tuple(getattr(nap, kind) for kind in kinds))


def unit_times(units: Any) -> dict[Any, np.ndarray]:
    """Spike times in s by label."""
    if is_a(units, "Ts"):
        return {0: units.t}
    if is_a(units, "TsGroup"):
        return {label: units[label].t for label in units.index}
    if isinstance(units, Mapping) and all(is_a(unit, "Ts") for unit in units.values()):
        return {label: unit.t for label, unit in units.items()}
    raise ValueError(f"from_pynapple wants a TsGroup, a Ts or a dict of Ts, got {type(units).__name__}: use bin_spikes.")


def unit_metadata(units: Any, taken: Mapping[str, Any]) -> dict[str, tuple[str, np.ndarray]]:
    """What a TsGroup knows of each unit (its area, its group), as ``(neuron,)`` columns; its rate is left out."""
    if not is_a(units, "TsGroup"):
        return {}
    barred = {*taken, *RESERVED, "rate", "spikes", "rows", "dt", "labels"}
    known = {n: np.asarray(units.get_info(n)) for n in units.metadata_columns if isinstance(n, str) and n not in barred}
    return {name: ("neuron", values) for name, values in known.items() if _plain(values)}


def _plain(values: np.ndarray) -> bool:
    """Whether metadata are numbers or strings: files also hold tables and links, which no model uses."""
    if values.ndim == 1 and values.dtype.kind == "f":
        return not np.isinf(values).any()
    return values.ndim == 1 and (values.dtype.kind in "biu" or all(isinstance(v, str) for v in values.tolist()))


def support(units: Any) -> Any:
    """The epochs in which the units were recorded, as (epoch, 2) in s."""
    alone = not isinstance(units, Mapping) or is_a(units, "TsGroup")
    first: Any = units if alone else next(iter(units.values()))
    return intervals(first.time_support)


def intervals(epochs: Any) -> Any:
    """An IntervalSet as (epoch, 2) in s; anything else as it is."""
    return np.asarray(epochs.values, dtype=np.float64) if is_a(epochs, "IntervalSet") else epochs


def samples(thing: Any) -> Any:
    """A Tsd, TsdFrame or TsdTensor as (t, values); anything else as it is."""
    return (np.asarray(thing.t), np.asarray(thing.d)) if is_a(thing, "Tsd", "TsdFrame", "TsdTensor") else thing
