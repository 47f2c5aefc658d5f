"""Stands in for Gazebo and its bridge: a robot without physics on the bridge's topics."""

from __future__ import annotations

import math
import threading

import pytest
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from robot_learning.errors import WorldControlError
from robot_learning.nodes.messages import time_message
from robot_learning.nodes.run import make_executor
from robot_learning.nodes.transforms import planar_transform, set_pose
from robot_learning.simulation.world_reset import Placement
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState, LaserScan

TFMessage = pytest.importorskip('tf2_msgs.msg').TFMessage  # Wheels: only where it is sourced.

_PERIOD_NS = 20_000_000
_STEP_NS = 1_000_000


class FakeGazebo:
    """A world that is told by its methods, as a world is by its services; any thread may call."""

    def __init__(self, namespace: str):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = node = Node('gazebo', namespace=namespace, context=self.context)
        self._lock = threading.Lock()
        self.time_ns = 1_000_000_000
        self.is_held = False
        self.faults: list[str] = []  # What `place` says before it works.
        self.twist = (0.0, 0.0)
        self.places = {'robot': Placement(0.3, 0.0, 0.0, 0.0)}
        self.odometry = [4.0, 1.0, 0.5]  # It has driven before.
        self._pending: dict[str, Placement] = {}
        self._clock = node.create_publisher(Clock, '/clock', 10)
        self._poses = node.create_publisher(TFMessage, 'gazebo/poses', 10)
        self._odometry = node.create_publisher(Odometry, 'gazebo/odom', 10)
        self._joints = node.create_publisher(JointState, 'gazebo/joint_states', 10)
        self._scan = node.create_publisher(LaserScan, 'scan', 10)
        self._imu = node.create_publisher(Imu, 'imu', 10)
        node.create_subscription(Twist, 'gazebo/cmd_vel', self._on_twist, 10)
        self._executor = make_executor(self.context)
        self._executor.add_node(node)
        self._is_ending = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._turn, self._live)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._is_ending.set()
        for thread in self._threads:
            thread.join()
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    # --- what a world's services do ----------------------------------------------------------

    def hold(self, is_held: bool) -> None:
        self.is_held = is_held

    def step(self, num_steps: int) -> None:
        assert self.is_held
        self._advance(num_steps * _STEP_NS)

    def place(self, placements: dict[str, Placement]) -> None:
        if self.faults:
            raise WorldControlError(self.faults.pop(0))
        self._pending = dict(placements)

    # --- physics -----------------------------------------------------------------------------

    def _advance(self, duration_ns: int) -> None:
        with self._lock:
            self.places |= self._pending
            self._pending = {}
            seconds, (forward, turn) = duration_ns * 1e-9, self.twist
            robot = self.places['robot']
            self.places['robot'] = robot._replace(
                x=robot.x + forward * seconds * math.cos(robot.yaw),
                y=robot.y + forward * seconds * math.sin(robot.yaw),
                yaw=robot.yaw + turn * seconds,
            )
            x, y, yaw = self.odometry
            self.odometry = [
                x + forward * seconds * math.cos(yaw),
                y + forward * seconds * math.sin(yaw),
                yaw + turn * seconds,
            ]
            self.time_ns += duration_ns
            self._publish()

    def _publish(self) -> None:
        stamp = time_message(self.time_ns)
        self._clock.publish(Clock(clock=stamp))
        self._poses.publish(
            TFMessage(
                transforms=[
                    planar_transform(stamp, 'learning_arena', name, place[:3], place.yaw)
                    for name, place in self.places.items()
                ]
            )
        )
        odometry = Odometry()
        odometry.header.stamp = stamp
        set_pose(odometry.pose.pose, *self.odometry)
        odometry.twist.twist.linear.x = self.twist[0]
        self._odometry.publish(odometry)
        for publisher, message in (
            (self._joints, JointState(name=['wheel_left_joint'], position=[0.0])),
            (self._scan, LaserScan(ranges=[2.0] * 4)),
            (self._imu, Imu()),
        ):
            message.header.stamp = stamp
            publisher.publish(message)

    def _on_twist(self, message: Twist) -> None:
        self.twist = message.linear.x, message.angular.z

    def _live(self) -> None:
        while not self._is_ending.wait(_PERIOD_NS * 1e-9):
            if not self.is_held:
                self._advance(_PERIOD_NS)

    def _turn(self) -> None:
        while not self._is_ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)
