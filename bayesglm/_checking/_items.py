"""One check and its verdict: the lines of which bg.check's record is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Status = Literal["good", "warning", "bad", "not assessed"]
STAGES = ("before the fit", "optimum", "approximation", "sampling", "posterior", "drift", "held out")
BEFORE, OPTIMUM, APPROXIMATION, SAMPLING, POSTERIOR, DRIFT, HELD_OUT = STAGES
_ORDER: tuple[Status, ...] = ("good", "warning", "bad")


@dataclass(frozen=True)
class Item:
    """One check.

    Attributes
    ----------
    stage : str
        When it is looked at: "before the fit", "sampling", "optimum", "approximation", "posterior", "drift", "held out".
    name : str
    value : float
        The worst that was found; NaN where it was not assessed.
    threshold : str
        What is wanted of it.
    status : "good", "warning", "bad" or "not assessed"
    advice : str
        What to do next, or why it could not be assessed; empty where there is nothing to do.
    about : str
        What the value is of: the neuron, term or quantity with the worst one.
    """

    stage: str
    name: str
    value: float
    threshold: str
    status: Status
    advice: str = ""
    about: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        """Name, value with what it is of, threshold, status."""
        value = "-" if np.isnan(self.value) else shown(self.value)
        return (self.name, f"{value} ({self.about})" if self.about else value, self.threshold, self.status)


def shown(value: float) -> str:
    """A number in few digits; whole ones as they are."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:.3g}"


def unassessed(stage: str, name: str, why: str, threshold: str = "") -> Item:
    """What cannot be assessed says so."""
    return Item(stage, name, float("nan"), threshold, "not assessed", why)


def judged(stage: str, name: str, value: float, threshold: str, status: Status, advice: str = "", about: str = "") -> Item:
    """A check whose advice is kept only where it is needed."""
    return Item(stage, name, float(value), threshold, status, "" if status == "good" else advice, about)


def worst(items: Iterable[Item]) -> Status:
    """The worst status; "not assessed" where nothing was."""
    found = [item.status for item in items if item.status in _ORDER]
    return max(found, key=_ORDER.index) if found else "not assessed"


def graded(value: float, warn: float, bad: float) -> Status:
    """By two bounds that a value should stay below."""
    return "bad" if value > bad else "warning" if value > warn else "good"
