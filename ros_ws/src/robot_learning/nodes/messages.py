"""Arrays out of messages and into messages, on a machine with ROS.

`cv_bridge` and `sensor_msgs_py` come with a full ROS install, not with its Python wheels. They
are used where they import: cv_bridge knows more encodings. Both ways give the same arrays, and
one test table holds both to it. Everything else is `robot_learning.trajectory.messages`.
"""

from __future__ import annotations

import array
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image, LaserScan

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


def image_message(pixels: Array, frame: str, stamp_ns: int) -> Image:
    """Build an Image from [H, W, C]: uint8 with 1, 3 (RGB) or 4 (RGBA) channels, or depth.

    Depth is one channel of float32 metres or uint16 millimetres (REP 118).
    """
    height, width, channels = pixels.shape
    if pixels.dtype == np.uint8:
        encoding = {1: 'mono8', 3: 'rgb8', 4: 'rgba8'}.get(channels)
    else:
        encoding = {'float32': '32FC1', 'uint16': '16UC1'}.get(pixels.dtype.name)
        encoding = encoding if channels == 1 else None
    if encoding is None:
        raise MessageError(
            f'image: found {pixels.dtype} with {channels} channels, expected uint8 with 1, 3 '
            f'or 4, or float32 or uint16 with 1. Convert it first.'
        )
    message = Image(height=height, width=width, encoding=encoding)
    message.header.frame_id = frame
    message.header.stamp = time_message(stamp_ns)
    native = pixels.astype(pixels.dtype.newbyteorder('<'), copy=False)
    message.step = width * channels * pixels.itemsize
    message.data = _buffer('B', native)
    return message


def scan_message(ranges: Array, field: ObservationField, stamp_ns: int) -> LaserScan:
    """Build a LaserScan with the contract's frame, angles and limits from ranges [beams]."""
    beams = len(ranges)
    first, last = field.angle_min, field.angle_max
    if first is None or last is None or beams != field.shape[0]:
        raise MessageError(
            f'scan {field.topic!r}: found {beams} ranges and angles {first} to {last}, expected '
            f'{field.shape[0]} and both angles. Give them in the contract.'
        )
    message = LaserScan(angle_min=first, angle_max=last)
    message.header.frame_id = field.frame
    message.header.stamp = time_message(stamp_ns)
    message.angle_increment = (last - first) / max(beams - 1, 1)
    message.range_min = field.range_min or 0.0
    message.range_max = field.range_max if field.range_max is not None else float('inf')
    message.scan_time = 1 / field.rate_hz if field.rate_hz else 0.0
    message.ranges = _buffer('f', ranges.astype(np.float32, copy=False))
    return message


def _buffer(code: str, values: Array) -> array.array[Any]:
    """Copy an array into what rclpy takes without looking at every element."""
    result = array.array(code)
    result.frombytes(np.ascontiguousarray(values).tobytes())
    return result


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
