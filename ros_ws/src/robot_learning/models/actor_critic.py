"""Policy and critics over feature vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.distributions import SquashedSample, sample_squashed
from robot_learning.models.networks import Activation, Dense, EnsembleMLP

Array = np.ndarray[Any, Any]


class GaussianPolicy(nn.Module):
    """Features [B, D] to the mean and log standard deviation of a Gaussian.

    How what is drawn comes into [-1, 1] is the business of the kinds below. Its state dict is
    the published weights format: `trunk.<i>.{weight,bias}`, `trunk.<i>.norm.{weight,bias}` with
    LayerNorm, `mean.*`, `log_std.*`, `input_mean`, `input_std`.
    """

    kind: ClassVar[str]  # In manifests.
    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        input_size: int,
        action_size: int,
        hidden: Sequence[int] = (256, 256),
        activation: Activation = 'relu',
        layer_norm: bool = False,
        log_std_bounds: tuple[float, float] = (-5.0, 2.0),
    ):
        super().__init__()
        sizes = [input_size, *hidden]
        pairs = itertools.pairwise(sizes)
        self.trunk = nn.ModuleList(Dense(a, b, activation, layer_norm) for a, b in pairs)
        self.mean = nn.Linear(sizes[-1], action_size)
        self.log_std = nn.Linear(sizes[-1], action_size)
        self.register_buffer('input_mean', torch.zeros(input_size))
        self.register_buffer('input_std', torch.ones(input_size))
        self.activation = activation
        self.log_std_bounds = log_std_bounds
        self._description = {
            'kind': self.kind,
            'hidden': list(hidden),
            'activation': activation,
            'layer_norm': layer_norm,
            'input_size': input_size,
            'action_size': action_size,
            'log_std_bounds': list(log_std_bounds),
        }

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of what is drawn, [B, A] each."""
        return self.from_normalised((features - self.input_mean) / self.input_std)

    def from_normalised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, of features [B, D] less their mean, over their deviation."""
        for layer in self.trunk:
            x = layer(x)
        weight = torch.cat([self.mean.weight, self.log_std.weight])
        bias = torch.cat([self.mean.bias, self.log_std.bias])
        mean, log_std = F.linear(x, weight, bias).chunk(2, dim=-1)  # One pass over x.
        return mean, log_std.clamp(*self.log_std_bounds)

    def mean_from_normalised(self, x: Tensor) -> Tensor:
        """As `from_normalised`, only the mean."""
        for layer in self.trunk:
            x = layer(x)
        mean: Tensor = self.mean(x)
        return mean

    def published(self, low: Array, high: Array) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return copies of the tensors, and the manifest's description with the limits."""
        tensors = {key: value.detach().clone() for key, value in self.state_dict().items()}
        limits = {
            'action_low': [float(value) for value in low],
            'action_high': [float(value) for value in high],
        }
        return tensors, self._description | limits


class GaussianTanhPolicy(GaussianPolicy):
    """Squashes what is drawn by tanh; see `distributions.squashed_log_prob`."""

    kind = 'gaussian_tanh_mlp'

    def sample(self, features: Tensor, generator: torch.Generator | None = None) -> SquashedSample:
        """Draw one action per row, differentiable in the parameters."""
        mean, log_std = self(features)
        return sample_squashed(mean, log_std, generator)


class GaussianClippedPolicy(GaussianPolicy):
    """Clips what is drawn to [-1, 1]; see `distributions.clipped_log_prob`."""

    kind = 'gaussian_clipped_mlp'


class Critics(nn.Module):
    """N independent estimates of the soft action value, evaluated together."""

    def __init__(
        self,
        input_size: int,
        action_size: int,
        hidden: Sequence[int] = (256, 256),
        activation: Activation = 'relu',
        layer_norm: bool = False,
        num_critics: int = 2,
    ):
        super().__init__()
        self.ensemble = EnsembleMLP(
            num_critics, input_size + action_size, hidden, activation, layer_norm
        )

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Value [N, B] of `action` [B, A] in [-1, 1] at `features` [B, D]."""
        values: Tensor = self.ensemble(torch.cat([features, action], dim=1))
        return values


class StateValue(nn.Module):
    """The value [B] of normalised features [B, D]."""

    def __init__(
        self, input_size: int, hidden: Sequence[int] = (64, 64), activation: Activation = 'relu'
    ):
        super().__init__()
        sizes = [input_size, *hidden]
        pairs = itertools.pairwise(sizes)
        self.trunk = nn.ModuleList(Dense(a, b, activation, layer_norm=False) for a, b in pairs)
        self.output = nn.Linear(sizes[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Value of each row."""
        for layer in self.trunk:
            x = layer(x)
        value: Tensor = self.output(x).squeeze(-1)  # [B]
        return value
