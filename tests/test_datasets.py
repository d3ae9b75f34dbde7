"""Twins with planted truth, and loaders of public recordings and of users' own copies."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from scipy.io import savemat
from studies.arrays import folder

from bayesglm import datasets


def real(name, place):
    """A set of the folder of recordings; skipped where it is absent."""
    return datasets.load(name, folder(place))


def test_the_choice_twin_has_its_planted_truth():
    data = datasets.choice_twin(seed=3)
    assert data["counts"].shape == (276, 691) and data["counts"].dtype.kind in "iu"
    counts = data["counts"].values.astype(float)
    spread = counts.std(0)
    eta = ((counts - counts.mean(0)) / np.where(spread > 0, spread, 1)) @ data["planted_weights"].values
    np.testing.assert_allclose(eta, data["planted_eta"], atol=1e-9)
    assert eta.std() == pytest.approx(4.0)
    assert int((data["planted_weights"] != 0).sum()) == 60
    agree = ((data["planted_eta"] > 0) == (data["choice"] == 1)).mean()
    assert float(agree) == pytest.approx(data.attrs["best_accuracy"], abs=4 * np.sqrt(0.25 / 276))
    pairs = np.corrcoef(counts.T)[np.triu_indices(691, 1)]
    assert np.std(pairs) > 1.2 / np.sqrt(276)  # correlated beyond chance


def test_the_orientation_twin_is_tuned_and_shares_its_gain():
    data = datasets.orientation_twin(neurons=600, stimuli=900, seed=1)
    assert data["responses"].dtype == np.float32 and data["angle"].attrs["period"] == 360
    offset = np.deg2rad(data["angle"].values[:, None] - data["preferred"].values)
    tuning = data["amplitude"].values * np.exp(data["concentration"].values * (np.cos(offset) - 1))
    responses = data["responses"].values
    gain = (responses * tuning).sum(1) / (tuning**2).sum(1)
    assert np.corrcoef(gain, data["planted_gain"])[0, 1] > 0.8
    left = responses - data["planted_gain"].values[:, None] * tuning
    assert left.std() == pytest.approx(np.sqrt(1 + 0.4**2), rel=0.03)
    values = np.linalg.eigvalsh(np.cov(left.T))[::-1]
    assert values[15] > 1.3 * values[16]  # sixteen common fluctuations stand out
    assert float((data["amplitude"] > 0).mean()) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("twin", [datasets.choice_twin, datasets.orientation_twin])
def test_twins_are_seeded_and_say_how_they_were_made(twin):
    first, again, other = twin(40, 30, seed=1) if twin is datasets.orientation_twin else twin(40, 30, informative=5, seed=1), None, None
    how = json.loads(first.attrs["generator"])
    name = how.pop("function").rsplit(".", 1)[1]
    again, other = getattr(datasets, name)(**how), getattr(datasets, name)(**how | {"seed": 2})
    assert again.identical(first)
    column = "counts" if name == "choice_twin" else "responses"
    assert not np.array_equal(other[column], first[column])


def test_a_neuron_of_the_twin_does_not_depend_on_their_number():
    few, many = (datasets.orientation_twin(neurons=n, stimuli=20, seed=4) for n in (50, 2100))
    np.testing.assert_array_equal(few["responses"], many["responses"][:, :50])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: datasets.choice_twin(10, 5, informative=6), "there are 5 neurons"),
        (lambda: datasets.choice_twin(0), "trials=0"),
        (lambda: datasets.orientation_twin(10, 5, tuned=2.0), "tuned=2.0"),
        (lambda: datasets.orientation_twin(10, 5, noise=0.0), "noise=0.0"),
    ],
)
def test_twins_refuse_what_they_cannot_make(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_copy_of_the_ganglion_cells(tmp_path):
    rng = np.random.default_rng(0)
    counts, stimulus = rng.poisson(0.3, (500, 4)), rng.choice([-0.48, 0.48], 500)
    savemat(tmp_path / "RGCdata.mat", {"Stim": stimulus[:, None], "SpCounts": counts.astype(float), "dtStim": [[0.00834]]})
    for path in (tmp_path, tmp_path / "RGCdata.mat"):
        data = datasets.load("retinal_ganglion_cells", path)
        assert data.attrs["dt"] == pytest.approx(0.00834)
        np.testing.assert_array_equal(data["spikes"], counts)
        np.testing.assert_array_equal(data["stimulus"], stimulus)
    savemat(tmp_path / "other.mat", {"x": 1.0})
    with pytest.raises(ValueError, match=r"lacks \['Stim', 'SpCounts', 'dtStim'\]"):
        datasets.load("retinal_ganglion_cells", tmp_path / "other.mat")


def test_a_copy_of_the_choices_under_any_name(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rates, choices = rng.normal(size=(30, 12)), rng.integers(0, 2, 30)
    for coded in (choices, 2 * choices - 1, choices.astype(bool)):
        np.savez(tmp_path / "mine.npz", spikes=rates, choices=coded)
        data = datasets.load("neuromatch_choice", tmp_path / "mine.npz")
        np.testing.assert_array_equal(data["choice"], choices)
        np.testing.assert_allclose(data["rates"], rates)
    np.savez(tmp_path / "mine.npz", spikes=rates, choices=np.arange(30))
    with pytest.raises(ValueError, match="two choices"):
        datasets.load("neuromatch_choice", tmp_path / "mine.npz")
    monkeypatch.delenv(datasets.ENVIRONMENT, raising=False)
    with pytest.raises(datasets.MissingData, match="Neuromatch"):
        datasets.load("neuromatch_choice")


def test_a_copy_of_the_orientations(tmp_path):
    rng = np.random.default_rng(0)
    responses, stimuli = rng.normal(size=(20, 50)).astype(np.float32), rng.uniform(0, 360, 20)
    np.savez(tmp_path / "W3D4_stringer_oribinned1.npz", resp=responses, stimuli=stimuli)
    data = datasets.load("stringer_orientations", tmp_path)
    np.testing.assert_array_equal(data["responses"], responses)
    assert data["angle"].attrs["period"] == 360 and data["responses"].dtype == np.float32
    np.savez(tmp_path / "short.npz", resp=responses, stimuli=stimuli[:5])
    with pytest.raises(ValueError, match=r"\(stimulus, neuron\)"):
        datasets.load("stringer_orientations", tmp_path / "short.npz")


def test_every_name_says_what_it_is_and_what_is_missing(tmp_path):
    for name, about in datasets.available().items():
        assert about
        with pytest.raises(datasets.MissingData, match=name):
            datasets.load(name, tmp_path)


def test_files_that_belong_together_want_their_folder(tmp_path):
    (tmp_path / "kidiq.json").write_text("{}")
    with pytest.raises(ValueError, match="folder that holds them"):
        datasets.load("kidiq", tmp_path / "kidiq.json")


def test_choices_of_a_table(tmp_path):
    with (tmp_path / "ibl_11_sessions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["session", "contrastLeft", "contrastRight", "choice", "feedbackType", "probabilityLeft"])
        table.writerows([["a", 0.5, "", 1, 1, 0.5], ["a", "", 0.25, -1, 1, 0.5], ["b", "", 1, 0, -1, 0.8]])
    data = datasets.load("ibl_choices", tmp_path)
    np.testing.assert_allclose(data["contrast"], [-0.5, 0.25, 1.0])
    np.testing.assert_array_equal(data["right"], [0, 1, np.nan])
    assert data["epoch"].values.tolist() == [0, 0, 1] and data["session"].values.tolist() == ["a", "a", "b"]


def test_recordings_of_the_folder_of_the_environment(monkeypatch):
    monkeypatch.setenv(datasets.ENVIRONMENT, str(folder("place_cell").parent))
    data = datasets.load("place_cell")
    assert (data.sizes["time"], int(data["spikes"].sum()), data.attrs["dt"]) == (177761, 220, 0.001)


def test_the_place_cell_and_its_neighbours():
    assert real("spikes_and_field", "place_cell").sizes["time"] == 100_000
    light = real("retina_light", "place_cell")
    spikes = light["spikes"].values[:, 0].astype(int)
    assert [int(spikes[light["epoch"].values == epoch].sum()) for epoch in (0, 1)] == [750, 969]


def test_heads_and_hands():
    awake, asleep = real("head_direction", "head_direction"), real("head_direction_sleep", "head_direction")
    assert awake["spikes"].shape == (212_078, 19) and asleep["spikes"].shape == (97_600, 19)
    assert int(awake["epoch"].max()) == 112 and awake["heading"].attrs["period"] == pytest.approx(2 * np.pi)
    hand = real("motor_cortex", "motor_cortex")
    assert hand["spikes"].shape == (15_536, 171) and hand["hand_velocity"].shape == (15_536, 2)
    assert hand.attrs["dt"] == 0.05


def test_trials_of_decoding():
    clicks = real("clicks_choice", "clicks_choice")
    assert clicks["counts"].shape == (461, 7)
    assert float((clicks["choice"] == clicks["correct"]).mean()) == pytest.approx(0.8026, abs=1e-4)
    assert float(((clicks["clicks"][:, 1] > clicks["clicks"][:, 0]) == clicks["correct"]).mean()) > 0.95
    gratings = real("v1_gratings", "v1_gratings")
    assert gratings["activity"].shape == (128, 53, 49)
    assert gratings["direction"].attrs["period"] == 360 and gratings["orientation"].attrs["period"] == 180
    assert int(gratings["repeat"].max()) == 15
    for name, shape in {"steinmetz_1": (214, 178, 39), "steinmetz_2": (251, 533, 39)}.items():
        assert real(name, "steinmetz")["counts"].shape == shape


def test_tracks_choices_and_simulations():
    track = real("ca1_track", "ca1_track")
    assert track["spikes"].shape[1] == 31 and track.attrs["dt"] == 0.025
    assert 0.9 < int(track["spikes"].sum()) / 28829 <= 1
    mouse = real("ibl_choices", "ibl_choices")
    assert mouse.sizes["trial"] == 7844 and np.unique(mouse["session"]).size == 11
    assert int(mouse["right"].isnull().sum()) == 19
    assert real("ibl_500", "ibl_choices").sizes["trial"] == 500
    assert real("coupled_simulation", "coupled_simulation")["coef"].shape == (2, 42)


@pytest.mark.parametrize(
    ("name", "rows", "place"),
    [
        ("kidiq", 434, "posteriordb"),
        ("mesquite", 46, "posteriordb"),
        ("nes1980", 701, "posteriordb"),
        ("wells", 3020, "glm_posteriors"),
        ("yearly_counts", 40, "glm_posteriors"),
    ],
)
def test_regressions_and_their_reference(name, rows, place):
    data = real(name, place)
    assert data.sizes["trial"] == rows
    assert json.loads(data.attrs["reference"])
