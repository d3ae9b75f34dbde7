"""Scales that neurons share: what one cell's filters say about how large another's are."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from bayesglm.prior._base import Hyper, Place, from_left
from bayesglm.prior._scale import checked_scale, describe_scale
from bayesglm.prior._simple import AbstractNormal

_SPREAD = 0.5  # prior scale of the sd of log tau over neurons: most within a factor of two or three


class Hierarchical(AbstractNormal):
    """Gaussian prior whose scale is learned from all neurons together: w_nj ~ Normal(0, tau^2), one posterior of all of them.

    ``over="neuron"``: one tau (site ``<name>_scale``). With ``partial=True`` neurons differ around it: tau_n = tau *
    exp(s z_n), z_n ~ Normal(0, 1) (``<name>_deviation``), s ~ HalfNormal(0.5) (``<name>_spread``). ``over="area"``: one
    tau for each pair of a receiver's and a source's area (``<name>_scale``, (area, area)), shared by the cells of the
    area; for terms without sources one an area.

    Parameters
    ----------
    over : "neuron" or "area"
        Areas are the recording's coordinate ``area (neuron)``: ``bg.recording(..., labels={"area": [...]})``.
    scale : numpyro Distribution
        Prior of each tau; default HalfNormal(1).
    partial : bool
        Whether neurons have scales of their own around the shared one.

    Raises
    ------
    ValueError
        A number as the scale (there is nothing to pool); by ``fit``: ``over="area"`` where the recording has no areas.

    References
    ----------
    Gelman 2006, Prior distributions for variance parameters in hierarchical models.

    Examples
    --------
    >>> from bayesglm import prior
    >>> prior.Hierarchical("area").describe()
    "Hierarchical('area', HalfNormal(1))"
    """

    over: str = eqx.field(default="neuron", static=True)
    scale: Distribution = eqx.field(default_factory=lambda: dist.HalfNormal(1.0), converter=checked_scale)
    partial: bool = eqx.field(default=False, static=True)
    relative: Any = eqx.field(default=1.0, kw_only=True)
    receivers: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) index of each receiver's area
    sources: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (source,) index of each source's area
    areas: tuple[tuple, ...] | None = eqx.field(default=None, static=True, kw_only=True)  # names of the receivers' areas and the sources'
    behind: int = eqx.field(default=0, static=True, kw_only=True)  # axes of the block behind that of the sources

    def __check_init__(self) -> None:
        if self.over not in ("neuron", "area"):
            raise ValueError(f"prior.Hierarchical(over={self.over!r}): scales are pooled over 'neuron' or 'area'.")
        if isinstance(self.scale, (int, float, str)):
            raise ValueError(f"prior.Hierarchical(scale={self.scale!r}): a pooled scale is learned; give its prior, such as numpyro's HalfNormal(1.0).")
        if self.partial and self.over != "neuron":
            raise ValueError("prior.Hierarchical(partial=True) is for over='neuron'; areas differ as they are.")

    def resolve(self, place: Place) -> Self:
        if self.over != "area" or self.areas is not None:
            return self
        if place.areas is None:
            raise ValueError(
                f"prior.Hierarchical('area') on {place.name!r}: the response's neurons have no areas. Give the recording their names, "
                f"bg.recording(..., labels={{'area': [...]}}), or use prior.Hierarchical('neuron')."
            )
        to, receivers = np.unique(np.asarray(place.areas), return_inverse=True)
        if "area" not in place.coords:
            return dataclasses.replace(self, receivers=receivers, areas=(tuple(to.tolist()),))
        names, sources = np.unique(np.asarray(place.coords["area"]), return_inverse=True)
        behind = len(place.shape) - 1 - place.dims.index("source") + (place.several > 1)
        return dataclasses.replace(self, receivers=receivers, sources=sources, areas=(tuple(to.tolist()), tuple(names.tolist())), behind=behind)

    def hyper(self, name: str) -> dict[str, tuple[Distribution, bool]]:
        if self.over == "area" and self.areas is None:
            raise ValueError("prior.Hierarchical('area') is not resolved: the areas are known on a model's data (model.resolve(data)).")
        sizes = tuple(len(names) for names in self.areas or ())
        sites = {f"{name}_scale": (self.scale.expand(sizes).to_event(len(sizes)) if sizes else self.scale, False)}
        if self.partial:
            sites |= {f"{name}_spread": (dist.HalfNormal(_SPREAD), False), f"{name}_deviation": (dist.Normal(0.0, 1.0), True)}
        return sites

    def known(self) -> dict[str, np.ndarray]:
        return {} if self.receivers is None else {"receiver": self.receivers}

    def hyper_coords(self, name: str) -> dict[str, dict[str, np.ndarray]]:
        """Dims of learned parameters that have axes of their own, with labels: site -> {dim: labels}."""
        return {} if self.areas is None else {f"{name}_scale": {dim: np.asarray(a) for dim, a in zip(("area_to", "area_from"), self.areas, strict=False)}}

    def relative_to(self, relative: np.ndarray | float) -> Self:
        return dataclasses.replace(self, relative=np.asarray(relative, float))

    def width(self, hyper: Hyper, mask: Any) -> Any:
        scale = jnp.asarray(hyper["scale"])
        if self.partial:
            scale = scale * jnp.exp(hyper["spread"] * jnp.asarray(hyper["deviation"]))
        if self.over == "area":
            scale = scale[jnp.asarray(hyper["receiver"])]
        if self.sources is not None:
            scale = scale[..., self.sources]
            scale = scale.reshape(scale.shape + (1,) * self.behind)
        else:
            scale = from_left(scale, jnp.ndim(mask))
        return jnp.where(mask, scale * self.relative, 1.0)

    def describe(self) -> str:
        return f"Hierarchical({self.over!r}, {describe_scale(self.scale)}{', partial' if self.partial else ''})"
