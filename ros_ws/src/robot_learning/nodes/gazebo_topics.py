"""What is added to Gazebo's topics, so that they are those of the embedded world."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Twist
from nav_msgs.msg import Odometry
from rclpy.node import Node
from robot_learning_interfaces.msg import EpisodeEvent, StepOutcome
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray
from tf2_msgs.msg import TFMessage

from robot_learning.contract import RobotContract
from robot_learning.nodes.messages import time_message
from robot_learning.nodes.qos import (
    COMMAND_QOS,
    EPISODE_EVENT_QOS,
    OUTCOME_QOS,
    qos_profile,
)
from robot_learning.nodes.reading_input import header_stamp_ns
from robot_learning.nodes.transforms import (
    map_to_odom,
    mount_transforms,
    planar_transform,
    pose2d,
    set_pose,
)
from robot_learning.simulation.episodes import Arrival, EpisodeEdge
from robot_learning.simulation.geometry import MOUNTS
from robot_learning.simulation.layout import Pose2D
from robot_learning.simulation.observed_world import OdometryOrigin
from robot_learning.simulation.sensors import Localisation, SensorConfig

_JOINT_PERIOD_NS = 33_000_000  # Gazebo sends joint states at every physics step.
# Skill -> joints that make it up, each with its share of the position.
_JOINTS = {
    'lift': (('lift', 1.0),),
    'gripper': (('gripper_left', 0.5), ('gripper_right', 0.5)),
}
_TURTLEBOT3 = 'turtlebot3'  # Brings the transforms of its own sensors.


class GazeboTopics:
    """Publishes localisation, odometry, goal, outcome, events and transforms; relays commands."""

    def __init__(self, node: Node, contract: RobotContract, seed: int):
        self._node = node
        self._rng = np.random.default_rng([seed, 1])
        self._localisation = Localisation(SensorConfig())
        self._localisation.reset(self._rng)
        self._origin = OdometryOrigin()
        self._raw_odometry: Pose2D = (0.0, 0.0, 0.0)
        self._odometry: Pose2D = (0.0, 0.0, 0.0)
        self._map_to_odom = np.zeros(3)
        self._newest: tuple[PoseWithCovarianceStamped, PoseStamped, StepOutcome] | None = None
        reliable = qos_profile('reliable', depth=10)
        make = node.create_publisher
        self._pose = make(PoseWithCovarianceStamped, 'amcl_pose', reliable)
        self._goal = make(PoseStamped, 'goal_pose', qos_profile('latched'))
        self._outcome = make(StepOutcome, 'outcome', OUTCOME_QOS)
        self._event = make(EpisodeEvent, 'episode_event', EPISODE_EVENT_QOS)
        self._odometry_out = make(Odometry, 'odom', reliable)
        self._truth = make(Odometry, 'ground_truth/odom', reliable)
        self._joints = make(JointState, 'joint_states', reliable)
        self._tf = make(TFMessage, 'tf', qos_profile('reliable', depth=100))
        self._drive = make(Twist, 'gazebo/cmd_vel', COMMAND_QOS)
        if contract.robot != _TURTLEBOT3:
            self._tf_static = make(TFMessage, 'tf_static', qos_profile('latched'))
            self._tf_static.publish(TFMessage(transforms=mount_transforms(MOUNTS)))
        self._last_joints_ns = 0
        node.create_subscription(
            JointState,
            'gazebo/joint_states',
            self._on_joints,
            qos_profile('sensor', depth=1),
            raw=True,
        )
        self._covariance = np.zeros((6, 6))
        self._covariance[[0, 1, 5], [0, 1, 5]] = self._localisation.sigma**2
        self._relay_skills(contract)

    @property
    def num_listeners(self) -> int:
        """How many follow the steps of the world."""
        return int(self._outcome.get_subscription_count())

    def drive(self, linear: float, angular: float) -> None:
        """Send a velocity to the robot's drive."""
        message = Twist()
        message.linear.x, message.angular.z = linear, angular
        self._drive.publish(message)

    def begin(self) -> None:
        """Begin an episode: odometry starts at zero, the localisation's error anew."""
        self._origin.begin(self._raw_odometry)
        self._localisation.reset(self._rng)

    def publish_odometry(self, message: Odometry) -> None:
        """Send the wheels' odometry on, without what was driven before the episode."""
        self._raw_odometry = pose2d(message.pose.pose.position, message.pose.pose.orientation)
        self._odometry = self._origin.relative(self._raw_odometry)
        set_pose(message.pose.pose, *self._odometry)
        message.pose.pose.orientation.x = message.pose.pose.orientation.y = 0.0
        message.header.frame_id, message.child_frame_id = 'odom', 'base_footprint'
        self._odometry_out.publish(message)
        x, y, yaw = self._odometry
        stamp = message.header.stamp
        u, v, turn = self._map_to_odom.tolist()
        self._tf.publish(
            TFMessage(
                transforms=[
                    planar_transform(stamp, 'odom', 'base_footprint', (x, y, 0.0), yaw),
                    planar_transform(stamp, 'map', 'odom', (u, v, 0.0), turn),
                ]
            )
        )

    def publish_truth(self, stamp_ns: int, pose: Pose2D) -> None:
        """Send where the robot truly is; for people and scores, not for policies."""
        message = Odometry(child_frame_id='base_footprint')
        message.header.stamp, message.header.frame_id = time_message(stamp_ns), 'map'
        set_pose(message.pose.pose, *pose)
        self._truth.publish(message)

    def publish_arrival(
        self, arrival: Arrival, truth: Pose2D, goal: Pose2D, elapsed_s: float
    ) -> None:
        """Send localisation and goal, and then the outcome of a control step."""
        stamp = time_message(arrival.stamp_ns)
        self._localisation.update(elapsed_s, self._rng)
        localised = self._localisation.pose(truth)
        self._map_to_odom = map_to_odom(localised, self._odometry)
        pose = PoseWithCovarianceStamped()
        pose.header.stamp, pose.header.frame_id = stamp, 'map'
        set_pose(pose.pose.pose, *localised.tolist())
        pose.pose.covariance = self._covariance.ravel()
        aim = PoseStamped()
        aim.header.stamp, aim.header.frame_id = stamp, 'map'
        set_pose(aim.pose, *goal)
        outcome = StepOutcome(
            episode=arrival.episode,
            step=arrival.step,
            is_first=arrival.step == 0,
            reward=float(arrival.reward),
            terminated=arrival.terminated,
            truncated=arrival.truncated,
            success=arrival.success,
        )
        outcome.header.stamp = stamp
        self._newest = pose, aim, outcome
        self.repeat()

    def repeat(self) -> None:
        """Send the newest step's messages, once more for a reader that came late."""
        if self._newest is not None:
            pose, aim, outcome = self._newest
            self._pose.publish(pose)
            self._goal.publish(aim)
            self._outcome.publish(outcome)

    def publish_edge(self, edge: EpisodeEdge, is_begin: bool) -> None:
        """Announce the beginning or end of an episode."""
        message = EpisodeEvent(
            event=EpisodeEvent.BEGIN if is_begin else EpisodeEvent.END,
            episode=edge.episode,
            seed=edge.seed,
            source='simulator',
            terminated=edge.terminated,
            truncated=edge.truncated,
            success=edge.success,
            reason=edge.reason,
            info_json=json.dumps(edge.info),
        )
        message.header.stamp = time_message(edge.stamp_ns)
        self._event.publish(message)

    def _on_joints(self, data: bytes) -> None:
        stamp_ns = header_stamp_ns(data)
        if not 0 <= stamp_ns - self._last_joints_ns < _JOINT_PERIOD_NS:
            self._last_joints_ns = stamp_ns
            self._joints.publish(data)

    def _relay_skills(self, contract: RobotContract) -> None:
        """Send positions of lift and gripper to the joints that make them up."""
        joints = {
            'lift': (('lift', 1.0),),
            'gripper': (('gripper_left', 0.5), ('gripper_right', 0.5)),
        }
        for name, parts in joints.items():
            action = contract.actions.get(name)
            if action is None or action.type != 'std_msgs/msg/Float64MultiArray':
                continue
            outputs = [
                (self._node.create_publisher(Float64, f'gazebo/{joint}', COMMAND_QOS), share)
                for joint, share in parts
            ]
            low, high = action.low[0], action.high[0]
            self._node.create_subscription(
                Float64MultiArray,
                action.topic,
                partial(_relay, outputs, low, high),
                COMMAND_QOS,
            )


def _relay(
    outputs: list[tuple[Any, float]], low: float, high: float, message: Float64MultiArray
) -> None:
    if len(message.data) == 1 and np.isfinite(message.data[0]):
        value = min(max(message.data[0], low), high)
        for publisher, share in outputs:
            publisher.publish(Float64(data=value * share))
