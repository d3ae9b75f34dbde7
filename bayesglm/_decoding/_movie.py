"""A stimulus given the spikes, where filters read it over lags: Laplace's approximation in the stimulus."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.special import ndtr

from bayesglm._convolve import convolve
from bayesglm._data import epoch_ids, row_dim
from bayesglm._decoding._decode import DecodeNote, judged
from bayesglm._decoding._law import Law, law_of, series_of
from bayesglm._decoding._target_terms import reading
from bayesglm._decoding._windows import Windows, window_coords, windows_of
from bayesglm._likelihood import Source, response_of, source
from bayesglm._progress import progress_bar
from bayesglm._training import training_data
from bayesglm.engine.banded import variances
from bayesglm.engine.pointwise import columns_of, weights_of
from bayesglm.terms import Stimulus

if TYPE_CHECKING:
    from bayesglm._fit import Fit

PROB = 0.9
_STEPS, _HALVINGS = 60, 30  # of Newton's method, and of a step
_DONE, _CLOSE = 1e-8, 1e-6  # nats left to gain: at the mode, and where rounding stops a step
_LARGEST, _TOGETHER = 1 << 28, 1 << 21  # numbers of a Hessian and of what it is made of (2 GiB), and of these at once
_BISECTIONS = 50


class Problem(NamedTuple):
    """Everything that Newton's method reads."""

    made: Source
    windows: Windows
    window_of: np.ndarray  # (row,)
    epochs: np.ndarray
    law: Law
    y: np.ndarray  # (row, neuron)
    first: int  # the filter's first lag in bins


class Found(NamedTuple):
    """The Gaussian of one draw."""

    mode: np.ndarray  # (window, feature)
    sd: np.ndarray
    converged: bool


def decode_stimulus(fit: Fit, data: xr.Dataset, target: str, prior: Any, window: float | None, kept: np.ndarray, progress: bool) -> xr.Dataset:
    """What ``bg.decode`` returns for a target that enters through ``Stimulus``; the arguments are its own."""
    term, train = _stimulus(fit, target), training_data(fit)
    windows = windows_of(data, window)
    law = law_of(train, target, prior, window)
    hidden = data.assign({target: _hidden(data, train[target], law)})
    made = source(fit, hidden, kept, common=False)
    y = np.asarray(response_of(made), float)
    window_of = np.zeros(len(y), int)
    window_of[windows.rows.ravel()] = np.repeat(np.arange(windows.count), windows.rows.shape[1])
    problem = Problem(made, windows, window_of, epoch_ids(data), law, y, term.first)
    filters = _filters(term, made.values[term.name])
    _refuse_size(problem, filters)
    others = _others(made, term.name)
    with progress_bar(progress, f"decode {target}") as monitor:
        found, start = [], np.broadcast_to(law.mean, (windows.count, law.mean.size))
        for draw, own in enumerate(filters):
            found.append(_newton(problem, others.eta(draw, y.shape), own, _sites(made, draw), start))
            start = found[-1].mode
            if monitor is not None:
                monitor(draw + 1, len(filters), None, f" {draw + 1} of {len(filters)} draws")
    return _labelled(fit, data, train[target], problem, found, "given" if not isinstance(prior, str) else prior)


def _stimulus(fit: Fit, target: str) -> Stimulus:
    """The one term that reads the target."""
    terms = reading(fit.model, (target,))
    if len(terms) != 1 or not isinstance(terms[0], Stimulus):
        raise ValueError(f"decode: a series is decoded that one Stimulus term reads; {target!r} enters by the terms {[term.name for term in terms]}.")
    if "neuron" in training_data(fit)[target].dims and fit.model.has_neurons:
        raise ValueError(f"decode: {target!r} is each neuron's own, and one stimulus is decoded from all neurons.")
    if fit.model.family.predictors is not None:
        raise ValueError(f"decode: {fit.model.family.describe()} has several predictors a response; a stimulus is decoded from families with one.")
    return terms[0]


def _filters(term: Stimulus, weights: np.ndarray) -> np.ndarray:
    """(draw, neuron, *shape) -> filters at the stimulus' own entries, (draw, neuron, feature, lag)."""
    along = weights.reshape(*weights.shape[:2], -1, weights.shape[-1]) @ np.asarray(term.kernels).T
    space = term.space_kernels()
    return along if space is None else np.einsum("fs,dnsl->dnfl", space.reshape(-1, space.shape[-1]), along)


def _hidden(data: xr.Dataset, trained: xr.DataArray, law: Law) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
    """A column of the prior's mean in place of the target's own."""
    row = row_dim(data)
    dims = (row, *(str(dim) for dim in trained.dims if dim != row))
    shape = [data.sizes[row], *(trained.sizes[dim] for dim in dims[1:])]
    return dims, np.broadcast_to(law.mean, (shape[0], law.mean.size)).reshape(shape), {}


def _refuse_size(problem: Problem, filters: np.ndarray) -> None:
    neurons, features, lags = filters.shape[1:]
    band = features * (-(-lags // problem.windows.rows.shape[1]) + 1)
    numbers = problem.windows.count * features * band + (len(problem.y) + neurons * lags) * features**2
    if numbers > _LARGEST:
        raise ValueError(
            f"decode: {problem.windows.count} frames of {features} numbers that filters of {lags} rows tie together want {numbers * 8 / 2**30:.0f} GiB: "
            f"decode a shorter stretch (data.isel(...)), or longer frames (window=)."
        )


class Others(NamedTuple):
    """The terms that do not read the stimulus."""

    columns: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]  # (draw, neuron, P)
    offset: np.ndarray | None

    def eta(self, draw: int, shape: tuple[int, ...]) -> np.ndarray:
        """(row, neuron); the spikes' own past is the observed one."""
        eta = np.zeros(shape)
        if "shared" in self.columns:
            eta += self.columns["shared"] @ self.weights["shared"][draw].T
        if "own" in self.columns:
            eta += np.einsum("ntp,np->tn", self.columns["own"], self.weights["own"][draw])
        return eta if self.offset is None else eta + self.offset.T


def _others(made: Source, name: str) -> Others:
    blocks = [block for block in made.model.blocks(made.design) if block.name != name]
    weights = {kind: np.asarray(w) for kind, w in weights_of(blocks, made.values).items()}
    return Others(columns_of(blocks), weights, made.design.each.get("offset"))


def _sites(made: Source, draw: int) -> dict[str, np.ndarray]:
    own = {site: made.values[site][draw] for site in made.model.family.hyper(made.model.response)}
    return own | {name: np.asarray(value).T for name, value in made.design.each.get("known", {}).items()}


def _newton(problem: Problem, rest: np.ndarray, filters: np.ndarray, sites: dict[str, np.ndarray], start: np.ndarray) -> Found:
    """The mode of log p(y | x) + log p(x), and the sds of the Gaussian there."""
    diagonal, ahead = problem.law.precision(problem.windows.starts)

    def value(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        off, eta = x - problem.law.mean, rest + _filtered(problem, x[problem.window_of], filters)
        logs, slope, bend = (np.where(problem.made.scored, np.asarray(part), 0.0) for part in _pieces(problem.made, eta, problem.y, sites))
        before = -0.5 * float((diagonal * off**2).sum()) - float((ahead[:-1] * off[1:] * off[:-1]).sum())
        return float(logs.sum()) + before, slope, np.maximum(-bend, 0.0)

    x, (best, slope, curvature) = np.array(start), value(start)
    converged, factor = False, np.ones((1, x.size))
    for _ in range(_STEPS):
        off = x - problem.law.mean
        pull = diagonal * off
        pull[:-1] += ahead[:-1] * off[1:]
        pull[1:] += ahead[:-1] * off[:-1]
        gradient = problem.windows.summed(_pulled(problem, slope, filters)) - pull
        factor = cholesky_banded(_hessian(problem, curvature, filters, diagonal, ahead), lower=True)
        step = cho_solve_banded((factor, True), gradient.ravel()).reshape(x.shape)
        gain = float((gradient * step).sum())
        if gain < _DONE:
            converged = True
            break
        size, tried = _climbed(value, x, step, best)
        if size == 0.0:
            converged = gain < _CLOSE
            break
        x, (best, slope, curvature) = x + size * step, tried
    return Found(x, np.sqrt(variances(factor)).reshape(x.shape), converged)


def _climbed(value: Callable[[np.ndarray], tuple], x: np.ndarray, step: np.ndarray, best: float) -> tuple[float, tuple]:
    """The first of 1, 1/2, 1/4, ... of a step that does not lower the log density; 0 where none does."""
    size = 1.0
    for _ in range(_HALVINGS):
        tried = value(x + size * step)
        if np.isfinite(tried[0]) and tried[0] >= best:
            return size, tried
        size /= 2
    return 0.0, ()


def _filtered(problem: Problem, signal: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """(row, feature) -> (row, neuron)."""
    return sum(convolve(column, filters[:, f].T, problem.epochs, problem.first) for f, column in enumerate(signal.T))


def _pulled(problem: Problem, values: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """(row, neuron) -> (row, feature): the transpose, sum over neurons and lags of k_nf(l) v_n(t + l)."""
    back = -(problem.first + filters.shape[2] - 1)
    return sum(convolve(values[:, n], own.T[::-1], problem.epochs, back) for n, own in enumerate(filters))


def _hessian(problem: Problem, curvature: np.ndarray, filters: np.ndarray, diagonal: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Minus the second derivative, banded, in lower form (band + 1, window x feature)."""
    features, lags = filters.shape[1:]
    count, bins = problem.windows.count, problem.windows.rows.shape[1]
    out = np.zeros((min(features * (-(-lags // bins) + 1), features * count), features * count))
    f, g = np.divmod(np.arange(features**2), features)
    for j, entries in enumerate(_products(problem, curvature, filters)):
        low, high = np.arange(len(entries) - j), np.arange(j, len(entries))
        kept = problem.epochs[low] == problem.epochs[high]
        one, other = problem.window_of[low[kept], None] * features + f, problem.window_of[high[kept], None] * features + g
        values = entries[low[kept]]
        np.add.at(out, ((other - one)[other >= one], one[other >= one]), values[other >= one])
        if j:  # two rows of one window meet in both orders
            turned = (problem.window_of[low[kept]] == problem.window_of[high[kept]])[:, None] & (one >= other)
            np.add.at(out, ((one - other)[turned], other[turned]), values[turned])
    out[0] += diagonal.ravel()
    if count > 1:
        out[features] += ahead.ravel()
    return out


def _products(problem: Problem, curvature: np.ndarray, filters: np.ndarray) -> Iterator[np.ndarray]:
    """For every distance j of two rows: sum over neurons and lags of k_f(l) k_g(l - j) c(t + l), (row, feature x feature)."""
    features, lags = filters.shape[1:]
    back, rows = -(problem.first + lags - 1), len(curvature)
    together = max(1, _TOGETHER // (rows * features**2))
    for start in range(0, min(lags, rows), together):
        apart = range(start, min(start + together, lags, rows))
        later = np.stack([np.pad(filters[:, :, : lags - j], ((0, 0), (0, 0), (j, 0))) for j in apart])
        pairs = np.einsum("nfl,jngl->nljfg", filters, later).reshape(len(filters), lags, -1)
        found = sum(convolve(curvature[:, n], own[::-1], problem.epochs, back) for n, own in enumerate(pairs))
        yield from np.moveaxis(found.reshape(rows, len(apart), -1), 1, 0)


def _pieces(made: Source, eta: np.ndarray, y: np.ndarray, sites: dict[str, np.ndarray]) -> Any:
    return _derivatives(made.model.family, eta, y, sites, jnp.asarray(made.dt))


@eqx.filter_jit
def _derivatives(family: Any, eta: Any, y: Any, sites: Any, dt: Any) -> tuple[Any, Any, Any]:
    """log p(y | eta) and its first two derivatives in eta, elementwise."""
    density = lambda e: family.log_density(e, y, sites, dt)  # noqa: E731
    one = jnp.ones_like(eta)
    slope = lambda e: jax.jvp(density, (e,), (one,))[1]  # noqa: E731
    return density(eta), *jax.jvp(slope, (eta,), (one,))


def _labelled(fit: Fit, data: xr.Dataset, trained: xr.DataArray, problem: Problem, found: list[Found], prior: str) -> xr.Dataset:
    target, windows = str(trained.name), problem.windows
    row = row_dim(data)
    dims = (row, *(str(dim) for dim in trained.dims if dim != row))
    shape = (windows.count, *(trained.sizes[dim] for dim in dims[1:]))
    units = {name: value for name, value in trained.attrs.items() if name in ("units", "long_name")}
    placed = lambda values: (dims, values.reshape(shape), units)  # noqa: E731
    modes, sds = np.stack([one.mode for one in found]), np.stack([one.sd for one in found])
    mean = modes.mean(0)
    variables: dict[str, Any] = {
        "estimate": placed(mean),
        "sd": placed(np.sqrt((sds**2 + (modes - mean) ** 2).mean(0))),
        "lower": placed(mixture_quantile(modes, sds, (1 - PROB) / 2)),
        "upper": placed(mixture_quantile(modes, sds, (1 + PROB) / 2)),
        "bins": (row, windows.summed(problem.made.scored.any(1).astype(int))),
    }
    levels = np.unique(trained.values[np.isfinite(trained.values.astype(float))])
    if levels.size == 2:
        high = ndtr((modes - levels.mean()) / sds).mean(0).reshape(shape)
        variables["probability_high"] = (dims, high, {"long_name": f"p({target} is {levels[1]:g}), of the Gaussian relaxation"})
    if target in data:
        variables["truth"] = placed(series_of(data[target], data, windows))
    lost = sum(not one.converged for one in found)
    if lost:
        warnings.warn(f"decode: the stimulus of {lost} of {len(found)} draws did not reach its mode.", DecodeNote, stacklevel=4)
    coords = window_coords(data, windows) | {dim: trained[dim].values for dim in dims[1:] if dim in trained.coords}
    return judged(xr.Dataset(variables, coords, _attrs(fit, data, target, problem, len(found), prior)))


def _attrs(fit: Fit, data: xr.Dataset, target: str, problem: Problem, draws: int, prior: str) -> dict[str, Any]:
    law = {
        f"prior_{name}": float(value[0]) if value.size == 1 else value.tolist() for name, value in zip(("mean", "sd", "correlation"), problem.law, strict=True)
    }
    return {
        "rows": row_dim(data),
        "dt": float(data.attrs["dt"]),
        "target": target,
        "period": None,
        "window": problem.windows.seconds,
        "prior": prior,
        **law,
        "prob": PROB,
        "dynamics": "none",
        "temperature": 1.0,
        "draws": draws,
        "posterior": "point" if fit.point else "draws",
        "route": "stimulus: Laplace's approximation in the whole series, a Gaussian a draw",
    }


def mixture_quantile(means: np.ndarray, sds: np.ndarray, p: float) -> np.ndarray:
    """Quantile (...,) of the equal mixture of Gaussians (draw, ...), by bisection."""
    low, high = (means - 9 * sds).min(0), (means + 9 * sds).max(0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = ndtr((middle - means) / sds).mean(0) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
