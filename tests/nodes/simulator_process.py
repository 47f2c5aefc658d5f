"""A simulator node in a process of its own, and a node in the test's process that talks to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot_learning.nodes.qos import EPISODE_EVENT_QOS, OUTCOME_QOS, qos_profile
from robot_learning_interfaces.msg import EpisodeEvent, StepOutcome

DEADLINE_S = 20.0


class SimulatorProcess:
    """Runs `simulator_node` with parameters; ends it with SIGINT when the block is left."""

    def __init__(self, **parameters: Any):
        arguments = ['--ros-args']
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ['-p', f'{name.replace("__", ".")}:={text}']
        command = [sys.executable, '-m', 'robot_learning.nodes.simulator_node', *arguments]
        self._is_read = False
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
        )

    def __enter__(self) -> SimulatorProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        output = self.end(signal.SIGINT)[1] if not self._is_read else ''
        if error is not None:
            print(output)  # For pytest's report.

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return exit code and what was written."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Return exit code and what was written."""
        try:
            output, _ = self._process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._is_read = True
        return self._process.returncode, output


class Pilot:
    """Receives outcomes and whatever else is asked for, sends commands, calls services."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('pilot', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.received: dict[str, list[Any]] = {}
        self.outcomes: list[StepOutcome] = []
        self.policy: Callable[[StepOutcome], tuple[float, float] | None] = lambda outcome: None
        self._command: tuple[float, float] | None = None  # The answer to the newest outcome.
        self.commands = self.node.create_publisher(TwistStamped, 'cmd_vel', 10)
        self.node.create_subscription(StepOutcome, 'outcome', self._on_outcome, OUTCOME_QOS)
        self.listen(EpisodeEvent, 'episode_event', EPISODE_EVENT_QOS)

    def __enter__(self) -> Pilot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def listen(self, kind: type[Any], topic: str, qos: Any = None) -> None:
        """Keep every message of a topic in `received`."""
        kept = self.received.setdefault(topic, [])
        profile = qos or qos_profile('reliable')
        self.node.create_subscription(kind, topic, kept.append, profile)

    def hears(self, topic: str) -> bool:
        """Whether somebody is there who publishes a topic."""
        return self.node.count_publishers(topic) > 0

    def drive(self, stamp: Any, linear: float, angular: float) -> None:
        """Send one command."""
        command = TwistStamped()
        command.header.stamp = stamp
        command.twist.linear.x, command.twist.angular.z = float(linear), float(angular)
        self.commands.publish(command)

    def spin_until(self, condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> bool:
        """Handle messages until something holds; False when the deadline passed first."""
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.02)
        return True

    def call(self, kind: type[Any], service: str, request: Any) -> Any:
        """Call a service and wait for the answer."""
        client = self.node.create_client(kind, service)
        assert self.spin_until(client.service_is_ready), f'{service}: not there'
        future = client.call_async(request)
        assert self.spin_until(future.done), f'{service}: no answer'
        self.node.destroy_client(client)
        return future.result()

    def _on_outcome(self, message: StepOutcome) -> None:
        if self.outcomes and message.header.stamp == self.outcomes[-1].header.stamp:
            self._answer(message)  # Sent again: the answer may have found no reader yet.
            return
        self.outcomes.append(message)
        self._command = self.policy(message)
        self._answer(message)

    def _answer(self, outcome: StepOutcome) -> None:
        if self._command is not None:
            self.drive(outcome.header.stamp, *self._command)


def nanoseconds(stamp: Any) -> int:
    """Return a stamp as an integer."""
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)
