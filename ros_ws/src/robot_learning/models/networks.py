"""Multi-layer perceptrons: one for policies, and ensembles evaluated as batched products."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.products import rounded_product

Activation = Literal['relu', 'silu']
# In place: no product below keeps its output for the backward pass.
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'relu': F.relu_,
    'silu': F.silu,
}


class Dense(nn.Linear):
    """Linear map, then LayerNorm if asked for, then the activation."""

    product_dtype: torch.dtype | None = None  # See `set_product_dtype`.

    def __init__(self, input_size: int, size: int, activation: Activation, layer_norm: bool):
        super().__init__(input_size, size)
        self.norm = nn.LayerNorm(size) if layer_norm else None
        self._activate = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., size]."""
        if self.product_dtype is None:
            x = F.linear(x, self.weight, self.bias)
        else:
            x = rounded_product(x.float(), self.weight.t(), self.bias)
        if self.norm is not None:
            x = self.norm(x)
        return self._activate(x)


class EnsembleLinear(nn.Module):
    """N independent linear maps in one batched product; weight [N, D, size], bias [N, 1, size]."""

    product_dtype: torch.dtype | None = None  # See `set_product_dtype`.

    def __init__(self, num_members: int, input_size: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_members, input_size, size))
        self.bias = nn.Parameter(torch.empty(num_members, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, B, D] to [N, B, size]."""
        if self.product_dtype is None:
            return torch.baddbmm(self.bias, x, self.weight)
        return rounded_product(x, self.weight, self.bias)


class EnsembleOutput(nn.Module):
    """N linear maps to one number each; weight [N, 1, D], bias [N, 1]."""

    def __init__(self, num_members: int, input_size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_members, 1, input_size))
        self.bias = nn.Parameter(torch.empty(num_members, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, B, D] to [N, B]."""
        return torch.bmm(x, self.weight.mT).squeeze(-1) + self.bias


class EnsembleNorm(nn.Module):
    """LayerNorm over the last axis with own gain and offset for each of N members."""

    def __init__(self, num_members: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_members, 1, size))
        self.bias = nn.Parameter(torch.zeros(num_members, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, B, size]."""
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[-1:]), self.weight)


class EnsembleMLP(nn.Module):
    """N perceptrons of one shape that see the same input and answer one number each."""

    def __init__(
        self,
        num_members: int,
        input_size: int,
        hidden: Sequence[int],
        activation: Activation,
        layer_norm: bool,
    ):
        super().__init__()
        sizes = [input_size, *hidden]
        pairs = itertools.pairwise(sizes)
        self.layers = nn.ModuleList(EnsembleLinear(num_members, a, b) for a, b in pairs)
        self.norms = nn.ModuleList(
            EnsembleNorm(num_members, size) if layer_norm else nn.Identity() for size in hidden
        )
        self.output = EnsembleOutput(num_members, sizes[-1])
        self._num_members = num_members
        self._activate = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, D] to [N, B]."""
        x = x.expand(self._num_members, *x.shape)  # [N, B, D]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self._activate(norm(layer(x)))
        values: Tensor = self.output(x)
        return values


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights and biases from U(-1, 1) / sqrt(fan-in), torch's own rule for Linear.

    Unlike the constructors, which draw from the global generator, this repeats from a seed.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
        elif isinstance(module, EnsembleLinear):
            bound = 1 / math.sqrt(module.weight.shape[1])
        elif isinstance(module, EnsembleOutput):
            bound = 1 / math.sqrt(module.weight.shape[2])
        else:
            continue
        nn.init.uniform_(module.weight, -bound, bound, generator=generator)
        nn.init.uniform_(module.bias, -bound, bound, generator=generator)


def initialise_orthogonal(
    network: nn.Module, generator: torch.Generator, output_gain: float
) -> None:
    """Draw orthogonal weights and zero biases, smaller in the output layers.

    Engstrom et al. 2020, "Implementation Matters in Deep Policy Gradients": gain sqrt(2) in
    hidden layers.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            gain = math.sqrt(2) if isinstance(module, Dense) else output_gain
            nn.init.orthogonal_(module.weight, gain, generator=generator)
            nn.init.zeros_(module.bias)


def set_product_dtype(network: nn.Module, dtype: torch.dtype) -> None:
    """Let products between hidden layers round their factors to `dtype`: bfloat16, for speed.

    The first layer stays in float32, so that observations are not rounded, and so does the
    last, whose value errors would be multiplied by the discount's horizon.
    """
    first = True
    for module in network.modules():
        if isinstance(module, Dense | EnsembleLinear):
            module.product_dtype = None if first else dtype
            first = False
