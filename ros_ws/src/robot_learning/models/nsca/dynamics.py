"""Where the world state goes when the robot acts, and how sure that is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from robot_learning.models.nsca.config import NscaModelConfig

_SMALLEST_LOG_STD, _LARGEST_LOG_STD = -6.0, 2.0


class Future(NamedTuple):
    """Predicted states, one per action."""

    mean: Tensor  # [B, H, S]
    log_std: Tensor  # [B, H, S], of each number.


class ResidualDynamics(nn.Module):
    """Predicts how the state changes, step by step from its own predictions.

    A recurrent cell carries the context on, so that uncertainty may grow with the horizon.
    """

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        size = config.state_size
        self.cell = nn.GRUCell(size + config.action_size, 2 * size)
        self.begin = nn.Linear(2 * size, 2 * size)
        layers: list[nn.Module] = []
        for _ in range(config.dynamics_layers):
            layers += [nn.Linear(2 * size, 2 * size), nn.LayerNorm(2 * size), nn.SiLU()]
        self.layers = nn.Sequential(*layers)
        self.change = nn.Linear(2 * size, size)
        self.spread = nn.Linear(2 * size, size)
        nn.init.zeros_(self.change.weight)  # Begins as persistence.
        nn.init.zeros_(self.change.bias)
        nn.init.constant_(self.spread.bias, -1.0)

    def forward(self, state: Tensor, context: Tensor, actions: Tensor) -> Future:
        """Imagine.

        Args:
            state: [B, S], the present one.
            context: [B, S] of the past, see `TemporalTransformer`.
            actions: [B, H, A], the first one taken in `state`.
        """
        carry = torch.tanh(self.begin(torch.cat([state, context], dim=1)))
        means, log_stds = [], []
        for step in range(actions.shape[1]):
            carry = self.cell(torch.cat([state, actions[:, step]], dim=1), carry)
            hidden = self.layers(carry)
            state = state + self.change(hidden)
            means.append(state)
            log_stds.append(self.spread(hidden).clamp(_SMALLEST_LOG_STD, _LARGEST_LOG_STD))
        return Future(torch.stack(means, dim=1), torch.stack(log_stds, dim=1))
