"""The statistics of a posterior predictive check.

Every one is a sum over rows of a function of the row's own response and of what came before it (the largest value is
the one exception), so that one definition serves replicates of both kinds. Free-running replicates have a past of their own.
One step ahead the past stays the real one and only the row's own response is replaced: the sum minus its expectation
given the past is then a martingale for the observed response, and its conditional variance is that of the replicates, so
that their p-values are nominal. A statistic of a replicate's own neighbours would have none: one-step replicates know
nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from bayesglm._checking._statistics_rows import SHORT, WINDOW, Chunk, Layout

UNIFORM_BINS = 10
_NONE = 1e-300

Sums = Callable[[Chunk], np.ndarray]  # (draw, neuron, number)
Finish = Callable[[np.ndarray, Layout], np.ndarray]  # sums -> (draw, neuron) or (draw, neuron, place)


class Statistic(NamedTuple):
    """What is summed, what is made of it, and how it is called."""

    name: str
    title: str
    units: str
    sums: Sums
    finish: Finish
    axis: str = ""  # of a curve; "" for a number
    at: Callable[[Layout], np.ndarray] = lambda _: np.arange(0)  # the axis' coordinate
    width: Callable[[Layout], np.ndarray] | None = None  # (place, 2) edges of its classes
    largest: bool = False  # over rows, rather than the sum
    unit: float = 0.0  # the smallest difference that means anything
    mend: str = ""  # what to do where it stands out
    mend_low: str = ""  # where the observed one is smaller than the replicates', and that asks for something else


def added(x: np.ndarray) -> np.ndarray:
    """(draw, neuron, row) -> (draw, neuron, 1)."""
    return x.sum(-1)[..., None]


def _projected(x: np.ndarray, columns: Iterable[np.ndarray]) -> np.ndarray:
    """Sums over rows of x (draw, neuron, row) times each column (draw or 1, neuron or 1, row): (draw, neuron, column)."""
    listed = list(columns)
    if listed[0].shape[0] > 1 or len(x) == 1:
        return np.stack([np.einsum("dnr,dnr->dn", x, np.broadcast_to(column, x.shape)) for column in listed], -1)
    shared = np.stack([np.broadcast_to(column[0], x.shape[1:]) for column in listed], -1).astype(float)
    return np.moveaxis(np.matmul(np.moveaxis(x, 0, 1), shared), 0, 1)


def over(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """A ratio; 0 where nothing is below the line."""
    return np.divide(top, bottom, out=np.zeros(np.broadcast_shapes(top.shape, bottom.shape)), where=np.abs(bottom) > _NONE)


def a_row(sums: np.ndarray, layout: Layout) -> np.ndarray:
    return sums[..., 0] / layout.scored


def mean(layout: Layout) -> Statistic:
    scale, units = (1.0 / layout.dt, "spikes/s") if layout.spiking else (1.0, units_of(layout))
    return Statistic(
        "mean",
        "mean",
        units,
        lambda c: added(c.value),
        lambda s, k: scale * a_row(s, k),
        mend="the level has moved: look for drift (bg.drift), and let the baseline follow it with Tuning('time')",
    )


def units_of(layout: Layout) -> str:
    return {"counts": "events a row", "binary": "share of rows", "successes": "successes a row", "angles": "1"}.get(layout.nature, "units of the response")


def variance(layout: Layout) -> Statistic:
    mends = {
        "counts": "the noise is not the family's: try family.NegativeBinomial(), or the covariate that is missing",
        "continuous": "the noise is not the family's, or its size moves: try family.StudentT(), and look for drift (bg.drift)",
    }
    return Statistic(
        "variance",
        "variance around the prediction",
        f"({units_of(layout)})^2",
        lambda c: added(c.residual**2),
        a_row,
        mend=mends.get(layout.nature, "probabilities are too extreme, or not enough: look for drift (bg.drift) and for covariates that are missing"),
        mend_low="responses vary less than the family's: add History() with functions that begin at one bin" if layout.spiking else "",
    )


def fano(layout: Layout) -> Statistic:
    def sums(c: Chunk) -> np.ndarray:
        within = _projected(c.residual, [c.past.in_window(c.rows)])
        return np.concatenate([added(c.residual**2) + 2.0 * within, added(c.value)], -1)

    window = f"windows of {layout.window * layout.dt:.3g} s" if layout.on_time else "trials"
    return Statistic(
        "fano",
        f"Fano factor of the counts in {window}",
        "1",
        sums,
        lambda s, _: over(s[..., 0], s[..., 1]),
        mend=f"counts vary more than expected over some {WINDOW:g} s: add a slow covariate, History(), or family.NegativeBinomial()",
        mend_low="spikes are more regular than expected: add History()",
    )


def zeros(layout: Layout) -> Statistic:
    return Statistic(
        "zeros",
        "share of zeros",
        "1",
        lambda c: added((c.value == 0) & c.weight),
        a_row,
        mend="empty rows are too many: try family.ZeroInflatedPoisson() or family.NegativeBinomial()",
        mend_low="empty rows are too few: the covariate or History() that tells when the cell is silent is missing, or the level has moved",
    )


def maximum(layout: Layout) -> Statistic:
    return Statistic(
        "maximum",
        "largest count",
        "events",
        lambda c: c.value.max(-1, initial=0.0)[..., None],
        lambda s, _: s[..., 0],
        largest=True,
        unit=1.0,
        mend="bursts within a row: try narrower bins with History(), or family.NegativeBinomial()",
        mend_low="counts never get as large as expected: family.Bernoulli() where a bin holds at most one spike, narrower bins, or link='softplus'",
    )


def autocorrelation(layout: Layout) -> Statistic:
    def sums(c: Chunk) -> np.ndarray:
        return np.concatenate([_projected(c.residual, (c.past.lagged(c.rows, *pair) for pair in layout.lags)), added(c.residual**2)], -1)

    what = "of the response" if layout.nature not in ("counts", "binary") or not layout.spiking else ""
    return Statistic(
        "autocorrelation",
        "autocorrelation",
        "1",
        sums,
        lambda s, _: over(s[..., :-1], s[..., -1:]),
        axis="lag",
        at=lambda k: np.array([0.5 * (low + high) for low, high in k.lags]) * k.dt,
        width=lambda k: _edges(k),
        mend=f"add History() {what or 'or give it more, or longer, functions'}".strip(),
    )


def _edges(layout: Layout) -> np.ndarray:
    return np.array([(low - 0.5, high + 0.5) for low, high in layout.lags]) * layout.dt


def isi(layout: Layout) -> Statistic:
    shared = layout.nature == "counts"  # a bin may hold several spikes

    def sums(c: Chunk) -> np.ndarray:
        kind = c.past.since[..., c.rows]
        found = _projected((c.value > 0).astype(float), (kind == k + 1 for k in range(len(layout.lags))))
        return np.concatenate([added(np.maximum(c.value - 1.0, 0.0)), found], -1) if shared else found

    def at(k: Layout) -> np.ndarray:
        return np.array(([0.0] if shared else []) + [0.5 * (low + high) * k.dt for low, high in k.lags])

    return Statistic(
        "isi",
        "intervals between spikes",
        "share of spikes",
        sums,
        lambda s, _: over(s, s.sum(-1, keepdims=True)),
        axis="interval",
        at=at,
        width=lambda k: np.concatenate([[(0.0, 0.5 * k.dt)], _edges(k)]) if shared else _edges(k),
        mend="refractoriness or bursts are missed: History() with functions that begin at one bin, or narrower bins",
    )


def psth(layout: Layout) -> Statistic:
    size = 0 if layout.trial_at is None else layout.trial_at.size
    rows = np.zeros((len(layout.weight), size))
    for k in range(size):
        rows[:, k] = (layout.weight & (layout.trial_bin == k)).sum(1)
    scale = 1.0 / layout.dt if layout.spiking else 1.0
    return Statistic(
        "psth",
        "mean by time in the trial",
        "spikes/s" if layout.spiking else units_of(layout),
        lambda c: _projected(c.value, ((layout.trial_bin[c.rows] == k)[None, None] for k in range(size))),
        lambda s, _: scale * over(s, np.broadcast_to(rows, s.shape)),
        axis="trial_time",
        at=lambda k: k.trial_at,
        mend="something locked to the trial is missed: add Event() terms, or finer functions for those there are",
    )


def _pairs(c: Chunk, other: np.ndarray, layout: Layout) -> np.ndarray:
    """Sums of products of all pairs, and each neuron's own sum of squares last, (draw, neuron, partner + 1)."""
    found = np.full((*c.residual.shape[:2], layout.partners.size + 1), np.nan)
    mine = c.residual[:, layout.partners]
    found[:, layout.partners, :-1] = np.matmul(mine, np.swapaxes(other[:, layout.partners], 1, 2))
    found[..., -1] = np.einsum("dnr,dnr->dn", c.residual, c.residual)
    return found


def _as_correlations(sums: np.ndarray, layout: Layout) -> np.ndarray:
    power = np.sqrt(sums[..., -1])
    found = over(sums[..., :-1], power[..., None] * power[:, None, layout.partners])
    found[:, layout.partners, np.arange(layout.partners.size)] = np.nan
    return found


def cross(layout: Layout) -> Statistic:
    return Statistic(
        "cross_correlation",
        "correlation with the other neurons in the same row",
        "1",
        lambda c: _pairs(c, c.residual, layout),
        _as_correlations,
        axis="partner",
        mend="neurons share an input that the model lacks: add the covariate, Tuning('time'), or Coupling() with narrower bins",
    )


def cross_lagged(layout: Layout) -> Statistic:
    return Statistic(
        "cross_correlation_lagged",
        f"correlation with the other neurons' last {max(layout.short * layout.dt, min(SHORT, layout.dt)):.3g} s",
        "1",
        lambda c: _pairs(c, c.past.lagged(c.rows, 1, layout.short), layout),
        _as_correlations,
        axis="partner",
        mend="add Coupling(), or what drives both neurons",
    )


def rootogram(layout: Layout) -> Statistic:
    lows = layout.counts
    highs = np.r_[lows[1:], np.inf]
    return Statistic(
        "rootogram",
        "rows with each count",
        "rows",
        lambda c: np.stack([((c.value >= low) & (c.value < high) & c.weight).sum(-1) for low, high in zip(lows, highs, strict=True)], -1).astype(float),
        lambda s, _: s,
        axis="count",
        at=lambda k: k.counts.astype(float),
        mend="counts do not follow the family's law: try family.NegativeBinomial() or family.ZeroInflatedPoisson()",
    )


def pit(layout: Layout) -> Statistic:
    def sums(c: Chunk) -> np.ndarray:
        place = np.minimum((np.asarray(c.uniform) * UNIFORM_BINS).astype(np.int8), UNIFORM_BINS - 1)
        return np.stack([((place == k) & c.weight).sum(-1) for k in range(UNIFORM_BINS)], -1).astype(float)

    return Statistic(
        "pit",
        "probability integral transform",
        "share of rows",
        sums,
        lambda s, _: over(s, s.sum(-1, keepdims=True)),
        axis="probability",
        at=lambda _: (np.arange(UNIFORM_BINS) + 0.5) / UNIFORM_BINS,
        mend="the predictive distribution is too narrow, too wide or off centre: try another family, or the covariate that is missing",
    )
