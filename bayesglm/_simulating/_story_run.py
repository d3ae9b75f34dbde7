"""Responses of models that are stories, not GLMs: where their past plays no part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayesglm._double import double
from bayesglm._likelihood import Source, _site, is_mass, response_chunks
from bayesglm._model import AbstractModel
from bayesglm._simulating._free_run import Chunk


def story_run(made: Source, key: Any, replicates: int, tick: Callable[[int, int], Any] | None = None) -> Iterator[Chunk]:
    """Every draw's responses, a replicate at a time; whole numbers in the smallest type that holds them."""
    discrete = is_mass(made)
    for r in range(replicates):
        with double():
            own = jax.random.fold_in(key, r)
        values = np.empty((made.draws, *made.scored.shape))
        for rows, part in response_chunks(made, "response", own):
            values[:, rows] = part
        kept = values.astype(np.min_scalar_type(int(values.max(initial=0)))) if discrete else values
        yield Chunk(slice(0, made.draws), slice(r, r + 1), kept[:, None], np.full((made.draws, 1), -1))
        if tick is not None:
            tick(r + 1, replicates)


def refuse_feedback(made: Source, data: xr.Dataset) -> None:
    """Raise where the response's distribution depends on earlier responses: what feeds back is known of a GLM's terms only."""
    name = made.model.observed_site()
    if name is None or name not in data:
        return
    values = data[name].values
    other = made._replace(design=made.model.design(data.assign({name: data[name].copy(data=_changed(values))})).bare())
    with double():
        one, two = (jax.tree.leaves(_site(source)["fn"]) for source in (made, other))
    if all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, two, strict=True)):
        return
    raise ValueError(
        f"simulate: {_called(made.model)} reads the past of {name!r}, and only GLM terms say how it would feed back: write it as a GLM "
        f"(History, Coupling), or use bg.predict(kind='response'), which is given the recorded past."
    )


def _changed(values: np.ndarray) -> np.ndarray:
    """Other values of the same kind."""
    low, high = (np.nanmin(values), np.nanmax(values)) if values.size else (0, 0)
    return (high + low - values)[::-1].astype(values.dtype)


def _called(model: AbstractModel) -> str:
    function = getattr(model, "function", None)
    return type(model).__name__ if function is None else f"the function {function.__name__}"
