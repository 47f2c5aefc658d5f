"""From messages to the arrays that the contract promises.

Messages are only looked at through their attributes, so the same converters serve rclpy's
messages and those that rosbags deserialises. To teach the suite a new type, register one
function here and list its parts in `robot_learning.message_types`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from robot_learning.contract import ObservationField
from robot_learning.errors import MessageError
from robot_learning.message_types import PARTS
from robot_learning.registry import Registry
from robot_learning.trajectory.image_messages import compressed_image_reader, image_reader
from robot_learning.trajectory.range_messages import point_cloud_reader, scan_reader

Array = np.ndarray[Any, Any]
Reader = Callable[[Any], Array]
# A maker gets the contract's field and returns the function that reads one message. A reader
# raises MessageError with what was found and expected; who asked is added in `make_converter`.
CONVERTERS: Registry[Callable[[ObservationField], Reader]] = Registry('message converter')

CONVERTERS.register('sensor_msgs/msg/Image')(image_reader)
CONVERTERS.register('sensor_msgs/msg/CompressedImage')(compressed_image_reader)
CONVERTERS.register('sensor_msgs/msg/LaserScan')(scan_reader)
CONVERTERS.register('sensor_msgs/msg/PointCloud2')(point_cloud_reader)


def make_converter(
    field: ObservationField, name: str | None = None, reader: Reader | None = None
) -> Reader:
    """Return a function from a message to an array of the field's shape and dtype.

    Everything that can be looked up beforehand is, so the result is fit for hot paths. The
    array owns its memory. NaN and infinities stay as they are.

    Args:
        field: the contract's description.
        name: the field's name in the contract, for errors.
        reader: replaces the registered reader, for example one built on cv_bridge.

    Raises:
        ConfigError: no converter is registered for the field's type.
        MessageError: raised by the returned function; names field, found and expected.
    """
    where = f'field {name or field.topic!r} ({field.topic}, {field.type})'
    read = reader or CONVERTERS.get(field.type)(field)
    shape, dtype = tuple(field.shape), np.dtype(field.dtype)
    frame = field.frame.lstrip('/')

    def convert(message: Any) -> Array:
        try:
            value = read(message)
            if frame and message.header.frame_id.lstrip('/') != frame:
                raise MessageError(
                    f'found frame {message.header.frame_id!r}, expected {field.frame!r}. '
                    f'Correct the publisher or the frame in the contract.'
                )
            if value.shape != shape:
                raise MessageError(
                    f'found shape {list(value.shape)}, expected {list(shape)}. '
                    f'Correct the publisher or the shape in the contract.'
                )
            return value if value.dtype == dtype else _cast(value, dtype)
        except MessageError as error:
            raise MessageError(f'{where}: {error}') from None
        except AttributeError as error:
            raise MessageError(
                f'{where}: found a {type(message).__name__} ({error}), expected {field.type}. '
                f'Check what is published on the topic.'
            ) from error

    return convert


def convert(message: Any, field: ObservationField, name: str | None = None) -> Array:
    """Convert one message; `make_converter` is faster for more than one."""
    return make_converter(field, name)(message)


def stamp_ns(message: Any) -> int | None:
    """Return the header's stamp in nanoseconds, None for a type without header."""
    header = getattr(message, 'header', None)
    stamp = getattr(header, 'stamp', None)
    if stamp is None:
        return None
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _cast(value: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind != 'f' and not np.can_cast(value.dtype, dtype):
        raise MessageError(
            f'found {value.dtype} values, expected {dtype}, which cannot hold them all. '
            f'Choose a wider dtype in the contract.'
        )
    return value.astype(dtype)


def _part(field: ObservationField) -> str:
    return field.part or next(iter(PARTS[field.type]))


# --- poses and twists --------------------------------------------------------------------


def _yaw(q: Any) -> float:
    """Heading of a quaternion of any length; NaN for the all-zero one that means unset."""
    x, y, z, w = q.x, q.y, q.z, q.w
    if x == y == z == w == 0.0:
        return math.nan
    return math.atan2(2.0 * (w * z + x * y), w * w + x * x - y * y - z * z)


def _pose_reader(path: str, part: str, dtype: str) -> Reader:
    """Read a Pose that lies at the attribute `path` of the message."""
    find = attrgetter(path) if path else _itself

    def pose2d(message: Any) -> Array:
        pose = find(message)
        return np.array((pose.position.x, pose.position.y, _yaw(pose.orientation)), dtype)

    def pose_3d(message: Any) -> Array:
        pose = find(message)
        p, q = pose.position, pose.orientation
        return np.array((p.x, p.y, p.z, q.x, q.y, q.z, q.w), dtype)

    return pose2d if part == 'pose2d' else pose_3d


def _twist_reader(path: str, part: str, dtype: str) -> Reader:
    """Read a Twist that lies at the attribute `path` of the message."""
    find = attrgetter(path) if path else _itself

    def twist2d(message: Any) -> Array:
        twist = find(message)
        return np.array((twist.linear.x, twist.angular.z), dtype)

    def twist_3d(message: Any) -> Array:
        twist = find(message)
        v, w = twist.linear, twist.angular
        return np.array((v.x, v.y, v.z, w.x, w.y, w.z), dtype)

    return twist2d if part == 'twist2d' else twist_3d


def _itself(message: Any) -> Any:
    return message


@CONVERTERS.register('nav_msgs/msg/Odometry')
def _odometry(field: ObservationField) -> Reader:
    part = _part(field)
    if part.startswith('pose'):
        return _pose_reader('pose.pose', part, field.dtype)
    return _twist_reader('twist.twist', part, field.dtype)


@CONVERTERS.register('geometry_msgs/msg/Pose')
def _pose(field: ObservationField) -> Reader:
    return _pose_reader('', _part(field), field.dtype)


@CONVERTERS.register('geometry_msgs/msg/PoseStamped')
def _pose_stamped(field: ObservationField) -> Reader:
    return _pose_reader('pose', _part(field), field.dtype)


@CONVERTERS.register('geometry_msgs/msg/PoseWithCovarianceStamped')
def _pose_with_covariance(field: ObservationField) -> Reader:
    return _pose_reader('pose.pose', _part(field), field.dtype)


@CONVERTERS.register('geometry_msgs/msg/Twist')
def _twist(field: ObservationField) -> Reader:
    return _twist_reader('', _part(field), field.dtype)


@CONVERTERS.register('geometry_msgs/msg/TwistStamped')
def _twist_stamped(field: ObservationField) -> Reader:
    return _twist_reader('twist', _part(field), field.dtype)


@CONVERTERS.register('geometry_msgs/msg/Vector3Stamped')
def _vector3(field: ObservationField) -> Reader:
    def read(message: Any) -> Array:
        vector = message.vector
        return np.array((vector.x, vector.y, vector.z), field.dtype)

    return read


# --- small sensors -----------------------------------------------------------------------


@CONVERTERS.register('sensor_msgs/msg/Imu')
def _imu(field: ObservationField) -> Reader:
    """Covariance -1 in the first element says "not measured" and gives NaN."""
    wanted = _part(field)
    parts = tuple(PARTS[field.type]) if wanted == 'imu' else (wanted,)
    parts = tuple(part for part in parts if part != 'imu')

    def read(message: Any) -> Array:
        values: list[float] = []
        for part in parts:
            vector = getattr(message, part)
            components = [vector.x, vector.y, vector.z]
            if part == 'orientation':
                components.append(vector.w)
            if getattr(message, f'{part}_covariance')[0] == -1.0:
                components = [math.nan] * len(components)
            values += components
        return np.array(values, field.dtype)

    return read


@CONVERTERS.register('sensor_msgs/msg/JointState')
def _joint_state(field: ObservationField) -> Reader:
    part, names = _part(field), field.names
    order: list[int] = []
    known: list[str] = []

    def read(message: Any) -> Array:
        values = np.array(getattr(message, part), field.dtype)
        if names is None:
            return values
        if message.name != known:  # Publishers keep their order: looked up once.
            order[:] = _joint_order(names, message.name)
            known[:] = message.name
        if len(values) != len(known):
            raise MessageError(
                f'found {len(values)} values of {part} for {len(known)} joints, expected one '
                f'each. Choose a part that the publisher fills.'
            )
        return values[order]

    return read


def _joint_order(names: Sequence[str], found: Sequence[str]) -> list[int]:
    missing = [name for name in names if name not in found]
    if missing:
        raise MessageError(
            f'found joints {", ".join(found) or "none"}, expected also {", ".join(missing)}. '
            f'Correct "names" in the contract.'
        )
    return [list(found).index(name) for name in names]


@CONVERTERS.register('sensor_msgs/msg/NavSatFix')
def _nav_sat_fix(field: ObservationField) -> Reader:
    """Degrees and metres; NaN while the receiver has no fix (status -1)."""

    def read(message: Any) -> Array:
        if message.status.status == -1:
            return np.full(3, math.nan, field.dtype)
        return np.array((message.latitude, message.longitude, message.altitude), field.dtype)

    return read


@CONVERTERS.register('sensor_msgs/msg/Range')
def _range(field: ObservationField) -> Reader:
    return lambda message: np.array((message.range,), field.dtype)


@CONVERTERS.register('sensor_msgs/msg/BatteryState')
def _battery(field: ObservationField) -> Reader:
    return lambda message: np.array((message.voltage, message.percentage), field.dtype)


# --- multi-arrays ------------------------------------------------------------------------


def _multi_array(native: str) -> Callable[[ObservationField], Reader]:
    """Read data through its layout; without dimensions it fills the contract's shape in order."""

    def make(field: ObservationField) -> Reader:
        shape = tuple(field.shape)

        def read(message: Any) -> Array:
            data = message.data
            # UInt8MultiArray comes as bytes or a buffer, which numpy would take for one string.
            flat = np.frombuffer(data, native) if isinstance(data, bytes) else data
            values = np.array(flat, native)[message.layout.data_offset :]
            if message.layout.dim:
                return _laid_out(values, message.layout.dim)
            return values.reshape(shape) if values.size == math.prod(shape) else values

        return read

    return make


def _laid_out(values: Array, dimensions: Sequence[Any]) -> Array:
    """Apply sizes and strides (in elements) as std_msgs/MultiArrayLayout defines them."""
    sizes = tuple(int(dimension.size) for dimension in dimensions)
    # Element (i, j, k) lies at i * stride[1] + j * stride[2] + k.
    steps = (*(int(dimension.stride) for dimension in dimensions[1:]), 1)
    if 0 in steps:  # Many publishers leave strides unset.
        steps = tuple(math.prod(sizes[i + 1 :]) for i in range(len(sizes)))
    last = sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    if 0 in sizes or last >= values.size:
        raise MessageError(
            f'found {values.size} values, expected {last + 1} for the layout {list(sizes)}. '
            f'Correct the publisher.'
        )
    index = sum(
        np.arange(size).reshape(-1, *[1] * (len(sizes) - axis - 1)) * step
        for axis, (size, step) in enumerate(zip(sizes, steps, strict=True))
    )
    return values[index]


CONVERTERS.register('std_msgs/msg/Float32MultiArray')(_multi_array('float32'))
CONVERTERS.register('std_msgs/msg/Float64MultiArray')(_multi_array('float64'))
CONVERTERS.register('std_msgs/msg/Int32MultiArray')(_multi_array('int32'))
CONVERTERS.register('std_msgs/msg/UInt8MultiArray')(_multi_array('uint8'))
