"""A policy with a memory: GRU or LSTM over sequences of features."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from robot_learning.models.networks import Activation, Dense, initialise

Array = np.ndarray[Any, Any]
Memory = Literal['gru', 'lstm']
Carry = tuple[Tensor, ...]  # [1, B, S] each: GRU its state, LSTM its output and its cell.

_MEMORIES: dict[str, type[nn.GRU] | type[nn.LSTM]] = {'gru': nn.GRU, 'lstm': nn.LSTM}


class SequencePolicy(nn.Module):
    """Features [B, T, D] to mean and log deviation of squashed Gaussian actions, with memory.

    Dense layers of `hidden` read each observation, a recurrent layer of `memory_size` remembers
    what they saw, linear heads read the memory. Its state dict is the published weights format:
    that of `GaussianTanhPolicy`, and `memory.{weight,bias}_{ih,hh}_l0` as torch has them.
    """

    input_mean: Tensor
    input_std: Tensor
    memory: nn.GRU | nn.LSTM

    def __init__(
        self,
        input_size: int,
        action_size: int,
        hidden: Sequence[int] = (256,),
        memory: Memory = 'lstm',
        memory_size: int = 256,
        activation: Activation = 'relu',
        layer_norm: bool = False,
        log_std_bounds: tuple[float, float] = (-5.0, 2.0),
    ):
        super().__init__()
        sizes = [input_size, *hidden]
        pairs = itertools.pairwise(sizes)
        self.trunk = nn.ModuleList(Dense(a, b, activation, layer_norm) for a, b in pairs)
        self.memory = _MEMORIES[memory](sizes[-1], memory_size, batch_first=True)
        self.mean = nn.Linear(memory_size, action_size)
        self.log_std = nn.Linear(memory_size, action_size)
        self.register_buffer('input_mean', torch.zeros(input_size))
        self.register_buffer('input_std', torch.ones(input_size))
        self._log_std_bounds = log_std_bounds
        self._description = {
            'kind': 'gaussian_tanh_sequence',
            'hidden': list(hidden),
            'memory': memory,
            'memory_size': memory_size,
            'activation': activation,
            'layer_norm': layer_norm,
            'input_size': input_size,
            'action_size': action_size,
            'log_std_bounds': list(log_std_bounds),
        }

    def initial(self, batch_size: int) -> Carry:
        """Return the memory at the start of an episode: zeros."""
        count = 2 if isinstance(self.memory, nn.LSTM) else 1
        zeros = self.mean.weight.new_zeros(1, batch_size, self.memory.hidden_size)
        return (zeros,) * count

    def forward(
        self, features: Tensor, is_first: Tensor, carry: Carry | None = None
    ) -> tuple[Tensor, Tensor, Carry]:
        """Answer a sequence of observations.

        Args:
            features: [B, T, D].
            is_first: [B, T] bool; where it is True nothing before is remembered.
            carry: memory before the first step; None: that of an episode's start.

        Returns:
            Mean and log standard deviation before squashing, [B, T, A] each, and the memory
            after the last step.
        """
        x = (features - self.input_mean) / self.input_std
        for layer in self.trunk:
            x = layer(x)
        carry = self.initial(len(x)) if carry is None else carry
        parts = []
        for start, stop in _between_starts(is_first):
            keep = (~is_first[:, start]).to(x.dtype)[None, :, None]  # [1, B, 1]
            carry = tuple(part * keep for part in carry)
            output, carry = self._remember(x[:, start:stop], carry)
            parts.append(output)
        remembered = torch.cat(parts, dim=1)  # [B, T, S]
        log_std = self.log_std(remembered).clamp(*self._log_std_bounds)
        return self.mean(remembered), log_std, carry

    def published(self, low: Array, high: Array) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return copies of the tensors, and the manifest's description with the limits."""
        tensors = {key: value.detach().clone() for key, value in self.state_dict().items()}
        limits = {
            'action_low': [float(value) for value in low],
            'action_high': [float(value) for value in high],
        }
        return tensors, self._description | limits

    def _remember(self, x: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        if isinstance(self.memory, nn.LSTM):
            return self.memory(x, carry)  # type: ignore[no-any-return]
        output, state = self.memory(x, carry[0])
        return output, (state,)


def initialise_sequence_policy(policy: SequencePolicy, generator: torch.Generator) -> None:
    """Draw all weights as torch does, from a seed; an LSTM's forget gates begin open.

    Open by a bias of 1, without which what happened long ago gives hardly any gradient
    (Jozefowicz et al. 2015, section 2.2).
    """
    initialise(policy, generator)
    size = policy.memory.hidden_size
    parameters = dict(policy.memory.named_parameters())
    for parameter in parameters.values():
        nn.init.uniform_(parameter, -1 / math.sqrt(size), 1 / math.sqrt(size), generator=generator)
    if isinstance(policy.memory, nn.LSTM):
        with torch.no_grad():
            parameters['bias_ih_l0'][size : 2 * size] = 1.0
            parameters['bias_hh_l0'][size : 2 * size] = 0.0


def _between_starts(is_first: Tensor) -> list[tuple[int, int]]:
    """Return [start, stop) of the stretches in which no row [B, T] begins anew but at start."""
    inside = is_first[:, 1:].any(0).nonzero()[:, 0] + 1
    edges = [0, *inside.tolist(), is_first.shape[1]]
    return list(itertools.pairwise(edges))
