"""All of NSCA in one module: what phase full trains and what robots serve."""

from __future__ import annotations

from torch import nn

from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.fusion import LatentPredictor
from robot_learning.models.nsca.heads import OutcomeHeads, PropertyHeads
from robot_learning.models.nsca.novelty import Novelty
from robot_learning.models.nsca.perception import Perception
from robot_learning.models.nsca.world import WorldDynamics


class NscaModel(nn.Module):
    """Perception, what its states must be able to say, and where they go."""

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        self.perception = Perception(config)
        self.predictor = LatentPredictor(config)
        self.world = WorldDynamics(config)
        self.outcomes = OutcomeHeads(config)
        self.properties = PropertyHeads(config)
        self.novelty = Novelty(config.state_size)
