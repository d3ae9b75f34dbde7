"""How a block's weights are sampled in the story: elements under their prior, turned, and spread over a family's classes."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from bayesglm._model import Block
from bayesglm.family._base import Predictors
from bayesglm.prior import AbstractPrior


class Turned(dist.Distribution):
    """The law of w = turn(u): u elementwise, times a rotation on trailing axes, plus a shift, over a family's classes.

    ``inside`` is the law of the elements, batch (neuron, *shape[, J]); rotation (B, B) acts on the flattened trailing axes
    where ``mask`` (neuron, *shape) holds, ``mixing`` (J, J) on the contrasts, ``shift`` (neuron[, J]) is added to them, and
    ``contrast`` (K, J) makes K weights of J.
    """

    pytree_data_fields = ("inside", "mask", "rotation", "mixing", "shift", "contrast")
    arg_constraints: ClassVar[dict] = {}

    def __init__(self, inside: Any, mask: Any, rotation: Any = None, mixing: Any = None, shift: Any = None, contrast: Any = None) -> None:
        self.inside, self.mask, self.rotation, self.mixing, self.shift, self.contrast = inside, mask, rotation, mixing, shift, contrast
        shape = jnp.shape(mask) + (() if contrast is None else (contrast.shape[0],))
        super().__init__(batch_shape=shape[:1], event_shape=shape[1:], validate_args=False)

    @property
    def support(self) -> Any:
        if self.contrast is None or self.contrast.shape[0] == self.contrast.shape[1]:
            return constraints.independent(constraints.real, len(self.event_shape))
        return constraints.independent(constraints.zero_sum(1), len(self.event_shape) - 1)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        w = self._rotated(self.inside.sample(key, sample_shape), self.rotation)
        w = w if self.mixing is None else w @ self.mixing.T
        w = w if self.shift is None else w + self.shift
        return w if self.contrast is None else w @ self.contrast.T

    def log_prob(self, value: Any) -> jax.Array:
        u = value if self.contrast is None else value @ self.contrast
        u = u if self.shift is None else u - self.shift
        u = u if self.mixing is None else u @ jnp.linalg.inv(self.mixing).T
        u = self._rotated(u, None if self.rotation is None else jnp.linalg.inv(self.rotation))
        density = self.inside.log_prob(u)
        return density.reshape(*density.shape[: density.ndim - self.inside.batch_shape.__len__() + 1], -1).sum(-1) - self._log_volume()

    def _rotated(self, u: Any, rotation: Any) -> Any:
        """R on the trailing axes, where there are weights."""
        if rotation is None:
            return u
        classes = 1 if self.contrast is None else self.contrast.shape[1]
        rows = u.reshape(*u.shape[: u.ndim - len(self.inside.batch_shape)], -1, rotation.shape[0], classes)
        turned = jnp.einsum("ab,...bj->...aj", rotation, rows).reshape(u.shape)
        return jnp.where(self.mask if self.contrast is None else self.mask[..., None], turned, u)

    def _log_volume(self) -> Any:
        """Sum of log |det| of the turns of one neuron's weights, (neuron,)."""
        each = jnp.asarray(self.mask).reshape(self.mask.shape[0], -1).sum(-1) * 1.0
        classes = 1 if self.contrast is None else self.contrast.shape[1]
        total = jnp.zeros(())
        if self.rotation is not None:
            total = total + each * classes / self.rotation.shape[0] * jnp.linalg.slogdet(self.rotation)[1]
        if self.mixing is not None:
            total = total + jnp.asarray(self.mask)[0].size * jnp.linalg.slogdet(self.mixing)[1]
        return total


def law_of_weights(prior: AbstractPrior, given: dict[str, Any], mask: Any, shift: Any, predictors: Predictors | None) -> dist.Distribution:
    """The law of a block's weights, batch (neuron,), event (*shape[, K]).

    Parameters
    ----------
    prior : AbstractPrior
    given : mapping
        Its learned parameters.
    mask : (neuron, *shape) bool
    shift : (neuron[, J]) or None
        Added to a centred baseline.
    predictors : Predictors or None
        Of the family, where there are several.
    """
    contrast = None if predictors is None else np.asarray(predictors.contrast)
    wide = mask if contrast is None else jnp.broadcast_to(mask[..., None], (*mask.shape, contrast.shape[1]))
    inside = prior.weights(given, wide)
    rotation, mixing = prior.rotation(), None if contrast is None else prior.class_rotation(contrast)
    if rotation is None and contrast is None:
        events = jnp.ndim(mask) - 1
        inside = inside if shift is None else dist.TransformedDistribution(inside, dist.transforms.AffineTransform(shift, 1.0))
        return inside.to_event(events)
    return Turned(inside, mask, rotation, mixing, shift, contrast)


def event_dims(law: dist.Distribution, dims: tuple[str, ...], shape: tuple[int, ...]) -> list[str]:
    """Dims of a learned parameter: those of the block whose leading sizes it has."""
    events = tuple(law.event_shape)
    return list(dims[: len(events)]) if events and events == tuple(shape[: len(events)]) else []


def added(block: Block, w: Any) -> Any:
    """Columns times weights: (row, neuron), or (row, neuron, K) of a family with several predictors."""
    size, classes = w.shape[0], w.shape[block.mask.ndim :]
    w = (w * block.mask.reshape(*block.mask.shape, *(1,) * len(classes))).reshape(size, -1, *classes)
    if block.shared is not None:
        return jnp.einsum("tp,np...->tn...", block.shared.reshape(block.shared.shape[0], -1), w)
    return jnp.einsum("ntp,np...->tn...", block.own.reshape(*block.own.shape[:2], -1), w)


def at_average(block: Block, w: Any, centre: Any) -> Any:
    """What a block adds to eta at the average of its columns, (neuron[, K])."""
    size, classes = w.shape[0], w.shape[block.mask.ndim :]
    weighted = (block.mask * centre).reshape(size, -1)
    return jnp.einsum("np,np...->n...", weighted, w.reshape(size, -1, *classes))
