"""Probabilities of the classes of a fit whose response is one of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from bayesglm._likelihood import Source, response_chunks
from bayesglm.family import AbstractFamily, Bernoulli
from bayesglm.family._choices import AbstractClasses


def class_names(family: AbstractFamily | None) -> np.ndarray | None:
    """Labels of the classes (K,) of a categorical or ordinal family; None for every other."""
    return family.names if isinstance(family, AbstractClasses) else None


def class_count(family: AbstractFamily | None) -> int | None:
    """Number of classes: two for a Bernoulli family; None where the response is no class."""
    names = class_names(family)
    return names.size if names is not None else 2 if isinstance(family, Bernoulli) else None


def probability_chunks(made: Source, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """P(y = k | draw) by chunks of rows: (rows, (draw, row, neuron, K))."""
    for parts in zip(*(response_chunks(_answering(made, code), "log_prob") for code in range(size)), strict=True):
        yield parts[0][0], np.exp(np.stack([values for _, values in parts], -1))


def mean_probabilities(made: Source, size: int) -> np.ndarray:
    """P(y = k) averaged over draws, (row, neuron, K)."""
    out = np.empty((*made.scored.shape, size))
    for code in range(size):
        for rows, values in response_chunks(_answering(made, code), "log_mean"):
            out[rows, :, code] = np.exp(values[0])
    return out


def _answering(made: Source, code: int) -> Source:
    """The same rows with the response ``code`` in each."""
    each: dict[str, Any] = made.design.each | {"response": np.full(made.scored.T.shape, float(code))}
    return made._replace(design=dataclasses.replace(made.design, each=each))
