"""Which rows are scored: those whose terms read nothing that is missing; rows are never removed."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from registry import TERMS, TermCase, cases
from shapes import EPOCHS, NEURONS, columns, everything
from test_convolve import slow

import bayesglm as bg
from bayesglm import basis
from bayesglm.terms._lagged import AbstractLagged

IDS = np.repeat(np.arange(len(EPOCHS)), EPOCHS)
ROWS = IDS.size


@pytest.mark.parametrize("case", [p for p in cases(TERMS) if p.id.split("-")[0] in ("Stimulus", "Linear", "Tuning", "Offset") and p.id != "Tuning-2"])
def test_rows_that_read_nan_are_not_scored(case: TermCase) -> None:
    model = bg.GLM(case.make()).resolve(everything())
    term = next(iter(model.terms))
    holes = np.zeros(ROWS, bool)
    holes[[10, 41, 70]] = True
    column = term.needs()[-1]
    values = columns()[column].astype(float)
    values[(holes, 1) if column == "private" else holes] = np.nan
    design = model.design(everything(**{column: values}))
    lost = np.broadcast_to(design.weight() == 0, (ROWS, NEURONS))
    early = np.broadcast_to(model.design(everything()).weight() == 0, (ROWS, NEURONS))
    reads = slow(holes.astype(float), np.ones((len(term.kernels), 1)), IDS, -case.ahead)[0][:, 0] > 0 if isinstance(term, AbstractLagged) else holes
    wanted = np.zeros((ROWS, NEURONS), bool)
    wanted[:, 1 if column == "private" else slice(None)] = reads[:, None] if column != "private" else reads
    np.testing.assert_array_equal(lost, wanted | early)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((design.shared, design.each)) if leaf.dtype.kind == "f")
    assert any(column in reason and count for reason, count in design.report)


def test_two_terms_that_read_one_column_with_nan() -> None:
    """The filter's lost rows are not forgotten for those of the instantaneous term, in either order."""
    values = columns()["stimulus"].copy()
    values[20] = np.nan
    filtered, instant = bg.Stimulus("stimulus", basis.Lags(span=0.03), edge="zero"), bg.Linear("stimulus", name="now")
    for terms in (filtered + instant, instant + filtered):
        design = bg.GLM(terms).resolve(everything(stimulus=values)).design(everything(stimulus=values))
        np.testing.assert_array_equal(np.flatnonzero(design.scored == 0), [20, 21, 22])


def test_unobserved_cells() -> None:
    """A neuron is scored where observed; an unobserved source takes the rows that read it from its receivers, no others."""
    seen = np.ones((ROWS, NEURONS), bool)
    seen[20:24, 1] = seen[60, 2] = False
    kernel, mask = basis.Lags(span=0.03), np.array([[False, True, False], [True, False, True], [True, False, False]])
    model = bg.GLM(bg.Baseline() + bg.History(kernel) + bg.Coupling(kernel, mask=mask)).resolve(everything(observed=seen))
    design = model.design(everything(observed=seen))
    reads = slow((~seen).astype(float), np.ones((3, 1)), IDS, 1)[0][..., 0] > 0
    _, whole = slow(np.zeros(ROWS), np.ones((3, 1)), IDS, 1)
    wanted = seen & whole[:, None] & ~reads & ~((reads.astype(int) @ mask.T) > 0)
    np.testing.assert_array_equal(design.weight() > 0, wanted)
    other = columns()["spikes"].copy()
    other[~seen] = 7
    hidden = bg.GLM(model.terms, model.family).resolve(everything(observed=seen, spikes=other))
    np.testing.assert_allclose(hidden.level, model.level)
    whole_model = bg.GLM(bg.Baseline() + bg.History(kernel) + bg.Coupling(kernel, mask=mask)).resolve(everything(observed=seen, spikes=other))
    for name in ("history", "coupling"):
        np.testing.assert_allclose(whole_model.terms[name].centre, model.terms[name].centre)
