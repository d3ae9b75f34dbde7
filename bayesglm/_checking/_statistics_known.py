"""The statistics of continuous responses, classes and angles; and which of all a response has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bayesglm._checking import _statistics as common
from bayesglm._checking._statistics import Statistic, a_row, added, over, units_of
from bayesglm._checking._statistics_rows import Chunk, Layout


def _extreme(layout: Layout) -> Statistic:
    return Statistic(
        "extreme",
        "largest distance from the prediction",
        units_of(layout),
        lambda c: np.abs(c.residual).max(-1, initial=0.0)[..., None],
        lambda s, _: s[..., 0],
        largest=True,
        mend="outliers: try family.StudentT()",
    )


def _powers(c: Chunk, power: int) -> np.ndarray:
    return np.concatenate([added(c.residual**power), added(c.residual**2)], -1)


def _skewness(layout: Layout) -> Statistic:
    return Statistic(
        "skewness",
        "skewness around the prediction",
        "1",
        lambda c: _powers(c, 3),
        lambda s, k: over(s[..., 0] / k.scored, (s[..., 1] / k.scored) ** 1.5),
        mend="the noise is lopsided: transform the response, or try family.Gamma() for positive ones",
    )


def _kurtosis(layout: Layout) -> Statistic:
    return Statistic(
        "kurtosis",
        "kurtosis around the prediction",
        "1",
        lambda c: _powers(c, 4),
        lambda s, k: over(s[..., 0] / k.scored, (s[..., 1] / k.scored) ** 2),
        mend="tails heavier or lighter than the family's: try family.StudentT()",
    )


def _frequencies(layout: Layout) -> Statistic:
    codes = range(0 if layout.classes is None else len(layout.classes))
    return Statistic(
        "frequencies",
        "share of each class",
        "share of rows",
        lambda c: np.stack([((c.value == code) & c.weight).sum(-1) for code in codes], -1).astype(float),
        lambda s, k: s / k.scored[:, None],
        axis="class",
        at=lambda k: k.classes,
        mend="classes are too frequent or too rare: look for drift (bg.drift)",
    )


def _repeats(layout: Layout) -> Statistic:
    def sums(c: Chunk) -> np.ndarray:
        before, known = c.past.before(c.rows)
        both = known & c.weight
        return np.concatenate([added((c.value == before) & both), added(np.broadcast_to(both, c.value.shape))], -1).astype(float)

    return Statistic(
        "repeats",
        "share of rows that repeat the one before",
        "1",
        sums,
        lambda s, _: over(s[..., 0], s[..., 1]),
        mend="choices depend on the last ones: add History()",
    )


def _resultant(layout: Layout) -> Statistic:
    return Statistic(
        "resultant",
        "length of the mean direction",
        "1",
        lambda c: np.concatenate([added(f(layout.turn * c.value) * c.weight) for f in (np.cos, np.sin)], -1),
        lambda s, k: np.hypot(s[..., 0], s[..., 1]) / k.scored,
        mend="directions cluster otherwise than predicted: look for the covariate that is missing",
    )


def _concentration(layout: Layout) -> Statistic:
    return Statistic(
        "concentration",
        "mean cosine of the distance from the predicted direction",
        "1",
        lambda c: added(c.cosine),
        a_row,
        mend="directions scatter otherwise than predicted: let covariates move the concentration",
    )


KNOWN: dict[str, Callable[[Layout], Statistic]] = {
    "mean": common.mean,
    "variance": common.variance,
    "fano": common.fano,
    "zeros": common.zeros,
    "maximum": common.maximum,
    "skewness": _skewness,
    "kurtosis": _kurtosis,
    "extreme": _extreme,
    "frequencies": _frequencies,
    "repeats": _repeats,
    "resultant": _resultant,
    "concentration": _concentration,
    "autocorrelation": common.autocorrelation,
    "isi": common.isi,
    "psth": common.psth,
    "cross_correlation": common.cross,
    "cross_correlation_lagged": common.cross_lagged,
    "rootogram": common.rootogram,
    "pit": common.pit,
}
_OF_NATURE = {
    "counts": ("mean", "variance", "fano", "zeros", "maximum", "autocorrelation", "rootogram", "pit"),
    "binary": ("mean", "variance", "autocorrelation", "repeats", "pit"),
    "successes": ("mean", "variance", "zeros", "maximum", "autocorrelation", "rootogram", "pit"),
    "continuous": ("mean", "variance", "skewness", "kurtosis", "extreme", "autocorrelation", "pit"),
    "classes": ("frequencies", "repeats"),
    "levels": ("frequencies", "repeats", "autocorrelation", "pit"),
    "angles": ("resultant", "concentration", "autocorrelation", "pit"),
}


def offered(layout: Layout, kind: str) -> tuple[str, ...]:
    """Names of the statistics that this response has, for replicates of this kind."""
    names = list(_OF_NATURE[layout.nature])
    if layout.spiking:
        names = [name for name in names if name != "repeats"] + ["isi"] + (["fano"] if layout.nature == "binary" else [])
    if layout.trial_bin is not None and layout.nature in ("counts", "binary", "continuous"):
        names.append("psth")
    if len(layout.weight) > 1 and layout.nature not in ("classes", "levels"):
        names += ["cross_correlation"] + (["cross_correlation_lagged"] if layout.on_time and layout.lags else [])
    if kind == "free":
        names.remove("pit") if "pit" in names else None
    without = {"autocorrelation", "isi", "repeats"} if not layout.lags else set()
    return tuple(name for name in KNOWN if name in names and name not in without)
