"""The line between a person at a keyboard and the policy node."""

from __future__ import annotations

from types import TracebackType

import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from robot_learning_interfaces.msg import GateStatus
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robot_learning.nodes.diagnostics import OK, WARN, Diagnostics, Health
from robot_learning.nodes.qos import COMMAND_QOS, EMERGENCY_STOP_QOS, STATUS_QOS
from robot_learning.nodes.teleop_input import TOPIC


class TeleopLink:
    """Sends twists and stops; hears what the gate says. Everything happens in `turn`."""

    def __init__(self, namespace: str):
        self.status: GateStatus | None = None  # The gate's newest.
        self.answer = ''  # Of the newest request, for people.
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = node = Node('teleop', namespace=namespace, context=self._context)
        self._twist = TwistStamped()
        self._twists = node.create_publisher(TwistStamped, TOPIC, COMMAND_QOS)
        self._stop = node.create_publisher(Bool, 'emergency_stop', EMERGENCY_STOP_QOS)
        self._has_pressed = False
        self._release = node.create_client(Trigger, 'policy/release_emergency_stop')
        node.create_subscription(GateStatus, 'gate_status', self._on_status, STATUS_QOS)
        Diagnostics(node).add('driving', self._health)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens to the twists."""
        return self._twists.get_subscription_count() > 0

    def drive(self, linear: float, angular: float) -> None:
        """Send one velocity command."""
        self._twist.header.stamp = self._node.get_clock().now().to_msg()
        self._twist.twist.linear.x, self._twist.twist.angular.z = linear, angular
        self._twists.publish(self._twist)

    def press_emergency_stop(self) -> None:
        """Stop the robot, whoever drives."""
        self._stop.publish(Bool(data=True))
        self._has_pressed = True
        self.answer = 'emergency stop sent'

    def release_emergency_stop(self) -> None:
        """Ask the policy node to let the robot drive again."""
        if not self._release.service_is_ready():
            self.answer = 'there is no policy node to release'
            return
        self._release.call_async(Trigger.Request()).add_done_callback(self._on_released)

    def turn(self) -> None:
        """Handle what has arrived."""
        for _ in range(10):
            self._executor.spin_once(timeout_sec=0.0)

    def _health(self) -> Health:
        if self.is_heard:
            return Health(OK, 'a policy node listens')
        return Health(WARN, f'nobody listens to {TOPIC}. Start a policy node')

    def _on_status(self, status: GateStatus) -> None:
        self.status = status
        if status.emergency_stopped and self._has_pressed:
            # The topic is latched: a node that starts later must not hear of an old press. What
            # is pressed stays pressed, for False does not release.
            self._has_pressed = False
            self._stop.publish(Bool(data=False))

    def _on_released(self, future: Future) -> None:
        response = future.result()
        self.answer = (response.message if response else '') or 'emergency stop released'

    def __enter__(self) -> TeleopLink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()  # type: ignore[no-untyped-call]
        rclpy.try_shutdown(context=self._context)
