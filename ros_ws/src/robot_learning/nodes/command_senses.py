"""The commander's senses: follows the topics of the contract and calls back at control steps."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from robot_learning_interfaces.msg import Groundings

from robot_learning.contract import RobotContract
from robot_learning.language.senses import Senses
from robot_learning.nodes.qos import STATUS_QOS
from robot_learning.nodes.reading_input import ReadingInput
from robot_learning.serving.grounded_objects import Place
from robot_learning.serving.observation_assembler import ObservationAssembler
from robot_learning.serving.sense_fusion import SenseFusion

_TICK_NS = 90_000_000  # Of the robot's clock: motions are asked ten times a second at most.
_LATE_NS = 300_000_000  # Where the robot was when an older picture was taken is not known.
_JUMP_NS = 1_000_000_000  # Stamps that are older by more come from a world that began anew.


class CommandSenses:
    """Every new odometry is a control step, unless the one before was just now.

    Args:
        node: owns the subscriptions.
        contract: describes the fields.
        fusion: puts them together.
        on_step: called with what is known at every control step.
    """

    def __init__(
        self,
        node: Node,
        contract: RobotContract,
        fusion: SenseFusion,
        on_step: Callable[[Senses], None],
    ):
        self._node = node
        self._fusion = fusion
        self._on_step = on_step
        readings = ReadingInput(node, contract, fusion.fields, self._on_reading)
        self._observations = ObservationAssembler(contract, fusion.fields, readings.converters)
        # Of the grounding node; where there is none, nothing comes.
        node.create_subscription(Groundings, 'groundings', self._on_groundings, STATUS_QOS)
        self.time_ns = -1  # Stamp of the last control step.

    def _on_reading(self, name: str, stamp_ns: int, data: bytes, received_ns: int) -> None:
        if stamp_ns < self.time_ns - _JUMP_NS:
            self.time_ns = -1
            self._fusion.begin_anew()
        self._observations.put(name, stamp_ns, data, received_ns)
        if name != self._fusion.odometry or stamp_ns - self.time_ns < _TICK_NS:
            return
        senses = self._fusion.sense(self._observations.collect(stamp_ns).values, stamp_ns * 1e-9)
        if senses is not None:
            self.time_ns = stamp_ns
            self._on_step(senses)
        if self._fusion.problem:
            self._node.get_logger().warning(self._fusion.problem, throttle_duration_sec=5.0)

    def _on_groundings(self, message: Groundings) -> None:
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if self.time_ns < 0 or not 0 <= self.time_ns - stamp_ns + _TICK_NS <= _LATE_NS:
            return
        height, width = message.image_height, message.image_width
        places = [
            Place(
                each.phrase,
                each.confidence,
                (each.x - width / 2) / height,
                (each.y + each.height / 2 - height / 2) / height,
            )
            for each in message.groundings
            if each.is_found and height > 0
        ]
        self._fusion.hear(places, stamp_ns * 1e-9)
