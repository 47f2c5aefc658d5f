"""Counts, while steps pass, what a format may not be able to say."""

from __future__ import annotations

from collections import Counter

import numpy as np

from robot_learning.trajectory.formats.chunks import Chunk


class Tally:
    """What is special about the exported steps."""

    def __init__(self) -> None:
        self._gaps: Counter[str] = Counter()
        self._num_unknown_rewards = 0
        self.num_steps = 0

    def note(self, chunk: Chunk) -> None:
        """Count one chunk."""
        steps = chunk.steps
        self.num_steps += len(steps)
        # The first step of an episode arrives from nowhere: no reward is missing there.
        self._num_unknown_rewards += int(np.isnan(steps.reward[int(chunk.begins) :]).sum())
        for field, present in steps.present.items():
            missing = len(present) - int(np.count_nonzero(present))
            if missing:
                self._gaps[field] += missing

    def gaps(self) -> list[str]:
        """Name the fields with gaps."""
        if not self._gaps:
            return []
        listed = ', '.join(f'{field} at {count}' for field, count in self._gaps.items())
        return [
            f'gaps: {listed} of {self.num_steps} steps. The value there repeats the last reading '
            f'(zeros before the first); only our masks say so.'
        ]

    def unknown_rewards(self) -> list[str]:
        """Name rewards that nobody gave."""
        if not self._num_unknown_rewards:
            return []
        return [
            f'{self._num_unknown_rewards} rewards are unknown and stand as NaN; learners that '
            f'need rewards must leave them out.'
        ]
