"""What the simulator publishes: messages made once, filled from arrays, sent when due."""

from __future__ import annotations

import array
import json
import math
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from robot_learning_interfaces.msg import AudioChunk, EpisodeEvent, StepOutcome
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, Imu, JointState, LaserScan

from robot_learning.nodes.messages import time_message
from robot_learning.nodes.qos import EPISODE_EVENT_QOS, OUTCOME_QOS, qos_profile
from robot_learning.nodes.transforms import (
    map_to_odom,
    mount_transforms,
    planar_transform,
    set_pose,
)
from robot_learning.sense_formats import SAMPLE_RATE_HZ
from robot_learning.simulation.episodes import Arrival, EpisodeEdge
from robot_learning.simulation.geometry import FIELD_OF_VIEW_DEG, MOUNTS
from robot_learning.simulation.readings import JOINT_NAMES
from robot_learning.simulation.world import Reading, World

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # Not on PyPI; a full ROS install has it.
    TFMessage = None

Array = np.ndarray[Any, Any]
# Reliable publishers serve best-effort readers too. A lost message would hold the lock-step loop.
_SENSOR_QOS = qos_profile('reliable', depth=10)
_INT16 = 32767  # A full-scale sample.


class _Outlet(NamedTuple):
    """One message of a topic: how a reading gets into it, and who sends it."""

    publisher: Any
    message: Any
    fill: Callable[[Any, Reading], None]


class SimulatorTopics:
    """Publishes readings, the goal, the outcome, the clock and episode events."""

    def __init__(self, node: Node, world: World):
        self._node = node
        self._world = world
        self._frames = {field.topic: field.frame for field in world.contract.observation.values()}
        self._outlets: dict[str, list[_Outlet]] = {}
        self._add_sensors()
        self._clock = node.create_publisher(Clock, '/clock', qos_profile('reliable', depth=10))
        self._clock_message = Clock()
        self._outcome = node.create_publisher(StepOutcome, 'outcome', OUTCOME_QOS)
        self._outcome_message = StepOutcome()
        self._event = node.create_publisher(EpisodeEvent, 'episode_event', EPISODE_EVENT_QOS)
        self._drive = node.create_publisher(TwistStamped, 'cmd_vel_out', _SENSOR_QOS)
        self._sound = None
        if world.microphone is not None:
            self._sound = node.create_publisher(AudioChunk, 'microphone/audio', _SENSOR_QOS)
        self._tf = None
        if TFMessage is not None:
            self._tf = node.create_publisher(TFMessage, 'tf', qos_profile('reliable', depth=100))
            self._tf_static = node.create_publisher(TFMessage, 'tf_static', qos_profile('latched'))
            self._tf_static.publish(TFMessage(transforms=mount_transforms(MOUNTS)))
        self._map_to_odom: Array | None = None
        self._newest: dict[str, Reading] = {}  # By topic.
        self._newest_stamp = Time()
        self._unread: set[str] = set()  # Due with the newest, and spared.

    @property
    def num_listeners(self) -> int:
        """How many follow the steps of the world."""
        return int(self._outcome.get_subscription_count())

    @property
    def has_transforms(self) -> bool:
        """Whether tf2_msgs is installed, so that tf is published."""
        return self._tf is not None

    def publish_clock(self, stamp_ns: int) -> None:
        """Tell the time to whoever runs on it."""
        self._clock_message.clock = time_message(stamp_ns)
        if self._clock.get_subscription_count():
            self._clock.publish(self._clock_message)

    def publish_sensors(self, stamp_ns: int, topics: Collection[str]) -> None:
        """Read the sensors behind these topics and send what somebody listens to.

        Sensors are read even when nobody listens, so that their noise does not depend on it;
        only the camera, which has none, is spared.
        """
        wanted = set(topics)
        if not self._has_reader('camera/image_raw'):
            wanted.discard('camera/image_raw')
        stamp = time_message(stamp_ns)
        readings = self._world.sense(wanted)
        self._newest, self._newest_stamp = readings, stamp
        self._unread = set(topics) - wanted
        self._send(readings, stamp)
        if self._tf is not None and 'odom' in readings:
            self._publish_transforms(self._tf, stamp, readings)

    def publish_arrival(self, arrival: Arrival) -> None:
        """Send the goal and then the outcome of a control step."""
        goal = self._outlets['goal_pose'][0]
        goal.message.header.stamp = time_message(arrival.stamp_ns)
        goal.fill(goal.message, self._world.sense(('goal_pose',))['goal_pose'])
        goal.publisher.publish(goal.message)
        message = self._outcome_message
        message.header.stamp = time_message(arrival.stamp_ns)
        message.episode, message.step = arrival.episode, arrival.step
        message.is_first = arrival.step == 0
        message.reward = arrival.reward
        message.terminated, message.truncated = arrival.terminated, arrival.truncated
        message.success = arrival.success
        self._publish_sound(arrival.stamp_ns)
        self._outcome.publish(message)

    def publish_drive(self, stamp_ns: int, linear: float, angular: float) -> None:
        """Tell what the wheels are commanded from now on, in m/s and rad/s.

        The name is that of ros2_control's diff_drive_controller. Stops for want of a command
        are among it, which no publisher of `cmd_vel` has sent.
        """
        if not self._drive.get_subscription_count():
            return
        message = TwistStamped()
        message.header.stamp = time_message(stamp_ns)
        message.header.frame_id = 'base_link'
        message.twist.linear.x, message.twist.angular.z = linear, angular
        self._drive.publish(message)

    def repeat(self) -> None:
        """Send the newest step's messages again, for a reader that came late."""
        self._clock.publish(self._clock_message)
        if any(self._has_reader(topic) for topic in self._unread):
            self._newest |= self._world.sense(self._unread)
            self._unread = set()
        self._send(self._newest, self._newest_stamp)
        goal = self._outlets['goal_pose'][0]
        goal.publisher.publish(goal.message)
        self._outcome.publish(self._outcome_message)

    def publish_edge(self, edge: EpisodeEdge, is_begin: bool) -> None:
        """Announce the beginning or end of an episode."""
        message = EpisodeEvent()
        message.header.stamp = time_message(edge.stamp_ns)
        message.event = EpisodeEvent.BEGIN if is_begin else EpisodeEvent.END
        message.episode, message.seed = edge.episode, edge.seed
        message.source = 'simulator'
        message.terminated, message.truncated = edge.terminated, edge.truncated
        message.success, message.reason = edge.success, edge.reason
        message.info_json = json.dumps(edge.info)
        self._event.publish(message)

    def wait_until_received(self, timeout_s: float = 0.5) -> None:
        """Wait until all readers have all that was sent, but no longer than `timeout_s`."""
        end_s = time.monotonic() + timeout_s
        outlets = [outlet for outlets in self._outlets.values() for outlet in outlets]
        for publisher in (*(outlet.publisher for outlet in outlets), self._outcome, self._event):
            rest_s = max(0.0, end_s - time.monotonic())
            publisher.wait_for_all_acked(Duration(nanoseconds=round(rest_s * 1e9)))

    def _send(self, readings: dict[str, Reading], stamp: Time) -> None:
        for topic, reading in readings.items():
            for outlet in self._outlets[topic]:
                if outlet.publisher.get_subscription_count():
                    outlet.message.header.stamp = stamp
                    outlet.fill(outlet.message, reading)
                    outlet.publisher.publish(outlet.message)

    def _publish_sound(self, stamp_ns: int) -> None:
        """Send what was heard since the last step; an episode's first step has nothing."""
        microphone = self._world.microphone
        if microphone is None or self._sound is None:
            return
        first = microphone.num_read
        samples = np.round(microphone.read() * _INT16).astype(np.int16)
        if not samples.size or not self._sound.get_subscription_count():
            return
        message = AudioChunk(sample_rate=SAMPLE_RATE_HZ, channels=1, first_sample=first)
        lasts_ns = round(len(samples) * 1e9 / SAMPLE_RATE_HZ)
        message.header.stamp = time_message(stamp_ns - lasts_ns)
        message.header.frame_id = 'base_link'
        message.samples = array.array('h', samples.tobytes())
        self._sound.publish(message)

    def _has_reader(self, topic: str) -> bool:
        return any(
            outlet.publisher.get_subscription_count() for outlet in self._outlets.get(topic, ())
        )

    def _add_sensors(self) -> None:
        world, frames = self._world, self._frames
        lidar = world.lidar
        scan = LaserScan(
            angle_min=lidar.angle_min,
            angle_max=lidar.angle_max,
            angle_increment=lidar.angle_increment,
            range_min=lidar.range_min,
            range_max=lidar.range_max,
        )
        self._add('scan', scan, _fill_scan, frames.get('scan', 'base_scan'))
        odometry = Odometry(child_frame_id='base_footprint')
        self._add('odom', odometry, _fill_odometry, frames.get('odom', 'odom'))
        truth = Odometry(child_frame_id='base_footprint')
        self._add('ground_truth/odom', truth, _fill_odometry, 'map')
        self._add('imu', Imu(), _fill_imu, frames.get('imu', 'imu_link'))
        joints = JointState(name=list(JOINT_NAMES))
        self._add('joint_states', joints, _fill_joints, '')
        localised = PoseWithCovarianceStamped()
        covariance = np.zeros((6, 6))
        covariance[[0, 1, 5], [0, 1, 5]] = world.localisation.sigma**2
        localised.pose.covariance = covariance.ravel()
        self._add('amcl_pose', localised, _fill_localised, 'map')
        self._add('goal_pose', PoseStamped(), _fill_goal, 'map', qos='latched')
        if world.camera is not None:
            frame = frames.get('camera/image_raw', 'camera_rgb_frame')
            height, width = world.camera.size
            image = Image(height=height, width=width, encoding='rgb8', step=3 * width)
            self._add('camera/image_raw', image, _fill_image, frame)
            info = camera_info(height, width)
            self._add('camera/image_raw', info, _fill_nothing, frame, name='camera/camera_info')

    def _add(
        self,
        topic: str,
        message: Any,
        fill: Callable[[Any, Reading], None],
        frame: str,
        name: str | None = None,
        qos: str | None = None,
    ) -> None:
        message.header.frame_id = frame
        profile = qos_profile(qos) if qos else _SENSOR_QOS
        publisher = self._node.create_publisher(type(message), name or topic, profile)
        self._outlets.setdefault(topic, []).append(_Outlet(publisher, message, fill))

    def _publish_transforms(
        self, publisher: Publisher, stamp: Time, readings: dict[str, Reading]
    ) -> None:
        odometry = readings['odom']['pose2d']
        if 'amcl_pose' in readings:
            self._map_to_odom = map_to_odom(readings['amcl_pose']['pose2d'], odometry)
        if not publisher.get_subscription_count():
            return
        transforms = [
            planar_transform(stamp, 'odom', 'base_footprint', (*odometry[:2], 0), odometry[2])
        ]
        if self._map_to_odom is not None:
            x, y, yaw = self._map_to_odom
            transforms.append(planar_transform(stamp, 'map', 'odom', (x, y, 0), yaw))
        publisher.publish(TFMessage(transforms=transforms))


def camera_info(height: int, width: int) -> CameraInfo:
    """Return the pinhole model of the world's camera, without distortion."""
    focal = height / 2 / math.tan(math.radians(FIELD_OF_VIEW_DEG) / 2)
    cx, cy = width / 2, height / 2
    return CameraInfo(
        height=height,
        width=width,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def _fill_scan(message: LaserScan, reading: Reading) -> None:
    message.ranges = array.array('f', reading['ranges'].tobytes())


def _fill_odometry(message: Odometry, reading: Reading) -> None:
    set_pose(message.pose.pose, *reading['pose2d'].tolist())
    forward, turn = reading['twist2d'].tolist()
    message.twist.twist.linear.x, message.twist.twist.angular.z = forward, turn


def _fill_imu(message: Imu, reading: Reading) -> None:
    value = reading['imu'].tolist()
    q, spin, acceleration = (
        message.orientation,
        message.angular_velocity,
        message.linear_acceleration,
    )
    q.x, q.y, q.z, q.w = value[:4]
    spin.x, spin.y, spin.z = value[4:7]
    acceleration.x, acceleration.y, acceleration.z = value[7:]


def _fill_joints(message: JointState, reading: Reading) -> None:
    message.position = array.array('d', reading['position'].tobytes())
    message.velocity = array.array('d', reading['velocity'].tobytes())


def _fill_localised(message: PoseWithCovarianceStamped, reading: Reading) -> None:
    set_pose(message.pose.pose, *reading['pose2d'].tolist())


def _fill_goal(message: PoseStamped, reading: Reading) -> None:
    set_pose(message.pose, *reading['pose2d'].tolist())


def _fill_image(message: Image, reading: Reading) -> None:
    message.data = array.array('B', reading['image'].tobytes())


def _fill_nothing(message: CameraInfo, reading: Reading) -> None:
    """Leave the camera's model as it is; only its stamp follows the image."""
