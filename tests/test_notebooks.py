"""The notebooks as they are committed: whole, with outputs, in one order, without helper code. `make notebooks-fast` runs them."""

import ast
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
HEADINGS = (
    "The question",
    "The data",
    "The model",
    "Prior check",
    "MAP",
    "Posterior",
    "Bands",
    "Checks",
    "Comparison",
    "What was learned, and what must not be concluded",
)
_LARGEST = 1_500_000  # bytes
_A_PATH = re.compile(r"/(?:home|root|tmp|work|Users|var)/\w")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def _text(cell: dict) -> str:
    return "".join(cell["source"])


def test_there_are_eight():
    assert [path.stem[:3] for path in NOTEBOOKS] == [f"0{i}_" for i in range(1, 9)]


@each
def test_sections_come_in_their_order(path):
    lines = [line.removeprefix("## ").strip() for cell in _cells(path, "markdown") for line in _text(cell).splitlines() if line.startswith("## ")]
    assert [line for line in lines if line in HEADINGS] == list(HEADINGS)


@each
def test_outputs_are_those_of_one_run_from_top_to_bottom(path):
    assert path.stat().st_size < _LARGEST
    code = [cell for cell in _cells(path, "code") if _text(cell).strip()]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert not _A_PATH.search(json.dumps(outputs))


@each
def test_cells_hold_no_helper_code(path):
    for cell in _cells(path, "code"):
        tree = ast.parse(_text(cell))
        assert not [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda))], _text(cell)


@each
def test_claims_are_asserted_and_a_fast_form_exists(path):
    asserts = [node for cell in _cells(path, "code") for node in ast.walk(ast.parse(_text(cell))) if isinstance(node, ast.Assert)]
    assert len(asserts) >= 4
    fast = json.loads(path.read_text())["metadata"]["bayesglm"]["fast"]
    cells = [cell for cell in _cells(path, "code") if "parameters" in cell["metadata"].get("tags", [])]
    assert len(cells) == 1
    set_there = {node.id for node in ast.walk(ast.parse(_text(cells[0]))) if isinstance(node, ast.Name)}
    assert set(fast) <= set_there
