"""Messages for the converter tests, as rclpy makes them and as a bag gives them back."""

from __future__ import annotations

import array
from importlib import import_module
from typing import Any

from rclpy.serialization import serialize_message
from robot_learning.contract import ObservationField
from rosbags.typesys import Stores, get_typestore

ORIGINS = ['rclpy', 'rosbags']
_STORE = get_typestore(Stores.ROS2_JAZZY)


def from_origin(message: Any, origin: str) -> Any:
    """Return an rclpy message as it is, or as rosbags reads it from CDR."""
    if origin == 'rclpy':
        return message
    package, name = type(message).__module__.split('.')[0], type(message).__name__
    definition = _STORE.get_msgdef(f'{package}/msg/{name}')
    raw = serialize_message(message)  # May end in stray bytes, which deserialize_cdr refuses.
    return definition.deserialize_cdr_le(raw[4:], 0, definition.cls, _STORE)[0]


def blank(ros_type: str) -> Any:
    """Return an rclpy message of zeros."""
    package, _, name = ros_type.split('/')
    return getattr(import_module(f'{package}.msg'), name)()


def image(encoding: str, height: int, width: int, step: int, data: bytes, big: int = 0) -> Any:
    """Return an Image with these bytes."""
    message = blank('sensor_msgs/msg/Image')
    message.encoding, message.height, message.width = encoding, height, width
    message.step, message.is_bigendian = step, big
    message.data = array.array('B', data)
    return message


def scan(ranges: list[float], angle_min: float, increment: float, range_min: float = 0.0) -> Any:
    """Return a LaserScan with this geometry."""
    message = blank('sensor_msgs/msg/LaserScan')
    message.ranges = array.array('f', ranges)
    message.angle_min, message.angle_increment = angle_min, increment
    message.angle_max = angle_min + increment * (len(ranges) - 1)
    message.range_min = range_min
    return message


def field(ros_type: str, shape: list[int], **keys: Any) -> ObservationField:
    """Return a contract field on a topic 'topic'."""
    return ObservationField(topic='topic', type=ros_type, shape=tuple(shape), **keys)
