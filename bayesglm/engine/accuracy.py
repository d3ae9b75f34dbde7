"""Is a Gaussian approximation right for one number of a neuron? One-dimensional quadrature of the exact posterior."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.engine.linear import Linear
from bayesglm.engine.newton import negative_log_likelihood

_POINTS = 15
_REACH = 4.5  # posterior sds on either side
_QUANTILES = (0.05, 0.5, 0.95)
FLAGGED = 0.25  # shift of a quantile, in posterior sds, beyond which the approximation is called inaccurate


class Shift(NamedTuple):
    """For each functional: exact minus Gaussian quantiles in units of the Gaussian sd, and whether one is too large."""

    shift: np.ndarray  # (functional, 3) at the 5, 50 and 95 % points
    flagged: np.ndarray  # (functional,) bool


@eqx.filter_jit
def _profile(linear: Linear, each: Any, place: Any, theta: Any, mean: Any, root: Any, ratio: Any, a: Any) -> tuple[Any, Any]:
    """Log of the (Laplace) marginal density of a.w at ``_POINTS`` points, and those points in sds: Tierney & Kadane.

    Along w(t) = mean + t H^-1 a / sd the rest of w is integrated out by its conditional determinant,
    det H(t) * (a' H(t)^-1 a).
    """
    whitened = root @ a
    sd = jnp.linalg.norm(whitened)
    line = whitened @ root / sd
    ts = jnp.linspace(-_REACH, _REACH, _POINTS)
    hyper, _ = linear.constrain(each, theta)
    precision = ratio * linear.by_weight(each, hyper, "whitening")

    def one(t: Any) -> Any:
        w = mean + t * line
        value, _, rows = negative_log_likelihood(linear, each, w, hyper)
        columns = linear.of_one(each).gram(rows[None])[0]
        hessian = columns + jnp.diag(precision)
        lower = jnp.linalg.cholesky(hessian)
        half = jax.scipy.linalg.solve_triangular(lower, a, lower=True)
        log_det = jnp.sum(jnp.log(jnp.diagonal(lower))) + jnp.log(jnp.linalg.norm(half))
        return -value + linear.log_prior(each, w, hyper) - log_det

    return ts, jax.lax.map(one, ts)


def quantile_shifts(linear: Linear, coordinates: dict[str, Any], neuron: int, functionals: np.ndarray) -> Shift:
    """Shift of the 5, 50 and 95 % points of linear functionals a.w of one neuron, exact minus Gaussian, in sds.

    Parameters
    ----------
    linear : Linear
    coordinates : mapping
        ``each`` of the Laplace coordinates (mean, root, ratio, theta; leading axis neuron). The learned scales are
        held at their modes.
    neuron : int
    functionals : (functional, P)
        A net effect, a peak: zero where a block does not take part.
    """
    each = jax.tree.map(lambda leaf: leaf[neuron], linear.each)
    own = {name: coordinates[name][neuron] for name in ("theta", "mean", "root", "ratio")}
    shifts = []
    for a in functionals:
        ts, log_density = _profile(linear, each, neuron, own["theta"], own["mean"], own["root"], own["ratio"], jnp.asarray(a))
        shifts.append(_quantiles(np.asarray(ts), np.asarray(log_density)))
    found = np.array(shifts).reshape(-1, len(_QUANTILES))
    return Shift(found, np.abs(found).max(1) > FLAGGED)


def _quantiles(ts: np.ndarray, log_density: np.ndarray) -> np.ndarray:
    """Quantiles of the density given at ``ts`` by a spline of its log, minus the standard normal's."""
    from scipy.interpolate import CubicSpline
    from scipy.special import ndtri

    fine = np.linspace(ts[0], ts[-1], 2001)
    density = np.exp(CubicSpline(ts, log_density - log_density.max())(fine))
    mass = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return np.interp(np.array(_QUANTILES) * mass[-1], mass, fine) - ndtri(np.array(_QUANTILES))
