"""One update from replayed steps, and where wanted the word back of how they surprised."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from robot_learning.phases.phase import Batch, Metrics, Transitions, Windows


class Replay(Protocol):
    """Remembered steps."""

    def sample(self, draw: Any) -> Batch:
        """Draw a batch."""

    def prioritise(self, batch: Batch, error: Tensor) -> None:
        """Remember how wrong the prediction was for each row of the last batch, [B]."""


def learn(phase: Any, replay: Replay, draw: Transitions | Windows) -> Metrics:
    """Draw a batch and take one gradient step on it."""
    batch = replay.sample(draw)
    metrics: Metrics = phase.update(batch)
    if isinstance(draw, Transitions) and draw.priority_exponent:
        replay.prioritise(batch, phase.error)
    return metrics
