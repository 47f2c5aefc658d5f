"""Which parts of which ROS message types become arrays, with their shapes and units."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """One array that a message can give.

    A None in `shape` is any size, None for all of it any shape. An empty unit says that the
    type leaves it open or that the array has none. `also` lists other units the same part may
    hold, for example those of joints that slide instead of turn.
    """

    shape: tuple[int | None, ...] | None
    unit: str | tuple[str, ...]
    also: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ('float32', 'float64')


# Units are SI with radians (REP 103); `deg` only for latitude and longitude. 'raw' says openly
# that a publisher puts something else into a type, as some logs do.
UNITS = frozenset(
    {'', 'raw', '1', 'm', 's', 'kg', 'rad', 'deg', 'Hz', 'm/s', 'm/s^2', 'm/s^3', 'rad/s'}
    | {'rad/s^2', 'N', 'N m', 'N m/rad', 'V', 'A', 'A h', 'W', 'J', 'Pa', 'K', 'degC', 'T', 'lx'}
)

_ANY = ('float32', 'float64', 'uint8', 'int32', 'int64', 'bool')
_POSE2D = Part((3,), ('m', 'm', 'rad'))  # x, y, yaw.
_POSE = Part((7,), ('m', 'm', 'm', '', '', '', ''))  # Position x y z, quaternion x y z w.
_TWIST2D = Part((2,), ('m/s', 'rad/s'))  # Forward speed, yaw rate.
_TWIST = Part((6,), ('m/s', 'm/s', 'm/s', 'rad/s', 'rad/s', 'rad/s'))
_IMAGE = {'image': Part((None, None, None), '', dtypes=_ANY)}
_ARRAY = {'data': Part(None, '', dtypes=_ANY)}

# The first part of a type is its default.
PARTS: dict[str, dict[str, Part]] = {
    'sensor_msgs/msg/Image': _IMAGE,
    'sensor_msgs/msg/CompressedImage': _IMAGE,
    'sensor_msgs/msg/LaserScan': {
        'ranges': Part((None,), 'm'),
        'intensities': Part((None,), ''),
    },
    'sensor_msgs/msg/PointCloud2': {'points': Part((None, 3), 'm')},
    'sensor_msgs/msg/Imu': {
        # Orientation x y z w, angular velocity, linear acceleration.
        'imu': Part((10,), ('', '', '', '', *['rad/s'] * 3, *['m/s^2'] * 3)),
        'orientation': Part((4,), ''),
        'angular_velocity': Part((3,), 'rad/s'),
        'linear_acceleration': Part((3,), 'm/s^2'),
    },
    'nav_msgs/msg/Odometry': {
        'pose2d': _POSE2D,
        'pose': _POSE,
        'twist2d': _TWIST2D,
        'twist': _TWIST,
    },
    'sensor_msgs/msg/JointState': {
        'position': Part((None,), 'rad', also=('m',)),
        'velocity': Part((None,), 'rad/s', also=('m/s',)),
        'effort': Part((None,), 'N m', also=('N',)),
    },
    'geometry_msgs/msg/Twist': {'twist2d': _TWIST2D, 'twist': _TWIST},
    'geometry_msgs/msg/TwistStamped': {'twist2d': _TWIST2D, 'twist': _TWIST},
    'geometry_msgs/msg/Pose': {'pose2d': _POSE2D, 'pose': _POSE},
    'geometry_msgs/msg/PoseStamped': {'pose2d': _POSE2D, 'pose': _POSE},
    'geometry_msgs/msg/PoseWithCovarianceStamped': {'pose2d': _POSE2D, 'pose': _POSE},
    'geometry_msgs/msg/Vector3Stamped': {'vector': Part((3,), '')},
    'sensor_msgs/msg/NavSatFix': {'fix': Part((3,), ('deg', 'deg', 'm'), dtypes=('float64',))},
    'sensor_msgs/msg/Range': {'range': Part((1,), 'm')},
    'sensor_msgs/msg/BatteryState': {'battery': Part((2,), ('V', ''))},  # Voltage, 0-1 charge.
    'std_msgs/msg/Float32MultiArray': _ARRAY,
    'std_msgs/msg/Float64MultiArray': _ARRAY,
    'std_msgs/msg/Int32MultiArray': _ARRAY,
    'std_msgs/msg/UInt8MultiArray': _ARRAY,
}

# Types that carry neither stamp nor frame: only the moment of their arrival is known.
HEADERLESS = frozenset(
    {
        'geometry_msgs/msg/Twist',
        'geometry_msgs/msg/Pose',
        'std_msgs/msg/Float32MultiArray',
        'std_msgs/msg/Float64MultiArray',
        'std_msgs/msg/Int32MultiArray',
        'std_msgs/msg/UInt8MultiArray',
    }
)

_TWIST_COMPONENTS = {
    **{f'linear.{axis}': 'm/s' for axis in 'xyz'},
    **{f'angular.{axis}': 'rad/s' for axis in 'xyz'},
}
_POSE_COMPONENTS = {
    **{f'position.{axis}': 'm' for axis in 'xyz'},
    **{f'orientation.{axis}': '' for axis in 'xyzw'},
}
# Which components an action's message type has, with their units. None: a plain array, whose
# components are named freely and sent in order.
COMMANDS: dict[str, dict[str, str] | None] = {
    'geometry_msgs/msg/Twist': _TWIST_COMPONENTS,
    'geometry_msgs/msg/TwistStamped': _TWIST_COMPONENTS,
    'geometry_msgs/msg/Pose': _POSE_COMPONENTS,
    'geometry_msgs/msg/PoseStamped': _POSE_COMPONENTS,
    'std_msgs/msg/Float32MultiArray': None,
    'std_msgs/msg/Float64MultiArray': None,
}


def default_part(ros_type: str) -> str:
    """Name the part that a field without `part` takes."""
    return next(iter(PARTS[ros_type]))
