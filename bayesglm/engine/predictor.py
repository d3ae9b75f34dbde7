"""The linear predictor as an operator on weights: the only place that sees the columns."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

_CHUNK = 4096  # rows of a Gram product held at once


class AbstractPredictor(eqx.Module):
    """Columns that all neurons share, as an operator; ``own`` are one neuron's own columns (own column, row) or None."""

    def eta(self, w: Any, own: Any) -> Any:
        """(P,) weights -> (row,) predictor. Callers vmap; XLA makes one matrix product of it."""
        raise NotImplementedError

    def pull(self, r: Any, own: Any) -> Any:
        """(row,) -> (P,): the transpose of ``eta``."""
        raise NotImplementedError

    def gram(self, m: Any, own: Any) -> Any:
        """(C, row) row weights -> (C, P, P) weighted Gram matrices; chunked over rows and C, never vmapped."""
        raise NotImplementedError

    def squares(self, root: Any, own: Any) -> Any:
        """(Q, P) -> (row,) |root z_t|^2: leverages where root'root is an inverse Hessian; chunked over rows."""
        raise NotImplementedError

    def diagonal(self, m: Any, own: Any) -> Any:
        """(row,) row weights -> (P,) diagonal of the weighted Gram matrix; chunked over rows."""
        raise NotImplementedError


class DensePredictor(AbstractPredictor):
    """Columns held as a matrix, features-major: (shared column, row)."""

    columns: Any

    def eta(self, w: Any, own: Any) -> Any:
        n = self.columns.shape[0]
        eta = w[:n] @ self.columns
        return eta if own is None else eta + w[n:] @ own

    def pull(self, r: Any, own: Any) -> Any:
        shared = self.columns @ r
        return shared if own is None else jnp.concatenate([shared, own @ r])

    def gram(self, m: Any, own: Any) -> Any:
        if own is None:
            return jax.lax.map(lambda m_n: self._gram(m_n, None), m)
        return jax.lax.map(lambda pair: self._gram(*pair), (m, own))

    def squares(self, root: Any, own: Any) -> Any:
        return self._by_rows(lambda part, _: jnp.sum((root @ part) ** 2, axis=0), own, jnp.zeros(self.columns.shape[1], root.dtype))

    def diagonal(self, m: Any, own: Any) -> Any:
        shared = (self.columns**2) @ m  # the square is fused into the product's loop, not held
        return shared if own is None else jnp.concatenate([shared, (own**2) @ m])

    def _by_rows(self, apply: Any, own: Any, out: Any) -> Any:
        """``apply(columns of a chunk, its first row)`` -> one number a row, chunk after chunk."""
        rows = self.columns.shape[1]
        length = min(_CHUNK, rows)

        def piece(i: Any, out: Any) -> Any:
            start = jnp.minimum(i * length, rows - length)  # the last chunk overlaps the one before
            part = jax.lax.dynamic_slice_in_dim(self.columns, start, length, 1)
            if own is not None:
                part = jnp.concatenate([part, jax.lax.dynamic_slice_in_dim(own, start, length, 1)])
            return jax.lax.dynamic_update_slice_in_dim(out, apply(part, start), start, 0)

        return jax.lax.fori_loop(0, -(-rows // length), piece, out)

    def _gram(self, m: Any, own: Any) -> Any:
        """One neuron's weighted Gram matrix, summed over chunks of rows."""
        rows = self.columns.shape[1]
        size = self.columns.shape[0] + (0 if own is None else own.shape[0])
        whole = rows // _CHUNK

        def piece(start: Any, length: int) -> Any:
            part = jax.lax.dynamic_slice_in_dim(self.columns, start, length, 1)
            if own is not None:
                part = jnp.concatenate([part, jax.lax.dynamic_slice_in_dim(own, start, length, 1)])
            return (part * jax.lax.dynamic_slice_in_dim(m, start, length)) @ part.T

        total = jnp.zeros((size, size), self.columns.dtype)
        if whole:  # a body is traced even where it never runs, and a slice longer than the recording does not trace
            total = jax.lax.fori_loop(0, whole, lambda i, acc: acc + piece(i * _CHUNK, _CHUNK), total)
        return total + piece(whole * _CHUNK, rows - whole * _CHUNK) if rows % _CHUNK else total
