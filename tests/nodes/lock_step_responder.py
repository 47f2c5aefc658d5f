"""A process that answers every outcome with a fixed command: the smallest lock-step driver.

Usage: lock_step_responder.py NUM_STEPS LINEAR ANGULAR; prints one JSON object at the end.
"""

from __future__ import annotations

import json
import sys
import time

import rclpy
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from robot_learning.nodes.qos import OUTCOME_QOS, qos_profile
from robot_learning.nodes.run import make_executor
from robot_learning_interfaces.msg import StepOutcome
from sensor_msgs.msg import LaserScan


class Responder(Node):
    """Sends one command per outcome, stamped with it; notes scans by their stamps."""

    def __init__(self, num_steps: int, linear: float, angular: float):
        super().__init__('responder')
        self.num_steps, self.outcomes, self.moments = num_steps, [], []
        self.num_readings = 0
        self._command = TwistStamped()
        self._command.twist.linear.x, self._command.twist.angular.z = linear, angular
        self._publisher = self.create_publisher(TwistStamped, 'cmd_vel', 10)
        for kind, topic in (
            (LaserScan, 'scan'),
            (Odometry, 'odom'),
            (PoseWithCovarianceStamped, 'amcl_pose'),
            (PoseStamped, 'goal_pose'),
        ):
            self.create_subscription(kind, topic, self._on_reading, qos_profile('reliable'))
        self.create_subscription(StepOutcome, 'outcome', self._on_outcome, OUTCOME_QOS)

    def _on_reading(self, message: object) -> None:
        self.num_readings += 1

    def _on_outcome(self, message: StepOutcome) -> None:
        stamp = message.header.stamp
        if self.outcomes and self.outcomes[-1]['stamp_ns'] == stamp.sec * 10**9 + stamp.nanosec:
            return  # Sent again because the answer was on its way.
        self.moments.append(time.monotonic())
        self.outcomes.append(
            {
                'stamp_ns': stamp.sec * 10**9 + stamp.nanosec,
                'episode': message.episode,
                'step': message.step,
                'reward': message.reward,
                'is_first': message.is_first,
                'terminated': message.terminated,
                'truncated': message.truncated,
            }
        )
        if len(self.outcomes) < self.num_steps:
            self._command.header.stamp = stamp
            self._publisher.publish(self._command)


def main() -> None:
    """Answer until enough outcomes came or half a minute passed."""
    rclpy.init()
    num_steps, linear, angular = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    node = Responder(num_steps, linear, angular)
    executor = make_executor()
    executor.add_node(node)
    deadline = time.monotonic() + 30
    while len(node.outcomes) < num_steps and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    elapsed = node.moments[-1] - node.moments[0] if len(node.moments) > 1 else float('inf')
    print(
        json.dumps(
            {
                'steps_per_second': (len(node.moments) - 1) / elapsed,
                'num_readings': node.num_readings,
                'outcomes': node.outcomes,
            }
        ),
        flush=True,
    )
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
