"""Records raw topics as an MCAP bag, beside the episodes."""

from __future__ import annotations

import datetime
import sys
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass
from rclpy.node import Node

from robot_learning import contract
from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.nodes.bag_recording import BagRecording
from robot_learning.nodes.diagnostics import Diagnostics
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.run import run_node
from robot_learning.nodes.topic_choice import TopicChoice
from robot_learning.trajectory.bags.bag_ring import RingConfig
from robot_learning.trajectory.bags.bag_writer import BagWriterConfig
from robot_learning.trajectory.signals import SIGNAL_TYPES

_CLOCK = '/clock'  # Absolute: one clock for all robots.


@dataclass(frozen=True, config=STRICT)
class BagRecorderConfig:
    """Which topics are recorded and where the bag goes."""

    # Robot contract whose topics are recorded: a name in config/robots or the path of a YAML
    # file; empty: none.
    robot: str = 'arena'
    store: Path = Path('runs/store')  # Directory of recorded episodes; the bag goes beside it.
    bag: str = ''  # Directory of the bag; empty: bags/TIME beside the store.
    topics: TopicChoice = field(default_factory=TopicChoice)
    writer: BagWriterConfig = field(default_factory=BagWriterConfig)
    ring: RingConfig = field(default_factory=RingConfig)


class BagRecorderNode(Node):
    """Gives the bytes of topics to a bag."""

    def __init__(self, **node_options: Any):
        super().__init__('bag_recorder', **node_options)
        config = declare_config(self, BagRecorderConfig)
        robot = contract.load(config.robot) if config.robot else None
        self._recording = BagRecording(
            self,
            free_folder(Path(config.bag) if config.bag else default_folder(config.store.parent)),
            config.writer,
            config.ring,
            recorded_topics(robot) if robot else {},
            config.topics,
        )
        self._diagnostics = Diagnostics(self, hardware_id=robot.robot if robot else '')
        self._diagnostics.add('bag', self._recording.health)
        self.get_logger().info(
            f'records {self._recording.num_topics} topics into {self._recording.path}'
        )

    def close(self) -> None:
        """Complete the bag."""
        self._recording.close()
        self._diagnostics.publish()
        if self._recording.error:
            self.get_logger().error(self._recording.error)


def recorded_topics(robot: RobotContract) -> dict[str, str]:
    """Return topic -> message type of all that a contract wants in a raw bag."""
    topics = {_CLOCK: 'rosgraph_msgs/msg/Clock'}
    topics |= {action.topic: action.type for action in robot.actions.values()}
    topics |= {spec.topic: spec.type for spec in robot.observation.values()}
    return topics | SIGNAL_TYPES


def default_folder(parent: Path) -> Path:
    """Return bags/TIME in `parent`."""
    return parent / 'bags' / datetime.datetime.now().strftime('%Y%m%d-%H%M%S')


def free_folder(wanted: Path) -> Path:
    """Return a folder that does not exist; a node that starts again begins another bag."""
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
