"""Pictures: each takes a fit (or a recording) and returns a matplotlib Figure with bands and units."""

from bayesglm._plot._calibration import calibration as calibration
from bayesglm._plot._comparison import comparison as comparison
from bayesglm._plot._comparison import elpd as elpd
from bayesglm._plot._comparison import khat as khat
from bayesglm._plot._coupling import coupling as coupling
from bayesglm._plot._curves import tuning as tuning
from bayesglm._plot._decoded import decoded as decoded
from bayesglm._plot._dissimilarity import dissimilarity as dissimilarity
from bayesglm._plot._drift import drift as drift
from bayesglm._plot._filters import filters as filters
from bayesglm._plot._posterior_check import posterior_check as posterior_check
from bayesglm._plot._receptive_field import receptive_field as receptive_field
from bayesglm._plot._rescale import rescale as rescale
from bayesglm._plot._simulation import simulation as simulation
from bayesglm._plot._spikes import raster as raster
from bayesglm._plot._spikes import rate as rate

__all__ = [
    "calibration",
    "comparison",
    "coupling",
    "decoded",
    "dissimilarity",
    "drift",
    "elpd",
    "filters",
    "khat",
    "posterior_check",
    "raster",
    "rate",
    "receptive_field",
    "rescale",
    "simulation",
    "tuning",
]
