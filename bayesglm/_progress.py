"""The progress bar of a fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bayesglm.method._base import Monitor


@contextlib.contextmanager
def progress_bar(shown: bool, title: str = "", delay: float = 0.0) -> Iterator[Monitor | None]:
    """A monitor that draws a bar on standard error (after ``delay`` seconds), or None where nothing is to be shown."""
    if not shown:
        yield None
        return
    from tqdm.auto import tqdm

    bar = tqdm(total=1, desc=title or "fit", leave=True, delay=delay, bar_format="{desc}: {percentage:3.0f}%|{bar:24}| {elapsed}<{remaining}{postfix}")

    def monitor(done: int, total: int, state: Any, fresh: str) -> bool:
        bar.total = total
        bar.set_postfix_str(fresh, refresh=False)
        bar.update(done - bar.n)
        return False

    try:
        yield monitor
    finally:
        bar.close()
