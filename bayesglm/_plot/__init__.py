"""Pictures: each takes a fit (or a recording) and returns a matplotlib Figure with bands and units."""

from bayesglm._plot._comparison import comparison as comparison
from bayesglm._plot._comparison import elpd as elpd
from bayesglm._plot._comparison import khat as khat
from bayesglm._plot._coupling import coupling as coupling
from bayesglm._plot._curves import tuning as tuning
from bayesglm._plot._filters import filters as filters
from bayesglm._plot._spikes import raster as raster
from bayesglm._plot._spikes import rate as rate

__all__ = ["comparison", "coupling", "elpd", "filters", "khat", "raster", "rate", "tuning"]
