"""The data sets that ``datasets.load`` knows: what each is, who reads it, where its files come from."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from bayesglm import _loaders as loaders
from bayesglm._download import Source

_RAW = "https://raw.githubusercontent.com"
_BOOK = f"{_RAW}/Mark-Kramer/Case-Studies-Python"
_NITIME = f"{_RAW}/nipy/nitime"
_COPY = "set the environment variable BAYESGLM_DATA to a folder that holds the folder {folder!r}, or pass path= to a folder with the files."


class DataSet(NamedTuple):
    """A data set: ``sources`` are of its files, in their order, and only where the public files are these very files."""

    about: str
    read: Callable[..., xr.Dataset]  # of the files' paths
    files: tuple[str, ...]
    folder: str  # under BAYESGLM_DATA, and in the cache
    terms: str  # "whose, licence"; empty where it may not be passed on
    mend: str = _COPY
    sources: tuple[Source, ...] = ()
    shipped: Callable[[], Path | None] = lambda: None  # where another package has put the files

    def advice(self) -> str:
        """How to get the files."""
        return self.mend.format(folder=self.folder)


def nitime_folder() -> Path | None:
    """The data folder of the nitime package, found without importing it."""
    found = importlib.util.find_spec("nitime")
    return Path(found.submodule_search_locations[0]) / "data" if found and found.submodule_search_locations else None


def _made_from(original: str) -> str:
    return f"its file was made from {original}, and nothing downloads it: {_COPY}"


def _own_copy(where: str) -> str:
    return f"it may not be passed on. {where}, then pass path= to your copy, or put it into the folder {{folder!r}} under BAYESGLM_DATA."


def _posterior(data: str, about: str, folder: str) -> DataSet:
    about = f"{about}; reference posteriors in attrs['reference']"
    return DataSet(about, loaders.rows_and_reference, (f"{data}.json", "reference.json"), folder, "posteriordb, BSD-3-Clause", _made_from("posteriordb"))


_BOOK_TERMS = "Kramer & Eden 2016, Case Studies in Neural Data Analysis, MIT"
_PEYRACHE = "Peyrache et al. 2015, DANDI 000056, CC-BY-4.0"
_STEINMETZ = "Steinmetz et al. 2019, CC-BY-4.0"
_IBL = "International Brain Laboratory 2021, ibllib, MIT"
SETS = {
    "grasshopper": DataSet(
        "auditory receptor, 10 s at 1 ms, amplitude of a modulated tone",
        loaders.grasshopper,
        ("grasshopper_spike_times1.txt", "grasshopper_stimulus1.txt"),
        "grasshopper",
        "Rokem et al. 2006, set ia-1 of CRCNS, by way of nitime, BSD-3-Clause",
        "pip install 'bayesglm[demo]' brings it (in the package nitime), or pass path= to a folder that holds its files.",
        (
            Source(
                f"{_NITIME}/cac4310a088e180d29fca13368e78c179fbbc691/nitime/data/grasshopper_spike_times1.txt",
                "840014ad9a8f591d02ab108bcbd46715badb3459e0ef7eac95fdd661ff134e3d",
            ),
            Source(
                f"{_NITIME}/7dd3c172f7c1453fcfe5cb4904f3d134b85c8c2c/nitime/data/grasshopper_stimulus1.txt",
                "4b47a4cbca8c5f694f87dd510db608a868dffbaba96845199c8afa545a4c37fa",
            ),
        ),
        nitime_folder,
    ),
    "place_cell": DataSet(
        "CA1 place cell on a linear track, 178 s at 1 ms, position in cm",
        loaders.place_cell,
        ("spikes-1.mat",),
        "place_cell",
        _BOOK_TERMS,
        sources=(
            Source(
                f"{_BOOK}/5d30346071115e112c77f13bef07de94eeaef60a/_build/09/Ch9-spikes-1.mat",
                "8a04d601fce12603fac23a92cc4651c31e134a29c626344efc26b42ba4658e1d",
            ),
        ),
    ),
    "spikes_and_field": DataSet(
        "100 trials of 1 s: spikes and field potential at 1 ms",
        loaders.spikes_and_field,
        ("spikes-LFP-1.mat",),
        "place_cell",
        _BOOK_TERMS,
        sources=(
            Source(
                f"{_BOOK}/824c6613cbb65eac905442dd372c5a4b39221f32/_book/_build/html/matfiles/spikes-LFP-1.mat",
                "34b4aa5f9cb9c18d9462d59c8d7ca483f977624486a54ddf81e00b4a96920696",
            ),
        ),
    ),
    "retina_light": DataSet(
        "retinal neuron without stimulus, in low and in high light",
        loaders.retina_light,
        ("08_spikes-1.mat",),
        "place_cell",
        _BOOK_TERMS,
        sources=(
            Source(
                f"{_BOOK}/b0f901bba39651836703725928897ac8ffff3c30/_build/08/Ch8-spikes-1.mat",
                "e473c797eeede9fa967d87f1a4dc8e0df001dacf3d1caebaad5c32a6e0605017",
            ),
        ),
    ),
    "head_direction": DataSet(
        "19 head-direction cells of an awake mouse, 35 min at 10 ms",
        loaders.head_direction,
        ("hd_wake.npz",),
        "head_direction",
        _PEYRACHE,
        _made_from("the session's NWB file in DANDI 000056"),
    ),
    "head_direction_sleep": DataSet(
        "the same cells in REM sleep, 16 min at 10 ms",
        loaders.head_direction_sleep,
        ("hd_rem.npz",),
        "head_direction",
        _PEYRACHE,
        _made_from("the session's NWB file in DANDI 000056"),
    ),
    "motor_cortex": DataSet(
        "171 units of macaque M1, reaching, 13 min at 50 ms",
        loaders.motor_cortex,
        ("m1_stevenson2011.npz",),
        "motor_cortex",
        "Stevenson et al. 2011, by way of KordingLab/spykesML, MIT",
        _made_from("data/m1_stevenson_2011.mat of KordingLab/spykesML"),
    ),
    "steinmetz_1": DataSet(
        "214 trials x 178 neurons x 39 bins of 10 ms, contrasts, feedback",
        loaders.steinmetz,
        ("session1.npz",),
        "steinmetz",
        _STEINMETZ,
        _made_from("the recordings that Steinmetz et al. 2019 published"),
    ),
    "steinmetz_2": DataSet(
        "251 trials x 533 neurons x 39 bins of 10 ms, contrasts, feedback",
        loaders.steinmetz,
        ("session2.npz",),
        "steinmetz",
        _STEINMETZ,
        _made_from("the recordings that Steinmetz et al. 2019 published"),
    ),
    "clicks_choice": DataSet(
        "461 trials of a rat's clicks task, 7 units, choices",
        loaders.clicks_choice,
        ("T103_303075.npz",),
        "clicks_choice",
        "Brody lab, PulseInputDDM.jl, Apache-2.0",
        _made_from("a session in Brody-Lab/PulseInputDDM.jl"),
    ),
    "v1_gratings": DataSet(
        "128 trials x 53 cells of mouse V1, gratings of 8 directions",
        loaders.v1_gratings,
        ("230803_mrcuts25_fov6.npz",),
        "v1_gratings",
        "Park et al., surlab/Park_et_al, MIT",
        _made_from("sample-data/glm/230803_mrcuts25_fov6_grat-000_data.mat of surlab/Park_et_al"),
    ),
    "ibl_choices": DataSet(
        "7,844 choices of a mouse in 11 sessions",
        loaders.ibl_choices,
        ("ibl_11_sessions.csv",),
        "ibl_choices",
        _IBL,
        _made_from("a mouse's sessions in int-brain-lab/ibllib"),
    ),
    "ibl_500": DataSet(
        "500 choices of a mouse",
        loaders.ibl_choices,
        ("ibl_500_trials.csv",),
        "ibl_choices",
        _IBL,
        sources=(
            Source(
                f"{_RAW}/int-brain-lab/ibllib/a255c2adcfa18d7e6006e4eec4705ced19333f86/brainbox/tests/fixtures/trials_df_test.csv",
                "275d6dae1d0eabd1ec873fb00436dfacbc4ea0240933bdd441f78f73d083f37a",
            ),
        ),
    ),
    "ca1_track": DataSet(
        "31 hippocampal units on a linear track, 33 min at 25 ms",
        loaders.ca1_track,
        ("linear_track.npz",),
        "ca1_track",
        "nelpy/example-data, MIT",
        _made_from("the folder linear-track of nelpy/example-data"),
    ),
    "coupled_simulation": DataSet(
        "weights of a simulated coupled network",
        loaders.coupled_simulation,
        ("simulate_coupled_neurons_params.json",),
        "coupled_simulation",
        "nemos authors, MIT",
        sources=(
            Source(
                f"{_RAW}/flatironinstitute/nemos/84423f3987e420dedabf6981905fa75ce7525006/tests/simulate_coupled_neurons_params.json",
                "ada06e19ab47c23585a45f39941db9ed028cb8ad6f775bf7fac4354609731f8e",
            ),
        ),
    ),
    "kidiq": _posterior("kidiq", "children's test scores", "posteriordb"),
    "kidiq_with_mom_work": _posterior("kidiq_with_mom_work", "children's test scores and mothers' work", "posteriordb"),
    "mesquite": _posterior("mesquite", "weights of 46 bushes", "posteriordb"),
    "nes1980": _posterior("nes1980", "party identification, 1980", "posteriordb"),
    "wells": _posterior("wells_data", "3,020 households and their wells", "glm_posteriors"),
    "yearly_counts": _posterior("GLM_Poisson_Data", "40 years of counts", "glm_posteriors"),
    "retinal_ganglion_cells": DataSet(
        "your copy: 4 parasol cells under binary flicker, 20 min at 8.34 ms",
        loaders.retinal_ganglion_cells,
        ("RGCdata.mat",),
        "retinal_ganglion_cells",
        "",
        _own_copy("Ask the Pillow lab for RGCdata.mat (E. J. Chichilnisky's recording)"),
    ),
    "neuromatch_choice": DataSet(
        "your copy: 276 trials x 691 neurons and a mouse's choices",
        loaders.neuromatch_choice,
        ("W1D4_steinmetz_data.npz",),
        "neuromatch_choice",
        "",
        _own_copy("Get it by the tutorial W1D3 of Neuromatch Academy (generalized linear models)"),
    ),
    "stringer_orientations": DataSet(
        "your copy: gratings of 360 angles x 23,589 neurons of mouse V1",
        loaders.stringer_orientations,
        ("W3D4_stringer_oribinned1.npz",),
        "stringer_orientations",
        "",
        _own_copy("Get it by the tutorial W1D5 of Neuromatch Academy (deep learning), or from Stringer et al. 2021"),
    ),
}
