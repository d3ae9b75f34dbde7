"""The engine's view of a model whose parts are columns times weights: what makes it as fast as its twin in terms."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import bayesglm as bg
from bayesglm.engine.from_blocks import linear_of_blocks
from bayesglm.engine.linear import Linear


def stated(
    design: bg.Design, family: Any, response: str, *blocks: bg.Block, centres: dict[str, Any], dt: float = 1.0, about: dict[str, Any] | None = None
) -> Linear | None:
    """The linear structure of ``blocks`` and of a baseline that is centred at the average of their columns.

    For stories that the engine cannot read off their traces: scales that neurons share, dispersions, several predictors.
    A test holds its log density against that of the same model written in terms.

    Parameters
    ----------
    design : Design
        With ``level`` (neuron,) or (neuron, predictor) among ``each["cells"]``, and ``spread`` where the family wants one.
    family : AbstractFamily
        Resolved.
    response : str
        Name of the observed site.
    *blocks : Block
        Every part of eta but the baseline, with the prior of its weights.
    centres : dict
        Average of each block's columns in training, by name.
    dt : float
        Bin width in s; one on trial rows.
    about : dict, optional
        What a block's prior knows of each neuron: {block: {name: (neuron, ...)}}.

    Returns
    -------
    Linear or None
        None where the recording has no response.
    """
    cells, size = design.each["cells"], design.size
    baseline = bg.Block("baseline", (), np.ones(design.rows), None, np.ones(size, bool), bg.prior.StudentT(3.0, 2.5))
    whole = (*blocks, baseline)
    known = {
        "mask": {block.name: block.mask for block in whole},
        "centre": {block.name: np.broadcast_to(centres.get(block.name, 0.0), block.mask.shape) for block in whole},
        "level": cells["level"],
        "spread": cells.get("spread", np.ones(size)),
        "about": about,
    }
    return linear_of_blocks(whole, dataclasses.replace(design, each=design.each | {"cells": known}), family, response, dt, True)
