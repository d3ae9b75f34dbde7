"""Responses that feed back on themselves: a compiled scan over rows with a ring of the recent past."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.family import AbstractFamily

NEVER = np.iinfo(np.int64).max


class Loop(eqx.Module):
    """What one term adds to eta from the past of the responses themselves.

    ``weights`` are (draw, M, B, neuron, J) where each response reads its own past, (draw, M, B * source, neuron, J) where
    it reads that of all sources; M modulating columns (one where there are none), B kernels, J predictors.
    """

    weights: Any
    sources: Any  # (source,) positions among the responses; None: all of them in their order
    first: int = eqx.field(static=True)  # its kernels, first to last, among those of all loops
    last: int = eqx.field(static=True)
    own: bool = eqx.field(static=True)
    coded: bool = eqx.field(static=True)  # whether 0 and 1 are read as -1 and +1
    skips: bool = eqx.field(static=True)  # whether lags count only the rows with a response


class Past(NamedTuple):
    """What is carried from row to row."""

    ring: Any  # (lag, draw, replicate, neuron): row t is at t modulo the number of lags
    known: Any  # (lag, draw, replicate, neuron): rows with a response only, the latest first, as they are read
    reached: Any  # (draw, replicate): the first row at the cap, NEVER before it


class Rows(NamedTuple):
    """What is known of each row before it is simulated."""

    at: Any  # (row,)
    behind: Any  # (row,) rows of its epoch that lie behind it
    base: Any  # (row, draw, neuron, J): eta without the loops
    modulators: tuple  # of each loop (row, neuron or 1, M), or None
    known: dict[str, Any]  # (row, neuron): a binomial's trials
    seen: Any  # (row, neuron) bool, or None where nothing is skipped


def empty_past(loops: tuple[Loop, ...], kernels: Any, shape: tuple[int, int, int]) -> Past:
    """Nothing has happened yet; ``shape`` is (draw, replicate, neuron)."""
    register = len(kernels) if any(loop.skips for loop in loops) else 0
    return Past(jnp.zeros((len(kernels), *shape)), jnp.zeros((register, *shape)), jnp.asarray(np.full(shape[:2], NEVER)))


@eqx.filter_jit
def fixed_eta(columns: Any, weights: Any, offset: Any, rows: int, shape: tuple[int, int, int]) -> Any:
    """eta of what does not feed back, (row, draw, neuron, J).

    Parameters
    ----------
    columns, weights : mappings
        As in ``pointwise.log_probabilities``, with J predictors last in the weights.
    offset : (neuron, row) or None
    rows : int
    shape : (draws, neurons, J)
    """
    eta = jnp.zeros((rows, *shape))
    if "shared" in columns:
        eta = eta + jnp.einsum("tp,dnpj->tdnj", columns["shared"], weights["shared"])
    if "own" in columns:
        eta = eta + jnp.einsum("ntp,dnpj->tdnj", columns["own"], weights["own"])
    return eta if offset is None else eta + offset.T[:, None, :, None]


@eqx.filter_jit
def recurrent(
    family: AbstractFamily, loops: tuple[Loop, ...], kernels: Any, sites: dict[str, Any], dt: Any, cap: Any, key: Any, past: Past, rows: Rows, *, etas: bool
) -> tuple[Past, Any]:
    """Simulate rows one after the other, each given what was simulated before it.

    Parameters
    ----------
    family : AbstractFamily
    loops : tuple of Loop
        At least one.
    kernels : (lag, basis)
        Of all loops, from lag 1 on, side by side.
    sites : mapping
        The family's own parameters, (draw, 1, neuron, ...).
    cap : float or None
        A response that reaches it is kept there.
    key : JAX key
        A row's own is folded in.
    past, rows
    etas : bool
        Return eta too.

    Returns
    -------
    Past, and a pair: responses (row, draw, replicate, neuron), and eta (..., J) or None
    """

    def step(past: Past, row: Rows) -> tuple[Past, Any]:
        read = _reads(loops, kernels, past, row)
        eta = sum((_added(*found) for found in zip(loops, read, row.modulators, strict=True)), row.base[:, None])
        y = _law(family, eta, sites | row.known, dt).sample(jax.random.fold_in(key, row.at))
        y, hit = _limited(y, cap)
        return _moved(loops, past, row, y, hit), (y, eta if etas else None)

    return jax.lax.scan(step, past, rows)


@eqx.filter_jit
def independent(family: AbstractFamily, sites: dict[str, Any], dt: Any, cap: Any, key: Any, reached: Any, rows: Rows, *, etas: bool) -> tuple[Any, Any]:
    """The same where nothing feeds back: all rows at once. Returns the first rows at the cap, and what ``recurrent`` does."""
    size = rows.base.shape
    eta = jnp.broadcast_to(rows.base[:, :, None], (*size[:2], reached.shape[1], *size[2:]))
    known = {name: value[:, None, None] for name, value in rows.known.items()}
    y = _law(family, eta, sites | known, dt).sample(jax.random.fold_in(key, rows.at[0]))
    y, hit = _limited(y, cap)
    first = jnp.where(hit.any(0), rows.at[jnp.argmax(hit, 0)], NEVER)
    return jnp.minimum(reached, first), (y, eta if etas else None)


def _reads(loops: tuple[Loop, ...], kernels: Any, past: Past, row: Rows) -> list[Any]:
    """The filtered past of every loop, (basis, draw, replicate, neuron)."""
    lags = len(kernels)
    inside = jnp.where((jnp.arange(lags) < row.behind)[:, None], kernels, 0.0)
    turned = jnp.roll(inside[::-1], row.at, axis=0)  # lag l of row t lies at (t - l) modulo lags
    found = (turned.T @ past.ring.reshape(lags, -1)).reshape(-1, *past.ring.shape[1:])
    constant = inside.sum(0)[:, None, None, None]
    read = []
    for loop in loops:
        mine = slice(loop.first, loop.last)
        if loop.skips:
            known = jnp.where(row.behind > 0, past.known, 0.0)
            read.append(jnp.einsum("lb,ldrn->bdrn", kernels[:, mine], known))
        else:
            read.append(2.0 * found[mine] - constant[mine] if loop.coded else found[mine])
    return read


def _added(loop: Loop, read: Any, modulator: Any) -> Any:
    """One loop's part of eta, (draw, replicate, neuron, J)."""
    weights = loop.weights[:, 0]
    if modulator is not None:
        weights = jnp.einsum("dmbnj,nm->dbnj", loop.weights, jnp.broadcast_to(modulator, (loop.weights.shape[3], modulator.shape[1])))
    if loop.own:
        return jnp.sum(jnp.moveaxis(read, 0, 2)[..., None] * weights[:, None], axis=2)
    chosen = read if loop.sources is None else read[..., loop.sources]
    flat = jnp.moveaxis(chosen, 0, 2).reshape(*read.shape[1:3], -1)
    return (flat @ weights.reshape(*weights.shape[:2], -1)).reshape(*read.shape[1:3], *weights.shape[2:])


def _moved(loops: tuple[Loop, ...], past: Past, row: Rows, y: Any, hit: Any) -> Past:
    """The past of the next row."""
    ring = jax.lax.dynamic_update_index_in_dim(past.ring, y, row.at % len(past.ring), 0)
    known = past.known
    if len(known):
        value = 2.0 * y - 1.0 if any(loop.skips and loop.coded for loop in loops) else y
        before = jnp.where(row.behind > 0, known, 0.0)
        known = jnp.where(row.seen, jnp.concatenate([value[None], before[:-1]]), before)
    return Past(ring, known, jnp.minimum(past.reached, jnp.where(hit, row.at, NEVER)))


def _law(family: AbstractFamily, eta: Any, hyper: dict[str, Any], dt: Any) -> Any:
    return family(eta[..., 0] if family.predictors is None else eta, hyper, dt)


def _limited(y: Any, cap: Any) -> tuple[Any, Any]:
    """Responses kept within the cap, and whether a neuron's reached it; NaN is a mean too large to draw from."""
    if cap is None:
        return y, jnp.zeros(y.shape[:-1], bool)
    hit = ~(jnp.abs(y) < cap)
    return jnp.where(hit, jnp.where(y < 0, -cap, cap), y), hit.any(-1)
