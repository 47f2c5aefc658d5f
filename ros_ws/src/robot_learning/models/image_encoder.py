"""Pictures to a map of features and one vector: a small residual convolutional network.

Fully convolutional, so pictures may have any size; what lies where is told to the map as
coordinates in units of the picture's height, from its centre.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, cast

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.config import STRICT

STRIDE = 4  # Pixels per cell of the map.
STEM = 7  # Side of the first kernel.
SIZE_STEP = 8  # Heights and widths are multiples of it.


@dataclass(frozen=True, config=STRICT)
class ImageEncoderConfig:
    """Sizes of the image side."""

    channels: tuple[PositiveInt, PositiveInt] = (32, 64)  # At a quarter and at an eighth.
    blocks: PositiveInt = 2  # Residual ones at a quarter of the size; as many at an eighth.
    features: PositiveInt = 48  # Of each cell of the map.
    pool: tuple[PositiveInt, PositiveInt] = (3, 6)  # Rows and columns that the vector tells apart.
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # Of what the vector is made from.


class ImageFeatures(NamedTuple):
    """Of a batch of pictures."""

    cells: Tensor  # [B, D, h, w], a cell per STRIDE x STRIDE pixels.
    pooled: Tensor  # [B, P], what the vector of the whole picture is made from.


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, outputs, H / stride, W / stride]."""
        return F.relu(self.norm(self.conv(x)))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the convolution that does the same once learning is over."""
        assert self.norm.running_var is not None and self.norm.running_mean is not None
        scale = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        bias = self.norm.bias - self.norm.running_mean * scale
        return self.conv.weight * scale[:, None, None, None], bias


class ConvEncoder(nn.Module):
    """The project's own image encoder, from scratch."""

    def __init__(self, config: ImageEncoderConfig):
        super().__init__()
        self.config = config
        quarter, eighth = config.channels
        self.stem = ConvBlock(3, quarter, STRIDE, STEM)
        self.fine = nn.ModuleList(ConvBlock(quarter, quarter) for _ in range(config.blocks))
        self.down = ConvBlock(quarter, eighth, 2)
        self.coarse = nn.ModuleList(ConvBlock(eighth, eighth) for _ in range(config.blocks))
        self.of_fine = nn.Conv2d(quarter, config.features, 1)
        self.of_coarse = nn.Conv2d(eighth, config.features, 1, bias=False)
        self.of_place = nn.Linear(2, config.features, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    @property
    def stride(self) -> int:
        """Pixels per cell."""
        return STRIDE

    @property
    def num_features(self) -> int:
        """Of each cell."""
        return self.config.features

    @property
    def num_pooled(self) -> int:
        """Size of `ImageFeatures.pooled`."""
        return self.config.features * self.config.pool[0] * self.config.pool[1]

    def forward(self, image: Tensor) -> ImageFeatures:
        """Look at pictures.

        Args:
            image: [B, 3, H, W] in 0 to 1; H and W are multiples of SIZE_STEP.
        """
        x = self.stem(2 * image - 1)
        for block in self.fine:
            x = x + block(x)
        y = self.down(x)
        for block in self.coarse:
            y = y + block(y)
        wide = F.interpolate(self.of_coarse(y), scale_factor=2.0, mode='nearest')
        place = self.of_place(coordinates(x.shape[2], x.shape[3]).to(x))  # [h, w, D]
        cells = F.relu(self.of_fine(x) + wide + place.permute(2, 0, 1))
        pooled = F.adaptive_max_pool2d(cells, self.config.pool).flatten(1)
        return ImageFeatures(cells, self.dropout(pooled))

    def folded(self) -> dict[str, Tensor]:
        """Return name -> tensor of what serving needs: batch normalisation is in the weights."""
        blocks = {'stem': self.stem, 'down': self.down}
        for name in ('fine', 'coarse'):
            blocks |= {f'{name}.{i}': block for i, block in enumerate(getattr(self, name))}
        tensors = {
            'of_fine.weight': self.of_fine.weight,
            'of_fine.bias': cast(Tensor, self.of_fine.bias),
            'of_coarse.weight': self.of_coarse.weight,
            'of_place.weight': self.of_place.weight,
        }
        for name, block in blocks.items():
            tensors[f'{name}.weight'], tensors[f'{name}.bias'] = block.folded()
        return tensors


def coordinates(rows: int, columns: int) -> Tensor:
    """Return x and y of each cell's centre [rows, columns, 2], of the height, from the centre."""
    y = (torch.arange(rows) + 0.5) / rows - 0.5
    x = (torch.arange(columns) + 0.5 - columns / 2) / rows
    return torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)], dim=-1)
