"""Episodes that no update sees, and what a phase scores on them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from robot_learning.errors import NotEnoughDataError
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import Batch, Draw, Phase, Transitions, Windows
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
    """The held-out episodes as batches of what a phase draws; every step is in them once.

    Transitions cross no gap. Windows are cut one behind the other from the starts of gapless
    stretches; what is left at the end of a stretch is a shorter window.
    """

    def __init__(self, experience: Experience, episodes: Sequence[Episode]):
        stretches = [part for episode in episodes for part in _stretches(experience, episode)]
        self._stretches = [part for part in stretches if len(part['action']) >= _MIN_STEPS]
        self._batches: dict[Draw, list[Batch]] = {}
        if not self._stretches:
            raise NotEnoughDataError(
                'held-out data: has no usable transition. Record longer, or hold out more.'
            )

    @property
    def num_transitions(self) -> int:
        """How many there are."""
        return sum(len(part['action']) - 1 for part in self._stretches)

    def batches(self, draw: Draw) -> list[Batch]:
        """Return everything as a phase draws it."""
        if draw not in self._batches:
            if isinstance(draw, Windows):
                found = _windows(self._stretches, draw)
            elif isinstance(draw, Transitions):
                found = [_transitions(self._stretches, draw.discount)]
            else:
                found = []  # What newer versions drive is not held out.
            self._batches[draw] = [
                {name: torch.from_numpy(array) for name, array in batch.items()} for batch in found
            ]
        return self._batches[draw]

    def measure(self, phase: Phase) -> dict[str, float]:
        """Return the phase's metrics on the held-out data, named `held_out/<metric>`.

        Of several batches it is their mean, weighted by their steps.
        """
        total: dict[str, float] = {}
        weight = 0
        for batch in self.batches(getattr(phase, 'measures', phase.draws)):
            count = batch['action'].shape[:-1].numel()
            for name, value in phase.evaluate(batch).items():
                total[name] = total.get(name, 0.0) + count * float(value)
            weight += count
        return {f'held_out/{name}': value / weight for name, value in total.items()}


def _stretches(experience: Experience, episode: Episode) -> list[dict[str, Array]]:
    """Return the arrays of each run of consecutive usable steps."""
    arrays = experience.arrays(episode)
    arrays |= {
        'action': experience.space.normalised(episode.action).astype(np.float32),
        'reward': episode.reward.astype(np.float32),
        'terminated': episode.terminated,
        'truncated': episode.truncated,
        'intervention': episode.intervention,
        'is_first': episode.is_first,
    }
    gap_ns = GAP_PERIODS * experience.contract.control_period_ns
    usable = experience.usable(episode, arrays['observation'], arrays['action'])
    usable &= experience.has_reward(episode)
    joined = usable[1:] & usable[:-1] & ~episode.is_first[1:]
    joined &= np.diff(episode.stamp_ns) <= gap_ns  # [T - 1]
    ends = [*(np.flatnonzero(~joined) + 1), len(episode)]
    return [
        {name: array[start:end] for name, array in arrays.items()}
        for start, end in itertools.pairwise([0, *ends])
        if usable[start]
    ]


def _transitions(stretches: Sequence[dict[str, Array]], discount: float) -> dict[str, Array]:
    def joined(name: str, part: slice) -> Array:
        return np.concatenate([stretch[name][part] for stretch in stretches])

    here, there = slice(None, -1), slice(1, None)
    following = discount * (1.0 - joined('terminated', there))
    return {
        'observation': joined('observation', here),
        'action': joined('action', here),
        'intervention': joined('intervention', here),
        'next_observation': joined('observation', there),
        'reward': joined('reward', there),
        'discount': following.astype(np.float32),
    }


def _windows(stretches: Sequence[dict[str, Array]], draw: Windows) -> list[dict[str, Array]]:
    by_length: dict[int, list[dict[str, Array]]] = {}
    for stretch in stretches:
        for start in range(0, len(stretch['action']), draw.length):
            window = {name: array[start : start + draw.length] for name, array in stretch.items()}
            window['is_first'] = np.arange(len(window['action'])) == 0
            by_length.setdefault(len(window['action']), []).append(window)
    return [
        {
            name: np.stack([window[name] for window in windows[i : i + draw.batch_size]])
            for name in windows[0]
        }
        for length, windows in sorted(by_length.items())
        if length >= _MIN_STEPS
        for i in range(0, len(windows), draw.batch_size)
    ]
