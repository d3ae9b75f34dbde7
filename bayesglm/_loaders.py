"""Readers of public recordings: files as their authors (or the demo's package) lay them out, to recordings."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayesglm._data import angle, bin_spikes, recording

_JUMP = 0.05  # s between tracked samples beyond which bins were left out


def _arrays(path: Path, *wanted: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz file, by name; pickled objects are refused."""
    with np.load(path, allow_pickle=False) as file:
        _require(path, set(file.files), wanted)
        return {name: file[name] for name in file.files}


def _matlab(path: Path, *wanted: str) -> dict[str, np.ndarray]:
    """Variables of a .mat file."""
    from scipy.io import loadmat

    found = loadmat(path)
    _require(path, {name for name in found if not name.startswith("__")}, wanted)
    return found


def _require(path: Path, have: set[str], wanted: tuple[str, ...]) -> None:
    missing = [name for name in wanted if name not in have]
    if missing:
        raise ValueError(f"{path.name} lacks {missing}; it holds {sorted(have)}: it is not the file that this loader knows.")


def _told(data: xr.Dataset, units: dict[str, str], source: str) -> xr.Dataset:
    """The recording with its columns' units and where it comes from."""
    for name, unit in units.items():
        data[name].attrs["units"] = unit
    return data.assign_attrs(source=source)


def grasshopper(spike_file: Path, stimulus_file: Path) -> xr.Dataset:
    amplitude = np.loadtxt(stimulus_file)  # time in microseconds; amplitude, at most 1
    spikes = np.loadtxt(spike_file)  # microseconds
    step = amplitude[1, 0] - amplitude[0, 0]
    # A sample stands for the step that follows it: taken at its middle, none lies on a bin's edge.
    time, decibels = 1e-6 * (amplitude[:, 0] + step / 2), 20 * np.log10(amplitude[:, 1])
    stop = 1e-6 * (amplitude[-1, 0] + step)
    data = bin_spikes({"receptor": 1e-6 * spikes}, dt=0.001, epochs=(0.0, stop), stimulus=(time, decibels))
    data["stimulus"].attrs |= {"units": "dB", "long_name": "amplitude relative to its largest value"}
    return data


def place_cell(path: Path) -> xr.Dataset:
    """Bins of 1 ms centred on the samples, as the book counts."""
    raw = _matlab(path, "t", "X", "spiketimes")
    t, position, times = (raw[name].ravel() for name in ("t", "X", "spiketimes"))
    edges = np.append(t - 5e-4, t[-1] + 5e-4)
    data = recording(time=t, spikes=np.histogram(times, edges)[0], position=position)
    return _told(data, {"position": "cm"}, "Kramer & Eden 2016, Case Studies in Neural Data Analysis")


def spikes_and_field(path: Path) -> xr.Dataset:
    """Trials of 1 s; time runs on from trial to trial."""
    from bayesglm._data import from_trials

    raw = _matlab(path, "n", "y", "t")
    dt = float(np.round(np.median(np.diff(raw["t"].ravel())), 9))
    data = from_trials({"spikes": raw["n"][:, :, None], "field": raw["y"]}, dt=dt)
    return _told(data, {"field": "mV"}, "Kramer & Eden 2016, Case Studies in Neural Data Analysis")


def retina_light(path: Path) -> xr.Dataset:
    """Spontaneous spikes in low and in high light, two epochs of 30 s (the files give times in s)."""
    raw = _matlab(path, "SpikesLow", "SpikesHigh")
    low, high = raw["SpikesLow"].ravel(), raw["SpikesHigh"].ravel()
    length = float(np.ceil(max(low.max(), high.max())))
    start = length + 1.0
    data = bin_spikes([np.r_[low, high + start]], dt=0.001, epochs=[(0.0, length), (start, start + length)])
    light = (data["epoch"].values == 1).astype(int)
    return _told(data.assign(high_light=("time", light)), {}, "Kramer & Eden 2016, Case Studies in Neural Data Analysis")


def head_direction(path: Path) -> xr.Dataset:
    """Bins of 10 ms; where the tracked time jumps a new epoch starts (time itself runs on without the pauses)."""
    raw = _arrays(path, "counts", "t", "angle", "bin_s")
    epoch = np.r_[0, np.cumsum(np.diff(raw["t"]) > _JUMP)]
    data = recording(dt=float(raw["bin_s"]), epoch=epoch, spikes=raw["counts"], heading=angle(raw["angle"].astype(float)))
    return _told(data, {"heading": "rad"}, "Peyrache et al. 2015 (DANDI 000056)")


def head_direction_sleep(path: Path) -> xr.Dataset:
    raw = _arrays(path, "counts", "bin_s")
    return _told(recording(dt=float(raw["bin_s"]), spikes=raw["counts"]), {}, "Peyrache et al. 2015 (DANDI 000056)")


def motor_cortex(path: Path) -> xr.Dataset:
    raw = _arrays(path, "counts", "time", "hand_pos", "hand_vel", "bin_s")
    hand = {"hand_position": raw["hand_pos"][:, :2].astype(float), "hand_velocity": raw["hand_vel"][:, :2].astype(float)}
    labels = {name: ["x", "y"] for name in hand}
    data = recording(dt=float(raw["bin_s"]), time=raw["time"], spikes=raw["counts"], labels=labels, **hand)
    return _told(data, {"hand_position": "m", "hand_velocity": "m/s"}, "Stevenson et al. 2011")


def steinmetz(path: Path) -> xr.Dataset:
    """Trials; counts of every bin from stimulus onset."""
    raw = _arrays(path, "spks", "contrast_left", "contrast_right", "feedback", "bin_s")
    within = (np.arange(raw["spks"].shape[2]) + 0.5) * float(raw["bin_s"])
    counts = xr.DataArray(raw["spks"], {"bin": within}, ["trial", "cell", "bin"])
    contrast = {name: raw[name].astype(float) for name in ("contrast_left", "contrast_right")}
    data = recording(rows="trial", counts=counts, feedback=(raw["feedback"] > 0).astype(int), **contrast)
    return _told(data, {"counts": "spikes a bin", "feedback": "1 reward, 0 none"}, "Steinmetz et al. 2019")


def clicks_choice(path: Path) -> xr.Dataset:
    """Trials; spikes and clicks from the first click to the end of the stimulus."""
    raw = _arrays(path, "T", "poked_right", "correct_right", "cell_id", "click_time", "click_trial", "click_side", "spike_time", "spike_trial", "spike_unit")
    trials, units = raw["T"].size, raw["cell_id"].size
    within = (raw["spike_time"] >= 0) & (raw["spike_time"] < raw["T"][raw["spike_trial"]])
    counts, clicks = np.zeros((trials, units), int), np.zeros((trials, 2), int)
    np.add.at(counts, (raw["spike_trial"][within], raw["spike_unit"][within]), 1)
    np.add.at(clicks, (raw["click_trial"], (raw["click_side"] > 0).astype(int)), 1)
    labels = {"counts": [str(cell) for cell in raw["cell_id"]], "clicks": ["left", "right"]}
    columns = {"choice": raw["poked_right"].astype(int), "correct": raw["correct_right"].astype(int), "duration": raw["T"]}
    data = recording(rows="trial", counts=counts, rates=counts / raw["T"][:, None], clicks=clicks, labels=labels | {"rates": labels["counts"]}, **columns)
    return _told(data, {"choice": "1 right, 0 left", "duration": "s", "rates": "spikes/s"}, "Brody lab, PulseInputDDM.jl: rat T103")


def v1_gratings(path: Path) -> xr.Dataset:
    """Trials; calcium of every cell and frame, the grating's direction and orientation."""
    raw = _arrays(path, "act", "direction_deg", "t", "dt", "pupil_z", "speed")
    frame = {"frame": raw["t"].astype(float)}
    activity = xr.DataArray(raw["act"], frame, ["trial", "cell", "frame"])
    body = {name: xr.DataArray(raw[given], frame, ["trial", "frame"]) for name, given in (("pupil", "pupil_z"), ("speed", "speed"))}
    direction = raw["direction_deg"].astype(float)
    columns = {"direction": angle(direction, period=360), "orientation": angle(direction % 180, period=180), "repeat": np.arange(direction.size) // 8}
    data = recording(rows="trial", activity=activity, **body, **columns)
    return _told(data, {"activity": "z", "direction": "deg", "orientation": "deg"}, "Park lab, V1 under two photons: fov6")


def ca1_track(path: Path) -> xr.Dataset:
    """Bins of 25 ms from the first tracked sample to the last."""
    raw = _arrays(path, "pos_t", "x", "y", "spike_times", "unit")
    units = {f"u{unit}": np.sort(raw["spike_times"][raw["unit"] == unit]) for unit in np.unique(raw["unit"])}
    t = raw["pos_t"]
    track = {name: (t, raw[name].astype(float)) for name in ("x", "y")}
    return _told(bin_spikes(units, dt=0.025, epochs=(t[0], t[-1]), **track), {"x": "camera pixels", "y": "camera pixels"}, "nelpy example data")


def _table(path: Path) -> dict[str, list[str]]:
    """Columns of a CSV file, as text."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path.name} has no row: it is not the file that this loader knows.")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _numbers(text: list[str], empty: float = np.nan) -> np.ndarray:
    return np.array([float(value) if value not in ("", "nan", "NaN") else empty for value in text])


def ibl_choices(path: Path) -> xr.Dataset:
    """Trials; the empty contrast is that of the other side, so it is 0 here; ``right`` is NaN where nothing was chosen."""
    raw = _table(path)
    _require(path, set(raw), ("contrastLeft", "contrastRight", "choice", "feedbackType", "probabilityLeft"))
    left, right = (_numbers(raw[name], 0.0) for name in ("contrastLeft", "contrastRight"))
    choice = _numbers(raw["choice"])  # -1 right, +1 left, 0 none
    session = np.array(raw["session"]) if "session" in raw else np.full(choice.size, "session")
    columns = {"contrast_left": left, "contrast_right": right, "contrast": right - left, "probability_left": _numbers(raw["probabilityLeft"])}
    columns |= {"right": np.where(choice == 0, np.nan, (choice < 0).astype(float)), "reward": (_numbers(raw["feedbackType"]) > 0).astype(int)}
    return _told(recording(rows="trial", epoch=session, session=session, **columns), {"right": "1 right, 0 left"}, "International Brain Laboratory 2021")


def coupled_simulation(path: Path) -> xr.Dataset:
    """The weights of a simulated network; no recording."""
    raw = json.loads(path.read_text())
    _require(path, set(raw), ("coef_", "intercept_", "coupling_basis", "feedforward_input", "init_spikes"))
    dims = {
        "coef_": ("neuron", "weight"),
        "intercept_": ("neuron",),
        "coupling_basis": ("lag", "basis"),
        "feedforward_input": ("time", "neuron", "input"),
        "init_spikes": ("lag", "neuron"),
    }
    variables = {name.rstrip("_"): (where, np.asarray(raw[name], float)) for name, where in dims.items()}
    return xr.Dataset(variables, attrs={"source": "nemos, simulated coupled neurons"})


def rows_and_reference(data_file: Path, reference_file: Path) -> xr.Dataset:
    """Columns of a regression as trial rows, and the reference posteriors of its models as JSON text."""
    raw = json.loads(data_file.read_text())
    size = max(len(values) for values in raw.values() if isinstance(values, list))
    columns: dict[str, Any] = {name: np.asarray(values) for name, values in raw.items() if isinstance(values, list) and len(values) == size}
    references = json.loads(reference_file.read_text())
    stem = data_file.stem
    own = {name: value for name, value in references.items() if name == stem.removesuffix("_Data") or name.split("-")[0] == stem}
    return recording(rows="trial", **columns).assign_attrs(reference=json.dumps(own), source="posteriordb (BSD-3)")


def retinal_ganglion_cells(path: Path) -> xr.Dataset:
    """System of Uzzell & Chichilnisky's cells as the Pillow lab's tutorial and Neuromatch use them."""
    raw = _matlab(path, "Stim", "SpCounts", "dtStim")
    data = recording(dt=float(np.ravel(raw["dtStim"])[0]), spikes=raw["SpCounts"].astype(int), stimulus=np.ravel(raw["Stim"]).astype(float))
    return _told(data, {"stimulus": "contrast"}, "Uzzell & Chichilnisky 2004; Pillow et al. 2005")


def neuromatch_choice(path: Path) -> xr.Dataset:
    """Trials; the file's normalised rates, and the choice as 0 or 1."""
    raw = _arrays(path, "spikes", "choices")
    choices = np.ravel(raw["choices"])
    if raw["spikes"].ndim != 2 or len(raw["spikes"]) != choices.size or np.unique(choices).size != 2:
        raise ValueError(f"{path.name}: spikes {raw['spikes'].shape} and choices {raw['choices'].shape}; (trial, neuron) and two choices (trial,) are wanted.")
    choice = (choices == np.unique(choices)[1]).astype(int)
    return _told(recording(rows="trial", rates=raw["spikes"].astype(float), choice=choice), {"rates": "normalised"}, "Steinmetz et al. 2019; Neuromatch W1D3")


def stringer_orientations(path: Path) -> xr.Dataset:
    """Trials; ``angle`` in degrees of period 360, as the file counts it."""
    raw = _arrays(path, "resp", "stimuli")
    angles = np.ravel(raw["stimuli"]).astype(float)
    if raw["resp"].ndim != 2 or len(raw["resp"]) != angles.size:
        raise ValueError(f"{path.name}: resp {raw['resp'].shape} and stimuli {raw['stimuli'].shape}; (stimulus, neuron) and (stimulus,) are wanted.")
    data = recording(rows="trial", responses=raw["resp"].astype(np.float32), angle=angle(angles, period=360))
    return _told(data, {"angle": "deg"}, "Stringer et al. 2021; Neuromatch W1D5")
