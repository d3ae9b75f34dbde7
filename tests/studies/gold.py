"""The reference posteriors: designs in words of their descriptions, as recordings on trial rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io

import bayesglm as bg
from bayesglm import family, prior
from studies.arrays import folder, read_json


class Case(NamedTuple):
    """A reference posterior: columns beside the constant, the response, and the model's laws."""

    columns: np.ndarray  # (row, column)
    response: np.ndarray
    family: Any
    law: Any  # of every weight, the constant's too
    names: tuple[str, ...]  # of the constant, the columns' weights, and sigma where there is one
    reference: dict[str, Any]


def _stacked(*columns: Any) -> np.ndarray:
    return np.stack([np.asarray(column, float) for column in columns], 1)


def _weights(n: int, *more: str) -> tuple[str, ...]:
    return (*(f"beta[{i}]" for i in range(1, n + 1)), *more)


def _own(name: str) -> dict[str, Any]:
    return read_json(folder("glm_posteriors") / "reference.json")[name]


def wells_dist() -> Case:
    """Whether a household switched wells, on the distance in metres."""
    wells = read_json(folder("glm_posteriors") / "wells_data.json")
    return Case(_stacked(wells["dist"]), np.array(wells["switched"]), family.Bernoulli(), prior.Flat(), _weights(2), _own("wells_data-wells_dist"))


def wells_interaction() -> Case:
    """The same on distance, arsenic and their product, centred."""
    wells = read_json(folder("glm_posteriors") / "wells_data.json")
    far, arsenic = (np.array(wells[name], float) - np.mean(wells[name]) for name in ("dist", "arsenic"))
    columns = _stacked(far / 100, arsenic, far / 100 * arsenic)
    names = ("alpha", "beta[1]", "beta[2]", "beta[3]")
    return Case(columns, np.array(wells["switched"]), family.Bernoulli(), prior.Flat(), names, _own("wells_data-wells_interaction_c_model"))


def counts_by_year() -> Case:
    """Yearly counts on a cubic of the year."""
    data = read_json(folder("glm_posteriors") / "GLM_Poisson_Data.json")
    year = np.array(data["year"])
    names = ("alpha", "beta1", "beta2", "beta3")
    return Case(_stacked(year, year**2, year**3), np.array(data["C"]), family.Poisson(), prior.Flat(), names, _own("GLM_Poisson"))


def place_cell() -> Case:
    """A place cell's spikes in 20 ms bins on a quadratic of position."""
    raw = scipy.io.loadmat(folder("place_cell") / "spikes-1.mat")
    t, x, times = (raw[name].ravel() for name in ("t", "X", "spiketimes"))
    rows = t.size // 20
    z = (x[: rows * 20].reshape(rows, 20).mean(1) - 50) / 25
    counts = np.histogram(times, np.arange(rows + 1) * 0.02 + t[0] - 0.001)[0]
    return Case(_stacked(z, z**2), counts, family.Poisson(), prior.Gaussian(10.0), ("Intercept", "z", "z2"), _own("place_cell_quadratic"))


def psychometric() -> Case:
    """A mouse's choices on contrast, block and previous choice."""
    rows = _table(folder("ibl_choices") / "ibl_500_trials.csv")
    contrast, left, right = (np.array([float(row[name]) for row in rows]) for name in ("signed_contrast", "probabilityLeft", "right_choice"))
    before = np.append(0.0, np.where(right[:-1] == 1, 1.0, -1.0))
    columns = _stacked(np.tanh(5 * contrast) / np.tanh(5), np.sign(0.5 - left), before)
    names = ("bias", "stim", "block", "prev_choice")
    return Case(columns, right.astype(int), family.Bernoulli(), prior.Gaussian(2.5), names, _own("ibl_500_psychometric"))


def _table(place: Path) -> list[dict[str, str]]:
    with place.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _database(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    reference = read_json(folder("posteriordb") / "reference.json")[name]
    data = read_json(folder("posteriordb") / reference["data"])
    return {key: np.array(value) for key, value in data.items()}, reference


def _gaussian(columns: np.ndarray, response: np.ndarray, reference: dict[str, Any], scale: Any) -> Case:
    names = _weights(columns.shape[1] + 1, "sigma")
    return Case(columns, np.asarray(response, float), family.Gaussian(scale=scale), prior.Flat(), names, reference)


def kidscore_momhs() -> Case:
    """Children's scores on the mother's schooling; sigma half-Cauchy."""
    data, reference = _database("kidiq-kidscore_momhs")
    return _gaussian(_stacked(data["mom_hs"]), data["kid_score"], reference, prior.HalfCauchy(2.5))


def kidscore_momhsiq() -> Case:
    """Children's scores on the mother's schooling and IQ; sigma half-Cauchy."""
    data, reference = _database("kidiq-kidscore_momhsiq")
    return _gaussian(_stacked(data["mom_hs"], data["mom_iq"]), data["kid_score"], reference, prior.HalfCauchy(2.5))


def kidscore_interaction() -> Case:
    """Centred schooling, IQ and their product; sigma flat."""
    data, reference = _database("kidiq_with_mom_work-kidscore_interaction_c")
    school, iq = (data[name] - data[name].mean() for name in ("mom_hs", "mom_iq"))
    return _gaussian(_stacked(school, iq, school * iq), data["kid_score"], reference, None)


def mesquite() -> Case:
    """Log weight of mesquite bushes on logs of volume, area, shape, height and density; sigma flat."""
    data, reference = _database("mesquite-logmesquite_logvas")
    one, two, height = data["diam1"], data["diam2"], data["canopy_height"]
    logs = (np.log(one * two * height), np.log(one * two), np.log(one / two), np.log(data["total_height"]), np.log(data["density"]))
    return _gaussian(_stacked(*logs, data["group"]), np.log(data["weight"]), reference, None)


def party() -> Case:
    """Party identification on ideology, race, age group, schooling, gender and income; sigma flat."""
    data, reference = _database("nes1980-nes")
    age = data["age_discrete"]
    columns = (data["real_ideo"], data["race_adj"], age == 2, age == 3, age == 4, data["educ1"], data["gender"], data["income"])
    return _gaussian(_stacked(*columns), data["partyid7"], reference, None)


def as_recording(case: Case) -> Any:
    """Columns ``x`` and response ``y`` on trial rows."""
    return bg.recording(rows="trial", x=case.columns, y=case.response)


def as_glm(case: Case) -> Any:
    """The case in terms."""
    return bg.GLM(bg.Baseline(case.law) + bg.Linear("x", case.law), case.family, "y")
