"""Records the raw topics of a robot as an MCAP bag, beside the episodes."""

from __future__ import annotations

import datetime
import sys
import time
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass
from rclpy.node import Node

from robot_learning import contract
from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from robot_learning.nodes.matched_subscription import MatchedSubscription, keep_matching
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.reading_input import message_type
from robot_learning.nodes.run import run_node
from robot_learning.trajectory.bag_writer import BagWriter, BagWriterConfig
from robot_learning.trajectory.signals import MARKS, SIGNAL_TYPES

_CLOCK = '/clock'  # Absolute: one clock for all robots.


@dataclass(frozen=True, config=STRICT)
class BagRecorderConfig:
    """Which robot's topics are recorded and where the bag goes."""

    robot: str = 'arena'  # Robot contract: a name in config/robots or the path of a YAML file.
    store: Path = Path('runs/store')  # Directory of recorded episodes; the bag goes beside it.
    bag: str = ''  # Directory of the bag; empty: bags/TIME beside the store.
    writer: BagWriterConfig = field(default_factory=BagWriterConfig)


class BagRecorderNode(Node):
    """Gives the bytes of every topic of a contract to a `BagWriter`."""

    def __init__(self, **node_options: Any):
        super().__init__('bag_recorder', **node_options)
        config = declare_config(self, BagRecorderConfig)
        robot = contract.load(config.robot)
        topics = recorded_topics(robot)
        names = {topic: self.resolve_topic_name(topic) for topic in topics}
        self._lost: dict[str, int] = dict.fromkeys(names.values(), 0)
        self._writer = BagWriter(
            _free_folder(config),
            config.writer,
            {names[topic]: kind for topic, (kind, _) in topics.items()},
        )
        keep_matching(
            self,
            [
                self._subscribe(topic, names[topic], kind, qos)
                for topic, (kind, qos) in topics.items()
            ],
        )
        self._diagnostics = Diagnostics(self, hardware_id=robot.robot)
        self._diagnostics.add('bag', self._health)
        self.get_logger().info(f'records {len(topics)} topics into {self._writer.path}')

    def close(self) -> None:
        """Complete the bag."""
        self._writer.close()
        self._diagnostics.publish()

    def _subscribe(self, topic: str, name: str, kind: str, qos: str) -> MatchedSubscription:
        put, now_ns = self._writer.put, time.time_ns

        def on_message(data: bytes) -> None:
            put(name, now_ns(), data)

        def on_lost(count: int) -> None:
            self._lost[name] += count

        return MatchedSubscription(self, message_type(kind), topic, qos, on_message, on_lost)

    def _health(self) -> Health:
        writer = self._writer
        dropped = sum(writer.dropped.values()) + sum(self._lost.values())
        values: dict[str, Any] = {
            'written': sum(writer.written.values()),
            'dropped': dropped,
            'bytes': writer.num_bytes,
            **{f'written.{topic}': count for topic, count in writer.written.items()},
            **{f'dropped.{topic}': count for topic, count in writer.dropped.items()},
            **{f'lost.{topic}': count for topic, count in self._lost.items() if count},
        }
        if writer.error:
            return Health(ERROR, writer.error, values)
        if dropped:
            return Health(WARN, f'{dropped} messages are not in the bag', values)
        return Health(OK, 'writing', values)


def recorded_topics(robot: RobotContract) -> dict[str, tuple[str, str]]:
    """Return topic -> (message type, quality of service) of all that belongs into a raw bag."""
    topics = {_CLOCK: ('rosgraph_msgs/msg/Clock', 'sensor')}
    for action in robot.actions.values():
        topics[action.topic] = (action.type, 'reliable')
    for spec in robot.observation.values():
        topics[spec.topic] = (spec.type, spec.qos)
    for topic, kind in SIGNAL_TYPES.items():
        topics[topic] = (kind, 'latched' if topic == MARKS else 'reliable')
    return topics


def _free_folder(config: BagRecorderConfig) -> Path:
    """Return a folder that does not exist; a node that starts again begins another bag."""
    if config.bag:
        wanted = Path(config.bag)
    else:
        stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
        wanted = config.store.parent / 'bags' / stamp
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f'{wanted.name}_{number}')
    return folder


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(BagRecorderNode, args)


if __name__ == '__main__':
    sys.exit(main())
