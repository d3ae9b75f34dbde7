"""Notes: what a recording says aloud about what it did to the data."""

import warnings
from pathlib import Path

_HERE = str(Path(__file__).parent)


class RecordingNote(UserWarning):
    """Something a reader of the recording must know, though it is no error (new epochs at gaps, NaN bins)."""


def say(notes: list[str], text: str) -> None:
    """Warn with `text` at the user's own line and keep it in `notes`, which end in ``data.attrs["notes"]``."""
    notes.append(text)
    warnings.warn(text, RecordingNote, skip_file_prefixes=(_HERE,))
