"""Rollouts: each step that the newest policy drove, once, in the order it was driven.

`VectorRollout` is filled by environments that step together; `RolloutQueue` by pieces of
recorded episodes, of which it refuses what the newest versions did not draw.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from robot_learning.phases.acting import Acted
from robot_learning.phases.phase import Array, Batch, PolicySpace, Rollout
from robot_learning.trajectory.buffer import GAP_PERIODS
from robot_learning.trajectory.episode import Episode


class Arrival(Protocol):
    """Where the actions of N environments led."""

    @property
    def observation(self) -> Array:
        """[N, D] to act on next: of ended episodes the next one's first."""

    @property
    def reward(self) -> Array:
        """[N] float32."""

    @property
    def terminated(self) -> Array:
        """[N] bool, the task ended."""

    @property
    def truncated(self) -> Array:
        """[N] bool, watching stopped."""

    @property
    def final_observation(self) -> Array:
        """[N, D] where each action led, whether the episode ended there or not."""


class VectorRollout:
    """T steps of B environments, in arrays that are made once and filled again and again."""

    def __init__(self, num_envs: int, length: int, space: PolicySpace):
        shape = (num_envs, length)
        self._arrays: dict[str, Array] = {
            'observation': np.zeros((*shape, space.input_size), np.float32),
            'next_observation': np.zeros((*shape, space.input_size), np.float32),
            'action': np.zeros((*shape, space.action_size), np.float32),
            'log_prob': np.zeros(shape, np.float32),
            'reward': np.zeros(shape, np.float32),
            'terminated': np.zeros(shape, bool),
            'is_last': np.zeros(shape, bool),
        }
        self._length = length
        self._num_steps = 0

    @property
    def is_full(self) -> bool:
        """Whether `take` may be called."""
        return self._num_steps == self._length

    def append(self, observation: Array, acted: Acted, arrival: Arrival) -> None:
        """Add one step of every environment; `observation` [B, D] is what they acted on."""
        t, arrays = self._num_steps, self._arrays
        arrays['observation'][:, t] = observation
        arrays['action'][:, t] = acted.action
        arrays['log_prob'][:, t] = acted.log_prob
        arrays['reward'][:, t] = arrival.reward
        arrays['terminated'][:, t] = arrival.terminated
        arrays['is_last'][:, t] = arrival.terminated | arrival.truncated
        arrays['next_observation'][:, t] = arrival.final_observation
        self._num_steps += 1

    def cut(self) -> None:
        """Let what comes next continue no run."""
        self._arrays['is_last'][:, max(self._num_steps - 1, 0)] = True

    def take(self) -> Batch:
        """Return the rollout, [B, T, ...], valid until the next `append`."""
        self._num_steps = 0
        return self._tensors()

    def state(self) -> dict[str, Tensor]:
        """Return what was filled in so far."""
        filled = {name: t[:, : self._num_steps].clone() for name, t in self._tensors().items()}
        return filled if self._num_steps else {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state`."""
        for name, tensor in tensors.items():
            self._num_steps = tensor.shape[1]
            self._arrays[name][:, : self._num_steps] = tensor.numpy()

    def _tensors(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array) for name, array in self._arrays.items()}


SeenPiece = tuple[Episode, Array]  # A piece of an episode and its features [T, D].


class _Row(NamedTuple):
    """One transition; `key` is of its step, so that the next one is known as its neighbour."""

    number: int  # Of all rows ever, in order.
    key: tuple[str, int, int]  # Source, episode, step within it.
    is_end: bool  # The episode ended where it led.
    version: int
    values: tuple[Array, Array, Array, float, float, bool]  # In the order of _NAMES.


_NAMES = ('observation', 'next_observation', 'action', 'log_prob', 'reward', 'terminated')


class _Step(NamedTuple):
    """The last step of a piece, which waits for where its action led."""

    key: tuple[str, int, int]
    stamp_ns: int
    observation: Array  # [D]
    action: Array  # [A] in [-1, 1]
    log_prob: float
    version: int
    is_ours: bool  # Drawn by a policy, at random.


class RolloutQueue:
    """Recorded steps in waiting, until there are enough for a rollout.

    A step counts if a policy drew its action (`log_prob` is finite and no person drove), and if
    the version that did is not more than `max_lag` behind the newest. All others are counted
    and cut the run: behind them, a new one begins. What the policy drew is learned from, not
    what the gate made of it: the gate is a part of the world.
    """

    def __init__(self, space: PolicySpace, control_period_ns: int):
        self._space = space
        self._max_gap_ns = GAP_PERIODS * control_period_ns
        self._rows: deque[_Row] = deque()
        self._newest: dict[str, _Step] = {}  # By source.
        self._trail: list[tuple[str, int]] = []  # Segment, and `num_appended` before it.
        self.num_appended = 0
        self.num_foreign = 0  # No policy drew them, or a person drove.
        self.num_stale = 0  # Of versions too old.
        self.num_dropped = 0  # Lost over a restart.

    def append(self, segment: str, pieces: Iterable[SeenPiece]) -> None:
        """Add the pieces of a segment '<source>/<file>'; the first may continue its source."""
        self._trail.append((segment, self.num_appended))
        for piece, observation in pieces:
            self._append(piece, observation, segment.split('/')[0])

    def count(self, draw: Rollout, newest_version: int) -> int:
        """Refuse what became stale and return the transitions that are left."""
        oldest = newest_version - draw.max_lag
        if any(row.version < oldest for row in self._rows):
            kept = [row for row in self._rows if row.version >= oldest]
            self.num_stale += len(self._rows) - len(kept)
            self._rows = deque(kept)
        return len(self._rows)

    def take(self, num_steps: int) -> Batch:
        """Remove the oldest `num_steps` transitions and return them, [1, T, ...]."""
        rows = [self._rows.popleft() for _ in range(num_steps)]
        columns = zip(*(row.values for row in rows), strict=True)
        batch = {name: np.stack(column) for name, column in zip(_NAMES, columns, strict=True)}
        following: Sequence[_Row | None] = [*rows[1:], None]
        batch['is_last'] = np.array(
            [not _continues(row, next_) for row, next_ in zip(rows, following, strict=True)]
        )
        for name in ('log_prob', 'reward'):
            batch[name] = batch[name].astype(np.float32)
        return {name: torch.from_numpy(array)[None] for name, array in batch.items()}

    def metrics(self) -> dict[str, float]:
        """Return what was refused, and how much waits."""
        return {
            'data/foreign_steps': float(self.num_foreign),
            'data/stale_steps': float(self.num_stale),
            'data/dropped_steps': float(self.num_dropped),
            'data/rollout_steps': float(len(self._rows)),
        }

    def state(self) -> dict[str, Any]:
        """Return the counters, which transitions wait, and the segments that they are in."""
        self._forget()
        return {
            'num_appended': self.num_appended,
            'num_foreign': self.num_foreign,
            'num_stale': self.num_stale,
            'num_dropped': self.num_dropped,
            'waiting': [list(each) for each in _ranges([row.number for row in self._rows])],
            'trail': [list(each) for each in self._trail],
        }

    def restore(
        self, state: Mapping[str, Any], read: Callable[[str], Iterable[SeenPiece]]
    ) -> None:
        """Wait with the same transitions again; those whose segments are gone are counted.

        Args:
            state: as `state` returned it.
            read: gives the pieces of a segment by name, nothing if it is gone.
        """
        for segment, num_before in state['trail']:
            self.num_appended = num_before
            self.append(segment, read(segment))
        waited = [(start, stop) for start, stop in state['waiting']]
        self._rows = deque(
            row for row in self._rows if any(start <= row.number < stop for start, stop in waited)
        )
        lost = sum(stop - start for start, stop in waited) - len(self._rows)
        self.num_appended = state['num_appended']
        self.num_foreign, self.num_stale = state['num_foreign'], state['num_stale']
        self.num_dropped = state['num_dropped'] + lost

    def _forget(self) -> None:
        """Keep of the trail what is waiting, and what the newest of each source continues."""
        first = self._rows[0].number if self._rows else self.num_appended
        ends = [num_before for _, num_before in self._trail[1:]] + [self.num_appended]
        start = next((i for i, end in enumerate(ends) if end > first), len(ends))
        before = {name.split('/')[0]: (name, number) for name, number in self._trail[:start]}
        self._trail = [*sorted(before.values(), key=lambda each: each[1]), *self._trail[start:]]

    def _append(self, piece: Episode, observation: Array, source: str) -> None:
        drawn: Array = np.isfinite(piece.log_prob) & ~piece.intervention
        drawn &= (piece.model_version >= 0) & np.isfinite(piece.commanded).all(1)
        action = self._space.normalised(piece.commanded).astype(np.float32)
        seen: Array = np.asarray(np.isfinite(observation).all(1))
        before = self._newest.pop(source, None)
        for t in range(len(piece)):
            key = (source, piece.episode, piece.offset + t)
            stamp_ns = int(piece.stamp_ns[t])
            is_first = bool(piece.is_first[t])
            if before is not None and self._follows(before, key, stamp_ns, is_first):
                if not before.is_ours:
                    self.num_foreign += 1
                elif seen[t] and np.isfinite(before.observation).all():
                    self._add(before, piece, t, observation[t])
            before = _Step(
                key,
                stamp_ns,
                observation[t],
                action[t],
                float(piece.log_prob[t]),
                int(piece.model_version[t]),
                bool(drawn[t]),
            )
        if before is not None and not piece.is_complete:
            self._newest[source] = before

    def _follows(
        self, before: _Step, key: tuple[str, int, int], stamp_ns: int, is_first: bool
    ) -> bool:
        source, episode, index = before.key
        return (
            key == (source, episode, index + 1)
            and not is_first
            and stamp_ns - before.stamp_ns <= self._max_gap_ns
        )

    def _add(self, step: _Step, piece: Episode, t: int, observation: Array) -> None:
        if not np.isfinite(piece.reward[t]):
            self.num_foreign += 1
            return
        terminated = bool(piece.terminated[t])
        row = _Row(
            self.num_appended,
            step.key,
            terminated or bool(piece.truncated[t]),
            step.version,
            (
                step.observation,
                observation,
                step.action,
                step.log_prob,
                float(piece.reward[t]),
                terminated,
            ),
        )
        self._rows.append(row)
        self.num_appended += 1


def _continues(row: _Row, following: _Row | None) -> bool:
    source, episode, index = row.key
    return (
        following is not None and not row.is_end and following.key == (source, episode, index + 1)
    )


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return [start, stop) of every stretch of ascending numbers without a gap."""
    groups = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    stretches = [[number for _, number in group] for _, group in groups]
    return [(each[0], each[-1] + 1) for each in stretches]
