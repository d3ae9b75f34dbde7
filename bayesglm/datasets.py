"""Public recordings, ready to fit."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesglm._data import bin_spikes

ENVIRONMENT = "BAYESGLM_DATA"


class MissingData(ValueError):
    """The files of a data set are not on this machine; the sentence says how to get them."""


class _Set(NamedTuple):
    read: Callable[[Path], xr.Dataset]
    files: tuple[str, ...]
    shipped: Callable[[], Path | None]  # where another package has put the files
    mend: str


def load(name: str, path: str | os.PathLike | None = None) -> xr.Dataset:
    """Load a public recording.

    The files are looked for in ``path``, in the folder ``name`` under the folder that the environment variable
    ``BAYESGLM_DATA`` names, and in the packages that ship them. Nothing is downloaded.

    Parameters
    ----------
    name : str
        "grasshopper": an auditory receptor of *Locusta migratoria*, 10 s and 929 spikes in bins of 1 ms, under a
        carrier tone whose amplitude is modulated by Gaussian noise up to 200 Hz. Columns ``spikes (time, neuron)`` and
        ``stimulus (time,)``, the amplitude in dB relative to its largest value (at most 0), averaged in each bin.
        ``pip install 'bayesglm[demo]'`` brings its files.
    path : path, optional
        A folder with the files of the set.

    Returns
    -------
    xarray.Dataset
        A recording (see ``bayesglm.recording``).

    Raises
    ------
    ValueError
        For an unknown name (the sentence lists the known ones), or where files are missing (``MissingData``).

    References
    ----------
    Rokem et al. 2006, Spike-timing precision underlies the coding efficiency of auditory receptor neurons, Journal of
    Neurophysiology 95 (the grasshopper receptor; set ia-1 of CRCNS, redistributed by nitime).

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.load("grasshopper")
    >>> data.sizes["time"], int(data["spikes"].sum())
    (10000, 929)
    """
    if name not in _SETS:
        raise ValueError(f"datasets.load({name!r}): there is no such data set; there are {sorted(_SETS)}.")
    wanted = _SETS[name]
    folder = _folder(name, wanted, path)
    missing = [file for file in wanted.files if not (folder / file).is_file()]
    if missing:
        raise MissingData(f"The data set {name!r} wants the files {missing} in {folder}, which has none of that name: {wanted.mend}")
    return wanted.read(folder)


def _folder(name: str, wanted: _Set, path: str | os.PathLike | None) -> Path:
    """The folder stated, else the first that is there."""
    if path is not None:
        return Path(path)
    own = Path(os.environ[ENVIRONMENT]) / name if ENVIRONMENT in os.environ else None
    if own is not None and own.is_dir():
        return own
    shipped = wanted.shipped()
    if shipped is None:
        raise MissingData(f"The data set {name!r} is not on this machine: {wanted.mend}")
    return shipped


def _nitime() -> Path | None:
    """The data folder of the nitime package, found without importing it."""
    found = importlib.util.find_spec("nitime")
    return Path(found.submodule_search_locations[0]) / "data" if found and found.submodule_search_locations else None


def _grasshopper(folder: Path) -> xr.Dataset:
    amplitude = np.loadtxt(folder / "grasshopper_stimulus1.txt")  # time in microseconds; amplitude, at most 1
    spikes = np.loadtxt(folder / "grasshopper_spike_times1.txt")  # microseconds
    step = amplitude[1, 0] - amplitude[0, 0]
    # A sample stands for the step that follows it: taken at its middle, none lies on a bin's edge.
    time, decibels = 1e-6 * (amplitude[:, 0] + step / 2), 20 * np.log10(amplitude[:, 1])
    stop = 1e-6 * (amplitude[-1, 0] + step)
    data = bin_spikes({"receptor": 1e-6 * spikes}, dt=0.001, epochs=(0.0, stop), stimulus=(time, decibels))
    data["stimulus"].attrs |= {"units": "dB", "long_name": "amplitude relative to its largest value"}
    return data


_SETS = {
    "grasshopper": _Set(
        _grasshopper,
        ("grasshopper_spike_times1.txt", "grasshopper_stimulus1.txt"),
        _nitime,
        "pip install 'bayesglm[demo]' brings it (in the package nitime), or pass path= to a folder that holds its files.",
    )
}
