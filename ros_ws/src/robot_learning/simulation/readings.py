"""The topics the embedded world speaks, and how a contract's field is taken from a reading."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_learning.contract import ObservationField
from robot_learning.errors import SimulationError
from robot_learning.message_types import PARTS

Array = np.ndarray[Any, Any]

# Order matters: it numbers the noise streams, so new topics go to the end.
TOPICS: dict[str, str] = {
    'scan': 'sensor_msgs/msg/LaserScan',
    'odom': 'nav_msgs/msg/Odometry',
    'imu': 'sensor_msgs/msg/Imu',
    'joint_states': 'sensor_msgs/msg/JointState',
    'amcl_pose': 'geometry_msgs/msg/PoseWithCovarianceStamped',
    'goal_pose': 'geometry_msgs/msg/PoseStamped',
    'camera/image_raw': 'sensor_msgs/msg/Image',
    'ground_truth/odom': 'nav_msgs/msg/Odometry',
}
JOINT_NAMES = (
    'wheel_left_joint',
    'wheel_right_joint',
    'lift_joint',
    'gripper_left_joint',
    'gripper_right_joint',
)


def pose_of(pose2d: Array) -> Array:
    """Return position and quaternion x y z w [7] of x, y, yaw."""
    x, y, yaw = pose2d.tolist()
    return np.array([x, y, 0.0, 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)])


def _twist_of(twist2d: Array) -> Array:
    forward, turn = twist2d.tolist()
    return np.array([forward, 0.0, 0.0, 0.0, 0.0, turn])


# Parts that follow from another part of the same reading.
_DERIVED: dict[str, tuple[str, Callable[[Array], Array]]] = {
    'pose': ('pose2d', pose_of),
    'twist': ('twist2d', _twist_of),
    'orientation': ('imu', lambda imu: imu[:4]),
    'angular_velocity': ('imu', lambda imu: imu[4:7]),
    'linear_acceleration': ('imu', lambda imu: imu[7:]),
    'intensities': ('ranges', np.zeros_like),
    'effort': ('velocity', np.zeros_like),
}


def part_of(reading: Mapping[str, Array], field: ObservationField) -> Array:
    """Take what `field` promises out of a reading, in its shape and dtype.

    Raises:
        SimulationError: the world's topic has another type or size than the contract says.
    """
    if TOPICS[field.topic] != field.type:
        raise SimulationError(
            f'topic {field.topic!r}: the contract says {field.type}, the world gives '
            f'{TOPICS[field.topic]}. Correct the contract.'
        )
    part = field.part or next(iter(PARTS[field.type]))
    if part in reading:
        value = reading[part]
    else:
        source, derive = _DERIVED[part]
        value = derive(reading[source])
    if field.names is not None:
        value = value[_joint_indices(field.names)]
    if value.shape != field.shape:
        raise SimulationError(
            f'topic {field.topic!r}: the contract says shape {list(field.shape)}, the world '
            f'gives {list(value.shape)}. Correct the contract.'
        )
    return value.astype(field.dtype, copy=False)


def _joint_indices(names: tuple[str, ...]) -> list[int]:
    unknown = [name for name in names if name not in JOINT_NAMES]
    if unknown:
        raise SimulationError(
            f'joint_states: the robot has no joint {", ".join(unknown)}. '
            f'Choose from: {", ".join(JOINT_NAMES)}.'
        )
    return [JOINT_NAMES.index(name) for name in names]
