"""A policy that chooses one of several actions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robot_learning.models.networks import Activation, Dense


class CategoricalPolicy(nn.Module):
    """Features [B, D] to the logits of A choices.

    Its state dict is the published weights format: `trunk.<i>.{weight,bias}`, `logits.*`,
    `input_mean`, `input_std`.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        input_size: int,
        num_choices: int,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = 'relu',
    ):
        super().__init__()
        sizes = [input_size, *hidden]
        pairs = itertools.pairwise(sizes)
        self.trunk = nn.ModuleList(Dense(a, b, activation, layer_norm=False) for a, b in pairs)
        self.logits = nn.Linear(sizes[-1], num_choices)
        self.register_buffer('input_mean', torch.zeros(input_size))
        self.register_buffer('input_std', torch.ones(input_size))
        self.activation = activation
        self._description = {
            'kind': 'categorical_mlp',
            'hidden': list(hidden),
            'activation': activation,
            'input_size': input_size,
            'num_choices': num_choices,
        }

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits [B, A]."""
        return self.from_normalised((features - self.input_mean) / self.input_std)

    def from_normalised(self, x: Tensor) -> Tensor:
        """As `forward`, of features [B, D] less their mean, over their deviation."""
        for layer in self.trunk:
            x = layer(x)
        logits: Tensor = self.logits(x)
        return logits

    def published(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return copies of the tensors, and the manifest's description."""
        tensors = {key: value.detach().clone() for key, value in self.state_dict().items()}
        return tensors, self._description
