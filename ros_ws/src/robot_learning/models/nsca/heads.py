"""What can be read off a world state: reward, end, and properties of the object in view."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from robot_learning.models.nsca.config import PROPERTIES, NscaModelConfig
from robot_learning.models.two_hot import symexp


class Outcomes(NamedTuple):
    """Of states [..., S]."""

    reward: Tensor  # [...]
    end_logit: Tensor  # [...], that the task has ended here.


class OutcomeHeads(nn.Module):
    """Reward and end of each state; the last layer says rewards after `symlog`."""

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        self.layers = _hidden(config.state_size)
        self.output = nn.Linear(config.state_size, 2)

    def forward(self, states: Tensor) -> Outcomes:
        """Read off."""
        output = self.output(self.layers(states))
        return Outcomes(symexp(output[..., 0]), output[..., 1])


class PropertyHeads(nn.Module):
    """States [..., S] to one value per property of `PROPERTIES`, each 0 to 1."""

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        self.layers = _hidden(config.state_size)
        self.output = nn.Linear(config.state_size, len(PROPERTIES))

    def forward(self, states: Tensor) -> Tensor:
        """Read off."""
        values: Tensor = self.output(self.layers(states)).sigmoid()
        return values


def _hidden(size: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(size), nn.Linear(size, size), nn.SiLU())
