"""How many updates a trainer may take for the environment steps it has seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from robot_learning.phases.phase import Draw, Windows


class TrainRatioGovernor:
    """A token bucket: each environment step earns `ratio` updates, each update costs one.

    Args:
        ratio: updates per environment step; infinite for data that does not grow.
        max_saved: updates that may be saved up. A trainer slower than the ratio asks for lets
            the rest go, rather than overfit old data when the robot stops.
        initial: updates granted before the first step, for example on demonstrations.
    """

    def __init__(self, ratio: float, max_saved: float = 1000.0, initial: int = 0):
        self.ratio = ratio
        self._max_saved = max_saved
        self._saved = float(initial)
        self.num_steps = 0  # Environment steps counted so far.
        self._num_updates = 0

    def earn(self, num_steps: int) -> None:
        """Count environment steps."""
        self.num_steps += num_steps
        if math.isfinite(self.ratio):
            limit = max(self._max_saved, self._saved)  # A grant above the limit is not cut.
            self._saved = min(self._saved + num_steps * self.ratio, limit)

    def take(self) -> bool:
        """Take one update if one is due; False means: wait for more steps."""
        if math.isfinite(self.ratio):
            if self._saved < 1:
                return False
            self._saved -= 1
        self._num_updates += 1
        return True

    @property
    def achieved_ratio(self) -> float:
        """Updates per environment step since training began; NaN before the first step."""
        return self._num_updates / self.num_steps if self.num_steps else math.nan

    def state(self) -> dict[str, Any]:
        """Return plain data for `restore`."""
        return {
            'saved': self._saved,
            'num_steps': self.num_steps,
            'num_updates': self._num_updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`."""
        self._saved = float(state['saved'])
        self.num_steps = int(state['num_steps'])
        self._num_updates = int(state['num_updates'])


def replay_ratio(draw: Draw, updates_per_step: float) -> dict[str, float]:
    """Return how many steps are learned from per environment step, where windows are drawn.

    It is what papers on world models call replay or train ratio: `updates_per_step` times the
    steps of a batch. Empty where it is not known.
    """
    if not isinstance(draw, Windows) or not math.isfinite(updates_per_step):
        return {}
    return {'data/replay_ratio': updates_per_step * draw.batch_size * draw.length}
