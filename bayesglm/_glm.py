"""The generalized linear model: a sum of terms, a family, a response."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr

from bayesglm._data import bin_width, given_labels, neurons, period, require_column, row_dim
from bayesglm._glm_parts import finite, level_and_spread, placed, scored_rows, summed_offset
from bayesglm._model import AbstractModel, Block, Design
from bayesglm._story import added, at_average, event_dims, law_of_weights
from bayesglm.family import AbstractFamily, Poisson
from bayesglm.prior._base import site_values
from bayesglm.prior._scale import by_folds
from bayesglm.terms import AbstractTerm, Offset, Response, Sum

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
    neurons: tuple | None = eqx.field(default=None, static=True, converter=given_labels)
    target: Response | None = eqx.field(default=None, kw_only=True)
    level: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) link of the training mean
    spread: np.ndarray | None = eqx.field(default=None, kw_only=True)  # (neuron,) training sd
    chosen: tuple[str, ...] = eqx.field(default=(), static=True, kw_only=True)  # what is to be said of scales chosen by folds

    def resolve(self, data: xr.Dataset) -> GLM:
        if self.target is not None:
            return self
        column = require_column(data, self.response, "GLM(response=)")
        self._check_angle(data)
        target = self._target(data, column)
        values = target.values(data)
        seen = finite(values, target.observed(data))
        family = self.family.resolve(self.response, values[seen] if values.dtype.kind == "f" else values, period(data, self.response), self.family.known(data))
        self._check_terms(family)
        terms = Sum(*(placed(term, data, target, family) for term in self.terms.resolve(data, target)))
        level, spread = level_and_spread(values, seen, family)
        made = dataclasses.replace(self, terms=terms, family=family, target=target, level=level, spread=spread)
        return self._with_scales(made, data) if any(by_folds(term.prior) for term in terms) else made

    def _with_scales(self, made: GLM, data: xr.Dataset) -> GLM:
        from bayesglm._comparing._by_folds import with_scales

        return with_scales(self, made, data)

    def _check_angle(self, data: xr.Dataset) -> None:
        if period(data, self.response) is not None and not hasattr(self.family, "circle"):
            raise ValueError(
                f"{self.response!r} is an angle (period {period(data, self.response):g}): 359 and 1 degree are close, and family.{self.family.describe()} "
                f"does not know it. Use family.VonMises(), or family.LinearCircular(), least squares on its cosine and sine."
            )

    def _check_terms(self, family: AbstractFamily) -> None:
        if family.predictors is not None and any(isinstance(term, Offset) for term in self.terms):
            raise ValueError(f"{family.describe()} has {family.n_predictors} predictors a response: an Offset cannot say to which it is added. Leave it out.")
        if getattr(family, "own_constant", False) and any(term.name == "baseline" for term in self.terms):
            raise ValueError(f"{family.describe()} has cutpoints, which are its constant: a Baseline would move with them. Leave Baseline() out.")
        clash = sorted({term.name for term in self.terms} & set(family.hyper(self.response)))
        if clash:
            raise ValueError(f"{family.describe()} learns parameters named {clash}, as terms are: give the term another name, as in name='{clash[0]}_effect'.")

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
        binary = self.family.discrete and not self.family.counts and set(np.unique(column.values[~np.isnan(column.values)])) <= {0, 1}
        return Response(self.response, receivers, everyone, bin_width(data), spiking, binary, self.family.own_unit)

    def design(self, data: xr.Dataset) -> Design:
        if self.target is None:
            return self.resolve(data).design(data)
        if abs(bin_width(data) - self.target.dt) > 1e-9 * self.target.dt:
            raise ValueError(f"The recording's dt is {bin_width(data):g} s, the model was resolved at {self.target.dt:g} s: bin both alike.")
        rows, parts = data.sizes[row_dim(data)], {term.name: term.columns(data, self.target) for term in self.terms}
        invalid: dict[str, np.ndarray] = {}
        for reason, flags in (pair for part in parts.values() for pair in part.invalid.items()):
            invalid[reason] = invalid.get(reason, False) | flags  # two terms may read one column
        offset = summed_offset(self.terms, parts, self.target.size)
        each: dict[str, Any] = {"cells": self._cells()} | ({} if offset is None else {"offset": offset})
        if self.response in data:
            values = self.target.values(data)
            seen = finite(values, self.target.observed(data))
            if not seen.all():
                invalid["the response is unobserved"] = ~seen.T
            each["response"] = np.where(seen, values, 0).T if not seen.all() else values.T
        linear = {term.name: parts[term.name] for term in self.terms if not isinstance(term, Offset)}
        each["own"] = {name: part.own for name, part in linear.items() if part.own is not None}
        known = self.family.known(data)
        if known:
            each["known"] = {
                name: np.broadcast_to(values if values.ndim == 1 else values.T[self.target.places(data)], (self.target.size, rows))
                for name, values in known.items()
            }
        scored, own_scored, report = scored_rows(invalid, rows, self.target.size)
        if own_scored is not None:
            each["scored"] = own_scored
        return Design({name: part.shared for name, part in linear.items() if part.shared is not None}, each, scored, report)

    def _cells(self) -> dict[str, Any]:
        """Arrays that a neuron has but a row has not: masks, centres of its own columns, level and spread."""
        weighted = [term for term in self.terms if not isinstance(term, Offset)]
        masks = {term.name: term.exists(self.target) for term in weighted}
        centres = {term.name: np.broadcast_to(term.centre, masks[term.name].shape) for term in weighted}
        about = {term.name: known for term in weighted if (known := term.prior.known())}
        return {"mask": masks, "centre": centres, "level": self.level, "spread": self.spread} | ({"about": about} if about else {})

    def blocks(self, design: Design) -> tuple[Block, ...]:
        """The linear parts, baseline last so that its prior may be centred at the others' means."""
        weighted = sorted((t for t in self.terms if not isinstance(t, Offset)), key=lambda term: (term.shape == () and term.name == "baseline", term.name))
        own, masks = design.each["own"], design.each["cells"]["mask"]
        return tuple(Block(t.name, t.dims, design.shared.get(t.name), own.get(t.name), masks[t.name], t.prior) for t in weighted)

    def __call__(self, design: Design) -> None:
        cells, size = design.each["cells"], design.size
        predictors = self.family.predictors
        several = () if predictors is None else (len(predictors.labels),)
        eta = design.each["offset"].T if "offset" in design.each else jnp.zeros((design.rows, size, *several))
        level = jnp.zeros((size, *several))  # eta at the average of the columns, baseline left out
        blocks = self.blocks(design)
        shared = {site: value for block in blocks for site, value in self._learned(block, False).items()}
        with numpyro.plate("neuron", size, dim=-1):
            for block in blocks:
                centred = block.name == "baseline" and self.terms["baseline"].centred
                shift = cells["level"] - (level if predictors is None else level @ predictors.contrast) if centred else None
                w = self._weights(block, shift, cells.get("about", {}).get(block.name), shared)
                eta = eta + added(block, w)
                level = level + at_average(block, w, cells["centre"][block.name])
            hyper = {site: numpyro.sample(site, p) for site, (p, _) in self.family.hyper(self.response, cells["spread"]).items()}
            hyper |= {name: value.T for name, value in design.each.get("known", {}).items()}
            eta = eta if predictors is None else eta @ predictors.contrast
            weight = jnp.broadcast_to(design.weight(), eta.shape[:2])
            with numpyro.plate("row", design.rows, dim=-2), numpyro.handlers.mask(mask=weight > 0):
                observed = design.each["response"].T if "response" in design.each else None
                numpyro.sample(self.response, self.family(eta, hyper, self.target.dt), obs=observed)

    def _weights(self, block: Block, shift: Any, about: Any, shared: dict[str, Any]) -> Any:
        """Sample one block's learned scale and its weights (neuron, *shape[, K])."""
        predictors, sites = self.family.predictors, shared | self._learned(block, True)
        law = law_of_weights(block.prior, site_values(block.prior, block.name, sites, about), block.mask, shift, predictors)
        dims = [*block.dims] + ([] if predictors is None else [predictors.dim])
        return numpyro.sample(block.name, law, infer={"event_dims": dims})

    def _learned(self, block: Block, alone: bool) -> dict[str, Any]:
        """Sample one block's learned parameters: those of each neuron, or those that all share."""
        named = block.prior.hyper_coords(block.name)
        laws = {site: law for site, (law, own) in block.prior.hyper(block.name).items() if own == alone}
        dims = {site: list(named.get(site, {})) or event_dims(law, block.dims, block.mask.shape[1:]) for site, law in laws.items()}
        return {site: numpyro.sample(site, law, infer={"event_dims": dims[site]}) for site, law in laws.items()}

    def linear(self, design: Design) -> Linear | None:
        from bayesglm.engine.from_blocks import linear_of_blocks

        baseline = any(term.name == "baseline" and getattr(term, "centred", False) for term in self.terms)
        return linear_of_blocks(self.blocks(design), design, self.family, self.response, self.target.dt, baseline)

    def coords(self) -> dict[str, np.ndarray]:
        labels = {} if self.target.receivers is None else {"neuron": np.asarray(self.target.receivers)}
        for term in self.terms:
            labels |= term.coords()
            for named in () if term.prior is None else term.prior.hyper_coords(term.name).values():
                labels |= named
        predictors = self.family.predictors
        return labels if predictors is None else labels | {predictors.dim: np.asarray(predictors.labels)}

    def constants(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        return {name: known for term in self.terms for name, known in term.constants().items()}

    def masks(self) -> dict[str, np.ndarray]:
        found = {t.name: t.exists(self.target) if self.has_neurons else t.exists(self.target)[0] for t in self.terms if not isinstance(t, Offset)}
        if self.family.predictors is None:
            return found
        classes = len(self.family.predictors.labels)
        return {name: np.broadcast_to(mask[..., None], (*mask.shape, classes)) for name, mask in found.items()}

    def constant_coords(self) -> dict[str, np.ndarray]:
        return {dim: labels for term in self.terms for dim, labels in term.constant_coords().items()}

    def observed_site(self) -> str:
        return self.response

    @property
    def has_neurons(self) -> bool:
        return self.target is None or self.target.receivers is not None
