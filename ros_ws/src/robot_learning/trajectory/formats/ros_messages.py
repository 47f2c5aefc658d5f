"""Arrays become ROS messages again: the way back of `trajectory.messages`.

What the array does not hold is zero in the message, or what says "not measured" there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import ObservationField
from robot_learning.message_types import PARTS, default_part
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.episode import Array
from robot_learning.trajectory.formats import ros_sensors
from robot_learning.trajectory.formats.ros_values import Fields, Make, Values, header, message


class MessageMaker(NamedTuple):
    """Makes the messages of one topic."""

    make: Make  # From a stamp and the arrays of the fields that were read then.
    made: tuple[str, ...]  # Fields that the messages carry.
    unmade: dict[str, str]  # Fields that they cannot carry exactly, and why.


def make_message_maker(fields: Fields) -> MessageMaker:
    """Return what makes the messages from which `fields`, all of one topic, can be read again."""
    kind = next(iter(fields.values())).type
    first = next(iter(fields.values()))
    unmade = {name: text for name, spec in fields.items() if (text := _doubt(spec, first))}
    made = tuple(name for name in fields if not unmade.get(name, '').startswith('no '))
    chosen = {name: fields[name] for name in made}
    return MessageMaker(_MAKERS[kind](chosen) if made else _nothing, made, unmade)


def _doubt(spec: ObservationField, first: ObservationField) -> str:
    """Say why a field cannot be carried ('no ...') or not to the last bit; empty: it can."""
    if spec.type in _ONE_SHAPE and spec.shape != first.shape:
        return f'no message holds shapes {list(first.shape)} and {list(spec.shape)} at once.'
    if spec.type.endswith('Image') and not ros_sensors.has_encoding(spec):
        return f'no encoding holds {spec.dtype} images of {spec.shape[-1]} channels.'
    if spec.dtype == 'float64' and (spec.part or default_part(spec.type)) == 'pose2d':
        return 'its yaw passes through a quaternion, exact to about 1e-15 rad.'
    return ''


def _nothing(stamp_ns: int, values: Values) -> Any:
    raise AssertionError('a topic without fields has no messages')


# --- poses and twists --------------------------------------------------------------------


def _quaternion(yaw: float) -> Any:
    """Return the rotation by `yaw`; all zeros, which means unset, for NaN."""
    kind = known_types().types['geometry_msgs/msg/Quaternion']
    if math.isnan(yaw):
        return kind(0.0, 0.0, 0.0, 0.0)
    half = 0.5 * min(max(yaw, -math.pi), math.pi)  # float32's pi is larger than pi.
    return kind(0.0, 0.0, math.sin(half), math.cos(half))


def _pose(parts: Mapping[str, Array]) -> Any:
    types = known_types().types
    point, rotation = types['geometry_msgs/msg/Point'], types['geometry_msgs/msg/Quaternion']
    if 'pose' in parts:
        x, y, z, *quaternion = map(float, parts['pose'])
        return types['geometry_msgs/msg/Pose'](point(x, y, z), rotation(*quaternion))
    x, y, yaw = map(float, parts.get('pose2d', (0.0, 0.0, 0.0)))
    return types['geometry_msgs/msg/Pose'](point(x, y, 0.0), _quaternion(yaw))


def _twist(parts: Mapping[str, Array]) -> Any:
    types = known_types().types
    vector = types['geometry_msgs/msg/Vector3']
    if 'twist' in parts:
        values = list(map(float, parts['twist']))
    else:
        forward, turn = map(float, parts.get('twist2d', (0.0, 0.0)))
        values = [forward, 0.0, 0.0, 0.0, 0.0, turn]
    return types['geometry_msgs/msg/Twist'](vector(*values[:3]), vector(*values[3:]))


def _with_parts(build: Callable[[int, str, Mapping[str, Array]], Any]) -> Callable[[Fields], Make]:
    """Let `build` see the arrays by their part of the message."""

    def maker(fields: Fields) -> Make:
        parts = {name: spec.part or default_part(spec.type) for name, spec in fields.items()}
        frame = next(iter(fields.values())).frame

        def make(stamp_ns: int, values: Values) -> Any:
            by_part = {parts[name]: value for name, value in values.items()}
            return build(stamp_ns, frame, by_part)

        return make

    return maker


def _odometry(stamp_ns: int, frame: str, parts: Mapping[str, Array]) -> Any:
    types, covariance = known_types().types, np.zeros(36)
    return message(
        'nav_msgs/msg/Odometry',
        header=header(stamp_ns, frame),
        pose=types['geometry_msgs/msg/PoseWithCovariance'](_pose(parts), covariance),
        twist=types['geometry_msgs/msg/TwistWithCovariance'](_twist(parts), covariance),
    )


def _pose_stamped(stamp_ns: int, frame: str, parts: Mapping[str, Array]) -> Any:
    kind = known_types().types['geometry_msgs/msg/PoseStamped']
    return kind(header(stamp_ns, frame), _pose(parts))


def _pose_with_covariance(stamp_ns: int, frame: str, parts: Mapping[str, Array]) -> Any:
    types = known_types().types
    pose = types['geometry_msgs/msg/PoseWithCovariance'](_pose(parts), np.zeros(36))
    kind = types['geometry_msgs/msg/PoseWithCovarianceStamped']
    return kind(header(stamp_ns, frame), pose)


def _twist_stamped(stamp_ns: int, frame: str, parts: Mapping[str, Array]) -> Any:
    kind = known_types().types['geometry_msgs/msg/TwistStamped']
    return kind(header(stamp_ns, frame), _twist(parts))


def _vector3(stamp_ns: int, frame: str, parts: Mapping[str, Array]) -> Any:
    vector = known_types().types['geometry_msgs/msg/Vector3'](*map(float, parts['vector']))
    kind = known_types().types['geometry_msgs/msg/Vector3Stamped']
    return kind(header(stamp_ns, frame), vector)


# --- arrays ------------------------------------------------------------------------------


def _multi_array(kind: str, native: str) -> Callable[[Fields], Make]:
    def maker(fields: Fields) -> Make:
        (name,) = list(fields)[:1]
        layout = message('std_msgs/msg/MultiArrayLayout')

        def make(stamp_ns: int, values: Values) -> Any:
            data = np.asarray(values[name], native).reshape(-1)
            return known_types().types[kind](layout, data)

        return make

    return maker


_MAKERS: dict[str, Callable[[Fields], Make]] = {
    'nav_msgs/msg/Odometry': _with_parts(_odometry),
    'geometry_msgs/msg/Pose': _with_parts(lambda stamp_ns, frame, parts: _pose(parts)),
    'geometry_msgs/msg/PoseStamped': _with_parts(_pose_stamped),
    'geometry_msgs/msg/PoseWithCovarianceStamped': _with_parts(_pose_with_covariance),
    'geometry_msgs/msg/Twist': _with_parts(lambda stamp_ns, frame, parts: _twist(parts)),
    'geometry_msgs/msg/TwistStamped': _with_parts(_twist_stamped),
    'geometry_msgs/msg/Vector3Stamped': _with_parts(_vector3),
    **ros_sensors.MAKERS,
    **{
        f'std_msgs/msg/{name}MultiArray': _multi_array(f'std_msgs/msg/{name}MultiArray', native)
        for name, native in (
            ('Float32', 'float32'),
            ('Float64', 'float64'),
            ('Int32', 'int32'),
            ('UInt8', 'uint8'),
        )
    },
}
# Types whose messages hold one array, which all fields of a topic share.
_ONE_SHAPE = {'sensor_msgs/msg/LaserScan', 'sensor_msgs/msg/PointCloud2'}
_ONE_SHAPE |= {kind for kind in _MAKERS if kind.endswith(('Image', 'MultiArray'))}
assert set(_MAKERS) == set(PARTS)  # Every type that can be read can be made.
