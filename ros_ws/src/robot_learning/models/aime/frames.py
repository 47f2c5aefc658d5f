"""Frames to feature maps and back: three convolutions each, an eighth of the side between."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GREY = 0.5  # What a new decoder answers, the middle of the range.


class FrameEncoder(nn.Module):
    """Frames [N, 3, S, S] in [0, 1] to a map [N, 4 * depth, S/8, S/8]."""

    def __init__(self, depth: int):
        super().__init__()
        channels = (3, depth, 2 * depth, 4 * depth)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(channels)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, size) for size in channels[1:])

    def forward(self, frames: Tensor) -> Tensor:
        """Encode each frame by itself."""
        x = (frames - _GREY).contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.silu(norm(convolution(x)))
        return x


class MapDecoder(nn.Module):
    """Maps [N, C, S/8, S/8] to frames [N, 3, S, S], in [0, 1] but for prediction errors."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        widths = (channels, 2 * depth, depth)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise((*widths, 3))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, size) for size in widths[1:])

    def forward(self, maps: Tensor) -> Tensor:
        """Draw each frame by itself."""
        x = maps.contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=False):
            x = F.silu(norm(convolution(x)))
        drawn: Tensor = self.convolutions[-1](x)
        return drawn + _GREY
