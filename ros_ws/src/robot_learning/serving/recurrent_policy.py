"""Policies that remember the episode, as plain numpy: GRU and LSTM.

A step of a 49-256-lstm256-2 network is three products of vectors with matrices; the memory is
kept between the calls of `act` until `reset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.serving.gaussian_heads import GaussianHead, PolicyOutput
from robot_learning.serving.policy import (
    POLICY_KINDS,
    DenseLayers,
    GaussianSpec,
    PolicyKind,
    contiguous,
    sigmoid,
)

Array = np.ndarray[Any, Any]
_NUM_GATES = {'gru': 3, 'lstm': 4}


@dataclass(frozen=True, config=STRICT)
class SequenceSpec(GaussianSpec):
    """The `policy` block of a version with memory."""

    kind: Literal['gaussian_tanh_sequence'] = 'gaussian_tanh_sequence'
    memory: Literal['gru', 'lstm'] = 'lstm'
    memory_size: PositiveInt = 256

    @property
    def head_size(self) -> int:
        """Number of values that the heads read: the memory's output."""
        return self.memory_size

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every tensor such a policy needs."""
        rows, size = _NUM_GATES[self.memory] * self.memory_size, self.memory_size
        return GaussianSpec.tensor_shapes(self) | {
            'memory.weight_ih_l0': (rows, self.hidden[-1]),
            'memory.weight_hh_l0': (rows, size),
            'memory.bias_ih_l0': (rows,),
            'memory.bias_hh_l0': (rows,),
        }


class RecurrentPolicy:
    """Forward pass of one version and its memory; unsafe for two threads at once."""

    def __init__(self, spec: SequenceSpec, tensors: Mapping[str, Array]):
        self.spec = spec
        self._tensors = tensors
        self._layers = DenseLayers(spec, tensors)
        self._head = GaussianHead(spec, tensors)
        cell = GRUCell if spec.memory == 'gru' else LSTMCell
        self._cell: GRUCell | LSTMCell = cell(tensors, 'memory.')

    def act(
        self,
        features: Array,
        noise: Array | None = None,
        images: Mapping[str, Array] | None = None,
    ) -> PolicyOutput:
        """Return the action for the next observation of an episode; see `Policy.act`."""
        return self._head(self._cell.step(self._layers(features)), noise)

    def executed(self, action: Array) -> None:
        """Actions are not remembered."""

    def reset(self) -> None:
        """Forget the episode."""
        self._cell.reset()

    def fork(self) -> RecurrentPolicy:
        """Return the same version with an empty memory of its own."""
        return RecurrentPolicy(self.spec, self._tensors)


class GRUCell:
    """torch.nn.GRU of one layer, one step at a time (Cho et al. 2014, in cuDNN's form).

    Args:
        tensors: weights by name.
        prefix: of their names, which go on with `weight_ih_l0` and so on.
    """

    def __init__(self, tensors: Mapping[str, Array], prefix: str):
        self._weight_ih = contiguous(tensors[f'{prefix}weight_ih_l0'])
        self._weight_hh = contiguous(tensors[f'{prefix}weight_hh_l0'])
        self._bias_ih = contiguous(tensors[f'{prefix}bias_ih_l0'])
        self._bias_hh = contiguous(tensors[f'{prefix}bias_hh_l0'])
        self._size = self._weight_hh.shape[1]
        self._state = np.zeros(self._size, np.float32)

    def reset(self) -> None:
        """Forget everything."""
        self._state = np.zeros(self._size, np.float32)

    def step(self, x: Array) -> Array:
        """Take in one input [D]; return the state [S]."""
        size = self._size
        own = np.dot(self._weight_ih, x)
        own += self._bias_ih
        past = np.dot(self._weight_hh, self._state)
        past += self._bias_hh
        gates = sigmoid(own[: 2 * size] + past[: 2 * size])
        reset, update = gates[:size], gates[size:]
        candidate = np.tanh(own[2 * size :] + reset * past[2 * size :])
        self._state = candidate + update * (self._state - candidate)
        return self._state


class LSTMCell:
    """torch.nn.LSTM of one layer, one step at a time (Hochreiter & Schmidhuber 1997).

    Args:
        tensors: weights by name.
        prefix: of their names, which go on with `weight_ih_l0` and so on.
    """

    def __init__(self, tensors: Mapping[str, Array], prefix: str):
        pair = (tensors[f'{prefix}weight_ih_l0'], tensors[f'{prefix}weight_hh_l0'])
        self._weight = contiguous(np.concatenate(pair, axis=1))  # One product a step.
        self._bias = contiguous(tensors[f'{prefix}bias_ih_l0'] + tensors[f'{prefix}bias_hh_l0'])
        self._input_size = pair[0].shape[1]
        self._size = pair[1].shape[1]
        self._joined = np.zeros(self._input_size + self._size, np.float32)  # Input and output.
        self._cell = np.zeros(self._size, np.float32)

    def reset(self) -> None:
        """Forget everything."""
        self._joined[:] = 0
        self._cell = np.zeros(self._size, np.float32)

    def step(self, x: Array) -> Array:
        """Take in one input [D]; return the output [S]."""
        size, joined = self._size, self._joined
        joined[: self._input_size] = x
        gates = np.dot(self._weight, joined)
        gates += self._bias
        entry, forget = sigmoid(gates[:size]), sigmoid(gates[size : 2 * size])
        candidate, exit_ = np.tanh(gates[2 * size : 3 * size]), sigmoid(gates[3 * size :])
        self._cell = forget * self._cell + entry * candidate
        output = exit_ * np.tanh(self._cell)
        joined[self._input_size :] = output
        return output


POLICY_KINDS.register('gaussian_tanh_sequence')(PolicyKind(SequenceSpec, RecurrentPolicy))
