"""Which topics cross between ROS and Gazebo: the configuration of ros_gz_bridge's bridge.

Names are relative on the ROS side, so that they follow the bridge into a namespace; only the
clock is absolute. What needs work on its way (odometry without its offset, joint states at their
rate, true poses, commands with a watchdog) crosses below `gazebo/` and passes the simulator node.
"""

from __future__ import annotations

from typing import NamedTuple

from robot_learning.simulation.gazebo_release import ROBOT_NAME, GazeboRelease
from robot_learning.simulation.gazebo_robot import FINGER_TOPICS, LIFT_TOPIC
from robot_learning.simulation.geometry import OBJECTS

IMAGE_TOPIC = 'camera/image_raw'  # By ros_gz_image's image_bridge, which copies less.

_FROM, _TO = 'GZ_TO_ROS', 'ROS_TO_GZ'


class Crossing(NamedTuple):
    """One entry of the bridge's file."""

    ros_topic: str
    gz_topic: str
    ros_type: str
    gz_type: str  # Without its package.
    direction: str
    queue: int = 10
    is_lazy: bool = False  # Only while somebody listens.


def crossings() -> tuple[Crossing, ...]:
    """List all topics that cross."""
    sensors = (
        Crossing('/clock', 'clock', 'rosgraph_msgs/msg/Clock', 'Clock', _FROM),
        Crossing('scan', 'scan', 'sensor_msgs/msg/LaserScan', 'LaserScan', _FROM),
        Crossing('imu', 'imu', 'sensor_msgs/msg/Imu', 'IMU', _FROM, queue=50),
        Crossing(
            'camera/camera_info',
            'camera/camera_info',
            'sensor_msgs/msg/CameraInfo',
            'CameraInfo',
            _FROM,
            is_lazy=True,
        ),
        Crossing('gazebo/odom', 'odom', 'nav_msgs/msg/Odometry', 'Odometry', _FROM),
        Crossing(
            'gazebo/joint_states', 'joint_states', 'sensor_msgs/msg/JointState', 'Model', _FROM
        ),
    )
    poses = tuple(
        Crossing('gazebo/poses', f'/model/{name}/pose', 'tf2_msgs/msg/TFMessage', 'Pose_V', _FROM)
        for name in (ROBOT_NAME, *(item.name for item in OBJECTS))
    )
    number = 'std_msgs/msg/Float64'
    commands = (
        Crossing('gazebo/cmd_vel', 'cmd_vel', 'geometry_msgs/msg/Twist', 'Twist', _TO, queue=1),
        Crossing('gazebo/lift', LIFT_TOPIC, number, 'Double', _TO),
        *(
            Crossing(f'gazebo/gripper_{side}', topic, number, 'Double', _TO)
            for side, topic in FINGER_TOPICS.items()
        ),
    )
    return (*sensors, *poses, *commands)


def build_bridge(release: GazeboRelease) -> str:
    """Return the file for ros_gz_bridge's parameter_bridge (its parameter `config_file`)."""
    entries = '\n'.join(_entry(crossing, release) for crossing in crossings())
    return (
        '# Written by robot_learning.commands.gazebo_files; do not edit, it is compared.\n'
        f'{entries}'
    )


def _entry(crossing: Crossing, release: GazeboRelease) -> str:
    return f"""- ros_topic_name: "{crossing.ros_topic}"
  gz_topic_name: "{crossing.gz_topic}"
  ros_type_name: "{crossing.ros_type}"
  gz_type_name: "{release.message(crossing.gz_type)}"
  direction: {crossing.direction}
  subscriber_queue: {crossing.queue}
  publisher_queue: {crossing.queue}
  lazy: {str(crossing.is_lazy).lower()}
"""
