"""The reading room: one file is one ready-made NumPyro model, to be read, fitted as it is, or copied and changed."""

from bayesglm.models.choice_decoding import ChoiceDecoding
from bayesglm.models.coupled_population import CoupledPopulation
from bayesglm.models.decision_kernels import DecisionKernels
from bayesglm.models.feature_encoding import FeatureEncoding
from bayesglm.models.hierarchical_sessions import HierarchicalSessions
from bayesglm.models.orientation_decoding import OrientationDecoding
from bayesglm.models.overdispersed_encoding import OverdispersedEncoding
from bayesglm.models.poisson_receptive_field import PoissonReceptiveField
from bayesglm.models.psychometric_history import PsychometricHistory
from bayesglm.models.receptive_field import ReceptiveField
from bayesglm.models.spatial_tuning import SpatialTuning
from bayesglm.models.spike_history import SpikeHistory
from bayesglm.models.two_area_population import TwoAreaPopulation

__all__ = [
    "ChoiceDecoding",
    "CoupledPopulation",
    "DecisionKernels",
    "FeatureEncoding",
    "HierarchicalSessions",
    "OrientationDecoding",
    "OverdispersedEncoding",
    "PoissonReceptiveField",
    "PsychometricHistory",
    "ReceptiveField",
    "SpatialTuning",
    "SpikeHistory",
    "TwoAreaPopulation",
]
