"""What leaves the policy node at a step: the commands, then `policy_action` about them."""

from __future__ import annotations

import array
import time
from collections.abc import Sequence

from rclpy.node import Node
from robot_learning_interfaces.msg import PolicyAction

from robot_learning.nodes.command_output import CommandOutput
from robot_learning.nodes.policy_status import PolicyStatus
from robot_learning.nodes.qos import POLICY_ACTION_QOS
from robot_learning.serving.driver import Command


class DecisionOutput:
    """Publishes commands and tells the status what it needs to know about them."""

    def __init__(self, node: Node, outputs: Sequence[CommandOutput], status: PolicyStatus):
        self.last: Command | None = None  # Newest command that was published.
        self._node = node
        self._outputs = outputs
        self._status = status
        self._action = PolicyAction()
        self._publisher = node.create_publisher(PolicyAction, 'policy_action', POLICY_ACTION_QOS)

    def send(self, command: Command) -> None:
        """Send the command alone, for example once more."""
        start = 0
        for output in self._outputs:
            output.publish(command.stamp_ns, command.executed[start : start + output.size])
            start += output.size

    def publish(self, command: Command) -> None:
        """Send the command, and only then everything that is said about it."""
        self.send(command)
        self.last = command
        latency_ms = -1.0
        if command.received_ns:
            latency_ms = (time.perf_counter_ns() - command.received_ns) * 1e-6
        action, decision = self._action, command.decision
        stamp = action.header.stamp
        stamp.sec, stamp.nanosec = divmod(command.stamp_ns, 1_000_000_000)
        action.model, action.version = decision.model, decision.version
        action.commanded = array.array('f', decision.action.tobytes())
        action.executed = array.array('f', command.executed.tobytes())
        action.log_probability = decision.log_prob
        action.altered = command.altered
        action.exploring = decision.exploring
        action.intervention = command.intervention
        action.latency_ms = latency_ms
        self._publisher.publish(action)
        self._status.problems = command.problems
        if command.problems:
            text = '; '.join(problem.text for problem in command.problems)
            state = 'a person drives blind' if command.intervention else 'stopped'
            self._node.get_logger().warning(f'{state}: {text}', throttle_duration_sec=5.0)
        elif command.received_ns:
            self._status.decision_latency.add(latency_ms)

    def wait_until_received(self) -> None:
        """Return when reliable subscribers have all commands, or after 0.1 s each."""
        for output in self._outputs:
            output.wait_until_received()
