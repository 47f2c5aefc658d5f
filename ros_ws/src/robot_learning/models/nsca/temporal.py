"""What the last steps say together: a transformer that sees the past only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from robot_learning.models.nsca.config import NscaModelConfig


class TemporalTransformer(nn.Module):
    """States and actions [B, T, ...] to contexts [B, T, state_size]; T up to temporal_length.

    Context t knows states up to t and actions before t: what comes next is up to the action.
    """

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        size = config.state_size
        self.length = config.temporal_length
        self.is_checkpointed = False  # Recompute layers in the backward pass to save memory.
        self.enter = nn.Linear(size + config.action_size, size)
        self.places = nn.Parameter(0.02 * torch.randn(1, config.temporal_length, size))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size,
                config.temporal_heads,
                2 * size,
                config.dropout,
                activation='gelu',
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.temporal_layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Look back.

        Args:
            states: [B, T, state_size].
            actions: [B, T, action_size]; the last one is not looked at.
        """
        length = states.shape[1]
        assert length <= self.length, f'{length} steps, at most {self.length}'
        before = torch.cat([torch.zeros_like(actions[:, :1]), actions[:, :-1]], dim=1)
        x = self.enter(torch.cat([states, before], dim=2)) + self.places[:, :length]
        is_future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        for layer in self.layers:
            if self.is_checkpointed and self.training:
                x = checkpoint(layer, x, is_future, use_reentrant=False)
            else:
                x = layer(x, is_future)
        context: Tensor = self.norm(x)
        return context
