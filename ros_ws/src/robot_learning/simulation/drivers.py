"""Scripted drivers: yardsticks for policies and teachers for the first data.

`GeodesicDriver` knows the true map, as no robot does; its experience may be recorded, its
knowledge never reaches an observation.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.simulation.layout import Pose2D
from robot_learning.simulation.sensors import wrap
from robot_learning.simulation.world import World

Array = np.ndarray[Any, Any]

_TURN_GAIN = 3.0  # Yaw rate per radian of bearing.
_LOOKAHEAD_M = 0.3


class Driver(Protocol):
    """Chooses commands from the world's true state."""

    def begin(self, seed: int) -> None:
        """Forget the last episode."""

    def act(self, world: World) -> Array:
        """Return the learned action [A] in contract units."""


class RandomDriver:
    """Uniform random commands."""

    def __init__(self, contract: RobotContract, seed: int = 0):
        self._low, self._high = contract.action_low, contract.action_high
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Start a new stream of chance."""
        self._rng = np.random.default_rng([seed, 101])

    def act(self, world: World) -> Array:
        """Draw a command."""
        return self._rng.uniform(self._low, self._high).astype(np.float32)


class StraightDriver:
    """Turns to the goal and drives straight at it, whatever stands between."""

    def __init__(self, contract: RobotContract):
        self._contract = contract

    def begin(self, seed: int) -> None:
        """Nothing to forget."""

    def act(self, world: World) -> Array:
        """Head for the goal."""
        goal = world.task.goal
        return steer(self._contract, world.physics.robot_pose(), goal[:2])


class GeodesicDriver:
    """Follows the true shortest way round all obstacles, with noise on request.

    Args:
        contract: whose limits are kept.
        noise: standard deviation of slow noise, as a part of half the command range.
        correlation: what the noise keeps from one step to the next.
    """

    def __init__(self, contract: RobotContract, noise: float = 0.0, correlation: float = 0.8):
        self._contract = contract
        self._noise, self._correlation = noise, correlation
        self._half_range = (contract.action_high - contract.action_low) / 2
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Start a new stream of noise."""
        self._rng = np.random.default_rng([seed, 102])
        self._offset = self._rng.standard_normal(len(self._half_range))

    def act(self, world: World) -> Array:
        """Head for a point a little further along the way."""
        pose = world.physics.robot_pose()
        target = world.task.field.ahead(pose[0], pose[1], _LOOKAHEAD_M)
        action = steer(self._contract, pose, target)
        if not self._noise:
            return action
        fresh = math.sqrt(1 - self._correlation**2)
        drawn = self._rng.standard_normal(len(action))
        self._offset = self._correlation * self._offset + fresh * drawn
        noisy = action + self._noise * self._half_range * self._offset
        return _limited(self._contract, noisy)


def steer(contract: RobotContract, pose: Pose2D, target: tuple[float, float]) -> Array:
    """Return forward speed and yaw rate [2] that turn to a point, then drive to it."""
    bearing = wrap(math.atan2(target[1] - pose[1], target[0] - pose[0]) - pose[2])
    ahead = max(math.cos(bearing), 0.0) ** 3  # Slow down well before the heading is right.
    command = np.array([contract.action_high[0] * ahead, _TURN_GAIN * bearing])
    return _limited(contract, command)


def _limited(contract: RobotContract, command: Array) -> Array:
    limited: Array = np.clip(command, contract.action_low, contract.action_high)
    return limited.astype(np.float32)
