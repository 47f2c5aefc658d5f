"""A recording with a node and an executor of its own, for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robot_learning.nodes.bag_recording import BagRecording
from robot_learning.nodes.diagnostics import Diagnostics
from robot_learning.nodes.run import make_executor
from robot_learning.nodes.topic_choice import TopicChoice
from robot_learning.trajectory.bags.bag_ring import RingConfig
from robot_learning.trajectory.bags.bag_writer import BagWriterConfig


class ForegroundRecording:
    """Records while it is entered; `turn` it all the time.

    Attributes:
        recording: tells what was recorded, after the end too.
    """

    recording: BagRecording

    def __init__(
        self,
        path: Path,
        writer: BagWriterConfig,
        ring: RingConfig,
        topics: Mapping[str, str],
        choice: TopicChoice,
    ):
        self._arguments = (path, writer, ring, topics, choice)

    def __enter__(self) -> ForegroundRecording:
        with ExitStack() as undo:
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
            undo.callback(rclpy.try_shutdown)
            self._node = Node('bag_recorder', use_global_arguments=False)
            undo.callback(self._node.destroy_node)
            self._executor = make_executor()
            undo.callback(self._executor.shutdown)
            self._executor.add_node(self._node)
            undo.callback(self._executor.remove_node, self._node)
            self.recording = BagRecording(self._node, *self._arguments)
            undo.callback(self.recording.close)
            Diagnostics(self._node).add('bag', self.recording.health)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    def turn(self, timeout_s: float) -> None:
        """Let the node do what is due, for as long as nothing is until `timeout_s`."""
        self._executor.spin_once(timeout_sec=timeout_s)
