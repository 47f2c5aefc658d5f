"""One run of a policy towards a goal: how far it is, and when it is over."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.serving.driver import Command

Array = np.ndarray[Any, Any]


class GoalFields(NamedTuple):
    """Names of the observation fields that say where the robot is and where it should be."""

    pose: str
    goal: str


def goal_fields(contract: RobotContract) -> GoalFields | None:
    """Return the fields of the contract's goal feature, None if it has none."""
    for feature in contract.features:
        if feature.kind == 'goal_polar':
            return GoalFields(*feature.fields)
    return None


@dataclass
class PolicyRun:
    """Progress of one run. The control thread updates it, others read it."""

    goal_radius_m: float
    time_limit_s: float = math.inf
    stale_limit_s: float = 2.0  # Without a sound observation for longer, the run fails.
    explore: bool = False
    num_steps: int = 0
    distance_to_goal_m: float = math.nan
    gate_interventions: int = 0
    executed: Array | None = None
    version: int = -1
    reason: str = ''  # Why it ended; empty while it goes on.

    def __post_init__(self) -> None:
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._on_end: list[Callable[[], None]] = []
        self._started_ns: int | None = None
        self._sound_ns: int | None = None

    @property
    def is_success(self) -> bool:
        """Whether the goal was reached."""
        return self.reason == 'goal'

    def update(self, command: Command, now_ns: int, pose: Array | None, goal: Array | None) -> str:
        """Take one command into account; return why the run should end now, '' if not.

        Args:
            command: what was just commanded.
            now_ns: on the clock of the stamps.
            pose: x, y, ... in the frame of the goal; None: unknown.
            goal: x, y, ...; None: unknown.
        """
        if self._started_ns is None or now_ns < self._started_ns:
            self._started_ns = self._sound_ns = now_ns
        self.num_steps += 1
        self.gate_interventions += command.altered
        self.executed, self.version = command.executed, command.decision.version
        if not command.problems:
            self._sound_ns = now_ns
        if pose is not None and goal is not None:
            self.distance_to_goal_m = math.hypot(goal[0] - pose[0], goal[1] - pose[1])
        return self._ending(command, now_ns)

    def end(self, reason: str) -> None:
        """End the run; the first reason stays. Any thread may call it."""
        with self._lock:
            if self.ended.is_set():
                return
            self.reason = reason
            self.ended.set()
        for callback in self._on_end:
            callback()

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the run is over, at once if it is already."""
        with self._lock:
            if not self.ended.is_set():
                self._on_end.append(callback)
                return
        callback()

    def _ending(self, command: Command, now_ns: int) -> str:
        assert self._started_ns is not None and self._sound_ns is not None
        if 'emergency_stop' in command.reasons:
            return 'emergency_stop'
        if self.distance_to_goal_m <= self.goal_radius_m:
            return 'goal'
        if now_ns - self._sound_ns > self.stale_limit_s * 1e9:
            return 'stale'
        return 'time_limit' if now_ns - self._started_ns >= self.time_limit_s * 1e9 else ''
