"""What the body felt, as a vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robot_learning.models.nsca.config import NscaModelConfig


class ProprioceptionEncoder(nn.Module):
    """Readings [B, T, P] of any T to latents [B, latent_size].

    Readings are scaled to unit spread by `fit`, then every step is seen with its change since the
    step before; mean, spread and last step are read out.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        size, width = config.proprioception_size, config.latent_size
        self.register_buffer('mean', torch.zeros(size))
        self.register_buffer('scale', torch.ones(size))
        self.steps = nn.Sequential(
            nn.Linear(2 * size, width), nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, width)
        )
        self.output = nn.Sequential(nn.LayerNorm(3 * width), nn.Linear(3 * width, width))

    @torch.no_grad()
    def fit(self, readings: Tensor) -> None:
        """Take mean and spread from readings [N, P]; what never changes is only centred."""
        self.mean.copy_(readings.mean(0))
        spread = readings.std(0, unbiased=False)
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, readings: Tensor) -> Tensor:
        """Encode."""
        x = ((readings - self.mean) / self.scale).clamp(-10, 10)
        change = torch.cat([torch.zeros_like(x[:, :1]), x.diff(dim=1)], dim=1)
        x = self.steps(torch.cat([x, change], dim=2))
        spread = (x.var(1, unbiased=False) + 1e-5).sqrt()
        latent: Tensor = self.output(torch.cat([x.mean(1), spread, x[:, -1]], dim=1))
        return latent
