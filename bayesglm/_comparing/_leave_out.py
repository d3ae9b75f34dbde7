"""Leaving units out of a mode and its Hessian by one Newton step: no draws, no importance weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky, solve_triangular
from scipy.special import logsumexp

from bayesglm._comparing._cut import Cut
from bayesglm._comparing._pointwise import Figures, Manner
from bayesglm._likelihood import Source
from bayesglm._model import padded_size
from bayesglm.engine.columns import DENSEST
from bayesglm.engine.laplace import approximate, kinks
from bayesglm.engine.linear import Linear
from bayesglm.method import Laplace
from bayesglm.method._base import arrays

if TYPE_CHECKING:
    from bayesglm._fit import Fit

_NODES = 32  # of the quadrature over one bin's predictor
_ROWS = 1 << 14  # bins worked on at once
_LEAST = 1e-10  # share of a weight's precision that is rounding
_PLUG_IN = "plug-in density at the mode without the unit (one Newton step): no posterior uncertainty, not comparable with LOO of a posterior"
_AVERAGED = "by one Newton step and downdated Hessians, without importance sampling; learned scales at their marginal modes"


class Local(NamedTuple):
    """One neuron's negative log posterior around its mode."""

    eta: np.ndarray  # (row,)
    slope: np.ndarray  # (row,) of the negative log likelihood in eta; 0 where not scored
    curvature: np.ndarray  # (row,)
    hessian: np.ndarray  # (P, P), prior included
    free: np.ndarray  # (P,) bool: weights that are not held at zero by a kink of their prior


def without_draws(fit: Fit, made: Source, plan: Cut, joint: bool) -> tuple[Figures, Manner]:
    """Figures of every unit b from the mode w and Hessian H: H_-b = H - X_b' M_b X_b, w_-b = w + H_-b^-1 g_b.

    g_b is the gradient of the unit's negative log likelihood at w. A MAP fit gives log p(y_b | w_-b); a Laplace fit the
    log of the mean of p(y_b | w) over Normal(w_-b, H_-b^-1), by quadrature where a unit is one row, else by draws.

    Parameters
    ----------
    fit : Fit
        By MAP or Laplace.
    made, plan, joint
        As for ``figures``.

    Raises
    ------
    ValueError
        Another method; a model without linear structure, with shared parameters, or with several predictors a response; a
        flat prior whose weight only one unit informs.

    References
    ----------
    Rad and Maleki 2020 (approximate leave-one-out); Beirami, Razaviyayn, Shahrampour and Tarokh 2017.
    """
    units = np.split(np.arange(len(plan.units)), plan.first[1:])
    single = len(units) == len(plan.units)
    out = np.full((len(Figures._fields), len(units), made.scored.shape[1]), np.nan)
    for n, neuron in enumerate(neurons_of(fit, made, joint)):
        elpd, lppd = neuron.by_bin(fit.point) if single else neuron.by_unit(units, fit.point, made.draws, n)
        known = np.logical_or.reduceat(made.scored[:, n], plan.first)
        out[0, :, n], out[1, :, n], out[3, :, n] = (np.where(known, values, np.nan) for values in (elpd, lppd - elpd, lppd))
    return Figures(*out), Manner((_PLUG_IN,), ic="loo_plugin") if fit.point else Manner((_AVERAGED,))


def neurons_of(fit: Fit, made: Source, joint: bool = False) -> Iterator[_Neuron]:
    """Every neuron around its mode."""
    linear = _linear(fit, made, joint)
    places, hyper = _modes(fit, linear)
    for n in range(linear.size):
        each = jax.tree.map(lambda leaf, n=n: leaf[n], linear.each)
        local = Local(*(np.asarray(part) for part in _bent(linear, each, places[n], hyper[n])))
        yield _Neuron(linear, each, hyper[n], local, made.scored[:, n])


def _linear(fit: Fit, made: Source, joint: bool) -> Linear:
    """The model's linear structure on the rows that the fit scored."""
    if not (fit.point or isinstance(fit.method, Laplace)):
        raise ValueError("loo(approx=True) is for MAP and Laplace fits; this one has draws of the posterior: leave approx out.")
    common = 1.0 if fit.scored is None else fit.scored
    design = dataclasses.replace(made.design, scored=made.design.scored * common)
    design = design.padded() if isinstance(design.each, dict) and "cells" in design.each else design
    linear = fit.model.linear(design)
    if linear is None or joint or linear.shared_sites() or linear.contrast is not None or linear.dim > DENSEST:
        raise ValueError(
            "loo(approx=True) takes units out of a Hessian of one neuron's weights: it wants a model that is linear in them, with one predictor a "
            f"response, no parameters shared between neurons and at most {DENSEST} weights. Fit with method='nuts' and leave approx out, or use bg.kfold."
        )
    return arrays(linear)


def _modes(fit: Fit, linear: Linear) -> tuple[Any, list[dict[str, Any]]]:
    """Weights (neuron, P) at their mode, and every neuron's learned parameters."""
    if fit.point:
        values = [_sites(fit, linear, n) for n in range(linear.size)]
        eaches = [jax.tree.map(lambda leaf, n=n: leaf[n], linear.each) for n in range(linear.size)]
        known = set(linear.hyper({"spread": 1.0}))
        return [linear.pack(*pair) for pair in zip(eaches, values, strict=True)], [{site: one[site] for site in known} for one in values]
    found = approximate(linear, exact=True)
    each = [jax.tree.map(lambda leaf, n=n: leaf[n], linear.each) for n in range(linear.size)]
    return found.mode.w, [linear.constrain(one, found.theta[n])[0] for n, one in enumerate(each)]


def _sites(fit: Fit, linear: Linear, n: int) -> dict[str, Any]:
    """One neuron's values of a point fit."""
    point = fit.posterior.isel(chain=0, draw=0)
    wanted = [*linear.names, *linear.hyper({"spread": 1.0})]
    chosen = {name: point[name].isel(neuron=n) if "neuron" in point[name].dims else point[name] for name in wanted}
    return {name: jnp.asarray(array.values) for name, array in chosen.items()}


@eqx.filter_jit
def _bent(linear: Linear, each: Any, w: Any, hyper: Any) -> tuple[Any, ...]:
    """The fields of ``Local``."""
    eta = linear.eta(each, w)
    cost = lambda eta: -linear.log_likelihood_of(each, eta, hyper)  # noqa: E731
    slope, curvature = jax.jvp(jax.grad(cost), (eta,), (jnp.ones_like(eta),))
    curvature = jnp.maximum(curvature, 0.0)
    log_prior = lambda w: linear.log_prior(each, w, hyper)  # noqa: E731
    bend = -jax.jvp(jax.grad(log_prior), (w,), (jnp.ones_like(w),))[1]
    bend = jnp.maximum(bend, 1e-3 * linear.by_weight(each, hyper, "whitening"))  # a Student-t bends the other way in its tails
    kinked = linear.by_weight(each, hyper, "absolute") > 0 if kinks(linear) else jnp.zeros(w.shape, bool)
    bend = jnp.where(kinked, 0.0, bend)
    gram = linear.of_one(each).gram(curvature[None])[0]
    return eta, slope, curvature, gram + jnp.diag(bend), ~(kinked & (w == 0))


class _Neuron(NamedTuple):
    """One neuron, and what is left of it without a unit."""

    linear: Linear
    each: Any
    hyper: dict[str, Any]
    local: Local
    scored: np.ndarray  # (row,) bool

    def by_bin(self, point: bool) -> tuple[np.ndarray, np.ndarray]:
        """elpd and in-sample density of every row, each a unit of its own."""
        rows = len(self.scored)
        factor = cho_factor(self._hessian(), lower=True)
        elpd, lppd = np.empty(rows), np.empty(rows)
        for start in range(0, rows, _ROWS):
            at = np.arange(start, min(start + _ROWS, rows))
            x = self._columns(at)
            within = (x * cho_solve(factor, x)).sum(0)  # variance of eta
            left = 1 - self.local.curvature[at] * within  # one minus the leverage
            if left.min() <= _LEAST:
                raise ValueError(_unknown(int(at[left.argmin()])))
            without = within / left
            elpd[at] = self._averaged(at, self.local.eta[at] + without * self.local.slope[at], without, point)
            lppd[at] = self._averaged(at, self.local.eta[at], within, point)
        return elpd, lppd

    def _averaged(self, rows: np.ndarray, eta: np.ndarray, variance: np.ndarray, point: bool) -> np.ndarray:
        """log of the mean density over eta ~ Normal(eta, variance), by Gauss-Hermite quadrature; at eta for a point."""
        if point:
            return self._log_prob(rows, eta[None])[0]
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        density = self._log_prob(rows, eta + nodes[:, None] * np.sqrt(variance))
        return logsumexp(density + np.log(weights / weights.sum())[:, None], axis=0)

    def by_unit(self, units: list[np.ndarray], point: bool, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The same of units of several rows; the Gaussian average over the same standard normal draws for all units."""
        hessian = self._hessian()
        if point:
            return self._at_points(units, hessian)
        z = np.random.default_rng(seed).standard_normal((len(hessian), draws))
        deviations = solve_triangular(cholesky(hessian, lower=True), z, lower=True, trans=1)
        elpd, lppd = np.empty(len(units)), np.empty(len(units))
        for i, rows in enumerate(units):
            x = self._columns(rows)
            lower, eta = self._without(hessian, x, rows, i)
            elpd[i] = self._joint(rows, eta, x.T @ solve_triangular(lower, z, lower=True, trans=1))
            lppd[i] = self._joint(rows, self.local.eta[rows], x.T @ deviations)
        return elpd, lppd

    def _at_points(self, units: list[np.ndarray], hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Plug-in densities of units: those of all rows are read at once."""
        eta = self.local.eta.copy()
        for i, rows in enumerate(units):
            eta[rows] = self._without(hessian, self._columns(rows), rows, i)[1]
        every = np.arange(len(self.scored))  # eta is padded
        by_row = [self._log_prob(every, place[None, every])[0] for place in (eta, self.local.eta)]
        elpd, lppd = (np.array([values[rows].sum() for rows in units]) for values in by_row)
        return elpd, lppd

    def _without(self, hessian: np.ndarray, x: np.ndarray, rows: np.ndarray, unit: int) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factor of the Hessian without a unit, and the unit's predictor at the mode without it."""
        lower = _factor(hessian, (x * self.local.curvature[rows]) @ x.T, unit)
        return lower, self.local.eta[rows] + x.T @ cho_solve((lower, True), x @ self.local.slope[rows])

    def _joint(self, rows: np.ndarray, eta: np.ndarray, around: np.ndarray) -> float:
        """log of the mean over draws (row, draw) of the density of all rows together."""
        total = self._log_prob(rows, (eta[:, None] + around).T).sum(1)
        return float(logsumexp(total) - np.log(len(total)))

    def _hessian(self) -> np.ndarray:
        return self.local.hessian[np.ix_(self.local.free, self.local.free)]

    def _columns(self, rows: np.ndarray) -> np.ndarray:
        """(free weight, row)"""
        shared: Any = self.linear.predictor
        parts = [np.asarray(shared.columns)[:, rows]] + ([np.asarray(self.each["own"])[:, rows]] if "own" in self.each else [])
        x = np.concatenate(parts)
        x = x[np.asarray(self.each["places"])] if "places" in self.each else x
        return (x * np.asarray(self.each["mask"])[:, None])[self.local.free]

    def _log_prob(self, rows: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """(draw, row) log densities, constants included; 0 where not scored. Rows are padded, so that few shapes are compiled."""
        extra = padded_size(len(rows)) - len(rows)
        at = np.pad(rows, (0, extra), mode="edge")
        known = {name: values[at] for name, values in self.each.get("known", {}).items()}
        eta = np.pad(eta, ((0, 0), (0, extra)), mode="edge")
        found = _densities(self.linear.family, jnp.asarray(eta), self.hyper | known, self.each["response"][at], jnp.asarray(self.linear.dt))
        return np.where(self.scored[rows], np.asarray(found)[:, : len(rows)], 0.0)


def _factor(hessian: np.ndarray, taken: np.ndarray, unit: int) -> np.ndarray:
    """Lower Cholesky factor of what is left of a Hessian, or a ValueError where a weight is left without information."""
    try:
        lower = cholesky(hessian - taken, lower=True)
    except LinAlgError as error:
        raise ValueError(_unknown(unit)) from error
    if (np.diag(lower) ** 2 <= _LEAST * np.diag(hessian)).any():
        raise ValueError(_unknown(unit))
    return lower


def _unknown(unit: int) -> str:
    return f"loo(approx=True): nothing but unit {unit} informs a weight under a flat prior. Give it a proper prior, such as prior.Gaussian(1.0)."


@eqx.filter_jit
def _densities(family: Any, eta: Any, hyper: Any, y: Any, dt: Any) -> Any:
    return family(eta, hyper, dt).log_prob(y)
