"""What the policy node tells about itself: gate_status, /diagnostics, latency."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from robot_learning_interfaces.msg import GateStatus

from robot_learning.metrics import LatencyHistogram
from robot_learning.nodes.command_output import CommandOutput
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Health, RecentGrowth
from robot_learning.nodes.other_publishers import OtherPublishers
from robot_learning.nodes.qos import STATUS_QOS
from robot_learning.nodes.version_notices import model_health
from robot_learning.serving.action_gate import ActionGate
from robot_learning.serving.emergency_stop import EmergencyStop
from robot_learning.serving.observation_assembler import Problem
from robot_learning.serving.policy_server import PolicyServer
from robot_learning.serving.takeover import Takeover


class GateParts(NamedTuple):
    """The gate and what else decides whether the robot moves as the policy wants."""

    gate: ActionGate
    emergency_stop: EmergencyStop
    takeover: Takeover
    others: OtherPublishers


class PolicyStatus:
    """Publishes the state of gate, model, latency, observation and command topics."""

    def __init__(
        self,
        node: Node,
        robot: str,
        parts: GateParts,
        server: PolicyServer,
        outputs: Sequence[CommandOutput],
        rate_hz: float,
    ):
        self._node = node
        self._parts = parts
        self._gate = parts.gate
        self._server = server
        self._outputs = outputs
        self.decision_latency = LatencyHistogram()  # Newest reading received -> published.
        self.stamp_latency = LatencyHistogram()  # Newest reading's stamp -> published.
        self.problems: tuple[Problem, ...] = ()  # Of the last observation.
        self._status = GateStatus()
        self._publisher = node.create_publisher(GateStatus, 'gate_status', STATUS_QOS)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1 / rate_hz, self._publish_gate_status, clock=steady)
        self._graph_timer = node.create_timer(1.0, self._look_around, clock=steady)
        self._growth = RecentGrowth()
        self.diagnostics = Diagnostics(node, hardware_id=robot)
        self.diagnostics.add('gate', self._gate_health)
        self.diagnostics.add('model', self._model_health)
        self.diagnostics.add('latency', self._latency_health)
        self.diagnostics.add('observation', self._observation_health)
        self.diagnostics.add('command topics', self._command_health)

    def _publish_gate_status(self) -> None:
        counts, status = self._gate.counts, self._status
        status.header.stamp = self._node.get_clock().now().to_msg()
        status.emergency_stopped = self._gate.is_pressed
        status.intervention = bool(self._parts.takeover.driver(time.monotonic()))
        status.other_publishers = list(self._parts.others.names)
        status.stale = self._gate.is_stale
        status.commands = counts.commands
        status.altered = counts.altered
        status.limited_value = counts.limited_value
        status.limited_rate = counts.limited_rate
        status.limited_acceleration = counts.limited_acceleration
        status.not_finite = counts.not_finite
        status.stale_stops = counts.stale_stops
        status.emergency_stops = counts.emergency_stops
        status.missed_ticks = counts.missed_ticks
        status.last_executed = self._gate.last_executed.tolist() if counts.commands else []
        status.reason = ', '.join(self._gate.last_reasons)
        served = self._server.served
        status.model = '' if served is None else served.model
        status.version = -1 if served is None else served.version
        self._publisher.publish(status)

    def _look_around(self) -> None:
        logger = self._node.get_logger()
        news = self._parts.others.look()
        for text in news.appeared:
            logger.error(text)
        for text in news.gone:
            logger.info(text)
        for output in self._outputs:
            mismatch = output.adapt()
            if mismatch:
                logger.error(mismatch)

    def _gate_health(self) -> Health:
        gate = self._gate
        if gate.is_pressed:
            level, text = ERROR, f'emergency stop: {self._parts.emergency_stop.text}'
        elif gate.is_stale:
            level, text = ERROR, 'stopped: no fresh observation. See the status "observation"'
        elif driver := self._parts.takeover.driver(time.monotonic()):
            level, text = OK, f'a person drives: {driver}'
        elif gate.last_reasons:
            level, text = OK, f'last command limited: {", ".join(gate.last_reasons)}'
        else:
            level, text = OK, 'open'
        return Health(level, text, vars(gate.counts))

    def _model_health(self) -> Health:
        return model_health(self._server)

    def _latency_health(self) -> Health:
        decision, stamp = self.decision_latency.summary(), self.stamp_latency.summary()
        values = {
            'decisions': decision.num,
            'p50_ms': decision.p50,
            'p99_ms': decision.p99,
            'max_ms': decision.max,
            'stamp_to_command_p50_ms': stamp.p50,
            'stamp_to_command_p99_ms': stamp.p99,
            'stamp_to_command_max_ms': stamp.max,
            'missed_ticks': self._gate.counts.missed_ticks,
        }
        missed = self._growth.per_second('missed_ticks', self._gate.counts.missed_ticks)
        if missed:
            text = f'{missed:.2g} control steps/s come too late. Give the node more processor'
            return Health(WARN, text, values)
        text = f'p50 {decision.p50:.2f} ms, p99 {decision.p99:.2f} ms'
        return Health(OK, text if decision.num else 'no decision yet', values)

    def _observation_health(self) -> Health:
        if not self.problems:
            return Health(OK, 'complete')
        return Health(
            ERROR,
            '; '.join(problem.text for problem in self.problems),
            {problem.field: problem.kind for problem in self.problems},
        )

    def _command_health(self) -> Health:
        mismatches = [output.mismatch for output in self._outputs if output.mismatch]
        types = {output.topic: output.type for output in self._outputs}
        others = ', '.join(self._parts.others.names)
        if others:
            text = f'past the action gate publish: {others}. Stop them'
            return Health(ERROR, text, {**types, 'other_publishers': others})
        return Health(WARN if mismatches else OK, '; '.join(mismatches) or 'matching', types)
