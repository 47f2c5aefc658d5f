"""Robots of the embedded world whose friction, payload, motors and wheels are new each time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.simulation.drivers import steer
from robot_learning.simulation.layout import LayoutConfig
from robot_learning.simulation.randomisation import RandomisationConfig
from robot_learning.simulation.world import World, WorldConfig

Array = np.ndarray[Any, Any]

# Far more than a robot's own spread: payloads of its own weight, wet floor, worn wheels.
CHANGES = RandomisationConfig(
    robot_mass_scale=(0.8, 2.5),
    friction_scale=(0.2, 1.3),
    motor_strength_scale=(0.2, 1.2),
    wheel_radius_error=(-0.25, 0.25),
    wheel_separation_error=(-0.25, 0.25),
    command_latency_s=(0.0, 0.15),
)
_HALF_LENGTH_M, _HALF_WIDTH_M = 1.8, 0.35  # Way points, between the inner walls.
_NEAR_M = 0.25
_STEPS_A_TARGET = 30  # Then another one comes, reached or not.


class RobotRecord(NamedTuple):
    """Control steps of one robot."""

    pose: Array  # [T, 3] x, y, yaw by its localisation.
    velocity: Array  # [T, 2] by its wheels.
    command: Array  # [T, 2] forward speed and yaw rate.
    changes: dict[str, float]  # What is different about it, by the names of the randomisation.


class RobotFleet:
    """One world after the other, each with a robot that is new.

    Args:
        contract: of a robot that has `pose`, `velocity` and drives by speed and yaw rate.
        changes: ranges of what is new.
    """

    def __init__(self, contract: RobotContract, changes: RandomisationConfig = CHANGES):
        config = WorldConfig(
            camera='off', layout=LayoutConfig(num_objects=0), randomisation=changes
        )
        self._contract = contract
        self._world = World(contract, config, ('pose', 'velocity'))

    def drive(self, seed: int, seconds: float) -> RobotRecord:
        """Let the robot of this seed drive between random points with random speeds."""
        world, contract = self._world, self._contract
        rng = np.random.default_rng([seed, 7])
        observation = world.reset(seed, robot_pose=(0.0, 0.0, float(rng.uniform(-3, 3))))
        base = next(iter(contract.learned_actions))
        rows, target, speed = [], (0.0, 0.0), 1.0
        for step in range(round(seconds * contract.control_rate_hz)):
            x, y, _ = pose = world.physics.robot_pose()
            is_near = np.hypot(target[0] - x, target[1] - y) < _NEAR_M
            if is_near or step % _STEPS_A_TARGET == 0:
                target = (
                    float(rng.uniform(-_HALF_LENGTH_M, _HALF_LENGTH_M)),
                    float(rng.uniform(-_HALF_WIDTH_M, _HALF_WIDTH_M)),
                )
                speed = float(rng.uniform(0.4, 1.0))
            command = speed * steer(contract, pose, target) + rng.normal(0, (0.03, 0.2))
            command = np.clip(command, contract.action_low, contract.action_high)
            rows.append((observation['pose'], observation['velocity'], command))
            world.apply({base: command})
            world.advance(contract.control_period_ns)
            observation = world.observe()
        poses, velocities, commands = (np.stack(each) for each in zip(*rows, strict=True))
        return RobotRecord(poses, velocities, commands, dict(world.randomisation))

    def close(self) -> None:
        """Free what the world holds."""
        self._world.close()
