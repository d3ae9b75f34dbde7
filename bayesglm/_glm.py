"""The generalized linear model: a sum of terms, a family, a response."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr

from bayesglm._data import bin_width, neurons, period, require_column, row_dim
from bayesglm._model import AbstractModel, Block, Design
from bayesglm.family import AbstractFamily, Poisson
from bayesglm.prior._base import site_values
from bayesglm.terms import AbstractTerm, Offset, Response, Sum
from bayesglm.terms._lagged import AbstractLagged

if TYPE_CHECKING:
    from bayesglm.engine.linear import Linear


def _as_sum(terms: Sum | AbstractTerm) -> Sum:
    return terms if isinstance(terms, Sum) else Sum(terms)


class GLM(AbstractModel):
    """Generalized linear model: y_n(t) ~ family(eta_n(t)), eta_n(t) = sum of the terms.

    Parameters
    ----------
    terms : Sum or AbstractTerm
        ``Baseline() + Stimulus(...) + History(...)``; leaving a ``+`` out is a model comparison.
    family : AbstractFamily
    response : str
        Column to explain: ``spikes`` (row, neuron), or any (row,) column such as a choice.
    neurons : sequence of labels, optional
        Receivers; all recorded neurons stay sources.

    Raises
    ------
    ValueError
        By ``fit``: an unknown column or neuron, a response that the family cannot give.

    References
    ----------
    Truccolo et al. 2005; Pillow et al. 2008; McCullagh & Nelder 1989.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm import basis
    >>> model = bg.GLM(bg.Baseline() + bg.History(basis.RaisedCosine(4, span=0.05)))
    >>> [term.name for term in model.terms]
    ['baseline', 'history']
    """

    terms: Sum = eqx.field(converter=_as_sum)
    family: AbstractFamily = eqx.field(default_factory=Poisson)
    response: str = eqx.field(default="spikes", static=True)
    neurons: tuple | None = eqx.field(default=None, static=True, converter=lambda n: None if n is None else tuple(n))
    target: Response | None = eqx.field(default=None, kw_only=True)
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) link of the training mean
    spread: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) training sd

    def resolve(self, data: xr.Dataset) -> GLM:
        if self.target is not None:
            return self
        column = require_column(data, self.response, "GLM(response=)")
        self._check_angle(data)
        target = self._target(data, column)
        values = target.values(data)
        seen = _finite(values, target.observed(data))
        family = self.family.resolve(self.response, values[seen] if values.dtype.kind == "f" else values)
        terms = Sum(*(term.resolve(data, target) for term in self.terms))
        level, spread = _level_and_spread(values, seen, family)
        return dataclasses.replace(self, terms=terms, family=family, target=target, level=level, spread=spread)

    def _check_angle(self, data: xr.Dataset) -> None:
        if period(data, self.response) is not None and type(self.family).__name__ == "Gaussian":
            raise ValueError(
                f"{self.response!r} is an angle (period {period(data, self.response):g}): 359 and 1 degree are close, and family.Gaussian does "
                f"not know it. Explain its cosine and sine, each as a Gaussian response."
            )

    def _target(self, data: xr.Dataset, column: xr.DataArray) -> Response:
        everyone = tuple(neurons(data).tolist()) if "neuron" in data.dims else ()
        receivers = None
        if "neuron" in column.dims:
            receivers = everyone if self.neurons is None else self.neurons
            unknown = [label for label in receivers if label not in everyone]
            if unknown:
                raise ValueError(f"GLM(neurons={list(receivers)}): the recording has no {unknown}; it has {list(everyone)[:12]}.")
        elif self.neurons is not None:
            raise ValueError(f"GLM(neurons=): the response {self.response!r} has no dim 'neuron'; leave neurons out.")
        elif column.dims != (row_dim(data),):
            raise ValueError(f"The response {self.response!r} has dims {column.dims}; it wants ({row_dim(data)},) or ({row_dim(data)}, neuron).")
        if column.dtype.kind not in "biuf":
            raise ValueError(f"The response {self.response!r} holds {column.dtype} values; it wants numbers: code two categories as 0 and 1.")
        spiking = self.family.counts or self.family.discrete
        return Response(self.response, receivers, everyone, bin_width(data), spiking)

    def design(self, data: xr.Dataset) -> Design:
        if self.target is None:
            return self.resolve(data).design(data)
        if abs(bin_width(data) - self.target.dt) > 1e-9 * self.target.dt:
            raise ValueError(f"The recording's dt is {bin_width(data):g} s, the model was resolved at {self.target.dt:g} s: bin both alike.")
        rows, parts = data.sizes[row_dim(data)], {term.name: term.columns(data, self.target) for term in self.terms}
        invalid: dict[str, np.ndarray] = {}
        for reason, flags in (pair for part in parts.values() for pair in part.invalid.items()):
            invalid[reason] = invalid.get(reason, False) | flags  # two terms may read one column
        offset = _offset(self.terms, parts, self.target.size)
        each: dict[str, Any] = {"cells": self._cells()} | ({} if offset is None else {"offset": offset})
        if self.response in data:
            values = self.target.values(data)
            seen = _finite(values, self.target.observed(data))
            if not seen.all():
                invalid["the response is unobserved"] = ~seen.T
            each["response"] = np.where(seen, values, 0).T if not seen.all() else values.T
        linear = {term.name: parts[term.name] for term in self.terms if not isinstance(term, Offset)}
        each["own"] = {name: part.own for name, part in linear.items() if part.own is not None}
        scored, own_scored, report = _scored(invalid, rows, self.target.size)
        if own_scored is not None:
            each["scored"] = own_scored
        return Design({name: part.shared for name, part in linear.items() if part.shared is not None}, each, scored, report)

    def _cells(self) -> dict[str, Any]:
        """Arrays that a neuron has but a row has not: masks, centres of its own columns, level and spread."""
        weighted = [term for term in self.terms if not isinstance(term, Offset)]
        masks = {term.name: term.exists(self.target) for term in weighted}
        centres = {term.name: np.broadcast_to(term.centre, masks[term.name].shape) for term in weighted}
        return {"mask": masks, "centre": centres, "level": self.level, "spread": self.spread}

    def blocks(self, design: Design) -> tuple[Block, ...]:
        """The linear parts, baseline last so that its prior may be centred at the others' means."""
        weighted = sorted((t for t in self.terms if not isinstance(t, Offset)), key=lambda term: (term.shape == () and term.name == "baseline", term.name))
        own, masks = design.each["own"], design.each["cells"]["mask"]
        return tuple(Block(t.name, t.dims, design.shared.get(t.name), own.get(t.name), masks[t.name], t.prior) for t in weighted)

    def __call__(self, design: Design) -> None:
        cells, size = design.each["cells"], design.size
        eta = design.each["offset"].T if "offset" in design.each else jnp.zeros((design.rows, size))
        level = jnp.zeros(size)  # eta at the average of the columns, baseline left out
        with numpyro.plate("neuron", size, dim=-1):
            for block in self.blocks(design):
                centred = block.name == "baseline" and self.terms["baseline"].centred
                w = self._weights(block, cells["level"] - level if centred else None)
                eta = eta + _product(block, w)
                level = level + (block.mask * w * cells["centre"][block.name]).reshape(size, -1).sum(-1)
            hyper = {site: numpyro.sample(site, p) for site, (p, _) in self.family.hyper(self.response, cells["spread"]).items()}
            weight = jnp.broadcast_to(design.weight(), eta.shape)
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=weight > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample(self.response, self.family(eta, hyper, self.target.dt), obs=observed)

    def _weights(self, block: Block, shift: Any) -> Any:
        """Sample one block's learned scale and its weights (neuron, *shape)."""
        sites = {site: numpyro.sample(site, p) for site, (p, _) in block.prior.hyper(block.name).items()}
        law = block.prior.weights(site_values(block.prior, block.name, sites), block.mask)
        if shift is not None:
            law = numpyro.distributions.TransformedDistribution(law, numpyro.distributions.transforms.AffineTransform(shift, 1.0))
        return numpyro.sample(block.name, law.to_event(len(block.dims)), infer={"event_dims": list(block.dims)})

    def linear(self, design: Design) -> Linear | None:
        from bayesglm.engine.linear import linear_of_blocks

        baseline = any(term.name == "baseline" and getattr(term, "centred", False) for term in self.terms)
        return linear_of_blocks(self.blocks(design), design, self.family, self.response, self.target.dt, baseline)

    def coords(self) -> dict[str, np.ndarray]:
        labels = {} if self.target.receivers is None else {"neuron": np.asarray(self.target.receivers)}
        for term in self.terms:
            labels |= term.coords()
        return labels

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        return {f"{t.name}_kernels": ((f"{t.name}_lag", t.basis_dim), np.asarray(t.kernels)) for t in self.terms if isinstance(t, AbstractLagged)}

    def masks(self) -> dict[str, np.ndarray]:
        return {t.name: t.exists(self.target) if self.has_neurons else t.exists(self.target)[0] for t in self.terms if not isinstance(t, Offset)}

    def constant_coords(self) -> dict[str, np.ndarray]:
        lagged = [term for term in self.terms if isinstance(term, AbstractLagged)]
        return {f"{t.name}_lag": t.lags for t in lagged} | {t.basis_dim: np.asarray(t.basis.labels) for t in lagged}

    def observed_site(self) -> str:
        return self.response

    @property
    def has_neurons(self) -> bool:
        return self.target is None or self.target.receivers is not None


def _product(block: Block, w: Any) -> Any:
    """Columns times weights: (row, neuron)."""
    w = (w * block.mask).reshape(w.shape[0], -1)
    if block.shared is not None:
        return block.shared.reshape(block.shared.shape[0], -1) @ w.T
    return jnp.einsum("ntp,np->tn", block.own.reshape(*block.own.shape[:2], -1), w)


def _finite(values: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
    """(row, neuron) bool: the response is known there."""
    seen = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    return seen if observed is None else seen & observed


def _level_and_spread(values: np.ndarray, seen: np.ndarray, family: AbstractFamily) -> tuple[np.ndarray, np.ndarray]:
    """Link of the training mean, and the training sd, of each neuron. A silent one counts half a spike."""
    n = np.maximum(seen.sum(0), 1)
    mean = np.where(seen, values, 0).sum(0, dtype=float) / n
    spread = np.sqrt(np.where(seen, (values - mean) ** 2, 0.0).sum(0) / n)
    if family.discrete:
        mean = np.clip(mean, 0.5 / n, None if family.counts else 1.0 - 0.5 / n)
    return family.level(mean), np.where(spread > 0, spread, 1.0)


def _offset(terms: Sum, parts: dict[str, Any], size: int) -> np.ndarray | None:
    """Sum of the offsets (neuron, row), or None."""
    found = [parts[term.name] for term in terms if isinstance(term, Offset)]
    if not found:
        return None
    return sum(part.own if part.own is not None else np.broadcast_to(part.shared, (size, part.shared.size)) for part in found)


def _scored(invalid: dict[str, np.ndarray], rows: int, size: int) -> tuple[np.ndarray, np.ndarray | None, tuple]:
    """(row,) and, where neurons differ, (neuron, row); with the count of rows left out, by reason."""
    scored, own = np.ones(rows), None
    report = []
    for reason, flags in invalid.items():
        flags = flags[0] if flags.ndim == 2 and (size == 1 or (flags == flags[:1]).all()) else flags
        if flags.ndim == 1:
            scored = scored * ~flags
        else:
            own = ~flags if own is None else own & ~flags
        report.append((reason, int(flags.sum() if flags.ndim == 1 else np.ceil(flags.sum() / size))))
    return scored, None if own is None else own.astype(float), tuple((why, n) for why, n in report if n)
