"""Which parts of which ROS message types become arrays, with their shapes and units."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """One array that a message can give. A None in `shape` is any size."""

    shape: tuple[int | None, ...]
    unit: str | tuple[str, ...]


_POSE2D = Part((3,), ('m', 'm', 'rad'))  # x, y, yaw.
_POSE = Part((7,), ('m', 'm', 'm', '', '', '', ''))  # Position x y z, quaternion x y z w.
_TWIST2D = Part((2,), ('m/s', 'rad/s'))  # Forward speed, yaw rate.
_TWIST = Part((6,), ('m/s', 'm/s', 'm/s', 'rad/s', 'rad/s', 'rad/s'))
_ARRAY = {'data': Part((None,), '')}

# The first part of a type is its default.
PARTS: dict[str, dict[str, Part]] = {
    'sensor_msgs/msg/Image': {'image': Part((None, None, None), '')},
    'sensor_msgs/msg/CompressedImage': {'image': Part((None, None, None), '')},
    'sensor_msgs/msg/LaserScan': {
        'ranges': Part((None,), 'm'),
        'intensities': Part((None,), ''),
    },
    'sensor_msgs/msg/PointCloud2': {'points': Part((None, 3), 'm')},
    'sensor_msgs/msg/Imu': {
        'imu': Part((10,), ''),  # Orientation x y z w, angular velocity, linear acceleration.
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
        'position': Part((None,), 'rad'),
        'velocity': Part((None,), 'rad/s'),
        'effort': Part((None,), 'N m'),
    },
    'geometry_msgs/msg/Twist': {'twist2d': _TWIST2D, 'twist': _TWIST},
    'geometry_msgs/msg/TwistStamped': {'twist2d': _TWIST2D, 'twist': _TWIST},
    'geometry_msgs/msg/Pose': {'pose2d': _POSE2D, 'pose': _POSE},
    'geometry_msgs/msg/PoseStamped': {'pose2d': _POSE2D, 'pose': _POSE},
    'geometry_msgs/msg/PoseWithCovarianceStamped': {'pose2d': _POSE2D, 'pose': _POSE},
    'geometry_msgs/msg/Vector3Stamped': {'vector': Part((3,), '')},
    'sensor_msgs/msg/NavSatFix': {'fix': Part((3,), ('deg', 'deg', 'm'))},
    'sensor_msgs/msg/Range': {'range': Part((1,), 'm')},
    'sensor_msgs/msg/BatteryState': {'battery': Part((2,), ('V', ''))},  # Voltage, 0-1 charge.
    'std_msgs/msg/Float32MultiArray': _ARRAY,
    'std_msgs/msg/Float64MultiArray': _ARRAY,
    'std_msgs/msg/Int32MultiArray': _ARRAY,
    'std_msgs/msg/UInt8MultiArray': _ARRAY,
}
