"""What several tests of the simulation need: the arena's contract and worlds without chance."""

from __future__ import annotations

import functools

from robot_learning import contract
from robot_learning.contract import RobotContract
from robot_learning.simulation.randomisation import RandomisationConfig
from robot_learning.simulation.world import World, WorldConfig

FIXED = {
    'robot_mass_scale': 1.0,
    'object_mass_scale': 1.0,
    'friction_scale': 1.0,
    'motor_strength_scale': 1.0,
    'wheel_radius_error': 0.0,
    'wheel_separation_error': 0.0,
    'command_latency_s': 0.0,
    'lidar_noise_m': 0.0,
}


@functools.cache
def arena() -> RobotContract:
    return contract.load('arena')


def changed(**task: object) -> RobotContract:
    """Return the arena's contract with another task."""
    data = arena().to_dict()
    data['task'] = task
    return contract.from_dict(data)


def make_world(*fields: str, random: bool = True, robot: RobotContract | None = None) -> World:
    config = WorldConfig(camera='off', randomisation=RandomisationConfig(enabled=random))
    return World(robot or arena(), config, fields or None)
