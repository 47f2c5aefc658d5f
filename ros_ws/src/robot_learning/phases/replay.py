"""Transitions of environments that step together, in the same ring as a robot's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning.phases.phase import Array, Batch, Transitions
from robot_learning.phases.rollouts import Arrival
from robot_learning.trajectory.buffer import ReplayBuffer
from robot_learning.trajectory.episode import Episode

_LENGTH = 32  # Steps of one environment that are appended at once; a 33rd says where they led.


class EnvironmentReplay:
    """Collects steps per environment and appends them in runs, so that neighbours stay so.

    A transition of several steps ends where its run does, and bootstraps there.
    """

    def __init__(self, capacity: int, num_envs: int, seed: int):
        self._buffer = ReplayBuffer(capacity, np.random.default_rng([seed, 1]))
        self._staged: list[list[tuple[Array, Array, float, bool, bool, bool]]] = [
            [] for _ in range(num_envs)
        ]
        self._arrived: list[tuple[float, bool]] = [(0.0, True)] * num_envs  # Reward, is_first.
        self._num_pieces = 0

    @property
    def has_transitions(self) -> bool:
        """Whether anything can be drawn."""
        return len(self._buffer) > 1

    def append(self, observation: Array, action: Array, arrival: Arrival) -> None:
        """Add one step of every environment."""
        for index, staged in enumerate(self._staged):
            reward, is_first = self._arrived[index]
            staged.append(
                (observation[index].copy(), action[index], reward, False, False, is_first)
            )
            self._arrived[index] = float(arrival.reward[index]), False
            ends = bool(arrival.terminated[index]), bool(arrival.truncated[index])
            if any(ends):
                last = arrival.final_observation[index].copy()
                staged.append(
                    (last, np.zeros_like(action[index]), self._arrived[index][0], *ends, False)
                )
                self._write(index)
                staged.clear()
                self._arrived[index] = 0.0, True
            elif len(staged) > _LENGTH:
                self._write(index)
                del staged[:-1]  # It is where the next run begins.

    def cut(self) -> None:
        """Give up runs that will not go on."""
        for index, staged in enumerate(self._staged):
            if len(staged) > 1:
                self._write(index)
            staged.clear()
            self._arrived[index] = 0.0, True

    def sample(self, draw: Transitions) -> Batch:
        """Draw transitions; none is a demonstration."""
        batch = self._buffer.sample_transitions(*draw)
        batch['is_offline'] = np.zeros(draw.batch_size, bool)
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def prioritise(self, batch: Batch, error: Tensor) -> None:
        """Remember how wrong the prediction was for each row of the last batch, [B]."""
        self._buffer.prioritise(batch['place'].numpy(), error.cpu().numpy())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all steps, and what else decides the next draws."""
        content: dict[str, Any] = {
            'buffer': self._buffer.state(),
            'num_pieces': self._num_pieces,
            'arrived': [list(each) for each in self._arrived],
            'staged': [
                [[o.tolist(), a.tolist(), *rest] for o, a, *rest in staged]
                for staged in self._staged
            ],
        }
        if not len(self._buffer):
            return {}, content
        window = self._buffer.sample_windows(1, len(self._buffer))
        self._buffer.restore(content['buffer'])  # Reading is not drawing.
        return {name: torch.from_numpy(array[0]) for name, array in window.items()}, content

    def restore(self, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Hold the same steps again and draw as then."""
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        if arrays:
            starts = [*np.flatnonzero(arrays['is_first']).tolist(), len(arrays['is_first'])]
            for number, (start, stop) in enumerate(itertools.pairwise(starts)):
                run = {name: array[start:stop] for name, array in arrays.items()}
                self._buffer.append(
                    piece_of(run, number), {'observation': run['observation']}, 'saved'
                )
        self._buffer.restore(content['buffer'])
        self._num_pieces = content['num_pieces']
        self._arrived = [(reward, is_first) for reward, is_first in content['arrived']]
        self._staged = [
            [(np.array(o, np.float32), np.array(a, np.float32), *rest) for o, a, *rest in staged]
            for staged in content['staged']
        ]

    def _write(self, index: int) -> None:
        names = ('observation', 'action', 'reward', 'terminated', 'truncated', 'is_first')
        columns = zip(*self._staged[index], strict=True)
        run = {name: np.array(column) for name, column in zip(names, columns, strict=True)}
        run['is_first'][0] = True
        self._num_pieces += 1
        piece = piece_of(run, self._num_pieces)
        self._buffer.append(piece, {'observation': run['observation']}, index)


def piece_of(run: Mapping[str, Array], number: int = 0, offset: int = 0) -> Episode:
    """Return steps of an environment as a piece of an episode, of which a buffer reads the ends.

    Args:
        run: `action` [T, A], `reward`, `terminated`, `truncated` and `is_first` [T].
        number: of the episode.
        offset: of the first step.
    """
    count = len(run['action'])
    return Episode(
        episode=number,
        offset=offset,
        stamp_ns=np.arange(count) + offset,
        observations={},
        field_stamp_ns={},
        present={},
        action=run['action'],
        commanded=run['action'],
        altered=np.zeros(count, bool),
        log_prob=np.full(count, np.nan, np.float32),
        model_version=np.full(count, -1),
        reward=np.asarray(run['reward'], np.float32),
        terminated=run['terminated'],
        truncated=run['truncated'],
        is_first=run['is_first'],
        is_complete=bool(run['terminated'][-1] or run['truncated'][-1]),
    )
