"""What a Gazebo world tells: true poses, odometry, and when its sensors last spoke."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node

from robot_learning.errors import ConfigError
from robot_learning.nodes.gazebo_control import ServerCount
from robot_learning.nodes.qos import qos_profile
from robot_learning.nodes.reading_input import header_stamp_ns, message_type
from robot_learning.nodes.transforms import pose2d
from robot_learning.simulation.gazebo_release import ROBOT_NAME
from robot_learning.simulation.layout import Pose2D
from robot_learning.simulation.world_reset import Placement, Sighting

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # Not on PyPI; a full ROS install has it.
    TFMessage = None

_ODOMETRY = 'gazebo/odom'


class GazeboSenses:
    """Keeps the newest of everything; what it keeps is replaced, so any thread may read.

    Args:
        node: owns the subscriptions.
        watched: topic -> ROS type of the sensors that must speak after a reset; `odom` besides.
        num_servers: counts simulators in the partition.
        on_robot: called at every true pose of the robot, after it is kept.
        on_odometry: called at every odometry message.
    """

    def __init__(
        self,
        node: Node,
        watched: Mapping[str, str],
        num_servers: ServerCount,
        on_robot: Callable[[], None],
        on_odometry: Callable[[Odometry], None],
    ):
        if TFMessage is None:
            raise ConfigError(
                'gazebo_node: tf2_msgs is not installed, in which true poses come. Install '
                'ros-jazzy-tf2-msgs or build ros_ws/wheels/tf2_msgs.'
            )
        self._clock = node.get_clock()
        self._num_servers = num_servers
        self._on_robot, self._on_odometry = on_robot, on_odometry
        self._sightings: dict[str, Sighting] = {}
        self._stamps = dict.fromkeys((*watched, 'odom'), -1)
        # Up to date rather than complete; every publisher is heard.
        newest = qos_profile('sensor', depth=50)
        node.create_subscription(TFMessage, 'gazebo/poses', self._on_poses, newest)
        node.create_subscription(Odometry, _ODOMETRY, self._on_drive, newest)
        for topic, type_name in watched.items():
            node.create_subscription(
                message_type(type_name), topic, partial(self._on_sensor, topic), newest, raw=True
            )

    def sighting(self, name: str) -> Sighting | None:
        """Return the newest true pose of a model; None: none was heard of."""
        return self._sightings.get(name)

    def sensor_stamps(self) -> Mapping[str, int]:
        """Return the newest stamp of each sensor that must speak; -1: none yet."""
        return dict(self._stamps)

    def time_ns(self) -> int:
        """Return the newest simulated time that was heard of."""
        return int(self._clock.now().nanoseconds)

    def num_servers(self) -> int:
        """Return how many simulators speak in this partition; 0: not known."""
        return self._num_servers()

    def robot(self) -> tuple[int, Pose2D]:
        """Return stamp and pose of the robot; there must be one."""
        sighting = self._sightings[ROBOT_NAME]
        return sighting.stamp_ns, _planar(sighting.placement)

    def objects(self, names: Collection[str]) -> dict[str, Pose2D]:
        """Return the poses of the objects among `names` that were seen."""
        return {
            name: _planar(self._sightings[name].placement)
            for name in names
            if name in self._sightings
        }

    def _on_poses(self, message: Any) -> None:
        has_robot = False
        for transform in message.transforms:
            name = transform.child_frame_id.rpartition('/')[2]
            stamp = transform.header.stamp
            position = transform.transform.translation
            x, y, yaw = pose2d(position, transform.transform.rotation)
            self._sightings[name] = Sighting(
                stamp.sec * 1_000_000_000 + stamp.nanosec, Placement(x, y, position.z, yaw)
            )
            has_robot |= name == ROBOT_NAME
        if has_robot:
            self._on_robot()

    def _on_drive(self, message: Odometry) -> None:
        stamp = message.header.stamp
        self._stamps['odom'] = stamp.sec * 1_000_000_000 + stamp.nanosec
        self._on_odometry(message)

    def _on_sensor(self, topic: str, data: bytes) -> None:
        self._stamps[topic] = header_stamp_ns(data)


def _planar(place: Placement) -> Pose2D:
    return place.x, place.y, place.yaw
