"""Run notebooks again, from a clean kernel: ``python notebooks/run.py [--fast] [NAME ...]``.

The full form keeps the outputs in the files; the fast form takes the sizes of the metadata ``bayesglm.fast`` and keeps nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
_LIMIT = 1800  # seconds of one cell
_A_PATH = re.compile(r"/(?:home|root|tmp|work|Users|var)/[^\s'\"<]*")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run those named, or all; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--fast", action="store_true", help="small sizes, outputs thrown away: do the claims still hold?")
    given = parser.parse_args(arguments)
    shared = HERE.parent.parent / "shared" / "data"
    if shared.is_dir():
        os.environ.setdefault("BAYESGLM_DATA", str(shared))
    for path in [HERE / f"{Path(name).stem}.ipynb" for name in given.names] or sorted(HERE.glob("*.ipynb")):
        started = time.perf_counter()
        print(path.stem, end=" ", flush=True)
        run(path, given.fast)
        print(f"{time.perf_counter() - started:.0f} s", flush=True)


def run(path: Path, fast: bool = False) -> None:
    """Execute a notebook; keep the outputs unless ``fast``.

    Raises
    ------
    SystemExit
        Where a cell fails; in the full form also where one prints to stderr (a warning is a fault) or shows a path of this machine.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for name in ("execution", "lines_to_next_cell"):
            cell.metadata.pop(name, None)
    executed = notebook.copy()
    if fast:
        executed.cells = _with_sizes(notebook)
    try:
        NotebookClient(executed, timeout=_LIMIT, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}, record_timing=False).execute()
    except Exception as error:
        sys.exit(f"{path.name}: {_COLOURS.sub('', str(error))[-4000:]}")
    if fast:  # of small sizes a warning may be right; the claims are what is asserted
        return
    faults = [fault for cell in executed.cells for fault in _faults(cell)]
    if faults:
        sys.exit("\n".join(f"{path.name}: {fault}" for fault in faults))
    executed.metadata.pop("language_info", None)
    _write(executed, path)


def _with_sizes(notebook: Any) -> list[Any]:
    """The cells, the fast sizes set behind the cell that is tagged ``parameters``."""
    sizes = notebook.metadata.get("bayesglm", {}).get("fast", {})
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            cells.append(nbformat.v4.new_code_cell("\n".join(f"{name} = {value!r}" for name, value in sizes.items())))
    if sizes and len(cells) == len(notebook.cells):
        sys.exit("The metadata bayesglm.fast has sizes, and no cell is tagged 'parameters': tag the cell that sets them.")
    return cells


def _faults(cell: Any) -> list[str]:
    """What a reader should not meet in the outputs of a cell."""
    found = []
    for output in cell.get("outputs", []):
        texts = [output.get("text", "")] + [str(data) for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
        if output.get("name") == "stderr":
            found.append(f"text on stderr: {texts[0][:1000]}")
        found += [f"a path of this machine: {path}" for text in texts for path in _A_PATH.findall(text)]
    return found


def _write(notebook: Any, path: Path) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    partial.replace(path)


if __name__ == "__main__":
    main()
