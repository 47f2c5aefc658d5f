"""What a trainer has seen: recorded segments become sampled batches of tensors."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError, DataError
from robot_learning.features import FeatureBuilder
from robot_learning.phases.contract_fit import check_compatible, policy_space
from robot_learning.phases.phase import (
    Batch,
    Rollout,
    TrainingData,
    Transitions,
    Windows,
)
from robot_learning.phases.rollouts import RolloutQueue, SeenPiece
from robot_learning.trajectory.buffer import MixedBuffer, ReplayBuffer
from robot_learning.trajectory.episode import Array, Episode
from robot_learning.trajectory.store import TrajectoryStore

_RECENT_EPISODES = 20  # Over which return and success are averaged.


class Experience:
    """Follows a store into a buffer; features and normalised actions are computed once.

    Args:
        contract: of the robot that learns.
        capacity: control steps kept in memory.
        seed: of the sampling.
        store: to follow; None: only what is appended.
        demonstration_ratio: share of each batch from demonstrations, 0 to 1.
        interventions_as_demonstrations: what a person did who took over counts as both.
        images: fields of the contract that are sampled as `image/<field>` besides the features.
        needs_reward: steps without a reward are left out, but for starts, which never have one.
    """

    def __init__(
        self,
        contract: RobotContract,
        capacity: int,
        seed: int,
        store: TrajectoryStore | None = None,
        demonstration_ratio: float = 0.0,
        interventions_as_demonstrations: bool = False,
        images: Sequence[str] = (),
        needs_reward: bool = False,
    ):
        self.contract = contract
        self.builder = FeatureBuilder(contract)
        self.space = policy_space(contract, self.builder, images)
        self.fields = (*self.builder.fields, *images)  # Of the contract, that data must hold.
        seeds = np.random.SeedSequence(seed).spawn(2)
        period_ns = contract.control_period_ns
        self._online = ReplayBuffer(capacity, np.random.default_rng(seeds[0]), period_ns)
        self._offline = ReplayBuffer(capacity, np.random.default_rng(seeds[1]), period_ns)
        self._buffer = MixedBuffer(self._online, self._offline, demonstration_ratio)
        self._store = store
        self._follower = store.follow() if store else None
        self._rollouts: RolloutQueue | None = None  # See `collect_rollouts`.
        self._copies_interventions = interventions_as_demonstrations
        self._helped: tuple[str, int, int] | None = None  # Whose next step completes a transition.
        self._needs_reward = needs_reward
        self._known_contracts = {contract.hash}
        self.segments: list[str] = []  # Consumed, '<session>/segment_000012.hdf5', in order.
        self._rows: list[tuple[int, int]] = []  # Of each: put into _online, into _offline.
        self._helped_before: dict[int, tuple[str, int, int]] = {}  # Segment -> _helped then.
        self.sources: list[str] = []  # Other data that was appended, by name.
        self.skipped: list[str] = []  # What could not be used, and why.
        self.num_skipped_segments = 0  # Damaged, or of another robot.
        self.num_without_reward = 0  # Steps that were left out because they need one.
        self.environment_step = 0
        self.num_episodes = 0
        self._open_return: dict[tuple[object, int], float] = {}
        self._returns: deque[float] = deque(maxlen=_RECENT_EPISODES)
        self._successes: deque[float] = deque(maxlen=_RECENT_EPISODES)

    def poll(self) -> int:
        """Take in what was written to the store since the last call; return its steps."""
        if self._store is None or self._follower is None:
            return 0
        before = self.environment_step
        for path in self._follower.poll():
            self._take(self._store, path)
        return self.environment_step - before

    def append(
        self, episodes: Iterable[Episode], source: str, are_demonstrations: bool = False
    ) -> None:
        """Take in recorded episodes as if they had just been experienced.

        Args:
            episodes: in the order of their steps.
            source: what to call them.
            are_demonstrations: they are also what a phase with a pull towards demonstrations is
                to stay close to.
        """
        self.sources.append(source)
        for episode in episodes:
            self._count(episode, source)
            self._fill(self._offline if are_demonstrations else self._online, episode, source)

    def append_demonstrations(self, episodes: Iterable[Episode], source: str) -> None:
        """Take in recorded episodes as demonstrations, which do not count as experience."""
        self.sources.append(source)
        for episode in episodes:
            self._fill(self._offline, episode, source)

    @property
    def num_steps(self) -> int:
        """Control steps in memory, demonstrations included."""
        return len(self._buffer)

    @property
    def num_demonstrations(self) -> int:
        """Steps of demonstrations in memory."""
        return len(self._offline)

    def sample(self, draw: Transitions | Windows) -> Batch:
        """Draw a batch from memory; see the kinds of draw for names and shapes."""
        if isinstance(draw, Windows):
            batch = self._buffer.sample_windows(*draw)
        else:
            batch = self._buffer.sample_transitions(*draw)
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def prioritise(self, batch: Batch, error: Tensor) -> None:
        """Remember how wrong the prediction was for each row of the last batch, [B]."""
        place, is_offline = batch['place'].numpy(), batch['is_offline'].numpy()
        self._buffer.prioritise(place, is_offline, error.cpu().numpy())

    def collect_rollouts(self) -> None:
        """From now on keep what policies drive for `rollout`; appended data gives none."""
        self._rollouts = RolloutQueue(self.space, self.contract.control_period_ns)

    def has_rollout(self, draw: Rollout, newest_version: int) -> bool:
        """Refuse steps that are stale beside the newest version; tell whether enough are left."""
        assert self._rollouts is not None, 'collect_rollouts was called'
        return self._rollouts.count(draw, newest_version) >= draw.num_steps

    def rollout(self, draw: Rollout) -> Batch:
        """Return the oldest `num_steps` transitions in waiting, [1, T, ...], each only once."""
        assert self._rollouts is not None, 'collect_rollouts was called'
        return self._rollouts.take(draw.num_steps)

    def training_data(self) -> TrainingData:
        """Return what is in memory, row by row."""
        parts = [buffer for buffer in (self._online, self._offline) if len(buffer)]
        windows = [buffer.sample_windows(1, len(buffer)) for buffer in parts]
        joined = {
            name: np.concatenate([window[name][0] for window in windows])
            for name in ('observation', 'action', 'reward', 'is_first')
        }
        reward = joined['reward'][~joined['is_first']]  # Nothing is received at a start.
        return TrainingData(joined['observation'], joined['action'], reward)

    def metrics(self) -> dict[str, float]:
        """Return mean return and success rate of the last episodes, and segments left out."""
        metrics = {'episode/count': float(self.num_episodes)}
        if self._returns:
            metrics['episode/return'] = float(np.mean(self._returns))
        if self._successes:
            metrics['episode/success'] = float(np.mean(self._successes))
        if self.num_skipped_segments:
            metrics['data/skipped_segments'] = float(self.num_skipped_segments)
        if self.num_without_reward:
            metrics['data/without_reward'] = float(self.num_without_reward)
        if self._rollouts is not None:
            metrics |= self._rollouts.metrics()
        return metrics

    def state(self) -> dict[str, Any]:
        """Return plain data from which `restore` rebuilds this over the same files."""
        open_returns = [
            [source, episode, total] for (source, episode), total in self._open_return.items()
        ]
        return {
            'segments': list(self.segments),
            'rows': [list(rows) for rows in self._rows],
            'helped': [[index, *helped] for index, helped in self._helped_before.items()],
            'position': self._follower.position() if self._follower else {},
            'buffer': self._buffer.state(),
            'environment_step': self.environment_step,
            'num_episodes': self.num_episodes,
            'num_skipped_segments': self.num_skipped_segments,
            'num_without_reward': self.num_without_reward,
            'open_returns': open_returns,
            'returns': list(self._returns),
            'successes': list(self._successes),
            'rollouts': None if self._rollouts is None else self._rollouts.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Read those consumed segments again that memory still holds, and go on as it was.

        Data given to `append` must have been appended again before. Segments that are gone
        are named in `skipped`; the counters still go on where they were.
        """
        if self._store is not None:
            self._read_again(self._store, state)
            self._follower = self._store.follow(state['position'])
        self._buffer.restore(state['buffer'])
        self.environment_step = state['environment_step']
        self.num_episodes = state['num_episodes']
        self.num_skipped_segments = state.get('num_skipped_segments', 0)  # Pruned ones are not.
        self.num_without_reward = state.get('num_without_reward', 0)
        self._open_return = {(s, e): total for s, e, total in state['open_returns']}
        self._returns = deque(state['returns'], _RECENT_EPISODES)
        self._successes = deque(state['successes'], _RECENT_EPISODES)
        if self._rollouts is not None and state.get('rollouts') is not None:
            self._rollouts.restore(state['rollouts'], self._seen_again)

    def arrays(self, piece: Episode) -> dict[str, Array]:
        """Return `observation` [T, D], the features, and `image/<field>` [T, H, W, C]."""
        images = {f'image/{name}': piece.observations[name] for name in self.space.images}
        return {'observation': self.builder.build_batch(piece.observations), **images}

    def usable(self, piece: Episode, observation: Array, action: Array) -> Array:
        """Return [T] bool: the step holds what policies learn from; see `arrays`."""
        usable: Array = np.asarray(np.isfinite(observation).all(1) & np.isfinite(action).all(1))
        for name in self.space.images:
            usable &= piece.present[name]
        return usable

    def has_reward(self, piece: Episode) -> Array:
        """Return [T] bool: the step holds the reward that is needed, if one is.

        None comes where no task runs, or where its message was lost.
        """
        if not self._needs_reward:
            return np.ones(len(piece), bool)
        is_known = np.isfinite(piece.reward)
        return np.asarray(is_known | (piece.is_first & is_known.any()))

    @property
    def lacks_rewards(self) -> str:
        """What to tell people about steps that came without a reward; '' if none did."""
        if not self.num_without_reward:
            return ''
        return (
            f'{self.num_without_reward} steps came without a reward and are left out: record with '
            f'a task that gives rewards, or train behavior_cloning.'
        )

    def _take(self, store: TrajectoryStore, path: Path) -> None:
        pieces = self._read(store, path)
        if pieces is None:
            self.num_skipped_segments += 1
            return
        if self._helped is not None:
            self._helped_before[len(self.segments)] = self._helped
        self.segments.append(f'{path.parent.name}/{path.name}')
        online, offline = self._online.num_appended, self._offline.num_appended
        for piece in pieces:
            self._count(piece, path.parent.name)
            self._fill(self._online, piece, path.parent.name)
        if self._rollouts is not None:
            self._rollouts.append(self.segments[-1], self._seen(pieces))
        self._rows.append(
            (self._online.num_appended - online, self._offline.num_appended - offline)
        )

    def _seen(self, pieces: Iterable[Episode]) -> list[SeenPiece]:
        return [(piece, self.builder.build_batch(piece.observations)) for piece in pieces]

    def _seen_again(self, segment: str) -> list[SeenPiece]:
        assert self._store is not None, 'rollouts come from a store'
        return self._seen(self._read(self._store, self._store.root / segment) or [])

    def _read(self, store: TrajectoryStore, path: Path) -> list[Episode] | None:
        try:
            self._check_contract(store, path)
            return store.read_segment(path, self.fields)
        except (DataError, ContractError) as error:
            self.skipped.append(f'{error} It is left out of learning.')
            return None

    def _read_again(self, store: TrajectoryStore, state: Mapping[str, Any]) -> None:
        """Fill the buffers as they were, from the segments whose steps are still in them."""
        names: list[str] = state['segments']
        if 'rows' not in state:  # An older checkpoint does not say what each segment gave.
            for name in names:
                self._take(store, store.root / name)
            return
        rows = [(online, offline) for online, offline in state['rows']]
        helped = {index: (name, e, offset) for index, name, e, offset in state['helped']}
        first = _first_held([online for online, _ in rows], self._online.capacity)
        first_copied = _first_held([offline for _, offline in rows], self._offline.capacity)
        for index, name in enumerate(names):
            is_copied = index >= first_copied and rows[index][1] > 0
            if index < first and not is_copied:
                continue
            path = store.root / name
            pieces = self._read(store, path)
            if pieces is None:
                rows[index] = 0, 0
                continue
            self._helped = helped.get(index)
            for piece in pieces:
                self._fill(self._online, piece, path.parent.name)
        self.segments, self._rows, self._helped_before = list(names), rows, helped

    def _check_contract(self, store: TrajectoryStore, path: Path) -> None:
        info = store.read_info(path)
        if info.contract_hash not in self._known_contracts:
            recorded = contracts.from_dict(info.contract, str(path))
            check_compatible(recorded, self.contract, self.fields, str(path))
            self._known_contracts.add(info.contract_hash)

    def _fill(self, buffer: ReplayBuffer, piece: Episode, source: str) -> None:
        arrays = self.arrays(piece)
        action = self.space.normalised(piece.action)
        usable = self.usable(piece, arrays['observation'], action)
        if not usable.all():
            self.skipped.append(
                f'{source}: episode {piece.episode}: {int((~usable).sum())} of {len(piece)} '
                f'steps hold values that are not finite, or lack a picture; they are left out.'
            )
        has_reward = self.has_reward(piece)
        self.num_without_reward += int((~has_reward).sum())
        usable &= has_reward
        normalised = dataclasses.replace(piece, action=action)
        for start, stop in _runs(usable):
            part = {name: array[start:stop] for name, array in arrays.items()}
            buffer.append(normalised.slice(start, stop), part, source)
        if self._copies_interventions and buffer is self._online:
            chosen = usable & self._demonstrated(piece, source)
            for start, stop in _runs(chosen):
                part = {name: array[start:stop] for name, array in arrays.items()}
                self._offline.append(normalised.slice(start, stop), part, source)

    def _demonstrated(self, piece: Episode, source: str) -> Array:
        """Return [T] bool: a person drove, or the step is where they arrived by that."""
        chosen = piece.intervention.copy()
        chosen[1:] |= piece.intervention[:-1]
        chosen[:1] |= self._helped == (source, piece.episode, piece.offset)
        following = (source, piece.episode, piece.offset + len(piece))
        self._helped = following if piece.intervention[-1:].any() else None
        return chosen

    def _count(self, piece: Episode, source: str) -> None:
        self.environment_step += len(piece)
        key = (source, piece.episode)
        total = self._open_return.pop(key, 0.0) + float(np.nansum(piece.reward))
        if not piece.is_complete:
            self._open_return[key] = total
            return
        self.num_episodes += 1
        if np.isfinite(piece.reward).any():
            self._returns.append(total)
        if 'success' in piece.attributes:
            self._successes.append(float(piece.attributes['success']))


def _first_held(counts: Sequence[int], capacity: int) -> int:
    """Return from which segment on all rows that a ring holds come, by the rows of each."""
    total = 0
    for index in reversed(range(len(counts))):
        total += counts[index]
        if total >= capacity:
            return index
    return 0


def _runs(usable: Array) -> list[tuple[int, int]]:
    """Return [start, stop) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], usable.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
