"""Log probabilities of every response under every draw of a GLM, units first: what is left out is smoothed unit by unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.family import AbstractFamily

if TYPE_CHECKING:
    from bayesglm._model import Block

_NODES = 8


def columns_of(blocks: Sequence[Block]) -> dict[str, np.ndarray]:
    """Shared columns (row, P) and each neuron's own (neuron, row, P), side by side."""
    columns: dict[str, list[np.ndarray]] = {"shared": [], "own": []}
    for block in blocks:
        kind, lead = ("own", 2) if block.shared is None else ("shared", 1)
        found = np.asarray(block.own if block.shared is None else block.shared, float)
        columns[kind].append(found.reshape(*found.shape[:lead], -1))
    return {kind: parts[0] if len(parts) == 1 else np.concatenate(parts, -1) for kind, parts in columns.items() if parts}


def weights_of(blocks: Sequence[Block], values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The columns' weights (draw, neuron, P[, predictor]): once for all chunks of rows."""
    weights: dict[str, list[np.ndarray]] = {"shared": [], "own": []}
    for block in blocks:
        drawn = values[block.name]
        classes = drawn.shape[1 + block.mask.ndim :]
        masked = drawn * block.mask.reshape(*block.mask.shape, *(1,) * len(classes))
        weights["own" if block.shared is None else "shared"].append(masked.reshape(*masked.shape[:2], -1, *classes))
    return {kind: jnp.asarray(np.concatenate(parts, 2)) for kind, parts in weights.items() if parts}


@eqx.filter_jit
def log_probabilities(family: AbstractFamily, columns: Any, weights: Any, offset: Any, sites: Any, y: Any, dt: Any) -> Any:
    """log p(y | draw), constants included, (row, neuron, draw): the draws of a unit lie side by side.

    Parameters
    ----------
    family : AbstractFamily
    columns : mapping
        "shared" (row, P) and "own" (neuron, row, P), whichever there are.
    weights : mapping
        For each of them (draw, neuron, P), with a last axis for families of several predictors.
    offset : (neuron, row) or None
    sites : mapping
        Learned parameters (draw, neuron, 1); known numbers of each row (neuron, row).
    y : (neuron, row)
    dt : float
    """
    eta = jnp.zeros(())
    if "shared" in columns:
        eta = eta + jnp.tensordot(columns["shared"], jnp.swapaxes(weights["shared"], 0, 1), axes=(1, 2))
    if "own" in columns:
        eta = eta + jnp.einsum("ntp,snp...->tns...", columns["own"], weights["own"])
    eta = eta if offset is None else eta + _rows_first(offset)
    eta = eta if family.predictors is None else eta @ family.predictors.contrast
    law = family(eta, {name: _rows_first(value) for name, value in sites.items()}, dt)
    found = law.log_prob(_rows_first(y))
    return jnp.broadcast_to(found, jnp.broadcast_shapes(found.shape, law.batch_shape))


@eqx.filter_jit
def moments_to_waic(family: AbstractFamily, columns: Any, mean: Any, root: Any, offset: Any, known: Any, y: Any, dt: Any) -> tuple[Any, Any]:
    """log E p(y | eta) and Var log p(y | eta), (row, neuron), for eta ~ Normal(x mean, |root x|^2): by quadrature.

    Parameters
    ----------
    family : AbstractFamily
        With one predictor and no learned parameters.
    columns : mapping
        As in ``log_probabilities``.
    mean : (neuron, P)
        Shared columns' weights first.
    root : (neuron, Q, P)
        root' root is the weights' covariance.
    offset, known, y, dt
        As there.
    """
    parts = [jnp.broadcast_to(columns["shared"], (len(mean), *columns["shared"].shape))] if "shared" in columns else []
    x = jnp.concatenate([*parts, *([columns["own"]] if "own" in columns else [])], -1)
    middle = jnp.einsum("ntp,np->nt", x, mean) + (0.0 if offset is None else offset)
    spread = jnp.sqrt(jnp.sum(jnp.einsum("nqp,ntp->qnt", root, x) ** 2, axis=0))
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = (weights / weights.sum())[:, None, None]
    log_prob = family(middle + nodes[:, None, None] * spread, known, dt).log_prob(y)
    first = jnp.sum(weights * log_prob, axis=0)
    variance = jnp.sum(weights * (log_prob - first) ** 2, axis=0)
    return jax.nn.logsumexp(log_prob, axis=0, b=weights).T, variance.T


def _rows_first(values: Any) -> Any:
    """([draw,] neuron, row, ...) -> (row, neuron, draw or 1, ...)."""
    values = jnp.asarray(values)
    return jnp.swapaxes(values[None] if values.ndim == 2 else values, 0, 2)
