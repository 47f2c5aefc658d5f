"""Episodes that no update sees, and what a phase scores on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robot_learning.errors import NotEnoughDataError
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import Phase
from robot_learning.trajectory.buffer import GAP_PERIODS
from robot_learning.trajectory.episode import Array, Episode

_LOG = logging.getLogger(__name__)
_MIN_STEPS = 2  # An action and where it led.


class Split(NamedTuple):
    """Episodes to learn from and episodes to measure on."""

    training: list[Episode]
    held_out: list[Episode]


def split_episodes(episodes: Sequence[Episode], held_out_ratio: float, seed: int) -> Split:
    """Hold out whole episodes, about `held_out_ratio` of all steps, drawn by `seed`.

    A single episode is cut instead: its end is held out, which is said in the log.

    Raises:
        NotEnoughDataError: there are too few steps for two parts.
    """
    usable = [episode for episode in episodes if len(episode) >= _MIN_STEPS]
    total = sum(len(episode) for episode in usable)
    if total < 2 * _MIN_STEPS:
        raise NotEnoughDataError(
            f'data: holds {total} steps in {len(episodes)} episodes, expected at least '
            f'{2 * _MIN_STEPS}. Record longer.'
        )
    if len(usable) == 1:
        cut = min(max(round(total * (1 - held_out_ratio)), _MIN_STEPS), total - _MIN_STEPS)
        _LOG.warning(
            'data: holds one episode; its last %d of %d steps are held out.', total - cut, total
        )
        return Split([usable[0].slice(0, cut)], [usable[0].slice(cut, total)])
    order = np.random.default_rng(seed).permutation(len(usable))
    held_out: list[int] = []
    num_steps = 0
    for index in order[:-1]:  # At least one episode is left to learn from.
        if held_out and num_steps >= held_out_ratio * total:
            break
        held_out.append(int(index))
        num_steps += len(usable[index])
    chosen = set(held_out)
    return Split(
        [episode for index, episode in enumerate(usable) if index not in chosen],
        [usable[index] for index in sorted(chosen)],
    )


class Validation:
    """Every transition of the held-out episodes, in batches, each exactly once."""

    def __init__(self, experience: Experience, episodes: Sequence[Episode], discount: float):
        parts = [_transitions(experience, episode, discount) for episode in episodes]
        self._batch = {
            name: torch.from_numpy(np.concatenate([part[name] for part in parts]))
            for name in parts[0]
        }
        if not self.num_transitions:
            raise NotEnoughDataError(
                'held-out data: has no usable transition. Record longer, or hold out more.'
            )

    @property
    def num_transitions(self) -> int:
        """How many there are."""
        return len(self._batch['action'])

    def measure(self, phase: Phase) -> dict[str, float]:
        """Return the phase's metrics on the held-out data, named `held_out/<metric>`."""
        metrics: dict[str, Tensor] = phase.evaluate(self._batch)
        return {f'held_out/{name}': float(value) for name, value in metrics.items()}


def _transitions(experience: Experience, episode: Episode, discount: float) -> dict[str, Array]:
    observation = experience.features(episode)  # [T, D]
    action = experience.space.normalised(episode.action)
    gap_ns = GAP_PERIODS * experience.contract.control_period_ns
    usable = (
        (np.diff(episode.stamp_ns) <= gap_ns)
        & ~episode.is_first[1:]
        & np.isfinite(observation[:-1]).all(1)
        & np.isfinite(observation[1:]).all(1)
        & np.isfinite(action[:-1]).all(1)
    )  # [T - 1]
    following = discount * (1.0 - episode.terminated[1:])
    return {
        'observation': observation[:-1][usable],
        'action': action[:-1][usable].astype(np.float32),
        'next_observation': observation[1:][usable],
        'reward': episode.reward[1:][usable].astype(np.float32),
        'discount': following[usable].astype(np.float32),
    }
