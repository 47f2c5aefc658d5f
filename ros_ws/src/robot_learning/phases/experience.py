"""What a trainer has seen: recorded segments become sampled batches of tensors."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError, DataError
from robot_learning.features import FeatureBuilder
from robot_learning.phases.phase import Batch, PolicySpace, TrainingData
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
    """

    def __init__(
        self,
        contract: RobotContract,
        capacity: int,
        seed: int,
        store: TrajectoryStore | None = None,
        demonstration_ratio: float = 0.0,
        interventions_as_demonstrations: bool = False,
    ):
        self.contract = contract
        self.builder = FeatureBuilder(contract)
        self.space = PolicySpace(self.builder.size, contract.action_low, contract.action_high)
        seeds = np.random.SeedSequence(seed).spawn(2)
        period_ns = contract.control_period_ns
        self._online = ReplayBuffer(capacity, np.random.default_rng(seeds[0]), period_ns)
        self._offline = ReplayBuffer(capacity, np.random.default_rng(seeds[1]), period_ns)
        self._buffer = MixedBuffer(self._online, self._offline, demonstration_ratio)
        self._store = store
        self._follower = store.follow() if store else None
        self._copies_interventions = interventions_as_demonstrations
        self._helped: tuple[str, int, int] | None = None  # Whose next step completes a transition.
        self._known_contracts = {contract.hash}
        self._rewarded: set[str] = set()  # Sources whose steps have rewards.
        self.segments: list[str] = []  # Consumed, '<session>/segment_000012.hdf5', in order.
        self.sources: list[str] = []  # Other data that was appended, by name.
        self.skipped: list[str] = []  # What could not be used, and why.
        self.num_skipped_segments = 0  # Damaged, or of another robot.
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

    def append(self, episodes: Iterable[Episode], source: str) -> None:
        """Take in recorded episodes as if they had just been experienced."""
        self.sources.append(source)
        for episode in episodes:
            self._count(episode, source)
            self._fill(self._online, episode, source)

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

    def sample(self, batch_size: int, n_step: int, discount: float) -> Batch:
        """Draw transitions; see `ReplayBuffer.sample_transitions` for names and shapes."""
        batch = self._buffer.sample_transitions(batch_size, n_step, discount)
        return {name: torch.from_numpy(array) for name, array in batch.items()}

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
        return metrics

    def state(self) -> dict[str, Any]:
        """Return plain data from which `restore` rebuilds this over the same files."""
        open_returns = [
            [source, episode, total] for (source, episode), total in self._open_return.items()
        ]
        return {
            'segments': list(self.segments),
            'position': self._follower.position() if self._follower else {},
            'buffer': self._buffer.state(),
            'environment_step': self.environment_step,
            'num_episodes': self.num_episodes,
            'num_skipped_segments': self.num_skipped_segments,
            'open_returns': open_returns,
            'returns': list(self._returns),
            'successes': list(self._successes),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Read the consumed segments again, in their order, and go on sampling where it was.

        Data given to `append` must have been appended again before. Segments that are gone
        are named in `skipped`; the counters still go on where they were.
        """
        if self._store is not None:
            for name in state['segments']:
                self._take(self._store, self._store.root / name)
            self._follower = self._store.follow(state['position'])
        self._buffer.restore(state['buffer'])
        self.environment_step = state['environment_step']
        self.num_episodes = state['num_episodes']
        self.num_skipped_segments = state.get('num_skipped_segments', 0)  # Pruned ones are not.
        self._open_return = {(s, e): total for s, e, total in state['open_returns']}
        self._returns = deque(state['returns'], _RECENT_EPISODES)
        self._successes = deque(state['successes'], _RECENT_EPISODES)

    def features(self, piece: Episode) -> Array:
        """Return policy inputs [T, D] of a piece."""
        return self.builder.build_batch(piece.observations)

    def _take(self, store: TrajectoryStore, path: Path) -> None:
        name = f'{path.parent.name}/{path.name}'
        try:
            self._check_contract(store, path)
            pieces = store.read_segment(path, self.builder.fields)
        except (DataError, ContractError) as error:
            self.skipped.append(f'{error} It is left out of learning.')
            self.num_skipped_segments += 1
            return
        self.segments.append(name)
        for piece in pieces:
            self._count(piece, path.parent.name)
            self._fill(self._online, piece, path.parent.name)

    def _check_contract(self, store: TrajectoryStore, path: Path) -> None:
        info = store.read_info(path)
        if info.contract_hash not in self._known_contracts:
            recorded = contracts.from_dict(info.contract, str(path))
            check_compatible(recorded, self.contract, self.builder.fields, str(path))
            self._known_contracts.add(info.contract_hash)

    def _fill(self, buffer: ReplayBuffer, piece: Episode, source: str) -> None:
        observation = self.features(piece)
        action = self.space.normalised(piece.action)
        usable = _finite_rows(observation) & _finite_rows(action)
        has_reward = np.isfinite(piece.reward)
        if has_reward.any():
            self._rewarded.add(source)
        if source in self._rewarded:  # Some lost their outcome message; bags may have none at all.
            usable &= has_reward
        if not usable.all():
            self.skipped.append(
                f'{source}: episode {piece.episode}: {int((~usable).sum())} of {len(piece)} '
                f'steps hold values that are not finite; they are left out.'
            )
        normalised = dataclasses.replace(piece, action=action)
        for start, stop in _runs(usable):
            arrays = {'observation': observation[start:stop]}
            buffer.append(normalised.slice(start, stop), arrays, source)
        if self._copies_interventions and buffer is self._online:
            chosen = usable & self._demonstrated(piece, source)
            for start, stop in _runs(chosen):
                arrays = {'observation': observation[start:stop]}
                self._offline.append(normalised.slice(start, stop), arrays, source)

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


def check_compatible(
    recorded: RobotContract, contract: RobotContract, fields: Iterable[str], where: str
) -> None:
    """Check that data of one contract means the same under another.

    Raises:
        DataError: names every needed field or action that differs.
    """
    differences = []
    for name in fields:
        theirs, ours = recorded.observation.get(name), contract.observation[name]
        for key in ('type', 'part', 'shape', 'unit'):
            found, expected = getattr(theirs, key, None), getattr(ours, key)
            if found != expected:
                differences.append(f'field {name}: {key} is {found!r}, expected {expected!r}')
    found_actions = [(a.components, a.unit) for a in recorded.learned_actions.values()]
    expected_actions = [(a.components, a.unit) for a in contract.learned_actions.values()]
    if found_actions != expected_actions:
        differences.append(f'actions are {found_actions}, expected {expected_actions}')
    if differences:
        raise DataError(
            f'{where}: was recorded for robot {recorded.robot!r}, which does not fit '
            f'{contract.robot!r}: {"; ".join(differences)}. Choose data of this robot.'
        )


def _finite_rows(values: Array) -> Array:
    return np.asarray(np.isfinite(values).all(1))


def _runs(usable: Array) -> list[tuple[int, int]]:
    """Return [start, stop) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], usable.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
