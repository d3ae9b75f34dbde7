"""Sphinx extension: the notebooks of ``../notebooks`` as pages, and a gallery of cards with a figure of each."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_PICTURE = "image/png"
_SMALLEST = 15_000  # bytes of base64: smaller pictures are hardly figures
_SHAPE = 1.4  # width to height of a card's picture
_SHORT = 60  # characters that say too little of a notebook
_HEAD = "# Notebooks\n\nCourses, papers and talks done again, with the posterior that the original lacks. Each runs from top to bottom in minutes.\n"
_NONE = "\nThere is none in this copy.\n"


class Card(NamedTuple):
    """What the gallery shows of a notebook."""

    name: str
    title: str
    about: str
    picture: bytes | None


def build(source: Path, target: Path) -> list[Card]:
    """Copy the notebooks of ``source`` to ``target``, with ``index.md`` and the cards' pictures; what was there before goes.

    Only what differs is written, so that Sphinx reads no page twice.
    """
    notebooks = sorted(source.glob("*.ipynb"))
    cards = [card(path) for path in notebooks]
    wanted = {path.name: path.read_bytes() for path in notebooks}
    wanted |= {f"{one.name}.png": one.picture for one in cards if one.picture}
    wanted["index.md"] = _index(cards).encode()
    target.mkdir(exist_ok=True)
    for old in target.iterdir():
        if old.name not in wanted and old.name != ".gitignore":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, content in wanted.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    return cards


def card(path: Path) -> Card:
    """Title, beginning, and the figure whose cell is tagged ``thumbnail``, else the figure whose shape suits a card."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "\n\n".join(_text(cell) for cell in cells if cell["cell_type"] == "markdown")
    title = re.search(r"^# +(.+)$", prose, re.MULTILINE)
    after = prose[title.end() :] if title else prose
    paragraph = next((part for part in re.split(r"\n\s*\n", after) if part.strip() and not part.lstrip().startswith("#")), "")
    pictures = [(("thumbnail" in cell.get("metadata", {}).get("tags", [])), picture) for cell in cells for picture in _pictures(cell)]
    tagged = [base64.b64decode(picture) for chosen, picture in pictures if chosen]
    figures = tagged or [base64.b64decode(picture) for _, picture in pictures if len(picture) >= _SMALLEST]
    return Card(path.stem, title[1].strip() if title else path.stem, _beginning(paragraph), min(figures, key=_misfit, default=None))


def _text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _pictures(cell: dict[str, Any]) -> Iterator[str]:
    for output in cell.get("outputs", []):
        picture = output.get("data", {}).get(_PICTURE)
        if picture:
            yield "".join(picture)


def _misfit(picture: bytes) -> float:
    """How far a PNG is from the shape of a card."""
    width, height = (int.from_bytes(picture[at : at + 4]) for at in (16, 20))
    return abs(math.log(width / height / _SHAPE)) if width and height else math.inf


def _beginning(paragraph: str) -> str:
    """The first sentence, or two where it is short, on one line, without links; a stop within brackets, stars or a name does not end it."""
    line = re.sub(r"\[([^]]+)]\([^)]*\)", r"\1", " ".join(paragraph.split()))
    for stop in re.finditer(r"(?<!al)(?<!\b[A-Z])[.?!](?=\s+[A-Z*_`])", line):
        part = line[: stop.end()]
        if len(part) >= _SHORT and part.count("(") == part.count(")") and part.count("*") % 2 == 0:
            return part
    return line


def _index(cards: list[Card]) -> str:
    if not cards:
        return _HEAD + _NONE
    grid = ["\n::::{grid} 1 2 2 3\n:gutter: 3\n"]
    for one in cards:
        picture = [f":img-top: {one.name}.png", f":img-alt: A figure of the notebook: {one.title}"] if one.picture else []
        grid += [
            f":::{{grid-item-card}} {one.title}",
            f":link: {one.name}",
            ":link-type: doc",
            ":class-img-top: gallery-figure",
            *picture,
            "",
            one.about,
            ":::\n",
        ]
    tree = ["::::\n", "```{toctree}", ":hidden:\n", *(one.name for one in cards), "```\n"]
    return "\n".join([_HEAD, *grid, *tree])


def setup(app: Any) -> dict[str, bool]:
    """Before Sphinx looks for pages."""
    here = Path(app.srcdir)
    app.connect("builder-inited", lambda _: build(here.parent / "notebooks", here / "notebooks"))
    return {"parallel_read_safe": True}
