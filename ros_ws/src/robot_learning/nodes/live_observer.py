"""Listens for some seconds to a running system without taking part in it."""

from __future__ import annotations

import os
import time
from types import TracebackType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosgraph_msgs.msg import Clock

from robot_learning.evaluation.live_system import (
    ClockHeard,
    Endpoint,
    LiveSystem,
    Parameters,
    Status,
)
from robot_learning.nodes.qos import qos_profile

_LOOK_S = 0.5  # Between two looks at the graph.
_HIDDEN = ('/rosout', '/parameter_events')
_ASKED = ('use_sim_time', 'robot')


class LiveObserver:
    """Fills a `LiveSystem` while `listen` runs."""

    def __init__(self) -> None:
        self.system = LiveSystem()
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node(f'doctor_{os.getpid()}', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._start_s = time.monotonic()
        self._clients: dict[str, Client] = {}
        self._asked: set[str] = set()
        self._clocks: set[str] = set()
        self._node.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, qos_profile('sensor', 100)
        )

    def listen(self, seconds: float) -> LiveSystem:
        """Listen and look around for so long; return all that was heard until now."""
        look_s = time.monotonic()
        end_s = look_s + seconds
        while (now_s := time.monotonic()) < end_s:
            if now_s >= look_s:
                self._look_around()
                look_s = now_s + _LOOK_S
            self._executor.spin_once(timeout_sec=min(0.1, max(end_s - now_s, 0.0)))
        self._look_around()
        self.system.seconds = time.monotonic() - self._start_s
        return self.system

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._node.destroy_node()  # type: ignore[no-untyped-call]
        self._context.try_shutdown()

    def _look_around(self) -> None:
        """Take the graph as it is now: who has left is not kept."""
        system, node = self.system, self._node
        system.nodes = {}
        for name, namespace in node.get_node_names_and_namespaces():
            full = f'{namespace.rstrip("/")}/{name}'
            if name != node.get_name():
                system.nodes[full] = system.nodes.get(full, 0) + 1
        system.publishers, system.subscriptions = {}, {}
        for topic, _ in node.get_topic_names_and_types():
            if topic in _HIDDEN:
                continue
            self._take(system.publishers, topic, node.get_publishers_info_by_topic(topic))
            self._take(system.subscriptions, topic, node.get_subscriptions_info_by_topic(topic))
            endpoints = system.publishers.get(topic, [])
            if any(endpoint.type == 'rosgraph_msgs/msg/Clock' for endpoint in endpoints):
                self._hear_clock(topic)
        for names in system.ours().values():
            for name in names:
                self._ask(name)

    def _take(
        self, endpoints: dict[str, list[Endpoint]], topic: str, infos: list[TopicEndpointInfo]
    ) -> None:
        found = [
            Endpoint(
                f'{info.node_namespace.rstrip("/")}/{info.node_name}',
                info.topic_type,
                info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
                info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
            )
            for info in infos
            if info.node_name != self._node.get_name()
        ]
        if found:
            endpoints[topic] = found

    def _hear_clock(self, topic: str) -> None:
        if topic in self._clocks:
            return
        self._clocks.add(topic)

        def on_clock(message: Clock) -> None:
            stamp_ns = message.clock.sec * 10**9 + message.clock.nanosec
            heard = self.system.clocks.get(topic, ClockHeard(stamp_ns, stamp_ns))
            self.system.clocks[topic] = ClockHeard(heard.first_ns, stamp_ns)

        self._node.create_subscription(Clock, topic, on_clock, qos_profile('sensor'))

    def _ask(self, name: str) -> None:
        """Ask a node for its parameters once it can be reached."""
        if name in self._asked:
            return
        if name not in self._clients:
            self._clients[name] = self._node.create_client(GetParameters, f'{name}/get_parameters')
        client = self._clients[name]
        if not client.service_is_ready():
            return
        self._asked.add(name)
        future = client.call_async(GetParameters.Request(names=list(_ASKED)))
        future.add_done_callback(  # type: ignore[no-untyped-call]
            lambda done: self._on_parameters(name, done.result())
        )

    def _on_parameters(self, name: str, answer: GetParameters.Response | None) -> None:
        values = {} if answer is None else dict(zip(_ASKED, answer.values, strict=False))
        robot, sim_time = values.get('robot'), values.get('use_sim_time')
        is_text = robot is not None and robot.type == ParameterType.PARAMETER_STRING
        self.system.parameters[name] = Parameters(
            bool(sim_time is not None and sim_time.bool_value),
            robot.string_value if robot is not None and is_text else '',
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        heard_s = time.monotonic() - self._start_s
        for status in message.status:
            self.system.statuses[status.name] = Status(
                int.from_bytes(status.level, 'little'),
                status.message,
                heard_s,
                {item.key: item.value for item in status.values},
            )

    def __enter__(self) -> LiveObserver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
