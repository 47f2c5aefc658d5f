"""What a robot can do, by its contract."""

from __future__ import annotations

from robot_learning.contract import ActionField, RobotContract

_TWISTS = ('geometry_msgs/msg/TwistStamped', 'geometry_msgs/msg/Twist')
_DRIVE = ('linear.x', 'angular.z')
_POSES = ('geometry_msgs/msg/PoseWithCovarianceStamped', 'geometry_msgs/msg/PoseStamped')
_SENSORS = {'sensor_msgs/msg/Image': 'camera', 'sensor_msgs/msg/LaserScan': 'lidar'}


def abilities(contract: RobotContract) -> frozenset[str]:
    """Return what of `Verb.needs` the robot has."""
    found = {
        _SENSORS[spec.type] for spec in contract.observation.values() if spec.type in _SENSORS
    }
    if drive_field(contract) is not None and field_of(contract, 'nav_msgs/msg/Odometry', 'pose2d'):
        found.add('drive')
    if pose_field(contract):
        found.add('localisation')
    if {'lift', 'gripper'} <= contract.actions.keys():
        found.add('gripper')
    return frozenset(found)


def drive_field(contract: RobotContract) -> ActionField | None:
    """Return the action that drives it like a car that turns on the spot; None: there is none."""
    for spec in contract.actions.values():
        if spec.type in _TWISTS and spec.components == _DRIVE:
            return spec
    return None


def field_of(contract: RobotContract, type_name: str, part: str | None = None) -> str:
    """Return the first observation of a message type, and part of it; '' where there is none."""
    for name, spec in contract.observation.items():
        if spec.type == type_name and part in (None, spec.part):
            return name
    return ''


def pose_field(contract: RobotContract) -> str:
    """Return the field with the pose in the map, not the goal; '' where there is none."""
    goals = {feature.fields[-1] for feature in contract.features if feature.kind == 'goal_polar'}
    for name, spec in contract.observation.items():
        if spec.type in _POSES and name not in goals:
            return name
    return ''
