"""What a node says about its health on /diagnostics (REP 107)."""

from __future__ import annotations

import time
from collections import deque
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


class RecentGrowth:
    """How fast counts grew lately: what was lost an hour ago is no alarm any more.

    Args:
        window_s: how far back it looks.
        now_s: a clock that only runs forwards.
    """

    def __init__(self, window_s: float = 10.0, now_s: Callable[[], float] = time.monotonic):
        self._window_s = window_s
        self._now_s = now_s
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def per_second(self, name: str, count: int) -> float:
        """Take a count as it is now; return its growth per second over the window."""
        now_s = self._now_s()
        seen = self._seen.setdefault(name, deque([(now_s, 0)]))
        if count < seen[-1][1]:  # It began anew.
            seen.clear()
        seen.append((now_s, count))
        while len(seen) > 2 and now_s - seen[1][0] >= self._window_s:
            seen.popleft()
        since_s, before = seen[0]
        return (count - before) / max(now_s - since_s, 1.0)


class Diagnostics:
    """Publishes the health of a node's parts at a steady rate of the wall clock.

    The topic is absolute, as REP 107 has it, so that one monitor sees all robots; status names
    start with the node's full name. Whoever reads them marks as stale what is not heard any more.
    A part that fails is reported as an error and leaves the others alone.
    """

    def __init__(self, node: Node, hardware_id: str = '', period_s: float = 1.0):
        self._node = node
        self._hardware_id = hardware_id or 'none'  # As diagnostic_updater calls it.
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
        for name, part in list(self._parts.items()):
            health = self._ask(name, part)
            message.status.append(
                DiagnosticStatus(
                    level=health.level,
                    name=f'{prefix}: {name}',
                    message=_sendable(health.message),
                    hardware_id=self._hardware_id,
                    values=[
                        KeyValue(key=_sendable(key), value=_text(value))
                        for key, value in health.values.items()
                    ],
                )
            )
        self._publisher.publish(message)

    def _ask(self, name: str, part: Callable[[], Health]) -> Health:
        try:
            return part()
        except Exception as error:  # Whatever is wrong with it, the node's work goes on.
            text = (
                f'its health cannot be told ({type(error).__name__}: {error}). Report this fault'
            )
            self._node.get_logger().error(f'{name}: {text}.', throttle_duration_sec=60.0)
            return Health(ERROR, text)


def _text(value: Any) -> str:
    return f'{value:.6g}' if isinstance(value, float) else _sendable(value)


def _sendable(value: Any) -> str:
    return str(value).encode(errors='replace').decode()  # Half characters cannot be sent.
