"""Listens to the notices of a closed loop and keeps its numbers; steers nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy import executors
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from robot_learning_interfaces.msg import (
    EpisodeEvent,
    GateStatus,
    ModelVersion,
    PolicyAction,
    SegmentWritten,
    TrainingMetrics,
)

from robot_learning.evaluation.live_numbers import LiveNumbers
from robot_learning.nodes.diagnostics import OK, Diagnostics, Health
from robot_learning.nodes.qos import EPISODE_EVENT_QOS, NOTICE_QOS, POLICY_ACTION_QOS, STATUS_QOS

_STATES = {
    ModelVersion.PUBLISHED: 'published',
    ModelVersion.SERVING: 'serving',
    ModelVersion.REFUSED: 'refused',
    ModelVersion.ROLLED_BACK: 'rolled_back',
    ModelVersion.CANARY: 'canary',
}
_GATE_COUNTS = (
    'commands',
    'altered',
    'limited_value',
    'limited_rate',
    'limited_acceleration',
    'not_finite',
    'stale_stops',
    'emergency_stops',
    'missed_ticks',
)


class MonitorNode(Node):
    """Keeps `numbers` up to date from topics with a few messages a second.

    The per-step topics are left alone, because every reader of theirs costs the control loop;
    of the policy's actions it takes the first one only.
    """

    def __init__(
        self,
        numbers: LiveNumbers,
        lock: threading.Lock,
        now_s: Callable[[], float] = time.monotonic,
        **node_options: Any,
    ):
        super().__init__('monitor', **node_options)
        self._numbers = numbers
        self._lock = lock
        self._now_s = now_s
        subscribe = self.create_subscription
        self.has_acted = False
        self._first_action: Subscription | None = subscribe(
            PolicyAction, 'policy_action', self._on_policy_action, POLICY_ACTION_QOS
        )
        subscribe(EpisodeEvent, 'episode_event', self._on_episode_event, EPISODE_EVENT_QOS)
        subscribe(ModelVersion, 'model_version', self._on_model_version, NOTICE_QOS)
        subscribe(TrainingMetrics, 'training_metrics', self._on_training_metrics, NOTICE_QOS)
        subscribe(SegmentWritten, 'segment_written', self._on_segment_written, NOTICE_QOS)
        subscribe(GateStatus, 'gate_status', self._on_gate_status, STATUS_QOS)
        subscribe(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        Diagnostics(self).add('listening', self._health)

    def ignore_actions(self) -> None:
        """Stop listening to the policy's actions; not to be called from a callback."""
        if self._first_action is not None:
            self.destroy_subscription(self._first_action)
            self._first_action = None

    def _health(self) -> Health:
        with self._lock:
            numbers = self._numbers
            steps, silent_s = numbers.session_steps, None
            if numbers.last_progress_s is not None:
                silent_s = self._now_s() - numbers.last_progress_s
        values = {'session_steps': steps, 'seconds_since_progress': silent_s}
        return Health(OK, f'{steps} control steps heard of', values)

    def _on_episode_event(self, msg: EpisodeEvent) -> None:
        with self._lock:
            if msg.event == EpisodeEvent.END:
                self._numbers.on_episode_end(msg.episode, msg.success, msg.reason, self._now_s())

    def _on_policy_action(self, msg: PolicyAction) -> None:
        with self._lock:
            self._numbers.on_first_action(self._now_s())
        self.has_acted = True

    def _on_model_version(self, msg: ModelVersion) -> None:
        with self._lock:
            state = _STATES.get(msg.state, 'unknown')
            self._numbers.on_version(state, msg.version, msg.reason, self._now_s())

    def _on_training_metrics(self, msg: TrainingMetrics) -> None:
        metrics = dict(zip(msg.names, map(float, msg.values), strict=False))
        fields = {
            name: getattr(msg, name)
            for name in (
                'state',
                'detail',
                'update',
                'updates_per_second',
                'train_ratio',
                'target_train_ratio',
                'version',
            )
        }
        with self._lock:
            self._numbers.on_training(metrics, fields, self._now_s())

    def _on_segment_written(self, msg: SegmentWritten) -> None:
        with self._lock:
            self._numbers.on_segment(msg.total_steps, msg.dropped, self._now_s())

    def _on_gate_status(self, msg: GateStatus) -> None:
        counts = {name: int(getattr(msg, name)) for name in _GATE_COUNTS}
        with self._lock:
            self._numbers.on_gate(
                counts,
                msg.emergency_stopped,
                self._now_s(),
                msg.intervention,
                msg.other_publishers,
            )

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        with self._lock:
            for status in msg.status:
                values = {item.key: item.value for item in status.values}
                level = int.from_bytes(status.level, 'little')
                self._numbers.on_health(status.name, level, status.message, values, self._now_s())


class Monitor:
    """A monitor node that spins in a thread of its own, in a context of its own.

    `numbers` may be read and changed while `lock` is held.
    """

    def __init__(self, numbers: LiveNumbers, domain_id: int | None = None):
        self.numbers = numbers
        self.lock = threading.Lock()
        self._context = Context()
        rclpy.init(
            context=self._context,
            domain_id=domain_id,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self._node = MonitorNode(numbers, self.lock, context=self._context)
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='monitor', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; the numbers stay."""
        self._is_stopping.set()
        self._thread.join(timeout=5.0)
        self._node.destroy_node()  # type: ignore[no-untyped-call]
        self._context.try_shutdown()

    def _spin(self) -> None:
        executor = executors.SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)
        while not self._is_stopping.is_set():
            executor.spin_once(timeout_sec=0.2)
            if self._node.has_acted:
                self._node.ignore_actions()
        executor.shutdown()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
