"""A ring of steps in memory, sampled as transitions or windows.

Steps of one episode that follow each other stand side by side; a run is a stretch of such
steps. A run ends where the episode ends, where steps are missing, and at the newest step
as long as its successor has not arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_learning.errors import ConfigError, NotEnoughDataError
from robot_learning.trajectory.episode import Array, Episode
from robot_learning.trajectory.prioritised import Priorities, restored

_FLAGS = ('terminated', 'truncated', 'intervention', 'is_first')  # Behind action and reward.
_ROWS_AT_ONCE = 1024
GAP_PERIODS = 1.5  # Two stamps further apart than this many control periods are not neighbours.


class ReplayBuffer:
    """Holds the newest `capacity` steps; memory is taken once, at the first `append`.

    Args:
        capacity: steps.
        rng: source of all randomness in sampling.
        control_period_ns: where stamps jump by more than 1.5 periods, steps are missing and no
            transition crosses; None: stamps are not looked at.
        successors: arrays of which `sample_transitions` also gives `next_<name>`.
    """

    def __init__(
        self,
        capacity: int,
        rng: np.random.Generator,
        control_period_ns: int | None = None,
        successors: Sequence[str] = ('observation',),
    ):
        if capacity < 2:
            raise NotEnoughDataError(
                f'buffer: capacity is {capacity}, a transition needs 2 steps. Raise it.'
            )
        self.capacity = capacity
        self._rng = rng
        self._max_gap_ns = GAP_PERIODS * control_period_ns if control_period_ns else None
        self._successors = tuple(successors)
        self._arrays: dict[str, Array] = {}  # [capacity, ...] each.
        self._table: Array = np.zeros((0, 0), np.float32)  # [capacity, A + 5]: see _rows.
        self._action_size = 0
        self._has_next: Array = np.zeros(capacity, bool)
        self._num_appended = 0
        self._newest: tuple[int, int, int, object] | None = None  # Of the newest step: see _key.
        self._priorities: Priorities | None = None  # From the first draw that asks for them.

    def __len__(self) -> int:
        return min(self._num_appended, self.capacity)

    @property
    def num_appended(self) -> int:
        """Steps appended since the start, those overwritten since included."""
        return self._num_appended

    def append(self, piece: Episode, arrays: Mapping[str, Array], source: object = None) -> None:
        """Add the steps of `piece`; it continues the newest run if it is its next piece.

        Args:
            piece: its action, reward and ends are taken.
            arrays: what to sample besides, [T, ...] each, for example `observation` [T, D] from
                `FeatureBuilder.build_batch`; the same names, shapes and types at every call.
            source: where the piece comes from, for example its session; pieces of different
                sources never continue each other.
        """
        if not len(piece):
            return
        if not self._arrays:
            self._allocate(piece, arrays)
        rows, joined = self._rows(piece)  # [T, A + 5], [T]
        continues = self._continues(piece, source)
        if not continues:
            rows[0, -1] = 1.0
        if self._num_appended:
            self._has_next[(self._num_appended - 1) % self.capacity] = continues
        self._write(rows, joined, arrays)
        self._newest = (piece.episode, piece.offset + len(piece), int(piece.stamp_ns[-1]), source)
        if piece.is_complete:
            self._newest = None

    def sample_transitions(
        self,
        batch_size: int,
        n_step: int = 1,
        discount: float = 0.99,
        priority_exponent: float = 0.0,
    ) -> dict[str, Array]:
        """Draw transitions with replacement: uniformly, or by priority.

        A transition spans `n_step` steps, fewer where its run ends earlier. It bootstraps
        from `next_observation` unless the task ended there: after truncation, a gap or at the
        newest step `discount` stays above 0.

        Returns:
            every array given to `append` and its `next_` value for `successors`, [B, ...];
            `action` [B, A]; `reward` [B], sum of gamma^i times the rewards on the way;
            `discount` [B], gamma^k * (1 - terminated) with k steps on the way; `intervention`
            [B], a person commanded `action`. With a `priority_exponent` also `place` [B], for
            `prioritise`, and `selection_ratio` [B]: how likely the row was drawn, to uniformly.

        Raises:
            NotEnoughDataError: no step has a successor yet.
        """
        drawn = (
            self._by_priority(priority_exponent).draw(batch_size, self._rng)
            if priority_exponent
            else None
        )
        start = self._draw_with_successor(batch_size) if drawn is None else drawn.place  # [B]
        here = self._table.take(start, axis=0)
        stop = start + 1
        stop[stop == self.capacity] = 0
        there = self._table.take(stop, axis=0)
        size = self._action_size
        reward = there[:, size]
        factor: Array | float = discount
        if n_step > 1:
            reward, factor, stop = self._walk(stop, reward.copy(), n_step, discount)
            there = self._table.take(stop, axis=0)
        batch = {name: data.take(start, axis=0) for name, data in self._arrays.items()}
        for name in self._successors:
            if name in self._arrays:
                batch[f'next_{name}'] = self._arrays[name].take(stop, axis=0)
        batch['action'] = here[:, :size]
        batch['intervention'] = here[:, size + 3] > 0.5
        batch['reward'] = reward
        batch['discount'] = (factor * (1.0 - there[:, size + 1])).astype(np.float32, copy=False)
        return batch if drawn is None else batch | drawn._asdict()

    def prioritise(self, place: Array, error: Array) -> None:
        """Remember how wrong the prediction was for rows of the last draw by priority, [B]."""
        assert self._priorities is not None, 'they were drawn by priority'
        self._priorities.update(place, error)

    def sample_windows(self, batch_size: int, length: int) -> dict[str, Array]:
        """Draw windows of consecutive steps uniformly.

        A window may hold the end of one run and the start of the next; `is_first` is True at
        every start of a run and at the window's first step, whose past is not in it.

        Returns:
            every array given to `append`, `action`, `reward`, `terminated`, `truncated`,
            `intervention` and `is_first`, [B, T, ...].

        Raises:
            NotEnoughDataError: the buffer holds fewer than `length` steps.
        """
        if len(self) < length:
            raise NotEnoughDataError(
                f'buffer: holds {len(self)} steps, a window needs {length}. '
                f'Record longer or ask for shorter windows.'
            )
        oldest = self._num_appended - len(self)
        start = self._rng.integers(oldest, self._num_appended - length + 1, batch_size)
        index = (start[:, None] + np.arange(length)) % self.capacity  # [B, T]
        batch = {name: data[index] for name, data in self._arrays.items()}
        table = self._table[index]  # [B, T, A + 5]
        size = self._action_size
        batch['action'] = table[..., :size]
        batch['reward'] = table[..., size]
        for column, name in enumerate(_FLAGS, size + 1):
            batch[name] = table[..., column] > 0.5
        batch['is_first'][:, 0] = True
        return batch

    def state(self) -> dict[str, Any]:
        """Return what must be stored, as plain data, to draw the same batches after a restart.

        The steps themselves are not in it: append again at least the pieces that are still
        held, in their order, then `restore`.
        """
        state = {'rng': self._rng.bit_generator.state, 'num_appended': self._num_appended}
        if self._priorities is not None:
            self._priorities.take_in(self._has_next, self._num_appended)
            state['priorities'] = self._priorities.state()
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue the random sequence saved by `state`, every step at the place it had then."""
        self._rng.bit_generator.state = state['rng']
        ahead = state['num_appended'] - self._num_appended
        if ahead > 0 and self._num_appended >= self.capacity:  # Else all is here, or some gone.
            for data in (self._table, self._has_next, *self._arrays.values()):
                _rotate(data, ahead % self.capacity)
            self._num_appended += ahead
        if 'priorities' in state:
            self._priorities = restored(state['priorities'], self._has_next, self._num_appended)

    def _allocate(self, piece: Episode, arrays: Mapping[str, Array]) -> None:
        for name, data in arrays.items():
            self._arrays[name] = np.zeros((self.capacity, *data.shape[1:]), data.dtype)
        self._action_size = piece.action.shape[1]
        self._table = np.zeros((self.capacity, self._action_size + 5), np.float32)

    def _rows(self, piece: Episode) -> tuple[Array, Array]:
        """Return [T, A + 5] (action, reward and _FLAGS) and [T] joined.

        `joined` is True where a step's successor within the piece follows it without a gap.
        """
        size = self._action_size
        rows = np.empty((len(piece), size + 5), np.float32)
        rows[:, :size] = piece.action
        rows[:, size] = piece.reward
        rows[:, size + 1] = piece.terminated
        rows[:, size + 2] = piece.truncated
        rows[:, size + 3] = piece.intervention
        joined = np.zeros(len(piece), bool)
        ended = piece.terminated | piece.truncated
        joined[:-1] = ~(ended[:-1] | piece.is_first[1:])
        if self._max_gap_ns is not None:
            joined[:-1] &= np.diff(piece.stamp_ns) <= self._max_gap_ns
        rows[:, size + 4] = piece.is_first
        rows[1:, size + 4] = ~joined[:-1]
        return rows, joined

    def _continues(self, piece: Episode, source: object) -> bool:
        if self._newest is None or piece.is_first[0]:
            return False
        episode, following, stamp_ns, newest_source = self._newest
        if (episode, following, newest_source) != (piece.episode, piece.offset, source):
            return False
        last = self._table[(self._num_appended - 1) % self.capacity]
        if last[self._action_size + 1] or last[self._action_size + 2]:
            return False
        step_ns = int(piece.stamp_ns[0]) - stamp_ns
        return self._max_gap_ns is None or step_ns <= self._max_gap_ns

    def _write(self, rows: Array, joined: Array, arrays: Mapping[str, Array]) -> None:
        skip = max(0, len(rows) - self.capacity)  # Of a long piece only the end survives.
        count = len(rows) - skip
        begin = (self._num_appended + skip) % self.capacity
        first = min(count, self.capacity - begin)
        for target, data in (
            (self._table, rows),
            (self._has_next, joined),
            *((self._arrays[name], arrays[name]) for name in self._arrays),
        ):
            target[begin : begin + first] = data[skip : skip + first]
            target[: count - first] = data[skip + first :]
        self._num_appended += len(rows)

    def _by_priority(self, exponent: float) -> Priorities:
        if self._priorities is None:
            self._priorities = Priorities(self.capacity, exponent)
        self._priorities.take_in(self._has_next, self._num_appended)
        return self._priorities

    def _draw_with_successor(self, batch_size: int) -> Array:
        """Return [B] places of steps whose successor is known, uniformly."""
        size = len(self)
        start = (self._rng.random(batch_size) * size).astype(np.intp)
        missing = np.flatnonzero(~self._has_next.take(start)) if size else start
        for _ in range(8):  # Few steps end a run, so that redrawing them beats listing all.
            if not len(missing):
                return start
            start[missing] = (self._rng.random(len(missing)) * size).astype(np.intp)
            missing = missing[~self._has_next.take(start[missing])] if size else missing
        places = np.flatnonzero(self._has_next[:size])
        if not len(places):
            raise NotEnoughDataError(
                f'buffer: holds {size} steps, none of which has a successor. '
                f'Record at least two consecutive steps of an episode.'
            )
        start[missing] = places[self._rng.integers(0, len(places), len(missing))]
        return start

    def _walk(
        self, stop: Array, reward: Array, n_step: int, discount: float
    ) -> tuple[Array, Array, Array]:
        """Go on from `stop` for n_step - 1 steps while runs last; sum what is met on the way.

        Returns:
            [B] discounted reward, [B] discount^steps, [B] places where the walks ended.
        """
        stop = stop.copy()
        factor = np.full(len(stop), discount, np.float64)
        walking = np.arange(len(stop))
        for _ in range(n_step - 1):
            walking = walking[self._has_next[stop[walking]]]
            if not len(walking):
                break
            stop[walking] = (stop[walking] + 1) % self.capacity
            reward[walking] += factor[walking] * self._table[stop[walking], self._action_size]
            factor[walking] *= discount
        return reward, factor, stop


class MixedBuffer:
    """Draws a set share of every batch from a second buffer, for example of demonstrations.

    Args:
        online: what the robot experiences now.
        offline: recorded before.
        offline_ratio: share of a batch from `offline`, 0 to 1. While one buffer cannot give
            anything, the other gives all; and a few offline steps are not drawn over and over:
            a batch takes no more rows from there than there are steps.
    """

    def __init__(self, online: ReplayBuffer, offline: ReplayBuffer, offline_ratio: float):
        if not 0 <= offline_ratio <= 1:
            raise ConfigError(
                f'buffer: offline_ratio is {offline_ratio}, expected 0 to 1. Correct it.'
            )
        self.online = online
        self.offline = offline
        self.offline_ratio = offline_ratio

    def __len__(self) -> int:
        return len(self.online) + len(self.offline)

    def sample_transitions(
        self,
        batch_size: int,
        n_step: int = 1,
        discount: float = 0.99,
        priority_exponent: float = 0.0,
    ) -> dict[str, Array]:
        """Draw as `ReplayBuffer.sample_transitions`, with `is_offline` [B]; those come last."""
        num_online, num_offline = self._shares(batch_size, minimum=2)
        batch = _stack(
            [
                part.sample_transitions(count, n_step, discount, priority_exponent)
                for part, count in ((self.online, num_online), (self.offline, num_offline))
                if count
            ]
        )
        batch['is_offline'] = np.arange(batch_size) >= num_online
        return batch

    def sample_windows(self, batch_size: int, length: int) -> dict[str, Array]:
        """Draw as `ReplayBuffer.sample_windows`; offline rows come last."""
        num_online, num_offline = self._shares(batch_size, minimum=length)
        return _stack(
            [
                part.sample_windows(count, length)
                for part, count in ((self.online, num_online), (self.offline, num_offline))
                if count
            ]
        )

    def prioritise(self, place: Array, is_offline: Array, error: Array) -> None:
        """Tell both buffers as `ReplayBuffer.prioritise`, [B] each."""
        for part, rows in ((self.online, ~is_offline), (self.offline, is_offline)):
            if rows.any():
                part.prioritise(place[rows], error[rows])

    def state(self) -> dict[str, Any]:
        """Return the state of both buffers; see `ReplayBuffer.state`."""
        return {'online': self.online.state(), 'offline': self.offline.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue both random sequences saved by `state`."""
        self.online.restore(state['online'])
        self.offline.restore(state['offline'])

    def _shares(self, batch_size: int, minimum: int) -> tuple[int, int]:
        num_offline = min(round(batch_size * self.offline_ratio), len(self.offline))
        if len(self.offline) < minimum:
            num_offline = 0
        elif len(self.online) < minimum:
            num_offline = batch_size
        return batch_size - num_offline, num_offline


def _rotate(data: Array, places: int) -> None:
    """Move every row on by so many places, in place: there may be no room for a copy."""
    for part in (data, data[:places], data[places:]):
        _reverse(part)


def _reverse(data: Array) -> None:
    half, end = len(data) // 2, len(data)
    for start in range(0, half, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, half)
        front = data[start:stop].copy()
        data[start:stop] = data[end - stop : end - start][::-1]
        data[end - stop : end - start] = front[::-1]


def _stack(parts: list[dict[str, Array]]) -> dict[str, Array]:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
