"""The newest seconds of a robot's driving, kept for whoever wants to learn from them."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from robot_learning.errors import NotEnoughDataError
from robot_learning.trajectory.driving_examples import Drive, driving_examples

Array = np.ndarray[Any, Any]
_EARLY = 0.9  # Of a control period: readings this close to the next step are the next step.
_LATE = 1.6  # Control periods after which one step does not follow another.


class RecentDriving:
    """Takes readings as they come and makes control steps of them.

    A velocity is a step when a control period has passed since the last one. The command of a
    step is the newest one before the next step. A gap, or a clock set back, begins anew.

    Args:
        period_ns: of the control steps.
        keep_s: how much is kept.
    """

    def __init__(self, period_ns: int, keep_s: float):
        self._period_ns = period_ns
        self._steps: deque[tuple[Array, Array, Array]] = deque(
            maxlen=round(keep_s * 1e9 / period_ns) + 2
        )
        self._pose: Array | None = None
        self._command = np.zeros(2)
        self._open: tuple[Array, Array] | None = None  # Pose and velocity of the newest step.
        self._stamp_ns = 0  # Of the newest step.

    def take_pose(self, pose: Array) -> None:
        """Take x, y and yaw [3]."""
        self._pose = np.array(pose, np.float64)

    def take_command(self, forward: float, turn: float) -> None:
        """Take what the robot was told, m/s and rad/s."""
        self._command = np.array((forward, turn))

    def take_velocity(self, stamp_ns: int, velocity: Array) -> None:
        """Take forward speed and yaw rate [2], measured at `stamp_ns`."""
        if self._pose is None:
            return
        passed = (stamp_ns - self._stamp_ns) / self._period_ns
        if 0 <= passed < _EARLY:
            return
        if self._open is not None and 0 < passed <= _LATE:
            self._steps.append((*self._open, self._command))
        else:
            self._steps.clear()
        self._open = self._pose, np.array(velocity, np.float64)
        self._stamp_ns = stamp_ns

    def examples(self, seconds: float) -> Drive:
        """Return the examples of the newest seconds.

        Raises:
            NotEnoughDataError: less has been driven without a gap.
        """
        wanted = max(round(seconds * 1e9 / self._period_ns), 1) + 2
        if len(self._steps) < wanted:
            have_s = max(len(self._steps) - 2, 0) * self._period_ns * 1e-9
            most_s = ((self._steps.maxlen or 0) - 2) * self._period_ns * 1e-9
            raise NotEnoughDataError(
                f'driving: {have_s:.1f} s are known without a gap, expected {seconds:.1f} s and '
                f'at most {most_s:.1f} s are kept. Let the robot drive, ask for less, or raise '
                f'keep_s.'
            )
        newest = list(self._steps)[-wanted:]
        pose, velocity, command = (np.stack(each) for each in zip(*newest, strict=True))
        return driving_examples(pose, velocity, command)
