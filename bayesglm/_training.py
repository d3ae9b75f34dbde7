"""The recording that a fit was made on, where it is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from bayesglm._data import is_time

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


def on_time_rows(fit: Fit) -> bool:
    """Whether the rows of a fit are time bins rather than trials; known without the recording, from the response kept."""
    if fit.data is not None:
        return is_time(fit.data)
    return "observed_data" not in fit.idata.children or "trial" not in fit.idata["observed_data"].dims
