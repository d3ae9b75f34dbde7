"""One problem for everybody: the columns, the responses, the penalty, and our model of the same objective."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import bayesglm as bg

FUNCTIONS, STIMULUS, SPAN = 8, 9, 0.2
DT = 0.01


class Problem(NamedTuple):
    """What every solver is given: minimise sum_t exp(eta) - y eta, plus ``ridge``/2 |w|^2, plus ``lasso`` |w|_1.

    ``columns`` (row, column) hold the stimulus filter's columns, then each source's: a cell's own history is the source
    of its own name, so that one matrix serves all receivers. The baseline is not a column and is not penalised.
    """

    columns: np.ndarray  # (row, column) float64, rows whose filters reach before the recording left out
    responses: np.ndarray  # (row, receiver) float64
    counts: np.ndarray  # (time, neuron): the recording itself
    stimulus: np.ndarray  # (time,)
    ridge: float
    lasso: float

    @property
    def n_receivers(self) -> int:
        """Number of neurons that are fitted."""
        return self.responses.shape[1]


def simulated(rows: int, neurons: int, receivers: int, seed: int, ridge: float) -> Problem:
    """A population of ``problems.coupled_population`` with its columns built once."""
    from problems import coupled_population

    data = coupled_population(rows, neurons, seed, dt=DT)
    counts, stimulus = data["spikes"].values, data["stimulus"].values
    blank = Problem(np.zeros((0, 0)), np.zeros((rows, receivers)), counts, stimulus, ridge, 0.0)
    design = model_of(blank).resolve(data).design(data)
    columns = np.concatenate([np.asarray(design.shared[name]).reshape(rows, -1) for name in ("stimulus", "coupling")], 1)
    kept = np.asarray(design.scored) > 0
    return blank._replace(columns=columns[kept], responses=counts[kept, :receivers].astype(float))


def model_of(problem: Problem) -> bg.GLM:
    """The same objective in terms: a flat baseline, one prior for every weight."""
    import bayesglm as bg
    from bayesglm import basis, prior

    law = prior.lasso(problem.lasso) if problem.lasso else prior.ridge(problem.ridge)
    past = basis.RaisedCosine(FUNCTIONS, span=SPAN)
    terms = bg.Baseline(prior.Flat()) + bg.Stimulus("stimulus", basis.RaisedCosine(STIMULUS, span=SPAN), law)
    return bg.GLM(terms + bg.History(past, law) + bg.Coupling(past, law), neurons=range(problem.n_receivers))


def in_columns(sites: dict[str, np.ndarray]) -> np.ndarray:
    """Our sites (..., receiver, *shape) -> (..., receiver, column + 1), the baseline last."""
    coupling = np.array(sites["coupling"])  # a cell's coupling to itself is not in the model: its place is the history's
    for n in range(coupling.shape[-3]):
        coupling[..., n, n, :] = sites["history"][..., n, :]
    flat = coupling.reshape(*coupling.shape[:-2], -1)
    return np.concatenate([sites["stimulus"], flat, np.asarray(sites["baseline"])[..., None]], -1)


def write(problem: Problem, path: Path) -> None:
    """Save for the workers."""
    np.savez(path, **problem._asdict())


def read(path: Path) -> Problem:
    """Load what ``write`` saved."""
    with np.load(path) as saved:
        found = {name: saved[name] for name in Problem._fields}
    return Problem(**found)._replace(ridge=float(found["ridge"]), lasso=float(found["lasso"]))


def fresh_caches() -> dict[str, str]:
    """Environment in which nothing compiled by an earlier process is found: cold is cold."""
    folder = tempfile.mkdtemp(prefix="bench-cache-")
    return {"NUMBA_CACHE_DIR": folder, "PYTENSOR_FLAGS": f"base_compiledir={folder}", "JAX_ENABLE_COMPILATION_CACHE": "false"}
