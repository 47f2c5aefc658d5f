"""The world model over world states: what was, what would be, and how sure that is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.dynamics import Future, ResidualDynamics
from robot_learning.models.nsca.temporal import TemporalTransformer

LONGEST = 64  # Steps ahead that have a scale of their own; later ones share the last.


class WorldDynamics(nn.Module):
    """Temporal model and residual dynamics over states of unit spread."""

    mean: Tensor
    scale: Tensor
    std_scale: Tensor

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        self.config = config
        self.register_buffer('mean', torch.zeros(config.state_size))
        self.register_buffer('scale', torch.ones(config.state_size))
        self.register_buffer('std_scale', torch.ones(LONGEST))
        self.temporal = TemporalTransformer(config)
        self.dynamics = ResidualDynamics(config)

    @torch.no_grad()
    def fit(self, states: Tensor) -> None:
        """Take mean and spread from states [N, S]; one spread for all, so that errors compare."""
        self.mean.copy_(states.mean(0))
        self.scale.fill_(float(states.var(0).mean().sqrt().clamp(min=1e-6)))

    def scaled(self, states: Tensor) -> Tensor:
        """Return states as the dynamics knows them."""
        return (states - self.mean) / self.scale

    @torch.no_grad()
    def set_std_scale(self, scales: Tensor) -> None:
        """Multiply uncertainty by scales [H] from now on; steps beyond take the last."""
        scales = scales[:LONGEST]
        self.std_scale.fill_(float(scales[-1]))
        self.std_scale[: len(scales)] = scales.to(self.std_scale)

    def imagine(self, states: Tensor, past_actions: Tensor, actions: Tensor) -> Future:
        """Return futures in units of the given states, with calibrated uncertainty.

        Args:
            states: [B, T, S], the past up to now; only the last `temporal_length` count.
            past_actions: [B, T, A], of which the last one is not looked at.
            actions: [B, H, A], the first one taken now.
        """
        length = self.config.temporal_length
        scaled = self.scaled(states[:, -length:])
        context = self.temporal(scaled, past_actions[:, -length:])[:, -1]
        future = self.dynamics(scaled[:, -1], context, actions)
        horizon = actions.shape[1]
        steps = torch.arange(horizon, device=actions.device).clamp(max=LONGEST - 1)
        log_std = future.log_std + (self.std_scale[steps][:, None] * self.scale).log()
        return Future(future.mean * self.scale + self.mean, log_std)
