"""Public recordings, ready to fit, and simulated twins of those that may not be passed on."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from bayesglm import _loaders as loaders
from bayesglm._cell_twins import current_injection_twin as current_injection_twin
from bayesglm._cell_twins import retina_twin as retina_twin
from bayesglm._download import MissingData as MissingData
from bayesglm._download import Source, downloaded
from bayesglm._image_twin import image_twin as image_twin
from bayesglm._mosaic_twin import mosaic_twin as mosaic_twin
from bayesglm._twins import choice_twin as choice_twin
from bayesglm._twins import orientation_twin as orientation_twin
from bayesglm._twins_navigation import navigation_twin as navigation_twin

ENVIRONMENT = "BAYESGLM_DATA"
_RAW = "https://raw.githubusercontent.com"
_COPY = "set the environment variable BAYESGLM_DATA to a folder that holds the folder {folder!r}, or pass path= to a folder with the files."


class _Set(NamedTuple):
    about: str
    read: Callable[..., xr.Dataset]  # of the files' paths
    files: tuple[str, ...]
    folder: str  # under BAYESGLM_DATA
    mend: str = _COPY
    shipped: Callable[[], Path | None] = lambda: None  # where another package has put the files
    terms: str = ""  # whose, and under which licence
    sources: tuple[Source, ...] = ()  # of the files, where the public ones are these very files


def load(name: str, path: str | os.PathLike | None = None, *, progress: bool = True) -> xr.Dataset:
    """Load a public recording.

    The files are looked for in ``path`` and, without it, in the set's folder under the folder that the environment variable
    ``BAYESGLM_DATA`` names, then in the packages that ship them, then in the cache. What is in none of them is downloaded
    into the cache, checked against its SHA-256, and kept whole or not at all, if the set is one of ``downloadable()``.

    Parameters
    ----------
    name : str
        One of ``available()``, which says what each is. "grasshopper": an auditory receptor of *Locusta migratoria*,
        10 s and 929 spikes in bins of 1 ms, under a carrier tone whose amplitude is modulated by Gaussian noise up to
        200 Hz; columns ``spikes (time, neuron)`` and ``stimulus (time,)``, the amplitude in dB relative to its largest
        value (at most 0), averaged in each bin; ``pip install 'bayesglm[demo]'`` brings its files.
    path : path, optional
        A folder with the files of the set; of a set with one file also that file, whatever its name (your own copy of
        "retinal_ganglion_cells", "neuromatch_choice", "stringer_orientations").
    progress : bool
        Whether a download shows a bar and prints whose the data are, under which licence, and where they are kept.

    Returns
    -------
    xarray.Dataset
        A recording (see ``bayesglm.recording``); ``attrs["source"]`` says whose, ``attrs["licence"]`` under which licence.

    Raises
    ------
    ValueError
        For an unknown name (the sentence lists the known ones), a file of another layout, or where files are missing
        or cannot be downloaded (``MissingData``; the sentence says what to do).

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
    data = wanted.read(*_files(name, wanted, path, progress))
    return data.assign_attrs(licence=wanted.terms) if wanted.terms else data


def available() -> dict[str, str]:
    """Names of the data sets that ``load`` knows, and what each is.

    Examples
    --------
    >>> import bayesglm as bg
    >>> "place_cell" in bg.datasets.available()
    True
    """
    return {name: wanted.about for name, wanted in _SETS.items()}


def downloadable() -> list[str]:
    """Names of the data sets that ``load`` downloads where they are not on this machine.

    The files of the others were made from public ones, by hand or by programs that are not here: nothing fetches them.

    Examples
    --------
    >>> import bayesglm as bg
    >>> bg.datasets.downloadable()
    ['coupled_simulation', 'grasshopper', 'ibl_500', 'place_cell', 'retina_light', 'spikes_and_field']
    """
    return sorted(name for name, wanted in _SETS.items() if wanted.sources)


def _mend(wanted: _Set) -> str:
    return wanted.mend.format(folder=wanted.folder)


def _files(name: str, wanted: _Set, path: str | os.PathLike | None, progress: bool) -> list[Path]:
    """The files of a set, from the first place that has them all."""
    if path is not None:
        return _own(name, wanted, Path(path))
    folders = [Path(os.environ[ENVIRONMENT]) / wanted.folder] if os.environ.get(ENVIRONMENT) else []
    folders = [folder for folder in (*folders, wanted.shipped()) if folder is not None]
    found = next((folder for folder in folders if all((folder / file).is_file() for file in wanted.files)), None)
    if found is not None:
        return [found / file for file in wanted.files]
    if wanted.sources:
        return downloaded(name, wanted.folder, wanted.files, wanted.sources, wanted.terms, _mend(wanted), progress)
    looked = f" (looked in {', '.join(map(str, folders))} for {list(wanted.files)})" if folders else ""
    raise MissingData(f"The data set {name!r} is not on this machine{looked}: {_mend(wanted)}")


def _own(name: str, wanted: _Set, path: Path) -> list[Path]:
    """The files of the user's own copy."""
    if path.is_file():
        if len(wanted.files) > 1:
            raise ValueError(f"datasets.load({name!r}) reads the files {list(wanted.files)}: pass path= to the folder that holds them.")
        return [path]
    missing = [file for file in wanted.files if not (path / file).is_file()]
    if missing:
        raise MissingData(f"The data set {name!r} wants the files {missing} in {path}, which has none of that name: {_mend(wanted)}")
    return [path / file for file in wanted.files]


def _nitime() -> Path | None:
    """The data folder of the nitime package, found without importing it."""
    found = importlib.util.find_spec("nitime")
    return Path(found.submodule_search_locations[0]) / "data" if found and found.submodule_search_locations else None


def _own_copy(where: str) -> str:
    return f"it may not be passed on. {where}, then pass path= to your copy, or put it into the folder {{folder!r}} under BAYESGLM_DATA."


def _posterior(data: str, about: str, folder: str) -> _Set:
    return _Set(f"{about}; reference posteriors in attrs['reference']", loaders.rows_and_reference, (f"{data}.json", "reference.json"), folder)


_COMPLETE = "pip install 'bayesglm[demo]' brings it (in the package nitime), or pass path= to a folder that holds its files."
_SETS = {
    "grasshopper": _Set(
        "auditory receptor, 10 s at 1 ms, amplitude of a modulated tone",
        loaders.grasshopper,
        ("grasshopper_spike_times1.txt", "grasshopper_stimulus1.txt"),
        "grasshopper",
        _COMPLETE,
        lambda: _nitime(),
    ),
    "place_cell": _Set("CA1 place cell on a linear track, 178 s at 1 ms, position in cm", loaders.place_cell, ("spikes-1.mat",), "place_cell"),
    "spikes_and_field": _Set("100 trials of 1 s: spikes and field potential at 1 ms", loaders.spikes_and_field, ("spikes-LFP-1.mat",), "place_cell"),
    "retina_light": _Set("retinal neuron without stimulus, in low and in high light", loaders.retina_light, ("08_spikes-1.mat",), "place_cell"),
    "head_direction": _Set("19 head-direction cells of an awake mouse, 35 min at 10 ms", loaders.head_direction, ("hd_wake.npz",), "head_direction"),
    "head_direction_sleep": _Set("the same cells in REM sleep, 16 min at 10 ms", loaders.head_direction_sleep, ("hd_rem.npz",), "head_direction"),
    "motor_cortex": _Set("171 units of macaque M1, reaching, 13 min at 50 ms", loaders.motor_cortex, ("m1_stevenson2011.npz",), "motor_cortex"),
    "steinmetz_1": _Set("214 trials x 178 neurons x 39 bins of 10 ms, contrasts, feedback", loaders.steinmetz, ("session1.npz",), "steinmetz"),
    "steinmetz_2": _Set("251 trials x 533 neurons x 39 bins of 10 ms, contrasts, feedback", loaders.steinmetz, ("session2.npz",), "steinmetz"),
    "clicks_choice": _Set("461 trials of a rat's clicks task, 7 units, choices", loaders.clicks_choice, ("T103_303075.npz",), "clicks_choice"),
    "v1_gratings": _Set("128 trials x 53 cells of mouse V1, gratings of 8 directions", loaders.v1_gratings, ("230803_mrcuts25_fov6.npz",), "v1_gratings"),
    "ibl_choices": _Set("7,844 choices of a mouse in 11 sessions", loaders.ibl_choices, ("ibl_11_sessions.csv",), "ibl_choices"),
    "ibl_500": _Set("500 choices of a mouse", loaders.ibl_choices, ("ibl_500_trials.csv",), "ibl_choices"),
    "ca1_track": _Set("31 hippocampal units on a linear track, 33 min at 25 ms", loaders.ca1_track, ("linear_track.npz",), "ca1_track"),
    "coupled_simulation": _Set(
        "weights of a simulated coupled network", loaders.coupled_simulation, ("simulate_coupled_neurons_params.json",), "coupled_simulation"
    ),
    "kidiq": _posterior("kidiq", "children's test scores", "posteriordb"),
    "kidiq_with_mom_work": _posterior("kidiq_with_mom_work", "children's test scores and mothers' work", "posteriordb"),
    "mesquite": _posterior("mesquite", "weights of 46 bushes", "posteriordb"),
    "nes1980": _posterior("nes1980", "party identification, 1980", "posteriordb"),
    "wells": _posterior("wells_data", "3,020 households and their wells", "glm_posteriors"),
    "yearly_counts": _posterior("GLM_Poisson_Data", "40 years of counts", "glm_posteriors"),
    "retinal_ganglion_cells": _Set(
        "your copy: 4 parasol cells under binary flicker, 20 min at 8.34 ms",
        loaders.retinal_ganglion_cells,
        ("RGCdata.mat",),
        "retinal_ganglion_cells",
        _own_copy("Ask the Pillow lab for RGCdata.mat (E. J. Chichilnisky's recording)"),
    ),
    "neuromatch_choice": _Set(
        "your copy: 276 trials x 691 neurons and a mouse's choices",
        loaders.neuromatch_choice,
        ("W1D4_steinmetz_data.npz",),
        "neuromatch_choice",
        _own_copy("Get it by the tutorial W1D3 of Neuromatch Academy (generalized linear models)"),
    ),
    "stringer_orientations": _Set(
        "your copy: gratings of 360 angles x 23,589 neurons of mouse V1",
        loaders.stringer_orientations,
        ("W3D4_stringer_oribinned1.npz",),
        "stringer_orientations",
        _own_copy("Get it by the tutorial W1D5 of Neuromatch Academy (deep learning), or from Stringer et al. 2021"),
    ),
}
