"""The image encoder of world models as plain numpy; see `models/dreamer_policy.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from robot_learning.serving.policy import NORM_EPSILON, contiguous, sigmoid

Array = np.ndarray[Any, Any]
_SMALLEST_SIDE = 4  # Of the map that the convolutions end with.
_CHANNELS = (2, 3, 4, 4)  # Per stage, times depth; the last one is repeated.
_KERNEL = 4


def num_stages(shape: Sequence[int]) -> int:
    """Return how often an image [H, W, C] is halved.

    Raises:
        ValueError: not once.
    """
    height, width = shape[:2]
    stages = 0
    while min(height, width) >= 2 * _SMALLEST_SIDE and height % 2 == 0 and width % 2 == 0:
        height, width, stages = height // 2, width // 2, stages + 1
    if stages == 0:
        raise ValueError(f'pictures of {shape[0]} x {shape[1]} cannot be halved')
    return stages


def image_tensors(
    prefix: str, shape: Sequence[int], depth: int
) -> tuple[dict[str, tuple[int, ...]], int]:
    """Return name -> shape of an encoder's tensors, and the size of what it gives.

    Args:
        prefix: of the names.
        shape: [H, W, C] of the images.
        depth: channels of the maps are this times 2, 3, 4, 4.
    """
    stages, channels = num_stages(shape), shape[2]
    shapes: dict[str, tuple[int, ...]] = {}
    for stage in range(stages):
        size = depth * _CHANNELS[min(stage, len(_CHANNELS) - 1)]
        shapes[f'{prefix}.convolutions.{stage}.weight'] = (size, channels, _KERNEL, _KERNEL)
        for name in ('convolutions', 'norms'):
            shapes[f'{prefix}.{name}.{stage}.bias'] = (size,)
        shapes[f'{prefix}.norms.{stage}.weight'] = (size,)
        channels = size
    return shapes, channels * (shape[0] >> stages) * (shape[1] >> stages)


class ImageEncoder:
    """One image [H, W, C] uint8 to a vector."""

    def __init__(self, tensors: Mapping[str, Array], prefix: str, shape: Sequence[int]):
        self._shape = tuple(shape)
        self._stages = []
        for i in range(num_stages(shape)):
            weight = tensors[f'{prefix}.convolutions.{i}.weight']  # [out, in, 4, 4]
            self._stages.append(
                (
                    contiguous(weight.reshape(len(weight), -1)),
                    contiguous(tensors[f'{prefix}.convolutions.{i}.bias'])[:, None],
                    contiguous(tensors[f'{prefix}.norms.{i}.weight'])[:, None],
                    contiguous(tensors[f'{prefix}.norms.{i}.bias'])[:, None],
                )
            )

    def __call__(self, image: Array) -> Array:
        """Return the last map, flattened as [C, H, W]."""
        x = np.asarray(image, np.float32).reshape(self._shape).transpose(2, 0, 1) / 255
        for weight, bias, gain, offset in self._stages:
            height, width = x.shape[1] // 2, x.shape[2] // 2
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            windows = sliding_window_view(padded, (_KERNEL, _KERNEL), axis=(1, 2))[:, ::2, ::2]
            columns = windows.transpose(0, 3, 4, 1, 2).reshape(-1, height * width)
            y = np.dot(weight, columns)  # [out, H W]
            y += bias
            y -= y.mean()
            y *= 1.0 / math.sqrt(float(np.mean(y * y)) + NORM_EPSILON)
            y *= gain
            y += offset
            y *= sigmoid(y)
            x = y.reshape(-1, height, width)
        return x.reshape(-1)
