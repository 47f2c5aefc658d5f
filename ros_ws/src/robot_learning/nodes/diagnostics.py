"""What a node says about its health on /diagnostics (REP 107)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)


class Health(NamedTuple):
    """State of one part of a node: level, a sentence for people, and named values."""

    level: bytes
    message: str
    values: Mapping[str, Any] = {}


class Diagnostics:
    """Publishes the health of a node's parts at a steady rate of the wall clock.

    The topic is absolute, as REP 107 has it, so that one monitor sees all robots; status names
    start with the node's full name.
    """

    def __init__(self, node: Node, hardware_id: str = '', period_s: float = 1.0):
        self._node = node
        self._hardware_id = hardware_id
        self._parts: dict[str, Callable[[], Health]] = {}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._timer = node.create_timer(
            period_s, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def add(self, name: str, part: Callable[[], Health]) -> None:
        """Ask `part` for its health from now on; `name` says what it is, for example 'gate'."""
        self._parts[name] = part

    def publish(self) -> None:
        """Ask every part and publish the answers; the timer calls this."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        prefix = self._node.get_fully_qualified_name().lstrip('/')
        for name, part in self._parts.items():
            health = part()
            message.status.append(
                DiagnosticStatus(
                    level=health.level,
                    name=f'{prefix}: {name}',
                    message=health.message,
                    hardware_id=self._hardware_id,
                    values=[
                        KeyValue(key=key, value=_text(value))
                        for key, value in health.values.items()
                    ],
                )
            )
        self._publisher.publish(message)


def _text(value: Any) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)
