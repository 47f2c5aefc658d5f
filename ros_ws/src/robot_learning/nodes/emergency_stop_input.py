"""The topic `emergency_stop`, heard from whoever presses it."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from std_msgs.msg import Bool

from robot_learning.nodes.qos import EMERGENCY_STOP_QOS, qos_profile

# A subscription that asks for the latched message hears no publisher that does not latch, which
# is what `ros2 topic pub` and most buttons are; one that asks for nothing may lose a message.
_PROFILES = (EMERGENCY_STOP_QOS, qos_profile('reliable', depth=10), qos_profile('sensor'))


def listen(node: Node, on_message: Callable[[Bool], None]) -> None:
    """Subscribe so that every publisher is heard as surely as it speaks; some more than once."""
    for profile in _PROFILES:
        node.create_subscription(
            Bool,
            'emergency_stop',
            on_message,
            profile,
            # What one of them cannot hear another does: no warnings about that.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )
