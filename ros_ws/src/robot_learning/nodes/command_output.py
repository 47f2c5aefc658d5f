"""Action vectors as command messages of the type that the robot listens to."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, Twist, TwistStamped
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Float32MultiArray, Float64MultiArray

from robot_learning.contract import ActionField
from robot_learning.errors import ContractError
from robot_learning.nodes.qos import COMMAND_QOS

Array = np.ndarray[Any, Any]

_TYPES: dict[str, type[Any]] = {
    'geometry_msgs/msg/TwistStamped': TwistStamped,
    'geometry_msgs/msg/Twist': Twist,
    'geometry_msgs/msg/PoseStamped': PoseStamped,
    'geometry_msgs/msg/Pose': Pose,
    'std_msgs/msg/Float32MultiArray': Float32MultiArray,
    'std_msgs/msg/Float64MultiArray': Float64MultiArray,
}
# A robot that listens to the other of these two hears nothing and says nothing.
_TWINS = {
    'geometry_msgs/msg/TwistStamped': 'geometry_msgs/msg/Twist',
    'geometry_msgs/msg/Twist': 'geometry_msgs/msg/TwistStamped',
}


class CommandOutput:
    """Publishes one action field of the contract.

    The message is built once and filled at every command.
    """

    def __init__(self, node: Node, name: str, spec: ActionField):
        if spec.type not in _TYPES:
            raise ContractError(
                f'actions: {name}: type: found {spec.type!r}, which the policy node cannot '
                f'publish. Choose one of: {", ".join(_TYPES)}.'
            )
        self._node = node
        self._name = name
        self._spec = spec
        self.mismatch = ''  # What the robot's subscriptions say against the contract.
        self._use(spec.type)

    @property
    def size(self) -> int:
        """Number of action components that it takes."""
        return self._spec.size

    @property
    def topic(self) -> str:
        """Topic as the contract has it."""
        return self._spec.topic

    @property
    def type(self) -> str:
        """ROS type name of what is published now."""
        return self._type

    def publish(self, stamp_ns: int, values: Array) -> None:
        """Send one command [size], stamped with the observation that it answers."""
        self._fill(stamp_ns, values.tolist())
        self._publisher.publish(self._message)

    def wait_until_received(self) -> None:
        """Return when reliable subscribers have acknowledged everything, or after 0.1 s."""
        self._publisher.wait_for_all_acked(Duration(seconds=0.1))

    def adapt(self) -> str:
        """Publish the twist type that the robot listens to; return a new mismatch, '' if none.

        Ask at 1 Hz or so: it looks through the graph.
        """
        subscriptions = self._node.get_subscriptions_info_by_topic(self._spec.topic)
        types = {subscription.topic_type for subscription in subscriptions}
        twin = _TWINS.get(self._spec.type, '')
        mismatch = ''
        wanted = self._spec.type
        if twin in types:
            listeners = ', '.join(
                f'{s.node_namespace.rstrip("/")}/{s.node_name}'
                for s in subscriptions
                if s.topic_type == twin
            )
            wanted = self._spec.type if self._spec.type in types else twin
            mismatch = (
                f'{self._spec.topic}: {listeners} listens to {twin}, the contract says '
                f'{self._spec.type}. Publishing {wanted}; correct actions.{self._name}.type.'
            )
        if wanted != self._type and (types or not mismatch):
            self._node.destroy_publisher(self._publisher)
            self._use(wanted)
        is_new = mismatch != self.mismatch
        self.mismatch = mismatch
        return mismatch if is_new else ''

    def _use(self, type_name: str) -> None:
        self._type = type_name
        self._message = _TYPES[type_name]()
        self._fill = _filler(self._message, self._spec)
        # Event handlers would keep a destroyed publisher, and with it the topic's type, alive.
        self._publisher: Publisher = self._node.create_publisher(
            _TYPES[type_name],
            self._spec.topic,
            COMMAND_QOS,
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
        )


def _filler(message: Any, spec: ActionField) -> Callable[[int, list[float]], None]:
    """Return what writes stamp and values into `message`."""
    if isinstance(message, Float32MultiArray | Float64MultiArray):
        code = 'f' if isinstance(message, Float32MultiArray) else 'd'

        def fill_array(stamp_ns: int, values: list[float]) -> None:
            message.data = array.array(code, values)

        return fill_array
    content = {TwistStamped: 'twist', PoseStamped: 'pose'}.get(type(message))
    root = getattr(message, content) if content else message
    targets = []
    for component in spec.components:
        vector, _, axis = component.partition('.')
        targets.append((getattr(root, vector), axis))

    def fill_components(stamp_ns: int, values: list[float]) -> None:
        for (target, axis), value in zip(targets, values, strict=True):
            setattr(target, axis, value)

    def fill_stamped(stamp_ns: int, values: list[float]) -> None:
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        fill_components(stamp_ns, values)

    if content is None:
        return fill_components
    message.header.frame_id = spec.frame
    return fill_stamped
