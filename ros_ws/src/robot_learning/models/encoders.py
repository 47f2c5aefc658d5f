"""Observations to embeddings and features back to observations: vectors and images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.errors import ConfigError
from robot_learning.models.networks import Dense
from robot_learning.models.two_hot import symlog

_SMALLEST_SIDE = 4  # Of the map that the convolutions end with.
_CHANNELS = (2, 3, 4, 4)  # Per stage, times depth (DreamerV3).


class Perceptron(nn.Sequential):
    """`num_layers` layers with layer norm and SiLU; weights `<i>.{weight,bias}`, `<i>.norm.*`."""

    def __init__(self, input_size: int, size: int, num_layers: int):
        sizes = [input_size, *[size] * num_layers]
        super().__init__(
            *(Dense(a, b, 'silu', layer_norm=True) for a, b in itertools.pairwise(sizes))
        )
        self.size = sizes[-1]


class VectorEncoder(nn.Module):
    """Features [..., D] of any magnitude to [..., size]."""

    def __init__(self, input_size: int, size: int, num_layers: int = 3):
        super().__init__()
        self.layers = Perceptron(input_size, size, num_layers)
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """Squash by symlog, then map."""
        hidden: Tensor = self.layers(symlog(features))
        return hidden


class VectorDecoder(nn.Module):
    """State features [..., F] to the symlog of observed features [..., D]."""

    def __init__(self, feature_size: int, output_size: int, size: int, num_layers: int = 3):
        super().__init__()
        self.layers = Perceptron(feature_size, size, num_layers)
        self.output = nn.Linear(size, output_size)

    def forward(self, features: Tensor) -> Tensor:
        """Predict all columns at once."""
        prediction: Tensor = self.output(self.layers(features))
        return prediction


def image_stages(name: str, shape: Sequence[int]) -> int:
    """Return how often an image [H, W, C] can be halved.

    Raises:
        ConfigError: its sides are too small or odd on the way.
    """
    height, width = shape[:2]
    stages = 0
    while min(height, width) >= 2 * _SMALLEST_SIDE and height % 2 == 0 and width % 2 == 0:
        height, width, stages = height // 2, width // 2, stages + 1
    if stages == 0 or max(height, width) >= 4 * _SMALLEST_SIDE:
        raise ConfigError(
            f'images: {name} is {shape[0]} x {shape[1]}, expected sides that can be halved until '
            f'they are {_SMALLEST_SIDE} to {4 * _SMALLEST_SIDE - 1}, like 64 x 64 or 96 x 128. '
            f'Record it in another size.'
        )
    return stages


class ImageEncoder(nn.Module):
    """uint8 images [..., H, W, C] to vectors: convolutions of stride 2 down to 4 x 4.

    Weights: `convolutions.<i>.{weight,bias}` (kernel 4, stride 2, padding 1), after each the
    layer norm over channels `norms.<i>.*` and SiLU. The last map is flattened as [C, H, W].
    """

    def __init__(self, name: str, shape: Sequence[int], depth: int):
        super().__init__()
        stages = image_stages(name, shape)
        channels = [shape[2], *stage_channels(depth, stages)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(channels)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in channels[1:])
        self.size = channels[-1] * (shape[0] >> stages) * (shape[1] >> stages)

    def forward(self, images: Tensor) -> Tensor:
        """Return [..., size]."""
        x = scaled(images).flatten(0, -4).permute(0, 3, 1, 2)  # [N, C, H, W]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.silu(norm(convolution(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x.reshape(*images.shape[:-3], -1)


class ImageDecoder(nn.Module):
    """State features [..., F] to images [..., H, W, C], in [0, 1] but for prediction errors."""

    def __init__(self, name: str, shape: Sequence[int], feature_size: int, depth: int):
        super().__init__()
        stages = image_stages(name, shape)
        widths = stage_channels(depth, stages)[::-1]
        self._first = (widths[0], shape[0] >> stages, shape[1] >> stages)
        self.input = nn.Linear(feature_size, torch.Size(self._first).numel())
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in widths)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise([*widths, shape[2]])
        )

    def forward(self, features: Tensor) -> Tensor:
        """Predict the pictures."""
        x = self.input(features).reshape(-1, *self._first)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = convolution(F.silu(norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2))
        return (x + 0.5).permute(0, 2, 3, 1).unflatten(0, features.shape[:-1])


def scaled(images: Tensor) -> Tensor:
    """Return uint8 images as floats in [0, 1]."""
    return images.float().mul_(1 / 255)


def stage_channels(depth: int, stages: int) -> list[int]:
    """Return the width of every map, from the image inwards."""
    widths = [depth * factor for factor in _CHANNELS[:stages]]
    return widths + [widths[-1]] * (stages - len(widths))
