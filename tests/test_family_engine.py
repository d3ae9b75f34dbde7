"""Every family's density by the engine and by the story."""

from __future__ import annotations

import pytest
from registry import FAMILIES, FamilyCase, cases
from shapes import everything
from test_glm import KERNEL, check_equal_differences

import bayesglm as bg
from bayesglm import basis, prior
from bayesglm._double import in_double


def model(case: FamilyCase, *others: bg.terms.AbstractTerm) -> bg.GLM:
    """Shared and own columns, masks, an offset and a centred baseline, as far as the family takes them."""
    made, terms = case.make(), bg.Stimulus("pose", KERNEL, prior.Laplace(0.4)) + bg.Linear("private") + bg.Coupling(KERNEL)
    for other in (*others, *(() if made.n_predictors > 1 else (bg.Offset("exposure"),)), *(() if hasattr(made, "own_constant") else (bg.Baseline(),))):
        terms = terms + other
    return bg.GLM(terms, made, response=case.column, neurons=("a", "c")).resolve(everything())


@pytest.mark.parametrize("case", cases(FAMILIES))
@in_double
def test_engine_equals_story(case: FamilyCase) -> None:
    check_equal_differences(model(case))


@pytest.mark.parametrize("case", [p for p in cases(FAMILIES) if not p.values[0].plain])
@in_double
def test_engine_equals_story_under_rotated_priors(case: FamilyCase) -> None:
    """Several predictors, and a prior that mixes neighbouring weights."""
    check_equal_differences(model(case, bg.Tuning("x", basis.BSpline(5), prior.Smooth())))
