"""The numbers that a summary lists: net effects, peaks, baselines, learned parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import xarray as xr

from bayesglm._convergence import existing, net_effects
from bayesglm._filters import eta_unit, filter_unit, kernels_of
from bayesglm._glm import GLM
from bayesglm._training import on_time_rows
from bayesglm.terms import Linear

if TYPE_CHECKING:
    from bayesglm._fit import Fit


NET, PEAK, WEIGHT = "net effect", "peak", "weight"


class Quantity(NamedTuple):
    """A number of each entry, with its draws; ``name`` is one of the three above or the site's."""

    term: str
    name: str
    units: str
    draws: xr.DataArray
    signed: bool  # whether a probability of sign means anything


def quantities(fit: Fit, weights: bool) -> Iterator[Quantity]:
    """Everything that a summary lists, in the posterior's order of terms."""
    posterior, unit = fit.posterior, eta_unit(fit.model)
    filtered, learned = net_effects(fit.model, posterior), _learned_sites(fit)
    for site in _in_order(fit):
        draws = existing(fit.model, site, posterior[site])
        if site in filtered:
            units = filter_unit(fit.model, site)
            yield Quantity(site, NET, f"{units}, summed over lags", existing(fit.model, site, filtered[site]), True)
            peak = f"{units}, at a lag in {'s' if on_time_rows(fit) else 'trials'}"
            yield Quantity(site, PEAK, peak, existing(fit.model, site, read(fit, site, PEAK, posterior)), True)
        elif site in learned:
            yield Quantity(site, site, "", draws, False)
        elif not _on_basis(draws):
            yield Quantity(site, site, _linear_unit(fit, site, unit), draws, True)
        if weights and _on_basis(draws):
            yield Quantity(site, WEIGHT, unit, draws, True)


def read(fit: Fit, term: str, name: str, draws: xr.Dataset) -> xr.DataArray:
    """A quantity of any draws of the fit's sites; the lag of a peak is the posterior's."""
    if name == NET:
        return net_effects(fit.model, draws)[term]
    if name != PEAK:
        return draws[term]
    kernels = kernels_of(fit, term)
    return xr.dot(draws[term], kernels.isel(lag=_peaks(fit, term, kernels)), dim=str(kernels.dims[-1]))


def _peaks(fit: Fit, term: str, kernels: xr.DataArray) -> xr.DataArray:
    """Where each filter's mean is largest in size; never the draws of whole filters."""
    mean = existing(fit.model, term, fit.posterior[term]).mean(("chain", "draw"))
    return abs(xr.dot(mean, kernels, dim=str(kernels.dims[-1]))).fillna(0.0).argmax("lag")


def _on_basis(draws: xr.DataArray) -> bool:
    """Whether single weights are those of basis functions, which mean little one by one."""
    return any(str(dim).endswith("_basis") for dim in draws.dims)


def _in_order(fit: Fit) -> list[str]:
    """Sites, the model's terms first as they were written, each followed by its learned parameters."""
    sites = [str(name) for name in fit.posterior.data_vars]
    terms = [term.name for term in getattr(fit.model, "terms", ()) if term.name in sites]
    owned = [site for term in terms for site in [term, *(s for s in sites if s.startswith(f"{term}_") and s not in terms)]]
    return list(dict.fromkeys([*owned, *sites]))


def _learned_sites(fit: Fit) -> set[str]:
    """Sites of scales and of the family's own parameters: positive, so that their sign says nothing."""
    model = fit.model
    if not isinstance(model, GLM):
        return {str(name) for name in fit.posterior.data_vars if str(name).endswith("_scale")}
    priors = {site for term in model.terms if term.prior is not None for site in term.prior.hyper(term.name)}
    return priors | set(model.family.hyper(model.response))


def _linear_unit(fit: Fit, site: str, unit: str) -> str:
    """Baselines are levels of the predictor, weights of a column are effects of its unit."""
    part = {term.name: term for term in getattr(fit.model, "terms", ())}.get(site)
    if isinstance(part, Linear):
        return f"{unit} per unit of {part.column}"
    return {"log-gain": "log of the expected number a bin"}.get(unit, unit) if site == "baseline" else ""
