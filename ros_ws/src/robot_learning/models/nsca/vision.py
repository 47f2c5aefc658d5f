"""What a picture shows, as a vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.front_end import NUM_SHARES, FrontEnd, colour_shares

_STAGES = (1, 2, 4, 8)  # Channels of each stage, times base_channels; each halves the map.


class VisionEncoder(nn.Module):
    """Images [B, 3, H, W], 0 to 1, to latents [B, latent_size].

    A fixed front end (or the plain colours), then stages that halve the map. What is read out is
    mean and spread of the last two stages over the map and of the front end itself, and the shares
    of colours: texture is statistics (Portilla & Simoncelli 2000).
    """

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        self.config = config
        self.front = FrontEnd() if config.front_end else None
        size = FrontEnd.num_channels if config.front_end else 3
        pooled = size
        stages: list[nn.Module] = []
        for times in _STAGES:
            channels = times * config.base_channels
            stages.append(Stage(size, channels, config.blocks_per_stage))
            size = channels
        self.stages = nn.ModuleList(stages)
        pooled += (_STAGES[-1] + _STAGES[-2]) * config.base_channels
        read = 2 * pooled + (NUM_SHARES if config.front_end else 0)
        self.norm = nn.BatchNorm1d(read, affine=False)
        self.output = nn.Linear(read, config.latent_size)

    def forward(self, images: Tensor) -> Tensor:
        """Encode; images of another size are resized."""
        side = self.config.image_size
        if images.shape[-2:] != (side, side):
            images = F.interpolate(
                images, (side, side), mode='bilinear', align_corners=False, antialias=True
            )
        x = 4 * (images - 0.5) if self.front is None else self.front(images)
        read = [_statistics(x)]
        if self.front is not None:
            read.append(colour_shares(images))
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number >= len(self.stages) - 2:
                read.append(_statistics(x))
        latent: Tensor = self.output(self.norm(torch.cat(read, dim=1)))
        return latent


class Stage(nn.Sequential):
    """Halves a map and changes its channels, then residual blocks."""

    def __init__(self, size: int, channels: int, num_blocks: int):
        super().__init__(
            nn.Conv2d(size, channels, 3, stride=2, padding=1, bias=False),
            _norm(channels),
            nn.SiLU(),
            *(Block(channels) for _ in range(num_blocks)),
        )


class Block(nn.Module):
    """Two convolutions beside an identity (He et al. 2016); begins as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        last = _norm(channels)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add what the layers find."""
        return F.silu(x + self.layers(x))


def _norm(channels: int) -> nn.GroupNorm:
    """Of groups of channels: the same alone and in a batch, in training and in use."""
    return nn.GroupNorm(max(channels // 16, 1), channels)


def _statistics(x: Tensor) -> Tensor:
    """Mean and spread over the map: [B, C, H, W] to [B, 2 C]."""
    spread = (x.var((2, 3), unbiased=False) + 1e-5).sqrt()
    return torch.cat([x.mean((2, 3)), spread], dim=1)
