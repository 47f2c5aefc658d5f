"""Transforms of a robot that drives on a floor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, TransformStamped

from robot_learning.simulation.sensors import wrap

Array = np.ndarray[Any, Any]


def map_to_odom(localised: Sequence[float] | Array, odometry: Sequence[float] | Array) -> Array:
    """Return the pose of the odometry frame in the map that makes both poses agree."""
    yaw = wrap(float(localised[2] - odometry[2]))
    cos, sin = math.cos(yaw), math.sin(yaw)
    x, y = odometry[0], odometry[1]
    return np.array([localised[0] - cos * x + sin * y, localised[1] - sin * x - cos * y, yaw])


def mount_transforms(mounts: Mapping[str, Sequence[float]]) -> list[TransformStamped]:
    """Return static transforms of sensor frames in base_footprint."""
    return [
        planar_transform(Time(), 'base_footprint', frame, position, 0.0)
        for frame, position in mounts.items()
    ]


def planar_transform(
    stamp: Time, parent: str, child: str, position: Any, yaw: float
) -> TransformStamped:
    """Return the transform of a frame that is turned about the vertical only."""
    transform = TransformStamped(child_frame_id=child)
    transform.header.stamp, transform.header.frame_id = stamp, parent
    translation = transform.transform.translation
    translation.x, translation.y, translation.z = (float(value) for value in position)
    transform.transform.rotation = Quaternion(z=math.sin(yaw / 2), w=math.cos(yaw / 2))
    return transform


def pose2d(position: Any, orientation: Any) -> tuple[float, float, float]:
    """Return x, y and yaw of a position and a quaternion."""
    x, y, z, w = orientation.x, orientation.y, orientation.z, orientation.w
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return position.x, position.y, yaw


def set_pose(pose: Any, x: float, y: float, yaw: float) -> None:
    """Write x, y and yaw into a Pose."""
    pose.position.x, pose.position.y = x, y
    pose.orientation.z, pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
