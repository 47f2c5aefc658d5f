"""Who else publishes on the command topics: behind the gate nobody should."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rclpy.node import Node
from std_msgs.msg import Empty

_PREFIX = 12  # Bytes of an endpoint's id that name its participant, that is its process.
# A node that was killed stays in the graph until its lease ends, 20 s by default: after our own
# restart, our predecessor is no rival.
_LEASE_S = 25.0
# An endpoint is seen before its node's name; one that never tells it, as programs without ROS,
# is reported all the same.
_NAMELESS = '_NODE_NAME_UNKNOWN_'
_NAMING_S = 5.0


class News(NamedTuple):
    """What changed since the last look, one sentence each."""

    appeared: list[str]
    gone: list[str]


class OtherPublishers:
    """Finds publishers of the command topics outside this process.

    Another gate in front of the robot is worthless if somebody speaks past it. Two nodes of the
    same name are told apart by the ids of their endpoints.
    """

    def __init__(
        self, node: Node, topics: Sequence[str], now_s: Callable[[], float] = time.monotonic
    ):
        self._node = node
        self._topics = tuple(dict.fromkeys(topics))
        self._now_s = now_s
        self._own_prefix = _participant(node)
        self._seen_s: dict[tuple[int, ...], float] = {}  # Doubtful endpoints, since when.
        self.names: tuple[str, ...] = ()  # '/node (topic)', sorted.

    def look(self) -> News:
        """Look through the graph; at 1 Hz or so, for it costs some 0.1 ms per topic."""
        before, self.names = self.names, tuple(sorted(self._found()))
        appeared = [
            f'{name}: publishes commands past the action gate. Stop it, or let it publish on '
            f'teleop/cmd_vel, which the gate listens to.'
            for name in self.names
            if name not in before
        ]
        gone = [f'{name}: publishes no commands any more' for name in before]
        return News(
            appeared, [g for g, n in zip(gone, before, strict=True) if n not in self.names]
        )

    def _found(self) -> set[str]:
        found = set()
        for topic in self._topics:
            for info in self._node.get_publishers_info_by_topic(topic):
                endpoint = tuple(info.endpoint_gid)
                name = f'{info.node_namespace.rstrip("/")}/{info.node_name}'
                if info.node_name == _NAMELESS:
                    name = 'a program without a ROS node'
                if not (self._is_own(name, endpoint) or self._is_doubtful(name, endpoint)):
                    found.add(f'{name} ({topic})')
        return found

    def _is_own(self, name: str, endpoint: tuple[int, ...]) -> bool:
        if self._own_prefix:
            return endpoint[:_PREFIX] == self._own_prefix
        return name == self._node.get_fully_qualified_name()

    def _is_doubtful(self, name: str, endpoint: tuple[int, ...]) -> bool:
        if name == self._node.get_fully_qualified_name():
            patience_s = _LEASE_S
        elif name.startswith('/'):
            return False
        else:
            patience_s = _NAMING_S
        now_s = self._now_s()
        return now_s - self._seen_s.setdefault(endpoint, now_s) < patience_s


def _participant(node: Node) -> tuple[int, ...]:
    """Return the part of the ids of our endpoints that no other process has.

    Empty with a middleware that does not show us our own publisher at once.
    """
    topic = f'{node.get_name()}/endpoint_{uuid.uuid4().hex}'
    publisher = node.create_publisher(Empty, topic, 1)
    try:
        found = node.get_publishers_info_by_topic(topic)
        return tuple(found[0].endpoint_gid)[:_PREFIX] if found else ()
    finally:
        node.destroy_publisher(publisher)
