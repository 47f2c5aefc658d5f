"""Commands on their way to wheels, lift and gripper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import SimulationError
from robot_learning.simulation.physics import Physics

Array = np.ndarray[Any, Any]

_DRIVE = ('linear.x', 'angular.z')


class Motors:
    """Checks and limits commands; the wheels obey after a latency in physics steps."""

    def __init__(self, contract: RobotContract, physics: Physics):
        self._physics = physics
        self._targets: dict[str, Callable[[Array], None]] = {}
        self._limits: dict[str, tuple[Array, Array]] = {}
        for name, action in contract.actions.items():
            self._targets[name] = self._target(name, action.topic, action.components)
            self._limits[name] = (np.asarray(action.low), np.asarray(action.high))
        self.reset(0.0)

    def reset(self, latency_s: float) -> None:
        """Forget what is on its way."""
        self._latency = round(latency_s / self._physics.timestep_s)
        self._pending: list[tuple[int, Array]] = []  # Due physics step, linear and angular.

    def command(self, name: str, value: Array, now: int) -> None:
        """Take a command for one action field; values beyond the limits are clipped.

        Args:
            name: of the contract's action field.
            value: [components] in contract units.
            now: number of the physics step that comes next.

        Raises:
            SimulationError: the field is unknown, or the value has a wrong size or is not finite.
        """
        if name not in self._targets:
            raise SimulationError(
                f'action {name!r}: is not in the contract. '
                f'Choose one of: {", ".join(self._targets)}.'
            )
        low, high = self._limits[name]
        command = np.asarray(value, np.float64)
        if command.shape != low.shape or not np.isfinite(command).all():
            raise SimulationError(
                f'action {name!r}: found {command.tolist()}, expected {low.size} finite values. '
                f'Send {low.size} numbers between {low.tolist()} and {high.tolist()}.'
            )
        command = np.minimum(np.maximum(command, low), high)
        if self._targets[name] == self._drive and self._latency:
            self._pending.append((now + self._latency, command))
        else:
            self._targets[name](command)

    def next_change(self, now: int, until: int) -> int:
        """Apply what is due at step `now`; return the next due step, at most `until`."""
        while self._pending and self._pending[0][0] <= now:
            self._drive(self._pending.pop(0)[1])
        return min(until, self._pending[0][0]) if self._pending else until

    def stop(self) -> None:
        """Command the wheels to zero at once."""
        self._pending.clear()
        self._physics.drive(0.0, 0.0)

    def joint_states(self) -> dict[str, Array]:
        """Position and velocity of the joints in the order of `readings.JOINT_NAMES`."""
        physics = self._physics
        finger = physics.gripper_opening() / 2
        position = [*physics.wheel_angles(), physics.lift_height(), finger, finger]
        velocity = [*physics.wheel_speeds(), 0.0, 0.0, 0.0]
        return {'position': np.array(position), 'velocity': np.array(velocity)}

    def _target(
        self, name: str, topic: str, components: tuple[str, ...]
    ) -> Callable[[Array], None]:
        if topic == 'cmd_vel' and components == _DRIVE:
            return self._drive
        if topic == 'lift/command' and len(components) == 1:
            return lambda value: self._physics.set_lift(float(value[0]))
        if topic == 'gripper/command' and len(components) == 1:
            return lambda value: self._physics.set_gripper(float(value[0]))
        raise SimulationError(
            f'action {name!r}: the world has no actuator for topic {topic!r} with components '
            f'{list(components)}. It drives cmd_vel {list(_DRIVE)}, lift/command and '
            f'gripper/command with one component each. Change the contract.'
        )

    def _drive(self, value: Array) -> None:
        self._physics.drive(float(value[0]), float(value[1]))
