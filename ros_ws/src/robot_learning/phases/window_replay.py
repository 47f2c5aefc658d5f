"""Windows of environments that step together: what a phase with a memory learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning.phases.phase import Array, Batch, Windows
from robot_learning.phases.replay import piece_of
from robot_learning.phases.rollouts import Arrival
from robot_learning.trajectory.buffer import ReplayBuffer

_NAMES = ('observation', 'action', 'reward', 'terminated', 'truncated', 'is_first')


class WindowReplay:
    """A ring of steps per environment, so that steps which follow each other stand together.

    Args:
        capacity: steps of all environments together.
        num_envs: N.
        seed: of the sampling.
    """

    def __init__(self, capacity: int, num_envs: int, seed: int):
        self._rng = np.random.default_rng([seed, 1])
        self._buffers = [
            ReplayBuffer(max(capacity // num_envs, 2), np.random.default_rng([seed, 2, index]))
            for index in range(num_envs)
        ]
        # Of each environment: reward, terminated, truncated received, is_first; steps so far.
        self._arrived: list[tuple[float, bool, bool, bool]] = [
            (0.0, False, False, True)
        ] * num_envs
        self._offsets = [0] * num_envs

    def has_windows(self, length: int) -> bool:
        """Whether one of `length` steps can be drawn."""
        return min(len(buffer) for buffer in self._buffers) >= length

    def append(self, observation: Array, action: Array, arrival: Arrival) -> None:
        """Add one step of every environment: what they acted on, and where that led."""
        for index in range(len(self._buffers)):
            self._write(index, observation[index], action[index])
            ends = bool(arrival.terminated[index]), bool(arrival.truncated[index])
            self._arrived[index] = float(arrival.reward[index]), *ends, False
            if any(ends):
                self._write(index, arrival.final_observation[index], np.zeros_like(action[index]))
                self._begin(index)

    def cut(self) -> None:
        """Give up runs that will not go on."""
        for index in range(len(self._buffers)):
            self._begin(index)

    def sample(self, draw: Windows) -> Batch:
        """Draw windows uniformly."""
        shares = np.full(len(self._buffers), 1 / len(self._buffers))
        counts = self._rng.multinomial(draw.batch_size, shares)
        parts = [
            buffer.sample_windows(int(count), draw.length)
            for buffer, count in zip(self._buffers, counts, strict=True)
            if count
        ]
        return {
            name: torch.from_numpy(np.concatenate([part[name] for part in parts]))
            for name in parts[0]
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all steps, and what else decides the next draws."""
        states = [buffer.state() for buffer in self._buffers]
        tensors: dict[str, Tensor] = {}
        for index, buffer in enumerate(self._buffers):
            if len(buffer):
                window = buffer.sample_windows(1, len(buffer))
                buffer.restore(states[index])  # Reading is not drawing.
                tensors |= {
                    f'{index}.{name}': torch.from_numpy(window[name][0]) for name in _NAMES
                }
        return tensors, {
            'rng': self._rng.bit_generator.state,
            'buffers': states,
            'arrived': [list(each) for each in self._arrived],
            'offsets': list(self._offsets),
        }

    def restore(self, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Hold the same steps again and draw as then."""
        self._arrived = [tuple(each) for each in content['arrived']]
        self._offsets = list(content['offsets'])
        for index, buffer in enumerate(self._buffers):
            if f'{index}.action' in tensors:
                run = {name: tensors[f'{index}.{name}'].numpy() for name in _NAMES}
                first = self._offsets[index] - len(run['action'])  # What follows continues it.
                piece = piece_of(run, offset=first)
                buffer.append(piece, {'observation': run['observation']})
            buffer.restore(content['buffers'][index])
        self._rng.bit_generator.state = content['rng']

    def _write(self, index: int, observation: Array, action: Array) -> None:
        values = (observation, action, *self._arrived[index])
        run = {name: np.asarray(v)[None] for name, v in zip(_NAMES, values, strict=True)}
        self._buffers[index].append(
            piece_of(run, offset=self._offsets[index]),
            {'observation': run['observation'].astype(np.float32)},
        )
        self._offsets[index] += 1

    def _begin(self, index: int) -> None:
        self._arrived[index] = 0.0, False, False, True
