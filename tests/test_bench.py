"""The benchmark runs, its judge is right, and ours solves the very objective that the peers are given."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture(scope="module")
def problem():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        from same import simulated

        return simulated(1500, 3, 2, seed=0, ridge=1.0)


def test_columns_are_the_models_and_every_receiver_uses_them(problem):
    assert problem.columns.shape[1] == 9 + 3 * 8
    assert problem.columns.shape[0] == problem.responses.shape[0] < len(problem.counts)
    assert problem.responses.shape[1] == problem.n_receivers == 2


def test_the_reference_is_a_minimum(problem):
    from optimum import _derivatives, objective, optimum

    w = optimum(problem, 1)
    assert np.abs(_derivatives(problem, 1, w)[0]).max() < 1e-6
    rng = np.random.default_rng(0)
    assert all(objective(problem, 1, w + 1e-3 * rng.normal(size=w.shape)) > objective(problem, 1, w) for _ in range(5))


def test_the_sparse_reference_is_a_minimum(problem):
    from optimum import _derivatives, lasso_that_leaves, optimum

    sparse = problem._replace(lasso=lasso_that_leaves(problem, 0.5))
    w = optimum(sparse, 0)
    gradient = _derivatives(sparse, 0, w)[0]
    left = w[:-1] != 0
    assert 0.3 < left.mean() < 0.7
    assert np.abs(gradient[:-1][left] + sparse.lasso * np.sign(w[:-1][left])).max() < 1e-6
    assert np.abs(gradient[:-1][~left]).max() < sparse.lasso
    assert abs(gradient[-1]) < 1e-6


@pytest.mark.parametrize("lasso", [0.0, 1.5])
def test_ours_solves_the_objective_of_the_peers(problem, lasso):
    from judge import EXACT, gap, references
    from ours import make

    given = problem._replace(lasso=lasso)
    solver = make("map", True)
    answer = solver.solve(solver.prepare(given))
    assert gap(given, references(given), answer["weights"]) < EXACT


def test_a_peer_in_a_process_of_its_own(tmp_path, capsys):
    pytest.importorskip("sklearn")
    from run import main

    main(["map_one", "--quick", "--ours", "none", "--peers", "scikit-learn", "--out", str(tmp_path)])
    page = capsys.readouterr().out
    assert "| scikit-learn | newton-cholesky tight |" in page
    assert "failed" not in page
    assert (tmp_path / "map_one.json").exists()
    assert (tmp_path / "table.md").read_text() == page.removesuffix("\n")


@pytest.mark.parametrize("who", ["glum", "skglm", "bambi"])
def test_a_peer_that_is_missing_is_skipped_with_a_message(who, capsys, monkeypatch):
    import run
    from rows import ROWS

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    row = next(row for row in ROWS.values() if any(entry.who == who for entry in row.entries))
    kept, skipped = run._wanted(row.entries, run._parsed([row.name, "--peers", who], list(ROWS)))
    assert {entry.who for entry in kept} == {"bayesglm"}
    assert "is not installed" in skipped[0]
    assert skipped[0] in capsys.readouterr().err


def test_ratios_and_goals(problem):
    from judge import judged
    from rows import Goal

    ours = {"who": "bayesglm", "setting": "map", "cold_seconds": 2.0, "warm_seconds": 0.5, "gap": 1e-9, "info": {}}
    slow = {"who": "nemos", "setting": "LBFGS", "cold_seconds": 30.0, "warm_seconds": 30.0, "gap": 0.07, "info": {}}
    rough = {"who": "glum", "setting": "default", "cold_seconds": 0.1, "warm_seconds": 0.1, "gap": 0.5, "info": {}}
    fine = rough | {"setting": "tight", "cold_seconds": 3.0, "warm_seconds": 2.0, "gap": 1e-8}
    entries = [ours, slow, rough, fine]
    assert judged(Goal("map", "warm", 40, "nemos", "LBFGS"), entries)["found"] == pytest.approx(60)
    assert judged(Goal("map", "warm", 3, "*"), entries)["found"] == pytest.approx(4)  # the rough one does not count
    assert not judged(Goal("map", "cold", 15.1, "nemos", "LBFGS"), entries)["met"]
    assert judged(Goal("map", "cold", 15, "nemos", "LBFGS"), [ours | {"gap": 1e-3}, slow])["met"] is None
