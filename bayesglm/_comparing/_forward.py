"""forward_selection(): terms are added to each neuron's model while left-out data say that they help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import xarray as xr
from scipy.stats import wilcoxon

from bayesglm._comparing._compare import _unlike, _verdict
from bayesglm._comparing._comparison import BETTER, LEAST_CLUSTERS
from bayesglm._comparing._elpd import Elpd, clustered_se

Rule = Literal["verdict", "signed_rank"]
LEVEL = 0.05
_NONE: frozenset[str] = frozenset()


def forward_selection(estimates: Mapping[str, Elpd], start: str = "constant", rule: Rule = "verdict") -> xr.Dataset:
    """Select terms for every neuron by forward steps: add the one that predicts best, while it is better than none.

    From the model ``start``, every step looks at the models with one term more, takes for each neuron the one with the largest
    elpd, and tests the difference d_b over blocks b: while the test is passed the term is included, else the neuron's
    selection ends.

    Parameters
    ----------
    estimates : mapping of names to Elpd
        Results of ``bg.loo``, ``bg.waic`` or ``bg.kfold`` of models fitted by ``bg.fit_all``. A name is a sum of terms, as in
        "position + speed", in any order; a step to a model that is not there is not taken.
    start : str
        Name of the model without any of the terms.
    rule : "verdict" or "signed_rank"
        "verdict": that of ``bg.compare`` must be "better" (95 % t-interval of sum_b d_b above zero, 4 nats or more).
        "signed_rank": Wilcoxon's one-sided test of d_b must be below 5 %, as Hardcastle et al. do over folds.

    Returns
    -------
    xarray.Dataset
        ``included (variable, neuron)`` bool; ``model (neuron)``, the name of the one selected; ``gain (neuron)``, its elpd
        minus that of ``start`` in nats.

    Raises
    ------
    ValueError
        Without ``start``, for estimates of different units or rows, an unknown rule, fewer than 20 blocks with "verdict".

    Notes
    -----
    A step takes the largest of several differences, each with an error, and then tests it as if it had been the only one: at 5 % a
    useless term among several is included more often than once in twenty. "Not included" is not "does not code".

    References
    ----------
    Hardcastle, Maheswaranathan, Ganguli & Giocomo 2017, A multiplexed, heterogeneous, and adaptive code for navigation in
    medial entorhinal cortex.

    Examples
    --------
    >>> import bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.normal(size=(2, 900))
    >>> data = bg.recording(dt=0.1, spikes=rng.poisson(np.exp(x - 1))[:, None], x=x, z=z)
    >>> terms = {"constant": bg.Baseline(), "x": bg.Baseline() + bg.Linear("x"), "z": bg.Baseline() + bg.Linear("z")}
    >>> fits = bg.fit_all({name: bg.GLM(one) for name, one in terms.items()}, data, "laplace", progress=False)
    >>> found = forward_selection({name: bg.loo(fit, block=3.0) for name, fit in fits.items()})
    >>> found["model"].item(), found["included"].squeeze().to_series().to_dict()
    ('x', {'x': True, 'z': False})
    """
    models = _by_terms(estimates, start, rule)
    values = {terms: record.elpd_i.values for terms, record in models.items()}
    cluster, labels = models[_NONE].cluster, models[_NONE].elpd_i["neuron"].values
    chosen = [_select({terms: array[:, n] for terms, array in values.items()}, cluster, rule) for n in range(labels.size)]
    variables = list(dict.fromkeys(term for name in estimates if name != start for term in _parts(name)))
    included = np.array([[variable in terms for terms in chosen] for variable in variables], bool).reshape(len(variables), labels.size)
    names = dict(zip(models, estimates, strict=True))
    gain = [float(np.nansum(values[terms][:, n] - values[_NONE][:, n])) for n, terms in enumerate(chosen)]
    found = {
        "included": (("variable", "neuron"), included),
        "model": ("neuron", np.array([names[terms] for terms in chosen])),
        "gain": ("neuron", gain, {"units": "nats"}),
    }
    return xr.Dataset(found, {"variable": variables, "neuron": labels}, {"rule": rule, "start": start})


def _by_terms(estimates: Mapping[str, Elpd], start: str, rule: str) -> dict[frozenset[str], Elpd]:
    """Estimates by their sets of terms, checked to be of the same units."""
    if rule not in get_args(Rule):
        raise ValueError(f"forward_selection(rule={rule!r}): it is one of {', '.join(map(repr, get_args(Rule)))}.")
    if start not in estimates:
        raise ValueError(f"forward_selection(start={start!r}): there is no model of this name to begin with; there are {list(estimates)}.")
    reference = estimates[start]
    for name, record in estimates.items():
        if not isinstance(record, Elpd):
            raise ValueError(f"forward_selection wants results of bg.loo, bg.waic or bg.kfold; {name!r} is a {type(record).__name__}.")
        why = _unlike(record, reference, False)
        if why:
            raise ValueError(f"forward_selection: {name!r} cannot be compared with {start!r}: {why}.")
    if rule == "verdict" and reference.n_clusters < LEAST_CLUSTERS:
        few = f"{reference.n_clusters} {reference.se_unit}s are too few for a verdict, {LEAST_CLUSTERS} are wanted"
        raise ValueError(f"forward_selection: {few}: give shorter blocks (block=) where they are long enough, or record longer.")
    models = {_NONE if name == start else frozenset(_parts(name)): record for name, record in estimates.items()}
    if len(models) < len(estimates):
        raise ValueError(f"forward_selection: two of the models {list(estimates)} have the same terms.")
    return models


def _parts(name: str) -> list[str]:
    """Terms of a model's name."""
    return [term.strip() for term in name.split("+")]


def _select(values: dict[frozenset[str], np.ndarray], cluster: np.ndarray, rule: str) -> frozenset[str]:
    """The terms at which one neuron's selection ends; ``values`` (unit,) of each model."""
    now = _NONE
    while True:
        larger = [terms for terms in values if len(terms) == len(now) + 1 and now < terms]
        best = max(larger, key=lambda terms: np.nansum(values[terms]), default=now)
        if best == now or not _passes(values[best] - values[now], cluster, rule):
            return now
        now = best


def _passes(difference: np.ndarray, cluster: np.ndarray, rule: str) -> bool:
    """Whether pointwise differences (unit,) are enough for a term."""
    known = np.isfinite(difference)
    if rule == "verdict":
        total, se = float(difference[known].sum()), float(clustered_se(difference[:, None], cluster)[0])
        return total > 0 and _verdict(total, se, np.unique(cluster[known]).size, True) == BETTER  # a verdict is of the leading model
    sums = np.bincount(cluster[known], difference[known])[np.unique(cluster[known])]
    return bool(np.any(sums != 0)) and float(wilcoxon(sums, alternative="greater").pvalue) < LEVEL
