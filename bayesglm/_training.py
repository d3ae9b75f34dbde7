"""The recording that a fit was made on, where it is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from bayesglm._fit import Fit


def training_data(fit: Fit) -> xr.Dataset:
    """The training recording of a fit.

    Raises
    ------
    ValueError
        Where the fit was saved without its recording and loaded again.
    """
    if fit.data is None:
        raise ValueError("This fit was saved without its recording: pass data=, or save it with save(fit, path, data=True).")
    return fit.data
