"""Public recordings, ready to fit, and simulated twins of those that may not be passed on."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from bayesglm._catalogue import SETS, DataSet
from bayesglm._cell_twins import current_injection_twin as current_injection_twin
from bayesglm._cell_twins import retina_twin as retina_twin
from bayesglm._download import MissingData as MissingData
from bayesglm._download import downloaded
from bayesglm._image_twin import image_twin as image_twin
from bayesglm._mosaic_twin import mosaic_twin as mosaic_twin
from bayesglm._navigation_twin import navigation_twin as navigation_twin
from bayesglm._twins import choice_twin as choice_twin
from bayesglm._twins import orientation_twin as orientation_twin

ENVIRONMENT = "BAYESGLM_DATA"


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
    if name not in SETS:
        raise ValueError(f"datasets.load({name!r}): there is no such data set; there are {sorted(SETS)}.")
    wanted = SETS[name]
    data = wanted.read(*_files(name, wanted, path, progress))
    whose, _, licence = wanted.terms.rpartition(", ")
    return data.assign_attrs({"source": whose} | data.attrs | {"licence": licence}) if licence else data


def available() -> dict[str, str]:
    """Names of the data sets that ``load`` knows, and what each is.

    Examples
    --------
    >>> import bayesglm as bg
    >>> "place_cell" in bg.datasets.available()
    True
    """
    return {name: wanted.about for name, wanted in SETS.items()}


def downloadable() -> list[str]:
    """Names of the data sets that ``load`` downloads where they are not on this machine.

    The files of the others were made from public ones, by hand or by programs that are not here: nothing fetches them.

    Examples
    --------
    >>> import bayesglm as bg
    >>> bg.datasets.downloadable()
    ['coupled_simulation', 'grasshopper', 'ibl_500', 'place_cell', 'retina_light', 'spikes_and_field']
    """
    return sorted(name for name, wanted in SETS.items() if wanted.sources)


def _files(name: str, wanted: DataSet, path: str | os.PathLike | None, progress: bool) -> list[Path]:
    """The files of a set, from the first place that has them all."""
    if path is not None:
        return _own(name, wanted, Path(path))
    folders = [Path(os.environ[ENVIRONMENT]) / wanted.folder] if os.environ.get(ENVIRONMENT) else []
    folders = [folder for folder in (*folders, wanted.shipped()) if folder is not None]
    found = next((folder for folder in folders if all((folder / file).is_file() for file in wanted.files)), None)
    if found is not None:
        return [found / file for file in wanted.files]
    if wanted.sources:
        return downloaded(name, wanted.folder, wanted.files, wanted.sources, wanted.terms, wanted.advice(), progress)
    looked = f" (looked in {', '.join(map(str, folders))} for {list(wanted.files)})" if folders else ""
    raise MissingData(f"The data set {name!r} is not on this machine{looked}: {wanted.advice()}")


def _own(name: str, wanted: DataSet, path: Path) -> list[Path]:
    """The files of the user's own copy."""
    if path.is_file():
        if len(wanted.files) > 1:
            raise ValueError(f"datasets.load({name!r}) reads the files {list(wanted.files)}: pass path= to the folder that holds them.")
        return [path]
    missing = [file for file in wanted.files if not (path / file).is_file()]
    if missing:
        raise MissingData(f"The data set {name!r} wants the files {missing} in {path}, which has none of that name: {wanted.advice()}")
    return [path / file for file in wanted.files]
