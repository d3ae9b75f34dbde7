"""Representational similarity: dissimilarity matrices of data and of models with their posterior, compared with uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr
from scipy.stats import kendalltau, rankdata

from bayesglm._filters import checked_prob
from bayesglm.method._base import whole

Metric = Literal["correlation", "euclidean", "mahalanobis", "crossnobis"]
How = Literal["spearman", "pearson", "kendall", "cosine"]
_OTHER = "_other"  # ending of the second dim of a dissimilarity matrix
_SAMPLE = ("chain", "draw")
_LEAST = 4  # conditions: fewer have at most three distances


def dissimilarity(
    patterns: Any, metric: Metric = "correlation", *, noise: Any = None, condition: str = "condition", over: str = "neuron", run: str = "run"
) -> xr.DataArray:
    """Dissimilarity matrix: how different are the patterns of activity of every two conditions?

    correlation: 1 - r over neurons. euclidean: |x_i - x_j|^2 / P over P neurons. mahalanobis: (x_i - x_j)' S^-1 (x_i - x_j) / P
    with noise covariance S. crossnobis: the mean over pairs of different runs a, b of (x_i - x_j)_a' S^-1 (x_i - x_j)_b / P, which
    is zero on average where the conditions do not differ (and so may be negative); the others are not, for noise adds to them.

    Parameters
    ----------
    patterns : DataArray or array
        With the dims ``condition`` and ``over``, and ``run`` for crossnobis; any other dims (``chain``, ``draw``) are kept. An
        array is (..., condition, neuron), for crossnobis (..., run, condition, neuron), behind (draw,) or (chain, draw).
        ``bg.predict(fit, data)`` gives (chain, draw, trial, neuron): say ``condition="trial"``.
    metric : "correlation", "euclidean", "mahalanobis" or "crossnobis"
    noise : array (neuron, neuron) or (neuron,), optional
        Noise covariance, or variances, of "mahalanobis" and "crossnobis" (without it: the identity); see
        ``noise_covariance``.
    condition, over, run : str
        Names of the dims.

    Returns
    -------
    xarray.DataArray, (..., condition, condition_other)
        Symmetric, with a zero diagonal.

    Raises
    ------
    ValueError
        For an unknown metric, missing dims, a constant pattern under "correlation", one run under "crossnobis", or a noise
        covariance that is not positive definite.

    References
    ----------
    Kriegeskorte, Mur & Bandettini 2008, Representational similarity analysis; Walther et al. 2016, Reliability of dissimilarity
    measures for multi-voxel pattern analysis.

    Examples
    --------
    >>> import numpy as np
    >>> from bayesglm import rsa
    >>> rsa.dissimilarity(np.array([[0.0, 1.0], [0.0, 3.0], [2.0, 1.0]]), "euclidean").values
    array([[0., 2., 2.],
           [2., 0., 4.],
           [2., 4., 0.]])
    """
    kinds = ("correlation", "euclidean", "mahalanobis", "crossnobis")
    if metric not in kinds:
        raise ValueError(f"dissimilarity(metric={metric!r}): one of {', '.join(map(repr, kinds))}.")
    if (noise is not None) != (metric == "mahalanobis") and metric != "crossnobis":
        raise ValueError(f"dissimilarity(metric={metric!r}) {'needs' if noise is None else 'takes no'} noise=: a covariance is for 'mahalanobis'.")
    crossed = metric == "crossnobis"
    array = _labelled(patterns, [run] * crossed + [condition, over])
    values = np.asarray(array.values, float)
    if not np.isfinite(values).all():
        raise ValueError(f"The patterns hold {int((~np.isfinite(values)).sum())} NaN or infinite numbers: leave those neurons or conditions out.")
    if metric == "correlation":
        found = _correlation(values, array, condition)
    else:
        values = values if noise is None else _whitened(values, np.asarray(noise, float))
        found = _crossed(values, run) if crossed else _squared(values)
    dims = tuple(dim for dim in array.dims if dim not in (run if crossed else None, over))
    coords = {str(dim): array[dim].values for dim in dims if dim in array.coords}
    if condition in coords:
        coords[condition + _OTHER] = coords[condition]
    return xr.DataArray(found, coords, (*dims, condition + _OTHER), "dissimilarity", {"metric": metric})


def _labelled(patterns: Any, last: list[str]) -> xr.DataArray:
    """The patterns with named dims, those of ``last`` at the end."""
    if isinstance(patterns, xr.DataArray):
        missing = [dim for dim in last if dim not in patterns.dims]
        if missing:
            raise ValueError(f"The patterns lack the dims {missing}; they have {patterns.dims}. condition=, over= and run= say what theirs are called.")
        return patterns.transpose(..., *last)
    values = np.asarray(patterns)
    extra = values.ndim - len(last)
    if not 0 <= extra <= 2:
        raise ValueError(f"The patterns have the shape {values.shape}; they want ({', '.join(last)}), behind (draw,) or (chain, draw) where there are draws.")
    return xr.DataArray(values, dims=(*_SAMPLE[2 - extra :], *last))


def _squared(values: np.ndarray) -> np.ndarray:
    """(..., condition, neuron) -> mean squared differences (..., condition, condition)."""
    values = values - values.mean(-2, keepdims=True)  # distances do not notice, and keep their digits
    gram = values @ np.swapaxes(values, -1, -2)
    size = np.einsum("...ii->...i", gram)
    found = np.maximum(size[..., :, None] + size[..., None, :] - 2.0 * gram, 0.0) / values.shape[-1]
    return _symmetric(found)


def _symmetric(found: np.ndarray) -> np.ndarray:
    found = 0.5 * (found + np.swapaxes(found, -1, -2))
    found[..., np.arange(found.shape[-1]), np.arange(found.shape[-1])] = 0.0
    return found


def _correlation(values: np.ndarray, array: xr.DataArray, condition: str) -> np.ndarray:
    centred = values - values.mean(-1, keepdims=True)
    size = np.sqrt((centred**2).sum(-1, keepdims=True))
    flat = (size <= 1e-12 * (np.abs(values).max(-1, keepdims=True))).any(tuple(range(values.ndim - 2)))[:, 0]
    if flat.any():
        names = array[condition].values[flat][:5].tolist()
        raise ValueError(f"The pattern of condition(s) {names} is the same in every neuron and has no correlation: use metric='euclidean', or leave them out.")
    scaled = centred / size
    return _symmetric(np.clip(1.0 - scaled @ np.swapaxes(scaled, -1, -2), 0.0, 2.0))


def _crossed(values: np.ndarray, run: str) -> np.ndarray:
    """Products of differences of different runs: the square of the sum less the sum of the squares, over pairs."""
    runs = values.shape[-3]
    if runs < 2:
        raise ValueError(f"crossnobis multiplies differences of different runs; the dim {run!r} has {runs}: give two runs or more, or metric='mahalanobis'.")
    return _symmetric((_squared(values.sum(-3)) - _squared(values).sum(-3)) / (runs * (runs - 1.0)))


def _whitened(values: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Patterns in units in which the noise is white."""
    size = values.shape[-1]
    if noise.shape not in ((size,), (size, size)):
        raise ValueError(f"noise has the shape {noise.shape}; it wants a covariance ({size}, {size}) or variances ({size},).")
    try:
        root = np.linalg.cholesky(np.diag(noise) if noise.ndim == 1 else noise)
    except np.linalg.LinAlgError:
        raise ValueError("noise is not positive definite, so that it has no inverse: noise_covariance(residuals) shrinks a covariance until it is.") from None
    return np.linalg.solve(root, np.swapaxes(values, -1, -2).reshape(*values.shape[:-2], size, -1)).swapaxes(-1, -2)


def noise_covariance(residuals: Any) -> np.ndarray:
    """Noise covariance of neurons, shrunk towards its diagonal by as much as lowers its expected squared error.

    S = (1 - a) C + a diag(C),  a = sum_ij var(c_ij) / sum_ij c_ij^2 over i != j, held in [0, 1].

    Parameters
    ----------
    residuals : (trial, neuron)
        Responses less the mean response of their condition.

    Returns
    -------
    (neuron, neuron) array
        Positive definite where no neuron is constant.

    Raises
    ------
    ValueError
        Where there are fewer than three trials, or a neuron never varies.

    References
    ----------
    Ledoit & Wolf 2004; Schaefer & Strimmer 2005, A shrinkage approach to large-scale covariance matrix estimation.

    Examples
    --------
    >>> import numpy as np
    >>> from bayesglm import rsa
    >>> rsa.noise_covariance(np.random.default_rng(0).normal(size=(50, 80))).shape
    (80, 80)
    """
    values = np.asarray(residuals, float)
    if values.ndim != 2 or len(values) < 3 or not np.isfinite(values).all():
        raise ValueError(f"noise_covariance wants residuals (trial, neuron) without NaN, of three trials or more; got shape {values.shape}.")
    n, centred = len(values), values - values.mean(0)
    found = centred.T @ centred / (n - 1.0)
    if (np.diag(found) <= 0).any():
        raise ValueError(f"{int((np.diag(found) <= 0).sum())} neuron(s) never vary: leave them out.")
    mean = centred.T @ centred / n
    spread = ((centred**2).T @ centred**2 - n * mean**2) * n / (n - 1.0) ** 3
    apart = ~np.eye(len(found), dtype=bool)
    total = (found[apart] ** 2).sum()
    share = float(np.clip(spread[apart].sum() / total, 0.0, 1.0)) if total > 0 else 1.0
    return np.where(apart, (1.0 - share) * found, found)


def compare(
    model: xr.DataArray, data: xr.DataArray, how: How = "spearman", *, bootstrap: bool = True, samples: int = 1000, prob: float = 0.9, key: Any = 0
) -> xr.Dataset:
    """Similarity of two dissimilarity matrices over pairs of conditions, with its uncertainty.

    Parameters
    ----------
    model, data : DataArray, (..., condition, condition_other)
        Made by ``dissimilarity``; either may have posterior draws (``chain``, ``draw``). Labels of conditions are matched.
    how : "spearman", "pearson", "kendall" or "cosine"
        Rank correlation; correlation; Kendall's tau-a (for models that predict ties); cosine (for crossnobis distances, whose
        zero means something).
    bootstrap : bool
        Draw conditions with replacement (pairs of a condition with itself are left out): how the similarity would vary over
        other conditions of the kind.
    samples : int
        Of draws and conditions together.
    prob : float
    key : int or JAX key

    Returns
    -------
    xarray.Dataset
        ``similarity``: of all conditions, its mean over posterior draws; ``lower``, ``upper`` and ``sd`` over ``samples``
        (sample,); ``attrs["interval"]`` says of what. NaN where there are neither draws nor a bootstrap.

    Raises
    ------
    ValueError
        For an unknown ``how``, conditions that differ, or fewer than four.

    Notes
    -----
    An interval over conditions says nothing of other animals or neurons. Distances that share a condition are dependent,
    which is why conditions are resampled and not pairs.

    References
    ----------
    Nili et al. 2014, A toolbox for representational similarity analysis; Schuett et al. 2023, Statistical inference on
    representational geometries.

    Examples
    --------
    >>> import numpy as np
    >>> from bayesglm import rsa
    >>> one = rsa.dissimilarity(np.random.default_rng(0).normal(size=(6, 20)))
    >>> round(float(rsa.compare(one, 2.0 * one)["similarity"]), 6)
    1.0
    """
    similar, prob, samples = _chosen(how), checked_prob(prob), whole("compare(samples)", samples, 2)
    first, second, drawn = _paired(model, data)
    rng = _generator(key)
    n = first.shape[-1]
    upper = np.triu_indices(n, 1)
    sampled = np.full(samples, np.nan)
    whole_set = [similar(first[i][upper], second[j][upper]) for i, j in _pairs_of_draws(len(first), len(second), samples, rng)]
    if bootstrap:
        draws = rng.integers(0, (len(first), len(second)), (samples, 2))
        sampled = np.array([similar(*_resampled(first[i], second[j], rng.integers(0, n, n), upper)) for i, j in draws])
    elif drawn:
        sampled = np.array(whole_set)
    seen = sampled[np.isfinite(sampled)]
    tail = (1.0 - prob) / 2.0
    bounds = np.quantile(seen, [tail, 1.0 - tail]) if seen.size > 1 else np.full(2, np.nan)
    of = [f"{n} conditions, resampled"] * bootstrap + ["posterior draws"] * drawn
    values = {"similarity": np.mean(whole_set), "lower": bounds[0], "upper": bounds[1], "sd": seen.std() if seen.size > 1 else np.nan}
    attrs = {"how": how, "prob": prob, "interval": " and ".join(of) or "none: neither draws nor a bootstrap"}
    return xr.Dataset({name: ((), float(value)) for name, value in values.items()} | {"samples": ("sample", sampled)}, attrs=attrs)


def _pairs_of_draws(first: int, second: int, samples: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Every draw of the longer side once (at most ``samples`` of them), with one of the other side."""
    n = min(max(first, second), samples) if max(first, second) > 1 else 1
    for i in range(n):
        yield tuple((i * size) // n if size == max(first, second) else int(rng.integers(size)) for size in (first, second))


def _resampled(first: np.ndarray, second: np.ndarray, at: np.ndarray, upper: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Distances among conditions drawn with replacement, those of a condition to itself left out."""
    i, j = at[upper[0]], at[upper[1]]
    kept = i != j
    return first[i[kept], j[kept]], second[i[kept], j[kept]]


def _paired(model: xr.DataArray, data: xr.DataArray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Matrices (draw, condition, condition) of both sides on the same conditions, and whether either has draws."""
    sides, labels = [], []
    for name, array in (("model", model), ("data", data)):
        dims = array.dims if isinstance(array, xr.DataArray) else ()
        if len(dims) < 2 or dims[-1] != str(dims[-2]) + _OTHER or set(dims[:-2]) - set(_SAMPLE):
            raise ValueError(f"compare({name}=) wants (chain, draw, condition, condition_other), as rsa.dissimilarity makes it; got dims {dims}.")
        sides.append(np.asarray(array.values, float).reshape(-1, *array.shape[-2:]))
        labels.append(array[dims[-2]].values.tolist() if dims[-2] in array.coords else None)
    n = sides[0].shape[-1]
    one, two = (list(range(n)) if None in labels else own for own in labels)
    if n != sides[1].shape[-1] or set(one) != set(two) or len(set(one)) < n:
        raise ValueError(
            f"compare: the model has {n} conditions and the data {sides[1].shape[-1]}, or other ones (or one twice): select the same on both sides."
        )
    if n < _LEAST:
        raise ValueError(f"compare: {n} conditions have {n * (n - 1) // 2} distances, too few to compare: give at least {_LEAST}.")
    place = [two.index(label) for label in one]
    sides[1] = sides[1][:, place][:, :, place]
    return sides[0], sides[1], max(len(sides[0]), len(sides[1])) > 1


def _chosen(how: str) -> Callable[[np.ndarray, np.ndarray], float]:
    known: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "spearman": lambda a, b: _pearson(rankdata(a), rankdata(b)),
        "pearson": lambda a, b: _pearson(a, b),
        "kendall": _tau_a,
        "cosine": _cosine,
    }
    if how not in known:
        raise ValueError(f"how={how!r}: one of {', '.join(map(repr, known))}.")
    return known[how]


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    return _cosine(a - a.mean(), b - b.mean()) if a.size else np.nan


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else np.nan


def _tau_a(a: np.ndarray, b: np.ndarray) -> float:
    """Concordant less discordant pairs over all pairs: SciPy's tau-b with its correction for ties taken back."""
    pairs = a.size * (a.size - 1) / 2.0
    untied = [pairs - (counts * (counts - 1) / 2.0).sum() for counts in (np.unique(side, return_counts=True)[1] for side in (a, b))]
    return float(kendalltau(a, b).statistic * np.sqrt(untied[0] * untied[1]) / pairs) if min(untied, default=0) > 0 else np.nan


def noise_ceiling(
    responses: Any, conditions: Any, metric: Metric = "correlation", how: How = "spearman", *, noise: Any = None, splits: int = 100, key: Any = 0
) -> xr.Dataset:
    """How similar to the data could the best model be? Split-half reliability of the data's own dissimilarity matrix.

    The trials of every condition are halved at random; r is the similarity of the two halves' matrices. The reliability of
    the whole is 2 r / (1 + r) (Spearman-Brown), and a model without noise that were the truth would have a similarity of
    about its square root.

    Parameters
    ----------
    responses : (trial, neuron)
    conditions : (trial,)
        What was shown in each trial; two trials of each at least.
    metric, noise
        As for ``dissimilarity``; "crossnobis" needs runs, and is not taken here.
    how : "spearman", "pearson", "kendall" or "cosine"
    splits : int
    key : int or JAX key

    Returns
    -------
    xarray.Dataset
        ``halves`` (split,): r of every split; ``reliability`` and ``ceiling`` at their mean (NaN where that is not positive).

    Raises
    ------
    ValueError
        Where a condition has one trial, or there are fewer than four conditions.

    Notes
    -----
    The spread over splits is that of halving, no standard error: all splits share the same trials. For rank correlations the
    two formulas are approximations; and where trials are so noisy that squares of the noise count in a distance, halves are
    less alike than they assume and the ceiling is too low (.63 for .71 in a simulation of r = .25). A model fitted to the
    same trials may exceed it.

    References
    ----------
    Spearman 1904, The proof and measurement of association between two things; Nili et al. 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from bayesglm import rsa
    >>> rng = np.random.default_rng(0)
    >>> shown = np.repeat(np.arange(8), 10)
    >>> responses = rng.normal(size=(8, 30))[shown] + rng.normal(size=(80, 30))
    >>> bool(rsa.noise_ceiling(responses, shown)["ceiling"] > 0.8)
    True
    """
    similar, splits, rng = _chosen(how), whole("noise_ceiling(splits)", splits, 1), _generator(key)
    values, shown = np.asarray(responses, float), np.asarray(conditions)
    if values.ndim != 2 or shown.shape != values.shape[:1] or metric == "crossnobis":
        raise ValueError(f"noise_ceiling wants responses (trial, neuron) and conditions (trial,), and no crossnobis; got {values.shape} and {shown.shape}.")
    labels, counts = np.unique(shown, return_counts=True)
    if labels.size < _LEAST or counts.min() < 2:
        raise ValueError(f"noise_ceiling: {labels.size} conditions of {counts.min()} trials at least; it wants {_LEAST} conditions of two trials or more.")
    places = [np.flatnonzero(shown == label) for label in labels]
    upper, halves = np.triu_indices(labels.size, 1), np.zeros(splits)
    for split in range(splits):
        cut = [np.array_split(rng.permutation(trials), 2)[:: 1 if rng.random() < 0.5 else -1] for trials in places]
        sides = [dissimilarity(np.stack([values[pair[i]].mean(0) for pair in cut]), metric, noise=noise).values[upper] for i in range(2)]
        halves[split] = similar(*sides)
    r = float(halves.mean())
    reliability = 2.0 * r / (1.0 + r) if r > 0 else np.nan
    found = {"halves": ("split", halves), "reliability": ((), reliability), "ceiling": ((), float(np.sqrt(reliability)))}
    return xr.Dataset(found, attrs={"metric": metric, "how": how, "trials": int(counts.min()), "conditions": int(labels.size)})


def _generator(key: Any) -> np.random.Generator:
    """A NumPy generator from an int or a JAX key."""
    if isinstance(key, (int, np.integer)):
        return np.random.default_rng(int(key))
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
