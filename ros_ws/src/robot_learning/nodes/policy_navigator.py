"""Lets the policy node drive to points, by its action `run_policy`."""

from __future__ import annotations

import time
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.executors import Executor
from rclpy.node import Node
from robot_learning_interfaces.action import RunPolicy
from robot_learning_interfaces.msg import GateStatus

from robot_learning.language.motions import Ended
from robot_learning.nodes.qos import STATUS_QOS

_RADIUS_M = 0.15
_ANSWER_S = 3.0  # So long the policy node may take to accept.
_REASONS = {'goal': '', 'canceled': 'it was canceled', 'time_limit': 'the policy took too long'}


class PolicyNavigator:
    """Drives by the policy while one serves; without one `begin` says no.

    Args:
        node: of a thread that turns on its own, so that answers come while others wait.
        executor: that turns it. Goals are sent from there: an answer that came before the client
            knows of its question would be lost.
        frame: of the points.
        action: full name of the action.
        status: full name of the topic with the gate's status.
    """

    def __init__(self, node: Node, executor: Executor, frame: str, action: str, status: str):
        self._executor = executor
        self._frame = frame
        self._client = ActionClient(node, RunPolicy, action)
        self._clock = node.get_clock()
        self._version = -1  # That serves; without one the policy node would move at random.
        self.is_stopped = False  # The emergency stop is pressed.
        node.create_subscription(GateStatus, status, self._on_status, STATUS_QOS)
        self._ended: Ended | None = None
        self._handle: Any = None
        self._number = 0  # Of the run; answers to earlier ones are not listened to.
        self._asked_s = 0.0

    def begin(self, x: float, y: float, timeout_s: float) -> bool:
        """Set out; return whether there is a policy that can."""
        if self._version < 0 or not self._client.server_is_ready():
            return False
        self._number += 1
        number = self._number
        goal = RunPolicy.Goal()
        goal.version = -1
        goal.goal_pose = PoseStamped()
        goal.goal_pose.header.frame_id = self._frame
        goal.goal_pose.header.stamp = self._clock.now().to_msg()
        goal.goal_pose.pose.position.x, goal.goal_pose.pose.position.y = x, y
        goal.goal_pose.pose.orientation.w = 1.0
        goal.goal_radius, goal.time_limit = _RADIUS_M, timeout_s
        self._ended, self._handle, self._asked_s = None, None, time.monotonic()
        self._executor.create_task(lambda: self._send(number, goal))
        return True

    def poll(self) -> Ended | None:
        """Return how it ended, None while it drives."""
        waits = self._handle is None and self._ended is None
        if waits and time.monotonic() - self._asked_s > _ANSWER_S:
            self.cancel()
            return Ended(False, 'the policy node does not answer')
        return self._ended

    def cancel(self) -> None:
        """Stop and forget it."""
        handle, self._handle = self._handle, None
        is_over = self._ended is not None
        self._number += 1
        if handle is not None and not is_over:
            handle.cancel_goal_async()

    def _send(self, number: int, goal: RunPolicy.Goal) -> None:
        if number == self._number:
            future = self._client.send_goal_async(goal)
            future.add_done_callback(lambda done: self._on_answer(number, done.result()))

    def _on_status(self, message: GateStatus) -> None:
        self._version, self.is_stopped = message.version, message.emergency_stopped

    def _on_answer(self, number: int, handle: Any) -> None:
        if number != self._number:
            if handle.accepted:  # Given up before the answer came.
                handle.cancel_goal_async()
            return
        if not handle.accepted:
            self._ended = Ended(False, 'the policy is busy')
            return
        self._handle = handle
        handle.get_result_async().add_done_callback(
            lambda done: self._on_result(number, done.result().result)
        )

    def _on_result(self, number: int, result: RunPolicy.Result) -> None:
        if number == self._number:
            reason = _REASONS.get(result.reason, result.reason)
            self._ended = Ended(result.success, reason)
