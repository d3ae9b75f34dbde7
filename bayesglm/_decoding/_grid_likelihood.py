"""log p(spikes of a window | target, draw) at every point of a grid, and the posterior that follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import gammaln

from bayesglm._decoding._grid import Grid
from bayesglm._decoding._target_terms import blind, part_of, reading
from bayesglm._decoding._windows import Windows
from bayesglm._likelihood import Source, response_of, source
from bayesglm._model import padded_size
from bayesglm.engine.hidden import smoothed
from bayesglm.engine.pointwise import columns_of, weights_of
from bayesglm.family import Poisson
from bayesglm.method._base import Monitor

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_NUMBERS = 1 << 21  # held at once: rows x neurons (x points, where they do not factorise), and draws x windows x points
_CHAINED = 1 << 24  # draws x windows x points held where windows depend on one another
_DRAWS = 16  # taken together


class Reader(NamedTuple):
    """Draws of a model, read at every point of a grid on the windows of a recording."""

    made: Source
    windows: Windows
    grid: Grid
    rest: tuple[str, ...]  # terms that do not read the target
    weights: dict[str, np.ndarray]  # theirs: (draw, neuron, P[, K])
    effect: np.ndarray  # (draw, neuron, point[, K]) what depends on the target alone
    mixed: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]  # (point, A), rows (row, B) or (neuron, row, B), (draw, neuron, A, B[, K])

    @property
    def factorises(self) -> bool:
        """Whether rates are a factor of the row times a factor of the target."""
        family = self.made.model.family
        return isinstance(family, Poisson) and family.link == "exp" and not self.mixed

    @property
    def steady(self) -> bool:
        """Whether, besides, the row's factor is the same in every row: one exponential a draw is enough."""
        return self.factorises and set(self.rest) <= {"baseline"} and "offset" not in self.made.design.each

    @property
    def bins(self) -> np.ndarray:
        """(window,) rows in which any neuron is scored."""
        return self.windows.summed(self.made.scored.any(1).astype(int))


def reader_of(fit: Fit, data: xr.Dataset, grid: Grid, windows: Windows, draws: np.ndarray) -> Reader:
    """What the streams below read; the target's own column is hidden from it.

    Parameters
    ----------
    fit, data, grid, windows
    draws : (draw,) int
        Positions of the draws kept of each chain.
    """
    hidden = blind(data, grid)
    made = source(fit, hidden, draws, common=False)
    response_of(made)
    model = fit.model
    blocks = {block.name: block for block in model.blocks(made.design.at(slice(0, 1)))}
    parts = {term.name: part_of(term, model, hidden, grid) for term in reading(model, grid.targets)}
    rest = tuple(name for name in blocks if name not in parts)
    weights = {kind: np.asarray(w) for kind, w in weights_of([blocks[name] for name in rest], made.values).items()}
    classes = () if model.family.predictors is None else (len(model.family.predictors.labels),)
    effect = np.zeros((made.draws, made.scored.shape[1], grid.size, *classes))
    mixed = []
    for name, part in parts.items():
        w = part.weights(made.values[name], np.asarray(blocks[name].mask))
        if part.rows is None:
            effect += np.einsum("snab...,ga->sng...", w, part.grid)
        else:
            mixed.append((part.grid, part.rows, w))
    return Reader(made, windows, grid, rest, weights, effect, tuple(mixed))


def at_mean(reader: Reader) -> Reader:
    """The same with one draw, the mean of all."""
    mean = lambda values: values.mean(0, keepdims=True)  # noqa: E731
    made = reader.made._replace(values={site: mean(values) for site, values in reader.made.values.items()})
    mixed = tuple((points, rows, mean(w)) for points, rows, w in reader.mixed)
    weights = {kind: mean(w) for kind, w in reader.weights.items()}
    return reader._replace(made=made, weights=weights, effect=mean(reader.effect), mixed=mixed)


def log_likelihoods(reader: Reader, draws: np.ndarray, which: np.ndarray) -> Any:
    """log p(y | target, draw), constants included, summed over the rows of a window and over neurons.

    Parameters
    ----------
    reader : Reader
    draws, which : (draw,), (window,) int

    Returns
    -------
    jax.Array, (draw, window, point)
    """
    made, (rows, inside) = reader.made, reader.windows.at(which)
    part = made.design.at(rows)
    blocks = [block for block in made.model.blocks(part) if block.name in reader.rest]
    mixed = [(grid, columns[:, rows] if columns.ndim == 3 else columns[rows], w[draws]) for grid, columns, w in reader.mixed]
    own = {site: made.values[site][draws][:, :, None] for site in made.model.family.hyper(made.model.response)}
    columns = columns_of(blocks)
    return _log_likelihoods(
        (made.model.family, reader.factorises, reader.windows.inside.shape[1]),
        {kind: values[:1] for kind, values in columns.items()} if reader.steady else columns,
        {kind: w[draws] for kind, w in reader.weights.items()},
        reader.effect[draws],
        mixed,
        part.each.get("offset"),
        own,
        part.each.get("known", {}),
        np.asarray(part.each["response"], float).T,
        made.scored[rows] & inside[:, None],
        jnp.asarray(made.dt),
    )


@eqx.filter_jit
def _log_likelihoods(how: Any, columns: Any, weights: Any, effect: Any, mixed: Any, offset: Any, own: Any, known: Any, y: Any, scored: Any, dt: Any) -> Any:
    family, factorises, bins = how
    rows, neurons = y.shape
    seen = next((values.shape[-2] for values in columns.values()), 1)  # one row stands for all where all are alike
    per_window = lambda values: values.reshape(rows // bins, bins, *values.shape[1:]).sum(1)  # noqa: E731
    summed = lambda values: per_window(jnp.where(scored, values, 0.0))  # noqa: E731
    counts, held, constant = summed(y), summed(1.0), summed(gammaln(y + 1.0)).sum(1)

    def one(drawn: Any) -> Any:
        w, f, pairs, sites = drawn
        eta = _rest(columns, w, offset, (seen, neurons, *f.shape[2:]))
        if factorises:
            rate, level = (held * jnp.exp(eta), counts * eta) if seen == 1 else (summed(jnp.exp(eta)), summed(y * eta))
            return counts @ f - rate @ jnp.exp(f) + (level.sum(1) - constant)[:, None]
        eta = eta[:, :, None] + f
        for (points, read, _), pair in zip(mixed, pairs, strict=True):
            turned = jnp.einsum("nab...,tb->tna..." if read.ndim == 2 else "nab...,ntb->tna...", pair, read)
            eta = eta + jnp.einsum("tna...,ga->tng...", turned, points)
        eta = eta if family.predictors is None else eta @ family.predictors.contrast
        given = {site: value[None] for site, value in sites.items()} | {name: value.T[:, :, None] for name, value in known.items()}
        log_prob = family(eta, given, dt).log_prob(y[:, :, None])
        return per_window(jnp.where(scored[:, :, None], log_prob, 0.0).sum(1))

    return jax.lax.map(one, (weights, effect, [w for _, _, w in mixed], own))


def _rest(columns: Any, w: Any, offset: Any, shape: tuple[int, ...]) -> Any:
    """What does not depend on the target, (row, neuron[, K])."""
    eta = jnp.zeros(shape)
    if "shared" in columns:
        eta = eta + jnp.einsum("np...,tp->tn...", w["shared"], columns["shared"])
    if "own" in columns:
        eta = eta + jnp.einsum("np...,ntp->tn...", w["own"], columns["own"])
    return eta if offset is None else eta + offset.T


class Decoded(NamedTuple):
    """The mean over draws of the posterior of each."""

    probability: np.ndarray  # (window, point)
    log_evidence: np.ndarray  # (window,) log of the mean over draws of p(y of the window | draw); of a chain, given the earlier windows


def posterior(reader: Reader, law: np.ndarray, kernels: tuple[np.ndarray, ...], power: float = 1.0, monitor: Monitor | None = None) -> Decoded:
    """Mean over draws of p(target | y, draw), each normalised alone.

    Parameters
    ----------
    reader : Reader
    law : (point,)
        Probabilities before any spike; with ``kernels`` those of an epoch's first window.
    kernels : tuple of (size, size)
        Transitions from one window to the next along each axis; () where windows are decoded one by one.
    power : float
        To which the likelihood is raised.
    """
    draws, count = reader.made.draws, reader.windows.count
    probability, evidence = np.zeros((count, reader.grid.size)), np.full(count, -np.inf)
    pieces = _chained(reader, law, kernels, power) if kernels else _single(reader, law, power)
    done, total = 0, draws * count
    for at, found, logs in pieces:
        probability[at] += found
        evidence[at] = np.logaddexp(evidence[at], logs.max(0) + np.log(np.exp(logs - logs.max(0)).sum(0)))
        done += len(logs) * found.shape[0]
        if monitor is not None:
            monitor(done, total, None, f" {done / total * draws:.0f} of {draws} draws")
    return Decoded(probability / probability.sum(1, keepdims=True), evidence - np.log(draws))


Piece = tuple[slice, np.ndarray, np.ndarray]  # windows; sum over draws (window, point); log evidence (draw, window)


def _single(reader: Reader, law: np.ndarray, power: float) -> Iterator[Piece]:
    log_law = np.log(np.maximum(law, 1e-300))
    for at, some, values in _streamed(reader, _DRAWS):
        found, logs = _mixed(values, log_law, power, jnp.arange(values.shape[0]) < some)
        yield at, np.asarray(found)[: at.stop - at.start], np.asarray(logs)[:some, : at.stop - at.start]


def _chained(reader: Reader, law: np.ndarray, kernels: tuple[np.ndarray, ...], power: float) -> Iterator[Piece]:
    count = reader.windows.count
    for some, values, starts in whole_recordings(reader):
        found, logs = smoothed(values * power, law, kernels, starts)
        yield slice(0, count), np.asarray(found[:count, :some].sum(1)), np.asarray(logs[:count, :some]).T


def whole_recordings(reader: Reader) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """All windows of a few draws at once: how many draws, (window, draw, point), where chains begin.

    Windows are padded, so that recordings of like length share programs; each of these is a chain of its own.
    """
    count, points = reader.windows.count, reader.grid.size
    size = padded_size(count)
    batch = int(np.clip(_CHAINED // (size * points), 1, _DRAWS))
    starts = np.r_[reader.windows.starts, np.ones(size - count, bool)]
    values = np.zeros((size, min(batch, reader.made.draws), points))
    for at, some, found in _streamed(reader, batch):
        values[at] = np.moveaxis(np.asarray(found)[:, : at.stop - at.start], 0, 1)
        if at.stop == count:
            yield some, values, starts


def _streamed(reader: Reader, batch: int) -> Iterator[tuple[slice, int, Any]]:
    """Log likelihoods of a few draws on a few windows at a time, all of one shape: windows, draws that are not repeats, values."""
    draws, count = reader.made.draws, reader.windows.count
    batch, bins = min(batch, draws), reader.windows.inside.shape[1]
    held = bins * reader.made.scored.shape[1] * (1 if reader.factorises else reader.grid.size)
    fitting = max(1, min(_NUMBERS // (batch * reader.grid.size), _NUMBERS // held))
    length = min(1 << fitting.bit_length() - 1, padded_size(count))
    for first in range(0, draws, batch):
        chosen = np.minimum(np.arange(first, first + batch), draws - 1)
        for start in range(0, count, length):
            which = np.minimum(np.arange(start, start + length), count - 1)
            yield slice(start, min(start + length, count)), min(batch, draws - first), log_likelihoods(reader, chosen, which)


@eqx.filter_jit
def _mixed(values: Any, log_law: Any, power: Any, real: Any) -> tuple[Any, Any]:
    joint = values * power + log_law
    total = jax.nn.logsumexp(joint, axis=-1)
    found = jnp.exp(joint - total[..., None])
    return jnp.where(real[:, None, None], found, 0.0).sum(0), total
