"""The log likelihood measured from the mode, so that single precision is enough."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bayesglm.engine.by_rows import summed
from bayesglm.engine.elements import spread_out
from bayesglm.engine.linear import Linear


def centre_at(linear: Linear, each: Any, w: Any, hyper: Any) -> dict[str, Any]:
    """What is known at the mode of one neuron: w (P,), eta (row,) in single, and the gradient (P,) in double."""
    eta = linear.eta(each, w)
    pull = jax.grad(lambda e: linear.log_likelihood_of(each, e, hyper))(eta)
    gradient = linear.pull(each, pull)
    return {"w": w, "eta": eta.astype(jnp.float32), "gradient": gradient}


def centred_log_likelihood(single: Linear, each: Any, centre: Any, w: Any) -> Any:
    """log p(y | w) - log p(y | mode): the linear part in double, the rest in single and summed in double.

    log p(y | eta0 + d) - log p(y | eta0) = g.(w - w0) + sum_t r_t(d_t), d = Z (w - w0); r is of second order in d, so
    that nothing large cancels.
    """
    move, each = w - centre["w"], each | {"eta": centre["eta"]}
    rest = summed(move, _remainder, single, each) if single.chunk else _remainder(move, single, each)
    return centre["gradient"] @ move + rest


def _remainder(move: Any, single: Linear, each: Any) -> Any:
    """sum_t r_t(d_t) for d = Z move."""
    change = single.predictor.eta(spread_out(single, each, move.astype(jnp.float32)), each.get("own"))
    weight = single.weight(each)
    y = each["response"].astype(jnp.float32)
    rest = single.family.remainder(jnp.where(weight > 0, each["eta"], 0.0), change, y, {}, single.dt)
    return jnp.sum(jnp.where(weight > 0, rest, 0.0), dtype=move.dtype)
