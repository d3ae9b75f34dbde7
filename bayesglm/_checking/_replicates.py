"""Replicates of a response, streamed: what their statistics are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from bayesglm._checking._statistics import Statistic
from bayesglm._checking._statistics_rows import Chunk, Layout, Past, residuals
from bayesglm._likelihood import Source, response_chunks, response_of

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_HELD = 1 << 21  # numbers of the replicates that are looked at together: 16 MB, and a few temporaries of that size
_ENDLESS = 1e9  # in place of a count whose mean was too large to draw from

Tick = Callable[[int, int], Any]
Own = Callable[[np.ndarray], Any]  # a user's statistic: (row, neuron) -> (neuron,) or a number


class Summed(NamedTuple):
    """Of the observed response (first) and each replicate."""

    sums: list[np.ndarray]  # (1 + replicate, neuron, number) of each statistic
    own: dict[str, np.ndarray]  # (1 + replicate, neuron) of each of the user's


def chosen_draws(made: Source, replicates: int) -> Source:
    """One draw a replicate, evenly over all chains; draws come again where there are fewer."""
    at = (2 * np.arange(replicates) + 1) * made.draws // (2 * replicates)
    return made._replace(values={name: value[at] for name, value in made.values.items()}, chains=1)


def one_step(made: Source, layout: Layout, statistics: list[Statistic], key: Any, leave_out: bool, tick: Tick) -> list[np.ndarray]:
    """Sums of every statistic, the past of each row being the observed one.

    Parameters
    ----------
    made : Source
        A draw a replicate.
    layout : Layout
    statistics : list of Statistic
    key : JAX key
    leave_out : bool
        Whether the probability integral transform of a row leaves the row out of the posterior, by importance weights.
    tick : callable
        Told how many rows of how many are done.
    """
    observed = _observed(made, layout)
    mean = _mean(made, layout, tick)
    past = Past(layout, residuals(layout, observed, mean, layout.weight)[0][None], observed[None])
    transform = any(statistic.name == "pit" for statistic in statistics)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    found: list[Any] = [None] * len(statistics)
    density = response_chunks(made, "log_prob") if transform and leave_out else None
    for rows, drawn in response_chunks(made, "response", key):
        value = np.concatenate([observed[None, :, rows], _finite(np.moveaxis(drawn, 2, 1))])
        weight = layout.weight[:, rows]
        residual, cosine = residuals(layout, value, mean[:, rows], weight)
        uniform = None
        if transform:
            log_prob = None if density is None else np.moveaxis(next(density)[1], 2, 1)
            uniform = _uniform(layout, value, mean[:, rows], log_prob, rng)
        chunk = Chunk(value * weight, residual, cosine, uniform, rows, past)
        for i, statistic in enumerate(statistics):
            new = statistic.sums(chunk)
            found[i] = new if found[i] is None else np.maximum(found[i], new) if statistic.largest else found[i] + new
        tick(layout.start.size + rows.stop, 2 * layout.start.size)
    return found


def whole(blocks: Iterable[np.ndarray], layout: Layout, statistics: list[Statistic], own: Mapping[str, Own], tick: Tick, replicates: int) -> Summed:
    """Sums of every statistic and values of the user's, each response having its own past.

    Parameters
    ----------
    blocks : iterable of (draw, row, neuron)
        The observed response first, alone, then the replicates.
    layout, statistics, tick
        As in ``one_step``.
    own : mapping
    replicates : int
    """
    sums: list[list[np.ndarray]] = [[] for _ in statistics]
    values: dict[str, list[np.ndarray]] = {name: [] for name in own}
    common, done = layout.weight.all(0), 0
    for block in blocks:
        value = _finite(np.moveaxis(block, 2, 1))
        for i, statistic in enumerate(statistics):
            sums[i].append(statistic.sums(_alone(layout, value)))
        for name, function in own.items():
            values[name] += [_checked(name, function(one[:, common].T), len(one)) for one in value]
        done += len(value)
        tick(done, replicates + 1)
    return Summed([np.concatenate(parts) for parts in sums], {name: np.stack(parts) for name, parts in values.items()})


def blocks_of(observed: np.ndarray, replicated: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The observed response (row, neuron) and then the replicates (draw, row, neuron), few enough at once."""
    yield observed[None]
    at_once = max(1, _HELD // observed.size)
    for block in replicated:
        for first in range(0, len(block), at_once):
            yield block[first : first + at_once]


def independent_rows(made: Source, key: Any) -> Iterator[np.ndarray]:
    """Whole replicates (draw, row, neuron) of a model that does not read the response's past."""
    at_once = max(1, 4 * _HELD // made.scored.size)
    for number, first in enumerate(range(0, made.draws, at_once)):
        some = made._replace(values={name: value[first : first + at_once] for name, value in made.values.items()})
        yield np.concatenate([part for _, part in response_chunks(some, "response", jax.random.fold_in(key, number))], 1)


def free_running(fit: Fit, data: xr.Dataset, replicates: int, key: Any) -> tuple[Iterator[np.ndarray], list[int]]:
    """Whole replicates (draw, row, neuron) that feed back their own responses; and where each first reached the cap (-1: never), filled as they come."""
    from bayesglm._simulating._simulate import simulated_chunks

    have = 1 if fit.point else fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]
    again = -(-replicates // have)
    reached: list[int] = []

    def blocks() -> Iterator[np.ndarray]:
        for chunk in simulated_chunks(fit, data, key=key, draws=-(-replicates // again), replicates=again):
            left = replicates - len(reached)
            reached.extend(np.ravel(chunk.reached)[:left].tolist())
            yield chunk.values.reshape(-1, *chunk.values.shape[2:])[:left]

    return blocks(), reached


def observed_rows(made: Source, layout: Layout) -> np.ndarray:
    """The observed response (row, neuron), zero where not scored."""
    return _observed(made, layout).T


def _observed(made: Source, layout: Layout) -> np.ndarray:
    """(neuron, row)."""
    return np.where(layout.weight, np.asarray(response_of(made), float).T, 0.0)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(values, float), nan=_ENDLESS, posinf=_ENDLESS)


def _mean(made: Source, layout: Layout, tick: Tick) -> np.ndarray:
    """Expected response of each row given its past, over draws, (neuron, row); of angles their mean direction."""
    out = np.zeros(layout.weight.shape)
    if layout.nature == "classes":
        return out
    for rows, values in response_chunks(made, "mean"):
        if layout.nature == "angles":
            out[:, rows] = np.angle(np.exp(1j * layout.turn * values).mean(0)).T / layout.turn
        else:
            out[:, rows] = values.mean(0).T
        tick(rows.stop, 2 * layout.start.size)
    return np.where(layout.weight, out, 0.0)


def _alone(layout: Layout, value: np.ndarray) -> Chunk:
    """Whole responses (draw, neuron, row) about their own means."""
    weight = layout.weight
    if layout.nature == "angles":
        mean = np.angle((np.exp(1j * layout.turn * value) * weight).sum(-1)) / layout.turn
    else:
        mean = (value * weight).sum(-1) / layout.scored
    value = value * weight
    residual, cosine = residuals(layout, value, mean[..., None], weight)
    return Chunk(value, residual, cosine, None, slice(0, weight.shape[1]), Past(layout, residual, value))


def _uniform(layout: Layout, value: np.ndarray, mean: np.ndarray, log_prob: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Randomised probability integral transforms of all responses, by their ranks among the replicates, (draw, neuron, row).

    With ``log_prob`` of the observed response under every draw, only its own transform is found, with the row left out:
    weights 1/p(y | draw), cut off at sqrt(draws) times their mean. The replicates' are then uniform numbers.
    """
    if layout.nature == "angles":
        value = np.mod(layout.turn * (value - mean) + np.pi, 2.0 * np.pi)
    if log_prob is None:
        jitter = value + 0.999 * rng.random(value.shape) if layout.nature not in ("continuous", "angles") else value
        order = np.argsort(jitter, axis=0)
        rank = np.empty(value.shape)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(float(len(value)))[:, None, None], value.shape), axis=0)
        return (rank + rng.random(value.shape)) / len(value)
    weights = np.exp(np.min(log_prob, axis=0) - log_prob)
    weights = np.minimum(weights, np.sqrt(len(weights)) * weights.mean(0))
    below, equal = ((weights * flags).sum(0) for flags in (value[1:] < value[0], value[1:] == value[0]))
    own = (below + rng.random(below.shape) * equal) / weights.sum(0)
    return np.concatenate([own[None], rng.random(value[1:].shape)])


def _checked(name: str, value: Any, neurons: int) -> np.ndarray:
    """A user's statistic as (neuron,) numbers."""
    found = np.asarray(value, float)
    if found.shape not in ((), (neurons,)):
        raise ValueError(
            f"posterior_check(statistics={{{name!r}: ...}}): the function gets an array (row, neuron) and must return a number or one for each of "
            f"{neurons} neurons; it returned the shape {found.shape}."
        )
    return np.broadcast_to(found, (neurons,))
