"""Twists as Twist or TwistStamped, whichever the others publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from robot_learning.nodes.qos import COMMAND_QOS

CommandType = Literal['auto', 'twist', 'twist_stamped']

_TYPES: dict[str, type[Any]] = {'twist': Twist, 'twist_stamped': TwistStamped}
_ROS_NAMES = {
    'twist': 'geometry_msgs/msg/Twist',
    'twist_stamped': 'geometry_msgs/msg/TwistStamped',
}


class DriveCommand(NamedTuple):
    """A velocity command; Twist carries no stamp."""

    stamp_ns: int | None
    linear: float
    angular: float


class TwistInput:
    """Subscribes to a topic of twists with the type that its publishers have.

    A topic carries one type only, and a mismatch is silent in ROS: so publishers of another
    type are found in the graph and named.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        command_type: CommandType,
        on_twist: Callable[[int | None, Twist], None],
        qos: QoSProfile = COMMAND_QOS,
    ):
        """Subscribe.

        Args:
            node: owns the subscription.
            topic: its name.
            command_type: auto follows the publishers.
            on_twist: gets the stamp in ns, None where the type has none, and the twist.
            qos: of the subscription.
        """
        self._node = node
        self._topic = topic
        self._forced = command_type != 'auto'
        self._on_twist = on_twist
        self._qos = qos
        self.kind: str = command_type if self._forced else 'twist_stamped'
        self.num_publishers = 0  # Of the right type.
        self._subscription: Subscription | None = None
        self.problem = ''  # Names publishers of the wrong type.
        self._subscribe()

    def look_around(self) -> None:
        """Find out who publishes; call it now and then."""
        if self._subscription is None:
            self._subscribe()
        found: dict[str, list[str]] = {}
        for info in self._node.get_publishers_info_by_topic(self._topic):
            name = f'{info.node_namespace.rstrip("/")}/{info.node_name}'
            found.setdefault(info.topic_type, []).append(name)
        if not self._forced and _ROS_NAMES[self.kind] not in found:
            self._adapt(found)
        mine = _ROS_NAMES[self.kind]
        self.num_publishers = len(found.pop(mine, []))
        self.problem = ' '.join(
            f'{self._topic}: {", ".join(names)} publishes {ros_type}, expected {mine}. '
            f'Change the publisher or set command_type.'
            for ros_type, names in found.items()
        )

    def _adapt(self, found: dict[str, list[str]]) -> None:
        for kind, ros_name in _ROS_NAMES.items():
            if ros_name in found and kind != self.kind:
                # The executor lets go of the old one between two callbacks; DDS refuses a topic
                # of another type until then, so the new one is made at the next look.
                if self._subscription is not None:
                    self._node.destroy_subscription(self._subscription)
                self._subscription = None
                self.kind = kind
                self._node.get_logger().info(
                    f'{self._topic}: {", ".join(found[ros_name])} publishes {ros_name}; '
                    f'taking that.'
                )
                return

    def _subscribe(self) -> None:
        receive = self._receive if self.kind == 'twist' else self._receive_stamped
        try:
            self._subscription = self._node.create_subscription(
                _TYPES[self.kind], self._topic, receive, self._qos
            )
        except (
            rclpy_implementation.RCLError
        ) as error:  # The old type is still in use; tried again at the next look.
            self._node.get_logger().debug(f'{self._topic}: {error}')

    def _receive(self, message: Twist) -> None:
        self._on_twist(None, message)

    def _receive_stamped(self, message: TwistStamped) -> None:
        stamp = message.header.stamp
        self._on_twist(stamp.sec * 1_000_000_000 + stamp.nanosec, message.twist)


class DriveCommands(TwistInput):
    """Velocity commands of a differential drive."""

    def __init__(
        self,
        node: Node,
        topic: str,
        command_type: CommandType,
        on_command: Callable[[DriveCommand], None],
    ):
        super().__init__(
            node,
            topic,
            command_type,
            lambda stamp_ns, twist: on_command(
                DriveCommand(stamp_ns, twist.linear.x, twist.angular.z)
            ),
        )
