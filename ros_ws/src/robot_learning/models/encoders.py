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

    Weights: `convolutions.<i>.{weight,bias}` (kernel 4, stride 2, padding 1), after each a
    group norm of one group `norms.<i>.*` and SiLU. DreamerV3 normalises each pixel over its
    channels; over the whole map costs half as much here, where channels are few. The last map
    is flattened as [C, H, W].

    Maps lie in memory as [N, H, W, C], which took a quarter less time than [N, C, H, W].

    Args:
        name: of the field, for errors.
        shape: [H, W, C].
        depth: channels of the maps are this times 2, 3, 4, 4.
        dtype: in which maps are kept and multiplied; parameters are float32.
    """

    def __init__(
        self, name: str, shape: Sequence[int], depth: int, dtype: torch.dtype = torch.float32
    ):
        super().__init__()
        stages = image_stages(name, shape)
        channels = [shape[2], *stage_channels(depth, stages)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(channels)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, size) for size in channels[1:])
        self.size = channels[-1] * (shape[0] >> stages) * (shape[1] >> stages)
        self._dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Return [..., size]."""
        x = scaled(images, self._dtype).flatten(0, -4).permute(0, 3, 1, 2)  # [N, C, H, W]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            weight, bias = _cast(convolution, self._dtype)
            x = _norm_silu(F.conv2d(x, weight, bias, stride=2, padding=1), norm)
        return x.reshape(*images.shape[:-3], -1).float()


class ImageDecoder(nn.Module):
    """State features [..., F] to images [..., H, W, C], in [0, 1] but for prediction errors.

    The mirror image of `ImageEncoder`, which see for the arguments.
    """

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        feature_size: int,
        depth: int,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        stages = image_stages(name, shape)
        widths = stage_channels(depth, stages)[::-1]
        self._first = (shape[0] >> stages, shape[1] >> stages, widths[0])  # [H, W, C]
        self.input = nn.Linear(feature_size, torch.Size(self._first).numel())
        self.norms = nn.ModuleList(nn.GroupNorm(1, size) for size in widths)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise([*widths, shape[2]])
        )
        self._dtype = dtype

    def forward(self, features: Tensor) -> Tensor:
        """Predict the pictures, in the dtype of the maps."""
        x: Tensor = self.input(features).to(self._dtype).reshape(-1, *self._first)
        x = x.permute(0, 3, 1, 2)  # [N, C, H, W], channels last in memory.
        last = len(self.norms) - 1
        for index, (norm, layer) in enumerate(zip(self.norms, self.convolutions, strict=True)):
            weight, bias = _cast(layer, self._dtype)
            if index == last:
                bias = bias + 0.5  # A new decoder answers grey, the middle of the range.
            x = F.conv_transpose2d(_norm_silu(x, norm), weight, bias, stride=2, padding=1)
        x = x.permute(0, 2, 3, 1)
        return x.reshape(*features.shape[:-1], *x.shape[1:])


def _cast(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    weight, bias = layer.parameters()
    return weight.to(dtype), bias.to(dtype)


def _norm_silu(x: Tensor, norm: nn.Module) -> Tensor:
    weight, bias = _cast(norm, x.dtype)
    return F.silu(F.group_norm(x, 1, weight, bias), inplace=True)


def scaled(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uint8 images as floats in [0, 1]."""
    return images.to(dtype).mul_(1 / 255)


def stage_channels(depth: int, stages: int) -> list[int]:
    """Return the width of every map, from the image inwards."""
    widths = [depth * factor for factor in _CHANNELS[:stages]]
    return widths + [widths[-1]] * (stages - len(widths))
