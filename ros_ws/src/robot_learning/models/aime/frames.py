"""Frames to feature maps and back: three convolutions each, an eighth of the side between.

Frames are normalised, see `FrameScale`: most of a video is the same in all frames, and networks
that first have to learn that spend hundreds of updates on it.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FrameScale(nn.Module):
    """What frames of S x S pixels are on the average, and how much they differ from that."""

    mean: Tensor
    spread: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer('mean', torch.full((3, size, size), 0.5))
        self.register_buffer('spread', torch.tensor(0.25))

    def normalised(self, frames: Tensor) -> Tensor:
        """Map [..., 3, S, S] in [0, 1] to what networks see."""
        return (frames - self.mean) / self.spread

    def restored(self, frames: Tensor) -> Tensor:
        """Map [..., 3, S, S] of networks to [0, 1], but for prediction errors."""
        return self.mean + self.spread * frames


class FrameEncoder(nn.Module):
    """Normalised frames [N, 3, S, S] to a map [N, 4 * depth, S/8, S/8]."""

    def __init__(self, depth: int):
        super().__init__()
        channels = (3, depth, 2 * depth, 4 * depth)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(channels)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, size) for size in channels[1:])

    def forward(self, frames: Tensor) -> Tensor:
        """Encode each frame by itself."""
        x = frames.contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.silu(norm(convolution(x)))
        return x


class MapDecoder(nn.Module):
    """Maps [N, C, S/8, S/8] to normalised frames [N, 3, S, S]."""

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
        return drawn
