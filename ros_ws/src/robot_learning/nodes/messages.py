"""Arrays out of messages, on a machine with ROS.

`cv_bridge` and `sensor_msgs_py` come with a full ROS install, not with its Python wheels. They
are used where they import: cv_bridge knows more encodings. Both ways give the same arrays, and
one test table holds both to it. Everything else is `robot_learning.trajectory.messages`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time

from robot_learning.contract import ObservationField
from robot_learning.errors import MessageError
from robot_learning.registry import Registry
from robot_learning.trajectory import messages
from robot_learning.trajectory.image_messages import wanted_channels
from robot_learning.trajectory.range_messages import fit_points

Array = np.ndarray[Any, Any]
Reader = Callable[[Any], Array]
# Readers built on a ROS library; a maker returns None where that library does not import.
READERS: Registry[Callable[[ObservationField], Reader | None]] = Registry('message reader')


def make_converter(field: ObservationField, name: str | None = None) -> Reader:
    """Return a function from a message to the contract's array, with ROS libraries where present.

    See `robot_learning.trajectory.messages.make_converter` for what it raises.
    """
    reader = READERS.get(field.type)(field) if field.type in READERS else None
    return messages.make_converter(field, name, reader)


@READERS.register('sensor_msgs/msg/Image')
def cv_bridge_reader(field: ObservationField) -> Reader | None:
    """Read Image through cv_bridge; None without it."""
    library = _optional('cv_bridge')
    if library is None:
        return None
    bridge = library.CvBridge()
    channels = wanted_channels(field)
    grey = 'mono8' if field.dtype == 'uint8' else 'passthrough'  # Depth keeps its type.
    encoding = {'y': grey, 'rgb': 'rgb8', 'rgba': 'rgba8'}[channels]

    def read(message: Any) -> Array:
        try:
            pixels = np.array(bridge.imgmsg_to_cv2(message, desired_encoding=encoding))
        except library.CvBridgeError as error:
            raise MessageError(
                f'found encoding {message.encoding!r} that cv_bridge cannot turn to {encoding} '
                f'({error}), expected one it knows. Check the camera driver.'
            ) from error
        return pixels[:, :, None] if pixels.ndim == 2 else pixels

    return read


@READERS.register('sensor_msgs/msg/PointCloud2')
def sensor_msgs_py_reader(field: ObservationField) -> Reader | None:
    """Read PointCloud2 through sensor_msgs_py; None without it."""
    library = _optional('sensor_msgs_py.point_cloud2')
    if library is None:
        return None
    num_points, dtype = field.shape[0], np.dtype(field.dtype)

    def read(message: Any) -> Array:
        cloud = library.read_points(message, field_names=['x', 'y', 'z'])
        points = np.stack([cloud[axis].ravel() for axis in 'xyz'], axis=1)
        return fit_points(points.astype(dtype), num_points)

    return read


def time_message(stamp_ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
