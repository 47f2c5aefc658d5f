"""Publishers of every kind whose messages are numbered, for recorders to be measured by."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from mcap.reader import make_reader
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot_learning.nodes.run import make_executor
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag_metadata import BagNotes
from std_msgs.msg import String
from std_srvs.srv import Trigger

DEADLINE_S = 30.0


def quality(reliable: bool = True, latched: bool = False, depth: int = 1000) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class RawTalker:
    """Publishes numbered texts and hears what a recorder says of itself."""

    def __init__(self, namespace: str):
        self.context = Context()
        rclpy.init(context=self.context)
        self.namespace = f'/{namespace}'
        self.node = Node('raw_talker', namespace=namespace, context=self.context)
        self.health: Any = None
        self.sent: Counter[str] = Counter()
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_health, 10)
        self._executor = make_executor(self.context)
        self._executor.add_node(self.node)

    def close(self) -> None:
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def publisher(self, topic: str, profile: QoSProfile, kind: type[Any] = String) -> Any:
        return self.node.create_publisher(kind, topic, profile)

    def say(self, publisher: Any, count: int = 1, period_s: float = 0.001) -> None:
        """Publish texts that begin with their number in the topic."""
        for _ in range(count):
            number = self.sent[publisher.topic_name]
            publisher.publish(String(data=f'{number} {"x" * (number % 7)}'))
            self.sent[publisher.topic_name] += 1
            time.sleep(period_s)

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            self._executor.spin_once(timeout_sec=0.02)
        raise AssertionError(f'{what}: not within {DEADLINE_S} s; health {self.values()}')

    def wait_for_recorder(self, publisher: Any) -> None:
        """Return when the recorder has really got something of this publisher."""

        def is_heard() -> bool:
            self.say(publisher)
            return self.received(publisher.topic_name) > 0

        self.wait_until(is_heard, f'{publisher.topic_name} is recorded')

    def values(self) -> dict[str, str]:
        return {} if self.health is None else {v.key: v.value for v in self.health.values}

    def received(self, topic: str) -> int:
        """Return how many messages of a topic the recorder said to have got."""
        text = self.values().get(topic, 'received 0,')
        return int(text.split(',')[0].split()[1])

    def wait_for_all(self, *publishers: Any) -> None:
        """Return when two reports of the recorder in turn say that nothing more came."""

        def report() -> tuple[Any, list[int]]:
            return self.health, [self.received(p.topic_name) for p in publishers]

        before = report()

        def is_quiet() -> bool:
            nonlocal before
            now = report()
            if now[0] is before[0]:
                return False
            previous, before = before, now
            return previous[1] == now[1]

        self.wait_until(is_quiet, 'everything has come')

    def call(self, name: str) -> Trigger.Response:
        """Call a service of the recorder."""
        client = self.node.create_client(Trigger, f'{self.namespace}/bag_recorder/{name}')
        try:
            self.wait_until(client.service_is_ready, f'service {name}')
            future = client.call_async(Trigger.Request())
            self.wait_until(future.done, f'answer of {name}')
            return future.result()
        finally:
            self.node.destroy_client(client)

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f'{self.namespace.lstrip("/")}/bag_recorder: bag':
                self.health = status


def numbers(bag: Path) -> dict[str, list[int]]:
    """Return the numbers of a bag's texts by topic, as the reference reader of MCAP finds them."""
    found: dict[str, list[int]] = {}
    for name in bag_metadata.read(bag)['relative_file_paths']:
        with (bag / name).open('rb') as file:
            for _, channel, message in make_reader(file, validate_crcs=True).iter_messages():
                text = message.data[8:].rstrip(b'\0').decode()
                found.setdefault(channel.topic, []).append(int(text.split()[0]))
    return found


def notes(bag: Path) -> BagNotes:
    return BagNotes.from_custom_data(bag_metadata.read(bag)['custom_data'])
