"""Initial weights that repeat from a seed."""

from __future__ import annotations

import math

import torch
from torch import nn

from robot_learning.models.rssm import BlockWeight
from robot_learning.models.two_hot import TwoHotOutput

# Standard deviation of a standard normal cut at two deviations.
_STD_OF_TRUNCATED = 0.87962566


def initialise_normal(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw weights from a truncated normal of variance 1 / fan-in; biases are 0 (DreamerV3).

    Outputs that begin at zero stay at zero.
    """
    for module in network.modules():
        if isinstance(module, TwoHotOutput):
            continue
        if isinstance(module, BlockWeight):
            fan_in = module.weight.shape[1]
        elif isinstance(module, nn.ConvTranspose2d):
            # Stride 2: each output sees a quarter of the kernel.
            fan_in = module.weight[:, 0].numel() // 4
        elif isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
        else:
            continue
        std = 1 / math.sqrt(fan_in) / _STD_OF_TRUNCATED
        nn.init.trunc_normal_(module.weight, 0, std, -2 * std, 2 * std, generator)
        if not isinstance(module, BlockWeight) and module.bias is not None:
            nn.init.zeros_(module.bias)
