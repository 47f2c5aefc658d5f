"""What was heard of a running system in a few seconds: its nodes, topics and statuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

ROLES = (
    'simulator',
    'policy',
    'recorder',
    'bag_recorder',
    'trainer',
    'replicator',
    'monitor',
    'teleop',
)


class Endpoint(NamedTuple):
    """One publisher or subscription."""

    node: str  # Full name, '/robot1/policy'.
    type: str  # 'sensor_msgs/msg/Imu'.
    is_reliable: bool
    is_latched: bool


class Status(NamedTuple):
    """The newest word of one part of a node on /diagnostics."""

    level: int  # 0 OK, 1 WARN, 2 ERROR, 3 STALE.
    message: str
    heard_s: float  # When, in seconds since listening began.
    values: Mapping[str, str] = {}


class ClockHeard(NamedTuple):
    """Simulated time on one topic, nanoseconds."""

    first_ns: int
    newest_ns: int


class Parameters(NamedTuple):
    """What a node answered about itself."""

    use_sim_time: bool
    robot: str  # '' where it has no such parameter.


@dataclass
class LiveSystem:
    """Everything that was heard; names of nodes and topics are full, with a slash in front."""

    seconds: float = 0.0  # How long was listened.
    nodes: dict[str, int] = field(default_factory=dict)  # How many have this name.
    publishers: dict[str, list[Endpoint]] = field(default_factory=dict)  # By topic.
    subscriptions: dict[str, list[Endpoint]] = field(default_factory=dict)
    statuses: dict[str, Status] = field(default_factory=dict)  # By name, 'policy: gate'.
    clocks: dict[str, ClockHeard] = field(default_factory=dict)  # By topic.
    parameters: dict[str, Parameters] = field(default_factory=dict)  # Of nodes that answered.

    def ours(self) -> dict[str, list[str]]:
        """Return the names of our nodes by namespace ('' for none), sorted."""
        found: dict[str, list[str]] = {}
        for name in sorted(self.nodes):
            namespace, _, role = name.rpartition('/')
            if role in ROLES:
                found.setdefault(namespace, []).append(name)
        return found

    def has(self, namespace: str, role: str) -> bool:
        """Tell whether a node of ours runs in a namespace."""
        return f'{namespace}/{role}' in self.nodes


def part_of(status: str) -> tuple[str, str]:
    """Split a status name into the full name of its node and the part it is about."""
    node, _, part = status.partition(': ')
    return f'/{node.lstrip("/")}', part
