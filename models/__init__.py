"""The reading room: one file is one ready-made NumPyro model, to be read, fitted as it is, or copied and changed."""

from bayesglm.models.choice_decoding import ChoiceDecoding
from bayesglm.models.coupled_population import CoupledPopulation
from bayesglm.models.poisson_receptive_field import PoissonReceptiveField
from bayesglm.models.receptive_field import ReceptiveField
from bayesglm.models.spatial_tuning import SpatialTuning
from bayesglm.models.spike_history import SpikeHistory

__all__ = ["ChoiceDecoding", "CoupledPopulation", "PoissonReceptiveField", "ReceptiveField", "SpatialTuning", "SpikeHistory"]
